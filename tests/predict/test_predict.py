"""The Predict task over whole datasets, in this process."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from distml import session
from distml.cli import main
from distml.data import Encoder, ShardedDataset
from distml.errors import DataError, UserError
from distml.job import Resources, RunContext
from distml.predict import Predict, shard
from distml.runs.bundle import BundleWarning, Model, load, load_once, save_model

N = 300


def rows(n=N, seed=0):
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "id": np.arange(n),
            "size": random.normal(size=n),
            "colour": pa.array(random.choice(["red", "green", "blue"], n)),
        }
    )


def fitted(estimator, labels, **fields):
    table = rows().select(["size", "colour"])
    encoder = Encoder().fit(table)
    estimator.fit(encoder.transform(table), labels)
    return Model(estimator=estimator, encoder=encoder, schema=table.schema, label="y", **fields)


LATE = np.where(rows()["size"].to_numpy() > 0, "late", "on time")


def classifier(estimator=None):
    estimator = estimator or RandomForestClassifier(5, max_depth=4, n_jobs=2, random_state=0)
    return fitted(estimator, LATE, task="classification", classes=["late", "on time"])


def regressor():
    return fitted(LinearRegression(), rows()["size"].to_numpy() * 2, task="regression")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, classifier(), golden=rows())
    return str(folder)


def write(table, folder, sizes):
    """One file of each size; a size of 0 is an empty file."""
    folder.mkdir(parents=True)
    start = 0
    for i, size in enumerate(sizes):
        pq.write_table(table[start : start + size], folder / f"{i}.parquet")
        start += size
    return str(folder)


@pytest.fixture
def data(tmp_path):
    return write(rows(), tmp_path / "data", [120, 80, 100])


def run(bundle, data, out, **options):
    events = []
    context = RunContext(
        run_id="r",
        run_uri="unused",
        seed=0,
        resources=Resources(),
        emit=lambda kind, **fields: events.append((kind, fields)),
    )
    with session.inline():
        task = Predict(bundle=str(bundle), data=str(data), out=str(out), **options)
        return task.run(context), events


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=5).filter(sum),
    block_rows=st.integers(1, 70),
    group_blocks=st.integers(1, 3),
)
def test_all_files_together_are_the_predictions_of_the_whole_table_in_order(
    bundle, tmp_path_factory, sizes, block_rows, group_blocks
):
    here = tmp_path_factory.mktemp("any")
    table = rows(sum(sizes), seed=1)
    data = write(table, here / "data", sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard, "BLOCK_ROWS", block_rows)
        patch.setattr(shard, "_GROUP_BLOCKS", group_blocks)
        run(bundle, data, here / "out", keep=["id"])
    model = load(bundle)
    said = ShardedDataset.open(here / "out").to_table()
    assert said["id"].to_pylist() == list(range(sum(sizes)))
    assert said["prediction"].to_pylist() == model.predict(table).tolist()
    shares = np.column_stack([said[f"probability_{name}"] for name in ["late", "on time"]])
    np.testing.assert_allclose(shares, model.predict_proba(table), rtol=1e-12)


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        (regressor(), {"prediction": pa.float64()}),
        (
            classifier(VotingClassifier([("a", LogisticRegression())], voting="hard")),
            {"prediction": pa.string()},
        ),
        (
            classifier(),
            {
                "prediction": pa.string(),
                "probability_late": pa.float64(),
                "probability_on time": pa.float64(),
            },
        ),
    ],
    ids=["numbers", "labels alone", "labels and probabilities"],
)
def test_columns_are_what_the_model_can_say(tmp_path, data, model, columns):
    save_model(tmp_path / "model", model)
    run(tmp_path / "model", data, tmp_path / "out", keep=["id", "colour"])
    dataset = ShardedDataset.open(tmp_path / "out")
    assert dataset.schema == pa.schema({"id": pa.int64(), "colour": pa.string(), **columns})
    said = dataset.to_table()["prediction"].to_numpy()
    np.testing.assert_array_equal(said, model.predict(rows()))


def test_files_are_named_by_shard_and_row_groups_are_shards(tmp_path, bundle):
    (tmp_path / "data").mkdir()
    pq.write_table(rows(), tmp_path / "data" / "one.parquet", row_group_size=200)
    result, events = run(bundle, tmp_path / "data", tmp_path / "out")
    assert set(files(tmp_path / "out")) == {
        *("_distml.json", "_SUCCESS", "part-00000.parquet", "part-00001.parquet")
    }
    assert result.details["rows"] == N
    assert result.details["shards"] == {"all": 2, "found": 0}
    assert [kind for kind, _ in events].count("unit_done") == 2


def test_csv_and_columns_of_folders_are_read_too(tmp_path, bundle):
    for colour in ("red", "blue"):
        (tmp_path / "data" / f"colour={colour}").mkdir(parents=True)
        path = tmp_path / "data" / f"colour={colour}" / "a.csv"
        pa_csv.write_csv(rows().select(["id", "size"]), path)
    run(bundle, tmp_path / "data", tmp_path / "out", keep=["colour"])
    said = ShardedDataset.open(tmp_path / "out").to_table()
    table = pa.concat_tables([rows().select(["id", "size"])] * 2)
    table = table.append_column("colour", pa.array(["blue"] * N + ["red"] * N))
    assert said["colour"].to_pylist() == table["colour"].to_pylist()
    assert said["prediction"].to_pylist() == load(bundle).predict(table).tolist()


def test_an_unknown_category_is_predicted_as_one(tmp_path, bundle):
    table = rows(20).set_column(2, "colour", pa.array(["mauve"] * 20))
    run(bundle, write(table, tmp_path / "data", [20]), tmp_path / "out")
    said = ShardedDataset.open(tmp_path / "out").to_table()["prediction"].to_pylist()
    assert said == load(bundle).predict(table).tolist()


@pytest.mark.parametrize("uri", ["local", "s3"])
def test_what_is_there_is_left_alone_and_what_is_missing_is_made(
    tmp_path, bundle, data, uri, request
):
    out = str(tmp_path / "out") if uri == "local" else request.getfixturevalue("s3_uri")
    home, root = pa.fs.FileSystem.from_uri(out) if uri == "s3" else (pa.fs.LocalFileSystem(), out)
    first, _ = run(bundle, data, out)
    before = {index: read(home, root, index) for index in range(3)}
    home.delete_file(f"{root}/part-00001.parquet")
    with home.open_output_stream(f"{root}/part-00002.parquet") as stream:
        stream.write(before[2][:-7])

    again, events = run(bundle, data, out)

    assert {index: read(home, root, index) for index in range(3)} == before
    assert (first.details["shards"]["found"], again.details["shards"]["found"]) == (0, 1)
    done = [fields["unit"] for kind, fields in events if kind == "unit_done"]
    assert done == ["part-00001.parquet", "part-00002.parquet"]


def read(home, root, index):
    with home.open_input_file(f"{root}/part-{index:05d}.parquet") as file:
        return file.read()


def test_a_finished_folder_is_not_touched(tmp_path, bundle, data):
    run(bundle, data, tmp_path / "out")
    paths = sorted((tmp_path / "out").glob("part-*"))
    times = [path.stat().st_mtime_ns for path in paths]
    result, _ = run(bundle, data, tmp_path / "out")
    assert result.details["shards"] == {"all": 3, "found": 3}
    assert [path.stat().st_mtime_ns for path in paths] == times


def test_a_half_written_folder_does_not_open(tmp_path, bundle, data, monkeypatch):
    def fail(*arguments):
        raise DataError("out of luck")

    run(bundle, data, tmp_path / "out")
    (tmp_path / "out" / "part-00001.parquet").unlink()
    monkeypatch.setattr("distml.predict.task.predict_shard", fail)
    with pytest.raises(DataError, match="out of luck"):
        run(bundle, data, tmp_path / "out")
    with pytest.raises(DataError, match="half-written"):
        ShardedDataset.open(tmp_path / "out")


def test_no_more_rows_than_a_block_are_predicted_at_once(tmp_path, bundle, data, monkeypatch):
    sizes = []

    def outputs(self, table):
        sizes.append(table.num_rows)
        return said(self, table)

    said = Model.outputs
    monkeypatch.setattr(Model, "outputs", outputs)
    monkeypatch.setattr(shard, "BLOCK_ROWS", 50)
    run(bundle, data, tmp_path / "out")
    assert sorted(sizes, reverse=True)[:6] == [50, 50, 50, 50, 50, 30]
    assert sum(sizes) == N + 1


def test_the_model_runs_on_one_thread(bundle):
    model = load_once(bundle, "any", "strict", trust=False)
    assert model.estimator.n_jobs == 1


def other_files(folder, *_):
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")


def other_marks(folder, *_):
    folder.mkdir()
    (folder / "_SUCCESS").touch()


def other_model(folder, bundle, data):
    save_model(folder.parent / "other", classifier(LogisticRegression()))
    run(folder.parent / "other", data, folder)


def other_data(folder, bundle, data):
    run(bundle, write(rows(50, seed=5), folder.parent / "more", [50]), folder)


def other_columns(folder, bundle, data):
    run(bundle, data, folder, keep=["id"])


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (other_files, "has files that are no predictions, such as 'notes.txt'"),
        (other_marks, "has files that are no predictions, such as '_SUCCESS'"),
        (other_model, "holds predictions of another model"),
        (other_data, "holds predictions of other data"),
        (other_columns, "holds predictions of other columns"),
    ],
)
def test_a_folder_that_holds_something_else_stays_as_it_is(tmp_path, bundle, data, prepare, words):
    prepare(tmp_path / "out", bundle, data)
    before = files(tmp_path / "out")
    with pytest.raises(UserError, match=words) as caught:
        run(bundle, data, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize("place", ["said.csv", "said.csv/deeper"])
def test_a_file_in_the_place_of_the_folder_is_named_and_kept(tmp_path, bundle, data, place):
    (tmp_path / "said.csv").write_text("mine")
    with pytest.raises(UserError, match=r"said\.csv.*: is a file, or lies below one; give a fold"):
        run(bundle, data, tmp_path / place)
    assert (tmp_path / "said.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda t: t.drop_columns("size"), {}, "no column 'size'"),
        (lambda t: t.rename_columns(["id", "sise", "colour"]), {}, "'size'; did you mean 'sise'"),
        (
            lambda t: t.set_column(1, "size", pa.array(["much"] * N)),
            {},
            "column 'size': the model was fitted on double",
        ),
        (lambda t: t, {"keep": ["di"]}, "no column 'di'; did you mean 'id'"),
        (
            lambda t: t.rename_columns(["prediction", "size", "colour"]),
            {"keep": ["prediction"]},
            "'prediction' is a column of the predictions",
        ),
    ],
    ids=["missing", "renamed", "retyped", "nothing to keep", "clash"],
)
def test_data_that_does_not_fit_is_named_before_anything_is_written(
    tmp_path, bundle, change, options, words
):
    data = write(change(rows()), tmp_path / "data", [N])
    with pytest.raises(UserError, match=words):
        run(bundle, data, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_predictions_do_not_go_into_the_data(tmp_path, bundle, data):
    with pytest.raises(UserError, match="lies inside the data"):
        run(bundle, data, Path(data) / "out")
    assert not (Path(data) / "out").exists()
    run(bundle, f"{data}/0.parquet", tmp_path / "data" / "out")  # one file has no inside


def test_a_model_that_is_not_as_it_was_is_refused_or_said(tmp_path, data):
    save_model(tmp_path / "model", classifier(), golden=rows())
    (tmp_path / "model" / "README.md").write_text("much better")
    with pytest.raises(DataError, match=r"README\.md is not what was saved"):
        run(tmp_path / "model", data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.warns(BundleWarning, match=r"README\.md is not what was saved"):
        run(tmp_path / "model", data, tmp_path / "out", check="warn")
    assert ShardedDataset.open(tmp_path / "out").num_rows == N


@pytest.mark.filterwarnings("default")
def test_the_verb_writes_predictions_and_says_where(tmp_path, bundle, data, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    line = ["predict", bundle, "data", "--out", "said", "--keep", "id", "--on", "debug"]
    assert main([*line, "--run-id", "one"]) == 0
    assert f"predictions  {tmp_path}/said" in capfd.readouterr().out
    assert ShardedDataset.open("said").schema.names[:2] == ["id", "prediction"]
    assert main(["show", "one"]) == 0
    capfd.readouterr()

    assert main([*line[:-4], "--keep", "size", "--on", "debug"]) == 2

    error = capfd.readouterr().err
    assert error.startswith("distml: error: ")
    assert "holds predictions of other columns" in error


@pytest.mark.filterwarnings("default")
def test_a_run_that_failed_is_resumed_from_anywhere(
    tmp_path, bundle, data, monkeypatch, capfd, tmp_path_factory
):
    monkeypatch.chdir(tmp_path)
    other_files(tmp_path / "said")
    storage = ["--on", "debug", "--storage", str(tmp_path / "runs")]
    assert main(["predict", bundle, "data", "--out", "said", "--run-id", "one", *storage]) == 2
    (tmp_path / "said" / "notes.txt").unlink()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    assert main(["resume", "one", *storage]) == 0, capfd.readouterr().err

    assert ShardedDataset.open(tmp_path / "said").num_rows == N


def test_bytes_do_not_depend_on_the_process(tmp_path, bundle, data):
    run(bundle, data, tmp_path / "one")
    load_once.cache_clear()
    run(bundle, data, tmp_path / "two")
    prints = [
        hashlib.sha256(b"".join(files(tmp_path / name).values())).hexdigest()
        for name in ("one", "two")
    ]
    assert prints[0] == prints[1]
