"""Numbers as people read them, the same everywhere in the report.

The one decision: a missing value is a dash, never an empty cell or `nan`.
"""

from collections.abc import Mapping
from typing import Any

from distml.layout import duration

__all__ = ["NONE", "figure", "interval", "plain", "share", "signed", "size", "took"]

NONE = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_STEP = 1024


def figure(value: Any, beside: float = 0.0) -> str:
    """A number in four figures or more, a whole number in all of its own, a text as it is.

    Args:
        value: what to write; a list as what is in it.
        beside: the largest number it stands beside; it is as exact as that.
    """
    if value is None or value in ([], ()):
        return NONE
    if isinstance(value, list | tuple):
        return ", ".join(map(figure, value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace("-", _MINUS)
    return _float(value, max(abs(value), abs(beside))).replace("-", _MINUS)


def plain(value: Any) -> str:
    """A value of the data: a number without zeros that say nothing, a text as it is."""
    return f"{value:,.6g}".replace("-", _MINUS) if isinstance(value, float) else figure(value)


def took(seconds: float | None) -> str:
    """A time span; short ones in milliseconds."""
    if seconds is None:
        return NONE
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else str(duration(seconds))


def signed(value: float | None, beside: float = 0.0) -> str:
    """A difference: with its sign, plus as well; `beside` as in `figure`."""
    text = figure(value, beside)
    return f"+{text}" if value is not None and value > 0 else text


def interval(told: Mapping[str, Any] | None) -> str:
    """Both ends of an interval; nothing where there is none."""
    if not told or told.get("low") is None or told.get("high") is None:
        return ""
    low, high = float(told["low"]), float(told["high"])
    return f"{figure(low, high)} to {figure(high, low)}"


def share(value: float | None) -> str:
    """A part of 1 as percent."""
    return NONE if value is None else f"{100 * value:.1f} %"


def size(num_bytes: float | None) -> str:
    """Bytes in the unit people would say them in."""
    if num_bytes is None:
        return NONE
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(num_bytes) < _STEP:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= _STEP
    return f"{num_bytes:.1f} TiB"


def _float(value: float, large: float) -> str:
    """A number with the decimals that one of the size `large` deserves."""
    if large >= 10_000:
        return f"{value:,.0f}"
    if large >= 10:
        return f"{value:,.2f}"
    return f"{value:.4f}" if large >= 0.00095 or large == 0 else f"{value:.3g}"
