"""How the networks of a run learnt: their curves, layers, workers, and what was mended on the way.

The one decision: a run that has not left an evaluation is shown by its events, so the curves of a
network are there while it learns, and if it never came to its end.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distml.report.bars import outside_units
from distml.report.content import Content
from distml.report.facts import Facts
from distml.report.learning import curves, overlays
from distml.report.numbers import figure, share, size, took
from distml.report.vega import Figure
from distml.runs.events import Event

__all__ = ["Layer", "Network", "Training", "course_of", "training_of"]

_MOST_DRAWN = 6
"""Networks of a run whose curves are drawn."""
_MOST_OPEN = 12
"""Layers that are shown at once; longer lists can be unfolded."""
_MOST_WORKERS = 4
"""Workers whose memory is told one by one."""
_WORDS = {
    "lost": "workers were lost and replaced",
    "preempted": "a node was taken away with notice",
    "out_of_memory": "it ran out of GPU memory and went on in smaller micro-batches",
    "rolled_back": "the loss was not finite and it went on from before at a lower rate",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A row of the table of an architecture."""

    name: str
    kind: str
    parameters: int
    share: str
    """Of all parameters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """One network."""

    name: str
    """Which of the run's it is."""
    facts: Facts
    """What is to be known of it in short."""
    figures: tuple[Figure, ...]
    """Its curves."""
    layers: tuple[Layer, ...]
    """What it is made of."""
    parameters: str
    """All of them."""
    is_long: bool
    """Whether the layers are more than one looks at without being asked."""
    remarks: tuple[str, ...]
    """What was mended, what it began with: a sentence each."""
    keys: Mapping[str, tuple[str, ...]]
    """Weights by what became of them when it began with another's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """All networks of a run."""

    rows: tuple[Facts, ...]
    """A row each, where there are several."""
    beside: tuple[Figure, ...]
    """Their validation in the same charts, where there are several."""
    networks: tuple[Network, ...]
    """Those that are drawn."""
    num_networks: int
    """All there are."""
    workers: tuple[Facts, ...]
    """A row for each number of workers there was."""


def training_of(content: Content) -> Training | None:
    """What the report shows of a run's networks; `None` if it has none."""
    told = _told(content)
    if not told:
        return None
    several = len(told) > 1
    return Training(
        rows=tuple(map(_row, told)) if several else (),
        beside=tuple(overlays({str(one["name"]): one for one in told})) if several else (),
        networks=tuple(_network(one) for one in told[:_MOST_DRAWN]),
        num_networks=len(told),
        workers=tuple(_workers(content.events)),
    )


def course_of(content: Content) -> Mapping[str, Any] | None:
    """The first network of a run with its curves; `None` if there is none."""
    return next((one for one in _told(content) if one.get("history")), None)


def _told(content: Content) -> list[Mapping[str, Any]]:
    """The networks as the evaluation has them, or what the events say of one."""
    networks = content.evaluation.get("networks")
    if networks:
        return list(networks)
    own = content.evaluation.get("training") or {}
    if own.get("history"):
        best = own.get("best")
        history = [row for row in own["history"] if row]
        return [_from_rows(content.model or "loop", history, None if best is None else best + 1)]
    history = _from_events(content.events) if not content.evaluation else []
    return [_from_rows("network", history, None)] if history else []


def _from_rows(
    name: str, history: Sequence[Mapping[str, float]], best: int | None
) -> dict[str, Any]:
    names = dict.fromkeys(metric for row in history for metric in row if metric != "epoch")
    columns = {metric: [row.get(metric) for row in history] for metric in names}
    return {
        "name": name,
        "epochs": len(history),
        "best_epoch": best,
        "best": dict(history[-1 if best is None else best - 1]),
        "seconds": sum(row.get("seconds") or 0.0 for row in history) or None,
        "history": {"epoch": [float(n) for n in range(1, len(history) + 1)], **columns},
    }


def _from_events(events: Sequence[Event]) -> list[Mapping[str, float]]:
    """The epochs of the last training outside of units, each as it was last reported."""
    found: dict[int, Mapping[str, float]] = {}
    for event in outside_units(events):
        kind = event["kind"]
        if kind == "training_started":
            found = {n: row for n, row in found.items() if n < event.get("epoch", 0)}
        elif kind == "epoch":
            metrics = event["metrics"]
            found[int(metrics.get("epoch", len(found)))] = metrics
    return [found[number] for number in sorted(found)]


