import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from distml.cli import cli, main
from distml.jobfile import RUN_OPTIONS
from distml.runs.record import RunStatus
from distml.runs.store import RunStore

TINY = Path(__file__).parent / "launch" / "tiny.py"

SEARCH = {"--search", "--metric", "--mode", "--num-samples", "--searcher", "--scheduler"} | {
    "--max-concurrent-trials"
}
SURFACE = {
    "run": {"--on", "--storage", "--run-id", "--detach", "--help"}
    | SEARCH
    | {"--max-hours", "--max-cost", "--down", "--no-down", "--dry-run"},
    "list": {"--on", "--storage", "--help"},
    "show": {"RUN", "--sort", "--storage", "--help"},
    "logs": {"RUN", "-f", "--follow", "--unit", "--storage", "--help"},
    "resume": {"RUN", "--on", "--storage", "--detach", "--help"}
    | {"--max-hours", "--max-cost", "--down", "--no-down"},
    "wait": {"RUN", "--storage", "--help"},
    "stop": {"RUN", "--storage", "--help"},
    "init": {"DATA", "--label", "--task", "--out", "--force", "--help"},
    "doctor": {"--storage", "--help"},
    "status": {"RUN", "--storage", "--help"},
    "plan": {"--storage", "--json", "--help", "--on", "--deadline", "--budget"}
    | {"--measure", "--no-measure"}
    | SEARCH,
    "verify": {"--on", "--storage", "--help", "--max-hours", "--max-cost", "--down", "--no-down"},
    "report": {"RUN [RUN]", "--out", "--open", "--storage", "--help"},
    "compare": {"A", "B", "--json", "--storage", "--help"},
    "reproduce": {"RUN", "--on", "--storage", "--help"},
    "retrain": {"RUN", "--data", "--set", "--margin", "--warm", "--on", "--storage", "--help"},
    "predict": {"BUNDLE", "DATA", "--out", "--keep", "--cpus", "--check", "--trust", "--on"}
    | {"--storage", "--run-id", "--detach", "--help"},
    "evaluate": {"BUNDLE", "DATA...", "--metric", "--slice", "--check", "--trust", "--on"}
    | {"--storage", "--run-id", "--detach", "--help"},
    "cluster": {"--help"},
}
"""Every command and option; a knob that is not here belongs into a job's signature."""

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a tiny job."""
    shutil.copy(TINY, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


@pytest.fixture
def ran(here, capfd):
    """A working directory with a run called `first-run` that succeeded."""
    assert main(["run", "tiny.py", "--on", "debug", "--run-id", "first-run", "--rows", "7"]) == 0
    capfd.readouterr()
    return here


def error_of(capfd):
    """The one line on stderr."""
    errors = capfd.readouterr().err
    assert errors.startswith("distml: error: ")
    assert errors.count("\n") == 1
    return errors.removeprefix("distml: error: ").strip()


def test_the_surface_is_this_and_no_more():
    def names(command):
        found = set()
        for parameter in command.get_params(click.Context(command)):
            is_option = isinstance(parameter, click.Option)
            flags = {*parameter.opts, *parameter.secondary_opts}
            found |= flags if is_option else {parameter.make_metavar(None)}
        return found - {""}

    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    assert {name: names(command) for name, command in commands.items()} == SURFACE


def test_options_of_run_are_reserved_in_jobs():
    assert set(RUN_OPTIONS) == SURFACE["run"]


def test_a_run_ends_with_its_result_and_where_it_is(here, capfd):
    code = main(["run", "tiny.py", "--on", "debug", "--rows", "7", "--run-id", "one"])

    output, errors = capfd.readouterr()
    assert (code, errors) == (0, "")
    assert "test\n  model  kind        r2   fit_s\n  tiny   member  0.5000  0.1000" in output
    assert f"run     {here}/runs/one" in output
    assert f"note    {here}/runs/one/note.txt" in output
    assert f"report  {here}/runs/one/report.html" in output


@pytest.mark.parametrize("width", [20, 40, 60])
def test_a_narrow_terminal_shows_all_figures(ran, capfd, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))

    assert main(["show", "last"]) == 0

    output = capfd.readouterr().out
    for figure in ("tiny", "member", "0.5000", "0.1000"):
        assert figure in output


def test_options_may_stand_anywhere_behind_the_job_file(here):
    assert main(["run", "tiny.py", "--rows", "7", "--on=debug", "--run-id", "one"]) == 0
    assert main(["run", "--on", "debug", "tiny.py", "--run-id", "two", "--", "--rows=8"]) == 0

    store = RunStore("runs")
    assert [store.load(name).parameters["rows"] for name in ("one", "two")] == [7, 8]


def test_the_storage_may_come_from_the_environment(here, monkeypatch):
    monkeypatch.setenv("DISTML_STORAGE", str(here / "elsewhere"))

    assert main(["run", "tiny.py", "--on", "debug", "--run-id", "one"]) == 0

    assert RunStore(here / "elsewhere").load("one").status is RunStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "unknown command 'lst'; did you mean list?"),
        (["zzz"], "unknown command 'zzz'; there are run, list, show, logs, resume, wait"),
        (["list", "--storag", "x"], "No such option '--storag'. Did you mean '--storage'?"),
        (["show"], "Missing argument 'RUN'."),
        (["run"], "which job? say distml run JOBFILE, such as distml run jobs/x.py"),
        (["run", "--rows", "7", "tiny.py"], "the job file comes before its parameters"),
        (["run", "tiny.py", "--on", "locl"], "unknown launcher 'locl': did you mean local?"),
        (["run", "tiny.py", "--on", "cluster"], "which cluster? say --on cluster:http://HOST:8265"),
        (["run", "tiny.py", "--on", "debug", "--detach"], "cannot be detached; use --on local"),
        (["run", "tiny.py", "--on", "debug", "--row", "5"], "did you mean --rows?"),
        (["run", "tiny.py", "--on", "debug", "--detatch"], "did you mean --detach?"),
        (["run", "tny.py", "--on", "debug"], "no such job file: tny.py; did you mean tiny.py?"),
        (["run", "none.py", "--help"], "no such job file: none.py"),
        (["show", "firts-run"], "did you mean first-run?"),
        (["logs", "firts-run"], "did you mean first-run?"),
        (["stop", "firts-run"], "did you mean first-run?"),
        (["resume", "firts-run"], "did you mean first-run?"),
        (["resume", "first-run"], "run first-run has succeeded: nothing to resume"),
        (["stop", "first-run"], "run first-run is SUCCEEDED: there is nothing to stop"),
        (["list", "--storage", "zzz://x"], "storage zzz://x"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_that_says_what_to_do(ran, capfd, arguments, message):
    code = main(arguments)

    assert code == 2
    assert message in error_of(capfd)


def test_a_failure_names_the_log(here, capfd):
    code = main(["run", "tiny.py", "--on", "debug", "--run-id", "one", "--end", "break_down"])

    assert code == 1
    assert error_of(capfd) == f"ValueError: no luck at all; see {here}/runs/one/log.txt"


def test_wait_says_how_a_run_ended_with_its_exit_code(ran, capfd):
    main(["run", "tiny.py", "--on", "debug", "--run-id", "broken", "--end", "break_down"])
    capfd.readouterr()

    assert (main(["wait", "first-run"]), main(["wait", "broken"])) == (0, 1)

    output, errors = capfd.readouterr()
    assert "SUCCEEDED in" in output
    assert errors == ""


def test_list_shows_runs_with_their_scores(ran, capfd):
    main(["run", "tiny.py", "--on", "debug", "--run-id", "second", "--end", "lack_data"])
    capfd.readouterr()

    assert main(["list"]) == 0

    head, second, first = capfd.readouterr().out.splitlines()
    assert head.split() == ["run", "status", "started", "took", "score", "reason"]
    assert second.startswith("second     FAILED")
    assert second.endswith("no files in data/; give a folder with Parquet files")
    assert "1.0700 test r2" in first


def test_list_of_nothing_says_so(here, capfd):
    assert main(["list"]) == 0
    assert capfd.readouterr().out == "no runs in runs\n"
    assert not (here / "runs").exists()


@pytest.mark.parametrize("run", ["first-run", "first", "last"])
def test_show_tells_all_of_a_run(ran, capfd, run):
    assert main(["show", run]) == 0

    output = capfd.readouterr().out
    for text in ("first-run", "SUCCEEDED", "rows  7", "0.5000", "note.txt", "python"):
        assert text in output


def test_logs_prints_the_log(ran, capfd):
    assert main(["logs", "first-run"]) == 0
    assert "logged by the task" in capfd.readouterr().out


def test_resume_runs_where_it_ran_before_or_is_told(here, capfd):
    run = ["run", "tiny.py", "--on", "debug", "--run-id", "one", "--end", "break_down"]
    assert main(run) == 1

    assert main(["resume", "one"]) == 1
    assert main(["resume", "one", "--on", "local"]) == 1

    attempts = RunStore("runs").load("one").attempts
    assert [attempt.launcher for attempt in attempts] == ["debug", "debug", "local"]


def test_help_on_a_job_shows_its_parameters(here, capfd):
    assert main(["run", "tiny.py", "--help"]) == 0

    output = capfd.readouterr().out
    assert "--on PLACE" in output
    assert "A tiny job that fits nothing" in output
    assert "  --rows  an integer, default 10\n      How many rows." in output


@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["nothing", "help"])
def test_help_lists_the_commands_in_the_order_of_their_use(capfd, arguments):
    assert main(arguments) == 0

    output = capfd.readouterr().out
    places = [output.index(f"\n  {name} ") for name in SURFACE]
    assert places == sorted(places)


def test_an_error_of_distml_itself_is_one_line_too(ran, capfd, monkeypatch):
    monkeypatch.setattr(RunStore, "list", lambda store: 1 / 0)

    assert main(["list"]) == 1
    assert "ZeroDivisionError: division by zero (" in error_of(capfd)


def test_a_reader_that_has_seen_enough_is_no_error(ran):
    command = f"{sys.executable} -m distml show last | head -c 5"

    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True)

    assert (done.returncode, done.stderr) == (0, b"")
