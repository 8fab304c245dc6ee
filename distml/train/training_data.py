"""What a network is trained on: parts of rows with targets, and what a module has to know of them.

The one decision: targets are numbers here, classes counted from 0 and regression targets
standardised, so that nothing behind it asks which task it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distml.errors import UserError
from distml.train.batch import MemoryPart, Part
from distml.train.rows import Rows
from distml.train.shape import Shape

__all__ = ["TrainingData", "in_memory"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """Rows by part, and their shape."""

    parts: Mapping[str, Part]
    """`train`, and `validation` if there is one."""
    shape: Shape
    scales: Mapping[Any, Any]
    """Kind of field → what to standardise it by."""
    sample: Mapping[str, torch.Tensor]
    """A batch of few rows, to try a network on."""
    content: Any
    """What determines the rows, for a key: arrays, or fingerprints of what they are read from."""


def in_memory(
    rows: Rows,
    shape: Shape,
    scales: Mapping[Any, Any],
    *,
    validation: float,
    seed: int,
    classes: Array | None = None,
) -> TrainingData:
    """Rows that are arrays, some of them set aside for validation.

    Args:
        rows: fields, and `y` and `weight` where there are any.
        shape: of the fields.
        scales: of the fields.
        validation: share of the rows to validate on; 0 for none.
        seed: draws them.
        classes: integer array of shape (num_rows,): class of each row, to draw the same share of
            each.

    Raises:
        UserError: the share leaves no row on one side.
    """
    parts: dict[str, Part] = {"train": MemoryPart(rows)}
    if validation:
        aside = _drawn(rows.num_rows, validation, seed, classes)
        rest = np.setdiff1d(np.arange(rows.num_rows), aside, assume_unique=True)
        parts = {"train": MemoryPart(rows, rest), "validation": MemoryPart(rows, aside)}
    return TrainingData(
        parts=parts,
        shape=shape,
        scales=scales,
        sample=rows.take(slice(0, 2)),
        content=rows.arrays,
    )


def _drawn(num_rows: int, share: float, seed: int, classes: Array | None) -> Array:
    """Rows to validate on, ascending; of each class the same share, as far as it has rows."""
    if not 0.0 < share < 1.0:
        raise UserError(f"validation_fraction={share} must be between 0 and 1")
    random = np.random.default_rng(seed)
    groups = (
        [np.arange(num_rows)]
        if classes is None
        else [np.flatnonzero(classes == name) for name in np.unique(classes)]
    )
    drawn = [random.permutation(group)[: round(len(group) * share)] for group in groups]
    found = np.sort(np.concatenate(drawn))
    if not 0 < len(found) < num_rows:
        raise UserError(
            f"validation_fraction={share} of {num_rows} rows leaves {len(found)} to validate on; "
            "give more rows, another share, or early_stopping=None"
        )
    return found
