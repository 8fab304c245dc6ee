"""Turns: what a search decides, beside a reference that knows no order but that of turns."""

import random
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from distml.ensemble.keys import Keys
from distml.ensemble.members import Unit, View
from distml.ensemble.schedule import Schedule
from distml.ensemble.worker import Outcome
from distml.runs.events import use_events
from distml.tune.folds import Fold, FoldScore
from distml.tune.plan import Limits, Turns
from distml.tune.resource import Resource
from distml.tune.trials import Course, Reason
from distml.tune.turns import GO_ON, PAUSE, STOP, Exploit, NeverStops

NUM_FOLDS = 3
MAX_STEP = 9


class Learner(BaseEstimator):
    """Scores what its quality and its resource say; fails if its quality is negative."""

    n_jobs = None

    def __init__(self, quality=0.0, rounds=1):
        self.quality = quality
        self.rounds = rounds


class Shuffled:
    """An executor that ends units in any order."""

    together = 1
    num_gpus = 0.0

    def __init__(self, seed: int, num_cpus: int) -> None:
        self.num_cpus = self.cpus_per_node = num_cpus
        self.memory_bytes = 10**12
        self._draw = random.Random(seed)
        self._running: list[tuple[Any, Unit]] = []
        self.num_units = 0

    def submit(self, ticket, unit, *, cpus, gpus, memory_bytes, key, has_workers):
        self._running.append((ticket, unit))
        self.num_units += 1

    def wait(self):
        at = self._draw.randrange(len(self._running))
        ticket, unit = self._running.pop(at)
        return ticket, outcome_of(unit)

    def close(self):
        self._running.clear()


def outcome_of(unit: Unit) -> Outcome:
    """What a fit comes to, as a function of what determines it."""
    quality = unit.estimator.quality
    if quality < 0:
        return Outcome(error=ValueError("negative"), seconds=1.0)
    number = int(unit.part.split()[1])
    reached = unit.own.way[-1].end if unit.own.way else 1
    learnt = sum(s.config["quality"] * s.end for s in unit.own.way) if unit.own.way else quality
    score = learnt + 0.1 * number * reached
    state = b"learner" if unit.own.keep_state else None
    return Outcome(value=FoldScore(test=score, fit_s=1.0, state=state), seconds=1.0)


class Thirsty:
    """Proposes by what it has been told: each suggestion is a sum over all that was said so far."""

    looks_at_results = True

    def __init__(self, qualities, in_flight):
        self.qualities = qualities
        self.in_flight = in_flight
        self.open: set[int] = set()
        self.told: list[Any] = []

    def suggest(self, trial):
        if trial >= len(self.qualities) or len(self.open) >= self.in_flight:
            return None
        self.open.add(trial)
        heard = sum(value for *_, value in self.told if value is not None)
        quality = self.qualities[trial]
        return {"quality": quality if quality < 0 else (quality + heard) % 7}

    def tell(self, trial, step, value):
        self.told.append(("tell", trial, step, value))

    def end(self, trial, value):
        self.open.discard(trial)
        self.told.append(("end", trial, value))


class Listed(Thirsty):
    """Proposes what was settled beforehand."""

    looks_at_results = False

    def suggest(self, trial):
        return {"quality": self.qualities[trial]} if trial < len(self.qualities) else None


class Halving:
    """Stops what is below the median of what reached the same step before; may pause or exploit."""

    side_by_side = False

    def __init__(self, width=2, pauses=False, exploits=False):
        self.width = width
        self.pauses = pauses
        self.exploits = exploits
        self.side_by_side = exploits
        self.seen: dict[int, list[tuple[float, int]]] = {}
        self.paused: list[int] = []
        self.log: list[Any] = []

    def add(self, trial, config):
        self.log.append(("add", trial, dict(config)))
        return config

    def next_step(self, trial, step):
        return step * self.width or 1

    def decide(self, trial, step, value):
        self.log.append(("decide", trial, step, value))
        seen = self.seen.setdefault(step, [])
        seen.append((value, trial))
        best, who = max(seen)
        if self.exploits and who != trial and value < best:
            return Exploit(donor=who, step=step, config={"quality": (best + step) % 5})
        if len(seen) > 2 and value < float(np.median([v for v, _ in seen])):
            return STOP
        if self.pauses and len(seen) % 2 and step > 1:
            self.paused.append(trial)
            return PAUSE
        return GO_ON

    def resume(self, *, waiting):
        if not waiting and len(self.paused) < 2:
            return ()
        going, self.paused = self.paused[:1], self.paused[1:]
        return going

    def end(self, trial, value):
        self.paused = [number for number in self.paused if number != trial]
        self.log.append(("end", trial, value))


def course(resource: bool) -> Course:
    rows = np.arange(6)
    return Course(
        estimator=Learner(),
        view=View(np.zeros((6, 1)), np.zeros(6)),
        splits=[(rows, rows)] * NUM_FOLDS,
        fold=Fold(scorer=None, error_score=np.nan, train_scores=False),
        resource=Resource(parameter="rounds", how="total") if resource else None,
        max_step=MAX_STEP if resource else NUM_FOLDS,
    )


