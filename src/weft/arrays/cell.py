"""Cells: what a tensor stands for. A cell holds an immutable node and can be made to hold another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, compress
from typing import TYPE_CHECKING, Any
from weakref import ref

from ..base.errors import GradientError, ShapeError, TraceError
from ..base.site import describe_site, user_site
from ..base.state import LONG, state, version
from ..ir.graph import toposort
from ..ir.node import GRAD, LEAF, SHARED, TRACED, Node, escaped, settle
from ..ir.primitive import leaf
from ..ops.movement import identity
from ..runtime.executor import LOOKED_AT, failed_node, realize

if TYPE_CHECKING:
    from .tensor import Tensor


class Handle:
    """What the machinery needs to know of a tensor: it has a cell. `Tensor` is the one public kind."""

    __slots__ = ("_cell", "__weakref__")

    _cell: Cell


class Cell:
    """A place that holds a node. Several tensor handles may share one; operations always make fresh ones."""

    __slots__ = ("node", "_grad", "requires_grad", "depth", "__weakref__")

    node: Node
    _grad: Tensor | None
    requires_grad: bool
    depth: (
        int  #: how many traces were open when it was made: a trace watches the cells that are older than it
    )

    def __init__(self, node: Node) -> None:
        if node.cell is not None and node.cell() is not None:
            node = alias(node)
        self.node = node
        self._grad = None
        self.requires_grad = False
        self.depth = len(state.traces)
        # register(), written out: this runs once for every operation.
        node.cell = reference = ref(self)
        if node.value is None and not node.flags & TRACED:
            pending = state.pending
            pending.append(reference)
            if len(pending) > state.patience:
                cut(node)

    @property
    def grad(self) -> Tensor | None:
        """What `backward` has accumulated for this cell."""
        if self.depth < len(state.traces):
            state.traces[-1].on_grad_read(self)
        return self._grad

    @grad.setter
    def grad(self, gradient: Tensor | None) -> None:
        if self.depth < len(state.traces):
            state.traces[-1].on_grad_write(self)
        elif (gradient is None) != (self._grad is None):
            version.value += 1
        self._grad = gradient

    def rebind(self, node: Node) -> None:
        """Hold another node from now on: what `x += 1`, `x[i] = v` and an optimiser's step come down to."""
        old = self.node
        if self.depth < len(state.traces):
            state.traces[-1].on_rebind(self, old)
        if node.sig.out is not old.sig.out:
            if self.requires_grad:
                raise ShapeError(
                    f"a tensor that requires a gradient keeps its type: {old.aval.describe()} cannot become "
                    f"{node.aval.describe()}"
                )
            version.bump()
        if self.requires_grad:
            if node.flags & GRAD and state.grad:
                raise GradientError(
                    "a leaf that requires a gradient is changed while gradients are recorded; "
                    "do it inside `with weft.no_grad():`"
                )
            if node.flags or node.cell is not None or node.value is not None or not node.args:
                node = own_node(node)  # somebody else may know it
            node.flags |= GRAD | LEAF
        self.node = node
        node.cell = reference = ref(self)
        if node.value is None and not node.flags & TRACED:
            pending = state.pending
            state.undo.append((reference, old, len(pending)))
            pending.append(reference)
            if len(pending) > state.patience:
                cut(node)

    def require_grad(self, wanted: bool) -> None:
        """Make the cell a leaf that `backward` accumulates into, or stop that."""
        if wanted == self.requires_grad:
            return
        node = self.node
        if wanted:
            if not node.aval.dtype.inexact:
                raise GradientError(
                    f"only floating and complex tensors have gradients, not {node.aval.dtype}"
                )
            if node.flags & GRAD:
                raise GradientError(
                    "this tensor is computed from one that requires a gradient; detach() it first"
                )
            node = own_node(node)
            node.flags |= GRAD | LEAF
        else:
            node = own_node(node)
            node.flags &= state.tracing
        self.requires_grad = wanted
        self.node = node
        register(self, node)
        version.bump()


def forget(cells: Iterable[Cell]) -> None:
    """`grad = None` for each of the cells, outside of traces."""
    for cell in cells:
        if cell._grad is not None:
            cell._grad = None
            version.value += 1


def rebind_all(cells: Sequence[Cell], nodes: Sequence[Node]) -> None:
    """`rebind` each of the cells to one of the nodes, with gradients not recorded, before a flush."""
    pending, undo = state.pending, state.undo
    for cell, node in zip(cells, nodes, strict=True):
        old = cell.node
        known = node.flags or node.cell is not None or node.value is not None or not node.args
        if known or state.traces or node.sig.out is not old.sig.out:
            cell.rebind(node)
            continue
        if cell.requires_grad:
            node.flags = GRAD | LEAF
        cell.node = node
        node.cell = reference = ref(cell)
        undo.append((reference, old, len(pending)))
        pending.append(reference)


