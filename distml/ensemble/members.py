"""One fit of an ensemble as a value, and the pure function that carries it out.

A unit names its data as a `View`: which rows and columns of which matrix. Nothing is copied before
a worker needs it, so the matrix exists once per node, a bootstrap is a seed, and a fold of a fold
is an index of an index. The worker is a plain function of the unit, so the result is the same
wherever and in whatever order units run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble._bagging import _generate_bagging_indices
from sklearn.ensemble._base import _fit_single_estimator
from sklearn.model_selection._validation import _enforce_prediction_order
from sklearn.utils import _safe_indexing
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples, has_fit_parameter

__all__ = ["Bootstrap", "OutOfFold", "OwnWork", "Unit", "View", "fit_member"]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Some rows and columns of a matrix, with their targets, none of it copied."""

    X: Any
    """Array-like of shape (n_samples, n_features), shared by all views of it."""
    y: Any
    """Array-like of shape (num_rows,) or (num_rows, n_outputs): targets, in the order of `rows`."""
    rows: np.ndarray | None = None
    """Integer array of shape (num_rows,): rows of `X`. `None`: all of them."""
    columns: np.ndarray | None = None
    """Integer array: columns of `X`. `None`: all of them."""

    @property
    def num_rows(self) -> int:
        """Rows in the view."""
        return int(_num_samples(self.X if self.rows is None else self.rows))

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Rows of `X` that stand at `positions` of this view."""
        return positions if self.rows is None else self.rows[positions]

    def select(self, positions: np.ndarray) -> "View":
        """The view of the rows at `positions`; integer array of shape (n,)."""
        y = None if self.y is None else _safe_indexing(self.y, positions)
        return replace(self, y=y, rows=self.at(positions))

    def matrix(self, estimator: BaseEstimator | None = None) -> Any:
        """`X` as the estimator shall see it; a copy only where rows or columns are chosen."""
        if self.rows is None:
            X = self.X
        elif estimator is None:
            X = _safe_indexing(self.X, self.rows)
        else:
            X = _safe_split(estimator, self.X, None, self.rows)[0]
        return X if self.columns is None else X[:, self.columns]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bootstrap:
    """The rows and features a member of a bagging draws: a seed, and the worker draws again."""

    seed: int
    """Seed of the member, drawn by the ensemble."""
    max_samples: int
    """Rows drawn."""
    max_features: int
    """Features drawn."""
    bootstrap: bool
    """Whether rows are drawn with replacement."""
    bootstrap_features: bool
    """Whether features are drawn with replacement."""
    by_weight: bool
    """Give the draw as `sample_weight` (no copy of rows) instead of as rows."""
    sample_weight: np.ndarray | None = None
    """Float array of shape (n_samples,): probabilities of the rows before normalisation."""
    check_input: bool | None = None
    """Passed to the member's `fit` where it takes it."""

    def draw(self, view: View, fit_params: Mapping[str, Any]) -> tuple[View, dict[str, Any]]:
        """The member's view and fit parameters: scikit-learn's draw, number for number."""
        num_features = view.X.shape[1] if view.columns is None else len(view.columns)
        features, positions = _generate_bagging_indices(
            self.seed,
            self.bootstrap_features,
            self.bootstrap,
            num_features,
            view.num_rows,
            self.max_features,
            self.max_samples,
            self.sample_weight,
        )
        if self.bootstrap_features or self.max_features != num_features:
            columns = features if view.columns is None else view.columns[features]
        else:
            columns = view.columns
        if self.by_weight:
            counts = np.bincount(positions, minlength=view.num_rows)
            return replace(view, columns=columns), {**fit_params, "sample_weight": counts}
        params = _params_at(view.num_rows, fit_params, positions)
        return replace(view.select(positions), columns=columns), params


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OutOfFold:
    """Learn from one part of the view, give back the prediction of another, not the model."""

    train: np.ndarray
    """Integer array: positions in the view to learn from."""
    test: np.ndarray
    """Integer array: positions in the view to predict."""
    method: str
    """`predict_proba`, `decision_function` or `predict`."""
    num_classes: tuple[int, ...] | None
    """Classes in the whole view, one number per output; a fold that lacks some still gets their
    columns. `None` where the prediction has no column per class."""

    def test_matrix(self, fitted: BaseEstimator, view: View) -> Any:
        """The test rows as the fitted member shall see them."""
        X = _safe_split(fitted, view.X, None, view.at(self.test), view.at(self.train))[0]
        return X if view.columns is None else X[:, view.columns]

    def predict(self, fitted: BaseEstimator, view: View) -> Any:
        """What the fitted member says of the test rows, with a column for every class.

        The order of columns is that of scikit-learn's `cross_val_predict`.
        """
        predictions = getattr(fitted, self.method)(self.test_matrix(fitted, view))
        if self.num_classes is None:
            return predictions
        if isinstance(predictions, list):
            outputs = zip(fitted.classes_, predictions, self.num_classes, strict=True)
            return [_enforce_prediction_order(*output, self.method) for output in outputs]
        # A label indicator matrix has one column per output.
        columns = self.num_classes[0] if len(self.num_classes) == 1 else len(self.num_classes)
        return _enforce_prediction_order(fitted.classes_, predictions, columns, self.method)


