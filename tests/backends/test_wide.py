"""Products of bfloat16 that the processor makes by itself: the sums as its manual has them, to the bit."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from tests.compiled import run

import weft as wf
from weft import nn
from weft.backends.cpu import making, regions
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.tile_units import units
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import bfloat16, float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.target import LEVELS
from weft.kernel.tiles import Tiles
from weft.kernel.wide import multiply_wide
from weft.ops.arithmetic import maximum
from weft.ops.comparison import less
from weft.ops.contraction import dot_general, wide_dot
from weft.ops.movement import permute, reshape, slice_
from weft.ops.selection import cast

RNG = np.random.default_rng(11)
V4 = LEVELS["x86-64-v4"]
MATRICES = replace(V4, features=f"{V4.features},+amx-tile,+amx-bf16", matrices=True)

PAIRS = replace(V4, features=f"{V4.features},+avx512bf16", pairs=True)

has_wide = pytest.mark.skipif(
    not host_target().wide, reason="this processor multiplies no bfloat16 by itself"
)

#: (rows, steps, columns): whole registers, rests of each, few rows or columns, long sums, several panels and bands.
SHAPES = [
    (32, 32, 32), (33, 64, 31), (4, 34, 8), (100, 784, 10), (7, 95, 50), (130, 33, 257), (64, 1000, 90), (300, 40, 24),
    (8, 1800, 70), (150, 3000, 33),
]  # fmt: skip


def halves(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(bfloat16.numpy)


def in_the_processors_order(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x y in float32."""
    x, y = (_flushed(np.asarray(a, np.float32)) for a in (x, y))
    return (_by_matrices if host_target().matrices else _by_pairs)(x, y)


def _by_pairs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of every two products first the second, then the first onto the sum."""
    total = np.zeros((x.shape[0], y.shape[1]), np.float32)
    for first in range(0, x.shape[1], 2):
        for k in reversed(range(first, min(first + 2, x.shape[1]))):
            total = _add(total, x[:, k], y[k])
    return total


def _by_matrices(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of every 32 products those of even and of odd numbers apart, then both onto the sum."""
    total = np.zeros((x.shape[0], y.shape[1]), np.float32)
    for start in range(0, x.shape[1], 32):
        parts = [np.zeros_like(total), np.zeros_like(total)]
        for k in range(start, min(start + 32, x.shape[1])):
            parts[k % 2] = _add(parts[k % 2], x[:, k], y[k])
        total = total + (parts[0] + parts[1])
    return total


def _add(total: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """total + the products of a column and a row, rounded once: those of numbers of 8 bits are exact."""
    return _flushed((total + np.outer(column, row).astype(np.float64)).astype(np.float32))


def _flushed(x: np.ndarray) -> np.ndarray:
    """Subnormal numbers count as zero, in operands and in sums."""
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.float32(0), x)


def graph_of(function, *arrays: np.ndarray) -> Graph:
    kinds = {np.dtype(bfloat16.numpy): bfloat16, np.dtype(np.float32): float32}
    return trace_graph(function, [Aval(a.shape, kinds[a.dtype]) for a in arrays])


def tiles_of(graph: Graph) -> list[Tiles]:
    found = regions.plan(regions.prepare(regions.numbered(graph))).steps
    return [s.kernel for s in found if isinstance(s.kernel, Tiles)]


@has_wide
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
        assert kernel.wide
        (got,) = run(graph, arrays)
        np.testing.assert_array_equal(got, want)


@has_wide
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


@has_wide
def test_a_product_is_rounded_once_and_goes_on_in_the_same_kernel():
    def f(x, y, bias):
        z = dot_general(x, y, contract=((2,), (1,)), batch=((), ()))
        return maximum(cast(z, dtype=float32) + bias, 0.0), reshape(z, shape=(30, 48))

    x, y, bias = halves(5, 6, 64), halves(48, 64), RNG.normal(size=48).astype(np.float32)
    graph = graph_of(lambda *a: f(*a)[0], x, y, bias)
    (kernel,) = tiles_of(graph)
    assert kernel.wide and kernel.outputs == (float32,)
    sums = in_the_processors_order(x.reshape(30, 64), y.T).reshape(5, 6, 48)
    want = np.maximum(sums.astype(bfloat16.numpy).astype(np.float32) + bias, 0)
    np.testing.assert_array_equal(run(graph, [x, y, bias])[0], want)
    both = run(graph_of(f, x, y, bias), [x, y, bias])
    np.testing.assert_array_equal(both[0], want)
    np.testing.assert_array_equal(both[1], sums.astype(bfloat16.numpy).reshape(30, 48))


@has_wide
def test_results_of_types_that_tiles_do_not_store():
    x, y = halves(20, 40), halves(40, 30)
    want = in_the_processors_order(x, y).astype(bfloat16.numpy)

    def f(x, y):
        product = dot_general(x, y, contract=((1,), (0,)), batch=((), ()))
        return cast(product, dtype=float64), less(0, product)

    for k, expected in enumerate((want.astype(np.float64), want > 0)):
        graph = graph_of(lambda *a, k=k: f(*a)[k], x, y)
        assert any(t.wide for t in tiles_of(graph))
        np.testing.assert_array_equal(run(graph, [x, y])[0], expected)


