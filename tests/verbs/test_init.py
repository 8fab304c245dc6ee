"""`distml init`: what it writes runs as it is, and what it refuses leaves nothing behind."""

import datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distml.cli import main
from distml.runs.bundle import load
from distml.runs.record import RunStatus
from distml.runs.store import RunStore

N = 900

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


def write(path, columns):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def run(job, *arguments):
    """Run a job as it was written, and load its model without trust; its record."""
    assert main(["run", job, "--on", "debug", "--run-id", "first", *arguments]) == 0
    record = RunStore("runs").load("first")
    assert record.status is RunStatus.SUCCEEDED
    load("runs/first/bundle")
    return record


def final(record, metric):
    return record.metrics["hold_out"][metric]


def test_a_regression_runs_as_written(here, capfd):
    package = find_spec("plotnine")
    if package is None:
        pytest.skip("plotnine is not installed")
    diamonds = Path(package.origin).parent / "data" / "diamonds.csv"

    assert main(["init", str(diamonds), "--label", "price"]) == 0

    output = capfd.readouterr().out
    assert "53,940 rows, 10 columns\nregression of 'price': 11,602 different numbers" in output
    assert "wrote jobs/diamonds_price.py\nrun it: distml run jobs/diamonds_price.py" in output
    record = run("jobs/diamonds_price.py", "--rows", "700", "--cv", "2")
    assert final(record, "r2") > 0.8
    assert {row["model"] for row in record.table} >= {"ridge", "forest", "boosting", "constant"}


def test_classes_with_dates_text_holes_and_leaks_run_as_written(here, capfd):
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 80, N)
    sick = rng.random(N) < np.where(age > 50, 0.8, 0.2)
    label = np.where(sick, "sick", "well").astype(object)
    label[:20], label[20:24] = None, "dead"
    words = np.array(["the", "patient", "feels", "fine", "but", "did", "not", "sleep", "well"])
    write(
        "data/visits.parquet",
        {
            "visit_id": np.arange(N),
            "day": [datetime.date(2020, 1, 1) + datetime.timedelta(i // 3) for i in range(N)],
            "patient_id": rng.integers(0, 120, N),
            "age": np.where(rng.random(N) < 0.1, np.nan, age),
            "ward": rng.choice(["a", "b", "c"], N),
            "note": [" ".join([*rng.permutation(words), str(i)]) for i in range(N)],
            "tags": [[1, 2]] * N,
            "always": ["x"] * N,
            "discharged": sick,
            "state": label,
        },
    )

    assert main(["init", "data/visits.parquet", "--label", "state"]) == 0

    output = capfd.readouterr().out
    assert "rows without a label, left out: 20\nclasses with too few rows, left out: 1" in output
    assert "tested by 'day' and 'patient_id'" in output
    record = run("jobs/visits_state.py", "--cv", "2")
    assert set(record.metrics) == {"latest", "hold_out"}
    assert final(record, "roc_auc") > 0.7
    assert sum(record.details["rows"].values()) == N - 24
    matrix = " ".join(record.details["matrix"])
    assert all(name in matrix for name in ("age", "ward", "note", "day"))
    assert not any(name in matrix for name in ("visit_id", "patient_id", "tags", "discharged"))


def test_more_than_two_classes_run_as_written(here):
    sklearn = Path(find_spec("sklearn").origin).parent
    lines = (sklearn / "datasets" / "data" / "wine_data.csv").read_text().splitlines()
    names = ",".join([*(f"measure {i}" for i in range(13)), "wine"])
    Path("wine.csv").write_text("\n".join([names, *lines[1:]]) + "\n")

    assert main(["init", "wine.csv", "--label", "wine", "--out", "here/first.py"]) == 0

    # 178 rows: a vote, for a stack would learn its weights from too few.
    assert "VotingClassifier" in Path("here/first.py").read_text()
    assert final(run("here/first.py"), "accuracy") > 0.9


NASTY = (
    'a"b', "it's", '"""', "back\\slash", "new\nline", "{x}", "$label", "%s", "ünïcödé", " ",
    "class", "'); import os #", "tab\t", "\u202e",
)  # fmt: skip


def test_names_of_any_kind_run_as_written(here):
    label = 'la\'b"el\n$x"""\\'
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=60) for name in NASTY}
    dropped = {f"{name} again": ["same"] * 60 for name in NASTY}
    write("data.parquet", {**columns, **dropped, label: ['"yes"', "'no\\"] * 30})

    assert main(["init", "data.parquet", "--label", label, "--out", "first.py"]) == 0

    record = run("first.py")
    assert record.details["rows"] == {"train": 48, "hold_out": 12}
    assert all(name in record.details["matrix"] for name in NASTY)


