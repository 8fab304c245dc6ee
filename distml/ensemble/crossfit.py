"""Out-of-fold predictions of named members: what stacking and selection both learn from.

The folds are made once and are the same for every member. A fold is a unit whose key holds what
determines it and not who asked, so a selection after a stack of the same pool finds every
prediction stored and fits none again.
"""

from collections.abc import Generator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.model_selection._validation import _check_is_permutation
from sklearn.utils.validation import check_is_fitted, indexable

from distml.ensemble.handover import HandedOver
from distml.ensemble.members import OutOfFold, Unit, View
from distml.ensemble.mixed import Mixed
from distml.ensemble.worker import Outcome
from distml.errors import UserError

__all__ = ["CrossFitted", "out_of_fold"]

_PER_CLASS = ("decision_function", "predict_proba", "predict_log_proba")

Splits = Sequence[tuple[np.ndarray, np.ndarray]]
"""Training and test rows of each fold."""


class CrossFitted(Mixed):
    """An ensemble that learns from its members' predictions of rows they have not seen."""

    cv: Any
    out_of_fold_: Mapping[str, Any]
    _handed_over: HandedOver | None = None

    @classmethod
    def from_search(cls, search: Any, *, k: int = 10, **params: Any) -> Self:
        """An ensemble of the best trials of a search, over the search's own folds.

        What the trials said out of fold is handed over: where `fit` is given the rows of the
        search, no fold is fitted again.

        Args:
            search: A fitted `TuneSearchCV`.
            k: How many trials at most; of the best, those that say most different things.
            **params: Further parameters of the ensemble.

        Raises:
            UserError: the search has no trials that an ensemble can be made of, or is another's.
            NotFittedError: it is not fitted.
        """
        if not hasattr(search, "pool"):
            raise UserError(
                f"from_search: {type(search).__name__} keeps no predictions of its trials; give a "
                "fitted TuneSearchCV"
            )
        pool = search.pool(k)
        ensemble = cls(pool.estimators, cv=pool.splits, **params)
        ensemble._handed_over = pool.handed_over
        return ensemble

    def __getstate__(self) -> dict[str, Any]:
        """Without what members said of training rows: a saved model shall not grow with them."""
        left_out = ("out_of_fold_", "_handed_over")
        return {name: v for name, v in super().__getstate__().items() if name not in left_out}

    def _fit_folds(
        self, whole: Sequence[Unit], folds: Sequence[Unit]
    ) -> Generator[Sequence[Unit], Any, tuple[list[Outcome], list[Outcome]]]:
        """Have units fitted, and folds but for those that were handed over."""
        known = {} if self._handed_over is None else self._handed_over.known(folds)
        outcomes = iter((yield [*whole, *(unit for unit in folds if unit.name not in known)]))
        done = [next(outcomes) for _ in whole]
        return done, [known.get(unit.name) or next(outcomes) for unit in folds]

    def _splits(self, view: View) -> list[tuple[np.ndarray, np.ndarray]]:
        """The folds, the same for every member, as scikit-learn takes care of by copies of `cv`."""
        cv = deepcopy(check_cv(self.cv, y=view.y, classifier=is_classifier(self)))
        if getattr(cv, "random_state", 0) is None:
            cv.random_state = np.random.RandomState()
        splits = list(cv.split(view.matrix(), view.y))
        if not _check_is_permutation(np.concatenate([test for _, test in splits]), view.num_rows):
            raise ValueError("cross_val_predict only works for partitions")
        return splits

    def _folds(
        self,
        whole: Sequence[Unit],
        methods: Mapping[str, str],
        splits: Sequence[tuple[np.ndarray, np.ndarray]],
    ) -> list[Unit]:
        """One unit for every fold of every member, members in the order of `estimators`."""
        view = whole[0].view
        if view.rows is None:
            # Rows can be taken only of what has rows to take: sparse formats, lists of lists.
            view = View(*indexable(view.X, view.y))
        encoded, num_classes = _encode(view.y)
        encoded_view = View(view.X, encoded, view.rows, view.columns)
        return [
            Unit(
                member=unit.member,
                part=f"fold {number} of {len(splits)}",
                estimator=clone(unit.estimator),
                view=encoded_view if methods[unit.member] in _PER_CLASS else view,
                fit_params=unit.fit_params,
                out_of_fold=OutOfFold(
                    train=train,
                    test=test,
                    method=methods[unit.member],
                    num_classes=num_classes if methods[unit.member] in _PER_CLASS else None,
                ),
            )
            for unit in whole
            for number, (train, test) in enumerate(splits, start=1)
        ]

    def _keep_prefit(self, names: Sequence[str], estimators: Sequence[Any]) -> None:
        fitted = {}
        for name, estimator in zip(names, estimators, strict=True):
            if estimator != "drop":
                check_is_fitted(estimator)
                fitted[name] = estimator
        self.estimators_ = list(fitted.values())
        self.dropped_, self.fit_times_ = [], {}
        self._name_members(fitted)


def out_of_fold(
    folds: Sequence[Unit], outcomes: Sequence[Outcome], splits: Splits, members: Sequence[str]
) -> dict[str, Any]:
    """Each member's predictions of all rows, in the order of rows.

    Args:
        folds: The units of `CrossFitted._folds`.
        outcomes: What came of them.
        splits: The folds they are of.
        members: Names of those to put together; all their units must have succeeded.

    Returns:
        Member → what its prediction method gives, with n_samples rows.
    """
    order = np.argsort(np.concatenate([test for _, test in splits]))
    parts: dict[str, list[Any]] = {member: [] for member in members}
    for unit, outcome in zip(folds, outcomes, strict=True):
        if unit.member in parts:
            parts[unit.member].append(outcome.value)
    return {member: _in_order(values, order) for member, values in parts.items()}


def _encode(y: Any) -> tuple[Any, tuple[int, ...]]:
    """Classes as 0, 1, … as in `cross_val_predict`, and how many there are per output."""
    y = np.asarray(y)
    if y.ndim == 1:
        classes, codes = np.unique(y, return_inverse=True)
        # Codes that are there already keep their array, so that it is shared once.
        return (y if np.array_equal(codes, y) else codes), (len(classes),)
    columns = [np.unique(column, return_inverse=True) for column in y.T]
    return np.stack([codes for _, codes in columns], axis=1), tuple(len(c) for c, _ in columns)


def _in_order(parts: Sequence[Any], order: np.ndarray) -> Any:
    """Predictions of all folds as one, in the order of rows."""
    if sp.issparse(parts[0]):
        return sp.vstack(parts, format=parts[0].format)[order]
    if isinstance(parts[0], list):
        return [np.concatenate(outputs)[order] for outputs in zip(*parts, strict=True)]
    return np.concatenate(parts)[order]
