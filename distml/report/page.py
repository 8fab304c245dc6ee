"""The report of a run as one HTML page that needs nothing but itself.

The one decision: style, script and drawings stand in the page, and jinja2 escapes every text that a
run brings along. A section without data is left out, so a page exists from the first moment of a
run.
"""

import functools
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from distml.report.content import Content, gather
from distml.report.facts import environment, loading, overview, standing
from distml.report.features import dependence_figures, importance_figure
from distml.report.labels import label_figure, learning_figure
from distml.report.numbers import figure, interval, plain, share, signed, size, took
from distml.report.search import searches_in
from distml.report.testsets import evaluated_sets, headlines
from distml.report.timeline import timelines
from distml.report.training import training_of
from distml.runs.paths import RunPaths
from distml.runs.store import RunStore

__all__ = ["is_report", "notebook_html", "render", "report_html", "write_report"]

_MARK = b'<meta name="generator" content="distml">'
_HEAD_BYTES = 1000


def write_report(store: RunStore, run: str) -> str:
    """Write `report.html` into a run's directory, in place of a former one.

    Args:
        store: where the run is.
        run: its id, an unmistakable part of it, or `last`; finished or not.

    Returns:
        The URI of the page.

    Raises:
        UserError: there is no such run.
        StorageError: the storage refuses.
    """
    content = gather(store, run)
    page = _page(content)
    store.storage.write(RunPaths(content.record.run_id).report, page.encode())
    return content.paths.report


def report_html(store: RunStore, run: str) -> str:
    """The page, without writing it.

    Args:
        store: where the run is.
        run: its id, an unmistakable part of it, or `last`; finished or not.

    Returns:
        HTML text, complete in itself.

    Raises:
        UserError: there is no such run.
        StorageError: the storage refuses.
    """
    return _page(gather(store, run))


def is_report(path: Path) -> bool:
    """Whether a file is a page of ours, of one run or of two.

    Args:
        path: the file.

    Returns:
        Whether its head names distml as what made it; false where there is nothing to read.

    Raises:
        Nothing.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return _MARK in file.read(_HEAD_BYTES)
    except OSError:
        return False


def notebook_html(store: RunStore, run: str) -> str:
    """What to show of a run below a notebook's cell: scores and main curves.

    Args:
        store: where the run is.
        run: its id, an unmistakable part of it, or `last`; finished or not.

    Returns:
        A piece of HTML with its own style, for `IPython.display.HTML`.

    Raises:
        UserError: there is no such run.
        StorageError: the storage refuses.
    """
    content = gather(store, run)
    return render(
        "notebook.html",
        content=content,
        standing=standing(content),
        headlines=headlines(content),
        tests=list(evaluated_sets(content)),
    )


def render(template: str, **values: Any) -> str:
    """Fill a template of this package in.

    Args:
        template: its name.
        **values: what it asks for; text is escaped.

    Returns:
        HTML.

    Raises:
        jinja2.UndefinedError: a value is missing.
    """
    return _templates().get_template(template).render(**values)


def _page(content: Content) -> str:
    told: Mapping[str, Any] = content.evaluation
    data = told.get("data") or {}
    importance, curve = told.get("importance") or {}, told.get("learning_curve") or {}
    return render(
        "page.html",
        content=content,
        overview=overview(content),
        standing=standing(content),
        headlines=headlines(content),
        tests=list(evaluated_sets(content)),
        importance=importance_figure(importance) if importance.get("features") else None,
        dependence=dependence_figures(told.get("dependence") or (), content.label),
        learning=learning_figure(curve) if curve.get("rows") else None,
        searches=searches_in(content),
        training=training_of(content),
        cross_validation=told.get("cross_validation"),
        data=data,
        label_figure=label_figure(data.get("label") or {}, content.label),
        timelines=timelines(content.events, content.record.attempts),
        loading=loading(content),
        environment=environment(content),
    )


@functools.cache
def _templates() -> Environment:
    templates = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        {each.__name__: each for each in (figure, interval, plain, share, signed, size, took)}
    )
    # Markup: files of this package, which hold neither `</style>` nor `</script>`.
    templates.globals.update(asset=lambda name: Markup(_source(name)))
    return templates


def _source(name: str) -> str:
    return files("distml.report").joinpath("templates", name).read_text(encoding="utf-8")
