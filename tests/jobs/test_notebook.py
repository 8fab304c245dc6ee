"""The notebook runs from its first cell to its last, in a real kernel."""

import re
import shutil
from pathlib import Path

import pytest

JOBS = Path(__file__).parent.parent.parent / "jobs"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def executed(tmp_path):
    """The notebook after a run in a folder of its own."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    for name in ("diamonds.ipynb", "diamonds_bagging.py"):
        shutil.copy(JOBS / name, tmp_path)
    notebook = nbformat.read(tmp_path / "diamonds.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=400, resources=resources).execute()
    return notebook


def outputs(notebook, index):
    """What a code cell showed, by media type."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [output.get("data", {}) for output in cells[index].outputs]


def test_the_notebook_shows_progress_then_the_result_then_a_price(executed):
    *progress, result = outputs(executed, 1)
    assert any("<progress" in shown.get("text/html", "") for shown in progress)
    assert "VotingRegressor" in result["text/html"]
    assert "<svg" in result["text/html"]
    (price,) = outputs(executed, 2)
    assert 4_000 < float(re.findall(r"[\d.]+", price["text/plain"])[0]) < 12_000
