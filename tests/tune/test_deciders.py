"""Schedulers by name: the rule each stands for, what it tells a search, and what is refused."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
)
from ray.tune.schedulers.pbt import _explore

from distml.errors import DistmlError, UserError
from distml.tune.deciders import make_decider
from distml.tune.proposers import make_proposer
from distml.tune.scheduled import Scheduled
from distml.tune.space import Space
from distml.tune.turns import GO_ON, PAUSE, STOP, Decider, Exploit, NeverStops

SPACE = Space.of({"lr": tune.loguniform(1e-3, 1e-1), "kind": ["a", "b", "c"], "fixed": 1})


def decider(scheduler: Any, **changes: Any) -> Decider:
    options = {"mode": "max", "metric": "score", "max_resource": 9, "seed": 0}
    return make_decider(scheduler, **(options | changes))


def asha_by_hand(results: list[tuple[int, int, float]], rungs: list[int], factor: int) -> list[Any]:
    """The rule itself: at a rung, stop what is below the best 1 / factor of what came by there."""
    seen: dict[int, list[float]] = {rung: [] for rung in rungs}
    answers = []
    for _, step, value in results:
        answer = GO_ON
        if step in seen:
            known = seen[step]
            if known and value < np.percentile(known, (1 - 1 / factor) * 100):
                answer = STOP
            known.append(value)
        answers.append(STOP if step >= rungs[-1] else answer)
    return answers


@settings(max_examples=30, deadline=None)
@given(
    curves=st.lists(st.lists(st.floats(-5, 5), min_size=9, max_size=9), min_size=2, max_size=8),
    sign=st.sampled_from([1, -1]),
)
def test_asha_stops_what_its_rule_stops(curves: list[list[float]], sign: int) -> None:
    made = decider("asha", mode="max" if sign == 1 else "min")
    told: list[tuple[int, int, float]] = []
    answers: list[Any] = []
    for trial in range(len(curves)):
        made.add(trial, {})
    running = list(range(len(curves)))
    for step in range(1, 10):
        for trial in list(running):
            told.append((trial, step, curves[trial][step - 1]))
            answers.append(made.decide(trial, step, sign * curves[trial][step - 1]))
            if answers[-1] is STOP:
                running.remove(trial)
    assert answers == asha_by_hand(told, [1, 3, 9], 3)


def test_next_steps_of_asha_are_its_rungs() -> None:
    made = decider("asha", min_resource=2)
    made.add(0, {})
    assert [made.next_step(0, step) for step in (0, 2, 5, 6)] == [2, 6, 6, 9]


def test_next_steps_of_hyperband_are_its_brackets_milestones() -> None:
    made = decider("hyperband")
    for trial in range(4):
        made.add(trial, {})
    assert made.next_step(0, 0) == 9, "the first bracket runs to the end"
    assert made.next_step(3, 0) == 3, "the second one halves after a third"


def test_next_steps_of_the_others_are_their_interval() -> None:
    median = decider("median", max_resource=100, min_resource=10)
    median.add(0, {})
    assert [median.next_step(0, step) for step in (0, 5, 10, 20)] == [10, 10, 20, 30]
    pbt = decider("pbt", max_resource=40, space=SPACE)
    pbt.add(0, {"lr": 0.01, "kind": "a"})
    assert pbt.next_step(0, 0) == 4
    other = decider(FIFOScheduler(), max_resource=100)
    other.add(0, {})
    assert other.next_step(0, 7) == 12


@pytest.mark.parametrize("most", [1, 9, 27, 100, 1000], ids=lambda most: f"{most}-steps")
def test_median_looks_a_bounded_number_of_times_and_evenly(most: int) -> None:
    made = decider("median", max_resource=most, min_resource=max(1, most // 27))
    made.add(0, {})
    looks = [made.next_step(0, 0)]
    while looks[-1] < most:
        looks.append(made.next_step(0, looks[-1]))
    assert looks[0] == max(1, most // 27), "the grace period is kept"
    assert len(looks) <= 11
    assert len(set(np.diff(looks))) <= 1


def test_median_stops_what_is_worse_than_the_median_of_means() -> None:
    made = decider("median")
    for trial in range(4):
        made.add(trial, {})
    for step in (1, 2):
        for trial in range(3):
            assert made.decide(trial, step, float(trial)) is GO_ON
    assert made.decide(3, 1, 0.5) is STOP


def test_hyperband_pauses_then_lets_the_better_go_on_and_drops_the_others() -> None:
    made = decider("hyperband", max_resource=9)
    for trial in range(8):
        made.add(trial, {})
    # The first bracket holds 3 trials, the second 5.
    values = {3: 0.1, 4: 0.9, 5: 0.3, 6: 0.8, 7: 0.2}
    answers = [made.decide(trial, 3, value) for trial, value in values.items()]
    assert answers[:4] == [PAUSE] * 4
    assert answers[4] is STOP
    assert sorted(made.resume(waiting=False)) == [4, 6]
    assert made.resume(waiting=False) == []
    assert made.decide(4, 9, 1.0) is PAUSE
    assert made.decide(6, 9, 0.9) is STOP


def test_failed_trial_does_not_hold_up_its_bracket() -> None:
    made = decider("hyperband")
    for trial in range(8):
        made.add(trial, {})
    for trial in (3, 4, 5, 6):
        assert made.decide(trial, 3, float(trial)) is PAUSE
    made.end(7, None)
    assert sorted(made.resume(waiting=False)) == [5, 6]


def test_bracket_that_never_fills_goes_on_once_nothing_else_can() -> None:
    proposer = bohb()
    made = decider("hyperband", proposer=proposer)
    assert isinstance(made, Scheduled)
    assert isinstance(made.scheduler, HyperBandForBOHB)
    for trial in range(5):
        made.add(trial, proposer.suggest(trial) or {})
        assert made.decide(trial, 1, float(trial)) is PAUSE
        proposer.tell(trial, 1, float(trial))
        assert made.resume(waiting=False) == []
    assert sorted(made.resume(waiting=True)) == [2, 3, 4]


def bohb() -> Any:
    return make_proposer("bohb", SPACE, num_samples=9, mode="max", seed=0, metric="score")


def test_budgets_that_hyperband_names_reach_bohb() -> None:
    proposer = bohb()
    made = decider("hyperband", proposer=proposer)
    made.add(0, proposer.suggest(0) or {})
    made.decide(0, 1, 0.5)
    proposer.tell(0, 1, 0.5)
    assert proposer.searcher.paused == {"00000"}
    assert list(proposer.searcher.bohber.losses) == [1]


def population(made: Decider, scores: list[float], step: int) -> list[Any]:
    return [made.decide(trial, step, value) for trial, value in enumerate(scores)]


def test_population_takes_over_the_best_and_explores_as_ray_does() -> None:
    mutations = {"lr": tune.loguniform(1e-3, 1e-1), "kind": ["a", "b", "c"]}
    given = PopulationBasedTraining(
        time_attr="training_iteration", perturbation_interval=2, hyperparam_mutations=mutations
    )
    made = decider(given, seed=5)
    assert made.side_by_side
    configs = [{"lr": 0.01 * (1 + trial), "kind": "b", "fixed": 1} for trial in range(4)]
    for trial, config in enumerate(configs):
        assert made.add(trial, config) == config
    scores = [9.0, 2.0, 1.0, 3.0]
    for step in (1, 2, 3):  # at the first interval there is no checkpoint of the best yet
        assert population(made, scores, step) == [GO_ON] * 4
    found = population(made, scores, 4)
    exploits = [decision for decision in found if isinstance(decision, Exploit)]
    assert found[0] is GO_ON
    assert exploits
    assert all(made.donor == 0 and made.step == 4 for made in exploits)
    # Ray draws the donor before it explores, as often as one was looked for so far.
    explored = []
    for num_draws in range(1, 8):
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        for _ in range(num_draws):
            random.choice([0])
        explored.append(_explore(configs[0], mutations, 0.25, (1.2, 0.8), None)[0])
    assert exploits[0].config in explored


def test_named_population_stays_within_the_space_and_is_repeated_by_the_seed() -> None:
    def explored(seed: int) -> list[Any]:
        made = decider("pbt", space=SPACE, seed=seed)
        for trial in range(4):
            made.add(trial, {"lr": 0.1 if trial == 0 else 0.001, "kind": "c", "fixed": 1})
        found = []
        for step in range(1, 20):
            found += population(made, [9.0, 2.0, 1.0, 3.0], step)
        return [decision for decision in found if isinstance(decision, Exploit)]

    first = explored(0)
    assert len(first) > 5
    for exploit in first:
        assert 1e-3 <= exploit.config["lr"] <= 1e-1
        assert exploit.config["kind"] in ("a", "b", "c")
        assert exploit.config["fixed"] == 1
    assert explored(0) == first
    assert explored(1) != first


def test_population_draws_what_a_configuration_lacks() -> None:
    given = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"lr": tune.uniform(5, 6)},
    )
    assert 5 <= decider(given).add(0, {"a": 1})["lr"] <= 6


def test_scheduler_of_the_user_is_left_untouched() -> None:
    given = ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3)
    for _ in range(2):
        made = decider(given)
        made.add(0, {})
        made.add(1, {})
        assert made.decide(0, 1, 1.0) is GO_ON
        assert made.decide(1, 1, 0.0) is STOP


def test_brackets_are_drawn_from_the_seed_and_leave_the_global_generator_alone() -> None:
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002

    def steps(seed: int) -> list[int]:
        made = decider(ASHAScheduler(max_t=9, reduction_factor=3, brackets=3), seed=seed)
        for trial in range(12):
            made.add(trial, {})
        return [made.next_step(trial, 0) for trial in range(12)]

    assert steps(0) == steps(0)
    assert len({tuple(steps(seed)) for seed in range(5)}) > 1
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_no_scheduler_lets_every_trial_go_to_its_end() -> None:
    made = decider(None)
    assert isinstance(made, NeverStops)
    assert made.decide(0, 1, 0.0) is GO_ON


def test_scheduler_that_fails_ends_the_search_in_one_line() -> None:
    class Failing(FIFOScheduler):
        def on_trial_result(self, *args: Any) -> str:
            raise ValueError("no\nidea")

    made = decider(Failing())
    made.add(0, {})
    with pytest.raises(DistmlError, match="Failing failed; the search ends: no idea"):
        made.decide(0, 1, 0.0)


@pytest.mark.parametrize(
    ("scheduler", "changes", "match"),
    [
        ("asha2", {}, "scheduler='asha2' is not known; give asha, hyperband"),
        (3, {}, "scheduler is 3; give asha"),
        (MedianStoppingRule(), {}, r"time_attr='time_total_s'\) decides by the clock"),
        (ASHAScheduler(mode="min", metric="loss"), {}, r"\(mode='min'\): the search wants"),
        ("pbt", {}, "nothing to perturb"),
        (
            "pbt",
            {"space": Space.of({"a": tune.choice([1]), "b": 2}), "proposer": "optuna"},
            "begin",
        ),
        (ResourceChangingScheduler(), {}, "trials hold no resources"),
        (
            PopulationBasedTraining(
                time_attr="training_iteration", hyperparam_mutations={"a": [1]}, synch=True
            ),
            {},
            "synch=False",
        ),
    ],
    ids=["name", "number", "clock", "mode", "nothing", "searcher", "resources", "synchronous"],
)
def test_what_cannot_decide_is_refused(scheduler: Any, changes: Any, match: str) -> None:
    if "proposer" in changes:
        changes = changes | {
            "proposer": make_proposer(
                changes["proposer"], SPACE, num_samples=2, mode="max", seed=0, metric="score"
            )
        }
    with pytest.raises(UserError, match=match) as caught:
        decider(scheduler, **changes)
    assert "\n" not in str(caught.value)
