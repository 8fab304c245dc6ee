"""Score a saved model on labelled sets: the job behind `distml evaluate`.

Command   distml evaluate runs/<run>/bundle late=data/late new=data/new
"""

from typing import Literal

from distml.errors import UserError
from distml.fit.scoring import Evaluate
from distml.job import Job

__all__ = ["job"]


def job(
    bundle: str,
    data: list[str],
    metrics: list[str] = [],  # noqa: B006
    slices: list[str] = [],  # noqa: B006
    check: Literal["strict", "warn"] = "strict",
    trust: bool = False,
) -> Job:
    """Score a saved model on labelled sets, beside the figures of the run that made it.

    Args:
        bundle: Folder of the saved model.
        data: A labelled set as NAME=URI; give it once for each set.
        metrics: scikit-learn's scorer names; those of the training run by default.
        slices: Columns by whose values to score too.
        check: What to do about a model that is not as it was saved.
        trust: Load what can run code.

    Raises:
        UserError: a set has no name, or the name of another.
    """
    sets: dict[str, str] = {}
    for text in data:
        name, equals, uri = text.partition("=")
        if not equals or name in sets:
            raise UserError(f"--data {text}: give each set a name of its own, as NAME=URI")
        sets[name] = uri
    return Job(
        task=Evaluate(
            bundle=bundle,
            sets=sets,
            metrics=metrics,
            slices=slices,
            check=check,
            trust=trust,
        )
    )
