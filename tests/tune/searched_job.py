"""A search over a job whose trials take a while and report epochs, for tests that kill it."""

import time
from dataclasses import dataclass
from pathlib import Path

from distml.job import Job, Result, RunContext
from distml.tune import Tune


@dataclass(frozen=True)
class Slow:
    x: float
    pause: float
    note: str

    def run(self, context: RunContext) -> Result:
        score = 1.0 - (self.x - 3) ** 2
        for epoch in range(9):
            time.sleep(self.pause)
            context.emit("epoch", metrics={"epoch": float(epoch), "val_score": score + epoch})
        with Path(self.note).open("a") as file:
            file.write(f"{self.x}\n")
        return Result(metrics={"best": {"val_score": score + 8}})


def trial(x: float, pause: float, note: str) -> Job:
    return Job(task=Slow(x, pause, note))


def job(note: str, pause: float = 0.0, at_once: int = 1) -> Job:
    from ray import tune

    return Job(
        task=Tune(
            trial,
            space={"x": tune.uniform(0, 6)},
            metric="val_score",
            search="optuna",
            scheduler="asha",
            max_epochs=9,
            num_samples=30,
            max_concurrent_trials=at_once,
            arguments={"pause": pause, "note": note},
        ),
        seed=1,
        report=False,
    )
