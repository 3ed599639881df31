"""`vmap`: a function of one example becomes a function of many."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff.batching import batch_nodes, spread
from ..base.checked import checked
from ..base.errors import ArgumentError, ShapeError, TraceError
from ..base.pytree import Structure, flatten, unflatten
from ..base.state import state
from ..ir.dtype import uint64
from ..ir.node import Aval, Node
from ..ir.shape import Size, normalize_axis, show_shape
from ..ops.arithmetic import mul
from ..ops.indexing import iota
from ..ops.movement import permute
from ..ops.random import advance, count_node
from . import dispatch
from .creation import tensor
from .tensor import Tensor
from .tracing import Trace, marking, opened, outside, refuse_escaped, stand_in, tensors_only


class VmapTrace(Trace):
    """The open trace of a `vmap`: one example stands for all."""

    def __init__(self, size: Size, randomness: str) -> None:
        super().__init__("vmap")
        self.size = size
        self.randomness = randomness
        self.inputs: list[Node] = []  # placeholders,
        self.batched: list[Node] = []  # and what they stand for: the same with the mapped axis in front

    def map(self, node: Node) -> Node:
        """A placeholder for one example of `node`, whose first axis is mapped."""
        inner = stand_in(Aval(node.shape[1:], node.dtype))
        self.inputs.append(inner)
        self.batched.append(node)
        return inner

    def draw(self, generator: Any, count: Size) -> Node:
        """The state for a random draw of `count` blocks."""
        if self.randomness == "error":
            raise ArgumentError(
                "a random draw inside vmap: pass randomness='different' for numbers of its own for every example, "
                "or randomness='same' for the same numbers for all"
            )
        with outside(self):
            if self.randomness == "same":
                return generator.draw_state(count)
            start = generator.draw_state(count * self.size)
            steps = mul(iota(size=self.size, dtype=uint64), count_node(count))
            return self.map(advance(start, steps))


@checked
def vmap(
    function: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    *,
    randomness: str = "error",
    axis_size: int | None = None,
) -> Callable[..., Any]:
    """Map `function` over an axis of its arguments: written for one example, applied to all of them at once.

    Args:
        function: takes and returns tensors, in nested tuples, lists and dicts. It runs once, on stand-ins for one
            example; tensors it closes over are the same for every example.
        in_axes: the axis of each positional argument that counts the examples: an integer for all, or a tuple
            with an integer, None (the same for every example) or a nested container of them for each argument.
            Keyword arguments are the same for every example.
        out_axes: where that axis goes in the results, in the same way; None for a result that does not depend on
            the mapped arguments.
        randomness: what random draws inside do: "error" raises, "different" gives every example its own numbers,
            "same" gives all the same.
        axis_size: the number of examples, needed only where no argument is mapped.

    Returns: a function of the mapped arguments. It nests with itself and with `grad`, `jvp` and their kin:
    `vmap(grad(loss), in_axes=(None, 0))` is the gradient of each example.

    Raises: ShapeError if the mapped axes differ in size; TraceError if the function looks at a value or changes a
    tensor made outside.

    >>> norms = vmap(lambda row: (row * row).sum())
    >>> norms(tensor([[3.0, 4.0], [6.0, 8.0]])).numpy()
    array([ 25., 100.], dtype=float32)
    """
    dispatch.check_choice("randomness", randomness, ("error", "different", "same"))

    @functools.wraps(function)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten(args)
        axes = _spread_axes(in_axes, structure, "in_axes")
        found = [_front(x, a, i) for i, (x, a) in enumerate(zip(leaves, axes, strict=True))]
        size = _common_size([n for n in found if n is not None], axis_size)
        trace = VmapTrace(size, randomness)
        inner = [x if n is None else Tensor(trace.map(n)) for x, n in zip(leaves, found, strict=True)]
        with opened(trace), marking() as mark:
            out = function(*unflatten(structure, inner), **kwargs)
            out_leaves, out_structure = flatten(out)
            nodes = [t._node for t in tensors_only(out_leaves, "a function given to vmap")]
        saved = state.grad
        try:
            state.grad = True  # what was computed under no_grad is known by its flags
            pairs = batch_nodes(nodes, trace.inputs, trace.batched, size, mark=mark)
        finally:
            state.grad = saved
        refuse_escaped([n for n, _ in pairs])
        places = _spread_axes(out_axes, out_structure, "out_axes")
        final = [_place(n, b, a, size, i) for i, ((n, b), a) in enumerate(zip(pairs, places, strict=True))]
        return unflatten(out_structure, final)

    return mapped


def _spread_axes(axes: Any, structure: Structure, what: str) -> list[int | None]:
    """An axis for every leaf of `structure`; an integer or None stands for a whole sub-tree."""
    if axes is None or (isinstance(axes, int) and not isinstance(axes, bool)):
        return [axes] * structure.size
    if isinstance(axes, dict) and structure.kind is not None and isinstance(structure.aux, tuple):
        if set(axes) != set(structure.aux):
            raise ArgumentError(
                f"{what} has keys {sorted(axes)}, the mapped dict has {sorted(structure.aux)}"
            )
        parts = [axes[k] for k in structure.aux]
    elif isinstance(axes, (tuple, list)) and structure.kind is not None:
        parts = list(axes)
        if len(parts) != len(structure.children):
            raise ArgumentError(
                f"{what}={axes!r} has {len(parts)} entries for {len(structure.children)} values; "
                "give one for each, or a single integer for all"
            )
    else:
        raise ArgumentError(f"{what} must hold integers or None in the structure {structure!r}, got {axes!r}")
    return [
        a for p, child in zip(parts, structure.children, strict=True) for a in _spread_axes(p, child, what)
    ]


def _front(x: Any, axis: int | None, position: int) -> Node | None:
    """The node of a mapped argument with the mapped axis in front; None for one that is not mapped."""
    if axis is None:
        return None
    if isinstance(x, (np.ndarray, np.generic)):
        x = tensor(x)
    if not isinstance(x, Tensor):
        raise ArgumentError(
            f"vmap: leaf {position} of the arguments is a {type(x).__name__}, which has no axis to map over; "
            "give it None in in_axes"
        )
    if x.ndim == 0:
        raise ShapeError(
            f"vmap: leaf {position} of the arguments has no dimensions to map over; give it None in in_axes"
        )
    return move_axis(x._node, normalize_axis(axis, x.ndim, "vmap: in_axes"), 0)


def move_axis(node: Node, source: int, target: int) -> Node:
    """`node` with one axis at another place and the others in their order."""
    if source == target:
        return node
    order = [i for i in range(node.ndim) if i != source]
    order.insert(target, source)
    return permute(node, axes=tuple(order))


def _common_size(nodes: list[Node], given: Size | None) -> Size:
    sizes: list[Size] = [n.shape[0] for n in nodes]
    if given is not None:
        sizes.append(given)
    if not sizes:
        raise ArgumentError("vmap maps over no argument; give axis_size, or an axis in in_axes")
    if any(s != sizes[0] for s in sizes):
        listed = show_shape(tuple(sizes))
        raise ShapeError(f"vmap: the mapped axes of the arguments have different sizes {listed}")
    return sizes[0]


def _place(node: Node, carries: bool, axis: int | None, size: Size, position: int) -> Tensor:
    if axis is None:
        if carries:
            raise TraceError(
                f"result {position} depends on the mapped arguments, so out_axes cannot be None for it"
            )
        return Tensor(node)
    if not carries:
        node = spread(node, size)
    return Tensor(move_axis(node, 0, normalize_axis(axis, node.ndim, "vmap: out_axes")))
