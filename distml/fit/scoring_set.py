"""A labelled set that a saved model has never seen: what it says of the rows, and what they are.

Rows are read, predicted and let go in blocks; labels, predictions and an even sample of the rows
(to see how they have moved) are kept. A shard's answers are a unit of the run, so an evaluation
that is stopped goes on where it was. Refused, by name and value: a set without labels, rows whose
label is missing, and labels the model does not know.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from distml import spread
from distml.data import ShardedDataset
from distml.errors import DataError
from distml.fit.predictions import BLOCK_ROWS, fewer_threads
from distml.runs.bundle import load_once
from distml.runs.events import emit
from distml.runs.model import Model, table_from
from distml.runs.strict_json import to_json
from distml.runs.units import active_units, unit_key

__all__ = ["Answers", "LabelledSet"]

_SAMPLED_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What is kept of some rows."""

    y: np.ndarray
    """Array of shape (n_rows,): positions in the model's classes, or float64 numbers."""
    labels: np.ndarray
    """The same of what the model predicts."""
    probabilities: np.ndarray | None
    """Array of shape (n_rows, n_classes); `None` if it gives none."""
    slices: pa.Table
    """Columns to slice by, n_rows rows."""
    inputs: pa.Table
    """An even sample of the rows, with the columns the model reads."""
    outputs: pa.Table
    """What the model says of the sample."""
    seconds: float
    """Wall time of predicting."""

    @classmethod
    def merged(cls, parts: Sequence["Answers"]) -> "Answers":
        """The answers of several parts as one, in their order; there is at least one."""
        has_probabilities = parts[0].probabilities is not None
        return cls(
            y=np.concatenate([part.y for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            probabilities=np.concatenate([part.probabilities for part in parts])
            if has_probabilities
            else None,
            slices=pa.concat_tables([part.slices for part in parts]),
            inputs=pa.concat_tables([part.inputs for part in parts]),
            outputs=pa.concat_tables([part.outputs for part in parts]),
            seconds=sum(part.seconds for part in parts),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledSet:
    """Rows with labels, for one model.

    Raises:
        DataError: it has no rows, or misses the label or another column.
    """

    name: str
    """What to call it."""
    data: ShardedDataset
    """The rows."""
    bundle: str
    """Where the model is that predicts them."""
    identity: str
    """What tells the model from others: the hash of its manifest."""
    check: Literal["strict", "warn"] = "strict"
    """How to check it; see `load`."""
    trust: bool = False
    """Whether it may run code."""
    slices: Sequence[str] = ()
    """Columns to keep for slices."""

    def __post_init__(self) -> None:
        if self.model.label not in self.data.schema.names:
            raise DataError(
                f"set {self.name!r} has no labels: there is no column {self.model.label!r} in "
                f"{self.data.uri}; add it, or use distml predict"
            )
        self.data.select(self._columns)
        if not self.data.num_rows:
            raise DataError(f"set {self.name!r} has no rows: {self.data.uri}; give some")

    @property
    def model(self) -> Model:
        """Who predicts them."""
        return load_once(self.bundle, self.identity, self.check, trust=self.trust)

    @property
    def _columns(self) -> list[str]:
        return list(dict.fromkeys([*self.model.schema.names, self.model.label, *self.slices]))

    def answers(self) -> Answers:
        """Predict the rows, shard by shard; shards that the run's store has are not predicted.

        Raises:
            DataError: a label is missing or unknown, or a column is of another kind.
            StorageError: the run's storage is full or refuses.
        """
        shards = [i for i, shard in enumerate(self.data.shards) if shard.num_rows]
        stored = dict(self._stored(shards))
        emit("plan", units=len(shards), cached=len(stored))
        missing = [index for index in shards if index not in stored]
        with fewer_threads(self.data.num_rows):
            found = {**stored, **dict(self._predicted(missing))}
        return Answers.merged([found[index] for index in shards])

    def _stored(self, shards: Sequence[int]) -> Iterator[tuple[int, Answers]]:
        """The shards that the run's store has the answers for."""
        units = active_units()
        if units is None:
            return
        for index in shards:
            with contextlib.suppress(KeyError):
                yield index, units.get(self._key(index))

    def _predicted(self, shards: Sequence[int]) -> Iterator[tuple[int, Answers]]:
        """Predict shards, and store what is kept of each."""
        units = active_units()
        work = spread.Work(
            do=_predict, shared=self, name=lambda index: f"{self._unit(index)}: predicting"
        )

        def started(index: int) -> None:
            emit("unit_started", unit=self._unit(index), member=self.name, cpus=1)

        for index, (answers, told) in spread.spread(work, shards, started, seconds=None):
            unit = {"unit": self._unit(index), "seconds": told["seconds"]}
            if units is not None:
                units.put(self._key(index), answers, unit)
            emit("unit_done", **{**told, **unit}, member=self.name, peak_bytes=0, cached=False)
            yield index, answers

    def _unit(self, index: int) -> str:
        return f"{self.name}, shard {index + 1} of {len(self.data.shards)}"

    def _key(self, index: int) -> str:
        shard = self.data.shards[index]
        return unit_key(
            task="evaluate",
            format=1,
            model=self.identity,
            shard=shard.fingerprint,
            # Columns of Hive partitions are in the path, not in the shard.
            place=shard.path if len(self.data.partitions) else "",
            schema=str(self.data.select(self._columns).schema),
            slices=list(self.slices),
            step=self._step,
        )

    @property
    def _step(self) -> int:
        """Every how many rows one is sampled."""
        return -(-self.data.num_rows // _SAMPLED_ROWS)

    def blocks(self, index: int) -> Iterator[Answers]:
        """Predict a shard, block by block."""
        first = 0
        for block in self.data.iter_blocks(index, self._columns, num_rows=BLOCK_ROWS):
            yield self._of_block(block, first)
            first += block.num_rows

    def _of_block(self, block: pa.Table, first: int) -> Answers:
        """Args: rows, and the position of the first of them in the shard."""
        inputs = table_from(block, self.model.schema)
        started = time.perf_counter()
        outputs = self.model.outputs(inputs)
        seconds = time.perf_counter() - started
        said = outputs.columns[1:]
        sample = pa.array(np.arange(-first % self._step, block.num_rows, self._step))
        return Answers(
            y=self._numbers(block[self.model.label]),
            labels=self._numbers(outputs["prediction"]),
            probabilities=np.column_stack([p.to_numpy() for p in said]) if said else None,
            slices=block.select(list(self.slices)),
            inputs=inputs.take(sample),
            outputs=outputs.take(sample),
            seconds=seconds,
        )

    def _numbers(self, column: pa.ChunkedArray) -> np.ndarray:
        """Labels as positions in the model's classes, or as float64."""
        if column.null_count:
            raise DataError(
                f"set {self.name!r}: label {self.model.label!r} is null in {column.null_count} of "
                f"{len(column)} rows; leave those rows out"
            )
        return self._values(column) if self.model.classes is None else self._codes(column)

    def _values(self, column: pa.ChunkedArray) -> np.ndarray:
        label = f"set {self.name!r}: label {self.model.label!r}"
        try:
            values = column.cast(pa.float64()).to_numpy()
        except pa.ArrowException as error:
            raise DataError(
                f"{label} is {column.type}; the model predicts numbers, so give numbers"
            ) from error
        if not np.isfinite(values).all():
            raise DataError(f"{label} is not finite in some rows; leave those rows out")
        return np.asarray(values)

    def _codes(self, column: pa.ChunkedArray) -> np.ndarray:
        known: dict[Any, int] = {name: code for code, name in enumerate(self.model.classes or ())}
        if pt.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        encoded = column.combine_chunks().dictionary_encode()
        values = [to_json(value) for value in encoded.dictionary.to_pylist()]
        for value in values:
            if value not in known:
                names = ", ".join(map(repr, list(known)[:10])) + (", …" if len(known) > 10 else "")
                raise DataError(
                    f"set {self.name!r}: label {self.model.label!r} has the value {value!r}, the "
                    f"model knows {names}; leave those rows out, or train on such rows"
                )
        codes = np.array([known[value] for value in values], dtype=np.int64)
        return codes[np.asarray(encoded.indices)]


def _predict(
    labelled: LabelledSet, index: int, cpus: int | None = None
) -> tuple[Answers, dict[str, Any]]:
    """What is kept of a shard, and what to say of its prediction; on as many CPUs as there are."""
    started = time.perf_counter()
    answers = Answers.merged(list(labelled.blocks(index)))
    worker = f"{socket.gethostname()}:{os.getpid()}"
    return answers, {"worker": worker, "seconds": time.perf_counter() - started}
