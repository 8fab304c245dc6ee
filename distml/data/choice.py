"""How a column is encoded: decided from its summary and the encoder's parameters alone.

Pure, so that shards fitted in parallel and a whole table fitted at once come to the same features.
Refused: kinds that a column's type does not allow, and infinite numbers.
"""

import math
from collections.abc import Mapping
from typing import Protocol

from distml.data.features import (
    Affine,
    CyclicDate,
    Feature,
    Hashed,
    Number,
    OneHot,
    Ordinal,
    PlainDate,
)
from distml.data.moments import Moments
from distml.data.statistics import ColumnSummary, Counts
from distml.errors import DataError, UserError

__all__ = ["COUNTED", "KINDS", "Options", "check_options", "choose_kind", "make_feature"]

_ANY = frozenset({"number", "boolean", "date", "string", "null"})
KINDS: Mapping[str, frozenset[str]] = {
    "number": frozenset({"number", "boolean", "null"}),
    "date": frozenset({"date", "null"}),
    "category": _ANY,
    "onehot": _ANY,
    "ordinal": _ANY,
    "hashed": _ANY,
    "text": frozenset({"string", "null"}),
    "drop": _ANY,
}
"""How a column can be encoded → the families of columns that can be."""

COUNTED = frozenset({"category", "onehot", "ordinal"})
"""Kinds that need the values of a column to be counted."""

_WORDS_OF_TEXT = 4
_DEFAULT = {"number": "number", "boolean": "number", "null": "number", "date": "date"}
_LEAST = {"max_onehot": 0, "max_ordinal": 0, "hash_features": 1, "text_features": 1}


class Options(Protocol):
    """The parameters of an `Encoder`."""

    kinds: Mapping[str, str] | None
    missing: str | float
    indicator: bool
    scale: bool
    dates: str
    max_onehot: int
    max_ordinal: int
    hash_features: int
    text_features: int


def check_options(options: Options) -> None:
    """Check the parameters that can be checked without data.

    Raises:
        UserError: one makes no sense.
    """
    for name, least in _LEAST.items():
        if getattr(options, name) < least:
            raise UserError(f"Encoder: {name}={getattr(options, name)} must be at least {least}")
    if options.dates not in ("plain", "cyclic"):
        raise UserError(f"Encoder: dates={options.dates!r} must be 'plain' or 'cyclic'")
    if isinstance(options.missing, str) and options.missing not in ("mean", "keep"):
        raise UserError(f"Encoder: missing={options.missing!r} must be 'mean', 'keep' or a number")
    for column, kind in (options.kinds or {}).items():
        if kind not in KINDS:
            known = ", ".join(KINDS)
            raise UserError(f"Encoder: kinds has {column!r}: {kind!r}; give one of {known}")


def choose_kind(name: str, column: ColumnSummary, options: Options) -> str:
    """`number`, `date`, `onehot`, `ordinal`, `hashed` or `text`.

    Raises:
        UserError: the kind asked for is not possible for the column.
        DataError: a column of numbers has infinite ones.
    """
    kind = (options.kinds or {}).get(name) or _default_kind(column)
    if column.family not in KINDS[kind]:
        raise UserError(f"Encoder: column {name!r} is a {column.family}; it cannot be a {kind}")
    if column.counts is None and kind in ("onehot", "ordinal"):
        raise UserError(f"Encoder: column {name!r} has too many values for {kind}; make it hashed")
    if column.infinite:
        raise DataError(
            f"Encoder: column {name!r} has {column.infinite} infinite values; replace them first"
        )
    return _category_kind(column.counts, options) if kind == "category" else kind


def _default_kind(column: ColumnSummary) -> str:
    if column.family != "string":
        return _DEFAULT[column.family]
    rows = column.present
    differ = column.counts is None or 2 * len(column.counts) >= rows
    return "text" if differ and column.words >= _WORDS_OF_TEXT * rows else "category"


def _category_kind(counts: Counts | None, options: Options) -> str:
    if counts is None or len(counts) > max(options.max_onehot, options.max_ordinal):
        return "hashed"
    return "onehot" if len(counts) <= options.max_onehot else "ordinal"


def make_feature(name: str, kind: str, column: ColumnSummary, options: Options) -> Feature:
    """The feature of a column that is not text."""
    counts = column.counts or {}
    values = sorted(counts)
    if kind == "onehot":
        return OneHot(name, values)
    if kind == "ordinal":
        codes = Moments.of_counts([counts[value] for value in values])
        missing = math.nan if options.missing == "keep" else -1.0
        return Ordinal(name, values, _affine(codes, missing, options.scale))
    if kind == "hashed":
        return Hashed(name, options.hash_features)
    if kind == "date":
        parts = {
            part: _affine(moments, _filling(moments, options, date=True), options.scale)
            for part, moments in column.parts.items()
        }
        return CyclicDate(name, parts) if options.dates == "cyclic" else PlainDate(name, parts)
    scale = options.scale and column.family != "boolean"
    affine = _affine(column.moments, _filling(column.moments, options), scale)
    return Number(name, affine, indicator=options.indicator and column.missing > 0)


def _filling(moments: Moments, options: Options, *, date: bool = False) -> float:
    """What stands for a missing value."""
    if options.missing == "keep":
        return math.nan
    if options.missing == "mean" or date:
        return moments.mean
    return float(options.missing)


def _affine(moments: Moments, missing: float, scale: bool) -> Affine:
    if not scale:
        return Affine(missing=missing)
    return Affine(center=moments.mean, scale=moments.std or 1.0, missing=missing)
