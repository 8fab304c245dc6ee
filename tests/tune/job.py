"""A job without rows, whose score is best at x = 3."""

from dataclasses import dataclass

from distml.job import Job, Result, RunContext


@dataclass(frozen=True)
class Curve:
    x: float
    kind: str
    epochs: int

    def run(self, context: RunContext) -> Result:
        score = 1.0 - (self.x - 3) ** 2
        for epoch in range(self.epochs):
            context.emit("epoch", metrics={"epoch": float(epoch), "val_score": score + epoch})
        return Result(metrics={"test": {"score": score}})


def job(x: float, kind: str = "a", rows: int = 5, epochs: int = 0) -> Job:
    """Args:
    x: Where to look.
    kind: Of nothing.
    epochs: It reports so many.
    """
    return Job(task=Curve(x, kind, epochs), seed=7)
