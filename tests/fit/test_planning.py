"""What a plan says of a job, from samples that were made up and from a real one."""

from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from distml import session
from distml.data import ByHash, Split, write_shards
from distml.ensemble import StackingClassifier, VotingClassifier
from distml.errors import DataError, UserError
from distml.fit import Fit, planning
from distml.fit.planning import draw_up, plan_fit
from distml.fit.samples import sizes
from distml.fit.sampling import FitCost, Sample, measure, resident_bytes, standing_bytes
from distml.job import Resources, RunContext
from distml.runs.units import UnitStore, use_units

MIB = 2**20


def fit_cost(kind, rows, stage=0, seconds_per_row=1e-3, bytes_per_row=100, **fields):
    return FitCost(
        kind=kind,
        rows=rows,
        stage=stage,
        seconds=seconds_per_row * rows,
        peak_bytes=bytes_per_row * rows,
        **fields,
    )


def sample(rows, fits=(), **phases):
    return Sample(
        rows=rows,
        phases={"read": 1.0, **phases},
        fits=tuple(fits),
        driver_bytes=100 * MIB + 1000 * rows,
        matrix_bytes=80 * rows,
    )


def context(**resources):
    return RunContext(
        run_id="r",
        run_uri="nowhere",
        seed=0,
        resources=Resources(**resources),
        emit=lambda kind, **fields: None,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    generator = np.random.default_rng(0)
    n = 3000
    size = generator.normal(size=n)
    table = pa.table(
        {
            "size": size,
            "noise": generator.normal(size=n),
            "broken": np.where(size + generator.normal(size=n) > 0, "yes", "no"),
        }
    )
    return write_shards(table, tmp_path_factory.mktemp("data") / "parts", num_shards=2)


def fit(data, **changes):
    arguments = {
        "data": data,
        "label": "broken",
        "estimator": LogisticRegression(),
        "split": Split({"test": ByHash(0.2)}),
    }
    return Fit(**{**arguments, **changes})


def planned(task, **resources):
    with session.inline():
        return plan_fit(task, context(**resources), budget_s=0.0)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (320_000, [5000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000]),
        (4000, [500, 1000, 2000, 4000]),
        (1000, [250, 500, 1000]),
    ],
    ids=["many rows", "few rows", "fewer than three sizes of enough rows"],
)
def test_sizes_are_fractions_of_the_rows(rows, expected):
    assert sizes(rows) == expected


def test_a_plan_says_what_another_place_has_to_know():
    workers = {"num_workers": 2, "cpus_per_worker": 1, "gpus_per_worker": 0}
    samples = [
        sample(n, [fit_cost("fold #", n), fit_cost("net", n, workers=workers, stage=1)])
        for n in (1000, 2000, 4000)
    ]

    plan = draw_up(samples, 100_000, 2, stored={"fold #": 1}, own_bytes=50 * MIB)

    assert plan["left"] == [{}, {"net": 1}]
    assert [member["workers"] for member in plan["members"]] == [None, workers]
    memory = plan["memory"]
    assert memory["matrix_bytes"]["value"] == pytest.approx(80 * 100_000, rel=0.01)
    assert memory["driver_bytes"]["value"] == pytest.approx(100 * MIB + 1e8, rel=0.01)
    assert memory["process_bytes"] == 50 * MIB


def test_fits_are_laid_out_over_the_cpus_stage_after_stage():
    samples = [
        sample(n, [*(fit_cost("fold #", n) for _ in range(4)), fit_cost("final", n, stage=1)])
        for n in (1000, 2000, 4000)
    ]

    plan = draw_up(samples, 100_000, 2)

    # Each fit takes 100 s: four on two CPUs, then one alone.
    assert plan["fits_seconds"]["value"] == pytest.approx(300, rel=0.01)
    assert plan["stages"] == [4, 1]
    assert [(m["fit"], m["units"], m["rows"]) for m in plan["members"]] == [
        ("fold #", 4, 100_000),
        ("final", 1, 100_000),
    ]


def test_fits_that_are_stored_take_no_time():
    samples = [
        sample(n, [*(fit_cost("fold #", n) for _ in range(4)), fit_cost("final", n, stage=1)])
        for n in (1000, 2000, 4000)
    ]

    plan = draw_up(samples, 100_000, 2, stored={"fold #": 2, "final": 9})

    assert plan["fits_seconds"]["value"] == pytest.approx(100, rel=0.01)
    assert plan["stages"] == [4, 1]
    assert [(m["units"], m["stored"]) for m in plan["members"]] == [(4, 2), (1, 1)]


def stored(plan):
    return {m["fit"]: (m["stored"], m["units"]) for m in plan["members"]}


def run_and_plan(task, store, then=None):
    """Run a task with a store, then plan it or another one with it."""
    folder = store.uri + "-run"
    with session.inline(), use_units(store):
        task.run(replace(context(), run_uri=folder))
        before = sorted(store.keys())
        task = then or task
        plan = plan_fit(task, context(), stored=partial(task._stored, 0), budget_s=0.0)
        # Neither samples nor the survey leave anything.
        assert sorted(store.keys()) == before
    return plan


def test_a_plan_says_which_fits_the_storage_has(data, tmp_path):
    tree, linear = ("tree", DecisionTreeClassifier()), ("linear", LogisticRegression())
    done = fit(data, estimator=StackingClassifier([tree], cv=2), cross_validation=3)
    asked = fit(data, estimator=StackingClassifier([tree, linear], cv=2), cross_validation=3)
    folds = "cross-validation, fold # of #"

    plan = run_and_plan(done, UnitStore(tmp_path / "units"), asked)

    assert stored(plan) == {
        "tree, all rows": (1, 1),
        "tree, fold # of #": (2, 2),
        "linear, all rows": (0, 1),
        "linear, fold # of #": (0, 2),
        "final estimator, out-of-fold predictions": (0, 1),
        f"{folds} > tree, all rows": (3, 3),
        f"{folds} > tree, fold # of #": (6, 6),
        f"{folds} > linear, all rows": (0, 3),
        f"{folds} > linear, fold # of #": (0, 6),
        f"{folds} > final estimator, out-of-fold predictions": (0, 3),
    }


