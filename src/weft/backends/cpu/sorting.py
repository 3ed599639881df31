"""Sorting as code: a stable bottom-up merge sort, one function for each type and direction; long rows in `radix`.

Runs of sorted elements are merged in pairs from one row of the scratch buffer into the other, doubling in length.
Which of two elements comes first is decided without a branch: it could not be predicted.
"""

from __future__ import annotations

from ...ir.dtype import int64
from ...kernel.sorting import Sort
from ...kernel.target import Target
from . import instructions as ir
from .build import I64, KERNEL, PTR, Build
from .expressions import Expressions
from .order import precedes
from .places import Lanes
from .radix import emit_radix, suits


def emit_sort(module: ir.Module, s: Sort, target: Target) -> ir.Function:
    """Add the function of one sort to `module`."""
    sort = _sort_function(module, s, target)
    function = ir.Function(module, KERNEL, s.name)
    build = Build(module, function, target)
    b = build.b
    at = Expressions(build, (*s.inputs, *s.outputs, int64), s.checked)
    scratch, size = at.bases[len(s.inputs) + 1], I64(s.axis.size)
    begin, end = function.args[1:3]
    with build.loop(begin, end, name="row") as row:
        values, position = {}, row
        for v in reversed(s.outer):
            values[v], position = b.urem(position, I64(max(v.size, 1))), b.udiv(position, I64(max(v.size, 1)))
        keys = b.gep(scratch, [b.mul(row, I64(s.row_bytes))], source_etype=ir.IntType(8))
        origins = b.gep(keys, [I64(2 * s.axis.size * s.dtype.itemsize)], source_etype=ir.IntType(8))
        with build.loop(I64(0), size, name="fill") as k:
            lanes = Lanes({**values, s.axis: k})
            build.store(keys, k, at.value(s.value, lanes, {}), s.dtype)
            if s.positions:
                build.store(origins, k, k, int64)
        first = b.call(sort, [keys, origins, size])
        with build.loop(I64(0), size, name="drain") as k:
            lanes = Lanes({**values, s.axis: k})
            source, kind = (origins, int64) if s.positions else (keys, s.dtype)
            value = build.load(source, b.add(first, k), kind)
            at.put(len(s.inputs), at.index(s.place, lanes), 0, value, lanes)
    b.ret_void()
    return function


def _sort_function(module: ir.Module, s: Sort, target: Target) -> ir.Function:
    """sort(keys, origins, n): sorts n elements in rows of n that lie behind each other; the start of the row used."""
    kind = f"{s.dtype.short}.{'down' if s.descending else 'up'}.{'origins' if s.positions else 'keys'}"
    emit, name = (emit_radix, f"radix.{kind}") if suits(s) else (_emit_merges, f"merge.{kind}")
    found = module.globals.get(name)
    if found is not None:
        return found
    function = ir.Function(module, ir.FunctionType(I64, [PTR, PTR, I64]), name)
    function.linkage = "internal"
    emit(Build(module, function, target), s)
    return function


def _emit_merges(build: Build, s: Sort) -> None:
    """The body of the function: runs of twice the length in each pass."""
    b, function = build.b, build.function
    _, _, size = function.args
    width_slot, from_slot = build.slot(I64), build.slot(I64)
    b.store(I64(1), width_slot)
    b.store(I64(0), from_slot)
    head, body, done = (function.append_basic_block(n) for n in ("passes", "pass", "done"))
    b.branch(head)
    b.position_at_end(head)
    width = b.load(width_slot, typ=I64)
    b.cbranch(b.icmp_signed("<", width, size), body, done)
    b.position_at_end(body)
    source = b.load(from_slot, typ=I64)
    target_row = b.sub(size, source)  # rows start at element 0 and element n
    pairs = b.udiv(b.add(size, b.sub(b.mul(width, I64(2)), I64(1))), b.mul(width, I64(2)))
    with build.loop(I64(0), pairs, name="pair") as pair:
        left = b.mul(pair, b.mul(width, I64(2)))
        middle = b.smin(b.add(left, width), size)
        _merge(build, s, source, target_row, left, middle, b.smin(b.add(middle, width), size))
    b.store(b.mul(width, I64(2)), width_slot)
    b.store(target_row, from_slot)
    b.branch(head)
    b.position_at_end(done)
    b.ret(b.load(from_slot, typ=I64))


def _merge(
    build: Build,
    s: Sort,
    source: ir.Value,
    target: ir.Value,
    left: ir.Value,
    middle: ir.Value,
    end: ir.Value,
) -> None:
    """Merge the sorted runs [left, middle) and [middle, end) of one row into the other."""
    b = build.b
    keys, origins, _ = build.function.args
    i_slot, j_slot = build.slot(I64), build.slot(I64)
    b.store(left, i_slot)
    b.store(middle, j_slot)
    with build.loop(left, end, name="merge") as k:
        i, j = b.load(i_slot, typ=I64), b.load(j_slot, typ=I64)
        # An exhausted run is read at its last element, which then is not taken.
        here = b.add(source, b.smin(i, b.sub(middle, I64(1))))
        there = b.add(source, b.smin(j, b.sub(end, I64(1))))
        x, y = build.load(keys, here, s.dtype), build.load(keys, there, s.dtype)
        second = b.and_(precedes(build, y, x, s.dtype, s.descending), b.icmp_signed("<", j, end))
        second = b.or_(second, b.icmp_signed(">=", i, middle))
        build.store(keys, b.add(target, k), b.select(second, y, x), s.dtype)
        if s.positions:
            origin = build.load(origins, b.select(second, there, here), int64)
            build.store(origins, b.add(target, k), origin, int64)
        taken = b.zext(second, I64)
        b.store(b.add(j, taken), j_slot)
        b.store(b.add(i, b.sub(I64(1), taken)), i_slot)
