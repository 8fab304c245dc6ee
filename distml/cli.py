"""The command line: `distml run list show logs resume stop`.

One decision: it starts jobs by launchers and reads runs from their storage, and does nothing else;
what a job does happens in the driver. So `list`, `show` and `logs` load neither Ray nor what a job
needs, and the other commands, in `distml.verbs`, are imported when they are called. Every mistake
is one line on stderr: exit code 2 for what the user can put right, 1 for what failed, 130 for what
was interrupted.
"""

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from distml.errors import DistmlError, UserError
from distml.launch.handle import JobHandle
from distml.launch.launcher import LaunchLimits, LaunchRequest, launcher
from distml.runs.record import new_run_id
from distml.runs.store import RunStore
from distml.runs.submissions import load_submission
from distml.runs.trials import with_trials
from distml.terminal import job_help, record_text, runs_text
from distml.verbs.follow import INTERRUPTED, fail, see_through, watch, width
from distml.verbs.options import (
    detach_option,
    limit_options,
    on_option,
    run_argument,
    run_id_option,
    search_arguments,
    search_options,
    storage_option,
)

__all__ = ["cli", "main"]

_VERBS: dict[str, str] = {
    "init": "init",
    "doctor": "doctor",
    "status": "status",
    "plan": "plan",
    "verify": "verify",
    "report": "report",
    "compare": "compare",
    "reproduce": "reproduce",
    "retrain": "retrain",
    "predict": "predict",
    "evaluate": "evaluate",
    "cluster": "cluster",
}
"""Name of a command → its module in `distml.verbs`, in the order of `--help`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of the process."""
    try:
        code = cli.main(args=arguments, prog_name="distml", standalone_mode=False)
    except click.ClickException as error:
        return fail(" ".join(error.format_message().split()), 2)
    except DistmlError as error:
        return fail(error.line, error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename}:{place.lineno}"
        return fail(f"{type(error).__name__}: {error} ({where}); this is a bug of distml", 1)
    return code if isinstance(code, int) else 0


class _Commands(click.Group):
    """A group that answers an unknown command with the nearest, and lists them as defined.

    The commands of `distml.verbs` are imported when they are called.
    """

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
            raise UserError(f"unknown command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *_VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = import_module(f"distml.verbs.{_VERBS[cmd_name]}").command
        return command


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
@on_option
@storage_option
@run_id_option
@detach_option
@limit_options
@search_options
@click.option("--dry-run", is_flag=True, help="Submit nothing: print what would be.")
@click.option("--help", "ask", is_flag=True, help="Show this, and the job's parameters.")
@click.pass_context
def run_command(
    ctx: click.Context,
    /,
    line: tuple[str, ...],
    on: str,
    storage: str,
    run_id: str | None,
    detach: bool,
    max_hours: float | None,
    max_cost: float | None,
    down: bool | None,
    dry_run: bool,
    ask: bool,
    **search: Any,
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
        options=search_arguments(**search),
        arguments=line[1:],
        detach=detach,
        limits=LaunchLimits(max_hours=max_hours, max_cost=max_cost, down=down),
    )
    if dry_run:
        click.echo(launcher(on).plan(request))
        return 0
    return see_through(launcher(on), request)


@cli.command("list")
@click.option("--on", metavar="PLACE", help="List the jobs that a cluster knows instead.")
@storage_option
def list_command(on: str | None, storage: str) -> None:
    """List the runs, the latest first."""
    if on is not None:
        from distml.verbs.placed import placed_text

        click.echo(placed_text(launcher(on).jobs(), width()) or f"no jobs on {on}")
        return
    runs = RunStore(storage).list()
    click.echo(runs_text(runs, width()) if runs else f"no runs in {storage}")


@cli.command("show")
@run_argument
@click.option(
    "--sort", metavar="COLUMN", help="Sort the trials of a search; -COLUMN: the greatest first."
)
@storage_option
def show_command(run: str, sort: str | None, storage: str) -> None:
    """Show what a run is and how it ended; of a search, its trials."""
    store = RunStore(storage)
    record, trials = with_trials(store, store.load(run), sort)
    click.echo(record_text(record, store.paths(record.run_id), width(), trials))
    if record.details.get("predicted"):
        # Only here: few runs have a plan.
        from distml.foreseen import foreseen_text

        told = foreseen_text(record, width())
        if told:
            click.echo(f"\n{told}")


@cli.command("logs")
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--unit", metavar="NAME", help="Only what a unit printed; * takes all of them.")
@storage_option
def logs_command(run: str, follow: bool, unit: str | None, storage: str) -> None:
    """Print the log of a run."""
    handle = _attached(run, storage)
    pieces = handle.logs(follow=follow)
    if unit is not None:
        from distml.verbs.placed import unit_words

        pieces = unit_words(handle, unit, follow=follow)
    for piece in pieces:
        click.echo(piece, nl=False)


@cli.command("resume")
@run_argument
@click.option("--on", metavar="PLACE", help="Where to run; where it ran before otherwise.")
@storage_option
@detach_option
@limit_options
def resume_command(run: str, on: str | None, storage: str, detach: bool, **limits: Any) -> int:
    """Go on with a run that was stopped or failed: only what is missing is done."""
    # Only here: it reads what runs leave behind.
    from distml.verbs.verdict import is_due, say_verdict

    store = RunStore(storage)
    record = store.load(run)
    if not is_due(record):
        request = LaunchRequest(
            storage=storage, run_id=record.run_id, detach=detach, limits=LaunchLimits(**limits)
        )
        code = see_through(launcher(on or record.launcher), request)
        if code or detach:
            return code
    return say_verdict(store, record.run_id)


@cli.command("wait")
@run_argument
@storage_option
def wait_command(run: str, storage: str) -> int:
    """Wait until a run has ended, and say how; the exit code is the run's."""
    return watch(_attached(run, storage))


@cli.command("stop")
@run_argument
@storage_option
def stop_command(run: str, storage: str) -> None:
    """Stop a run: what it has finished stays, and it can be resumed."""
    handle = _attached(run, storage)
    handle.stop()
    click.echo(f"stopped {handle.run_id}")


def _attached(run: str, storage: str) -> JobHandle:
    store = RunStore(storage)
    try:
        record = store.load(run)
    except UserError:
        # One that waits to begin has no record yet.
        if (waiting := load_submission(store.storage, run)) is None:
            raise
        return launcher(waiting.launcher).attach(storage, waiting.run_id)
    return launcher(record.launcher).attach(storage, record.run_id)


def _help_on_job(ctx: click.Context, line: Sequence[str]) -> int:
    click.echo(ctx.get_help())
    if line:
        # Only here the job file runs in this process.
        from distml import jobfile

        click.echo("\n" + job_help(jobfile.load(line[0]), width()))
    return 0
