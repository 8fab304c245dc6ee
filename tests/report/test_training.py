"""What the report says of networks, from an evaluation or from the events of a run under way."""

from typing import Any

import pytest

from distml.report import compare_report, report_html
from distml.report.bars import epochs, outside_units
from distml.report.content import gather
from distml.report.timeline import timelines
from distml.report.training import training_of
from distml.runs.record import RunStatus
from tests.report.test_page import assert_sound, headings, parse, text_of

ZERO = 1_000.0
NASTY = "<script>alert('x')</script>"


def network(name: str = "net", num_epochs: int = 4, **changes: Any) -> dict[str, Any]:
    numbers = [float(n) for n in range(1, num_epochs + 1)]
    return {
        "name": name,
        "kind": "NeuralClassifier",
        "module": "CNN",
        "parameters": 1200,
        "epochs": num_epochs,
        "best_epoch": 2,
        "best": {"train_loss": 0.4, "val_loss": 0.5, "val_accuracy": 0.875},
        "steps": 40,
        "seconds": 3.5,
        "device": "cpu",
        "precision": "fp32",
        "num_workers": 2,
        "peak_gpu_bytes": None,
        "counters": {},
        "transfer": None,
        "history": {
            "epoch": numbers,
            "train_loss": [1 / n for n in numbers],
            "lr": [0.1 / n for n in numbers],
            "rows_per_s": [1000.0] * num_epochs,
            "seconds": [0.5] * num_epochs,
            "val_loss": [1.1 / n for n in numbers],
            "val_accuracy": [None, *[0.8] * (num_epochs - 1)],
        },
        "layers": [
            {"name": "body.0", "kind": "Linear", "parameters": 900},
            {"name": "body.1", "kind": "ReLU", "parameters": 0},
            {"name": NASTY, "kind": "Linear", "parameters": 300},
        ],
        **changes,
    }


def event(kind: str, t: float, **fields: Any) -> dict[str, Any]:
    return {"t": ZERO + t, "kind": kind, **fields}


def begun(t: float, num_workers: int = 0, epoch: int = 0) -> dict[str, Any]:
    return event(
        "training_started", t, epochs=3, steps=30, step=10 * epoch, epoch=epoch,
        num_workers=num_workers,
    )  # fmt: skip


def workers(t: float, number: int, rank: int, host: str = "a") -> dict[str, Any]:
    return event("workers", t, num_workers=number, host=host, **({"rank": rank} if rank else {}))


def epoch(t: float, number: int) -> dict[str, Any]:
    metrics = {"epoch": float(number), "train_loss": 0.5, "val_loss": 0.25}
    return event("epoch", t, step=10, metrics=metrics)


ELASTIC = [
    event("attempt", 0, number=1),
    workers(1, 2, 1, "b"),
    workers(1.5, 2, 0),
    begun(2, num_workers=2),
    epoch(3, 0),
    event("log", 4, message="workers were lost"),
    workers(5, 1, 0),
    begun(6, num_workers=1, epoch=1),
    epoch(7, 1),
    epoch(9, 2),
    event("training_done", 9, step=30),
    event("phase", 9, name="evaluate"),
    event("phase", 12, name="save"),
]
"""A training that loses a worker in its second epoch."""


def test_a_network_has_its_charts_its_layers_and_its_facts(store, make_run, binary):
    tree = assert_sound(report_html(store, make_run({**binary, "networks": [network()]})))

    shown = [title for _, title in headings(tree)]
    assert {"Training", "Loss", "Validation accuracy", "Learning rate", "Throughput"} <= set(shown)
    text = text_of(tree)
    for said in ("Where the lines part", "Dashed: the best epoch, 2.", "body.0 Linear 900 75.0 %"):
        assert said in text
    assert "all 1,200" in text


