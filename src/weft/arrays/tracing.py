"""Running a user's function on stand-ins, to get its graph: what `vmap`, `scan`, `cond` and `checkpoint` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..autodiff.saved import unread
from ..base.errors import TraceError
from ..base.pytree import Structure, flatten, unflatten
from ..base.site import describe_site, user_site
from ..base.state import isolated, state
from ..ir.dtype import uint64
from ..ir.graph import Graph, fresh_inputs, toposort
from ..ir.node import LEVEL, SPENT, TRACED, Aval, Node, escaped, make_node
from ..ir.primitive import input_prim, pick, pick_prim, placeholder
from ..ir.shape import Size
from ..ops.random import advance, count_node
from .cell import Cell
from .tensor import Tensor


class Trace:
    """An open trace. It watches tensors that are older than itself: they must not be changed inside."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.depth = len(state.traces)  #: how many traces are open around it
        self.ambient = state.ambient

    def on_rebind(self, cell: Cell, old: Node) -> None:
        raise TraceError(
            f"a tensor made outside is changed inside {self.what}{_here()}, where operations describe one step of "
            "many and not the step itself; return the new value from the function and assign it outside"
        )

    def on_grad_read(self, cell: Cell) -> None:
        outer = self._outer(cell)
        if outer is not None:
            outer.on_grad_read(cell)

    def on_grad_write(self, cell: Cell) -> None:
        raise TraceError(
            f"the .grad of a tensor made outside is set inside {self.what}{_here()}; use weft.grad inside, or call "
            "backward() on what the function returns"
        )

    def on_module(self, module: Any) -> None:
        if self.depth:
            state.traces[self.depth - 1].on_module(module)

    def _outer(self, cell: Cell) -> Any:
        return state.traces[self.depth - 1] if cell.depth < self.depth else None


class Draws:
    """Random draws inside a body. They take their bits from a state that is an input of the body: the first draw its
    beginning, later ones further on. Outside, the generator steps over all that the body may take."""

    def __init__(self) -> None:
        self.generators: dict[int, Any] = {}
        self.inputs: dict[int, Node] = {}
        self.counts: dict[int, Size] = {}

    def draw(self, generator: Any, count: Size) -> Node:
        """The state for a draw of `count` blocks."""
        key = id(generator)
        if key not in self.inputs:
            self.generators[key] = generator
            self.inputs[key] = stand_in(Aval((2,), uint64))
            self.counts[key] = 0
        before = self.counts[key]
        self.counts[key] = before + count
        return stepped(self.inputs[key], before)

    def moved(self) -> list[Node]:
        """The states after all draws."""
        return [stepped(self.inputs[k], n) for k, n in self.counts.items()]

    def reserve(self, times: Size) -> list[Node]:
        """States for `times` runs of the body, one for each generator, which steps over what they may take."""
        return [self.generators[k].draw_state(n * times) for k, n in self.counts.items()]

    @staticmethod
    def union(several: Sequence[Draws]) -> Draws:
        """Draws for bodies of which one runs: as many from each generator as the one that takes most."""
        out = Draws()
        for d in several:
            for k, n in d.counts.items():
                out.generators[k] = d.generators[k]
                out.inputs.setdefault(k, d.inputs[k])
                known = out.counts.get(k, 0)
                plain = isinstance(n, int) and isinstance(known, int)
                out.counts[k] = (
                    max(n, known) if plain else n + known
                )  # which open size is larger is not known
        return out


def stepped(state_: Node, count: Size) -> Node:
    """A random state some blocks further on."""
    if isinstance(count, int) and count == 0:
        return state_
    return advance(state_, count_node(count))


class BodyTrace(Trace):
    """The trace of a function body that becomes a graph."""

    def __init__(self, what: str, owner: Any = None, *, states: bool = False) -> None:
        super().__init__(what)
        self.draws = Draws()
        self.owner = owner  #: whose derivative this traces, if anybody's
        #: Changed cells, with the node they had.
        self.rebound: dict[Cell, Node] | None = {} if states else None

    def on_rebind(self, cell: Cell, old: Node) -> None:
        if self.rebound is None:
            super().on_rebind(cell, old)
        else:
            self.rebound.setdefault(cell, old)

    def restore(self) -> list[tuple[Cell, Node]]:
        """Put back what was changed; returns the changes."""
        changed = []
        for cell, old in (self.rebound or {}).items():
            if cell.node is not old:
                changed.append((cell, cell.node))
                cell.node = old
        return changed

    def draw(self, generator: Any, count: Size) -> Node:
        cell: Cell = generator._tensor._cell
        if self.rebound and cell in self.rebound:  # seeded inside: the draw is from what it was seeded with
            node = cell.node
            cell.rebind(stepped(node, count))
            return node
        return self.draws.draw(generator, count)


