"""The space of a search: what may vary and how, in the words of scikit-learn or of Ray Tune.

One decision: nobody's objects are wrapped. Lists and distributions go to scikit-learn's own
`ParameterGrid` and `ParameterSampler`, so the candidates are theirs, value for value and in their
order; a space that holds a domain of Ray Tune goes to Ray's own variants and conversions.

Refuses a space that is empty, a parameter that does not exist, and what is neither list,
distribution nor domain.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.model_selection import ParameterGrid, ParameterSampler

from distml.errors import UserError
from distml.tune.domains import grid_of, has_domains, is_logarithmic, variants
from distml.tune.turns import Config

__all__ = ["Seed", "Space", "SpaceError", "SpaceTypeError"]

Seed = int | np.random.RandomState | None
"""Where draws begin, as scikit-learn's `random_state`."""


class SpaceError(UserError, ValueError):
    """The space holds nothing to search, or a parameter that does not exist."""


class SpaceTypeError(UserError, TypeError):
    """The space holds what is no list, distribution or domain."""


@dataclass(frozen=True, slots=True)
class Space:
    """What a search may propose."""

    parts: tuple[dict[str, Any], ...]
    """Parameter → list, distribution or domain; several parts are alternatives."""

    @classmethod
    def of(cls, space: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Self:
        """Check a space as a user writes it.

        Raises:
            SpaceError: it is empty, or one of its parameters has nothing to choose from.
            SpaceTypeError: it is not made of lists, distributions and domains.
        """
        parts = [space] if isinstance(space, Mapping) else space
        if isinstance(parts, str) or not isinstance(parts, Collection):
            raise SpaceTypeError(f"space is {space!r}; give a dict: parameter → what it may be")
        for part in parts:
            if not isinstance(part, Mapping):
                raise SpaceTypeError(f"space: {part!r} is not a dict of parameters")
        made = cls(tuple(dict(part) for part in parts))
        if not made.names:
            raise SpaceError("space is empty; name a parameter and what it may be: {'C': [1, 10]}")
        made._check_values()
        return made

    @property
    def names(self) -> list[str]:
        """The parameters that vary, each once."""
        return list(dict.fromkeys(name for part in self.parts for name in part))

    @property
    def logarithmic(self) -> list[str]:
        """The parameters that are drawn evenly from logarithms."""
        drawn = {name for part in self.parts for name in part if is_logarithmic(part[name])}
        return sorted(drawn)

    @property
    def in_domains(self) -> bool:
        """Whether a domain of Ray Tune is in it."""
        return any(has_domains(part) for part in self.parts)

    @property
    def part(self) -> dict[str, Any]:
        """The one part of a space without alternatives.

        Raises:
            SpaceError: it has several.
        """
        if len(self.parts) > 1:
            raise SpaceError(
                "space is a list of dicts, which scikit-learn's random and grid search take, not "
                "Ray Tune's domains, searchers and schedulers; give one dict"
            )
        return self.parts[0]

    def check(self, known: Collection[str], owner: str) -> None:
        """Compare the names with the parameters there are.

        Args:
            known: Names of parameters. One below a parameter that is itself searched may come to
                exist, and is not looked at: `clf__C` where `clf` is in the space.
            owner: Whose parameters they are, for the message.

        Raises:
            SpaceError: a name is not known; the nearest one is named.
        """
        for name in self.names:
            if name in known or _outer(name) & set(self.names):
                continue
            near = difflib.get_close_matches(name, list(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(known))}"
            raise SpaceError(f"space: {owner} has no parameter {name!r}; {hint}")

    def grid(self) -> Sequence[Config]:
        """All combinations, in the order of scikit-learn's `ParameterGrid`.

        Raises:
            SpaceError, SpaceTypeError: a parameter has no list of values.
        """
        parts = [grid_of(part) if has_domains(part) else part for part in self.parts]
        return _scikit_learns(ParameterGrid, parts)

    def sample(self, num_samples: int, seed: Seed) -> Sequence[Config]:
        """Draw configurations: `ParameterSampler`'s, or Ray Tune's variants of its domains.

        Raises:
            SpaceError, SpaceTypeError: a parameter cannot be drawn.
        """
        if self.in_domains:
            return variants(self.part, num_samples, seed)
        sampler = _scikit_learns(ParameterSampler, list(self.parts), num_samples, random_state=seed)
        return list(sampler)

    def _check_values(self) -> None:
        for part in self.parts:
            for name, value in part.items():
                if not isinstance(name, str):
                    raise SpaceTypeError(f"space: {name!r} is no name of a parameter")
                if isinstance(value, Collection) and len(value) == 0:
                    raise SpaceError(
                        f"space: parameter {name!r} need to be a non-empty sequence, got: {value!r}"
                    )
        if not self.in_domains:
            _scikit_learns(ParameterSampler, list(self.parts), 1)


def _outer(name: str) -> set[str]:
    """The names of parameters around a nested one."""
    parts = name.split("__")
    return {"__".join(parts[:end]) for end in range(1, len(parts))}


def _scikit_learns(kind: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a grid or sampler of scikit-learn; what it refuses is the user's to mend, in its words.

    Raises:
        SpaceError, SpaceTypeError: it refuses.
    """
    try:
        return kind(*args, **kwargs)
    except TypeError as error:
        raise SpaceTypeError(f"space: {error}") from error
    except ValueError as error:
        raise SpaceError(f"space: {error}") from error
