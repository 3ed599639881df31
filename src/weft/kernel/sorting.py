"""Sorting along an axis: each row gathered into scratch memory as integers, sorted there, and written out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..ir.dtype import DType
from .anchors import Common, anchor
from .index import Index, Var, as_index
from .loops import Expr, has_lookup
from .lower import as_indices, variables
from .target import Target

#: Rows are filled up to a multiple of so many elements: whole vectors, several at a time.
_WHOLE = 64

#: Bytes of scratch memory that threads have anyway, nearly.
_KEPT = 2 << 20


@dataclass(frozen=True)
class Sort:
    """For each outer iteration: the elements `value` along `axis`, stably sorted, NaN last.

    The result is the elements, or with `positions` where they came from. In scratch memory each element is a *word*, a
    signed integer whose order is that of the elements. With `positions` the lower half of a word of 64 bits is where
    the element came from, so that no two words are equal; elements of 64 bits have a second word for it.
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
        return self.iterations * self.axis.size * self.axis.size.bit_length()

    @property
    def checked(self) -> bool:
        return has_lookup(self.value)

    @property
    def key_bytes(self) -> int:
        """Bytes of an element in a register, as an integer in the order of elements."""
        return 8 if self.dtype.bits == 64 else 4

    @property
    def word_bytes(self) -> int:
        """Bytes of a word."""
        return 8 if self.positions else self.key_bytes

    @property
    def pairs(self) -> bool:
        """Whether where an element came from is a word of its own."""
        return self.positions and self.key_bytes == 8

    @property
    def digits(self) -> int:
        """Bytes to sort by."""
        return self.key_bytes if self.dtype.kind == "f" else self.dtype.itemsize

    def by_digits(self, target: Target) -> bool:
        """Whether rows are so long that passes over digits take less time than a network of comparisons.

        A network has log2(n)**2 / 2 steps or so, of as many vectors as the words fill: shorter ones take longer, but
        not in proportion. For digits there is a pass each, and one that counts. The numbers are measured.
        """
        steps = math.log2(max(self.axis.size, 1)) ** 2
        network = steps * self.word_bytes * (1 + self.pairs) * math.sqrt(64 / target.vector_bytes)
        return network > 250 + 220 * self.digits

    @property
    def row_words(self) -> int:
        """Words of a row, with those that fill it up."""
        return -(-self.axis.size // _WHOLE) * _WHOLE

    @property
    def row_bytes(self) -> int:
        """Bytes of the words of a row, twice: a pass over digits goes from one place to another."""
        return 2 * (1 + self.pairs) * self.row_words * self.word_bytes

    @property
    def beside(self) -> int:
        """Bytes of memory for the words of all rows, if they are so long that threads should not keep memory for them:
        a buffer behind the results. Otherwise none."""
        return self.row_bytes * self.iterations if self.row_bytes > _KEPT else 0

    def scratch(self, target: Target) -> int:
        """Bytes of scratch memory that a thread needs."""
        if self.beside:
            return 0
        return self.row_bytes if self.by_digits(target) else self.row_bytes // 2


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
