"""Products of small integers and of bfloat16, several to a word of 32 bits, added to sums of 32 bits."""

from __future__ import annotations

from ...ir.dtype import bfloat16
from . import instructions as ir
from .build import I32, Build

_I16 = ir.IntType(16)
_BF16 = ir.BrainType()

#: lanes of 32 bits -> the instruction that multiplies pairs of 16-bit integers and adds the two products
_PAIRS = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}


def multiply_pairs(build: Build, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
    """total + the products of both halves, which are signed."""
    b, lanes = build.b, x.type.count
    if build.target.name.startswith("x86"):
        halves = ir.VectorType(_I16, 2 * lanes)
        product = build.intrinsic(_PAIRS[lanes], x.type, (b.bitcast(x, halves), b.bitcast(y, halves)))
        return b.add(total, product)
    for low in (True, False):
        left, right = (_half(build, v, low) for v in (x, y))
        total = b.add(total, b.mul(left, right))
    return total


def _half(build: Build, x: ir.Value, low: bool) -> ir.Value:
    by = build.const(16, x.type)
    return build.b.ashr(build.b.shl(x, by) if low else x, by)


def multiply_quads(build: Build, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
    """total + the products of four unsigned bytes of x with four signed bytes of y."""
    assert build.target.dots and total.type == ir.VectorType(I32, 16)
    return build.intrinsic("llvm.x86.avx512.vpdpbusd.512", total.type, (total, x, y))


def multiply_brains(build: Build, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
    """total + the product of the odd halves, which are bfloat16, and then + that of the even halves."""
    assert build.target.pairs and total.type.count == 16
    halves = ir.VectorType(_BF16, 32)
    operands = [build.b.bitcast(v, halves) for v in (x, y)]
    return build.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", total.type, (total, *operands))


def round_to_brains(build: Build, x: ir.Value) -> ir.Value:
    """Numbers none of which is subnormal (they would count as zero), rounded to bfloat16."""
    narrow = build.intrinsic("llvm.x86.avx512bf16.cvtneps2bf16.512", ir.VectorType(_BF16, 16), (x,))
    return build.widen(build.b.bitcast(narrow, ir.VectorType(_I16, 16)), bfloat16)
