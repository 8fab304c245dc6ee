"""What all launchers share whose driver runs elsewhere: the tree, the command line, the note.

One decision: a place elsewhere gets a package with the working tree and distml, and one command
line: the keeper's, which holds the driver's. Whether the package goes with the request or through
the storage is decided by its size, or by a place that takes none.
"""

import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distml.errors import UserError
from distml.launch.launcher import LaunchRequest, driver_arguments
from distml.launch.tree import WorkingTree, find_tree, package_tree
from distml.runs.provenance import git_state, library_versions
from distml.runs.storage import carries_keys, join_uri, shown
from distml.runs.store import RunStore
from distml.runs.submissions import Submission, save_submission

__all__ = ["MAX_REQUEST_BYTES", "Shipment", "note", "ship"]

MAX_REQUEST_BYTES = 100 << 20
"""Ray's Jobs API answers HTTP 413 to a larger package."""

_PACKAGES = "packages"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipment:
    """A request made ready for a place elsewhere."""

    submission_id: str
    """Name of this handing over: the run's, with a number from the second on."""
    tree: WorkingTree
    """What travels."""
    name: str
    """What the package's content comes to."""
    package: bytes
    """The zip file."""
    command: tuple[str, ...]
    """The keeper's command line, or that which first fetches the tree."""
    through_storage: bool
    """Whether the package has to be in the storage before the command runs."""

    def put(self, storage: str) -> None:
        """Put the package into the storage, if it has to be there and is not.

        Raises:
            StorageError: the storage refuses.
        """
        path = f"{_PACKAGES}/{self.name}.zip"
        store = RunStore(storage).storage
        if self.through_storage and store.stat(path) is None:
            store.write(path, self.package)


def ship(
    place: str,
    request: LaunchRequest,
    *,
    python: str = "python",
    max_request_bytes: int = MAX_REQUEST_BYTES,
) -> Shipment:
    """Make a request ready; reads files and the run's record, changes nothing.

    Args:
        place: As `--on` names it.
        request: What to run.
        python: The interpreter over there.
        max_request_bytes: A larger package goes through the storage.

    Raises:
        UserError: the job file is not in the tree, the tree is too large, or keys would be seen.
    """
    _check_public(request)
    store = RunStore(request.storage)
    tree = find_tree(leave=None if "://" in store.uri else store.uri)
    name, package = package_tree(tree)
    here, job_file = Path.cwd().resolve(), None
    if request.job_file is not None:
        job_file = os.path.relpath(tree.root / tree.path_of(request.job_file), here)
    arguments = driver_arguments(
        place,
        replace(request, storage=store.uri, job_file=job_file),
        "--take-output",
        "--submitted",
    )
    through_storage = len(package) > max_request_bytes
    limit = request.limits.max_hours
    keeper = (
        "distml.launch.keeper",
        "--folder",
        here.relative_to(tree.root).as_posix(),
        *(() if limit is None else ("--max-hours", str(limit))),
        "--",
        *arguments,
    )
    start: tuple[str, ...] = (python, "-u", "-m")
    if through_storage:
        source = Path(__file__).with_name("entry.py").read_text(encoding="utf-8")
        uri = join_uri(store.uri, _PACKAGES, f"{name}.zip")
        start = (python, "-c", source, uri)
    return Shipment(
        submission_id=_submission_id(store, request),
        tree=tree,
        name=name,
        package=package,
        command=(*start, *keeper),
        through_storage=through_storage,
    )


def note(
    place: str,
    request: LaunchRequest,
    shipment: Shipment,
    *,
    prices: Mapping[str, float] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Submission:
    """Write down in the storage that a run is handed over, which is also how the driver knows it.

    Args:
        place: As `--on` names it.
        request: What runs.
        shipment: What is sent.
        prices: Node type → US dollars an hour.
        details: What the place wants to remember.

    Raises:
        StorageError: the storage refuses.
    """
    submission = Submission(
        run_id=request.run_id,
        submission_id=shipment.submission_id,
        launcher=place,
        submitted_at=time.time(),
        versions=library_versions(),
        prices=dict(prices or {}),
        details={"git": git_state(shipment.tree.root), **(details or {})},
    )
    save_submission(RunStore(request.storage).storage, submission)
    return submission


def _check_public(request: LaunchRequest) -> None:
    """What is handed over is seen by all who may look at the place, and stays in its lists."""
    for what, text in (("--storage", request.storage), *(("", a) for a in request.arguments)):
        if carries_keys(text):
            raise UserError(
                f"{f'{what} {shown(text)}'.strip()} names a password or key, which all who see the "
                "cluster could read there; leave it out: its nodes use credentials of their own "
                "(a role, or AWS_ACCESS_KEY_ID and the like in their environment)"
            )


def _submission_id(store: RunStore, request: LaunchRequest) -> str:
    """The run's own name, so that it cannot be started twice; a resumed one is a new job."""
    if "/" in request.run_id or shlex.quote(request.run_id) != request.run_id:
        raise UserError(f"run {request.run_id!r}: use letters, digits, - and _ in its name")
    if request.job_file is not None or request.again is not None:
        return request.run_id
    attempts = store.load(request.run_id).attempts
    return f"{request.run_id}-{len(attempts) + 1}" if attempts else request.run_id
