"""Streaming 5 million x 20 float32 with a tenth of the data in memory, beside a bare pyarrow scan.

The data is Parquet in the page cache, by default as plain as it can be, so that a scan is little
more than copying it: what else is done weighs most there. `--compression lz4` is what
`write_shards` writes, `zstd` and `snappy` what others do; `--values prices` has two decimals, which
compress, where `random` ones do not. Contenders, of which the step of all costs nothing:

    scan     pyarrow's own scan of the file; each batch is dropped as it is
    matrix   the same, each batch made a float32 matrix: the least that a training loop needs
    once     `StreamReader`: shuffled global batches of 1024 rows, ready to be learnt from, as an
             epoch reads them that is the only one
    stream   the same in an epoch after the first: decoded shards are on the disk (here they are
             in the page cache, as the file is that the others read)
    network  what a network with `memory_bytes` is given in such an epoch: the same, by way of
             `Inputs`, as tensors, with a label, infinite numbers looked for

Seconds are the best of several epochs in one process, without the first, whose seconds are beside
them. Memory comes from an epoch of its own; no contender holds what is in the page cache.
"""

import tempfile
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from measure import Figures, MemoryWatch, compare, median, seconds, table, tree_bytes, write

from distml.data import Selection, ShardedDataset, StreamOrder, StreamReader, as_matrix
from distml.data.cache import ShardCache
from distml.train.batch import Batches
from distml.train.inputs import Inputs
from distml.train.streaming import stream_part

COLUMNS = 20
ROW_BYTES = 4 * COLUMNS
EPOCHS = 5
BATCH = 1024
ALLOWANCE = 0.1
"""Of the data's bytes."""
GROUPS = 128
"""Row groups of the file."""
LIBRARIES_BYTES = tree_bytes()
"""Of the process before it has read anything."""


def data(rows: int, compression: str, values: str) -> Path:
    """The file, written if it is not there yet."""
    name = f"distml_stream_{rows}_{COLUMNS}_{compression}_{values}.parquet"
    path = Path(tempfile.gettempdir()) / name
    if not path.exists():
        rng = np.random.default_rng(0)
        columns = [rng.random(rows, dtype=np.float32) for _ in range(COLUMNS)]
        if values == "prices":
            columns = [np.round(column * 100, 2) for column in columns]
        content = pa.table(columns, names=[f"x{j}" for j in range(COLUMNS)])
        group = -(-rows // GROUPS)
        options = {"compression": compression, "use_dictionary": False, "row_group_size": group}
        pq.write_table(content, path.with_suffix(".part"), **options)
        path.with_suffix(".part").rename(path)
    return path


def epoch(contender: str, path: Path) -> Callable[[int], int]:
    """What reads everything once; it is given the number of the epoch and gives that of the rows.

    What a training does once, before its first epoch, is done here.
    """
    if contender in ("scan", "matrix"):
        return partial(scan, path, as_matrix if contender == "matrix" else None)
    dataset = ShardedDataset.open(path)
    memory = int(dataset.num_rows * ROW_BYTES * ALLOWANCE)
    if contender == "network":
        rows, y = Selection(dataset), np.arange(dataset.num_rows) % 2
        inputs = Inputs().fit(dataset.read_shard(0))
        part = stream_part(rows, inputs, {"y": y}, memory)
        return lambda number: sum(
            batch.num_rows for batch in part.batches(Batches(batch_size=BATCH, epoch=number))
        )
    shards = [shard.num_rows for shard in dataset.shards]
    order = StreamOrder.plan(shards, ROW_BYTES, memory, batch_size=BATCH, seed=0)
    cache = ShardCache() if contender == "stream" else None
    reader = StreamReader(dataset, dataset.schema.names, order, cache=cache)
    return lambda number: sum(len(batch["x"]) for batch in reader.batches(number))


def scan(path: Path, use: Callable[[pa.Table], np.ndarray] | None, number: int) -> int:
    """Read by pyarrow alone."""
    batches = ds.dataset(path).to_batches()
    if use is None:
        return sum(batch.num_rows for batch in batches)
    return sum(len(use(pa.Table.from_batches([batch]))) for batch in batches)


def measure(contender: str, arguments: Namespace) -> Figures:
    """Read some epochs, the first unmeasured, then one watching memory."""
    read = epoch(contender, data(arguments.rows, arguments.compression, arguments.values))
    runs = []
    for number in range(EPOCHS + 1):
        run: dict[str, float] = {}
        with seconds(run):
            assert read(number) == arguments.rows
        runs.append(run["seconds"])
    with MemoryWatch(every_s=0.02) as memory:
        read(0)
    return {
        "seconds": min(runs[1:]),
        "first_seconds": runs[0],
        "peak_mb": memory.peak_bytes / 1e6,
        "libraries_mb": LIBRARIES_BYTES / 1e6,
    }


def main() -> None:
    """Print the ratios and write them."""
    names = ("scan", "matrix", "once", "stream", "network")
    options = {"rows": 5_000_000, "compression": "none", "values": "random"}
    results, arguments = compare(names, measure, options=options)
    took = {name: median(results, name, "seconds") for name in names}
    ratios = {
        "once_speed_of_scan": took["scan"] / took["once"],
        "once_speed_of_matrix": took["matrix"] / took["once"],
        "speed_of_scan": took["scan"] / took["stream"],
        "speed_of_matrix": took["matrix"] / took["stream"],
        "network_speed_of_scan": took["scan"] / took["network"],
        "network_speed_of_matrix": took["matrix"] / took["network"],
        "rows_per_second": arguments.rows / took["stream"],
    }
    megabytes = arguments.rows * ROW_BYTES / 1e6
    how = f"{arguments.compression}, {arguments.values}"
    print(f"{arguments.rows} x {COLUMNS} float32, {megabytes:.0f} MB, {how}")
    rows = [
        (
            name,
            took[name],
            took["scan"] / took[name],
            median(results, name, "first_seconds"),
            median(results, name, "peak_mb") - median(results, name, "libraries_mb"),
        )
        for name in names
    ]
    print(table(("", "seconds", "speed of scan", "first epoch", "peak MB over libraries"), rows))
    print(f"stream, of the speed of a scan into matrices: {ratios['speed_of_matrix']:.2f}")
    write(f"stream_{arguments.compression}_{arguments.values}", ratios, results, **vars(arguments))


if __name__ == "__main__":
    main()
