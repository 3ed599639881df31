"""Kernels over the same elements are put together where nothing stands between them."""

from __future__ import annotations

import numpy as np

import weft.ops  # noqa: F401
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.regions import supported
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.schedule import schedule
from weft.ops.elementwise import exp, sqrt
from weft.ops.reduce import sum_
from weft.runtime.buffer import Buffer

A = Aval((5, 7), float32)


def check(function, count, *, kernels):
    graph = trace_graph(function, (A,) * count)
    assert len(schedule(graph, supported)) == kernels
    rng = np.random.default_rng(0)
    args = [rng.uniform(0.1, 1, (5, 7)).astype(np.float32) for _ in range(count)]
    for got, want in zip(
        CpuBackend().compile(graph).run([Buffer(a) for a in args]),
        Interpreter(graph).evaluate(args),
        strict=True,
    ):
        np.testing.assert_allclose(got.array, want, rtol=1e-5)


def adam(p, g, m, v):
    m = m * 0.9 + g * 0.1
    v = v * 0.99 + g * g * 0.01
    return p - m / (sqrt(v) + 1e-8) * 0.1, m, v


def test_an_optimisers_update_is_one_kernel():
    check(adam, 4, kernels=1)


def test_a_reduction_between_keeps_two_kernels_apart():
    def f(x):
        e = exp(x)
        s = sum_(e, axes=(0, 1))
        return e, s, e / s

    check(f, 1, kernels=3)


def test_kernels_that_share_an_operand_are_put_together():
    check(lambda x, y: (exp(x), sqrt(x), x + y), 2, kernels=1)


def test_a_kernel_moves_before_the_one_in_between_if_it_may():
    def f(x, y):
        e = exp(x)
        s = sum_(e, axes=(0,))
        return e, s, sqrt(e) + y

    check(f, 2, kernels=2)


def test_a_value_and_what_is_computed_from_it_are_one_kernel():
    def f(x, y):
        e = exp(x)
        return e, e + y

    check(f, 2, kernels=1)
