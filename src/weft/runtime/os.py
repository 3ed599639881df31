"""The one place that knows operating systems: how a thread sleeps and is woken, how many processors there are."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

#: By machine: the numbers of the system calls futex and sched_yield.
_CALLS = {"x86_64": (202, 24), "aarch64": (98, 124)}


def sleep_calls() -> tuple[int, int, int] | None:
    """(address of libc's `syscall`, number of futex, of sched_yield) where native threads can use them, else None."""
    numbers = _CALLS.get(platform.machine())
    if sys.platform != "linux" or numbers is None:
        return None
    syscall = ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p).value
    return (syscall, *numbers) if syscall else None


def cpu_count() -> int:
    """How many processors this process may use: its affinity mask, and the quota of its control group."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(count, quota)) if quota else max(1, count)


def _cgroup_quota() -> int | None:
    """The control group's limit in whole processors, rounded up; None where there is none."""
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as f:
            limit, period = f.read().split()
        return None if limit == "max" else -(-int(limit) // int(period))
    except (OSError, ValueError):
        pass
    try:
        with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", encoding="ascii") as f:
            limit_us = int(f.read())
        with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us", encoding="ascii") as f:
            period_us = int(f.read())
        return -(-limit_us // period_us) if limit_us > 0 else None
    except (OSError, ValueError):
        return None
