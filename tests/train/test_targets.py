import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from distml.train.targets import distinct

WHOLE = npst.integer_dtypes(endianness="=") | npst.unsigned_integer_dtypes(endianness="=")


@given(WHOLE.flatmap(lambda kind: npst.arrays(kind, st.integers(0, 30))))
def test_distinct_labels_are_those_of_numpy(labels):
    found = distinct(labels)

    assert found.dtype == labels.dtype
    assert found.tolist() == np.unique(labels).tolist()


@pytest.mark.parametrize(
    "labels",
    [
        np.array([-128, 127, 0], dtype=np.int8),
        np.array([2**63 - 1, 2**63 - 3], dtype=np.int64),
        np.array([2**64 - 1, 2**64 - 3], dtype=np.uint64),
        np.array([-(2**63), 2**63 - 1], dtype=np.int64),
        np.array([1.5, np.nan, 1.5]),
        np.array(["b", "a", "b"]),
        np.array([True, False, True]),
    ],
    ids=["int8", "large", "unsigned", "far apart", "floats", "text", "booleans"],
)
def test_distinct_labels_of_any_type_are_those_of_numpy(labels):
    assert np.array_equal(distinct(labels), np.unique(labels), equal_nan=labels.dtype.kind == "f")