class OwnWork(Protocol):
    """What a layer above does with the rows of a unit, where that is more than to fit on them."""

    def carry_out(self, unit: "Unit") -> Any:
        """The unit's value; what it raises becomes the unit's error."""

    def content(self) -> Any:
        """What of it determines the value, for the unit's key."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Unit:
    """One fit: the smallest thing that is scheduled, stored and resumed."""

    member: str
    """Name of the member it belongs to."""
    part: str
    """What of the member it is: `all rows`, `fold 2 of 5`."""
    estimator: BaseEstimator
    """Unfitted clone, owned by the unit."""
    view: View
    """The data of the ensemble it belongs to."""
    fit_params: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `fit`; arrays with a value per row are aligned to the view."""
    draw: Bootstrap | None = None
    """Learn from this draw of rows and features."""
    out_of_fold: OutOfFold | None = None
    """Learn from a part of the rows, give back the prediction of the others."""
    fitted: bool = False
    """The estimator is fitted already: only predict."""
    own: OwnWork | None = None
    """Do this instead. An ensemble is fitted to the training data first, by its own plan."""
    own_params: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of that; arrays with a value per row are aligned to the view."""
    kind: str = ""
    """Units of one kind cost alike; the member's name where it is empty."""
    announce: tuple[str, str] | None = None
    """Class and message of scikit-learn's `verbose` line."""

    @property
    def name(self) -> str:
        """Member and part, for people."""
        return f"{self.member}, {self.part}"

    @property
    def num_rows(self) -> int:
        """Rows it learns from, before a bootstrap draws among them."""
        fold = self.out_of_fold
        return self.view.num_rows if fold is None else len(fold.train)

    def training_data(self) -> tuple[View, dict[str, Any]]:
        """What `fit` is given: rows of the fold or draw, and parameters aligned to them."""
        view, params = self.view, dict(self.fit_params)
        if self.out_of_fold is not None:
            params = _params_at(view.num_rows, params, self.out_of_fold.train)
            view = view.select(self.out_of_fold.train)
        return (view, params) if self.draw is None else self.draw.draw(view, params)


def fit_member(unit: Unit) -> Any:
    """Carry a unit out.

    Returns:
        The fitted estimator, or the out-of-fold prediction if the unit asks for one, or what work
        of its own gives.

    Raises:
        Exception: whatever the member's `fit` or `predict` raises.
    """
    if unit.own is not None:
        return unit.own.carry_out(unit)
    if not unit.fitted:
        _fit(unit)
    fitted = unit.estimator
    return fitted if unit.out_of_fold is None else unit.out_of_fold.predict(fitted, unit.view)


def _fit(unit: Unit) -> None:
    """Call `fit`; what it returns is not looked at, since not every estimator returns itself."""
    estimator = unit.estimator
    view, params = unit.training_data()
    X = view.matrix(estimator)
    if unit.draw is not None:
        fit = estimator.fit
        if unit.draw.check_input is not None and has_fit_parameter(estimator, "check_input"):
            fit = partial(fit, check_input=unit.draw.check_input)
        fit(X, view.y, **params)
    elif unit.out_of_fold is not None:
        estimator.fit(X, view.y, **params)
    else:
        _fit_single_estimator(estimator, X, view.y, params, *(unit.announce or (None, None)))


def _params_at(num_rows: int, params: Mapping[str, Any], positions: np.ndarray) -> dict[str, Any]:
    """Fit parameters with their per-row values (told by length) taken at `positions`."""
    return dict(_check_method_params(range(num_rows), params=dict(params), indices=positions))
