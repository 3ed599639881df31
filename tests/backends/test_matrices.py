"""Products of bfloat16 by registers that are matrices: the sums as the processor's manual has them, to the bit."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from tests.compiled import run

import weft as wf
from weft import nn
from weft.backends.cpu import library, regions
from weft.backends.cpu.jit import host_target
from weft.backends.cpu.tiles import units
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import bfloat16, float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.matrices import multiply_matrices
from weft.kernel.target import LEVELS
from weft.kernel.tiles import Tiles
from weft.ops.arithmetic import maximum
from weft.ops.comparison import less
from weft.ops.contraction import dot_general, wide_dot
from weft.ops.movement import permute, reshape, slice_
from weft.ops.selection import cast

RNG = np.random.default_rng(11)
V4 = LEVELS["x86-64-v4"]
MATRICES = replace(V4, features=f"{V4.features},+amx-tile,+amx-bf16", matrices=True)

has_matrices = pytest.mark.skipif(not host_target().matrices, reason="this processor has no such registers")

#: (rows, steps, columns): whole registers, rests of each, few columns, long sums, several panels and bands.
SHAPES = [
    (32, 32, 32), (33, 64, 31), (4, 34, 8), (100, 784, 10), (7, 95, 50), (130, 33, 257), (64, 1000, 90), (300, 40, 24),
]  # fmt: skip


def halves(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(bfloat16.numpy)


def in_the_processors_order(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x y in float32: of every 32 products those of even and of odd numbers apart, then both onto the sum."""
    x, y = (np.asarray(a, np.float32) for a in (x, y))
    total = np.zeros((x.shape[0], y.shape[1]), np.float32)
    for start in range(0, x.shape[1], 32):
        parts = []
        for first in (0, 1):
            part = np.zeros_like(total)
            for k in range(
                start + first, min(start + 32, x.shape[1]), 2
            ):  # products of 8 bits are exact in 53
                exact = np.outer(x[:, k], y[k]).astype(np.float64)
                part = (part + exact).astype(np.float32)
            parts.append(part)
        total = total + (parts[0] + parts[1])
    return total


def graph_of(function, *arrays: np.ndarray) -> Graph:
    kinds = {np.dtype(bfloat16.numpy): bfloat16, np.dtype(np.float32): float32}
    return trace_graph(function, [Aval(a.shape, kinds[a.dtype]) for a in arrays])


def tiles_of(graph: Graph) -> list[Tiles]:
    found = regions.plan(regions.prepare(regions.numbered(graph))).steps
    return [s.kernel for s in found if isinstance(s.kernel, Tiles)]


@has_matrices
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_those_of_the_manual(shape):
    m, k, n = shape
    x, y = halves(m, k), halves(k, n)
    want = in_the_processors_order(x, y)
    for left, right in itertools.product((False, True), repeat=2):
        arrays = [np.ascontiguousarray(a.T) if t else a for a, t in ((x, left), (y, right))]
        contract = ((0 if left else 1,), (1 if right else 0,))
        graph = graph_of(lambda a, b, c=contract: wide_dot(a, b, contract=c, batch=((), ())), *arrays)
        (kernel,) = tiles_of(graph)
        assert kernel.matrices
        (got,) = run(graph, arrays)
        np.testing.assert_array_equal(got, want)


@has_matrices
def test_batches_several_axes_and_views():
    def f(x, y):
        x = permute(
            slice_(x, start=(0, 1, 0, 0), limit=(3, 5, 40, 6), stride=(1, 1, 1, 1)), axes=(3, 0, 2, 1)
        )
        return wide_dot(x, y, contract=((2, 3), (2, 1)), batch=((1,), (0,)))

    x, y = halves(3, 5, 40, 6), halves(3, 4, 40, 17)
    got = run(graph_of(f, x, y), [x, y])[0]
    for b in range(3):
        rows = x[b, 1:5].transpose(2, 1, 0).reshape(6, 160)
        columns = y[b].transpose(1, 0, 2).reshape(160, 17)
        np.testing.assert_array_equal(got[b], in_the_processors_order(rows, columns))


@has_matrices
def test_a_product_is_rounded_once_and_goes_on_in_the_same_kernel():
    def f(x, y, bias):
        z = dot_general(x, y, contract=((2,), (1,)), batch=((), ()))
        return maximum(cast(z, dtype=float32) + bias, 0.0), reshape(z, shape=(30, 48))

    x, y, bias = halves(5, 6, 64), halves(48, 64), RNG.normal(size=48).astype(np.float32)
    graph = graph_of(lambda *a: f(*a)[0], x, y, bias)
    (kernel,) = tiles_of(graph)
    assert kernel.matrices and kernel.outputs == (float32,)
    sums = in_the_processors_order(x.reshape(30, 64), y.T).reshape(5, 6, 48)
    want = np.maximum(sums.astype(bfloat16.numpy).astype(np.float32) + bias, 0)
    np.testing.assert_array_equal(run(graph, [x, y, bias])[0], want)
    both = run(graph_of(f, x, y, bias), [x, y, bias])
    np.testing.assert_array_equal(both[0], want)
    np.testing.assert_array_equal(both[1], sums.astype(bfloat16.numpy).reshape(30, 48))


