"""Schedulers decide here what they decide in real Ray Tune, told the same results in that order.

Real Tune runs a search whose scheduler notes what it is told and what it answers; ours is told it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from distml.tune.scheduled import Scheduled
from distml.tune.turns import GO_ON, PAUSE, STOP, Exploit

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SCALES = [3.0, 8.4, 4.0, 9.7, 9.0, 2.6, 5.3, 5.8, 1.0, 9.3, 2.3, 1.5]
STEPS = 9


def trainable() -> type[tune.Trainable]:
    """A trial that reports a curve, and can be saved; local, so that workers need no tests."""

    class Curve(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.steps = 0

        def step(self) -> dict[str, Any]:
            self.steps += 1
            # Those that begin slowly end higher: the curves cross.
            score = self.config["scale"] * (1 - 0.5 ** (self.steps / self.config["scale"]))
            return {"score": score, "done": self.steps == 9}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            Path(checkpoint_dir, "steps").write_text(str(self.steps))

        def load_checkpoint(self, checkpoint: Any) -> None:
            self.steps = int(Path(checkpoint, "steps").read_text())

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config, self.steps = new_config, 0
            return True

    return Curve


@dataclass
class Record:
    """What Ray's controller and its scheduler said to each other, in order."""

    numbers: dict[str, int] = field(default_factory=dict)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    stopped: set[int] = field(default_factory=set)
    """Trials that the scheduler ended, while they ran or paused."""


def recording(scheduler: TrialScheduler, record: Record) -> TrialScheduler:
    """The scheduler, noting what it is told and what it answers."""

    class Recording(type(scheduler)):  # type: ignore[misc]
        def on_trial_add(self, controller: Any, trial: Trial) -> None:
            number = record.numbers.setdefault(trial.trial_id, len(record.numbers))
            record.events.append(("add", number, dict(trial.config)))
            super().on_trial_add(controller, trial)

        def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
            number, config = record.numbers[trial.trial_id], dict(trial.config)
            step, value = result["training_iteration"], result["score"]
            action = super().on_trial_result(controller, trial, result)
            new = None if trial.config == config else dict(trial.config)
            record.events.append(("result", number, step, value, action, new))
            if action == TrialScheduler.STOP:
                record.stopped.add(number)
            return str(action)

        def on_trial_complete(self, controller: Any, trial: Trial, result: dict[str, Any]) -> None:
            number = record.numbers[trial.trial_id]
            if number not in record.stopped:
                record.events.append(("end", number, result["score"]))
            super().on_trial_complete(controller, trial, result)

        def on_trial_remove(self, controller: Any, trial: Trial) -> None:
            if trial.status == Trial.PAUSED:
                record.stopped.add(record.numbers[trial.trial_id])
            super().on_trial_remove(controller, trial)

    scheduler.__class__ = Recording
    return scheduler


def search_in_tune(
    scheduler: TrialScheduler, folder: Path, scales: list[float], at_once: int
) -> Record:
    """Let real Ray Tune search, and note what happens."""
    record = Record()
    tune.Tuner(
        tune.with_resources(trainable(), {"cpu": 0.01}),
        param_space={"scale": tune.grid_search(scales)},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=recording(scheduler, record),
            max_concurrent_trials=at_once,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    ).fit()
    return record


def ours(scheduler: TrialScheduler) -> Scheduled:
    return Scheduled(scheduler, mode="max", metric="score", max_resource=STEPS, seed=0)


def tell(record: Record, decider: Scheduled, *, yields: bool = False) -> set[int]:
    """Tell ours what Ray's scheduler was told, and hold each decision against Ray's.

    Args:
        record: What Ray's was told.
        decider: Ours.
        yields: Ray's pauses a trial only because others wait for a place, which none does here.

    Returns:
        Trials that ours stopped.
    """
    resumed: set[int] = set()
    paused: set[int] = set()
    for kind, number, *rest in record.events:
        if kind == "add":
            decider.add(number, rest[0])
        elif kind == "end":
            decider.end(number, rest[0])
        else:
            step, value, action, new = rest
            if number in paused:
                resumed |= set(decider.resume(waiting=False))
                assert number in resumed, f"trial {number} goes on in Ray and waits here"
                paused.discard(number)
                resumed.discard(number)
            decision = decider.decide(number, step, value)
            if new is not None:
                assert isinstance(decision, Exploit)
                assert decision.config == new
            elif not (yields and action == "PAUSE" and decision is GO_ON):
                assert decision == {"CONTINUE": GO_ON, "STOP": STOP, "PAUSE": PAUSE}[action]
            if decision is PAUSE:
                paused.add(number)
    ended_by_itself = {event[1] for event in record.events if event[0] == "end"}
    ended = {number for number, trial in decider._trials.items() if trial.is_finished()}
    return ended - ended_by_itself


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
    return


@pytest.mark.parametrize(
    ("make", "at_once", "yields"),
    [
        (lambda: ASHAScheduler(max_t=STEPS, grace_period=2, reduction_factor=2), 4, False),
        (lambda: MedianStoppingRule(time_attr="training_iteration", grace_period=2), 4, True),
        (lambda: HyperBandScheduler(max_t=STEPS, reduction_factor=3), 12, False),
    ],
    ids=["asha", "median", "hyperband"],
)
def test_stops_and_pauses_are_those_of_ray_tune(
    make: Any, at_once: int, yields: bool, tmp_path: Path
) -> None:
    record = search_in_tune(make(), tmp_path, SCALES, at_once)
    stopped = tell(record, ours(make()), yields=yields)
    assert stopped == record.stopped
    assert stopped


def explore(config: dict[str, Any]) -> dict[str, Any]:
    return {"scale": config["scale"] + 0.125}


def population() -> TrialScheduler:
    return PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        custom_explore_fn=explore,
        quantile_fraction=0.25,
    )


def test_population_exploits_whom_it_exploits_in_ray_tune(tmp_path: Path) -> None:
    record = search_in_tune(population(), tmp_path, SCALES[:4], 4)
    assert tell(record, ours(population()), yields=True) == set()
    assert any(event[0] == "result" and event[5] is not None for event in record.events)
