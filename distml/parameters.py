"""The parameters of a job: the signature of a function, read as a command line.

One decision: a parameter's annotation is its whole specification. It gives the flag, the check, the
value's text and the line of help, so that a job file needs no second language for its options.
Values come from text (a command line) and from JSON (the record of a run that is resumed).

Refuses parameters that have no name on a command line (`*args`, `**kwargs`, positional-only), and
required ones of a type that has no text form.
"""

import contextlib
import enum
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from distml.errors import UserError

__all__ = ["Parameter", "parameters_of"]

_BOOLEANS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_SCALARS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    Path: "a path",
}
_SEQUENCES = (list, tuple, Sequence)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of a job."""

    name: str
    """Name in the signature."""
    kind: Any
    """Its type, as annotated; that of the default where there is no annotation."""
    default: Any
    """Its default, `inspect.Parameter.empty` if it must be given."""
    help: str = ""
    """Its line in the docstring's `Args:` section."""

    @property
    def flag(self) -> str:
        """The parameter on the command line: `num_rows` is `--num-rows`."""
        return "--" + self.name.replace("_", "-")

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty

    @property
    def is_switch(self) -> bool:
        """Whether the bare flag is a value: `--name` and `--no-name`."""
        return bool in _members(self.kind)

    @property
    def is_list(self) -> bool:
        """Whether it may be given several times."""
        return any(_is_sequence(member) for member in _members(self.kind))

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return _describe(self.kind)

    @property
    def settable(self) -> bool:
        """Whether its values have a text form; others keep their default."""
        return _is_textual(self.kind)

    def from_texts(self, texts: Sequence[str]) -> Any:
        """Convert what the command line gave: one text, several for a list.

        Raises:
            UserError: a text is not of the parameter's type.
        """
        if not self.settable:
            raise UserError(
                f"parameter {self.flag}: a {_name(self.kind)} cannot be given on the command line; "
                f"set it in the job file"
            )
        try:
            return _from_texts(self.kind, texts)
        except ValueError:
            given = " ".join(texts) or "''"
            raise UserError(f"parameter {self.flag}: {given} is not {self.expected}") from None

    def from_json(self, value: Any) -> Any:
        """Convert a value of a record, or a Python value of the right type.

        Raises:
            UserError: the value is not of the parameter's type.
        """
        if value == to_json(self.default):  # whatever its type: job() itself said so
            return self.default
        try:
            return _from_json(self.kind, value)
        except ValueError:
            raise UserError(f"parameter {self.flag}: {value!r} is not {self.expected}") from None


def parameters_of(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """Read a function's signature and the `Args:` section of its docstring.

    Raises:
        UserError: a parameter cannot be given by name, or must be given but has no text form.
    """
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError) as error:
        raise UserError(f"{function.__name__}(): its annotations cannot be read: {error}") from None
    told = _documented(function)
    return tuple(
        _parameter(function.__name__, parameter, hints, told)
        for parameter in inspect.signature(function).parameters.values()
    )


def to_json(value: Any) -> Any:
    """Turn a parameter's value into JSON: enums by name, paths and infinities as text."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Path) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    if isinstance(value, list | tuple):
        return [to_json(element) for element in value]
    return value


def _parameter(
    function: str, parameter: inspect.Parameter, hints: dict[str, Any], told: dict[str, str]
) -> Parameter:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise UserError(
            f"{function}(): {parameter} has no name on the command line; name every parameter"
        )
    made = Parameter(
        name=parameter.name,
        kind=hints.get(parameter.name, _kind_of_default(parameter.default)),
        default=parameter.default,
        help=told.get(parameter.name, ""),
    )
    if made.required and not made.settable:
        raise UserError(
            f"{function}(): parameter {made.name}: a {_name(made.kind)} cannot be given "
            f"on the command line; give it a default"
        )
    return made


def _kind_of_default(default: Any) -> Any:
    return str if default in (None, inspect.Parameter.empty) else type(default)


def _documented(function: Callable[..., Any]) -> dict[str, str]:
    """The `Args:` section of a Google-style docstring: name → text, on one line."""
    section = re.search(
        r"^Args:\n((?:[ \t]+.*\n?|\n)*)", inspect.getdoc(function) or "", re.MULTILINE
    )
    if section is None:
        return {}
    body = inspect.cleandoc("\n" + section[1])
    entries = re.findall(r"^(\w+)[^:\n]*:[ \t]*(.*(?:\n[ \t]+.*)*)", body, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _members(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a union, else the kind itself; text last, because it takes anything."""
    if typing.get_origin(kind) not in (Union, types.UnionType):
        return (kind,)
    return tuple(sorted(typing.get_args(kind), key=lambda member: member in (str, Path)))


