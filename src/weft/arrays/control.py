"""Loops and branches on traced values: `scan`, `cond`, `switch`, `while_loop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autodiff.saved import saving_results
from ..base.checked import checked
from ..base.errors import ArgumentError, DTypeError, ShapeError, TraceError
from ..base.pytree import Structure, flatten, leaf_paths, unflatten
from ..base.state import isolated
from ..ir.dtype import bool_, int64
from ..ir.graph import Graph, fresh_inputs
from ..ir.node import Aval, Node
from ..ir.primitive import results
from ..ir.shape import Size, check_shape
from ..ops.control import cond as cond_prim
from ..ops.elementwise import cast
from ..ops.loops import scan as scan_prim
from ..ops.loops import while_loop as while_prim
from ..ops.movement import reshape
from ..ops.random import random_bits
from . import dispatch
from .creation import tensor
from .tensor import Tensor
from .tracing import BodyTrace, Draws, Traced, close, marking, opened, stand_in, trace_function, widened


def _as_tensor(x: Any, what: str) -> Tensor:
    if isinstance(x, Tensor):
        return x
    if dispatch.is_number(x) or isinstance(x, (np.ndarray, np.generic)):
        return tensor(x)
    raise ArgumentError(f"{what} must be a tensor or a number, got {type(x).__name__}")


def _tensors(tree: Any, what: str) -> tuple[list[Tensor], Structure]:
    leaves, structure = flatten(tree)
    paths = leaf_paths(structure, what)
    return [_as_tensor(x, path) for x, path in zip(leaves, paths, strict=True)], structure


def _same_structure(wanted: Structure, got: Structure, what: str) -> None:
    if wanted != got:
        raise TraceError(f"{what} changes its structure: it goes in as {wanted!r} and comes out as {got!r}")


def _same_types(before: Sequence[Node], after: Sequence[Node], paths: Sequence[str], what: str) -> None:
    for b, a, path in zip(before, after, paths, strict=True):
        if a.aval is not b.aval:
            error = ShapeError if a.shape != b.shape else DTypeError
            raise error(
                f"{what} changes its type: {path} goes in as {b.aval.describe()} and comes out as "
                f"{a.aval.describe()}; start with what a step returns, or convert in the step"
            )


def _adjusted(init: Any, before: Sequence[Node], after: Sequence[Node]) -> list[Node] | None:
    """The initial carry, its Python numbers in the dtype that a step gives them; None if nothing changes."""
    changed = False
    out = []
    for x, b, a in zip(flatten(init)[0], before, after, strict=True):
        if dispatch.is_number(x) and b.dtype is not a.dtype and b.shape == a.shape:
            b = cast(b, dtype=a.dtype)
            changed = True
        out.append(b)
    return out if changed else None


# -- scan ------------------------------------------------------------------------------------------------------


@dataclass
class _Step:
    """A traced step of a loop."""

    graph: Graph
    operands: list[Node]
    carry: list[Node]  #: after the step, as traced
    ys: Structure
    draws: Draws


@checked
def scan(
    function: Callable[..., Any], init: Any, xs: Any = None, length: Size | None = None, reverse: bool = False
) -> tuple[Any, Any]:
    """A loop with a fixed number of steps, as one operation: `carry, y = function(carry, x)` for each x of `xs`.

    Args:
        function: one step. It is traced once, so it works on any number of steps alike; it may use tensors from
            outside, which are the same in every step.
        init: the carry before the first step: a tensor, or nested tuples, lists and dicts of them. Every step
            returns a carry of the same structure, shapes and dtypes.
        xs: sequences, the steps along their first axis; None if a step needs no input but the carry.
        length: the number of steps; may be left out where `xs` tells it.
        reverse: start with the last x; y_i stays at the place of x_i.

    Returns: (carry after the last step, the y of all steps stacked along a new first axis).

    It can be differentiated in both modes, and mapped with `vmap`. Random draws inside differ from step to step.

    >>> total, sums = scan(lambda s, x: (s + x, s + x), tensor(0.0), tensor([1.0, 2.0, 3.0]))
    >>> sums.numpy()
    array([1., 3., 6.], dtype=float32)
    """
    start, structure = _tensors(init, "init")
    sequences, xs_structure = _tensors(xs, "xs")
    steps = _steps(sequences, leaf_paths(xs_structure, "xs"), length)
    before = [t._node for t in start]
    elements = [Aval(t.shape[1:], t.dtype) for t in sequences]
    step = _trace_step(function, before, structure, elements, xs_structure)
    adjusted = _adjusted(init, before, step.carry)
    if adjusted is not None:
        before = adjusted
        step = _trace_step(function, before, structure, elements, xs_structure)
    _same_types(before, step.carry, leaf_paths(structure, "carry"), "scan: the carry")
    states = step.draws.reserve(steps)
    if not step.graph.outputs:
        return init, unflatten(step.ys, [])
    args = (*step.operands, *before, *states, *[t._node for t in sequences])
    carries = len(before) + len(states)
    sig = scan_prim.signature(
        tuple([a.aval for a in args]), (step.graph, len(step.operands), carries, steps, bool(reverse), None)
    )
    outs = saving_results(sig, args)
    carry = [Tensor(n) for n in outs[: len(before)]]
    return unflatten(structure, carry), unflatten(step.ys, [Tensor(n) for n in outs[carries:]])


def _steps(sequences: list[Tensor], paths: list[str], length: Size | None) -> Size:
    found = length if length is None else check_shape(length)[0]
    for t, path in zip(sequences, paths, strict=True):
        if t.ndim == 0:
            raise ShapeError(f"scan: {path} has no axis of steps; it is a single number")
        if found is None:
            found = t.shape[0]
        elif t.shape[0] != found:
            raise ShapeError(
                f"scan: {path} has {t.shape[0]} steps along its first axis, {found} are expected"
            )
    if found is None:
        raise ArgumentError("scan needs xs or a length")
    return found


def _trace_step(
    function: Callable[..., Any],
    before: Sequence[Node],
    structure: Structure,
    elements: Sequence[Aval],
    xs_structure: Structure,
) -> _Step:
    carry_in = [stand_in(n.aval) for n in before]
    xs_in = [stand_in(a) for a in elements]
    trace = BodyTrace("scan")
    with opened(trace), marking() as bit:
        out = function(
            unflatten(structure, [Tensor(n) for n in carry_in]),
            unflatten(xs_structure, [Tensor(n) for n in xs_in]),
        )
        if not isinstance(out, tuple) or len(out) != 2:
            raise TraceError(f"scan: a step must return a pair (carry, y), got {type(out).__name__}")
        carry_leaves, carry_structure = _tensors(out[0], "carry")
        _same_structure(structure, carry_structure, "scan: the carry")
        y_leaves, ys = _tensors(out[1], "y")
        carry = [t._node for t in carry_leaves]
        outs = [*carry, *trace.draws.moved(), *[t._node for t in y_leaves]]
        inputs = [*carry_in, *trace.draws.inputs.values(), *xs_in]
        graph, operands = close(outs, inputs, bit=bit, hoist=True)
    return _Step(graph, operands, carry, ys, trace.draws)


# -- branches ------------------------------------------------------------------------------------------------


@checked
def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any) -> Any:
    """`true_fn(*operands)` where the condition holds, else `false_fn(*operands)`; only the one taken is computed.

    Args:
        pred: a boolean tensor of one element (or a Python bool, which chooses at once).
        true_fn, false_fn: functions that return tensors of the same structure, shapes and dtypes. Both are traced;
            they may use tensors from outside.
        operands: passed to either.

    It can be differentiated in both modes. Under `vmap` with a condition that differs between examples both
    branches are computed and the results chosen with `where`.

    >>> cond(tensor(True), lambda x: x + 1, lambda x: x * 0, tensor(2.0)).item()
    3.0
    """
    if isinstance(pred, (bool, np.bool_)):
        return (true_fn if pred else false_fn)(*operands)
    if not isinstance(pred, Tensor) or pred.dtype is not bool_ or pred.size != 1:
        got = f"a tensor {pred._node.aval.describe()}" if isinstance(pred, Tensor) else repr(pred)
        raise ArgumentError(f"cond: the condition must be one boolean, got {got}")
    index = cast(_scalar(pred._node), dtype=int64)
    return _branch("cond", index, (false_fn, true_fn), ("false_fn", "true_fn"), operands)


@checked
def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`, computing only that branch. An index out of range takes the nearest branch.

    Args:
        index: an integer tensor of one element (or a Python integer, which chooses at once).
        branches: functions that return tensors of the same structure, shapes and dtypes.
        operands: passed to any of them.
    """
    branches = list(branches)
    if not branches:
        raise ArgumentError("switch needs at least one branch")
    if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)
    if not isinstance(index, Tensor) or index.dtype.kind not in "ui" or index.size != 1:
        got = f"a tensor {index._node.aval.describe()}" if isinstance(index, Tensor) else repr(index)
        raise ArgumentError(f"switch: the index must be one integer, got {got}")
    names = [f"branch {i}" for i in range(len(branches))]
    return _branch("switch", _scalar(index._node), branches, names, operands)


