"""Text as tokens: pieces of words, by sentencepiece, learnt from the training rows.

One decision: the tokenizer learns from a sample that does not depend on how the rows are cut into
shards: the texts whose hashes are smallest. So samples of shards merge, and shards read in parallel
lead to the very tokenizer of one pass. A text that is missing or empty is one unknown token.
"""

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distml.data.rowhash import hash_column
from distml.data.values import decoded
from distml.errors import DataError, UserError
from distml.train.rows import Ragged

__all__ = [
    "PADDING",
    "UNKNOWN",
    "TextSample",
    "joined",
    "tokenize",
    "train_tokenizer",
    "vocabulary_of",
]

PADDING, UNKNOWN = 0, 1

MOST_TEXTS = 50_000
"""Texts to learn from."""

_LONGEST = 4000  # characters of a text to learn from


@dataclass(frozen=True)
class TextSample:
    """Different texts, chosen by their hashes; merging is associative and commutative."""

    texts: Mapping[int, str] = field(default_factory=dict)
    """Hash → text; the smallest hashes of all, ascending."""
    limit: int = MOST_TEXTS
    """The most texts."""

    @classmethod
    def of(cls, column: pa.ChunkedArray, limit: int = MOST_TEXTS) -> "TextSample":
        """The sample of strings of one column."""
        texts = column.drop_null()
        hashes, first = np.unique(hash_column(texts), return_index=True)
        taken = texts.take(pa.array(first[:limit])).to_pylist()
        return cls(dict(zip(hashes[:limit].tolist(), taken, strict=True)), limit)

    def merge(self, other: "TextSample") -> "TextSample":
        """The sample of both sets of texts together."""
        both = {**self.texts, **other.texts}
        return TextSample({key: both[key] for key in sorted(both)[: self.limit]}, self.limit)


def joined(columns: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Columns of strings as one text a row, large_string; missing ones are empty."""
    plain = [pc.fill_null(decoded(c).cast(pa.large_string()), "") for c in columns]
    if len(plain) == 1:
        return plain[0]
    return pc.binary_join_element_wise(*plain, pa.scalar(" ", pa.large_string()))


def train_tokenizer(sample: TextSample, *, vocabulary: int, name: str) -> bytes:
    """Learn pieces of words, by byte-pair encoding of lower-case text.

    Args:
        sample: what to learn from.
        vocabulary: the most tokens.
        name: of the column, for messages.

    Returns:
        The tokenizer, as sentencepiece keeps it.

    Raises:
        UserError: sentencepiece is not installed, or the vocabulary is too small.
        DataError: there is no text.
    """
    library = _sentencepiece(name)
    texts = [text[:_LONGEST] for text in sample.texts.values()]
    if not any(text.strip() for text in texts):
        raise DataError(f"column {name!r} has no text to learn from; drop it")
    model = io.BytesIO()
    try:
        library.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocabulary,
            hard_vocab_limit=False,  # few texts have fewer pieces
            normalization_rule_name="nmt_nfkc_cf",
            max_sentence_length=1 << 20,
            pad_id=PADDING,
            unk_id=UNKNOWN,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # it is written into the tokenizer
            minloglevel=2,
        )
    except RuntimeError as error:
        said = " ".join(str(error).split()).rpartition("] ")[2]
        raise UserError(
            f"column {name!r} cannot be cut into tokens with vocabulary={vocabulary} ({said}); "
            "raise it"
        ) from error
    return model.getvalue()


def tokenize(model: bytes, column: pa.ChunkedArray, *, name: str) -> Ragged:
    """The tokens of each row.

    Args:
        model: what `train_tokenizer` gave.
        column: what `joined` gave.
        name: of the column, for messages.

    Returns:
        int64 tokens; a text without any is one `UNKNOWN`.

    Raises:
        UserError: sentencepiece is not installed.
    """
    processor = _processor(model, name)
    found = processor.encode(column.to_pylist())
    lists = pa.array([tokens or [UNKNOWN] for tokens in found], type=pa.large_list(pa.int32()))
    return Ragged(lists.values.to_numpy().astype(np.int64), lists.offsets.to_numpy())


def vocabulary_of(model: bytes, *, name: str) -> int:
    """Tokens there are, with `PADDING` and `UNKNOWN`."""
    return int(_processor(model, name).get_piece_size())


@functools.lru_cache(maxsize=8)
def _processor(model: bytes, name: str) -> Any:
    return _sentencepiece(name).SentencePieceProcessor(model_proto=model)


def _sentencepiece(name: str) -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise UserError(
            f"column {name!r} is text, which needs sentencepiece: pip install 'distml[text]'; "
            "or drop the column"
        ) from error
    return sentencepiece
