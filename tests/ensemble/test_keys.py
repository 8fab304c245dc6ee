from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from distml.ensemble.keys import Keys
from distml.ensemble.members import Bootstrap, OutOfFold, Unit, View
from distml.ensemble.worker import Outcome
from distml.runs.units import UnitStore

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
DRAW = Bootstrap(
    seed=1, max_samples=5, max_features=2, bootstrap=True, bootstrap_features=False, by_weight=True
)
FOLD = OutOfFold(train=np.arange(5), test=np.arange(5, 10), method="predict", num_classes=None)
UNIT = Unit(
    member="forest",
    part="all rows",
    estimator=RandomForestClassifier(random_state=0),
    view=View(X, Y),
)


@pytest.fixture
def keys(tmp_path):
    return lambda unit: Keys(UnitStore(tmp_path)).key(unit)


def test_the_same_content_has_the_same_key_whatever_it_is_called(keys):
    other = replace(
        UNIT,
        member="renamed",
        part="elsewhere",
        estimator=RandomForestClassifier(random_state=0),
        view=View(np.asfortranarray(X), Y.copy()),
    )
    assert keys(UNIT) == keys(other)


CHANGES = {
    "seed": {"estimator": RandomForestClassifier(random_state=1)},
    "X": {"view": View(X + 1, Y)},
    "y": {"view": View(X, 1 - Y)},
    "rows": {"view": View(X, Y, rows=np.arange(10))},
    "columns": {"view": View(X, Y, columns=np.arange(2))},
    "weight": {"fit_params": {"sample_weight": np.ones(10)}},
    "fold": {"out_of_fold": FOLD},
    "training-rows": {"out_of_fold": replace(FOLD, train=np.arange(4))},
    "method": {"out_of_fold": replace(FOLD, method="predict_proba")},
    "draw": {"draw": DRAW},
    "seed-of-the-draw": {"draw": replace(DRAW, seed=2)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_decides_the_result_is_in_the_key(keys, change):
    assert keys(UNIT) != keys(replace(UNIT, **change))


def test_equal_units_of_one_fit_are_told_apart(tmp_path):
    # Two forests without a seed are two forests.
    first, second = Keys(UnitStore(tmp_path)), Keys(UnitStore(tmp_path))
    keys = [first.key(UNIT), first.key(UNIT)]
    assert keys[0] != keys[1]
    assert keys == [second.key(UNIT), second.key(UNIT)]


def test_without_a_store_nothing_is_hashed():
    assert Keys(None).key(UNIT) is None
    assert Keys(None).load(None) is None


def test_a_stored_unit_is_what_came_of_it_when_it_was_fitted(tmp_path):
    store = UnitStore(tmp_path)
    keys = Keys(store)
    key = keys.key(UNIT)
    assert keys.load(key) is None
    store.put(key, Outcome(value=1, seconds=2.5, peak_bytes=3))
    assert keys.load(key) == Outcome(value=1, seconds=2.5, peak_bytes=3, cached=True)
