import sys

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.errors import DataError, UserError
from distml.train.tokenizer import (
    UNKNOWN,
    TextSample,
    joined,
    tokenize,
    train_tokenizer,
    vocabulary_of,
)

TEXTS = [f"the dog number {i} barks at {i % 7} cats" for i in range(60)]


def strings(texts):
    return pa.chunked_array([pa.array(texts, pa.large_string())])


@pytest.fixture(scope="module")
def model():
    return train_tokenizer(TextSample.of(strings(TEXTS)), vocabulary=100, name="tweet")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.text("abc", max_size=3)), min_size=1, max_size=5), st.randoms())
def test_sample_does_not_depend_on_how_texts_are_cut(parts, random):
    whole = TextSample.of(strings([text for part in parts for text in part]), limit=4)
    random.shuffle(parts)
    merged = TextSample(limit=4)
    for part in parts:
        merged = merged.merge(TextSample.of(strings(part), limit=4))
    assert merged == whole


def test_tokens_are_pieces_of_words(model):
    assert vocabulary_of(model, name="tweet") <= 100
    rows = tokenize(model, strings(["The DOG", "the dog", "barks barks barks"]), name="tweet")
    first, second = (rows.slice(i, i + 1).values.tolist() for i in (0, 1))
    assert first == second
    assert min(first) > UNKNOWN


def test_text_without_words_is_one_unknown_token(model):
    rows = tokenize(model, joined([strings([None, "", "dog", "  "])]), name="tweet")
    assert rows.slice(0, 2).values.tolist() == [UNKNOWN, UNKNOWN]
    assert rows.slice(3, 4).values.tolist() == [UNKNOWN]
    assert rows.lengths.min() == 1


def test_training_again_gives_the_same_bytes(model):
    again = train_tokenizer(TextSample.of(strings(TEXTS[::-1])), vocabulary=100, name="tweet")
    assert again == model


def test_columns_are_joined():
    two = [strings(["a", None, None]), pa.chunked_array([pa.array(["b", "c", None])])]
    assert joined(two).to_pylist() == ["a b", " c", " "]
    assert joined(two[:1]).to_pylist() == ["a", "", ""]


def test_no_text_and_a_vocabulary_that_is_too_small_are_refused():
    with pytest.raises(DataError, match="column 'tweet' has no text"):
        train_tokenizer(TextSample.of(strings(["", " "])), vocabulary=10, name="tweet")
    with pytest.raises(UserError, match=r"column 'tweet'.*vocabulary=5 .*raise it") as caught:
        train_tokenizer(TextSample.of(strings(TEXTS)), vocabulary=5, name="tweet")
    assert "\n" not in str(caught.value)


def test_missing_library_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(UserError, match=r"column 'tweet' is text.*pip install 'distml\[text\]'"):
        train_tokenizer(TextSample.of(strings(TEXTS)), vocabulary=10, name="tweet")
