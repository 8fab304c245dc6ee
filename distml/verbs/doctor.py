"""`distml doctor`: does this machine have what distml needs, and if not, how to mend it.

One decision: no check ends the others. A check that fails in an unforeseen way is itself a problem
that is shown, and Ray is tried in a process of its own, which cannot hang the doctor.
"""

import contextlib
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distml.errors import DistmlError
from distml.verbs.capacity import (
    check_cpus,
    check_disk,
    check_memory,
    check_open_files,
    check_shared_memory,
    check_socket_folder,
)
from distml.verbs.follow import width
from distml.verbs.health import (
    Check,
    check_clock,
    check_gpus,
    check_packages,
    check_python,
    check_ray,
    check_text,
)
from distml.verbs.options import storage_option

if TYPE_CHECKING:
    from distml.runs.store import RunStore

__all__ = ["checks", "command"]

_SHARED_MEMORY = Path("/dev/shm")
_RAY_TIMEOUT_S = 120.0
_TOOL_TIMEOUT_S = 60.0
_RAY_PROBE = """
from distml import session
session.connect(num_cpus=1)
import ray
print(ray.get(ray.remote(lambda: "well").remote()))
session.disconnect()
"""
_TORCH_PROBE = "import torch; print(torch.version.cuda if torch.cuda.is_available() else 'none')"


@click.command("doctor")
@storage_option
def command(storage: str) -> int:
    """Check that this machine and STORAGE have what distml needs, and say how to mend."""
    states = []
    for check in checks(storage):
        states.append(check.state)
        click.echo(check_text(check, width()))
    num_problems, num_warnings = states.count("problem"), states.count("warning")
    click.echo(f"\n{_counted(num_problems, 'problem')}, {_counted(num_warnings, 'warning')}")
    return 1 if num_problems else 0


def checks(storage: str) -> Iterator[Check]:
    """Check one need after another, the slow ones last.

    Args:
        storage: URI of the storage to try.

    Yields:
        A check each, whatever goes wrong with it.

    Raises:
        Nothing.
    """
    named: dict[str, Callable[[], Check]] = {
        "python": _python,
        "packages": _packages,
        "cpus": _cpus,
        "memory": _memory,
        "shared memory": _shared_memory,
        "open files": _open_files,
        "ray's folder": lambda: check_socket_folder(_ray_folder()),
        "ray's disk": lambda: _disk("ray's disk", Path(_ray_folder())),
        "storage's disk": lambda: _storage_disk(storage),
        "storage": lambda: _storage(storage),
        "clock": lambda: _clock(storage),
        "gpu": _gpus,
        "ray": _ray,
    }
    for name, check in named.items():
        try:
            yield check()
        except DistmlError as error:
            yield Check(name=name, state="problem", found=str(error))
        except Exception as error:
            found = f"cannot be checked ({type(error).__name__}: {' '.join(str(error).split())})"
            yield Check(name=name, state="problem", found=found)


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _python() -> Check:
    wanted = metadata.metadata("distml")["Requires-Python"]
    return check_python(platform.python_version(), wanted)


def _packages() -> Check:
    from packaging.requirements import Requirement

    wanted = metadata.requires("distml") or []
    return check_packages(wanted, dict(_versions(Requirement(text).name for text in wanted)))


def _versions(names: Iterator[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _cpus() -> Check:
    from distml.runs.provenance import host_facts

    return check_cpus(host_facts()["cpus"], os.cpu_count() or 1)


def _memory() -> Check:
    import psutil

    from distml.runs.provenance import memory_limit_bytes

    machine, limit = psutil.virtual_memory(), memory_limit_bytes()
    bound = limit if limit is not None and limit < machine.total else None
    return check_memory(
        min(machine.available, bound or machine.total), bound or machine.total, bound
    )


def _shared_memory() -> Check:
    from distml.runs.provenance import host_facts

    free = shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else None
    return check_shared_memory(free, host_facts()["memory_bytes"])


def _open_files() -> Check:
    import resource  # Unix alone has it

    return check_open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))


def _ray_folder() -> str:
    return os.environ.get("RAY_TMPDIR") or "/tmp"


def _disk(name: str, folder: Path) -> Check:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    usage = shutil.disk_usage(there)
    return check_disk(name, str(there), usage.free, usage.total)


def _storage_disk(storage: str) -> Check:
    path = storage.removeprefix("file://")
    if "://" in path:
        return Check(name="storage's disk", state="ok", found="not on this machine")
    return _disk("storage's disk", Path(path).expanduser())


def _storage(uri: str) -> Check:
    from distml.runs.storage import shown

    with _tried(uri) as store:
        started = time.perf_counter()
        store.check()
        seconds = time.perf_counter() - started
    found = f"{shown(uri)} gives back what is written, in {seconds:.2f} s"
    return Check(name="storage", state="ok", found=found)


def _clock(uri: str) -> Check:
    name = f"check-{secrets.token_hex(8)}"
    entry = None
    with contextlib.suppress(DistmlError), _tried(uri) as store:  # the storage's check says why
        store.storage.write(name, b"")
        entry = store.storage.stat(name)
        store.storage.delete(name)
    return check_clock(time.time(), entry.modified_at if entry else None)


@contextlib.contextmanager
def _tried(uri: str) -> "Iterator[RunStore]":
    """The storage; a local folder that was not there before is not there afterwards."""
    from distml.runs.store import RunStore

    store = RunStore(uri)
    folder = Path(store.uri.removeprefix("file://"))
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield store
    finally:
        if "://" not in str(folder):
            for path in made:
                with contextlib.suppress(OSError):
                    path.rmdir()


def _gpus() -> Check:
    from distml.machine import num_gpus

    nodes = num_gpus()
    if shutil.which("nvidia-smi") is None:
        return check_gpus(nodes, None if not nodes else "", None)
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    listed = _said(["nvidia-smi", *query])
    return check_gpus(
        nodes, listed, _said([sys.executable, "-c", _TORCH_PROBE]) if listed else None
    )


def _said(line: list[str]) -> str:
    """What a command prints; empty if it fails or hangs."""
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _ray() -> Check:
    """Start Ray and run a task, in a process that is ended if it hangs."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", _RAY_PROBE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as probe:
        try:
            output, errors = probe.communicate(timeout=_RAY_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            address = os.environ.get("RAY_ADDRESS")
            whose = f" from RAY_ADDRESS={address}" if address else ""
            output, errors = "", f"no answer in {_RAY_TIMEOUT_S:.0f} s{whose}"
        finally:
            _end(probe)
    words = (errors.strip().splitlines() or [""])[-1]
    return check_ray(output.strip().endswith("well"), words, time.perf_counter() - started)


def _end(probe: "subprocess.Popen[str]") -> None:
    """End a probe that hangs, and what it started."""
    if probe.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(probe.pid, signal.SIGKILL)
