"""The one place that knows operating systems: how a thread sleeps and is woken, how many processors there are."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

#: By machine: the numbers of the system calls futex and sched_yield.
_CALLS = {"x86_64": (202, 24), "aarch64": (98, 124)}


def sleep_calls() -> tuple[int, int, int] | None:
    """(address of libc's `syscall`, number of futex, of sched_yield) where native threads can use them, else None."""
    numbers = _CALLS.get(platform.machine())
    if sys.platform != "linux" or numbers is None:
        return None
    syscall = ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p).value
    return (syscall, *numbers) if syscall else None


#: On x86-64: the number of the system call arch_prctl, its request for a part of the processor's state, and the part
#: that tile registers (AMX) are.
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18


def allow_matrices() -> bool:
    """Ask the system for registers that are matrices; whether this process, with all its threads, may use them.

    They are eight times as large as all others together, so Linux keeps room for them only where it has been asked.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0


def nap_call() -> tuple[int, int] | None:
    """(address of a function that sleeps, what to give it for a fraction of a millisecond), for all other systems.

    A thread that cannot be woken looks again after every nap.
    """
    name, time = ("Sleep", 1) if sys.platform == "win32" else ("usleep", 200)
    try:
        library = ctypes.CDLL("kernel32" if sys.platform == "win32" else None)
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    except (AttributeError, OSError):
        return None
    return (address, time) if address else None


def cpu_count() -> int:
    """How many processors this process may use: its affinity mask, and the quota of its control groups."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, min(count, quota)) if quota else max(1, count)


def cgroup_quota(root: Path = Path("/")) -> int | None:
    """The limit of this process's control groups in whole processors, rounded up; None where there is none.

    A group is limited by its own quota and by those of all groups around it. `root` is where the system's files are.
    """
    quotas = [q for group in _groups(root) if (q := _quota(group)) is not None]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the groups that limit this process's processors, those around them too.

    Of version 2 there is one tree, of version 1 one for each controller. A tree may be mounted in part: then its
    folder shows the group that the mount begins at.
    """
    mounts = _lines(root / "proc/self/mountinfo")
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version2 = number == "0" and not controllers
        if not version2 and "cpu" not in controllers.split(","):
            continue
        for begin, folder in _mounted(mounts, version2):
            inside = os.path.relpath(path, begin) if path.startswith(begin) else "."
            group = root / folder.lstrip("/") / inside
            yield group
            for _ in Path(inside).parts:
                group = group.parent
                yield group


def _mounted(mounts: list[str], version2: bool) -> Iterator[tuple[str, str]]:
    """(group that the mount begins at, folder) of the mounted trees of a version."""
    for line in mounts:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        wanted = kind[0] == "cgroup2" if version2 else kind[0] == "cgroup" and "cpu" in kind[2].split(",")
        if wanted:
            yield fields[3], fields[4]


def _quota(group: Path) -> int | None:
    """What one group's own files say, in either version's form."""
    v2 = _lines(group / "cpu.max")
    if v2:
        limit, _, period = v2[0].partition(" ")
    else:
        limit, period = (
            (_lines(group / f"cpu.cfs_{name}_us") or [""])[0].strip() for name in ("quota", "period")
        )
    try:
        quota, length = int(limit), int(period)
    except ValueError:  # "max", or no such file
        return None
    return -(-quota // length) if quota > 0 and length > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
