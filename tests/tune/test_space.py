"""Spaces: scikit-learn's candidates value for value, Ray's variants, and what is refused."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from ray import tune
from ray.tune.search.variant_generator import generate_variants
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid, ParameterSampler

from distml.errors import UserError
from distml.tune.domains import as_domains
from distml.tune.space import Space, SpaceError, SpaceTypeError

LISTS = {"b": [1, 2, 3], "a": ["x", "y"], "c": np.array([0.1, 0.2])}
MIXED = {"b": [1, 2, 3], "a": stats.loguniform(1e-3, 1), "c": stats.randint(2, 9)}
PARTS = [{"a": ["x"]}, {"a": ["y"], "b": [1, 2]}]


@pytest.mark.parametrize("space", [LISTS, PARTS, {"a": (1, 2)}], ids=["dict", "parts", "tuple"])
def test_grid_is_scikit_learns(space: Any) -> None:
    assert list(Space.of(space).grid()) == list(ParameterGrid(space))


@pytest.mark.parametrize("space", [LISTS, MIXED, PARTS], ids=["lists", "distributions", "parts"])
@pytest.mark.parametrize("seed", [0, 7])
def test_samples_are_scikit_learns(space: Any, seed: int) -> None:
    ours = Space.of(space).sample(3, seed)
    assert ours == list(ParameterSampler(space, 3, random_state=seed))


def test_generator_of_random_numbers_goes_on_as_scikit_learns_does() -> None:
    ours, theirs = np.random.RandomState(3), np.random.RandomState(3)
    space = Space.of(MIXED)
    first, second = space.sample(2, ours), space.sample(2, ours)
    assert first == list(ParameterSampler(MIXED, 2, random_state=theirs))
    assert second == list(ParameterSampler(MIXED, 2, random_state=theirs))


def test_domains_are_drawn_as_ray_draws_them() -> None:
    space = {"lr": tune.loguniform(1e-4, 1e-1), "depth": tune.choice([2, 3]), "fixed": 5}
    rng = np.random.RandomState(1)
    theirs = [
        spec["config"]
        for _ in range(4)
        for _, spec in generate_variants({"config": space}, random_state=rng)
    ]
    assert Space.of(space).sample(4, 1) == theirs


def test_draws_of_domains_are_repeated_by_their_seed_and_vary_without() -> None:
    space = Space.of({"lr": tune.uniform(0, 1), "a": stats.norm(), "b": [1, 2]})
    assert space.sample(3, 5) == space.sample(3, 5)
    assert space.sample(3, 5) != space.sample(3, 6)
    assert space.sample(3, None) != space.sample(3, None)


def test_grid_search_and_dependent_values_work_beside_domains() -> None:
    space = {
        "a": tune.grid_search([1, 2]),
        "b": tune.sample_from(lambda spec: spec.config.a * 10),
        "nested": {"c": tune.randint(0, 3)},
    }
    drawn = Space.of(space).sample(2, 0)
    assert [config["a"] for config in drawn] == [1, 2, 1, 2]
    assert all(config["b"] == 10 * config["a"] for config in drawn)
    assert all(0 <= config["nested"]["c"] < 3 for config in drawn)


def test_grid_takes_choices_of_ray() -> None:
    space = {"b": tune.choice([1, 2]), "a": tune.grid_search(["x"]), "c": 4, "d": [5, 6]}
    lists = {"b": [1, 2], "a": ["x"], "c": [4], "d": [5, 6]}
    assert list(Space.of(space).grid()) == list(ParameterGrid(lists))


@pytest.mark.parametrize(
    ("space", "error", "match"),
    [
        ({}, SpaceError, "space is empty"),
        ([], SpaceError, "space is empty"),
        ([{}], SpaceError, "space is empty"),
        ("C", SpaceTypeError, "give a dict"),
        (7, SpaceTypeError, "give a dict"),
        ([3], SpaceTypeError, "3 is not a dict"),
        ({3: [1]}, SpaceTypeError, "3 is no name"),
        ({"C": []}, SpaceError, "'C' need to be a non-empty sequence"),
        ({"C": 1.0}, SpaceTypeError, "'C' is not iterable or a distribution"),
    ],
    ids=["empty", "no parts", "empty part", "text", "number", "part", "name", "nothing", "scalar"],
)
def test_bad_space_is_refused_in_one_line(space: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        Space.of(space)
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("space", "match"),
    [
        ({"C": stats.norm(), "D": tune.choice([1])}, "a grid needs the values of 'C'"),
        ({"C": tune.uniform(0, 1)}, "a grid needs the values of 'C', which has Float"),
        ({"C": stats.norm()}, "needs to be a list or a numpy array"),
    ],
    ids=["distribution beside domain", "domain", "distribution"],
)
def test_grid_needs_lists(space: Any, match: str) -> None:
    with pytest.raises(UserError, match=match):
        Space.of(space).grid()


@pytest.mark.parametrize(
    ("domain", "match"),
    [
        (tune.uniform(3, 1), "goes from 3 to 1"),
        (tune.randint(5, 5), "goes from 5 to 5"),
        (tune.choice([]), "nothing to choose from"),
    ],
    ids=["bounds", "no integer", "no choice"],
)
def test_domain_without_values_is_refused(domain: Any, match: str) -> None:
    with pytest.raises(UserError, match=match):
        Space.of({"C": domain}).sample(1, 0)
    with pytest.raises(UserError, match=match):
        as_domains({"C": domain}, "OptunaSearch")


def test_alternatives_do_not_go_with_domains() -> None:
    space = Space.of([{"C": tune.uniform(0, 1)}, {"C": [1]}])
    with pytest.raises(UserError, match="give one dict"):
        space.sample(2, 0)


def test_unknown_parameter_names_the_nearest() -> None:
    known = LogisticRegression().get_params()
    Space.of({"C": [1], "max_iter": [3]}).check(known, "LogisticRegression")
    with pytest.raises(SpaceError, match="has no parameter 'max_iters'; did you mean 'max_iter'"):
        Space.of({"max_iters": [3]}).check(known, "LogisticRegression")


def test_parameter_of_a_step_that_is_itself_searched_is_left_to_the_fit() -> None:
    Space.of({"clf": [1, 2], "clf__C": [1]}).check({"clf"}, "Pipeline")


@pytest.mark.parametrize(
    ("value", "kind", "bounds"),
    [
        (stats.uniform(1, 2), "Float", (1.0, 3.0)),
        (stats.loguniform(1e-3, 1), "Float", (1e-3, 1.0)),
        (stats.randint(2, 9), "Integer", (2, 9)),
    ],
    ids=["uniform", "loguniform", "randint"],
)
def test_distribution_becomes_the_same_domain(value: Any, kind: str, bounds: Any) -> None:
    domain = as_domains({"a": value}, "OptunaSearch")["a"]
    assert type(domain).__name__ == kind
    assert (domain.lower, domain.upper) == pytest.approx(bounds)


def test_distribution_without_domain_is_named() -> None:
    with pytest.raises(UserError, match="OptunaSearch cannot take the distribution 'norm' of 'a'"):
        as_domains({"a": stats.norm()}, "OptunaSearch")


def test_lists_and_distributions_never_import_ray_tune() -> None:
    code = (
        "import sys; from scipy import stats; from distml.tune.space import Space; "
        "Space.of({'a': [1, 2], 'b': stats.norm()}).sample(2, 0); Space.of({'a': [1]}).grid(); "
        "print('ray.tune' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("value", "is_so"),
    [
        (tune.loguniform(1e-4, 1.0), True),
        (tune.qloguniform(1e-4, 1.0, 1e-4), True),
        (stats.loguniform(1e-4, 1.0), True),
        (tune.uniform(1e-4, 1.0), False),
        (stats.uniform(), False),
        ([1e-4, 1.0], False),
    ],
    ids=["tune", "quantized", "scipy", "uniform", "scipy-uniform", "list"],
)
def test_what_is_drawn_from_logarithms_is_known(value: Any, is_so: bool) -> None:
    assert Space.of({"lr": value}).logarithmic == ["lr"] * is_so
