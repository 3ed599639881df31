"""Kernels for one operation by itself, on operands of any size.

An elementwise operation, or a reduction of all elements to one number in which the order does not depend on the shape,
goes through memory as one long row. Its generic kernel has a single hole, the length of that row. These are the
kernels that a graph of this one operation would get, and so their bits are those of larger kernels that have it inside.
"""

from __future__ import annotations

from ..ir.dtype import DType, real_dtype
from ..ir.node import Aval, Node, Signature
from ..ir.primitive import placeholder
from .anchors import REDUCTIONS
from .blocks import block_of
from .index import Index, Var, as_index
from .loops import Kernel, Load, Reduction, Stage, Store, Total
from .lower import Lowering

#: The length that a kernel is written for before its generic form is made.
_LENGTH = 1009

#: Operations on single elements that are not declared as such.
_PER_ELEMENT = frozenset(("cast", "integer_pow", "polygamma"))


def is_single(sig: Signature) -> bool:
    """Whether an operation, which there is native code for, has such a kernel."""
    out = sig.out
    if isinstance(out, tuple) or not sig.inputs or not all(_is_plain(a.dtype) for a in (*sig.inputs, out)):
        return False
    if sig.prim.elementwise or sig.prim.name in _PER_ELEMENT:
        return True
    if sig.prim.name not in REDUCTIONS or out.size != 1:
        return False
    (x,) = sig.inputs
    if block_of(x.shape, sig.attrs["axes"]) is not None:  # type: ignore[arg-type]
        return False
    if sig.prim.name in ("any", "all"):
        return True
    if x.size < 2:
        return False
    # Floats are added up lane by lane along a row; nothing else depends on the order.
    row = x.ndim == 1 or (max(x.shape) == x.size and len(sig.attrs["axes"]) == x.ndim)  # type: ignore[type-var]
    return row or x.dtype.kind != "f" or sig.prim.name not in ("sum", "prod")


def _is_plain(dtype: DType) -> bool:
    return dtype.kind != "c" and not dtype.storage_only


def single_kernel(sig: Signature, repeated: tuple[bool, ...]) -> Kernel:
    """The kernel of such an operation, for rows of some length; operands that are `repeated` have one element."""
    # Named as the planner names it: then its generic kernels and these are the same code on disk.
    row = Var("k0" if sig.prim.name in REDUCTIONS else "iv", _LENGTH)
    inputs = [
        placeholder(Aval(() if once else (_LENGTH,), a.dtype))
        for a, once in zip(sig.inputs, repeated, strict=True)
    ]
    types = tuple([real_dtype(a.dtype) for a in sig.inputs])
    outputs = (real_dtype(sig.out.dtype),)  # type: ignore[union-attr]
    last = len(inputs)
    if sig.prim.name in REDUCTIONS:
        element = Load(0, as_index(row), types[0])
        total = Reduction(sig.prim.name, element, outputs[0])
        stages = (
            Stage((row,), reductions=(total,)),
            Stage((), stores=(Store(last, Index({}, 0), Total(0, outputs[0])),)),
        )
        return Kernel("single", (), stages, types, outputs)
    of_rows = sig.prim.signature(tuple([n.aval for n in inputs]), tuple(sig.attrs.values()))
    root = Node(of_rows, tuple(inputs), None, 0, None)
    lowering = Lowering({n: k for k, n in enumerate(inputs)}, {})
    store = Store(last, as_index(row), lowering.value(root, (as_index(row),)))
    return Kernel("single", (row,), (Stage((), stores=(store,)),), types, outputs, True)
