"""The shape of the package, read from its source: imports, names, sizes, and the README's tree."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "distml"

# Module → what of distml it may import: downward only, and siblings do not know each other.
LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "job": {"errors"},
    "parameters": {"errors"},
    "machine": {"errors", "job"},
    "signals": set(),
    "rehearsal": set(),
    "jobfile": {"errors", "job", "parameters"},
    "data": {"errors"},
    "runs": {"errors", "job"},
    "session": {"errors"},
    # What tasks that do not know each other share: pieces of work over processes.
    "spread": {"errors", "session"},
    "logfile": {"errors", "runs"},
    "layout": set(),
    "terminal": {"jobfile", "layout", "parameters", "runs"},
    "fit": {"data", "errors", "job", "rehearsal", "runs", "spread"},
    "ensemble": {"data", "errors", "job", "rehearsal", "runs", "session", "spread"},
    "train": {"data", "errors", "job", "rehearsal", "runs", "session", "signals"},
    # Its trials are units of the ensembles' graph, which knows nothing of searches.
    "tune": {"data", "ensemble", "errors", "job", "rehearsal", "runs", "session"},
    "launch": {"errors", "job", "runs"},
    "predict": {"data", "errors", "job", "runs", "spread"},
    "searchline": {"errors"},
    "preflight": {"errors", "runs", "session"},
    "nodewatch": {"errors", "job", "preflight", "runs"},
    "workerlog": {"runs"},
    "start": {"errors", "job", "jobfile", "machine", "rehearsal", "runs", "searchline"},
    "foresight": {"errors", "job", "machine", "rehearsal", "runs", "spread", "start"},
    "driver": {
        "errors",
        "foresight",
        "job",
        "logfile",
        "nodewatch",
        "preflight",
        "rehearsal",
        "report",
        "runs",
        "session",
        "signals",
        "start",
        "workerlog",
    },
    "interactive": {
        "driver",
        "errors",
        "job",
        "logfile",
        "machine",
        "report",
        "runs",
        "signals",
    },
    # What a command starts beside runs; none knows a task.
    "foreseen": {"layout", "runs"},
    "report": {"errors", "foreseen", "layout", "runs"},
    "verbs": {
        "data",
        "errors",
        "job",
        "jobfile",
        "launch",
        "layout",
        "machine",
        "report",
        "runs",
        "terminal",
    },
    "cli": {"errors", "foreseen", "job", "jobfile", "launch", "runs", "terminal", "verbs"},
    "__main__": {"cli"},
}

# Module → the libraries it may import, beside Python's own. Modules not named here import none.
_NUMERIC = {"numpy", "pandas", "pyarrow", "scipy", "sklearn"}
LIBRARIES: dict[str, set[str]] = {
    "machine": {"psutil"},
    "data": _NUMERIC,
    # torch: only to name the content of a tensor that is there already
    "runs": _NUMERIC | {"cloudpickle", "psutil", "rich", "skops", "torch", "xgboost"},
    "session": {"ray"},
    "preflight": {"ray"},
    "spread": {"joblib", "ray", "threadpoolctl"},
    "logfile": set(),
    "fit": _NUMERIC | {"cloudpickle", "threadpoolctl"},
    "ensemble": _NUMERIC
    | {"cloudpickle", "joblib", "psutil", "ray", "rich", "threadpoolctl", "xgboost"},
    "train": _NUMERIC
    | {"cloudpickle", "keras", "ray", "safetensors", "sentencepiece", "threadpoolctl", "torch"},
    "tune": _NUMERIC | {"cloudpickle", "optuna", "ray", "threadpoolctl"},
    "launch": {
        "boto3",
        "botocore",
        "jsonschema",
        "kubernetes",
        "pathspec",
        "psutil",
        "pyarrow",
        "ray",
        "urllib3",
        "yaml",
    },
    "predict": {"pyarrow", "threadpoolctl"},
    "driver": {"ray"},
    "report": {"jinja2", "markupsafe", "vl_convert"},
    "verbs": {"click", "packaging", "psutil", "pyarrow"},
    "cli": {"click"},
}

BANNED_NAMES = {"base", "common", "core", "helper", "helpers", "misc", "util", "utils"}

# Files over 300 lines, each with its reason.
LONG_FILES: dict[str, str] = {
    "distml/data/split.py": "the four rules and the split of them share their hashes and masks",
}


def source_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """The entry of the layer table that a file belongs to: its top-level package or module."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each module that a file imports, and the line; `from distml import x` is `distml.x`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level + (node.module or ""), node.lineno
            elif node.module == "distml":
                for alias in node.names:
                    yield f"distml.{alias.name}", node.lineno
            else:
                yield node.module or "", node.lineno


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def each_file(*, but: str | None = None) -> pytest.MarkDecorator:
    """Parametrise a test with every source file, except that of one module."""
    paths = [path for path in source_files() if module_of(path) != but]
    return pytest.mark.parametrize("path", paths, ids=name_of)


