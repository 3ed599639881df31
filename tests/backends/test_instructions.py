"""The builder of LLVM code: what it writes is what was asked for, and runs."""

from __future__ import annotations

import ast
import ctypes
import math
from pathlib import Path

import pytest

import weft
from weft.backends.cpu import build
from weft.backends.cpu import instructions as ir
from weft.backends.cpu.compiling import WHOLE
from weft.backends.cpu.jit import compiler
from weft.backends.cpu.making import library_of
from weft.backends.cpu.processor import host_target
from weft.ir.dtype import float32
from weft.kernel.generic import Hole

F32, F64, I1, I8, I32, I64, PTR = (
    ir.FloatType(), ir.DoubleType(), ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.PointerType(),
)  # fmt: skip


def function(returns, args, name="f"):
    module = ir.Module("test")
    f = ir.Function(module, ir.FunctionType(returns, args), name)
    return module, f, ir.IRBuilder(f.append_basic_block("entry"))


def call(module, returns, args, values):
    library = library_of(module, host_target())
    return ctypes.CFUNCTYPE(returns, *args)(library.address("f"))(*values)


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (I1, True, "true"), (I8, -1, "-1"), (I64, 2**40, str(2**40)), (F64, 1.0, "0x3FF0000000000000"),
        (F32, 0.1, "0x3FB99999A0000000"), (F32, 1e300, "0x7FF0000000000000"), (F64, -0.0, "0x8000000000000000"),
        (F64, 0.0, "0x0000000000000000"), (F64, -math.inf, "0xFFF0000000000000"), (PTR, None, "null"),
        (ir.VectorType(I32, 4), [7] * 4, "splat (i32 7)"), (ir.VectorType(I32, 2), [1, 2], "<i32 1, i32 2>"),
        (ir.VectorType(I1, 2), [True, False], "<i1 true, i1 false>"), (ir.ArrayType(I64, 2), [3, 4], "[i64 3, i64 4]"),
    ],
    ids=str,
)  # fmt: skip
def test_constants(type_, value, text):
    for _ in range(2):  # made, and found again
        assert ir.Constant(type_, value).ref == text


def test_nan_is_a_constant_of_its_own():
    assert ir.Constant(F64, math.nan).ref == "0x7FF8000000000000"
    assert ir.Constant(F64, ir.Undefined).ref == "undef"


def test_types_are_equal_when_written_alike():
    assert ir.VectorType(F32, 4) == ir.VectorType(F32, 4) != ir.VectorType(F32, 8)
    assert len({ir.IntType(8), ir.IntType(8), I8}) == 1


def test_a_loop_with_a_condition_runs():
    module, f, b = function(I64, [I64])
    (n,) = f.args
    with b.goto_entry_block():
        total = b.alloca(I64)
    b.store(I64(0), total)
    with b.loop(I64(0), n, 3, name="i") as i:
        odd = b.icmp_signed("==", b.and_(i, I64(1)), I64(1))
        with b.if_else(odd) as (then, other):
            with then:
                b.store(b.add(b.load(total, typ=I64), i), total)
            with other, b.if_then(b.icmp_unsigned(">", i, I64(10)), likely=False):
                b.store(b.sub(b.load(total, typ=I64), I64(1)), total)
    b.ret(b.load(total, typ=I64))
    compiler(host_target()).optimized(str(module), WHOLE, verify=True)
    for n in (-5, 0, 1, 7, 100):
        want = sum(i if i % 2 else -(i > 10) for i in range(0, n, 3))
        assert call(module, ctypes.c_int64, [ctypes.c_int64], [n]) == want


