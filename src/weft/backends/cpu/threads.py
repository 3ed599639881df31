"""The thread pool: Python threads that enter the native worker loop once and stay there."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...base.locks import new_lock
from ...base.state import version
from ...runtime.os import nap_call, sleep_calls
from ...runtime.threads import get_num_threads
from . import driver, memory
from .jit import Library
from .library import runtime_library
from .pool import NAP, SYSCALL, THREADS, WORDS
from .processor import host_target

_INT, _PTR = ctypes.c_int64, ctypes.c_void_p
_RUN = ctypes.CFUNCTYPE(_INT, _PTR, _PTR, _INT, _PTR, _INT, _INT, _PTR, _PTR)
_NOW = ctypes.CFUNCTYPE(_INT)
_WORK = ctypes.CFUNCTYPE(None, _PTR, _PTR)
_STOP = ctypes.CFUNCTYPE(None, _PTR)
_TOUCH = ctypes.CFUNCTYPE(None, _PTR, _INT)

#: Bytes of scratch memory of a worker: nearly all kernels need less, and what is not used is not there.
_SCRATCH = 4 << 20


@cache
def _library() -> Library:
    return runtime_library(driver.emit_driver, driver.NAMES, host_target())


@cache
def run_function() -> Any:
    """run(pool or None, steps, count, tables, position, slice, times or None, scratch or None) -> position."""
    return _RUN(_library().address("run"))


_ENTER = ctypes.CFUNCTYPE(_INT, _PTR)


@cache
def enter_function() -> Any:
    """enter(words) -> position: as `run_function`, with the arguments in memory."""
    return _ENTER(_library().address("enter"))


@cache
def _stop_function() -> Any:
    """stop(pool)."""
    return _STOP(_library().address("stop"))


@cache
def touch_function() -> Any:
    """touch(memory, bytes): the pages of memory that begins at a multiple of 8 are there afterwards; what it holds
    stays, whoever writes there meanwhile."""
    return _TOUCH(_library().address("touch"))


#: Ticks after which a running program looks up.
SLICE = driver.SLICE_X86 if host_target().name.startswith("x86") else driver.SLICE_ARM


def _serve(pool: Pool) -> None:
    """What a worker does: the native loop, with scratch memory of its own.

    The frame holds all memory that the loop uses: where the interpreter's end cuts a thread off it is never cleared.
    """
    work = _WORK(_library().address("work"))
    block = memory.take_block(pool.scratch)
    work(pool.address, block[1])
    memory.give_back(block)


class Pool:
    """Workers that help whoever calls `run`; one caller at a time, others run alone."""

    def __init__(self, threads: int, scratch: int = _SCRATCH) -> None:
        """Each worker has so many bytes of scratch memory."""
        self.threads = threads
        self.scratch = scratch
        self.retired = False
        raw = np.zeros(WORDS + 8, np.int64)
        skip = -(raw.ctypes.data // 8) % 8
        self._words = raw[skip : skip + WORDS]
        calls = sleep_calls()
        if calls is not None:
            self._words[SYSCALL : SYSCALL + 3] = calls
        elif (nap := nap_call()) is not None:
            self._words[NAP : NAP + 2] = nap
        self._words[THREADS] = threads
        self.address = self._words.ctypes.data
        _library()  # made here, not by each worker
        for i in range(threads - 1):
            worker = threading.Thread(target=_serve, args=(self,), name=f"weft-{i + 1}", daemon=True)
            try:
                worker.start()
            except RuntimeError:  # the system allows no more; whoever runs a program can do all of it
                break

    def retire(self) -> None:
        """Let the workers leave; when the program that they are at is done, if there is one."""
        self.retired = True  # before the look whether a program runs: else its caller sees it afterwards
        _stop_function()(self.address)


_pool: Pool | None = None
_making = new_lock(rank=20)


def pool(scratch: int = 0) -> Pool | None:
    """The pool of this process, started when first needed; None where one thread does everything.

    Its workers have so many bytes of scratch memory, or more."""
    global _pool
    found, count = _pool, get_num_threads()
    if count == 1 and found is None:
        return None
    if found is not None and found.threads == count and found.scratch >= scratch:
        return found
    with _making:
        return _renewed(count, scratch)


def _renewed(count: int, scratch: int) -> Pool | None:
    global _pool
    found = _pool
    if found is not None and (found.threads != count or found.scratch < scratch):
        found.retire()
        found = _pool = None
        version.bump()  # programs that are laid out know it
    if found is None and count > 1:
        found = _pool = Pool(count, max(_SCRATCH, scratch))
    return found


def _after_fork() -> None:
    """In a child there are no workers."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Scratch(NamedTuple):
    """Memory of the calling thread for the kernels of a program, and how much each of the other threads needs."""

    address: int | None
    size: int


NO_SCRATCH = Scratch(None, 0)


def run(
    steps: int,
    count: int,
    tables: int,
    slice_: int | None = None,
    times: int | None = None,
    scratch: Scratch = NO_SCRATCH,
) -> None:
    """Run a program: on the pool if it is free, else on this thread alone.

    It runs in slices of time, between which Python handles signals: Ctrl-C raises here, and then no thread is at work
    on the program any more. With `slice_` 0 nothing comes in between. `times` is where the driver writes
    the steps' times.
    """
    found = pool(scratch.size)
    address = None if found is None else found.address
    if slice_ is None:
        slice_ = SLICE
    call, end = run_function(), count << 32
    try:
        position = call(address, steps, count, tables, 0, slice_, times, scratch.address)
        while position != end:
            position = call(address, steps, count, tables, position, slice_, times, scratch.address)
    finally:
        if found is not None and found.retired:
            found.retire()


@cache
def now() -> Callable[[], int]:
    """The clock that `times` are read from, in ticks."""
    return _NOW(_library().address("now"))


def moment() -> tuple[int, int]:
    """Now, as nanoseconds of `time.perf_counter_ns` and as ticks: of a few readings the one that took least."""
    clock, best, found = now(), 1 << 62, (0, 0)
    for _ in range(4):
        before, nanoseconds = clock(), time.perf_counter_ns()
        after = clock()
        if after - before < best:
            best, found = after - before, (nanoseconds, (before + after) // 2)
    return found


@cache
def nanoseconds_per_tick() -> float:
    """How fast the clock runs."""
    moment()
    began, first = moment()
    while time.perf_counter_ns() - began < 10_000_000:
        pass
    ended, last = moment()
    return (ended - began) / (last - first)
