"""Searchers propose seeded, learn, and are refused or end the search where they cannot go on."""

import copy
import importlib.util
import logging
import math
import warnings
from typing import Any

import numpy as np
import pytest
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.optuna import OptunaSearch

from distml.errors import DistmlError, UserError
from distml.tune.proposers import Listed, make_proposer
from distml.tune.searching import Searching
from distml.tune.space import Space
from distml.tune.turns import Proposer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:hyperopt")

WIDE = {
    "lr": tune.loguniform(1e-4, 1e-1),
    "depth": tune.choice([2, 3, None]),
    "layers": [(8,), (8, 8)],
    "kernel": ["a", "b"],
    "flag": [True, False],
    "n": tune.randint(1, 9),
    "fixed": 5,
}


def proposer(search: Any, space: Any = WIDE, **changes: Any) -> Proposer:
    options = {"num_samples": 30, "mode": "max", "seed": 3, "metric": "score"}
    return make_proposer(search, Space.of(space), **(options | changes))


def score(config: Any) -> float:
    """Best at lr = 0.01."""
    return -abs(math.log10(config["lr"]) + 2)


def search(made: Proposer, sign: int = 1) -> list[dict[str, Any]]:
    """Let it propose until it has nothing more, telling it the score of each."""
    configs: list[dict[str, Any]] = []
    while (config := made.suggest(len(configs))) is not None:
        value = sign * score(config)
        made.tell(len(configs), 1, value)
        made.end(len(configs), value)
        configs.append(dict(config))
    return configs


@pytest.mark.parametrize("name", ["random", "optuna", "hyperopt", "bohb"])
def test_proposals_are_in_the_space_and_repeated_by_the_seed(name: str) -> None:
    np.random.seed(1)  # noqa: NPY002
    first = search(proposer(name))
    np.random.seed(2)  # noqa: NPY002
    assert search(proposer(name)) == first
    assert search(proposer(name, seed=4)) != first
    assert len(first) == 30
    for config in first:
        assert list(config) == list(WIDE)
        assert 1e-4 <= config["lr"] <= 1e-1
        assert config["depth"] in (2, 3, None)
        assert config["layers"] in [(8,), (8, 8)]
        assert config["kernel"] in ("a", "b")
        assert type(config["flag"]) is bool
        assert type(config["n"]) is int
        assert 1 <= config["n"] < 9
        assert config["fixed"] == 5


@pytest.mark.parametrize("name", ["optuna", "hyperopt", "bohb"])
@pytest.mark.parametrize("mode", ["max", "min"])
def test_searchers_learn_in_the_direction_of_the_mode(name: str, mode: str) -> None:
    space = {"lr": tune.loguniform(1e-4, 1e-1)}
    made = proposer(name, space, mode=mode, num_samples=60)
    configs = search(made, sign=1 if mode == "max" else -1)
    distances = [-score(config) for config in configs]
    assert np.mean(distances[40:]) < 0.9 * np.mean(distances[:20])


def test_drawing_leaves_the_global_generators_alone() -> None:
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    search(proposer("bohb"))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_lists_are_known_beforehand_and_grid_takes_all() -> None:
    made = proposer("grid", {"a": [1, 2], "b": ["x"]}, num_samples=None)
    assert isinstance(made, Listed)
    assert not made.looks_at_results
    assert [made.suggest(trial) for trial in range(3)] == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "x"},
        None,
    ]


def test_searcher_of_ray_is_used_as_it_is_and_left_untouched() -> None:
    given = OptunaSearch(seed=3)
    named = search(proposer("optuna"))
    assert search(proposer(given)) == named
    assert search(proposer(given)) == named, "the second search begins where the first one did"


def test_own_space_and_metric_of_a_searcher_are_kept() -> None:
    given = OptunaSearch({"lr": tune.uniform(0.2, 0.3)}, metric="accuracy", mode="max", seed=0)
    made = proposer(given, {"lr": [5.0], "fixed": [1]}, num_samples=3)
    assert all(0.2 <= config["lr"] <= 0.3 for config in search(made))


def test_limit_around_a_searcher_holds_suggestions_back_until_a_trial_ends() -> None:
    made = proposer(ConcurrencyLimiter(OptunaSearch(seed=0), max_concurrent=2))
    assert made.suggest(0) is not None
    assert made.suggest(1) is not None
    assert made.suggest(2) is None
    made.end(0, 0.5)
    assert made.suggest(2) is not None


class Fake(Searcher):
    """Suggests from a list; an error in it is raised."""

    def __init__(self, answers: list[Any]) -> None:
        super().__init__()
        self.answers = answers
        self.told: list[Any] = []

    def suggest(self, trial_id: str) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.told.append((trial_id, result["score"], result["training_iteration"]))

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        self.told.append((trial_id, None if result is None else result["score"], error))


