"""A searcher of Ray Tune, as what proposes the configurations of a search.

One decision: the searcher is used as it is, under the name of its trial, in the order of turns. Its
space is set by `set_search_properties` where it has none, and the conversion of domains is Ray's
own. What it leaves out of a configuration, constants for one, comes from the space, as in Ray Tune.

Refuses a searcher that wants several metrics or the other direction. One that fails, suggests
nothing at all, or whose first trials all fail ends the search.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from distml.errors import DistmlError, UserError
from distml.tune.choices import Choices
from distml.tune.domains import as_domains, constants
from distml.tune.seeding import OwnRandomness
from distml.tune.space import Space
from distml.tune.turns import Config

if TYPE_CHECKING:
    from ray.tune.search import Searcher

__all__ = ["Searching", "agree", "quietly"]

logger = logging.getLogger(__name__)

_NO_NEWS: tuple[tuple[type[Warning], str, str], ...] = (
    (
        DeprecationWarning,
        r"Please use `(space|list\(space|dict\(config)",
        r"hpbandster\.|ray\.tune\.",
    ),
    (FutureWarning, r"After 0\.17 or January 2028", ""),
    (RuntimeWarning, "divide by zero encountered in divide", r"statsmodels\.nonparametric\."),
)
"""What BOHB's packages say of each other at each suggestion, and no user can change: category,
message and module."""
_TALKERS = ("optuna", "ray.tune.schedulers.pbt")
"""Loggers that have a line for each study and each step."""
_MAX_FAILURES = 10
"""Trials of a searcher that may fail before one succeeds."""


class Searching:
    """Proposes what a searcher of Ray Tune suggests.

    Args:
        searcher: The searcher; this one is changed.
        space: For a searcher that has no space yet.
        num_samples: Configurations at most.
        mode: `max` or `min`.
        seed: For searchers that draw from the global generators.
        metric: Name of the score.

    Raises:
        UserError: the searcher does not fit the search.
    """

    looks_at_results = True

    def __init__(
        self,
        searcher: "Searcher",
        space: Space,
        *,
        num_samples: int,
        mode: str,
        seed: int,
        metric: str,
    ) -> None:
        self.searcher = searcher
        self.name = type(searcher).__name__
        self._num_samples = num_samples
        self._randomness = OwnRandomness(seed)
        self._metric = agree(searcher, mode=mode, metric=metric)
        self._spec = as_domains(space.part, self.name)
        self._choices = Choices.of(self._spec)
        self._running: set[int] = set()
        self._notes: dict[int, dict[str, Any]] = {}
        self._told: set[int] = set()
        self._num_failed: int | None = 0
        self._set_up(mode)

    @property
    def budgets(self) -> bool:
        """Whether it learns from scores at several budgets, which `HyperBandForBOHB` names."""
        return hasattr(self.searcher, "on_pause")

    def note(self, trial: int, info: Mapping[str, Any]) -> None:
        """What a scheduler adds to the result of the turn."""
        self._notes[trial] = dict(info)

    def suggest(self, trial: int) -> Config | None:
        """See `Proposer`.

        Raises:
            DistmlError: the searcher fails, suggests nothing although nothing runs, or only what
                fails.
        """
        if trial >= self._num_samples:
            return None
        if (self._num_failed or 0) >= _MAX_FAILURES:
            raise DistmlError(
                f"{self.name}: the first {self._num_failed} trials it suggested failed; the "
                "search ends; see the error of the trials"
            )
        found = self._ask(self.searcher.suggest, _name(trial))
        if isinstance(found, Mapping):
            self._running.add(trial)
            return self._complete(found)
        if trial == 0:
            raise DistmlError(f"{self.name} suggests nothing; the search ends without a trial")
        if found is not None:  # Searcher.FINISHED
            self._num_samples = trial
        elif not self._running:
            self._num_samples = trial
            logger.warning("%s suggests nothing after %d trials; the search ends", self.name, trial)
        return None

    def tell(self, trial: int, step: int, value: float) -> None:
        """See `Proposer`."""
        self._told.add(trial)
        self._ask(self.searcher.on_trial_result, _name(trial), self._result(trial, step, value))

    def end(self, trial: int, value: float | None) -> None:
        """See `Proposer`."""
        self._running.discard(trial)
        if value is None:
            self._num_failed = None if self._num_failed is None else self._num_failed + 1
            self._ask(self.searcher.on_trial_complete, _name(trial), error=True)
            return
        self._num_failed = None
        if self.budgets and trial not in self._told:
            self.tell(trial, 1, value)
        result = self._result(trial, 1, value)
        self._ask(self.searcher.on_trial_complete, _name(trial), result=result)

    def _set_up(self, mode: str) -> None:
        """Give the searcher what it has not: the space, the metric and the mode.

        Raises:
            UserError: it cannot take them.
        """
        searcher = self.searcher
        try:
            with self._randomness.here(), quietly():
                searcher.set_search_properties(
                    None if searcher.metric else self._metric,
                    None if searcher.mode else mode,
                    self._choices.encode(self._spec),
                )
        except Exception as error:
            raise UserError(f"{self.name} does not take the space: {_said(error)}") from error

    def _result(self, trial: int, step: int, value: float) -> dict[str, Any]:
        """A result as Ray Tune gives it to searchers."""
        result: dict[str, Any] = {self._metric: value, "training_iteration": step}
        if self.budgets:
            # Without a scheduler that names budgets, the amount of the resource is one.
            result["hyperband_info"] = self._notes.pop(trial, {"budget": step})
        return result

    def _complete(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """A suggestion with the constants of the space, and choices as the user wrote them."""
        from ray.tune.utils import merge_dicts

        made = self._choices.decode(merge_dicts(constants(self._spec), dict(found)))
        # In the order of the space, as far as it names them.
        return {name: made[name] for name in (*self._spec, *made) if name in made}

    def _ask(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            with self._randomness.here(), quietly():
                return method(*args, **kwargs)
        except DistmlError:
            raise
        except Exception as error:
            raise DistmlError(f"{self.name} failed; the search ends: {_said(error)}") from error


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what a searcher or a scheduler says of its own doings from the user's screen."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for category, message, module in _NO_NEWS:
            warnings.filterwarnings("ignore", message, category, module)
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def agree(chosen: Any, *, mode: str, metric: str) -> str:
    """The name under which a searcher or scheduler looks for the score.

    Args:
        chosen: A searcher or scheduler of Ray Tune.
        mode: Which direction of the search is better.
        metric: The search's own name of the score.

    Raises:
        UserError: it wants several metrics, or the other direction.
    """
    name = type(chosen).__name__
    own_metric, own_mode = chosen.metric, getattr(chosen, "_mode", None)
    if isinstance(own_metric, list | tuple) or isinstance(own_mode, list | tuple):
        raise UserError(f"{name}: it wants several metrics, and a search has one; name one")
    if own_mode and own_mode != mode:
        raise UserError(
            f"{name}(mode={own_mode!r}): the search wants mode={mode!r}; leave mode out of {name}"
        )
    return str(own_metric or metric)


def _said(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _name(trial: int) -> str:
    return f"{trial:05d}"
