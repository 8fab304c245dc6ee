"""`distml cluster up|down|status|list|ssh|dashboard`: clusters of machines that files describe.

One decision: what is shown is asked of the provider and of the cluster's own head each time; the
notes kept here only say which clusters to ask for, so what a provider has beside them is seen too.
"""

import difflib
import subprocess
import time
from typing import Any

import click

from distml.errors import UserError
from distml.launch.cloud import IDLE_MINUTES
from distml.launch.clouds.cloud_cluster import CloudCluster, open_cluster
from distml.launch.clouds.known import known_clusters
from distml.launch.clouds.standing import look_around, look_at, table
from distml.launch.clouds.strangers import strangers
from distml.launch.clouds.take_down import bring_up, take_down

__all__ = ["command"]

_which = click.argument("which", metavar="FILE_OR_NAME")
_which_or_only = click.argument("which", metavar="[FILE_OR_NAME]", required=False)


class _Group(click.Group):
    """Answers an unknown command with the nearest."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(self.commands)}"
            raise UserError(f"unknown command {args[0]!r} of cluster; {hint}")
        return super().resolve_command(ctx, args)


@click.group("cluster", cls=_Group, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Bring clusters up and down, and see what they cost.

    FILE_OR_NAME is a cluster file, such as cluster/aws.yaml, or the name of one started from here;
    it may be left out where it is in brackets and only one was.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("up")
@_which
@click.option("--max-hours", type=click.FloatRange(min=0, min_open=True), help="End it then.")
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    metavar="USD",
    help="End it when that is spent.",
)
@click.option(
    "--idle-minutes",
    type=click.FloatRange(min=0),
    default=IDLE_MINUTES,
    show_default=True,
    help="End it when it had no job for so long; 0: never.",
)
def up_command(
    which: str, max_hours: float | None, max_cost: float | None, idle_minutes: float
) -> None:
    """Bring a cluster up, if it is not; its head itself ends it at the limits."""
    cluster = open_cluster(which, to_start=True)
    if max_cost is not None:
        cluster.check_cost_limit()
    for warning in cluster.file.warnings:
        _say(f"warning: {warning}")
    limits = {"max_hours": max_hours, "max_cost": max_cost, "idle_s": idle_minutes * 60 or None}
    standing = bring_up(cluster, limits, _say)
    if standing.was_up:
        cluster.tell_warden(standing.reach, limits)
    standing.tunnel.close()
    click.echo(f"{cluster.name} {'was' if standing.was_up else 'is'} up{_ends(limits)}")
    click.echo(f"run a job there: distml run JOBFILE --on cloud:{cluster.file.path}", err=True)


@command.command("down")
@_which
def down_command(which: str) -> None:
    """Take a cluster down: its jobs are stopped, and nothing of it is left."""
    cluster = open_cluster(which)
    take_down(cluster, "distml cluster down", _say)
    click.echo(f"{cluster.name} is gone")


@command.command("status")
@_which_or_only
def status_command(which: str | None) -> None:
    """Show one cluster: its nodes, its jobs, what it has cost and when it ends."""
    cluster = open_cluster(which or _only())
    seen = look_at(cluster)
    click.echo(table([seen]))
    for line in seen.details():
        click.echo(line)
    for line in (*seen.warnings(), *strangers([cluster], [one.name for one in known_clusters()])):
        _say(line)


@command.command("list")
def list_command() -> None:
    """List the clusters that were started from here, and what else runs beside them."""
    seen, unknown = look_around()
    click.echo(table(seen) if seen else "no cluster was started from here")
    for line in (*[w for one in seen for w in one.warnings()], *unknown):
        _say(line)


@command.command("ssh")
@_which
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]")
def ssh_command(which: str, words: tuple[str, ...]) -> int:
    """Open a shell on the head of a cluster, or run one command there."""
    reach = _reach(open_cluster(which))
    line = reach.command(terminal=True)
    return subprocess.call([*line, *words])


@command.command("dashboard")
@_which_or_only
def dashboard_command(which: str | None) -> None:
    """Open a way to Ray's dashboard on 127.0.0.1, until Ctrl-C."""
    cluster = open_cluster(which or _only())
    standing = cluster.stand()
    if standing is None:
        raise UserError(f"cluster {cluster.name} is not up: distml cluster up {cluster.file.path}")
    click.echo(f"http://127.0.0.1:{standing.tunnel.port} until Ctrl-C")
    try:
        while True:
            time.sleep(1)
            standing.tunnel.keep()
    finally:
        standing.tunnel.close()


def _only() -> str:
    """The one cluster that was started from here."""
    names = [one.name for one in known_clusters()]
    if not names:
        raise UserError(
            "no cluster was started from here: name its file, or distml cluster up FILE"
        )
    if len(names) > 1:
        raise UserError(f"which cluster? {', '.join(names)} were started from here")
    return names[0]


def _reach(cluster: CloudCluster) -> Any:
    reach = cluster.reach()
    if reach is None:
        raise UserError(f"cluster {cluster.name} is not up")
    return reach


def _ends(limits: dict[str, float | None]) -> str:
    told = {
        "max_hours": "{:g} hours from its start",
        "max_cost": "{:g} US dollars",
    }
    parts = [text.format(limits[name]) for name, text in told.items() if limits[name] is not None]
    if limits["idle_s"] is not None:
        parts.append(f"{limits['idle_s'] / 60:g} minutes without a job")
    return f"; it ends after {' or '.join(parts)}" if parts else ""


def _say(words: str) -> None:
    click.echo(f"distml: {words}", err=True)
