"""A run whose driver is started by a RayJob: how it goes, why it waits, and its end.

One decision: Kubernetes is asked only for what the run's storage does not tell, and at most once a
second. A run is stopped by deleting its RayJob: one request, after which nothing of it can be left
or begin again, whatever becomes of the one who asked.
"""

import time

from distml.errors import LaunchError, UserError
from distml.launch.handle import EXIT_CODES, JobHandle
from distml.launch.kube.kube_api import KubeApi
from distml.launch.kube.kubeconfig import find_context
from distml.launch.kube.kuberay_job import OVER_TIME, JobState, rayjob_name, read_state
from distml.runs.submissions import load_submission

__all__ = ["KuberayHandle"]

_POLL_S = 1.0
# KubeRay looks every three seconds, and keeps the deadline to begin itself, if it runs at all.
_PENDING_GRACE_S = 60.0
_LOST_LIMIT_S = 30.0
_STOP_LIMIT_S = 300.0
_SETTLE_S = 60.0


class KuberayHandle(JobHandle):
    """A run on pods of KubeRay. May be used by one thread at a time."""

    def __init__(self, storage: str, run_id: str, target: str | None = None) -> None:
        super().__init__(storage, run_id)
        self._target = target
        self._connected: KubeApi | None = None
        self._seen: JobState | None = None
        self._seen_at = self._lost_since = self._pending_since = -1e9
        self._is_deleted = False
        self._code: int | None = None
        self._last_words = ""

    def wait(self, timeout_s: float | None = None) -> int | None:
        """See `JobHandle`.

        Raises:
            LaunchError: the job does not begin in time, or it is gone and the run has not ended.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self._code is None:
            self._code = self._step()
            left = _POLL_S if end is None else end - time.monotonic()
            if self._code is not None or left <= 0:
                break
            time.sleep(min(_POLL_S, left))
        return self._code

    def stop(self, grace_s: float = 30.0) -> None:
        """See `JobHandle`. Deletes the RayJob, and with it all its pods.

        KubeRay asks the driver to stop; a pod that has not ended after its
        `terminationGracePeriodSeconds` is killed, whatever `grace_s` says, unless it is 0: then
        this does not wait.

        Raises:
            UserError: it does not run.
            LaunchError: its pods do not go.
        """
        name = self._running()
        self._api.delete(name)
        self._code = 130
        end = time.monotonic() + _STOP_LIMIT_S
        while grace_s > 0 and self._api.read(name) is not None:
            if time.monotonic() > end:
                raise LaunchError(
                    f"RayJob {name} in {self._api.context} is deleted, but its pods have not gone "
                    f"in {_STOP_LIMIT_S:.0f} s; kubectl get pods shows why"
                )
            time.sleep(_POLL_S)

    def last_words(self) -> str:
        """See `JobHandle`; known when `wait` has seen the end."""
        return self._last_words

    def why_pending(self) -> str | None:
        """See `JobHandle`: what Kubernetes warns of last, or else what KubeRay waits for."""
        state = self._look()
        if state is None or state.phase != "pending":
            return None
        names = (rayjob_name(self._submission_id()), *filter(None, [state.cluster]))
        return (self._api.warnings(*names) or [state.doing])[-1]

    @property
    def _api(self) -> KubeApi:
        if self._connected is None:
            self._connected = KubeApi(find_context(self._target))
        return self._connected

    def _submission_id(self) -> str:
        submission = load_submission(self.store.storage, self.run_id)
        return self.run_id if submission is None else submission.submission_id

    def _look(self) -> JobState | None:
        if time.monotonic() - self._seen_at > _POLL_S:
            rayjob = self._api.read(rayjob_name(self._submission_id()))
            self._seen = None if rayjob is None else read_state(rayjob)
            self._is_deleted |= self._seen is not None and self._seen.is_deleted
            self._seen_at = time.monotonic()
        return self._seen

    def _step(self) -> int | None:
        """The exit code if it has ended."""
        try:
            state, problem = self._look(), "its RayJob was deleted"
        except UserError as error:
            state, problem = None, str(error)
        if state is None:
            return self._lost(problem)
        self._lost_since = -1e9
        if state.phase == "pending":
            self._give_up_pending(state)
        return self._ended(state) if state.phase == "ended" else None

    def _lost(self, problem: str) -> int | None:
        """What to make of a job that cannot be seen: its record tells how it ended, if it has."""
        record = self.record()
        if record is not None and record.status.is_final and not record.is_written_off:
            return EXIT_CODES.get(record.status, 1)
        if self._is_deleted and self._seen is None:
            return 130
        if self._lost_since < 0:
            self._lost_since = time.monotonic()
        if time.monotonic() - self._lost_since > _LOST_LIMIT_S:
            if record is None:
                raise LaunchError(f"{problem}; run {self.run_id} had not begun when last seen")
            raise LaunchError(
                f"{problem}; run {self.run_id} had not ended when last seen: look at it with "
                f"distml logs {self.run_id}, go on with distml resume {self.run_id}"
            )
        return None

    def _ended(self, state: JobState) -> int:
        code = state.code or 0
        if code == OVER_TIME:
            self._settle()
        elif code not in (0, 130):
            self._last_words = self._words_of(state)
        return code

    def _settle(self) -> None:
        """Its pods are told to end; the driver takes a moment to write down what it has."""
        end = time.monotonic() + _SETTLE_S
        while not self.status().is_final and time.monotonic() < end:
            time.sleep(_POLL_S)

    def _words_of(self, state: JobState) -> str:
        words = state.words()
        if words.startswith("distml: error:"):
            return f"{words}\n"
        if self.record() is not None and state.reason in ("", "AppFailed"):
            return ""
        said = [state.reason, words]
        if state.reason != "AppFailed":
            names = (rayjob_name(self._submission_id()), *filter(None, [state.cluster]))
            said += self._api.warnings(*names)[-1:]
        return f"distml: error: the job did not begin: {': '.join(filter(None, said))}\n"

    def _give_up_pending(self, state: JobState) -> None:
        if self._pending_since < 0:
            self._pending_since = time.monotonic()
        limit_s = state.deadline_s + _PENDING_GRACE_S
        if time.monotonic() - self._pending_since > limit_s:
            why = self.why_pending()
            self._api.delete(rayjob_name(self._submission_id()))
            raise LaunchError(
                f"run {self.run_id} was still waiting after {limit_s:.0f} s and is withdrawn: {why}"
            )

    def _running(self) -> str:
        """The RayJob that runs or waits."""
        name = rayjob_name(self._submission_id())
        rayjob = self._api.read(name)
        if rayjob is not None and read_state(rayjob).phase != "ended":
            return name
        record, never_began = self.record(), "at its end without having begun"
        what = "not known" if rayjob is None else never_began
        what = what if record is None else str(record.status)
        raise UserError(f"run {self.run_id} is {what}: there is nothing to stop")
