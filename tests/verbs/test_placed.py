import pytest

from distml.cli import main
from distml.launch.launcher import PlacedJob
from distml.runs.record import new_run_id
from distml.runs.store import RunStore
from distml.verbs.placed import placed_text, unit_words

pytestmark = pytest.mark.filterwarnings("default")

LOG = "begins\n[unit forest, fold 1 of 2] one\n[unit forest, fold 2 of 2] two\n[unit net] three\n"


class Handle:
    """A run whose log comes in small pieces."""

    def __init__(self, store, run_id, size=7):
        self.store, self.run_id, self.size = store, run_id, size

    def status(self):
        return self.store.load(self.run_id).status

    def logs(self, *, follow=False):
        yield from (LOG[start : start + self.size] for start in range(0, len(LOG), self.size))


@pytest.fixture
def handle(forest_job):
    run_id = new_run_id("forest")
    assert main(["run", "forest.py", "--on", "debug", "--run-id", run_id]) == 0
    store = RunStore("runs")
    log = store.storage.read(f"{run_id}/events.jsonl")
    units = b"".join(
        b'{"t":1,"kind":"unit_started","unit":"%s"}\n' % name
        for name in (b"forest, fold 1 of 2", b"forest, fold 2 of 2", b"net")
    )
    store.storage.write(f"{run_id}/events.jsonl", log + units)
    return Handle(store, run_id)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("unit", "words"),
    [("net", ["three"]), ("forest, fold 2 of 2", ["two"]), ("forest*", ["one", "two"])],
)
def test_the_words_of_a_unit_come_whole(handle, size, unit, words):
    handle.size = size

    lines = list(unit_words(handle, unit, follow=False))

    assert [line.rpartition("] ")[2] for line in lines] == [f"{word}\n" for word in words]


@pytest.mark.parametrize(
    ("unit", "message"),
    [("nett", "did you mean 'net'?"), ("zzz", "the first is 'forest, fold 1 of 2'")],
)
def test_a_unit_that_is_none_is_refused(handle, capfd, unit, message):
    assert main(["logs", handle.run_id, "--unit", unit]) == 2

    errors = capfd.readouterr().err
    assert f"has no unit {unit!r}" in errors
    assert message in errors


def test_jobs_of_a_place_are_listed_the_latest_first():
    jobs = [
        PlacedJob(job_id="raysubmit_1", run_id=None, status="RUNNING", started_at=100.0),
        PlacedJob(
            job_id="one-2", run_id="one", status="SUCCEEDED",
            started_at=200.0, ended_at=290.0, storage="s3://b/runs",
        ),
    ]  # fmt: skip

    head, first, second = placed_text(jobs, 200, now=130.0).splitlines()

    assert head.split() == ["run", "job", "status", "started", "took", "storage"]
    assert first.split()[:3] == ["one", "one-2", "SUCCEEDED"]
    assert "1:30 min" in first
    assert second.split()[:2] == ["raysubmit_1", "RUNNING"]
    assert "30.0 s" in second


def test_nothing_is_nothing():
    assert placed_text([], 80) == ""


@pytest.mark.parametrize("place", ["debug", "local"])
def test_this_machine_keeps_no_list(capfd, place):
    assert main(["list", "--on", place]) == 2
    assert "distml list shows the runs of a storage" in capfd.readouterr().err


def test_a_cluster_that_does_not_answer_has_none_to_list(capfd):
    assert main(["list", "--on", "cluster:http://127.0.0.1:9"]) == 2
    assert "does not answer" in capfd.readouterr().err
