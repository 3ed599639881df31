"""Batches that worker processes make, in the order in which they were asked for."""

from __future__ import annotations

import math
import time
import warnings
import weakref
from collections import deque
from collections.abc import Iterator
from queue import Empty
from typing import Any

from ..base.errors import DataError, StateError
from .fetch import End, Job, shown_samples
from .pool import Pool, Worker
from .sending import unpack

#: Seconds that a worker may take for a batch where nobody has set a limit: longer is taken for a hang.
LIMIT = 300.0
#: Seconds after which a warning says where a worker is that has not answered.
_WARN_AFTER = 60.0
#: Seconds between looks at whether the workers still live.
_LOOK = 0.5
#: Seconds that a worker may take to start, at least, when there is a time limit.
_START_LIMIT = 60.0
#: Seconds to wait for a worker to say where it is.
_WHERE_LIMIT = 2.0


class Batches(Iterator[Any]):
    """One pass over a loader's batches."""

    def __init__(self, epoch: int, position: int) -> None:
        self.epoch = epoch
        self.position = position  #: number of the next batch
        self.exhausted = False
        self.samplers: dict[str, Any] = {}  #: states of the loader's samplers when the pass began


class _Failure:
    """What a worker raised for one batch."""

    def __init__(self, error: DataError) -> None:
        self.error: DataError | None = error

    def throw(self) -> None:
        # The error holds the frames that it passes through: none of them must hold the error, or the iterator and its
        # workers would live until the garbage collector comes along.
        error, self.error = self.error, None
        assert error is not None
        try:
            raise error
        finally:
            del error


