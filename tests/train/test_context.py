from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from distml.errors import DataError, UserError
from distml.train import context
from distml.train.batch import MemoryPart
from distml.train.checkpoint import Checkpoints
from distml.train.context import StoppedError, Train
from distml.train.parallel import Parallel
from distml.train.position import Best, Position
from distml.train.rows import Rows


@dataclass
class Channel:
    """Hears, and asks to stop or to save at certain steps."""

    stop_at: int | None = None
    save_at: int | None = None
    asked: int = 0
    events: list = field(default_factory=list)
    train: Train | None = None

    def emit(self, kind, **fields):
        self.events.append((kind, fields))

    def must_stop(self):
        return self.train is not None and self.train.position.step == self.stop_at

    def must_save(self):
        self.asked += 1
        return self.train.position.step == self.save_at


class Seen:
    """What a loop has visited, as a thing that is kept."""

    def __init__(self):
        self.rows = []

    def state_dict(self):
        return {"rows": self.rows}

    def load_state_dict(self, state):
        self.rows = state["rows"]


def parts(num_rows=10, num_validation=3):
    numbers = np.arange(num_rows * 2, dtype=np.float32).reshape(-1, 2)
    return {
        "train": MemoryPart(Rows({"numbers": numbers, "y": np.arange(num_rows)})),
        "validation": MemoryPart(Rows({"y": np.arange(100, 100 + num_validation)})),
    }


def made(uri=None, *, stop_at=None, save_at=None, **options):
    channel = Channel(stop_at, save_at)
    place = None if uri is None else Checkpoints(str(uri))
    train = Train(parts=parts(), channel=channel, checkpoints=place, **options)
    channel.train = train
    return train


def visit(train, *, epochs=3, batch_size=4, drop_last=False):
    """A loop that notes what it sees: epoch, rows, what was drawn at random."""
    seen = Seen()
    train.resume(seen=seen)
    for epoch in train.epochs(epochs):
        for batch in train.batches("train", batch_size=batch_size, drop_last=drop_last):
            seen.rows.append([epoch, batch["y"].tolist(), torch.rand(1).item()])
        found = [r for b in train.batches("validation", batch_size=2) for r in b["y"].tolist()]
        assert found == [100, 101, 102]
        train.report({"val_loss": float(abs(epoch - 1)), "epoch": epoch})
    train.save(wait=True)
    return seen.rows


def test_each_epoch_visits_each_row_once_in_another_order():
    rows = visit(made())
    for epoch in range(3):
        found = [row for at, batch, _ in rows if at == epoch for row in batch]
        assert sorted(found) == list(range(10))
    assert len({str([batch for at, batch, _ in rows if at == e]) for e in range(3)}) == 3


@settings(deadline=None, max_examples=60)
@given(
    st.sets(st.integers(0, 8), max_size=4),
    st.integers(1, 10),
    st.integers(1, 3),
    st.booleans(),
)
def test_a_loop_resumed_at_any_batch_sees_just_what_was_left(
    tmp_path_factory, stops, batch_size, epochs, drop_last
):
    options = {"epochs": epochs, "batch_size": batch_size, "drop_last": drop_last}
    whole = made()
    expected = visit(whole, **options)
    folder = tmp_path_factory.mktemp("c")
    for stop in sorted(stops):
        train = made(folder, stop_at=stop)
        try:
            visit(train, **options)
        except StoppedError:
            assert train.checkpoints.latest()[1]["position"]["step"] == stop
    train = made(folder)
    assert visit(train, **options) == expected
    assert train.history == whole.history
    assert train.position == whole.position == Position(epoch=epochs, step=len(expected))
    assert train.best == whole.best


def test_best_history_and_position_survive(tmp_path):
    train = made(tmp_path, best=Best(metric="val_loss"))
    visit(train, epochs=2)
    other = made(tmp_path)
    assert other.resume(seen=Seen())
    assert other.history == [{"val_loss": 1.0, "epoch": 0.0}, {"val_loss": 0.0, "epoch": 1.0}]
    assert other.position == Position(epoch=2, batch=0, step=6)
    assert other.best == Best(metric="val_loss", value=0.0, step=6)
    assert list(other.epochs(2)) == []


def test_the_best_checkpoint_stays_beside_the_last(tmp_path):
    train = made(tmp_path)
    seen = Seen()
    train.resume(seen=seen)
    for epoch in train.epochs(6):
        for _ in train.batches(batch_size=10):
            pass
        train.report({"val_loss": float(abs(epoch - 1))})
    train.save(wait=True)
    assert train.checkpoints.steps() == [2, 5, 6]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_best_is_by_its_mode_and_never_no_number(mode):
    best = Best(metric="score", mode=mode)
    sign = 1 if mode == "max" else -1
    values = [float("nan"), 1.0, float("nan"), 3.0, 2.0, None]
    taken = [
        best.take({} if value is None else {"score": sign * value}, step)
        for step, value in enumerate(values)
    ]
    assert taken == [False, True, False, True, False, False]
    assert (best.value, best.step) == (sign * 3.0, 3)


