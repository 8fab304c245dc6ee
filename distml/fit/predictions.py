"""What models say of a test set, kept in the place of the models.

One decision: predictions are made once, block by block, and only they are kept; every score, curve
and resample afterwards looks rows up in them. `Predictions` answers as the model did, with row
numbers for an input, so scikit-learn's scorers work on it as they are. Of a classifier that gives
probabilities the decision function is not kept: scorers that ask for either take probabilities,
which order the rows alike.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

__all__ = ["BLOCK_ROWS", "Predictions", "blocks", "fewer_threads", "predict_blocks"]

BLOCK_ROWS = 1 << 14
"""Rows that are encoded and predicted at once."""

_WORTH_THREADS = 300_000

Input = Callable[[slice], Any]
"""Gives what a model predicts from, for a range of rows."""


class Predictions:
    """The predictions of one fitted model for the rows of one set.

    Args:
        model: The model, for all that is not a prediction.
        said: Name of the method → array of shape (n_rows,) or (n_rows, n_classes).
        seconds: Wall time of predicting.
    """

    METHODS = ("predict", "predict_proba", "decision_function")

    def __init__(
        self, model: BaseEstimator, said: Mapping[str, np.ndarray], seconds: float = 0.0
    ) -> None:
        self._model = model
        self.said = dict(said)
        self.seconds = seconds

    def __getattr__(self, name: str) -> Any:
        # Not for names of Python's own: a copy asks for them before there is a model.
        if name.startswith("__") and name != "__sklearn_tags__":
            raise AttributeError(name)
        if name not in self.METHODS:
            return getattr(self._model, name)
        if name not in self.said:
            raise AttributeError(f"{type(self._model).__name__} gives no {name}")

        def predict(rows: Any) -> np.ndarray:
            return self.said[name][rows]

        predict.__name__ = name
        return predict

    @property
    def labels(self) -> np.ndarray:
        """What `predict` said: array of shape (n_rows,)."""
        return self.said["predict"]

    @property
    def probabilities(self) -> np.ndarray | None:
        """What `predict_proba` said: array of shape (n_rows, n_classes); `None` if it cannot."""
        return self.said.get("predict_proba")

    @property
    def ranking(self) -> np.ndarray | None:
        """What orders rows by class: array of shape (n_rows, n_classes), (n_rows,) for two."""
        if self.probabilities is None:
            return self.said.get("decision_function")
        two = self.probabilities.shape[1] == 2
        return self.probabilities[:, 1] if two else self.probabilities

    @property
    def model_name(self) -> str:
        """Class of the model."""
        return type(self._model).__name__

    def only(self, method: str) -> "Predictions":
        """These predictions, of a model that has no other method."""
        return Predictions(self._model, {method: self.said[method]})

    def take(self, rows: Any) -> "Predictions":
        """The predictions of some of the rows."""
        return Predictions(self._model, {name: said[rows] for name, said in self.said.items()})


def blocks(num_rows: int, size: int = BLOCK_ROWS) -> list[slice]:
    """Ranges that cover rows 0 to `num_rows`, of at most `size` rows each."""
    return [slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size)]


@contextmanager
def fewer_threads(num_rows: int) -> Iterator[None]:
    """Predict with one thread of OpenMP and BLAS while the block runs, but for very many rows.

    A block is short work: waking threads for it costs more than they give, and far more where other
    processes want the CPUs (boosted trees here: 0.1 s with one thread, 0.3 s with two, 1.9 s with
    two on a busy machine).

    Args:
        num_rows: Rows that will be predicted.
    """
    with nullcontext() if num_rows > _WORTH_THREADS else threadpool_limits(1):
        yield


def predict_blocks(
    models: Sequence[tuple[BaseEstimator, str]],
    inputs: Mapping[str, Input],
    num_rows: int,
    methods: Sequence[str] | None = None,
) -> list[Predictions]:
    """Predict a set with several models; no more than a block of it is encoded at a time.

    Args:
        models: Fitted models, each with the name of the input that it predicts from.
        inputs: Name → function that gives this input for a range of rows.
        num_rows: Rows of the set.
        methods: Which predictions to make; `None`: labels, and probabilities or else decisions.

    Returns:
        Predictions of each model, in the order of `models`.
    """
    said: list[dict[str, list[np.ndarray]]] = [
        {name: [] for name in methods or _methods(model)} for model, _ in models
    ]
    seconds = [0.0] * len(models)
    for block in blocks(num_rows):
        given = {name: make(block) for name, make in inputs.items()}
        for number, (model, name) in enumerate(models):
            started = time.perf_counter()
            for method, parts in said[number].items():
                parts.append(_flat(np.asarray(getattr(model, method)(given[name]))))
            seconds[number] += time.perf_counter() - started
    return [
        Predictions(
            model, {name: np.concatenate(parts) for name, parts in said[i].items()}, seconds[i]
        )
        for i, (model, _) in enumerate(models)
    ]


def _methods(model: BaseEstimator) -> list[str]:
    names = ["predict"]
    if hasattr(model, "predict_proba"):
        names.append("predict_proba")
    elif hasattr(model, "decision_function"):
        names.append("decision_function")
    return names


def _flat(said: np.ndarray) -> np.ndarray:
    """One column as an array of shape (n_rows,): some regressors give (n_rows, 1)."""
    return said[:, 0] if said.ndim == 2 and said.shape[1] == 1 else said
