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

    @classmethod
    def read(
        cls, texts: Sequence[str], *, metric: str | None, mode: str, num_samples: int
    ) -> "SearchLine | None":
        """Read the options of a command line.

        Args:
            texts: What `--search` was given, each time; none: there is no search.
            metric: What `--metric` was given.
            mode: `max` or `min`.
            num_samples: What `--num-samples` was given.

        Raises:
            UserError: they make no sense.
        """
        if not texts:
            if metric is not None:
                raise UserError(f"--metric {metric} belongs to a search; give --search as well")
            return None
        if metric is None:
            raise UserError("--search needs --metric: what to compare trials by, test_roc_auc")
        if num_samples < 1:
            raise UserError(f"--num-samples {num_samples}: a search tries at least 1")
        space: dict[str, Words] = {}
        for text in texts:
            name, words = _read(text)
            if name in space:
                raise UserError(f"--search {name} is given twice; give it once")
            space[name] = words
        return cls(space=space, metric=metric, mode=mode, num_samples=num_samples)

    def source(self) -> str:
        """What makes a job file whose `job()` is searched, to be put behind its text."""
        return (
            "\n\n# Appended by `distml run --search`.\n"
            "from distml.tune.quick import searched as _searched  # noqa: E402\n\n"
            f"job = _searched(job, space={self.space!r}, metric={self.metric!r}, "
            f"mode={self.mode!r}, num_samples={self.num_samples!r})\n"
        )


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
        near = difflib.get_close_matches(domain, [*_NUMBERS, *_LISTS], n=1)
        hint = (
            f"did you mean {near[0]}?" if near else f"there are {', '.join((*_LISTS, *_NUMBERS))}"
        )
        raise UserError(f"--search {text!r}: there is no domain {domain}; {hint}")
    count = _NUMBERS[domain]
    numbers = [value for value in arguments if isinstance(value, int | float)]
    if len(numbers) != len(arguments) or len(numbers) != count:
        raise UserError(f"--search {text!r}: {domain} takes {count} numbers")
    if "randn" not in domain and not numbers[0] < numbers[1]:
        raise UserError(f"--search {text!r}: {numbers[0]} is not below {numbers[1]}")
    if "log" in domain and numbers[0] <= 0:
        raise UserError(f"--search {text!r}: {domain} begins above 0")
    return (domain, *arguments)
