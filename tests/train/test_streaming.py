"""Networks on datasets larger than the memory their rows may take."""

import numpy as np
import pyarrow as pa
import pytest
import torch

import distml
from distml.data import Selection, ShardedDataset
from distml.data.cache import ShardCache
from distml.errors import DataError, UserError
from distml.train import MLP, RNN, NeuralClassifier, NeuralTransformer, Transformer
from distml.train.batch import Batches
from distml.train.inputs import Inputs
from distml.train.streaming import stream_part, streamed
from tests.data.held import Held

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
        MLP(hidden=(16,)), epochs=4, batch_size=64, lr=0.01, random_state=0, cpus_per_worker=1,
        **parameters,
    )  # fmt: skip


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


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
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
        ({"y": np.zeros(3)}, {}, ValueError, "inconsistent numbers of samples"),
        ({"y": "z"}, {}, DataError, "z"),
        ({"y": "y"}, {"memory_bytes": 1000}, DataError, "give at least"),
        ({"y": "y"}, {"early_stopping": 1, "validation_fraction": 1.0}, UserError, "leaves none"),
    ],
    ids=["too few targets", "no such column", "too little memory", "nothing to train on"],
)
def test_what_cannot_be_streamed_is_refused(dataset, arguments, parameters, error, words):
    with pytest.raises(error, match=words):
        network(**{"memory_bytes": 100_000, **parameters}).fit(dataset, **arguments)


def test_targets_and_weights_may_be_arrays(dataset, table):
    features = dataset.select([f"x{i}" for i in range(4)])
    y, weight = table["y"].to_numpy(), np.where(table["y"].to_numpy() == "no", 100.0, 1.0)
    named = network(memory_bytes=100_000).fit(dataset.select(["x0", "x1", "x2", "x3", "y"]), "y")
    given = network(memory_bytes=100_000).fit(features, y)
    weighted = network(memory_bytes=100_000).fit(features, y, sample_weight=weight)

    assert all(np.array_equal(named.weights_[n], given.weights_[n]) for n in named.weights_)
    assert (weighted.predict(dataset) == "no").mean() > (given.predict(dataset) == "no").mean()


def test_rows_that_are_selected_are_streamed_alone(dataset):
    rows = Selection(dataset).select(["x0", "x1", "y"]).pick(np.arange(0, ROWS, 2))
    fitted = network(memory_bytes=20_000).fit(rows, "y")

    assert len(fitted.predict(rows)) == ROWS // 2


def test_a_network_without_targets_streams(dataset):
    coder = NeuralTransformer(epochs=1, batch_size=256, memory_bytes=100_000, random_state=0)

    assert coder.fit(dataset.select(["x0", "x1", "x2", "x3"])).transform(dataset).shape[0] == ROWS


def test_a_fit_holds_a_few_shards_and_never_the_table(dataset, monkeypatch):
    monkeypatch.setattr(ShardedDataset, "to_table", _only("y", ShardedDataset.to_table))
    held = Held()
    monkeypatch.setattr(ShardedDataset, "read_shard", held.counting(ShardedDataset.read_shard))
    network(memory_bytes=100_000).fit(dataset, "y")

    # 20 shards of 200 rows: three of them may be there, one that is read and what is cut of it.
    assert 200 <= held.most_rows <= 1000


# --- what is kept between epochs


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("DISTML_SCRATCH", str(tmp_path))
    return tmp_path


def test_more_epochs_neither_read_nor_decode_more(dataset, monkeypatch, scratch):
    done = []

    def counting(method):
        def counted(self, *arguments, **options):
            done.append(method.__name__)
            return method(self, *arguments, **options)

        return counted

    monkeypatch.setattr(ShardedDataset, "read_shard", counting(ShardedDataset.read_shard))
    monkeypatch.setattr(Inputs, "rows", counting(Inputs.rows))
    few, many = (
        (network(memory_bytes=100_000).set_params(epochs=epochs).fit(dataset, "y"), len(done))
        for epochs in (2, 5)
    )

    assert many[1] == 2 * few[1]


def test_what_is_kept_changes_no_weight(dataset, monkeypatch, scratch):
    kept = network(memory_bytes=100_000).fit(dataset, "y").weights_
    monkeypatch.setenv("DISTML_SCRATCH", "")
    read = network(memory_bytes=100_000).fit(dataset, "y").weights_

    assert all(np.array_equal(kept[name], read[name]) for name in kept)


