"""The training script and its parameters, as a bundle keeps them beside the model.

The one decision: they are taken from the run's own record, which has the job file as it was when
the run started, not as it may stand on the disk now.
"""

import ast
import contextlib
import json

from distml.runs.paths import RunPaths
from distml.runs.storage import open_storage
from distml.runs.strict_json import dumps

__all__ = ["description", "script_files"]


def script_files(run_uri: str) -> dict[str, bytes]:
    """Read the job file of a run and the parameters it was called with.

    Args:
        run_uri: directory of the run.

    Returns:
        `job.py` and `parameters.json` with their content; nothing if this is no run of a driver.

    Raises:
        StorageError: the storage refuses.
    """
    storage, here = open_storage(run_uri), RunPaths("")
    try:
        source, record = storage.read(here.job_source), json.loads(storage.read(here.record))
    except FileNotFoundError:
        return {}
    parameters = {name: record.get(name) for name in ("parameters", "seed", "job_file", "git")}
    return {"job.py": source, "parameters.json": f"{dumps(parameters, indent=2)}\n".encode()}


def description(source: bytes) -> str | None:
    """What a job file says of itself.

    Args:
        source: its content.

    Returns:
        The first paragraph of its docstring, as one line; `None` without one.

    Raises:
        Nothing.
    """
    with contextlib.suppress(SyntaxError, ValueError):
        told = ast.get_docstring(ast.parse(source)) or ""
        return " ".join(told.split("\n\n")[0].split()) or None
    return None
