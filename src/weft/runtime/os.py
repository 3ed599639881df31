"""The one place that knows operating systems: how a thread sleeps and is woken, how many processors there are."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

#: futex(2) by machine: (number of the system call, WAIT | PRIVATE, WAKE | PRIVATE)
_FUTEX = {"x86_64": 202, "aarch64": 98}
FUTEX_WAIT = 0 | 128
FUTEX_WAKE = 1 | 128


def futex_call() -> tuple[int, int] | None:
    """(address of libc's `syscall`, number of futex) where native threads can sleep on an address, else None."""
    number = _FUTEX.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return None
    syscall = ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p).value
    return (syscall, number) if syscall else None


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
