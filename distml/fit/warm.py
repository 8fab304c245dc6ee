"""Start from a fitted model instead of from nothing, where the estimator can.

One decision: a warm start is what the estimator's own library calls one. Forests and boosting add
as many rounds as the job asks for to those that are there; XGBoost continues its booster; others
take their former coefficients as a beginning (`warm_start`), or see the new rows once
(`partial_fit`). The former encoder is kept as it is, since each column of the matrix must go on
meaning what it meant.

Refuses an estimator that has none of these, and a former model of another class or with other
columns.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from distml.errors import UserError
from distml.fit.recipe import Recipe
from distml.fit.tables import Table
from distml.runs.model import Model

__all__ = ["WarmRecipe", "warm_recipe"]


@dataclass(frozen=True, kw_only=True)
class WarmRecipe(Recipe):
    """The former encoder, and an estimator that goes on from the former one."""

    former: BaseEstimator
    """Fitted."""

    def learn(self, rows: Table, y: np.ndarray) -> Any:
        """Nothing is learnt: the matrix of shape (n_rows, n_features), by the former encoder."""
        return self.encode(rows)

    def train(self, X: Any, y: np.ndarray) -> None:
        """Go on with the estimator."""
        if hasattr(self.former, "get_booster"):
            self.estimator.fit(X, y, xgb_model=self.former.get_booster())
        elif "warm_start" in self.estimator.get_params():
            self.estimator.fit(X, y)
        else:
            self.estimator.partial_fit(X, y)


def warm_recipe(recipe: Recipe, model: Model, columns: Sequence[str]) -> WarmRecipe:
    """A recipe that begins where a model ended.

    Args:
        recipe: What the job asks for, unfitted.
        model: The former model.
        columns: The features now.

    Raises:
        UserError: the estimator cannot start warm from this model.
    """
    name, former = type(recipe.estimator).__name__, model.estimator
    if type(former) is not type(recipe.estimator):
        raise UserError(
            f"--warm: the former model is a {type(former).__name__}, the job makes a {name}; "
            "leave --warm out"
        )
    unknown = sorted(set(model.schema.names).difference(columns))
    if unknown:
        raise UserError(
            f"--warm: the former model reads {unknown[0]!r}, which is no feature now; "
            "leave --warm out"
        )
    if hasattr(former, "get_booster"):
        estimator = recipe.estimator
    elif "warm_start" in former.get_params():
        estimator = _continued(former, recipe.estimator)
    elif hasattr(former, "partial_fit"):
        estimator = copy.deepcopy(former)
    else:
        raise UserError(
            f"--warm: {name} cannot start from a fitted one (it has neither warm_start, xgb_model "
            "nor partial_fit); leave --warm out"
        )
    return WarmRecipe(encoder=model.encoder, estimator=estimator, takes=model.takes, former=former)


def _continued(former: BaseEstimator, asked: BaseEstimator) -> BaseEstimator:
    """A copy of a fitted estimator whose next `fit` goes on from there."""
    estimator = copy.deepcopy(former)
    estimator.set_params(warm_start=True)
    rounds = _rounds(former)
    if rounds is not None:
        name, done = rounds
        estimator.set_params(**{name: done + asked.get_params()[name]})
    return estimator


def _rounds(former: Any) -> tuple[str, int] | None:
    """The parameter that counts rounds and how many there are; `None` for no ensemble of rounds."""
    if "n_estimators" in former.get_params():
        return "n_estimators", len(former.estimators_)
    if hasattr(former, "n_iter_") and type(former).__name__.startswith("HistGradientBoosting"):
        return "max_iter", int(former.n_iter_)
    return None
