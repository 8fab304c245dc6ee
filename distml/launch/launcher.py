"""What a launcher is: a place to run the driver, planned as a value and then carried out.

One decision: `plan` is pure and printable, `submit` has the effects. Whatever a launcher can or
cannot do that others need to know is a field of the plan, never a question about its class. Every
plan ends in the same command line of the driver, so all places run the same program.

A place is named `KIND` or `KIND:TARGET`, such as `cluster:http://head:8265`. Refuses, with the
nearest right one, a kind that is not in the table.
"""

import difflib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from distml.errors import UserError
from distml.launch.handle import JobHandle

if TYPE_CHECKING:
    from distml.launch.remote import Shipment

__all__ = [
    "LAUNCHERS",
    "LaunchLimits",
    "LaunchPlan",
    "LaunchRequest",
    "Launcher",
    "PlacedJob",
    "driver_arguments",
    "launcher",
]

LAUNCHERS: Mapping[str, str] = MappingProxyType(
    {
        "debug": "distml.launch.debug:DebugLauncher",
        "local": "distml.launch.local:LocalLauncher",
        "cluster": "distml.launch.cluster:ClusterLauncher",
        "cloud": "distml.launch.cloud:CloudLauncher",
        "kubernetes": "distml.launch.kubernetes:KubernetesLauncher",
    }
)
"""Kind of place → where its class is; loaded when asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchLimits:
    """What a run may take at most. `None`: no limit."""

    max_hours: float | None = None
    """Hours from its start, or from the start of the cluster that is started for it."""
    max_cost: float | None = None
    """US dollars, by the price table."""
    down: bool | None = None
    """Whether the cluster ends with the run. `None`: if it was started for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchRequest:
    """What to run, and where its run is kept."""

    storage: str
    """Directory of runs, a local path or a `pyarrow.fs` URI."""
    run_id: str
    """Name of the run."""
    job_file: str | None = None
    """The job file. `None`: resume the run from its own copy, or do `again` another."""
    again: str | None = None
    """The run to do again, as a new one, from its copy of the job file and its parameters."""
    options: tuple[str, ...] = ()
    """Further options of the driver, such as `("--fresh",)`."""
    arguments: tuple[str, ...] = ()
    """The job's own command line, such as `("--rows", "50000")`."""
    detach: bool = False
    """Whether the job shall go on when the one who submits it has gone."""
    limits: LaunchLimits = field(default_factory=LaunchLimits)
    """What it may take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchPlan:
    """What `submit` will do. Printed, it is the driver's command line and what is sent with it."""

    launcher: str
    """The place, as `--on` names it."""
    request: LaunchRequest
    """What was asked for."""
    command: tuple[str, ...]
    """The process to start, or in whose place the driver is called."""
    owns_terminal: bool
    """Whether the job reads and writes this terminal, so that nothing else may draw on it."""
    shipment: "Shipment | None" = None
    """What travels; `None` where the driver reads the files in their place."""
    submission: Mapping[str, Any] | None = None
    """What is sent to the place, as JSON; `None` where the command is simply started."""

    def __str__(self) -> str:
        if self.submission is None:
            return shlex.join(self.command)
        tree = () if self.shipment is None else (str(self.shipment.tree),)
        return "\n\n".join((*tree, json.dumps(self.submission, indent=2)))


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedJob:
    """A job as a place knows it; of distml or not."""

    job_id: str
    """Its name there."""
    run_id: str | None
    """The run; `None` if it is none of distml's."""
    status: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
    started_at: float | None = None
    """Unix seconds of when the place took it."""
    ended_at: float | None = None
    """Unix seconds; `None` while it goes on."""
    storage: str | None = None
    """Where the run is kept."""


class Launcher(Protocol):
    """A place where drivers run. Made with what follows its kind; keeps no state between calls."""

    def __init__(self, target: str | None = None) -> None:
        """Take `TARGET` of `--on KIND:TARGET`.

        Raises:
            UserError: the kind has no targets, or not such a one.
        """

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """Decide what to do, without doing anything.

        Raises:
            UserError: this place cannot do what is asked.
        """

    def submit(self, plan: LaunchPlan) -> JobHandle:
        """Do it. Returns when the place has taken the job, or has already ended it.

        Raises:
            DistmlError: the place does not take the job.
        """

    def attach(self, storage: str, run_id: str) -> JobHandle:
        """Take hold of a run that was submitted here, by this or another process.

        Raises:
            UserError: the run is unknown, or runs where it cannot be reached from here.
        """

    def jobs(self) -> list[PlacedJob]:
        """All jobs that this place knows.

        Raises:
            UserError: it keeps no list, or does not answer.
        """


def launcher(place: str) -> Launcher:
    """Make the launcher of a place.

    Args:
        place: `KIND` or `KIND:TARGET`.

    Raises:
        UserError: there is none.
    """
    kind, _, target = place.partition(":")
    if kind not in LAUNCHERS:
        close = difflib.get_close_matches(kind, LAUNCHERS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(f"unknown launcher {kind!r}: {hint}there are {', '.join(LAUNCHERS)}")
    module, _, attribute = LAUNCHERS[kind].partition(":")
    made: Launcher = getattr(import_module(module), attribute)(target or None)
    return made


def driver_arguments(name: str, request: LaunchRequest, *options: str) -> tuple[str, ...]:
    """The command line of the driver, without the interpreter: the same for every launcher."""
    job: tuple[str, ...] = ("--resume",)
    if request.again is not None:
        job = ("--again", request.again)
    elif request.job_file is not None:
        job = (request.job_file,)
    place = ("--storage", request.storage, "--run-id", request.run_id, "--launcher", name)
    rest = ("--", *request.arguments) if request.arguments else ()
    return (*job, *place, *request.options, *options, *rest)
