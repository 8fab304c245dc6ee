"""Measure contenders side by side: the same work, one sitting, alternating order.

A contender runs in a process of its own (this script again, with `--contender NAME`), so that none
inherits another's imports, workers or memory. A benchmark is a function from a contender's name to
a dictionary of figures; what is printed and stored are medians over rounds, and ratios of medians.

Memory is the proportional set size (PSS) of the whole process tree: a page that several processes
share counts once, so neither Ray's object store nor joblib's memory maps can hide.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Figures", "MemoryWatch", "Rounds", "compare", "median", "seconds", "table", "write"]

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("joblib", "numpy", "ray", "scikit-learn", "xgboost")

MOST_BUSY_PERCENT = 10.0
"""Other work on the machine above which a comparison means nothing."""

Figures = Mapping[str, float]
Rounds = dict[str, list[dict[str, float]]]


def compare(
    contenders: Sequence[str],
    measure: Callable[..., Figures],
    *,
    rounds: int = 3,
    options: Mapping[str, Any] | None = None,
) -> tuple[Rounds, argparse.Namespace]:
    """Measure every contender `rounds` times; in a contender's process, measure it and exit.

    Args:
        contenders: names, in the order of the first round; the order turns with each round.
        measure: `measure(name, arguments)` gives the figures of one run.
        rounds: default of `--rounds`.
        options: further command-line options → default, an int or a text.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--contender", choices=contenders, help=argparse.SUPPRESS)
    for name, default in (options or {}).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    arguments = parser.parse_args()
    if arguments.contender:
        print(json.dumps(dict(measure(arguments.contender, arguments))))
        sys.exit(0)
    results: Rounds = {name: [] for name in contenders}
    for number in range(arguments.rounds):
        for name in contenders if number % 2 == 0 else reversed(contenders):
            busy = _busy_percent()
            results[name].append({**_run(name), "busy_before_percent": busy})
            print(f"round {number + 1}  {name}: {_brief(results[name][-1])}", file=sys.stderr)
    _warn_if_busy(results)
    return results, arguments


def _busy_percent(wait_s: int = 15) -> float:
    """What else the machine does, once what the contender before has left has ended."""
    for _ in range(wait_s):
        busy = psutil.cpu_percent(interval=1.0)
        if busy <= MOST_BUSY_PERCENT:
            break
    return busy


def _warn_if_busy(results: Rounds) -> None:
    """Say so where the machine had other work: Ray's workers are nice and yield to it first."""
    busiest = max(run["busy_before_percent"] for runs in results.values() for run in runs)
    if busiest > MOST_BUSY_PERCENT:
        print(f"NOT VALID: other work took {busiest:.0f} % of the machine", file=sys.stderr)


def _run(contender: str) -> dict[str, float]:
    command = [sys.executable, *sys.argv, "--contender", contender]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _brief(figures: Figures) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def median(results: Rounds, contender: str, figure: str) -> float:
    """Median of a contender's figure over its rounds."""
    return statistics.median(run[figure] for run in results[contender])


@contextmanager
def seconds(figures: dict[str, float], name: str = "seconds") -> Iterator[None]:
    """Put the wall time of the block into `figures`."""
    started = time.perf_counter()
    yield
    figures[name] = time.perf_counter() - started


@dataclass
class MemoryWatch:
    """Samples the memory of this process and its descendants while the block runs."""

    every_s: float = 0.1
    """Pause between samples."""
    base_bytes: int = 0
    """Before the block."""
    peak_bytes: int = 0
    """The most seen in the block."""
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "MemoryWatch":
        self.base_bytes = self.peak_bytes = tree_bytes()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def added_mb(self) -> float:
        """What the block added at its peak, in MB."""
        return (self.peak_bytes - self.base_bytes) / 1e6

    def _sample(self) -> None:
        while not self._done.wait(self.every_s):
            self.peak_bytes = max(self.peak_bytes, tree_bytes())


def tree_bytes() -> int:
    """PSS of this process and all its descendants."""
    me = psutil.Process()
    return sum(_pss(process.pid) for process in [me, *me.children(recursive=True)])


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0  # gone since it was listed
    return 0


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under a header, in aligned columns; numbers with three significant digits."""
    texts = [list(header)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in texts
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def write(name: str, ratios: Figures, results: object, **settings: object) -> Path:
    """Write `results/<name>.json`: the ratios, every run, and what it ran on."""
    content = {
        "benchmark": name,
        "ratios": {key: round(value, 4) for key, value in ratios.items()},
        "settings": settings,
        "machine": {
            "cpus": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in PACKAGES},
        },
        "runs": results,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
