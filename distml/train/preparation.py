"""From what a network was given to what it is trained on: in memory, or read while training."""

from typing import Any

from distml.train.inputs import Inputs
from distml.train.reading import Given
from distml.train.streaming import Encode, streamed
from distml.train.targets import row_weights
from distml.train.training_data import TrainingData, in_memory

__all__ = ["prepare"]


def prepare(
    estimator: Any, given: Given, encode: Encode | None, sample_weight: Any, *, num_outputs: int
) -> TrainingData:
    """Rows with numeric targets, some of them set aside if training shall end early.

    Args:
        estimator: the network, with its parameters and its fitted inputs.
        given: rows, or what they are read from, and targets.
        encode: makes numeric targets; `None` if there are none.
        sample_weight: array-like of shape (num_rows,), or `None`.
        num_outputs: classes or targets; 0 if there are none.

    Raises:
        UserError: a parameter makes no sense.
        DataError: a label or a row does.
    """
    inputs: Inputs = estimator.inputs_
    validation = estimator.validation_fraction if estimator.early_stopping is not None else 0.0
    seed = estimator.random_state if isinstance(estimator.random_state, int) else 0
    made = {} if encode is None or given.target is None else dict(encode(given.target))
    codes = made.get("y")
    weight = row_weights(given.num_rows, sample_weight, made.pop("weight", None))
    targets = {**made, **weight}
    if given.rows is None:
        assert given.stream is not None
        return streamed(
            given.stream,
            inputs,
            targets,
            memory_bytes=estimator.memory_bytes,
            num_outputs=num_outputs,
            standardize=estimator.standardize,
            validation=validation,
            seed=seed,
        )
    return in_memory(
        given.rows.having(**targets),
        inputs.shape(num_outputs),
        inputs.scales_ if estimator.standardize else {},
        classes=codes if codes is not None and codes.ndim == 1 else None,
        validation=validation,
        seed=seed,
    )
