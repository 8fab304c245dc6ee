"""How each kind of value falls into the parts that are hashed in its place.

The one decision: a table of rules, by exact type for Python's own containers and by family for the
classes of libraries, none of which is imported for it; what is in neither is taken apart as pickle
would, and hashed as cloudpickle's bytes at last.
"""

import functools
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType
from typing import Any, Protocol

from distml.errors import UserError
from distml.runs import digest_arrays, digest_code

__all__ = ["Digester", "find_rule", "hashed"]

_SHORT_LIST = 64


class Digester(Protocol):
    """What rules may ask for: digests of parts."""

    def of(self, value: Any) -> bytes:
        """Digest a value: 32 bytes."""

    def parts(self, kind: str, values: Iterable[Any]) -> bytes:
        """Digest values in their order."""

    def unordered(self, kind: str, values: Iterable[Any]) -> bytes:
        """Digest values whatever their order."""

    def mapping(self, kind: str, items: Mapping[Any, Any]) -> bytes:
        """Digest the items of a mapping whatever their order."""


def hashed(kind: str, chunks: Iterable[Any]) -> bytes:
    """Hash bytes under the name of their kind.

    Args:
        kind: what the bytes are.
        chunks: buffers.

    Returns:
        32 bytes.

    Raises:
        Nothing.
    """
    sha = hashlib.sha256(f"{kind}\0".encode())
    for chunk in chunks:
        sha.update(chunk)
    return sha.digest()


def _sequence(digester: Digester, value: Any) -> bytes:
    kinds = set(map(type, value)) if len(value) > _SHORT_LIST else set()
    if kinds in ({int}, {float}):
        # Long lists of numbers: one hash of their text instead of one hash each.
        return hashed(f"{type(value).__name__} of numbers", (",".join(map(repr, value)).encode(),))
    if kinds == {str}:
        texts = [text.encode("utf-8", "surrogatepass") for text in value]
        lengths = ",".join(str(len(text)) for text in texts)
        return hashed(
            f"{type(value).__name__} of texts", (lengths.encode(), b"\0", b"".join(texts))
        )
    return digester.parts(type(value).__name__, value)


def _set(digester: Digester, value: Any) -> bytes:
    return digester.unordered(type(value).__name__, value)


def _dict(digester: Digester, value: Any) -> bytes:
    return digester.mapping("dict", value)


def _array(digester: Digester, value: Any) -> bytes:
    if value.dtype.names:
        fields = (value[name] for name in value.dtype.names)
        return digester.parts(f"record {value.dtype.names}", fields)
    if value.dtype.hasobject:
        return digester.parts("objects", (value.shape, value.reshape(-1).tolist()))
    head = f"array {value.dtype.newbyteorder('<').str} {value.shape}"
    return hashed(head, digest_arrays.array_chunks(value))


def _numpy_scalar(digester: Digester, value: Any) -> bytes:
    import numpy as np

    return digester.parts("scalar", (np.asarray(value),))


def _dtype(digester: Digester, value: Any) -> bytes:
    return digester.parts("dtype", (value.newbyteorder("<").str, value.names, str(value.subdtype)))


def _random_state(digester: Digester, value: Any) -> bytes:
    return digester.mapping("RandomState", value.get_state(legacy=False))


def _generator(digester: Digester, value: Any) -> bytes:
    return digester.mapping("Generator", value.bit_generator.state)


def _function(digester: Digester, value: Any) -> bytes:
    if digest_code.is_installed(value):
        # A library's closure is told by its name only together with what it closes over.
        closure = digest_code.closure_parts(value)
        return digester.parts("name", (digest_code.qualified_name(value), *closure))
    return digester.parts("function", digest_code.function_parts(value))


def _class(digester: Digester, value: Any) -> bytes:
    if digest_code.is_installed(value):
        return digester.parts("name", (digest_code.qualified_name(value),))
    return digester.parts("class", digest_code.class_parts(value))


def _builtin(digester: Digester, value: Any) -> bytes:
    owner = getattr(value, "__self__", None)
    if owner is None or isinstance(owner, ModuleType):
        return digester.parts("name", (digest_code.qualified_name(value),))
    return digester.parts("method", (owner, value.__name__))


def _descriptor(digester: Digester, value: Any) -> bytes:
    return digester.parts(type(value).__name__, (value.__func__,))


def _property(digester: Digester, value: Any) -> bytes:
    return digester.parts("property", (value.fget, value.fset, value.fdel))


def _estimator(digester: Digester, value: Any) -> bytes:
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
) -> Callable[[Digester, Any], bytes]:
    return lambda digester, value: digester.parts(kind, parts(value))


def _reduced(digester: Digester, value: Any) -> bytes:
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
        return hashed("cloudpickle", (cloudpickle.dumps(value, protocol=5),))
    except Exception as error:
        raise UserError(
            f"cannot tell {type(value).__name__} {str(value)[:60]!r} by its content ({error}); "
            "leave it out of the estimator's parameters, or make it picklable"
        ) from error


Rule = Callable[[Digester, Any], bytes]

_RULES: tuple[tuple[type, Rule], ...] = (
    (list, _sequence),
    (tuple, _sequence),
    (set, _set),
    (frozenset, _set),
    (dict, _dict),
    (MappingProxyType, _dict),
    (memoryview, lambda _, value: hashed("bytes", (value.tobytes(),))),
    (FunctionType, _function),
    (BuiltinFunctionType, _builtin),
    (staticmethod, _descriptor),
    (classmethod, _descriptor),
    (property, _property),
    (functools._lru_cache_wrapper, lambda digester, value: digester.of(value.__wrapped__)),
    (ModuleType, _by_parts("module", digest_code.module_parts)),
)
"""Rules for exact types: a subclass of `dict` may mean more; `_reduced` sees to it."""

_found: dict[type, Rule] = {}

_FAMILIES: tuple[tuple[str, str, Rule], ...] = (
    ("builtins", "type", _class),
    ("pathlib", "PurePath", lambda _, value: hashed("path", (value.as_posix().encode(),))),
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


def find_rule(kind: type) -> Rule:
    """Find the rule for values of a type.

    Args:
        kind: the type.

    Returns:
        The rule: given a digester and a value, the value's digest.

    Raises:
        Nothing.
    """
    if kind not in _found:
        _found[kind] = _search(kind)
    return _found[kind]


def _search(kind: type) -> Rule:
    for exact, rule in _RULES:
        if kind is exact:
            return rule
    for module, name, rule in _FAMILIES:
        family = getattr(sys.modules.get(module), name, None)
        if isinstance(family, type) and issubclass(kind, family):
            return rule
    return _reduced
