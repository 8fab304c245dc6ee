"""Encoder and estimator as one: what is fitted on rows, and predicts from rows.

One decision: rows are Arrow tables up to here, whatever the encoder reads, and only a block of them
is ever a matrix, except for the training rows, which estimators take whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import make_pipeline

from distml.data import Encoder
from distml.fit.predictions import Predictions, predict_blocks
from distml.fit.seeds import seeded

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """An encoder with an estimator behind it."""

    encoder: Any
    """Transformer from rows to a matrix."""
    estimator: BaseEstimator
    """scikit-learn classifier or regressor."""
    takes: Literal["arrow", "pandas"]
    """What the encoder reads: our own reads Arrow, scikit-learn's read DataFrames."""

    @classmethod
    def of(cls, encoder: Any, selector: Any, estimator: BaseEstimator, seed: int) -> Self:
        """Clones with every open `random_state` set from the seed."""
        takes: Literal["arrow", "pandas"] = "arrow" if isinstance(encoder, Encoder) else "pandas"
        encoder = seeded(encoder, seed)
        if selector is not None:
            encoder = make_pipeline(encoder, seeded(selector, seed))
        return cls(encoder=encoder, estimator=seeded(estimator, seed), takes=takes)

    def anew(self) -> "Recipe":
        """The same, unfitted."""
        return Recipe(
            encoder=clone(self.encoder), estimator=clone(self.estimator), takes=self.takes
        )

    def learn(self, rows: pa.Table, y: np.ndarray) -> Any:
        """Fit the encoder; the matrix of shape (n_rows, n_features) for the estimator's fit."""
        return self.encoder.fit_transform(self._read(rows), y)

    def train(self, X: Any, y: np.ndarray) -> None:
        """Fit the estimator to a matrix of shape (n_rows, n_features)."""
        self.estimator.fit(X, y)

    def fit(self, rows: pa.Table, y: np.ndarray) -> "Recipe":
        """Fit both."""
        self.train(self.learn(rows, y), y)
        return self

    def encode(self, rows: pa.Table) -> Any:
        """The matrix of some rows, by the fitted encoder."""
        return self.encoder.transform(self._read(rows))

    def predict(self, rows: pa.Table, methods: Sequence[str] | None = None) -> Predictions:
        """Predictions of the fitted estimator, by all methods if none are named."""
        inputs = {"matrix": lambda block: self.encode(rows[block])}
        return predict_blocks([(self.estimator, "matrix")], inputs, rows.num_rows, methods)[0]

    def _read(self, rows: pa.Table) -> Any:
        return rows if self.takes == "arrow" else rows.to_pandas()
