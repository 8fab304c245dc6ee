"""How far the training of a network is, told by its events alone."""

from typing import Any

import pytest

from distml.runs.progress import Progress, describe, lines, progress_of
from distml.runs.training import Training, advance_training, figures, whereabouts


def event(kind: str, t: float = 0.0, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "t": t, **fields}


def begun(t: float = 0.0, step: int = 0, **fields: Any) -> dict[str, Any]:
    return event("training_started", t, epochs=4, steps=40, step=step, **fields)


def step(t: float, number: int, **fields: Any) -> dict[str, Any]:
    return event("step", t, step=number, **fields)


def epoch(t: float, number: int, **metrics: float) -> dict[str, Any]:
    metrics = {"epoch": float(number), "train_loss": 0.5, **metrics}
    return event("epoch", t, step=10 * (number + 1), metrics=metrics)


def of(*events: dict[str, Any]) -> Training:
    training = None
    for each in events:
        training = advance_training(training, each)
    assert training is not None
    return training


def test_epochs_steps_and_figures_are_taken_down() -> None:
    training = of(
        begun(num_workers=2),
        step(5, 5, loss=0.7, rows_per_s=1200.0, gpu_bytes=3 * 2**30),
        epoch(10, 0, val_loss=0.4, val_accuracy=0.9),
    )
    assert (training.epoch, training.step, training.loss) == (1, 10, 0.5)
    assert whereabouts(training) == "epoch 2 of 4, step 10 of 40"
    assert figures(training) == (
        "loss 0.5, val_loss 0.4, val_accuracy 0.9, 1,200 rows/s, 2 workers, GPU 3.0 GiB"
    )


@pytest.mark.parametrize(
    ("events", "now", "expected"),
    [
        pytest.param([begun()], 9, None, id="no-step-yet"),
        pytest.param([begun(), step(10, 10)], 10, 30, id="as-fast-as-so-far"),
        pytest.param([begun(100, step=20), step(110, 30)], 110, 10, id="resumed"),
        pytest.param([epoch(10, 0)], 10, None, id="a-loop-of-the-users-own"),
        pytest.param([begun(), event("training_done", 50)], 60, None, id="over"),
    ],
)
def test_the_rest_is_estimated_from_the_steps_so_far(
    events: list[dict[str, Any]], now: float, expected: float | None
) -> None:
    assert of(*events).eta_s(now) == expected


def test_what_goes_on_after_a_lost_worker_keeps_its_figures() -> None:
    training = of(
        begun(num_workers=2),
        event("workers", num_workers=2, host="a"),
        epoch(10, 0, val_loss=0.4),
        begun(60, step=10, epoch=1),
        event("workers", 61, num_workers=1, host="a"),
    )
    assert (training.epoch, training.num_workers, training.scores) == (1, 1, {"val_loss": 0.4})


def test_another_training_begins_anew() -> None:
    assert of(begun(), epoch(10, 0), event("training_done", 10), begun(20)).loss is None


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            [begun(), step(10, 10, loss=0.25)],
            ["fit: epoch 1 of 4, step 10 of 40, about 30 s left", "loss 0.25"],
            id="a-network-alone",
        ),
        pytest.param(
            [begun(may_stop=True), step(10, 10)],
            ["fit: epoch 1 of 4, step 10 of 40, at most 30 s left"],
            id="one-that-may-stop-early",
        ),
        pytest.param(
            [begun(), epoch(10, 0), event("training_done", 10)],
            ["fit: trained 1 epoch in 10 s", "loss 0.5"],
            id="done",
        ),
        pytest.param(
            [begun(), event("training_done", 10, peak_bytes=[3 * 2**29])],
            ["fit: trained 0 epochs in 10 s", "at most 1.5 GiB"],
            id="done-with-its-memory",
        ),
        pytest.param(
            [begun(num_workers=2), event("training_done", 10, peak_bytes=[2**29, 2**30])],
            ["fit: trained 0 epochs in 10 s", "2 workers, at most 1 GiB each"],
            id="done-with-the-memory-of-each",
        ),
        pytest.param(
            [event("plan", units=2), begun(), step(10, 10, loss=0.25)],
            ["fit: 0 of 2 done", "epoch 1 of 4, step 10 of 40, about 30 s left, loss 0.25"],
            id="in-a-member",
        ),
        pytest.param(
            [event("plan", units=2), begun(), event("training_done", 10)],
            ["fit: 0 of 2 done"],
            id="in-a-member-that-is-done",
        ),
    ],
)
def test_lines_say_where_it_stands_and_what_it_has_reached(
    events: list[dict[str, Any]], expected: list[str]
) -> None:
    assert lines(progress_of([event("phase", name="fit"), *events]), 10.0) == expected


def test_the_bar_counts_units_or_else_steps() -> None:
    network = [begun(), step(10, 10)]
    assert progress_of(network).share == (10, 40)
    assert progress_of([event("plan", units=3), *network]).share == (0, 3)
    assert progress_of([epoch(1, 0)]).share == (10, None)
    # One that ended early is done.
    assert progress_of([*network, event("training_done", 10)]).share == (40, 40)
    assert not Progress().has_begun


def test_a_new_attempt_forgets_the_training() -> None:
    progress = progress_of([begun(), step(1, 1), event("attempt", number=2)])
    assert progress == Progress()
    assert describe(progress, 0.0) == "units: 0 of 0 done"
