"""From a graph to kernels: which nodes are stored, and the loops that compute each of them.

Every stored node becomes one kernel. What can be computed element by element on the way to it is computed inside
(its *producers*); and a reduction or contraction, the kernel's *anchor*, takes the elementwise operations that
follow it along, up to the node that is stored, as its epilogue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ir.graph import Graph
from ..ir.node import Node
from ..ir.primitive import pick_prim
from .gemm import Gemm, Operand
from .index import Index, Var, as_index, flatten_index, strides, unflatten_index
from .loops import Apply, Expr, Inside, Kernel, Load, Position, Reduction, Stage, Store
from .lower import Lowering, as_indices, can_pull, variables

REDUCTIONS = ("sum", "prod", "max", "min", "any", "all")
ANCHORS = (*REDUCTIONS, "dot_general")

#: Operations so cheap that computing them again in every user beats storing them.
_FREE = ("cast", "neg", "less", "less_equal", "equal", "not_equal", "logical_not")


@dataclass(eq=False)
class Step:
    """One thing a program does: run a kernel, or (kernel None) have the host compute `node`."""

    node: Node
    kernel: Kernel | Gemm | None
    reads: list[Node]  #: in the order of the kernel's inputs


def schedule(graph: Graph, supported: Callable[[Node], bool]) -> list[Step]:
    """The steps that compute `graph`, in order. `supported(node)`: its operation can be emitted."""
    plan = _Plan(graph, supported)
    steps: list[Step] = []
    for node in graph.nodes:
        if node not in plan.stored or node.value is not None or node.prim is pick_prim:
            continue
        if supported(node) and (can_pull(node) or node.prim.name in ANCHORS):
            steps.append(_kernel_step(node, plan, f"k{len(steps)}"))
        else:
            steps.append(Step(node, None, list(node.args)))
    return steps


class _Plan:
    """Which nodes are stored, and the anchor of each stored node that has one."""

    def __init__(self, graph: Graph, supported: Callable[[Node], bool]) -> None:
        self.outputs = set(graph.outputs)
        self.users: dict[Node, list[Node]] = {}
        for node in graph.nodes:
            for a in dict.fromkeys(node.args):
                self.users.setdefault(a, []).append(node)
        self.stored = self._stored(graph, supported)
        self.anchor: dict[Node, Node] = {}
        for node in graph.nodes:
            if node.value is None and node.prim.name in ANCHORS and supported(node):
                self._extend(node, supported)

    def _stored(self, graph: Graph, supported: Callable[[Node], bool]) -> set[Node]:
        """Everything but what can be computed inside its only user."""
        stored: set[Node] = {*graph.inputs, *graph.outputs}
        for node in graph.nodes:
            if not (can_pull(node) and supported(node)):
                stored.add(node)
            if node.value is None and (not supported(node) or node.prim is pick_prim):
                stored.update(node.args)
            if len(self.users.get(node, ())) > 1 and not (node.prim.movement or node.prim.name in _FREE):
                stored.add(node)
        return {n for n in stored if not isinstance(n.value, (bool, int, float, complex))}

    def _extend(self, anchor: Node, supported: Callable[[Node], bool]) -> None:
        """Let the anchor's kernel go on through the elementwise operations that are its only use."""
        root = anchor
        path = []
        while root not in self.stored or root is anchor:
            users = self.users.get(root, [])
            if len(users) != 1 or root in self.outputs:
                break
            (user,) = users
            fits = user.prim.elementwise and user.shape == anchor.shape and supported(user)
            if not fits or user in self.anchor or self._holds_anchor(user, root):
                break
            path.append(root)
            root = user
        for node in path:
            self.stored.discard(node)
        self.stored.add(root)
        self.anchor[root] = anchor

    def _holds_anchor(self, user: Node, path: Node) -> bool:
        """Whether another operand of `user` has an anchor inside, so that one kernel would have two."""
        stack = [a for a in user.args if a is not path]
        while stack:
            node = stack.pop()
            if node in self.stored or node.value is not None:
                continue
            if node.prim.name in ANCHORS:
                return True
            stack.extend(node.args)
        return False


def _reads(root: Node, stored: set[Node]) -> list[Node]:
    """The stored nodes that the kernel of `root` reads, in the order in which its expression meets them."""
    order: dict[Node, None] = {}
    seen: set[Node] = set()
    stack = list(reversed(root.args))
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in stored:
            order[node] = None
        elif node.value is None:
            stack.extend(reversed(node.args))
    return list(order)


