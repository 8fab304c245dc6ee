import json
import re
import shutil
from pathlib import Path

import pytest

from distml.cli import main
from distml.runs.paths import RunPaths
from distml.runs.store import RunStore

TINY = Path(__file__).parent.parent / "launch" / "tiny.py"

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """A working directory with the runs `one` and `two` of a tiny job, of 7 and 8 rows."""
    shutil.copy(TINY, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    for run, rows in (("one", 7), ("two", 8)):
        assert main(["run", "tiny.py", "--on", "debug", "--run-id", run, "--rows", str(rows)]) == 0
    capfd.readouterr()
    return tmp_path


def write_evaluation(run, score, *, label="y"):
    interval = {"value": score, "low": score - 0.001, "high": score + 0.001}
    evaluation = {
        "task": "regression",
        "label": label,
        "model": "tiny",
        "level": 0.95,
        "sets": {"test": {"scores": {"tiny": {"r2": interval}}}},
    }
    RunStore("runs").storage.write(RunPaths(run).evaluation, json.dumps(evaluation).encode())


def test_what_differs_stands_beside_the_scores(here, capfd):
    write_evaluation("one", 1.07)
    write_evaluation("two", 1.08)

    assert main(["compare", "one", "two"]) == 0

    output = capfd.readouterr().out
    assert re.search(r"parameters rows +7 +8\n", output)
    assert "better, by more than chance" in output
    assert "1.0700  1.0800  0.0100" in output


def test_without_intervals_nothing_is_said_of_chance(here, capfd):
    assert main(["compare", "one", "two"]) == 0

    output = capfd.readouterr().out
    assert "by more than chance" not in output
    assert "scores without intervals say nothing about chance" in output


def test_a_run_is_no_different_from_itself(here, capfd):
    assert main(["compare", "one", "one"]) == 0

    output = capfd.readouterr().out
    assert "nothing: parameters, code, data, split and versions are the same" in output
    assert "equal" in output


def test_code_that_differs_is_shown_as_a_diff(here, capfd):
    Path("tiny.py").write_text(TINY.read_text().replace("rows: int = 10", "rows: int = 11"))
    assert main(["run", "tiny.py", "--on", "debug", "--run-id", "three", "--rows", "7"]) == 0
    capfd.readouterr()

    assert main(["compare", "one", "three"]) == 0

    output = capfd.readouterr().out
    assert "-    rows: int = 10,\n  +    rows: int = 11," in output


def test_a_long_diff_is_cut_and_said_to_be(here, capfd):
    source = "".join(f"# {i}\n" for i in range(100)) + TINY.read_text()
    Path("tiny.py").write_text(source)
    assert main(["run", "tiny.py", "--on", "debug", "--run-id", "three", "--rows", "7"]) == 0
    capfd.readouterr()

    assert main(["compare", "one", "three"]) == 0

    assert "… 65 more lines; --json has all" in capfd.readouterr().out


def test_a_run_that_failed_is_shown_as_far_as_it_came(here, capfd):
    assert main(["run", "tiny.py", "--on", "debug", "--run-id", "bad", "--end", "break_down"]) == 1
    capfd.readouterr()

    assert main(["compare", "one", "bad"]) == 0

    output = capfd.readouterr().out
    assert "bad is FAILED: it has no final scores" in output
    assert "parameters end" in output


def test_json_holds_all_of_it(here, capfd):
    assert main(["compare", "one", "two", "--json"]) == 0

    comparison = json.loads(capfd.readouterr().out)
    assert (comparison["a"], comparison["b"]) == ("one", "two")
    assert comparison["scores"][0]["verdict"] == "unknown"
    assert {"area": "parameters", "name": "rows", "a": 7, "b": 8} in comparison["differences"]


def test_all_figures_are_there_on_a_narrow_terminal(here, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")

    assert main(["compare", "one", "two"]) == 0

    output = capfd.readouterr().out
    assert all(figure in output for figure in ("1.0700", "1.0800", "0.0100", "parameters rows"))


def other_label(folder):
    write_evaluation("one", 0.5)
    write_evaluation("two", 0.5, label="z")


def damaged(folder):
    RunStore("runs").storage.write(RunPaths("two").evaluation, b'{"sets": ')


@pytest.mark.parametrize(
    ("spoil", "arguments", "words"),
    [
        (other_label, ["one", "two"], ["label", "'y'", "'z'"]),
        (damaged, ["one", "two"], ["two/evaluation.json", "damaged"]),
        (None, ["one", "twoo"], ["twoo", "did you mean two?"]),
        (None, ["one"], ["Missing argument 'B'"]),
        (None, ["one", "two", "one"], ["unexpected extra argument"]),
    ],
    ids=["another label", "damaged evaluation", "unknown run", "one run", "three runs"],
)
def test_a_mistake_is_one_line_that_says_what_to_do(here, capfd, spoil, arguments, words):
    if spoil is not None:
        spoil(here)

    assert main(["compare", *arguments]) == 2

    output, errors = capfd.readouterr()
    (line,) = errors.splitlines()
    assert line.startswith("distml: error: ")
    assert output == ""
    for word in words:
        assert word in line
