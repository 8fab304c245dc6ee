"""A bundle that is not as it was saved: refused with the reason, or said and used all the same."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.cluster import Birch
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from distml.data import Encoder
from distml.errors import DataError, UserError
from distml.runs.bundle import BundleWarning, Model, load, save_model
from distml.runs.golden import read_golden
from distml.runs.manifest import bundle_hash, seal
from distml.runs.model_file import dump_estimator
from distml.runs.requirements import requirements

random = np.random.default_rng(0)
TABLE = pa.table(
    {"size": random.normal(size=80), "colour": pa.array(random.choice(["red", "blue"], 80))}
)
LABELS = np.where(TABLE["size"].to_numpy() > 0, "big", "small")


def model(estimator=None, encoder=None, takes="arrow"):
    encoder = encoder or Encoder()
    given = TABLE if takes == "arrow" else TABLE.to_pandas()
    matrix = encoder.fit(given).transform(given)
    return Model(
        estimator=(estimator or LogisticRegression()).fit(matrix, LABELS),
        encoder=encoder,
        schema=TABLE.schema,
        label="y",
        task="classification",
        classes=["big", "small"],
        takes=takes,
    )


@pytest.fixture
def bundle(tmp_path):
    save_model(
        tmp_path / "m",
        model(),
        golden=TABLE,
        profile_rows=TABLE,
        unseen_rows=TABLE.slice(0, 7),
        card={"units": "kg"},
        files={"job.py": b"def job(): ...", "parameters.json": b"{}"},
    )
    return tmp_path / "m"


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def refused(folder, error, words, **options):
    """Strictly it is refused in one line."""
    with pytest.raises(error, match=words) as caught:
        load(folder, **options)
    assert "\n" not in str(caught.value)


EXTRAS = ["signature.json", "requirements.txt", "README.md", "profile.json", "job.py"]


@pytest.mark.parametrize("name", [*EXTRAS, "parameters.json", "golden.arrow"])
@pytest.mark.parametrize("change", [flip, Path.unlink], ids=["changed", "missing"])
def test_any_file_that_is_not_as_saved_is_refused_or_said(bundle, name, change):
    change(bundle / name)
    words = rf"^bundle .*: {name} is (not what was saved|missing)"
    refused(bundle, DataError, words)
    if name == "golden.arrow" and (bundle / name).exists():
        return  # what is in it now is anybody's guess
    with pytest.warns(BundleWarning, match=words):
        assert load(bundle, check="warn").predict(TABLE).shape == (80,)


def test_a_model_that_is_missing_is_refused_however_one_checks(bundle):
    (bundle / "estimator.skops").unlink()
    with pytest.warns(BundleWarning, match="estimator.skops is missing"):
        refused(bundle, DataError, r"estimator\.skops is missing", check="warn")


def test_a_changed_manifest_is_refused_or_said(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    before = bundle_hash(bundle)
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "label": "z"}))
    refused(bundle, DataError, r"manifest\.json is not what was saved")
    with pytest.warns(BundleWarning, match=r"manifest\.json is not what was saved"):
        assert load(bundle, check="warn").label == "z"
    assert bundle_hash(bundle) != before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "distml bundle"}', '"x"'])
def test_what_is_no_manifest_is_refused_however_one_checks(bundle, text):
    (bundle / "manifest.json").write_text(text)
    for check in ("strict", "warn"):
        refused(bundle, DataError, r"manifest\.json is not what was saved", check=check)


@pytest.mark.parametrize("check", ["strict", "warn"])
def test_a_bundle_of_a_later_format_is_refused_however_one_checks(bundle, check, reseal):
    reseal(bundle, format_version=3)
    refused(bundle, UserError, "from a later distml; upgrade this one", check=check)


def test_a_bundle_of_the_former_format_still_loads(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    files = {name: manifest["files"][name] for name in ("encoder.skops", "estimator.skops")}
    manifest = {k: v for k, v in manifest.items() if k not in ("requires", "sha256")}
    manifest |= {"format_version": 1, "files": files}
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "sha256": seal(manifest)}))
    assert load(bundle).predict(TABLE).shape == (80,)


def test_another_version_is_refused_or_said(bundle, reseal):
    manifest = json.loads((bundle / "manifest.json").read_text())
    needed = {**manifest["requires"], "scikit-learn": "1.2.3", "lightgbm": "4.0"}
    reseal(bundle, requires=needed)
    words = r"needs scikit-learn 1\.2\.3 \(here .*\), lightgbm 4\.0 \(here none\); .*pip install -r"
    refused(bundle, UserError, words)
    with pytest.warns(BundleWarning, match=words):
        assert load(bundle, check="warn").predict(TABLE).shape == (80,)


def test_versions_are_looked_at_before_anything_is_built(bundle, reseal):
    (bundle / "estimator.skops").write_bytes(b"made by a version that writes otherwise")
    reseal(bundle, requires={"scikit-learn": "0.1"})
    refused(bundle, UserError, r"needs scikit-learn 0\.1")


def test_predictions_that_changed_are_refused_or_said(bundle, reseal):
    # Another model in its place, with a manifest to match: no hash shows it.
    contrary = model()
    contrary.estimator.coef_ *= -1
    (bundle / "estimator.skops").write_bytes(dump_estimator(contrary.estimator)[1])
    reseal(bundle)
    words = r"golden rows are predicted otherwise .*\(prediction of row \d+ is '.*', it was '.*'\)"
    refused(bundle, DataError, words)
    with pytest.warns(BundleWarning, match=words):
        back = load(bundle, check="warn")
    np.testing.assert_array_equal(back.predict(TABLE), contrary.predict(TABLE))


class Poison:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (os.system, (f"touch {self.file}",))


@pytest.mark.parametrize("check", ["strict", "warn"])
def test_a_pickle_does_not_run_however_one_checks(bundle, tmp_path, check, reseal):
    (bundle / "estimator.pickle").write_bytes(pickle.dumps(Poison(tmp_path / "harm")))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["estimator.pickle"] = {}
    part = {"file": "estimator.pickle", "stored": "pickle"}
    reseal(bundle, parts={**manifest["parts"], "estimator": part}, files=manifest["files"])
    refused(bundle, UserError, r"estimator\.pickle: .* trust=True", check=check)
    assert not (tmp_path / "harm").exists()


def test_python_counts_for_a_pickle(tmp_path, reseal):
    save_model(
        tmp_path,
        model(make_pipeline(Birch(n_clusters=None), DecisionTreeClassifier())),
        golden=TABLE,
    )
    load(tmp_path, trust=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    reseal(tmp_path, requires={**manifest["requires"], "python": "3.4.1"})
    refused(tmp_path, UserError, r"needs python 3\.4\.1 \(here ", trust=True)


def test_checking_otherwise_is_refused(bundle):
    refused(bundle, UserError, "check='no' must be 'strict' or 'warn'", check="no")


def test_what_a_bundle_says_of_itself(bundle):
    signature = json.loads((bundle / "signature.json").read_text())
    assert signature == {
        "task": "classification",
        "label": "y",
        "units": "kg",
        "classes": ["big", "small"],
        "inputs": [{"name": "size", "type": "double"}, {"name": "colour", "type": "string"}],
        "outputs": [
            {"name": "prediction", "type": "string"},
            {"name": "probability_big", "type": "double"},
            {"name": "probability_small", "type": "double"},
        ],
    }
    inputs, outputs = read_golden((bundle / "golden.arrow").read_bytes())
    assert inputs.equals(TABLE.slice(0, 20))
    assert [{"name": f.name, "type": str(f.type)} for f in outputs.schema] == signature["outputs"]
    manifest = json.loads((bundle / "manifest.json").read_text())
    stored = [
        (part["stored"], (bundle / part["file"]).read_bytes())
        for part in manifest["parts"].values()
    ]
    assert manifest["requires"] == requirements(stored, "arrow")
    profile = json.loads((bundle / "profile.json").read_text())
    assert (profile["rows"], profile["predictions"]["rows"]) == (80, 7)
    assert set(profile["columns"]) == {"size", "colour"}
    assert "probability_big" in profile["predictions"]["columns"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"size": [1.0]}, "column 'colour' is missing"),
        ({"size": [1.0], "color": ["red"]}, "column 'colour' is missing .* by 'color'"),
        ({"size": ["large"], "colour": ["red"]}, "column 'size': the model was fitted on double"),
        ({"size": [1.0], "colour": [3.5j]}, "column 'colour': the model was fitted on string"),
    ],
    ids=["missing", "misspelt", "retyped", "of no type"],
)
def test_rows_that_do_not_fit_are_refused_by_column(bundle, rows, words):
    loaded = load(bundle)
    for method in (loaded.predict, loaded.predict_proba, loaded.outputs):
        with pytest.raises(DataError, match=words):
            method(rows)


def test_an_unknown_category_is_one_to_our_encoder(bundle):
    loaded = load(bundle)
    assert loaded.predict({"size": [3.0, -3.0], "colour": ["mauve", None]}).tolist() == [
        *("big", "small")
    ]


def test_an_unknown_category_that_an_encoder_refuses_is_said_in_one_line(tmp_path):
    encoder = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    save_model(tmp_path, model(encoder=encoder, takes="pandas"), golden=TABLE)
    loaded = load(tmp_path)
    with pytest.raises(DataError, match=r"encoder does not take these rows .*mauve") as caught:
        loaded.predict({"size": [3.0], "colour": ["mauve"]})
    assert "\n" not in str(caught.value)


def test_nothing_is_predicted_of_no_rows(bundle):
    outputs = load(bundle).outputs(TABLE.slice(0, 0))
    assert outputs.num_rows == 0
    assert outputs.column_names == ["prediction", "probability_big", "probability_small"]
