"""The table of results: means of what was done, and ranks by how far trials came."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from distml import TuneSearchCV
from distml.tune.folds import FoldScore
from distml.tune.results import SearchFailedError, table
from distml.tune.trials import Reason, Trial

NUM_FOLDS = 3


def search(**params) -> TuneSearchCV:
    return TuneSearchCV(Ridge(), {"alpha": [1.0]}, **params)


def trial(number: int, step: int, scores: list[float], reason=Reason.COMPLETED) -> Trial:
    made = Trial(number, {"alpha": float(number)}, step=step, reason=reason)
    made.folds = {
        fold: FoldScore(test=score, train=1.0, fit_s=1.0, score_s=2.0)
        for fold, score in enumerate(scores)
    }
    return made


trials = st.lists(
    st.tuples(
        st.integers(1, 3), st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=1, max_size=3)
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(given=trials)
def test_table_is_that_of_the_folds_that_were_done(given):
    made = [trial(number, step, scores) for number, (step, scores) in enumerate(given)]
    found = table(search(return_train_score=True), made, NUM_FOLDS, in_steps=True)
    for row, (step, scores) in enumerate(given):
        assert found["n_resources"][row] == step
        assert found["mean_test_score"][row] == pytest.approx(np.mean(scores))
        assert found["std_test_score"][row] == pytest.approx(np.std(scores))
        assert found["mean_fit_time"][row] == 1.0
        for fold in range(NUM_FOLDS):
            cell = found[f"split{fold}_test_score"][row]
            assert cell == scores[fold] if fold < len(scores) else np.isnan(cell)
    keys = [(step, found["mean_test_score"][row]) for row, (step, _) in enumerate(given)]
    assert found["rank_test_score"].tolist() == [1 + sum(o > key for o in keys) for key in keys]


def test_trials_without_steps_have_scikit_learns_columns_alone():
    found = table(search(), [trial(0, 3, [0.1, 0.2, 0.3])], NUM_FOLDS, in_steps=False)
    assert "n_resources" not in found
    assert "stop_reason" not in found


@pytest.mark.filterwarnings("ignore")
def test_failed_trials_rank_behind_all_others():
    failed = trial(0, 3, [0.9, 0.9, 0.9], Reason.FAILED)
    failed.folds[1] = FoldScore(test=np.nan, error="ValueError: no")
    found = table(search(), [failed, trial(1, 1, [0.1])], NUM_FOLDS, in_steps=True)
    assert found["rank_test_score"].tolist() == [2, 1]
    assert found["stop_reason"].tolist() == ["failed", "completed"]


def test_scores_that_a_function_names_are_filled_in_where_fits_failed():
    def scoring(estimator, X, y):
        return {"hits": 1.0, "misses": 0.0}

    made = trial(0, 3, [0.0, 0.0, 0.0])
    scores = {"hits": 1.0, "misses": 0.0}
    made.folds = {fold: FoldScore(test=dict(scores)) for fold in range(NUM_FOLDS)}
    made.folds[2] = FoldScore(test=-1.0, error="ValueError: no")
    asked = search(scoring=scoring, refit="hits", error_score=-1.0)
    with pytest.warns(Warning, match="1 fits failed"):
        found = table(asked, [made], NUM_FOLDS, in_steps=False)
    assert found["split2_test_misses"].tolist() == [-1.0]


def test_all_fits_that_fail_are_said_with_their_errors():
    made = trial(0, 3, [0.0])
    made.folds = {0: FoldScore(test=np.nan, error="ValueError: no luck")}
    with pytest.raises(SearchFailedError, match="no luck") as caught:
        table(search(), [made], NUM_FOLDS, in_steps=False)
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert error.line == "all 1 trials failed; the first: ValueError: no luck"
        assert str(error) == str(caught.value)
