"""Importance of parameters, where the truth is known."""

import numpy as np
import pytest

from distml.runs.importance import importances

RNG = np.random.default_rng(0)


def test_the_share_of_variance_is_that_of_a_sum_of_independent_terms():
    a, b, c = RNG.uniform(-1, 1, (3, 300))
    configs = [{"a": x, "b": y, "c": z} for x, y, z in zip(a, b, c, strict=True)]
    found = importances(configs, list(2 * a + b))
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == pytest.approx(0.8, abs=0.1)
    assert found["b"] == pytest.approx(0.2, abs=0.1)
    assert found["c"] < 0.03


def test_what_two_do_together_is_nobodys_own():
    a, b = RNG.choice([-1.0, 1.0], (2, 200))
    found = importances([{"a": x, "b": y} for x, y in zip(a, b, strict=True)], list(a * b))
    assert sum(found.values()) < 0.1


def test_names_and_parameters_that_some_lack_count_as_well():
    kinds = RNG.choice(["tree", "line"], 60)
    configs = [{"kind": k, **({"depth": 3} if k == "tree" else {}), "same": 1} for k in kinds]
    found = importances(configs, [float(k == "tree") for k in kinds])
    assert set(found) == {"kind", "depth"}
    assert found["kind"] > 0.1


@pytest.mark.parametrize(
    ("configs", "scores"),
    [
        ([{"a": n} for n in range(5)], [1.0, 2.0, 3.0, 4.0, 5.0]),
        ([{"a": n} for n in range(20)], [1.0] * 20),
        ([{"a": 1}] * 20, list(range(20))),
        ([], []),
    ],
    ids=["few trials", "one score", "one value", "nothing"],
)
def test_of_what_does_not_vary_nothing_is_said(configs, scores):
    assert importances(configs, scores) == {}
