import pytest
from hypothesis import given
from hypothesis import strategies as st

from distml.report.content import Content
from distml.report.scores import difference_table, score_table, slice_table
from distml.runs.paths import RunPaths
from distml.runs.record import RunRecord

MINUS = "\N{MINUS SIGN}"


def content(*rows):
    record = RunRecord(run_id="r", job_file="j.py", table=rows)
    return Content(record=record, paths=RunPaths("r"), evaluation={"model": "best"})


def told(value, half=0.01):
    return {"value": value, "low": value - half, "high": value + half}


def row(model, kind="member", **facts):
    return {"model": model, "kind": kind, **facts}


def test_models_stand_in_the_order_of_the_leaderboard():
    run = content(row("b"), row("a"), row("never scored"))
    table = score_table(run, {"scores": {"a": {"r2": told(0.5)}, "b": {}, "unknown": {}}})

    assert [line.name for line in table.lines] == ["b", "a", "unknown"]
    assert [line.cells[0].text for line in table.lines] == ["\N{EN DASH}", "0.5000", "\N{EN DASH}"]


def test_what_else_is_known_of_a_model_stands_beside_its_scores():
    known = row("a", fit_s=1.5, validation={"r2": 0.4}, test={"r2": 0.5})
    table = score_table(content(known), {"scores": {"a": {"r2": told(0.5)}}})

    assert table.facts == ("validation r2", "fit_s")
    assert table.lines[0].facts == {"validation r2": 0.4, "fit_s": 1.5}


def test_scores_without_intervals_have_nothing_to_draw():
    table = score_table(content(row("a")), {"scores": {"a": {"r2": {"value": 0.5}}}})

    assert not table.has_intervals
    assert (table.lines[0].cells[0].dot, table.lines[0].cells[0].range) == (None, "")


def test_intervals_of_a_column_share_a_scale():
    table = score_table(
        content(row("a"), row("b")), {"scores": {"a": {"r2": told(0.4)}, "b": {"r2": told(0.6)}}}
    )
    low, high = (line.cells[0] for line in table.lines)

    assert low.left < low.dot < low.right < high.left < high.dot < high.right
    assert low.left == pytest.approx(100 - high.right)


def test_a_baseline_far_away_does_not_push_the_models_into_one_dot():
    scores = {"a": {"r2": told(0.97)}, "b": {"r2": told(0.98)}, "constant": {"r2": told(0.0)}}
    run = content(row("a"), row("b"), row("constant", "baseline"))
    a, b, constant = (line.cells[0] for line in score_table(run, {"scores": scores}).lines)

    assert b.dot - a.dot > 20
    assert (a.beyond, b.beyond, constant.beyond) == (0, 0, -1)


@pytest.mark.parametrize(
    ("value", "sure", "text"),
    [(0.02, True, "+0.0200"), (0.005, False, "+0.0050"), (-0.02, True, f"{MINUS}0.0200")],
    ids=["better", "within chance", "worse"],
)
def test_a_difference_is_sure_if_its_interval_excludes_zero(value, sure, text):
    of_set = {"differences": {"best": {"r2": told(0.0)}, "a": {"r2": told(value)}}}
    (line,) = difference_table(content(row("best"), row("a")), of_set).lines

    assert (line.name, line.cells[0].sure, line.cells[0].text) == ("a", sure, text)
    assert (line.cells[0].zero < line.cells[0].dot) == (value > 0)


def test_slices_have_rows_and_scores():
    table = slice_table([{"value": None, "rows": 3, "scores": {"r2": told(0.5)}}])
    assert (table.lines[0].name, table.lines[0].facts) == ("\N{EN DASH}", {"rows": 3})


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e3), st.sampled_from(["member", "baseline"])),
        min_size=1,
        max_size=8,
    )
)
def test_everything_drawn_is_on_the_scale_or_said_to_be_beyond_it(models):
    rows = [row(str(place), kind) for place, (_, _, kind) in enumerate(models)]
    scores = {str(k): {"r2": told(value, half)} for k, (value, half, _) in enumerate(models)}

    for line in score_table(content(*rows), {"scores": scores}).lines:
        cell = line.cells[0]
        assert 0 <= cell.left <= cell.dot <= cell.right <= 100
        assert (cell.beyond != 0) <= (cell.dot in (0, 100))
        assert line.kind == "baseline" or cell.beyond == 0
