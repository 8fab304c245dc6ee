"""What is said of a search in a line or two, while it goes on and when it is over.

One decision: lines are made from what `searches` folds, or from the record alone, so whoever looks
on reads the same as whoever comes later.
"""

from collections.abc import Mapping
from typing import Any

from distml.runs.searches import Search

__all__ = ["best_facts", "best_so_far", "standing", "trials_title"]

_LONG = 32
"""Characters of a value that are shown while a search goes on."""


def standing(search: Search, running: int | None = None) -> str:
    """Where a search stands, such as `12 of 30 trials done, 2 running, 8 stopped early`.

    Args:
        search: it.
        running: trials whose fits have begun; `None`: all that have begun themselves.
    """
    under_way = len(search.trials) - len(search.ended)
    of = "" if search.total is None else f" of {search.total}"
    said = [f"{len(search.ended)}{of} trials done"]
    number = under_way if running is None else min(under_way, running)
    said += [f"{number} running"] if number else []
    for state in ("stopped early", "failed"):
        said += [f"{number} {state}"] if (number := search.count(state)) else []
    return ", ".join(said)


def best_so_far(search: Search) -> list[str]:
    """The best trial in a line; none before there is a score."""
    best = search.best
    if best is None:
        return []
    params = ", ".join(f"{name}={_value(value)}" for name, value in best.params.items())
    return [f"best {search.metric} {best.score:.4g}, trial {best.number}: {params}"]


def best_facts(details: Mapping[str, Any]) -> dict[str, Any]:
    """What a finished search came to: its parameters, which trial it is, its score.

    Args:
        details: of the run's record.

    Returns:
        Name → value; empty where there was no search.
    """
    told = details.get("search")
    if not isinstance(told, Mapping):
        return {}
    counts = {"stopped early": told.get("stopped_early"), "failed": told.get("failed")}
    others = "".join(f", {number} {how}" for how, number in counts.items() if number)
    folds = f", mean of {told['folds']} folds" if (told.get("folds") or 0) > 1 else ""
    score = None if told["score"] is None else f"{told['score']:.4g}{folds}"
    facts = {"trial": f"{told['best']} of {told['trials']}{others}", str(told["metric"]): score}
    return {**told["params"], **facts}


def trials_title(details: Mapping[str, Any], shown: int) -> str:
    """What stands above a table of trials.

    Args:
        details: of the run's record.
        shown: trials that are in it.
    """
    told = details.get("search")
    there = told.get("trials", 0) if isinstance(told, Mapping) else 0
    return (
        "trials"
        if shown >= there
        else f"trials, the best {shown} of {there}; --sort trial shows all"
    )


def _value(value: Any) -> str:
    """In short: of an estimator its name."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= _LONG else f"{text.partition('(')[0][:_LONG]}(…)"
