import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from distml.data import ShardedDataset, write_shards
from distml.errors import DataError, UserError
from distml.train.inputs import Inputs, is_table
from distml.train.modules import MLP, RNN
from distml.train.wiring import Wired


def mixed(n=300, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table({
        "a": pa.array(rng.normal(5, 3, n), mask=rng.random(n) < 0.1),
        "at": pa.array(np.datetime64("2024-01-01", "s") + np.arange(n)),
        "flag": rng.random(n) < 0.5,
        "city": pa.array(rng.choice(["JFK", "LGA", "EWR"], n), mask=rng.random(n) < 0.1),
        "image": pa.FixedSizeListArray.from_arrays(
            pa.array(rng.integers(0, 255, 4 * n), pa.uint8()), 4
        ),
        "words": [f"many words in row {i} of {i % 7}" for i in range(n)],
    })  # fmt: skip


def taken(inputs, X):
    return inputs.rows(X).take(slice(None))


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(torch.nan_to_num(one[name]), torch.nan_to_num(other[name])) for name in one
    )


def test_columns_become_one_field_of_each_kind():
    inputs = Inputs(vocabulary=100).fit(mixed())
    shape = inputs.shape(2)
    assert shape.kinds == ("numbers", "categories", "array", "tokens")
    assert shape["numbers"].columns == ("a", "at", "flag")
    assert shape["categories"].num_values == (4,)
    assert inputs.scales_.keys() == {"numbers"}
    batch = taken(inputs, mixed())
    assert batch["numbers"].dtype == torch.float32
    assert batch["array"].dtype == torch.uint8
    assert batch["tokens"].max() < shape["tokens"].num_values[0]
    wired = Wired(RNN(hidden_size=4, embedding_dim=4).build(shape), shape, inputs.scales_)
    assert wired(batch).shape == (300, 2)


def test_standardised_numbers_have_mean_0_and_deviation_1():
    inputs = Inputs().fit(mixed().select(["a", "at", "flag"]))
    shape = inputs.shape(1)
    wired = Wired(MLP(hidden=()).build(shape), shape, inputs.scales_)
    numbers = wired.prepare(taken(inputs, mixed()))["numbers"]
    assert numbers.mean(dim=0).abs().max() < 1e-6
    assert numbers[:, 1:].std(dim=0, correction=0).tolist() == pytest.approx([1, 1], rel=1e-5)


@pytest.mark.parametrize("as_functions", [False, True])
def test_shards_in_a_stream_give_the_inputs_of_one_pass(as_functions):
    table = mixed()
    whole = Inputs(vocabulary=100).fit(table)
    parts = [table.slice(start, 110) for start in range(0, 300, 110)]
    shards = [(lambda part=part: part) for part in parts] if as_functions else parts
    streamed = Inputs(vocabulary=100).fit_shards(iter(shards))
    assert pickle.dumps(streamed.readers_) == pickle.dumps(whole.readers_)


def test_dataset_is_read_shard_by_shard(tmp_path):
    write_shards(mixed(), tmp_path / "data", rows_per_shard=100)
    data = ShardedDataset.open(str(tmp_path / "data"))
    assert len(data.shards) == 3
    whole = Inputs(vocabulary=100).fit(mixed())
    assert same(taken(Inputs(vocabulary=100).fit(data), mixed()), taken(whole, mixed()))


@pytest.mark.parametrize("form", ["arrow", "pandas", "dict"])
def test_form_of_a_table_does_not_matter(form):
    table = mixed().drop_columns(["image"])
    forms = {"arrow": table, "pandas": table.to_pandas(), "dict": table.to_pydict()}
    inputs = Inputs(vocabulary=100).fit(forms[form])
    judge = Inputs(vocabulary=100).fit(table)
    assert same(taken(inputs, forms[form]), taken(judge, table))
    assert list(inputs.feature_names_in_) == table.column_names


def test_fitted_inputs_are_kept_by_pickle_and_skops():
    inputs = Inputs(vocabulary=100).fit(mixed())
    content = skops.io.dumps(inputs)
    trusted = skops.io.get_untrusted_types(data=content)
    assert all(name.startswith("distml.train.") for name in trusted)
    for copy in (skops.io.loads(content, trusted=trusted), pickle.loads(pickle.dumps(inputs))):
        assert same(taken(copy, mixed()), taken(inputs, mixed()))
        assert copy.fields_ == inputs.fields_


