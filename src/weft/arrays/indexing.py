"""Indexing: `x[key]`, and `x[key] = value`, which makes the tensor hold another value.

A key is taken apart into a plan (`index_plan`). Slices are applied first; the axes that are read at integer positions
are then read by one gather, or written by one scatter. What that builds follows from the key and the types alone unless
a mask stands in the key: it is worked out once.
"""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import Any

import numpy as np

from ..base.checked import refuse_masked
from ..base.errors import DTypeError, ShapeError
from ..base.state import state
from ..ir.dtype import DType, bool_, int64
from ..ir.node import Aval, Node, Signature, make_node
from ..ir.primitive import leaf
from ..ir.shape import Shape, broadcasts_to, show_shape
from ..ops import dynamic
from ..ops import elementwise as e
from ..ops import indexing as at
from ..ops import movement as m
from ..runtime.buffer import Buffer
from .cell import Handle
from .dispatch import application, as_dtype, is_number, node_of, note_application, number_leaf, ours
from .index_plan import Part, Plan, checked, flat_positions, item
from .remembered import NEW, Recipe, recipe

# -- what a key builds, remembered ------------------------------------------------------------------------------

#: (key, whether gradients are recorded, types and flags of the nodes) -> how the result is built.
_known: dict[Any, Recipe | None] = {}
_MOST = 4096


def _once(nodes: tuple[Node, ...], key: Any, build: Callable[..., Node]) -> Node:
    """`build(*nodes, key)`, as it was built before for the same key and types of nodes.

    Each time the numbers are leaves of their own: with shared ones the graph would depend on which indices happen to
    be equal, and be compiled anew where they are.
    """
    slots = [*nodes]
    told = None if state.ambient or state.eager else _told(key, slots)
    if told is None:
        return build(*nodes, key)
    told += len(nodes), state.grad and state.active
    for n in slots:
        told += n.sig.out, n.flags
    known = tuple(told)
    found = _known.get(known, NEW)
    if found is NEW:  # not in an `except KeyError`, which would be shown with every error from here
        out = build(*nodes, key)
        _note(_known, known, recipe(slots, [out]) if len(set(slots)) == len(slots) else None)
        return out
    if found is None:
        return build(*nodes, key)
    found.extend(slots, [Node(n.sig, (), n.value, 0, None) for n in found.numbers])
    return slots[-1]


def _told(key: Any, indices: list[Node]) -> list[Any] | None:
    """What tells a key from all others, but for its tensors of integers, which are added to `indices`; None for a key
    that holds anything else than those, integers, slices of them, None and '...'."""
    parts: list[Any] = []
    for k in key if type(key) is tuple else (key,):
        kind = type(k)
        if kind is slice:
            start, stop, step = k.start, k.stop, k.step
            if start is None and stop is None and step is None:
                parts.append(slice)
            elif _PLAIN.issuperset((type(start), type(stop), type(step))):
                parts.append((start, stop, step))
            else:
                return None
        elif kind in _PLAIN:
            parts.append(k)
        elif kind in ours and k._cell.node.dtype.kind in "iu":
            parts.append(Handle)
            indices.append(k._cell.node)
        else:
            return None
    return parts


_PLAIN = frozenset((int, type(None), EllipsisType))


# -- reading --------------------------------------------------------------------------------------------------


def get(node: Node, key: Any) -> Node:
    """`x[key]`."""
    if isinstance(node.value, Buffer) and not node.flags and not state.ambient:
        found = _at_hand(node.value.array, key, node.dtype)
        if found is not None:
            return found
    quick = None if type(key) is tuple else _quickly(node, key)
    return _once((node,), key, _read) if quick is None else quick


#: Bytes that are copied in less time than it takes to find the program that would.
_LITTLE = 1 << 12


def _at_hand(array: np.ndarray, key: Any, dtype: DType) -> Node | None:
    """A little of a value that is in memory, copied at once. None where that cannot be done, or is too much."""
    arrays: list[Node] = []
    if _told(key, arrays) is None or arrays:
        return None
    try:
        part = array[key]
    except (IndexError, ValueError):
        return None  # what is wrong with it is said where the key is taken apart
    if part.nbytes > _LITTLE:
        return None
    own = np.array(part, array.dtype, order="C")
    return leaf(Aval(own.shape, dtype), Buffer(own))


