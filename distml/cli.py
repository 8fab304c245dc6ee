"""The command line: `distml run list show logs resume stop`.

One decision: it starts jobs by launchers and reads runs from their storage, and does nothing else;
what a job does happens in the driver. So `list`, `show` and `logs` load neither Ray nor what a job
needs. Every mistake is one line on stderr: exit code 2 for what the user can put right, 1 for what
failed, 130 for what was interrupted.
"""

import contextlib
import difflib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import click

from distml.errors import DistmlError, UserError
from distml.launch.handle import JobHandle
from distml.launch.launcher import Launcher, LaunchRequest, launcher
from distml.runs.display import open_display
from distml.runs.record import RunStatus, new_run_id
from distml.runs.store import DRIVER_DIED, RunStore
from distml.terminal import job_help, outcome_text, record_text, runs_text

__all__ = ["cli", "main"]

_INTERRUPTED = 130
_POLL_S = 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of the process."""
    try:
        code = cli.main(args=arguments, prog_name="distml", standalone_mode=False)
    except click.ClickException as error:
        return _fail(" ".join(error.format_message().split()), 2)
    except DistmlError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename}:{place.lineno}"
        return _fail(f"{type(error).__name__}: {error} ({where}); this is a bug of distml", 1)
    return code if isinstance(code, int) else 0


class _Commands(click.Group):
    """A group that answers an unknown command with the nearest, and lists them as defined."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(self.commands)}"
            raise UserError(f"unknown command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


_storage = click.option(
    "--storage",
    envvar="DISTML_STORAGE",
    default="runs",
    show_default=True,
    metavar="URI",
    help="Directory of runs: a path, s3://, gs://, abfs://; or set DISTML_STORAGE.",
)
_detach = click.option("--detach", is_flag=True, help="Start it, print the run's name and return.")
_run = click.argument("run")


@click.group(cls=_Commands, invoke_without_command=True)
@click.version_option(package_name="distml", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Train by one job file, from a laptop to a cluster.

    RUN is the name of a run, an unmistakable part of it, or `last`.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.command(
    "run",
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
    options_metavar="JOBFILE [OPTIONS] [JOB PARAMETERS]",
)
@click.argument("line", nargs=-1, type=click.UNPROCESSED, metavar="")
@click.option("--on", default="local", show_default=True, metavar="LAUNCHER", help="Where to run.")
@_storage
@click.option("--run-id", metavar="NAME", help="Name of the run; made up otherwise.")
@_detach
@click.option("--help", "ask", is_flag=True, help="Show this, and the job's parameters.")
@click.pass_context
def run_command(
    ctx: click.Context,
    line: tuple[str, ...],
    on: str,
    storage: str,
    run_id: str | None,
    detach: bool,
    ask: bool,
) -> int:
    """Run a job file.

    What its `job()` takes are options here, such as `--rows 50000`; after `--`, all are the job's.
    """
    if line and line[0].startswith("-"):
        raise UserError(f"the job file comes before its parameters: distml run JOBFILE {line[0]} …")
    if ask:
        return _help_on_job(ctx, line)
    if not line:
        raise UserError("which job? say distml run JOBFILE, such as distml run jobs/x.py")
    request = LaunchRequest(
        storage=storage,
        run_id=run_id or new_run_id(line[0]),
        job_file=line[0],
        arguments=line[1:],
        detach=detach,
    )
    return _see_through(launcher(on), request)


@cli.command("list")
@_storage
def list_command(storage: str) -> None:
    """List the runs, the latest first."""
    runs = RunStore(storage).list()
    click.echo(runs_text(runs, _width()) if runs else f"no runs in {storage}")


@cli.command("show")
@_run
@_storage
def show_command(run: str, storage: str) -> None:
    """Show what a run is and how it ended."""
    store = RunStore(storage)
    record = store.load(run)
    click.echo(record_text(record, store.paths(record.run_id), _width()))


@cli.command("logs")
@_run
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@_storage
def logs_command(run: str, follow: bool, storage: str) -> None:
    """Print the log of a run."""
    for piece in _attached(run, storage).logs(follow=follow):
        click.echo(piece, nl=False)


@cli.command("resume")
@_run
@click.option("--on", metavar="LAUNCHER", help="Where to run; where it ran before otherwise.")
@_storage
@_detach
def resume_command(run: str, on: str | None, storage: str, detach: bool) -> int:
    """Go on with a run that was stopped or failed: only what is missing is done."""
    record = RunStore(storage).load(run)
    request = LaunchRequest(storage=storage, run_id=record.run_id, detach=detach)
    return _see_through(launcher(on or record.launcher), request)


@cli.command("stop")
@_run
@_storage
def stop_command(run: str, storage: str) -> None:
    """Stop a run: what it has finished stays, and it can be resumed."""
    handle = _attached(run, storage)
    handle.stop()
    click.echo(f"stopped {handle.run_id}")


def _attached(run: str, storage: str) -> JobHandle:
    record = RunStore(storage).load(run)
    return launcher(record.launcher).attach(storage, record.run_id)


def _see_through(place: Launcher, request: LaunchRequest) -> int:
    """Submit a job, show its progress, and say how it ended."""
    plan, handle = place.plan(request), place.attach(request.storage, request.run_id)
    num_attempts = _num_attempts(handle)
    if request.detach:
        return _detached(place.submit(plan), num_attempts)
    try:
        with _terminable():
            handle = place.submit(plan)  # an interrupt in here ends the driver too
            if not plan.owns_terminal:
                _draw(handle, num_attempts)
            code = handle.wait()
    except KeyboardInterrupt:
        _stop(handle)
        code = _INTERRUPTED
    return _say_outcome(handle, num_attempts, code or 0)


def _detached(handle: JobHandle, num_attempts: int) -> int:
    if not _has_started(handle, num_attempts):
        return _say_outcome(handle, num_attempts, handle.wait() or 0)
    click.echo(handle.run_id)
    click.echo(f"follow it: distml logs -f {handle.run_id}", err=True)
    return 0


def _has_started(handle: JobHandle, num_attempts: int) -> bool:
    """Wait until the driver has begun; False if it ended before."""
    ended = False
    while _num_attempts(handle) <= num_attempts:
        if ended:
            return False
        ended = handle.wait(_POLL_S) is not None
    return True


def _num_attempts(handle: JobHandle) -> int:
    record = handle.record()
    return 0 if record is None else len(record.attempts)


def _draw(handle: JobHandle, num_attempts: int) -> None:
    """Follow the run's events on a terminal until it has ended."""
    if not sys.stderr.isatty() or not _has_started(handle, num_attempts):
        return
    with open_display(sys.stderr) as display:
        for event in handle.store.events(handle.run_id, follow=True):
            display.show(event)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let a closed terminal or a SIGTERM end the run as Ctrl-C does."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread
        before = {s: signal.signal(s, interrupt) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _stop(handle: JobHandle) -> None:
    click.echo("\nstopping; Ctrl-C again to kill", err=True)
    try:
        handle.stop()
    except KeyboardInterrupt:
        handle.stop(grace_s=0.0)


def _say_outcome(handle: JobHandle, num_attempts: int, code: int) -> int:
    """Print the result of a run, or the driver's last words."""
    words = handle.last_words() if code != _INTERRUPTED else ""
    if words:
        sys.stderr.write(words)
    if _num_attempts(handle) <= num_attempts:
        return code
    record, paths = handle.store.load(handle.run_id), handle.store.paths(handle.run_id)
    # One that ended by itself without writing that down has said why.
    if code > 128 and record.status is RunStatus.FAILED and record.reason == DRIVER_DIED:
        return _fail(f"run {record.run_id}: its driver died; see {paths.log}", code or 1)
    if record.status is not RunStatus.FAILED:
        click.echo(outcome_text(record, paths, _width()))
    return code


def _help_on_job(ctx: click.Context, line: Sequence[str]) -> int:
    click.echo(ctx.get_help())
    if line:
        # Only here the job file runs in this process.
        from distml import jobfile

        click.echo("\n" + job_help(jobfile.load(line[0]), _width()))
    return 0


def _width() -> int:
    """Columns of the terminal; a reader that is none gets lines as long as they are."""
    seen = sys.stdout.isatty() or "COLUMNS" in os.environ
    return shutil.get_terminal_size().columns if seen else sys.maxsize


def _fail(message: str, code: int) -> int:
    click.echo(f"distml: error: {message}", err=True)
    return code
