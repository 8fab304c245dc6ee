"""Options and arguments that several commands share, so that they read the same everywhere."""

from collections.abc import Callable
from typing import Any

import click

__all__ = [
    "check_option",
    "detach_option",
    "limit_options",
    "on_option",
    "run_argument",
    "run_id_option",
    "search_arguments",
    "search_options",
    "storage_option",
    "trust_option",
]

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
    "--on",
    envvar="DISTML_ON",
    default="local",
    show_default=True,
    metavar="PLACE",
    help="Where to run: debug, local, cluster:http://HOST:8265, cloud:FILE.yaml, kubernetes.",
)
"""Which launcher: `on`."""

detach_option = click.option(
    "--detach", is_flag=True, help="Start it, print the run's name and return."
)
"""Whether to wait: `detach`."""

run_id_option = click.option("--run-id", metavar="NAME", help="Name of the run; made up otherwise.")
"""What to call the run: `run_id`."""

check_option = click.option(
    "--check",
    type=click.Choice(["strict", "warn"]),
    default="strict",
    show_default=True,
    help="What to do about a model that is not as it was saved.",
)
"""How strict to be with a saved model: `check`."""

trust_option = click.option(
    "--trust", is_flag=True, help="Load what can run code, such as pickles."
)
"""Whether a saved model may run code: `trust`."""

run_argument = click.argument("run")
"""Which run: `run`, its name, an unmistakable part of it, or `last`."""

_LIMITS = (
    click.option(
        "--max-hours", type=click.FloatRange(min=0, min_open=True), help="Stop it then, elsewhere."
    ),
    click.option(
        "--max-cost",
        type=click.FloatRange(min=0, min_open=True),
        metavar="USD",
        help="Stop it, and the cluster started for it, when that is spent.",
    ),
    click.option(
        "--down/--no-down",
        default=None,
        help="End the cluster with the run, or not; by default if it was started for it.",
    ),
)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a run may take elsewhere: `max_hours`, `max_cost`, `down`."""
    for option in reversed(_LIMITS):
        command = option(command)
    return command


_SEARCH = (
    click.option(
        "--search",
        multiple=True,
        metavar="NAME=DOMAIN",
        help="Search a parameter of the job: lr=loguniform(1e-4,1e-1), depth=choice(2,3,4).",
    ),
    click.option("--metric", metavar="NAME", help="What trials are compared by: test_roc_auc."),
    click.option(
        "--mode",
        type=click.Choice(["max", "min"]),
        default="max",
        show_default=True,
        help="Which direction of the metric is better.",
    ),
    click.option(
        "--num-samples", default=10, show_default=True, metavar="N", help="Trials of a search."
    ),
    click.option(
        "--searcher", metavar="NAME", help="random, grid, optuna, hyperopt or bohb proposes them."
    ),
    click.option(
        "--scheduler",
        metavar="NAME(EPOCHS)",
        help="asha, median or pbt ends trainings early that have at most so many epochs: asha(27).",
    ),
    click.option(
        "--max-concurrent-trials",
        default=1,
        show_default=True,
        metavar="N",
        help="Trials at one time, each in a process with its part of the CPUs.",
    ),
)


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How to search a job: `search`, `metric`, `mode`, `num_samples`, and who does it."""
    for option in reversed(_SEARCH):
        command = option(command)
    return command


def search_arguments(*, search: tuple[str, ...], **options: str | int | None) -> tuple[str, ...]:
    """The same as options of the driver; none where nothing is searched."""
    named = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    # Those without a default are of no use alone, and the driver says so.
    if not search and not any(named[name] for name in ("--metric", "--searcher", "--scheduler")):
        return ()
    given = (f"--search={text}" for text in search)
    return (*given, *(f"{name}={value}" for name, value in named.items() if value is not None))
