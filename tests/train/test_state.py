import math
import pickle
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from distml.errors import DataError, UserError
from distml.train.state import _digest, pack, to_cpu, unpack

TENSORS = st.builds(
    lambda dtype, shape: torch.arange(math.prod(shape)).reshape(shape).to(dtype),
    st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool]),
    st.lists(st.integers(0, 3), max_size=3),
)
ARRAYS = st.builds(
    lambda dtype, shape: np.arange(math.prod(shape)).reshape(shape).astype(dtype),
    st.sampled_from(["f4", "f8", "i8", "u1", "u2", "?", "f2", ">f4"]),
    st.lists(st.integers(0, 3), max_size=3),
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
KEYS = st.text() | st.integers() | st.tuples(st.integers(), st.text())
TREES = st.recursive(
    PLAIN | TENSORS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


def assert_same(found, expected):
    """Equal in value, type, dtype and shape, all the way down."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert torch.equal(found, expected)
    elif isinstance(expected, np.ndarray):
        assert found.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
        assert np.array_equal(found, expected)
        assert found.shape == expected.shape
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found)
    else:
        assert found == expected


@settings(deadline=None, max_examples=150)
@given(TREES)
def test_any_tree_comes_back_as_it_was(tree):
    assert_same(unpack(pack(tree))[0], tree)
    assert_same(to_cpu(tree), tree)


def test_facts_come_back_beside_the_state():
    facts = {"step": 3, "position": {"epoch": 1}, "best": None}
    assert unpack(pack({"a": torch.ones(2)}, facts)) == (
        {"a": pytest.approx(np.ones(2))},
        facts,
    )


def trained(optimizer_of, steps=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    optimizer = optimizer_of(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()
    return model, optimizer


@pytest.mark.parametrize(
    "optimizer_of",
    [
        lambda weights: torch.optim.Adam(weights, fused=True),
        lambda weights: torch.optim.AdamW(weights, amsgrad=True),
        lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9),
        lambda weights: torch.optim.RMSprop(weights),
    ],
    ids=["adam", "adamw", "sgd", "rmsprop"],
)
def test_an_optimizer_goes_on_as_if_nothing_had_happened(optimizer_of):
    model, optimizer = trained(optimizer_of)
    kept, _ = unpack(pack({"model": model.state_dict(), "optimizer": optimizer.state_dict()}))
    other, another = trained(optimizer_of, steps=0)
    other.load_state_dict(kept["model"])
    another.load_state_dict(kept["optimizer"])
    rows = torch.randn(5, 3)
    for each, stepping in ((model, optimizer), (other, another)):
        stepping.zero_grad()
        each(rows).square().mean().backward()
        stepping.step()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight


def test_tied_weights_are_kept_under_both_names_and_stay_tied():
    model = Tied()
    kept, _ = unpack(pack(model.state_dict()))
    other = Tied()
    other.load_state_dict(kept)
    assert set(kept) == {"first.weight", "second.weight"}
    assert torch.equal(other.second.weight, model.first.weight)
    assert other.second.weight is other.first.weight


def test_views_and_tensors_that_learn_are_kept_by_their_values():
    whole = torch.arange(12.0).reshape(3, 4).requires_grad_()
    kept, _ = unpack(pack({"row": whole[1], "column": whole[:, 1], "turned": whole.T}))
    assert kept["row"].tolist() == [4, 5, 6, 7]
    assert kept["column"].tolist() == [1, 5, 9]
    assert torch.equal(kept["turned"], whole.detach().T)


def test_copy_on_the_cpu_is_of_its_own():
    state = {"t": torch.zeros(2), "a": np.zeros(2), "l": [torch.zeros(1)], "n": {"x": [1]}}
    copy = to_cpu(state)
    state["t"] += 1
    state["a"] += 1
    state["l"][0] += 1
    state["n"]["x"].append(2)
    assert_same(
        copy, {"t": torch.zeros(2), "a": np.zeros(2), "l": [torch.zeros(1)], "n": {"x": [1]}}
    )


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ({"a": [1, {2}]}, r"state.a\[1\] is a set"),
        ({"b": nn.Linear(1, 1)}, "state.b is a Linear"),
        ({"c": np.array(["x", "y"])}, "state.c is an array of <U1"),
        ({"d": np.array([None])}, "state.d is an array of object"),
        ({"e": print}, "state.e is a builtin_function_or_method"),
        ({"f": torch.zeros(1, dtype=torch.complex128)}, "state.f is a tensor of"),
    ],
    ids=["set", "module", "texts", "objects", "function", "complex"],
)
def test_what_no_file_can_hold_is_named_with_its_place(state, place):
    with pytest.raises(UserError, match=place) as caught:
        pack(state)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_torn_file_is_refused(data):
    whole = pack({"weights": torch.arange(6.0), "step": 3})
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DataError, match="no state of a training"):
        unpack(whole[:cut])


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_changed_file_is_refused(data):
    whole = bytearray(pack({"weights": torch.arange(6.0), "step": 3}, {"epoch": 12}))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    try:
        state, facts = unpack(bytes(whole))
    except DataError:
        return
    # The space behind the header is not read.
    assert_same(state, {"weights": torch.arange(6.0), "step": 3})
    assert facts == {"epoch": 12}


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(content):
    with pytest.raises(DataError, match="no state of a training"):
        unpack(content)


@pytest.mark.parametrize(
    "tree",
    [
        "no json",
        '{"dict": 5}',
        '{"dict": [[{"list": []}, 1]]}',
        '{"tensor": "99"}',
        '{"bytes": 7}',
        '{"bytes": "a"}',
        '{"list": null}',
        '{"tuple": 1, "list": 2}',
        '{"tensor": {}}',
        "[" * 100_000,
    ],
    ids=lambda tree: tree[:20],
)
def test_tree_of_another_make_is_refused(tree):
    tensors, metadata = {"0": torch.zeros(1)}, {"tree": tree, "facts": "{}"}
    content = safetensors.torch.save(tensors, {**metadata, "sha256": _digest(tensors, metadata)})
    with pytest.raises(DataError, match="no state of a training"):
        unpack(content)


class Mine:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return exec, ("import sys; sys.modules['distml_was_here'] = sys",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_pickle_is_refused_and_not_run(protocol):
    with pytest.raises(DataError, match="no state of a training"):
        unpack(pickle.dumps(Mine(), protocol))
    assert "distml_was_here" not in sys.modules


def test_file_of_torch_is_refused(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="no state of a training"):
        unpack((tmp_path / "x.pt").read_bytes())


def test_safetensors_file_of_others_is_a_dict_of_tensors():
    state, facts = unpack(safetensors.torch.save({"w": torch.ones(2)}, {"format": "pt"}))
    assert facts == {}
    assert torch.equal(state["w"], torch.ones(2))
