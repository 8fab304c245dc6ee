"""Labels and weights as scikit-learn gives them, as the numbers that a network is trained on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import _check_sample_weight

from distml.errors import DataError, UserError

__all__ = ["ClassTargets", "ScaledTargets", "distinct", "named_loss", "row_weights"]

Array = npt.NDArray[Any]

_CLOSE = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassTargets:
    """Labels as numbers of classes."""

    classes: Array
    """Array of shape (n_classes,), sorted."""
    factors: Array | None
    """Weight of each class, whose mean over the rows is 1; `None`: all weigh the same."""

    @classmethod
    def of(cls, target: Array, classes: Array, class_weight: Any) -> "ClassTargets":
        """For labels of these classes.

        Raises:
            DataError: a label is none of them.
            UserError: the class weight makes no sense.
        """
        if class_weight is None:
            return cls(classes=classes, factors=None)
        codes = _codes(target, classes)
        try:
            factors = compute_class_weight(class_weight, classes=classes, y=target)
        except ValueError as error:
            raise UserError(
                f"class_weight={class_weight!r} ({error}); give 'balanced', or a weight for each "
                f"of {classes.tolist()[:10]}"
            ) from error
        return cls(classes=classes, factors=(factors / factors[codes].mean()).astype(np.float32))

    def __call__(self, target: Array) -> dict[str, Array]:
        """`y`: int64 array of shape (n,); `weight`: float32 array of shape (n,), if they differ.

        Raises:
            DataError: a label is none of the classes.
        """
        codes = _codes(target, self.classes)
        return {"y": codes} if self.factors is None else {"y": codes, "weight": self.factors[codes]}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaledTargets:
    """Numbers less their mean, by their deviation."""

    mean: Array
    """Array of shape (n_targets,)."""
    scale: Array
    """Array of shape (n_targets,)."""

    def __call__(self, target: Array) -> dict[str, Array]:
        """`y`: float32 array of shape (n, n_targets)."""
        wide = target.reshape(len(target), -1).astype(np.float64)
        return {"y": np.ascontiguousarray((wide - self.mean) / self.scale, dtype=np.float32)}


def distinct(labels: Array) -> Array:
    """What `np.unique` gives; whole numbers that are close to each other are counted, not sorted.

    Args:
        labels: array of shape (n,).
    """
    if labels.dtype.kind in "iu" and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if high - low <= _CLOSE and high < 2**63:
            there = np.bincount(labels.astype(np.int64) - low)
            return (np.flatnonzero(there) + low).astype(labels.dtype)
    return np.unique(labels)


def named_loss(loss: Any, default: str) -> Any:
    """The loss that is meant: the task's own if it is left open."""
    return default if isinstance(loss, str) and loss == "auto" else loss


def row_weights(num_rows: int, sample_weight: Any, factors: Array | None) -> dict[str, Array]:
    """Weight of each row with mean 1, as `weight`; nothing where all weigh the same.

    Args:
        num_rows: rows.
        sample_weight: array-like of shape (num_rows,), a number, or `None`.
        factors: further weights of the rows, array of shape (num_rows,).

    Raises:
        UserError: all weights are zero.
        ValueError: weights of another shape.
    """
    if sample_weight is None:
        return {} if factors is None else {"weight": factors}
    like = np.empty((num_rows, 1))
    weight = np.asarray(_check_sample_weight(sample_weight, like, dtype=np.float64))
    if factors is not None:
        weight = weight * factors
    if not weight.sum() > 0:
        raise UserError("sample_weight: all weights are zero; give some rows a weight")
    return {"weight": (weight / weight.mean()).astype(np.float32)}


def _codes(target: Array, classes: Array) -> Array:
    codes = np.searchsorted(classes, target).clip(0, len(classes) - 1)
    wrong = classes[codes] != target
    if wrong.any():
        label = target[wrong][0]
        raise DataError(f"y has the label {label!r}, which is none of {classes.tolist()[:10]}")
    return codes.astype(np.int64)
