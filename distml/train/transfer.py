"""Weights of another network as a beginning: read from wherever they are, matched key by key.

The one decision: a weight is taken if name and shape are the same, where a wrapper's prefix does
not count; everything else is said, and nothing that matches at all is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distml.errors import DataError, UserError

__all__ = ["Transfer", "check_same", "match_weights", "read_weights"]


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What became of each key."""

    loaded: tuple[str, ...]
    """Weights of the network that were taken over."""
    missing: tuple[str, ...]
    """Weights of the network that nothing was given for; they are drawn."""
    mismatched: tuple[str, ...]
    """Weights given with another shape; the network's are drawn."""
    unused: tuple[str, ...]
    """Keys given that the network has nothing of."""

    def __str__(self) -> str:
        said = f"{len(self.loaded)} of {len(self.loaded) + len(self.missing)} weights taken over"
        for name, keys in (("drawn anew", self.missing), ("not used", self.unused)):
            if keys:
                said += f"; {name}: {', '.join(keys[:5])}{', ...' if keys[5:] else ''}"
        return said


def read_weights(source: Any) -> dict[str, torch.Tensor]:
    """The weights in whatever has them.

    Args:
        source: a fitted network, a mapping of names to tensors or arrays (a state dict), the path
            of a safetensors file or of one of our checkpoints, or the folder of a run or bundle.

    Returns:
        Name → tensor on the CPU.

    Raises:
        UserError: there are none in it.
        DataError: the file is damaged.
    """
    if hasattr(source, "weights_"):
        return _tensors(source.weights_)
    if hasattr(source, "state_dict"):
        return _tensors(source.state_dict())
    if isinstance(source, Mapping):
        return _tensors(source)
    if isinstance(source, str | Path):
        return _read_path(Path(source))
    raise UserError(
        f"init_from: a {type(source).__name__} has no weights; give a fitted network, a state "
        "dict, a safetensors file, or the folder of a run or bundle"
    )


def match_weights(
    given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], Transfer]:
    """Those of the given weights that the network can begin with.

    Args:
        given: name → tensor.
        wanted: the network's own, for their names and shapes.

    Returns:
        Name in the network → tensor, and what became of each key.

    Raises:
        UserError: not one matches.
    """
    bare = {_bare(name): name for name in given}
    found, mismatched, used = {}, [], set()
    for name, own in wanted.items():
        source = name if name in given else bare.get(_bare(name))
        if source is None:
            continue
        used.add(source)
        if given[source].shape == own.shape:
            found[name] = given[source]
        else:
            mismatched.append(name)
    # What the network standardises by is learnt from data, and says nothing of its weights.
    if not any(name in found for name in wanted if not name.endswith(("_mean", "_factor"))):
        raise UserError(
            f"init_from has no matching key: it has {_some(given)}, the network has "
            f"{_some(wanted)}; give weights of a network of the same layers"
        )
    transfer = Transfer(
        loaded=tuple(found),
        missing=tuple(name for name in wanted if name not in found),
        mismatched=tuple(mismatched),
        unused=tuple(name for name in given if name not in used),
    )
    return found, transfer


def check_same(former: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    """Refuse to go on with the weights of a network of other layers.

    Raises:
        UserError: names or shapes differ.
    """
    shapes = [{name: tuple(w.shape) for name, w in each.items()} for each in (former, wanted)]
    if shapes[0] != shapes[1]:
        name = next(n for each in shapes for n in each if shapes[0].get(n) != shapes[1].get(n))
        before, now = (each.get(name, "absent") for each in shapes)
        raise UserError(
            f"module: the fitted network is another ({name} was {before} and is {now}); clone the "
            "estimator to begin anew, or use init_from to take over what fits"
        )


def _read_path(path: Path) -> dict[str, torch.Tensor]:
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise UserError(f"init_from={str(path)!r}: no such file; check the path")
    from distml.train.state import unpack

    try:
        state, _ = unpack(path.read_bytes())
    except DataError as error:
        raise DataError(
            f"init_from={str(path)!r} is no safetensors file: {error}; of a state dict of torch's "
            "own form, give what torch.load(..., weights_only=True) gives"
        ) from error
    return _tensors(state.get("model", state) if isinstance(state, Mapping) else {})


def _read_folder(path: Path) -> dict[str, torch.Tensor]:
    from distml.runs.bundle import load

    bundle = path / "bundle" if (path / "bundle").is_dir() else path
    estimator: Any = load(str(bundle)).estimator
    if not hasattr(estimator, "weights_"):
        kind = type(estimator).__name__
        raise UserError(f"init_from={str(path)!r}: its model is a {kind}, which has no weights")
    return _tensors(estimator.weights_)


def _tensors(weights: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    found = {}
    for name, value in weights.items():
        if isinstance(value, torch.Tensor):
            found[str(name)] = value.detach().cpu()
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            found[str(name)] = torch.from_numpy(np.array(value))
    if not found:
        raise UserError("init_from: there are no weights in it; give names with tensors")
    return found


def _bare(name: str) -> str:
    # What has no label stands in two wrappers of ours.
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name.removeprefix("model.")


def _some(names: Mapping[str, Any]) -> str:
    keys = list(names)
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
