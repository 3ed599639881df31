"""What a worker process runs: it gets a dataset and then, one after the other, jobs, and answers with batches.

Messages to a worker begin with a letter: `P` (payload: the worker's number in 4 bytes and a pickled `Setup`), `J` (a
job: the number of the iteration in 8 bytes and the pickled job), `S` (say where you are). Answers are pickled tuples
(kind, iteration, batch number, content).
"""

from __future__ import annotations

import io
import os
import pickle
import queue
import sys
import threading
import time
import traceback
import types
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from ..arrays.tensor import Tensor
from ..base.errors import DataError
from . import wire
from .dataset import IterableDataset, to_tensor
from .fetch import End, Fetcher, StreamReader
from .randomness import WORKER, Scope
from .sending import Answer, unpack
from .shuffle import raw

#: Seconds that a worker may go on after its loader is gone.
GRACE = 2.0


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker process knows of itself: its number `id` of `num_workers`, a `seed` of its own for this epoch, its
    copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


@dataclass(frozen=True)
class Setup:
    """What every worker of a loader is told at its start."""

    dataset: Any
    collate_fn: Any
    worker_init_fn: Any
    seed: int
    batched: bool
    drop_last: bool
    num_workers: int


class _Here:
    """The worker that this process is."""

    inside = False
    info: WorkerInfo | None = None
    asked = False  #: whether anybody wanted to know
    shared: StreamReader | None = None  #: the stream of which this worker skips what is other workers'


def get_worker_info() -> WorkerInfo | None:
    """In a worker process, its `WorkerInfo`; None in the process that iterates over the loader.

    An `IterableDataset` that asks before its first sample (or a `worker_init_fn` that asks for it) shares the stream
    out itself.
    """
    if _Here.shared is not None and _Here.shared.reading:
        raise DataError(
            "the stream asks for get_worker_info() after its first sample, when every worker was to skip what is "
            "others'; to share it out itself, it must ask before"
        )
    _Here.asked = True
    return _Here.info


def inside_worker() -> bool:
    """Whether this process is a worker."""
    return _Here.inside


def main(reader: BinaryIO, writer: io.RawIOBase) -> None:
    """Run until the loader is gone. The first thing in a worker process that is Weft's."""
    _Here.inside = True
    # Not the few lines that started this process, but the place of what is sent of the main script.
    sys.modules["__main__"] = types.ModuleType("__main__")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        _Worker(reader, writer).run()
    except wire.Closed:
        pass