def _scalar(node: Node) -> Node:
    return node if node.ndim == 0 else reshape(node, shape=())


def _branch(
    what: str,
    index: Node,
    functions: Sequence[Callable[..., Any]],
    names: Sequence[str],
    operands: tuple[Any, ...],
) -> Any:
    leaves, structure = flatten(operands)
    traced = [trace_function(what, f, leaves, structure) for f in functions]
    first = traced[0].structure
    for t, name in zip(traced[1:], names[1:], strict=True):
        if t.structure != first:
            raise TraceError(
                f"{what}: branches return different structures: {names[0]} {first!r}, {name} {t.structure!r}"
            )
    outs = _agreed(what, traced, names)
    if not outs[0]:
        return unflatten(first, [])
    closed = [t.close(o) for t, o in zip(traced, outs, strict=True)]
    # The operands of the primitive: what any branch uses from outside, random states, the arguments.
    used = list(dict.fromkeys(n for _, ops in closed for n in ops))
    draws = Draws.union([t.draws for t in traced])
    branches = tuple(
        [widened(graph, ops, t, used, draws) for (graph, ops), t in zip(closed, traced, strict=True)]
    )
    given = [x._node for x in leaves if isinstance(x, Tensor)]
    args = (index, *used, *draws.reserve(1), *given)
    sig = cond_prim.signature(tuple([a.aval for a in args]), (branches, None))
    return unflatten(first, [Tensor(n) for n in saving_results(sig, args)])