def _here() -> str:
    where = describe_site(user_site())
    return f" ({where})" if where else ""


@contextmanager
def opened(trace: Trace) -> Iterator[None]:
    """Inside, `trace` is the innermost one."""
    depth = len(state.traces)
    try:
        state.traces.append(trace)
        yield
    finally:
        del state.traces[depth:]


@contextmanager
def marking() -> Iterator[int]:
    """Inside, every new node carries one more flag, the one yielded: it tells what a function body computes itself
    from what was there before."""
    bit = LEVEL
    while state.active & bit:
        bit <<= 1
    saved = state.active, state.tracing, state.ambient
    try:
        state.active |= bit
        state.tracing |= bit
        state.ambient |= bit
        yield bit
    finally:
        state.active, state.tracing, state.ambient = saved


def stand_in(aval: Aval) -> Node:
    """A placeholder for a value that a traced function is given.

    An inexact one counts as differentiable at every level, so that what the function computes under `no_grad`
    can be told from the rest.
    """
    bits = state.active & ~(state.tracing | SPENT)
    return placeholder(aval, bits | TRACED if aval.dtype.inexact else TRACED)


@contextmanager
def outside(trace: Trace) -> Iterator[None]:
    """Inside the block, things are as around `trace`: what is done there is done once, not in the body."""
    inner, ambient = state.traces[trace.depth :], state.ambient
    try:
        del state.traces[trace.depth :]
        state.ambient = trace.ambient
        yield
    finally:
        state.traces[trace.depth :] = inner
        state.ambient = ambient


def refuse_escaped(nodes: list[Node]) -> None:
    """Raise if a result belongs to a trace that is no longer open."""
    if not state.traces and any(n.flags & TRACED for n in nodes):
        escaped()


def tensors_only(leaves: list[Any], what: str) -> list[Tensor]:
    """The leaves of a result, all of which must be tensors; numbers become tensors."""
    from .creation import tensor

    out = []
    for x in leaves:
        if isinstance(x, (bool, int, float, complex)):
            x = tensor(x)
        if not isinstance(x, Tensor):
            raise TraceError(
                f"{what} must return tensors (in tuples, lists or dicts), got {type(x).__name__}"
            )
        out.append(x)
    return out


def close(
    outputs: Sequence[Node], inputs: Sequence[Node], *, bit: int = 0, hoist: bool = False
) -> tuple[Graph, list[Node]]:
    """The graph of `outputs` as a function of the placeholders `inputs` and of every tensor it uses beside them.

    The latter become its first inputs; they are returned as nodes. With `hoist` everything that does not depend on
    `inputs` is computed outside, otherwise only what is not marked with `bit`, being older than the trace. Python
    numbers become inputs too, so that a changed learning rate is no new graph, but for 0, 1, -1 and 2.
    """
    own = set(inputs)
    neutral = state.tracing | bit | SPENT  # flags that say nothing of derivatives
    inside = _inside(outputs, own, bit, hoist)
    order = [n for n in toposort(outputs, lambda n: n.args if n in inside else ()) if n in inside]
    operands: dict[Any, Node] = {}
    for node in [*[a for n in order for a in n.args], *outputs]:
        if node not in inside and node not in own and not _is_small(node.value):
            operands.setdefault(_identity(node), node)
    with isolated():
        graph = _copy(order, list(operands.values()), inputs, outputs, neutral)
    return graph, list(operands.values())


def _inside(outputs: Sequence[Node], own: set[Node], bit: int, hoist: bool) -> set[Node]:
    """The nodes that depend on the placeholders `own` or, unless they are hoisted, are marked with `bit`.

    What stays outside loses the mark, which a later trace uses again.
    """

    def follow(node: Node) -> Sequence[Node]:
        return node.args if node.value is None and node not in own and node.flags & (bit or TRACED) else ()

    inside: set[Node] = set()
    for n in toposort(outputs, follow):
        if n in own or n.value is not None:
            continue
        marked = n.flags & bit and n.sig.prim is not pick_prim and n.sig.prim is not input_prim
        if any(a in own or a in inside for a in n.args) or (marked and not hoist):
            inside.add(n)
        else:
            n.flags &= ~bit
    return inside


