"""Does a machine have what distml needs? Checks as functions of facts, each with how to mend.

One decision: nothing in here looks at the machine. Whoever calls brings the facts, so that every
verdict can be tested on any machine. A warning is what makes work slow or may fail later; a problem
is what makes it fail.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Check",
    "State",
    "check_clock",
    "check_gpus",
    "check_packages",
    "check_python",
    "check_ray",
    "check_text",
]

State = Literal["ok", "warning", "problem"]

_MOST_SKEW_S = 5.0
_NOT_YET = 1_750_000_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What was found of one need."""

    name: str
    """The need, in a word or two."""
    state: State
    """Whether it is met."""
    found: str
    """What there is."""
    mend: str = ""
    """What to do about it; empty if it is well."""


def check_text(check: Check, width: int) -> str:
    """A check as lines: state, name, what there is; below, how to mend it.

    Args:
        check: the check.
        width: columns of the terminal.

    Returns:
        One line, or more on a narrow terminal.
    """
    head = f"{check.state:<9}{check.name:<15}"
    told = [head + check.found, *([f"{'':<9}mend: {check.mend}"] if check.mend else [])]
    return "\n".join(
        textwrap.fill(line, max(width, 30), subsequent_indent=" " * 11, break_on_hyphens=False)
        for line in told
    )


def check_python(version: str, wanted: str) -> Check:
    """Python's version against the package's own range.

    Args:
        version: such as `3.11.9`.
        wanted: such as `>=3.11`.

    Returns:
        A problem if it is outside.
    """
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Check(name="python", state="ok", found=version)
    mend = f"make a virtual environment with Python {wanted} and install distml there"
    return Check(name="python", state="problem", found=f"{version}, not {wanted}", mend=mend)


def check_packages(wanted: Sequence[str], installed: Mapping[str, str]) -> Check:
    """The packages that distml requires against what is installed.

    Args:
        wanted: requirements of the package's metadata, such as `ray[default]>=2.60,<2.61`.
        installed: name, as the requirement spells it → version.

    Returns:
        A problem that names all that are missing or of another version.
    """
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in wanted]
    needed = [r for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [
        (f"{r.name} {installed.get(r.name, 'is missing')}", f"'{r.name}{_extras(r)}{r.specifier}'")
        for r in needed
        if r.name not in installed or not r.specifier.contains(installed[r.name], prereleases=True)
    ]
    if not wrong:
        return Check(name="packages", state="ok", found=f"{len(needed)} of the versions needed")
    found, mend = (", ".join(words) for words in zip(*wrong, strict=True))
    mend = "pip install " + mend.replace(", '", " '")
    return Check(name="packages", state="problem", found=found, mend=mend)


def check_clock(now_s: float, storage_s: float | None) -> Check:
    """This machine's clock against sense, and against the storage's.

    Args:
        now_s: Unix seconds here.
        storage_s: Unix seconds of the storage at that moment; `None` if it is not known.

    Returns:
        A problem if the clock is years slow, a warning if the two differ.
    """
    mend = "set the clock, for instance by starting chronyd or systemd-timesyncd"
    if now_s < _NOT_YET:
        return Check(name="clock", state="problem", found="years behind", mend=mend)
    if storage_s is None:
        return Check(name="clock", state="ok", found="plausible; not compared with the storage's")
    skew = now_s - storage_s
    found = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the storage's"
    if abs(skew) <= _MOST_SKEW_S:
        return Check(name="clock", state="ok", found="the same as the storage's")
    return Check(name="clock", state="warning", found=found, mend=mend)


def check_gpus(nodes: int, smi: str | None, torch: str | None) -> Check:
    """GPUs, if there are any: nothing here needs one.

    Args:
        nodes: devices there are.
        smi: what `nvidia-smi` lists, a line each; empty if it failed, `None` without the command.
        torch: what torch says of CUDA: its version, `none` for a build without, empty if it fails.

    Returns:
        A warning if there is one that cannot be used.
    """
    if smi is None and not nodes:
        return Check(name="gpu", state="ok", found="none; nothing here needs one")
    if not smi:
        mend = "look at `nvidia-smi`: reinstall the driver, or start the container with --gpus all"
        return Check(name="gpu", state="warning", found="the driver does not answer", mend=mend)
    found = "; ".join(line.strip() for line in smi.splitlines())
    if torch and torch != "none":
        return Check(name="gpu", state="ok", found=f"{found}; torch has CUDA {torch}")
    why = "torch is built without CUDA" if torch == "none" else "torch cannot use it"
    mend = "install a build of torch for the CUDA that nvidia-smi shows; until then CPUs are used"
    return Check(name="gpu", state="warning", found=f"{found}; {why}", mend=mend)


def check_ray(works: bool, words: str, seconds: float) -> Check:
    """Whether Ray starts and runs a task.

    Args:
        works: whether the task gave its answer.
        words: the last line of what went wrong.
        seconds: how long it took.

    Returns:
        A problem if it does not.
    """
    if works:
        return Check(
            name="ray", state="ok", found=f"started, ran a task and stopped: {seconds:.1f} s"
        )
    mend = (
        "mend the problems above first; then look into RAY_TMPDIR/ray/session_latest/logs, and "
        "unset RAY_ADDRESS if no such cluster is meant; --on debug needs no Ray"
    )
    return Check(name="ray", state="problem", found=words or "the task gave no answer", mend=mend)


def _extras(requirement: object) -> str:
    extras = ",".join(sorted(getattr(requirement, "extras", ())))
    return f"[{extras}]" if extras else ""
