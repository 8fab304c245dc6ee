"""What a trial takes whose job takes no samples: what the job took when it ran by itself.

One decision: it is the last run of the file that has the job, of the same text and with the same
arguments but for those that are searched. Refuses where there is none, with what to run.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distml.errors import UserError
from distml.job import RunContext
from distml.runs.measured import plan_from_run
from distml.runs.record import RunRecord, RunStatus
from distml.runs.store import RunStore
from distml.runs.strict_json import to_json
from distml.tune.space import Space

if TYPE_CHECKING:
    from distml.tune.task import Tune

__all__ = ["plan_of_former"]


def plan_of_former(
    task: "Tune", config: Mapping[str, Any], kind: str, context: RunContext
) -> dict[str, Any]:
    """The plan of one trial, read off a run of its job.

    Args:
        task: The search.
        config: What a trial would be given.
        kind: Name of the trials' task.
        context: Of the run that is planned; others are beside it.

    Raises:
        UserError: there is no such run; it names the command that makes one.
        StorageError: the storage refuses.
    """
    path = inspect.getsourcefile(task.job_function) or ""
    if getattr(task.job_function, "__name__", "") != "job" or not Path(path).is_file():
        raise UserError(
            f"{kind} cannot be planned on samples, for it is code of your own, and its job has no "
            "file that runs by itself; run the search with num_samples=1 to see what a trial takes"
        )
    signature = inspect.signature(task.job_function)
    given = signature.bind(**{**task.arguments, **config})
    given.apply_defaults()
    arguments = to_json(dict(given.arguments))
    # The run that is planned would be a folder of the storage, beside the others.
    store = RunStore(context.run_uri.rpartition("/")[0])
    former = _last(store, Path(path), arguments, searched=Space.of(task.space).names)
    if former is None:
        words = " ".join(
            f"--{name.replace('_', '-')} {arguments[name]}" for name in {**task.arguments, **config}
        )
        raise UserError(
            f"{kind} cannot be planned on samples, for it is code of your own; run one trial, then "
            f"plan again: distml run {_shown(path)} {words}"
        )
    plan = plan_from_run(former, store.events(former.run_id))
    return {**plan, "used": {"what": "trial", "run": former.run_id}}


def _last(
    store: RunStore, path: Path, arguments: Mapping[str, Any], *, searched: Any
) -> RunRecord | None:
    """The last run of the file that differs in what is searched alone."""
    source = path.read_text(encoding="utf-8")
    fixed = {name: value for name, value in arguments.items() if name not in searched}
    for record in store.list():
        if record.status is not RunStatus.SUCCEEDED or record.job_name != path.stem:
            continue
        is_alike = all(record.parameters.get(name) == value for name, value in fixed.items())
        if is_alike and store.job_source(record.run_id) == source:
            return record
    return None


def _shown(path: str) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
