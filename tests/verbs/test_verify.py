"""A job in places of this machine; `tests/launch/test_verified.py` has clusters."""

from textwrap import dedent

import pytest

from distml.cli import main
from distml.jobfile import load
from distml.launch.launcher import LaunchLimits
from distml.runs.store import RunStore
from distml.verbs import verify
from distml.verbs.toy import toy_arguments

STACK = """
    import distml
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    def job(data: str = "data.parquet", rows: int = 0, depth: int = 3) -> distml.Job:
        trees = [("one", DecisionTreeClassifier(max_depth=depth)), ("two", LogisticRegression())]
        return distml.Job(
            task=distml.Fit(
                data=data,
                label="y",
                estimator=distml.StackingClassifier(trees, cv=2),
                split=distml.Split({"test": distml.ByHash(0.3)}),
                metrics=("roc_auc",),
                rows=rows or None,
            ),
            report=False,
        )
"""

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def stack(tmp_path, monkeypatch, write_rows):
    """A working directory with `stack.py` and its data."""
    (tmp_path / "stack.py").write_text(dedent(STACK))
    write_rows(tmp_path / "data.parquet", rows=300)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTML_STORAGE", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


def test_two_places_that_come_to_the_same_are_said_to(stack, capfd):
    code = main(["verify", "stack.py", "--depth", "2", "--on", "debug", "--on", "debug"])

    output, errors = capfd.readouterr()
    assert code == 0
    assert output.endswith("the same in all 2 places\n")
    assert errors.startswith("verify stack.py --depth 2\n")
    first, second = sorted(RunStore("runs").list(), key=lambda record: record.run_id)
    assert first.parameters == {"data": "data.parquet", "rows": 0, "depth": 2}
    events = RunStore("runs").events(second.run_id)
    assert [e["cached"] for e in events if e["kind"] == "unit_done"] == [False] * 7


def test_a_process_of_its_own_comes_to_the_same(stack, capfd):
    assert main(["verify", "stack.py", "--rows", "200"]) == 0

    lines = capfd.readouterr().out.splitlines()
    assert lines[1].split() == [
        "place", "run", "status", "took", "units", "values", "origin", "environment",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[2:4]] == ["debug", "local"]
    assert "the same" in lines[3]
    assert [record.launcher for record in RunStore("runs").list()] == ["local", "debug"]


def test_a_job_that_differs_is_named_and_ends_with_one(stack, capfd):
    # Its place in the list of runs decides: what a place has of its own may do the same.
    source = (stack / "stack.py").read_text()
    (stack / "stack.py").write_text(
        source.replace("depth: int = 3", "depth: int = 3 + len(os.listdir('runs'))").replace(
            "import distml", "import os\nimport distml"
        )
    )
    (stack / "runs").mkdir()

    code = main(["verify", "stack.py", "--on", "debug", "--on", "debug"])

    output = capfd.readouterr().out
    assert code == 1
    assert "debug differs in origin: parameters depth is" in output
    assert "debug differs in units: " in output
    assert "debug differs in values: " in output


def test_a_place_that_fails_is_a_difference(stack, capfd):
    source = (stack / "stack.py").read_text()
    broken = source.replace("    trees = [", "    1 / (not os.path.exists('runs')); trees = [")
    (stack / "stack.py").write_text(broken.replace("import distml", "import os\nimport distml"))

    code = main(["verify", "stack.py", "--on", "debug", "--on", "debug"])

    assert code == 2  # a mistake of the job's, found before the second run exists
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which job? say distml verify JOBFILE"),
        (["stack.py", "--on", "debug"], "one place has nothing to agree with"),
        (["stack.py", "--on", "debug", "--on", "locl"], "did you mean local?"),
        (["stack.py", "--row", "5"], "did you mean --rows?"),
        (["none.py"], "no such job file: none.py"),
        (["stack.py", "--max-hours", "1"], "--max-cost and --down are for runs elsewhere"),
        (["stack.py", "--max-hours", "0"], "--max-hours"),
    ],
    ids=["nothing", "one place", "no place", "no parameter", "no job", "no limits here", "none"],
)
def test_a_mistake_is_one_line_and_leaves_no_run(stack, capfd, arguments, message):
    assert main(["verify", *arguments]) == 2

    errors = capfd.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert RunStore("runs").list() == []


class Place:
    """A launcher that remembers what it is asked to plan."""

    def __init__(self, shipment):
        self.shipment, self.asked = shipment, []

    def plan(self, request):
        self.asked.append(request)
        return self


def test_limits_are_those_of_each_run_elsewhere(stack, monkeypatch):
    places = {"local": Place(None), "cloud:x.yaml": Place("a tree"), "cluster:h": Place("a tree")}
    began = []
    monkeypatch.setattr(verify, "launcher", places.get)
    monkeypatch.setattr(verify, "see_through", lambda place, request, **_: began.append(request))

    on = [word for name in places for word in ("--on", name)]
    main(["verify", "stack.py", *on, "--max-hours", "2", "--max-cost", "3"])

    limits = LaunchLimits(max_hours=2, max_cost=3)
    assert [request.limits for request in began] == [LaunchLimits(), limits, limits]
    # What a place refuses, it refuses before any run has begun.
    assert [place.asked[-1].limits for place in places.values()] == [LaunchLimits(), limits, limits]
    assert len({request.run_id for request in began}) == 3


@pytest.mark.parametrize(
    ("signature", "given", "added"),
    [
        ("rows: int = 0", [], ["--rows=2000"]),
        ("rows: int | None = None", [], ["--rows=2000"]),
        ("rows: int = 500", [], []),
        ("rows: int = 0", ["--rows", "7"], []),
        ("max_rows: int = 9000", ["--max-rows=7"], []),
        ("epochs: int = 30, trials: int = 20", [], ["--epochs=2", "--trials=3"]),
        ("rows: str = 'all'", [], []),
        ("seed: int = 7000", [], []),
    ],
)
def test_what_says_size_is_made_small_unless_it_is_given(tmp_path, signature, given, added):
    (tmp_path / "job.py").write_text(f"def job({signature}): ...")

    assert list(toy_arguments(load(tmp_path / "job.py"), given)) == added


@pytest.mark.parametrize(("rows", "added"), [(300, []), (2500, ["--rows=2000"])])
def test_no_more_rows_are_asked_for_than_there_are(stack, write_rows, rows, added):
    write_rows(stack / "data.parquet", rows=rows)

    assert list(toy_arguments(load("stack.py"), [])) == added
