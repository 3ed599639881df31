"""Algebra that changes no bit: what goes, and what stays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from passes_shared import SQUARE, M, V, arrays_for, bits
from weft.ir.dtype import complex64, float32, float64, int32
from weft.ir.dtype import dtype as as_dtype
from weft.ir.graph import trace_graph, verify
from weft.ir.node import Aval
from weft.ops.bits import bitwise_not
from weft.ops.define import constant
from weft.ops.elementwise import cast, exp, less, neg, sqrt, where
from weft.ops.gather import dim_size
from weft.ops.movement import broadcast_in_dim, full, identity, pad, permute, reshape
from weft.ops.reduce import max_, sum_
from weft.ops.window import windows, windows_add
from weft.passes.simplify import simplify


@pytest.mark.parametrize("number", [4.0, -0.5, 2.0**60, 2.0**-60, 3.0, 1e30, 0.0])
@pytest.mark.parametrize("dtype", [float32, float64])
def test_powers_of_two_are_multiplied_with(number, dtype):
    graph = trace_graph(lambda x: x / number, (Aval((8,), dtype),))
    after = simplify(graph)
    power = number != 0 and np.frexp(abs(number))[0] == 0.5
    assert [n.prim.name for n in after.nodes if n.value is None] == ["mul" if power else "div"]
    x = np.asarray([0.0, -0.0, 1.1, -3e-38, 1e-44, np.inf, np.nan, 2.9e38], dtype.numpy)
    assert bits(after, [x]) == bits(graph, [x])


GOES = {
    "mul by one": lambda x: x * 1,
    "div by one": lambda x: x / 1,
    "minus zero": lambda x: x - 0.0,
    "two negations": lambda x: neg(neg(x)),
    "reshape there and back": lambda x: reshape(reshape(x, shape=(2, 2)), shape=(4,)),
    "permutation there and back": lambda x: permute(permute(x, axes=(1, 0)), axes=(1, 0)),
    "cast there and back": lambda x: cast(cast(x, dtype=float64), dtype=float32),
    "where of one": lambda x: where(constant(True, as_dtype("bool")), x, x * 2),
    "sum over nothing": lambda x: sum_(x, axes=()),
    "times a tensor of ones": lambda x: x * full(x.aval, 1.0),
    "a copy": identity,
}


@pytest.mark.parametrize("case", GOES)
def test_what_does_nothing_goes(case):
    aval = M if "permutation" in case else V
    graph = simplify(trace_graph(GOES[case], (aval,)))
    assert graph.outputs == graph.inputs


STAYS = {
    "plus zero, which changes -0.0": (lambda x: x + 0.0, [np.float32([-0.0, 0.0, 1, np.nan])]),
    "times zero, which keeps NaN": (lambda x: x * 0, [np.float32([np.inf, np.nan, -1, 2])]),
    "narrowing cast": (lambda x: cast(cast(x, dtype=as_dtype("float16")), dtype=float32),
                       [np.float32([1e-8, 1e6, 0.1, 3])]),
}  # fmt: skip


@pytest.mark.parametrize("case", STAYS)
def test_what_changes_a_bit_stays(case):
    function, arrays = STAYS[case]
    graph = trace_graph(function, (V,))
    after = simplify(graph)
    assert bits(after, arrays) == bits(graph, arrays)
    assert after.outputs != after.inputs


def test_numbers_fold_and_broadcasts_are_left_to_the_operation():
    graph = simplify(trace_graph(lambda x: x * full(M, 2.0) * (constant(3.0, float32) + 1), (M,)))
    assert [n.prim.name for n in graph.nodes if n.value is None] == ["mul", "mul"]
    assert sorted(n.value for n in graph.constants) == [2.0, 4.0]


def test_a_broadcast_that_gives_the_shape_stays():
    graph = trace_graph(lambda x: broadcast_in_dim(x, shape=(3, 4), axes=(1,)) * 2, (V,))
    assert simplify(graph).out_avals == (M,)


@pytest.mark.parametrize("dtype", [float32, int32])
def test_gradients_of_a_split_are_put_side_by_side(dtype):
    """Parts padded with zeros and added: one concatenation, zeros without a sign included."""
    zero = constant(0.0 if dtype is float32 else 0, dtype)

    def place(x, start):
        return pad(x, zero, low=(0, start), high=(0, 6 - start - x.shape[1]), interior=(0, 0))

    def whole(x, y, z):
        return (place(z, 5) + place(x, 0)) + place(y, 2)

    avals = [Aval((3, n), dtype) for n in (2, 3, 1)]
    graph = trace_graph(whole, avals)
    simple = simplify(graph)
    assert [n.prim.name for n in simple.outputs] == ["concatenate"]
    arrays = [np.where(a > 0, a, -0.0).astype(dtype.numpy) for a in arrays_for(graph)]
    assert bits(graph, arrays) == bits(simple, arrays)


def test_parts_that_overlap_or_leave_a_gap_stay_sums():
    zero = constant(0.0, float32)

    def place(x, start, size):
        return pad(x, zero, low=(start,), high=(size - start - 4,), interior=(0,))

    for starts, size in (((0, 3), 7), ((0, 5), 9), ((0, 0), 4), ((1, 5), 9)):
        graph = trace_graph(lambda x, y, s=starts, n=size: place(x, s[0], n) + place(y, s[1], n), [V, V])
        assert "concatenate" not in [n.prim.name for n in simplify(graph).nodes]


@pytest.mark.parametrize(
    "function", [lambda x: x * 1, lambda x: x / 1, lambda x: x - 0], ids=["mul", "div", "sub"]
)
def test_complex_numbers_are_computed_with(function):
    """Times 1 + 0j, an infinite part makes the other NaN, and signs of zeros change."""
    graph = trace_graph(function, (Aval((5,), complex64),))
    x = np.array(
        [complex(np.inf, 1), complex(-0.0, -0.0), complex(1, -0.0), complex(np.nan, 2), 1 + 2j], np.complex64
    )
    assert bits(simplify(graph), [x]) == bits(graph, [x])


def test_only_what_rounds_alike_everywhere_is_folded():
    """Native code has formulas of its own for exp and the like: a number known early must not get other bits."""
    graph = simplify(
        trace_graph(lambda x: x * (exp(constant(0.3, float32)) + sqrt(constant(2.0, float32))), (V,))
    )
    assert [n.prim.name for n in graph.nodes if n.value is None] == ["exp", "add", "mul"]
    assert np.float32(math.sqrt(2)) in [n.value for n in graph.constants]


I = Aval((2, 3), int32)
APART = {"stride": (2,), "dilation": (1,)}
SHORTER = {
    "a permutation that moves axes of one": (
        lambda x: permute(reshape(x, shape=(1, 3, 4)), axes=(1, 0, 2)), (M,), ["reshape"]
    ),
    "broadcasts of broadcasts": (
        lambda x: broadcast_in_dim(broadcast_in_dim(x, shape=(3, 4), axes=(1,)), shape=(2, 3, 4), axes=(1, 2)),
        (V,), ["broadcast_in_dim"],
    ),
    "the transpose of a product": (lambda x, y: permute(x @ y, axes=(1, 0)), (M, SQUARE), ["dot_general"]),
    "a maximum over an axis of one": (lambda x: max_(reshape(x, shape=(2, 2, 1)), axes=(2,)), (V,), ["reshape"]),
    "zero added to integers": (lambda x: (x + 0) * 2, (I,), ["mul"]),
    "two inversions": (lambda x: bitwise_not(bitwise_not(x)) * 2, (I,), ["mul"]),
    "a choice of one": (lambda x: where(less(x, 0), x, x) * 2, (V,), ["mul"]),
    "a number of elements": (lambda x: x * cast(dim_size(x, axis=0), dtype=float32), (V,), ["cast", "mul"]),
    "windows that lie apart": (
        lambda x: windows_add(windows(x, kernel=(2,), **APART), size=(4,), **APART),
        (Aval((1, 4), float32),), ["windows", "reshape", "add"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SHORTER)
def test_fewer_operations_with_the_same_bits(case):
    function, avals, names = SHORTER[case]
    graph = trace_graph(function, avals)
    after = simplify(graph)
    verify(after)
    assert [n.prim.name for n in after.nodes if n.value is None] == names
    arrays = arrays_for(graph)
    for a in arrays:
        if a.dtype.kind == "f":
            a.flat[:3] = -0.0, np.inf, np.nan
    assert bits(after, arrays) == bits(graph, arrays)
    assert simplify(after) is after