@has_matrices
def test_results_of_types_that_tiles_do_not_store():
    x, y = halves(20, 40), halves(40, 30)
    want = in_the_processors_order(x, y).astype(bfloat16.numpy)

    def f(x, y):
        product = dot_general(x, y, contract=((1,), (0,)), batch=((), ()))
        return cast(product, dtype=float64), less(0, product)

    for k, expected in enumerate((want.astype(np.float64), want > 0)):
        graph = graph_of(lambda *a, k=k: f(*a)[k], x, y)
        assert any(t.matrices for t in tiles_of(graph))
        np.testing.assert_array_equal(run(graph, [x, y])[0], expected)


@has_matrices
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_bits_for_any_number_of_threads(threads):
    x, y = halves(700, 300), halves(300, 520)
    graph = graph_of(lambda a, b: wide_dot(a, b, contract=((1,), (0,)), batch=((), ())), x, y)
    (kernel,) = tiles_of(graph)
    assert units(kernel, host_target()) > 1
    before = wf.get_num_threads()
    try:
        wf.set_num_threads(threads)
        np.testing.assert_array_equal(run(graph, [x, y])[0], in_the_processors_order(x, y))
    finally:
        wf.set_num_threads(before)


def test_layers_train_alike_however_they_are_looked_at():
    """As written, looked at on the way, and compiled."""
    F = nn.functional
    wf.manual_seed(3)
    w1, w2 = wf.randn(40, 64).astype(wf.bfloat16), wf.randn(64, 9).astype(wf.bfloat16)
    x = wf.randn(50, 40).astype(wf.bfloat16)

    def loss(w1, w2, look=False):
        hidden = F.gelu(x @ w1)
        if look:
            hidden.numpy()
        out = hidden @ w2
        if look:
            out.numpy()
        return (out * out).mean()

    plain = wf.grad(loss, argnums=(0, 1))(w1, w2)
    looked = wf.grad(lambda a, b: loss(a, b, look=True), argnums=(0, 1))(w1, w2)
    compiled = wf.compile(wf.grad(loss, argnums=(0, 1)))
    for _ in range(3):
        found = compiled(w1, w2)
    for a, b, c in zip(plain, looked, found, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        np.testing.assert_array_equal(a.numpy(), c.numpy())


@has_matrices
@pytest.mark.parametrize("rows, columns", [(3000, 5), (5, 3000), (3000, 4), (7, 8), (7, 7)])
def test_a_transposed_product_has_the_same_bits_looked_at_or_not(rows, columns):
    x, w = (wf.tensor(halves(*s)) for s in ((rows, 1000), (1000, columns)))
    product = x @ w
    looked = product.numpy()
    np.testing.assert_array_equal((x @ w).T.numpy(), looked.T)


def _square(n: int = 40, m: int = 40) -> Graph:
    return graph_of(
        lambda a, b: dot_general(a, b, contract=((0,), (0,)), batch=((), ())), halves(n, m), halves(n, m)
    )


@pytest.mark.parametrize("size", [(40, 40), (33, 40)])
def test_the_pass_keeps_the_meaning_and_is_done_once(size):
    graph = _square(*size)
    once = multiply_matrices(graph)
    assert once != graph and multiply_matrices(once) == once
    arrays = [halves(*size) for _ in range(2)]
    want, got = (Interpreter(g).evaluate(arrays)[0] for g in (graph, once))
    np.testing.assert_array_equal(got, want)


def test_small_products_and_other_types_are_left_to_vectors():
    for shape in ((40, 3), (20, 40)):
        assert multiply_matrices(_square(*shape)) == _square(*shape)
    x = RNG.normal(size=(64, 64)).astype(np.float32)
    graph = graph_of(lambda a, b: dot_general(a, b, contract=((1,), (0,)), batch=((), ())), x, x)
    assert multiply_matrices(graph) == graph


def test_code_for_processors_that_have_them(monkeypatch):
    monkeypatch.setattr(regions, "host_target", lambda: MATRICES)
    (kernel,) = tiles_of(_square(45, 40))
    text = library.assembly(kernel, "kernel", MATRICES)
    for name in ("ldtilecfg", "tileloadd", "tdpbf16ps", "tilestored", "tilerelease"):
        assert name in text
    assert text.count("tilerelease") == 1


@pytest.mark.parametrize("name", LEVELS)
def test_other_processors_do_without(name, monkeypatch):
    monkeypatch.setattr(regions, "host_target", lambda: LEVELS[name])
    (kernel,) = tiles_of(_square())
    assert not kernel.matrices and "tdpbf16ps" not in library.assembly(kernel, "kernel", LEVELS[name])
