import dataclasses

import pytest

from distml.runs.record import RunRecord, RunStatus
from distml.runs.sameness import Evidence, sameness

RECORD = RunRecord(
    run_id="one",
    job_file="job.py",
    status=RunStatus.SUCCEEDED,
    seed=1,
    versions={"python": "3.11.9", "numpy": "2.4"},
    metrics={"test": {"r2": 0.5}},
    details={"data": {"fingerprint": "f"}},
    launcher="debug",
)
FIRST = Evidence(
    place="debug",
    record=RECORD,
    units={"k1": "forest", "k2": "forest fold 0"},
    said={"k2": [0.25, 0.75]},
    golden={"predict()": ["yes", "no"]},
)


def other(**changes):
    record = dataclasses.replace(
        RECORD, run_id="two", launcher="local", **changes.pop("record", {})
    )
    return dataclasses.replace(FIRST, place="local", record=record, **changes)


def test_the_same_in_another_place_is_the_same():
    found = sameness(FIRST, other())

    assert found.is_same
    assert (found.values.num_values, found.values.largest) == (5, 0.0)
    assert list(found.told()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"units": {"k1": "forest", "k3": "forest fold 0"}, "said": {}},
            "units: forest fold 0 of another content than in debug",
        ),
        ({"units": {"k2": "forest fold 0"}}, "units: forest only in debug"),
        ({"units": {**FIRST.units, "k3": "tree"}}, "units: tree not in debug"),
        (
            {"said": {"k2": [0.25, 0.76]}},
            "values: prediction of forest fold 0 [1] is 0.76, it was 0.75",
        ),
        ({"golden": {"predict()": ["yes", "yes"]}}, "values: prediction predict() [1] is 'yes'"),
        ({"record": {"metrics": {"test": {"r2": 0.6}}}}, "values: metrics test r2 is 0.6"),
        (
            {"record": {"versions": {"python": "3.12.1", "numpy": "2.4"}}},
            "environment: versions python is '3.12.1', it was '3.11.9'",
        ),
        ({"record": {"seed": 2}}, "origin: seed is 2, it was 1"),
        (
            {"record": {"details": {"data": {"fingerprint": "g"}}}},
            "origin: data fingerprint is 'g', it was 'f'",
        ),
    ],
    ids=["content", "missing", "more", "fold", "golden", "score", "version", "seed", "data"],
)
def test_what_differs_is_named(changes, told):
    found = sameness(FIRST, other(**changes))

    assert not found.is_same
    assert any(line.startswith(told) for line in found.told())


@pytest.mark.parametrize(("networks", "agrees"), [([], False), ([{"epochs": 2}], True)])
def test_numbers_of_networks_may_be_further_apart(networks, agrees):
    record = dataclasses.replace(RECORD, details={"networks": networks})
    first = dataclasses.replace(FIRST, record=record)

    found = sameness(first, dataclasses.replace(first, said={"k2": [0.25, 0.75001]}))

    assert found.values_agree is agrees


def test_units_over_predictions_that_differ_in_the_last_digits_are_held_to_their_names():
    close = {"units": {"k1": "forest", "k3": "forest fold 0"}, "golden": {"predict()": [0.5]}}
    first = dataclasses.replace(FIRST, golden={"predict()": [0.5 + 1e-9]})

    found = sameness(first, other(**close, said={}))

    assert found.is_same
    assert found.by_name
    assert not sameness(first, other(**{**close, "units": {"k1": "forest"}}, said={})).is_same


def test_runs_without_a_value_in_common_are_not_the_same():
    record = dataclasses.replace(RECORD, metrics={})
    bare = dataclasses.replace(FIRST, record=record, said={}, golden={})

    found = sameness(bare, bare)

    assert list(found.told()) == ["values: cannot tell: the runs have no values in common"]