def test_a_job_that_ran_has_no_fits_left(data, tmp_path):
    task = fit(data, estimator=StackingClassifier([("tree", DecisionTreeClassifier())], cv=2))

    plan = run_and_plan(task, UnitStore(tmp_path / "units"))

    assert {found == all_of_it for found, all_of_it in stored(plan).values()} == {True}
    assert plan["fits_seconds"]["value"] == 0


def test_refits_of_any_estimator_are_planned_and_found(data, tmp_path):
    done = fit(data, cross_validation=3)
    asked = fit(data, cross_validation=3, learning_curve=[0.5, 1.0])

    plan = run_and_plan(done, UnitStore(tmp_path / "units"), asked)

    assert stored(plan) == {
        "cross-validation, fold # of #": (3, 3),
        "learning curve, # rows": (0, 2),
    }
    # Brief work needs no Ray.
    assert plan["seconds"]["value"] < 7


def test_memory_is_the_driver_and_the_workers_with_the_largest_fits():
    samples = [
        sample(n, [fit_cost("large", n, bytes_per_row=1000), fit_cost("small", n)])
        for n in (1000, 2000, 4000)
    ]

    plan = draw_up(samples, 100_000, 1, own_bytes=50 * MIB, shared_bytes=10 * MIB)

    driver, shared, worker = 90 * MIB + 10**8, 8 * 10**6, 50 * MIB + 10**8
    assert plan["memory"]["peak_bytes"]["value"] == pytest.approx(
        driver + shared + worker, rel=0.01
    )


def test_a_job_without_members_is_its_phases_and_starts_no_ray():
    samples = [sample(n, fit=1e-4 * n**1.5) for n in (1000, 2000, 4000)]

    plan = draw_up(samples, 64_000, 2)

    assert plan["seconds"]["value"] == pytest.approx(1.0 + 1e-4 * 64_000**1.5, rel=0.05)
    assert plan["members"] == []


def test_a_plan_knows_the_graph_of_a_stack_without_running_all_of_it(data):
    members = [("tree", DecisionTreeClassifier()), ("linear", LogisticRegression())]
    inner = VotingClassifier([("deep", DecisionTreeClassifier())])
    plan = planned(fit(data, estimator=StackingClassifier([*members, ("vote", inner)], cv=3)))

    # Three members on all rows and on three folds; a vote in a fold also predicts, in a unit of
    # its own; the final estimator waits.
    # If its prediction comes last of all, it has waited for the others, and is a stage of its own.
    assert sum(plan["stages"][:-1]) == 12 + 3
    assert plan["stages"][-1] == 1
    assert plan["rows"] == 3000
    assert plan["columns"] == 2
    assert "tree, fold # of #" in [member["fit"] for member in plan["members"]]


def test_a_sample_runs_the_whole_task_on_fewer_rows(data):
    with session.inline():
        found = measure(fit(data), 1000, context(), one_thread=False)

    assert found.rows == 1000
    assert {"read", "encode", "fit", "evaluate", "save"} <= found.phases.keys()
    assert found.fits == ()
    assert 0 < found.cpu_share <= 1
    assert found.matrix_bytes == pytest.approx(8 * 2 * 800, rel=0.1)


def test_a_process_says_what_it_holds_before_it_has_data():
    own, shared = standing_bytes()

    assert 10 * MIB < own < resident_bytes()
    assert 0 <= shared < resident_bytes()


def test_a_sample_that_lacks_a_class_is_passed_over(tmp_path):
    rare = pa.table({"x": np.arange(3000.0), "y": (np.arange(3000) < 12).astype(int)})
    shards = write_shards(rare, tmp_path / "rare", num_shards=1)
    task = fit(
        shards, label="y", estimator=StackingClassifier([("t", DecisionTreeClassifier())], cv=8)
    )

    assert [size["rows"] for size in planned(task)["measured"]] == [3000]


def test_of_rows_that_are_streamed_few_are_in_memory_at_one_time():
    samples = [sample(n) for n in (1000, 2000, 4000)]

    few, whole = (
        draw_up(samples, 10**9, 2, buffer_bytes=buffer)["memory"]["driver_bytes"]["value"]
        for buffer in (500 * MIB, None)
    )

    assert whole == pytest.approx(1000 * 10**9, rel=0.01)
    assert few == pytest.approx(600 * MIB + 32 * 10**9, rel=0.01)


def test_data_that_memory_cannot_hold_is_refused_by_name_of_the_shortfall(data):
    with pytest.raises(UserError, match=r"cannot run here: the rows alone take .* too little"):
        planned(fit(data), memory_bytes=1000)


def test_a_peak_that_memory_cannot_hold_is_refused(data):
    with pytest.raises(UserError, match=r"cannot run here: it takes at least .* too little"):
        planned(fit(data), memory_bytes=10 * MIB)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "brocken"}, "brocken"),
        ({"features": ["sice"]}, "sice"),
        ({"data": "no/such/folder"}, "no/such/folder"),
    ],
    ids=["label", "feature", "data"],
)
def test_what_cannot_run_is_refused_before_anything_is_measured(
    data, changes, message, monkeypatch
):
    monkeypatch.setattr(planning, "measure_samples", None)
    with pytest.raises(DataError, match=message):
        planned(fit(**{"data": data, **changes}))
