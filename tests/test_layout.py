"""Rows as text."""

import pytest

from distml import layout

ROWS = [
    {"model": "stack", "kind": "ensemble", "test roc_auc": 0.71234, "fit_s": 1234.5},
    {"model": "dummy", "kind": "baseline", "test roc_auc": 0.5},
]


def test_a_table_stands_in_columns_with_numbers_to_the_right():
    assert layout.table(ROWS, width=80).splitlines() == [
        "model  kind      test roc_auc     fit_s",
        "stack  ensemble        0.7123  1,234.50",
        "dummy  baseline        0.5000",
    ]


def test_a_table_breaks_the_names_of_its_columns_before_it_gives_up():
    assert layout.table(ROWS, width=33).splitlines() == [
        "                   test",
        "                   roc_",
        "model  kind         auc     fit_s",
        "stack  ensemble  0.7123  1,234.50",
        "dummy  baseline  0.5000",
    ]


@pytest.mark.parametrize("width", [10, 24, 32])
def test_on_a_narrow_terminal_every_figure_is_still_there(width):
    text = layout.table(ROWS, width=width)

    for figure in ("stack", "ensemble", "0.7123", "1,234.50", "dummy", "baseline", "0.5000"):
        assert figure in text


def test_blocks_keep_to_the_width_where_words_allow():
    assert max(map(len, layout.table(ROWS, width=24).splitlines())) <= 24


def test_a_block_leaves_out_what_is_not_known():
    assert layout.block({"run": "a", "reason": None, "rows": 3}, 80) == "run   a\nrows  3"


def test_nested_names_are_joined():
    assert layout.flat({"test": {"r2": 0.5, "mae": 2.0}}) == {"test r2": 0.5, "test mae": 2.0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, None), (0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1:01 min"), (7322, "2:02:02 h")],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert layout.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (1e-7, "1e-07"),
        (-0.25, "-0.2500"),
        (12.3456, "12.35"),
        (3, "3"),
        (True, "True"),
        (["a", 1], "a, 1"),
        ("two\nlines", "two lines"),
    ],
)
def test_a_value_is_one_line_of_text(value, text):
    assert layout.block({"x": value}, 80) == f"x  {text}"


def test_no_rows_are_no_text():
    assert layout.table([], 80) == ""
