"""Units survive the process: a fit that is killed goes on where it was, to the same model."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from distml.runs.units import UnitStore

UNITS = 3 * 4 + 3 * 4 + 1
"""Three members and the three of a bagging, on all rows and in 3 folds; the final estimator."""

SCRIPT = '''
import pickle, sys, time
from pathlib import Path
import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from distml import session
from distml.ensemble import BaggingClassifier, StackingClassifier
from distml.runs.units import UnitStore, use_units

folder = Path(sys.argv[1])


class Counted(DecisionTreeClassifier):
    """Notes each fit that ends, and takes its time."""

    def fit(self, X, y, sample_weight=None):
        time.sleep(0.15)
        super().fit(X, y, sample_weight=sample_weight)
        with (folder / "fits").open("a") as file:
            file.write(f"{self.max_depth} {self.random_state} {len(X)} {X[0, 0]}\\n")
        return self


X, y = make_classification(500, 6, random_state=0)
stack = StackingClassifier(
    [
        ("shallow", Counted(max_depth=2, random_state=0)),
        ("deep", Counted(max_depth=5, random_state=0)),
        ("bag", BaggingClassifier(Counted(max_depth=3), 3, random_state=0)),
        ("forest", RandomForestClassifier(10, random_state=0)),
    ],
    cv=3,
)
session.connect(num_cpus=2)
with use_units(UnitStore(folder / "units")):
    (folder / "started").touch()
    stack.fit(X, y)
(folder / "model").write_bytes(pickle.dumps((stack.predict_proba(X), stack.final_estimator_.coef_)))
session.disconnect()
'''
SLEEPERS = 2 * 4 + 3 * 4
"""Fits of `Counted`: `shallow` and `deep` four times each, the bagging's three members too."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a fit that nobody killed."""
    folder = tmp_path_factory.mktemp("finished")
    assert begin(folder).wait() == 0
    return folder


@pytest.fixture(scope="module")
def undisturbed(finished):
    """Predictions and weights of that fit."""
    return pickle.loads((finished / "model").read_bytes())


def begin(folder: Path) -> subprocess.Popen:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    (folder / "started").unlink(missing_ok=True)
    environment = {**os.environ, "RAY_TMPDIR": "/tmp"}
    return subprocess.Popen([sys.executable, script, folder], env=environment)


def kill_once(folder: Path, after_units: int) -> None:
    """Kill the driver with SIGKILL as soon as so many units more are stored."""
    store = UnitStore(folder / "units")
    before = len(list(store.keys()))
    process = begin(folder)
    while process.poll() is None:
        if len(list(store.keys())) >= before + after_units:
            time.sleep(random.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    process.wait()


def check(folder: Path, undisturbed, kills: int) -> None:
    assert begin(folder).wait() == 0
    predictions, weights = pickle.loads((folder / "model").read_bytes())
    assert (predictions == undisturbed[0]).all()
    assert (weights == undisturbed[1]).all()
    store = UnitStore(folder / "units")
    assert all(map(store.has, store.keys()))
    fits = Counter((folder / "fits").read_text().splitlines())
    # A fit may have ended and not been stored when the kill came: two workers, so two at a time.
    assert sum(fits.values()) <= SLEEPERS + 2 * kills


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_fit_goes_on_with_what_is_missing(tmp_path, undisturbed):
    kill_once(tmp_path, after_units=6)
    assert not (tmp_path / "model").exists()
    stored = len(list(UnitStore(tmp_path / "units").keys()))
    assert 6 <= stored < UNITS
    check(tmp_path, undisturbed, kills=1)


@pytest.mark.ray
@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_model(tmp_path, undisturbed):
    kills = 0
    while not (tmp_path / "model").exists() and kills < 8:
        kill_once(tmp_path, after_units=random.randint(3, 8))
        kills += 1
    check(tmp_path, undisturbed, kills)


@pytest.mark.ray
@pytest.mark.slow
def test_a_finished_fit_fits_nothing_again(finished, undisturbed):
    once = (finished / "fits").read_text()
    assert len(once.splitlines()) == SLEEPERS
    (finished / "model").unlink()
    assert begin(finished).wait() == 0
    assert (finished / "fits").read_text() == once
    predictions, _ = pickle.loads((finished / "model").read_bytes())
    assert (predictions == undisturbed[0]).all()
