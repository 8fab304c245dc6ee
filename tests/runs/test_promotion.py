"""When a retrained model takes the former one's place."""

import dataclasses

import pytest

from distml.errors import StorageError
from distml.runs.promotion import chain, decide, promote, promoted
from distml.runs.record import RunRecord
from distml.runs.storage import open_storage


def record(new=0.80, former=0.75, run_id="two", **changes):
    rows = [
        {"model": "Forest", "kind": "model", "late": {"roc_auc": new, "accuracy": 0.7}},
        {"model": "former", "kind": "former", "late": {"roc_auc": former, "accuracy": 0.9}},
    ]
    fields = {"run_id": run_id, "job_file": "jobs/x.py", "metrics": {"late": rows[0]["late"]}}
    return RunRecord(**{**fields, "table": rows, **changes})


@pytest.mark.parametrize(
    ("new", "margin", "expected"),
    [
        (0.80, 0.0, True),
        (0.80, 0.04, True),
        (0.80, 0.06, False),
        (0.75, 0.0, False),
        (0.7, 0, False),
    ],
    ids=["better", "by more than the margin", "by less", "equal", "worse"],
)
def test_it_has_to_be_better_by_more_than_the_margin(new, margin, expected):
    assert decide(record(new), {}, margin).promoted is expected


@pytest.mark.parametrize("scores", [{"new": None}, {"former": None}], ids=["new", "former"])
def test_without_both_scores_nothing_is_promoted(scores):
    decision = decide(record(**scores), {}, 0.0)

    assert not decision.promoted
    assert str(decision) == "not promoted: roc_auc on late is not known of both models"


def test_the_decision_says_by_how_much_and_how_sure_that_is():
    interval = {"value": 0.05, "low": 0.01, "high": 0.09}
    evaluation = {"sets": {"late": {"differences": {"former": {"roc_auc": interval}}}}}

    decision = decide(record(), evaluation, 0.02)

    assert str(decision) == (
        "promoted: roc_auc on late is 0.8000, it was 0.7500 "
        "(+0.05, +0.01 to +0.09 by chance); asked for more than +0.02"
    )
    assert decision.scores["late"]["accuracy"] == {"former": 0.9, "new": 0.7}


def test_a_run_without_a_former_model_is_refused():
    with pytest.raises(StorageError, match="run two has no scores of the former model"):
        decide(record(table=()), {}, 0.0)


def test_the_pointer_names_the_model_that_was_promoted_last(tmp_path):
    storage = open_storage(tmp_path)
    assert promoted(storage, "x") is None

    for run_id in ("two", "three"):
        new = record(run_id=run_id)
        promote(storage, new, decide(new, {}, 0.0))

    pointer = promoted(storage, "x")
    assert (pointer["run"], pointer["bundle"]) == ("three", "three/bundle")
    assert pointer["decision"]["former"] == 0.75


def test_a_damaged_pointer_is_refused(tmp_path):
    storage = open_storage(tmp_path)
    storage.write("promoted/x.json", b"{")

    with pytest.raises(StorageError, match="damaged"):
        promoted(storage, "x")


def test_the_chain_goes_back_to_the_first_run():
    one = record(run_id="one")
    two = dataclasses.replace(record(), details={"retraining": {"chain": chain(one)}})

    assert chain(two) == ["two", "one"]