def alias(node: Node) -> Node:
    """A node of the same value for a second cell: every cell has a node of its own, so that rebinding one and
    capturing the other in a program do not get mixed up. Gradients flow through it."""
    if node.flags & ~TRACED or node.value is None or state.ambient & TRACED:
        return identity.bind((node,))
    return leaf(node.aval, node.value)


def own_node(node: Node) -> Node:
    """A node of the same value that no other cell holds, cut off from what `node` was computed from."""
    # A trace must see where its constants come from.
    if node.value is not None and not state.ambient & TRACED:
        if node.flags & SHARED:
            settle((node,))
        new = leaf(node.aval, node.value)
        new.flags = node.flags & TRACED
        return new
    saved = state.grad
    try:
        state.grad = False
        return identity.bind((node,))
    finally:
        state.grad = saved


def register(cell: Cell, node: Node) -> None:
    """Note that `cell` is alive and holds `node`, so that the next flush computes it."""
    node.cell = reference = ref(cell)
    if node.value is None and not node.flags & TRACED:
        pending = state.pending
        pending.append(reference)
        if len(pending) > state.patience:
            cut(node)


def cut(node: Node) -> None:
    """Compute what is pending: in eager mode, or where a program has grown long without being looked at."""
    if state.eager:
        flush()
        return
    last = state.config.get("cut_site")
    # At the next operation from the line where the last cut was made, or at twice as many anywhere.
    if last is None or node.site == last or len(state.pending) > 2 * LONG:
        waiting = [(c := r()) is not None and c.node.value is None for r in state.pending]
        places = [0, *accumulate(waiting)]
        state.undo = [(r, old, places[i]) for r, old, i in state.undo if r() is not None]
        pending = state.pending = list(compress(state.pending, waiting))
        if len(pending) > LONG // 4 or depth_at_least(node, LONG):
            state.config["cut_site"] = node.site
            flush()


def depth_at_least(node: Node, count: int) -> bool:
    """Whether at least `count` operations wait below `node`."""
    order = toposort([node], lambda n: () if n.value is not None else n.args)
    return len(order) >= count


def flush(*asked: Node) -> None:
    """Compute every live pending tensor of this thread, in one program. `asked` must have a value afterwards."""
    for node in asked:
        if node.flags & TRACED:
            raise looked_at()
    pending, undo = state.pending, state.undo
    roots = dict.fromkeys(asked)
    for reference in pending:
        cell = reference()
        if cell is not None and (node := cell.node).value is None and not node.flags & TRACED:
            roots[node] = None
    try:
        state.pending, state.undo = [], []
        realize(list(roots))
    except Exception as error:
        # What cannot be computed must not be asked for again by a later flush; what can, may.
        _undo(failed_node(error), pending, undo)
        try:
            realize([n for n in asked if n.value is None])
        except Exception as again:  # it is the asked one that fails: say so once
            raise again from None
        raise
    except BaseException:  # interrupted: everything may be asked for again
        state.pending[:0], state.undo[:0] = pending, undo
        raise


def _undo(bad: Node | None, pending: list[Any], undo: list[tuple[Any, Any, int]]) -> None:
    """After an operation has failed, leave things as if the program had stopped there: tensors that were changed in
    place after it hold what they held before. What does not depend on it stays pending.

    When it was asked for is seen from the first tensor that depends on it.
    """
    if bad is None:
        return
    cells = [r() for r in pending]
    spoilt = {bad}
    for n in toposort([c.node for c in cells if c is not None], lambda n: n.args if n.value is None else ()):
        if n.value is None and any(a in spoilt for a in n.args):
            spoilt.add(n)
    spoilt = {n for n in spoilt if n.value is None}
    first = next((i for i, c in enumerate(cells) if c is not None and c.node in spoilt), len(cells))
    for reference, old, place in reversed(undo):
        cell = reference()
        if cell is not None and place >= first:
            if old.sig.out is not cell.node.sig.out:
                version.bump()
            cell.node = old
            old.cell = reference
    kept = [c for c in cells if c is not None and c.node.value is None and c.node not in spoilt]
    state.pending[:0] = [ref(c) for c in dict.fromkeys(kept)]


def looked_at() -> TraceError:
    """The error for asking a traced tensor for its value, with the user's line."""
    if not state.traces:
        escaped()
    where = describe_site(user_site())
    return TraceError(LOOKED_AT + (f" ({where})" if where else ""))


def value_of(cell: Cell) -> Any:
    """The buffer or number behind a cell, computed now if it is pending."""
    node = cell.node
    state.looks += 1
    if state.ambient & TRACED:
        raise looked_at()
    if node.value is None:
        flush(node)  # another thread may change the tensor meanwhile: this is what it held
    return node.value
