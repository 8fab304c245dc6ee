"""Predict one shard: block by block into a file of this machine, then in one step to its place.

The one decision: a shard's file depends on the model, the rows and the columns kept alone, to the
byte. Blocks have a fixed number of rows, and everything runs on one thread: scikit-learn's forests
add up their trees in the order in which threads end. Shards run beside each other instead. Memory
holds a block of rows with its matrix, and the predictions of one row group.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt
from threadpoolctl import threadpool_limits

from distml.data import ShardedDataset
from distml.errors import StorageError
from distml.predict.folder import KEY, Folder
from distml.runs.bundle import Model, load_once

__all__ = ["BLOCK_ROWS", "Work", "predict_shard"]

BLOCK_ROWS = 1 << 14
"""Rows that are encoded and predicted at once."""

_GROUP_BLOCKS = 16
"""Blocks in a row group of the output: 262,144 rows, as `write_shards` has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a worker must know to predict any shard."""

    bundle: str
    """URI of the model."""
    check: Literal["strict", "warn"]
    """How to check it; see `load`."""
    trust: bool
    """Whether it may run code."""
    data: ShardedDataset
    """The rows, with the columns to read only."""
    folder: Folder
    """Where predictions go."""


def predict_shard(work: Work, index: int, cpus: int | None = None) -> float:
    """Predict a shard and put its file.

    Args:
        work: model, rows, folder.
        index: place of the shard in the data.
        cpus: what it may use; it uses one.

    Returns:
        Seconds of wall time.

    Raises:
        DataError: the shard cannot be read, or is not what the model reads.
        StorageError: the folder cannot be written, or the disk for temporary files is full.
    """
    started = time.perf_counter()
    model = load_once(work.bundle, work.folder.bundle, work.check, trust=work.trust)
    with threadpool_limits(1), tempfile.TemporaryDirectory(prefix="distml-predict-") as here:
        path = Path(here, work.folder.name(index))
        try:
            _write(path, _blocks(model, work, index), _schema(model, work, index))
        except OSError as error:
            raise StorageError(f"{path}: cannot be written ({error}); make room there") from error
        work.folder.put(index, path)
    return time.perf_counter() - started


def _schema(model: Model, work: Work, index: int) -> pa.Schema:
    kept = [work.data.schema.field(name) for name in work.folder.keep]
    metadata = {KEY: work.folder.key(index).encode()}
    return pa.schema([*kept, *model.output_schema], metadata=metadata)


def _blocks(model: Model, work: Work, index: int) -> Iterator[pa.Table]:
    for rows in work.data.iter_blocks(index, num_rows=BLOCK_ROWS):
        outputs = model.outputs(rows)
        columns: Mapping[str, Any] = {name: rows[name] for name in work.folder.keep}
        yield pa.table({**columns, **dict(zip(outputs.column_names, outputs.columns, strict=True))})


def _write(path: Path, blocks: Iterator[pa.Table], schema: pa.Schema) -> None:
    with pq.ParquetWriter(
        path,
        schema,
        compression="lz4",
        use_dictionary=[field.name for field in schema if not pt.is_floating(field.type)],
        write_page_checksum=True,
    ) as writer:
        waiting: list[pa.Table] = []
        for block in blocks:
            waiting.append(block.cast(schema))
            if len(waiting) == _GROUP_BLOCKS:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
