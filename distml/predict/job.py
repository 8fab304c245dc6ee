"""Predict a sharded dataset with a saved model: the job behind `distml predict`.

Command   distml predict runs/<run>/bundle data/new --out predictions
"""

from typing import Literal

from distml.job import Job, Resources
from distml.predict.task import Predict

__all__ = ["job"]


def job(
    bundle: str,
    data: str,
    out: str,
    keep: list[str] = [],  # noqa: B006
    check: Literal["strict", "warn"] = "strict",
    trust: bool = False,
    cpus: int | None = None,
) -> Job:
    """Predict every row of a dataset.

    Args:
        bundle: Folder of the saved model.
        data: Files, folder or glob of the rows.
        out: Folder for the predictions, a file for each shard.
        keep: Columns of the data to put beside the predictions.
        check: What to do about a model that is not as it was saved.
        trust: Load what can run code.
        cpus: Shards at a time; all CPUs otherwise.
    """
    return Job(
        task=Predict(bundle=bundle, data=data, out=out, keep=keep, check=check, trust=trust),
        resources=Resources(num_cpus=cpus),
        report=False,
    )
