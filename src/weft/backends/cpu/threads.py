"""The thread pool: Python threads that enter the native worker loop once and stay there."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportAssignmentType=false

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

from ...base.errors import ArgumentError
from ...runtime.os import cpu_count, sleep_calls
from . import driver
from .jit import Library, host_target

_RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
_WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _library() -> Library:
    module = ir.Module("driver")
    driver.emit_driver(module, host_target())
    return Library(module, host_target())


@cache
def run_function() -> Any:
    """run(pool or None, steps, count, tables)."""
    return _RUN(_library().address("run"))


class Pool:
    """Workers that help whoever calls `run`; one caller at a time, others run alone."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.lock = threading.Lock()
        self.process = os.getpid()
        raw = np.zeros(driver.WORDS + 8, np.int64)
        skip = -(raw.ctypes.data // 8) % 8
        self._words = raw[skip : skip + driver.WORDS]
        calls = sleep_calls()
        if calls is not None:
            self._words[driver.SYSCALL : driver.SYSCALL + 3] = calls
        self.address = self._words.ctypes.data
        work = _WORK(_library().address("work"))
        for i in range(threads - 1):
            threading.Thread(target=work, args=(self.address,), name=f"weft-{i + 1}", daemon=True).start()
        _kept.append(self)

    def stop(self) -> None:
        """Let the workers leave. They do when they next wake."""
        self._words[driver.QUIT] = 1


_kept: list[Pool] = []  # workers read a pool's memory as long as the process lives
_pool: Pool | None = None
_wanted: int | None = None


def num_threads() -> int:
    """How many threads programs use."""
    if _wanted is not None:
        return _wanted
    given = os.environ.get("WEFT_NUM_THREADS")
    if given:
        with contextlib.suppress(ValueError):
            if int(given) >= 1:
                return int(given)
        raise ArgumentError(f"WEFT_NUM_THREADS must be a positive integer, got {given!r}")
    return cpu_count()


def set_num_threads(count: int) -> None:
    """Use `count` threads from now on. Results do not depend on it, to the bit."""
    global _wanted, _pool
    if not isinstance(count, int) or count < 1:
        raise ArgumentError(f"the number of threads must be a positive integer, got {count!r}")
    if _pool is not None and _pool.threads != count:
        _pool.stop()
        _pool = None
    _wanted = count


def pool() -> Pool | None:
    """The pool of this process, started when first needed; None where one thread does everything."""
    global _pool
    if num_threads() == 1:
        return None
    if _pool is None or _pool.process != os.getpid():  # after a fork there are no workers
        _pool = Pool(num_threads())
    return _pool


def run(steps: int, count: int, tables: int) -> None:
    """Run a program: on the pool if it is free, else on this thread alone."""
    found = pool()
    if found is not None and found.lock.acquire(blocking=False):
        try:
            run_function()(found.address, steps, count, tables)
        finally:
            found.lock.release()
    else:
        run_function()(None, steps, count, tables)
