"""The page of a run, judged by an HTML parser that accepts no error."""

import re
import tomllib
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest

from distml.errors import UserError
from distml.report import beside, compare_report, notebook_html, report_html, write_report
from distml.report.features import dependence_figures
from distml.runs.paths import RunPaths
from distml.runs.record import RunStatus

NASTY = "<script>alert('x')</script>"
LARGEST = 3_000_000

# html5lib announces a change of its own that is of no concern here.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning:html5lib")


def parse(page: str) -> Element:
    """The tree of a page; raises where the HTML standard calls it an error."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def text_of(element: Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def headings(tree: Element) -> list[tuple[int, str]]:
    found = [one for one in tree.iter() if isinstance(one.tag, str)]
    return [(int(one.tag[1]), text_of(one)) for one in found if re.fullmatch(r"h[1-6]", one.tag)]


def assert_sound(page: str) -> Element:
    """What holds for every page of ours."""
    assert len(page.encode()) < LARGEST
    tree = parse(page)
    levels = [level for level, _ in headings(tree)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    assert_named(tree)
    assert_self_contained(page, tree)
    assert len(list(tree.iter("script"))) == 1
    return tree


def assert_named(tree: Element) -> None:
    drawings = [one for one in tree.iter() if str(one.tag).endswith("svg")]
    inner = {id(below) for one in drawings for below in one.iter() if below is not one}
    for one in drawings:
        hidden = one.get("aria-hidden") == "true"
        named = one.get("role") == "img" and one.get("aria-label")
        assert hidden or named or id(one) in inner
    assert all(table.find("caption") is not None for table in tree.iter("table"))
    names = [one.get("id") for one in tree.iter() if one.get("id")]
    assert len(names) == len(set(names))


def assert_self_contained(page: str, tree: Element) -> None:
    for one in tree.iter():
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert re.match(r"#|data:,|$", one.get(name) or ""), f"{one.tag} {name}"
    assert (
        re.search(r"@import|url\((?!#)|\bfetch\(|XMLHttpRequest|WebSocket|importScripts", page)
        is None
    )
    # The one address there may be: that of the SVG language, which is a name and not a place.
    addresses = set(re.findall(r"\b(?:https?|ftp)://[^\s\"'<]*", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_the_templates_are_installed_with_the_package():
    root = Path(__file__).parent.parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["distml"]
    templates = list((root / "distml" / "report" / "templates").iterdir())

    assert len(templates) >= 5
    for path in templates:
        name = path.relative_to(root / "distml").as_posix()
        assert any(fnmatch(name, pattern) for pattern in patterns)


def test_a_finished_run_has_every_section_it_has_data_for(store, make_run, evaluation, fits):
    tree = assert_sound(report_html(store, make_run(evaluation, fits)))

    sections = [title for level, title in headings(tree) if level == 2]
    learning = ["Learning and validation"] if evaluation["learning_curve"] else []
    assert sections == [
        "Results",
        "What the model looks at",
        *learning,
        "Data",
        "Timeline",
        "Use the model",
        "Environment",
    ]


@pytest.mark.parametrize(
    ("task", "titles"),
    [
        ("binary", ["ROC curve", "Precision and recall", "Calibration", "Cost by threshold"]),
        ("regression", ["Residuals", "Spread of residuals", "Error by decile", "Learning curve"]),
    ],
)
def test_each_task_has_its_charts(store, make_run, request, task, titles):
    evaluation = request.getfixturevalue(task)
    shown = [title for _, title in headings(parse(report_html(store, make_run(evaluation))))]
    assert set(titles) <= set(shown)


def test_every_score_stands_in_the_page_with_its_interval(store, make_run, binary):
    text = text_of(parse(report_html(store, make_run(binary))))
    for score in ("0.7400", "0.7300 to 0.7500", "0.6800", "0.4900 to 0.5100"):
        assert score in text
    assert "+0.2400 (0.2340 to 0.2460) against baseline constant" in text


@pytest.mark.parametrize(
    ("details", "call"),
    [({}, "bundle')"), ({"pickled": "estimator (…)"}, "bundle', trust=True)")],
    ids=["safe", "pickle"],
)
def test_the_code_that_loads_the_model_trusts_it_where_it_must(
    store, make_run, binary, details, call
):
    text = text_of(parse(report_html(store, make_run(binary, details=details))))
    assert f"{call} model.predict(table)" in text


def test_a_run_that_waits_shows_what_it_is(store, make_run):
    waits = {"status": RunStatus.PENDING, "attempts": (), "artifacts": {}, "started_at": None}
    tree = assert_sound(report_html(store, make_run(**waits)))

    assert "This run is PENDING." in text_of(tree)
    assert [title for level, title in headings(tree) if level == 2] == ["Environment"]


def test_a_run_under_way_says_how_far_it_is(store, make_run, fits):
    run = make_run(None, fits[:14], status=RunStatus.RUNNING, artifacts={})
    with store.claim(run):
        tree = assert_sound(report_html(store, run))

    assert "This run is RUNNING." in text_of(tree)
    assert "It got as far as fit: 4 of 10 done" in text_of(tree)
    sections = [title for level, title in headings(tree) if level == 2]
    assert sections == ["Timeline", "Environment"]


def test_a_run_that_failed_says_why_and_how_to_go_on(store, make_run, fits):
    run = make_run(None, fits[:14], status=RunStatus.FAILED, reason=NASTY, artifacts={})

    text = text_of(assert_sound(report_html(store, run)))
    assert f"This run is FAILED: {NASTY}." in text
    assert "It got as far as fit: 4 of 10 fits done." in text
    assert f"Go on with: distml resume {run}" in text


def test_a_run_without_an_evaluation_shows_its_plain_scores(store, make_run):
    table = [
        {"model": "stack", "kind": "ensemble", "fit_s": 2.0, "test": {"r2": 0.5, "mae": None}},
        {"model": "constant", "kind": "baseline", "test": {"r2": 0.0, "mae": None}},
    ]
    tree = assert_sound(report_html(store, make_run(None, table=table)))

    text = text_of(tree)
    assert "0.5000" in text
    assert "+0.5000 against baseline constant" in text
    assert "interval" not in text


@pytest.mark.parametrize(
    ("content", "remark"),
    [
        (b'{"format": 1', "evaluation.json is damaged"),
        (b"[1]", "which this version cannot read"),
        (b'{"format": 99}', "evaluation.json has form 99"),
    ],
    ids=["cut short", "no mapping", "of a later version"],
)
def test_an_evaluation_that_cannot_be_read_is_named_and_left_out(store, make_run, content, remark):
    run = make_run()
    store.storage.write(RunPaths(run).evaluation, content)

    assert remark in text_of(assert_sound(report_html(store, run)))


def test_parts_that_are_null_are_left_out(store, make_run, binary):
    empty = dict.fromkeys(("confusion", "per_class", "averages", "roc", "pr", "calibration"))
    for of_set in binary["sets"].values():
        of_set.update(empty, brier=None, thresholds=None, slices=None, differences=None)
    binary.update(importance=None, dependence=None, data=None)

    tree = assert_sound(report_html(store, make_run(binary)))

    shown = [title for _, title in headings(tree)]
    assert "Results" in shown
    assert "ROC curve" not in shown
    assert "Data" not in shown


def test_what_a_run_calls_things_is_shown_and_does_not_run(store, make_run, four, fits):
    page = report_html(store, make_run(four, fits, reason=NASTY, job_file=f"{NASTY}.py"))

    assert_sound(page)
    assert NASTY not in page
    assert NASTY in text_of(parse(page))


def test_many_classes_are_drawn_in_part_and_listed_in_full(store, make_run, four):
    labels = [f"class {k}" for k in range(40)]
    counts = [[500 if i == j else (i * j) % 7 for j in range(40)] for i in range(40)]
    of_set = four["sets"]["old"]
    of_set["confusion"] = {"labels": labels, "counts": counts}
    curve = of_set["roc"][0]
    of_set["roc"] = [{**curve, "class": label} for label in labels]

    tree = assert_sound(report_html(store, make_run(four)))

    text = text_of(tree)
    assert "the 7 most frequent of 40" in text
    assert "The most frequent confusions of old" in text


def test_a_report_is_written_beside_the_record_and_replaced(store, make_run, binary):
    run = make_run(binary)

    first = write_report(store, run)
    second = write_report(store, run)

    assert first == second == store.paths(run).report
    assert store.storage.read(RunPaths(run).report).startswith(b"<!DOCTYPE html>")


def test_a_report_of_no_run_is_refused(store):
    with pytest.raises(UserError, match="no run 'x'"):
        write_report(store, "x")


def test_a_notebook_gets_scores_and_main_curves(store, make_run, four):
    fragment = notebook_html(store, make_run(four))

    tree = parse(f"<!DOCTYPE html><title>cell</title>{fragment}")
    assert_named(tree)
    assert "<script" not in fragment
    shown = [title for _, title in headings(tree)]
    assert shown.count("ROC curve") == 2
    assert "Slices" not in shown


def test_two_runs_stand_beside_each_other(store, make_run, binary, fits):
    a = make_run(binary, fits, run_id="a")
    b = make_run(binary, fits, run_id="b", parameters={"rows": NASTY, "keep": ["day", "hour"]})

    tree = assert_sound(compare_report(store, a, b))

    text = text_of(tree)
    assert f"rows 50,000 {NASTY}" in text
    assert "day, hour" in text
    assert "equal" in text
    assert [title for _, title in headings(tree)].count("ROC curve") == 2


def test_two_runs_of_several_classes_show_the_mean_of_their_curves(store, make_run, four):
    a, b = make_run(four, run_id="a"), make_run(four, run_id="b")

    titles = [title for _, title in headings(assert_sound(compare_report(store, a, b)))]

    num_sets = len(four["sets"])
    assert titles.count("ROC curve, mean of 4 classes") == num_sets
    assert titles.count("Precision and recall, mean of 4 classes") == num_sets
    assert "Calibration" not in titles


def test_the_mean_of_curves_goes_up_where_they_go_up():
    upright = ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0])
    slope = ([0.0, 1.0], [0.0, 1.0])

    places, heights = beside._mean([upright, slope])

    assert places[0] == 0.0
    assert places[-1] == 1.0
    assert heights == pytest.approx([(1 + place) / 2 for place in places])
    assert beside._mean([upright]) == upright


def test_runs_of_different_tasks_are_not_compared(store, make_run, binary, regression):
    a, b = make_run(binary, run_id="a"), make_run(regression, run_id="b")
    with pytest.raises(UserError, match="cannot be compared"):
        compare_report(store, a, b)


def test_two_regressions_show_their_errors_by_decile(store, make_run, regression):
    a, b = make_run(regression, run_id="a"), make_run(regression, run_id="b")

    tree = assert_sound(compare_report(store, a, b))
    assert "Error by decile" in [title for _, title in headings(tree)]


def test_two_runs_of_which_one_has_nothing_yet(store, make_run, binary, fits):
    bare: dict[str, Any] = {"status": RunStatus.PENDING, "attempts": (), "artifacts": {}}
    a, b = make_run(binary, fits, run_id="a"), make_run(run_id="b", **bare)
    tree = assert_sound(compare_report(store, a, b))
    assert "Run b is PENDING: it has no final scores." in text_of(tree)


def test_what_was_foreseen_stands_beside_what_it_took_in_units_of_people(store, make_run):
    told = {"value": 2.0**30, "low": 2.0**29, "high": 2.0**31}
    details = {"predicted": {"peak_bytes": told}, "actual": {"peak_bytes": 2**30}}

    text = text_of(assert_sound(report_html(store, make_run(details=details))))

    assert "memory of the driver 1,024 MiB (512 MiB to 2,048 MiB) 1,024 MiB yes" in text
    assert "peak_bytes" not in text


@pytest.mark.parametrize(
    ("means", "ends"),
    [([[0.1, 0.3], [0.2, 0.9]], {"0.2", "0.8"}), ([[0.5, 0.5], [0.5, 0.5]], {"0.3", "0.7"})],
    ids=["different", "all the same"],
)
def test_partial_dependence_of_all_columns_is_on_one_scale(means, ends):
    grids = {"number": [1.0, 2.0], "category": ["a", "b"]}
    told = [
        {"feature": kind, "kind": kind, "grid": grid, "average": average, "class": None}
        for (kind, grid), average in zip(grids.items(), means, strict=True)
    ]

    drawn = [set(re.findall(r">(0\.\d)\d?<", one.svg)) for one in dependence_figures(told, "y")]

    assert drawn[0] == drawn[1]
    assert ends <= drawn[0]


def test_a_very_large_run_still_makes_a_small_page(store, make_run, four):
    classes = [f"class {k}" for k in range(500)]
    for of_set in four["sets"].values():
        line, row = of_set["roc"][0], of_set["per_class"][0]
        of_set["roc"] = of_set["pr"] = of_set["calibration"] = None
        of_set["roc"] = [{**line, "class": one} for one in classes]
        of_set["per_class"] = [{**row, "class": one} for one in classes]
        of_set["confusion"] = {"labels": classes, "counts": [[1] * 500 for _ in classes]}
    column = four["data"]["columns"][0]
    four["data"]["columns"] = [{**column, "name": f"column {k}"} for k in range(5_000)]
    events = [{"t": 0.0, "kind": "attempt", "number": 1}]
    for k in range(5_000):
        told = {"unit": f"unit {k}", "member": f"member {k % 9}"}
        ended = {"seconds": 1.0, "worker": f"w{k % 400}"}
        events.append({"t": float(k), "kind": "unit_started", **told})
        events.append({"t": k + 1.0, "kind": "unit_done", **told, **ended})

    page = report_html(store, make_run(four, events))

    assert len(page.encode()) < LARGEST
    assert "the 100 most frequent of 500" in page
    assert "The 100 busiest of 400 workers are drawn." in page
    assert "The first 400 of 5000 columns" in page


def test_what_has_moved_since_training_stands_farthest_first(store, make_run, binary):
    tree = assert_sound(report_html(store, make_run(binary)))

    tables = [text_of(table) for table in tree.iter("table")]
    moved = next(text for text in tables if "that have moved" in text)
    assert NASTY in moved
    assert moved.index(NASTY) < moved.index("class")
    assert "steady" not in moved
    assert "1 of 3 columns" in text_of(tree)
