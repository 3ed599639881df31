"""Programs: a graph made ready on a backend, and the cache that finds it again by its structure."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import cached_property
from heapq import nsmallest
from typing import Any

import numpy as np

from ..base import collector
from ..base.config import config
from ..base.errors import BackendError, IndexingError, NumericError, ShapeError, WeftError
from ..base.locks import new_lock
from ..base.site import describe_site
from ..base.state import isolated, state
from ..ir.graph import Graph, bind_dims, fresh_inputs, verify
from ..ir.node import Node
from ..ir.primitive import pick, pick_prim
from ..ir.shape import Dim, show_shape
from . import debug, profile
from .backend import NOTHING, Backend, Early, Executable, Fault, Standing, get_backend
from .buffer import Buffer, Value

#: The user's line of a node, by its number.
Sites = Callable[[int], Any]


class Program:
    """A graph with its executables: one, or one per binding of the graph's named dimensions.

    `recurs`: it is known to run many times, so that compiling for its own sizes pays from the start. `steady` are the
    numbers of the inputs that seldom change meanwhile. `sites(i)` is the user's line of node i, if not the one it was
    traced at. `resized`: there are such programs for several other sizes, and there may be more to come, so this one
    does not wait for code of its own.
    """

    def __init__(
        self,
        graph: Graph,
        name: str = "pending",
        recurs: bool = False,
        steady: Collection[int] = (),
        sites: Sites | None = None,
        resized: bool = False,
    ) -> None:
        if config.verify:
            verify(graph)
        self.graph = graph
        self.dims = graph.dims
        self.backend = get_backend(config.backend)
        self._steady = steady
        if state.debug:
            debug.say_once(1, f"programs are made for {self.backend.describe()}")
        if state.debug >= 3:
            debug.say(f"weft: the program {name!r}:\n{graph}")
        self.name = name
        self._early: Early | None = None
        self._early_runs = 0
        if not (recurs or self.dims or state.debug):
            self._early = self._made(graph, sites, lambda: self.backend.at_once(graph))
        self._static = (
            None if self.dims or self._early else self._compile(graph, recurs and not resized, sites)
        )
        self._bound = ProgramCache(limit=64) if self.dims else None  # by the sizes of the dimensions

    @cached_property
    def _tasks(self) -> tuple[profile.Task, profile.Task]:
        """Running and compiling it, as profiles show them."""
        return profile.Task("program", (self.name,)), profile.Task("compile", (self.name,))

    def run(self, inputs: Sequence[Value], sites: Sites | None = None) -> list[Buffer]:
        """Compute the outputs. `sites(i)` is the user's line of node i, if not the one it was traced at."""
        executable = self._static if self._static is not None else self._found(inputs, sites)
        start = time.perf_counter() if (debugged := state.debug) else 0.0
        try:
            observe = Watch(self.graph, inputs) if state.debug_nan else None
            if profile.recorder is None:
                outs = executable.run(inputs, observe)
            else:
                outs = profile.timed(self._tasks[0], lambda: executable.run(inputs, observe))
        except Fault as fault:
            raise _located(self._exact(fault, inputs), self.graph, sites) from None
        if debugged >= 2:
            self._report(time.perf_counter() - start)
        return outs

    def standing(
        self, steady: Collection[int] = (), replaced: Mapping[int, int | None] = NOTHING
    ) -> Standing | None:
        """The program laid out for calls that follow one another; None where it cannot be, or would show nothing.

        `steady` are the numbers of inputs that seldom change, `replaced` those of outputs and of the inputs whose
        places they take (None: of something that the program does not read)."""
        if self._static is None or state.debug or state.debug_nan:
            return None
        return self._static.standing(steady, replaced)

    def _exact(self, fault: Fault, inputs: Sequence[Value]) -> Fault:
        """The fault with the index that is wrong, where the backend knows only that one is: the reference looks for it,
        with zeros for everything that is no index."""
        node = self.graph.nodes[fault.position]
        if self.backend.name == "reference" or self.dims or type(fault.error) is not IndexingError:
            return fault
        reference = get_backend("reference")
        wanted = [a for a in node.args if a.dtype.kind in "ui"]
        try:
            found = iter(reference.compile(Graph(self.graph.inputs, wanted)).run(inputs))
            values = [
                next(found) if a in wanted else Buffer(np.zeros(a.shape, a.dtype.numpy)) for a in node.args
            ]  # type: ignore[arg-type]
            with isolated():
                stand_ins = fresh_inputs([a.aval for a in node.args])
                again = Node(node.sig, tuple(stand_ins), None, 0, None)
                out = pick(again, 0) if type(node.sig.out) is tuple else again
            reference.compile(Graph(stand_ins, [out])).run(values)
        except Fault as exact:
            if type(exact.error) is IndexingError:
                return Fault(fault.position, exact.error)
        return fault

    def _report(self, seconds: float) -> None:
        debug.say(
            f"weft: {self.backend.name} ran {self.name!r}, {len(self.graph.nodes)} nodes, "
            f"in {seconds * 1e3:.3f} ms"
        )

    def _found(self, inputs: Sequence[Value], sites: Sites | None) -> Executable:
        """What runs the graph, where that is not the same each time."""
        if self.dims:
            return self._specialized(inputs, sites)
        early, found = self._early, self._static  # another thread may have compiled it meanwhile
        self._early_runs += 1
        watched = state.debug or state.debug_nan or profile.recorder is not None
        if early is not None and self._early_runs <= early.runs and not watched:
            return early
        if found is None:
            found = self._static = self._compile(self.graph, False, sites)
            self._early = None
        return found

    def _specialized(self, inputs: Sequence[Value], sites: Sites | None) -> Executable:
        sizes = dim_sizes(self.graph, [v.array.shape if isinstance(v, Buffer) else () for v in inputs])
        key = tuple(sorted(sizes.items()))
        assert self._bound is not None
        return self._bound.get(key, lambda: self._compile(bind_dims(self.graph, sizes), False, sites))

    def _compile(self, graph: Graph, recurs: bool, sites: Sites | None) -> Executable:
        return self._made(graph, sites, lambda: self.backend.compile(graph, recurs, self._steady))

    def _made(self, graph: Graph, sites: Sites | None, make: Callable[[], Any]) -> Any:
        """What the backend makes of a graph, or an error that says where it failed."""
        try:
            with collector.paused():
                return make() if profile.recorder is None else profile.timed(self._tasks[1], make)
        except (WeftError, MemoryError):
            raise
        except Exception as error:
            if _is_from_a_signal(error):
                raise
            raise BackendError(_no_program(graph, self.backend, error, sites)) from error


