"""`distml plan JOB --on …`: what is said, what is chosen, and what is refused."""

import json
import shutil

import pytest

from distml.cli import main
from distml.errors import UserError
from distml.runs.plans import load_expectation
from distml.runs.store import RunStore
from distml.verbs.plan_place import expectation_of, place_plan, seconds_of
from distml.verbs.plan_text import place_text
from tests.launch.planned import GIB, head, member, node, plan, shape, span, workers

pytestmark = pytest.mark.filterwarnings("default")

CLUSTER = shape(
    head(instance_type="m.large"),
    node("cpu-spot", is_spot=True, instance_type="m.xlarge"),
    node("gpu", num_gpus=1, price=1.5, most=2),
    region="us-east-1",
)
STACK = plan(
    member("forest, fold # of #", units=30, seconds=120.0),
    member("net", units=1, seconds=600.0, workers=workers(num=2, gpus=1)),
    member("final", units=1, seconds=5.0, peak=0),
    stages=[{"forest, fold # of #": 30, "net": 1}, {"final": 1}],
)


def text_of(a_plan, *, columns=160, **limits):
    return place_text(a_plan, place_plan(a_plan, "cloud:x.yaml", CLUSTER, **limits), columns)


def test_a_plan_says_what_fits_where_how_long_it_takes_and_the_price():
    text = text_of(STACK)

    for line in (
        "job    flights\n",
        "rows   100,000\n",
        "fits   31 then 1\n",
        "where  cluster/aws.yaml (aws, us-east-1)\n",
        "forest, fold # of #     30  2:00 min (1:00 min to 4:00 min)   1.2 GiB  1 CPU          4 ",
        "2 times 1 GPU  1 gpu\n",
        "head (head)  m.large        1       0     0     2.0 of 16.0 GiB  $0.200\n",
        "cpu-spot     m.xlarge spot  0 to 8  4     0     6.4 of 16.0 GiB  $0.400\n",
        "machines    1 head, 2 gpu\n",
        "assumed     that a machine is there after 3:30 min (1:40 min to 9:00 min); ",
        "known from  samples of 1,000 rows, measured here in 2.0 s",
    ):
        assert line in text
    assert text.count("←") == 1
    assert "1 head, 2 gpu ←" in text
    assert "max_workers" not in text


def test_a_deadline_chooses_the_cheapest_and_says_how_to_have_it_so():
    text = text_of(STACK, deadline="1h")

    for line in (
        "1 head, 1 cpu-spot, 2 gpu ←",
        "deadline       1:00:00 h: kept, at the worst too\n",
        "machines       1 head, 1 cpu-spot, 2 gpu\n",
        "instead of     1 head, 2 gpu, which it would have otherwise\n",
        "to have it so  max_workers: 1 of cpu-spot in cluster/aws.yaml\n",
    ):
        assert line in text
    late = text_of(STACK, deadline="15m")
    assert "15:00 min: kept as expected, but not at the worst (40:05 min)" in late


def test_a_sample_that_was_held_up_by_other_work_is_said_to_be():
    assert "beware" not in text_of(STACK)
    busy = [{"rows": 1000, "seconds": 2.0, "cpu_share": 0.5}]
    assert "other work left it 50% of a CPU" in text_of({**STACK, "measured": busy})


def test_a_budget_chooses_the_fastest_and_both_limits_hold_together():
    within = place_plan(STACK, "x", CLUSTER, budget=2.0)
    both = place_plan(STACK, "x", CLUSTER, budget=2.0, deadline="2h")

    assert within["chosen"]["cost"]["value"] <= 2.0
    assert both["chosen"]["seconds"]["value"] <= 7200
    assert both["chosen"]["cost"]["value"] <= within["chosen"]["cost"]["value"]
    with pytest.raises(UserError, match=r"no fleet of .* does it for"):
        place_plan(STACK, "x", CLUSTER, budget=0.01, deadline="2h")
    assert "budget" in text_of(STACK, budget=2.0)


def test_what_may_be_too_little_and_what_is_not_known_is_said():
    tight = plan(member(units=4, peak=3 * GIB), memory={**STACK["memory"], "driver_bytes": span(
        12 * GIB
    )})  # fmt: skip
    bare = shape(head(price=None), node(price=None, memory=None), provider="local")

    place = place_plan(tight, "x", bare)
    text = place_text(tight, place, 160)

    assert "13.0 of 16.0 GiB (may be too little)" in text
    assert "of not known" in text
    assert "price       not known" in text
    assert "assumed" not in text


def test_a_task_without_samples_is_planned_without_a_time():
    nothing = dict.fromkeys(("peak_bytes", "driver_bytes", "matrix_bytes"))
    told = {
        "job": "loop", "rows": None, "members": [], "left": [], "phases": {}, "seconds": None,
        "workers": workers(num=2, gpus=1), "memory": nothing,
        "used": {"what": "nothing", "task": "Loop"},
    }  # fmt: skip

    text = text_of(told)

    assert "training      1  not known  not known  2 times 1 GPU  1 gpu" in text
    assert "machines    1 head, 2 gpu\n" in text
    assert "known from  what Loop asks for; it takes no samples: run it once" in text


@pytest.mark.parametrize(("at_once", "how"), [(1, "one after another"), (3, "3 at a time")])
def test_trials_of_a_search_are_counted(at_once, how):
    search = {"trials": 9, "at_once": at_once, "time_budget_s": None, "fitting": None}
    assert f"trials  9, {how}\n" in text_of({**STACK, "search": search})


def test_on_a_narrow_terminal_all_figures_are_there():
    text = text_of(STACK, columns=50)

    assert max(map(len, text.splitlines())) < 110
    assert "$0.400" in text
    assert "2 times 1 GPU" in text


