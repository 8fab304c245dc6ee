"""Which rows of each shard belong to a part of a split, found shard by shard.

One decision: a shard is read by itself and forgotten; what is kept is the set of each row, one
byte. A rule that looks at all rows keeps what it needs of them: `Stratified` 16 bytes a row,
`ByTime(fraction=...)` the times, a rule of your own its columns. The result is that of `Split.rows`
on the whole table.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from distml.data.dataset import ShardedDataset
from distml.data.selection import Selection
from distml.data.split import Split, SplitRule, Stratified
from distml.data.tables import unknown_column
from distml.errors import DataError, UserError

__all__ = ["divide", "rows_of_part", "sides_of"]

Mask = npt.NDArray[np.bool_]
Sides = list[npt.NDArray[np.int8]]


def rows_of_part(
    dataset: ShardedDataset, split: Split, part: str
) -> dict[int, npt.NDArray[np.int64]]:
    """The sorted row numbers of a part in each shard.

    Args:
        dataset: what is split.
        split: the rules; a rule without a key looks at all columns of the dataset.
        part: `train` or the name of a test set.

    Returns:
        Number of the shard → numbers of rows in it, int64; a shard without rows of the part too.

    Raises:
        UserError: the split has no such part.
        DataError: a rule's column does not exist, or a shard cannot be read.
    """
    if part not in split.names:
        raise UserError(f"split: no part {part!r}; there are: {', '.join(split.names)}")
    number = split.names.index(part)
    sides = sides_of(Selection(dataset), split)
    return {i: np.flatnonzero(mine == number) for i, mine in enumerate(sides)}


def divide(rows: Selection, sides: Sides, num_parts: int) -> list[Selection]:
    """The rows of each part.

    Args:
        rows: what is divided.
        sides: of each shard the number of the part of each of its rows, as `sides_of` gives them.
        num_parts: how many parts there are.
    """
    return [
        Selection(
            rows.dataset,
            [
                np.flatnonzero(mine == part) if own is None else own[mine == part]
                for own, mine in zip(rows.rows, sides, strict=True)
            ],
        )
        for part in range(num_parts)
    ]


def sides_of(rows: Selection, split: Split) -> Sides:
    """The set of each row, by shard; see `Split.assign`.

    Args:
        rows: what is split; the others are as if they were not there.
        split: the rules; a rule without a key looks at all columns of the dataset.

    Returns:
        Of each shard an array of shape (num_rows_selected,), int8: 0 for `train`, i for the i-th
        name.

    Raises:
        DataError: a rule's column does not exist, or a shard cannot be read.
    """
    for column in split.columns or ():
        if column not in rows.column_names:
            raise DataError(unknown_column(column, rows.column_names, where="Split"))
    sides: Sides = [np.zeros(count, dtype=np.int8) for count in rows.counts]
    for numbers, rules in _passes(split) if sides else ():
        seeds = [f"{split.seed}/{split.names[number]}" for number in numbers]
        if _rowwise(rules[0]):
            for i, table in enumerate(rows.iter_tables(_columns(rules))):
                for number, rule, seed in zip(numbers, rules, seeds, strict=True):
                    sides[i][rule.take(table, sides[i] == 0, seed)] = number
        else:
            taken = _take_overall(rows, rules[0], np.concatenate(sides) == 0, seeds[0])
            for mine, mask in zip(sides, _cut(taken, sides), strict=True):
                mine[mask] = numbers[0]
    return sides


def _passes(split: Split) -> Iterator[tuple[list[int], list[SplitRule]]]:
    """Rules, with the numbers of their sets, that go over the shards together."""
    numbers: list[int] = []
    rules: list[SplitRule] = []
    for number, rule in enumerate(split.sets.values(), start=1):
        if rules and not (_rowwise(rule) and _rowwise(rules[0])):
            yield numbers, rules
            numbers, rules = [], []
        numbers.append(number)
        rules.append(rule)
    yield numbers, rules


def _rowwise(rule: SplitRule) -> bool:
    """Whether it says that it looks at each row alone."""
    return bool(getattr(rule, "rowwise", False))


def _columns(rules: Sequence[SplitRule]) -> list[str] | None:
    names = [rule.columns for rule in rules]
    if any(columns is None for columns in names):
        return None
    return list(dict.fromkeys(name for columns in names for name in columns or ()))


def _take_overall(rows: Selection, rule: SplitRule, left: Mask, seed: str) -> Mask:
    """What a rule takes that looks at all rows; shape (n_rows,)."""
    if isinstance(rule, Stratified):
        tables = rows.iter_tables(_columns([rule]))
        return rule.choose(np.concatenate([rule.reduce(t, seed) for t in tables]), left)
    return rule.take(rows.to_table(_columns([rule])), left, seed)


def _cut(taken: Mask, sides: Sides) -> list[Mask]:
    return np.split(taken, np.cumsum([len(mine) for mine in sides])[:-1])