def test_layer_table_names_every_module_that_exists() -> None:
    modules = {module_of(path) for path in source_files()} - {"__init__"}
    assert modules <= LAYERS.keys()
    assert LIBRARIES.keys() <= LAYERS.keys()


def test_layer_table_has_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(LAYERS):
        free = {name for name, below in LAYERS.items() if name not in done and below <= done}
        assert free, f"a circle among {sorted(LAYERS.keys() - done)}"
        done |= free


# The root knows every public name; it resolves them lazily.
@each_file(but="__init__")
def test_imports_point_downward(path: Path) -> None:
    module = module_of(path)
    for name, line in imports(parse(path)):
        assert not name.startswith("."), f"{name_of(path)}:{line}: relative import"
        assert name != "distml", (
            f"{name_of(path)}:{line}: imports the root package inside the package"
        )
        top, _, rest = name.partition(".")
        if top == "distml":
            below = rest.split(".")[0]
            assert below in LAYERS[module] | {module}, (
                f"{name_of(path)}:{line}: {module} may not import {below}"
            )
        elif top not in sys.stdlib_module_names:
            assert top in LIBRARIES.get(module, ()), (
                f"{name_of(path)}:{line}: {module} may not import {top}"
            )


@each_file()
def test_file_is_named_for_what_it_holds_and_is_short(path: Path) -> None:
    relative = path.relative_to(PACKAGE).with_suffix("")
    assert not BANNED_NAMES & {part.strip("_") for part in relative.parts}
    num_lines = len(path.read_text(encoding="utf-8").splitlines())
    if name_of(path) in LONG_FILES:
        assert num_lines > 300, "no longer long: take it off the list"
    else:
        assert num_lines <= 300, f"{num_lines} lines: split it, or name the reason in LONG_FILES"


def test_list_of_long_files_names_files_that_exist() -> None:
    assert [name for name in LONG_FILES if not (ROOT / name).is_file()] == []


@each_file()
def test_nobody_asks_which_launcher_it_is(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            assert "Launcher" not in ast.unparse(node.args[1]), f"{name_of(path)}:{node.lineno}"


@each_file(but="session")
def test_ray_starts_in_session_only(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert re.search(r"\bray\.init\(|from ray import .*\binit\b", source) is None


@each_file(but="__main__")
def test_public_names_are_declared_and_resolve(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    # The __init__ of a package whose modules are imported by their own names may declare nothing.
    declared = getattr(module, "__all__", [] if path.name == "__init__.py" else None)
    assert declared is not None, f"{name_of(path)} declares no __all__"
    assert [public for public in declared if not hasattr(module, public)] == []
    assert len(set(declared)) == len(declared)


def test_importing_distml_loads_no_heavy_library() -> None:
    heavy = ("ray", "torch", "sklearn", "pandas", "pyarrow", "xgboost", "numpy")
    code = f"import sys, distml; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def readme_tree() -> list[str]:
    """The files in the tree that the README draws of `distml/`, as paths from the repository."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```[a-z]*\ndistml/.*?^```", text, re.DOTALL | re.MULTILINE)
    assert block is not None, "README.md draws no tree that begins with distml/"
    folders, files = ["distml"], []
    for line in block.group().splitlines():
        entry = re.match(r"((?:│   |    )*)[├└]── (\S+)", line)
        if entry is None:
            continue
        depth, name = len(entry[1]) // 4 + 1, entry[2]
        if name.endswith("/"):
            folders[depth:] = [name.rstrip("/")]
        else:
            files.append("/".join([*folders[:depth], name]))
    return files


def test_readme_draws_the_tree_as_it_is() -> None:
    # The line of a folder stands for its __init__.py.
    real = [name_of(p) for p in source_files() if p.name != "__init__.py" or p.parent == PACKAGE]
    assert sorted(readme_tree()) == sorted(real)
