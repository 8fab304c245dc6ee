"""What ensembles of named, unlike members share: voting and stacking."""

import copy
from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, Self

from sklearn.base import BaseEstimator, clone
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import _manual_routing, _routing_enabled, process_routing

from distml.ensemble.members import Unit, View
from distml.ensemble.planned import Planned
from distml.ensemble.worker import Outcome

__all__ = ["Mixed"]

ALL_ROWS = "all rows"


class Mixed(Planned):
    """An ensemble over `estimators`, a list of (name, estimator) pairs."""

    estimators: list[tuple[str, Any]]
    dropped_: list[str]

    def _routed(self, names: Sequence[str], fit_params: dict[str, Any]) -> Mapping[str, Any]:
        """Fit parameters of each member: by metadata routing, `sample_weight` to all without it."""
        if _routing_enabled():
            return process_routing(self, "fit", **fit_params)
        weight = {key: fit_params[key] for key in ("sample_weight",) if key in fit_params}
        for _, estimator in self.estimators if weight else ():
            _check_takes_weight(estimator)
        return _manual_routing({name: {"fit": weight} for name in names})

    def _fits_on_all_rows(self, view: View, routed: Mapping[str, Any]) -> list[Unit]:
        """One unit for every member that is not left out with `"drop"`."""
        count = len(self.estimators)
        return [
            Unit(
                member=name,
                part=ALL_ROWS,
                estimator=clone(estimator),
                view=view,
                fit_params=routed[name]["fit"],
                announce=self._announce(name, number, count),
            )
            for number, (name, estimator) in enumerate(self.estimators, start=1)
            if estimator != "drop"
        ]

    def _announce(self, name: str, number: int, count: int) -> tuple[str, str] | None:
        """Class and message of the line that `verbose` prints after a member's fit, if any."""
        return None

    def _keep(self, units: Sequence[Unit], outcomes: Sequence[Outcome], dropped: set[str]) -> None:
        """Set the fitted attributes scikit-learn has for members, and what ours add.

        `fit_times_` maps members to seconds of wall time on all rows (an inner ensemble: of all its
        fits together), `dropped_` lists those that `on_error="drop"` left out.
        """
        fitted = {
            unit.member: outcome
            for unit, outcome in zip(units, outcomes, strict=True)
            if unit.member not in dropped
        }
        self.dropped_ = sorted(dropped)
        self.estimators_ = [outcome.value for outcome in fitted.values()]
        self.fit_times_ = {name: outcome.seconds for name, outcome in fitted.items()}
        self._name_members({name: outcome.value for name, outcome in fitted.items()})

    def _name_members(self, fitted: Mapping[str, BaseEstimator]) -> None:
        self.named_estimators_ = Bunch(
            **{name: fitted.get(name, "drop") for name, _ in self.estimators}
        )
        for estimator in fitted.values():
            if hasattr(estimator, "feature_names_in_"):
                self.feature_names_in_ = estimator.feature_names_in_

    def _without_dropped(self) -> Self:
        """This ensemble as if the members it lost had been left out from the start."""
        other = copy.copy(self)
        lost = set(getattr(self, "dropped_", ()))
        other.estimators = [(name, "drop" if name in lost else e) for name, e in self.estimators]
        return other


def _check_takes_weight(estimator: BaseEstimator) -> None:
    """Refuse, before anything is fitted, a weight that a member has no argument for."""
    if estimator == "drop":
        return
    arguments = signature(estimator.fit).parameters
    takes_any = any(argument.kind is Parameter.VAR_KEYWORD for argument in arguments.values())
    if "sample_weight" not in arguments and not takes_any:
        name = type(estimator).__name__
        raise TypeError(f"Underlying estimator {name} does not support sample weights.")
