import platform
from importlib import metadata

import numpy as np
import pytest
import rich.text
import xgboost
from sklearn.base import BaseEstimator
from sklearn.cluster import Birch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from distml.data import Encoder
from distml.ensemble import VotingClassifier
from distml.runs import requirements as module
from distml.runs.model_file import dump_estimator
from distml.runs.requirements import requirements, requirements_text, what_is_missing
from distml.session import inline
from distml.train import Inputs, NeuralClassifier

X = np.random.default_rng(0).normal(size=(40, 2))
Y = X[:, 0] > 0
ALWAYS = {*("distml", "joblib", "numpy", "pyarrow", "python", "scikit-learn", "scipy")} | {
    "threadpoolctl"
}


def network(**options):
    return NeuralClassifier(epochs=1, batch_size=40, **options).fit(X, Y)


def reader_of_text():
    rows = {"said": [f"one two three four number{i}" for i in range(40)]}
    return Inputs(vocabulary=40).fit(rows)


def voting():
    with inline():
        return VotingClassifier([("lr", LogisticRegression())], voting="soft").fit(X, Y)


@pytest.mark.parametrize(
    ("make", "takes", "also"),
    [
        (lambda: LogisticRegression().fit(X, Y), "arrow", {"skops"}),
        (lambda: LogisticRegression().fit(X, Y), "pandas", {"skops", "pandas"}),
        (lambda: Encoder().fit({"a": X[:, 0]}), "arrow", {"skops"}),
        (lambda: xgboost.XGBClassifier(n_estimators=1).fit(X, Y), "arrow", {"skops", "xgboost"}),
        (voting, "arrow", {"skops", "cloudpickle", "psutil"}),
        (network, "arrow", {"skops", "torch", "safetensors"}),
        (reader_of_text, "arrow", {"skops", "torch", "safetensors", "sentencepiece"}),
        (lambda: Mixed([network()]), "arrow", {"cloudpickle", "torch", "safetensors"}),
        (
            lambda: Mixed([reader_of_text()]),
            "arrow",
            {"cloudpickle", "torch", "safetensors", "sentencepiece"},
        ),
        (lambda: Birch().fit(X), "arrow", {"cloudpickle"}),
        (lambda: make_pipeline(FunctionTransformer(foreign)), "arrow", {"cloudpickle", "rich"}),
    ],
    ids=[
        *("skops", "pandas", "encoder", "xgboost", "ours", "network", "text"),
        *("network in a pickle", "text in a pickle", "pickle", "code of the user"),
    ],
)
def test_a_model_needs_what_its_content_names_and_no_more(make, takes, also):
    part = dump_estimator(make())[:2]
    needed = requirements([part], takes)
    assert set(needed) == ALWAYS | also
    assert needed["python"] == platform.python_version()
    versions = {name: metadata.version(name).partition("+")[0] for name in also}
    assert {name: needed[name] for name in also} == versions


class Mixed(BaseEstimator):
    """A class of the user, which only a pickle can hold."""

    def __init__(self, parts):
        self.parts = parts


def foreign(X):
    return X if rich.text.Text("a") else None


def test_the_text_pins_every_library_and_installs_our_wheel_from_the_folder():
    needed = {"distml": "0.1.0", "numpy": "2.4.6", "python": "3.11.7", "xgboost": "3.2.0"}
    assert requirements_text(needed, "distml-0.1.0+bundle-py3-none-any.whl").splitlines() == [
        "# Python 3.11.7. Run in this folder: pip install -r requirements.txt",
        "numpy==2.4.6",
        "xgboost==3.2.0",
        "./distml-0.1.0+bundle-py3-none-any.whl",
    ]


@pytest.mark.parametrize(
    ("name", "wanted", "here", "differs"),
    [
        ("scikit-learn", "1.9.1", "1.9.0", False),
        ("scikit-learn", "1.8.1", "1.9.1", True),
        ("xgboost", "3.1.0", "3.2.0", True),
        ("distml", "0.1.0", "0.2.0", True),
        ("numpy", "2.0.0", "2.4.6", False),
        ("numpy", "1.26.4", "2.4.6", True),
        ("pyarrow", "20.0.0", "26.0.1", False),
        ("xgboost", "3.2.0", None, True),
        ("pyarrow", "26.0.1", None, True),
    ],
)
def test_versions_differ_as_far_as_they_matter(monkeypatch, name, wanted, here, differs):
    monkeypatch.setattr(module, "_version", lambda _: here)
    expected = [f"{name} {wanted} (here {here or 'none'})"] if differs else []
    assert what_is_missing({name: wanted}, pickled=False) == expected


@pytest.mark.parametrize("pickled", [False, True])
def test_python_matters_for_pickles_alone(pickled):
    missing = what_is_missing({"python": "3.4.0"}, pickled=pickled)
    assert missing == ([f"python 3.4.0 (here {platform.python_version()})"] if pickled else [])


def test_the_wheel_in_a_bundle_counts_as_the_version_it_was_made_from(monkeypatch):
    monkeypatch.setattr(module.metadata, "version", lambda _: "0.1.0+bundle")
    assert what_is_missing({"distml": "0.1.0"}, pickled=False) == []


def test_a_smaller_build_of_a_library_is_as_good(monkeypatch):
    def version(name):
        if name == "xgboost":
            raise metadata.PackageNotFoundError(name)
        return "3.2.0"

    monkeypatch.setattr(module.metadata, "version", version)
    assert what_is_missing({"xgboost": "3.2.1"}, pickled=False) == []
    part = dump_estimator(xgboost.XGBClassifier(n_estimators=1).fit(X, Y))[:2]
    assert requirements([part], "arrow")["xgboost"] == "3.2.0"


def test_a_package_named_otherwise_than_its_distribution_is_found():
    assert list(module._distributions({"yaml", "os", "distml"})) == ["PyYAML"]
