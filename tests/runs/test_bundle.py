import io
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.special
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import Birch
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from distml.data import Encoder
from distml.errors import DataError, StorageError, UserError
from distml.runs.bundle import Model, load, save_model
from distml.runs.model_file import dump_estimator, load_estimator
from distml.runs.wheel import own_wheel

X, Y = make_classification(200, 6, random_state=0)
X = X.astype(np.float32)
NAMES = [f"x{i}" for i in range(6)]
TABLE = pa.table({name: X[:, i] for i, name in enumerate(NAMES)})


def classifier(estimator: Any, **fields: Any) -> Model:
    return Model(
        estimator=make_pipeline(StandardScaler(), estimator).fit(TABLE.to_pandas(), Y),
        schema=TABLE.schema,
        label="y",
        task="classification",
        classes=[0, 1],
        takes="pandas",
        **fields,
    )


def small_forest() -> Any:
    return RandomForestClassifier(3, max_depth=3, random_state=0)


def xgb() -> Any:
    return xgboost.XGBClassifier(n_estimators=3, max_depth=2)


def members() -> list[tuple[str, Any]]:
    return [
        ("lr", LogisticRegression()),
        ("rf", small_forest()),
        ("hgb", HistGradientBoostingClassifier(max_iter=3)),
        ("xgb", xgb()),
    ]


@pytest.mark.parametrize(
    "estimator",
    [
        pytest.param(StackingClassifier(members(), cv=2), id="stack"),
        pytest.param(
            StackingClassifier(
                [
                    ("inner", StackingClassifier(members(), LogisticRegression(), cv=2)),
                    ("lr", LogisticRegression()),
                ],
                cv=2,
            ),
            id="stack-in-stack",
        ),
        pytest.param(VotingClassifier(members(), voting="soft"), id="voting"),
        pytest.param(
            VotingClassifier([("tree", DecisionTreeClassifier(max_depth=2))], voting="soft"),
            id="voting-of-trees",
        ),
        pytest.param(BaggingClassifier(xgb(), 3, max_features=0.5, random_state=0), id="bagging"),
        pytest.param(GradientBoostingClassifier(n_estimators=3), id="gradient-boosting"),
        pytest.param(CalibratedClassifierCV(small_forest(), cv=2), id="calibrated"),
        pytest.param(MLPClassifier((3,), max_iter=500, tol=1), id="network"),
        pytest.param(make_pipeline(SelectKBest(k=3), xgb()), id="selection"),
    ],
)
def test_ensembles_come_back_without_a_pickle(tmp_path: Path, estimator: Any) -> None:
    model = classifier(estimator, metadata={"run": "r1", "score": float("nan")})
    manifest = save_model(tmp_path, model)
    assert {part["stored"] for part in manifest["parts"].values()} == {"skops"}
    back = load(tmp_path)
    np.testing.assert_array_equal(back.predict_proba(TABLE), model.predict_proba(TABLE))
    np.testing.assert_array_equal(back.predict(TABLE), model.predict(TABLE))
    assert back.metadata == {"run": "r1", "score": None}
    assert (back.label, back.task, back.classes) == ("y", "classification", [0, 1])
    assert back.schema == TABLE.schema


