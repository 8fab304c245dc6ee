"""Who takes part in a search, and by what its trials go on: from its parameters, before any fit.

The one decision: whatever a user can get wrong comes out here, in one line, before a row is looked
at or a process started.
"""

import difflib
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sklearn.metrics import get_scorer_names

from distml.ensemble.cost import cpus_of_workers, gpus_of_fit
from distml.errors import UserError
from distml.rehearsal import most_trials
from distml.runs.events import emit
from distml.tune.concurrency import concurrent_trials, num_cpus, num_gpus
from distml.tune.deciders import make_decider
from distml.tune.plan import Limits
from distml.tune.proposers import Listed, make_proposer
from distml.tune.resource import Resource, largest, resource_of
from distml.tune.space import Space
from distml.tune.turns import Decider, NeverStops, Proposer

if TYPE_CHECKING:
    from distml.tune.estimator import TuneSearchCV

__all__ = ["Arrangement", "ScoringError", "arrange", "check_scoring_names"]


_FIRST_SHARE = 1 / 27
"""Of a resource, what a trial has before it may be stopped: three halvings by three are left. A
look earlier costs more, since each step sets the learner up anew, than it spares."""

_names = itertools.count(1)
"""Of the searches in this process, in the order in which they begin."""


class ScoringError(UserError, ValueError):
    """There is no such scorer, or none of that name."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Arrangement:
    """The parts of a search."""

    proposer: Proposer
    """Proposes configurations."""
    decider: Decider
    """Says whether trials go on."""
    resource: Resource | None
    """What trials go on by; `None`: their steps are folds."""
    max_step: int
    """The last step of a trial."""

    @property
    def in_steps(self) -> bool:
        """Whether trials may be stopped before their end."""
        return not isinstance(self.decider, NeverStops)

    def announce(self, search: "TuneSearchCV", num_rows: int, metric: str) -> int:
        """Report that a search begins: the name that events of its trials call it by."""
        name, proposer = next(_names), self.proposer
        emit(
            "search_started",
            search=name,
            metric=search.scoring if isinstance(search.scoring, str) else metric,
            mode="max",
            trials=len(proposer) if isinstance(proposer, Listed) else int(search.num_samples),
            rows=num_rows,
            resource=None if self.resource is None else self.resource.parameter,
            max_step=self.max_step,
            time_budget_s=search.time_budget_s,
            may_stop=self.in_steps,
            logarithmic=Space.of(search.space).logarithmic,
        )
        return name

    def limits(self, search: "TuneSearchCV", num_splits: int) -> Limits:
        """When the search ends, and how many trials take turns: asked once Ray is there.

        Raises:
            UserError: a fit has workers of its own, and more than there are CPUs.
        """
        _check_width(search)
        ends_early = search.early_stop_patience is not None or search.time_budget_s is not None
        waits = self.proposer.looks_at_results or self.in_steps or ends_early
        num_slots: int | None = None
        if waits and not self.decider.side_by_side:
            wanted = search.max_concurrent_trials
            per_turn = 1 if self.in_steps and self.resource is None else num_splits
            num_slots = concurrent_trials(search, per_turn) if wanted == "auto" else wanted
        most = most_trials()
        return Limits(
            num_slots=num_slots,
            patience=search.early_stop_patience,
            time_budget_s=search.time_budget_s if most is None else None,
            num_trials=most,
        )


def arrange(search: "TuneSearchCV", space: Space, metric: str, num_splits: int) -> Arrangement:
    """Make the parts of a search.

    Args:
        search: Its parameters.
        space: Its space, as checked.
        metric: Name of the score that is gone by.
        num_splits: Number of folds.

    Raises:
        UserError: a parameter makes no sense, or two do not go together.
    """
    if search.scheduler is None and search.max_resource is not None:
        raise UserError(
            f"max_resource={search.max_resource}: without a scheduler trials have no steps; give "
            "one, such as scheduler='asha', or set the estimator's own parameter"
        )
    resource = None if search.scheduler is None else resource_of(search.estimator, search.resource)
    if resource is None:
        max_step = num_splits
    else:
        _check_free(resource, space)
        max_step = largest(resource, search.estimator, search.max_resource)
    seed = search.random_state
    proposer = make_proposer(
        search.search,
        space,
        num_samples=search.num_samples,
        mode="max",
        seed=seed,
        metric=metric,
    )
    decider = make_decider(
        search.scheduler,
        mode="max",
        metric=metric,
        max_resource=max_step,
        seed=seed,
        space=space,
        proposer=proposer,
        min_resource=_first_look(resource, max_step),
    )
    if decider.side_by_side and resource is None:
        raise UserError(
            f"scheduler={search.scheduler!r}: trials go on from each other's learners, and "
            f"{type(search.estimator).__name__} cannot go on from one; give an estimator with "
            "partial_fit or warm_start, or scheduler='asha'"
        )
    return Arrangement(proposer=proposer, decider=decider, resource=resource, max_step=max_step)


def _first_look(resource: Resource | None, max_step: int) -> int:
    # One fold may be an easy one.
    return min(2, max_step) if resource is None else math.ceil(max_step * _FIRST_SHARE)


def check_scoring_names(scoring: Any) -> None:
    """Refuse scorers that scikit-learn does not have.

    Raises:
        ScoringError: one is not known; the nearest is named.
    """
    given = scoring.values() if isinstance(scoring, Mapping) else scoring
    known = get_scorer_names()
    several = isinstance(given, Iterable) and not isinstance(given, str)
    for name in given if several else [given]:
        if isinstance(name, str) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else "see sklearn.metrics.get_scorer_names()"
            )
            raise ScoringError(f"scoring={name!r} is no scorer of scikit-learn; {hint}")


def _check_free(resource: Resource, space: Space) -> None:
    if resource.parameter in space.names:
        raise UserError(
            f"space has {resource.parameter!r}, which is what trials are given more of from step "
            "to step; take it out and give max_resource, or give resource='folds'"
        )


def _check_width(search: "TuneSearchCV") -> None:
    cpus, gpus = cpus_of_workers(search.estimator), gpus_of_fit(search.estimator)
    for needed, there, unit in ((cpus, num_cpus(search), "CPU"), (gpus, num_gpus(), "GPU")):
        if needed > there:
            raise UserError(
                f"{type(search.estimator).__name__}: the workers of one trial need {needed:g} "
                f"{unit}s, and there are {there:g}; lower num_workers or {unit.lower()}s_per_worker"
            )
