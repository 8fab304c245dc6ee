from dataclasses import replace

import pytest

from distml import terminal
from distml.runs.paths import RunPaths
from distml.runs.record import RunRecord, RunStatus


def test_each_test_set_has_a_table_of_its_own():
    rows = [
        {
            "model": "stack",
            "kind": "ensemble",
            "fit_s": 2.0,
            "predict_s": 3.0,
            "old": {"r2": 0.5},
            "new": {"r2": 0.4},
        },
        {"model": "tree", "kind": "member", "fit_s": 1.0, "old": {"r2": 0.3}, "new": {}},
    ]
    record = RunRecord(run_id="r", job_file="j.py", table=rows)
    assert terminal.scores_text(record, 80).splitlines() == [
        "old",
        "  model  kind          r2   fit_s  predict_s, all sets",
        "  stack  ensemble  0.5000  2.0000               3.0000",
        "  tree   member    0.3000  1.0000",
        "",
        "new",
        "  model  kind          r2   fit_s  predict_s, all sets",
        "  stack  ensemble  0.4000  2.0000               3.0000",
        "  tree   member            1.0000",
    ]


def test_the_final_models_scores_stand_above_how_far_they_may_be_off():
    rows = [
        {"model": "stack", "kind": "ensemble", "size_bytes": 1_215_547, "new": {"r2": 0.5}},
        {"model": "tree", "kind": "member", "size_bytes": None, "new": {"r2": 0.3}},
    ]
    intervals = {"new": {"r2": {"value": 0.5, "low": 0.46, "high": 0.52}}}
    record = RunRecord(run_id="r", job_file="j.py", table=rows, details={"intervals": intervals})
    assert terminal.scores_text(record, 80).splitlines() == [
        "new",
        "  model  kind          r2  size",
        "  stack  ensemble  0.5000  1.22 MB",
        "  ±      95 %      0.0300",
        "  tree   member    0.3000",
    ]


def test_a_score_without_an_interval_has_no_line_for_one():
    nothing = {"value": None, "low": None, "high": None}
    table = [{"model": "vote", "kind": "ensemble", "new": {"roc_auc": None}}]
    details = {"intervals": {"new": {"roc_auc": nothing}}}
    record = RunRecord(run_id="r", job_file="j.py", table=table, details=details)
    assert "±" not in terminal.scores_text(record, 80)


def test_only_models_that_were_validated_stand_in_that_table():
    rows = [
        {"model": "stack", "kind": "ensemble", "validation": {"r2": 0.4}, "new": {"r2": 0.5}},
        {"model": "tree", "kind": "member", "new": {"r2": 0.3}},
    ]
    text = terminal.scores_text(RunRecord(run_id="r", job_file="j.py", table=rows), 80)
    assert [part.count("tree") for part in text.split("\n\n")] == [0, 1]


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (999_600, "1 MB"), (123_456, "123 kB"), (7.2e12, "7.2e+03 GB")],
)
def test_sizes_read_as_people_say_them(num_bytes, text):
    table = [{"model": "a", "kind": "model", "size_bytes": num_bytes, "new": {"r2": 1.0}}]
    assert text in terminal.scores_text(RunRecord(run_id="r", job_file="j.py", table=table), 80)


def test_the_networks_of_a_run_have_a_line_each():
    networks = [
        {
            **{"name": "net", "module": "CNN", "parameters": 1200, "epochs": 9, "best_epoch": 4},
            "peak_bytes": 412_000_000,
        },
        {"name": "other", "module": "MLP", "parameters": 80, "epochs": 9, "best_epoch": None},
    ]
    record = RunRecord(run_id="r", job_file="j.py", details={"networks": networks})
    text = terminal.record_text(record, RunPaths("r"), 80)
    shown = [line.strip() for line in text.partition("networks\n")[2].splitlines()[:3]]
    assert shown == [
        "name   module  parameters  epochs  best_epoch  memory",
        "net    CNN           1200       9           4  412 MB",
        "other  MLP             80       9",
    ]
    assert "networks" not in terminal.record_text(replace(record, details={}), RunPaths("r"), 80)


def test_a_model_that_is_a_pickle_says_so_beside_its_place():
    record = RunRecord(run_id="a", job_file="a.py", status=RunStatus.SUCCEEDED)
    record = replace(record, artifacts={"bundle": {"path": "bundle"}})
    pickled = replace(record, details={"pickled": "estimator (it holds x.Tree); load it with …"})

    for text in (terminal.record_text, terminal.outcome_text):
        said = text(pickled, RunPaths("a"), 80)
        assert "pickled  estimator (it holds x.Tree); load it" in said
        assert "pickled" not in text(record, RunPaths("a"), 80)


def again(**details):
    record = RunRecord(run_id="c", job_file="a.py", details=details)
    return terminal.record_text(record, RunPaths("runs/c"), 80)


def test_a_retraining_names_its_parent_the_former_model_the_decision_and_the_chain():
    parent = {"run": "b", "fresh": False, "former": "b", "warm": True, "margin": 0.01}
    told = {"chain": ["b", "a"], "said": "promoted: r2 on test is 0.9, it was 0.8"}

    assert again(parent=parent, retraining=told).endswith(
        "retraining\n"
        "  of            b\n"
        "  held against  b/bundle, and begun from it\n"
        "  decision      promoted: r2 on test is 0.9, it was 0.8\n"
        "  chain         b, a"
    )


def test_a_retraining_without_an_outcome_says_what_it_is_asked_for():
    parent = {"run": "b", "fresh": False, "former": "b", "warm": False, "margin": 0.5}

    assert "  decision      not yet: asked for more than +0.5" in again(parent=parent)


def test_a_reproduction_names_its_parent_and_what_came_of_it():
    parent = {"run": "b", "fresh": True, "former": None, "warm": False, "margin": None}
    told = {"said": "agrees exactly: 9 values are the same"}

    assert again(parent=parent, reproduction=told).endswith(
        "reproduction\n  of       b\n  outcome  agrees exactly: 9 values are the same"
    )
    assert "reproduction" not in again()


def test_a_search_names_its_best_configuration_and_what_became_of_the_others():
    search = {"metric": "roc_auc", "best": 3, "trials": 30, "stopped_early": 27, "failed": 0}
    search |= {"params": {"C": 0.1, "kind": "l2"}, "score": 0.92654, "folds": 3}
    record = RunRecord(run_id="a", job_file="a.py")
    record = replace(record, details={"search": search}, status=RunStatus.SUCCEEDED)

    for text in (terminal.record_text, terminal.outcome_text):
        said = text(record, RunPaths("a"), 80)
        assert "best configuration\n  C        0.1000\n  kind     l2" in said
        assert "3 of 30, 27 stopped early" in said
        assert "0.9265, mean of 3 folds" in said
