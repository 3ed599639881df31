"""Tracing a function that reads and changes tensors outside it: what it captures, what it changes, what it assumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import ref

from ..base.errors import StateError, TraceError
from ..base.pytree import Structure, flatten, unflatten
from ..base.state import isolated, state, version
from ..ir.graph import Graph, extract, toposort
from ..ir.node import GRAD, LEAF, TRACED, Aval, Node
from ..ir.primitive import placeholder
from ..runtime.executor import realize
from .cell import Cell, flush
from .tensor import Tensor, WeakScalar
from .watch import Check, Watch


@dataclass(frozen=True)
class Static:
    """A leaf of a result that is not a tensor: returned as it was when the function was traced."""

    value: Any


class Life:
    """Whether a program may be used without a closer look: the version it was last found good at."""

    __slots__ = ("over", "patience", "ready", "served", "version", "waited", "__weakref__")

    def __init__(self) -> None:
        self.version = version.value
        self.over = False  #: a tensor that it captured is gone, for good
        self.ready: Any = (
            None  #: how to call it when nothing has changed (`standing.Ready`), if that is known
        )
        self.served = 0  #: how many calls that had served when it was prepared last
        self.waited = 0  #: ordinary calls since then ...
        self.patience = 1  #: ... and how many there must be before it is prepared again

    def end(self, _: Any = None) -> None:
        self.over = True
        self.version = -1
        self.ready = None


@dataclass(eq=False)
class Capture:
    """A traced function: its graph, and how the graph's inputs and outputs hang on the world outside.

    The graph's inputs are the tensor arguments, then the captured cells. Its outputs are the tensors among the
    results, then the new contents of `rebound`, then those of the gradients in `grads` that are not None.

    Cells are known by weak reference: the function has let go of a tensor that nobody else holds, and must be traced
    again. Whoever keeps a program for itself keeps `cells()` too.
    """

    graph: Graph
    captured: list[ref[Cell]]
    results: list[Any]  #: a leaf of the result each: None for a tensor (the next output), or a Static
    result_structure: Structure
    rebound: list[ref[Cell]]
    grads: list[tuple[ref[Cell], bool]]  #: cells whose .grad is set: to a tensor, or (False) to None
    guards: Guards
    owned: list[
        tuple[ref[Cell], int | None, int | None]
    ]  #: gradients: owner, place in `captured` and in `rebound`
    names: list[str]  #: of the captured cells
    differentiable: bool  #: whether a result can be differentiated with respect to a captured leaf
    life: Life
    check: Check | None = None  #: of what the function reads by name, entry or attribute
    changed: tuple[str, ...] = ()  #: of that, the numbers and flags that the function itself has changed

    @property
    def tensors(self) -> int:
        """How many of the graph's outputs are results."""
        return sum(r is None for r in self.results)

    def cells(self) -> list[Cell]:
        """The captured cells; raises if one is gone."""
        return _alive(self.captured)

    def rebound_cells(self) -> list[Cell]:
        """The cells that a run gives new contents."""
        return _alive(self.rebound)

    def steady(self) -> list[int]:
        """The numbers of the graph's inputs that are captured and not given new contents."""
        rebound = set(self.rebound)
        first = len(self.graph.inputs) - len(self.captured)
        return [first + k for k, c in enumerate(self.captured) if c not in rebound]

    def gradient_cells(self) -> list[tuple[Cell, bool]]:
        """The cells whose gradients a run sets, each with whether to a tensor."""
        return list(zip(_alive([c for c, _ in self.grads]), [e for _, e in self.grads], strict=True))

    def follow_gradients(self) -> None:
        """Put the gradients that the captured tensors have now where those were that they had at the trace.

        A gradient is captured through the tensor it belongs to: `.grad` may since have been set to another tensor.
        """
        for owner, read, written in self.owned:
            gradient = _alive([owner])[0]._grad
            if gradient is None:
                raise StateError(
                    "this program was traced while gradients existed, and reads them; now there is none. "
                    "Call the compiled function, which traces what it needs, and not one of its programs"
                )
            if read is not None:
                self.captured[read] = ref(gradient._cell)
            if written is not None:
                self.rebound[written] = ref(gradient._cell)


