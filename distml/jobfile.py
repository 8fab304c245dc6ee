"""Load a job file: a Python file whose `job()` function returns a `Job`.

One decision: a job file is the module `distml_job`, whatever its path, and that module can be
imported by nobody. Its classes and functions therefore have the same names when a run is resumed
from its own copy of the file, and every pickler that can (Ray's, joblib's, the unit store's) sends
them by value, so that workers and saved models need no job file.

Refuses, with one line that names the file and the place: a file that does not exist, raises, has
no `job()`, or whose `job()` returns something else than a `Job`.
"""

import difflib
import sys
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distml.errors import DistmlError, UserError
from distml.job import Job
from distml.parameters import Parameter, parameters_of, to_json

__all__ = ["MODULE_NAME", "RUN_OPTIONS", "JobFile", "load", "nearest"]

MODULE_NAME = "distml_job"
"""The module every job file becomes."""

RUN_OPTIONS = (
    "--detach", "--down", "--dry-run", "--help", "--max-concurrent-trials", "--max-cost",
    "--max-hours", "--metric", "--mode", "--no-down", "--num-samples", "--on", "--run-id",
    "--scheduler", "--search", "--searcher", "--storage",
)  # fmt: skip
"""Flags of `distml run` itself: a job may not take them, and they are suggested beside its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFile:
    """A loaded job file."""

    path: Path
    """Where it was read from."""
    source: str
    """Its text."""
    module: types.ModuleType
    """The file, run."""
    parameters: tuple[Parameter, ...]
    """What `job()` takes, in order."""

    @property
    def description(self) -> str:
        """The docstring of the file, else that of `job()` before its sections."""
        told = self.module.__doc__ or self.module.job.__doc__ or ""
        return told.split("Args:")[0].strip()

    def bind(self, given: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
        """Turn a command line, or a record's values, into a value for every parameter.

        Args:
            given: Such as `["--rows", "50000"]` or `{"rows": 50000}`.

        Raises:
            UserError: an unknown or ill-typed parameter, or one that is missing.
        """
        values = self._from_json(given) if isinstance(given, Mapping) else self._from_line(given)
        missing = [p for p in self.parameters if p.required and p.name not in values]
        if missing:
            raise UserError(f"parameter {missing[0].flag} is required: give {missing[0].expected}")
        defaults = {p.name: p.default for p in self.parameters if p.settable and not p.required}
        return defaults | values

    def rebind(self, recorded: Mapping[str, Any], changes: Sequence[str] = ()) -> dict[str, Any]:
        """Take a record's values back, some of them changed.

        Args:
            recorded: Such as `{"rows": 50000, "data": "january"}`.
            changes: Such as `["--data", "february"]`.

        Raises:
            UserError: an unknown or ill-typed parameter, or one that is missing.
        """
        return self.bind({**recorded, **self.to_json(self._from_line(changes))})

    def build(self, values: Mapping[str, Any]) -> Job:
        """Call `job()`.

        Raises:
            UserError: it raises, or returns no `Job`.
        """
        with _findable(self.module), _blamed(self.path, "job()"):
            job = self.module.job(**values)
        if not isinstance(job, Job):
            raise UserError(
                f"{self.path}: job() returned {type(job).__name__}, not a Job; "
                f"end it with `return Job(task=...)`"
            )
        return job

    @staticmethod
    def to_json(values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as a record keeps them; `bind` takes them back."""
        return {name: to_json(value) for name, value in values.items()}

    def _from_json(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: self._find("--" + name.replace("_", "-")).from_json(given[name]) for name in given
        }

    def _from_line(self, arguments: Sequence[str]) -> dict[str, Any]:
        texts: dict[str, list[str]] = {}
        for flag, text in _pairs(arguments):
            parameter, text = self._switched(flag, text)
            if text is None:
                raise UserError(f"parameter {flag} needs a value: {parameter.expected}")
            if parameter.name in texts and not parameter.is_list:
                raise UserError(f"parameter {flag} is given twice; give it once")
            texts.setdefault(parameter.name, []).append(text)
        return {p.name: p.from_texts(texts[p.name]) for p in self.parameters if p.name in texts}

    def _switched(self, flag: str, text: str | None) -> tuple[Parameter, str | None]:
        """The parameter a flag names, and its text: `--flag` is true, `--no-flag` is false."""
        positive = "--" + flag.removeprefix("--no-")
        switch = next((p for p in self.parameters if p.flag == positive and p.is_switch), None)
        if flag.startswith("--no-") and switch is not None and text is None:
            return switch, "false"
        parameter = self._find(flag)
        return parameter, "true" if text is None and parameter.is_switch else text

    def _find(self, flag: str) -> Parameter:
        named = {p.flag: p for p in self.parameters}
        found = named.get(flag.replace("_", "-"))
        if found is not None:
            return found
        known = [*named, *(f"--no-{p.flag[2:]}" for p in self.parameters if p.is_switch)]
        hint = nearest(flag, [*known, *RUN_OPTIONS]) or (
            f"; it takes {', '.join(named)}" if named else "; it takes none"
        )
        raise UserError(f"{self.path.name} has no parameter {flag}{hint}")


