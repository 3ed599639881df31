"""Complex programs, which are computed on parts: compiled against the reference."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft.autodiff.reverse import pullback
from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import complex64, complex128
from weft.ir.dtype import dtype as as_dtype
from weft.ir.graph import trace_graph
from weft.ir.node import GRAD, Aval
from weft.ops.arithmetic import abs_, integer_pow
from weft.ops.complex import conj, imag, make_complex, real
from weft.ops.contraction import dot_general
from weft.ops.cumulative import cumprod, cumsum
from weft.ops.define import constant
from weft.ops.gather import gather, scatter_add
from weft.ops.movement import broadcast_in_dim, concatenate, permute, reshape
from weft.ops.reduce import prod, sum_
from weft.ops.selection import cast
from weft.ops.transcendental import cos, cosh, exp, log, sin, sinh, sqrt, tanh
from weft.runtime.backend import Fault
from weft.runtime.buffer import Buffer

RNG = np.random.default_rng(11)


def numbers(*shape):
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


def agree(function, *arrays, ulps=64):
    arrays = [np.asarray(a) for a in arrays]
    graph = trace_graph(function, [Aval(a.shape, as_dtype(a.dtype)) for a in arrays])
    with np.errstate(all="ignore"):
        want = Interpreter(graph).evaluate(arrays)
    got = [
        b.array for b in CpuBackend().compile(graph).run([Buffer(np.ascontiguousarray(a)) for a in arrays])
    ]
    for w, g in zip(want, got, strict=True):
        assert g.dtype == w.dtype and g.shape == w.shape
        bound = ulps * np.finfo(w.dtype).eps if w.dtype.kind in "fc" else 0
        assert np.all(np.abs(g - w) <= bound * max(1.0, np.abs(w).max(initial=0))), (g, w)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (40,), (3, 7), (2, 3, 17)])
def test_arithmetic_between_parts(dtype, shape):
    x, y = numbers(*shape).astype(dtype), numbers(*shape).astype(dtype)
    agree(lambda x, y: [x * y + x / y - conj(x), abs_(x), real(y), -imag(x)], x, y)
    agree(lambda x, y: [integer_pow(x, exponent=3), integer_pow(y, exponent=-2), x], x, y)
    for function in (exp, log, sqrt, sin, cos, sinh, cosh, tanh):
        agree(lambda x, f=function: f(x), x)


def test_movement_and_reductions():
    x, y = numbers(4, 6, 5), numbers(5, 3)
    agree(lambda x: concatenate(permute(x, axes=(1, 0, 2)), permute(x, axes=(1, 0, 2)), axis=2), x)
    agree(lambda x: [sum_(x, axes=(0, 2)), cumsum(x, axis=1), prod(x, axes=(1,)), cumprod(x, axis=0)], x)
    agree(lambda x, y: dot_general(x, y, contract=((2,), (0,)), batch=((), ())), x, y)
    i = np.array([3, -1, 0, 3])
    agree(lambda x, i: scatter_add(x, gather(x, i, axes=(0,)), i, axes=(0,)), x, i)


def test_numbers_constants_and_casts():
    x = numbers(3, 4)
    agree(lambda x: x * constant(2 - 1j, complex128) + constant(1j, complex128), x)
    agree(lambda x: cast(x, dtype=complex64), x)
    agree(lambda r: cast(r, dtype=complex128) * 1j, RNG.normal(size=(9,)))
    agree(
        lambda r: make_complex(r, broadcast_in_dim(constant(0.5, r.dtype), shape=r.shape, axes=())),
        x.real.copy(),
    )
    agree(lambda x: reshape(x, shape=(12,)), x)


def test_gradients_are_conjugated_alike():
    def loss(x, y):
        out = sum_(abs_(x * y + exp(x)), axes=(0,))
        return [out, *pullback([out], [constant(1.0, out.dtype)], [x, y], GRAD)]

    agree(loss, numbers(8), numbers(8))


@pytest.mark.parametrize(("dtype", "most"), [(np.complex64, 88), (np.complex128, 709)])
def test_an_exponential_is_finite_where_its_size_is_not(dtype, most):
    sizes = np.array([most, most + 0.5, most + 0.8, most + 1, -most, 1])
    z = (sizes[:, None] + 1j * np.array([0, 0.8, 1.5, 2.4])).astype(dtype)
    with np.errstate(over="ignore"):
        z = z[np.isfinite(np.exp(z))]
        assert np.any(np.isinf(np.exp(z.real)))
    agree(lambda x: [real(exp(x)) * 2**-9, imag(exp(x)) * 2**-9], z)


def test_an_index_outside_is_an_error():
    graph = trace_graph(
        lambda x, i: gather(x, i, axes=(0,)), [Aval((3,), complex128), Aval((2,), as_dtype("int64"))]
    )
    with pytest.raises(Fault):
        CpuBackend().compile(graph).run([Buffer(numbers(3)), Buffer(np.array([0, 3]))])


@pytest.mark.parametrize("name", ["exp", "sinh", "cosh", "sin", "cos", "sqrt"])
def test_infinite_angles_and_edges(name):
    """Where a part is known whatever the angle is, it is that; the sign of a zero is open there."""
    edges = [0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan]
    z = np.array([complex(a, b) for a in edges for b in edges])
    got = getattr(wf, name)(wf.tensor(z)).numpy()
    with wf.config(backend="reference"):
        want = getattr(wf, name)(wf.tensor(z)).numpy()
    for part in ("real", "imag"):
        np.testing.assert_allclose(
            abs(getattr(got, part)), abs(getattr(want, part)), rtol=1e-12, err_msg=part
        )


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", ["sqrt", "log", "cosh", "sinh", "sin", "cos"])
def test_at_the_ends_of_the_range(name, dtype):
    """Of numbers near the largest and the smallest that there are, alone and together."""
    info = np.finfo(dtype)
    parts = [
        0.0,
        -0.0,
        1.0,
        -2.0,
        info.max,
        -info.max,
        info.max / 3,
        info.tiny,
        -info.tiny / 9,
        info.smallest_subnormal,
    ]
    z = np.array([complex(a, b) for a in parts for b in parts], dtype)
    got = getattr(wf, name)(wf.tensor(z)).numpy()
    with wf.config(backend="reference"):
        want = getattr(wf, name)(wf.tensor(z)).numpy()
    for part in ("real", "imag"):
        np.testing.assert_allclose(
            getattr(got, part),
            getattr(want, part),
            rtol=16 * info.eps,
            atol=info.smallest_subnormal,
            err_msg=part,
        )
