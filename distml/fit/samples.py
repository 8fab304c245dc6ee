"""Which samples of its rows a plan measures a fit on, and how.

One decision: sizes double from a small part of the rows on, while there is time; networks whose
epochs would take longer than that are trained for a few of them, and searches try as many
configurations as there is time for.
"""

import time
from collections.abc import Callable
from typing import Any

from distml.errors import DistmlError
from distml.fit.sampling import Sample, measure
from distml.job import RunContext

__all__ = ["measure_samples", "sizes"]

_FRACTIONS = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
_LEAST_ROWS = 500
_NUM_SIZES = 3
_FEW_TRIALS = 4
"""That a search tries at least, so that a scheduler has some to compare."""


def measure_samples(task: Any, rows: int, context: RunContext, budget_s: float) -> list[Sample]:
    """Measure sizes while the budget lasts; what is too small a sample for the task is left out.

    Args:
        task: The `Fit`.
        rows: Rows of the run.
        context: Of the run that is planned.
        budget_s: Seconds it may take; the first three sizes may exceed it.

    Returns:
        At least one sample, the smallest first.

    Raises:
        DistmlError: what the task raises where every sample is too small.
    """
    samples: list[Sample] = []
    refused: DistmlError | None = None
    started, how, took = time.perf_counter(), None, 0.0
    for size in sizes(rows):
        spent = time.perf_counter() - started
        if len(samples) >= _NUM_SIZES and spent + 2.5 * took > budget_s:
            break
        try:
            if how is None:
                how = _how_to_measure(task, size, context, rows, budget_s)
            best = how(size)
            if best.spent_s < budget_s / 20:
                # Other work on the machine only ever adds.
                best = min(best, how(size), key=lambda sample: sample.seconds)
        except DistmlError as error:
            refused = error
        else:
            took = best.spent_s
            samples.append(best)
    if not samples and refused is not None:
        raise refused
    return samples


def sizes(rows: int) -> list[int]:
    """Sizes to measure, the smallest first: fractions of the rows, but none of very few.

    Args:
        rows: Rows of the run.
    """
    enough = [round(part * rows) for part in _FRACTIONS if round(part * rows) >= _LEAST_ROWS]
    return enough if len(enough) >= _NUM_SIZES else [round(rows / 4), round(rows / 2), rows]


def _how_to_measure(
    task: Any, size: int, context: RunContext, rows: int, budget_s: float
) -> Callable[[int], Sample]:
    """Try the smallest size, which also loads what is loaded once, and see what it is like.

    Who has members has their fits on one thread each. Networks whose epochs would take more than
    there is time for are trained for a few of them; the same goes for trials of a search.
    """
    first = measure(task, size, context, one_thread=False, few_epochs=True, num_trials=_FEW_TRIALS)
    times = sum(each / size for each in sizes(rows)[:_NUM_SIZES])
    seconds = first.seconds * times
    return lambda size: measure(
        task,
        size,
        context,
        one_thread=bool(first.fits),
        few_epochs=first.spared_s > 0 and seconds > budget_s,
        num_trials=_num_trials(first, budget_s / times),
    )


def _num_trials(first: Sample, budget_s: float) -> int | None:
    """Trials that a search has time for in a sample as small as the first; `None`: no search."""
    if first.trials is None:
        return None
    each_s = first.seconds / first.trials.measured
    possible = int(budget_s / max(each_s, 1e-9)) // first.trials.searches
    return max(_FEW_TRIALS, possible)
