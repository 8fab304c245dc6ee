import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from distml.data.text import document_frequencies, fill_tfidf, inverse_frequencies

BUCKETS = 1 << 16  # so many that the few words of a test do not collide
WORDS = [
    "late",
    "flight",
    "Über",
    "naïve",
    "x_1",
    "42",
    "a",
    "I",
    "don't",
    "e-mail",
    "good",
    "GOOD",
    "東京",
    "…",
]

documents = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), min_size=1, max_size=12
)


def tfidf(texts, buckets=BUCKETS):
    column = pa.chunked_array([pa.array(texts, pa.string())])
    idf = inverse_frequencies(document_frequencies(column, buckets), len(texts))
    out = np.zeros((len(texts), buckets), dtype=np.float32)
    fill_tfidf(column, idf, out)
    return out


@settings(deadline=None, max_examples=40)
@given(documents)
def test_scikit_learn_finds_the_same_likenesses(texts):
    # Buckets are numbered differently, so the judge is what does not depend on the numbers.
    counts = HashingVectorizer(n_features=1 << 18, alternate_sign=False, norm=None)
    judge = TfidfTransformer().fit_transform(counts.transform(texts)).toarray()
    ours = tfidf(texts)
    np.testing.assert_allclose(ours @ ours.T, judge @ judge.T, atol=1e-5)
    np.testing.assert_allclose(
        np.sort(ours[ours > 0]), np.sort(judge[judge > 0]), rtol=1e-5, atol=1e-6
    )


def test_frequencies_of_shards_add_up():
    texts = [f"word{i % 5} and word{i % 3}" if i % 4 else None for i in range(40)]
    whole = pa.chunked_array([pa.array(texts)])
    parts = [pa.chunked_array([pa.array(texts[:7])]), pa.chunked_array([pa.array(texts[7:])])]
    total = sum(document_frequencies(part, 64) for part in parts)
    assert total.tolist() == document_frequencies(whole, 64).tolist()


def test_many_documents_go_block_by_block():
    texts = [f"number{i % 50} is here" for i in range(5000)]
    out = tfidf(texts, 1024)
    np.testing.assert_array_equal(out[:50], out[4950:])
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1.0, rtol=1e-6)


def test_missing_and_empty_text_is_all_zero():
    assert not tfidf([None, "", "a ! ?"]).any()