def _kernel_step(root: Node, plan: _Plan, name: str) -> Step:
    reads = _reads(root, plan.stored)
    lowering = Lowering({n: i for i, n in enumerate(reads)})
    common = _Common(name, root, plan.anchor.get(root), lowering, tuple([n.dtype for n in reads]))
    anchor = common.anchor
    if anchor is None:
        kernel: Kernel | Gemm = _elementwise(common)
    elif anchor.prim.name == "dot_general":
        kernel = _contraction(common)
    else:
        kernel = _reduction(common)
    return Step(root, kernel, reads)


@dataclass(eq=False)
class _Common:
    """What all kernels of one step share."""

    name: str
    root: Node
    anchor: Node | None
    lowering: Lowering
    inputs: tuple

    @property
    def shape(self) -> tuple[int, ...]:
        return self.root.shape  # type: ignore[return-value]

    def result(self, indices: tuple[Index, ...]) -> Expr:
        """The value to store once the anchor's total is known."""
        if self.anchor is not None:
            self.lowering.totals[self.anchor] = 0
        return self.lowering.value(self.root, indices)

    def kernel(self, outer: tuple[Var, ...], stages: tuple[Stage, ...], across: bool) -> Kernel:
        notes = (
            (self.root.prim.name,) if self.anchor is None else (self.anchor.prim.name, self.root.prim.name)
        )
        return Kernel(self.name, outer, stages, self.inputs, (self.root.dtype,), across, notes)


def _elementwise(c: _Common) -> Kernel:
    for outer, indices in _collapsed(c.shape, "i"):
        value = c.lowering.value(c.root, indices)
        if _straight(value, outer[-1]):
            break
    store = Store(len(c.inputs), flatten_index(indices, c.shape), value)
    return c.kernel(outer, (Stage((), stores=(store,)),), True)


def _collapsed(shape: Sequence[int], prefix: str) -> list[tuple[tuple[Var, ...], tuple[Index, ...]]]:
    """Ways to loop over a shape: all axes merged into one first, one variable per axis last."""
    ways = []
    for keep in range(max(len(shape), 1)):
        tail = shape[keep:]
        size = 1
        for n in tail:
            size *= n
        loops = (*variables(tuple(shape[:keep]), prefix), Var(f"{prefix}v", size))
        indices = (*as_indices(loops[:-1]), *unflatten_index(as_index(loops[-1]), tail))
        ways.append((loops, indices))
    return ways


def _straight(e: Expr, var: Var) -> bool:
    """Whether every load moves evenly (by 0 or 1, if it moves at all) as `var` grows."""
    if isinstance(e, Load):
        return e.index.stride(var) in (0, 1)
    if isinstance(e, Position):
        return e.index.stride(var) is not None
    if isinstance(e, Inside):
        even = all(i.stride(var) is not None for i, _, _ in e.conditions)
        return even and _straight(e.then, var) and _straight(e.other, var)
    return all(_straight(a, var) for a in e.args) if isinstance(e, Apply) else True


def _reduction(c: _Common) -> Kernel:
    """A reduction over the last axis runs along vectors; over others, vectors run along what is left.

    So the order in which elements are combined is a function of the shape and the axes alone.
    """
    assert c.anchor is not None
    x, axes = c.anchor.args[0], c.anchor.attrs["axes"]
    loops = variables(x.shape, "i")  # type: ignore[arg-type]
    outer = tuple([v for k, v in enumerate(loops) if k not in axes])
    inner = tuple([v for k, v in enumerate(loops) if k in axes])
    reduction = Reduction(c.anchor.prim.name, c.lowering.value(x, as_indices(loops)), c.anchor.dtype)
    across = bool(outer) and (not axes or x.ndim - 1 not in axes)
    return c.kernel(outer, _accumulate(c, inner, reduction, outer), across)


def _accumulate(
    c: _Common, inner: tuple[Var, ...], reduction: Reduction, outer: tuple[Var, ...]
) -> tuple[Stage, ...]:
    indices = as_indices(outer)
    store = Store(len(c.inputs), flatten_index(indices, c.shape), c.result(indices))
    return Stage(inner, reductions=(reduction,)), Stage((), stores=(store,))


