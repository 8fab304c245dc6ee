"""From what a network was given to what it is trained on: in memory, or read while training."""

from typing import Any

from distml.errors import UserError
from distml.train.inputs import Inputs
from distml.train.reading import Given
from distml.train.streaming import Encode, streamed
from distml.train.targets import row_weights
from distml.train.training_data import TrainingData, in_memory

__all__ = ["prepare"]


def prepare(
    given: Given,
    inputs: Inputs,
    encode: Encode | None,
    sample_weight: Any,
    *,
    num_outputs: int,
    memory_bytes: int | None,
    standardize: bool,
    validation: float,
    seed: int,
) -> TrainingData:
    """Rows with numeric targets, some of them set aside.

    Args:
        given: rows, or the dataset they are read from, and targets.
        inputs: fitted to them.
        encode: makes numeric targets; `None` if there are none.
        sample_weight: array-like of shape (num_rows,), or `None`.
        num_outputs: classes or targets; 0 if there are none.
        memory_bytes: what rows that are read while training may take.
        standardize: whether the network standardises.
        validation: share of the rows to validate on; 0 for none.
        seed: draws them.

    Raises:
        UserError: a parameter makes no sense.
        DataError: a label or a row does.
    """
    if given.rows is not None:
        made = {} if encode is None or given.target is None else dict(encode(given.target))
        weight = row_weights(given.rows.num_rows, sample_weight, made.pop("weight", None))
        codes = made.get("y")
        return in_memory(
            given.rows.having(**made, **weight),
            inputs.shape(num_outputs),
            inputs.scales_ if standardize else {},
            classes=codes if codes is not None and codes.ndim == 1 else None,
            validation=validation,
            seed=seed,
        )
    if sample_weight is not None:
        raise UserError("sample_weight: a dataset that is streamed takes none; use class_weight")
    assert given.dataset is not None
    assert encode is not None
    assert memory_bytes is not None
    return streamed(
        given.dataset,
        given.label,
        inputs,
        encode,
        memory_bytes=memory_bytes,
        num_outputs=num_outputs,
        standardize=standardize,
        validation=validation,
        seed=seed,
    )
