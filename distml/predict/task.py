"""Predict: a saved model over a sharded dataset, each shard exactly once.

A shard in, a file out, under the same number. What a run has finished is found by the next one, in
this run resumed or in another with the same model, data and folder.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from pyarrow import fs

from distml import spread
from distml.data import ShardedDataset
from distml.data.location import locate
from distml.errors import UserError
from distml.job import Result, RunContext
from distml.predict.folder import Folder
from distml.predict.shard import BLOCK_ROWS, Work, predict_shard
from distml.runs.bundle import Model, load_once
from distml.runs.manifest import bundle_hash
from distml.runs.storage import shown

__all__ = ["Predict"]

_LOOKING_THREADS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Predict:
    """Predict a dataset with a saved model.

    The output has a Parquet file for each shard, with the columns of `keep`, then `prediction`,
    then `probability_CLASS` for each class if the model gives probabilities, rows in the order of
    the data. The same model and data give the same bytes, however often it was killed.
    """

    bundle: str
    """URI of the saved model."""
    data: str
    """What `ShardedDataset.open` takes: a file, folder or glob."""
    out: str
    """URI of the folder to write: empty, or one of a former run with the same arguments."""
    keep: Sequence[str] = ()
    """Columns of the data to put beside the predictions."""
    check: Literal["strict", "warn"] = "strict"
    """What to do about a model that is not as it was saved; see `distml.load`."""
    trust: bool = False
    """Whether the model may run code when it is loaded."""

    def run(self, context: RunContext) -> Result:
        """Do the work in a run.

        Raises:
            UserError: the model, the data or the folder is refused.
            DistmlError: a shard could not be predicted.
            StorageError: the folder cannot be written.
        """
        context.emit("phase", name="look")
        bundle = bundle_hash(self.bundle)
        model = load_once(self.bundle, bundle, self.check, trust=self.trust)
        work = self._work(model, bundle)
        num_shards = len(work.data.shards)
        work.folder.begin()
        with ThreadPoolExecutor(_LOOKING_THREADS) as pool:
            done = list(pool.map(work.folder.is_done, range(num_shards)))
        missing = [index for index in range(num_shards) if not done[index]]
        if missing:
            work.folder.reopen()
        context.emit("phase", name="predict")
        context.emit("plan", units=num_shards, cached=num_shards - len(missing))
        self._predict(work, missing, context)
        work.folder.finish([shard.num_rows for shard in work.data.shards])
        return Result(
            metrics={},
            details={
                "out": self.out,
                "data": {"uri": shown(work.data.uri), "fingerprint": work.folder.data},
                "bundle": {"uri": self.bundle, "sha256": work.folder.bundle},
                "rows": work.data.num_rows,
                "shards": {"all": num_shards, "found": num_shards - len(missing)},
                "columns": [*self.keep, *model.output_schema.names],
            },
        )

    def _work(self, model: Model, bundle: str) -> Work:
        """Find out what can be found out before anything is written."""
        clash = [name for name in self.keep if name in model.output_schema.names]
        if clash:
            raise UserError(f"keep: {clash[0]!r} is a column of the predictions; rename it")
        whole = ShardedDataset.open(self.data)
        data = whole.select(list(dict.fromkeys([*model.schema.names, *self.keep])))
        folder = Folder.at(self.out, bundle=bundle, data=whole.fingerprint, keep=self.keep)
        self._check_apart(folder)
        self._try(model, data)
        return Work(
            bundle=self.bundle, check=self.check, trust=self.trust, data=data, folder=folder
        )

    def _check_apart(self, folder: Folder) -> None:
        """Refuse to write into the data, of which the predictions would then be a part."""
        home, path = locate(self.data)
        is_inside = home.equals(folder.filesystem) and f"{folder.root}/".startswith(f"{path}/")
        if is_inside and home.get_file_info(path).type == fs.FileType.Directory:
            raise UserError(f"out={self.out}: lies inside the data; give a folder elsewhere")

    def _try(self, model: Model, data: ShardedDataset) -> None:
        """Predict one row, so that a column of another type is found before the folder is begun."""
        filled = next((i for i, shard in enumerate(data.shards) if shard.num_rows), None)
        if filled is not None:
            model.outputs(next(data.iter_blocks(filled, num_rows=BLOCK_ROWS))[:1])

    def _predict(self, work: Work, missing: Sequence[int], context: RunContext) -> None:
        def started(index: int) -> None:
            context.emit("unit_started", unit=work.folder.name(index), member="shard")

        shards = work.data.shards
        task = spread.Work(
            do=predict_shard, shared=work, name=lambda index: f"{shards[index].path}: predicting"
        )
        for index, seconds in spread.spread(task, missing, started):
            name = work.folder.name(index)
            context.emit("unit_done", unit=name, member="shard", seconds=seconds)
