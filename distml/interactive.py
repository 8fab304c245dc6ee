"""Run a job from a notebook or a script: in this process, with the record of any other run.

One decision: it is the driver's own run of a job that was built here instead of loaded from a file.
So it has progress, report and bundle, but no file to start it again from: what shall be resumed or
reproduced belongs into a job file.
"""

import contextlib
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distml.driver import End, Start, drive
from distml.errors import DistmlError, UserError
from distml.job import Job
from distml.logfile import collect_log
from distml.machine import check_fits
from distml.runs.bundle import load
from distml.runs.display import open_display
from distml.runs.model import Model
from distml.runs.provenance import host_facts, new_record
from distml.runs.record import RunRecord, RunStatus, new_run_id
from distml.runs.store import RunStore
from distml.signals import Signals

__all__ = ["Run", "run"]

_SOURCE = (
    "# This run was started by distml.run(job): its job was built in a notebook or a script.\n"
)


@dataclass(frozen=True)
class Run:
    """A finished run. In a notebook it shows itself: result table and curves."""

    store: RunStore
    """Where it is."""
    record: RunRecord
    """What it was and how it ended."""

    @property
    def metrics(self) -> dict[str, Any]:
        """Test set → scorer name → score of the final model."""
        return dict(self.record.metrics)

    @property
    def uri(self) -> str:
        """Folder of the run."""
        return self.store.paths(self.record.run_id).root

    def model(self) -> Model:
        """Load the model it saved.

        Raises:
            DataError: there is none.
        """
        return load(self.store.paths(self.record.run_id).bundle)

    def __repr__(self) -> str:
        return f"<Run {self.record.run_id} {self.record.status} {self.metrics}>"

    def _repr_html_(self) -> str:
        from distml.report import notebook_html

        return notebook_html(self.store, self.record.run_id)


def run(job: Job, *, storage: str | Path = "runs", run_id: str | None = None) -> Run:
    """Run a job here and now.

    Ray starts on this machine when an ensemble first asks for it, and stays for the next run.

    Args:
        job: what to do.
        storage: directory of runs: a path or a `pyarrow.fs` URI.
        run_id: name of the run; made up otherwise.

    Returns:
        The finished run.

    Raises:
        UserError: the job asks for what cannot be done.
        DistmlError: it failed; the run's log has the traceback.
        KeyboardInterrupt: it was stopped.
    """
    check_fits(job.resources, host_facts())
    here = str(Path(sys.argv[0] or "notebook").with_suffix(".py").absolute())
    record = new_record(
        job_file=here, parameters={}, launcher="debug", run_id=run_id or new_run_id("notebook")
    )
    record = replace(record, seed=job.seed, resources=asdict(job.resources))
    store = RunStore(storage)
    start = Start(store=store, record=record, source=_SOURCE, job=job, is_new=True)
    with Signals() as signals, collect_log() as log, open_display() as display:

        def show(kind: str, **fields: Any) -> None:
            display.show({"t": time.time(), "kind": kind, **fields})

        with contextlib.closing(log):
            end = drive(start, log, signals, take_output=False, listener=show)
    _raise_if_failed(end)
    return Run(store=store, record=store.load(record.run_id))


def _raise_if_failed(end: End) -> None:
    if end.status is RunStatus.STOPPED:
        raise KeyboardInterrupt(end.reason)
    if end.status is RunStatus.FAILED:
        raise (UserError if end.exit_code == 2 else DistmlError)(end.reason or "it failed")
