"""Digests of large values: numpy arrays, sparse matrices, data frames, Arrow tables, tensors.

The one decision: what counts is the content, not how it lies in memory. Order of axes in memory,
chunks and slices of Arrow columns, byte order and undefined bytes under nulls or in the gaps of a
record do not matter; dtype, shape, names and order of columns do. Nothing here imports the library
a value comes from before such a value is there, and no matrix is copied whole.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = [
    "array_chunks",
    "arrow_parts",
    "frame_parts",
    "pandas_parts",
    "sparse_parts",
    "tensor_parts",
]

_BLOCK_BYTES = 4 << 20


def array_chunks(array: np.ndarray[Any, Any]) -> Iterator[Any]:
    """Give the bytes of an array of plain values, in C order and little-endian.

    Args:
        array: array of any shape; not of objects, not of records.

    Yields:
        Buffers, views where the array is contiguous, else copies of a few megabytes.

    Raises:
        Nothing.
    """
    array = np.asarray(array)
    little = array.dtype.newbyteorder("<")
    if array.flags.c_contiguous and array.dtype == little:
        yield array.reshape(-1).view(np.uint8) if array.size else b""
        return
    if array.ndim == 0:
        yield array.astype(little).tobytes()
        return
    row_bytes = max(1, array.nbytes // max(1, len(array)))
    step = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, len(array), step):
        yield array[start : start + step].astype(little, order="C").tobytes()


def sparse_parts(matrix: Any) -> tuple[object, ...]:
    """What determines a scipy sparse matrix or array.

    Args:
        matrix: of any format; entries may be unsorted or repeated.

    Returns:
        Format, shape, and the arrays of its sorted rows (columns for CSC).

    Raises:
        Nothing.
    """
    compressed = matrix if matrix.format in ("csr", "csc") else matrix.tocsr()
    if not compressed.has_canonical_format:
        compressed = compressed.copy()
        compressed.sum_duplicates()
    indices = (compressed.indptr.astype(np.int64), compressed.indices.astype(np.int64))
    return (type(matrix).__name__, matrix.shape, *indices, compressed.data)


def frame_parts(frame: Any) -> tuple[object, ...]:
    """What determines a pandas DataFrame.

    Args:
        frame: DataFrame of shape (n_rows, n_columns).

    Returns:
        Names of the columns, the index, and each column's content.

    Raises:
        Nothing.
    """
    columns = tuple(_pandas_array(frame.iloc[:, i].array) for i in range(frame.shape[1]))
    return (pandas_parts(frame.columns), pandas_parts(frame.index), columns)


def pandas_parts(values: Any) -> tuple[object, ...]:
    """What determines a pandas Series or Index.

    Args:
        values: Series or Index of length n.

    Returns:
        Its names, for a Series its index, and its content.

    Raises:
        Nothing.
    """
    names = tuple(getattr(values, "names", (values.name,)))
    if hasattr(values, "step") and hasattr(values, "start"):
        return (names, "range", (values.start, values.stop, values.step))
    if hasattr(values, "levels"):
        levels = tuple(_pandas_array(level.array) for level in values.levels)
        return (names, levels, tuple(np.asarray(codes) for codes in values.codes))
    index = pandas_parts(values.index) if hasattr(values, "index") else None
    return (names, index, _pandas_array(values.array))


def arrow_parts(values: Any) -> tuple[object, ...]:
    """What determines an Arrow table, record batch, array or chunked array.

    Args:
        values: the Arrow value; its metadata do not count.

    Returns:
        For a table names and columns, for a column its type and content.

    Raises:
        Nothing.
    """
    import pyarrow as pa

    if isinstance(values, pa.Table | pa.RecordBatch):
        columns = tuple(_arrow_column(values.column(i)) for i in range(values.num_columns))
        return (tuple(values.schema.names), values.num_rows, columns)
    return _arrow_column(values)


def tensor_parts(tensor: Any) -> tuple[object, ...]:
    """What determines a torch tensor.

    Args:
        tensor: of any shape, on any device; the device does not count.

    Returns:
        Its dtype, shape, whether it learns, and its bytes as an array.

    Raises:
        Nothing.
    """
    import torch

    plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return (str(tensor.dtype), tuple(tensor.shape), tensor.requires_grad, plain)


def _pandas_array(array: Any) -> object:
    dtype = array.dtype
    if isinstance(dtype, np.dtype):
        return np.asarray(array)
    if hasattr(dtype, "categories") and hasattr(array, "codes"):
        categories = _pandas_array(dtype.categories.array)
        return ("category", np.asarray(array.codes), categories, bool(dtype.ordered))
    if hasattr(array, "__arrow_array__"):
        import pyarrow as pa

        return (str(dtype), _arrow_column(pa.array(array)))
    return (str(dtype), np.asarray(array, dtype=object))


def _arrow_column(column: Any) -> tuple[object, ...]:
    import pyarrow as pa

    kind = column.type
    for narrow, wide in ((pa.string(), pa.large_string()), (pa.binary(), pa.large_binary())):
        # Chunks of the narrow type together may be longer than its offsets can say.
        column = column.cast(wide) if column.type == narrow else column
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = (
                pa.array([], column.type) if not len(column) else pa.concat_arrays(column.chunks)
            )
    return (str(kind), *_arrow_array(column))


def _arrow_array(array: Any) -> tuple[object, ...]:
    """The null mask (if there are nulls) and the values in a form without undefined bytes."""
    import pyarrow as pa

    nulls = (
        np.packbits(array.is_null().to_numpy(zero_copy_only=False)) if array.null_count else None
    )
    for fits, values in _ARROW_VALUES:
        if fits(pa.types, array.type):
            return (len(array), nulls, values(array))
    return (len(array), array.to_pylist())


def _arrow_fixed(array: Any) -> object:
    import pyarrow as pa

    bits = array.type.bit_width
    plain = array.view(f"int{bits}") if bits in (8, 16, 32, 64) else array
    if plain.null_count:
        plain = plain.fill_null(0)
    return plain.to_numpy(zero_copy_only=pa.types.is_integer(plain.type))


def _arrow_bool(array: Any) -> object:
    return array.fill_null(False).to_numpy(zero_copy_only=False)


def _arrow_binary(array: Any) -> object:
    import pyarrow as pa

    filled = array.fill_null(b"" if pa.types.is_large_binary(array.type) else "")
    _, offsets, data = filled.buffers()
    start, stop = filled.offset, filled.offset + len(filled) + 1
    where = np.frombuffer(offsets, np.int64)[start:stop] if len(filled) else np.zeros(1, np.int64)
    content = (
        np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    )
    return (np.diff(where), content[where[0] : where[-1]])


def _arrow_dictionary(array: Any) -> object:
    return _arrow_column(array.dictionary_decode())


def _arrow_struct(array: Any) -> object:
    names = tuple(field.name for field in array.type)
    return (names, tuple(_arrow_column(child) for child in array.flatten()))


def _arrow_list(array: Any) -> object:
    return (_arrow_column(array.value_lengths()), _arrow_column(array.flatten()))


_ARROW_VALUES: tuple[tuple[Callable[[Any, Any], bool], Callable[[Any], object]], ...] = (
    (lambda types, kind: types.is_boolean(kind), _arrow_bool),
    (lambda types, kind: types.is_large_string(kind) or types.is_large_binary(kind), _arrow_binary),
    (lambda types, kind: types.is_dictionary(kind), _arrow_dictionary),
    (lambda types, kind: types.is_struct(kind), _arrow_struct),
    (lambda types, kind: types.is_list(kind) or types.is_large_list(kind), _arrow_list),
    (
        lambda types, kind: types.is_primitive(kind) and kind.bit_width in (8, 16, 32, 64),
        _arrow_fixed,
    ),
)
"""Which types are read how; any other goes through Python values."""
