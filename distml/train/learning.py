"""From the facts of a table to the readers of its fields: decided from these alone.

Pure, so that shards read in parallel and a whole table read at once come to the same fields.
Refused: categories and tokens of too many values.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from distml.data.moments import Moments
from distml.data.statistics import ColumnSummary
from distml.errors import DataError, UserError
from distml.train.facts import MOST_COUNTED, Facts
from distml.train.matrix import Floats, origin_of
from distml.train.readers import Arrays, Categories, Numbers, Reader, Sequences, Text, Tokens
from distml.train.roles import Column
from distml.train.shape import Scale
from distml.train.tokenizer import train_tokenizer

__all__ = ["Sizes", "readers_of"]

_MOST_TOKENS = 1 << 22


class Sizes(Protocol):
    """How much is kept; see `Inputs`."""

    max_values: int
    vocabulary: int


def readers_of(columns: Sequence[Column], facts: Facts, sizes: Sizes) -> list[Reader]:
    """A reader for each field.

    Args:
        columns: how each column is read.
        facts: of all rows.
        sizes: the most categories and tokens.

    Raises:
        DataError: a column cannot be learnt from.
        UserError: the tokenizer is missing, or a size makes no sense.
    """
    readers: list[Reader] = []
    if numbers := [c for c in columns if c.role in ("number", "date")]:
        readers.append(_numbers(numbers, facts))
    if categories := [c for c in columns if c.role == "category"]:
        values = tuple(
            _most_frequent(c.name, facts.summary.columns[c.name], sizes.max_values)
            for c in categories
        )
        readers.append(Categories(columns=tuple(categories), values=values))
    for column in (c for c in columns if c.role == "array"):
        moments = facts.steps[column.name]
        readers.append(Arrays(column=column, scale=_scale(moments) if moments else None))
    if sequences := [c for c in columns if c.role == "sequence"]:
        moments = tuple(m for c in sequences for m in facts.steps[c.name])
        readers.append(Sequences(columns=tuple(sequences), scale=_scale(moments)))
    for column in (c for c in columns if c.role == "tokens"):
        readers.append(_tokens(column, facts.largest[column.name]))
    if text := [c for c in columns if c.role == "text"]:
        model = train_tokenizer(facts.texts, vocabulary=sizes.vocabulary, name=text[0].name)
        readers.append(Text(columns=tuple(text), model=model))
    return readers


def _numbers(columns: Sequence[Column], facts: Facts) -> Numbers:
    scale = _scale([facts.summary.columns[column.name].moments for column in columns])
    spread = np.array([facts.summary.columns[column.name].moments.std for column in columns])
    origin: Floats = origin_of(scale.mean, spread)
    moved = Scale(mean=scale.mean - origin, std=scale.std)
    return Numbers(columns=tuple(columns), origin=origin, scale=moved)


def _scale(moments: Sequence[Moments]) -> Scale:
    return Scale(
        mean=np.array([each.mean for each in moments]),
        std=np.array([each.std or 1.0 for each in moments]),
    )


def _most_frequent(name: str, column: ColumnSummary, limit: int) -> list[str | float]:
    counts = column.counts
    if counts is None:
        raise DataError(
            f"column {name!r} has more than {MOST_COUNTED} different values, too many for "
            f"categories; drop it: drop=[{name!r}]"
        )
    return sorted(counts, key=lambda value: (-counts[value], value))[:limit]


def _tokens(column: Column, largest: int) -> Tokens:
    if largest >= _MOST_TOKENS:
        raise UserError(
            f"column {column.name!r} has tokens up to {largest}, and each would get weights of its "
            "own; number them from 0 without gaps"
        )
    return Tokens(column=column, largest=largest)
