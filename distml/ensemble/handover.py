"""What learners have said out of fold already, handed over to an ensemble of them.

The one decision: it holds for the rows it was said of and no others, which a fingerprint of all
values tells. Given other rows, the ensemble fits its folds as if nothing had been handed over.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from distml.ensemble.members import Unit, View
from distml.ensemble.worker import Outcome
from distml.errors import UserError
from distml.runs.events import emit
from distml.runs.units import digest

__all__ = ["HandedOver", "Pool", "fingerprint"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HandedOver:
    """Predictions of rows that were not learnt from."""

    fingerprint: str
    """Of the rows and fit parameters."""
    methods: Mapping[str, str]
    """Member → the method that said it."""
    said: Mapping[str, Sequence[Any]]
    """Member → its predictions, fold by fold."""

    def known(self, units: Sequence[Unit]) -> dict[str, Outcome]:
        """The units whose outcome this is, by name; none if it is of other rows.

        Args:
            units: Folds of members, as `CrossFitted._folds` makes them.
        """
        if not units:
            return {}
        first, classes = units[0], is_classifier(units[0].estimator)
        if fingerprint(first.view, first.fit_params, classes=classes) != self.fingerprint:
            message = "rows or weights are not those of the search: its folds are fitted again"
            logger.warning(message)
            emit("log", message=message)
            return {}
        return {unit.name: outcome for unit in units if (outcome := self._outcome(unit))}

    def _outcome(self, unit: Unit) -> Outcome | None:
        fold = unit.out_of_fold
        if fold is None or self.methods.get(unit.member) != fold.method:
            return None
        number = int(unit.part.split()[1])
        return Outcome(value=self.said[unit.member][number - 1], cached=True)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pool:
    """Members for an ensemble, and what is known of them."""

    estimators: list[tuple[str, Any]]
    """Names and unfitted estimators."""
    splits: list[tuple[np.ndarray, np.ndarray]]
    """The folds, as `cv` takes them."""
    handed_over: HandedOver
    """What they have said out of fold."""


def fingerprint(view: View, fit_params: Mapping[str, Any], *, classes: bool) -> str:
    """A hash of rows, targets and fit parameters.

    Args:
        view: The rows.
        fit_params: Arguments of `fit`.
        classes: Targets are classes, which ensembles number: they count by their order.

    Returns:
        Empty where they cannot be told by their content.
    """
    y = np.unique(view.y, return_inverse=True)[1].ravel() if classes else view.y
    try:
        return digest([view.X, view.rows, view.columns, y, dict(fit_params)])
    except UserError:
        return ""
