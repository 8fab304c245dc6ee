"""Fit without an encoder: the estimator reads the rows, with lists, text and categories in them."""

import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from distml import session
from distml.data import ByHash, Split, write_shards
from distml.ensemble import StackingClassifier, VotingClassifier
from distml.errors import UserError
from distml.fit import Fit
from distml.job import Resources, RunContext
from distml.runs.bundle import load
from distml.train import CNN, MLP, RNN, NeuralClassifier, NeuralRegressor, Transformer

ROWS = 400
SPLIT = Split({"hold_out": ByHash(0.3, key="id")})
WORDS = ["the", "a", "flight", "came", "late", "again", "never", "is", "on", "my", "bag"]


@pytest.fixture(scope="module")
def table():
    """The label is in every column: in brightness, in the steps, in a word, in the colour."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, ROWS)
    pixels = generator.integers(0, 120, (ROWS, 6, 6)) + 130 * y[:, None, None]
    lengths = generator.integers(2, 7, ROWS)
    steps = [
        (generator.normal(size=(n, 2)) + 2 * label).tolist()
        for n, label in zip(lengths, y, strict=True)
    ]
    said = [
        " ".join([*generator.choice(WORDS, 5), "good" if label else "bad", str(row)])
        for row, label in enumerate(y)
    ]
    return pa.table(
        {
            "id": np.arange(ROWS),
            "image": pa.array(pixels.tolist(), pa.list_(pa.list_(pa.uint8(), 6), 6)),
            "steps": pa.array(steps, pa.list_(pa.list_(pa.float32(), 2))),
            "said": said,
            "colour": np.where((y == 1) ^ (generator.random(ROWS) < 0.1), "red", "blue"),
            "size": generator.normal(size=ROWS) + y,
            "cost": 10.0 * y + generator.normal(size=ROWS),
            "label": np.where(y, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def data(table, tmp_path_factory):
    return write_shards(table, tmp_path_factory.mktemp("lists") / "parts", num_shards=2)


def run(task, folder):
    context = RunContext(
        run_id="r",
        run_uri=str(folder),
        seed=0,
        resources=Resources(),
        emit=lambda kind, **fields: None,
    )
    with session.inline():
        return task.run(context)


def fit(data, module, features, **changes):
    network = NeuralClassifier(module, epochs=8, lr=0.02, batch_size=64, cpus_per_worker=1)
    arguments = {
        "data": data,
        "label": "label",
        "estimator": network,
        "split": SPLIT,
        "features": features,
        "encoder": None,
        "metrics": ["accuracy", "neg_log_loss"],
        "slices": ["colour"],
    }
    return Fit(**{**arguments, **changes})


def read(folder, name):
    return json.loads((folder / name).read_text())


CASES = {
    "images": (CNN((4,), hidden=()), ["image"]),
    "images beside numbers": (CNN((4,), hidden=()), ["image", "colour", "size"]),
    "sequences": (RNN("gru", hidden_size=8), ["steps", "size"]),
    "text": (Transformer(8, num_heads=2, num_layers=1), ["said", "colour"]),
    "categories": (MLP((8,)), ["colour", "size"]),
}


@pytest.mark.parametrize(("module", "features"), CASES.values(), ids=CASES)
def test_a_network_reads_the_rows_itself(data, table, tmp_path, module, features):
    result = run(fit(data, module, features), tmp_path)
    assert result.metrics["hold_out"]["accuracy"] > 0.8
    assert result.details["matrix"] == features
    model = load(tmp_path / "bundle")
    assert model.schema.names == features
    rows = table.take(SPLIT.rows(table)["hold_out"])
    right = np.mean(model.predict(rows) == np.array(rows["label"].to_pylist()))
    assert right == pytest.approx(result.metrics["hold_out"]["accuracy"])
    assert model.predict(rows.slice(0, 3).to_pylist()).tolist() == model.predict(rows)[:3].tolist()
    frame = rows.slice(0, 3).to_pandas()
    assert model.predict(frame).tolist() == model.predict(rows)[:3].tolist()


def test_lists_and_text_are_evaluated_as_far_as_it_makes_sense(data, tmp_path):
    run(fit(data, *CASES["images beside numbers"]), tmp_path)
    evaluation = read(tmp_path, "evaluation.json")
    first = evaluation["importance"]["features"][0]
    assert (first["feature"], first["mean"] > 0) == ("image", True)
    assert {entry["feature"] for entry in evaluation["dependence"]} == {"colour", "size"}
    (image, *_) = evaluation["data"]["columns"]
    assert image["type"].startswith("fixed_size_list")
    profile = read(tmp_path / "bundle", "profile.json")
    assert list(profile["columns"]) == ["image (mean)", "colour", "size"]
    inputs = read(tmp_path / "bundle", "signature.json")["inputs"]
    assert [one["name"] for one in inputs] == ["image", "colour", "size"]


def test_one_column_is_not_ranked(data, tmp_path):
    run(fit(data, *CASES["images"]), tmp_path)
    evaluation = read(tmp_path, "evaluation.json")
    assert (evaluation["importance"], evaluation["dependence"]) == (None, [])


def test_a_regression_reads_rows_too(data, tmp_path):
    estimator = NeuralRegressor(MLP((8,)), epochs=8, lr=0.02, batch_size=64, cpus_per_worker=1)
    task = fit(data, None, ["image", "colour"], estimator=estimator, label="cost", metrics=["r2"])
    assert run(task, tmp_path).metrics["hold_out"]["r2"] > 0.6


def texts(table):
    return table["said"].to_pylist()


@pytest.mark.parametrize("ensemble", [VotingClassifier, StackingClassifier])
def test_members_that_read_rows_differently_are_one_ensemble(data, table, tmp_path, ensemble):
    words = make_pipeline(FunctionTransformer(texts), TfidfVectorizer(), LogisticRegression())
    network = NeuralClassifier(MLP((8,)), epochs=5, lr=0.02, batch_size=64, cpus_per_worker=1)
    options = {"voting": "soft"} if ensemble is VotingClassifier else {"cv": 2}
    chain = make_pipeline(FunctionTransformer(numbers), network)
    estimator = ensemble([("words", words), ("network", chain)], **options)
    task = fit(data, None, ["said", "size", "colour"], estimator=estimator, cross_validation=2)
    result = run(task, tmp_path)
    assert [row["model"] for row in result.table][1:3] == ["words", "network"]
    assert result.metrics["hold_out"]["accuracy"] > 0.9
    assert load(tmp_path / "bundle", trust=True).predict(table.slice(0, 2)).tolist()


def numbers(table):
    return table.select(["size", "colour"])


def test_folds_and_fewer_rows_are_fitted_without_an_encoder(data, tmp_path):
    task = fit(data, *CASES["sequences"], cross_validation=2, learning_curve=[0.5, 1.0])
    run(task, tmp_path)
    evaluation = read(tmp_path, "evaluation.json")
    assert evaluation["cross_validation"]["scores"]["accuracy"]["mean"] > 0.8
    assert len(evaluation["learning_curve"]["rows"]) == 2


def test_a_selection_needs_a_matrix(data):
    with pytest.raises(UserError, match="selector"):
        fit(data, *CASES["images"], selector=object())
