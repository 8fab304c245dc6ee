"""The schedule, judged without Ray: an executor of our own keeps the clock."""

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from distml import session
from distml.ensemble.keys import Keys
from distml.ensemble.members import Unit, View
from distml.ensemble.schedule import Plan, Schedule
from distml.ensemble.worker import Outcome, WorkerLostError
from distml.errors import StorageError, UserError
from distml.rehearsal import rehearsal
from distml.runs.events import use_events

VIEW = View(np.zeros((10, 1)), np.zeros(10))


class Learner(BaseEstimator):
    """Takes `seconds` on the executor's clock; dies or fails there if it is told to."""

    def __init__(self, seconds=1.0, deaths=0, error=None, n_jobs=1, kind=""):
        self.seconds = seconds
        self.deaths = deaths
        self.error = error
        self.n_jobs = n_jobs
        self.kind = kind


class Ensemble(BaseEstimator):
    """Plans its members, in waves that wait for each other."""

    def __init__(self, waves, n_jobs=None):
        self.waves = waves
        self.n_jobs = n_jobs

    def plan(self) -> Plan:
        self.values_ = []
        for wave in self.waves:
            units = [unit(f"m{number}", member) for number, member in enumerate(wave)]
            outcomes = yield units
            self.values_.append([outcome.value for outcome in outcomes])
            for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error


class Clock:
    """An executor in simulated time: workers are numbers, a fit is an entry in a heap."""

    together = 1

    def __init__(
        self,
        num_cpus: int,
        memory_bytes: int = 10**12,
        cpus_per_node: int | None = None,
        num_gpus: float = 0.0,
    ):
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus
        self.cpus_per_node = cpus_per_node or num_cpus
        self.memory_bytes = memory_bytes
        self.now = 0.0
        self.most_cpus = 0
        self.most_memory = 0
        self.most_gpus = 0.0
        self.started: list[str] = []
        self.widths: list[int] = []
        self.asked: list[tuple[str, float, bool]] = []
        self._running: list[tuple[float, int, Any, Unit, int, int]] = []
        self._deaths: dict[int, int] = {}

    def submit(self, ticket, unit, *, cpus, gpus, memory_bytes, key, has_workers):
        seconds = unit.estimator.seconds / cpus
        self.asked.append((unit.member, gpus, has_workers))
        self.started.append(unit.member)
        self.widths.append(cpus)
        entry = (self.now + seconds, len(self.started), ticket, unit, cpus, memory_bytes)
        heapq.heappush(self._running, entry)
        self.most_cpus = max(self.most_cpus, sum(item[4] for item in self._running))
        self.most_memory = max(self.most_memory, sum(item[5] for item in self._running))
        self.most_gpus = max(self.most_gpus, sum(item[2].gpus for item in self._running))

    def wait(self):
        self.now, _, ticket, unit, cpus, _ = heapq.heappop(self._running)
        learner = unit.estimator
        died = self._deaths.get(id(learner), 0)
        if died < learner.deaths:
            self._deaths[id(learner)] = died + 1
            return ticket, Outcome(error=WorkerLostError("worker died"))
        if learner.error is not None:
            return ticket, Outcome(error=learner.error, seconds=learner.seconds)
        return ticket, Outcome(value=unit.member, seconds=learner.seconds / cpus, peak_bytes=600)

    def close(self):
        self._running.clear()


def unit(member: str, estimator: BaseEstimator) -> Unit:
    kind = getattr(estimator, "kind", "")
    return Unit(member=member, part="all rows", estimator=estimator, view=VIEW, kind=kind)


def plan_of(unit: Unit) -> Plan | None:
    return unit.estimator.plan() if isinstance(unit.estimator, Ensemble) else None


def run(ensemble: Ensemble, clock: Clock) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    with use_events(lambda kind, **fields: events.append({"kind": kind, **fields})):
        Schedule(clock, Keys(None), plan_of).run(ensemble, ensemble.plan())
    return events


def of_kind(events: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["kind"] == kind]


def leaves(ensemble: Ensemble) -> Iterator[Learner]:
    for wave in ensemble.waves:
        for member in wave:
            if isinstance(member, Ensemble):
                yield from leaves(member)
            else:
                yield member


def learners(**fixed: Any) -> st.SearchStrategy[Learner]:
    return st.builds(
        Learner, seconds=st.floats(0.1, 10), **{k: st.just(v) for k, v in fixed.items()}
    )


