"""The identity of a row as a 64-bit hash, the same on every machine and for every layout of data.

A value is reduced to what it means (an integer-valued float is that integer, NaN is null, a
timestamp is its microseconds, a dictionary-encoded value is the value), its bits go through
splitmix64, and the columns of a row are added up with a salt from each column's name. So neither
chunks, shards, dictionary encoding, integer width nor the order of columns changes a hash. Strings
are read as 8-byte words straight from Arrow's buffers: no Python step per row. A list is its values
in their order, whether its type has a fixed size or not. Not for security. Refused: maps and
structs.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.data.tables import unknown_column
from distml.errors import DataError

__all__ = ["hash_column", "hash_rows", "mix", "salt", "uniform"]

Hashes = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0x6A09E667F3BCC909)
_ROWS_AT_ONCE = 1 << 15  # keeps the temporaries of a block in the cache
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}


def hash_rows(table: pa.Table, columns: Sequence[str] | None = None, *, seed: object = 0) -> Hashes:
    """Hash the identity of every row.

    Args:
        table: the rows.
        columns: the columns that make a row's identity; all of them by default.
        seed: anything with a stable `str`; other seeds give independent hashes.

    Returns:
        Array of shape (n_rows,), uint64.

    Raises:
        DataError: a column does not exist, or is of maps or structs.
    """
    total = np.zeros(table.num_rows, dtype=np.uint64)
    for name in table.column_names if columns is None else columns:
        if name not in table.column_names:
            raise DataError(unknown_column(name, table.column_names, where="row identity"))
        total += mix(hash_column(table[name], name=name) + salt("column", name))
    return mix(total + salt("seed", seed))


def hash_column(column: pa.ChunkedArray | pa.Array, *, name: str = "") -> Hashes:
    """Hash the values of one column.

    Values of equal meaning get equal hashes; nulls and NaN have one of their own.

    Args:
        column: the values.
        name: the column's name, for the error.

    Returns:
        Array of shape (n_rows,), uint64.

    Raises:
        DataError: the column is of maps or structs.
    """
    blocks = [_hash_array(block, name) for block in _blocks(column)]
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.uint64)


def mix(values: Hashes) -> Hashes:
    """Finalise with splitmix64, a bijection that spreads every input bit over all output bits."""
    values = values + _GOLDEN
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def salt(*parts: object) -> np.uint64:
    """A 64-bit constant for words, such as a column's name."""
    text = "\x1f".join(str(part) for part in parts)
    return np.uint64(
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    )


def uniform(hashes: Hashes) -> npt.NDArray[np.float64]:
    """Hashes as numbers in [0, 1), shape (n_rows,), float64."""
    return np.ldexp((hashes >> np.uint64(11)).astype(np.float64), -53)


def _blocks(column: pa.ChunkedArray | pa.Array) -> Iterator[pa.Array]:
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if isinstance(chunk, pa.ExtensionArray):
            chunk = chunk.storage
        if pt.is_dictionary(chunk.type):
            yield chunk  # slices would hash the whole dictionary again and again
            continue
        for start in range(0, len(chunk), _ROWS_AT_ONCE):
            yield chunk.slice(start, _ROWS_AT_ONCE)


def _hash_array(array: pa.Array, name: str) -> Hashes:
    if pt.is_null(array.type):
        return np.full(len(array), _NULL)
    if pt.is_dictionary(array.type):
        hashes = np.append(hash_column(array.dictionary, name=name), _NULL)
        return hashes[array.indices.fill_null(len(hashes) - 1).to_numpy(zero_copy_only=False)]
    if pt.is_list(array.type) or pt.is_large_list(array.type) or pt.is_fixed_size_list(array.type):
        return _hash_lists(array, name)
    for accepts, reduce in _REDUCTIONS:
        if accepts(array.type):
            hashes = reduce(array)
            break
    else:
        raise DataError(
            f"row identity: column {name!r} has type {array.type}, which cannot identify a row; "
            "name the key columns"
        )
    hashes[array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)] = _NULL
    return hashes


