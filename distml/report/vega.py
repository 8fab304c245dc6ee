"""Vega-Lite specifications as static SVG that follows the page's colours and fonts.

The one decision: charts are drawn when the report is written, by vl-convert, and the page carries
only the drawing. So a chart needs no JavaScript, prints, and costs tens of kilobytes instead of
the megabyte of a plotting library. Colours are CSS variables, which is how one drawing serves light
and dark; what a mark has to say when pointed at travels in its `data-tip`.

Nothing is fetched: a specification carries its data.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

__all__ = [
    "COLOURS",
    "DASHES",
    "GREY",
    "INK",
    "Figure",
    "axis",
    "colour_of",
    "draw",
    "legend_of",
    "thin",
]

COLOURS = tuple(f"var(--c{number})" for number in range(1, 8))
"""Okabe and Ito's palette (2008), which the colour-blind can tell apart; see `style.css`."""

DASHES = ([1, 0], [7, 3], [2, 2], [9, 2, 2, 2], [4, 4], [12, 3], [1, 3])
"""A line's dashes tell it apart where colours do not."""

INK = "var(--ink)"
GREY = "var(--ink-2)"

_LARGE = 10_000
_RULE = "var(--rule)"
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_VERSION = "6.4"
_SVG = "http://www.w3.org/2000/svg"
_CONFIG = {
    # Labels are measured in a wide font, so they have room in whichever the browser draws.
    "font": "Verdana",
    "view": {"stroke": None},
    "axis": {
        "aria": False,
        "labelColor": GREY,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 12,
        "gridColor": _RULE,
        "domainColor": GREY,
        "tickColor": GREY,
        "tickSize": 4,
        "labelLimit": 130,
        "tickCount": 5,
    },
    "legend": {
        "aria": False,
        "labelColor": INK,
        "labelFontSize": 11,
        "title": None,
        "orient": "bottom",
        "offset": 8,
        "symbolType": "stroke",
        "symbolSize": 220,
        "symbolStrokeWidth": 2.5,
    },
}
# What a browser does not need: roles and names of parts of one image, and what is the default.
_IDLE = ("class", "role", "aria-hidden", "aria-roledescription", "pointer-events", "font-family")
_LONG = re.compile(r"(\d+\.\d{2})\d+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A drawing with its title and what to read off it."""

    title: str
    """In a few words."""
    svg: Markup
    """One `<svg role="img">` with an accessible name."""
    caption: str = ""
    """What to read off it, one or two sentences."""


def axis(title: str, form: str | None = None, **more: Any) -> dict[str, Any]:
    """A Vega-Lite axis.

    Args:
        title: what is on it, with its unit.
        form: d3 format of its labels, such as `.0%`.
        **more: other properties.
    """
    return {"title": title, **({"format": form} if form else {}), **more}


def colour_of(names: Sequence[str]) -> dict[str, Any]:
    """A Vega-Lite colour channel for the field `series`.

    Args:
        names: the series, in the order of the palette; from the second on they get a legend.
    """
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(names))]
    return {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": list(names), "range": colours},
        "legend": legend_of(names),
    }


def legend_of(names: Sequence[str]) -> dict[str, Any] | None:
    """A Vega-Lite legend in as many columns as the names allow; none for one series."""
    if len(names) < 2:
        return None
    longest = max(map(len, names))
    return {"columns": 3 if longest <= 11 else 2 if longest <= 22 else 1, "labelLimit": 280}


def form_of(numbers: Iterable[Any]) -> str | None:
    """The d3 format of an axis of these numbers: in thousands or millions where they are large."""
    largest = max((abs(n) for n in numbers if n is not None), default=0)
    return "~s" if largest >= _LARGE else None


def thin(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    step = (len(items) - 1) / (most - 1)
    return [items[round(place * step)] for place in range(most)]


def draw(
    spec: Mapping[str, Any],
    *,
    title: str,
    description: str,
    caption: str = "",
    size: tuple[int, int] = (360, 280),
) -> Figure:
    """Draw a chart.

    Args:
        spec: Vega-Lite; the `tip` of a datum, if its mark encodes it as `description`, is shown
            when pointed at.
        title: its heading.
        description: what somebody who cannot see it should know of it.
        caption: what to read off it.
        size: width and height in pixels, axes and legend included.

    Returns:
        The figure.

    Raises:
        ValueError: the specification is none.
    """
    from vl_convert import vegalite_to_svg  # here, since it starts a JavaScript engine

    whole = {
        "$schema": _SCHEMA,
        "background": None,
        "width": size[0],
        "height": size[1],
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 4,
        "config": _CONFIG,
        **spec,
    }
    text = vegalite_to_svg(json.dumps(whole), vl_version=_VERSION)
    label = f"{title}. {description}"
    return Figure(title=title, svg=_tidy(text, label), caption=caption)


def _tidy(text: str, label: str) -> Markup:
    """The SVG as one image with a name: parts that only a renderer or a script needs are gone."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(text)
    _strip(root)
    view = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update({"viewBox": view, "role": "img", "aria-label": label, "class": "chart"})
    root.set("style", f"max-width:{1.25 * float(view.split()[2]):.0f}px")
    # Markup: ElementTree has escaped every text and attribute.
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _strip(element: ElementTree.Element) -> None:
    for child in list(element):
        _strip(child)
        if _is_empty(child):
            element.remove(child)
    for name in _IDLE:
        element.attrib.pop(name, None)
    if element.get("opacity") == "1":
        del element.attrib["opacity"]
    tip = element.attrib.pop("aria-label", None)
    if tip:
        element.set("data-tip", tip)
    for name in ("d", "transform"):
        if name in element.attrib:
            element.set(name, _LONG.sub(r"\1", element.attrib[name]))


def _is_empty(element: ElementTree.Element) -> bool:
    """Whether nothing of an element can be seen: frames without paint, groups without marks."""
    kind = element.tag.removeprefix(f"{{{_SVG}}}")
    painted = any(element.get(name, "none") != "none" for name in ("fill", "stroke"))
    if kind == "path":
        return not element.get("d") or not painted
    return kind == "g" and not len(element)
