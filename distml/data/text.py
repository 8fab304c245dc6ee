r"""Text as hashed TF-IDF, without a Python step per document.

Words are what scikit-learn's vectorizers take for words (two or more letters, digits or `_`, in
lower case), found by Arrow and hashed by `rowhash` into a fixed number of buckets: no vocabulary
has to be agreed upon, so shards are counted apart and their document frequencies added. Weights as
`TfidfTransformer`: smoothed idf, rows of length 1.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distml.data.rowhash import hash_column
from distml.data.values import decoded

__all__ = ["document_frequencies", "fill_tfidf", "inverse_frequencies"]

_NO_WORD = r"[^\pL\pN_]+"
_CELLS_AT_ONCE = 1 << 21


def document_frequencies(column: pa.ChunkedArray, buckets: int) -> npt.NDArray[np.int64]:
    """In how many documents each bucket has a word, shape (buckets,). Adds up over shards."""
    total = np.zeros(buckets, dtype=np.int64)
    for _, counts in _blocks(column, buckets):
        total += np.count_nonzero(counts, axis=0)
    return total


def inverse_frequencies(
    frequencies: npt.NDArray[np.int64], num_documents: int
) -> npt.NDArray[np.float64]:
    """Smoothed idf of each bucket: log((1 + n) / (1 + df)) + 1."""
    return np.log((1 + num_documents) / (1 + frequencies)) + 1.0


def fill_tfidf(
    column: pa.ChunkedArray, idf: npt.NDArray[np.float64], out: npt.NDArray[np.float32]
) -> None:
    """Write each document's weights into `out`, shape (n, buckets); null and empty are all zero."""
    for start, counts in _blocks(column, len(idf)):
        weights = counts * idf
        length = np.sqrt(np.einsum("ij,ij->i", weights, weights))
        weights /= np.where(length > 0, length, 1.0)[:, None]
        out[start : start + len(weights)] = weights


def _blocks(column: pa.ChunkedArray, buckets: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Word counts of blocks of documents: the first row, and an array of shape (rows, buckets)."""
    rows = max(1, _CELLS_AT_ONCE // buckets)
    column = decoded(column).cast(pa.large_string())
    for start in range(0, len(column), rows):
        block = column.slice(start, rows).combine_chunks()
        words = pc.split_pattern_regex(pc.utf8_lower(block), _NO_WORD)
        flat, parent = pc.list_flatten(words), pc.list_parent_indices(words)
        real = pc.greater_equal(pc.utf8_length(flat), 2)
        at = hash_column(flat.filter(real)) % np.uint64(buckets)
        cell = parent.filter(real).to_numpy(zero_copy_only=False) * buckets + at.astype(np.int64)
        size = len(block) * buckets
        yield start, np.bincount(cell, minlength=size).reshape(len(block), buckets)