class _Worker:
    def __init__(self, reader: BinaryIO, writer: io.RawIOBase) -> None:
        self.reader, self.writer = reader, writer
        self.inbox: queue.SimpleQueue[tuple[memoryview, list[Any]] | None] = queue.SimpleQueue()
        self.writing = threading.Lock()
        self.latest = 0  #: number of the iteration that jobs are still wanted of
        self.main = threading.get_ident()
        self.fetcher: Fetcher | None = None
        self.setup: Setup | None = None
        self.number = 0
        self.iteration = -1
        self.own_shares = False  #: whether the stream knows which samples are this worker's
        threading.Thread(target=self._listen, daemon=True).start()
        if hasattr(os, "getppid"):
            threading.Thread(target=self._watch_parent, args=(os.getppid(),), daemon=True).start()

    # -- beside the work ------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Take messages in; when there will be no more, see to it that this process ends."""
        try:
            while True:
                body, buffers = wire.read(self.reader)
                if body[:1] == b"S":
                    self._say_where()
                    continue
                if body[:1] == b"J":
                    self.latest = max(self.latest, int.from_bytes(body[1:9], "little"))
                self.inbox.put((body, buffers))
        except wire.Closed:
            pass
        finally:
            self._end()

    def _watch_parent(self, parent: int) -> None:
        """The pipe's end tells that the loader is gone, unless another child of its process holds the pipe open."""
        while os.getppid() == parent:
            time.sleep(1.0)
        self._end()

    def _end(self) -> None:
        self.inbox.put(None)
        time.sleep(GRACE)  # most often the interpreter ends meanwhile
        os._exit(1)

    def _say_where(self) -> None:
        frame = sys._current_frames().get(self.main)
        text = "".join(traceback.format_stack(frame)) if frame is not None else ""
        if self.writing.acquire(timeout=0.5):
            try:
                wire.write(self.writer, pickle.dumps(("where", 0, 0, text)))
            finally:
                self.writing.release()

    # -- the work -------------------------------------------------------------------------------------------

    def run(self) -> None:
        while (message := self.inbox.get()) is not None:
            body, buffers = message
            if body[:1] == b"P":
                if not self._start(body[1:], buffers):
                    return
                continue
            iteration = int.from_bytes(body[1:9], "little")
            if iteration == self.latest:
                self._work(iteration, body[9:])

    def _start(self, body: memoryview, buffers: list[Any]) -> bool:
        try:
            self.number = int.from_bytes(body[:4], "little")
            s = self.setup = unpack(body[4:], buffers)
            self.fetcher = Fetcher(s.dataset, s.collate_fn, s.seed, batched=s.batched, drop_last=s.drop_last)
            self._introduce(0)
            _Here.asked = False
            if s.worker_init_fn is not None:
                # The numbers drawn here are the same in every run; what is drawn later has scopes of its own.
                Scope(s.seed, WORKER, self.number).__enter__()
                s.worker_init_fn(self.number)
            self.own_shares = _Here.asked
        except BaseException as e:
            self._send("failed", 0, 0, _described(e))
            return False
        self._send("ready", 0, 0, None)
        return True

    def _introduce(self, epoch: int) -> None:
        assert self.setup is not None
        s = self.setup
        seed = int(raw(1, s.seed, epoch, WORKER, self.number)[0]) >> 1
        _Here.info = WorkerInfo(self.number, s.num_workers, seed, s.dataset)

    def _work(self, iteration: int, body: memoryview) -> None:
        assert self.fetcher is not None and self.setup is not None
        number = 0
        try:
            job = pickle.loads(body)
            number = job.number
            if iteration != self.iteration:
                self._begin(iteration, job.epoch)
            if self.own_shares:
                # Batch number n is this worker's own batch number n // num_workers.
                job = replace(job, first=number // self.setup.num_workers * job.indices)
            batch = self.fetcher.fetch(job)
        except BaseException as e:
            self._send("error", iteration, number, _described(e))
            return
        if isinstance(batch, End):
            self._send("end", iteration, number, self.own_shares)
        else:
            self._send("batch", iteration, number, batch)

    def _begin(self, iteration: int, epoch: int) -> None:
        assert self.fetcher is not None and self.setup is not None
        self.iteration = iteration
        self._introduce(epoch)
        if isinstance(self.setup.dataset, IterableDataset):
            stream = StreamReader(self.setup.dataset, self.setup.seed, epoch)
            _Here.asked, _Here.shared = False, None
            stream.start()
            self.own_shares = self.own_shares or _Here.asked
            _Here.shared = None if self.own_shares else stream
            self.fetcher.begin(stream)

    def _send(self, kind: str, iteration: int, number: int, content: Any) -> None:
        file = io.BytesIO()
        buffers: list[pickle.PickleBuffer] = []
        try:
            _Answer(file, 5, buffer_callback=buffers.append).dump((kind, iteration, number, content))
            views = [b.raw() for b in buffers]
        except Exception as e:
            e.add_note("while the batch was sent to the process of the loader")
            file, views = io.BytesIO(), []
            pickle.Pickler(file, 5).dump(("error", iteration, number, _described(e)))
        with self.writing:
            wire.write(self.writer, file.getvalue(), views)


class _Answer(Answer):
    """Tensors go as the memory of their values."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is Tensor and not obj.requires_grad:
            return to_tensor, (obj.numpy(),)
        return super().reducer_override(obj)


def _described(error: BaseException) -> tuple[str, str, bytes | None]:
    """An error as its one-line summary, its traceback, and itself if it can be sent."""
    text = "".join(traceback.format_exception(error))
    summary = "".join(traceback.format_exception_only(error)).strip().splitlines()[0]
    try:
        file = io.BytesIO()
        Answer(file, 5).dump(error)
        whole = file.getvalue()
        pickle.loads(whole)
    except Exception:
        whole = None
    return summary, text, whole
