"""Indexing: `x[key]`, and `x[key] = value`, which makes the tensor hold another value.

A key is taken apart into one item for each axis (`_Plan`). Slices are applied first; what is left are axes that are
read at integer positions, all at once, by one gather (or written by one scatter). Integers and the starts of slices
are run-time operands, so `x[i]` and `x[i:i+n]` are one program for every i; sizes and steps are structure.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..base.errors import DTypeError, IndexingError, ShapeError, TraceError
from ..base.state import state
from ..ir.dtype import bool_, int64
from ..ir.node import TRACED, Node
from ..ir.shape import Shape, Size, broadcast_shapes, show_shape
from ..ops import dynamic
from ..ops import elementwise as e
from ..ops import indexing as at
from ..ops import movement as m
from ..runtime.buffer import Buffer
from .cell import Handle, flush
from .dispatch import as_dtype, buffer_leaf, is_number, node_of, number_leaf

_FULL = slice(None)


class _Part:
    """A slice of one axis: `size` elements from `start` on, every `step`-th, and whether they are then reversed.

    `moves` says that the start is a run-time number.
    """

    __slots__ = ("start", "size", "step", "reverse", "moves", "whole")

    def __init__(self, key: slice, n: Size) -> None:
        self.moves = self.reverse = False
        self.start, self.step = 0, 1
        self.whole = key.start is None and key.stop is None and key.step is None
        self.size: Size = n
        if self.whole:
            return
        if not isinstance(n, int):
            self._open(key, n)
            return
        try:
            start, stop, step = key.indices(n)
        except ValueError:
            raise IndexingError("the step of a slice must not be 0") from None
        except TypeError:
            raise IndexingError(f"a slice is made of integers and None, got {key!r}") from None
        count = len(range(start, stop, step))
        if step < 0:
            self.reverse, start, step = True, start + (count - 1) * step if count else 0, -step
        # Both ends given, on the same side: a window, as in x[i : i + n]. Otherwise the size moves with the start.
        self.moves = step == 1 and not self.reverse and key.start is not None and key.stop is not None
        if self.moves and (operator.index(key.start) < 0) != (operator.index(key.stop) < 0):  # type: ignore[arg-type]
            self.moves = False
        if count == 0:
            start, step, self.moves = 0, 1, False
        self.start, self.size, self.step = start, count, step
        self.whole = count == n and start == 0 and step == 1 and not self.moves

    def _open(self, key: slice, n: Size) -> None:
        """A slice of a named dimension: everything, reversed or not, or the part before or after a fixed place."""
        if key.start is None and key.stop is None and key.step in (1, -1):
            self.reverse, self.whole = key.step == -1, True
        elif key.step in (None, 1) and key.start is None and isinstance(key.stop, int) and key.stop >= 0:
            self.size = key.stop
        elif key.step in (None, 1) and key.stop is None and isinstance(key.start, int) and key.start >= 0:
            self.start, self.size = key.start, n - key.start
        elif key.step in (None, 1) and isinstance(key.start, int) and isinstance(key.stop, int):
            if not 0 <= key.start <= key.stop:
                raise IndexingError(f"{_show(key)} cannot be worked out while the dimension {n} is open")
            self.start, self.size, self.moves = key.start, key.stop - key.start, True
        else:
            raise IndexingError(f"{_show(key)} cannot be worked out while the dimension {n} is open")

    def positions(self) -> Node:
        """The indices of the selected elements, in the order of the result."""
        line = at.iota(size=self.size, dtype=int64)
        if self.reverse:
            line = m.flip(line, axes=(0,))
        if self.step != 1:
            line = line * number_leaf(self.step, int64)
        return line + number_leaf(self.start, int64)


def _show(key: slice) -> str:
    ends = ["" if k is None else str(k) for k in (key.start, key.stop)]
    return ":".join(ends) + ("" if key.step is None else f":{key.step}")


class _Plan:
    """A key, taken apart for a tensor of one shape.

    Of every axis either `parts` has the slice, or `places` the index node, or `numbers` the Python integer (only where
    no index array stands in the key). All index nodes broadcast to `spread`. `layout` is the result's axes in order:
    an axis number, None for a new axis, and "places" for the dimensions of the index nodes.

    `shape` is the tensor's, with an axis of size 1 wherever the key has a mask of no dimensions.
    """

    __slots__ = ("shape", "parts", "places", "numbers", "spread", "layout")

    def __init__(self, node: Node, key: Any) -> None:
        items, self.shape = _expand(key, node)
        self.parts: dict[int, _Part] = {}
        self.places: dict[int, Node] = {}
        self.numbers: dict[int, int] = {}
        self.spread: Shape = ()
        self.layout: list[Any] = []
        fancy = any(isinstance(k, (Node, tuple)) for k in items)
        axis, between, apart = 0, False, False
        for k in items:
            if k is Ellipsis:  # separates index arrays even where it stands for no axis
                between = True
            elif k is None:
                self.layout.append(None)
                between = True
            elif type(k) is slice:
                self.parts[axis] = _Part(k, self.shape[axis])
                self.layout.append(axis)
                axis += 1
                between = True
            elif not fancy:
                self.numbers[axis] = _checked(k, axis, self.shape)
                axis += 1
            else:
                # Index arrays, and integers beside them, are one block of the result; it comes first of all
                # where anything stands between two of them.
                if "places" not in self.layout:
                    self.layout.append("places")
                    between = False
                apart = apart or between
                for node_ in k if type(k) is tuple else (k,):
                    if type(node_) is int:
                        node_ = number_leaf(_checked(node_, axis, self.shape), int64)
                    self.places[axis] = node_
                    axis += 1
        if apart:
            self.layout.remove("places")
            self.layout.insert(0, "places")
        if self.places:
            try:
                self.spread = broadcast_shapes(*[n.shape for n in self.places.values()])
            except ShapeError as error:
                raise IndexingError(f"index arrays must broadcast against each other: {error}") from None

    @property
    def result(self) -> Shape:
        """The shape of what the key selects."""
        out: list[Size] = []
        for a in self.layout:
            if a is None:
                out.append(1)
            elif a == "places":
                out += self.spread
            else:
                out.append(self.parts[a].size)
        return tuple(out)


def _expand(key: Any, node: Node) -> tuple[list[Any], Shape]:
    """One item for each axis in order (an int, a slice, an index node, or a tuple of index nodes for the axes of a
    mask), None for new axes; and the shape that they index: see `_Plan.shape`."""
    items = [_item(k) for k in key] if type(key) is tuple else [_item(key)]
    used = sum([_consumed(k) for k in items])
    if used > node.ndim:
        raise IndexingError(
            f"too many indices: the tensor has shape {show_shape(node.shape)}, {used} axes were indexed"
        )
    dots = [i for i, k in enumerate(items) if k is Ellipsis]
    if len(dots) > 1:
        raise IndexingError("an index can contain only one '...'")
    at_dots = dots[0] if dots else len(items)
    items[at_dots + len(dots) : at_dots + 1] = [_FULL] * (node.ndim - used)
    out: list[Any] = []
    shape = list(node.shape)
    axis = 0
    for k in items:
        if isinstance(k, Node) and k.dtype is bool_:
            if k.ndim == 0:
                shape.insert(axis, 1)
            k = _positions(k, axis, tuple(shape))
            axis += len(k)
        elif k is not None and k is not Ellipsis:
            axis += 1
        out.append(k)
    return out, tuple(shape)


def _item(k: Any) -> Any:
    """One item of a key in canonical form: None, Ellipsis, an int, a slice or an index node."""
    if k is None or k is Ellipsis or type(k) is slice or type(k) is int:
        return k
    if isinstance(k, Handle):
        node = k._cell.node
        if node.dtype.kind not in "iub":
            raise IndexingError(f"an index tensor holds integers or booleans, got {node.aval.describe()}")
        return node
    if isinstance(k, (bool, np.bool_)):
        return number_leaf(bool(k), bool_)
    if isinstance(k, (list, np.ndarray)):
        array = np.asarray(k)
        if array.size == 0 and isinstance(k, list):
            array = array.astype(np.int64)
        if array.dtype.kind not in "iub":
            raise IndexingError(f"an index array holds integers or booleans, got {array.dtype}")
        return node_of(array)
    try:
        return operator.index(k)
    except TypeError:
        raise IndexingError(
            f"an index is an integer, a slice, '...', None, or a tensor of integers or booleans, got {type(k).__name__}"
        ) from None


def _consumed(k: Any) -> int:
    """How many axes an item of a key takes up."""
    if k is None or k is Ellipsis:
        return 0
    return k.ndim if isinstance(k, Node) and k.dtype is bool_ else 1


def _checked(i: int, axis: int, shape: Shape) -> int:
    """An integer index, if it lies inside the axis; counted from the front where the size is known."""
    n = shape[axis]
    if not isinstance(n, int):
        return i
    if not -n <= i < n:
        valid = f"valid: {-n} to {n - 1}" if n else "the axis is empty"
        raise IndexingError(f"index {i} is out of bounds for axis {axis} with size {n} ({valid})")
    return i + n if i < 0 else i


def known(node: Node, why: str, instead: str) -> np.ndarray:
    """The value of a node that decides a shape: computed now, and an error inside a trace."""
    if node.flags & TRACED or state.ambient & TRACED:
        raise TraceError(
            f"{why}: the shape of the result depends on data, which a traced program cannot have. {instead}"
        )
    if node.value is None:
        flush(node)
    value = node.value
    return value.array if isinstance(value, Buffer) else np.asarray(value, dtype=node.dtype.numpy)


_INSTEAD = (
    "Use weft.where(mask, x, other), which keeps the shape, or weft.nonzero(mask, size=n), which fixes it; "
    "x[mask] = value works if value does not depend on how many elements the mask selects"
)


def _positions(mask: Node, axis: int, shape: Shape) -> tuple[Node, ...]:
    """The positions of the True elements of a mask, an index node for each axis that it covers."""
    for i, have in enumerate(mask.shape):
        want = shape[axis + i]
        if have not in (want, 0):
            raise IndexingError(
                f"a mask of shape {show_shape(mask.shape)} does not fit a tensor of shape {show_shape(shape)}: "
                f"sizes {have} and {want} on axis {axis + i}"
            )
    value = known(mask, "a boolean mask selects as many elements as are True", _INSTEAD)
    if mask.ndim == 0:
        return (buffer_leaf(np.zeros(int(value), np.int64), int64),)
    return tuple([buffer_leaf(np.array(line, np.int64), int64) for line in np.nonzero(value)])


# -- reading --------------------------------------------------------------------------------------------------


def get(node: Node, key: Any) -> Node:
    """`x[key]`."""
    quick = _quickly(node, key)
    if quick is not None:
        return quick
    plan = _Plan(node, key)
    if plan.shape != node.shape:
        node = m.reshape.bind((node,), (plan.shape,))
    if plan.places:
        return _gathered(_sliced(node, plan.parts), plan)
    node = _sliced(node, plan.parts, plan.numbers)
    shape = plan.result
    return node if node.shape == shape else m.reshape.bind((node,), (shape,))


def _quickly(node: Node, key: Any) -> Node | None:
    """The common keys, written out: an integer, a window `i : i + n`, an index tensor; None for all others."""
    if not node.shape or type(node.shape[0]) is not int:
        return None
    if type(key) is int:
        start = number_leaf(_checked(key, 0, node.shape), int64)
        row = dynamic.dynamic_slice.bind((node, start), ((0,), (1,)))
        return m.reshape.bind((row,), (node.shape[1:],))
    if type(key) is slice:
        a, b = key.start, key.stop
        if type(a) is int and type(b) is int and key.step is None and 0 <= a < b <= node.shape[0]:
            return dynamic.dynamic_slice.bind((node, number_leaf(a, int64)), ((0,), (b - a,)))
    elif isinstance(key, Handle) and key._cell.node.dtype.kind in "iu":
        return at.gather.bind((node, key._cell.node), ((0,),))
    return None


def _sliced(node: Node, parts: dict[int, _Part], numbers: dict[int, int] | None = None) -> Node:
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


def _gathered(node: Node, plan: _Plan) -> Node:
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


def put(node: Node, key: Any, value: Any) -> Node:
    """The node that `x` holds after `x[key] = value`."""
    update = _update_node(value, node)
    chosen = _masked(node, key, update)
    if chosen is not None:
        return chosen
    plan = _Plan(node, key)
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
            value = np.asarray(value)
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
    try:
        fits = broadcast_shapes(update.shape, shape) == shape
    except ShapeError:
        fits = False
    if not fits:
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
    mask = _item(keys[0])
    if mask.dtype is not bool_ or mask.shape != node.shape[: mask.ndim]:
        return None
    rest = node.shape[mask.ndim :]
    if update.ndim > len(rest):
        return None
    update = _fitted(update, rest, node)
    wide = m.reshape.bind((mask,), ((*mask.shape, *[1] * len(rest)),)) if rest else mask
    out = e.where.bind((wide, update, node))
    return out if out.shape == node.shape else m.broadcast_to(out, node.shape)


def _window_written(node: Node, plan: _Plan, update: Node) -> Node:
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


def _scattered(node: Node, plan: _Plan, update: Node) -> Node:
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


def _lengths(plan: _Plan) -> list[Shape]:
    """The sizes that each entry of the plan's layout stands for."""
    return [
        (1,) if a is None else plan.spread if a == "places" else (plan.parts[a].size,) for a in plan.layout
    ]


def _with_ones(node: Node, count: int) -> Node:
    """`node` with `count` axes of size 1 added at the end."""
    return m.reshape.bind((node,), ((*node.shape, *[1] * count),)) if count else node
