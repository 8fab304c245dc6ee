"""A canonical hash of Python values, by content: the same in every process and on every platform.

The one decision: a value is broken down by what it means (a dict without its order, an array
without its layout, a function without its place, an estimator into class, parameters and fitted
state), and each part is hashed under the name of its kind; what has no rule of its own is broken
down as pickle would. SHA-256, since it ran at 1.6 GB/s against 0.8 for BLAKE2b where this was
measured (processors with SHA instructions).

It refuses values that cannot be pickled (open files, locks): they have no content that outlives the
process.
"""

import functools
import hashlib
import math
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType
from typing import Any

from distml.errors import UserError
from distml.runs import digest_arrays, digest_code

__all__ = ["digest"]

_SHORT_LIST = 64


def digest(value: object) -> str:
    """Hash a value by its content.

    Equal content gives an equal digest: dicts and sets in any order, arrays in any memory layout,
    data in any chunks. Types count: `1`, `1.0` and `True` differ, as do a list and a tuple. Code of
    the user counts by what it does, code of installed packages by its name. An estimator counts
    with its parameters and, if fitted, with what it learnt. What has no rule of its own is taken
    apart by its `__reduce_ex__`, or else hashed as cloudpickle's bytes (the last
    resort: these are stable only as far as cloudpickle is).

    Args:
        value: anything that could be pickled.

    Returns:
        64 hexadecimal characters.

    Raises:
        UserError: a part of `value` cannot be pickled.
    """
    return _Digester().of(value).hex()


class _Digester:
    """One walk through a value.

    A part that contains itself is hashed there as the number of levels to where it began. Arrays
    and code are remembered, but only if nothing in them points above them: else their digest would
    depend on the way to them.
    """

    def __init__(self) -> None:
        self._path: list[int] = []
        self._highest = sys.maxsize
        self._known: dict[int, tuple[object, bytes]] = {}

    def of(self, value: Any) -> bytes:
        """Digest a value: 32 bytes."""
        atom = _atom(value)
        if atom is not None:
            return _hashed(type(value).__name__, (atom,))
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._path:
            level = self._path.index(id(value))
            self._highest = min(self._highest, level)
            return _hashed("cycle", (b"%d" % (len(self._path) - level),))
        return self._compound(value)

    def parts(self, kind: str, values: Iterable[Any]) -> bytes:
        """Digest values in their order."""
        return _hashed(kind, map(self.of, values))

    def unordered(self, kind: str, values: Iterable[Any]) -> bytes:
        """Digest values whatever their order."""
        return _hashed(kind, sorted(map(self.of, values)))

    def mapping(self, kind: str, items: Mapping[Any, Any]) -> bytes:
        """Digest the items of a mapping whatever their order."""
        keyed = sorted(
            ((self.of(key), value) for key, value in items.items()), key=lambda item: item[0]
        )
        return _hashed(kind, (part for key, value in keyed for part in (key, self.of(value))))

    def _compound(self, value: Any) -> bytes:
        level, outer = len(self._path), self._highest
        self._path.append(id(value))
        self._highest = sys.maxsize
        try:
            result = _rule(type(value))(self, value)
        finally:
            self._path.pop()
        closed = self._highest >= level
        self._highest = outer if closed else min(outer, self._highest)
        if closed and _is_shared(value):
            # The value is kept, so that its id stays its own for as long as we go by it.
            self._known[id(value)] = (value, result)
        return result


def _hashed(kind: str, chunks: Iterable[Any]) -> bytes:
    sha = hashlib.sha256(f"{kind}\0".encode())
    for chunk in chunks:
        sha.update(chunk)
    return sha.digest()


def _atom(value: Any) -> bytes | None:
    """The bytes of a value without parts; of exact types only, since a subclass may mean more."""
    kind = type(value)
    if kind is str:
        return value.encode("utf-8", "surrogatepass")
    if kind is int or kind is bool or value is None or value is Ellipsis:
        return repr(value).encode()
    if kind is float:
        # Every NaN is one value here, whatever its bits.
        return b"nan" if math.isnan(value) else struct.pack("<d", value)
    if kind is complex:
        return struct.pack("<dd", value.real, value.imag)
    return bytes(value) if kind is bytes or kind is bytearray else None


