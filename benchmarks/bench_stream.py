"""Streaming 5 million x 20 float32 with a tenth of the data in memory, beside a bare pyarrow scan.

The data is plain Parquet (or `--compression snappy`), in the page cache. Contenders:

    scan    pyarrow's own scan of the file; each batch is dropped as it is
    matrix  the same, each batch made a float32 matrix: the least that a training loop needs
    stream  `StreamReader`: shuffled global batches of 1024 rows, ready to be learnt from

Seconds are the best of several epochs in one process. Memory comes from an epoch of its own.
"""

import tempfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from measure import Figures, MemoryWatch, compare, median, seconds, table, write

from distml.data import ShardedDataset, StreamOrder, StreamReader, as_matrix

COLUMNS = 20
ROW_BYTES = 4 * COLUMNS
EPOCHS = 5
BATCH = 1024
ALLOWANCE = 0.1
"""Of the data's bytes."""
GROUPS = 128
"""Row groups of the file."""


def data(rows: int, compression: str) -> Path:
    """The file, written if it is not there yet."""
    path = Path(tempfile.gettempdir()) / f"distml_stream_{rows}_{COLUMNS}_{compression}.parquet"
    if not path.exists():
        rng = np.random.default_rng(0)
        columns = [rng.random(rows, dtype=np.float32) for _ in range(COLUMNS)]
        content = pa.table(columns, names=[f"x{j}" for j in range(COLUMNS)])
        group = -(-rows // GROUPS)
        options = {"compression": compression, "use_dictionary": False, "row_group_size": group}
        pq.write_table(content, path.with_suffix(".part"), **options)
        path.with_suffix(".part").rename(path)
    return path


def epoch(contender: str, path: Path, number: int) -> int:
    """Read everything once; gives the number of rows."""
    if contender == "stream":
        dataset = ShardedDataset.open(path)
        shards = [shard.num_rows for shard in dataset.shards]
        memory = int(dataset.num_rows * ROW_BYTES * ALLOWANCE)
        order = StreamOrder.plan(shards, ROW_BYTES, memory, batch_size=BATCH, seed=0)
        reader = StreamReader(dataset, dataset.schema.names, order)
        return sum(len(batch["x"]) for batch in reader.batches(number))
    batches = ds.dataset(path).to_batches()
    if contender == "scan":
        return sum(batch.num_rows for batch in batches)
    return sum(len(as_matrix(pa.Table.from_batches([batch]))) for batch in batches)


def measure(contender: str, arguments: Namespace) -> Figures:
    """Read some epochs, the first unmeasured, then one watching memory."""
    path = data(arguments.rows, arguments.compression)
    runs = []
    for number in range(EPOCHS + 1):
        run: dict[str, float] = {}
        with seconds(run):
            assert epoch(contender, path, number) == arguments.rows
        runs.append(run["seconds"])
    with MemoryWatch(every_s=0.02) as memory:
        epoch(contender, path, 0)
    return {"seconds": min(runs[1:]), "peak_mb": memory.peak_bytes / 1e6}


def main() -> None:
    """Print the ratios and write them."""
    names = ("scan", "matrix", "stream")
    options = {"rows": 5_000_000, "compression": "none"}
    results, arguments = compare(names, measure, options=options)
    took = {name: median(results, name, "seconds") for name in names}
    ratios = {
        "speed_of_scan": took["scan"] / took["stream"],
        "speed_of_matrix": took["matrix"] / took["stream"],
        "rows_per_second": arguments.rows / took["stream"],
    }
    megabytes = arguments.rows * ROW_BYTES / 1e6
    print(f"{arguments.rows} x {COLUMNS} float32, {megabytes:.0f} MB, {arguments.compression}")
    rows = [
        (name, took[name], took["scan"] / took[name], median(results, name, "peak_mb"))
        for name in names
    ]
    print(table(("", "seconds", "speed of scan", "peak MB"), rows))
    print(f"of a scan into matrices: {ratios['speed_of_matrix']:.2f}")
    write(f"stream_{arguments.compression}", ratios, results, **vars(arguments))


if __name__ == "__main__":
    main()