def test_searcher_is_told_results_and_failures_by_the_name_of_the_trial() -> None:
    made = proposer(Fake([{"a": 1}, {"a": 2}]), {"a": [1, 2]})
    assert isinstance(made, Searching)
    made.suggest(0)
    made.suggest(1)
    made.tell(0, 3, 0.25)
    made.end(0, 0.5)
    made.end(1, None)
    assert made.searcher.told == [
        ("00000", 0.25, 3),
        ("00000", 0.5, False),
        ("00001", None, True),
    ]


@pytest.mark.parametrize("nothing", [None, Searcher.FINISHED], ids=["nothing", "finished"])
def test_searcher_that_suggests_nothing_at_all_ends_the_search(nothing: Any) -> None:
    with pytest.raises(DistmlError, match="Fake suggests nothing; the search ends"):
        proposer(Fake([nothing]), {"a": [1]}).suggest(0)


def test_searcher_that_stops_suggesting_says_so(caplog: pytest.LogCaptureFixture) -> None:
    made = proposer(Fake([{"a": 1}, None]), {"a": [1]})
    made.suggest(0)
    made.end(0, 1.0)
    with caplog.at_level(logging.WARNING):
        assert made.suggest(1) is None
        assert made.suggest(1) is None
    assert [record.getMessage() for record in caplog.records] == [
        "Fake suggests nothing after 1 trials; the search ends"
    ]


def test_searcher_that_fails_ends_the_search_in_one_line() -> None:
    made = proposer(Fake([ValueError("no\nidea")]), {"a": [1]})
    with pytest.raises(DistmlError, match="Fake failed; the search ends: no idea"):
        made.suggest(0)


def test_searcher_whose_first_trials_all_fail_ends_the_search() -> None:
    made = proposer(Fake([{"a": 1}] * 20), {"a": [1]})
    for trial in range(10):
        made.suggest(trial)
        made.end(trial, None)
    with pytest.raises(DistmlError, match="first 10 trials it suggested failed"):
        made.suggest(10)


def test_failing_trials_after_a_good_one_do_not_end_the_search() -> None:
    made = proposer(Fake([{"a": 1}] * 20), {"a": [1]})
    for trial in range(15):
        made.suggest(trial)
        made.end(trial, 1.0 if trial == 0 else None)
    assert made.suggest(15) == {"a": 1}


def test_searchers_say_nothing_of_their_studies(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, logger="optuna")
    made = proposer(OptunaSearch(seed=0), {"a": tune.uniform(0, 1)})
    made.suggest(0)
    made.end(0, 1.0)
    assert (caplog.text, capfd.readouterr().err) == ("", "")
    assert logging.getLogger("optuna").level == logging.INFO


@pytest.mark.parametrize(
    ("search", "changes", "match"),
    [
        ("random", {"num_samples": 0}, "num_samples is 0; give a whole number, a search tries at"),
        ("random", {"num_samples": 2.0}, "num_samples is 2.0; give a whole number"),
        ("optuna", {"num_samples": None}, "num_samples is None"),
        ("optuna2", {}, "search='optuna2' is not known; give random, grid, optuna"),
        (3, {}, "search is 3; give random"),
        (OptunaSearch(metric="a", mode="min"), {}, r"OptunaSearch\(mode='min'\): the search wants"),
        (OptunaSearch(metric=["a", "b"], mode=["max", "max"]), {}, "wants several metrics"),
        (OptunaSearch(), {"space": {"a": tune.randn(0, 1)}}, "OptunaSearch does not take the"),
        ("hyperopt", {"space": {"a": tune.uniform(2, 1)}}, "goes from 2 to 1"),
    ],
    ids=["none", "broken", "not said", "name", "number", "mode", "metrics", "domain", "bounds"],
)
def test_what_cannot_propose_is_refused(search: Any, changes: Any, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        proposer(search, **copy.copy(changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "install"),
    [
        ("optuna", "optuna needs optuna: pip install optuna"),
        ("bohb", "hpbandster and ConfigSpace: pip install hpbandster ConfigSpace"),
    ],
)
def test_package_that_is_missing_is_named_with_its_install_line(
    name: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    monkeypatch.setattr("distml.tune.proposers.find_spec", lambda package: None)
    with pytest.raises(UserError) as caught:
        proposer(name)
    assert str(caught.value).replace("'", "").endswith(install)


def test_choices_of_one_plain_type_are_not_numbered() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = proposer("optuna", {"a": ["x", "y"], "b": [(1,), (2,)]})
    assert isinstance(made, Searching)
    assert list(made._choices.of_parameter) == ["b"]