def _alive(cells: list[ref[Cell]]) -> list[Cell]:
    found = [c() for c in cells]
    if None in found:
        raise StateError(
            "a tensor that this program uses is gone: nobody holds it any more. Call the compiled function, which "
            "traces what it needs, and not one of its programs"
        )
    return found  # type: ignore[return-value]


@dataclass(eq=False)
class Guards:
    """What a trace took for granted about the world outside, checked again only when the version counter moved."""

    cells: list[tuple[ref[Cell], Aval, bool]]
    grads: list[tuple[ref[Cell], bool]]
    modules: list[tuple[ref[Any], Any]]
    flags: tuple[Any, ...]

    def hold(self) -> bool:
        """Whether the program may be used again."""
        return (
            self.flags == current_flags()
            and all((c := r()) and c.node.sig.out is a and c.requires_grad is g for r, a, g in self.cells)
            and all((c := r()) and (c._grad is None) is none for r, none in self.grads)
            and all((m := r()) is not None and m._assumptions() == then for r, then in self.modules)
        )


def current_flags() -> tuple[Any, ...]:
    """The configuration a program depends on."""
    return state.grad, state.config.get("backend"), state.debug_nan


class CompileTrace:
    """The open trace of a compiled function: writes down every change to cells older than it."""

    def __init__(self) -> None:
        self.rebound: dict[Cell, Node] = {}  # with the node they had
        self.grads: dict[Cell, Tensor | None] = {}  # with the gradient they had
        self.grads_read: dict[Cell, bool] = {}
        self.owners: dict[Cell, Cell] = {}  # of gradients that were read: gradient -> the cell it belongs to
        self.modules: dict[int, tuple[Any, Any]] = {}
        self.replaced: dict[
            tuple[Any, str], Tensor
        ] = {}  # attributes of modules that were set, with what they were

    def on_rebind(self, cell: Cell, old: Node) -> None:
        self.rebound.setdefault(cell, old)

    def on_grad_read(self, cell: Cell) -> None:
        if cell not in self.grads:
            self.grads_read.setdefault(cell, cell._grad is None)
            if cell._grad is not None:
                self.owners.setdefault(cell._grad._cell, cell)

    def on_grad_write(self, cell: Cell) -> None:
        self.grads.setdefault(cell, cell._grad)

    def on_module(self, module: Any) -> None:
        """Called by a module that runs inside the trace: its `_assumptions()` become guards."""
        if id(module) not in self.modules:
            self.modules[id(module)] = (module, module._assumptions())

    def on_attribute(self, module: Any, name: str, old: Tensor) -> None:
        """Called by a module whose attribute `name`, a tensor, is set to another one."""
        self.replaced.setdefault((module, name), old)

    def restore(self) -> None:
        """Put everything back as it was before the trace."""
        for cell, node in self.rebound.items():
            cell.node = node
        for cell, gradient in self.grads.items():
            cell._grad = gradient


@contextmanager
def _open(trace: CompileTrace) -> Iterator[None]:
    depth, ambient = len(state.traces), state.ambient
    try:
        state.traces.append(trace)
        state.ambient = ambient | TRACED
        yield
    finally:
        try:
            _close(trace, depth, ambient)
        except BaseException:
            _close(trace, depth, ambient)  # interrupted: what the trace has changed must not stay
            raise


def _close(trace: CompileTrace, depth: int, ambient: int) -> None:
    state.ambient = ambient
    del state.traces[depth:]
    trace.restore()


def argument(spec: Aval, weak: bool, tracked: bool) -> Tensor:
    """The stand-in for an argument while the function is traced.

    A tracked one is a leaf, so that a `backward` that reaches it is noticed.
    """
    node = placeholder(spec, TRACED | (GRAD | LEAF if tracked else 0))
    return WeakScalar(node) if weak else Tensor(node)


