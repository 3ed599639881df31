"""Convolutions by Winograd's method as code: kernels called block by block, with scratch memory between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ...ir.dtype import float32
from ...kernel.target import Target
from ...kernel.winograd import Winograd
from ...kernel.winograd_gradient import Sums
from . import emit, loop_units, tile_units, tiles
from . import instructions as ir
from .borders import fill_border
from .build import F32, I64, KERNEL, PTR, Build
from .expressions import Expressions


def emit_winograd(module: ir.Module, w: Winograd, target: Target) -> ir.Function:
    """Add the function of one convolution, and those of its parts, to `module`."""
    patches = emit.emit_kernel(module, w.patches, target, near=True)
    products = tiles.emit_tiles(module, w.products, target)
    results = emit.emit_kernel(module, w.results, target, near=True)
    _inner(patches, products, results)
    function = ir.Function(module, KERNEL, w.name)
    build = Build(module, function, target)
    b, expressions = build.b, Expressions(build, (*w.inputs, *w.outputs), w.checked)
    *inputs, turned, out = expressions.bases
    status = [expressions.status] if expressions.status is not None else []
    begin, end = function.args[1:3]
    if w.border is not None:
        fill_border(build, out, w.outputs[0], w.border, w.units)
    first, kernel, last = w.sizes
    transformed, made, rest = (build.scratch(size) for size in (4 * first, 4 * last, 0))
    reads = _table(build, [*inputs, transformed])
    multiplies = _table(build, [transformed, turned, made])
    writes = _table(build, [*inputs, made, out, *status])
    share = w.parts // w.shares
    of_patches = loop_units.units(w.patches, target) // w.blocks
    of_results = loop_units.units(w.results, target) // (w.blocks * w.parts)
    with build.loop(begin, end, name="unit") as unit:
        block, which = b.udiv(unit, I64(w.shares)), b.urem(unit, I64(w.shares))
        _call(build, patches, reads, block, of_patches, rest)
        start = b.mul(which, I64(share))
        with build.loop(start, b.add(start, I64(share)), name="part") as part:
            columns = b.gep(turned, [b.mul(part, I64(kernel))], source_etype=F32)
            b.store(columns, b.gep(multiplies, [I64(1)], source_etype=PTR), align=8)
            _call(build, products, multiplies, I64(0), tile_units.units(w.products, target), rest)
            number = b.add(b.mul(block, I64(w.parts)), part)
            _call(build, results, writes, number, of_results, rest)
    b.ret_void()
    return function


def emit_sums(module: ir.Module, s: Sums, target: Target) -> ir.Function:
    """Add the function of the sums of a gradient, and those of its parts, to `module`."""
    sides = s.patches, s.cotangents
    rows: list[list[ir.Function]] = [[], []]
    for side, kernels in enumerate(sides):
        for row, kernel in enumerate(kernels):
            kernel = replace(kernel, name=f"transformed.{side}.{row}")
            rows[side].append(emit.emit_kernel(module, kernel, target, near=True))
    products = tiles.emit_tiles(module, s.products, target)
    _inner(*rows[0], *rows[1], products)
    function = ir.Function(module, KERNEL, s.name)
    build = Build(module, function, target)
    b, bases = build.b, Expressions(build, (*s.inputs, *s.outputs), False).bases
    *inputs, out = bases
    *scratch, free = [build.scratch(4 * size) for size in (*s.sizes[:2], 0)]
    reads = [_table(build, [*inputs, memory]) for memory in scratch]
    multiplies = _table(build, [*scratch, out, out])
    counts = [loop_units.units(k[0], target) // (n * s.blocks) for k, n in zip(sides, s.parts, strict=True)]
    begin, end = function.args[1:3]
    with build.loop(begin, end, name="unit") as unit:
        sums = b.gep(out, [b.mul(unit, I64(s.sizes[2]))], source_etype=F32)
        for entry in (2, 3):
            b.store(sums, b.gep(multiplies, [I64(entry)], source_etype=PTR), align=8)
        lanes = target.lanes(4)
        with build.loop(I64(0), I64(s.sizes[2]), lanes, name="zeros") as i:
            build.store(sums, i, build.const(0.0, ir.VectorType(F32, lanes)), float32)
        which, rest = b.udiv(unit, I64(math.prod(s.parts))), b.urem(unit, I64(math.prod(s.parts)))
        parts = b.udiv(rest, I64(s.parts[1])), b.urem(rest, I64(s.parts[1]))
        with build.loop(I64(0), I64(s.blocks), name="block") as block:
            numbers = [b.add(b.mul(part, I64(s.blocks)), block) for part in parts]
            for row in range(len(s.patches)):
                with b.if_then(b.icmp_signed("==", which, I64(row))):
                    for side in (0, 1):
                        _call(build, rows[side][row], reads[side], numbers[side], counts[side], free)
            _call(build, products, multiplies, I64(0), tile_units.units(s.products, target), free)
    b.ret_void()
    return function


def _inner(*functions: ir.Function) -> None:
    """Functions that only their module knows, each with its own registers."""
    for function in functions:
        function.linkage = "internal"
        function.attributes.add("noinline")


def _table(build: Build, pointers: Sequence[ir.Value]) -> ir.Value:
    """A table of buffers."""
    with build.b.goto_entry_block():
        table = build.b.alloca(PTR, len(pointers))
        for i, pointer in enumerate(pointers):
            build.b.store(pointer, build.b.gep(table, [I64(i)], source_etype=PTR), align=8)
    return table


def _call(
    build: Build, part: ir.Function, table: ir.Value, number: ir.Value, units: int, scratch: ir.Value
) -> None:
    """Run the units of a part that belong to the block, or the part of one, with a number."""
    start = build.b.mul(number, I64(units))
    build.b.call(part, [table, start, build.b.add(start, I64(units)), scratch])
