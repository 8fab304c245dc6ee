"""What a command needs of a run that has left a model: its record, evaluation and predictions."""

import json
from collections.abc import Mapping
from typing import Any

from distml.errors import StorageError, UserError
from distml.runs.paths import RunPaths
from distml.runs.record import RunRecord, RunStatus
from distml.runs.storage import join_uri
from distml.runs.store import RunStore

__all__ = ["evaluation", "finished_run", "golden_predictions"]

_GOLDEN = "golden.arrow"


def finished_run(store: RunStore, run: str, *, to: str) -> RunRecord:
    """The record of a run that succeeded and left a bundle.

    Args:
        store: Where it is.
        run: Which: its name, an unmistakable part of it, or `last`.
        to: What the command wants to do with it, such as `reproduce`.

    Raises:
        UserError: there is no such run, it has not succeeded, or left no bundle.
    """
    record = store.load(run)
    if record.status is not RunStatus.SUCCEEDED:
        raise UserError(
            f"run {record.run_id} is {record.status}: there is nothing to {to}; "
            f"go on with it first: distml resume {record.run_id}"
        )
    if "bundle" not in record.artifacts:
        raise UserError(
            f"run {record.run_id} left no bundle: there is no model to {to}; give a run of a Fit"
        )
    return record


def evaluation(store: RunStore, run_id: str) -> Mapping[str, Any]:
    """The evaluation of a run; empty if it has none.

    Raises:
        StorageError: the storage refuses, or the file is damaged.
    """
    path = RunPaths(run_id).evaluation
    try:
        found: Mapping[str, Any] = json.loads(store.storage.read(path))
        return found
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StorageError(f"{path} is damaged ({error}); run the job again") from error


def golden_predictions(store: RunStore, run_id: str) -> dict[str, Any]:
    """What a run's model said of its golden rows: column → values; empty if it kept none.

    Raises:
        DataError: the file is damaged.
        StorageError: the storage refuses.
    """
    try:
        content = store.storage.read(join_uri(RunPaths(run_id).bundle, _GOLDEN))
    except FileNotFoundError:
        return {}
    # Only here: the list of commands imports this module, and shall not wait for Arrow.
    from distml.runs.golden import read_golden

    inputs, outputs = read_golden(content)
    return {**inputs.to_pydict(), **{f"{n}()": v for n, v in outputs.to_pydict().items()}}
