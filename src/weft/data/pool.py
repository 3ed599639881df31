"""The worker processes of a loader, seen from the process of the loader.

Each worker is a child of its own with two pipes: one to it, written by a thread, and one from it, read by another. So
nothing that a worker does or fails to do can block the loader's own thread, which waits with a time limit for what
the readers put into one queue.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from ..base.config import config
from ..base.errors import DataError
from . import wire
from .fetch import Fetcher, Job
from .sending import pack
from .worker import GRACE, Setup

#: The first lines of a worker: its two pipes move out of the way of what the user's code reads and prints.
_START = """
import os, sys
nothing = os.open(os.devnull, os.O_RDWR)
while nothing < 3:  # there was no standard error output: now it is nothing
    nothing = os.dup(nothing)
given, taken = os.dup(0), os.dup(1)
os.dup2(nothing, 0)
os.dup2(2, 1)
import pickle
reader = open(given, "rb")
sys.path[:], sys.argv[:] = pickle.load(reader)
from weft.data.worker import main
main(reader, open(taken, "wb", 0))
"""

#: Libraries under NumPy take all cores by default; workers are one for each core already.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "WEFT_NUM_THREADS")


class Pool:
    """Worker processes that make batches of one dataset.

    Args:
        fetcher: what every worker does.
    """

    def __init__(self, fetcher: Fetcher, count: int, worker_init_fn: Any) -> None:
        setup = Setup(
            fetcher.dataset, fetcher.collate_fn, worker_init_fn, fetcher.seed,
            fetcher.batched, fetcher.drop_last, count,
        )  # fmt: skip
        payload = _packed(setup)
        self._served = fetcher.dataset, fetcher.collate_fn, fetcher.seed
        self._home = os.getpid()
        self._closed = False
        self.events: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self.iteration = 0
        self.broken = False
        self.workers: list[Worker] = []
        try:
            for number in range(count):
                self.workers.append(Worker(number, payload, self.events))
        except BaseException:
            self.close()
            raise

    def serves(self, fetcher: Fetcher) -> bool:
        """Whether the workers do what `fetcher` does, and all are well."""
        same = self._served[0] is fetcher.dataset and self._served[1:] == (fetcher.collate_fn, fetcher.seed)
        return same and not (self._closed or self.broken) and all(w.alive() for w in self.workers)

    def close(self) -> None:
        """Let the workers end: on their own if they do so soon, killed otherwise."""
        if self._closed or os.getpid() != self._home:
            return  # a fork's copy of this object owns no workers
        self._closed = True
        for w in self.workers:
            w.outbox.put(None)
        try:
            if sys.is_finalizing() or not threading.main_thread().is_alive():
                raise RuntimeError
            threading.Thread(target=_reap, args=(self.workers, GRACE), daemon=True, name="weft-data").start()
        except RuntimeError:  # the interpreter ends: no new threads
            _reap(self.workers, 0.0)


def _packed(setup: Setup) -> tuple[bytes, list[Any]]:
    """The setup as a message; what cannot be sent is named as the user knows it."""
    try:
        return pack(setup, "")
    except DataError:
        for name in ("dataset", "collate_fn", "worker_init_fn"):
            pack(getattr(setup, name), "the dataset" if name == "dataset" else name)
        raise


def _reap(workers: list[Worker], grace: float) -> None:
    end = time.monotonic() + grace
    for w in workers:
        try:
            w.process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            w.process.kill()
            w.process.wait()
        w.close()


class Worker:
    """One worker process and the threads that talk to it."""

    def __init__(self, number: int, payload: tuple[bytes, list[Any]], events: queue.SimpleQueue[Any]) -> None:
        self.number = number
        self.ready = False
        self.jobs: set[int] = set()  #: numbers of the batches that it owes
        self.outbox: queue.SimpleQueue[tuple[bytes, Any] | None] = queue.SimpleQueue()
        self.events = events
        self.process = _spawn()
        assert self.process.stdin is not None and self.process.stdout is not None
        wire.enlarge(self.process.stdout.fileno())
        body, buffers = payload
        self.outbox.put((b"P" + number.to_bytes(4, "little") + body, buffers))
        for target in (self._write, self._read):
            threading.Thread(target=target, daemon=True, name=f"weft-data-{number}").start()

    def ask(self, iteration: int, job: Job) -> None:
        """Have it make a batch."""
        self.jobs.add(job.number)
        self.outbox.put((b"J" + iteration.to_bytes(8, "little") + pickle.dumps(job, 5), ()))

    def ask_where(self) -> None:
        """Have it say where its code is."""
        self.outbox.put((b"S", ()))

    def alive(self) -> bool:
        return self.process.poll() is None

    def _write(self) -> None:
        """A thread: what is put into the outbox goes to the process; None ends it."""
        pipe = self.process.stdin
        assert pipe is not None
        try:
            start = [str(p) for p in sys.path], [str(a) for a in sys.argv]
            pipe.write(pickle.dumps(start))
            while (message := self.outbox.get()) is not None:
                wire.write(pipe, *message)
                del message
        except (wire.Closed, OSError, ValueError):
            pass  # the process has ended: the reader says so
        finally:
            try:
                pipe.close()
            except OSError:
                pass

    def _read(self) -> None:
        """A thread: what the process says becomes events; (number, None) is its end."""
        pipe = self.process.stdout
        assert pipe is not None
        try:
            while True:
                self.events.put((self.number, wire.read(pipe)))
        except wire.Closed:
            self.events.put((self.number, None))

    def close(self) -> None:
        """Close the pipe from the process, which has ended."""
        assert self.process.stdout is not None
        try:
            self.process.stdout.close()
        except (OSError, ValueError, RuntimeError):
            pass

    def fate(self) -> str:
        """How the process ended, for an error message."""
        try:
            code = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "closed its pipe but is still running; does its code close files that it has not opened?"
        if code >= 0:
            return (
                f"ended with exit code {code}; does its code call os._exit, or did it fail at its start? (then the "
                "reason is on the standard error output)"
            )
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"number {-code}"
        why = {
            "SIGKILL": "the system does so when memory runs out: use fewer workers or smaller batches",
            "SIGSEGV": "a library in C has a fault: try num_workers=0 and Python's -X faulthandler to find it",
            "SIGBUS": "a file that is mapped into memory has become shorter, or memory ran out",
            "SIGTERM": "somebody asked it to end",
        }.get(name, "")
        return f"was killed by the signal {name}" + (f"; {why}" if why else "")


def _spawn() -> subprocess.Popen[bytes]:
    if "py" not in os.path.basename(sys.executable or "").lower():
        raise DataError(
            f"worker processes need a Python interpreter, and this program runs in {sys.executable or 'none'}; use "
            "num_workers=0"
        )
    env = dict(os.environ)
    for name in _ONE_THREAD:
        env.setdefault(name, "1")
    env["WEFT_BACKEND"] = config.backend
    apart: dict[str, Any] = {}
    if os.name == "nt":
        apart["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined]
    else:
        apart["process_group"] = 0  # so that Ctrl-C reaches the loader's process alone
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    try:
        return subprocess.Popen(
            [sys.executable, *flags, "-P", "-c", _START],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, **apart,
        )  # type: ignore[return-value]  # fmt: skip
    except OSError as e:
        raise DataError(
            f"a worker process could not be started: {e}; use fewer workers, or num_workers=0"
        ) from e
