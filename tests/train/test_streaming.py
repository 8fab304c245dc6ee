"""Networks on datasets larger than the memory their rows may take."""

import numpy as np
import pyarrow as pa
import pytest

import distml
from distml.errors import DataError, UserError
from distml.train import MLP, NeuralClassifier, NeuralRegressor
from distml.train.batch import Batches
from distml.train.reading import read_given
from distml.train.streaming import streamed
from distml.train.targets import ScaledTargets

ROWS = 4000


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    X = random.standard_normal((ROWS, 4)).astype(np.float32)
    return pa.table({
        **{f"x{i}": X[:, i] for i in range(4)},
        "letter": np.array(list("abc"))[random.integers(0, 3, ROWS)],
        "number": np.arange(ROWS, dtype=np.float64),
        "y": np.where(X[:, 0] + X[:, 1] > 0, "yes", "no"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def dataset(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return distml.write_shards(table, folder / "data", num_shards=20)


def network(**parameters):
    return NeuralClassifier(
        MLP(hidden=(16,)), epochs=4, batch_size=64, lr=0.01, random_state=0, **parameters
    )


def test_a_streamed_network_learns_as_one_in_memory_does(dataset, table):
    fitted = network(memory_bytes=100_000).fit(dataset.select(_no_number(dataset)), "y")

    assert (fitted.predict(table) == table["y"].to_numpy()).mean() > 0.95
    assert fitted.predict_proba(dataset).shape == (ROWS, 2)
    assert fitted.classes_.tolist() == ["no", "yes"]


def test_the_same_stream_twice_gives_the_same_weights(dataset):
    weights = [network(memory_bytes=100_000).fit(dataset, "y").weights_ for _ in range(2)]

    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_enough_memory_streams_nothing(dataset, table):
    whole = network().fit(dataset, "y")
    roomy = network(memory_bytes=10_000_000).fit(dataset, "y")

    assert all(np.array_equal(whole.weights_[n], roomy.weights_[n]) for n in whole.weights_)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_workers_share_each_batch_and_leave_no_row_out(dataset, world_size):
    seen = _seen(dataset, world_size, validation=0.0)

    assert [sorted(batch) for batch in seen] == [
        sorted(batch) for batch in _seen(dataset, 1, validation=0.0)
    ]
    assert sorted(number for batch in seen for number in batch) == list(range(ROWS))


def test_rows_set_aside_are_in_no_batch(dataset):
    train = {number for batch in _seen(dataset, 2, validation=0.2) for number in batch}
    aside = {n for batch in _seen(dataset, 2, validation=0.2, part="validation") for n in batch}

    assert train & aside == set()
    assert len(train | aside) == ROWS
    assert 0.15 < len(aside) / ROWS < 0.25


def test_class_weights_reach_streamed_rows(dataset):
    estimator = network(memory_bytes=100_000, class_weight={"no": 100.0, "yes": 1.0})
    fitted = estimator.fit(dataset, "y")

    assert (fitted.predict(dataset) == "no").mean() > 0.52


@pytest.mark.parametrize(
    ("arguments", "parameters", "error", "words"),
    [
        ({"y": np.zeros(ROWS)}, {}, UserError, "names its column of targets"),
        ({"y": "z"}, {}, DataError, "z"),
        ({"y": "y", "sample_weight": np.ones(ROWS)}, {}, UserError, "use class_weight"),
        ({"y": "y"}, {"memory_bytes": 1000}, DataError, "give at least"),
    ],
    ids=["array of targets", "no such column", "sample weights", "too little memory"],
)
def test_what_cannot_be_streamed_is_refused(dataset, arguments, parameters, error, words):
    with pytest.raises(error, match=words):
        network(**{"memory_bytes": 100_000, **parameters}).fit(dataset, **arguments)


def _no_number(dataset):
    return [name for name in dataset.schema.names if name != "number"]


def _seen(dataset, world_size, *, validation, part="train"):
    """The numbers of the rows of each global batch, read by so many workers."""
    estimator = NeuralRegressor(memory_bytes=100_000)
    given = read_given(estimator, dataset, "number", reset=True, numeric=True)
    data = streamed(
        dataset,
        "number",
        estimator.inputs_,
        ScaledTargets(mean=np.zeros(1), scale=np.ones(1)),
        memory_bytes=100_000,
        num_outputs=1,
        standardize=True,
        validation=validation,
        seed=0,
    )
    assert given.rows is None
    batches = {}
    for rank in range(world_size):
        wanted = Batches(batch_size=300, seed=3, epoch=1, rank=rank, world_size=world_size)
        for number, batch in enumerate(data.parts[part].batches(wanted)):
            rows = batch["y"][: batch.num_rows, 0].round().long().tolist()
            batches.setdefault(number, []).extend(rows)
            assert batch.global_rows <= 300
    return list(batches.values())
