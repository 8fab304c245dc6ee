"""Voting: scikit-learn's classes, their members fitted as one flat graph."""

from typing import Any, ClassVar, Literal, Self

from numpy.typing import ArrayLike
from sklearn import ensemble as sk
from sklearn.ensemble._voting import _BaseVoting

from distml.ensemble.members import View
from distml.ensemble.mixed import Mixed
from distml.ensemble.planned import check_outcomes
from distml.ensemble.schedule import Plan

__all__ = ["VotingClassifier", "VotingRegressor"]


class _PlannedVoting(Mixed, _BaseVoting):
    """Stands where scikit-learn's base class would fit the members."""

    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        names, _ = self._validate_estimators()
        if self.weights is not None and len(self.weights) != len(self.estimators):
            raise ValueError(
                "Number of `estimators` and weights must be equal; got"
                f" {len(self.weights)} weights, {len(self.estimators)} estimators"
            )
        routed = self._routed(names, fit_params)
        self._carry_out(lambda view: self._plan(view, routed), X, y)
        return self

    def _plan(self, view: View, routed: Any) -> Plan:
        units = self._fits_on_all_rows(view, routed)
        outcomes = yield units
        self._keep(units, outcomes, check_outcomes(self, units, outcomes))

    def _announce(self, name: str, number: int, count: int) -> tuple[str, str] | None:
        message = self._log_message(name, number, count)
        return None if message is None else ("Voting", message)

    @property
    def _weights_not_none(self) -> list[float] | None:
        return _BaseVoting._weights_not_none.fget(self._without_dropped())


class VotingClassifier(sk.VotingClassifier, _PlannedVoting):
    """scikit-learn's `VotingClassifier` with its fits spread over Ray.

    Same parameters, same attributes, same predictions; see scikit-learn for them. What differs:

    Args:
        estimators: Names and classifiers; also distml's own ensembles, whose fits join the queue.
        voting: `hard` (majority) or `soft` (mean of probabilities).
        weights: One number per classifier.
        n_jobs: CPUs that fits may use at one time; `None` means all of Ray's.
        flatten_transform: As in scikit-learn.
        verbose: As in scikit-learn.
        on_error: `raise` when a member fails, after the others are done, or `drop` it and go on.

    Attributes:
        fit_times_: Seconds of wall time per member.
        dropped_: Names of the members that failed and were left out.
    """

    _parameter_constraints: ClassVar = {
        **sk.VotingClassifier._parameter_constraints,
        **Mixed._own_constraints,
    }

    def __init__(
        self,
        estimators: list[tuple[str, Any]],
        *,
        voting: Literal["hard", "soft"] = "hard",
        weights: ArrayLike | None = None,
        n_jobs: int | None = None,
        flatten_transform: bool = True,
        verbose: bool = False,
        on_error: Literal["raise", "drop"] = "raise",
    ) -> None:
        super().__init__(
            estimators,
            voting=voting,
            weights=weights,
            n_jobs=n_jobs,
            flatten_transform=flatten_transform,
            verbose=verbose,
        )
        self.on_error = on_error

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns of `transform`: array of shape (n_features_out,) of str."""
        return sk.VotingClassifier.get_feature_names_out(self._without_dropped(), input_features)


class VotingRegressor(sk.VotingRegressor, _PlannedVoting):
    """scikit-learn's `VotingRegressor` with its fits spread over Ray.

    Same parameters, same attributes, same predictions; see scikit-learn for them. What differs:

    Args:
        estimators: Names and regressors; also distml's own ensembles, whose fits join the queue.
        weights: One number per regressor.
        n_jobs: CPUs that fits may use at one time; `None` means all of Ray's.
        verbose: As in scikit-learn.
        on_error: `raise` when a member fails, after the others are done, or `drop` it and go on.

    Attributes:
        fit_times_: Seconds of wall time per member.
        dropped_: Names of the members that failed and were left out.
    """

    _parameter_constraints: ClassVar = {
        **sk.VotingRegressor._parameter_constraints,
        **Mixed._own_constraints,
    }

    def __init__(
        self,
        estimators: list[tuple[str, Any]],
        *,
        weights: ArrayLike | None = None,
        n_jobs: int | None = None,
        verbose: bool = False,
        on_error: Literal["raise", "drop"] = "raise",
    ) -> None:
        super().__init__(estimators, weights=weights, n_jobs=n_jobs, verbose=verbose)
        self.on_error = on_error

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns of `transform`: array of shape (n_features_out,) of str."""
        return sk.VotingRegressor.get_feature_names_out(self._without_dropped(), input_features)
