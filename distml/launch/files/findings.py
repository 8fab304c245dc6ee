"""What is wrong with a file of a cluster: mistakes that refuse it, and what its user should know.

One decision: rules only add to a list, so that each is a plain function, and a file with several
mistakes is refused once, by the first, saying how many others there are.
"""

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from distml.errors import UserError

__all__ = [
    "Findings",
    "commands_of",
    "did_you_mean",
    "each_string",
    "items_of",
    "key_set",
    "mapping_of",
]


@dataclass(slots=True)
class Findings:
    """Filled by the rules."""

    place: str
    """The file, as the user named it."""
    mistakes: list[str] = field(default_factory=list)
    """Each refuses the file."""
    warnings: list[str] = field(default_factory=list)
    """Each is to be shown."""

    def refuse(self, where: str, what: str) -> None:
        """Note a mistake at a dotted path in the file."""
        self.mistakes.append(f"{where}: {what}" if where else what)

    def warn(self, where: str, what: str) -> None:
        """Note something that works, but costs or opens more than it must."""
        self.warnings.append(f"{where}: {what}" if where else what)

    def unknown(self, where: str, names: Collection[str], known: Collection[str]) -> None:
        """Refuse each of `names` that is not among `known`, with the nearest that is."""
        for name in names:
            if name not in known:
                self.refuse(f"{where}.{name}".strip("."), f"unknown{did_you_mean(name, known)}")

    def raise_if_any(self) -> None:
        """Refuse the file if there are mistakes.

        Raises:
            UserError: the first of them, and how many others there are.
        """
        if self.mistakes:
            others = len(self.mistakes) - 1
            more = f" (and {others} more)" if others else ""
            raise UserError(f"{self.place}: {self.mistakes[0]}{more}")


def did_you_mean(name: str, known: Collection[str]) -> str:
    """`": did you mean x?"`, or nothing if nothing is near."""
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.7)
    return f": did you mean {lower[close[0]]}?" if close else ""


def mapping_of(value: Any) -> dict[str, Any]:
    """A mapping as it is, and of anything else an empty one, for rules that look further on."""
    return value if isinstance(value, dict) else {}


def items_of(value: Any) -> list[Any]:
    """A list as it is, and of anything else an empty one."""
    return value if isinstance(value, list) else []


def key_set(text: str) -> frozenset[str]:
    """Words with spaces between them, as the keys that a mapping may have."""
    return frozenset(text.split())


def each_string(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in nested mappings and lists, with its dotted path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from each_string(inner, f"{path}.{key}".strip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from each_string(inner, f"{path}[{number}]")


def commands_of(config: dict[str, Any], key: str) -> list[str]:
    """The commands of a list, each on one line."""
    commands = config.get(key)
    found = commands if isinstance(commands, list) else []
    return [re.sub(r"\s+", " ", str(command)) for command in found]
