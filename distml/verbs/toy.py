"""A job at toy size: which of its own parameters make it small, and how small.

One decision: a job has no size but by its parameters, so those with a name that says size get a
small value, unless the user gave one; a job without any is run as it is.
"""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType
from typing import Any

from distml.errors import UserError
from distml.jobfile import JobFile

__all__ = ["TOY_SIZES", "toy_arguments"]

TOY_SIZES: Mapping[str, int] = MappingProxyType(
    {
        "rows": 2000,
        "num_rows": 2000,
        "n_rows": 2000,
        "max_rows": 2000,
        "epochs": 2,
        "num_epochs": 2,
        "trials": 3,
        "num_trials": 3,
        "rounds": 20,
        "num_rounds": 20,
    }
)
"""Name of a parameter → its value at toy size; one whose default is less keeps it, and so does one
that says how many rows where there are fewer."""


def toy_arguments(job: JobFile, given: Sequence[str]) -> tuple[str, ...]:
    """What to add to a job's command line to make it small.

    Args:
        job: The job.
        given: What the user has given; it is left as it is.

    Raises:
        UserError: the user gave an unknown or ill-typed parameter.
    """
    values = job.bind(given)
    flags = {text.partition("=")[0].replace("_", "-") for text in given}
    small = dict(_small(job, flags))
    rows = next((name for name in small if name.endswith("rows")), None)
    if rows is not None and (_num_rows(job, values) or math.inf) <= small[rows]:
        del small[rows]
    return tuple(f"--{name.replace('_', '-')}={size}" for name, size in small.items())


def _small(job: JobFile, given: Set[str]) -> Iterator[tuple[str, int]]:
    for parameter in job.parameters:
        size, default = TOY_SIZES.get(parameter.name), parameter.default
        if size is None or parameter.flag in given or "an integer" not in parameter.expected:
            continue
        # In many jobs 0, or nothing, means all there is.
        if not isinstance(default, int) or not 0 < default <= size:
            yield parameter.name, size


def _num_rows(job: JobFile, values: Mapping[str, Any]) -> int | None:
    """Rows of the job's data; `None` if it cannot be told here, for instance for want of them."""
    # Only here: the list of commands imports this module, and shall not wait for Arrow.
    from distml.data import ShardedDataset

    try:
        data = getattr(job.build(values).task, "data", None)
        if isinstance(data, str | Path):
            data = ShardedDataset.open(data)
    except UserError:
        return None
    found = getattr(data, "num_rows", None)
    return found if isinstance(found, int) else None
