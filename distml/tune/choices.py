"""Choices that a searcher cannot hold, by their number.

One decision: a searcher is given `choice(0, 1, 2)` for a choice among what is not plain text,
numbers or truth values of one type (tuples, estimators, `None`), and its answer is translated back.
A choice whose elements hold domains is conditional, and goes to the searcher as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from distml.tune.domains import has_domains
from distml.tune.turns import Config

__all__ = ["Choices"]

_PLAIN = (str, bool, int, float)


@dataclass(frozen=True, slots=True)
class Choices:
    """Parameters whose choices are proposed by number."""

    of_parameter: dict[str, list[Any]]
    """Parameter → its choices."""

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Self:
        """Find them in a space of Ray Tune's domains."""
        choices = {name: getattr(value, "categories", None) for name, value in spec.items()}
        return cls(
            {name: list(found) for name, found in choices.items() if found and not _plain(found)}
        )

    def encode(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The space with numbers for the choices."""
        from ray import tune

        numbers = {name: tune.choice(range(len(of))) for name, of in self.of_parameter.items()}
        return {**spec, **numbers}

    def decode(self, config: Config) -> dict[str, Any]:
        """A configuration with the choices for numbers, and Python's numbers for numpy's."""
        return {
            name: self.of_parameter[name][int(value)]
            if name in self.of_parameter
            else _python(value)
            for name, value in config.items()
        }


def _plain(choices: list[Any]) -> bool:
    if any(has_domains(choice) for choice in choices):
        return True
    kinds = {type(choice) for choice in choices}
    return len(kinds) == 1 and kinds <= set(_PLAIN)


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
