"""Reductions along what lies apart in memory: which kernels have their vectors the other way, and the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from compiled import check
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.regions import own_results, plan, prepare
from weft.ir.dtype import bfloat16, float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel import anchors, rows
from weft.ops.comparison import equal
from weft.ops.conv import conv
from weft.ops.elementwise import exp, maximum, tanh
from weft.ops.movement import broadcast_in_dim, permute
from weft.ops.reduce import max_, min_, prod, sum_
from weft.ops.selection import cast, where
from weft.runtime.buffer import Buffer


def sequences(end, channels=24, length=70, dtype=float32) -> Graph:
    """What `end` gives of a convolution of sequences."""
    attrs = {
        "stride": (1,), "padding": ((1, 1),), "input_dilation": (1,), "kernel_dilation": (1,),
        "feature_groups": 1, "batch_groups": 1,
    }  # fmt: skip
    kinds = (3, 5, length), (channels, 5, 3)
    return trace_graph(lambda a, w: end(conv(a, w, **attrs)), [Aval(s, dtype) for s in kinds])


def along(x, y):
    return broadcast_in_dim(x, shape=y.shape, axes=(0, 1))


def share(y):
    """What the greatest of each channel gets of a gradient."""
    chosen = equal(y, along(max_(y, axes=(2,)), y))
    count = sum_(cast(chosen, dtype=y.dtype), axes=(2,))
    return where(chosen, along(1 / count, y), 0)


def softmax(y):
    e = exp(y - along(max_(y, axes=(2,)), y))
    return e / along(sum_(e, axes=(2,)), y)


def turned_kernels(g: Graph) -> int:
    return sum([getattr(s.kernel, "turned", False) for s in plan(own_results(prepare(g))).steps])


@pytest.mark.parametrize(
    ("g", "wanted"),
    [
        (sequences(lambda y: max_(maximum(y, 0), axes=(2,))), True),
        (sequences(lambda y: (max_(y, axes=(2,)), sum_(tanh(y), axes=(0,)))), True),
        (sequences(lambda y: sum_(y * 2, axes=(2,)), length=64), True),
        (sequences(lambda y: sum_(share(y), axes=(0,))), True),
        (sequences(lambda y: max_(y, axes=(2,)), channels=4), False),  # too few for a vector
        (sequences(lambda y: max_(y, axes=(2,)), length=20), False),  # runs across as it is
        (sequences(lambda y: sum_(y, axes=(0, 2))), False),
        (sequences(lambda y: max_(y, axes=(1,))), False),  # neighbours are reduced
        (sequences(lambda y: sum_(permute(y, axes=(0, 2, 1)), axes=(2,)), channels=40), False),
        (trace_graph(lambda x: softmax(x), [Aval((4, 20, 50), float32)]), False),  # rows lie as they should
    ],
    ids=[
        "the greatest", "read twice", "a sum", "rows", "few channels", "few to reduce", "of channels", "of pixels",
        "turned around", "of an input",
    ],
)  # fmt: skip
def test_which_kernels_are_turned(g, wanted):
    assert (turned_kernels(g) > 0) == wanted
    check(g)


@pytest.mark.parametrize("dtype", [float32, float64, bfloat16])
@pytest.mark.parametrize("length", [33, 64, 70, 200])
@pytest.mark.parametrize("end", [max_, min_, sum_, prod, share, softmax])
def test_the_same_bits_as_along_the_sequence(end, length, dtype, monkeypatch, compiled_anew):
    def result(y):
        found = end(y) if end in (share, softmax) else end(y, axes=(2,))
        return sum_(found, axes=(0,))  # channels stay innermost in what is summed

    g = sequences(result, 19, length, dtype)
    assert turned_kernels(g)
    rng = np.random.default_rng(length)
    args = [np.round(rng.normal(size=a.shape), 1).astype(a.dtype.numpy) for a in g.in_avals]

    def found(recurs):
        return CpuBackend().compile(g, recurs).run([Buffer(a) for a in args])[0].array.tobytes()

    got = [found(recurs) for recurs in (False, True)]  # generic code, and special code
    for room in (anchors, rows):
        monkeypatch.setattr(room, "turned", lambda kernel: kernel)
    compiled_anew()
    assert not turned_kernels(g)
    assert got == [found(True)] * 2
