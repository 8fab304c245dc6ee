"""From the driver's command line to a run that may start: what the user can get wrong comes out.

One decision: a job comes from a file, from a run that is resumed, or from a run that is done again
as a new one; all three end in the same value, so the driver does not ask which it was. The latter
two work where the run has worked, so that its relative paths mean the same from anywhere.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from distml import jobfile
from distml.errors import UserError
from distml.job import Former, Job
from distml.jobfile import JobFile
from distml.machine import check_fits
from distml.rehearsal import is_rehearsal
from distml.runs.plans import load_expectation, load_plan, plan_key
from distml.runs.provenance import host_facts, new_record
from distml.runs.record import RunRecord, RunStatus
from distml.runs.storage import carries_keys, shown
from distml.runs.store import RunStore
from distml.runs.submissions import Submission
from distml.runs.units import UnitStore
from distml.searchline import SearchLine

__all__ = ["Start", "prepare"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A run that may start: nothing the user can get wrong is left to find."""

    store: RunStore
    record: RunRecord
    source: str
    """The job file's text."""
    job: Job
    is_new: bool
    """Whether there is no run of that name yet."""
    former: Former | None = None
    """The model the new one is held against, if there is one."""
    units: UnitStore | None = None
    """Where fits are kept. `None`: with those of all runs of the storage."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What its record's details say besides what the task does: its parent, what was predicted."""


def prepare(
    options: argparse.Namespace,
    stack: contextlib.ExitStack,
    submission: Submission | None = None,
) -> Start:
    """Find out everything that can be found out before a run exists.

    Args:
        options: The driver's command line.
        stack: Keeps what the run needs until it has ended.
        submission: How the run was handed over, if it was.

    Raises:
        UserError: the job file, its parameters, its data or its resources are wrong.
    """
    store = RunStore(options.storage)
    if options.resume or options.again:
        origin = store.load(options.run_id if options.resume else options.again)
        if submission is None:
            stack.enter_context(_where_it_ran(origin))
        record, loaded = _from_run(options, store, origin, stack)
    else:
        loaded = jobfile.load(options.job_file, more=_search(options))
        values = loaded.bind(options.arguments)
        # In a tree that was sent, the folder's whole name says nothing later.
        path = options.job_file if submission else str(loaded.path.absolute())
        record = _new(options, loaded, path, loaded.to_json(values))
        record = replace(record, details={"fresh": True} if options.fresh else {})
    if submission is not None and not options.resume:
        record = replace(record, git=submission.details.get("git"), folder=None)
    stack.enter_context(_importable_by_workers(_folder_of(record.job_file)))
    _check_secret_free(record)
    job = loaded.build(loaded.bind(record.parameters))
    # A Ray that is joined has other machines, and one that grows has not all of them yet.
    if submission is not None and "has" in submission.details:
        check_fits(job.resources, submission.details["has"], "the cluster")
    elif not os.environ.get("RAY_ADDRESS") and not is_rehearsal():
        check_fits(job.resources, host_facts())
    parent = record.details.get("parent", {})
    notes = dict(_notes(store, record, loaded.source, parent, is_elsewhere=submission is not None))
    is_fresh = parent.get("fresh") or record.details.get("fresh")
    return Start(
        store=store,
        record=replace(record, seed=job.seed, resources=asdict(job.resources), details=notes),
        source=loaded.source,
        job=job,
        is_new=not options.resume,
        former=_former(store, parent),
        units=UnitStore(store.paths(record.run_id).units) if is_fresh else None,
        notes=notes,
    )


