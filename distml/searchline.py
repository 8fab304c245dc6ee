"""`--search "lr=loguniform(1e-4, 1e-1)"`: a space on a command line, read without running it.

One decision: it is Python's syntax, of which only a known name with literal arguments is taken, and
nothing is evaluated. What is read is appended to the job file as text, which the run keeps.

Refuses unknown domains with the nearest, arguments that are no literals, and bounds that are turned
round.
"""

import ast
import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from distml.errors import UserError

__all__ = ["SearchLine"]

_NUMBERS = {
    "uniform": 2,
    "loguniform": 2,
    "quniform": 3,
    "qloguniform": 3,
    "randint": 2,
    "lograndint": 2,
    "qrandint": 3,
    "qlograndint": 3,
    "randn": 2,
    "qrandn": 3,
}
"""Domain of Ray Tune → how many numbers it takes, the first two of them bounds but for `randn`."""
_LISTS = {"choice": "choice", "grid": "grid_search", "grid_search": "grid_search"}
_SEARCHERS = ("random", "grid", "optuna", "hyperopt", "bohb")
_SCHEDULERS = ("asha", "median", "pbt")
_EXAMPLE = "such as lr=loguniform(1e-4,1e-1) or depth=choice(2,3,4)"

Words = tuple[object, ...]
"""A domain's name and its arguments."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchLine:
    """A search as a command line says it."""

    space: dict[str, Words]
    """Parameter → domain and arguments."""
    metric: str
    """What trials are compared by."""
    mode: str
    """`max` or `min`."""
    num_samples: int
    """Configurations to try."""
    searcher: str | None = None
    """Who proposes them; `None`: a grid of what is given as grids alone, else chance."""
    scheduler: tuple[str, int] | None = None
    """What ends trainings early, and their most epochs."""
    max_concurrent_trials: int = 1
    """Trials at one time."""

    @classmethod
    def read(
        cls,
        texts: Sequence[str],
        *,
        metric: str | None,
        mode: str,
        num_samples: int,
        searcher: str | None = None,
        scheduler: str | None = None,
        max_concurrent_trials: int = 1,
    ) -> "SearchLine | None":
        """Read the options of a command line.

        Args:
            texts: What `--search` was given, each time; none: there is no search.
            metric: What `--metric` was given.
            mode: `max` or `min`.
            num_samples: What `--num-samples` was given.
            searcher: What `--searcher` was given.
            scheduler: What `--scheduler` was given, `asha(27)`.
            max_concurrent_trials: What `--max-concurrent-trials` was given.

        Raises:
            UserError: they make no sense.
        """
        if not texts:
            given = {"--metric": metric, "--searcher": searcher, "--scheduler": scheduler}
            for option, value in given.items():
                if value is not None:
                    raise UserError(f"{option} {value} belongs to a search; give --search as well")
            return None
        if metric is None:
            raise UserError("--search needs --metric: what to compare trials by, test_roc_auc")
        if num_samples < 1:
            raise UserError(f"--num-samples {num_samples}: a search tries at least 1")
        if max_concurrent_trials < 1:
            raise UserError(
                f"--max-concurrent-trials {max_concurrent_trials}: at least 1 runs at one time"
            )
        if searcher is not None and searcher not in _SEARCHERS:
            raise UserError(f"--searcher {searcher} is not known{_hint(searcher, _SEARCHERS)}")
        space: dict[str, Words] = {}
        for text in texts:
            name, words = _read(text)
            if name in space:
                raise UserError(f"--search {name} is given twice; give it once")
            space[name] = words
        return cls(
            space=space,
            metric=metric,
            mode=mode,
            num_samples=num_samples,
            searcher=searcher,
            scheduler=None if scheduler is None else _scheduler(scheduler),
            max_concurrent_trials=max_concurrent_trials,
        )

    def source(self) -> str:
        """What makes a job file whose `job()` is searched, to be put behind its text."""
        further: dict[str, object] = {}
        if self.searcher is not None:
            further["search"] = self.searcher
        if self.scheduler is not None:
            further["scheduler"], further["max_epochs"] = self.scheduler
        if self.max_concurrent_trials > 1:
            further["max_concurrent_trials"] = self.max_concurrent_trials
        more = "".join(f", {name}={value!r}" for name, value in further.items())
        return (
            "\n\n# Appended by `distml run --search`.\n"
            "from distml.tune.quick import searched as _searched  # noqa: E402\n\n"
            f"job = _searched(job, space={self.space!r}, metric={self.metric!r}, "
            f"mode={self.mode!r}, num_samples={self.num_samples!r}{more})\n"
        )


def _scheduler(text: str) -> tuple[str, int]:
    name, _, rest = text.strip().partition("(")
    if name == "hyperband":
        raise UserError(
            f"--scheduler {text}: hyperband pauses trainings, which is not carried out for jobs; "
            "give asha or median"
        )
    if name not in _SCHEDULERS:
        raise UserError(f"--scheduler {text}: {name} is not known{_hint(name, _SCHEDULERS)}")
    epochs = rest.removesuffix(")")
    if not rest.endswith(")") or not epochs.isdigit() or int(epochs) < 1:
        raise UserError(f"--scheduler {text}: say how many epochs a training has, {name}(27)")
    return name, int(epochs)


def _hint(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"


def _read(text: str) -> tuple[str, Words]:
    name, equals, value = text.partition("=")
    name = name.strip().removeprefix("--").replace("-", "_")
    if not equals or not name.isidentifier():
        raise UserError(f"--search {text!r}: give a parameter and what it may be, {_EXAMPLE}")
    try:
        call = ast.parse(value.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
        raise UserError(f"--search {text!r}: {value.strip()!r} is no domain; {_EXAMPLE}")
    arguments = [_literal(text, argument) for argument in call.args]
    return name, _checked(text, call.func.id, arguments)


def _literal(text: str, argument: ast.expr) -> object:
    if isinstance(argument, ast.Name):
        return argument.id  # choice(relu, tanh): quotes are a nuisance on a command line
    try:
        return ast.literal_eval(argument)
    except (ValueError, SyntaxError):
        said = ast.unparse(argument)
        raise UserError(f"--search {text!r}: {said} is neither a number nor a text") from None


def _checked(text: str, domain: str, arguments: list[object]) -> Words:
    if domain in _LISTS:
        if len(arguments) == 1 and isinstance(arguments[0], list | tuple):
            arguments = list(arguments[0])
        if not arguments:
            raise UserError(f"--search {text!r}: {domain} has nothing to choose from")
        return (_LISTS[domain], *arguments)
    if domain not in _NUMBERS:
        hint = _hint(domain, (*_LISTS, *_NUMBERS))
        raise UserError(f"--search {text!r}: there is no domain {domain}{hint}")
    count = _NUMBERS[domain]
    numbers = [value for value in arguments if isinstance(value, int | float)]
    if len(numbers) != len(arguments) or len(numbers) != count:
        raise UserError(f"--search {text!r}: {domain} takes {count} numbers")
    if "randn" not in domain and not numbers[0] < numbers[1]:
        raise UserError(f"--search {text!r}: {numbers[0]} is not below {numbers[1]}")
    if "log" in domain and numbers[0] <= 0:
        raise UserError(f"--search {text!r}: {domain} begins above 0")
    return (domain, *arguments)
