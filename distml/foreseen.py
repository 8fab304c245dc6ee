"""What was foreseen of a run beside what it took, for people.

One decision: what nobody foresaw, or nobody could measure, is left out; nothing is made up for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from distml.layout import duration, table
from distml.runs.record import RunRecord

__all__ = ["foreseen_rows", "foreseen_text"]


def foreseen_text(record: RunRecord, width: int) -> str:
    """A table of time, memory, price and machines; empty where no plan was made before the run.

    Args:
        record: The run.
        width: Columns of the terminal.
    """
    lines = table(foreseen_rows(record), width - 2).splitlines()
    return "\n".join(["foreseen", *(f"  {line}".rstrip() for line in lines)]) if lines else ""


def foreseen_rows(record: RunRecord) -> list[dict[str, str]]:
    """A row for each of time, memory, price and machines that was foreseen and is known.

    Args:
        record: The run.

    Returns:
        What it is (named ""), `foreseen`, `took`, and whether that is `in range`, all as text.
    """
    predicted = record.details.get("predicted")
    actual = record.details.get("actual")
    if not predicted or not actual:
        return []
    nodes = record.details.get("nodes") or {}
    took = {**actual, "cost": nodes.get("cost"), "machines": nodes.get("most")}
    return list(_rows(predicted, took))


def _rows(predicted: Mapping[str, Any], actual: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for name, key, say in (
        ("time", "seconds", _time),
        ("memory of the driver", "peak_bytes", _size),
        ("price", "cost", _dollars),
    ):
        told, took = predicted.get(key), actual.get(key)
        if told and took is not None:
            span = f"{say(told['value'])} ({say(told['low'])} to {say(told['high'])})"
            within = told["low"] <= took <= told["high"]
            yield {"": name, "foreseen": span, "took": say(took), "in range": _yes(within)}
    if predicted.get("machines") and actual.get("machines"):
        told, took = (_counts(each["machines"]) for each in (predicted, actual))
        yield {"": "machines", "foreseen": told, "took": took, "in range": _yes(told == took)}


def _counts(machines: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(machines.items()))


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _time(seconds: float) -> str:
    return str(duration(seconds))


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 2**20:,.0f} MiB"


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}"
