"""Plans that hear of each unit by itself, judged on the executor with a clock of its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from distml.ensemble.execute import InlineExecutor
from distml.ensemble.keys import Keys
from distml.ensemble.members import Unit, View
from distml.ensemble.schedule import Arrival, Plan, Schedule, Stream
from distml.runs.units import UnitStore
from tests.ensemble.test_schedule import Clock, Ensemble, Learner, of_kind, plan_of, run, unit


class Streaming(Ensemble):
    """Adds the next of `queue` whenever one is done; may stop after so many, or withdraw."""

    def __init__(self, queue, width, stop_after=None, withdraw_after=None, n_jobs=None):
        self.queue = queue
        self.width = width
        self.stop_after = stop_after
        self.withdraw_after = withdraw_after
        self.n_jobs = n_jobs

    def plan(self) -> Plan:
        self.heard_, self.after_ = [], []
        units = [unit(f"u{number}", learner) for number, learner in enumerate(self.queue)]
        stream = Stream(units=units[: self.width])
        rest = units[self.width :]
        while (arrival := (yield stream)) is not None:
            assert isinstance(arrival, Arrival)
            self.heard_.append(arrival.unit.member)
            if len(self.heard_) == self.stop_after:
                break
            withdraw = len(self.heard_) == self.withdraw_after
            rest = [] if withdraw else rest
            stream = Stream(units=rest[:1], withdraw=withdraw)
            rest = rest[1:]
        self.after_ = [outcome.value for outcome in (yield [unit("last", Learner(1.0))])]


queues = st.lists(st.floats(0.1, 5).map(lambda s: Learner(seconds=s)), max_size=12)


@settings(deadline=None)
@given(queue=queues, width=st.integers(0, 12), num_cpus=st.integers(1, 4))
def test_stream_hears_of_every_unit_once_then_goes_on(queue, width, num_cpus):
    ensemble, clock = Streaming(queue, max(width, 1)), Clock(num_cpus)
    run(ensemble, clock)
    assert sorted(ensemble.heard_) == sorted(f"u{n}" for n in range(len(queue)))
    assert ensemble.after_ == ["last"]


@settings(deadline=None)
@given(
    queue=queues.filter(lambda q: len(q) > 2), num_cpus=st.integers(1, 4), stop=st.integers(1, 3)
)
def test_plan_that_moves_on_drops_what_has_not_begun(queue, num_cpus, stop):
    ensemble, clock = Streaming(queue, len(queue), stop_after=stop), Clock(num_cpus)
    events = run(ensemble, clock)
    assert len(ensemble.heard_) == stop
    assert ensemble.after_ == ["last"]
    planned = sum(event["units"] for event in of_kind(events, "plan"))
    assert planned == len(of_kind(events, "unit_done")) <= stop + num_cpus + 1


def test_withdrawn_units_do_not_begin_and_running_ones_are_heard_of():
    queue = [Learner(seconds=s) for s in (4.0, 3.0, 2.0, 1.0)]
    ensemble, clock = Streaming(queue, 4, withdraw_after=1), Clock(2)
    run(ensemble, clock)
    # Longest first on two CPUs: u0 and u1 begin, and u2 when u1 is done and heard of.
    assert ensemble.heard_ == ["u1", "u0"]
    assert clock.started == ["u0", "u1", "last"]


def test_ensembles_in_a_stream_are_heard_of_when_their_own_plans_are_through():
    inner = [Ensemble([[Learner(1.0)], [Learner(1.0)]]), Ensemble([[Learner(0.5)]])]
    ensemble, clock = Streaming(inner, 2), Clock(2)
    run(ensemble, clock)
    assert ensemble.heard_ == ["u1", "u0"]
    assert inner[0].values_ == [["m0"], ["m0"]]


def test_what_is_running_below_a_plan_that_moved_on_is_nobodys_concern():
    inner = [Learner(1.0), Ensemble([[Learner(3.0)], [Learner(1.0)]])]
    ensemble, clock = Streaming(inner, 2, stop_after=1), Clock(2)
    run(ensemble, clock)
    assert ensemble.heard_ == ["u0"]
    assert inner[1].values_ == []


class Constant(BaseEstimator):
    def __init__(self, value=0):
        self.value = value

    def fit(self, X, y):
        return self


class Chain(BaseEstimator):
    """A stream of one unit after the other."""

    n_jobs = None

    def __init__(self, length):
        self.length = length

    def plan(self) -> Plan:
        self.cached_ = []
        view = View(np.zeros((3, 1)), np.zeros(3))
        for number in range(self.length):
            one = Unit(member=f"u{number}", part="all", estimator=Constant(number), view=view)
            arrival = yield Stream(units=[one])
            self.cached_.append(arrival.outcome.cached)


@pytest.mark.parametrize("length", [400])
def test_long_streams_are_taken_from_the_store_without_recursion(tmp_path, length):
    store = UnitStore(tmp_path)
    for expected in (False, True):
        chain = Chain(length)
        Schedule(InlineExecutor(store), Keys(store), plan_of).run(chain, chain.plan())
        assert chain.cached_ == [expected] * length


class Doubled:
    """Work of another layer: counts what it is given."""

    def __init__(self, factor):
        self.factor = factor

    def carry_out(self, unit):
        return self.factor * unit.own_params["weight"].sum() + unit.view.num_rows

    def content(self):
        return self.factor


def own(factor: int, weight: list[float]) -> Unit:
    view = View(np.zeros((3, 1)), None)
    params = {"weight": np.array(weight)}
    return Unit(
        member="m",
        part="all",
        estimator=Constant(),
        view=view,
        own=Doubled(factor),
        own_params=params,
    )


def test_own_work_takes_the_place_of_the_fit_and_joins_the_key(tmp_path):
    keys = [
        Keys(UnitStore(tmp_path)).key(each)
        for each in (own(2, [1, 2]), own(2, [1, 2]), own(3, [1, 2]), own(2, [1, 3]))
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    chain = Ensemble([[]])
    outcomes = []

    def plan() -> Plan:
        outcomes.extend((yield [own(2, [1, 2])]))

    Schedule(InlineExecutor(), Keys(None), plan_of).run(chain, plan())
    assert [outcome.value for outcome in outcomes] == [9]
