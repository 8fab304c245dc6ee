"""What the searches of a run have tried: which configurations, how they scored, why they ended.

The one decision: it is read from the run's events, so trials are there while a search goes on, and
if it never came to its end.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distml.report.content import Content
from distml.report.facts import Facts
from distml.report.numbers import figure, share, took
from distml.report.parallel import parallel_figure, tip
from distml.report.vega import COLOURS, GREY, INK, Figure, axis, draw, form_of
from distml.runs.searches import Search, Trial, main_searches, searches_of

__all__ = ["Searched", "searches_in"]

_MOST_ROWS = 500
_MOST_SEARCHES = 4
_MOST_EXPLOITS = 100
_MARKS = {"completed": ("circle", 0), "running": ("diamond", 2)}
"""State → symbol, and place of its colour in the palette; others were stopped."""
_ROW_PX = 20

Cell = tuple[str, Any]
"""What a cell says, and what its column is sorted by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """One search."""

    facts: Facts
    """What is to be known of it in short."""
    best: Facts
    """The best configuration."""
    best_number: int
    """Which trial that is."""
    figures: tuple[Figure, ...]
    """Scores over trials and over time, and how much each parameter matters."""
    parallel: Figure | None
    """All configurations at once."""
    reasons: Mapping[str, str]
    """Why trials ended → how many."""
    head: tuple[str, ...]
    """Columns of the table."""
    rows: tuple[tuple[Cell, ...], ...]
    """Trials, the best first."""
    num_trials: int
    """All there are."""
    exploits: tuple[tuple[str, str, str, str], ...] = ()
    """Trial, from which it went on, after which step of that, what it changed."""


def searches_in(content: Content) -> list[Searched]:
    """The searches of a run, but for those that an ensemble repeats on its folds."""
    found = main_searches(searches_of(content.events))[:_MOST_SEARCHES]
    return [_searched(search) for search in found if search.best is not None]


def _searched(search: Search) -> Searched:
    best = search.best
    assert best is not None
    ranked = sorted(search.trials.values(), key=search.rank, reverse=True)
    states = Counter(trial.state for trial in search.trials.values())
    head, rows = _table(search, ranked[:_MOST_ROWS])
    scored = sorted((t for t in ranked if t.score is not None), key=lambda t: t.number)
    return Searched(
        facts=_facts(search, best),
        best={name: figure(value) for name, value in best.params.items()},
        best_number=best.number,
        figures=tuple(_figures(search, scored)),
        parallel=parallel_figure(search, scored),
        reasons={state: figure(number) for state, number in states.most_common()},
        head=head,
        rows=rows,
        num_trials=len(search.trials),
        exploits=tuple(_exploits(search)),
    )


def _facts(search: Search, best: Trial) -> Facts:
    seconds = [trial.seconds for trial in search.trials.values() if trial.seconds is not None]
    facts = {
        f"best {search.metric}": best.score,
        "trials": len(search.trials),
        "of at most": search.total if search.total != len(search.trials) else None,
        "rows": search.rows,
        "fits took together": took(sum(seconds)) if seconds else None,
        "steps by": search.resource,
        "last step": search.max_step if search.resource else None,
    }
    return {name: figure(value) for name, value in facts.items() if value is not None}


def _table(
    search: Search, ranked: Sequence[Trial]
) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    names = dict.fromkeys(name for trial in ranked for name in trial.params)
    spread = any(trial.spread is not None for trial in ranked)
    steps = len({trial.step for trial in ranked}) > 1
    timed = any(trial.seconds is not None for trial in ranked)
    head = ("trial", search.metric, *["std"] * spread, "state", *["step"] * steps, *names)
    rows = []
    for trial in ranked:
        facts: list[Any] = [trial.number, trial.score]
        facts += [trial.spread] * spread + [trial.state] + [trial.step] * steps
        cells = [(figure(value), value) for value in facts]
        cells += [(figure(trial.params.get(name)), trial.params.get(name)) for name in names]
        rows.append((*cells, *[(took(trial.seconds), trial.seconds)] * timed))
    return (*head, *["took"] * timed), tuple(rows)


def _exploits(search: Search) -> Iterator[tuple[str, str, str, str]]:
    for one in search.exploits[:_MOST_EXPLOITS]:
        changes = (
            f"{name} {figure(one.before.get(name))} → {figure(value)}"
            for name, value in one.after.items()
            if one.before.get(name) != value
        )
        said = ", ".join(changes) or "nothing"
        yield str(one.trial), str(one.donor), figure(one.step), said


