"""`distml run JOBFILE --search`: a search without a file, resumed and shown as any run."""

import shutil
from pathlib import Path

import pytest

from distml.cli import main
from distml.runs.record import RunStatus
from distml.runs.store import RunStore

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(Path(__file__).parent / "job.py", tmp_path / "curve.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    return tmp_path


def run(*arguments: str) -> int:
    return main(["run", "curve.py", "--on", "debug", "--run-id", "one", *arguments])


SEARCH = ("--search", "x=choice(1,2,3,4)", "--metric", "test_score", "--num-samples", "4")


def test_quick_search_leaves_the_best_and_a_table(here: Path) -> None:
    assert run(*SEARCH, "--kind", "b") == 0
    record = RunStore("runs").load("one")
    assert record.metrics == {"test": {"score": 1.0}}
    assert record.parameters == {"kind": "b", "rows": 5, "epochs": 0}
    assert sorted(row["x"] for row in record.table) == [1, 2, 3, 4]
    assert record.details["search"]["params"] == {"x": 3}


def test_domains_are_drawn_from_the_seed(here: Path) -> None:
    options = ("--search", "x=loguniform(1,9)", "--search", "kind=choice(a,b)")
    assert run(*options, "--metric", "score", "--num-samples", "3") == 0
    table = RunStore("runs").load("one").table
    assert [set(row) >= {"x", "kind", "score"} for row in table] == [True] * 3
    assert all(1 <= row["x"] <= 9 for row in table)


def test_searcher_scheduler_and_trials_at_one_time_are_chosen_by_name(here: Path) -> None:
    options = ("--searcher", "optuna", "--scheduler", "asha(9)", "--max-concurrent-trials", "2")
    search = ("--search", "x=uniform(0,6)", "--metric", "val_score", "--num-samples", "6")
    assert run(*search, *options, "--epochs", "9") == 0
    states = {row["state"] for row in RunStore("runs").load("one").table}
    assert states == {"completed", "stopped early"}


def test_search_is_resumed_and_done_again_from_the_run_alone(here: Path) -> None:
    assert run(*SEARCH) == 0
    (here / "curve.py").unlink()
    store = RunStore("runs")
    # As if the driver had been killed after two of four trials.
    trials = sorted((here / "runs" / "one" / "trials").iterdir())
    for folder in trials[2:]:
        shutil.rmtree(folder)
    record = store.load("one")
    kept = (here / "runs" / "one" / "record.json").read_text()
    (here / "runs" / "one" / "record.json").write_text(
        kept.replace('"status": "SUCCEEDED"', '"status": "STOPPED"')
    )
    assert main(["resume", "one"]) == 0
    again = store.load("one")
    assert again.metrics == record.metrics
    assert [row["run"] for row in again.table] == [row["run"] for row in record.table]
    first = RunStore(here / "runs" / "one" / "trials").load(trials[0].name)
    assert len(first.attempts) == 1


def test_show_sorts_the_trials(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(*SEARCH)
    capfd.readouterr()
    assert main(["show", "one", "--sort", "-x"]) == 0
    lines = [line.split() for line in capfd.readouterr().out.splitlines()]
    assert [words[3] for words in lines if "completed" in words] == ["4", "3", "2", "1"]
    assert main(["show", "one", "--sort", "y"]) == 2
    assert "no column y; there are trial" in capfd.readouterr().err


def test_run_without_trials_cannot_be_sorted(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("--x", "3")
    assert main(["show", "one", "--sort", "x"]) == 2
    assert "run one has no trials to sort" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--search", "y=choice(1)", "--metric", "m", "--x", "1"), "no parameter 'y'"),
        (("--search", "row=choice(1)", "--metric", "m", "--x", "1"), "did you mean 'rows'"),
        (("--search", "x=choice(1)"), "--search needs --metric"),
        (("--search", "x=chioce(1)", "--metric", "m"), "did you mean choice"),
        (("--search", "x=choice(1)", "--metric", "m", "--num-samples", "0"), "at least 1"),
        (("--search", "x=choice(1)", "--metric", "test_acc"), "report test_score"),
        (("--metric", "m", "--x", "1"), "belongs to a search"),
        (("--searcher", "optuna", "--x", "1"), "belongs to a search"),
        ((*SEARCH, "--searcher", "optunna"), "did you mean optuna?"),
        ((*SEARCH, "--scheduler", "asha"), "say how many epochs a training has, asha(27)"),
        ((*SEARCH, "--max-concurrent-trials", "0"), "at least 1 runs at one time"),
        (("--search", "x=choice(1)", "--metric", "m", "--x", "1"), "has no parameter --x"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert message in said[-1]


def test_unsearched_run_is_as_before(here: Path) -> None:
    assert run("--x", "3") == 0
    store = RunStore("runs")
    assert store.load("one").status is RunStatus.SUCCEEDED
    assert "searched" not in store.job_source("one")
