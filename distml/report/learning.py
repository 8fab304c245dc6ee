"""Charts of how a network learnt: losses, scores, learning rate and throughput over its epochs.

The one decision: whatever a training reports is drawn, by the names of its metrics: losses in one
chart, and each score with all parts it was measured on in one of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distml.report.curves import lines
from distml.report.numbers import figure
from distml.report.vega import COLOURS, GREY, Figure, axis, draw, form_of, thin

__all__ = ["curves", "overlays"]

_SIZE = (360, 260)
_MOST_POINTS = 250
"""Points of a line; of more, evenly spread ones are drawn."""
_FEW = 25
"""Epochs up to which each is a dot."""
_MOST_SCORES = 4
_PARTS = {"train": "training", "val": "validation", "test": "test"}
_BESIDE = ("epoch", "lr", "rows_per_s", "seconds")
"""What is no score."""

Points = list[tuple[float, float, str]]


def curves(told: Mapping[str, Any]) -> Iterator[Figure]:
    """The charts of a network.

    Args:
        told: its entry in `evaluation.json`; `history` is metric → values over `epoch`.

    Yields:
        Those it has data for.
    """
    history, best = told.get("history") or {}, told.get("best_epoch")
    if not history.get("epoch"):
        return
    metrics = [name for name in history if name not in _BESIDE]
    losses = [name for name in metrics if name == "loss" or name.endswith("_loss")]
    if losses:
        yield _losses(history, losses, best)
    scores = dict.fromkeys(_bare(name) for name in metrics if name not in losses)
    for score in [*scores][:_MOST_SCORES]:
        names = [name for name in metrics if _bare(name) == score]
        title = _title(names[0] if len(names) == 1 else score)
        yield _chart(history, names, _title(score), best, title=title)
    rates = [rate for rate in history.get("lr") or () if rate is not None]
    if rates and min(rates) < max(rates):
        title = "Learning rate"
        yield _chart(history, ["lr"], title, None, title=title, form="~g", zero=True)
    if any(history.get("rows_per_s") or ()):
        caption = "All workers together." if (told.get("num_workers") or 0) > 1 else ""
        yield _chart(
            history,
            ["rows_per_s"],
            "Rows a second",
            None,
            title="Throughput",
            caption=caption,
            zero=True,
        )


def overlays(networks: Mapping[str, Mapping[str, Any]]) -> Iterator[Figure]:
    """What several networks have in common over their epochs: loss, and scores of validation.

    Args:
        networks: name → entry in `evaluation.json`; the first ones are drawn.

    Yields:
        A chart for each metric that all of them have; none for one network.
    """
    whole = {name: told["history"] for name, told in networks.items() if told.get("history")}
    drawn = dict([*whole.items()][: len(COLOURS)])
    if len(drawn) < 2:
        return
    first, *others = drawn.values()
    common = [metric for metric in first if all(metric in one for one in others)]
    loss = next((one for one in ("val_loss", "train_loss", "loss") if one in common), None)
    scores = [one for one in common if one.startswith("val_") and one != "val_loss"]
    count = round(max(history["epoch"][-1] for history in drawn.values()))
    for metric in [*([loss] if loss else []), *scores[:_MOST_SCORES]]:
        series = [(name, _points(history, metric, name)) for name, history in drawn.items()]
        title = _title(metric)
        yield draw(
            lines(series, _epochs(count), _values(title, None, zero=False), dots=count <= _FEW),
            title=title,
            description=f"{title} over epochs of {', '.join(drawn)}.",
            size=_SIZE,
        )


def _losses(history: Mapping[str, Sequence[Any]], names: Sequence[str], best: int | None) -> Figure:
    caption = ""
    if {"train_loss", "val_loss"} <= set(names):
        caption = "Where the lines part, the network learns its rows by heart."
    return _chart(history, names, "Loss", best, title="Loss", caption=caption)


def _chart(
    history: Mapping[str, Sequence[Any]],
    names: Sequence[str],
    label: str,
    best: int | None,
    *,
    title: str,
    caption: str = "",
    form: str | None = None,
    zero: bool = False,
) -> Figure:
    series = [(_label(name), _points(history, name, _label(name))) for name in names]
    values = [y for _, points in series for _, y, _ in points]
    count = round(history["epoch"][-1])
    chart = lines(
        series,
        _epochs(count),
        _values(label, form or form_of(values), zero=zero),
        below=[] if best is None else [_upright(best)],
        dots=count <= _FEW,
    )
    marked = "" if best is None else f" Dashed: the best epoch, {best}."
    ends = "; ".join(
        f"{name} from {figure(points[0][1])} to {figure(points[-1][1])}"
        for name, points in series
        if points
    )
    return draw(
        chart,
        title=title,
        description=f"Over {count} epoch{'' if count == 1 else 's'}: {ends}.{marked}",
        caption=f"{caption}{marked}".strip(),
        size=_SIZE,
    )


def _points(history: Mapping[str, Sequence[Any]], name: str, said: str) -> Points:
    pairs = [(n, y) for n, y in zip(history["epoch"], history[name], strict=False) if y is not None]
    return [(n, y, f"epoch {n:.0f}: {said} {figure(y)}") for n, y in thin(pairs, _MOST_POINTS)]


def _epochs(count: int) -> dict[str, Any]:
    few = {"values": list(range(1, count + 1))} if count <= 8 else {}
    return {
        "scale": {"zero": False, "nice": False},
        "axis": axis("Epoch", "d", tickMinStep=1, **few),
    }


def _values(label: str, form: str | None, *, zero: bool) -> dict[str, Any]:
    return {"scale": {"zero": zero}, "axis": axis(label, form)}


def _upright(x: float) -> dict[str, Any]:
    mark = {"type": "rule", "aria": False, "strokeDash": [4, 4], "color": GREY}
    x_channel = {"field": "x", "type": "quantitative"}
    return {"data": {"values": [{"x": x}]}, "mark": mark, "encoding": {"x": x_channel}}


def _bare(name: str) -> str:
    """The metric without the part of the rows it was measured on."""
    part, _, rest = name.partition("_")
    return rest if part in _PARTS and rest else name


def _label(name: str) -> str:
    """The part of the rows that a metric was measured on, or the metric where no part is said."""
    part, _, rest = name.partition("_")
    return _PARTS.get(part, name.replace("_", " ")) if rest else name


def _title(name: str) -> str:
    """A metric with the part of the rows it was measured on, such as `Validation loss`."""
    part, _, rest = name.partition("_")
    words = f"{_PARTS[part]} {rest}" if part in _PARTS else name
    return words.replace("_", " ").capitalize()