def _figures(search: Search, scored: Sequence[Trial]) -> Iterator[Figure]:
    by_number = [(float(trial.number), trial) for trial in scored]
    # Ticks between two trials would be of none.
    whole = axis("Trial", "d", tickMinStep=1)
    yield _course(search, by_number, whole, "Best score over trials")
    timed = sorted(
        ((t.ended_s, t) for t in scored if t.ended_s is not None), key=lambda pair: pair[0]
    )
    if len(timed) > 1:
        minutes = timed[-1][0] >= 180
        pairs = [(seconds / 60 if minutes else seconds, trial) for seconds, trial in timed]
        what = f"{'Minutes' if minutes else 'Seconds'} into the run"
        yield _course(search, pairs, axis(what), "Best score over time")
    step = f"{search.resource or 'step'}, how far it came"
    configs = [{**trial.params, step: trial.step} for trial in scored]
    # It needs numpy, which most commands do without.
    from distml.runs.importance import importances

    shares = importances(configs, [trial.score or 0.0 for trial in scored])
    if shares:
        yield _importance(search, shares)


def _course(
    search: Search, pairs: Sequence[tuple[float, Trial]], below_it: Mapping[str, Any], title: str
) -> Figure:
    """Scores of trials, and the best so far as a step."""
    path = _best_so_far(search, pairs)
    across = {"field": "x", "type": "quantitative", "axis": below_it, "scale": {"nice": False}}
    form = form_of(trial.score for _, trial in pairs)
    up: dict[str, Any] = {"field": "y", "type": "quantitative", "scale": {"zero": False}}
    up["axis"] = axis(search.metric, form)
    line = {"type": "line", "interpolate": "step-after", "color": INK, "aria": False}
    below = {"data": {"values": path}, "mark": line, "encoding": {"x": across, "y": up}}
    stopped = any(_kind(trial) == "stopped" for _, trial in pairs)
    said = " Those that were stopped have scores of their last step." if stopped else ""
    return draw(
        {"layer": [below, _spots(search, pairs, across, up)]},
        title=title,
        description=f"{len(pairs)} trials; best {search.metric} {figure(path[-1]['y'])}.",
        caption=f"Line: the best so far of those that came to their end.{said}",
    )


def _best_so_far(search: Search, pairs: Sequence[tuple[float, Trial]]) -> list[dict[str, float]]:
    """The corners of the line; of all trials, where none has come to its end."""
    steps: list[dict[str, float]] = []
    for x, trial in pairs:
        if trial.score is None or (trial.state != "completed" and search.count("completed")):
            continue
        former = steps[-1]["y"] if steps else trial.score
        better = search.is_better(trial.score, former)
        steps.append({"x": x, "y": trial.score if better else former})
    return [*steps, {**steps[-1], "x": pairs[-1][0]}]


def _spots(
    search: Search, pairs: Sequence[tuple[float, Trial]], across: Any, up: Any
) -> dict[str, Any]:
    found = {_kind(trial) for _, trial in pairs}
    kinds = [kind for kind in ("completed", "running", "stopped") if kind in found]
    values = [
        {"x": x, "y": trial.score, "state": _kind(trial), "tip": tip(search, trial)}
        for x, trial in pairs
    ]
    encoding: dict[str, Any] = {"x": across, "y": up, "description": {"field": "tip"}}
    for place, channel in enumerate(("shape", "color")):
        looks = [_look(kind)[place] for kind in kinds]
        encoding[channel] = {
            "field": "state",
            "type": "nominal",
            "scale": {"domain": kinds, "range": looks},
            **({"legend": None} if len(kinds) < 2 else {}),
        }
    mark = {"type": "point", "size": 50, "opacity": 1, "filled": True}
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def _importance(search: Search, shares: Mapping[str, float]) -> Figure:
    values = [
        {"name": name, "share": value, "tip": f"{name}: {share(value)}"}
        for name, value in shares.items()
    ]
    rest = max(0.0, 1 - sum(shares.values()))
    y_axis = {"title": None, "labelColor": INK, "labelLimit": 190, "ticks": False}
    return draw(
        {
            "data": {"values": values},
            "mark": {"type": "bar", "color": COLOURS[0]},
            "encoding": {
                "y": {"field": "name", "type": "nominal", "sort": None, "axis": y_axis},
                "x": {
                    "field": "share",
                    "type": "quantitative",
                    "axis": axis("Share of the variance", ".0%"),
                },
                "description": {"field": "tip"},
            },
        },
        title="Importance of parameters",
        description=", ".join(f"{name} {share(value)}" for name, value in shares.items()) + ".",
        caption=f"Share of the variance of {search.metric} between trials that a parameter "
        "explains by itself "
        f"(functional ANOVA of a forest, Hutter et al. 2014); parameters together: {share(rest)}.",
        size=(360, 70 + _ROW_PX * len(values)),
    )


def _kind(trial: Trial) -> str:
    return trial.state if trial.state in _MARKS else "stopped"


def _look(kind: str) -> tuple[str, str]:
    symbol, colour = _MARKS.get(kind, ("triangle-down", None))
    return symbol, GREY if colour is None else COLOURS[colour]
