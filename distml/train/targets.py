"""Labels and weights as scikit-learn gives them, as the numbers that a network is trained on."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight

from distml.errors import DataError, UserError

__all__ = ["class_codes", "named_loss", "row_weights"]

Array = npt.NDArray[Any]


def named_loss(loss: Any, default: str) -> Any:
    """The loss that is meant: the task's own if it is left open."""
    return default if isinstance(loss, str) and loss == "auto" else loss


def class_codes(target: Array, classes: Array) -> Array:
    """Position of each label in `classes`: int64 array of shape (n_samples,).

    Raises:
        DataError: a label is none of them.
    """
    codes = np.searchsorted(classes, target).clip(0, len(classes) - 1)
    wrong = classes[codes] != target
    if wrong.any():
        label = target[wrong][0]
        raise DataError(f"y has the label {label!r}, which is none of {classes.tolist()[:10]}")
    return codes.astype(np.int64)


def row_weights(
    num_rows: int, sample_weight: Any, class_weight: Any, target: Array | None
) -> dict[str, Array]:
    """Weight of each row with mean 1; nothing where all weigh the same.

    Raises:
        UserError: all weights are zero, or a class weight makes no sense.
    """
    if sample_weight is None and class_weight is None:
        return {}
    weight = np.asarray(
        _check_sample_weight(sample_weight, np.empty((num_rows, 1)), dtype=np.float64)
    )
    if class_weight is not None:
        weight = weight * compute_sample_weight(class_weight, target)
    if not weight.sum() > 0:
        raise UserError("sample_weight: all weights are zero; give some rows a weight")
    return {"weight": (weight / weight.mean()).astype(np.float32)}
