"""A small job of the user's, in a working directory of its own."""

from textwrap import dedent

import numpy as np
import pandas as pd
import pytest

FOREST = """
    import distml
    from sklearn.ensemble import RandomForestClassifier

    def job(data: str = "data.parquet", trees: int = 5, seed: int = 0) -> distml.Job:
        return distml.Job(
            task=distml.Fit(
                data=data,
                label="y",
                estimator=RandomForestClassifier(trees, max_depth=3),
                split=distml.Split({"test": distml.ByHash(0.3)}),
                metrics=("roc_auc", "accuracy"),
            ),
            seed=seed,
            report=False,
        )
"""


@pytest.fixture
def write_rows():
    """Writes rows of two columns, one of which tells the class."""
    return _write_rows


def _write_rows(path, *, rows=600, seed=0, noise=1.0):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(rows, 2)), columns=list("ab"))
    frame["y"] = (frame["a"] + noise * random.normal(size=rows) > 0).astype(int)
    frame.to_parquet(path)


@pytest.fixture
def forest_job(tmp_path, monkeypatch):
    """A working directory with `forest.py` and its data."""
    (tmp_path / "forest.py").write_text(dedent(FOREST))
    _write_rows(tmp_path / "data.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path