@has_wide
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


@has_wide
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
    once = multiply_wide(graph)
    assert once != graph and multiply_wide(once) == once
    arrays = [halves(*size) for _ in range(2)]
    want, got = (Interpreter(g).evaluate(arrays)[0] for g in (graph, once))
    np.testing.assert_array_equal(got, want)


def test_small_products_and_other_types_are_left_to_vectors():
    for shape in ((40, 3), (20, 40)):
        assert multiply_wide(_square(*shape)) == _square(*shape)
    x = RNG.normal(size=(64, 64)).astype(np.float32)
    graph = graph_of(lambda a, b: dot_general(a, b, contract=((1,), (0,)), batch=((), ())), x, x)
    assert multiply_wide(graph) == graph


@pytest.mark.parametrize("form", list(itertools.product((0, 1), repeat=2)))
def test_long_sums_are_rounded_once_they_have_waited(form, monkeypatch):
    """In vectors; registers that are matrices keep them to their end."""
    x, y = [halves(*((2000, 40) if axis == 0 else (40, 2000))) for axis in form]
    contract = ((form[0],), (form[1],))
    graph = graph_of(lambda a, b: dot_general(a, b, contract=contract, batch=((), ())), x, y)
    for target, outputs in ((PAIRS, (float32,)), (MATRICES, (bfloat16,))):
        monkeypatch.setattr(regions, "host_target", lambda target=target: target)
        (kernel,) = tiles_of(graph)
        assert kernel.wide and kernel.outputs == outputs and kernel.waits == (target is PAIRS)


@has_wide
@pytest.mark.parametrize("form", list(itertools.product((0, 1), repeat=2)))
@pytest.mark.parametrize("steps", [1536, 1538, 5000])
def test_long_products_have_the_bits_of_their_sums(form, steps):
    x, y = halves(40, steps), halves(steps, 150)
    want = in_the_processors_order(x, y).astype(bfloat16.numpy)
    x, y = x if form[0] else np.ascontiguousarray(x.T), np.ascontiguousarray(y.T) if form[1] else y
    graph = graph_of(lambda a, b: dot_general(a, b, contract=((form[0],), (form[1],)), batch=((), ())), x, y)
    np.testing.assert_array_equal(run(graph, [x, y])[0], want)


@has_wide
def test_what_is_not_finite_and_what_is_subnormal():
    x, y = halves(20, 50), halves(50, 40)
    x[1, 7], x[2, 8], x[2, 9], x[3, 49], y[3, 5] = np.nan, np.inf, -np.inf, np.inf, np.inf
    x[4, :], y[:, 6] = 1e-20, 1e-25  # products that count as zero
    x[5, :], y[:, 7] = 1e-40, 1e30  # and numbers that do
    y[49, 8] = 0.0
    with np.errstate(invalid="ignore"):
        want = in_the_processors_order(x, y)
    assert np.isnan(want[1]).all() and np.isnan([want[3, 8], want[5, 5]]).all()
    assert want[4, 6] == want[5, 7] == 0
    graph = graph_of(lambda a, b: wide_dot(a, b, contract=((1,), (0,)), batch=((), ())), x, y)
    np.testing.assert_array_equal(run(graph, [x, y])[0], want)


@has_wide
def test_gradients_are_products_of_the_same_kind():
    x, w, seed = halves(60, 96), halves(96, 70), halves(60, 70)
    a, b, c = (wf.tensor(v) for v in (x, w, seed))
    found = wf.grad(lambda a, b: ((a @ b) * c).sum(), argnums=(0, 1))(a, b)
    for got, left, right in zip(found, (seed, x.T), (w.T, seed), strict=True):
        want = in_the_processors_order(left, right).astype(bfloat16.numpy)
        np.testing.assert_array_equal(got.numpy(), want)


def test_code_for_processors_that_have_matrices(monkeypatch):
    monkeypatch.setattr(regions, "host_target", lambda: MATRICES)
    (kernel,) = tiles_of(_square(45, 40))
    text = making.assembly(kernel, "kernel", MATRICES)
    for name in ("ldtilecfg", "tileloadd", "tdpbf16ps", "tilestored", "tilerelease"):
        assert name in text
    assert text.count("tilerelease") == 1


def test_code_for_processors_that_have_pairs(monkeypatch):
    monkeypatch.setattr(regions, "host_target", lambda: PAIRS)
    (kernel,) = tiles_of(_square(45, 40))
    text = making.assembly(kernel, "kernel", PAIRS)
    assert "vdpbf16ps" in text and "vfmadd" not in text


@pytest.mark.parametrize("name", LEVELS)
def test_other_processors_do_without(name, monkeypatch):
    monkeypatch.setattr(regions, "host_target", lambda: LEVELS[name])
    (kernel,) = tiles_of(_square())
    assert not kernel.wide and "dpbf16ps" not in making.assembly(kernel, "kernel", LEVELS[name])
