"""From a graph to kernels: which nodes are stored, and the loops that compute each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ir.graph import Graph
from ..ir.node import Node
from ..ir.primitive import pick_prim
from .index import Index, Var, as_index, flatten_index, unflatten_index
from .loops import Apply, Expr, Inside, Kernel, Load, Position, Reduction, Stage, Store, Total
from .lower import Lowering, as_indices, can_pull, variables

REDUCTIONS = ("sum", "prod", "max", "min", "any", "all")

#: Operations so cheap that computing them again in every user beats storing them.
_FREE = ("cast", "neg", "less", "less_equal", "equal", "not_equal", "logical_not")


@dataclass(eq=False)
class Step:
    """One thing a program does: run a kernel, or (kernel None) have the host compute `node`."""

    node: Node
    kernel: Kernel | None
    reads: list[Node]  #: in the order of the kernel's inputs


def schedule(graph: Graph, supported: Callable[[Node], bool]) -> list[Step]:
    """The steps that compute `graph`, in order. `supported(node)`: its operation can be emitted."""
    stored = _stored(graph, supported)
    steps: list[Step] = []
    for node in graph.nodes:
        if node not in stored or node.value is not None or node.prim is pick_prim:
            continue
        if supported(node) and (can_pull(node) or node.prim.name in (*REDUCTIONS, "dot_general")):
            steps.append(_kernel_step(node, stored, f"k{len(steps)}"))
        else:
            steps.append(Step(node, None, list(node.args)))
    return steps


def _stored(graph: Graph, supported: Callable[[Node], bool]) -> set[Node]:
    """Nodes whose values go to memory: everything but what can be computed inside its only user."""
    users: dict[Node, int] = {}
    stored: set[Node] = {*graph.inputs, *graph.outputs}
    for node in graph.nodes:
        fusable = can_pull(node) and supported(node)
        if not fusable or node.prim.name in REDUCTIONS:
            stored.add(node)
        for a in node.args:
            users[a] = users.get(a, 0) + 1
            if not supported(node) or node.prim is pick_prim:
                stored.add(a)
    for node in graph.nodes:
        if (
            users.get(node, 0) > 1
            and node.value is None
            and not (node.prim.movement or node.prim.name in _FREE)
        ):
            stored.add(node)
    return {n for n in stored if n.value is None or not isinstance(n.value, (bool, int, float, complex))}


class _Reads:
    """Numbers the stored nodes that an expression reads, in the order in which it meets them."""

    def __init__(self, stored: set[Node], node: Node) -> None:
        self.order: list[Node] = []
        self._find(node, stored)
        self.lowering = Lowering({n: i for i, n in enumerate(self.order)})

    def _find(self, root: Node, stored: set[Node]) -> None:
        seen: set[Node] = set()
        stack = list(reversed(root.args))
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node in stored:
                self.order.append(node)
            elif node.value is None:
                stack.extend(reversed(node.args))


def _kernel_step(node: Node, stored: set[Node], name: str) -> Step:
    reads = _Reads(stored, node)
    if node.prim.name in REDUCTIONS:
        outer, stages, across = _reduction(node, reads.lowering, len(reads.order))
    elif node.prim.name == "dot_general":
        outer, stages, across = _contraction(node, reads.lowering, len(reads.order))
    else:
        outer, stages, across = _elementwise(node, reads.lowering, len(reads.order))
    kernel = Kernel(
        name=name,
        outer=outer,
        stages=stages,
        inputs=tuple([n.dtype for n in reads.order]),
        outputs=(node.dtype,),
        across=across,
        notes=(node.prim.name,),
    )
    return Step(node, kernel, reads.order)


Loops = tuple[tuple[Var, ...], tuple[Stage, ...], bool]


def _elementwise(node: Node, lowering: Lowering, out: int) -> Loops:
    shape: tuple[int, ...] = node.shape  # type: ignore[assignment]
    for outer, indices in _collapsed(shape, "i"):
        value = lowering.value(node, indices)
        if _straight(value, outer[-1] if outer else None):
            break
    store = Store(out, flatten_index(indices, shape), value)
    return outer, (Stage((), stores=(store,)),), bool(outer)


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


def _straight(e: Expr, var: Var | None) -> bool:
    """Whether every load moves evenly (by 0 or 1, if it moves at all) as `var` grows."""
    if var is None:
        return True
    if isinstance(e, Load):
        return e.index.stride(var) in (0, 1)
    if isinstance(e, Position):
        return e.index.stride(var) is not None
    if isinstance(e, Inside):
        even = all(i.stride(var) is not None for i, _, _ in e.conditions)
        return even and _straight(e.then, var) and _straight(e.other, var)
    return all(_straight(a, var) for a in e.args) if isinstance(e, Apply) else True


def _reduction(node: Node, lowering: Lowering, out: int) -> Loops:
    """A reduction over the last axis runs along vectors; over others, vectors run along what is left.

    So the order in which elements are combined is a function of the shape and the axes alone.
    """
    x, axes = node.args[0], node.attrs["axes"]
    loops = variables(x.shape, "i")  # type: ignore[arg-type]
    outer = tuple([v for k, v in enumerate(loops) if k not in axes])
    inner = tuple([v for k, v in enumerate(loops) if k in axes])
    value = lowering.value(x, as_indices(loops))
    reduction = Reduction(node.prim.name, value, node.dtype)
    across = bool(outer) and (not axes or x.ndim - 1 not in axes)
    return outer, _accumulate(node, inner, reduction, outer, out), across


def _contraction(node: Node, lowering: Lowering, out: int) -> Loops:
    """A product summed in order of k for every element of the result."""
    x, y = node.args
    (cx, cy), (bx, by) = node.attrs["contract"], node.attrs["batch"]
    outer = variables(node.shape, "i")  # type: ignore[arg-type]
    inner = variables(tuple([x.shape[a] for a in cx]), "k")  # type: ignore[misc]
    free_x = [a for a in range(x.ndim) if a not in cx and a not in bx]
    free_y = [a for a in range(y.ndim) if a not in cy and a not in by]
    at_x: dict[int, Index] = {a: as_index(outer[i]) for i, a in enumerate((*bx, *free_x))}
    at_y = {a: as_index(outer[i]) for i, a in enumerate(by)}
    at_y |= {a: as_index(outer[len(bx) + len(free_x) + i]) for i, a in enumerate(free_y)}
    at_x |= {a: as_index(v) for a, v in zip(cx, inner, strict=True)}
    at_y |= {a: as_index(v) for a, v in zip(cy, inner, strict=True)}
    left = lowering.value(x, tuple([at_x[a] for a in range(x.ndim)]))
    right = lowering.value(y, tuple([at_y[a] for a in range(y.ndim)]))
    reduction = Reduction("sum", Apply("mul", (left, right), node.dtype), node.dtype)
    return outer, _accumulate(node, inner, reduction, outer, out), bool(outer)


def _accumulate(
    node: Node, inner: tuple[Var, ...], reduction: Reduction, outer: tuple[Var, ...], out: int
) -> tuple[Stage, ...]:
    index = flatten_index(as_indices(outer), node.shape)  # type: ignore[arg-type]
    return (
        Stage(inner, reductions=(reduction,)),
        Stage((), stores=(Store(out, index, Total(0, node.dtype)),)),
    )