def load(path: str | Path, *, folder: str | Path | None = None, more: str = "") -> JobFile:
    """Run a job file and read the signature of its `job()`.

    Args:
        path: The file.
        folder: Where the modules beside it are, if the file is a copy from there.
        more: Source text to put behind the file's own.

    Raises:
        UserError: no such file, it raises, or it has no usable `job()`.
    """
    path = Path(path)
    source = _read(path) + more
    module = _execute(path, source, str(Path(folder or path.parent).absolute()))
    function = getattr(module, "job", None)
    if not isinstance(function, types.FunctionType):
        raise UserError(f"{path}: it has no job() function; define one that returns a Job")
    try:
        parameters = parameters_of(function)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    taken = [p.flag for p in parameters if p.flag in RUN_OPTIONS]
    if taken:
        raise UserError(
            f"{path}: {taken[0]} is an option of `distml run` itself; rename job()'s parameter"
        )
    return JobFile(path=path, source=source, module=module, parameters=parameters)


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint that ends an error message: the known word most like `word`, or nothing."""
    match = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {match[0]}?" if match else ""


def _read(path: Path) -> str:
    if path.is_dir():
        raise UserError(f"{path} is a folder; name one job file in it")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = sorted(str(other) for other in path.parent.glob("*.py"))
        raise UserError(f"no such job file: {path}{nearest(str(path), beside)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the job file {path} cannot be read: {error}") from None


def _execute(path: Path, source: str, folder: str) -> types.ModuleType:
    module = types.ModuleType(MODULE_NAME)
    module.__file__ = str(path.absolute())
    # As `python jobs/x.py` has it: modules beside the file can be imported.
    if folder not in sys.path:
        sys.path.insert(0, folder)
    with _findable(module), _blamed(path, "the job file"):
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    return module


@contextmanager
def _findable(module: types.ModuleType) -> Iterator[None]:
    """Let dataclasses and annotations find the module they are made in, while it runs."""
    sys.modules[MODULE_NAME] = module
    try:
        yield
    finally:
        sys.modules.pop(MODULE_NAME, None)


@contextmanager
def _blamed(path: Path, what: str) -> Iterator[None]:
    """Turn any exception of the user's code into one line with its type, message, file and line.

    distml's own errors pass as they are: they already name the value and the cure.
    """
    try:
        yield
    except DistmlError:
        raise
    except SyntaxError as error:
        raise UserError(
            f"{error.filename or path}:{error.lineno}: SyntaxError: {error.msg}"
        ) from error
    except (Exception, SystemExit) as error:
        message = " ".join(str(error).split())
        place = _place(error, path)
        raise UserError(f"{place}: {what} raised {type(error).__name__}: {message}") from error


def _place(error: BaseException, path: Path) -> str:
    """The last line of the job file the exception went through."""
    own = str(path.absolute())
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Split `--flag text`, `--flag=text` and `--flag` into flag and text."""
    rest = list(arguments)
    while rest:
        flag, equals, text = rest.pop(0).partition("=")
        if not flag.startswith("--") or flag == "--":
            raise UserError(
                f"unexpected argument {flag!r}: a job's parameters are given as --name value"
            )
        if equals:
            yield flag, text
        elif rest and not rest[0].startswith("--"):
            yield flag, rest.pop(0)
        else:
            yield flag, None