def _hash_lists(array: pa.Array, name: str) -> Hashes:
    lengths = pc.list_value_length(array).fill_null(0).cast(pa.int64()).to_numpy()
    inside = hash_column(pc.list_flatten(array), name=name)
    hashes = _hash_sums(inside, _positions(lengths), lengths, lengths)
    hashes[array.is_null().to_numpy(zero_copy_only=False)] = _NULL
    return hashes


def _hash_integers(array: pa.Array) -> Hashes:
    raw = array.cast(pa.uint8()) if pt.is_boolean(array.type) else array
    values = raw.fill_null(0).to_numpy(zero_copy_only=False)
    if values.dtype != np.uint64:
        values = values.astype(np.int64, copy=False).view(np.uint64)
    return mix(values)


def _hash_floats(array: pa.Array) -> Hashes:
    # Integers with a null come back from pandas as floats: they must still be the same rows.
    values = array.fill_null(np.nan).to_numpy(zero_copy_only=False).astype(np.float64)
    whole = (np.abs(values) < 2.0**63) & (np.trunc(values) == values)
    bits = values.view(np.uint64)
    integers = np.where(whole, values, 0.0).astype(np.int64).view(np.uint64)
    return mix(np.where(whole, integers, bits))


def _hash_times(array: pa.Array) -> Hashes:
    kind = array.type
    unit = (
        "day" if pt.is_date32(kind) else "ms" if pt.is_date64(kind) else getattr(kind, "unit", "us")
    )
    raw = array.cast(pa.int32()) if kind.bit_width == 32 else array
    values = raw.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    if unit == "ns":
        values = values // 1000
    else:
        values = values * (86_400_000_000 if unit == "day" else _MICROSECONDS[unit])
    return mix(values.view(np.uint64))


def _hash_decimals(array: pa.Array) -> Hashes:
    return _hash_bytes(pc.cast(array, pa.string()))


def _hash_bytes(array: pa.Array) -> Hashes:
    values = array.cast(pa.large_binary())
    offsets = np.frombuffer(values.buffers()[1], dtype=np.int64)[values.offset :][: len(values) + 1]
    data = values.buffers()[2]
    text = np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]] if data else np.empty(0)
    padded = np.concatenate([text.astype(np.uint8, copy=False), np.zeros(8, dtype=np.uint8)])
    return _hash_spans(padded, offsets[:-1] - offsets[0], np.diff(offsets))


def _hash_spans(
    data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> Hashes:
    """Hash the bytes of each span; `data` ends in 8 bytes that belong to none."""
    word_at = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
    counts = (lengths + 7) // 8
    position = _positions(counts)
    words = word_at[np.repeat(starts, counts) + 8 * position].astype(np.uint64)
    partial = np.flatnonzero(lengths % 8)
    left = (8 * (lengths[partial] % 8)).astype(np.uint64)
    words[np.cumsum(counts)[partial] - 1] &= (np.uint64(1) << left) - np.uint64(1)
    return _hash_sums(words, position, counts, lengths)


def _positions(counts: Counts) -> Counts:
    """Numbers from 0 up for each count, behind each other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _hash_sums(words: Hashes, position: Counts, counts: Counts, lengths: Counts) -> Hashes:
    """Hash so many words of each value, and the length that they stand for."""
    ends = np.cumsum(counts)
    # The position salts each word, so a sum, which needs no loop over lengths, sees their order.
    words = mix(words + position.astype(np.uint64) * _GOLDEN)
    running = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(words, dtype=np.uint64)])
    return mix((running[ends] - running[ends - counts]) ^ mix(lengths.astype(np.uint64)))


_REDUCTIONS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Hashes]], ...] = (
    (lambda t: pt.is_integer(t) or pt.is_boolean(t), _hash_integers),
    (pt.is_floating, _hash_floats),
    (lambda t: pt.is_temporal(t) and not pt.is_interval(t), _hash_times),
    (pt.is_decimal, _hash_decimals),
    (
        lambda t: (
            pt.is_string(t) or pt.is_large_string(t) or pt.is_binary(t) or pt.is_large_binary(t)
        ),
        _hash_bytes,
    ),
    (
        lambda t: pt.is_string_view(t) or pt.is_binary_view(t) or pt.is_fixed_size_binary(t),
        lambda array: _hash_bytes(array.cast(pa.large_binary())),
    ),
)
