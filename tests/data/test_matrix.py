import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from distml.data import as_matrix
from distml.errors import DataError

NUMBERS = pa.table(
    {
        "int": [1, None, 3],
        "bool": [True, False, None],
        "float32": pa.array([0.5, float("nan"), 2], pa.float32()),
        "float64": [1e300, -1.5, None],
        "decimal": [Decimal("1.25"), None, Decimal(-3)],
        "duration": [dt.timedelta(seconds=90), None, dt.timedelta(0)],
        "coded": pa.array([7, 7, 9]).dictionary_encode(),
        "null": pa.nulls(3),
    }
)
NAN, INF = float("nan"), float("inf")
MATRIX = np.array(
    [
        [1, 1, 0.5, INF, 1.25, 90, 7, NAN],
        [NAN, 0, NAN, -1.5, NAN, NAN, 7, NAN],
        [3, NAN, 2, NAN, -3, 0, 9, NAN],
    ],
    dtype=np.float32,
)


def test_every_kind_of_number_becomes_float32_and_null_becomes_nan():
    matrix = as_matrix(NUMBERS)
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, MATRIX)


@pytest.mark.parametrize("rows", [0, 1, 3000, 60_000])
def test_chunks_and_pieces_are_put_together(rows):
    values = np.random.default_rng(0).random((20, rows), dtype=np.float32)
    whole = pa.table(list(values), names=[f"x{j}" for j in range(20)])
    chunked = pa.concat_tables([whole.slice(0, rows // 3), whole.slice(rows // 3)])
    np.testing.assert_array_equal(as_matrix(whole), values.T)
    np.testing.assert_array_equal(as_matrix(chunked), values.T)


def test_a_table_without_columns_has_a_matrix_without_columns():
    assert as_matrix(NUMBERS.select([])).shape[1] == 0


@pytest.mark.parametrize(
    "column",
    [pa.array(["a"]), pa.array([dt.date(2020, 1, 1)]), pa.array([[1.0]])],
    ids=["text", "date", "list"],
)
def test_other_columns_are_refused(column):
    with pytest.raises(DataError, match="column 'it' has type"):
        as_matrix(pa.table({"it": column}))