def _read(node: Node, key: Any) -> Node:
    plan = Plan(node, key)
    if plan.shape != node.shape:
        node = m.reshape.bind((node,), (plan.shape,))
    if plan.places:
        return _gathered(_sliced(node, plan.parts), plan)
    node = _sliced(node, plan.parts, plan.numbers)
    shape = plan.result
    return node if node.shape == shape else m.reshape.bind((node,), (shape,))


def _quickly(node: Node, key: Any) -> Node | None:
    """The common keys, written out: an integer, a window `i : i + n`, an index tensor; None for all others."""
    aval: Aval = node.sig.out  # type: ignore[assignment]
    kind, shape = type(key), aval.shape
    if not shape or type(shape[0]) is not int:
        return None
    if kind is int:
        start = number_leaf(checked(key, 0, shape), int64)
        found = _rows.get(aval)
        if found is None:
            window = dynamic.dynamic_slice.signature((aval, start.aval), ((0,), (1,)))
            found = window, m.reshape.signature((window.out,), (shape[1:],))  # type: ignore[arg-type]
            _note(_rows, aval, found)
        row = make_node(found[0], (node, start))
        return Node(found[1], (row,), None, row.flags, row.site)
    if kind is slice:
        a, b = key.start, key.stop
        if type(a) is int and type(b) is int and key.step is None and 0 <= a < b <= shape[0]:
            return dynamic.dynamic_slice.bind((node, number_leaf(a, int64)), ((0,), (b - a,)))
    elif isinstance(key, Handle):
        index = key._cell.node
        sig = _gathers.get((aval, index.sig.out))
        if sig is None:
            if _covers(index, node):
                return at.gather.bind((_flat(node), flat_positions(index)), ((0,),))
            if index.dtype.kind not in "iu":
                return None
            sig = at.gather.signature((aval, index.aval), ((0,),))
            _note(_gathers, (aval, index.aval), sig)
        return make_node(sig, (node, index))
    return None


def _covers(mask: Node, node: Node) -> bool:
    """Whether a mask says of each element of a tensor whether it is selected."""
    return mask.dtype is bool_ and mask.shape == node.shape and node.ndim > 0 and type(node.size) is int


def _flat(node: Node) -> Node:
    return node if node.ndim == 1 else m.reshape.bind((node,), ((node.size,),))


#: Types -> signatures of what the common keys build: a window of one row and the row; what is read at indices.
_rows: dict[Aval, tuple[Signature, Signature]] = {}
_gathers: dict[tuple[Any, Any], Signature] = {}


def _note(known: dict[Any, Any], key: Any, value: Any) -> None:
    if len(known) >= _MOST:
        known.clear()
    known[key] = value


def _sliced(node: Node, parts: dict[int, Part], numbers: dict[int, int] | None = None) -> Node:
    """The slices taken; axes with a number become axes of size 1."""
    axes, starts, sizes = [], [], []
    low, high, step, flips = [0] * node.ndim, list(node.shape), [1] * node.ndim, []
    fixed = False
    for axis, part in parts.items():
        if part.reverse:
            flips.append(axis)
        if part.whole:
            continue
        if part.moves:
            axes.append(axis)
            starts.append(number_leaf(part.start, int64))
            sizes.append(part.size)
        else:
            fixed = True
            low[axis], step[axis] = part.start, part.step
            high[axis] = (
                part.start + part.size if part.step == 1 else part.start + (part.size - 1) * part.step + 1
            )  # type: ignore[operator]
    for axis, i in (numbers or {}).items():
        if i < 0:  # from the end of a named dimension
            node = at.take(node, number_leaf(i, int64), axis)
            node = m.reshape.bind((node,), ((*node.shape[:axis], 1, *node.shape[axis:]),))
            high[axis] = 1
        else:
            axes.append(axis)
            starts.append(number_leaf(i, int64))
            sizes.append(1)
    if fixed:
        node = m.slice_.bind((node,), (tuple(low), tuple(high), tuple(step)))
    if axes:
        node = dynamic.dynamic_slice.bind((node, *starts), (tuple(axes), tuple(sizes)))
    return m.flip.bind((node,), (tuple(flips),)) if flips else node