def test_a_rate_that_does_not_change_is_a_fact_and_no_chart(store, make_run, binary):
    one = network()
    one["history"]["lr"] = [0.1] * 4
    run = make_run({**binary, "networks": [one]})
    shown = [title for _, title in headings(parse(report_html(store, run)))]
    assert "Learning rate" not in shown
    assert training_of(gather(store, run)).networks[0].facts["learning rate"] == "0.1"


@pytest.mark.parametrize(
    ("peaks", "said"),
    [
        ([2**29], "512.0 MiB"),
        ([2**29, 2**30], "512.0 MiB, 1.0 GiB"),
        ([2**30, 2**29, 2**30, 2**31, 2**30], "512.0 MiB to 2.0 GiB"),
        (None, None),
    ],
    ids=["one", "two", "many", "not known"],
)
def test_the_memory_of_each_worker_is_a_fact(store, make_run, binary, peaks, said):
    run = make_run({**binary, "networks": [network(peak_bytes=peaks)]})
    facts = training_of(gather(store, run)).networks[0].facts
    assert facts.get("memory at its peak") == said


def test_several_networks_have_a_table_and_share_a_chart(store, make_run, binary):
    told = [network(f"net {n}", num_epochs=n + 2) for n in range(8)]
    for late in told[6:]:
        del late["history"], late["layers"]
    tree = assert_sound(report_html(store, make_run({**binary, "networks": told})))

    text = text_of(tree)
    assert "Validation loss" in [title for _, title in headings(tree)]
    assert text.count("curves and layers") == 6
    assert "The curves of the first 6 of 8 networks are drawn." in text


def test_a_long_list_of_layers_is_folded(store, make_run, binary):
    layers = [{"name": f"l{n}", "kind": "Linear", "parameters": 1} for n in range(13)]
    run = make_run({**binary, "networks": [network(layers=layers)]})
    assert "13 layers, 1,200 parameters" in text_of(parse(report_html(store, run)))


def test_what_was_mended_and_what_it_began_with_are_said(store, make_run, binary):
    transfer = {
        "said": "5 of 6 weights taken over",
        "loaded": {"number": 5, "keys": ["a"]},
        "missing": {"number": 0, "keys": []},
    }
    one = network(counters={"lost": 2, "out_of_memory": 1}, transfer=transfer)
    (shown,) = training_of(gather(store, make_run({**binary, "networks": [one]}))).networks
    assert shown.remarks == (
        "Workers were lost and replaced, 2 times.",
        "It ran out of GPU memory and went on in smaller micro-batches, once.",
        "It began with the weights of another: 5 of 6 weights taken over.",
    )
    assert shown.keys == {"loaded": ("a",)}


def test_a_network_of_one_epoch_and_without_a_validation_is_drawn(store, make_run, binary):
    one = network(num_epochs=1, best_epoch=None, best={"train_loss": 1.0})
    for name in ("val_loss", "val_accuracy"):
        del one["history"][name]
    tree = assert_sound(report_html(store, make_run({**binary, "networks": [one]})))
    assert "Dashed: the best epoch" not in text_of(tree)


def test_a_loop_of_the_users_own_is_drawn_by_what_it_reports(store, make_run, binary):
    history = [{"loss": 0.9, "f1": 0.5}, {"loss": 0.4, "f1": 0.7}]
    told = {"history": history, "best": 1, "metric": "f1"}
    tree = assert_sound(report_html(store, make_run({**binary, "training": told})))
    assert {"Loss", "F1"} <= {title for _, title in headings(tree)}


def test_a_run_under_way_is_shown_by_its_events(store, make_run):
    events = [event("attempt", 0, number=1), begun(1), epoch(2, 0), epoch(3, 1)]
    # What was begun again from the first epoch on has the second one only once.
    events += [event("attempt", 10, number=2), begun(11, epoch=1), epoch(12, 1)]
    run = make_run(None, events, status=RunStatus.RUNNING)
    training = training_of(gather(store, run))
    assert training.networks[0].facts["epochs"] == "2"
    assert_sound(report_html(store, run))