def _is_sequence(kind: Any) -> bool:
    return kind in _SEQUENCES or typing.get_origin(kind) in _SEQUENCES


def _elements(kind: Any, count: int) -> tuple[Any, ...]:
    """The types of `count` elements of a sequence type.

    Raises:
        ValueError: a tuple of another length.
    """
    arguments = typing.get_args(kind)
    if not arguments:
        return (str,) * count
    if typing.get_origin(kind) is not tuple or arguments[-1] is Ellipsis:
        return (arguments[0],) * count
    if len(arguments) != count:
        raise ValueError
    return arguments


def _is_textual(kind: Any) -> bool:
    if kind in _SCALARS or kind in (Any, type(None)):
        return True
    if typing.get_origin(kind) is Literal or _is_enum(kind):
        return True
    if _is_sequence(kind):
        inner = [member for member in typing.get_args(kind) if member is not Ellipsis]
        return all(_is_textual(member) and not _is_sequence(member) for member in inner)
    return len(_members(kind)) > 1 and all(_is_textual(member) for member in _members(kind))


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _describe(kind: Any) -> str:
    if kind is type(None):
        return "none"
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in typing.get_args(kind))
    if _is_enum(kind):
        return "one of " + ", ".join(kind.__members__)
    if _is_sequence(kind):
        return _describe_sequence(kind)
    if len(_members(kind)) > 1:
        return " or ".join(_describe(member) for member in typing.get_args(kind))
    return _SCALARS.get(kind, "text" if kind is Any else _name(kind))


def _describe_sequence(kind: Any) -> str:
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"{len(arguments)} values: " + ", ".join(_describe(member) for member in arguments)
    return "a list, each " + _describe(arguments[0] if arguments else str)


def _from_texts(kind: Any, texts: Sequence[str]) -> Any:
    parts = [part.strip() for text in texts for part in text.split(",") if text]
    for member in _members(kind):
        with contextlib.suppress(ValueError):
            if _is_sequence(member):
                return _sequence(member, parts, lambda element, part: _from_texts(element, [part]))
            return _scalar(member, texts[-1])
    raise ValueError


def _sequence(kind: Any, values: Sequence[Any], convert: Callable[[Any, Any], Any]) -> Any:
    elements = zip(_elements(kind, len(values)), values, strict=True)
    made = [convert(element, value) for element, value in elements]
    return tuple(made) if tuple in (kind, typing.get_origin(kind)) else made


def _scalar(kind: Any, text: str) -> Any:
    """One value from text.

    Raises:
        ValueError: the text is not of this type.
    """
    if kind is bool:
        return _pick(_BOOLEANS, text.lower())
    if kind is type(None):
        return _pick({"none": None}, text.lower())
    if typing.get_origin(kind) is Literal:
        return _pick({str(choice): choice for choice in typing.get_args(kind)}, text)
    if _is_enum(kind):
        return _pick({str(choice.value): choice for choice in kind} | dict(kind.__members__), text)
    return text if kind is Any else kind(text)


def _pick(table: dict[str, Any], text: str) -> Any:
    if text not in table:
        raise ValueError
    return table[text]


def _from_json(kind: Any, value: Any) -> Any:
    is_list = isinstance(value, list | tuple)
    for member in _members(kind):
        with contextlib.suppress(ValueError):
            if is_list and _is_sequence(member):
                return _sequence(member, value, _from_json)
            if not is_list and not _is_sequence(member):
                return _scalar(member, _text(value))
    raise ValueError


def _text(value: Any) -> str:
    """The text a JSON scalar has on the command line."""
    return value.name if isinstance(value, enum.Enum) else str(value)
