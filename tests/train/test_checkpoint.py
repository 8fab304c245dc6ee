import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.errors import DataError, StorageError
from distml.runs.storage import open_storage
from distml.train.checkpoint import Checkpoints, Writer


def numbers(step):
    return {"w": torch.full((3,), float(step))}


def facts(best=None):
    return {"best_step": best}


def test_what_was_written_is_read_on_any_storage(any_uri):
    place = Checkpoints(any_uri)
    assert place.steps() == []
    assert place.latest() is None
    place.write(7, numbers(7), {"best_step": None, "history": [{"a": 1.5}]})
    state, said = place.latest()
    assert torch.equal(state["w"], numbers(7)["w"])
    assert said == {"best_step": None, "history": [{"a": 1.5}], "step": 7}
    place.clear()
    assert place.steps() == []


def test_the_last_and_the_best_stay_on_any_storage(any_uri):
    place = Checkpoints(any_uri, keep=2)
    for step in range(1, 8):
        place.write(step, numbers(step), facts(best=3 if step >= 3 else None))
    assert place.steps() == [3, 6, 7]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4))
def test_of_any_course_the_last_and_the_best_stay(tmp_path_factory, course, keep):
    place = Checkpoints(str(tmp_path_factory.mktemp("c")), keep=keep)
    best = None
    for step, better in enumerate(course, 1):
        best = step if better else best
        place.write(step, {}, facts(best))
    last = set(range(max(1, len(course) - keep + 1), len(course) + 1))
    assert place.steps() == sorted(last | ({best} if best else set()))


def test_a_training_that_went_back_keeps_what_lies_ahead_until_it_gets_there(tmp_path):
    place = Checkpoints(str(tmp_path), keep=2)
    for step in (1, 2, 3, 9):
        place.write(step, numbers(step), facts())
    place.write(4, numbers(4), facts())
    assert place.steps() == [3, 4, 9]
    assert torch.equal(place.read(4)[0]["w"], numbers(4)["w"])


def test_a_step_that_is_reached_again_is_written_again(any_uri):
    place = Checkpoints(any_uri)
    place.write(1, numbers(1), facts())
    place.write(1, numbers(5), facts())
    assert place.latest()[0]["w"].tolist() == [5, 5, 5]


@pytest.mark.parametrize("damage", [b"", b"\x80\x05N.", "cut", "flip"], ids=str)
def test_a_damaged_last_one_is_passed_over_for_the_one_before(any_uri, damage):
    place = Checkpoints(any_uri)
    for step in (1, 2):
        place.write(step, numbers(step), facts())
    storage = open_storage(any_uri)
    name = Path(place.path(2).partition("?")[0]).name
    whole = storage.read(name)
    changed = {"cut": whole[: len(whole) // 2], "flip": whole[:9] + b"\xff" + whole[10:]}
    storage.write(name, damage if isinstance(damage, bytes) else changed[damage])
    assert place.latest()[1]["step"] == 1
    with pytest.raises(DataError, match="step-000000000002") as caught:
        place.read(2)
    assert "\n" not in str(caught.value)


def test_where_all_are_damaged_there_is_none(tmp_path):
    place = Checkpoints(str(tmp_path))
    place.write(1, numbers(1), facts())
    Path(place.path(1)).write_bytes(b"no")
    assert place.latest() is None


def test_a_step_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(DataError, match="no such checkpoint"):
        Checkpoints(str(tmp_path)).read(3)


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "step-3.safetensors").write_text("not ours")
    place = Checkpoints(str(tmp_path), keep=1)
    place.write(1, {}, facts())
    place.write(2, {}, facts())
    place.clear()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt", "step-3.safetensors"]


def test_its_address_can_be_pickled(any_uri):
    place = Checkpoints(any_uri, keep=3)
    place.write(1, numbers(1), facts())
    other = pickle.loads(pickle.dumps(place))
    assert (other.uri, other.keep, other.steps()) == (place.uri, 3, [1])


class Slow(Checkpoints):
    """Writes once it is let to."""

    def __init__(self, uri):
        super().__init__(uri)
        self.go = threading.Event()
        self.at_once = self.most = 0

    def write(self, step, state, facts):
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        assert self.go.wait(30)
        super().write(step, state, facts)
        self.at_once -= 1


def test_state_is_copied_before_training_goes_on(tmp_path):
    place, writer = Slow(str(tmp_path)), Writer()
    state = {"w": torch.zeros(3), "n": np.zeros(2), "more": [torch.zeros(1)]}
    writer.write(place, 1, state, facts())
    state["w"] += 1
    state["n"] += 1
    state["more"][0] += 1
    place.go.set()
    writer.wait()
    kept, _ = place.latest()
    assert kept["w"].tolist() == [0, 0, 0]
    assert kept["n"].tolist() == [0, 0]
    assert kept["more"][0].tolist() == [0]


def test_what_a_checkpoint_says_is_copied_as_well(tmp_path):
    place, writer = Slow(str(tmp_path)), Writer()
    history = [{"loss": 1.0}]
    writer.write(place, 1, numbers(1), {"best_step": None, "history": history})
    history.append({"loss": 0.5})
    place.go.set()
    writer.wait()
    assert place.latest()[1]["history"] == [{"loss": 1.0}]


def test_one_is_written_after_the_other(tmp_path):
    place, writer = Slow(str(tmp_path)), Writer()
    threading.Timer(0.05, place.go.set).start()
    for step in (1, 2, 3):
        writer.write(place, step, numbers(step), facts())
    writer.wait()
    assert place.most == 1
    assert place.steps() == [2, 3]


class Refusing(Checkpoints):
    """A storage that is full."""

    def write(self, step, state, facts):
        raise StorageError(f"full at {step}")


@pytest.mark.parametrize("call", ["write", "wait"])
def test_the_writers_error_reaches_the_caller_once(tmp_path, call):
    place, writer = Refusing(str(tmp_path)), Writer()
    writer.write(place, 1, numbers(1), facts())
    with pytest.raises(StorageError, match="full at 1"):
        writer.write(place, 2, numbers(2), facts()) if call == "write" else writer.wait()
    writer.wait()


def test_a_full_disk_leaves_no_half_of_one(small_disk):
    place = Checkpoints(str(small_disk / "runs"))
    place.write(1, numbers(1), facts())
    with pytest.raises(StorageError):
        place.write(2, {"w": torch.zeros(1_000_000)}, facts())
    assert place.latest()[1]["step"] == 1