def _contraction(c: _Common) -> Kernel | Gemm:
    """A product summed in order of k for every element of the result: tiles where strides allow, else plain loops."""
    return _as_gemm(c) or _as_loops(c)


def _sides(c: _Common) -> tuple[int, list[int], list[int]]:
    """How many batch axes the result has, and the free axes of the two operands."""
    assert c.anchor is not None
    x, y = c.anchor.args
    (cx, cy), (bx, by) = c.anchor.attrs["contract"], c.anchor.attrs["batch"]
    free_x = [a for a in range(x.ndim) if a not in cx and a not in bx]
    free_y = [a for a in range(y.ndim) if a not in cy and a not in by]
    return len(bx), free_x, free_y


def _operands(c: _Common, out: Sequence[Index], inner: Sequence[Index]) -> tuple[Expr, Expr]:
    """The two factors, for indices of the result and of the contracted axes."""
    assert c.anchor is not None
    x, y = c.anchor.args
    (cx, cy), (bx, by) = c.anchor.attrs["contract"], c.anchor.attrs["batch"]
    lead, free_x, free_y = _sides(c)
    at_x = dict(zip((*bx, *free_x, *cx), (*out[: lead + len(free_x)], *inner), strict=True))
    at_y = dict(zip((*by, *free_y, *cy), (*out[:lead], *out[lead + len(free_x) :], *inner), strict=True))
    left = c.lowering.value(x, tuple([at_x[a] for a in range(x.ndim)]))
    right = c.lowering.value(y, tuple([at_y[a] for a in range(y.ndim)]))
    return left, right


def _as_loops(c: _Common) -> Kernel:
    assert c.anchor is not None
    outer = variables(c.shape, "i")
    contracted = tuple([c.anchor.args[0].shape[a] for a in c.anchor.attrs["contract"][0]])
    inner = variables(contracted, "k")  # type: ignore[arg-type]
    left, right = _operands(c, as_indices(outer), as_indices(inner))
    reduction = Reduction("sum", Apply("mul", (left, right), c.anchor.dtype), c.anchor.dtype)
    return c.kernel(outer, _accumulate(c, inner, reduction, outer), bool(outer))


def _as_gemm(c: _Common) -> Gemm | None:
    """The contraction as a matrix product with fixed strides, if its operands lie in memory so."""
    anchor = c.anchor
    assert anchor is not None
    if anchor.dtype.name not in ("float32", "float64") or c.root.dtype is not anchor.dtype:
        return None
    lead, free_x, free_y = _sides(c)
    contracted = tuple([anchor.args[0].shape[a] for a in anchor.attrs["contract"][0]])
    shape = c.shape
    rows, columns = shape[lead : lead + len(free_x)], shape[lead + len(free_x) :]
    batch = variables(shape[:lead], "b")
    m, n, k = Var("m", _size(rows)), Var("n", _size(columns)), Var("k", _size(contracted))
    at = (*as_indices(batch), *unflatten_index(as_index(m), rows), *unflatten_index(as_index(n), columns))
    left, right = _operands(c, at, unflatten_index(as_index(k), contracted))
    a, b = _operand(left, batch, m, k), _operand(right, batch, n, k)
    if a is None or b is None or min(m.size, n.size) < 2:
        return None
    steps = strides(shape)
    return Gemm(
        name=c.name,
        batch=batch,
        m=m,
        n=n,
        k=k.size,
        a=a,
        b=b,
        out_strides=(steps[:lead], n.size, 1),
        out=len(c.inputs),
        epilogue=c.result(at),
        dtype=anchor.dtype,
        inputs=c.inputs,
        outputs=(c.root.dtype,),
        notes=("dot_general", c.root.prim.name),
    )


def _size(shape: Sequence[int]) -> int:
    total = 1
    for s in shape:
        total *= s
    return total


def _operand(e: Expr, batch: tuple[Var, ...], free: Var, contracted: Var) -> Operand | None:
    if not isinstance(e, Load) or e.index.offset:
        return None
    moves = [e.index.stride(v) for v in (*batch, free, contracted)]
    if any(s is None or s < 0 for s in moves):
        return None
    return Operand(e.buffer, tuple(moves[:-2]), moves[-2], moves[-1])  # type: ignore[arg-type]