class WorkerBatches(Batches):
    """Batches that the workers of `pool` make.

    Jobs are handed out ahead, `prefetch` for each worker, each to the worker that has the least to do; for a stream to
    the workers in turn, since each of them reads it on its own.
    """

    def __init__(
        self, pool: Pool, epoch: int, position: int, jobs: Iterator[Job],
        *, prefetch: int, timeout: float | None, keep: bool, stream: bool,
    ) -> None:  # fmt: skip
        super().__init__(epoch, position)
        self.owner: Any = None  #: what must live as long as this does
        self._pool = pool
        self._jobs = jobs
        self._limit = LIMIT if timeout is None else timeout or math.inf
        self._stream = stream
        self._keep = keep
        self._ahead = prefetch * len(pool.workers)
        pool.iteration += 1
        self._iteration = pool.iteration
        for w in pool.workers:
            w.jobs.clear()
        self._asked: deque[Job] = deque()  # in order, those not yet handed out
        self._whose: dict[int, Worker] = {}
        self._results: dict[int, Any] = {}
        self._ended: set[int] = set()  # workers whose part of the stream is at its end
        self._broken: str | None = None
        self._places: dict[int, str] = {}  # what workers that were asked where they are have said
        if not keep:
            self._close = weakref.finalize(self, pool.close)
        try:
            self._ask()
        except BaseException:
            self._release()
            raise

    def __next__(self) -> Any:
        if self._broken is not None:
            raise DataError(self._broken)
        if self.exhausted:
            raise StopIteration
        if self._pool.iteration != self._iteration:
            raise StateError(
                "the loader was iterated over anew, and its persistent workers make the batches of that iteration now"
            )
        try:
            result = self._next()
        except StopIteration:
            raise
        except BaseException as e:
            if isinstance(e, DataError):
                self._broken = str(e)
            else:
                self.exhausted = True  # an interrupt: there is nothing to go on with
            self._pool.broken = True
            self._release()
            raise
        if isinstance(result, _Failure):
            result.throw()  # the next batches may be well
        return result

    def _next(self) -> Any:
        while True:
            self._ask()
            if not self._asked:
                self.exhausted = True
                self._release()
                raise StopIteration
            number = self._asked[0].number
            if number not in self._results:
                self._wait(number)
            self._asked.popleft()
            result = self._results.pop(number)
            self._whose.pop(number, None)
            if isinstance(result, End):
                continue
            self.position = number + 1
            self._ask()
            return result

    def _release(self) -> None:
        if not self._keep:
            self._close()
        elif self._pool.broken:
            self._pool.close()

    # -- asking ---------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Hand jobs out until enough are under way."""
        workers = self._pool.workers
        while len(self._asked) < self._ahead and len(self._ended) < len(workers):
            job = next(self._jobs, None)
            if job is None:
                return
            if self._stream:
                worker = workers[job.number % len(workers)]
            else:
                worker = min(workers, key=lambda w: len(w.jobs))
            self._asked.append(job)
            if worker.number in self._ended:
                self._results[job.number] = End()
                continue
            self._whose[job.number] = worker
            worker.ask(self._iteration, job)

    # -- waiting --------------------------------------------------------------------------------------------

    def _wait(self, number: int) -> None:
        """Take events in until batch `number` is there."""
        worker = self._whose[number]
        ready, waited, warn_after = worker.ready, 0.0, _WARN_AFTER
        last = time.monotonic()
        while number not in self._results:
            if worker.ready and not ready:
                ready, waited = True, 0.0
            limit = self._limit if ready else max(self._limit, _START_LIMIT)
            try:
                patience = max(0.001, min(_LOOK, limit - waited))
                self._take(*self._pool.events.get(timeout=patience))
                continue
            except Empty:
                pass
            finally:
                # A computer that slept, or a process that was stopped, in between has not waited.
                now = time.monotonic()
                waited, last = waited + min(now - last, 2 * _LOOK), now
            for w in self._pool.workers:
                # The end of its pipe tells, unless a process that it started holds the pipe open.
                if w.jobs and not w.alive() and self._pool.events.empty():
                    raise self._death(w)
            if waited >= limit:
                self._give_up(worker, number, limit)
            elif waited >= warn_after:
                warn_after = math.inf
                self._warn(worker, number, waited, limit)

    def _give_up(self, worker: Worker, number: int, limit: float) -> None:
        """Raise because of a worker that has not answered in time; unless it does so now."""
        place = self._where(worker)
        if number in self._results:
            return
        raise DataError(
            f"{self._lateness(worker, number)} within the timeout of {limit:g} s; look at what it does, or give it "
            f"more time: timeout=seconds of the DataLoader, 0 for any time{place}"
        )

    def _warn(self, worker: Worker, number: int, waited: float, limit: float) -> None:
        """Say what the loop waits for."""
        place = self._where(worker)
        if number not in self._results:
            until = "for ever" if limit == math.inf else f"until {limit:g} s are over"
            warnings.warn(
                f"{self._lateness(worker, number)} for {waited:.0f} s; the loop goes on waiting {until}{place}",
                RuntimeWarning,
                stacklevel=5,
            )

    def _lateness(self, worker: Worker, number: int) -> str:
        if not worker.ready:
            return f"{self._name(worker)} has not started"
        job = next(j for j in self._asked if j.number == number)
        return f"{self._name(worker)} has not made batch {number}{shown_samples(job)}"

    def _where(self, worker: Worker) -> str:
        """Where the code of a worker is, if it answers. What else arrives meanwhile is taken in."""
        self._places.pop(worker.number, None)
        worker.ask_where()
        end = time.monotonic() + _WHERE_LIMIT
        while worker.number not in self._places and (left := end - time.monotonic()) > 0:
            try:
                self._take(*self._pool.events.get(timeout=left))
            except Empty:
                break
        if worker.number not in self._places:
            return (
                ". It does not say where it is: it is inside a call that keeps Python waiting, or was stopped"
            )
        return f". It is at:\n{self._places[worker.number]}"

    def _take(self, number: int, message: Any) -> None:
        worker = self._pool.workers[number]
        if message is None:
            if worker.jobs:
                raise self._death(worker)
            self._pool.broken = True
            return
        try:
            kind, iteration, batch, content = unpack(*message)
        except Exception as e:
            raise DataError(f"a batch of {self._name(worker)} cannot be read here: {e}") from e
        if kind == "ready":
            worker.ready = True
        elif kind == "failed":
            raise self._raised(worker, "at its start", content)
        elif kind == "where":
            self._places[number] = content
        elif iteration == self._iteration:
            worker.jobs.discard(batch)
            self._keep_result(worker, kind, batch, content)

    def _keep_result(self, worker: Worker, kind: str, batch: int, content: Any) -> None:
        if kind == "batch":
            self._results[batch] = content
        elif kind == "error":
            job = next((j for j in self._asked if j.number == batch), None)
            what = f"while it made batch {batch}{shown_samples(job)}"
            self._results[batch] = _Failure(self._raised(worker, what, content))
        else:
            self._results[batch] = End()
            # A stream that is not shared out by itself ends for all workers at once.
            self._ended |= {worker.number} if content else set(range(len(self._pool.workers)))

    # -- what goes wrong ------------------------------------------------------------------------------------

    def _name(self, worker: Worker) -> str:
        return f"worker {worker.number} of {len(self._pool.workers)} (process {worker.process.pid})"

    def _death(self, worker: Worker) -> DataError:
        first = min(worker.jobs)
        job = next((j for j in self._asked if j.number == first), None)
        return DataError(
            f"{self._name(worker)} {worker.fate()}. It was asked for batch {first}{shown_samples(job)}"
        )

    def _raised(self, worker: Worker, what: str, described: tuple[str, str, bytes | None]) -> DataError:
        summary, text, whole = described
        error = DataError(f"{self._name(worker)} raised {summary} {what}\n\nIn the worker:\n{text.rstrip()}")
        if whole is not None:
            try:
                error.__cause__ = unpack(whole, ())
            except Exception:
                pass
        return error
