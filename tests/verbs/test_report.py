import json
import shutil
from pathlib import Path

import pytest

from distml.cli import main
from distml.verbs import report

TINY = Path(__file__).parent.parent / "launch" / "tiny.py"

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """A working directory with the runs `one` and `two` of a tiny job."""
    shutil.copy(TINY, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    for run, rows in (("one", 7), ("two", 8)):
        assert main(["run", "tiny.py", "--on", "debug", "--run-id", run, "--rows", str(rows)]) == 0
    capfd.readouterr()
    return tmp_path


def test_the_report_of_a_run_is_written_into_its_directory(here, capfd):
    (here / "runs" / "one" / "report.html").unlink(missing_ok=True)

    assert main(["report", "one"]) == 0

    page = Path(capfd.readouterr().out.strip())
    assert page == here / "runs" / "one" / "report.html"
    assert "<h1>tiny</h1>" in page.read_text()


def test_the_report_of_two_runs_goes_to_a_file_of_its_own(here, capfd):
    assert main(["report", "one", "two"]) == 0
    assert main(["report", "one", "two", "--out", "both.html"]) == 0

    assert capfd.readouterr().out.split() == ["one-beside-two.html", "both.html"]
    assert (here / "one-beside-two.html").read_text() == (here / "both.html").read_text()


@pytest.mark.parametrize("runs", [["one"], ["one", "two"]], ids=["one run", "two runs"])
def test_a_former_report_is_replaced_and_nothing_else(here, runs, capfd):
    assert main(["report", *runs, "--out", "page.html"]) == 0
    page = Path("page.html").read_text()
    Path("page.html").write_text(page + "<!-- former -->")
    Path("precious.html").write_text("<h1>mine</h1>\n")
    before = sorted(here.iterdir())
    capfd.readouterr()

    assert main(["report", *runs, "--out", "page.html"]) == 0
    assert main(["report", *runs, "--out", "precious.html"]) == 2

    assert Path("page.html").read_text() == page
    assert Path("precious.html").read_text() == "<h1>mine</h1>\n"
    assert sorted(here.iterdir()) == before
    assert capfd.readouterr().err == (
        "distml: error: precious.html exists and is no report of distml; "
        "give another name with --out\n"
    )


def test_a_file_that_has_the_name_of_the_report_of_two_runs_is_kept(here):
    Path("one-beside-two.html").write_text("mine\n")

    assert main(["report", "one", "two"]) == 2

    assert Path("one-beside-two.html").read_text() == "mine\n"


def test_the_report_is_opened_in_a_browser_on_request(here, monkeypatch):
    opened = []
    monkeypatch.setattr(report.webbrowser, "open", lambda uri: opened.append(uri) or True)

    assert main(["report", "one", "--open"]) == 0

    assert opened == [(here / "runs" / "one" / "report.html").as_uri()]


def test_where_there_is_no_browser_it_says_where_the_report_is(here, monkeypatch, capfd):
    monkeypatch.setattr(report.webbrowser, "open", lambda uri: False)

    assert main(["report", "one", "--open"]) == 2

    assert "no browser answers here; open " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "no run 'nothing'"),
        (["one", "two", "three"], "report takes one run or two, not 3"),
        (["one", "--out", "no/such/folder.html"], "no/such/folder.html cannot be written"),
        (["one", "--out", "runs"], "runs exists and is no report"),
        ([], "Missing argument"),
    ],
    ids=["no such run", "three runs", "no such folder", "a folder", "no run"],
)
def test_a_mistake_is_one_line_and_exit_code_2(here, arguments, said, capfd):
    assert main(["report", *arguments]) == 2

    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_runs_that_predict_different_things_are_not_laid_out_together(here, capfd):
    for run, label in (("one", "a"), ("two", "b")):
        evaluation = {"format": 1, "task": "regression", "label": label}
        (here / "runs" / run / "evaluation.json").write_text(json.dumps(evaluation))

    assert main(["report", "one", "two"]) == 2
    assert "cannot be compared" in capfd.readouterr().err