ensembles = st.recursive(
    learners(),
    lambda inner: st.builds(
        Ensemble,
        waves=st.lists(st.lists(inner, max_size=4), max_size=3),
        n_jobs=st.sampled_from([None, 1, 2, -1, -2]),
    ),
    max_leaves=20,
).map(lambda member: member if isinstance(member, Ensemble) else Ensemble([[member]]))


@settings(deadline=None)
@given(ensemble=ensembles, num_cpus=st.integers(1, 5))
def test_every_unit_runs_once_at_any_depth_and_width(ensemble, num_cpus):
    clock = Clock(num_cpus)
    events = run(ensemble, clock)
    assert len(clock.started) == len(list(leaves(ensemble)))
    assert len(of_kind(events, "unit_done")) == len(clock.started)
    assert sum(event["units"] for event in of_kind(events, "plan")) == len(clock.started)
    assert clock.most_cpus <= num_cpus


@settings(deadline=None)
@given(seconds=st.lists(st.floats(0.1, 10), min_size=1, max_size=30), num_cpus=st.integers(1, 6))
def test_one_wave_ends_within_the_bound_of_any_greedy_schedule(seconds, num_cpus):
    # Graham 1966: no list schedule takes longer than the mean load and one longest job.
    clock = Clock(num_cpus)
    run(Ensemble([[Learner(second) for second in seconds]]), clock)
    assert clock.now <= sum(seconds) / num_cpus + max(seconds) + 1e-9


def test_nested_ensembles_share_one_queue_without_a_barrier():
    # Run one after the other on two CPUs, the two ensembles would take 3 + 3 seconds.
    inner = [Ensemble([[Learner(1), Learner(1), Learner(1)]]) for _ in range(2)]
    clock = Clock(2)
    run(Ensemble([inner]), clock)
    assert clock.now == pytest.approx(3)


def test_longest_first_once_measured():
    # The first wave measures each member; the second starts the long one first.
    waves = [[Learner(1), Learner(5), Learner(2)]] * 2
    clock = Clock(1)
    run(Ensemble(waves), clock)
    assert clock.started[3:] == ["m1", "m2", "m0"]


@pytest.mark.parametrize(("n_jobs", "most"), [(None, 4), (-1, 4), (-2, 3), (1, 1), (2, 2), (99, 4)])
def test_n_jobs_caps_what_runs_at_once(n_jobs, most):
    clock = Clock(4)
    run(Ensemble([[Learner() for _ in range(9)]], n_jobs=n_jobs), clock)
    assert clock.most_cpus == most


def test_n_jobs_of_an_inner_ensemble_leaves_cpus_to_its_siblings():
    inner = Ensemble([[Learner(1) for _ in range(4)]], n_jobs=1)
    clock = Clock(2)
    run(Ensemble([[inner, *(Learner(1) for _ in range(4))]]), clock)
    assert clock.now == pytest.approx(4)


@pytest.mark.parametrize(
    ("n_jobs", "widths"),
    [(None, [4]), (-1, [4]), (3, [3]), (1, [1])],
    ids=["unsaid", "all", "three", "one"],
)
def test_idle_cpus_go_to_a_member_that_can_use_them(n_jobs, widths):
    clock = Clock(4)
    run(Ensemble([[Learner(n_jobs=n_jobs)]]), clock)
    assert clock.widths == widths


def test_no_unit_is_wider_than_a_node():
    clock = Clock(8, cpus_per_node=2)
    run(Ensemble([[Learner(n_jobs=-1)]]), clock)
    assert clock.widths == [2]


def test_waiting_units_keep_others_from_taking_idle_cpus():
    clock = Clock(4)
    run(Ensemble([[Learner(n_jobs=-1) for _ in range(4)]]), clock)
    assert clock.widths == [1, 1, 1, 1]


def test_the_measured_peak_bounds_how_many_run_at_once():
    # The clock reports 600 bytes for each fit; before, 10 rows of 8 bytes are expected.
    clock = Clock(8, memory_bytes=1300)
    run(Ensemble([[Learner(kind="tree")], [Learner(kind="tree") for _ in range(8)]]), clock)
    assert clock.most_memory <= 1300
    assert clock.most_cpus == 2


def test_a_unit_larger_than_the_memory_runs_alone():
    clock = Clock(4, memory_bytes=1)
    run(Ensemble([[Learner() for _ in range(3)]]), clock)
    assert clock.most_cpus == 1
    assert len(clock.started) == 3


