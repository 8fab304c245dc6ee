import numpy as np
import pyarrow as pa
import pytest

from distml.errors import DataError
from distml.train.facts import facts_of
from distml.train.inputs import Inputs
from distml.train.roles import roles_of


def columns_of(table, **options):
    return roles_of(table, Inputs(**options))


def test_facts_of_parts_merge_to_those_of_the_whole():
    rng = np.random.default_rng(0)
    n = 300
    table = pa.table({
        "a": pa.array(rng.normal(size=n) * 1e5, mask=rng.random(n) < 0.1),
        "at": pa.array(rng.integers(0, 2**30, n).astype("datetime64[s]")),
        "city": rng.choice(["x", "y", "z"], n),
        "image": pa.FixedSizeListArray.from_arrays(pa.array(rng.normal(size=4 * n)), 4),
        "heart": [rng.normal(size=1 + i % 5) for i in range(n)],
        "words": [f"many words in row {i}" for i in range(n)],
    })  # fmt: skip
    columns = columns_of(table)
    whole = facts_of(table, columns)
    parts = [facts_of(table.slice(start, size), columns) for start, size in [(250, 50), (0, 250)]]
    merged = parts[0].merge(parts[1])
    assert merged == whole
    assert whole.summary.columns["at"].moments.count == n


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (pa.array([1.0, np.inf]), {}),
        (pa.array([[1.0], [np.inf]], pa.list_(pa.float32(), 1)), {}),
        (pa.array([[1.0], [2.0, -np.inf]]), {}),
    ],
    ids=["number", "array", "sequence"],
)
def test_infinite_numbers_are_refused(values, options):
    table = pa.table({"x": values})
    with pytest.raises(DataError, match=r"column 'x' has .*infinite"):
        facts_of(table, columns_of(table, **options))


def test_tokens_below_zero_are_refused():
    table = pa.table({"x": [[1, -1]]})
    with pytest.raises(DataError, match="column 'x' has tokens below 0"):
        facts_of(table, columns_of(table, tokens=["x"]))


def test_missing_numbers_in_lists_are_left_out():
    table = pa.table({"x": pa.array([[1.0, None], [3.0]])})
    (moments,) = facts_of(table, columns_of(table)).steps["x"]
    assert (moments.count, moments.mean) == (2, 2.0)


def test_item_may_be_a_function_that_reads():
    table = pa.table({"x": [1.0, 3.0]})
    assert facts_of(lambda: table, columns_of(table)).summary.columns["x"].moments.mean == 2.0