def _gathered(node: Node, plan: Plan) -> Node:
    """The elements at the plan's places, with the axes of the result in order."""
    axes = tuple(plan.places)
    node = at.gather.bind((node, *plan.places.values()), (axes,))
    rank = len(plan.spread)
    rest = list(plan.parts)  # in order: what gather leaves after the index dimensions
    order: list[int] = []
    for a in plan.layout:
        if a == "places":
            order += range(rank)
        elif a is not None:
            order.append(rank + rest.index(a))
    if order != list(range(len(order))):
        node = m.permute.bind((node,), (tuple(order),))
    shape = plan.result
    return node if node.shape == shape else m.reshape.bind((node,), (shape,))


# -- writing --------------------------------------------------------------------------------------------------


def put(x: Handle, key: Any, value: Any) -> Node:
    """The node that `x` holds after `x[key] = value`."""
    node = x._cell.node
    choice = (type(value) is float or type(value) is int) and isinstance(key, Handle)
    if choice and key._cell.node.shape == node.shape:  # a number where a mask says so, of the type that x has
        chosen = application(e.where, (key, value, x))
        if chosen is not None:
            return chosen
    update = _update_node(value, node)
    chosen = _masked(node, key, update)
    if chosen is not None:
        if choice and chosen.prim is e.where:
            note_application(e.where, (key, value, x), chosen)
        return chosen
    if isinstance(key, Handle) and _covers(key._cell.node, node):
        places = flat_positions(key._cell.node)
        update = _fitted(update, places.shape, node)
        work = at.scatter.bind((_flat(node), update, places), ((0,),))
        return work if work.shape == node.shape else m.reshape.bind((work,), (node.shape,))
    return _once((node, update), key, _written)


def _written(node: Node, update: Node, key: Any) -> Node:
    plan = Plan(node, key)
    work = node if plan.shape == node.shape else m.reshape.bind((node,), (plan.shape,))
    update = _fitted(update, plan.result, node)
    if (
        plan.places
        or any(p.step != 1 for p in plan.parts.values())
        or any(i < 0 for i in plan.numbers.values())
    ):
        work = _scattered(work, plan, update)
    else:
        work = _window_written(work, plan, update)
    return work if work.shape == node.shape else m.reshape.bind((work,), (node.shape,))


_RANK = "buifc"


def _update_node(value: Any, node: Node) -> Node:
    """What is assigned, in the dtype of the tensor; a float does not silently become an integer."""
    dtype = node.dtype
    if type(value) in ours and value._cell.node.dtype is dtype:
        return value._cell.node
    if not isinstance(value, Handle) and is_number(value):
        kind = (
            "b"
            if isinstance(value, bool)
            else "i"
            if isinstance(value, int)
            else "fc"[isinstance(value, complex)]
        )
    else:
        if not isinstance(value, (Handle, np.ndarray, np.generic)):
            refuse_masked(value)
            try:
                value = np.asarray(value)
            except ValueError as e:
                raise ShapeError(f"a list that is assigned must be rectangular: {e}") from None
            if value.dtype.kind not in _RANK:
                raise DTypeError(
                    f"cannot assign {type(value).__name__} of {value.dtype} to elements of {dtype}"
                )
        kind = node_of(value).dtype.kind
    if _RANK.index(kind.replace("u", "i")) > _RANK.index(dtype.kind.replace("u", "i")):
        what = {"i": "integers", "f": "floats", "c": "complex numbers"}[kind.replace("u", "i")]
        raise DTypeError(
            f"cannot assign {what} to elements of a {dtype} tensor; convert one of them with astype"
        )
    return as_dtype(value, dtype)


def _fitted(update: Node, shape: Shape, node: Node) -> Node:
    """The assigned value, broadcast to the shape of what the key selects."""
    extra = update.ndim - len(shape)
    if extra > 0 and all(n == 1 for n in update.shape[:extra]):
        update = m.reshape.bind((update,), (update.shape[extra:],))
    if not broadcasts_to(update.shape, shape):
        raise ShapeError(
            f"cannot assign a value of shape {show_shape(update.shape)} to the {show_shape(shape)} elements that the "
            f"index selects from a tensor of shape {show_shape(node.shape)}"
        )
    return m.broadcast_to(update, shape)