class Watch:
    """Follows a running program and stops it at the first operation that makes a NaN or an infinity of operands
    that had none (a NaN of infinities counts as made)."""

    def __init__(self, graph: Graph, inputs: Sequence[Value | np.ndarray]) -> None:
        self.nodes = graph.nodes
        arrays = [v.array if isinstance(v, Buffer) else np.asarray(v) for v in inputs]
        self.badness: dict[Node, list[int]] = {
            n: [_badness(a)] for n, a in zip(graph.inputs, arrays, strict=True)
        }

    def within(self, graph: Graph, arrays: Sequence[np.ndarray]) -> Watch:
        """One that follows the body of a loop or branch."""
        return Watch(graph, arrays)

    def __call__(self, position: int, arrays: Sequence[np.ndarray]) -> None:
        node = self.nodes[position]
        if node.prim is pick_prim:
            self.badness[node] = [self.badness[node.args[0]][node.attrs["index"]]]
            return
        found = self.badness[node] = [_badness(a) for a in arrays]
        before = max([max(self.badness[a]) for a in node.args], default=0)
        if node.value is None and max(found, default=0) > before:
            what = "NaN" if max(found) == 2 else "infinity"
            types = ", ".join(x.describe() for x in node.sig.inputs)
            raise Fault(position, NumericError(f"{_title(node)} made the first {what} from operands {types}"))


def _badness(array: np.ndarray) -> int:
    """0 for finite numbers, 1 for an infinity among them, 2 for a NaN."""
    if array.dtype.kind in "biu" or np.all(np.isfinite(array)):
        return 0
    return 2 if np.any(np.isnan(array)) else 1


def _title(node: Node) -> str:
    return str(node.attrs.get("name", node.prim.name))


def _site(graph: Graph, i: int, sites: Sites | None) -> Any:
    return sites(i) if sites is not None else graph.nodes[i].site


def _is_from_a_signal(error: Exception) -> bool:
    """Whether a handler of a signal has raised the error, such as that of somebody's time limit."""
    import signal  # seldom wanted
    from traceback import walk_tb

    handlers = [signal.getsignal(s) for s in signal.valid_signals()]
    codes = {getattr(getattr(h, "__func__", h), "__code__", None) for h in handlers} - {None}
    return any(frame.f_code in codes for frame, _ in walk_tb(error.__traceback__))


