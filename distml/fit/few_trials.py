"""Trials of a search of which a sample carries out a few, and what all of them would come to.

One decision: a search in a fit is measured by some of its trials and multiplied. Its trials are
taken as one stage, since they take turns so that no CPU waits; a time budget bounds how many there
are. Of many trials a scheduler stops more than of a few, which the range reaches down to.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from distml.fit.growth import Estimate, total

__all__ = ["Ahead", "TrialCounter", "Trials"]

_UNIT = "trial #, fold # of #"
"""How a kind of fit is known to be of a trial."""
_LEAST_SHARE = 1 / 3
"""What a trial that was not measured takes at least of one that was, where trials are stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trials:
    """What the searches of a sample said of their trials."""

    searches: int
    """Searches: several where one is fitted in each fold."""
    wanted: int
    """Trials they would try, together."""
    measured: int
    """Trials they tried."""
    time_budget_s: float | None = None
    """Seconds that each may take."""
    may_stop: bool = False
    """Whether trials may be stopped before their end."""


class TrialCounter:
    """Listens to searches, and counts their trials."""

    def __init__(self) -> None:
        self._searches = self._wanted = self._measured = 0
        self._time_budget_s: float | None = None
        self._may_stop = False

    def take(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Hear an event."""
        if kind == "search_started":
            self._searches += 1
            self._wanted += fields["trials"]
            self._time_budget_s = fields.get("time_budget_s")
            self._may_stop = self._may_stop or bool(fields.get("may_stop"))
        elif kind == "trial_started":
            self._measured += 1

    @property
    def trials(self) -> Trials | None:
        """What was heard; `None`: of no trial."""
        if not self._measured:
            return None
        return Trials(
            searches=self._searches,
            wanted=self._wanted,
            measured=self._measured,
            time_budget_s=self._time_budget_s,
            may_stop=self._may_stop,
        )


class Ahead:
    """The trials there will be.

    Args:
        trials: What a sample's searches said; `None`: it has none.
        units: Stage and kind of each fit of the sample.
        seconds: Kind → what such a fit takes.
        num_cpus: CPUs that fits are spread over.
    """

    def __init__(
        self,
        trials: Trials | None,
        units: Iterable[tuple[int, str]],
        seconds: Mapping[str, Estimate],
        num_cpus: int,
    ) -> None:
        self._trials, self._units = trials, list(units)
        kinds = Counter(kind for _, kind in self._units if _UNIT in kind)
        spans = [seconds[kind].times(number) for kind, number in kinds.items()]
        self._each = total(spans).times(1 / (trials.measured if trials else 1))
        self._fitting = self._count(num_cpus)

    def _count(self, num_cpus: int) -> int | None:
        """Trials that there is time for; `None`: for all."""
        if self._trials is None or self._trials.time_budget_s is None:
            return None
        at_once = self._trials.time_budget_s * num_cpus / max(self._each.value, 1e-9)
        return max(1, math.ceil(at_once)) * self._trials.searches

    @property
    def num_trials(self) -> int:
        """Trials there will be."""
        wanted = self._trials.wanted if self._trials else 0
        return wanted if self._fitting is None else min(wanted, self._fitting)

    def stages(self) -> list[list[str]]:
        """Kinds of the fits of each stage; those of trials come in the first that has any."""
        stages: dict[int, list[str]] = defaultdict(list)
        first: dict[str, int] = {}
        for stage, kind in self._units:
            stages[first.setdefault(kind, stage) if _UNIT in kind else stage].append(kind)
        return [self._multiplied(stages[stage]) for stage in sorted(stages)]

    def _multiplied(self, stage: list[str]) -> list[str]:
        if self._trials is None:
            return stage
        factor = self.num_trials / self._trials.measured
        counts = Counter(stage)
        for kind in counts:
            if _UNIT in kind:
                counts[kind] = max(1, round(factor * counts[kind]))
        return list(counts.elements())

    def with_stops(self, fits: Estimate) -> Estimate:
        """The range of all fits, down to where a scheduler stops more of the trials."""
        if self._trials is None or not self._trials.may_stop:
            return fits
        beyond = max(0.0, 1 - self._trials.measured / self.num_trials)
        return replace(fits, low=fits.low * (1 - (1 - _LEAST_SHARE) * beyond))

    def described(self) -> dict[str, Any] | None:
        """For the plan: how many trials there are, what each takes on one CPU, how many fit."""
        if self._trials is None:
            return None
        return {
            "trials": self._trials.wanted,
            "measured": self._trials.measured,
            "each": asdict(self._each),
            "time_budget_s": self._trials.time_budget_s,
            "fitting": self._fitting,
        }
