"""A dataset that is larger than the memory rows may take, as parts that are read while training.

The one decision: the same fields and targets as in memory, made block by block where they are read;
only targets are held whole, as small as they can be. Which rows are set aside to validate is drawn
shard by shard, so that it does not depend on who reads them. What rows of different lengths take is
not guessed from a few of them: they are read once more to measure it.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distml.data import RaggedArray, Selection, StreamOrder, StreamReader, divide
from distml.data.cache import ShardCache
from distml.errors import UserError
from distml.train.batch import Batches, Part, StreamPart
from distml.train.inputs import Inputs
from distml.train.rows import Ragged
from distml.train.training_data import TrainingData

__all__ = ["Encode", "stream_part", "streamed"]

Array = npt.NDArray[Any]
Encode = Callable[[Array], Mapping[str, Array]]
"""Targets as they are stored → `y` and perhaps `weight`, as a network is trained on them."""

_SAMPLE_ROWS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Decode:
    """Rows of a table as the arrays of their fields."""

    inputs: Inputs

    def __call__(self, table: pa.Table) -> dict[str, Array | RaggedArray]:
        arrays = self.inputs.rows(table).arrays
        return {
            name: RaggedArray(values.values, values.offsets)
            if isinstance(values, Ragged)
            else values
            for name, values in arrays.items()
        }


class _Targets:
    """What belongs to the rows of each shard and is not read from it: `y`, `weight`."""

    def __init__(self, arrays: Mapping[str, Array], counts: Sequence[int]) -> None:
        self._kept = {name: _smallest(values) for name, values in arrays.items()}
        self._types = {name: values.dtype for name, values in arrays.items()}
        self._ends = np.cumsum([0, *counts])

    def __call__(self, shards: Sequence[int]) -> dict[str, Array]:
        ranges = [slice(self._ends[shard], self._ends[shard + 1]) for shard in shards]
        return {
            name: np.concatenate([values[:0], *(values[rows] for rows in ranges)]).astype(
                self._types[name], copy=False
            )
            for name, values in self._kept.items()
        }


def streamed(
    rows: Selection,
    inputs: Inputs,
    targets: Mapping[str, Array],
    *,
    memory_bytes: int,
    num_outputs: int,
    standardize: bool,
    validation: float,
    seed: int,
) -> TrainingData:
    """Parts of a dataset that are read while training.

    Args:
        rows: with the columns of the fields.
        inputs: fitted to them.
        targets: `y` and `weight` where there are any, arrays of shape (num_rows, ...).
        memory_bytes: what the buffers of all workers may take together.
        num_outputs: classes or targets.
        standardize: whether the network standardises.
        validation: share of the rows to validate on; 0 for none.
        seed: draws them.

    Raises:
        UserError: the share leaves no row on one side.
        DataError: the memory is too little for a single shard.
    """
    sides = _drawn(rows, validation, seed)
    parts: dict[str, Part] = {}
    for number, part in enumerate(divide(rows, sides, 2 if validation else 1)):
        own = np.concatenate(sides) == number
        chosen = {name: values[own] for name, values in targets.items()}
        name = "validation" if number else "train"
        parts[name] = stream_part(part, inputs, chosen, memory_bytes)
    two = {name: values[:2] for name, values in targets.items()}
    return TrainingData(
        parts=parts,
        shape=inputs.shape(num_outputs),
        scales=inputs.scales_ if standardize else {},
        sample=inputs.rows(rows[:2]).having(**two).take(slice(0, 2)),
        content=[rows.fingerprint, rows.column_names, _digests(targets), memory_bytes],
    )


def stream_part(
    rows: Selection, inputs: Inputs, targets: Mapping[str, Array], memory_bytes: int
) -> StreamPart:
    """Rows that are read while training.

    Args:
        rows: with at least the columns of the fields.
        inputs: fitted to them.
        targets: name → array of shape (num_rows, ...), which goes along with the rows.
        memory_bytes: what the buffers of all workers may take together.

    Raises:
        DataError: the memory is too little for a single shard.
    """
    rows = rows.select([str(name) for name in inputs.feature_names_in_])
    decode = _Decode(inputs=inputs)
    beside = sum(values.nbytes for values in targets.values()) / max(rows.num_rows, 1)
    of_fields = _longest_rows if inputs.shape(0).is_ragged else _usual_rows
    row_bytes = math.ceil(of_fields(rows, decode) + beside)
    reader = partial(_reader, rows, decode, _Targets(targets, rows.counts), row_bytes, memory_bytes)
    reader(Batches(batch_size=1), ShardCache())  # refused at once where the memory is too little
    return StreamPart(reader, rows.num_rows)


def _reader(
    rows: Selection,
    decode: _Decode,
    targets: _Targets,
    row_bytes: int,
    memory_bytes: int,
    wanted: Batches,
    cache: ShardCache,
) -> StreamReader:
    dataset = rows.dataset
    order = StreamOrder.plan(
        rows.counts,
        row_bytes,
        memory_bytes,
        batch_size=wanted.batch_size,
        seed=wanted.seed,
        stored_rows=[shard.num_rows for shard in dataset.shards],
        shuffle=wanted.shuffle,
        drop_last=wanted.drop_last,
    )
    return StreamReader(
        dataset,
        dataset.schema.names,
        order,
        rank=wanted.rank,
        world=wanted.world_size,
        rows=rows.numbers,
        decode=decode,
        beside=targets,
        cache=cache,
        keep=not wanted.is_last,
    )


def _usual_rows(rows: Selection, decode: _Decode) -> float:
    """What a row takes in memory, stored or decoded, by some of them: all take the same."""
    return max(_mean_bytes(decode, rows[:_SAMPLE_ROWS]), rows.row_bytes())


def _longest_rows(rows: Selection, decode: _Decode) -> float:
    """The same where rows differ in length: what no shard exceeds on average.

    Blocks are of whole shards, so they take no more than their number of rows times that.
    """
    most = 0.0
    for index, count in enumerate(rows.counts):
        if count:
            table = rows.read_shard(index)
            most = max(most, table.nbytes / count, _mean_bytes(decode, table))
    return most


def _mean_bytes(decode: _Decode, table: pa.Table) -> float:
    return sum(values.nbytes for values in decode(table).values()) / max(table.num_rows, 1)


def _drawn(rows: Selection, share: float, seed: int) -> list[npt.NDArray[np.int8]]:
    """Of each shard, 1 for the rows to validate on and 0 for those to train on."""
    sides = [
        (np.random.default_rng([seed, i]).random(count) < share).astype(np.int8)
        for i, count in enumerate(rows.counts)
    ]
    if share and not 0 < sum(int(mine.sum()) for mine in sides) < rows.num_rows:
        raise UserError(
            f"validation_fraction={share} of {rows.num_rows} rows leaves none on one side; give "
            "another share, or early_stopping=None"
        )
    return sides


def _digests(targets: Mapping[str, Array]) -> dict[str, str]:
    """What tells targets apart, without holding them."""
    return {
        name: hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).hexdigest()
        for name, values in targets.items()
    }


def _smallest(values: Array) -> Array:
    """Whole numbers that are not below 0 in the smallest type that holds them; others as is."""
    if values.dtype.kind not in "iu" or not len(values) or values.min() < 0:
        return values
    return values.astype(np.min_scalar_type(int(values.max())))
