"""What belongs to one thread (flags, open traces, pending tensors) and the one counter that all threads share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: A site that is known to be none; truthy, so that nobody searches for the user's frame.
NO_SITE = (None, 0)

#: A program that grows without being looked at is cut when it has this many pending tensors.
LONG = 1024


class ThreadState(threading.local):
    """Flags and registries of the running thread. Class attributes are the defaults of a new thread."""

    grad: bool = True  #: operations on tracked nodes are recorded for reverse mode
    active: int = (
        11  #: node flags that new nodes inherit: GRAD, TRACED, SPENT and one bit per running grad or jvp
    )
    ambient: int = 0  #: flags that every new node receives (TRACED while `compile` traces)
    tracing: int = (
        2  #: TRACED and one bit per open trace of a function body: flags that say nothing of derivatives
    )
    body: bool = (
        False  #: graph bodies are being built, which take on their residuals only when differentiated
    )
    site: Any = None  #: source line that new nodes take over; None means: find the user's frame
    eager: bool = False
    patience: int = (
        LONG  #: how many tensors may be pending before operations think of a flush; -1 in eager mode
    )
    backend: str = ""  #: what runs programs; `config` has the default
    debug_nan: bool = False
    looks: int = 0  #: how often the value of a tensor was asked for
    debug: int = 0

    def __init__(self) -> None:
        self.traces: list[Any] = []  # open traces, innermost last
        self.pending: list[Any] = []  # weak references to cells whose node has no value yet
        #: what was changed in place since the last flush: (cell, weakly; what it held; its place in `pending`)
        self.undo: list[tuple[Any, Any, int]] = []
        self.config: dict[str, Any] = {}
        # In the thread's own dictionary, for who holds that: it is looked at sooner than this object.
        self.grad, self.active, self.ambient = ThreadState.grad, ThreadState.active, ThreadState.ambient
        self.site, self.patience = ThreadState.site, ThreadState.patience


state = ThreadState()


@contextmanager
def isolated() -> Iterator[None]:
    """Build graph bodies free of the surrounding flags: gradients recorded, nothing traced, no user line."""
    saved = state.grad, state.active, state.ambient, state.site, state.body
    try:
        state.grad, state.active = True, state.active | ThreadState.active
        state.ambient, state.site, state.body = 0, NO_SITE, True
        yield
    finally:
        state.grad, state.active, state.ambient, state.site, state.body = saved


class Version:
    """A counter that moves whenever something changes that a compiled program may have assumed.

    A warm call of a compiled function compares one integer; only if it moved are the guards checked one by one.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def bump(self) -> None:
        self.value += 1


version = Version()
