"""Runs from a notebook or a script."""

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

import distml
from distml import session
from distml.interactive import run
from distml.runs.record import RunStatus
from distml.runs.store import RunStore

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def data(tmp_path):
    """A file with a label that a tree can tell."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=300), "b": random.normal(size=300)})
    frame["y"] = (frame["a"] > 0).astype(int)
    frame.to_parquet(tmp_path / "data.parquet")
    return tmp_path / "data.parquet"


def job(data, label="y", **fields):
    split = distml.Split({"test": distml.ByHash(0.3, key=["a"])})
    tree = DecisionTreeClassifier(max_depth=2)
    return distml.Job(
        task=distml.Fit(data=data, label=label, estimator=tree, split=split), **fields
    )


def test_a_job_runs_here_and_gives_its_run_back(data, tmp_path):
    with session.inline():
        done = run(job(data), storage=tmp_path / "runs", run_id="one")

    assert done.record.status is RunStatus.SUCCEEDED
    assert done.metrics["test"]["accuracy"] > 0.95
    assert done.model().predict({"a": [-1.0, 1.0], "b": [0.0, 0.0]}).tolist() == [0, 1]
    assert RunStore(tmp_path / "runs").load("one").metrics == done.record.metrics
    assert repr(done).startswith("<Run one SUCCEEDED")


def test_a_notebook_shows_the_result_table_and_escapes_it(data, tmp_path):
    with session.inline():
        done = run(job(data), storage=tmp_path / "runs")

    html = done._repr_html_()

    assert "DecisionTreeClassifier" in html
    assert "<script" not in html


def test_a_mistake_is_raised_as_such_and_stands_in_the_record(data, tmp_path):
    with session.inline(), pytest.raises(distml.UserError, match="'yy'"):
        run(job(data, label="yy"), storage=tmp_path / "runs", run_id="one")

    assert RunStore(tmp_path / "runs").load("one").status is RunStatus.FAILED


@pytest.mark.parametrize("wanted", [True, False], ids=["with report", "without"])
def test_a_report_is_written_if_the_job_wants_one(data, tmp_path, wanted):
    with session.inline():
        done = run(job(data, report=wanted), storage=tmp_path / "runs", run_id="one")

    assert (tmp_path / "runs" / "one" / "report.html").exists() is wanted
    assert done.record.status is RunStatus.SUCCEEDED
