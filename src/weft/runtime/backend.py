"""What a backend is: something that turns a graph into an executable program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from ..base.errors import BackendError, WeftError, nearest
from ..ir.graph import Graph
from .buffer import Buffer, Value

#: No outputs that replace inputs.
NOTHING: Mapping[int, int] = MappingProxyType({})


class Fault(Exception):
    """A node of a running program failed; the executor turns it into the error and the user's line."""

    def __init__(self, position: int, error: WeftError) -> None:
        super().__init__(str(error))
        self.position = position
        self.error = error


class Observer(Protocol):
    """Follows a running program, where that was asked for."""

    def __call__(self, position: int, arrays: Sequence[np.ndarray]) -> None:
        """The node at that position of `graph.nodes` has these results."""
        ...

    def within(self, graph: Graph, arrays: Sequence[np.ndarray]) -> Observer:
        """One for the body of a loop or branch, run on `arrays`."""
        ...


class Executable(Protocol):
    """A program for one graph, with all dimensions known."""

    def run(self, inputs: Sequence[Value], observe: Observer | None = None) -> list[Buffer]:
        """Compute the outputs. Inputs stay intact; a failing node raises `Fault` and nothing is written."""
        ...

    def standing(
        self, steady: Collection[int] = (), replaced: Mapping[int, int | None] = NOTHING
    ) -> Standing | None:
        """The program laid out for calls that follow one another; None where it cannot be, or is not worth it.

        `steady` are the numbers of inputs that seldom change; `replaced` those of outputs, each with that of the input
        whose place it is to take, or None if it takes that of something that the program does not read."""
        ...


class Early(Executable, Protocol):
    """A program that was made without much ado."""

    runs: int  #: after how many it is worth compiling the graph


class Standing(Protocol):
    """A program that is laid out in memory, for runs that follow one another.

    What has been said of an input or output counts until something else is said. Outputs must not lie where inputs do,
    since an interrupted run leaves parts of them; but those `in_place` must lie where what they replace does.
    They are written by `last`, after a run has succeeded. Not for use by two threads at a time.
    """

    in_place: frozenset[int]  #: the numbers of outputs that are written over what they replace
    #: what writes them: at most one foreign call, which no signal cuts in two
    last: Sequence[Callable[[], Any]]
    held: Sequence[Any]  #: the memory that `last` needs

    def see(self, steady: Sequence[Value]) -> bool:
        """Say what the steady inputs are; True if they may be others than in the run before, and have to be placed."""
        ...

    def set_pool(self) -> None:
        """Run on the threads that there are now, if these are others than before."""
        ...

    def place(self, k: int, address: int) -> None:
        """Say where the k-th input is."""
        ...

    def place_number(self, k: int, value: bool | int | float | complex) -> None:
        """Give a Python number as the k-th input."""
        ...

    def place_output(self, k: int, address: int) -> None:
        """Say where the k-th output goes."""
        ...

    def take(self, k: int) -> Buffer:
        """Memory for the k-th output."""
        ...

    def run(self) -> int | None:
        """Compute the outputs, but for those in place. Anything but None: it failed; an ordinary run will fail in the
        same way and say how."""
        ...

    def leave(self) -> None:
        """Say that `last` has been called, or will not be: memory that it needs is free."""
        ...


class Backend(Protocol):
    """A device's way to run graphs. Everything above it is the same for all backends."""

    name: str

    def compile(self, graph: Graph, recurs: bool = False, steady: Collection[int] = ()) -> Executable:
        """Make a graph, all of whose dimensions are known, ready to run; often, if it is known that it `recurs`.

        The inputs with the numbers `steady` seldom change from run to run: what is made of them alone may be kept.
        An error that is the backend's own may have a `position`: that of the node it is about."""
        ...

    def at_once(self, graph: Graph) -> Early | None:
        """Something that runs a graph, with the same results to the bit, until it is known to recur; None where to
        compile it takes no longer. It is not observed."""
        ...

    def describe(self) -> str:
        """The device, in a few words."""
        ...


_factories: dict[str, Callable[[], Backend]] = {}
_loaded: dict[str, Backend] = {}


def register_backend(name: str, factory: Callable[[], Backend]) -> None:
    """Make a backend available under `name`; it is built when it is first used."""
    _factories[name] = factory


def get_backend(name: str) -> Backend:
    """The backend called `name`."""
    found = _loaded.get(name)
    if found is None:
        if name not in _factories:
            raise BackendError(f"there is no backend {name!r}. {nearest(name, _factories)}")
        found = _loaded[name] = _factories[name]()
    return found
