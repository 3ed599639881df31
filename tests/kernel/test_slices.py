"""Products whose columns are read in slices are one kernel with what reads them."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from fences import fenced, fences
from weft import nn
from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.inspect import kernels
from weft.ir.dtype import bfloat16, float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.tiles import Tiles
from weft.ops.composite.activations import sigmoid
from weft.ops.composite.recurrent import gru_step, lstm_step
from weft.ops.contraction import dot_general
from weft.ops.elementwise import exp, tanh
from weft.ops.movement import concatenate, permute, reshape, slice_, slice_axis
from weft.ops.reduce import sum_
from weft.runtime.buffer import Buffer

TYPES = {float32: 1e-5, float64: 1e-12, bfloat16: 2e-2}


def product(x, w):
    return dot_general(x, w, contract=((x.ndim - 1,), (0,)), batch=((), ()))


def cut(r, *ends):
    """The last axis between these ends."""
    return [slice_axis(r, r.ndim - 1, a, b) for a, b in zip(ends, ends[1:], strict=False)]


def even(r, count):
    size = r.shape[-1] // count
    return cut(r, *range(0, count * size + 1, size))


def added_up(x, w, b, count):
    """A sum for each of some slices, each used twice."""
    total, *rest = [s * s for s in even(product(x, w) + b, count)]
    for k, s in enumerate(rest):
        total = total * (k + 2) + s
    return total


def swiglu(x, w, b):
    u, v = even(product(x, w), 2)
    return u * sigmoid(u) * v


def lstm(x, w, b, c, inputs):
    h, c = lstm_step(inputs, x, c, permute(w, axes=(1, 0)))
    return h, c, c * 2


def gru(x, w, b, h, inputs):
    return gru_step(inputs, x, permute(w, axes=(1, 0)), b) + h


def through_reshape(x, w, b):
    r = reshape(product(x, w), shape=(x.shape[0], 2, w.shape[1] // 2))
    u, v = [reshape(slice_axis(r, 1, i, i + 1), shape=(x.shape[0], w.shape[1] // 2)) for i in (0, 1)]
    return u * exp(v)


def beside_each_other(x, w, b):
    """Parts of one result, and a result that does not need the product."""
    u, v = even(product(x, w) + b, 2)
    return concatenate(u * v, u + v, axis=1), exp(slice_axis(x, 1, 0, u.shape[1]) * u) * 2


def every_other(x, w, b):
    r = product(x, w)
    ends = [0] * (r.ndim - 1)
    u, v = [slice_(r, start=(*ends, i), limit=r.shape, stride=(*[1] * len(ends), 2)) for i in (0, 1)]
    return u * sigmoid(v)


def whole(x, w, b):
    """One sum with two results."""
    r = product(x, w) + b
    return r * sigmoid(r), exp(r)


def kept(x, w, b):
    """The product itself is a result, and read once more."""
    r = product(x, w) + b
    u, v = even(r, 2)
    return u * v, r, sum_(r, axes=(1,))


# -- what stays two kernels ------------------------------------------------------------------------------------


def overlapping(x, w, b):
    r, n = product(x, w), w.shape[1]
    u, v = slice_axis(r, 1, 0, n - 3), slice_axis(r, 1, 3, n)
    return u * v


def unequal(x, w, b):
    r, n = product(x, w), w.shape[1]
    return tanh(slice_axis(r, 1, 0, n - 3)), tanh(slice_axis(r, 1, n - 3, n))


def kept_in_part(x, w, b):
    r, n = product(x, w), w.shape[1]
    u, v, _ = cut(r, 0, 9, 18, n)
    return u * v, r


def read_before(x, w, b):
    r = product(x, w)
    u, v = even(r, 2)
    return u * v * sum_(r, axes=(0, 1))


def other_rows(x, w, b):
    u, v = even(product(x, w), 2)
    n = u.shape[0]
    return slice_axis(u, 0, 0, n - 1) * slice_axis(v, 0, 1, n)


def check(f, x, w, *more, dtype=float32, sums=None, columns=None) -> Graph:
    """Compiled as the reference, between fences too; `sums` of each element, None if it is not one kernel."""
    shapes = (x, w, (columns or w[-1],), *more)
    graph = trace_graph(f, [Aval(s, dtype) for s in shapes])
    rng = np.random.default_rng(1)
    args = [rng.normal(size=s).astype(dtype.numpy) for s in shapes]
    program = CpuBackend().compile(graph)
    found = [s.kernel for s in program.steps if s.kernel is not None]
    several = [k for k in found if isinstance(k, Tiles) and len(k.starts) > 1]
    if sums is None:
        assert len(found) > 1 and not several
    elif sums is not ...:
        assert len(found) == (2 if f is kept else 1) and isinstance(found[0], Tiles), found
        assert len(found[0].starts) == sums
    want, scale = Interpreter(graph).evaluate(args), TYPES[dtype]
    with fences(True):
        between = CpuBackend().compile(graph).run([fenced(a, True) for a in args])
    for got in (program.run([Buffer(a) for a in args]), between):
        for a, b in zip(want, got, strict=True):
            a, b = np.asarray(a, np.float64), np.asarray(b.array, np.float64)
            np.testing.assert_allclose(b, a, rtol=scale, atol=scale * max(1, abs(a).max()))
    return graph


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize(("rows", "width"), [(1, 32), (2, 5), (3, 19), (7, 33), (32, 48)])
def test_some_slices_have_a_sum_each(rows, width, count, dtype):
    check(
        lambda x, w, b: added_up(x, w, b, count),
        (rows, 21),
        (21, width * count),
        dtype=dtype,
        sums=count,
    )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "width"), [(1, 16), (5, 19), (32, 128)])
def test_gates(rows, width, dtype):
    state, inputs = (rows, width), (rows, 4 * width)
    one = dtype is not bfloat16  # rounded at each step, the expressions are too long
    check(lstm, state, (width, 4 * width), state, inputs, dtype=dtype, sums=4 if one else ...)
    check(gru, state, (width, 3 * width), state, (rows, 3 * width), dtype=dtype, sums=3 if one else ...)


@pytest.mark.parametrize(
    ("f", "sums"),
    [(swiglu, 2), (kept, 2), (through_reshape, 2), (every_other, 2), (beside_each_other, 2), (whole, 1)],
)
@pytest.mark.parametrize(("rows", "width"), [(4, 17), (40, 34)])
def test_other_ways_to_write_it(f, sums, rows, width):
    check(f, (rows, 40), (40, 2 * width), sums=sums)


def test_rows_of_two_axes():
    check(swiglu, (3, 5, 24), (24, 38), sums=2)


@pytest.mark.parametrize(
    "f", [overlapping, unequal, kept_in_part, read_before, other_rows, lambda x, w, b: added_up(x, w, b, 7)]
)
def test_what_does_not_fit_into_one_kernel_is_still_right(f):
    check(f, (9, 20), (20, 28))


def test_long_sums_are_made_in_blocks_of_their_own():
    check(swiglu, (16, 1000), (1000, 64))


# -- recurrent layers ------------------------------------------------------------------------------------------


def layer(kind, rows, width, dtype=float32, **more):
    wf.manual_seed(3)
    found = kind(6, width, dtype=dtype, **more)
    x = wf.randn(4, rows, 6).astype(dtype)
    return found, x


@pytest.mark.parametrize("width", [19, 32, 48])
@pytest.mark.parametrize("rows", [1, 5, 32])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_step_of_a_recurrent_layer_is_one_kernel(kind, rows, width):
    if width == 19 and rows == 1:
        width = 33  # so small a matrix is not packed, and one row not worth it
    net, x = layer(kind, rows, width)
    with wf.no_grad():
        f = wf.compile(lambda x: net(x)[0])
        f(x)
        inside = [r for r in kernels(f).rows if r.loops and r.times == 4]
    assert len(inside) == 1 and "tiles" in inside[0].loops, [r.loops for r in inside]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_so_it_is_in_training(kind):
    net, x = layer(kind, 32, 32)

    @wf.compile
    def step(x):
        net.zero_grad()
        wf.sum(wf.square(net(x)[0])).backward()
        return [p.grad for p in net.parameters()]

    step(x)
    inside = [r for r in kernels(step).rows if r.loops and r.times == 4]
    forward = [r for r in inside if not any("vjp" in o for o in r.operations)]
    assert len(forward) == 1 and "tiles" in forward[0].loops, [r.loops for r in forward]


@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_gradients_to_second_order(kind, rows, dtype):
    net, x = layer(kind, rows, 17, dtype)
    weights = list(net.parameters())

    def grown(x):
        first = wf.grad(lambda x: wf.sum(wf.square(net(x)[0])))
        return first(x), wf.grad(lambda x: wf.sum(wf.sin(first(x))))(x)

    results = {}
    for backend in ("reference", "cpu"):
        wf.config.backend, before = backend, wf.config.backend
        try:
            loss = wf.sum(wf.square(net(x)[0]))
            for p in weights:
                p.grad = None
            loss.backward()
            results[backend] = [a.numpy() for a in (*wf.compile(grown)(x), *[p.grad for p in weights])]
        finally:
            wf.config.backend = before
    for want, got in zip(results["reference"], results["cpu"], strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=TYPES[dtype] * max(1, abs(want).max()))


def test_any_number_of_threads_gives_the_same_bits():
    net, x = layer(nn.LSTM, 33, 48)
    before, found = wf.get_num_threads(), []
    try:
        for count in (1, 2, 3, 5):
            wf.set_num_threads(count)
            for p in net.parameters():
                p.grad = None
            out = net(x)[0]
            wf.sum(wf.square(out)).backward()
            found.append(
                [out.detach().numpy().tobytes(), *[p.grad.numpy().tobytes() for p in net.parameters()]]
            )
    finally:
        wf.set_num_threads(before)
    assert found[0] == found[1] == found[2] == found[3]
