"""A model that starts from a former one, judged by what the libraries themselves make of it."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPRegressor
from xgboost import XGBRegressor

from distml import session
from distml.data import ByHash, Split, write_shards
from distml.ensemble import BaggingRegressor
from distml.errors import UserError
from distml.fit import Fit
from distml.job import Former, Resources, RunContext
from distml.runs.bundle import load

FIT = {"label": "y", "split": Split({"test": ByHash(0.25)}), "metrics": ("r2",)}


def rows(folder, *, seed, shift=0.0, classes=None):
    """Shards of two numbers and a label that depends on them."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, 400))
    y = 2 * a + np.sin(3 * b) + shift
    if classes is not None:
        y = np.array(classes)[(y > shift).astype(int)]
    return write_shards(pa.table({"a": a, "b": b, "y": y}), folder, num_shards=1)


def run(task, folder, former=None):
    context = RunContext(
        run_id=folder.name,
        run_uri=str(folder),
        seed=0,
        resources=Resources(),
        emit=lambda kind, **fields: None,
        former=former,
    )
    with session.inline():
        return task.run(context)


def retrained(tmp_path, learner, *, warm=True, **changes):
    """The result and models of a fit on old rows, and of one on new rows that knows of it."""
    fit = Fit(data=rows(tmp_path / "old", seed=0), estimator=learner, **FIT)
    run(fit, tmp_path / "one")
    former = Former(run_id="one", bundle=str(tmp_path / "one" / "bundle"), warm=warm)
    new = {"data": rows(tmp_path / "new", seed=1, shift=1.0), **changes}
    result = run(dataclasses.replace(fit, **new), tmp_path / "two", former)
    models = [load(tmp_path / name / "bundle", trust=True) for name in ("one", "two")]
    return result, *models


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestRegressor(4),
        ExtraTreesRegressor(4),
        GradientBoostingRegressor(n_estimators=4),
        BaggingRegressor(n_estimators=4),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_trees_are_added_to_those_that_are_there(tmp_path, estimator):
    _, one, two = retrained(tmp_path, estimator)

    former, new = (np.ravel(model.estimator.estimators_).tolist() for model in (one, two))
    assert (len(former), len(new)) == (4, 8)
    grid = np.random.default_rng(2).normal(size=(50, 2)).astype(np.float32)
    for before, after in zip(former, new[:4], strict=True):
        assert (before.predict(grid) == after.predict(grid)).all()


def test_histogram_boosting_goes_on(tmp_path):
    _, one, two = retrained(tmp_path, HistGradientBoostingRegressor(max_iter=5))

    assert (one.estimator.n_iter_, two.estimator.n_iter_) == (5, 10)


def test_a_booster_goes_on(tmp_path):
    _, one, two = retrained(tmp_path, XGBRegressor(n_estimators=5))

    rounds = [model.estimator.get_booster().num_boosted_rounds() for model in (one, two)]
    assert rounds == [5, 10]


@pytest.mark.parametrize(
    "estimator",
    [
        SGDRegressor(max_iter=3, tol=None, random_state=0),
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_coefficients_are_a_beginning(tmp_path, estimator):
    _, one, two = retrained(tmp_path, estimator)

    new = rows(tmp_path / "new", seed=1, shift=1.0).to_table()
    train = new.take(pa.array(FIT["split"].rows(new)["train"]))
    expected = one.estimator.set_params(warm_start=True)
    expected.fit(one.encoder.transform(train.select(["a", "b"])), train["y"].to_numpy())
    assert two.predict(new) == pytest.approx(one.predict(new), rel=1e-5)


def test_what_only_has_partial_fit_sees_the_new_rows_once_more(tmp_path):
    classes = ["no", "yes"]
    fit = {**FIT, "metrics": ("accuracy",), "estimator": GaussianNB()}
    old = rows(tmp_path / "old", seed=0, classes=classes)
    new = rows(tmp_path / "new", seed=1, classes=classes)
    run(Fit(data=old, **fit), tmp_path / "one")
    former = Former(run_id="one", bundle=str(tmp_path / "one" / "bundle"), warm=True)

    result = run(Fit(data=new, **fit), tmp_path / "two", former)

    counts = load(tmp_path / "two" / "bundle", trust=True).estimator.class_count_.sum()
    before = load(tmp_path / "one" / "bundle", trust=True).estimator.class_count_.sum()
    assert counts == before + result.details["rows"]["train"]


def test_the_encoder_stays_so_that_columns_mean_what_they_meant(tmp_path):
    _, one, two = retrained(tmp_path, RandomForestRegressor(2))
    grid = pa.table({"a": [0.0, 1.0], "b": [0.5, -0.5]})

    assert (one.encoder.transform(grid) == two.encoder.transform(grid)).all()


def test_the_former_model_is_tried_on_the_new_test_rows(tmp_path):
    result, one, _ = retrained(tmp_path, LinearRegression(), warm=False)

    row = next(row for row in result.table if row["kind"] == "former")
    table = rows(tmp_path / "new", seed=1, shift=1.0).to_table()
    unseen = table.take(pa.array(FIT["split"].rows(table)["test"]))
    y = unseen["y"].to_numpy()
    error = ((y - one.predict(unseen)) ** 2).sum()
    assert row["test"]["r2"] == pytest.approx(1 - error / ((y - y.mean()) ** 2).sum())


@pytest.mark.parametrize(
    ("estimator", "changes", "message"),
    [
        (LinearRegression(), {}, "LinearRegression cannot start from a fitted one"),
        (
            RandomForestRegressor(2),
            {"estimator": ExtraTreesRegressor(2)},
            "is a RandomForestRegressor, the job makes a ExtraTreesRegressor",
        ),
        (RandomForestRegressor(2), {"features": ["a"]}, "reads 'b', which is no feature now"),
    ],
    ids=["no warm start", "another estimator", "a column less"],
)
def test_what_cannot_start_warm_is_refused(tmp_path, estimator, changes, message):
    with pytest.raises(UserError, match=message):
        retrained(tmp_path, estimator, **changes)


def test_other_classes_are_refused(tmp_path):
    fit = {**FIT, "metrics": ("accuracy",), "estimator": RandomForestClassifier(2)}
    run(Fit(data=rows(tmp_path / "old", seed=0, classes=["no", "yes"]), **fit), tmp_path / "one")
    former = Former(run_id="one", bundle=str(tmp_path / "one" / "bundle"), warm=False)
    new = rows(tmp_path / "new", seed=1, classes=["never", "yes"])

    with pytest.raises(UserError, match=r"'y' in \['no', 'yes'\], the new data has 'y' in"):
        run(Fit(data=new, **fit), tmp_path / "two", former)
