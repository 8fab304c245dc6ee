"""Snapshots: a network as it was at the end of each cycle of its learning rate.

The one decision: they are fitted estimators like any other, so an ensemble of them needs no class
of its own: the network says their mean itself (`average_cycles`), and `SelectionClassifier(
cv="prefit")` or a stack weighs them.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from distml.errors import UserError

__all__ = ["Snapshots"]


class Snapshots:
    """Adds `snapshots` to an estimator that has kept weights at the ends of its cycles."""

    cycles: int
    average_cycles: bool
    snapshot_weights_: Sequence[Mapping[str, Any]]
    """At the end of each cycle, name → array."""

    def snapshots(self) -> list[Self]:
        """The network as it was at the end of each cycle that it came to, the last one included.

        Their mean, with `scheduler="cosine"`, whose rate begins anew with each cycle, is the
        snapshot ensemble of Huang, Li, Pleiss, Liu, Hopcroft and Weinberger, "Snapshot Ensembles:
        Train 1, get M for free" (ICLR 2017); a network with `average_cycles=True` says it itself.
        Weights for each are learnt by `SelectionClassifier(members, cv="prefit")`.

        Returns:
            Fitted estimators in the order in which they were trained.

        Raises:
            NotFittedError: it is not fitted.
            UserError: it kept none.
        """
        check_is_fitted(self, "weights_")
        if not self.snapshot_weights_:
            raise UserError(
                f"cycles={self.cycles}: the network kept no snapshots; fit it with cycles from 2 on"
            )
        return [self._as_it_was(weights) for weights in self.snapshot_weights_]

    def _speakers(self) -> list[Self]:
        """The networks whose mean is what this one says: it alone, or its snapshots."""
        check_is_fitted(self, "weights_")
        if not (self.average_cycles and self.snapshot_weights_):
            return [self]
        made: dict[str, Any] = self.__dict__.setdefault("_made", {})
        if "snapshots" not in made:
            made["snapshots"] = self.snapshots()
        return list(made["snapshots"])

    def _as_it_was(self, weights: Mapping[str, Any]) -> Self:
        former: Any = copy.copy(self)
        former.weights_, former.average_cycles = weights, False
        former.optimizer_state_, former.best_epoch_ = None, None
        former.snapshot_weights_, former._made = [], {}
        return former
