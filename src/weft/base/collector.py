"""The garbage collector, paused while much is made that is kept."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

from .locks import new_lock

_lock = new_lock(90)
_pauses = 0  #: how many blocks are inside; only if the collector was on before the first


@contextmanager
def paused() -> Iterator[None]:
    """Without cyclic garbage collection, in all threads; a collector that is off anyway stays so.

    To compile a program makes hundreds of thousands of objects, few of them garbage: the collector would go through
    them again and again.
    """
    global _pauses
    with _lock:
        ours = _pauses > 0 or gc.isenabled()
        _pauses += ours
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _pauses -= ours
            if ours and not _pauses:
                gc.enable()


def _after_fork() -> None:
    """The blocks of other threads end in the parent alone."""
    global _pauses
    if _pauses:
        _pauses = 0
        gc.enable()


os.register_at_fork(after_in_child=_after_fork)
