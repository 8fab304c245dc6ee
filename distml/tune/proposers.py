"""What proposes the configurations of a search: lists known beforehand, or a searcher of Ray Tune.

One decision: a list is asked for all its configurations at once, a searcher for one at a time, and
nothing else of the search knows which it is.

Refuses names that are not known, and searchers whose package is not installed.
"""

import copy
from collections.abc import Sequence
from importlib.util import find_spec
from numbers import Integral
from typing import TYPE_CHECKING, Any

from distml.errors import UserError
from distml.tune.searching import Searching
from distml.tune.seeding import integer_seed
from distml.tune.space import Seed, Space
from distml.tune.turns import Config, Proposer

if TYPE_CHECKING:
    from ray.tune.search import Searcher

__all__ = ["Listed", "make_proposer"]

_PACKAGES = {
    "optuna": ("optuna",),
    "hyperopt": ("hyperopt",),
    "bohb": ("hpbandster", "ConfigSpace"),
}


def make_proposer(
    search: Any,
    space: Space,
    *,
    num_samples: int | None,
    mode: str,
    seed: Seed,
    metric: str,
) -> Proposer:
    """What `search` names.

    Args:
        search: `random`, `grid`, `optuna`, `hyperopt`, `bohb`, or a searcher of Ray Tune.
        space: What may be proposed.
        num_samples: Configurations at most; `grid` proposes all there are.
        mode: `max` or `min`: which direction of the score is better.
        seed: Where random draws begin.
        metric: Name of the score.

    Raises:
        UserError: an unknown name, a package that is not installed, a searcher that does not fit
            the search, or fewer than one sample.
    """
    if search == "grid":
        return Listed(space.grid())
    if not isinstance(num_samples, Integral) or num_samples < 1:
        raise UserError(
            f"num_samples is {num_samples!r}; give a whole number, a search tries at least 1 "
            "configuration"
        )
    num_samples = int(num_samples)
    if search == "random":
        return Listed(space.sample(num_samples, seed))
    number = integer_seed(seed)
    searcher = _named(search, number) if isinstance(search, str) else _given(search)
    return Searching(
        searcher, space, num_samples=num_samples, mode=mode, seed=number, metric=metric
    )


class Listed:
    """Proposes configurations that are all known beforehand.

    Args:
        configs: The configurations, in order.
    """

    looks_at_results = False

    def __init__(self, configs: Sequence[Config]) -> None:
        self._configs = configs

    def __len__(self) -> int:
        return len(self._configs)

    def suggest(self, trial: int) -> Config | None:
        """See `Proposer`."""
        return self._configs[trial] if trial < len(self._configs) else None

    def tell(self, trial: int, step: int, value: float) -> None:
        """See `Proposer`."""

    def end(self, trial: int, value: float | None) -> None:
        """See `Proposer`."""


def _given(search: Any) -> "Searcher":
    from ray.tune.search import Searcher

    if isinstance(search, Searcher):
        # A searcher that learnt from one search does not begin the next where it was.
        return copy.deepcopy(search)
    raise UserError(f"search is {search!r}; give {_known()} or a searcher of Ray Tune")


def _named(search: str, seed: int) -> "Searcher":
    if search not in _PACKAGES:
        raise UserError(f"search={search!r} is not known; give {_known()} or a searcher")
    missing = [package for package in _PACKAGES[search] if find_spec(package) is None]
    if missing:
        raise UserError(
            f"search={search!r} needs {' and '.join(missing)}: "
            f"pip install {' '.join(_PACKAGES[search])}"
        )
    if search == "optuna":
        from ray.tune.search.optuna import OptunaSearch

        return OptunaSearch(seed=seed)
    if search == "hyperopt":
        from ray.tune.search.hyperopt import HyperOptSearch

        return HyperOptSearch(random_state_seed=seed)
    from ray.tune.search.bohb import TuneBOHB

    return TuneBOHB(seed=seed)


def _known() -> str:
    return ", ".join(("random", "grid", *_PACKAGES))
