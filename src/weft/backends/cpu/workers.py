"""Compiling many kernels at once: helper processes beside this one, since LLVM works under one lock in each.

Helpers are plain children that run `compiling.py`, fed through pipes; they live for one batch. They take the largest
kernels, this process the smallest. Whatever happens to them, the batch ends: what a helper did not finish is compiled
here. None survives the batch: they are killed at its end, and if this process is, their input ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import llvmlite

from ...kernel.target import Target
from ...runtime.threads import get_num_threads
from . import compiling
from .compiling import ANSWER, REQUEST
from .jit import compiler

#: Characters of code that take about as long to compile as a helper takes to start, and that one is started for.
_WORTH = 200_000

#: Seconds to wait for a helper's last answer before the work is done here.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Job:
    """A module to compile."""

    key: str
    text: str
    effort: int  #: one of `compiling`'s


def compile_all(jobs: Sequence[Job], target: Target, verify: bool = False) -> dict[str, bytes]:
    """Object code of every job, by its key."""
    batch = _Batch(jobs, target, verify)
    size = sum([len(j.text) for j in jobs])
    count = min(get_num_threads() - 1, size // _WORTH - 1, len(jobs) - 1)
    try:
        if count > 0:
            batch.start(count)
        batch.work()
    finally:
        batch.stop()
    return batch.done


class _Batch:
    def __init__(self, jobs: Sequence[Job], target: Target, verify: bool) -> None:
        self.jobs = jobs
        self.waiting = deque(sorted(jobs, key=lambda j: len(j.text)))
        self.done: dict[str, bytes] = {}
        self.compiler = compiler(target)
        self.arguments = [self.compiler.triple, target.cpu, target.features]
        self.verify = verify
        self.helpers: list[subprocess.Popen[bytes]] = []
        self.feeders: list[threading.Thread] = []

    def start(self, count: int) -> None:
        """Start helpers, if this system can."""
        if not sys.executable or "python" not in os.path.basename(sys.executable).lower():
            return  # a program that Python is built into
        libraries = str(Path(llvmlite.__file__).parent.parent)
        command = [sys.executable, "-P", compiling.__file__, libraries, *self.arguments]
        try:
            for _ in range(count):
                helper = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
                self.helpers.append(helper)
                feeder = threading.Thread(target=self._feed, args=(helper,), name="weft-compile", daemon=True)
                feeder.start()
                self.feeders.append(feeder)
        except (OSError, RuntimeError):
            pass  # no more processes or threads are to be had: those that there are will do

    def work(self) -> None:
        """Compile here what no helper has taken, and then what they did not finish."""
        self._take_all()
        end = time.monotonic() + _PATIENCE
        for helper, feeder in zip(self.helpers, self.feeders, strict=False):
            while feeder.is_alive() and helper.poll() is None and time.monotonic() < end:
                feeder.join(0.05)
            feeder.join(0.5)
        self.waiting.extend([j for j in self.jobs if j.key not in self.done and j not in self.waiting])
        self._take_all()

    def _take_all(self) -> None:
        while True:
            try:
                job = self.waiting.popleft()
            except IndexError:
                return
            self.done[job.key] = self.compiler.object_code(job.text, job.effort, self.verify)

    def _feed(self, helper: subprocess.Popen[bytes]) -> None:
        """Give a helper one job after the other, the largest first."""
        assert helper.stdin is not None and helper.stdout is not None
        while True:
            try:
                job = self.waiting.pop()
            except IndexError:
                return
            try:
                text = job.text.encode()
                helper.stdin.write(REQUEST.pack(len(text), job.effort, self.verify) + text)
                helper.stdin.flush()
                (length,) = ANSWER.unpack(_exactly(helper, ANSWER.size))
                code = _exactly(helper, length)
            except (OSError, ValueError):
                code = b""
            if not code:
                self.waiting.appendleft(job)
                return
            self.done[job.key] = code

    def stop(self) -> None:
        """Let no helper live on."""
        for helper in self.helpers:
            helper.kill()
        for feeder in self.feeders:
            feeder.join(0.5)  # its pipe has ended
        for helper in self.helpers:
            helper.wait()
            for pipe in (helper.stdin, helper.stdout):
                assert pipe is not None
                try:
                    pipe.close()
                except OSError:  # what was written last has nobody to read it
                    pass


def _exactly(helper: subprocess.Popen[bytes], count: int) -> bytes:
    assert helper.stdout is not None
    data = helper.stdout.read(count)
    if len(data) < count:
        raise OSError("a helper ended in the middle of its answer")
    return data