def _network(told: Mapping[str, Any]) -> Network:
    layers, total = told.get("layers") or (), told.get("parameters") or 0
    transfer = told.get("transfer") or {}
    return Network(
        name=str(told["name"]),
        facts=_facts(told),
        figures=tuple(curves(told)),
        layers=tuple(
            Layer(
                name=str(layer["name"]),
                kind=str(layer["kind"]),
                parameters=layer["parameters"],
                share=share(layer["parameters"] / total) if layer["parameters"] else "",
            )
            for layer in layers
        ),
        parameters=figure(total),
        is_long=len(layers) > _MOST_OPEN,
        remarks=tuple(_remarks(told)),
        keys={
            name: tuple(one["keys"])
            for name, one in transfer.items()
            if isinstance(one, Mapping) and one.get("keys")
        },
    )


def _facts(told: Mapping[str, Any]) -> Facts:
    best = told.get("best") or {}
    rates = [rate for rate in (told.get("history") or {}).get("lr", ()) if rate is not None]
    speeds = sorted(s for s in (told.get("history") or {}).get("rows_per_s", ()) if s)
    facts = {
        "module": told.get("module"),
        "parameters": told.get("parameters"),
        "epochs": told.get("epochs"),
        "best epoch": told.get("best_epoch"),
        **{name: value for name, value in best.items() if name.startswith("val_")},
        "steps": told.get("steps"),
        "trained in": took(told["seconds"]) if told.get("seconds") else None,
        "rows a second": figure(round(speeds[len(speeds) // 2])) if speeds else None,
        # One that changes has a chart.
        "learning rate": f"{rates[0]:.4g}" if rates and min(rates) == max(rates) else None,
        "device": told.get("device"),
        "precision": told.get("precision"),
        "workers": told["num_workers"] if (told.get("num_workers") or 0) > 1 else None,
        "memory at its peak": _peaks(told.get("peak_bytes")),
        "GPU memory at its peak": size(told["peak_gpu_bytes"])
        if told.get("peak_gpu_bytes")
        else None,
    }
    return {name: figure(value) for name, value in facts.items() if value is not None}


def _peaks(peak_bytes: Sequence[int] | None) -> str | None:
    """What each worker held, or of many the least and the most."""
    if not peak_bytes:
        return None
    several = len(peak_bytes) > _MOST_WORKERS
    shown = (min(peak_bytes), max(peak_bytes)) if several else peak_bytes
    return (" to " if several else ", ").join(map(size, shown))


def _row(told: Mapping[str, Any]) -> Facts:
    best = told.get("best") or {}
    scores = [n for n in best if n.startswith("val_")] or [n for n in best if "loss" in n]
    return {
        "network": str(told["name"]),
        "module": figure(told.get("module")),
        "parameters": figure(told.get("parameters")),
        "epochs": figure(told.get("epochs")),
        "best": figure(told.get("best_epoch")),
        **{name: figure(best[name]) for name in scores},
        "trained in": took(told.get("seconds")),
    }


def _remarks(told: Mapping[str, Any]) -> Iterator[str]:
    for name, number in (told.get("counters") or {}).items():
        times = "once" if number == 1 else f"{figure(number)} times"
        words = _WORDS.get(name, name)
        yield f"{words[:1].upper()}{words[1:]}, {times}."
    transfer = told.get("transfer") or {}
    if transfer.get("said"):
        yield f"It began with the weights of another: {transfer['said']}."


def _workers(events: Sequence[Event]) -> Iterator[Facts]:
    """A row for each time that workers came together: when, how many, on which hosts."""
    groups: list[dict[str, Any]] = []
    attempt, zero = 0, None
    for event in events:
        if event["kind"] == "attempt":
            attempt, zero = attempt + 1, float(event["t"])
        elif event["kind"] == "workers":
            rank = int(event.get("rank", 0))
            if not groups or rank in groups[-1]["hosts"] or attempt != groups[-1]["attempt"]:
                after_s = None if zero is None else float(event["t"]) - zero
                number = event["num_workers"]
                groups.append(
                    {"attempt": attempt, "after_s": after_s, "number": number, "hosts": {}}
                )
            groups[-1]["hosts"][rank] = str(event.get("host", ""))
    for group in groups:
        hosts = [group["hosts"][rank] for rank in sorted(group["hosts"])]
        yield {
            **({"attempt": str(group["attempt"])} if attempt > 1 else {}),
            "came after": took(group["after_s"]),
            "workers": figure(group["number"]),
            "hosts": ", ".join(dict.fromkeys(hosts)),
        }
