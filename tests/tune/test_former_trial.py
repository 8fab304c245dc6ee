"""A search over a job that takes no samples is planned by a run of that job."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distml.errors import UserError
from distml.job import Job, Resources, Result, RunContext
from distml.runs.record import Attempt, RunRecord, RunStatus
from distml.runs.store import RunStore
from distml.tune.planning import plan_search
from distml.tune.task import Tune

SOURCE = """
from distml.job import Job, Result

class Own:
    def run(self, context):
        return Result(metrics={})

def job(lr: float = 0.1, epochs: int = 3) -> Job:
    return Job(task=Own())
"""


class Own:
    def run(self, context: RunContext) -> Result:
        return Result(metrics={})


def other(lr: float = 0.1) -> Job:
    return Job(task=Own())


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """The function of a job file, `loop.py` in the folder we are in."""
    monkeypatch.chdir(tmp_path)
    Path("loop.py").write_text(SOURCE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("loop", tmp_path / "loop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[..., Job] = module.job
    return made


def planned(function: Callable[..., Job]) -> dict[str, Any]:
    context = RunContext(
        run_id="plan",
        run_uri=RunStore("runs").paths("plan").root,
        seed=0,
        resources=Resources(),
        emit=lambda kind, **fields: None,
    )
    task = Tune(function, space={"lr": [0.5, 0.25, 1.0]}, metric="score", search="grid")
    return plan_search(task, context)


def ran(**changes: Any) -> None:
    """The job took ten seconds."""
    attempt = Attempt(started_at=0.0, finished_at=10.0, host="h", pid=1, status=RunStatus.SUCCEEDED)
    source = changes.pop("source", SOURCE)
    fields = {"parameters": {"lr": 7.0, "epochs": 3}, "status": RunStatus.SUCCEEDED} | changes
    record = RunRecord(run_id="one", job_file="loop.py", attempts=(attempt,), **fields)
    RunStore("runs").create(record, source)


def test_trials_take_what_the_last_run_of_their_job_took(job: Callable[..., Job]) -> None:
    ran()

    plan = planned(job)

    assert plan["seconds"]["value"] == 30.0
    assert plan["search"]["trials"] == 3
    assert plan["used"] == {"what": "trial", "run": "one"}


@pytest.mark.parametrize(
    "changes",
    [
        {"source": SOURCE + "\n"},
        {"parameters": {"lr": 7.0, "epochs": 4}},
        {"status": RunStatus.FAILED},
    ],
    ids=["another-text", "other-arguments", "failed"],
)
def test_without_such_a_run_the_command_that_makes_one_is_said(
    changes: dict[str, Any], job: Callable[..., Job]
) -> None:
    ran(**changes)
    with pytest.raises(UserError, match=r"run one trial, .*: distml run loop\.py --lr 0\.5$"):
        planned(job)


def test_a_job_without_a_file_of_its_own_is_refused() -> None:
    with pytest.raises(UserError, match=r"Own cannot be planned .* with num_samples=1"):
        planned(other)