def _check_secret_free(record: RunRecord) -> None:
    """What is in the record stays, and goes into the report."""
    for name, value in record.parameters.items():
        if isinstance(value, str) and carries_keys(value):
            raise UserError(
                f"parameter --{name.replace('_', '-')}: {shown(value)} names a password or key, "
                "which the run's record would keep; leave it out and give it by the environment, "
                "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )


def _search(options: argparse.Namespace) -> str:
    """What makes a search of the job, as source text; nothing where there is none."""
    line = SearchLine.read(
        options.search,
        metric=options.metric,
        mode=options.mode,
        num_samples=options.num_samples,
        searcher=options.searcher,
        scheduler=options.scheduler,
        max_concurrent_trials=options.max_concurrent_trials,
    )
    return "" if line is None else line.source()


def _from_run(
    options: argparse.Namespace, store: RunStore, record: RunRecord, stack: contextlib.ExitStack
) -> tuple[RunRecord, JobFile]:
    """A run's own record to go on with, or a new one like it, and its copy of the job file."""
    if options.resume and record.status is RunStatus.SUCCEEDED:
        raise UserError(f"run {record.run_id} has succeeded: nothing to resume; start a new run")
    copy = stack.enter_context(_copy_of_job(store, record))
    loaded = jobfile.load(copy, folder=_folder_of(record.job_file))
    if options.resume:
        return replace(record, launcher=options.launcher), loaded
    parameters = loaded.to_json(loaded.rebind(record.parameters, options.arguments))
    again = _new(options, loaded, record.job_file, parameters)
    return replace(again, details={"parent": _parent(options, record)}), loaded


def _new(
    options: argparse.Namespace, loaded: JobFile, job_file: str, parameters: Mapping[str, Any]
) -> RunRecord:
    return new_record(
        job_file=job_file,
        parameters=parameters,
        launcher=options.launcher,
        run_id=options.run_id,
    )


def _parent(options: argparse.Namespace, origin: RunRecord) -> dict[str, Any]:
    """How a run does another again; what began with a former model does so again."""
    before = origin.details.get("parent", {})
    if options.against is not None:
        before = {"former": origin.run_id, "warm": options.warm}
    return {
        "run": origin.run_id,
        "fresh": options.fresh,
        "former": before.get("former"),
        "warm": before.get("warm", False),
        "margin": options.against,
    }


def _folder_of(job_file: str) -> Path:
    """Where the modules beside a job file are; in another machine's tree, by the same ending."""
    path = Path(job_file)
    endings = (Path(*path.parts[start:]) for start in range(path.is_absolute(), len(path.parts)))
    if not path.is_file():
        path = next((ending for ending in endings if ending.is_file()), path)
    return path.absolute().parent


def _former(store: RunStore, parent: Mapping[str, Any]) -> Former | None:
    run_id = parent.get("former")
    if run_id is None:
        return None
    return Former(run_id=run_id, bundle=store.paths(run_id).bundle, warm=parent["warm"])


def _notes(
    store: RunStore,
    record: RunRecord,
    source: str,
    parent: Mapping[str, Any],
    *,
    is_elsewhere: bool,
) -> Iterator[tuple[str, Any]]:
    if parent:
        yield "parent", dict(parent)
    if record.details.get("fresh"):
        yield "fresh", True
    key = plan_key(source, record.parameters)
    there = load_expectation(store.storage, key, record.launcher)
    plan = None if there or is_elsewhere else load_plan(store.storage, key)
    if there is not None:
        yield "predicted", there
    elif plan is not None:
        peak = plan["memory"]["peak_bytes"]
        yield "predicted", {"seconds": plan["seconds"], "peak_bytes": peak}


@contextlib.contextmanager
def _where_it_ran(record: RunRecord) -> Iterator[None]:
    """Work in the folder of a run; where it is not here, say so and stay."""
    here = Path.cwd()
    there = Path(record.folder or here)
    if not there.is_dir():
        # No error: a run whose paths are all absolute, or URIs, goes on anywhere.
        sys.stderr.write(
            f"distml: run {record.run_id} ran in {there}, which is not here: its relative paths "
            f"are looked for in {here}; if they are not found, call this from where its files are\n"
        )
        there = here
    with contextlib.chdir(there):
        yield


@contextlib.contextmanager
def _copy_of_job(store: RunStore, record: RunRecord) -> Iterator[Path]:
    """The run's own copy of the job file, as a file of this machine."""
    there = Path(store.paths(record.run_id).job_source)
    if there.is_file():
        yield there
        return
    with tempfile.TemporaryDirectory(prefix="distml-job-") as folder:
        here = Path(folder, record.job_source)
        here.write_text(store.job_source(record.run_id), encoding="utf-8")
        yield here


@contextlib.contextmanager
def _importable_by_workers(folder: Path) -> Iterator[None]:
    """Let processes started from here import the modules beside the job file, as this one does."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), before)))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