def _is_small(value: Any) -> bool:
    return isinstance(value, (bool, int, float, complex)) and value in (0, 1, -1, 2)


def _identity(node: Node) -> Any:
    value = node.value
    return (node.aval, repr(value)) if isinstance(value, (bool, int, float, complex)) else node


def _copy(
    order: Sequence[Node], operands: list[Node], inputs: Sequence[Node], outputs: Sequence[Node], neutral: int
) -> Graph:
    """The nodes `order` as a graph of their own. What was cut off from derivatives stays so, and nodes whose
    residuals nobody reads lose them."""
    fresh = fresh_inputs([n.aval for n in (*operands, *inputs)])
    known: dict[Any, Node] = {_identity(n): f for n, f in zip(operands, fresh, strict=False)}
    env: dict[Node, Node] = dict(zip(inputs, fresh[len(operands) :], strict=True))
    plain = unread(order)

    def get(node: Node) -> Node:
        found = env.get(node)
        return found if found is not None else known.get(_identity(node), node)

    for n in order:
        args = tuple([get(a) for a in n.args])
        if n.sig.prim is pick_prim:
            new = pick(args[0], n.sig.attrs["index"]) if type(args[0].sig.out) is tuple else args[0]
        else:
            new = make_node(plain.get(n, n.sig), args)
            new.site = n.site
        if not n.flags & ~neutral:
            new.flags &= state.tracing
        env[n] = new
    return Graph(fresh, [get(o) for o in outputs])


# -- functions as graphs ---


@dataclass
class Traced:
    """What a function returned for stand-ins; turned into a graph when it is known what other functions returned."""

    leaves: list[Any]
    structure: Structure
    inputs: list[Node]
    draws: Draws
    moved: list[Node]  #: the random states after all draws
    changed: list[tuple[Cell, Node]]  #: tensors from outside that the function changes, with what they become
    bit: int

    def close(self, outs: Sequence[Node]) -> tuple[Graph, list[Node]]:
        """The graph of `outs`, and what it uses from outside. Its inputs: the latter, random states, arguments."""
        return close(outs, [*self.draws.inputs.values(), *self.inputs], bit=self.bit)


def trace_function(
    what: str,
    function: Callable[..., Any],
    leaves: Sequence[Any],
    structure: Structure,
    *,
    owner: Any = None,
    states: bool = False,
) -> Traced:
    """Run `function` on stand-ins for the tensors among its arguments.

    Where it runs exactly once, it may change tensors made outside (`states`): they are put back, and the changes
    returned for the caller to carry out.
    """
    inputs: list[Node] = []
    replaced = list(leaves)
    for i, x in enumerate(leaves):
        if isinstance(x, Tensor):
            inputs.append(stand_in(x._node.aval))
            replaced[i] = Tensor(inputs[-1])
    trace = BodyTrace(what, owner, states=states)
    changed: list[tuple[Cell, Node]] = []
    with opened(trace), marking() as bit:
        try:
            found, out_structure = flatten(function(*unflatten(structure, replaced)))
        finally:
            changed = trace.restore()
        moved = trace.draws.moved()
    return Traced(found, out_structure, inputs, trace.draws, moved, changed, bit)


def widened(graph: Graph, ops: Sequence[Node], traced: Traced, used: Sequence[Node], draws: Draws) -> Graph:
    """The graph of a traced function as one of everything that several functions use: tensors from outside `used`,
    then random states, then its own arguments."""
    at = dict(zip(ops, graph.inputs, strict=False))
    rest = graph.inputs[len(ops) :]
    states = dict(zip(traced.draws.inputs, rest, strict=False))
    with isolated():
        inputs = [at[n] if n in at else fresh_inputs([n.aval])[0] for n in used]
        inputs += [states[k] if k in states else fresh_inputs([n.aval])[0] for k, n in draws.inputs.items()]
    return Graph([*inputs, *rest[len(states) :]], graph.outputs)
