import json

import pytest

from distml.cli import main
from distml.runs.store import RunStore
from distml.verbs.plan import plan_text

pytestmark = pytest.mark.filterwarnings("default")


def span(value):
    return {"value": value, "low": value / 2, "high": value * 2}


PLAN = {
    "job": "flights",
    "rows": 300_000,
    "columns": 28,
    "stored_bytes": 4 * 2**20,
    "table_bytes": 80 * 2**20,
    "available_bytes": 8 * 2**30,
    "num_cpus": 2,
    "members": [
        {
            "fit": "forest, fold # of #",
            "units": 3,
            "rows": 200_000,
            "seconds": span(12.0),
            "peak_bytes": span(2**20),
        }
    ],
    "stages": [3, 1],
    "phases": {"read": span(0.01), "evaluate": span(2.5)},
    "fits_seconds": span(24.0),
    "seconds": span(90.0),
    "memory": {"peak_bytes": span(2 * 2**30)},
    "measured": [
        {"rows": 5000, "seconds": 1.0, "cpu_share": 0.5},
        {"rows": 10_000, "seconds": 2.0, "cpu_share": 0.99},
    ],
    "earlier": {"runs": ["one"], "seconds": 80.0},
}


def test_a_plan_says_what_would_run_what_it_needs_and_how_long():
    text = plan_text(PLAN, 120)

    for line in (
        "rows     300,000",
        "bytes    80 MiB in memory, 4 MiB stored",
        "fits     4 on 2 CPUs: 3 then 1",
        "peak memory   2.0 GiB (1.0 GiB to 4.0 GiB); fits into 8.0 GiB",
        "time          1:30 min (45.0 s to 3:00 min)",
        "of that       fits 24.0 s, evaluate 2.5 s",
        "earlier runs  1:20 min (one)",
        "measured      5,000, 10,000 rows in 3.0 s",
    ):
        assert line in text
    assert "forest, fold # of #      3  200,000  12.0 s (6.0 s to 24.0 s)  1 MiB" in text
    assert "stored" not in text.replace("4 MiB stored", "")


def test_a_plan_known_from_a_run_says_so_and_leaves_out_what_only_samples_tell():
    known = ("job", "rows", "columns", "members", "stages", "phases", "seconds")
    plan = {name: PLAN[name] for name in known} | {"memory": {"peak_bytes": None}}
    text = plan_text({**plan, "used": {"what": "trial", "run": "one"}}, 120)

    assert "fits     4: 3 then 1" in text
    assert "of that     evaluate 2.5 s" in text
    assert text.endswith("known from  run one, the last of the job that is searched")


def test_a_plan_says_what_is_stored():
    [member] = PLAN["members"]
    text = plan_text({**PLAN, "members": [{**member, "stored": 2}]}, 120)

    assert "stored   2 of these fits; they are not done again" in text
    assert "forest, fold # of #      3       2  200,000" in text


def test_a_plan_of_a_search_says_how_many_trials_there_are_and_fit():
    search = {
        "trials": 30,
        "each": span(12.0),
        "time_budget_s": None,
        "fitting": None,
        "at_once": 1,
    }
    each = "30, one after another, each 12.0 s (6.0 s to 24.0 s)"

    assert f"trials        {each}\n" in plan_text({**PLAN, "search": search}, 120)
    limited = {**search, "time_budget_s": 60.0, "fitting": 5}
    assert f"{each}; about 5 of 30 trials fit into 1:00 min" in plan_text(
        {**PLAN, "search": limited}, 120
    )
    assert "trials" not in plan_text(PLAN, 120)


def test_a_plan_of_a_search_in_a_fit_says_on_how_many_trials_it_was_measured():
    trials = {"trials": 100, "measured": 4, "each": span(1.0)}
    trials |= {"time_budget_s": 20.0, "fitting": 21}
    said = "100, each 1.0 s (0.5 s to 2.0 s), measured on 4; about 21 of 100 trials fit into 20.0 s"

    assert f"trials        {said}\n" in plan_text({**PLAN, "trials": trials}, 120)


def test_stages_of_as_many_fits_are_said_once():
    text = plan_text({**PLAN, "stages": [*[3] * 21, 2, 1, 1]}, 120)

    assert "fits     67 on 2 CPUs: 3 (21 times) then 2 then 1 (2 times)\n" in text


def test_memory_that_may_run_out_is_said_so():
    assert "; may not fit into 3.0 GiB" in plan_text({**PLAN, "available_bytes": 3 * 2**30}, 120)


def test_a_plan_that_was_made_beside_other_work_says_so():
    busy = [{"rows": 5000, "seconds": 1.0, "cpu_share": 0.5}]

    assert "beware" not in plan_text(PLAN, 120)
    assert "other work left it 50% of a CPU" in plan_text({**PLAN, "measured": busy}, 120)


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        ({"counted": False, "may_stop": False}, None),
        ({"counted": True, "may_stop": False}, "counted to their last\n"),
        ({"counted": True, "may_stop": True}, "they may stop before, which the range allows for"),
    ],
    ids=["measured", "counted", "may-stop"],
)
def test_a_plan_says_which_epochs_it_only_counted(epochs, words):
    text = plan_text({**PLAN, "epochs": epochs}, 120) + "\n"
    assert ("networks" in text) == (words is not None)
    assert words is None or words in text


def test_a_plan_is_no_run_and_the_run_after_it_says_what_was_predicted(forest_job, capfd):
    assert main(["plan", "forest.py", "--trees", "3"]) == 0
    assert RunStore("runs").list() == []
    assert "fits     one, in the driver" in capfd.readouterr().out

    assert main(["run", "forest.py", "--on", "debug", "--trees", "3"]) == 0
    details = RunStore("runs").load("last").details
    assert details["predicted"]["seconds"]["value"] > 0
    assert details["actual"]["seconds"] > 0
    assert details["actual"]["peak_bytes"] > 10 * 2**20

    assert main(["run", "forest.py", "--on", "debug", "--trees", "4"]) == 0
    assert "predicted" not in RunStore("runs").load("last").details


def test_an_earlier_run_of_the_same_job_is_in_the_plan(forest_job, capfd):
    assert main(["run", "forest.py", "--on", "debug", "--run-id", "one"]) == 0
    capfd.readouterr()

    assert main(["plan", "forest.py", "--json"]) == 0

    plan = json.loads(capfd.readouterr().out)
    assert plan["earlier"]["runs"] == ["one"]
    assert plan["earlier"]["seconds"] == pytest.approx(RunStore("runs").load("one").seconds)
    assert plan["rows"] == 600


@pytest.mark.parametrize(
    ("arguments", "change", "message"),
    [
        ([], None, "which job?"),
        (["nowhere.py"], None, "no such job file: nowhere.py"),
        (["forest.py", "--tree", "3"], None, "did you mean --trees?"),
        (["forest.py"], ('label="y"', 'label="z"'), "'z'"),
        (["forest.py"], ("seed=seed,", "resources=distml.Resources(memory_bytes=1000),"),
         "cannot run here: the rows alone take"),
    ],
    ids=["no job", "no file", "no parameter", "no label", "no memory"],
)  # fmt: skip
def test_what_cannot_run_is_refused_in_one_line(forest_job, capfd, arguments, change, message):
    if change is not None:
        source = (forest_job / "forest.py").read_text()
        (forest_job / "forest.py").write_text(source.replace(*change))

    assert main(["plan", *arguments]) == 2

    errors = capfd.readouterr().err
    assert errors.startswith("distml: error: ")
    assert errors.count("\n") == 1
    assert message in errors
