"""Locks that survive `fork` and the end: nobody finds one taken by a thread that is not there any more."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any
from weakref import ref

#: Number -> rank and lock: locks are taken before a fork in the order of their ranks.
_known: dict[int, tuple[int, ref[Any]]] = {}
_numbers = itertools.count()
_newest = -1  #: what has been added last
_held: list[Any] = []

#: How long a fork waits for one lock. Nobody holds one for long, but a child with a lock too many beats a deadlock.
_PATIENCE = 10.0


_Reentrant: Any = type(threading.RLock())


class _Lock(_Reentrant):
    """Entered and left by the methods of its base, until the process is about to end."""


def _enter(lock: Any, ending: Callable[[], bool] = sys.is_finalizing) -> None:
    lock.acquire(not ending())


def _leave(lock: Any, *_: object) -> None:
    try:
        lock.release()
    except RuntimeError:  # it was entered all the same
        pass


@atexit.register
def _about_to_end() -> None:
    """Let finalisers run programs while the interpreter ends: who holds a lock then, a daemon thread that was cut off,
    never lets go of it, and nobody else runs."""
    _Lock.__enter__, _Lock.__exit__ = _enter, _leave


def new_lock(rank: int) -> Any:
    """A reentrant lock that is held across forks. Where locks are nested, the outer one has the smaller `rank`.

    Reentrant, because a signal handler or a finaliser may run anywhere, also where its thread holds the lock.
    """
    lock = _Lock()
    hold_across_forks(lock, rank)
    return lock


def hold_across_forks(lock: Any, rank: int) -> None:
    """The same for a reentrant lock that somebody else has made."""
    global _newest
    number = next(_numbers)
    _known[number] = rank, ref(lock, lambda _: _known.pop(number, None))
    _newest = number


def _before_fork() -> None:
    # One at a time: while this waits, whoever holds a lock may import modules that bring locks of their own.
    listed: set[int] = set()
    left: list[tuple[int, int, ref[Any]]] = []
    looked_at = -1
    while True:
        if looked_at != _newest:
            looked_at = _newest
            left += [(rank, n, r) for n, (rank, r) in list(_known.items()) if n not in listed]
            listed.update([n for _, n, _ in left])
            left.sort(key=lambda entry: entry[:2], reverse=True)
        if not left:
            return
        lock = left.pop()[2]()
        if lock is not None and lock.acquire(timeout=_PATIENCE):
            _held.append(lock)


def _after_fork() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
