"""Is there enough of everything? Memory, CPUs, disks, shared memory, open files, names of sockets.

One decision: as in `health`, facts come in and a verdict goes out. The limits are those below which
Ray and a small job fail (a problem) or begin to suffer (a warning).
"""

from distml.verbs.health import Check, State

__all__ = [
    "check_cpus",
    "check_disk",
    "check_memory",
    "check_open_files",
    "check_shared_memory",
    "check_socket_folder",
    "size",
]

_GIB = 1 << 30
_LEAST_MEMORY, _LITTLE_MEMORY = _GIB // 2, 2 * _GIB
_LEAST_DISK, _LITTLE_DISK = _GIB // 2, 5 * _GIB
_OBJECT_STORE_SHARE = 0.3
_OPEN_FILES = 4096
_SOCKET_NAME = "/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
_LONGEST_SOCKET = 107


def check_memory(available_bytes: int, total_bytes: int, limit_bytes: int | None) -> Check:
    """Memory that is free.

    Args:
        available_bytes: what can be had now.
        total_bytes: what this process may use at all.
        limit_bytes: limit of the control group, if there is one.

    Returns:
        A problem under half a GiB, a warning under two.
    """
    limit = f" (limit of the container or job: {size(limit_bytes)})" if limit_bytes else ""
    found = f"{size(available_bytes)} free of {size(total_bytes)}{limit}"
    raise_limit = "raise the limit, or " if limit_bytes else ""
    mend = f"{raise_limit}end what else uses memory: Ray alone takes about 1 GiB"
    state = _graded(available_bytes, _LEAST_MEMORY, _LITTLE_MEMORY)
    return Check(name="memory", state=state, found=found, mend="" if state == "ok" else mend)


def check_cpus(usable: int, there: int) -> Check:
    """CPUs that may be used.

    Args:
        usable: by affinity and quota.
        there: of the machine.

    Returns:
        A warning if there is only one.
    """
    found = f"{usable}" if usable >= there else f"{usable} of the machine's {there}"
    if usable > 1:
        return Check(name="cpus", state="ok", found=found)
    mend = "give the container or job more: fits run one after another on one"
    return Check(name="cpus", state="warning", found=found, mend=mend)


def check_disk(name: str, folder: str, free_bytes: int, total_bytes: int) -> Check:
    """Room where something is written.

    Args:
        name: what is written there.
        folder: where.
        free_bytes: room.
        total_bytes: size of the file system.

    Returns:
        A problem under half a GiB, a warning under five.
    """
    found = f"{size(free_bytes)} free of {size(total_bytes)} at {folder}"
    state = _graded(free_bytes, _LEAST_DISK, _LITTLE_DISK)
    mend = "" if state == "ok" else "free some room there, or choose another place"
    return Check(name=name, state=state, found=found, mend=mend)


def check_shared_memory(free_bytes: int | None, memory_bytes: int) -> Check:
    """`/dev/shm` against the object store that Ray will want: 30 % of the memory.

    Args:
        free_bytes: room in it; `None` on a system without one.
        memory_bytes: memory that may be used.

    Returns:
        A warning if the object store will go to the disk.
    """
    wanted = int(_OBJECT_STORE_SHARE * memory_bytes)
    if free_bytes is None:
        return Check(name="shared memory", state="ok", found="this system has no /dev/shm")
    found = f"{size(free_bytes)} free in /dev/shm, Ray's object store wants {size(wanted)}"
    if free_bytes >= wanted:
        return Check(name="shared memory", state="ok", found=found)
    gib = -(-wanted // _GIB)
    mend = f"start the container with --shm-size={gib}g, or mount -o remount,size={gib}g /dev/shm"
    return Check(name="shared memory", state="warning", found=found, mend=mend)


def check_socket_folder(folder: str) -> Check:
    """Ray's temporary folder: sockets are made below it, whose names may not be long.

    Args:
        folder: where Ray puts its session.

    Returns:
        A problem if its name is too long.
    """
    room = _LONGEST_SOCKET - len(_SOCKET_NAME)
    found = f"{folder} ({len(folder)} characters of at most {room})"
    if len(folder) <= room:
        return Check(name="ray's folder", state="ok", found=found)
    mend = "name a shorter one: export RAY_TMPDIR=/tmp"
    return Check(name="ray's folder", state="problem", found=found, mend=mend)


def check_open_files(soft: int, hard: int) -> Check:
    """The limit of open files; Ray raises the soft one to the hard one itself.

    Args:
        soft: what holds now.
        hard: what it may be raised to; negative for no limit.

    Returns:
        A warning if it cannot be as high as Ray needs with many workers.
    """
    found = f"{soft}, up to {hard if hard >= 0 else 'any number'}"
    if hard < 0 or hard >= _OPEN_FILES:
        return Check(name="open files", state="ok", found=found)
    mend = "raise it: ulimit -n 65536, or in /etc/security/limits.conf"
    return Check(name="open files", state="warning", found=found, mend=mend)


def size(num_bytes: float) -> str:
    """An amount of bytes for people.

    Args:
        num_bytes: bytes.

    Returns:
        Such as `23.5 GiB`.
    """
    if num_bytes < _GIB:
        return f"{num_bytes / (1 << 20):.0f} MiB"
    return f"{num_bytes / _GIB:.1f} GiB"


def _graded(amount: float, least: float, little: float) -> State:
    return "problem" if amount < least else "warning" if amount < little else "ok"
