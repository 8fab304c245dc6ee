"""What KubeRay hands jobs to: a Ray that only pretends, or a real one as pods would see it."""

import threading


class PretendedRay:
    """A Ray whose jobs do what a test says: `jobs[ID]["status"] = "SUCCEEDED"`."""

    def __init__(self):
        self.jobs = {}
        self.stopping_s = 0.0

    def info(self, job_id):
        return self.jobs.get(job_id)

    def submit(self, submission):
        assert submission["submission_id"] not in self.jobs, "submitted twice"
        self.jobs[submission["submission_id"]] = {"status": "RUNNING", **submission}

    def stop(self, job_id):
        def end():
            self.jobs[job_id]["status"] = "STOPPED"

        threading.Timer(self.stopping_s, end).start()


class PodsOfRay:
    """A real Ray, as the pods would see it: with the environment that their account gives them."""

    def __init__(self, api, environment):
        self.api, self.environment = api, environment

    def info(self, job_id):
        return self.api.info(job_id)

    def submit(self, submission):
        variables = submission["runtime_env"].setdefault("env_vars", {})
        variables.update(self.environment)
        self.api.submit(submission)

    def stop(self, job_id):
        self.api.stop(job_id)
