"""Kernels that break a rule of the loop IR are refused, and the error says where."""

from __future__ import annotations

from dataclasses import replace

import pytest

import weft as wf
from weft.backends.cpu import making
from weft.backends.cpu.processor import host_target
from weft.base.errors import BackendError
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.index import Var, as_index, quotient
from weft.kernel.loops import Inside, Kernel, Literal, Load, Reduction, Stage, Store, Total
from weft.kernel.tiles import Guard, Operand, Result, Tap, Tiles
from weft.kernel.verify import verify_kernel
from weft.ops.composite.conv import convolution

I, J, K, STRAY = Var("i", 40), Var("j", 3), Var("k", 5), Var("jh", 7)
ZERO = Literal("0.0", float32)


def loops(value=ZERO, place=I, bounds=(), buffer=1) -> Kernel:
    """b1[i] = the sum of b0[5 i + k] over k, and then of something else."""
    total = Reduction("sum", Load(0, as_index(I) * 5 + as_index(K), float32), float32)
    store = Store(buffer, as_index(place), value, bounds)
    return Kernel("k7", (I,), (Stage((K,), (total,)), Stage((), stores=(store,))), (float32,), (float32,))


def tiles() -> Tiles:
    m, n = Var("m", 30), Var("n", 20)
    return Tiles(
        name="k8",
        outer=(I,),
        m=m,
        n=n,
        taps=(Tap(5, 1, 20, Guard(as_index(I) - 1, 1, 40, 1)),),
        a=Operand(0, as_index(I) * 150, 5),
        b=Operand(1, as_index(0), 1),
        results=(Result(Operand(2, as_index(I) * 600, 20), 1, Total(0, float32)),),
        dtype=float32,
        inputs=(float32, float32),
        outputs=(float32,),
    )


def test_what_is_right_passes():
    verify_kernel(loops(Total(0, float32), bounds=((as_index(I), 0, 9),)))
    verify_kernel(tiles())


WRONG = {
    "place": (loops(place=STRAY), r"kernel k7: the place of the result b1 of stage 1 \(jh\) mentions jh < 7"),
    "loops": (loops(Load(0, as_index(K), float32)), r"\(k\) mentions k < 5; the loops around it are i < 40"),
    "quotient": (loops(Load(0, quotient(as_index(STRAY), 2), float32)), r"the index of b0 .* mentions jh"),
    "bound": (loops(bounds=((as_index(J), 0, 2),)), "a bound of the result b1 of stage 1 .* mentions j < 3"),
    "condition": (
        loops(Inside(((as_index(J), 0, 2),), ZERO, ZERO, float32)),
        "a bound in the result b1 of stage 1 .* mentions j < 3",
    ),
    "total": (loops(Total(1, float32)), "reads total 1, of which there are 1"),
    "operand": (loops(Load(2, as_index(I), float32)), "an operand of the result b1 .* is buffer 2 of 2"),
    "result": (loops(buffer=2), "the result b2 of stage 1 is buffer 2 of 2"),
    "twice": (replace(loops(), outer=(I, K)), "the loops of stage 0 have the variable k twice"),
    "rows": (
        replace(tiles(), a=Operand(0, as_index(STRAY), 5)),
        r"k8: the place of the first operand \(jh\) mentions jh < 7; the loops around it are i < 40",
    ),
    "columns": (replace(tiles(), b=Operand(1, as_index(J), 1)), "the place of the second operand"),
    "guard": (replace(tiles(), taps=(Tap(5, 1, 20, Guard(as_index(J), 1, 40, 1)),)), "the bound of tap 0"),
    "list": (replace(tiles(), rows=(0, 4)), "the list of rows has 2 entries for 30 rows"),
}


@pytest.mark.parametrize("kernel, text", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(kernel, text):
    with pytest.raises(BackendError, match=text):
        verify_kernel(kernel)
    with pytest.raises(BackendError, match=text), wf.config(verify=True):
        making.source(kernel, "kernel", host_target())


def test_kernels_are_checked_when_they_are_made(monkeypatch):
    """A pass over the loops that renames a row in the results and forgets the first operand."""
    from weft.backends.cpu.backend import CpuBackend
    from weft.kernel import convolution as module

    usual = module._longer_rows

    def forgets(c, nest):
        return replace(usual(c, nest), left=nest.left)

    monkeypatch.setattr(module, "_longer_rows", forgets)
    same = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    avals = [Aval((2, 8, 12, 12), float32), Aval((16, 8, 1, 1), float32)]
    graph = trace_graph(lambda x, w: convolution(x, w, None, **same), avals)
    with (
        pytest.raises(BackendError, match=r"kernel k\d+: the place of the first operand"),
        wf.config(verify=True),
    ):
        CpuBackend().compile(graph)
