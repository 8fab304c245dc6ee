"""Figures printed in scikit-learn's user guide and examples, reproduced with our classes."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LassoCV, LogisticRegression, RidgeCV
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor

from distml import BaggingRegressor, StackingRegressor, VotingClassifier

pytestmark = pytest.mark.ray


def test_voting_on_iris_scores_as_in_the_user_guide() -> None:
    iris = load_iris()
    members = [
        ("lr", LogisticRegression(random_state=1)),
        ("rf", RandomForestClassifier(n_estimators=50, random_state=1)),
        ("gnb", GaussianNB()),
    ]
    models = [model for _, model in members] + [VotingClassifier(members, voting="hard")]
    scores = [cross_val_score(m, iris.data[:, 1:3], iris.target, cv=5).mean() for m in models]
    assert [f"{score:.2f}" for score in scores] == ["0.95", "0.94", "0.91", "0.95"]


def test_stacking_on_diabetes_scores_as_in_the_user_guide() -> None:
    members = [
        ("ridge", RidgeCV()),
        ("lasso", LassoCV(random_state=42)),
        ("knr", KNeighborsRegressor(n_neighbors=20, metric="euclidean")),
    ]
    final = GradientBoostingRegressor(
        n_estimators=25, subsample=0.5, min_samples_leaf=25, max_features=1, random_state=42
    )
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=42)
    model = StackingRegressor(members, final_estimator=final).fit(X_train, y_train)
    assert f"{model.score(X_test, y_test):.2f}" == "0.53"


def test_bagging_lowers_the_variance_of_a_tree_as_in_plot_bias_variance() -> None:
    random = np.random.mtrand._rand
    before = random.get_state()
    random.seed(0)  # the published run draws from numpy's global stream, and so do its models
    try:
        train = [_wave(50, 1) for _ in range(50)]
        X_test, y_test = _wave(1000, 50)
        tree = _mean_squared_error(DecisionTreeRegressor(), train, X_test, y_test)
        bagging = BaggingRegressor(DecisionTreeRegressor())
        assert f"{tree:.4f}" == "0.0255"
        assert f"{_mean_squared_error(bagging, train, X_test, y_test):.4f}" == "0.0196"
    finally:
        random.set_state(before)


def _wave(num_rows: int, num_repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """X of shape (num_rows, 1), y of shape (num_rows, num_repeats): two bumps under noise."""
    random = np.random.mtrand._rand
    x = np.sort(random.rand(num_rows) * 10 - 5)
    clean = np.exp(-(x**2)) + 1.5 * np.exp(-((x - 2) ** 2))
    noise = [random.normal(0.0, 0.1, num_rows) for _ in range(num_repeats)]
    return x.reshape(-1, 1), np.column_stack([clean + each for each in noise])


def _mean_squared_error(model, train, X_test, y_test) -> float:
    errors = []
    for X, y in train:
        predicted = model.fit(X, y.ravel()).predict(X_test)
        errors.append(((y_test - predicted[:, None]) ** 2).mean())
    return float(np.mean(errors))
