"""Index keys taken apart: what `x[key]` selects, one item for each axis.

Slices come first; what is left are axes that are read at integer positions, all at once. Integers and the starts of
windows `i : i + n` are run-time operands, sizes and steps are structure: see `Plan`.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..base.checked import refuse_masked
from ..base.errors import IndexingError, ShapeError, TraceError
from ..base.state import state
from ..ir.dtype import bool_, int64
from ..ir.node import TRACED, Node
from ..ir.shape import Shape, Size, broadcast_shapes, show_shape
from ..ops import indexing as at
from ..ops import movement as m
from ..runtime.buffer import Buffer
from .cell import Handle, flush
from .dispatch import buffer_leaf, node_of, number_leaf

_FULL = slice(None)


class Part:
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
        elif key.step in (None, 1) and _before_the_end(key):
            self.start = key.start or 0
            self.size = n + operator.index(key.stop) - self.start  # type: ignore[arg-type]
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


def _before_the_end(key: slice) -> bool:
    """Whether a slice is from a fixed place to one counted from the end: x[:-1], x[2:-3]."""
    start_is_fixed = key.start is None or (isinstance(key.start, int) and key.start >= 0)
    return start_is_fixed and isinstance(key.stop, int) and key.stop < 0


def _show(key: slice) -> str:
    ends = ["" if k is None else str(k) for k in (key.start, key.stop)]
    return ":".join(ends) + ("" if key.step is None else f":{key.step}")


class Plan:
    """A key, taken apart for a tensor of one shape.

    Of every axis either `parts` has the slice, or `places` the index node, or `numbers` the Python integer (only where
    no index array stands in the key). All index nodes broadcast to `spread`. `layout` is the result's axes in order:
    an axis number, None for a new axis, and "places" for the dimensions of the index nodes.

    `shape` is the tensor's, with an axis of size 1 wherever the key has a mask of no dimensions.
    """

    __slots__ = ("shape", "parts", "places", "numbers", "spread", "layout")

    def __init__(self, node: Node, key: Any) -> None:
        items, self.shape = _expand(key, node)
        self.parts: dict[int, Part] = {}
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
                self.parts[axis] = Part(k, self.shape[axis])
                self.layout.append(axis)
                axis += 1
                between = True
            elif not fancy:
                self.numbers[axis] = checked(k, axis, self.shape)
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
                        node_ = number_leaf(checked(node_, axis, self.shape), int64)
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
    mask), None for new axes; and the shape that they index: see `Plan.shape`."""
    items = [item(k) for k in key] if type(key) is tuple else [item(key)]
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


def item(k: Any) -> Any:
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
        refuse_masked(k)
        try:
            array = np.asarray(k)
        except ValueError as e:
            raise IndexingError(f"an index list must be rectangular: {e}") from None
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


def checked(i: int, axis: int, shape: Shape) -> int:
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
    state.looks += 1
    if node.value is None:
        flush(node)
    value = node.value
    return value.array if isinstance(value, Buffer) else np.asarray(value, dtype=node.dtype.numpy)


_SELECTS = "a boolean mask selects as many elements as are True"
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
    value = known(mask, _SELECTS, _INSTEAD)
    if mask.ndim == 0:
        return (buffer_leaf(np.zeros(int(value), np.int64), int64),)
    return tuple([buffer_leaf(np.array(line, np.int64), int64) for line in np.nonzero(value)])


def flat_positions(mask: Node) -> Node:
    """The positions of the True elements of a mask in row-major order, as one index node."""
    places = np.flatnonzero(known(mask, _SELECTS, _INSTEAD))
    return buffer_leaf(places.astype(np.int64, copy=False), int64)
