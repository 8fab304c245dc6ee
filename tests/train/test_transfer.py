import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import nn

from distml.errors import DataError, UserError
from distml.runs.bundle import Model, save_model
from distml.train.checkpoint import Checkpoints
from distml.train.state import pack
from distml.train.transfer import check_same, match_weights, read_weights

BODY = {"body.0.weight": torch.ones(2, 3), "body.0.bias": torch.zeros(2)}
HEAD = {"head.weight": torch.ones(4, 2), "head.bias": torch.zeros(4)}


class Fitted:
    """What has learnt something, as our estimators have."""

    def __init__(self):
        self.weights_ = {name: weight.numpy() for name, weight in BODY.items()}


def as_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "source_of",
    [
        lambda folder: Fitted(),
        lambda folder: dict(BODY),
        lambda folder: {name: weight.numpy() for name, weight in BODY.items()},
        lambda folder: nn.ModuleDict({"body": nn.Sequential(nn.Linear(3, 2))}),
        lambda folder: as_file(folder, "w.safetensors", safetensors.torch.save(BODY)),
        lambda folder: str(as_file(folder, "w.safetensors", safetensors.torch.save(BODY))),
        lambda folder: as_file(folder, "c", pack({"model": BODY, "optimizer": {"state": {}}})),
        lambda folder: as_file(folder, "s", pack(BODY)),
    ],
    ids=["estimator", "tensors", "arrays", "module", "file", "text", "checkpoint", "state"],
)
def test_weights_are_read_from_whatever_has_them(tmp_path, source_of):
    found = read_weights(source_of(tmp_path))
    assert {name: tuple(weight.shape) for name, weight in found.items()} == {
        "body.0.weight": (2, 3),
        "body.0.bias": (2,),
    }


def test_weights_of_the_latest_checkpoint_are_read_by_its_path(tmp_path):
    place = Checkpoints(str(tmp_path))
    place.write(4, {"model": BODY}, {})
    assert torch.equal(read_weights(place.path(4))["body.0.weight"], BODY["body.0.weight"])


def test_what_is_read_is_not_the_callers_memory():
    arrays = {"w": np.zeros(2, dtype=np.float32)}
    found = read_weights(arrays)
    arrays["w"] += 1
    assert found["w"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        (3, UserError, "a int has no weights; give"),
        ({}, UserError, "there are no weights in it"),
        ({"a": "text"}, UserError, "there are no weights in it"),
        ("absent.safetensors", UserError, "init_from='absent.safetensors': no such file"),
        (LogisticRegression(), UserError, "a LogisticRegression has no weights"),
    ],
    ids=["number", "empty", "texts", "no file", "another estimator"],
)
def test_what_has_no_weights_is_refused_in_one_line(source, error, said):
    with pytest.raises(error, match=said) as caught:
        read_weights(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no weights", pack({"a": torch.ones(3)})[:-4]])
def test_a_damaged_file_is_refused_by_its_path(tmp_path, content):
    path = as_file(tmp_path, "w.safetensors", content)
    with pytest.raises(DataError, match=r"w\.safetensors.*no state of a training") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_a_pickled_state_dict_is_refused_with_what_to_do(tmp_path):
    torch.save(BODY, tmp_path / "w.pt")
    with pytest.raises(DataError, match="safetensors"):
        read_weights(tmp_path / "w.pt")


def test_a_bundle_without_a_network_is_refused_by_its_model(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(20, 1)), np.arange(20) % 2
    model = Model(
        estimator=LogisticRegression().fit(X, y),
        schema=pa.schema([("a", pa.float64())]),
        label="y",
        task="classification",
        classes=[0, 1],
    )
    save_model(tmp_path / "run" / "bundle", model)
    for folder in ("run", "run/bundle"):
        with pytest.raises(UserError, match="its model is a LogisticRegression"):
            read_weights(tmp_path / folder)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(DataError):
        read_weights(tmp_path)


def test_equal_names_and_shapes_are_taken_and_the_rest_is_said():
    given_weights = {**BODY, "head.weight": torch.ones(5, 2), "old.bias": torch.zeros(1)}
    found, transfer = match_weights(given_weights, {**BODY, **HEAD})
    assert found.keys() == BODY.keys()
    assert transfer.loaded == ("body.0.weight", "body.0.bias")
    assert transfer.missing == ("head.weight", "head.bias")
    assert transfer.mismatched == ("head.weight",)
    assert transfer.unused == ("old.bias",)
    assert str(transfer) == (
        "2 of 4 weights taken over; drawn anew: head.weight, head.bias; not used: old.bias"
    )


@pytest.mark.parametrize("given_prefix", ["", "module.", "model.", "module.module."])
@pytest.mark.parametrize("wanted_prefix", ["", "module.", "model.", "module.module."])
def test_a_wrappers_prefix_does_not_count(given_prefix, wanted_prefix):
    given_weights = {f"{given_prefix}{name}": weight for name, weight in BODY.items()}
    wanted = {f"{wanted_prefix}{name}": weight for name, weight in BODY.items()}
    found, transfer = match_weights(given_weights, wanted)
    assert found.keys() == wanted.keys()
    assert transfer.missing == transfer.unused == ()


@pytest.mark.parametrize(
    "given_weights",
    [
        {"x": torch.ones(1)},
        {"body.0.weight": torch.ones(9, 9)},
        {"numbers_mean": torch.zeros(3)},
    ],
    ids=["names", "shapes", "only what is learnt from data"],
)
def test_nothing_that_matches_is_refused(given_weights):
    wanted = {**BODY, "numbers_mean": torch.ones(3)}
    with pytest.raises(UserError, match=r"init_from has no matching key: it has .*the network has"):
        match_weights(given_weights, wanted)


NAMES = st.sampled_from(["a", "b", "c.weight", "module.c.weight", "d"])
WEIGHTS = st.dictionaries(NAMES, st.integers(1, 2).map(torch.ones), max_size=5)


@settings(deadline=None, max_examples=100)
@given(WEIGHTS, WEIGHTS)
def test_each_key_is_accounted_for_once(given_weights, wanted):
    try:
        found, transfer = match_weights(given_weights, wanted)
    except UserError:
        return
    assert set(transfer.loaded) | set(transfer.missing) == wanted.keys()
    assert not set(transfer.loaded) & set(transfer.missing)
    assert set(transfer.mismatched) <= set(transfer.missing)
    assert set(transfer.unused) <= given_weights.keys()
    for name, weight in found.items():
        assert weight.shape == wanted[name].shape


def test_going_on_needs_the_same_network():
    check_same(BODY, {name: torch.zeros_like(weight) for name, weight in BODY.items()})
    for other, said in (
        ({**BODY, **HEAD}, "head.weight was absent and is"),
        ({"body.0.weight": BODY["body.0.weight"]}, "body.0.bias was .* and is absent"),
        ({**BODY, "body.0.bias": torch.zeros(5)}, r"body.0.bias was \(2,\) and is \(5,\)"),
    ):
        with pytest.raises(UserError, match=said):
            check_same(BODY, other)
