"""The innermost loops of the main kernels keep everything in registers, on every instruction set that is wide enough.

The machine code of matrix products and of convolutions with their gradients is searched for what LLVM calls spills:
vector registers put on the stack, and read back, inside the loops that multiply and add.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import weft.ops  # noqa: F401
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu import jit, processor, regions
from weft.backends.cpu.compiling import WHOLE
from weft.backends.cpu.instructions import Module
from weft.backends.cpu.making import assembly, source
from weft.backends.cpu.regions import numbered, plan, prepare
from weft.base.errors import BackendError
from weft.ir.dtype import bfloat16, float32, float64
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.target import LEVELS
from weft.kernel.tiles import Tiles
from weft.kernel.winograd import Winograd
from weft.kernel.winograd_gradient import Sums
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.elementwise import maximum
from weft.ops.movement import slice_axis

pytestmark = pytest.mark.usefixtures("without_wide_products")

TARGETS = ["x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"]

#: Without a multiply-add products need registers too: here one or two numbers in a turn wait on the stack, or two of
#: three rows, which costs less (3 to 10% for the convolutions) than turns of fewer steps, or tiles of fewer vectors.
WAIT = {
    ("nn 32x784x128", "x86-64-v2"): 2, ("tn 32x784x128", "x86-64-v2"): 2, ("conv 32 1->6, 5x5", "x86-64-v2"): 4,
    ("tn 128x512x10", "x86-64-v2"): 2, ("tn 100x200x3", "x86-64-v2"): 4, ("conv 28 1->32", "x86-64-v2"): 2,
}  # fmt: skip

_JUMP = re.compile(r"\s+(?:j[a-z]+|b(?:\.[a-z]+)?|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.L\w+)\b")
_LABEL = re.compile(r"(\.L\w+):")
_MULTIPLIES = re.compile(r"\s(vfn?madd\w+|vdpbf16ps|fml[as]|v?mulp[sd])\s")
_SPILLS = re.compile(r"\b(Spill|Reload)\b")
_VECTOR = re.compile(r"%[xyz]mm|\bq\d+")


def inner_loops(text: str) -> list[list[str]]:
    """The lines of the loops that have no loop inside."""
    lines = text.splitlines()
    where = {m[1]: i for i, line in enumerate(lines) if (m := _LABEL.match(line))}
    loops = []
    for i, line in enumerate(lines):
        m = _JUMP.match(line)
        if m and where.get(m[1], i + 1) <= i:
            loops.append((where[m[1]], i))
    inner = [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    return [lines[a : b + 1] for a, b in inner]


def spills(text: str) -> tuple[int, list[str]]:
    """(loops that multiply and add, lines of them that move vectors to or from the stack)."""
    hot = [loop for loop in inner_loops(text) if sum(bool(_MULTIPLIES.search(line)) for line in loop) >= 4]
    return len(hot), [line for loop in hot for line in loop if _SPILLS.search(line) and _VECTOR.search(line)]


def product(m, k, n, form, dtype=float32):
    """A matrix product with a bias and a relu behind it: "nn", "tn" or "nt"."""
    x = Aval((k, m) if form[0] == "t" else (m, k), dtype)
    y = Aval((n, k) if form[1] == "t" else (k, n), dtype)
    contract = ((0 if form[0] == "t" else 1,), (1 if form[1] == "t" else 0,))

    def f(a, b, bias):
        return maximum(dot_general(a, b, contract=contract, batch=((), ())) + bias, 0)

    return [trace_graph(f, (x, y, Aval((n,), dtype)))]


def gates(count, m=32, k=128, n=128):
    """A product whose columns are read in slices by what follows it."""

    def f(a, b):
        total, *rest = [slice_axis(a @ b, 1, i * n, (i + 1) * n) for i in range(count)]
        for x in rest:
            total = maximum(total, x)
        return total

    return [trace_graph(f, (Aval((m, k), float32), Aval((k, count * n), float32)))]


def convolution(n, size, channels, filters, kernel=3, stride=1, pad=0, groups=1):
    """Forward, and the gradients of both operands."""
    avals = (
        Aval((n, channels, size, size), float32),
        Aval((filters, channels // groups, kernel, kernel), float32),
    )

    def f(x, w):
        return conv(
            x, w, stride=(stride,) * 2, padding=((pad, pad),) * 2, input_dilation=(1, 1),
            kernel_dilation=(1, 1), feature_groups=groups, batch_groups=1,
        )  # fmt: skip

    graph = trace_graph(f, avals)
    return [graph, vjp_pair(graph, (True, True)).backward]


PRODUCTS = [
    (64, 64, 64),
    (100, 200, 3),
    (256, 256, 256),
    (1024, 1024, 1024),
    (32, 784, 128),
    (128, 512, 10),
    (33, 47, 29),
]
CASES = {
    **{f"{form} {m}x{k}x{n}": lambda m=m, k=k, n=n, form=form: product(m, k, n, form)
       for m, k, n in PRODUCTS for form in ("nn", "tn", "nt")},
    **{f"{count} slices": lambda count=count: gates(count) for count in (2, 3, 4, 5)},
    **{f"nt {m}x300x200": lambda m=m: product(m, 300, 200, "nt") for m in (2, 4, 8)},
    "float64": lambda: product(96, 96, 96, "nn", float64),
    "bfloat16": lambda: product(96, 96, 96, "nn", bfloat16),
    "conv 28 1->32": lambda: convolution(64, 28, 1, 32),
    "conv 32 1->6, 5x5": lambda: convolution(4, 32, 1, 6, kernel=5),
    "conv 13 32->64": lambda: convolution(64, 13, 32, 64),
    "conv 5 64->64": lambda: convolution(64, 5, 64, 64),
    "conv 56 64->64, padded": lambda: convolution(8, 56, 64, 64, pad=1),
    "conv 14 256->256, padded": lambda: convolution(8, 14, 256, 256, pad=1),
    "conv 28 64 in 64 groups, padded": lambda: convolution(4, 28, 64, 64, pad=1, groups=64),
    "conv 16 40 in 40 groups, 5x5": lambda: convolution(4, 16, 40, 40, kernel=5, pad=2, groups=40),
    "conv 28 64 in 64 groups, /2": lambda: convolution(4, 28, 64, 64, stride=2, pad=1, groups=64),
    "conv 7x7/2 224 3->64": lambda: convolution(2, 224, 3, 64, kernel=7, stride=2, pad=3),
    "conv 3x3/2 224 3->32": lambda: convolution(2, 224, 3, 32, stride=2, pad=1),
    "conv 4x4/4 224 3->96": lambda: convolution(2, 224, 3, 96, kernel=4, stride=4),
}  # fmt: skip


def tiles_of(case: str) -> list[Tiles]:
    steps = [s for g in CASES[case]() for s in plan(prepare(numbered(g))).all_steps()]
    found = [s.kernel for s in steps if isinstance(s.kernel, Tiles)]
    found += [s.kernel.products for s in steps if isinstance(s.kernel, (Winograd, Sums))]
    assert found, "no register tiles"
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_inner_loops_of_contractions_do_not_spill(case):
    for kernel in tiles_of(case):
        for name in TARGETS:
            loops, found = spills(assembly(kernel, "kernel", LEVELS[name]))
            assert loops, (name, kernel)
            assert len(found) <= WAIT.get((case, name), 0), (name, kernel, found)


@pytest.mark.parametrize("size", PRODUCTS)
@pytest.mark.parametrize("form", ["nn", "tn", "nt"])
def test_nor_do_those_of_pairs_of_bfloat16(form, size, monkeypatch):
    v4 = LEVELS["x86-64-v4"]
    target = replace(v4, features=f"{v4.features},+avx512bf16", pairs=True)
    monkeypatch.setattr(regions, "host_target", lambda: target)
    (graph,) = product(*size, form, bfloat16)
    for step in plan(prepare(numbered(graph))).all_steps():
        if isinstance(step.kernel, Tiles):
            loops, found = spills(assembly(step.kernel, "kernel", target))
            assert loops and not found, (step.kernel, found)


def test_a_tile_too_large_for_the_registers_is_found(monkeypatch):
    from weft.kernel import tiling

    (kernel,) = tiles_of("nn 256x256x256")
    monkeypatch.setattr(tiling, "_SHAPES", {key: {2: 20, 1: 28} for key in tiling._SHAPES})
    for name in TARGETS:
        loops, found = spills(assembly(kernel, "kernel", LEVELS[name]))
        assert loops and found, name


def test_every_kind_of_kernel_is_compiled_for_another_machine():
    """Object code for AArch64, whatever machine this is."""
    from weft.backends.cpu.control import emit_control
    from weft.backends.cpu.driver import emit_driver
    from weft.ops.reduce import sum_
    from weft.ops.sorting import sort
    from weft.ops.transcendental import exp, tanh

    def f(x, w):
        h = tanh(x @ w)
        e = exp(h)
        return e, sum_(e, axes=(1,)), sort(h, axis=1, descending=False)

    target = LEVELS["aarch64"]
    graph = trace_graph(f, (Aval((20, 30), float32), Aval((30, 40), float32)))
    kernels = [s.kernel for s in plan(prepare(numbered(graph))).all_steps() if s.kernel is not None]
    for images in convolution(4, 16, 32, 32, pad=1):
        kernels += [s.kernel for s in plan(prepare(numbered(images))).all_steps() if s.kernel is not None]
    assert {type(k).__name__ for k in kernels} == {"Tiles", "Kernel", "Sort", "Winograd", "Sums"}
    texts = [source(k, "kernel", target) for k in kernels]
    for emit in (emit_driver, emit_control):
        module = Module("weft")
        emit(module, target)
        texts.append((str(module), WHOLE))
    for text, effort in texts:
        code = jit.compiler(target).object_code(text, effort, True)
        assert code[:4] == b"\x7fELF" and code[18:20] == b"\xb7\x00"  # the number of the machine


def test_code_of_another_machine_is_not_run(monkeypatch):
    ours = LEVELS["aarch64"] if processor.host_target().name == "aarch64" else LEVELS["x86-64-v3"]
    other = LEVELS["x86-64-v3"] if ours.name == "aarch64" else LEVELS["aarch64"]
    monkeypatch.setenv("WEFT_CPU", other.name)
    with pytest.raises(BackendError, match=f"WEFT_CPU='{other.name}' makes code for"):
        processor.host_target.__wrapped__()
    monkeypatch.setenv("WEFT_CPU", ours.name)
    assert processor.host_target.__wrapped__() == ours
