from pathlib import Path
from types import ModuleType

import distml


def test_data_is_written_once_and_opened_the_next_time(
    diamonds_job: ModuleType, tmp_path: Path
) -> None:
    written = diamonds_job.prepare(tmp_path / "diamonds")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "diamonds").iterdir()}
    again = diamonds_job.prepare(tmp_path / "diamonds")
    assert again.fingerprint == written.fingerprint
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "diamonds").iterdir()} == files
    assert (written.num_rows, len(written.shards)) == (53_940, 4)


def test_job_bags_as_many_trees_as_asked(diamonds_job: ModuleType, tmp_path: Path) -> None:
    job = diamonds_job.job(trees=7, data=tmp_path / "diamonds")
    assert isinstance(job.task.estimator, distml.BaggingRegressor)
    assert job.task.estimator.n_estimators == 7