def capture(
    function: Callable[..., Any],
    structure: Structure,
    leaves: Sequence[Any],
    statics: list[tuple[int, Any]] | None = None,
) -> Capture:
    """Trace `function(*args, **kwargs)`. `leaves` are those of `(args, kwargs)`, tensors replaced by `argument`s;
    `statics` the arguments that are no tensors, with their positions in the program's key."""
    flush()
    args, kwargs = unflatten(structure, list(leaves))
    trace = CompileTrace()
    watch = Watch(function, statics or [])
    inputs = [x._cell.node for x in leaves if isinstance(x, Tensor)]
    with _open(trace):
        results, result_structure = flatten(function(*args, **kwargs))
        _refuse_holders(results)
        outputs = [r._cell.node for r in results if isinstance(r, Tensor)]
        rebound = [c for c, old in trace.rebound.items() if c.node is not old]
        grads = [
            (c, c._grad is not None)
            for c, old in trace.grads.items()
            if c._grad is not old or old is not None
        ]
        changed = [c.node for c in rebound] + [c._grad._cell.node for c, _ in grads if c._grad is not None]
        _refuse_changed_arguments(leaves, inputs)
        final = [*outputs, *changed]
        _compute_held(final, trace, inputs)
        captured, sources = _captured(final, trace, inputs)
        _refuse_replaced(trace, captured)
        watch.settle(set(captured))
        for module in watch.modules:  # reached, and perhaps read, without being called
            trace.on_module(module)
    differentiable = state.grad and any(o.flags & GRAD for o in outputs)
    names, guards = _names(captured, trace), _guards(captured, trace)
    with isolated():
        graph = extract(final, [*inputs, *sources])
    life = Life()
    # Gradients are found through their owners, which may be given others.
    watched = [c for c in [*captured, *rebound] if c not in trace.owners]
    lives = {c: ref(c, life.end) for c in [*watched, *[c for c, _ in grads], *trace.owners.values()]}
    return Capture(
        graph=graph,
        captured=[lives.get(c) or ref(c) for c in captured],
        results=[None if isinstance(r, Tensor) else Static(r) for r in results],
        result_structure=result_structure,
        rebound=[lives.get(c) or ref(c) for c in rebound],
        grads=[(lives[c], exists) for c, exists in grads],
        guards=guards,
        owned=_owned(captured, rebound, trace, lives),
        names=names,
        differentiable=differentiable,
        life=life,
        check=watch.check(),
        changed=tuple(watch.changed),
    )


def _is_from_outside(node: Node, trace: CompileTrace) -> bool:
    """Whether a cell older than the trace holds the node, or did before the trace changed it."""
    cell = node.cell() if node.cell is not None else None
    return cell is not None and cell.depth < len(state.traces) and trace.rebound.get(cell, cell.node) is node


def _compute_held(outputs: list[Node], trace: CompileTrace, inputs: list[Node]) -> None:
    """Compute the tensors from outside that are pending in another thread, which this one's flush has left alone: a
    program reads them, and must not hold what they were to be computed from."""
    stop = set(inputs)
    held = [
        n
        for n in toposort(outputs, lambda n: () if n in stop or n.value is not None else n.args)
        if n.value is None and not n.flags & TRACED and _is_from_outside(n, trace)
    ]
    if held:
        with isolated():
            realize(held)


def _captured(outputs: list[Node], trace: CompileTrace, inputs: list[Node]) -> tuple[list[Cell], list[Node]]:
    """The cells outside the trace whose values the outputs depend on, and the leaves that stand for them."""
    cells: list[Cell] = []
    sources: list[Node] = []
    stop = set(inputs)
    for node in toposort(outputs, lambda n: () if n in stop or n.value is not None else n.args):
        if node.value is None:
            if not node.args and node not in stop and node.sig.prim.name == "input":
                raise TraceError(
                    "the traced function uses a tensor that belongs to another trace: it was computed, or changed in "
                    "place, while the function was traced before, and kept. Make such state before the first call"
                )
            continue
        if _is_from_outside(node, trace):  # or else it was made inside, from data: a constant of the program
            cells.append(node.cell())  # type: ignore[misc]
            sources.append(node)
    return cells, sources