def test_what_the_run_will_be_held_against():
    place = place_plan(STACK, "x", CLUSTER, deadline="1h")
    kept = expectation_of(place)

    # The driver sees neither the head nor itself start, nor the machines being taken down.
    assert place["chosen"]["seconds"]["value"] - kept["seconds"]["value"] == pytest.approx(243)
    assert kept["cost"]["value"] < place["chosen"]["cost"]["value"]
    assert kept["machines"] == {"head": 1, "cpu-spot": 1, "gpu": 2}
    assert kept["seconds"]["value"] <= 3600
    assert kept["cost"]["low"] <= kept["cost"]["value"]
    assert kept["peak_bytes"] == STACK["memory"]["driver_bytes"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("1.5h", 5400), ("45s", 45), ("1d 2h", 93600)],
)
def test_time_spans_are_read_as_people_write_them(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 hours", "-2h", "0h", "2h!", "h2", "1e3s", "nan"])
def test_what_is_no_time_span_is_refused(text):
    with pytest.raises(UserError, match="give a time span, such as 2h"):
        seconds_of(text)


@pytest.fixture
def cluster_job(forest_job, request):
    """A working directory with a job, and the cluster files that are shipped."""
    shutil.copytree(request.config.rootpath / "cluster", "cluster")
    return forest_job


def test_it_is_measured_once_and_known_afterwards(cluster_job, capfd):
    place = "cloud:cluster/aws.yaml"
    assert main(["plan", "forest.py", "--trees", "3", "--on", place]) == 0
    first = capfd.readouterr().out
    assert "known from  samples of" in first
    assert "fits   one, in the driver on the head" in first

    assert main(["plan", "forest.py", "--trees", "3", "--on", place, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["used"]["what"] == "plan"
    assert told["place"]["chosen"]["machines"] == {"head": 1}
    assert RunStore("runs").list() == []
    whole = f"cloud:{cluster_job}/cluster/aws.yaml"
    kept = load_expectation(RunStore("runs").storage, told["key"], whole)
    assert kept["seconds"] == told["place"]["run"]["seconds"]
    assert kept["cost"]["value"] > 0

    assert main(["run", "forest.py", "--trees", "3", "--on", "debug", "--run-id", "one"]) == 0
    capfd.readouterr()
    assert main(["plan", "forest.py", "--trees", "3", "--on", place, "--no-measure"]) == 0
    assert "known from  run one, the last of the same job" in capfd.readouterr().out


def test_this_machine_is_a_place_too(cluster_job, capfd):
    assert main(["plan", "forest.py", "--on", "local", "--json"]) == 0

    told = json.loads(capfd.readouterr().out)
    assert told["place"]["chosen"]["machines"] == {"machine": 1}
    assert told["place"]["chosen"]["cost"] is None


def test_what_this_machine_lacks_does_not_matter_elsewhere(cluster_job, capfd):
    source = (cluster_job / "forest.py").read_text()
    asks = "resources=distml.Resources(num_cpus=64, memory_bytes=1000),"
    (cluster_job / "forest.py").write_text(source.replace("seed=seed,", asks))

    assert main(["plan", "forest.py", "--on", "cloud:cluster/aws.yaml"]) == 0
    capfd.readouterr()

    (cluster_job / "forest.py").write_text(source.replace("seed=seed,", asks.replace("64", "6400")))
    assert main(["plan", "forest.py", "--on", "cloud:cluster/aws.yaml"]) == 2
    assert "num_cpus=6400 is more than cluster/aws.yaml can have" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--on", "cloud:cluster/aws.yaml", "--deadline", "soon"], "--deadline 'soon': give a"),
        (["--on", "cloud:cluster/aws.yaml", "--budget", "-3"], "--budget -3: give US dollars"),
        (["--on", "cloud:cluster/aws.yaml", "--budget", "nan"], "--budget nan: give US dollars"),
        (["--on", "cloud:cluster/aws.yaml", "--budget", "much"], "'much' is not a valid float"),
        (["--deadline", "2h"], "--deadline chooses machines: say where, such as --on"),
        (["--budget", "2"], "--budget chooses machines: say where, such as --on"),
        (["--on", "clowd:cluster/aws.yaml"], "unknown launcher 'clowd': did you mean cloud?"),
        (["--on", "cloud:cluster/nowhere.yaml"], "cluster/nowhere.yaml"),
        (["--on", "cloud"], "which cluster? say --on cloud:FILE"),
        (["--on", "cluster:http://127.0.0.1:9"], "127.0.0.1:9 does not answer"),
        (["--on", "cluster:nonesuch"], "unknown cluster 'nonesuch'"),
        (["--no-measure"], "nothing is known of this job in"),
    ],
    ids=["no duration", "negative", "no number", "no float", "deadline nowhere", "budget nowhere",
         "unknown launcher", "no such file", "no file", "nobody there", "no such name",
         "nothing stored"],
)  # fmt: skip
def test_wrong_input_is_refused_in_one_line(
    cluster_job, capfd, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    assert main(["plan", "forest.py", *arguments]) == 2

    errors = capfd.readouterr().err
    assert errors.startswith("distml: error: ")
    assert errors.count("\n") == 1
    assert message in errors


def test_a_deadline_that_nothing_keeps_is_refused_with_the_soonest(cluster_job, capfd):
    arguments = ["plan", "forest.py", "--on", "cloud:cluster/aws.yaml", "--deadline", "10s"]

    assert main(arguments) == 2

    error = capfd.readouterr().err
    assert "no fleet of cluster/aws.yaml ends within 10 s: the soonest takes" in error
    assert "say --deadline " in error