def _no_program(graph: Graph, backend: Backend, error: Exception, sites: Sites | None) -> str:
    """What to say where a backend has failed to make a program of a graph that is as it should be."""
    made = {i: n for i, n in enumerate(graph.nodes) if n.args}
    names = list(dict.fromkeys([_title(n) for n in made.values()]))
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    position = getattr(error, "position", None)
    about = [position] if position in made else list(made)
    where = next((f" of {line}" for i in about if (line := describe_site(_site(graph, i, sites)))), "")
    if position in made:
        where += f", at {_title(made[position])}"
    return (
        f"the {backend.name} backend could not make a program of {len(made)} operations{where} ({shown}): "
        f"{type(error).__name__}: {error}. That is an error of Weft's, not of yours: please report it with the lines "
        "above. WEFT_BACKEND=reference in the environment runs the program nevertheless, slowly"
    )


def _located(fault: Fault, graph: Graph, sites: Sites | None) -> Exception:
    where = describe_site(_site(graph, fault.position, sites))
    return type(fault.error)(f"{fault.error}" + (f" (asked for at {where})" if where else ""))


def dim_sizes(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The sizes of the named dimensions, read off the shapes of the inputs.

    A name that stands alone somewhere is read there; 2*n+1 gives n where nothing else does.
    """
    sizes: dict[str, int] = {}
    pairs: list[tuple[Dim, int]] = []
    for aval, shape in zip(graph.in_avals, shapes, strict=True):
        if len(shape) != aval.ndim:
            raise ShapeError(f"an input of {aval.ndim} dimensions is expected, got shape {show_shape(shape)}")
        pairs += [(want, got) for want, got in zip(aval.shape, shape, strict=True) if isinstance(want, Dim)]
    for want, got in pairs:
        if want.terms == {(name := min(want.names),): 1} and sizes.setdefault(name, got) != got:
            raise ShapeError(f"dimension {name!r} is {sizes[name]} in one input and {got} in another")
    for _ in pairs:  # each round may make the next equation solvable
        for want, got in pairs:
            _solve(want, got, sizes)
    for aval, shape in zip(graph.in_avals, shapes, strict=True):
        bound = tuple([s if isinstance(s, int) else s.bind(sizes) for s in aval.shape])
        if bound != shape:
            raise ShapeError(
                f"an input of shape {show_shape(aval.shape)} is expected, got {show_shape(shape)}"
            )
    return sizes


def _solve(want: Dim, got: int, sizes: dict[str, int]) -> None:
    """Find the one unknown name of `want == got`, if there is just one and it occurs to the first power."""
    rest = want.bind(sizes) - got
    if isinstance(rest, Dim) and len(rest.names) == 1:
        (name,) = rest.names
        terms = dict(rest.terms)
        factor, constant = terms.pop((name,), 0), terms.pop((), 0)
        if factor and not terms and constant % factor == 0 and -constant // factor >= 0:
            sizes[name] = -constant // factor


class ProgramCache:
    """What was made for each structure, the least recently used dropped first.

    Keys may be long, and take time to hash: what is found is not moved to the end of a list, but stamped.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.hits = 0  #: flushes that found a program
        self.misses = 0  #: flushes that had one made
        self._found: dict[Hashable, _Entry] = {}
        self._now = 0
        self._lock = new_lock(rank=40)

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What is kept under `key`, made now if there is nothing. Threads may call it at the same time."""
        entry = self._found.get(key)
        if entry is None:
            entry = self._keep(key, make())
        self._now = entry.used = self._now + 1
        return entry.made

    def _keep(self, key: Hashable, made: Any) -> _Entry:
        # Made outside the lock: it may take long, and two threads that make the same do no harm.
        with self._lock:
            entry = self._found.setdefault(key, _Entry(made))
            entry.used = self._now + 1
            if len(self._found) > self.limit:
                count = (
                    len(self._found) - self.limit + self.limit // 8
                )  # some more, so that this is seldom done
                for old, _ in nsmallest(count, list(self._found.items()), _last_use):
                    self._found.pop(old, None)
        return entry

    def clear(self) -> None:
        self._found.clear()

    def __len__(self) -> int:
        return len(self._found)


class _Entry:
    """What was made for a structure, and when it was asked for last."""

    __slots__ = ("made", "used")

    def __init__(self, made: Any) -> None:
        self.made = made
        self.used = 0


def _last_use(item: tuple[Hashable, _Entry]) -> int:
    return item[1].used