def _is_shared(value: object) -> bool:
    """Whether a value is likely to be met again, and costs more to hash than to remember."""
    return isinstance(value, type | FunctionType) or type(value).__module__ == "numpy"


def _sequence(digester: _Digester, value: Any) -> bytes:
    kinds = set(map(type, value)) if len(value) > _SHORT_LIST else set()
    if kinds in ({int}, {float}):
        # Long lists of numbers: one hash of their text instead of one hash each.
        return _hashed(f"{type(value).__name__} of numbers", (",".join(map(repr, value)).encode(),))
    if kinds == {str}:
        texts = [text.encode("utf-8", "surrogatepass") for text in value]
        lengths = ",".join(str(len(text)) for text in texts)
        return _hashed(
            f"{type(value).__name__} of texts", (lengths.encode(), b"\0", b"".join(texts))
        )
    return digester.parts(type(value).__name__, value)


def _set(digester: _Digester, value: Any) -> bytes:
    return digester.unordered(type(value).__name__, value)


def _dict(digester: _Digester, value: Any) -> bytes:
    return digester.mapping("dict", value)


def _array(digester: _Digester, value: Any) -> bytes:
    if value.dtype.names:
        fields = (value[name] for name in value.dtype.names)
        return digester.parts(f"record {value.dtype.names}", fields)
    if value.dtype.hasobject:
        return digester.parts("objects", (value.shape, value.reshape(-1).tolist()))
    head = f"array {value.dtype.newbyteorder('<').str} {value.shape}"
    return _hashed(head, digest_arrays.array_chunks(value))


def _numpy_scalar(digester: _Digester, value: Any) -> bytes:
    import numpy as np

    return digester.parts("scalar", (np.asarray(value),))


def _dtype(digester: _Digester, value: Any) -> bytes:
    return digester.parts("dtype", (value.newbyteorder("<").str, value.names, str(value.subdtype)))


def _random_state(digester: _Digester, value: Any) -> bytes:
    return digester.mapping("RandomState", value.get_state(legacy=False))


def _generator(digester: _Digester, value: Any) -> bytes:
    return digester.mapping("Generator", value.bit_generator.state)


def _function(digester: _Digester, value: Any) -> bytes:
    if digest_code.is_installed(value):
        # A library's closure is told by its name only together with what it closes over.
        closure = digest_code.closure_parts(value)
        return digester.parts("name", (digest_code.qualified_name(value), *closure))
    return digester.parts("function", digest_code.function_parts(value))


def _class(digester: _Digester, value: Any) -> bytes:
    if digest_code.is_installed(value):
        return digester.parts("name", (digest_code.qualified_name(value),))
    return digester.parts("class", digest_code.class_parts(value))


def _builtin(digester: _Digester, value: Any) -> bytes:
    owner = getattr(value, "__self__", None)
    if owner is None or isinstance(owner, ModuleType):
        return digester.parts("name", (digest_code.qualified_name(value),))
    return digester.parts("method", (owner, value.__name__))


def _descriptor(digester: _Digester, value: Any) -> bytes:
    return digester.parts(type(value).__name__, (value.__func__,))


def _property(digester: _Digester, value: Any) -> bytes:
    return digester.parts("property", (value.fget, value.fset, value.fdel))


def _estimator(digester: _Digester, value: Any) -> bytes:
    parameters = value.get_params(deep=False)
    state = value.__getstate__() if hasattr(value, "__getstate__") else vars(value)
    if not isinstance(state, dict):
        return _reduced(digester, value)
    learnt = {
        name: part
        for name, part in state.items()
        if name not in parameters and name != "_sklearn_version"
    }
    return digester.parts("estimator", (type(value), parameters, learnt))


