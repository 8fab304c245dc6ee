"""What Ray's workers print, for the run's log: whose it is, and without what Ray says itself.

One decision: Ray carries each worker's output to the driver; here it is given a mark and written to
this process's stdout, which goes to the run's log. Lines in the formats of Ray's own loggers are
left out, but for errors of its libraries; what the autoscaler does stays: it is why a run waits.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from distml.runs.voices import marked

__all__ = ["lines_of", "write_words"]

# `2026-11-27 12:00:00,123\tINFO worker.py:12 -- …`, as ray's and ray.train's loggers write.
_PYTHON = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\s(INFO|WARNING|DEBUG) \S+:\d+ -- ")
# `[2026-11-27 12:00:00,123 E 1 2] core_worker.cc:1: …`, as its C++ does.
_NATIVE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z] \d+ \d+\] ")
_PLACEMENT = re.compile(r"- \(?(ip|node_ip|world_rank|pid)=")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_EVENT = ":event_summary:"
"""Before what the autoscaler has to tell people."""
_FIT = "fit "


def write_words(data: Mapping[str, Any]) -> None:
    """Write what a worker printed to stdout, marked.

    Args:
        data: As Ray hands it over: `lines`, `pid`, `ip`, `task_name`, `actor_name`.
    """
    for line in lines_of(data):
        sys.stdout.write(line)


def lines_of(data: Mapping[str, Any]) -> Iterator[str]:
    """Lines for the log; none of what Ray says of itself."""
    pid = str(data.get("pid"))
    if pid in ("raylet", "gcs_server"):
        return
    if pid == "autoscaler":
        said = (str(line).partition(_EVENT) for line in data.get("lines") or ())
        yield from (marked(event, "cluster") for _, is_event, event in said if is_event)
        return
    who, within = _speaker(data, pid), False
    for line in data.get("lines") or ():
        plain = _COLOURS.sub("", str(line)).rstrip()
        if _PYTHON.match(plain) or _NATIVE.match(plain):
            within = True
            continue
        # The rest of such a message: where its workers are.
        within = within and _PLACEMENT.match(plain) is not None
        if plain and not within and not plain.startswith(":"):
            yield marked(plain, who)


def _speaker(data: Mapping[str, Any], pid: str) -> str:
    task = str(data.get("task_name") or "")
    if task.startswith(_FIT):
        return f"unit {task.removeprefix(_FIT)}"
    return f"worker {data.get('ip')} {pid}"