@pytest.mark.parametrize(
    "splitter",
    [
        KFold(2, shuffle=True, random_state=0),
        KFold(2, shuffle=True, random_state=np.random.RandomState(0)),
        StratifiedKFold(2, shuffle=True, random_state=0),
        GroupKFold(2),
        TimeSeriesSplit(2, gap=1),
        RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0),
        ShuffleSplit(2, test_size=0.3),
        PredefinedSplit([0, 1, -1]),
    ],
    ids=lambda splitter: type(splitter).__name__,
)
def test_a_stack_with_a_splitter_of_scikit_learn_comes_back_without_a_pickle(
    tmp_path: Path, splitter: Any
) -> None:
    # What it is fitted with does not matter here: not every splitter gives each row one fold.
    model = classifier(StackingClassifier([("lr", LogisticRegression())], cv=2))
    stack = model.estimator[-1].set_params(cv=splitter)
    manifest = save_model(tmp_path, model)
    assert manifest["parts"]["estimator"]["stored"] == "skops"
    back = load(tmp_path)
    assert repr(back.estimator[-1].cv).partition(" at ")[0] == repr(stack.cv).partition(" at ")[0]
    np.testing.assert_array_equal(back.predict_proba(TABLE), model.predict_proba(TABLE))


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestRegressor(3),
        HistGradientBoostingRegressor(max_iter=3, categorical_features=[0]),
        xgboost.XGBRegressor(n_estimators=3),
        LinearRegression(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_regressors_come_back_without_a_pickle(tmp_path: Path, estimator: Any) -> None:
    category = np.column_stack([np.arange(200) % 5, X[:, 1:]])
    table = pa.table({name: category[:, i] for i, name in enumerate(NAMES)})
    model = Model(
        estimator=estimator.fit(table.to_pandas(), X[:, 0]),
        schema=table.schema,
        label="y",
        task="regression",
        takes="pandas",
    )
    save_model(tmp_path, model)
    np.testing.assert_array_equal(load(tmp_path).predict(table), model.predict(table))


def flights() -> tuple[pa.Table, list[str]]:
    rng = np.random.default_rng(0)
    words = np.array(["early", "late", "storm", "calm", "snow", "hub", "gate", "crew"])
    table = pa.table(
        {
            "delay": rng.normal(size=100),
            "hour": rng.integers(0, 24, 100),
            "origin": rng.choice(["JFK", "LGA", "Zürich"], 100),
            "day": pa.array(pd.date_range("2020", periods=100)),
            "heavy": rng.random(100) > 0.5,
            "note": [" ".join(rng.choice(words, 6)) for _ in range(100)],
        }
    )
    return table, ["late" if value > 0 else "on time" for value in table["delay"].to_pylist()]


def test_an_encoder_of_ours_comes_back_with_the_model_from_any_storage(any_uri: str) -> None:
    table, labels = flights()
    encoder = Encoder().fit(table)
    model = Model(
        estimator=LogisticRegression(max_iter=1000).fit(encoder.transform(table), labels),
        encoder=encoder,
        schema=table.schema,
        label="arrival",
        task="classification",
        classes=["late", "on time"],
    )
    manifest = save_model(any_uri, model, golden=table, profile_rows=table, files={"job.py": b""})
    assert [part["stored"] for part in manifest["parts"].values()] == ["skops", "skops"]
    assert set(manifest["files"]) == {
        *("encoder.skops", "estimator.skops", "signature.json", "requirements.txt", "README.md"),
        *("golden.arrow", "profile.json", "job.py", own_wheel()[0]),
    }
    back = load(any_uri)
    expected = model.predict_proba(table)
    for rows in (table, table.to_pandas(), table.to_pydict(), table.to_pylist()):
        np.testing.assert_array_equal(back.predict_proba(rows), expected)
    assert set(back.predict(table)) == {"late", "on time"}


LOADER = """
import json, sys
from distml.runs.bundle import load
model = load(sys.argv[1], trust=len(sys.argv) > 2)
rows = {f"x{i}": [0.1 * i, -0.1 * i] for i in range(6)}
names = ("ray", "torch", "distml.fit", "distml.driver")
print(json.dumps([model.predict(rows).tolist(), [n for n in names if n in sys.modules]]))
"""


def run_loader(folder: Path, *arguments: str) -> Any:
    command = [sys.executable, "-c", LOADER, str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_an_ensemble_of_ours_predicts_without_ray_and_torch(tmp_path: Path) -> None:
    from distml import session
    from distml.ensemble import StackingClassifier as OurStack

    with session.inline():
        model = classifier(OurStack(members()[:3], cv=2))
    manifest = save_model(tmp_path, model)
    assert manifest["parts"]["estimator"]["stored"] == "skops"
    labels, loaded = run_loader(tmp_path)
    assert loaded == []
    rows = {f"x{i}": [0.1 * i, -0.1 * i] for i in range(6)}
    assert labels == model.predict(rows).tolist()


class Poison:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.file}",))


@pytest.mark.parametrize("stored", ["pickle", "skops", "joblib"])
def test_a_poisoned_pickle_does_not_run(tmp_path: Path, stored: str, reseal: Any) -> None:
    save_model(tmp_path / "m", classifier(LogisticRegression()))
    (tmp_path / "m" / "estimator.skops").write_bytes(pickle.dumps(Poison(tmp_path / "harm")))
    part = {"file": "estimator.skops", "stored": stored}
    reseal(tmp_path / "m", parts={"estimator": part})
    with pytest.raises(UserError, match=r"bundle .*: estimator\.skops: it is ") as caught:
        load(tmp_path / "m")
    assert "\n" not in str(caught.value)
    assert ("trust=True" in str(caught.value)) is (stored != "skops")
    assert not (tmp_path / "harm").exists()


def rewrite_schema(content: bytes, change: Callable[[Any], None]) -> bytes:
    """Change the description inside a skops file."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "schema.json":
                schema = json.loads(data)
                change(schema)
                data = json.dumps(schema).encode()
            new.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        pytest.param("os", "system", id="system"),
        pytest.param("distml.driver", "main", id="our-function"),
        pytest.param("distml.ensemble.stacking", "_fit_context", id="function-in-our-ensembles"),
        pytest.param("distml.ensemble.stacking", "BaseEstimator", id="only-passing-through"),
        pytest.param("sklearn.model_selection._split", "check_cv", id="function-beside-splitters"),
        pytest.param("sklearn.model_selection", "KFold", id="splitter-by-another-name"),
        pytest.param("sklearn.utils._encode", "MissingValues", id="another-class-of-scikit-learn"),
    ],
)
def test_a_foreign_name_in_a_model_is_refused(module: str, name: str) -> None:
    stored, content, _ = dump_estimator(LogisticRegression().fit(X, Y))
    assert stored == "skops"

    def poison(schema: Any) -> None:
        function = {"__class__": name, "__module__": module, "__loader__": "FunctionNode"}
        schema["content"]["content"]["verbose"] = function

    with pytest.raises(UserError, match=rf"it holds {module}\.{name}, .*trust=True"):
        load_estimator("skops", rewrite_schema(content, poison))


DAMAGES: list[tuple[str, Callable[[Any], None]]] = [
    ("child outside", lambda nodes: nodes["left_child"].__setitem__(0, 10_000)),
    ("child below", lambda nodes: nodes["right_child"].__setitem__(0, -7)),
    ("circle", lambda nodes: nodes["left_child"].__setitem__(0, 0)),
    ("feature outside", lambda nodes: nodes["feature"].__setitem__(0, 6)),
    ("feature below", lambda nodes: nodes["feature"].__setitem__(0, -9)),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES, ids=[name for name, _ in DAMAGES])
@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda tree: tree, id="alone"),
        pytest.param(lambda tree: BaggingClassifier(tree, 2, random_state=0), id="bagging"),
        pytest.param(lambda tree: StackingClassifier([("t", tree)], cv=2), id="stack"),
        pytest.param(lambda _: small_forest(), id="forest"),
        pytest.param(lambda _: GradientBoostingClassifier(n_estimators=2), id="boosting"),
    ],
)
def test_a_tree_that_leads_astray_is_refused(
    name: str, damage: Callable[[Any], None], wrap: Callable[[Any], Any]
) -> None:
    estimator = wrap(DecisionTreeClassifier(max_depth=3, random_state=0)).fit(X, Y)
    tree = estimator
    while not hasattr(tree, "tree_"):
        tree = np.ravel(tree.estimators_)[0]
    state = tree.tree_.__getstate__()
    state["nodes"] = state["nodes"].copy()
    damage(state["nodes"])
    tree.tree_.__setstate__(state)
    skops = pytest.importorskip("skops.io")
    with pytest.raises(DataError, match=r"a tree of its .* is damaged"):
        load_estimator("skops", skops.dumps(estimator))


@pytest.mark.parametrize(
    ("field", "value"),
    [("left", 10_000), ("right", 0), ("feature_idx", 6), ("bitset_idx", 99)],
)
def test_a_histogram_tree_that_leads_astray_is_refused(field: str, value: int) -> None:
    category = np.column_stack([np.arange(200) % 5, X[:, 1:]])
    label = (np.arange(200) % 5 > 2).astype(int)
    estimator = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0])
    estimator.fit(category, label)
    nodes = estimator._predictors[0][0].nodes
    assert nodes["is_categorical"][0]
    nodes[field][0] = value
    skops = pytest.importorskip("skops.io")
    with pytest.raises(DataError, match=r"a tree of its HistGradientBoosting.* is damaged"):
        load_estimator("skops", skops.dumps(estimator))


def test_what_skops_cannot_hold_is_a_marked_pickle_that_wants_trust(tmp_path: Path) -> None:
    model = classifier(make_pipeline(Birch(n_clusters=None), DecisionTreeClassifier()))
    manifest = save_model(tmp_path, model)
    part = manifest["parts"]["estimator"]
    assert (part["file"], part["stored"]) == ("estimator.pickle", "pickle")
    assert "Objects of type Birch" in part["reason"]
    with pytest.raises(
        UserError,
        match=r"estimator\.pickle: it is stored as a pickle \(.*Birch.*trust=True \(--trust",
    ):
        load(tmp_path)
    back = load(tmp_path, trust=True)
    np.testing.assert_array_equal(back.predict_proba(TABLE), model.predict_proba(TABLE))


def test_an_estimator_of_the_job_file_is_loaded_without_the_job_file(tmp_path: Path) -> None:
    (tmp_path / "my_job.py").write_text(
        textwrap.dedent(
            """
            import sys
            import numpy as np, pyarrow as pa
            from sklearn.base import BaseEstimator, ClassifierMixin
            from distml.runs.bundle import Model, save_model
            LIMIT = 0.2

            class Rule(ClassifierMixin, BaseEstimator):
                def fit(self, X, y):
                    self.classes_ = np.unique(y)
                    return self

                def predict(self, X):
                    return (np.asarray(X)[:, 5] > LIMIT).astype(int)

            def save(folder):
                rule = Rule().fit(None, [0, 1])
                schema = pa.schema([(f"x{i}", pa.float64()) for i in range(6)])
                save_model(folder, Model(estimator=rule, schema=schema, label="y", takes="pandas",
                                         task="classification", classes=[0, 1]))
            """
        )
    )
    code = f"import my_job; my_job.save({str(tmp_path / 'm')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    with pytest.raises(UserError, match=r"estimator\.pickle: .*trust=True"):
        load(tmp_path / "m")
    labels, _ = run_loader(tmp_path / "m", "trust")
    assert labels == [1, 0]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small bundle."""
    folder = tmp_path_factory.mktemp("saved")
    save_model(
        folder,
        classifier(LogisticRegression()),
        golden=TABLE,
        profile_rows=TABLE,
        files={"job.py": b"keep", "parameters.json": b"{}"},
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(st.data())
def test_a_changed_byte_is_refused_naming_the_file(
    saved: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    for file, content in saved.items():
        (folder / file).write_bytes(content)
    name = data.draw(st.sampled_from(sorted(saved)), label="file")
    content = bytearray(saved[name])
    position = data.draw(st.integers(0, len(content) - 1), label="position")
    content[position] ^= data.draw(st.integers(1, 255), label="bits")
    try:
        same = name == "manifest.json" and json.loads(bytes(content)) == json.loads(saved[name])
    except ValueError:
        same = False
    (folder / name).write_bytes(content)
    if same:
        load(folder)  # other white space is the same manifest
        return
    with pytest.raises(DataError, match=rf"^bundle .*: {re.escape(name)} is not what was saved"):
        load(folder)


def test_a_missing_file_is_named(tmp_path: Path, saved: dict[str, bytes]) -> None:
    for name, content in saved.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "estimator.skops").unlink()
    with pytest.raises(DataError, match=r"estimator\.skops is missing"):
        load(tmp_path)


def test_a_folder_without_a_bundle_is_refused(any_uri: str) -> None:
    with pytest.raises(DataError, match=r" is no bundle: manifest\.json is missing"):
        load(any_uri)


def test_a_file_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "load.py").write_text("import distml\n")
    with pytest.raises(DataError, match=r"load\.py is no bundle: .*; give the folder of a model$"):
        load(tmp_path / "load.py")


def test_a_bundle_of_a_later_version_is_refused(tmp_path: Path, reseal: Any) -> None:
    save_model(tmp_path, classifier(LogisticRegression()))
    reseal(tmp_path, format_version=3)
    with pytest.raises(UserError, match="from a later distml; upgrade"):
        load(tmp_path)


def test_a_full_disk_leaves_no_bundle_that_loads(small_disk: Path) -> None:
    model = classifier(LogisticRegression())
    with pytest.raises(StorageError, match="is full"):
        save_model(small_disk, model, files={"zz-large": b"x" * 4_000_000})
    with pytest.raises(DataError, match=r"manifest\.json is missing"):
        load(small_disk)


def test_an_extra_file_may_not_take_the_name_of_one_of_ours(tmp_path: Path) -> None:
    for name in ("manifest.json", "estimator.skops"):
        with pytest.raises(UserError, match=name):
            save_model(tmp_path, classifier(LogisticRegression()), files={name: b""})
    assert list(tmp_path.iterdir()) == []


def test_an_estimator_that_cannot_be_saved_is_named() -> None:
    class Open(BaseEstimator):  # type: ignore[misc]
        def __init__(self) -> None:
            self.lock = (i for i in "x")

    with pytest.raises(UserError, match=r"Open cannot be saved .*make it picklable"):
        dump_estimator(Open())


@pytest.mark.parametrize("function", [np.log1p, np.add, scipy.special.expit], ids=str)
def test_functions_of_arrays_are_known_without_a_list_of_them(function: Any) -> None:
    stored, content, _ = dump_estimator(FunctionTransformer(function))
    assert stored == "skops"
    assert load_estimator("skops", content).func is function
    assert "log1p" in dir(np)
    assert "expit" in dir(scipy.special)


def test_importing_skops_leaves_torch_alone_and_usable() -> None:
    code = (
        "import sys; from distml.runs.model_file import dump_estimator as dump\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "print(dump(LogisticRegression())[0], 'torch' in sys.modules)\n"
        "import importlib.util as u; name = 'sklearn.externals.array_api_compat.torch'\n"
        "print(u.find_spec(name) is not None, sys.modules.get(name, 'free'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "skops False\nTrue free\n"
