"""How to choose the test rows of a first job: the latest, whole groups, or a plain hold-out.

One decision: a plan is tried on the data before it is proposed. A split by time or group may leave
a class without training rows, and then the next simpler plan is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distml.data.dataset import ShardedDataset
from distml.data.inspect_label import LEAST_ROWS, Label, usable
from distml.data.split import ByGroup, ByTime, Split, SplitRule
from distml.data.values import decoded

__all__ = ["FRACTION", "SplitPlan", "plan_split"]

FRACTION = 0.2
"""Share of the rows in each test set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitPlan:
    """By which columns the test sets are chosen."""

    time: str | None = None
    """The latest rows by this column make a test set."""
    group: str | None = None
    """Whole groups of this column make the hold-out."""


def plan_split(
    dataset: ShardedDataset, label: Label, times: Sequence[str], groups: Sequence[str]
) -> SplitPlan:
    """The first plan that leaves every class enough rows on both sides.

    Args:
        dataset: The data; label, time and group are read whole.
        label: The label.
        times: Columns of times, the best first.
        groups: Columns of groups, the best first.

    Raises:
        DataError: a shard cannot be read.
    """
    for group in (*groups, None):
        for time in (*times[:1], None):
            if _works(dataset, label, time, group):
                return SplitPlan(time=time, group=group)
    return SplitPlan()


def _works(dataset: ShardedDataset, label: Label, time: str | None, group: str | None) -> bool:
    rules: dict[str, SplitRule] = {}
    if time is not None:
        rules["latest"] = ByTime(time, fraction=FRACTION)
    if group is not None:
        rules["hold_out"] = ByGroup(group, FRACTION)
    if not rules:
        return True
    names = [label.name, *(name for name in (time, group) if name is not None)]
    table = dataset.to_table(list(dict.fromkeys(names)))
    table = table.filter(usable(decoded(table[label.name])))
    return _leaves_enough(Split(rules).assign(table), table[label.name], label)


def _leaves_enough(sides: "np.ndarray", column: pa.ChunkedArray, label: Label) -> bool:
    """Whether every part has rows, and every class is met in training half as often as it must."""
    if len(np.unique(sides)) < sides.max() + 1 or np.bincount(sides)[0] < len(sides) / 4:
        return False
    train = decoded(column).filter(pa.array(sides == 0))
    counts = {pair["values"].as_py(): pair["counts"].as_py() for pair in pc.value_counts(train)}
    return all(counts.get(name, 0) >= LEAST_ROWS // 2 for name in label.classes)
