import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.data import RaggedArray

LENGTHS = st.lists(st.integers(0, 4), max_size=12)


def ragged(lengths, width=2):
    """Row `i` holds steps that name it and their place in it."""
    steps = [(row, place) for row, length in enumerate(lengths) for place in range(length)]
    values = np.array(steps, dtype=np.float32).reshape(-1, width)
    return RaggedArray(values, np.cumsum([0, *lengths]))


def listed(array):
    return [
        array.values[start:stop].tolist()
        for start, stop in zip(array.offsets[:-1], array.offsets[1:], strict=True)
    ]


@settings(deadline=None, max_examples=50)
@given(LENGTHS, st.randoms(use_true_random=False))
def test_rows_are_taken_in_the_order_asked_for(lengths, random):
    array, rows = ragged(lengths), list(range(len(lengths)))
    random.shuffle(rows)
    taken = array.take(np.array(rows, dtype=np.int64))

    assert listed(taken) == [listed(array)[row] for row in rows]
    assert listed(taken.copy()) == listed(taken)


@settings(deadline=None, max_examples=50)
@given(LENGTHS, st.integers(0, 12), st.integers(0, 12))
def test_a_slice_has_its_rows_alone(lengths, start, stop):
    some = ragged(lengths)[start:stop]

    assert listed(some) == listed(ragged(lengths))[start:stop]
    assert some.shape == (len(lengths[start:stop]), 2)
    assert some.lengths.tolist() == lengths[start:stop]


@settings(deadline=None, max_examples=50)
@given(LENGTHS, st.integers(1, 3))
def test_parts_are_interleaved_to_the_places_they_came_from(lengths, num_parts):
    whole = ragged(lengths)
    numbers = np.arange(len(whole))
    parts = [
        (slice(part, None, num_parts), whole.take(numbers[part::num_parts]))
        for part in range(num_parts)
    ]

    assert listed(RaggedArray.interleaved(len(whole), parts)) == listed(whole)


def test_it_knows_what_it_takes():
    array = ragged([1, 2])

    assert (array.nbytes, array.dtype) == (3 * 2 * 4 + 3 * 8, np.dtype(np.float32))
    with pytest.raises(IndexError):
        array.take(np.array([5]))