def played(turns: Turns, executor: Shuffled) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    with use_events(lambda kind, **fields: events.append({"kind": kind, **fields})):
        Schedule(executor, Keys(None), lambda unit: None).run(Learner(), turns.play())
    return events


def summary(turns: Turns) -> list[tuple[Any, ...]]:
    return [
        (t.number, dict(t.config), t.step, t.reason, repr(t.value("score")), [s.end for s in t.way])
        for t in turns.trials
    ]


qualities = st.lists(
    st.one_of(st.floats(0, 5), st.floats(0, 5), st.just(-1.0)), min_size=1, max_size=8
)
deciders = st.sampled_from(
    [NeverStops, Halving, lambda: Halving(pauses=True), lambda: Halving(width=3)]
)


@settings(deadline=None, max_examples=60)
@given(
    qualities=qualities,
    make=deciders,
    slots=st.integers(1, 4),
    resource=st.booleans(),
    in_flight=st.integers(1, 5),
    patience=st.sampled_from([None, 2]),
    seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)),
    cpus=st.tuples(st.integers(1, 4), st.integers(5, 16)),
)
def test_outcome_depends_neither_on_order_nor_on_cpus(
    qualities, make, slots, resource, in_flight, patience, seeds, cpus
):
    results, heard = [], []
    for seed, num_cpus in zip(seeds, cpus, strict=True):
        proposer, decider = Thirsty(qualities, in_flight), make()
        limits = Limits(num_slots=slots, patience=patience)
        turns = Turns(course(resource), proposer, decider, limits)
        played(turns, Shuffled(seed, num_cpus))
        results.append(summary(turns))
        heard.append((proposer.told, getattr(decider, "log", None)))
    assert results[0] == results[1]
    assert heard[0] == heard[1]


class Reference:
    """The same rules without units: every step is carried out where it is asked for."""

    def __init__(self, qualities, in_flight, decider, slots, resource):
        self.proposer, self.decider = Thirsty(qualities, in_flight), decider
        self.slots: list[dict[str, Any] | None] = [None] * slots
        self.resource = resource
        self.max_step = MAX_STEP if resource else NUM_FOLDS
        self.trials: list[dict[str, Any]] = []
        self.paused: dict[int, dict[str, Any]] = {}
        self.resumed: deque[dict[str, Any]] = deque()

    def run(self) -> "Reference":
        at, idle = 0, 0
        while idle < len(self.slots):
            trial = self.slots[at]
            if trial is not None:
                trial = self.turn(trial)
            trial = self.slots[at] = trial if trial is not None else self.next()
            if trial is None and not any(self.slots) and self.paused and not self.resumed:
                self.resume(waiting=True)
            idle = 0 if any(self.slots) or self.resumed else idle + 1
            at = (at + 1) % len(self.slots)
        return self

    def next(self):
        if self.resumed:
            return self.resumed.popleft()
        config = self.proposer.suggest(len(self.trials))
        if config is None:
            return None
        config = self.decider.add(len(self.trials), config)
        self.trials.append({"number": len(self.trials), "config": config, "step": 0, "way": []})
        return self.trials[-1]

    def turn(self, trial):
        number = trial["number"]
        step = min(max(self.decider.next_step(number, trial["step"]), trial["step"] + 1), 99)
        trial["step"] = min(step, self.max_step)
        trial["way"].append((trial["config"]["quality"], trial["step"]))
        if trial["config"]["quality"] < 0:
            self.decider.end(number, None)
            self.proposer.end(number, None)
            return self.resume()
        value = trial["value"] = self.value(trial)
        decision = self.decider.decide(number, trial["step"], value)
        if decision is STOP or trial["step"] == self.max_step:
            if decision is not STOP:
                self.decider.end(number, value)
            self.proposer.end(number, value)
            return self.resume()
        self.proposer.tell(number, trial["step"], value)
        if decision is PAUSE:
            self.paused[number] = trial
        self.resume()
        return None if decision is PAUSE else trial

    def resume(self, *, waiting=False):
        for number in self.decider.resume(waiting=waiting):
            self.resumed.append(self.paused.pop(number))

    def value(self, trial):
        quality = trial["config"]["quality"]
        if not self.resource:
            folds = range(1, trial["step"] + 1)
            return float(np.mean([quality + 0.1 * fold for fold in folds]))
        learnt = sum(quality * end for quality, end in trial["way"])
        scores = [learnt + 0.1 * fold * trial["step"] for fold in range(1, NUM_FOLDS + 1)]
        return float(np.mean(scores))


@settings(deadline=None, max_examples=60)
@given(
    qualities=qualities,
    make=deciders,
    slots=st.integers(1, 4),
    resource=st.booleans(),
    seed=st.integers(0, 99),
)
def test_turns_are_those_of_the_reference(qualities, make, slots, resource, seed):
    turns = Turns(course(resource), Thirsty(qualities, 9), make(), Limits(num_slots=slots))
    played(turns, Shuffled(seed, 3))
    reference = Reference(qualities, 9, make(), slots, resource).run()
    assert turns._proposer.told == reference.proposer.told
    assert getattr(turns._decider, "log", None) == getattr(reference.decider, "log", None)
    assert [trial.step for trial in turns.trials] == [t["step"] for t in reference.trials]


