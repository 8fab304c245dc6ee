"""Encoder and estimator as one: what is fitted on rows, and predicts from rows.

One decision: rows are Arrow tables up to here, whatever the encoder reads, and only a block of them
is ever a matrix, except for the training rows, which estimators take whole. Without an encoder the
estimator is given the tables themselves, or a selection of rows: networks read columns of any kind,
and a block at a time.
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
from distml.fit.tables import Table

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """An encoder with an estimator behind it."""

    encoder: Any
    """Transformer from rows to a matrix; `None` if the estimator reads the rows themselves."""
    estimator: BaseEstimator
    """scikit-learn classifier or regressor."""
    takes: Literal["arrow", "pandas"]
    """What the encoder reads: our own reads Arrow, scikit-learn's read DataFrames. An estimator
    without one is given Arrow."""

    @classmethod
    def of(cls, encoder: Any, selector: Any, estimator: BaseEstimator, seed: int) -> Self:
        """Clones with every open `random_state` set from the seed."""
        if encoder is None:
            return cls(encoder=None, estimator=seeded(estimator, seed), takes="arrow")
        takes: Literal["arrow", "pandas"] = "arrow" if isinstance(encoder, Encoder) else "pandas"
        encoder = seeded(encoder, seed)
        if selector is not None:
            encoder = make_pipeline(encoder, seeded(selector, seed))
        return cls(encoder=encoder, estimator=seeded(estimator, seed), takes=takes)

    def anew(self) -> "Recipe":
        """The same, unfitted."""
        encoder = None if self.encoder is None else clone(self.encoder)
        return Recipe(encoder=encoder, estimator=clone(self.estimator), takes=self.takes)

    def learn(self, rows: Table, y: np.ndarray) -> Any:
        """Fit the encoder, if any; the matrix of shape (n_rows, n_features) for the estimator."""
        given = self._read(rows)
        return given if self.encoder is None else self.encoder.fit_transform(given, y)

    def train(self, X: Any, y: np.ndarray) -> None:
        """Fit the estimator to what `learn` gave."""
        self.estimator.fit(X, y)

    def fit(self, rows: pa.Table, y: np.ndarray) -> "Recipe":
        """Fit both."""
        self.train(self.learn(rows, y), y)
        return self

    def encode(self, rows: Table) -> Any:
        """What the estimator predicts some rows from: their matrix, by the fitted encoder."""
        given = self._read(rows)
        return given if self.encoder is None else self.encoder.transform(given)

    def columns_read(self, names: Sequence[str]) -> list[str]:
        """Those of the columns that reach the estimator: an encoder may drop some."""
        read = set(getattr(self.encoder, "feature_names_in_", names))
        return [name for name in names if name in read]

    def inputs(self, names: Sequence[str]) -> list[str]:
        """What the estimator is given: names of the matrix's columns, or of the rows'."""
        if self.encoder is None:
            return list(names)
        return [str(name) for name in self.encoder.get_feature_names_out()]

    def predict(self, rows: pa.Table, methods: Sequence[str] | None = None) -> Predictions:
        """Predictions of the fitted estimator, by all methods if none are named."""
        inputs = {"matrix": lambda block: self.encode(rows[block])}
        return predict_blocks([(self.estimator, "matrix")], inputs, rows.num_rows, methods)[0]

    def _read(self, rows: Any) -> Any:
        return rows if self.takes == "arrow" else rows.to_pandas()
