"""Sorting along an axis: each row gathered into a scratch buffer, sorted there, and written out."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.dtype import DType
from .anchors import Common, anchor
from .index import Index, Var, as_index
from .loops import Expr, has_lookup
from .lower import as_indices, variables


@dataclass(frozen=True)
class Sort:
    """For each outer iteration: the elements `value` along `axis`, stably sorted, NaN last.

    The result is the elements, or with `positions` where they came from. Buffers are the inputs, the output, and a
    scratch buffer of two rows of elements and two rows of positions for every outer iteration.
    """

    name: str
    outer: tuple[Var, ...]
    axis: Var
    value: Expr
    place: Index
    descending: bool
    positions: bool
    dtype: DType
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def iterations(self) -> int:
        total = 1
        for v in self.outer:
            total *= v.size
        return total

    @property
    def work(self) -> int:
        """A rough count of operations."""
        return self.iterations * self.axis.size * 4 * self.axis.size.bit_length()

    @property
    def checked(self) -> bool:
        return has_lookup(self.value)

    @property
    def row_bytes(self) -> int:
        """Bytes of scratch memory for one outer iteration."""
        each = self.dtype.itemsize + (8 if self.positions else 0)
        return -(-2 * self.axis.size * each // 64) * 64

    @property
    def scratch(self) -> int:
        """Bytes of scratch memory in all."""
        return self.row_bytes * self.iterations


@anchor("sort", "argsort")
def _sort(c: Common) -> Sort:
    x, axis = c.root.args[0], c.root.attrs["axis"]
    rest = [a for a in c.order if a != axis]
    outer = variables(tuple([c.shape[a] for a in rest]), "i")
    along = Var("k", c.shape[axis])
    by_axis = dict(zip(rest, as_indices(outer), strict=True)) | {axis: as_index(along)}
    at = tuple([by_axis[a] for a in range(x.ndim)])
    return Sort(
        c.name,
        outer,
        along,
        c.lowering.value(x, at),
        c.place(at),
        c.root.attrs["descending"],
        c.root.prim.name == "argsort",
        x.dtype,
        c.inputs,
        (c.root.dtype,),
        (c.root.prim.name,),
    )
