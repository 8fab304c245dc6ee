"""How a fitted estimator becomes bytes and back, without running a stranger's code.

The one decision: skops if it knows every type in the estimator, or we do; a pickle otherwise, which
is named as such and loaded only on demand. Trees, whose nodes scikit-learn follows without looking,
so that crafted ones could crash the process, are checked here before anything predicts with them.
"""

import contextlib
import pickle
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from distml.errors import DataError, UserError
from distml.runs.digest_code import is_installed_module
from distml.runs.known_types import strangers_among
from distml.runs.neighbours import grow_search_trees, without_search_trees
from distml.runs.own_skops import own_skops

__all__ = ["dump_estimator", "load_estimator", "reachable"]


def dump_estimator(estimator: Any) -> tuple[str, bytes, str | None]:
    """Write an estimator in the safest form that holds it.

    Args:
        estimator: fitted estimator or transformer.

    Returns:
        `"skops"` or `"pickle"`, the content, and what asks for a pickle if it is one.

    Raises:
        UserError: it cannot even be pickled.
    """
    skops = own_skops()
    try:
        with without_search_trees(reachable(estimator)):
            content = skops.dumps(estimator)
        strangers = strangers_among(skops.get_untrusted_types(data=content))
        if not strangers:
            # What cannot be read back is not kept: some types are written only.
            load_estimator("skops", content)
            return "skops", content, None
        reason = _holds(strangers)
    except Exception as error:
        reason = f"skops cannot hold it: {_said(error)}"
    return "pickle", _pickle(estimator), reason


def load_estimator(
    stored: str, content: bytes, *, trust: bool = False, reason: str | None = None
) -> Any:
    """Read what `dump_estimator` wrote.

    Args:
        stored: `"skops"` or `"pickle"`.
        content: the bytes.
        trust: run the code that the content may bring along.
        reason: what asked for a pickle, if it is one.

    Returns:
        The estimator.

    Raises:
        UserError: it needs trust: it is a pickle, or holds types that are not known to be harmless.
        DataError: it is not what was written, or its trees lead outside themselves.
    """
    if stored == "pickle" and trust:
        return pickle.loads(content)
    if stored != "skops":
        raise UserError(
            f"it is stored as a {stored}{f' ({reason})' if reason else ''}, which can run any code "
            "when it is loaded; "
            "if you trust where it comes from, say trust=True (--trust in a command)"
        )
    skops = own_skops()
    try:
        found = skops.get_untrusted_types(data=content)
    except Exception as error:
        raise DataError(f"it is not a model ({_said(error)}); restore it from a copy") from error
    strangers = strangers_among(found)
    if strangers and not trust:
        raise UserError(
            f"{_holds(strangers)}, of which distml does not know what they do; "
            "if you trust where it comes from, say trust=True (--trust in a command)"
        )
    try:
        estimator = skops.loads(content, trusted=found)
        grow_search_trees(reachable(estimator))
    except Exception as error:
        raise DataError(
            f"it cannot be read ({_said(error)}); install the versions it names"
        ) from error
    _check_trees(estimator)
    return estimator


def reachable(value: Any) -> Iterator[Any]:
    """Find every object inside another, once each.

    Args:
        value: an estimator, or a container of them.

    Yields:
        The value, and what can be reached through attributes and containers.

    Raises:
        Nothing.
    """
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, str | bytes | int | float | type | None):
            continue
        seen.add(id(item))
        yield item
        waiting.extend(_inside(item))


def _holds(strangers: list[str]) -> str:
    return f"it holds {', '.join(strangers[:3])}"


def _pickle(estimator: Any) -> bytes:
    import cloudpickle

    try:
        with _by_value(cloudpickle):
            return bytes(cloudpickle.dumps(estimator, protocol=5))
    except Exception as error:
        kind = type(estimator).__name__
        raise UserError(f"{kind} cannot be saved ({_said(error)}); make it picklable") from error


@contextlib.contextmanager
def _by_value(cloudpickle: Any) -> Iterator[None]:
    """Put code of the user into the pickle, so that it can be read without the job file."""
    modules = [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and name != "__main__" and not is_installed_module(name)
    ]
    registered = []
    try:
        for module in modules:
            if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(module)
                registered.append(module)
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _check_trees(estimator: Any) -> None:
    """Refuse trees whose nodes lead outside, in circles, or to features that are not there.

    Raises:
        DataError: there is one.
    """
    for owner in reachable(estimator):
        state = getattr(owner, "__dict__", {})
        width = getattr(owner, "n_features_in_", None)  # a voting asks its first member
        for tree in _trees_of(state):
            sound = _is_sound_tree if hasattr(tree, "children_left") else _is_sound_predictor
            if width is None or not sound(tree, int(width)):
                kind = type(owner).__name__
                raise DataError(f"a tree of its {kind} is damaged; restore the model from a copy")


def _trees_of(state: dict[str, Any]) -> Iterator[Any]:
    if "tree_" in state:
        yield state["tree_"]
    for member in np.ravel(np.asarray(state.get("estimators_", ()), dtype=object)):
        if hasattr(member, "tree_"):
            yield member.tree_
    for iteration in state.get("_predictors", ()):
        yield from iteration


def _is_sound_tree(tree: Any, width: int) -> bool:
    left, right, leaf = tree.children_left, tree.children_right, tree.children_left == -1
    return (
        _leads_onwards(left, leaf)
        and _leads_onwards(right, leaf)
        and _within(tree.feature[~leaf], min(width, tree.n_features))
    )


def _is_sound_predictor(tree: Any, width: int) -> bool:
    nodes = tree.nodes
    leaf = nodes["is_leaf"].astype(bool)
    by_category = nodes[~leaf & nodes["is_categorical"].astype(bool)]
    return (
        _leads_onwards(nodes["left"].astype(np.int64), leaf)
        and _leads_onwards(nodes["right"].astype(np.int64), leaf)
        and _within(nodes["feature_idx"][~leaf], width)
        and _within(by_category["bitset_idx"], len(tree.raw_left_cat_bitsets))
    )


def _leads_onwards(children: Any, leaf: Any) -> bool:
    """Whether every inner node's child comes after it, so that following them ends."""
    nodes = np.arange(len(children))
    inner = children[~leaf]
    return len(children) > 0 and bool(np.all((inner > nodes[~leaf]) & (inner < len(children))))


def _within(indices: Any, size: int) -> bool:
    return bool(np.all((indices >= 0) & (indices < size)))


def _inside(item: Any) -> list[Any]:
    if isinstance(item, np.ndarray):
        return item.ravel().tolist() if item.dtype == object else []
    parts = list(vars(item).values()) if hasattr(item, "__dict__") else []
    if isinstance(item, dict):
        return [*parts, *item.values()]
    return [*parts, *item] if isinstance(item, list | tuple | set) else parts


def _said(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
