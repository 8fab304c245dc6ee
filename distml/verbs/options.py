"""Options and arguments that several commands share, so that they read the same everywhere."""

import click

__all__ = ["detach_option", "on_option", "run_argument", "storage_option"]

storage_option = click.option(
    "--storage",
    envvar="DISTML_STORAGE",
    default="runs",
    show_default=True,
    metavar="URI",
    help="Directory of runs: a path, s3://, gs://, abfs://; or set DISTML_STORAGE.",
)
"""Where the runs are: `storage`."""

on_option = click.option(
    "--on", default="local", show_default=True, metavar="LAUNCHER", help="Where to run."
)
"""Which launcher: `on`."""

detach_option = click.option(
    "--detach", is_flag=True, help="Start it, print the run's name and return."
)
"""Whether to wait: `detach`."""

run_argument = click.argument("run")
"""Which run: `run`, its name, an unmistakable part of it, or `last`."""