def _by_parts(
    kind: str, parts: Callable[[Any], tuple[object, ...]]
) -> Callable[[_Digester, Any], bytes]:
    return lambda digester, value: digester.parts(kind, parts(value))


def _reduced(digester: _Digester, value: Any) -> bytes:
    """Take a value apart as pickle would: how to make it, from what, and its state."""
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:
        return _pickled(value)
    if isinstance(reduced, str):
        return digester.parts("name", (digest_code.qualified_name(value), reduced))
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    return digester.parts(
        "object",
        (
            make,
            arguments,
            state,
            None if items is None else list(items),
            None if pairs is None else dict(pairs),
        ),
    )


def _pickled(value: Any) -> bytes:
    import cloudpickle

    try:
        return _hashed("cloudpickle", (cloudpickle.dumps(value, protocol=5),))
    except Exception as error:
        raise UserError(
            f"cannot tell {type(value).__name__} {str(value)[:60]!r} by its content ({error}); "
            "leave it out of the estimator's parameters, or make it picklable"
        ) from error


_Rule = Callable[[_Digester, Any], bytes]

_RULES: tuple[tuple[type, _Rule], ...] = (
    (list, _sequence),
    (tuple, _sequence),
    (set, _set),
    (frozenset, _set),
    (dict, _dict),
    (MappingProxyType, _dict),
    (memoryview, lambda _, value: _hashed("bytes", (value.tobytes(),))),
    (FunctionType, _function),
    (BuiltinFunctionType, _builtin),
    (staticmethod, _descriptor),
    (classmethod, _descriptor),
    (property, _property),
    (functools._lru_cache_wrapper, lambda digester, value: digester.of(value.__wrapped__)),
    (ModuleType, _by_parts("module", digest_code.module_parts)),
)
"""Rules for exact types: a subclass of `dict` may mean more; `_reduced` sees to it."""

_found: dict[type, _Rule] = {}

_FAMILIES: tuple[tuple[str, str, _Rule], ...] = (
    ("builtins", "type", _class),
    ("pathlib", "PurePath", lambda _, value: _hashed("path", (value.as_posix().encode(),))),
    ("numpy", "ndarray", _array),
    ("numpy", "generic", _numpy_scalar),
    ("numpy", "dtype", _dtype),
    ("numpy.random", "RandomState", _random_state),
    ("numpy.random", "Generator", _generator),
    ("scipy.sparse", "sparray", _by_parts("sparse", digest_arrays.sparse_parts)),
    ("scipy.sparse", "spmatrix", _by_parts("sparse", digest_arrays.sparse_parts)),
    ("pandas", "DataFrame", _by_parts("DataFrame", digest_arrays.frame_parts)),
    ("pandas", "Series", _by_parts("Series", digest_arrays.pandas_parts)),
    ("pandas", "Index", _by_parts("Index", digest_arrays.pandas_parts)),
    ("pyarrow", "Table", _by_parts("Table", digest_arrays.arrow_parts)),
    ("pyarrow", "RecordBatch", _by_parts("RecordBatch", digest_arrays.arrow_parts)),
    ("pyarrow", "Array", _by_parts("column", digest_arrays.arrow_parts)),
    ("pyarrow", "ChunkedArray", _by_parts("column", digest_arrays.arrow_parts)),
    ("torch", "Tensor", _by_parts("tensor", digest_arrays.tensor_parts)),
    ("sklearn.base", "BaseEstimator", _estimator),
    ("sklearn.utils", "Bunch", _dict),
)
"""Rules for a class and all below it: module, name, rule. The module is not imported: without it
there is no such value."""


def _rule(kind: type) -> _Rule:
    if kind not in _found:
        _found[kind] = _find_rule(kind)
    return _found[kind]


def _find_rule(kind: type) -> _Rule:
    for exact, rule in _RULES:
        if kind is exact:
            return rule
    for module, name, rule in _FAMILIES:
        family = getattr(sys.modules.get(module), name, None)
        if isinstance(family, type) and issubclass(kind, family):
            return rule
    return _reduced
