"""Digests of code: functions and classes by what they do, not by where they stand.

The one decision: code of installed libraries and of Python itself is named (its version belongs in
the key beside it), code of the user is read: bytecode, constants, defaults, closures, the globals
it uses, and for a class everything along its bases that are the user's. So changing a helper that
an estimator's method calls changes the estimator's digest; changing a comment, a line number or the
file's name does not. A changed docstring does: bytecode does not tell it from any other constant.
"""

import dis
import functools
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

__all__ = [
    "class_parts",
    "closure_parts",
    "function_parts",
    "is_installed",
    "module_parts",
    "qualified_name",
]

_GENERATED = frozenset({
    "__module__", "__dict__", "__weakref__", "__annotations__", "__annotate__", "__annotate_func__",
    "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__dataclass_fields__",
    "__dataclass_params__", "__abstractmethods__", "_abc_impl", "__parameters__", "__orig_bases__",
})  # fmt: skip
"""Class attributes that Python derives from the rest, or that say where a class stands."""


def function_parts(function: FunctionType) -> tuple[object, ...]:
    """What determines a user's function.

    Args:
        function: a Python function that is not installed.

    Returns:
        Its code, defaults, closure values and the globals it uses, to be digested in turn.

    Raises:
        Nothing.
    """
    names = sorted(set(_global_names(function.__code__)) & function.__globals__.keys())
    return (
        _code_parts(function.__code__),
        function.__defaults__,
        function.__kwdefaults__,
        closure_parts(function),
        {name: function.__globals__[name] for name in names},
    )


def closure_parts(function: FunctionType) -> tuple[object, ...]:
    """What a function has closed over.

    Args:
        function: a Python function.

    Returns:
        The values, in the order of the code's free variables; `None` for one not bound yet.

    Raises:
        Nothing.
    """
    return tuple(_cell_value(cell) for cell in function.__closure__ or ())


def class_parts(cls: type) -> tuple[object, ...]:
    """What determines a user's class.

    Args:
        cls: a class that is not installed.

    Returns:
        For each class along its bases, its name if it is installed, else its attributes.

    Raises:
        Nothing.
    """
    return tuple(
        qualified_name(base) if is_installed(base) else (base.__qualname__, _attributes(base))
        for base in cls.__mro__
    )


def module_parts(module: ModuleType) -> tuple[object, ...]:
    """What determines a module that a user's code refers to.

    Args:
        module: any module.

    Returns:
        The name of an installed module, the source text of the user's.

    Raises:
        Nothing.
    """
    file = getattr(module, "__file__", None)
    if is_installed_module(module.__name__) or file is None:
        return (module.__name__,)
    try:
        return (Path(file).read_bytes(),)
    except OSError:
        return (module.__name__,)


def qualified_name(thing: Any) -> str:
    """`package.module.Class.method`.

    Args:
        thing: a class, function or builtin.

    Returns:
        Its dotted name.

    Raises:
        Nothing.
    """
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", repr(type(thing)))
    return f"{getattr(thing, '__module__', None) or 'builtins'}.{name}"


def is_installed(thing: Any) -> bool:
    """Whether a class or function comes from an installed package or from Python itself.

    Args:
        thing: a class or function.

    Returns:
        True unless it is the user's.

    Raises:
        Nothing.
    """
    name = getattr(thing, "__module__", None)
    if not isinstance(name, str):
        return not hasattr(thing, "__code__")
    return is_installed_module(name)


def _attributes(cls: type) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(cls).items()
        # Slots show up as descriptors without content; their names are in `__slots__`.
        if name not in _GENERATED and type(value).__name__ != "member_descriptor"
    }


def _code_parts(code: CodeType) -> tuple[object, ...]:
    consts = tuple(
        _code_parts(const) if isinstance(const, CodeType) else const for const in code.co_consts
    )
    return (
        code.co_code,
        consts,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        getattr(code, "co_exceptiontable", b""),
    )


def _global_names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _global_names(const)


def _cell_value(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet: a function that refers to itself while it is being made
        return None


@functools.cache
def is_installed_module(name: str) -> bool:
    root = name.partition(".")[0]
    if name == "__main__":
        return False
    # Our own code counts as installed, even from a working tree: its version is in the key.
    if root == __name__.partition(".")[0]:
        return True
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None:  # built in, frozen, or a module made by hand
        return root in sys.stdlib_module_names or getattr(module, "__spec__", None) is not None
    path = Path(file).resolve()
    return any(path.is_relative_to(folder) for folder in _installed_folders())


@functools.cache
def _installed_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [path for name in names if (path := sysconfig.get_paths().get(name))]
    return tuple(
        Path(folder).resolve()
        for folder in (*folders, *site.getsitepackages(), site.getusersitepackages())
    )
