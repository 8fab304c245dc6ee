"""Bad input from the command line: exit code 2, one line, and nothing half-written."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distml.cli import main
from distml.runs.record import RunStatus
from distml.runs.store import RunStore

JOB = """
from pathlib import Path
import distml
from sklearn.tree import DecisionTreeClassifier


def job(
    data: Path = Path("data"), label: str = "y", cv: int = 3, cpus: int = 1, memory: int = 1
) -> distml.Job:
    stack = distml.StackingClassifier([("tree", DecisionTreeClassifier(max_depth=2))], cv=cv)
    return distml.Job(
        task=distml.Fit(
            data=data,
            label=label,
            estimator=stack,
            features=["a"],
            split=distml.Split({"hold_out": distml.ByHash(0.3, key="a")}),
        ),
        resources=distml.Resources(num_cpus=cpus, memory_bytes=memory),
    )
"""
N = 60


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a job and its data, two shards."""
    monkeypatch.chdir(tmp_path)
    Path("job.py").write_text(JOB)
    Path("data").mkdir()
    for shard in range(2):
        pq.write_table(
            pa.table(
                {
                    "a": [float(shard * N + row) for row in range(N)],
                    "y": [row % 2 for row in range(N)],
                    "constant": ["same"] * N,
                    "holes": [None if row % 3 else 1 for row in range(N)],
                    "rare": ["odd" if row + shard == 0 else "usual" for row in range(N)],
                }
            ),
            f"data/part-{shard}.parquet",
        )
    return tmp_path


def truncate(folder: Path) -> None:
    shard = folder / "data" / "part-1.parquet"
    os.truncate(shard, shard.stat().st_size // 2)


def corrupt(folder: Path) -> None:
    shard = folder / "data" / "part-1.parquet"
    content = bytearray(shard.read_bytes())
    # The pages of the first column, behind the file's mark; the footer stays whole.
    content[4:200] = bytes(196)
    shard.write_bytes(content)


def retype(folder: Path) -> None:
    shard = folder / "data" / "part-1.parquet"
    table = pq.read_table(shard)
    pq.write_table(table.set_column(0, "a", pa.array(["text"] * N)), shard)


def nothing(folder: Path) -> None:
    pass


CASES = {
    "no data": (nothing, ["--data", "dta"], ["dta"]),
    "label missing": (nothing, ["--label", "yy"], ["'yy'", "'y'"]),
    "label constant": (nothing, ["--label", "constant"], ["constant", "same"]),
    "label with nulls": (nothing, ["--label", "holes"], ["holes", "null"]),
    "class rarer than folds": (nothing, ["--label", "rare", "--cv", "5"], ["odd", "5 folds"]),
    "truncated shard": (truncate, [], ["part-1.parquet"]),
    "corrupt shard": (corrupt, [], ["part-1.parquet"]),
    "type changed between shards": (retype, [], ["part-1.parquet", "'a'", "string", "double"]),
    "too many CPUs": (nothing, ["--cpus", "4096"], ["4096"]),
    "too much memory": (nothing, ["--memory", str(2**60)], ["memory"]),
    "wrong flag": (nothing, ["--lable", "y"], ["--lable", "--label"]),
    "wrong type": (nothing, ["--cv", "three"], ["cv", "three", "int"]),
}


@pytest.mark.parametrize(("spoil", "arguments", "words"), CASES.values(), ids=CASES)
def test_a_mistake_is_one_line_and_exit_code_2(here, capfd, spoil, arguments, words):
    spoil(here)

    assert main(["run", "job.py", "--on", "debug", *arguments]) == 2

    output, errors = capfd.readouterr()
    (line,) = errors.splitlines()
    assert line.startswith("distml: error: ")
    assert "Traceback" not in output
    for word in words:
        assert word in line
    for record in RunStore("runs").list():
        # What could only be seen by reading the data has a record that says so, and no model.
        assert record.status is RunStatus.FAILED
        assert record.reason in line
        assert record.artifacts == {}
        assert not (here / "runs" / record.run_id / "bundle").exists()


def test_the_same_job_without_a_mistake_succeeds(here):
    assert main(["run", "job.py", "--on", "debug"]) == 0