def test_nothing_is_left_of_what_a_fit_kept(dataset, scratch):
    network(memory_bytes=100_000, early_stopping=2).fit(dataset, "y")
    (root,) = scratch.iterdir()

    assert [path for path in root.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(("epochs", "shards"), [(1, 0), (2, 20)])
def test_only_what_will_be_read_again_is_kept(dataset, monkeypatch, scratch, epochs, shards):
    kept = []
    put = ShardCache.put
    monkeypatch.setattr(ShardCache, "put", lambda *given: kept.append(given[1]) or put(*given))
    network(memory_bytes=100_000).set_params(epochs=epochs).fit(dataset, "y")

    assert len(kept) == shards


# --- rows of different lengths


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Sequences of one to nine steps, all of them the row's number; text that says it as well."""
    numbers = np.arange(ROWS)
    said = [" ".join(["this row says", f"n{n}", *["again and again"] * (n % 4)]) for n in numbers]
    table = pa.table({
        "steps": pa.array([[float(n)] * (n % 9 + 1) for n in numbers], pa.list_(pa.float32())),
        "said": said,
        "y": np.where(numbers % 9 > 4, "long", "short"),
    })  # fmt: skip
    return distml.write_shards(table, tmp_path_factory.mktemp("uneven") / "data", num_shards=20)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
def test_each_sequence_is_streamed_whole_and_once(uneven, world_size):
    rows, seen = Selection(uneven).select(["steps"]), []
    part = stream_part(rows, Inputs().fit(rows), {"y": np.arange(ROWS)}, 100_000)
    for rank in range(world_size):
        wanted = Batches(batch_size=301, seed=3, epoch=1, rank=rank, world_size=world_size)
        for batch in part.batches(wanted):
            y, lengths = batch["y"][: batch.num_rows], batch["lengths"][: batch.num_rows]
            assert torch.equal(lengths, y % 9 + 1)
            sums = batch["sequence"][: batch.num_rows].sum(dim=(1, 2))
            assert torch.equal(sums, (y * lengths).float())
            seen += y.tolist()

    assert sorted(seen) == list(range(ROWS))


def test_shares_of_sequences_that_are_empty_have_one_step_that_counts_nothing(uneven):
    rows = Selection(uneven).select(["steps"]).pick(np.arange(3))
    part = stream_part(rows, Inputs().fit(rows), {"y": np.arange(3)}, 100_000)
    (batch,) = part.batches(Batches(batch_size=8, rank=5, world_size=6))

    assert (batch.num_rows, batch["sequence"].shape, batch["lengths"].tolist()) == (
        0, (1, 1, 1), [1],
    )  # fmt: skip


def test_networks_learn_from_streamed_sequences_and_text(uneven):
    of_steps = NeuralClassifier(
        RNN("gru", hidden_size=8), epochs=3, batch_size=64, lr=0.02, random_state=0,
        memory_bytes=100_000, cpus_per_worker=1,
    ).fit(uneven.select(["steps", "y"]), "y")  # fmt: skip
    of_text = NeuralClassifier(
        Transformer(8, num_heads=2, num_layers=1), epochs=1, batch_size=256, random_state=0,
        memory_bytes=200_000, cpus_per_worker=1,
    ).fit(uneven.select(["said", "y"]), "y")  # fmt: skip

    assert of_steps.score(uneven, uneven.to_table(["y"])["y"].to_numpy()) > 0.9
    assert len(of_text.predict(uneven)) == ROWS


def test_one_shard_of_long_sequences_counts_for_all_in_the_memory_needed(tmp_path):
    lengths = np.where(np.arange(400) < 300, 1, 500)
    table = pa.table({
        "steps": pa.array([[0.0] * n for n in lengths], pa.list_(pa.float32())), "y": lengths
    })  # fmt: skip
    dataset = distml.write_shards(table, tmp_path / "data", num_shards=8)
    rows = Selection(dataset).select(["steps"])

    with pytest.raises(DataError, match=r"50 rows of 2,0\d\d bytes"):
        stream_part(rows, Inputs().fit(rows), {"y": lengths}, 100_000)


def _only(label, whole):
    """Whole columns are read of the label alone."""

    def to_table(self, columns=None):
        assert columns == [label]
        return whole(self, columns)

    return to_table


def _no_number(dataset):
    return [name for name in dataset.schema.names if name != "number"]


def _seen(dataset, world_size, *, validation, part="train", fields=None):
    """The numbers of the rows of each global batch, read by so many workers."""
    rows = Selection(dataset).select(fields or _no_number(dataset))
    data = streamed(
        rows,
        Inputs().fit(rows),
        {"y": np.arange(ROWS)},
        memory_bytes=100_000,
        num_outputs=1,
        standardize=True,
        validation=validation,
        seed=0,
    )
    batches = {}
    for rank in range(world_size):
        wanted = Batches(batch_size=300, seed=3, epoch=1, rank=rank, world_size=world_size)
        for number, batch in enumerate(data.parts[part].batches(wanted)):
            batches.setdefault(number, []).extend(batch["y"][: batch.num_rows].tolist())
            assert batch.global_rows <= 300
            assert batch["y"].dtype == torch.int64
    return list(batches.values())
