"""A search without a file of its own: the `job()` of a job file, searched as a command line says.

One decision: what the command line says is appended to the run's copy of the job file as a call of
`searched`. So the run is one of a job file like any other, and is resumed, reproduced and shown
without knowing that there was none.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distml.job import Job
from distml.tune.task import Tune

__all__ = ["searched"]


def searched(
    job: Callable[..., Job],
    *,
    space: Mapping[str, Sequence[Any]],
    metric: str,
    mode: str = "max",
    num_samples: int | None = 10,
    search: str | None = None,
    scheduler: str | None = None,
    max_epochs: int | None = None,
    max_concurrent_trials: int = 1,
) -> Callable[..., Job]:
    """The job function that searches another.

    Args:
        job: Makes the job of a trial.
        space: Parameter → the name of a domain of Ray Tune and its arguments, such as
            `("loguniform", 1e-4, 1e-1)`.
        metric: What trials are compared by.
        mode: `max` or `min`.
        num_samples: Configurations to try.
        search: Who proposes them; `None`: a grid where all domains are grids, else chance.
        scheduler: What ends trainings early.
        max_epochs: Their most epochs, for a scheduler.
        max_concurrent_trials: Trials at one time.

    Returns:
        A function of the parameters that are not searched.
    """

    @functools.wraps(job)
    def made(**arguments: Any) -> Job:
        domains = {name: _domain(*words) for name, words in space.items()}
        grid = all(words[0] == "grid_search" for words in space.values())
        task = Tune(
            job,
            space=domains,
            metric=metric,
            mode=mode,
            search=search or ("grid" if grid else "random"),
            scheduler=scheduler,
            max_epochs=max_epochs,
            num_samples=num_samples,
            max_concurrent_trials=max_concurrent_trials,
            arguments=arguments,
        )
        return Job(task=task)

    signature = inspect.signature(job)
    rest = [parameter for name, parameter in signature.parameters.items() if name not in space]
    made.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
    return made


def _domain(name: str, *arguments: Any) -> Any:
    if name in ("choice", "grid_search"):
        # A list is a choice, and needs no Ray.
        return list(arguments)
    from ray import tune

    return getattr(tune, name)(*arguments)
