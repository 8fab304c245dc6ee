from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from distml.errors import UserError
from distml.train.batch import MemoryPart
from distml.train.checkpoint import Checkpoints
from distml.train.context import StoppedError, Train
from distml.train.fitting import fit_network
from distml.train.objective import objective_of
from distml.train.position import Position
from distml.train.rows import Rows
from distml.train.training import DivergedError, Training


@dataclass
class Channel:
    """Asks to stop at a step."""

    stop_at: int | None = None
    events: list = field(default_factory=list)
    train: Train | None = None

    def emit(self, kind, **fields):
        self.events.append(kind)

    def must_stop(self):
        return self.train.position.step == self.stop_at

    def must_save(self):
        return False


class Net(nn.Module):
    """Takes a batch, as the networks of the estimators do."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, batch):
        return self.layers(batch["numbers"])


def linear(num_outputs=1):
    return Net(nn.Linear(3, num_outputs))


def deep(num_outputs=1, dropout=0.0):
    layers = [nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, num_outputs)]
    return Net(*layers)


def rows_of(num_rows=12, seed=0, **more):
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(num_rows, 3)).astype(np.float32)
    target = (numbers @ np.array([[1.0], [-2.0], [0.5]]) + 0.3).astype(np.float32)
    return Rows({"numbers": numbers, "y": target, **more})


def classes_of(num_rows=12, seed=0, **more):
    rows = rows_of(num_rows, seed)
    return Rows({**rows.arrays, "y": (rows.arrays["y"][:, 0] > 0).astype(np.int64), **more})


SQUARED = objective_of("squared_error", task="regression")
ENTROPY = objective_of("cross_entropy", task="classification")
PLAIN = Training(
    build=linear,
    objective=SQUARED,
    num_outputs=1,
    epochs=1,
    batch_size=12,
    optimizer=torch.optim.SGD,
    lr=0.1,
    seed=3,
)


def made(rows, *, validation=None, place=None, stop_at=None, every_s=60.0):
    parts = {"train": MemoryPart(rows)}
    if validation is not None:
        parts["validation"] = MemoryPart(validation)
    channel = Channel(stop_at)
    checkpoints = None if place is None else Checkpoints(str(place))
    train = Train(
        parts=parts,
        seed=5,
        channel=channel,
        checkpoints=checkpoints,
        checkpoint_every_s=every_s,
    )
    channel.train = train
    return train


def fit(training, rows=None, **options):
    return fit_network(made(rows_of() if rows is None else rows, **options), training)


def drawn(training):
    """The network as it begins."""
    torch.manual_seed(training.seed)
    return training.build()


def assert_close(weights, others, **tolerance):
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert torch.allclose(weight, others[name], **tolerance), name


def assert_equal(weights, others):
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, others[name]), name


def by_hand(training, rows, steps, loss_of=functional.mse_loss):
    """The judge: full batches, one after another, in plain torch."""
    model = drawn(training)
    optimizer = training.optimizer(model.parameters(), lr=training.lr, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        outputs = model({"numbers": torch.from_numpy(rows.arrays["numbers"])})
        loss = loss_of(outputs, torch.from_numpy(rows.arrays["y"]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.state_dict(), losses


def test_one_step_of_a_linear_network_is_the_closed_form():
    rows = rows_of()
    before = {name: w.numpy() for name, w in drawn(PLAIN).state_dict().items()}
    x, y = rows.arrays["numbers"].astype(float), rows.arrays["y"].astype(float)
    weight, bias = before["layers.0.weight"].astype(float), before["layers.0.bias"].astype(float)
    error = x @ weight.T + bias - y
    fitted = fit(PLAIN, rows)
    assert fitted.history[0]["train_loss"] == pytest.approx((error**2).mean(), rel=1e-6)
    expected = weight - 0.1 * 2 * error.T @ x / len(x)
    assert np.allclose(fitted.weights["layers.0.weight"], expected, atol=1e-6)
    expected = bias - 0.1 * 2 * error.mean(0)
    assert np.allclose(fitted.weights["layers.0.bias"], expected, atol=1e-6)
    assert fitted.num_steps == 1
    assert fitted.best_epoch is None


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("classify", [False, True], ids=["numbers", "classes"])
def test_full_batches_are_the_loop_of_plain_torch(optimizer, classify):
    rows = classes_of() if classify else rows_of()
    width = 2 if classify else 1
    training = replace(
        PLAIN,
        build=partial(deep, width),
        num_outputs=width,
        objective=ENTROPY if classify else SQUARED,
        optimizer=optimizer,
        epochs=6,
    )
    loss_of = functional.cross_entropy if classify else functional.mse_loss
    weights, losses = by_hand(training, rows, 6, loss_of)
    fitted = fit(training, rows)
    assert_close(fitted.weights, weights, atol=1e-6)
    assert [h["train_loss"] for h in fitted.history] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("batch_size", [12, 5], ids=["full", "uneven"])
@pytest.mark.parametrize("accumulate", [2, 4, 5])
def test_micro_batches_change_nothing(accumulate, batch_size):
    training = replace(PLAIN, build=deep, epochs=4, batch_size=batch_size)
    whole = fit(training)
    cut = fit(replace(training, accumulate=accumulate))
    assert_close(cut.weights, whole.weights, atol=1e-6)
    losses = [[h["train_loss"] for h in each.history] for each in (whole, cut)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(any), st.booleans())
def test_whole_weights_are_repeated_rows(counts, classify):
    rows = classes_of(6) if classify else rows_of(6)
    repeated = {name: np.repeat(a, counts, axis=0) for name, a in rows.arrays.items()}
    width = 2 if classify else 1
    training = replace(
        PLAIN,
        build=partial(linear, width),
        num_outputs=width,
        objective=ENTROPY if classify else SQUARED,
        epochs=3,
    )
    weight = np.array(counts, dtype=np.float32)
    weighted = rows.having(weight=(weight / weight.mean()).astype(np.float32))
    one = fit(replace(training, batch_size=6), weighted)
    other = fit(replace(training, batch_size=sum(counts)), Rows(repeated))
    assert_close(one.weights, other.weights, atol=1e-5)


def test_clipping_is_torchs():
    rows = rows_of()
    model = drawn(PLAIN)
    outputs = model({"numbers": torch.from_numpy(rows.arrays["numbers"])})
    functional.mse_loss(outputs, torch.from_numpy(rows.arrays["y"])).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    assert norm > 1
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for accumulate in (1, 3):
        found = fit(replace(PLAIN, clip_norm=0.25, accumulate=accumulate), rows)
        assert_close(found.weights, model.state_dict(), atol=1e-6)


def test_schedule_takes_a_step_after_each_batch():
    training = replace(PLAIN, epochs=3, batch_size=4, scheduler="linear")
    fitted = fit(training)
    assert [h["lr"] for h in fitted.history] == pytest.approx([0.1 * f / 9 for f in (6, 3, 0)])


def test_warmup_is_a_share_of_all_steps():
    training = replace(PLAIN, epochs=2, batch_size=4, warmup=0.5)
    assert [h["lr"] for h in fit(training).history] == pytest.approx([0.1, 0.1])
    assert fit(replace(training, epochs=4)).history[0]["lr"] == pytest.approx(0.1 * 4 / 7)


def test_frozen_weights_do_not_move():
    training = replace(PLAIN, build=deep, epochs=3, freeze=(r"layers\.0",), optimizer="adamw")
    before, after = drawn(training).state_dict(), fit(training).weights
    assert torch.equal(before["layers.0.weight"], after["layers.0.weight"])
    assert torch.equal(before["layers.0.bias"], after["layers.0.bias"])
    assert not torch.equal(before["layers.3.weight"], after["layers.3.weight"])


def test_factors_scale_the_step_of_their_weights():
    training = replace(PLAIN, build=deep)
    before = drawn(training).state_dict()
    full = fit(training).weights
    slow = fit(replace(training, lr_factors={r"layers\.0": 0.5})).weights
    for name in before:
        share = 0.5 if name.startswith("layers.0") else 1.0
        moved = before[name] + share * (full[name] - before[name])
        assert torch.allclose(slow[name], moved, atol=1e-6)


def test_first_weights_are_taken_and_the_rest_is_drawn():
    given = {"layers.0.weight": torch.full((1, 3), 0.5)}
    found = fit(replace(PLAIN, epochs=0, weights=given)).weights
    assert found["layers.0.weight"].tolist() == [[0.5] * 3]
    assert torch.equal(found["layers.0.bias"], drawn(PLAIN).state_dict()["layers.0.bias"])


def validated(**options):
    """Far too fast a rate for the last epochs: the validation loss goes down, then up."""

    def scheduler(optimizer, total_steps):
        rate = [0.1, 0.1, 0.1, 2.0, 2.0, 2.0, 2.0, 2.0]
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate[step] / 0.1)

    return replace(PLAIN, epochs=7, scheduler=scheduler, **options)


def test_the_best_epochs_weights_are_kept_where_a_validation_tells():
    fitted = fit(validated(), validation=rows_of(5, seed=1))
    losses = [h["val_loss"] for h in fitted.history]
    assert len(losses) == 7
    assert fitted.best_epoch == int(np.argmin(losses)) == 2
    short = fit(replace(validated(), epochs=3))
    assert_equal(fitted.weights, short.weights)


@pytest.mark.parametrize("patience", [1, 2])
def test_early_stopping_ends_so_many_epochs_after_the_best(patience):
    fitted = fit(validated(patience=patience), validation=rows_of(5, seed=1))
    assert len(fitted.history) == 3 + patience
    assert_equal(fitted.weights, fit(replace(validated(), epochs=3)).weights)


def test_validation_loss_and_score_are_those_of_all_its_rows():
    rows = rows_of(7, seed=1)
    fitted = fit(replace(PLAIN, batch_size=2), validation=rows)
    model = linear()
    model.load_state_dict(fitted.weights)
    with torch.no_grad():
        outputs = model({"numbers": torch.from_numpy(rows.arrays["numbers"])})
    target = torch.from_numpy(rows.arrays["y"])
    (said,) = fitted.history
    assert said["val_loss"] == pytest.approx(functional.mse_loss(outputs, target).item(), rel=1e-5)
    spread = (target - target.mean()).square().sum()
    expected = 1 - (outputs - target).square().sum() / spread
    assert said["val_r2"] == pytest.approx(expected.item(), rel=1e-5)


def test_train_loss_is_the_mean_over_the_rows_of_the_epoch():
    rows = rows_of(11)
    still = replace(PLAIN, lr=0.0, batch_size=4)
    model = drawn(still)
    with torch.no_grad():
        outputs = model({"numbers": torch.from_numpy(rows.arrays["numbers"])})
    expected = functional.mse_loss(outputs, torch.from_numpy(rows.arrays["y"])).item()
    for accumulate in (1, 3):
        (said,) = fit(replace(still, accumulate=accumulate), rows).history
        assert said["train_loss"] == pytest.approx(expected, rel=1e-5)


INTERRUPTED = replace(
    PLAIN,
    build=partial(deep, dropout=0.5),
    epochs=3,
    batch_size=5,
    optimizer="adamw",
    scheduler="cosine",
    clip_norm=1.0,
)


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        (INTERRUPTED, None),
        (replace(INTERRUPTED, accumulate=2, lr_factors={"weight": 0.5}), None),
        (replace(INTERRUPTED, patience=5, scheduler="onecycle", warmup=0.2), rows_of(5, seed=1)),
        (replace(INTERRUPTED, freeze=("bias",), optimizer="sgd", scheduler=None), None),
    ],
    ids=["plain", "accumulate", "validation", "freeze"],
)
@pytest.mark.parametrize("every", [1, 2, 4])
def test_interrupted_at_every_kth_batch_the_weights_are_bit_identical(
    tmp_path, training, validation, every
):
    whole = fit(training, validation=validation)
    for stop in range(every, 9, every):
        with pytest.raises(StoppedError):
            fit(training, validation=validation, place=tmp_path, stop_at=stop)
        torch.manual_seed(stop)
    torch.rand(7)
    fitted = fit(training, validation=validation, place=tmp_path)
    assert_equal(fitted.weights, whole.weights)
    assert fitted.num_steps == whole.num_steps == 9
    assert fitted.best_epoch == whole.best_epoch
    for name in ("epoch", "train_loss", "lr", *(["val_loss"] if validation else [])):
        found, expected = ([h[name] for h in each.history] for each in (fitted, whole))
        assert found == pytest.approx(expected, rel=1e-12)
    assert str(fitted.optimizer_state) == str(whole.optimizer_state)


def test_resuming_what_is_done_trains_no_more(tmp_path):
    whole = fit(INTERRUPTED, place=tmp_path)
    again = made(rows_of(), place=tmp_path)
    assert_equal(fit_network(again, INTERRUPTED).weights, whole.weights)
    assert again.channel.events.count("epoch") == 0


def test_another_network_than_the_checkpoints_is_refused(tmp_path):
    fit(PLAIN, place=tmp_path)
    with pytest.raises(UserError, match="another architecture") as caught:
        fit(replace(PLAIN, build=deep), place=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_training_goes_on_where_a_former_ended():
    whole = fit(replace(INTERRUPTED, epochs=5, scheduler=None))
    first = fit(replace(INTERRUPTED, epochs=2, scheduler=None))
    second = replace(
        INTERRUPTED,
        epochs=3,
        scheduler=None,
        weights=first.weights,
        optimizer_state=first.optimizer_state,
        begin=Position(epoch=2, step=first.num_steps),
    )
    fitted = fit(second)
    assert_equal(fitted.weights, whole.weights)
    assert fitted.num_steps == whole.num_steps
    assert [h["epoch"] for h in fitted.history] == [2.0, 3.0, 4.0]


def test_going_on_takes_the_new_rate_and_knows_frozen_weights():
    first = fit(replace(PLAIN, build=deep, optimizer="adamw"))
    second = replace(
        PLAIN,
        build=deep,
        optimizer="adamw",
        lr=0.01,
        freeze=(r"layers\.0",),
        weights=first.weights,
        optimizer_state=first.optimizer_state,
    )
    fitted = fit(second)
    assert fitted.history[0]["lr"] == 0.01
    steps = {name: int(s["step"]) for name, s in fitted.optimizer_state["state"].items()}
    assert steps == {"layers.3.weight": 2, "layers.3.bias": 2}


@pytest.mark.parametrize("others", ["sgd", "rmsprop", "adam"])
def test_going_on_with_another_optimizer_begins_its_state_anew(others):
    first = fit(replace(PLAIN, optimizer="adamw"))
    second = replace(
        PLAIN, optimizer=others, weights=first.weights, optimizer_state=first.optimizer_state
    )
    assert_equal(fit(second).weights, fit(replace(second, optimizer_state=None)).weights)


class Fragile(Net):
    """Gives no number from the n-th batch on."""

    def __init__(self, at):
        super().__init__(nn.Linear(3, 1))
        self.register_buffer("calls", torch.zeros(()))
        self.at = at

    def forward(self, batch):
        if self.training:
            self.calls += 1
        outputs = super().forward(batch)
        return outputs * float("nan") if self.calls >= self.at else outputs


def test_a_loss_that_is_no_number_stops_with_step_rate_and_checkpoint(tmp_path):
    training = replace(PLAIN, build=partial(Fragile, 6), batch_size=3, epochs=4)
    with pytest.raises(DivergedError) as caught:
        fit(training, place=tmp_path)
    said = str(caught.value)
    assert "not finite at step 6 (learning rate 0.1)" in said
    assert f"the last good checkpoint is {tmp_path}/step-000000000004.safetensors" in said
    assert "lower lr, set clip_norm, or use on_nan='rollback'" in said
    assert "\n" not in said


def test_without_checkpoints_it_is_said_that_there_is_none():
    with pytest.raises(DivergedError, match="no checkpoint was kept"):
        fit(replace(PLAIN, build=partial(Fragile, 2), batch_size=3))


def test_a_network_that_has_diverged_leaves_no_checkpoint(tmp_path):
    # The first step throws the weights out of range, which no loss has shown yet.
    training = replace(PLAIN, lr=3e38, batch_size=3, epochs=2)
    with pytest.raises(DivergedError):
        fit(training, place=tmp_path, every_s=-1.0)
    assert Checkpoints(str(tmp_path)).steps() in ([], [0])


def test_weights_that_the_last_step_spoils_are_noticed():
    with pytest.raises(DivergedError, match="at step 1 "):
        fit(replace(PLAIN, lr=3e38))


def test_a_lower_rate_goes_on_from_the_checkpoint_with_all_rates(tmp_path):
    training = replace(PLAIN, batch_size=3, epochs=4, scheduler="linear", lr_factors={"bias": 0.5})
    with pytest.raises(StoppedError):
        fit(training, place=tmp_path, stop_at=4)
    slow = replace(training, lr_scale=0.1)
    with pytest.raises(StoppedError):
        fit(slow, place=tmp_path, stop_at=8)
    # Whoever resumes has never heard of the rollback.
    fitted = fit(training, place=tmp_path)
    rates = [h["lr"] for h in fitted.history]
    assert rates == pytest.approx([0.1 * 12 / 16, 0.01 * 8 / 16, 0.01 * 4 / 16, 0.0])


def test_rolling_back_is_offered_once_and_only_if_wanted():
    assert PLAIN.with_lower_rate() is None
    wanted = replace(PLAIN, rollback=True)
    lower = wanted.with_lower_rate()
    assert lower.lr_scale == 0.1
    assert lower.with_lower_rate() is None


def test_less_memory_halves_the_micro_batch_down_to_one_row():
    sizes, training = [], replace(PLAIN, batch_size=12)
    while training is not None:
        sizes.append(training.accumulate)
        training = training.with_less_memory()
    assert sizes == [1, 2, 4, 8, 12]


def test_a_loss_that_is_not_one_for_each_row_is_refused():
    objective = objective_of(functional.mse_loss, task="regression")
    with pytest.raises(UserError, match="a loss for each row"):
        fit(replace(PLAIN, objective=objective))


def test_bf16_trains_near_fp32():
    from distml.train.parallel import Parallel

    training = replace(PLAIN, build=deep, epochs=20, lr=0.05)
    train = made(rows_of())
    train.parallel = Parallel(device=torch.device("cpu"), precision="bf16")
    fitted = fit_network(train, training)
    whole = fit(training)
    assert fitted.history[-1]["train_loss"] == pytest.approx(
        whole.history[-1]["train_loss"], rel=0.2, abs=0.02
    )
    assert {w.dtype for w in fitted.weights.values()} == {torch.float32}