def test_must_stop_leaves_a_checkpoint_and_raises(tmp_path):
    train = made(tmp_path, stop_at=2)
    with pytest.raises(StoppedError, match="after step 2"):
        visit(train)
    assert train.checkpoints.steps() == [2]
    state, facts = train.checkpoints.latest()
    assert facts["position"] == {"epoch": 0, "batch": 2, "step": 2}
    assert len(state["seen"]["rows"]) == 2


class Pair(Parallel):
    """Two workers, of which the other agrees."""

    def sum(self, values):
        return values


class Clock:
    """Moves when a batch is taken."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(10.0, 1), (0.2, 2), (0.03, 16), (0.0, 16)],
    ids=["slow", "in between", "fast", "at once"],
)
def test_workers_look_up_more_often_where_batches_are_slow(monkeypatch, seconds, expected):
    clock = Clock()
    monkeypatch.setattr(context, "time", clock)
    asked = []
    train = made(parallel=Pair(device=torch.device("cpu"), world_size=2))
    train.channel.must_stop = lambda: asked.append(train.position.step) is not None
    for _ in train.epochs(20):
        for _ in train.batches("train", batch_size=2):
            clock.now += seconds
    gaps = np.diff(asked)
    assert gaps.max() == expected
    assert set(gaps[2:]) == {expected}


def test_must_stop_without_checkpoints_raises_as_well():
    with pytest.raises(StoppedError):
        visit(made(stop_at=2))


def test_a_stop_after_the_last_batch_of_an_epoch_waits_for_its_report(tmp_path):
    train = made(tmp_path, stop_at=3)
    with pytest.raises(StoppedError):
        visit(train)
    assert train.checkpoints.latest()[1]["position"] == {"epoch": 1, "batch": 0, "step": 3}
    assert len(train.checkpoints.latest()[1]["history"]) == 1


def test_checkpoints_in_an_epoch_come_at_their_interval(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(context.time, "monotonic", lambda: now[0])
    train = made(tmp_path, checkpoint_every_s=10.0)
    train.resume(seen=Seen())
    written = []
    for number, _ in enumerate(train.batches(batch_size=1)):
        now[0] += 4.0
        train._writer.wait()
        written.append((number, train.checkpoints.steps()))
    # At 12 s and at 24 s, before the fourth and the seventh batch.
    assert written[2][1] == []
    assert written[3][1] == [3]
    assert written[5][1] == [3]
    assert written[6][1] == [3, 6]


def test_a_node_that_will_be_taken_away_makes_a_checkpoint_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(context, "_ASK_EVERY_S", -1.0)
    train = made(tmp_path, save_at=2)
    train.resume(seen=Seen())
    batches = train.batches(batch_size=3)
    for _ in range(2):
        next(batches)
    assert train.checkpoints.steps() == []
    next(batches)
    assert train.checkpoints.steps() == [2]


def test_whether_a_node_will_go_is_asked_now_and_then_only(monkeypatch):
    train = made()
    visit(train)
    assert train.channel.asked == 0


def test_reports_are_heard_with_their_step():
    train = made()
    visit(train, epochs=2)
    assert train.channel.events == [
        ("epoch", {"step": 3, "metrics": {"val_loss": 1.0, "epoch": 0.0}}),
        ("epoch", {"step": 6, "metrics": {"val_loss": 0.0, "epoch": 1.0}}),
    ]


def test_two_reports_at_one_step_are_both_kept(tmp_path):
    train = made(tmp_path)
    train.resume(seen=Seen())
    for _ in train.batches(batch_size=5):
        pass
    train.report({"a": 1.0})
    train.report({"b": 2.0})
    train.save(wait=True)
    other = made(tmp_path)
    other.resume(seen=Seen())
    assert other.history == [{"a": 1.0}, {"b": 2.0}]


def test_saving_twice_writes_once(tmp_path):
    train = made(tmp_path)
    train.resume(seen=Seen())
    next(train.batches(batch_size=5))
    train.save(wait=True)
    path = train.checkpoints.path(1)
    before = Path(path).stat().st_mtime_ns
    train.save(wait=True)
    assert Path(path).stat().st_mtime_ns == before


class Two(nn.Module):
    """Two layers of a width."""

    def __init__(self, width=3, name="second"):
        super().__init__()
        self.first = nn.Linear(2, width)
        setattr(self, name, nn.Linear(width, 1))


def kept(width=3, name="second", optimizer_of=torch.optim.Adam):
    model = Two(width, name)
    return {"model": model, "optimizer": optimizer_of(model.parameters(), lr=0.1)}


def train_on(train, things, steps):
    train.resume(**things)
    batches = train.batches(batch_size=2)
    for _ in range(steps):
        batch = next(batches)
        things["optimizer"].zero_grad()
        hidden = things["model"].first(batch["numbers"])
        things["model"].second(hidden).square().mean().backward()
        things["optimizer"].step()
    train.save(wait=True)


def test_model_and_optimizer_go_on_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    whole = kept()
    halves = kept()
    halves["model"].load_state_dict(whole["model"].state_dict())
    train_on(made(), whole, 4)
    train_on(made(tmp_path), halves, 2)
    again = kept()
    train_on(made(tmp_path), again, 2)
    for name, weight in whole["model"].state_dict().items():
        assert torch.equal(weight, again["model"].state_dict()[name])


@pytest.mark.parametrize(
    ("things", "said"),
    [
        (lambda: kept(width=4), "another architecture .*size mismatch"),
        (lambda: kept(name="third"), "another architecture .*[Mm]issing key"),
        (
            lambda: kept(optimizer_of=torch.optim.SGD),
            "another architecture .*was Adam and is SGD",
        ),
        (lambda: {"model": Two()}, "holds model, optimizer, and the loop keeps model; keep"),
        (lambda: {**kept(), "more": Seen()}, "keeps model, optimizer, more"),
    ],
    ids=["width", "layer", "optimizer", "fewer", "more"],
)
def test_another_architecture_is_refused_in_one_line(tmp_path, things, said):
    train_on(made(tmp_path), kept(), 1)
    with pytest.raises(UserError, match=said) as caught:
        made(tmp_path).resume(**things())
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_an_optimizer_that_trains_other_weights_is_refused(tmp_path):
    train_on(made(tmp_path), kept(), 1)
    model = Two()
    optimizer = torch.optim.Adam(model.first.parameters(), lr=0.1)
    with pytest.raises(UserError, match="had other weights"):
        made(tmp_path).resume(model=model, optimizer=optimizer)


def test_two_models_with_their_optimizers_are_kept_each(tmp_path):
    def pair():
        torch.manual_seed(0)
        one, two = Two(), Two()
        return {
            "one": one,
            "two": two,
            "for_two": torch.optim.Adam(two.parameters(), lr=0.1),
            "for_both": torch.optim.SGD([*one.parameters(), *two.parameters()], momentum=0.9),
        }

    things = pair()
    train = made(tmp_path)
    train.resume(**things)
    next(train.batches(batch_size=2))
    for model in ("one", "two"):
        things[model].first(torch.ones(1, 2)).sum().backward()
    things["for_two"].step()
    things["for_both"].step()
    train.save(wait=True)
    others = pair()
    assert made(tmp_path).resume(**others)
    for name in ("for_two", "for_both"):
        found, expected = others[name].state_dict(), things[name].state_dict()
        assert str(found) == str(expected)


def test_what_has_no_state_is_refused_by_name():
    with pytest.raises(UserError, match="step is a int, which has no state_dict"):
        made().resume(step=3)
    with pytest.raises(UserError, match="losses is a list"):
        made().report({}, losses=[])


def test_a_state_that_no_file_can_hold_is_refused_by_its_place(tmp_path):
    seen = Seen()
    seen.rows = [object()]
    train = made(tmp_path)
    next(train.batches(batch_size=2))
    train.report({"a": 1.0}, seen=seen)
    with pytest.raises(UserError, match=r"state.seen.rows\[0\] is an object"):
        train.save(wait=True)


def test_unknown_part_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="no part 'test'; there is train, validation"):
        next(made().batches("test", batch_size=2))
    with pytest.raises(UserError, match="no part 'test'"):
        made().num_batches("test", 2)


def test_number_of_batches_is_that_of_an_epoch():
    train = made()
    assert train.num_batches("train", 4) == 3
    assert train.num_batches("train", 4, drop_last=True) == 2
    assert len(list(train.batches(batch_size=4))) == 3


def test_a_loop_that_leaves_an_epoch_early_goes_on_with_the_next():
    train = made()
    seen = []
    for epoch in train.epochs(3):
        for batch in train.batches(batch_size=2):
            seen.append((epoch, len(batch["y"])))
            break
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert train.position == Position(epoch=3, batch=0, step=3)


class Alone(Parallel):
    """One of several workers, whose others say nothing."""

    def sum(self, values):
        return values


def test_what_is_drawn_in_a_step_is_its_own_for_each_worker_and_step():
    drawn = set()
    for rank in range(3):
        train = made(rank=rank, parallel=Alone(device=torch.device("cpu"), world_size=3))
        for _ in train.batches(batch_size=2):
            drawn.add(torch.rand(1).item())
    assert len(drawn) == 15


class Led(Parallel):
    """The second of two workers; the first says that it has a checkpoint of step 1."""

    def sum(self, values):
        return [value + 2.0 for value in values]


def test_all_workers_go_on_from_the_checkpoint_that_the_first_has(tmp_path):
    def second():
        return made(tmp_path, rank=1, parallel=Led(device=torch.device("cpu"), world_size=2))

    # One that is not to be seen yet is no reason to begin anew, without the others.
    with pytest.raises(DataError, match="no such checkpoint"):
        second().resume(seen=Seen())
    first = made(tmp_path)
    first.resume(seen=Seen())
    batches = first.batches(batch_size=2)
    for _ in range(2):
        next(batches)
        first.save(wait=True)
    assert first.checkpoints.steps() == [1, 2]
    train = second()
    assert train.resume(seen=Seen())
    assert train.position.step == 1