def test_a_run_that_failed_says_how_far_its_network_was(store, make_run):
    events = [event("attempt", 0, number=1), event("phase", 0, name="fit"), begun(1), epoch(2, 0)]
    run = make_run(None, events, status=RunStatus.FAILED, reason="no")
    assert "It got as far as fit: epoch 2 of 3, step 10 of 30." in text_of(
        parse(report_html(store, run))
    )


def test_epochs_within_units_are_not_taken_for_a_network_of_the_run(store, make_run):
    told = {"unit": "u", "member": "net"}
    events = [
        event("attempt", 0, number=1),
        event("unit_done", 0, **told, cached=True),
        event("unit_started", 1, **told),
        begun(1),
        epoch(2, 0),
        event("unit_done", 3, **told, seconds=2.0, worker="w"),
    ]
    run = make_run(None, events, status=RunStatus.RUNNING)
    assert training_of(gather(store, run)) is None
    assert [one["kind"] for one in outside_units(events)] == ["attempt"]
    (line,) = timelines(events)
    assert [(lane.name, lane.noun) for lane in line.lanes] == [("w", "fit")]


def test_workers_that_come_and_go_are_lanes_of_the_timeline():
    (line,) = timelines(ELASTIC)

    lanes = {lane.name: lane for lane in line.lanes}
    assert list(lanes) == ["a, worker 0", "b, worker 1"]
    first = [(bar.start_s, bar.end_s, bar.state) for bar in lanes["a, worker 0"].bars]
    assert first == [(1.5, 3, "done"), (3, 5, "again"), (5, 7, "done"), (7, 9, "done")]
    assert [bar.state for bar in lanes["b, worker 1"].bars] == ["done", "again"]
    assert lanes["a, worker 0"].num_fits == 3
    assert lanes["a, worker 0"].bars[0].name.startswith("epoch 1, 1.5 s, train_loss 0.5")
    assert line.num_workers == 2


def test_workers_are_listed_with_their_hosts(store, make_run, binary):
    run = make_run({**binary, "networks": [network()]}, ELASTIC)
    assert training_of(gather(store, run)).workers == (
        {"came after": "1.0 s", "workers": "2", "hosts": "a, b"},
        {"came after": "5.0 s", "workers": "1", "hosts": "a"},
    )
    assert_sound(report_html(store, run))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([begun(1), epoch(2, 0)], [("driver", 1, 2), ("driver", 2, 9)], id="cut-short"),
        pytest.param(
            [event("phase", 1, name="train"), epoch(2, 0), event("training_done", 3)],
            [("driver", 1, 2)],
            id="a-loop-that-says-no-more",
        ),
        pytest.param([event("phase", 1, name="fit")], [], id="no-network"),
    ],
)
def test_a_network_in_the_driver_has_its_lane(events, expected):
    assert [(lane, bar.start_s, bar.end_s) for lane, bar in epochs(events, ZERO, 9.0)] == expected


def test_ten_workers_stand_in_their_order():
    together = [workers(1 + rank / 100, 11, rank) for rank in range(11)]
    (line,) = timelines([event("attempt", 0), *together, epoch(3, 0)])
    assert [lane.name for lane in line.lanes][-2:] == ["a, worker 9", "a, worker 10"]


def test_two_runs_overlay_their_validation(store, make_run, binary):
    runs = [
        make_run({**binary, "networks": [network(num_epochs=n)]}, run_id=f"run-{n}") for n in (3, 5)
    ]
    tree = assert_sound(compare_report(store, *runs))
    assert {"Training", "Validation loss", "Validation accuracy"} <= {
        title for _, title in headings(tree)
    }


def test_two_runs_of_which_one_has_no_network_have_no_training(store, make_run, binary):
    runs = [make_run({**binary, "networks": [network()]}, run_id="a"), make_run(binary, run_id="b")]
    assert "Training" not in [title for _, title in headings(parse(compare_report(store, *runs)))]
