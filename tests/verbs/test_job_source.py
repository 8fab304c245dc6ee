import ast
import dataclasses
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.data.inspect import Inspection
from distml.data.inspect_columns import Column
from distml.data.inspect_label import Label
from distml.data.inspect_split import SplitPlan
from distml.verbs.job_source import file_stem, job_source, quoted
from distml.verbs.job_template import fill

TWO = Label(
    name="y",
    task="classification",
    num_rows=9_000,
    num_values=2,
    num_unusable=0,
    classes={"no": 5_000, "yes": 4_000},
    rare={},
)
NUMBERS = dataclasses.replace(TWO, task="regression", num_values=500, classes={})
FOUND = Inspection(
    uri="data",
    num_rows=9_000,
    num_sampled=9_000,
    label=TWO,
    columns=(Column(name="x", type="double", family="number", nulls=0, distinct=9_000),),
    split=SplitPlan(),
    rule="x > 1.5",
)


def column(name, role="feature", note="", family="number"):
    return Column(name=name, type="int64", family=family, nulls=0, distinct=9, role=role, note=note)


def source(found=FOUND, **changes):
    return job_source(dataclasses.replace(found, **changes), data="d.csv", path="jobs/d.py")


CASES = {
    "two classes": {},
    "numbers": {"label": NUMBERS},
    "few rows": {"num_rows": 100},
    "few rows of numbers": {"num_rows": 100, "label": NUMBERS},
    "many rows": {"num_rows": 1_000_000},
    "time": {"split": SplitPlan(time="day")},
    "group": {"split": SplitPlan(group="user")},
    "both": {"split": SplitPlan(time="day", group="user"), "label": NUMBERS},
    "no rule": {"rule": None},
    "dropped": {"columns": (*FOUND.columns, column("k", "constant", "always the same value"))},
    "nested": {"columns": (*FOUND.columns, column("t", "unfit", "a list", "nested"))},
    "holes": {"label": dataclasses.replace(TWO, num_unusable=9, rare={"perhaps": 2})},
    "infinite": {"label": dataclasses.replace(NUMBERS, num_unusable=9, is_floating=True)},
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_the_source_is_laid_out_as_by_ruff(changes, tmp_path):
    pytest.importorskip("ruff")
    (tmp_path / "job.py").write_text(source(**changes))
    google = ["--select", "E,F,B,D,UP", "--config", "lint.pydocstyle.convention='google'"]

    for command in (["format", "--check"], ["check", *google]):
        words = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "100"]
        done = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("changes", "there", "not_there"),
    [
        ({}, ["Stratified(LABEL, 0.2)", "StratifiedKFold(cv, shuffle=True"], ["DROPPED", "RARE"]),
        ({"label": NUMBERS}, ["ByHash(0.2)", "KFold(cv, shuffle=True", '"r2"'], ["Stratified"]),
        ({"split": SplitPlan(time="day")}, ['ByTime("day", fraction=0.2)', "cv=cv,"], ["shuffle"]),
        ({"split": SplitPlan(group="user")}, ['ByGroup("user", 0.2)'], ["Stratified(LABEL"]),
        ({"num_rows": 100}, ["VotingClassifier", 'voting="soft"'], ["cv"]),
        (CASES["nested"], ["COLUMNS = (", "open(data, columns=COLUMNS)"], ["DROPPED"]),
        (CASES["dropped"], ['"k": "always the same value",', 'fromkeys(DROPPED, "drop")'], []),
        (CASES["holes"], ["pc.is_valid", '"perhaps",', "labelled(data, shards)"], ["is_finite"]),
        (CASES["infinite"], ["pc.is_finite"], ["is_valid", "RARE"]),
        ({"rule": None}, [], ["rule="]),
    ],
    ids=["classes", "numbers", "time", "group", "few rows", "nested", "dropped", "holes",
         "infinite", "no rule"],
)  # fmt: skip
def test_the_source_does_what_was_found(changes, there, not_there):
    written = source(**changes)

    assert [words for words in there if words not in written] == []
    assert [words for words in not_there if words in written] == []


@pytest.mark.parametrize(
    ("counts", "first"),
    [
        ((5_000, 4_000), "roc_auc"),
        ((8_900, 100), "average_precision"),
        ((3_000, 3_000, 3_000), "accuracy"),
        ((4_900, 4_000, 100), "f1_macro"),
    ],
)
def test_the_first_metric_suits_the_classes(counts, first):
    label = dataclasses.replace(TWO, classes=dict(zip("abc", counts, strict=False)))

    assert f'metrics=("{first}"' in source(label=label)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((5_000, 4_000), "jobs/d.py --rows 5000 --on debug"),
        ((8_950, 50), "jobs/d.py --rows 9000 --on debug"),
        ((8_995, 5), "jobs/d.py --on debug"),
    ],
    ids=["even", "rare", "very rare"],
)
def test_the_quick_command_draws_enough_rows_of_every_class(counts, words):
    label = dataclasses.replace(TWO, classes=dict(zip("ab", counts, strict=True)))

    assert words in source(label=label, num_rows=90_000)


@given(st.text(min_size=1), st.text(), st.text(min_size=1))
def test_no_name_becomes_code(label, name, group):
    found = dataclasses.replace(
        FOUND,
        label=dataclasses.replace(TWO, name=label, classes={name: 99, name + "'": 98}),
        columns=(*FOUND.columns, column(name, "constant", "always the same value")),
        split=SplitPlan(group=group),
    )

    tree = ast.parse(job_source(found, data=name, path="x.py"))

    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    assert ast.literal_eval(values["LABEL"]) == label
    assert list(ast.literal_eval(values["DROPPED"])) == [name]
    plain = ast.parse(source(FOUND, columns=found.columns, split=SplitPlan(group="g")))
    assert [type(node) for node in tree.body] == [type(node) for node in plain.body]


@given(st.one_of(st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False)))
def test_quoted_is_read_back_as_it_was(value):
    written = quoted(value)

    assert "\n" not in written
    if value not in (float("inf"), float("-inf")):
        assert ast.literal_eval(written) == value


def test_quoted_decimals_are_plain_numbers():
    assert (quoted(Decimal("2.00")), quoted(Decimal("2.5"))) == ("2", "2.5")


@pytest.mark.parametrize(
    ("data", "label", "stem"),
    [
        ("data/diamonds.csv", "price", "diamonds_price"),
        ("data/flights/", "late", "flights_late"),
        ("data/flights/*.parquet", "late", "flights_late"),
        ("s3://bucket/My Sales.parquet?region=eu", "Sold it?", "my_sales_sold_it"),
        ("*.csv", "y", "data_y"),
        ("x.csv.gz", "ünï", "x_n"),
        ("+.csv", "+", "first"),
    ],
)
def test_the_file_is_named_for_data_and_label(data, label, stem):
    assert file_stem(data, label) == stem


def test_a_line_that_is_a_name_becomes_the_lines_of_its_text():
    template = "def f(\n    $more\n    x: $type,\n):\n\n\n$none\n\n\ny\n"

    filled = fill(template, {"more": "a,\nb$x,", "type": "int", "none": ""})

    assert filled == "def f(\n    a,\n    b$x,\n    x: int,\n):\n\n\ny\n"
