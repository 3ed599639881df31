"""`backward`: gradients added to the `.grad` of leaves; and what is recorded for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..autodiff.replay import known, note, passed_back, path_of
from ..autodiff.reverse import pullback
from ..base.checked import checked
from ..base.errors import GradientError, ShapeError
from ..base.state import state
from ..ir.graph import toposort
from ..ir.node import GRAD, LEAF, SPENT, Node
from ..ir.shape import show_shape
from ..ops.movement import full
from .dispatch import fresh
from .tensor import Tensor


@contextmanager
def recording(wanted: bool) -> Iterator[None]:
    """Inside, operations are recorded for differentiation, or not."""
    saved = state.grad
    try:
        state.grad = wanted
        yield
    finally:
        state.grad = saved


def _switch(wanted: bool, function: Callable[..., Any] | None) -> Any:
    if function is None:
        return recording(wanted)

    @functools.wraps(function)
    def switched(*args: Any, **kwargs: Any) -> Any:
        with recording(wanted):
            return function(*args, **kwargs)

    return switched


def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """`with no_grad():`, or `@no_grad` and `@no_grad()` on a function.

    Inside, operations are not recorded for differentiation: their results are constants to `backward` and to any
    `grad` or `jvp` around them.
    """
    return _switch(False, function)


def enable_grad(function: Callable[..., Any] | None = None) -> Any:
    """`with enable_grad():`, or a decorator: inside, operations are recorded again, also within `no_grad`."""
    return _switch(True, function)


_RELEASED = (
    "backward() has already passed here and released what it needs; call the first one with retain_graph=True, "
    "or detach() what is used again as data"
)


def _seed(output: Tensor, gradient: Tensor | None, what: str) -> Node:
    node = output._node
    if gradient is not None:
        if gradient.shape != output.shape:
            raise ShapeError(
                f"the gradient has shape {show_shape(gradient.shape)}, the output {show_shape(output.shape)}"
            )
        if gradient.dtype is not output.dtype:
            raise GradientError(f"the gradient is {gradient.dtype}, the output {output.dtype}")
        return gradient._node
    if output.size != 1:
        raise GradientError(
            f"{what} of a tensor of shape {show_shape(output.shape)} needs a gradient of that shape; "
            "without one the output must have exactly one element (take sum() or mean())"
        )
    return full(node.aval, 1.0)


def _checked(outputs: Sequence[Tensor]) -> list[Node]:
    nodes = [o._node for o in outputs]
    for n in nodes:
        if n.flags & SPENT:
            raise GradientError(_RELEASED)
        if not n.flags & GRAD:
            why = (
                "set requires_grad of what it is computed from, and leave no detach() or no_grad() between"
                if state.grad
                else "nothing is recorded inside no_grad(): compute it outside"
            )
            raise GradientError(
                f"this tensor ({n.aval.describe()}) does not depend on any tensor that requires a gradient; {why}"
            )
    return nodes


def _path(nodes: Sequence[Node], stop: Callable[[Node], bool]) -> list[Node]:
    """The differentiable nodes that `nodes` depend on; raises where an earlier `backward` has cut the way."""
    order = toposort(nodes, lambda n: () if stop(n) else [a for a in n.args if a.flags & GRAD])
    for n in order:
        for a in n.args:
            if a.flags & SPENT:
                raise GradientError(_RELEASED)
    return order


def _release(order: Sequence[Node]) -> None:
    """Forget how the nodes were computed, and mark them so that a second `backward` can say so."""
    for n in order:
        if not n.flags & LEAF:
            n.flags = n.flags & ~GRAD | SPENT
            if n.value is not None and type(n.value) is not list:
                n.args = ()


def backward(
    outputs: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> None:
    """Add the gradients of `outputs` to `.grad` of every leaf that requires one.

    The graph is released on the way unless `retain_graph` or `create_graph` (which also records the gradients
    themselves for differentiation) is set.
    """
    order, leaves, found = _gradients_of_leaves(outputs, gradients, create_graph)
    saved, traced = state.grad, bool(state.traces)
    try:
        state.grad = create_graph
        for leaf, gradient in zip(leaves, found, strict=True):
            cell = leaf.cell() if leaf.cell is not None else None
            if cell is None or gradient is None:
                continue
            before = cell.grad if traced else cell._grad
            if before is None:
                # Nearly always nobody else has the node: two leaves may have the same gradient, and it may be known.
                new = gradient.cell is None and gradient.value is None and not gradient.flags
                cell.grad = fresh(gradient) if new else Tensor(gradient)
            elif create_graph:
                cell.grad = Tensor(before._node + gradient)
            else:  # in place: whoever holds the gradient sees the sum, and a compiled step captures one cell
                before._cell.rebind(before._node + gradient)
    finally:
        state.grad = saved
    if not (retain_graph or create_graph):
        _release(order)


def _gradients_of_leaves(
    outputs: Sequence[Tensor], gradients: Sequence[Tensor | None], create_graph: bool
) -> tuple[list[Node], list[Node], Sequence[Node | None]]:
    """The differentiable nodes that `outputs` depend on, the leaves among them, and their gradients."""
    nodes = _checked(outputs)
    path = None
    if len(nodes) == 1 and gradients[0] is None and not create_graph and not state.ambient:
        path = path_of(nodes[0])
        script = None if path is None else known(path)
        if path is not None and script is not None:
            return path.order, path.leaves, passed_back(script, path)
    seeds = [_seed(o, g, "backward()") for o, g in zip(outputs, gradients, strict=True)]
    order = _path(nodes, lambda n: bool(n.flags & LEAF))
    leaves = [n for n in order if n.flags & LEAF]
    with recording(create_graph):
        found = pullback(nodes, seeds, leaves, GRAD)
    if path is not None and (script := note(path, leaves, found)) is not None:
        return path.order, path.leaves, passed_back(script, path)
    return order, leaves, found


@checked
def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    gradients: Tensor | Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, returned and not added to any `.grad`.

    Args:
        outputs: one tensor or several; their gradients are summed.
        inputs: tensors that require a gradient: leaves, or anything computed from leaves on the way to `outputs`.
        gradients: what each output is multiplied with (the vector of the vector-Jacobian product); None is 1 for
            an output of one element.
        retain_graph: keep what `backward` would need to pass again (default: as `create_graph`).
        create_graph: record the gradients themselves, so that they can be differentiated.
        allow_unused: return None for an input that no output depends on, instead of raising.
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given: list[Tensor | None]
    if gradients is None:
        given = [None] * len(outs)
    else:
        given = [gradients] if isinstance(gradients, Tensor) else list(gradients)
    if len(given) != len(outs):
        raise GradientError(f"{len(outs)} outputs need as many gradients, got {len(given)}")
    nodes = _checked(outs)
    wrt = [x._node for x in wanted]
    for i, n in enumerate(wrt):
        if not n.flags & GRAD:
            raise GradientError(f"input {i} does not require a gradient; set requires_grad before it is used")
    seeds = [_seed(o, g, "the gradient") for o, g in zip(outs, given, strict=True)]
    stop = set(wrt)
    path = _path(nodes, stop.__contains__)
    with recording(create_graph):
        found = pullback(nodes, seeds, wrt, GRAD)
    if not allow_unused and any(g is None for g in found):
        missing = [i for i, g in enumerate(found) if g is None]
        raise GradientError(f"no output depends on input {missing[0]}; allow_unused=True gives None for it")
    if not (create_graph if retain_graph is None else retain_graph):
        _release([n for n in path if n not in stop])
    return tuple([None if g is None else Tensor(g) for g in found])
