"""What a run keeps of each network in its model: how it learnt, its layers, on what it ran.

The one decision: a network is known by what its fit has left (`history_`, `architecture_`),
wherever in the model it stands, so this module knows no kind of network and imports none. Epochs
are counted from 1, as people do.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

__all__ = ["brief", "describe_networks", "find_networks"]

_MOST_WHOLE = 24
"""Networks with their curves and layers; of further ones there are only totals."""
_MOST_POINTS = 1_000
"""Epochs of a curve; of more, evenly spread ones are kept."""
_MOST_LAYERS = 1_000
_MOST_KEYS = 50
_ONES = ("final_estimator_", "best_estimator_", "estimator_", "regressor_", "classifier_")
_WRAPPERS = ("Wired", "Residual")
_DEFAULTS = {"Network": "MLP", "Reconstruction": "Autoencoder"}
"""What makes a network where the user named none, by its class."""
_EMPTY = ("ModuleList", "ModuleDict", "Sequential", "Identity")
_HEAD = ("name", "module", "parameters", "epochs", "best_epoch")


def find_networks(model: Any) -> Iterator[tuple[str, Any]]:
    """The fitted networks in a model.

    Args:
        model: Fitted: a network, or what has networks in it: a pipeline, an ensemble, a search.

    Yields:
        The name of each by the way to it, such as `bag, NeuralClassifier 2`, and the network.
    """
    yield from _walk(model, (), set())


def describe_networks(model: Any) -> list[dict[str, Any]]:
    """Describe the networks in a model, for `evaluation.json`.

    Args:
        model: Fitted.

    Returns:
        Of each network `name`, `kind`, `module`, `parameters`, `epochs`, `best_epoch`, `steps`,
        `seconds`, `best` (metrics of that epoch, or of the last), `device`, `precision`,
        `num_workers`, `peak_bytes` (of each worker), `peak_gpu_bytes`, `counters` (what was mended,
        if anything was), `transfer` (keys by what became of them), `history` (metric → list over
        `epoch`) and `layers`.
    """
    return [
        _entry(name, network, whole=number < _MOST_WHOLE)
        for number, (name, network) in enumerate(find_networks(model))
    ]


def brief(networks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same in a row each, for the run's record."""
    rows = []
    for network in networks[:_MOST_WHOLE]:
        best = {k: v for k, v in network["best"].items() if k.startswith("val_")}
        # Of the worker that needed most.
        memory = {"peak_bytes": max(peaks)} if (peaks := network["peak_bytes"]) else {}
        rows.append({**{name: network[name] for name in _HEAD}, **best, **memory})
    return rows


def _walk(model: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(model) in seen:
        return
    seen.add(id(model))
    if _is_network(model):
        yield ", ".join(path) or type(model).__name__, model
        return
    for name, part in _parts(model):
        yield from _walk(part, (*path, name) if name else path, seen)


def _is_network(model: Any) -> bool:
    # Of the class, since to ask a network itself is to build it.
    return isinstance(getattr(model, "history_", None), list) and hasattr(
        type(model), "architecture_"
    )


def _parts(model: Any) -> Iterator[tuple[str, Any]]:
    """The models in a model, by name where they have one."""
    named = getattr(model, "named_estimators_", None)
    if named:
        yield from ((name, part) for name, part in named.items() if not isinstance(part, str))
    else:
        members = np.ravel(np.asarray(getattr(model, "estimators_", ()), dtype=object))
        yield from ((f"{type(part).__name__} {n}", part) for n, part in enumerate(members, 1))
    steps: Sequence[tuple[str, Any]] = getattr(model, "steps", ())
    # The last step of a pipeline is what it is all about.
    yield from (("" if part is steps[-1][1] else name, part) for name, part in steps)
    for number, one in enumerate(getattr(model, "calibrated_classifiers_", ()), 1):
        yield f"fold {number}", one.estimator
    for name in _ONES:
        part = getattr(model, name, None)
        if part is not None:
            yield "final estimator" if name == "final_estimator_" else "", part


def _entry(name: str, network: Any, *, whole: bool) -> dict[str, Any]:
    history: list[Mapping[str, float]] = network.history_
    best = getattr(network, "best_epoch_", None)
    layers = _layers(network)
    known = {
        "name": name,
        "kind": type(network).__name__,
        "module": _module_name(network),
        "parameters": sum(layer["parameters"] for layer in layers),
        "epochs": len(history),
        "best_epoch": None if best is None else best + 1,
        "steps": getattr(network, "n_steps_", None),
        "seconds": sum(epoch.get("seconds", 0.0) for epoch in history),
        "best": _metrics(history[-1 if best is None else best]) if history else {},
        "device": getattr(network, "device_", None),
        "precision": getattr(network, "precision", None),
        "num_workers": getattr(network, "num_workers_", None),
        "peak_bytes": getattr(network, "peak_bytes_", None) or None,
        "peak_gpu_bytes": getattr(network, "peak_gpu_bytes_", 0) or None,
        "counters": _mended(getattr(network, "counters_", None)),
        "transfer": _transfer(getattr(network, "transfer_", None)),
    }
    if not whole:
        return known
    return {**known, "history": _columns(history), "layers": layers[:_MOST_LAYERS]}


def _metrics(epoch: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in epoch.items() if name != "epoch"}


def _columns(history: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """Metric → values over `epoch`; six figures, since a curve shows no more."""
    places = list(range(len(history)))
    if len(history) > _MOST_POINTS:
        places = sorted({round(p) for p in np.linspace(0, len(history) - 1, _MOST_POINTS)})
    names = dict.fromkeys(name for epoch in history for name in epoch if name != "epoch")
    columns = {name: [_short(history[place].get(name)) for place in places] for name in names}
    return {"epoch": [float(place + 1) for place in places], **columns}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _layers(network: Any) -> list[dict[str, Any]]:
    """The layers by their names in the user's module, without what it is wrapped in.

    What has neither parameters nor does anything is left out.
    """
    layers = [
        dict(layer)
        for layer in network.architecture_
        if layer["parameters"] or layer["kind"] not in _EMPTY
    ]
    while layers and all(layer["name"].startswith("module.") for layer in layers):
        for layer in layers:
            layer["name"] = layer["name"].removeprefix("module.")
    return layers


def _module_name(network: Any) -> str:
    given = getattr(network, "module", None)
    if given is not None:
        return str(getattr(given, "__name__", type(given).__name__))
    inner = network.module_
    while type(inner).__name__ in _WRAPPERS:
        inner = inner.module
    return _DEFAULTS.get(type(inner).__name__, type(inner).__name__)


def _mended(counters: Any) -> dict[str, int]:
    """What was mended on the way, without what did not happen."""
    counted = asdict(counters) if is_dataclass(counters) and not isinstance(counters, type) else {}
    return {name: number for name, number in counted.items() if number}


def _transfer(transfer: Any) -> dict[str, Any] | None:
    """What became of the keys that it began with: how many, and the first of them by name."""
    if not is_dataclass(transfer) or isinstance(transfer, type):
        return None
    told: dict[str, Any] = {"said": str(transfer)}
    for name, keys in asdict(transfer).items():
        if isinstance(keys, list | tuple):
            told[name] = {"number": len(keys), "keys": list(itertools.islice(keys, _MOST_KEYS))}
    return told