def test_the_file_of_a_remote_dataset_names_it_as_it_is(here):
    write("data.parquet", {"x": range(N), "z": [i % 7 for i in range(N)], "y": [0, 1] * (N // 2)})

    assert main(["init", f"file://{here}/data.parquet", "--label", "y"]) == 0

    source = Path("jobs/data_y.py").read_text()
    assert f'data: str = "file://{here}/data.parquet",' in source
    assert "pathlib" not in source


def test_the_task_may_be_given(here, capfd):
    write("data.parquet", {"x": [i % 7 for i in range(N)], "y": [i % 3 for i in range(N)]})

    assert main(["init", "data.parquet", "--label", "y", "--task", "regression"]) == 0

    assert "regression of 'y': 3 different numbers" in capfd.readouterr().out
    assert "StackingRegressor" in Path("jobs/data_y.py").read_text()


def test_a_file_that_is_there_is_replaced_only_by_force(here, capfd):
    write("data.parquet", {"x": [i % 7 for i in range(N)], "y": [0, 1] * (N // 2)})
    Path("first.py").write_text("mine\n")
    arguments = ["init", "data.parquet", "--label", "y", "--out", "first.py"]

    assert main(arguments) == 2
    assert "first.py exists; give another name with --out, or --force" in capfd.readouterr().err
    assert Path("first.py").read_text() == "mine\n"

    assert main([*arguments, "--force"]) == 0
    assert "import distml" in Path("first.py").read_text()


def test_a_mistyped_label_is_told_before_the_file_that_is_there(here, capfd):
    write("data.parquet", {"x": [i % 7 for i in range(N)], "faithful": [0, 1] * (N // 2)})
    assert main(["init", "data.parquet", "--label", "faithful"]) == 0

    assert main(["init", "data.parquet", "--label", "Faithful"]) == 2

    error = capfd.readouterr().err
    assert "no column 'Faithful'; did you mean 'faithful'?" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("width", [30, 60])
def test_findings_fit_a_narrow_terminal(here, capfd, monkeypatch, width):
    write("data.parquet", {"x": [i % 7 for i in range(N)], "k": [1] * N, "y": [0, 1] * (N // 2)})
    monkeypatch.setenv("COLUMNS", str(width))

    assert main(["init", "data.parquet", "--label", "y"]) == 0

    assert "always the same value" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data.parquet", "--label", "prise"], ["'prise'", "did you mean 'price'?"]),
        (["dta.parquet", "--label", "price"], ["dta.parquet", "no such file or folder"]),
        (["data.txt", "--label", "price"], ["data.txt", "ending .csv or .parquet"]),
        (["data.parquet"], ["Missing option '--label'"]),
        (["--label", "price"], ["Missing argument 'DATA'"]),
        (["data.parquet", "--label", "name"], ["'name' has 900 values", "256"]),
        (["data.parquet", "--label", "price", "--task", "classification"], ["900 values", "regre"]),
        (["data.parquet", "--label", "name", "--task", "regression"], ["'name' is text"]),
        (["data.parquet", "--label", "same"], ["'same' has only the value 1"]),
        (["data.parquet", "--label", "price", "--task", "cluster"], ["'cluster' is not one of"]),
        (["data.parquet", "--label", "price", "--out", "x.txt"], ["x.txt", "ends in .py"]),
        (["data.parquet", "--label", "price", "--out", "."], ["ends in .py"]),
        (["data.parquet", "--label", "price", "--out", "data.txt/x.py"], ["cannot be written"]),
    ],
    ids=["label", "data", "format", "no label", "no data", "names as classes", "10,000 classes",
         "text as number", "constant", "task", "suffix", "folder", "unwritable"],
)  # fmt: skip
def test_a_mistake_is_one_line_and_leaves_nothing(here, capfd, arguments, words):
    rng = np.random.default_rng(0)
    write(
        "data.parquet",
        {"price": rng.random(N), "x": rng.random(N), "name": [f"n{i}" for i in range(N)],
         "same": [1] * N},
    )  # fmt: skip
    Path("data.txt").write_text("x,price\n1,2\n")
    before = sorted(here.rglob("*"))

    assert main(["init", *arguments]) == 2

    output, errors = capfd.readouterr()
    (line,) = errors.splitlines()
    assert line.startswith("distml: error: ")
    assert output == ""
    assert all(word in line for word in words)
    assert sorted(here.rglob("*")) == before