def _masked(node: Node, key: Any, update: Node) -> Node | None:
    """`x[mask] = value` as a choice, where the value is the same however many elements the mask selects."""
    keys = key if type(key) is tuple else (key,)
    if len(keys) == 2 and keys[1] is Ellipsis:
        keys = keys[:1]
    if len(keys) != 1 or not isinstance(keys[0], (Handle, np.ndarray, bool, np.bool_)):
        return None
    mask = item(keys[0])
    if mask.dtype is not bool_ or mask.shape != node.shape[: mask.ndim]:
        return None
    rest = node.shape[mask.ndim :]
    if update.ndim > len(rest):
        return None
    update = _fitted(update, rest, node)
    wide = m.reshape.bind((mask,), ((*mask.shape, *[1] * len(rest)),)) if rest else mask
    out = e.where.bind((wide, update, node))
    return out if out.shape == node.shape else m.broadcast_to(out, node.shape)


def _window_written(node: Node, plan: Plan, update: Node) -> Node:
    """A rectangular part of the tensor replaced."""
    sizes = [1 if a in plan.numbers else plan.parts[a].size for a in range(node.ndim)]
    if update.shape != tuple(sizes):
        update = m.reshape.bind((update,), (tuple(sizes),))
    flips = tuple([a for a, p in plan.parts.items() if p.reverse])
    if flips:
        update = m.flip.bind((update,), (flips,))
    axes = [a for a in range(node.ndim) if a in plan.numbers or not plan.parts[a].whole]
    if not axes:
        return m.identity.bind((update,))
    starts = [plan.numbers[a] if a in plan.numbers else plan.parts[a].start for a in axes]
    leaves = [number_leaf(s, int64) for s in starts]
    return dynamic.dynamic_update_slice.bind((node, update, *leaves), (tuple(axes),))


def _scattered(node: Node, plan: Plan, update: Node) -> Node:
    """Elements at arbitrary places replaced. Slices that are not whole become lines of positions, which span a grid
    with the other index arrays."""
    places = dict(plan.places)
    places.update({a: number_leaf(i, int64) for a, i in plan.numbers.items()})
    lines = [a for a, p in plan.parts.items() if not p.whole]
    depth = len(lines)
    grid = {a: _with_ones(n, depth) for a, n in places.items()}
    for i, a in enumerate(lines):
        grid[a] = _with_ones(plan.parts[a].positions(), depth - 1 - i)
    # The update's axes: index dimensions, then those of the lines, then the whole axes.
    sizes = tuple([n for a, n in zip(plan.layout, _lengths(plan), strict=True) if a is not None for n in n])
    if update.shape != sizes:
        update = m.reshape.bind((update,), (sizes,))
    at_axis: dict[Any, list[int]] = {}
    position = 0
    for a, n in zip(plan.layout, _lengths(plan), strict=True):
        if a is not None:
            at_axis[a] = list(range(position, position + len(n)))
            position += len(n)
    whole = [a for a, p in plan.parts.items() if p.whole]
    turned = tuple([i for a in whole if plan.parts[a].reverse for i in at_axis[a]])
    if turned:
        update = m.flip.bind((update,), (turned,))
    order = tuple([i for a in ("places", *lines, *whole) for i in at_axis.get(a, [])])
    if order != tuple(range(len(order))):
        update = m.permute.bind((update,), (order,))
    return at.scatter.bind((node, update, *grid.values()), (tuple(grid),))


def _lengths(plan: Plan) -> list[Shape]:
    """The sizes that each entry of the plan's layout stands for."""
    return [
        (1,) if a is None else plan.spread if a == "places" else (plan.parts[a].size,) for a in plan.layout
    ]


def _with_ones(node: Node, count: int) -> Node:
    """`node` with `count` axes of size 1 added at the end."""
    return m.reshape.bind((node,), ((*node.shape, *[1] * count),)) if count else node
