"""The counts of known graphs."""

import numpy as np
import pytest

from formats_shared import softmax_for_tests
from weft.arrays.compile import compile, spec
from weft.arrays.creation import tensor
from weft.arrays.grad import no_grad
from weft.inspect import count
from weft.ir.dtype import bfloat16, dtype, float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ir.primitive import registry
from weft.ir.shape import Dim
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.elementwise import exp
from weft.ops.movement import permute
from weft.ops.reduce import sum_

N = Dim("n")


def f32(*shape):
    return Aval(shape, float32)


def matmul(x, y):
    return dot_general(x, y, contract=((1,), (0,)), batch=((), ()))


def convolve(x, w, groups=1):
    return conv(x, w, stride=(1, 1), padding=((1, 1), (1, 1)), input_dilation=(1, 1), kernel_dilation=(1, 1),
                feature_groups=groups, batch_groups=1)  # fmt: skip


@pytest.mark.parametrize(
    ("function", "avals", "flops", "read", "written"),
    [
        (matmul, [f32(3, 4), f32(4, 5)], 2 * 3 * 4 * 5, 4 * (12 + 20), 4 * 15),
        (matmul, [f32(N, 4), f32(4, 5)], 40 * N, 16 * N + 80, 20 * N),
        (lambda x: x * 2.0 + x, [f32(3, 4)], 24, 4 * (12 + 1 + 24), 4 * 24),
        (lambda x: exp(x), [Aval((3, 4), bfloat16)], 12, 24, 24),
        (lambda x: sum_(x, axes=(0,)), [f32(3, 4)], 12, 48, 16),
        (lambda x: permute(x, axes=(1, 0)), [f32(3, 4)], 0, 0, 0),
        (convolve, [f32(2, 3, 8, 8), f32(5, 3, 3, 3)], 2 * 2 * 5 * 64 * 27, 4 * (384 + 135), 4 * 640),
        (lambda x, w: convolve(x, w, 3), [f32(2, 3, 8, 8), f32(6, 1, 3, 3)], 2 * 2 * 6 * 64 * 9, 4 * 438, 4 * 768),
        (lambda x: softmax_for_tests(x, axis=1), [f32(3, 4)], 5 * 12, 4 * (12 + 24 + 12 + 12 + 24), 4 * (3 + 36 + 3)),
        (lambda x: x, [f32(3)], 0, 0, 0),
    ],
)  # fmt: skip
def test_known_counts(function, avals, flops, read, written):
    found = count(trace_graph(function, avals))
    assert (found.flops, found.bytes_read, found.bytes_written) == (flops, read, written)


def test_a_composite_is_one_row_or_its_primitives():
    graph = trace_graph(lambda x: softmax_for_tests(x * 2.0, axis=1), [f32(3, 4)])
    whole, parts = count(graph), count(graph, expand=True)
    assert sorted(r.kind for r in whole.rows) == ["mul", "softmax_for_tests"]
    assert {"max", "exp", "sum", "div", "sub", "mul", "broadcast_in_dim"} == {r.kind for r in parts.rows}
    assert whole.flops == parts.flops == 12 + 5 * 12
    assert (whole.bytes_read, whole.bytes_written) == (parts.bytes_read, parts.bytes_written)


def test_parameters_are_the_state_of_a_compiled_function():
    w, b = tensor(np.ones((4, 3), np.float32)), tensor(np.ones(3, np.float32))

    @compile
    def linear(x):
        with no_grad():
            return x @ w + b

    found = count(linear.trace(spec((Dim("batch"), 4))))
    assert found.parameters == 15
    assert found.flops == 24 * Dim("batch") + 3 * Dim("batch")
    linear(tensor(np.ones((2, 4), np.float32)))
    assert count(linear).flops == 2 * 27


def test_a_pending_tensor_counts_what_is_not_computed_yet():
    x = tensor(np.ones((2, 3), np.float32))
    y = x * 2 + 1
    assert count(y).flops == 12
    assert y._node.value is None
    y.realize()
    assert count(y).flops == 0


def test_the_table():
    text = str(count(trace_graph(matmul, [f32(300, 400), f32(400, 500)])))
    assert text.splitlines()[0] == "graph: 0 parameters and other state"
    assert text.splitlines()[-1].split() == ["total", "1", "120,000,000", "1,280,000", "600,000"]
    assert "n" in str(count(trace_graph(matmul, [f32(N, 4), f32(4, 5)])))


def test_every_primitive_can_be_counted():
    from weft.ir.graph import Graph, fresh_inputs
    from weft.ir.node import make_node
    from weft.ir.primitive import results

    for prim in list(registry.values()):
        for sample in prim.samples() if prim.samples is not None else ():
            if prim.higher_order:
                continue
            avals = tuple([Aval(np.shape(a), dtype(np.asarray(a).dtype)) for a in sample.args])
            sig = prim.signature(avals, tuple([sample.attrs[n] for n in prim.attr_names]))
            inputs = fresh_inputs(avals)
            found = count(Graph(inputs, results(make_node(sig, tuple(inputs)))))
            assert isinstance(found.flops, int) and found.flops >= 0, prim.name
            assert (found.flops == 0) or prim.computes, prim.name
            str(found)