def _agreed(what: str, traced: Sequence[Traced], names: Sequence[str]) -> list[list[Node]]:
    """The results of all branches as nodes of the same types; a Python number takes the dtype of its counterpart."""
    paths = leaf_paths(traced[0].structure, "result")
    columns: list[list[Node]] = []
    for path, column in zip(paths, zip(*[t.leaves for t in traced], strict=True), strict=True):
        dtype = next((x.dtype for x in column if isinstance(x, Tensor)), None)
        nodes = []
        for x in column:
            if dispatch.is_number(x) and dtype is not None:
                nodes.append(dispatch.as_dtype(x, dtype))
            else:
                nodes.append(_as_tensor(x, f"{what}: {path}")._node)
        for n, name in zip(nodes, names, strict=True):
            if n.aval is not nodes[0].aval:
                error = ShapeError if n.shape != nodes[0].shape else DTypeError
                raise error(
                    f"{what}: branches must return the same types, but {path} is {nodes[0].aval.describe()} in "
                    f"{names[0]} and {n.aval.describe()} in {name}"
                )
        columns.append(nodes)
    return [list(row) for row in zip(*columns, strict=True)] or [[] for _ in traced]


# -- while -------------------------------------------------------------------------------------------------------


@checked
def while_loop(cond_fn: Callable[[Any], Any], body_fn: Callable[[Any], Any], init: Any) -> Any:
    """`carry = body_fn(carry)` as long as `cond_fn(carry)` holds, as one operation.

    Args:
        cond_fn: the carry to one boolean.
        body_fn: the carry to the next one, of the same structure, shapes and dtypes.
        init: a tensor, or nested tuples, lists and dicts of them.

    The number of steps is not known before it runs, so there is no reverse mode (use `scan`); forward mode and
    `vmap` work: a mapped loop runs until its last example is done.

    >>> while_loop(lambda x: x < 100, lambda x: x * 2, tensor(3)).item()
    192
    """
    start, structure = _tensors(init, "init")
    one = Structure(tuple, None, (structure,))
    before = [t._node for t in start]
    step = _loop_step(body_fn, before, structure)
    adjusted = _adjusted(init, before, step.carry)
    if adjusted is not None:
        before = adjusted
        step = _loop_step(body_fn, before, structure)
    _same_types(before, step.carry, leaf_paths(structure, "carry"), "while_loop: the carry")
    if not before:
        raise ArgumentError("while_loop needs a carry: without one the condition never changes")
    test = trace_function("while_loop", cond_fn, [Tensor(n) for n in before], one)
    pred = test.leaves[0] if len(test.leaves) == 1 else None
    if test.draws.inputs:
        raise TraceError(
            "while_loop: the condition draws random numbers; draw them in the body and carry them"
        )
    if isinstance(pred, bool):
        pred = tensor(pred)
    if not isinstance(pred, Tensor) or pred.dtype is not bool_ or pred.ndim:
        raise DTypeError(f"while_loop: the condition must return one boolean of shape (), got {pred!r}")
    states = [random_bits(n, shape=(2,), bits=64) for n in step.draws.reserve(1)]
    first = len(states)
    # The condition sees the whole carry, random states and all.
    graph, operands = test.close([pred._node])
    with isolated():
        unseen = fresh_inputs([n.aval for n in states])
    holds = Graph([*graph.inputs[: len(operands)], *unseen, *graph.inputs[len(operands) :]], graph.outputs)
    node = while_prim(
        *operands,
        *step.operands,
        *states,
        *before,
        cond=holds,
        body=step.graph,
        cond_consts=len(operands),
        body_consts=len(step.operands),
    )
    return unflatten(structure, [Tensor(n) for n in results(node)[first:]])


def _loop_step(function: Callable[..., Any], before: Sequence[Node], structure: Structure) -> _Step:
    traced = trace_function(
        "while_loop", function, [Tensor(n) for n in before], Structure(tuple, None, (structure,))
    )
    _same_structure(structure, traced.structure, "while_loop: the carry")
    paths = leaf_paths(structure, "carry")
    carry = [_as_tensor(x, path)._node for x, path in zip(traced.leaves, paths, strict=True)]
    graph, operands = traced.close([*traced.moved, *carry])
    return _Step(graph, operands, carry, structure, traced.draws)
