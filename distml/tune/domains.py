"""Domains of Ray Tune: told from lists without importing Ray, and made from them where it is asked.

One decision: whether a value is a domain is asked of the modules that are loaded. A domain can only
exist where `ray.tune` was imported, so a search over lists and distributions never imports it.

In a space with a domain, a list is a choice among its elements, as in scikit-learn; what is no
list, distribution or domain is a constant, as in Ray Tune.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from distml.errors import UserError
from distml.tune.turns import Config

__all__ = [
    "as_domains",
    "constants",
    "grid_of",
    "has_domains",
    "is_distribution",
    "is_logarithmic",
    "variants",
]


def has_domains(value: Any) -> bool:
    """Whether a value is a domain or `grid_search` of Ray Tune, or a dict with one in it."""
    if isinstance(value, Mapping):
        return _is_grid(value) or any(has_domains(inner) for inner in value.values())
    return _is_domain(value)


def is_distribution(value: Any) -> bool:
    """Whether a value is drawn from, as scikit-learn sees it."""
    return hasattr(value, "rvs")


def is_logarithmic(value: Any) -> bool:
    """Whether a domain of Ray Tune or a distribution of scipy draws evenly from logarithms."""
    sampler = getattr(value, "sampler", None)
    sampler = getattr(sampler, "sampler", sampler)  # that of a quantized one
    kind = getattr(getattr(value, "dist", None), "name", "")
    return "LogUniform" in type(sampler).__name__ or kind in ("loguniform", "reciprocal")


def grid_of(part: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """The values of each parameter, for a grid.

    Raises:
        UserError: a parameter has no list of values.
    """
    return {name: _values(name, value) for name, value in part.items()}


def as_domains(part: Mapping[str, Any], searcher: str) -> dict[str, Any]:
    """The space as Ray Tune writes it, for its searchers to convert.

    Args:
        part: Parameter → list, distribution, domain or constant.
        searcher: Who asks, for the message.

    Raises:
        UserError: a distribution that Ray Tune has no domain for, or a domain with nothing in it.
    """
    from ray import tune

    made: dict[str, Any] = {}
    for name, value in part.items():
        if _is_grid(value):
            made[name] = tune.choice(list(value["grid_search"]))
        elif _is_list(value):
            made[name] = tune.choice(list(value))
        elif is_distribution(value):
            made[name] = _domain_of(name, value, searcher)
        else:
            made[name] = as_domains(value, searcher) if isinstance(value, Mapping) else value
        _check_bounds(name, made[name])
    return made


def constants(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What of a space does not vary."""
    return {
        name: constants(value) if isinstance(value, Mapping) else value
        for name, value in spec.items()
        if not _is_domain(value)
    }


def variants(part: Mapping[str, Any], num_samples: int, seed: Any) -> list[Config]:
    """Ray Tune's own draws: `num_samples` of the domains, each with all points of `grid_search`.

    Args:
        part: Parameter → list, distribution, domain or constant.
        num_samples: Draws.
        seed: `random_state` of scikit-learn.

    Raises:
        UserError: a domain has nothing in it.
    """
    from ray import tune
    from ray.tune.search.variant_generator import generate_variants

    rng = check_random_state(seed)
    spec = dict(part)
    for name, value in part.items():
        _check_bounds(name, value)
        if _is_list(value):
            spec[name] = tune.choice(list(value))
        elif is_distribution(value):
            spec[name] = tune.sample_from(_draws(value, rng))
    made = []
    for _ in range(num_samples):
        made += [
            found["config"] for _, found in generate_variants({"config": spec}, random_state=rng)
        ]
    return made


def _draws(distribution: Any, rng: np.random.RandomState) -> Callable[[Any], Any]:
    def draw(_: Any) -> Any:
        return distribution.rvs(random_state=rng)

    return draw


def _is_domain(value: Any) -> bool:
    module = sys.modules.get("ray.tune.search.sample")
    return module is not None and isinstance(value, module.Domain)


def _is_grid(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"grid_search"}


def _is_list(value: Any) -> bool:
    is_sequence = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)
    # Ray resolves domains inside a list that is a constant; a list of choices holds none.
    return is_sequence and not any(has_domains(element) for element in value)


def _values(name: str, value: Any) -> Sequence[Any]:
    if _is_grid(value):
        return list(value["grid_search"])
    if _is_list(value):
        return list(value)
    categories = getattr(value, "categories", None)
    if categories is not None:
        return list(categories)
    if _is_domain(value) or is_distribution(value) or has_domains(value):
        raise UserError(
            f"space: a grid needs the values of {name!r}, which has {_shown(value)}; give a list, "
            "or search='random'"
        )
    return [value]


def _domain_of(name: str, frozen: Any, searcher: str) -> Any:
    """The domain that is the same as a distribution of scipy."""
    from ray import tune

    kind = getattr(getattr(frozen, "dist", None), "name", type(frozen).__name__)
    if kind == "uniform":
        return tune.uniform(*(float(bound) for bound in frozen.support()))
    if kind == "randint":
        low, high = (int(bound) for bound in frozen.support())
        return tune.randint(low, high + 1)
    if kind in ("loguniform", "reciprocal") and not frozen.kwds.get("loc") and len(frozen.args) < 3:
        return tune.loguniform(*(float(bound) for bound in frozen.support()))
    raise UserError(
        f"space: {searcher} cannot take the distribution {kind!r} of {name!r}; give a domain of "
        "Ray Tune, such as tune.uniform(0, 1), or search='random'"
    )


def _check_bounds(name: str, value: Any) -> None:
    """Refuse a domain that nothing can be drawn from.

    Raises:
        UserError: it has no values, or its lower bound is not below its upper one.
    """
    lower, upper = getattr(value, "lower", None), getattr(value, "upper", None)
    if not _is_domain(value):
        return
    if hasattr(value, "categories") and not value.categories:
        raise UserError(f"space: parameter {name!r} has nothing to choose from")
    if lower is not None and upper is not None and not lower < upper:
        raise UserError(f"space: parameter {name!r} goes from {lower} to {upper}; turn them round")


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {getattr(value, 'domain_str', '')}".strip()
