from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.report.curves import lines
from distml.report.vega import colour_of, draw, form_of, thin


def chart(series, **more):
    return draw(
        lines(series, {"axis": {"title": "x"}}, {"axis": {"title": "y"}}),
        title="Title",
        description='What "one" sees & more.',
        **more,
    )


LINE = ("one", [(0.0, 1.0, "first <b>"), (1.0, 2.0, "last")])


def test_a_chart_is_one_image_with_a_name():
    root = ElementTree.fromstring(chart([LINE]).svg)

    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'Title. What "one" sees & more.'
    assert not [one for one in root.iter() if one is not root and one.get("role")]


def test_a_chart_has_the_size_asked_for_with_its_axes_and_legend():
    root = ElementTree.fromstring(chart([LINE, ("two", LINE[1])], size=(360, 280)).svg)
    _, _, width, height = map(float, root.get("viewBox").split())
    assert width <= 362
    assert height <= 282


def test_marks_say_what_they_are_when_pointed_at():
    root = ElementTree.fromstring(chart([LINE]).svg)
    assert [one.get("data-tip") for one in root.iter() if one.get("data-tip")] == [
        "first <b>",
        "last",
    ]


def test_colours_are_left_to_the_page():
    paints = {
        one.get(name)
        for one in ElementTree.fromstring(chart([LINE]).svg).iter()
        for name in ("fill", "stroke")
    }
    assert "var(--c1)" in paints
    assert {paint for paint in paints if paint and paint.startswith("#")} == set()


def test_several_series_have_a_legend_and_one_has_none():
    assert colour_of(["a"])["legend"] is None
    assert ">two</text>" in chart([LINE, ("two", LINE[1])]).svg


def test_points_that_are_not_numbers_are_left_out():
    svg = chart([("one", [(None, 1.0, "no x"), (0.5, None, "no y"), (1.0, 1.0, "both")])]).svg
    assert "both" in svg
    assert "no x" not in svg
    assert "NaN" not in svg


@given(st.lists(st.integers(), max_size=300), st.integers(2, 50))
def test_thinning_keeps_order_and_both_ends(items, most):
    kept = thin(items, most)

    assert len(kept) == min(len(items), most)
    assert kept[:1] == items[:1]
    assert kept[-1:] == items[-1:]
    rest = iter(items)
    assert all(any(one == other for other in rest) for one in kept)


@pytest.mark.parametrize(
    ("numbers", "form"),
    [([], None), ([None, 0.5], None), ([-20_000.0, 3], "~s")],
    ids=["none", "small", "large"],
)
def test_large_numbers_are_told_in_thousands(numbers, form):
    assert form_of(numbers) == form