def test_a_lost_worker_is_tried_again_with_fewer_beside_it():
    clock = Clock(4)
    events = run(Ensemble([[Learner(1, deaths=1), *(Learner(2) for _ in range(7))]]), clock)
    (retried,) = of_kind(events, "unit_retried")
    assert retried["unit"] == "m0, all rows"
    assert "at most 2 at a time" in retried["reason"]
    assert len(of_kind(events, "unit_done")) == 8


def test_a_unit_that_always_dies_fails_at_last():
    clock = Clock(2)
    with pytest.raises(WorkerLostError):
        run(Ensemble([[Learner(deaths=99)]]), clock)
    assert len(clock.started) == 4


def test_a_failure_does_not_cancel_the_others():
    clock = Clock(1)
    with pytest.raises(ValueError, match="no good"):
        run(Ensemble([[Learner(error=ValueError("no good")), Learner(), Learner()]]), clock)
    assert len(clock.started) == 3


def test_a_failed_inner_ensemble_is_a_failed_unit_of_the_outer():
    inner = Ensemble([[Learner(error=ValueError("no good"))]])
    clock = Clock(1)
    with pytest.raises(ValueError, match="no good"):
        run(Ensemble([[inner, Learner()]]), clock)
    assert len(clock.started) == 2


def test_full_storage_ends_the_run_at_once():
    clock = Clock(1)
    with pytest.raises(StorageError, match="full"):
        run(Ensemble([[Learner(error=StorageError("full")), Learner(), Learner()]]), clock)
    assert len(clock.started) == 1


class Networked(Learner):
    """Trains in workers of its own."""

    def __init__(
        self,
        num_workers=2,
        seconds=1.0,
        deaths=0,
        error=None,
        n_jobs=1,
        kind="",
        gpus_per_worker=None,
    ):
        super().__init__(seconds, deaths, error, n_jobs, kind)
        self.num_workers = num_workers
        self.gpus_per_worker = gpus_per_worker


def test_workers_of_a_fit_are_told_and_wait_for_their_cpus():
    events = []
    with use_events(lambda kind, **fields: events.append((kind, fields))):
        executor = Clock(4)
        ensemble = Ensemble([[Networked(2), Learner()]])
        Schedule(executor, Keys(None), plan_of).run(ensemble, ensemble.plan())

    told = {fields["member"]: fields for kind, fields in events if kind == "unit_started"}
    needs = {"num_workers": 2, "cpus_per_worker": 1, "gpus_per_worker": 0}
    assert (told["m0"]["cpus"], told["m0"]["workers"]) == (2, needs)
    assert "workers" not in told["m1"]


def test_fits_wait_for_their_gpus_and_let_others_go_before_them():
    executor = Clock(4, num_gpus=1)
    nets = [Networked(1, seconds=9, gpus_per_worker=gpus) for gpus in (1, 1, 0.5, 0.5)]
    ensemble = Ensemble([[*nets, Learner(seconds=1), Networked(2, gpus_per_worker=0.5)]])

    Schedule(executor, Keys(None), plan_of).run(ensemble, ensemble.plan())

    assert executor.most_gpus == 1
    # The second network has no GPU yet, so what needs none begins.
    assert executor.started[:2] == ["m0", "m4"]
    # With workers of its own the GPUs are theirs.
    assert sorted(executor.asked) == [
        ("m0", 1, False), ("m1", 1, False), ("m2", 0.5, False), ("m3", 0.5, False),
        ("m4", 0, False), ("m5", 1, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (Networked(1, gpus_per_worker=2), "it needs 2 GPUs, and there are 1; lower num_workers or"),
        (Networked(2, gpus_per_worker=1), "its workers need 2 GPUs, and there are 1; lower"),
        (Networked((3, 4)), "its workers need 3 CPUs, and there are 2; .* cpus_per_worker"),
    ],
    ids=["one", "two", "elastic"],
)
def test_a_fit_that_needs_more_than_there_is_fails_at_once(member, said):
    with pytest.raises(UserError, match=said):
        run(Ensemble([[member]]), Clock(2, num_gpus=1))


def test_at_toy_size_a_fit_does_without_gpus():
    executor = Clock(2)
    with rehearsal():
        run(Ensemble([[Networked(1, gpus_per_worker=1)]]), executor)

    assert executor.asked == [("m0", 0, False)]


def test_in_this_process_a_fit_with_workers_is_done_without_them():
    executor, ensemble = Clock(1), Ensemble([[Networked(2)]])

    with session.inline():
        Schedule(executor, Keys(None), plan_of).run(ensemble, ensemble.plan())

    assert (ensemble.values_, executor.widths) == ([["m0"]], [1])