def test_what_does_not_change_goes_before_the_loop():
    module, f, b = function(ir.VoidType(), [PTR, I64, I64])
    base, n, k = f.args
    with b.loop(I64(0), n, name="i") as i, b.loop(I64(0), n, name="j") as j:
        outer = b.mul(k, I64(8))  # depends on no loop
        middle = b.add(outer, i)  # on the outer one
        inner = b.add(middle, j)
        unsafe = b.udiv(outer, k)  # might divide by 0, had the loop no iteration
        b.store(unsafe, b.gep(base, [inner], source_etype=I64), align=8)
    b.ret_void()
    blocks = {block.name.rsplit(".", 1)[0]: str(block) for block in f.blocks}
    assert f"{outer.ref} = mul" in blocks["i.head"] and outer.depth == 0
    assert f"{middle.ref} = add" in blocks["j.head"] and middle.depth == 1
    assert f"{inner.ref} = add" in blocks["j.body"] and inner.depth == 2
    assert f"{unsafe.ref} = udiv" in blocks["j.body"]
    compiler(host_target()).optimized(str(module), WHOLE, verify=True)


def test_loads_stay_where_they_are_and_are_not_shared():
    _, f, b = function(ir.VoidType(), [PTR, I64])
    with b.loop(I64(0), f.args[1]) as i:
        first = b.load(f.args[0], typ=I64)
        b.store(b.add(first, i), f.args[0])
        second = b.load(f.args[0], typ=I64)
        assert first.ref != second.ref
        assert first.depth == 1


def test_a_block_does_not_compute_twice_what_has_no_effect():
    _, f, b = function(F32, [F32, F32])
    x, y = f.args
    assert b.fadd(x, y).ref == b.fadd(x, y).ref != b.fadd(y, x).ref
    with b.if_then(b.fcmp_ordered("<", x, y)):
        assert b.fmul(x, y).ref != ""
    lines = "\n".join(str(block) for block in f.blocks)
    assert lines.count("= fadd") == 2


def test_integers_are_folded_and_floats_are_not():
    _, f, b = function(I64, [I64, F32])
    x, z = f.args
    assert b.add(I64(2), I64(3)).constant == 5  # type: ignore[attr-defined]
    assert b.mul(I8(100), I8(3)).constant == 44  # type: ignore[attr-defined]
    assert b.add(x, I64(0)) is x and b.mul(I64(1), x) is x and b.sub(x, I64(0)) is x
    assert b.sub(I64(0), x) is not x
    assert b.fadd(z, F32(0.0)) is not z  # -0 + 0 is 0
    pair = ir.VectorType(I64, 2)
    assert b.mul(ir.Constant(pair, [3, 3]), ir.Constant(pair, [5, 5])).ref == "splat (i64 15)"


def test_values_known_at_run_time():
    assert I64(Hole(3)).ref == "%hole3"


def test_code_is_written_through_this_builder_alone():
    """Values of two builders do not mix, and importing `llvmlite.ir` would cost every process time."""
    sources = Path(weft.__file__).parent.rglob("*.py")
    assert [
        str(p) for p in sources if "llvmlite import ir" in p.read_text() or "llvmlite.ir" in _code(p)
    ] == []


def _code(path: Path) -> str:
    """A file without its comments and documentation."""
    tree = ast.parse(path.read_text())
    return "\n".join(ast.unparse(n) for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)))


@pytest.mark.parametrize("aligned", [True, None])
def test_memory_behind_masks_as_every_llvm_wants_it(aligned, monkeypatch):
    """Until LLVM 21 these intrinsics took an alignment, which later ones still understand."""
    if aligned:
        monkeypatch.setattr(build, "aligned_masks", lambda: True)
    module = ir.Module("test")
    f = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR, PTR]), "f")
    at = build.Build(module, f, host_target())
    mask = ir.Constant(ir.VectorType(I1, 4), [True, False, True, False])
    x = at.load(f.args[0], I64(0), float32, 4, mask)
    at.store(f.args[1], I64(0), at.b.fadd(x, x), float32, mask)
    at.b.ret_void()
    assert ("ptr, i32, <4 x i1>" in str(module)) == build.aligned_masks()
    xs, ys = (ctypes.c_float * 4)(1, 2, 3, 4), (ctypes.c_float * 4)(-1, -1, -1, -1)
    call(module, None, [ctypes.c_void_p] * 2, [ctypes.addressof(xs), ctypes.addressof(ys)])
    assert list(ys) == [2, -1, 6, -1]