def test_parameters_are_kept_as_they_are():
    inputs = Inputs(text=["words"], arrays={"image": (2, 2)}, max_values=7)
    assert clone(inputs).get_params() == inputs.get_params()
    assert repr(inputs) == "Inputs(arrays={'image': (2, 2)}, max_values=7, text=['words'])"


def test_float32_matrix_is_not_copied():
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    X.flags.writeable = False
    inputs = Inputs().fit(X)
    numbers = inputs.rows(X).arrays["numbers"]
    assert np.shares_memory(numbers, X)
    assert inputs.fields_[0].size == (3,)
    assert inputs.scales_["numbers"].mean == pytest.approx(X.mean(axis=0, dtype=np.float64))


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_arrays_of_more_dimensions_are_arrays(kind):
    X = np.random.default_rng(0).integers(0, 255, (10, 4, 5)).astype(kind)
    inputs = Inputs().fit(X)
    assert (inputs.fields_[0].kind, inputs.fields_[0].size) == ("array", (4, 5))
    array = inputs.rows(X).arrays["array"]
    assert np.shares_memory(array, X) == (kind != np.float64)
    if kind == np.uint8:
        assert inputs.scales_ == {}
    else:
        assert inputs.scales_["array"].std == pytest.approx(np.std(X))


def test_table_and_matrix_stand_for_each_other_at_prediction():
    X = np.arange(6.0).reshape(3, 2)
    frame = pd.DataFrame(X, columns=["a", "b"])
    assert same(taken(Inputs().fit(X), frame), taken(Inputs().fit(X), X))
    assert same(taken(Inputs().fit(frame), X), taken(Inputs().fit(frame), frame))
    with pytest.raises(DataError, match=r"rows of size \(3,\), .* a table of 2 columns"):
        Inputs().fit(frame).rows(np.ones((2, 3)))
    with pytest.raises(DataError, match=r"rows of size \(3,\), .* fitted on \(2,\)"):
        Inputs().fit(X).rows(np.ones((2, 3)))


def test_fitting_again_forgets_what_was_learnt():
    inputs = Inputs().fit(mixed().select(["a"])).fit(np.ones((3, 2)))
    assert not hasattr(inputs, "feature_names_in_")
    assert inputs.rows(np.ones((3, 2))).num_rows == 3


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pa.table({"a": pa.array([], pa.int8())}), DataError, "no rows"),
        (pa.table({}), DataError, "no rows or no columns"),
        (np.empty((0, 3)), DataError, "nothing to learn from"),
        (np.ones((2, 2)), UserError, "Inputs: drop names columns, but X is an array"),
    ],
    ids=["no rows", "no columns", "empty array", "names"],
)
def test_nothing_to_learn_from_is_refused(X, error, message):
    drop = ["a"] if error is UserError else None
    with pytest.raises(error, match=message):
        Inputs(drop=drop).fit(X)


def test_no_shard_and_shards_that_differ_are_refused():
    with pytest.raises(DataError, match="no shard"):
        Inputs().fit_shards([])
    with pytest.raises(DataError, match="no column 'a'"):
        Inputs().fit_shards([pa.table({"a": [1]}), pa.table({"b": [1]})])


def test_unfitted_inputs_say_so():
    for ask in (lambda: Inputs().rows(np.ones((1, 1))), lambda: Inputs().fields_):
        with pytest.raises(NotFittedError):
            ask()


@pytest.mark.parametrize(
    ("X", "table"),
    [
        (np.ones((2, 2)), False),
        ([[1, 2]], False),
        ({"a": [1]}, True),
        ([{"a": 1}], True),
        (pd.DataFrame({"a": [1]}), True),
        (pa.table({"a": [1]}).to_batches()[0], True),
    ],
    ids=["array", "list", "dict", "dicts", "pandas", "batch"],
)
def test_tables_are_told_from_arrays(X, table):
    assert is_table(X) == table