def _owned(
    captured: list[Cell], rebound: list[Cell], trace: CompileTrace, lives: dict[Cell, ref[Cell]]
) -> list[tuple[ref[Cell], int | None, int | None]]:
    """The gradients among the cells that are read and written, each with its owner and its two places."""
    found = []
    for gradient, owner in trace.owners.items():
        places = [cells.index(gradient) if gradient in cells else None for cells in (captured, rebound)]
        if any(p is not None for p in places):
            found.append((lives[owner], places[0], places[1]))
    return found


def _refuse_holders(results: list[Any]) -> None:
    """Raise where a result is an object that holds a tensor made inside, which would never get a value."""
    depth = len(state.traces)
    for x in results:
        inside = list(x) if isinstance(x, (set, frozenset)) else list(getattr(x, "__dict__", {}).values())
        if not isinstance(x, Tensor) and any(
            isinstance(v, Tensor) and v._cell.depth >= depth for v in inside
        ):
            raise TraceError(
                f"a compiled function returns an object of type {type(x).__name__} that holds a tensor computed in it; "
                "return tensors in tuples, lists and dicts, or make the type a container with "
                "weft.pytree.register_pytree"
            )


def _refuse_changed_arguments(leaves: Sequence[Any], inputs: list[Node]) -> None:
    given = [x for x in leaves if isinstance(x, Tensor)]
    for i, (x, node) in enumerate(zip(given, inputs, strict=True)):
        which = f"tensor argument {i} ({node.aval.describe()})"
        if x._cell._grad is not None:
            raise TraceError(
                f"backward() inside a compiled function reached {which}; gradients of arguments come from weft.grad or "
                "weft.value_and_grad, or let the function capture the tensor instead of taking it"
            )
        if x._cell.node is not node:
            raise TraceError(
                f"{which} is changed in place inside a compiled function, which the caller would not see; write "
                "x = x + y for x += y and return what the caller needs, or let the function capture the tensor "
                "instead of taking it"
            )


def _refuse_replaced(trace: CompileTrace, captured: list[Cell]) -> None:
    """Raise where a module's tensor was read and then exchanged for one computed here: that would happen once."""
    for (module, name), old in trace.replaced.items():
        new = module.__dict__.get(name)
        if new is old or not isinstance(new, Tensor) or not new._cell.node.flags & TRACED:
            continue
        if old._cell not in captured and old._cell.node not in toposort([new._cell.node], lambda n: n.args):
            continue
        object.__setattr__(module, name, old)
        title = f"{type(module).__name__}.{name}"
        raise TraceError(
            f"{title} is set to another tensor inside a compiled function, which would happen once, while tracing, and "
            f"not in every call. Change the tensor in place: self.{name} += ..., or self.{name}[...] = new; what is "
            "kept only to be looked at, return"
        )


def _guards(captured: list[Cell], trace: CompileTrace) -> Guards:
    watched = dict.fromkeys([*captured, *trace.rebound, *trace.grads, *trace.owners.values()])
    for gradient in trace.owners:  # of the type of its owner, and perhaps another one next time
        watched.pop(gradient, None)
    return Guards(
        cells=[(ref(c), c.node.aval, c.requires_grad) for c in watched],
        grads=[(ref(c), none) for c, none in trace.grads_read.items()],
        modules=[(ref(m), then) for m, then in trace.modules.values()],
        flags=current_flags(),
    )


def _names(captured: list[Cell], trace: CompileTrace) -> list[str]:
    """Names for the captured cells: those that the outermost modules give their tensors, else `state0`, ..."""
    known: dict[Cell, str] = {}
    for module, _ in trace.modules.values():
        for kind in ("named_parameters", "named_buffers"):
            for name, tensor in getattr(module, kind)():
                known.setdefault(tensor._cell, name)
    taken: set[str] = set()
    names = []
    for i, cell in enumerate(captured):
        name = known.get(cell, f"state{i}")
        while name in taken:
            name += "_"
        taken.add(name)
        names.append(name)
    return names