@settings(deadline=None, max_examples=40)
@given(
    qualities=st.lists(st.floats(0, 5), min_size=2, max_size=6),
    seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)),
)
def test_population_takes_over_learners_in_the_order_of_turns(qualities, seeds):
    results = []
    for seed in seeds:
        turns = Turns(course(True), Listed(qualities, 9), Halving(exploits=True), Limits())
        played(turns, Shuffled(seed, 4))
        results.append(summary(turns))
        for trial in turns.trials:
            ends = [stretch.end for stretch in trial.way]
            assert ends == sorted(set(ends))
            assert trial.learners == {}
    assert results[0] == results[1]


def test_all_are_carried_out_at_once_where_nothing_waits_for_results():
    executor = Shuffled(0, 100)
    turns = Turns(course(False), Listed([1.0] * 7, 9), NeverStops(), Limits())
    events = played(turns, executor)
    assert executor.num_units == 7 * NUM_FOLDS
    kinds = [event["kind"] for event in events]
    assert kinds.index("unit_done") > kinds.index("unit_started") + 7 * NUM_FOLDS - 1


@pytest.mark.parametrize(("patience", "expected"), [(None, 8), (1, 3), (3, 5)])
def test_patience_ends_a_search_that_gets_no_better(patience, expected):
    proposer = Listed([1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0], 9)
    turns = Turns(course(False), proposer, NeverStops(), Limits(num_slots=1, patience=patience))
    played(turns, Shuffled(0, 2))
    assert len(turns.trials) == expected


def test_failing_folds_end_their_trial_and_not_the_search():
    turns = Turns(course(True), Listed([1.0, -1.0, 2.0], 9), Halving(), Limits(num_slots=2))
    events = played(turns, Shuffled(0, 2))
    assert turns.trials[1].reason is Reason.FAILED
    assert all("negative" in fold.error for fold in turns.trials[1].folds.values())
    ended = {e["trial"]: e["reason"] for e in events if e["kind"] == "trial_ended"}
    assert ended[1] == "failed"
    assert turns.trials[2].reason is Reason.COMPLETED


def test_search_in_which_everything_fails_gives_up():
    proposer = Listed([-1.0] * 50, 9)
    turns = Turns(course(False), proposer, NeverStops(), Limits(num_slots=2))
    played(turns, Shuffled(0, 2))
    assert 10 <= len(turns.trials) <= 12


def test_failing_fold_is_raised_where_that_is_asked_for():
    asked = course(False)
    fold = Fold(scorer=None, error_score="raise", train_scores=False)
    raising = Course(
        estimator=asked.estimator,
        view=asked.view,
        splits=asked.splits,
        fold=fold,
        max_step=NUM_FOLDS,
    )
    turns = Turns(raising, Listed([1.0, -1.0], 9), NeverStops(), Limits())
    with pytest.raises(ValueError, match="negative"):
        played(turns, Shuffled(0, 2))


class Ticking:
    """A clock that goes on by one whenever it is looked at."""

    def __init__(self) -> None:
        self.now = -1.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.mark.parametrize("resource", [False, True], ids=["folds", "rounds"])
def test_time_budget_ends_with_what_is_done(resource):
    limits = Limits(num_slots=2, time_budget_s=7, clock=Ticking())
    turns = Turns(course(resource), Listed([1.0] * 50, 9), Halving(), limits)
    executor = Shuffled(0, 2)
    played(turns, executor)
    assert executor.num_units <= 9
    assert all(trial.reason is not None for trial in turns.trials)
    for trial in turns.trials:
        whole = len(trial.folds) in (0, NUM_FOLDS) if resource else len(trial.folds) == trial.step
        assert whole


def test_trials_say_that_they_begin_how_they_go_and_why_they_end():
    turns = Turns(course(True), Listed([2.0, 1.0, 0.0], 9), Halving(), Limits(num_slots=1))
    events = played(turns, Shuffled(0, 1))
    kinds = [event["kind"] for event in events if event["kind"].startswith("trial")]
    assert kinds[:3] == ["trial_started", "trial_reported", "trial_reported"]
    last: Mapping[str, Any] = next(e for e in reversed(events) if e["kind"] == "trial_ended")
    assert (last["trial"], last["reason"], last["params"]) == (2, "scheduler", {"quality": 0.0})
    names = [e["unit"] for e in events if e["kind"] == "unit_done"]
    assert "trial 1, fold 2 of 3, rounds=1" in names


def test_first_score_is_looked_at_at_once():
    def refuse(scores: Any) -> None:
        raise KeyError("missing")

    executor = Shuffled(0, 1)
    limits = Limits(num_slots=1)
    turns = Turns(course(False), Listed([1.0] * 5, 9), NeverStops(), limits, check=refuse)
    with pytest.raises(KeyError, match="missing"):
        played(turns, executor)
    assert executor.num_units <= 2
