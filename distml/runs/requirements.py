"""What a saved model needs to be loaded: the libraries and versions, and whether they are here.

The one decision: needs are read off the stored content, which names every module it will ask for;
nobody keeps a list by hand. Versions are compared only as far as they matter (`_MATTERS`).
"""

import contextlib
import io
import json
import pickle
import pickletools
import platform
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any

__all__ = ["requirements", "requirements_text", "what_is_missing"]

_ALWAYS = ("numpy", "pyarrow", "scikit-learn", "scipy", "joblib", "threadpoolctl")
"""Every model: our own code, and scikit-learn with what it computes with."""

_ALSO = {
    "skops": ("skops",),
    "pickle": ("cloudpickle",),
    "pandas": ("pandas",),
    "distml.ensemble": ("cloudpickle", "psutil"),
    "distml.train": ("safetensors", "torch"),
    "distml.train.readers.Text": ("sentencepiece",),
}
"""Form of a part, what it is given, or room or class of ours it is from → what that needs."""

_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
_STAND_INS = {"xgboost": ("xgboost-cpu",)}
"""Distribution → others that bring the same package in the same versions."""

_OURS = frozenset({"distml", "distml_job", "__main__"})

_MATTERS = {
    "scikit-learn": 2,
    "xgboost": 2,
    "distml": 2,
    "numpy": 1,
    "python": 2,
}
"""How many leading numbers of a version must agree.

scikit-learn, XGBoost and distml itself change the attributes of their estimators between minor
versions, and scikit-learn says that a model may then silently predict something else; NumPy changes
its stored form between major ones. Python counts only for a pickle, which may hold its bytecode.
Whatever else may differ shows in the golden rows.
"""


def requirements(parts: Iterable[tuple[str, bytes]], takes: str) -> dict[str, str]:
    """Find out what a model needs.

    Args:
        parts: form (`"skops"` or `"pickle"`) and content of each stored part.
        takes: what the model is given, `"arrow"` or `"pandas"`.

    Returns:
        Distribution → version installed here, sorted; `distml` and `python` among them.

    Raises:
        Nothing.
    """
    parts = list(parts)
    classes = {name for stored, content in parts for name in _classes(stored, content)}
    traits = {takes, *(stored for stored, _ in parts), *classes}
    traits.update(".".join(name.split(".")[:2]) for name in classes)
    names = {*_ALWAYS, *(name for trait in traits for name in _ALSO.get(trait, ()))}
    names.update(_distributions({name.partition(".")[0] for name in classes}))
    found = {name: _version(name) for name in sorted({"distml", *names})}
    needed = {name: version for name, version in found.items() if version is not None}
    return {**needed, "python": platform.python_version()}


def requirements_text(needed: Mapping[str, str], wheel: str) -> str:
    """Write `requirements.txt`.

    Args:
        needed: what `requirements` gave.
        wheel: file name of distml's own wheel beside it.

    Returns:
        Its text; paths in it are relative to the folder pip is called in.

    Raises:
        Nothing.
    """
    pins = [f"{name}=={needed[name]}" for name in needed if name not in ("distml", "python")]
    head = f"# Python {needed['python']}. Run in this folder: pip install -r requirements.txt"
    return "\n".join([head, *pins, f"./{wheel}", ""])


def what_is_missing(needed: Mapping[str, str], *, pickled: bool) -> list[str]:
    """Compare what a model needs with what is here.

    Args:
        needed: what `requirements` gave where the model was saved.
        pickled: whether a part is a pickle.

    Returns:
        Differences that matter, such as `"scikit-learn 1.8.0 (here 1.9.1)"`.

    Raises:
        Nothing.
    """
    differences = []
    for name, wanted in needed.items():
        here = platform.python_version() if name == "python" else _version(name)
        if here is None:
            differences.append(f"{name} {wanted} (here none)")
        elif (name != "python" or pickled) and not _alike(name, wanted, here):
            differences.append(f"{name} {wanted} (here {here})")
    return differences


def _alike(name: str, wanted: str, here: str) -> bool:
    count = _MATTERS.get(name, 0)
    return wanted.split(".")[:count] == here.split(".")[:count]


def _version(distribution: str) -> str | None:
    for name in (distribution, *_STAND_INS.get(distribution, ())):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name).partition("+")[0]
    return None


def _distributions(packages: set[str]) -> Iterator[str]:
    """The distributions that packages come from; Python's own and ours come from none."""
    for package in packages - _OURS - sys.stdlib_module_names:
        name = _DISTRIBUTIONS.get(package, package)
        if _version(name) is not None:
            yield name
        else:
            # A third of a second, since it reads the file list of everything installed.
            yield from metadata.packages_distributions().get(package, ())[:1]


def _classes(stored: str, content: bytes) -> set[str]:
    """The modules that a stored part names, and in them the classes, of ours at least."""
    if stored == "skops":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return set(_named(json.loads(archive.read("schema.json"))))
    # A pickle names them as texts. Others that look like one cost a line too many, no more.
    texts = set(_texts(content))
    modules = texts & sys.modules.keys()
    ours = {name for name in modules if name.startswith("distml.")}
    return modules | {f"{name}.{text}" for name in ours for text in texts & {*_defined(name)}}


def _defined(module: str) -> Iterator[str]:
    found = vars(sys.modules[module]).items()
    return (name for name, thing in found if getattr(thing, "__module__", None) == module)


def _named(node: Any) -> Iterator[str]:
    """Every `__module__` in the description of a skops file, with the class it is of."""
    if isinstance(node, dict):
        if isinstance(node.get("__module__"), str):
            yield f"{node['__module__']}.{node.get('__class__')}"
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _named(inner)


def _texts(content: bytes) -> Iterator[str]:
    """Every text in a pickle, without running it; pickles inside it are looked into too."""
    for code, argument, _ in pickletools.genops(content):
        if isinstance(argument, str):
            yield argument.partition(" ")[0] if code.name == "GLOBAL" else argument
        elif isinstance(argument, bytes) and argument[:1] == pickle.PROTO:
            try:
                yield from list(_texts(argument))
            except ValueError:
                continue
