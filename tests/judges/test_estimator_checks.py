"""scikit-learn's conformance suite for estimators, over our ensembles and networks."""

import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.estimator_checks import check_estimator

import distml
from distml.train import NeuralClassifier, NeuralRegressor, NeuralTransformer

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

CLASSIFIERS = [("logistic", LogisticRegression()), ("tree", DecisionTreeClassifier(random_state=0))]
REGRESSORS = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(random_state=0))]

# scikit-learn's own list: a weighted row is drawn more often, which differs from repeating it.
BAGGING_WEIGHTS = {
    "check_sample_weight_equivalence_on_dense_data": "weights are probabilities of the draw",
    "check_sample_weight_equivalence_on_sparse_data": "weights are probabilities of the draw",
}
_CUT = "mini-batches of a weighted row and of a repeated row are cut differently"
NETWORK_WEIGHTS = {"check_sample_weight_equivalence_on_dense_data": _CUT}
# scikit-learn's own list for its searches: a Ridge takes a column of targets as it is.
SEARCH_TARGETS = {"check_supervised_y_2d": "DataConversionWarning not caught"}
EXPECTED = {"bagging": BAGGING_WEIGHTS, "network": NETWORK_WEIGHTS, "search": SEARCH_TARGETS}
ESTIMATORS = {
    "bagging classifier": distml.BaggingClassifier(n_estimators=5),
    "bagging regressor": distml.BaggingRegressor(n_estimators=5),
    "voting classifier": distml.VotingClassifier(CLASSIFIERS),
    "voting regressor": distml.VotingRegressor(REGRESSORS),
    "stacking classifier": distml.StackingClassifier(CLASSIFIERS, cv=3),
    "stacking regressor": distml.StackingRegressor(REGRESSORS, cv=3),
    "selection classifier": distml.SelectionClassifier(CLASSIFIERS, cv=3),
    "selection regressor": distml.SelectionRegressor(REGRESSORS, cv=3),
    "search classifier": distml.TuneSearchCV(
        LogisticRegression(), {"C": [0.1, 1]}, search="grid", cv=2, error_score="raise"
    ),
    "search regressor": distml.TuneSearchCV(
        Ridge(), {"alpha": [0.1, 1]}, num_samples=2, cv=2, error_score="raise"
    ),
    "network classifier": NeuralClassifier(),
    "network regressor": NeuralRegressor(),
    "network transformer": NeuralTransformer(),
}


@pytest.mark.filterwarnings("ignore")  # the suite provokes warnings on purpose
@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimator_keeps_scikit_learns_contract(name: str) -> None:
    expected = EXPECTED.get(name.partition(" ")[0], {})
    results = check_estimator(
        ESTIMATORS[name], expected_failed_checks=expected, on_skip=None, on_fail=None
    )
    assert len(results) > 40
    failed = [f"{r['check_name']}: {r['exception']}" for r in results if r["status"] == "failed"]
    assert failed == [], "\n".join(failed)
