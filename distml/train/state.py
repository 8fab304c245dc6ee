"""The state of a training as bytes and back: tensors as safetensors, all else as JSON beside them.

The one decision: a state is one file whose reading can run no code, so it may come from anywhere. A
tree of dicts, lists, tuples, numbers, texts and tensors is kept as it is, whatever the keys: an
optimizer's state counts its parameters by number.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.torch
import torch

from distml.errors import DataError, UserError

__all__ = ["pack", "to_cpu", "unpack"]

_PLAIN = (bool, int, float, str, type(None))
_NOT_KEPT = (torch.complex32, torch.complex128)
"""What safetensors has no name for."""
_DAMAGE = (
    *(safetensors.SafetensorError, struct.error, KeyError, TypeError, ValueError),
    RecursionError,
)
"""What reading a file of another make can come to."""


def pack(state: Any, facts: dict[str, Any] | None = None) -> bytes:
    """Write a state as one safetensors file.

    Args:
        state: tree of dicts, lists, tuples, plain values, bytes, tensors and numpy arrays.
        facts: what else to say of it, as JSON; can be read without the tensors.

    Returns:
        The file's content.

    Raises:
        UserError: it holds something else; the message says where.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = _flatten(state, tensors, "state")
    metadata = {"tree": json.dumps(tree), "facts": json.dumps(facts or {})}
    return safetensors.torch.save(tensors, {**metadata, "sha256": _digest(tensors, metadata)})


def unpack(content: bytes) -> tuple[Any, dict[str, Any]]:
    """Read what `pack` wrote, or any other safetensors file.

    Args:
        content: the file's content.

    Returns:
        The state, its tensors on the CPU, and the facts; of a file that `pack` did not write, a
        dict of tensors by name and no facts.

    Raises:
        DataError: it is torn or changed, or no safetensors file.
    """
    try:
        tensors = safetensors.torch.load(content)
        (length,) = struct.unpack_from("<Q", content)
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        if not metadata.keys() & {"tree", "sha256"}:
            return tensors, {}
        if metadata["sha256"] != _digest(tensors, metadata):
            raise ValueError("its content was changed")
        return _rebuild(json.loads(metadata["tree"]), tensors), json.loads(metadata["facts"])
    except _DAMAGE as error:
        said = (str(error).splitlines() or [""])[0]
        raise DataError(f"no state of a training ({said}); restore it from a copy") from error


def to_cpu(state: Any) -> Any:
    """The same tree with each tensor copied to the CPU, so that training may go on beside it."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, np.ndarray):
        return state.copy()
    if isinstance(state, dict):
        return {key: to_cpu(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(to_cpu(value) for value in state)
    return state


def _digest(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    sha = hashlib.sha256(f"{metadata['tree']}\n{metadata['facts']}".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        if tensor.numel():
            sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _flatten(value: Any, tensors: dict[str, torch.Tensor], place: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict):
        pairs = [
            [_flatten(key, tensors, place), _flatten(item, tensors, f"{place}.{key}")]
            for key, item in value.items()
        ]
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        items = [_flatten(item, tensors, f"{place}[{i}]") for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, torch.Tensor | np.ndarray):
        return _take_out(value, tensors, place)
    raise UserError(_refusal(place, type(value).__name__))


def _take_out(
    value: torch.Tensor | np.ndarray, tensors: dict[str, torch.Tensor], place: str
) -> Any:
    name, kind = str(len(tensors)), "tensor"
    if isinstance(value, np.ndarray):
        kind = "array"
        if value.dtype.kind not in "fiubc":
            raise UserError(_refusal(place, f"array of {value.dtype}"))
        value = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    if value.dtype in _NOT_KEPT:
        raise UserError(_refusal(place, f"{kind} of {value.dtype}".replace("torch.", "")))
    # Tensors that share memory, as tied weights do, are refused by safetensors.
    tensors[name] = value.detach().to("cpu").contiguous().clone()
    return {kind: name}


def _refusal(place: str, kind: str) -> str:
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{place} is {article} {kind}, which no checkpoint can hold; keep numbers or tensors"


def _rebuild(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "dict":
        return {_rebuild(key, tensors): _rebuild(item, tensors) for key, item in content}
    if kind == "list":
        return [_rebuild(item, tensors) for item in content]
    if kind == "tuple":
        return tuple(_rebuild(item, tensors) for item in content)
    if kind == "bytes":
        return base64.b64decode(content)
    return tensors[content].numpy() if kind == "array" else tensors[content]
