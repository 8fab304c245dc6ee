"""A dataset that is larger than the memory rows may take, as parts that are read while training.

The one decision: the same fields and targets as in memory, made block by block where they are read;
only the label is read whole, for its classes or its moments. Which rows are set aside to validate
is drawn shard by shard, so that it does not depend on who reads them. Refused: rows of different
lengths, of which a buffer of fixed size cannot be planned.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distml.data import ShardedDataset, StreamOrder, StreamReader
from distml.errors import UserError
from distml.train.batch import Batches, Part, StreamPart
from distml.train.inputs import Inputs
from distml.train.training_data import TrainingData

__all__ = ["Encode", "is_too_large", "streamed"]

Array = npt.NDArray[Any]
Encode = Callable[[Array], Mapping[str, Array]]
"""Targets as they are stored → `y` and perhaps `weight`, as a network is trained on them."""

_SAMPLE_ROWS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Decode:
    """Rows of a table as arrays: fields and targets."""

    inputs: Inputs
    label: str
    encode: Encode

    def __call__(self, table: pa.Table) -> dict[str, Array]:
        column = table[self.label]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        fields = self.inputs.rows(table.drop_columns([self.label])).arrays
        return {**fields, **self.encode(column.to_numpy())}  # type: ignore[dict-item]


def is_too_large(dataset: ShardedDataset, memory_bytes: int | None) -> bool:
    """Whether the rows of a dataset take more than they may.

    Raises:
        DataError: the first shard cannot be read.
    """
    if memory_bytes is None or not dataset.num_rows:
        return False
    return _row_bytes(dataset) * dataset.num_rows > memory_bytes


def streamed(
    dataset: ShardedDataset,
    label: str,
    inputs: Inputs,
    encode: Encode,
    *,
    memory_bytes: int,
    num_outputs: int,
    standardize: bool,
    validation: float,
    seed: int,
) -> TrainingData:
    """Parts of a dataset that are read while training.

    Args:
        dataset: fields and label.
        label: its column.
        inputs: fitted to the fields.
        encode: makes targets of the label.
        memory_bytes: what the buffers of all workers may take together.
        num_outputs: classes or targets.
        standardize: whether the network standardises.
        validation: share of the rows to validate on; 0 for none.
        seed: draws them.

    Raises:
        UserError: rows differ in length.
        DataError: the memory is too little for a single shard.
    """
    shape = inputs.shape(num_outputs)
    if shape.is_ragged:
        raise UserError(
            "memory_bytes: rows of different lengths are not streamed; leave it out, or drop the "
            "columns of lists and text"
        )
    decode = _Decode(inputs=inputs, label=label, encode=encode)
    sample = decode(dataset.read_shard(0)[:_SAMPLE_ROWS])
    decoded = sum(values.nbytes for values in sample.values()) / len(next(iter(sample.values())))
    row_bytes = math.ceil(max(decoded, _row_bytes(dataset)))
    rows = _divide(dataset, validation, seed) if validation else {"train": None}
    parts: dict[str, Part] = {}
    for name, chosen in rows.items():
        counts = [
            shard.num_rows if chosen is None else len(chosen[i])
            for i, shard in enumerate(dataset.shards)
        ]
        reader = partial(_reader, dataset, decode, chosen, counts, row_bytes, memory_bytes)
        parts[name] = StreamPart(reader, sum(counts))
    first = {name: values[:2] for name, values in sample.items()}
    return TrainingData(
        parts=parts,
        shape=shape,
        scales=inputs.scales_ if standardize else {},
        sample=_as_batch(first),
        content=[dataset.fingerprint, dataset.schema.names, label, memory_bytes],
    )


def _reader(
    dataset: ShardedDataset,
    decode: _Decode,
    rows: Mapping[int, Array] | None,
    counts: list[int],
    row_bytes: int,
    memory_bytes: int,
    wanted: Batches,
) -> StreamReader:
    order = StreamOrder.plan(
        counts,
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
        rows=rows,
        decode=decode,
    )


def _divide(
    dataset: ShardedDataset, share: float, seed: int
) -> dict[str, Mapping[int, Array] | None]:
    """Rows of each shard to train and to validate on."""
    train, validation = {}, {}
    for i, shard in enumerate(dataset.shards):
        aside = np.random.default_rng([seed, i]).random(shard.num_rows) < share
        train[i], validation[i] = np.flatnonzero(~aside), np.flatnonzero(aside)
    if not sum(map(len, validation.values())) or not sum(map(len, train.values())):
        raise UserError(
            f"validation_fraction={share} of {dataset.num_rows} rows leaves none on one side; give "
            "another share, or early_stopping=None"
        )
    return {"train": train, "validation": validation}


def _row_bytes(dataset: ShardedDataset) -> float:
    """What a row takes as Arrow, by the first shard."""
    table = dataset.read_shard(0)
    return table.nbytes / max(table.num_rows, 1)


def _as_batch(arrays: Mapping[str, Array]) -> dict[str, Any]:
    from distml.train.rows import Rows

    return Rows(arrays).take(slice(0, 2))
