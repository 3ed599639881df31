"""Laws that every primitive in the registry obeys, on its own samples.

A primitive that is added later is tested here without a further line; it fails until it has documentation,
samples, one kind of derivative and a batching rule.
"""

from itertools import product

import numpy as np
import pytest

import weft.ops
from weft.autodiff.batching import batch_nodes, spread
from weft.autodiff.forward import pushforward
from weft.autodiff.reverse import pullback
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import bfloat16, dtype, float16
from weft.ir.graph import Graph, fresh_inputs, verify
from weft.ir.node import GRAD, Aval
from weft.ir.primitive import registry, results

#: Primitives that cannot have samples of plain arrays, and why.
WITHOUT_SAMPLES = {
    "leaf": "a value, not an operation",
    "input": "a graph's input, not an operation",
    "pick": "one result of another node, known to every transformation",
    "script": "the nodes that it stands for take its place in every graph",
}
for _name, _prim in registry.items():
    if _prim.higher_order:
        WITHOUT_SAMPLES[_name] = "takes sub-graphs: has tests of its own"

#: Primitives whose 16-bit results are not their float32 results rounded, and why.
OWN_16_BIT = {
    "bitcast": "the bits are the point",
    "nextafter": "steps in its own type",
}

PRIMITIVES = [p for name, p in sorted(registry.items()) if name not in WITHOUT_SAMPLES]
SAMPLES = [
    pytest.param(p, s, id=f"{p.name}-{i}") for p in PRIMITIVES if p.samples for i, s in enumerate(p.samples())
]


# -- helpers ------------------------------------------------------------------------------------------------------


def aval_of(array):
    return Aval(array.shape, dtype(array.dtype))


def numeric(sample):
    return tuple(np.asarray(a) for a in sample.args)


def evaluate(function, arrays):
    """The node-level function applied to arrays, by the reference backend."""
    inputs = fresh_inputs([aval_of(a) for a in arrays])
    graph = Graph(inputs, tuple(function(*inputs)))
    verify(graph)
    with np.errstate(all="ignore"):
        return Interpreter(graph).evaluate(list(arrays))


def apply(prim, sample, args):
    return results(prim.bind(tuple(args), tuple(sample.attrs[n] for n in prim.attr_names)))


def inexact(sample):
    return [i for i, a in enumerate(numeric(sample)) if a.dtype.kind in "fc"]


def signature(prim, sample):
    return prim.signature(
        tuple(aval_of(a) for a in numeric(sample)), tuple(sample.attrs[n] for n in prim.attr_names)
    )


def like(aval, seed):
    """Reproducible numbers of a type."""
    rng = np.random.default_rng(seed)
    out = rng.uniform(-1, 1, aval.shape)
    if aval.dtype.kind == "c":
        out = out + 1j * rng.uniform(-1, 1, aval.shape)
    return np.asarray(out, aval.dtype.numpy)


def dot(xs, ys):
    """Re sum conj(x) y over lists of arrays."""
    return sum(
        float(np.real(np.sum(np.conj(x).astype(np.complex128) * y))) for x, y in zip(xs, ys, strict=True)
    )


def finite(sample):
    return all(np.all(np.isfinite(a)) for a in numeric(sample) if a.dtype.kind in "fc")


def digits(*dtypes):
    """Relative precision of the least precise of some data types."""
    widths = [d.bits // (2 if d.kind == "c" else 1) for d in dtypes if d.inexact]
    return {64: 1e-12, 32: 1e-5, 16: 1e-2}[min(widths, default=64)]


def precision(prim, sample):
    sig = signature(prim, sample)
    return digits(*[a.dtype for a in (*sig.inputs, *sig.outs)])


def double(prim, sample):
    return precision(prim, sample) == 1e-12


def jvp_of(prim, sample):
    """(primals..., tangents of the inexact ones...) -> tangents of the inexact results; zeros where there are none."""
    moving = inexact(sample)
    count = len(sample.args)

    def function(*nodes):
        args, tangents = nodes[:count], nodes[count:]
        outs = [o for o in apply(prim, sample, args) if o.dtype.inexact]
        pushed = pushforward(outs, [args[i] for i in moving], tangents, GRAD)
        return [
            weft.ops.movement.zeros(o.aval) if t is None else t for o, t in zip(outs, pushed, strict=True)
        ]

    return function


def vjp_of(prim, sample):
    """(primals..., cotangents of the inexact results...) -> cotangents of the inexact primals."""
    moving = inexact(sample)
    count = len(sample.args)

    def function(*nodes):
        args, cts = nodes[:count], nodes[count:]
        outs = [o for o in apply(prim, sample, args) if o.dtype.inexact]
        wrt = [args[i] for i in moving]
        found = pullback(outs, cts, wrt, GRAD)
        return [weft.ops.movement.zeros(w.aval) if g is None else g for w, g in zip(wrt, found, strict=True)]

    return function


def chosen(condition):
    """The samples of all primitives for which a law says something."""
    return pytest.mark.parametrize(("prim", "sample"), [p for p in SAMPLES if condition(*p.values)])


def differentiable(prim, sample):
    return signature(prim, sample).differentiable and bool(inexact(sample)) and finite(sample)


def measurable(prim, sample):
    """Whether finite differences say something about its derivatives."""
    return sample.smooth and differentiable(prim, sample) and double(prim, sample)


def has_16_bits(prim, sample):
    kinds = {a.dtype.kind for a in numeric(sample)}
    return prim.name not in OWN_16_BIT and "f" in kinds and "c" not in kinds


# -- laws ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prim", PRIMITIVES, ids=lambda p: p.name)
def test_is_fully_declared(prim):
    assert len(prim.doc.strip()) > 10, "no documentation"
    assert prim.samples and len(prim.samples()) >= 2, "no samples"
    kinds = [prim.partials_rule, prim.transpose_rule, prim.vjp_rule, prim.jvp_rule, prim.no_derivative]
    assert sum(k is not None for k in kinds) == 1, "exactly one kind of derivative must be stated"
    assert prim.elementwise or prim.batch_rule is not None, "no batching rule"


def test_reasons_name_primitives():
    assert set(WITHOUT_SAMPLES) <= set(registry)
    assert set(OWN_16_BIT) <= set(registry)


@pytest.mark.parametrize(("prim", "sample"), SAMPLES)
def test_body_returns_what_infer_promises(prim, sample):
    outs = signature(prim, sample).outs
    with np.errstate(all="ignore"):
        got = prim.evaluate(*numeric(sample), **sample.attrs)
    got = got if isinstance(got, tuple) else (got,)
    assert len(got) == len(outs)
    for g, o in zip(got, outs, strict=True):
        g = np.asarray(g)
        assert g.shape == o.shape
        assert o.dtype.bits == 16 or g.dtype == o.dtype.numpy


@chosen(differentiable)
def test_reverse_mode_is_the_adjoint_of_forward_mode(prim, sample):
    sig = signature(prim, sample)
    arrays = numeric(sample)
    dx = [like(aval_of(arrays[i]), 10 + i) for i in inexact(sample)]
    u = [like(o, 20 + i) for i, o in enumerate(sig.outs) if o.dtype.inexact]
    forward = evaluate(jvp_of(prim, sample), [*arrays, *dx])
    backward = evaluate(vjp_of(prim, sample), [*arrays, *u])
    for got, want in [*zip(forward, u, strict=True), *zip(backward, dx, strict=True)]:
        assert got.shape == want.shape
        assert got.dtype == want.dtype
    scale = 20 * precision(prim, sample)
    if all(np.all(np.isfinite(a)) for a in (*forward, *backward)):
        left, right = dot(u, forward), dot(backward, dx)
        assert left == pytest.approx(right, rel=scale, abs=scale)


def difference(function, arrays, moving, directions, h):
    """Central difference of fourth order of a function of arrays in the given directions."""
    total = None
    for step, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
        moved = list(arrays)
        for i, d in zip(moving, directions, strict=True):
            moved[i] = arrays[i] + step * h * d
        found = [
            weight * np.asarray(v, np.result_type(v.dtype, np.float64)) for v in evaluate(function, moved)
        ]
        total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
    return [t / (12 * h) for t in total]


@chosen(measurable)
def test_derivatives_agree_with_finite_differences(prim, sample):
    sig = signature(prim, sample)
    arrays, moving = numeric(sample), inexact(sample)
    dx = [like(aval_of(arrays[i]), 10 + i) for i in moving]
    got = evaluate(jvp_of(prim, sample), [*arrays, *dx])

    def value(*args):
        return [o for o in apply(prim, sample, args) if o.dtype.inexact]

    for g, want in zip(got, difference(value, arrays, moving, dx, 1e-4), strict=True):
        np.testing.assert_allclose(g, want, rtol=1e-6, atol=1e-8)

    # Second order: the gradient's own derivative, forward over reverse, then reverse over reverse as its adjoint.
    u = [like(o, 20 + i) for i, o in enumerate(sig.outs) if o.dtype.inexact]
    gradient = vjp_of(prim, sample)
    count = len(arrays)

    def second(*nodes):
        args, cts, tangents = nodes[:count], nodes[count : count + len(u)], nodes[count + len(u) :]
        grads = gradient(*args, *cts)
        pushed = pushforward(grads, [args[i] for i in moving], tangents, GRAD)
        return [
            weft.ops.movement.zeros(g.aval) if p is None else p for g, p in zip(grads, pushed, strict=True)
        ]

    def reverse(*nodes):
        args, cts, weights = nodes[:count], nodes[count : count + len(u)], nodes[count + len(u) :]
        wrt = [args[i] for i in moving]
        pulled = pullback(gradient(*args, *cts), weights, wrt, GRAD)
        return [weft.ops.movement.zeros(w.aval) if p is None else p for w, p in zip(wrt, pulled, strict=True)]

    along = evaluate(second, [*arrays, *u, *dx])
    want = difference(gradient, [*arrays, *u], moving, dx, 1e-4)
    for g, w in zip(along, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-7)
    weights = [like(aval_of(arrays[i]), 30 + i) for i in moving]
    left, right = dot(weights, along), dot(evaluate(reverse, [*arrays, *u, *weights]), dx)
    assert left == pytest.approx(right, rel=1e-9, abs=1e-9)


def scattered(array):
    """The same array under three other layouts: columns first, every second element, from the back."""
    yield np.array(array, order="F")
    wide = np.zeros((*array.shape, 2), array.dtype)
    wide[..., 0] = array
    yield wide[..., 0]
    yield np.flip(np.flip(array).copy())


@pytest.mark.parametrize(("prim", "sample"), SAMPLES)
def test_the_layout_of_operands_does_not_show(prim, sample):
    """Tiny samples rarely reach the loops that differ; `test_layout.py` has operands of some size."""
    arrays = numeric(sample)
    want = evaluate(lambda *nodes: apply(prim, sample, nodes), arrays)
    for moved in zip(*[scattered(a) for a in arrays], strict=True):
        for g, w in zip(evaluate(lambda *nodes: apply(prim, sample, nodes), moved), want, strict=True):
            np.testing.assert_array_equal(g, w)


def other(array):
    """A second example for the batch: the same values in other places, so that it lies in the same domain."""
    if array.ndim == 0 and array.dtype.kind in "ui":
        return np.asarray(max(int(array) - 1, 0), array.dtype)
    return np.flip(array)  # a positive definite matrix stays one


@pytest.mark.parametrize(("prim", "sample"), SAMPLES)
def test_batching_is_stacking(prim, sample):
    arrays = numeric(sample)
    choices = [(True, False)] * len(arrays)
    for batched in (
        list(product(*choices))
        if len(arrays) <= 3
        else [(True,) * len(arrays), *np.eye(len(arrays), dtype=bool)]
    ):
        if not any(batched):
            continue
        many = [np.stack([a, other(a)]) if b else a for a, b in zip(arrays, batched, strict=True)]
        plain = fresh_inputs([aval_of(a) for a in arrays])
        inputs = fresh_inputs([aval_of(a) for a in many])
        outs = apply(prim, sample, [p if b else i for p, i, b in zip(plain, inputs, batched, strict=True)])
        pairs = batch_nodes(
            outs,
            [p for p, b in zip(plain, batched, strict=True) if b],
            [i for i, b in zip(inputs, batched, strict=True) if b],
            2,
        )
        graph = Graph(inputs, tuple(n if carries else spread(n, 2) for n, carries in pairs))
        verify(graph)
        with np.errstate(all="ignore"):
            got = Interpreter(graph).evaluate(many)
        singles = []
        for k in range(2):
            args = [m[k] if b else m for m, b in zip(many, batched, strict=True)]
            singles.append(evaluate(lambda *nodes: apply(prim, sample, nodes), args))
        tolerance = precision(prim, sample)
        for g, a, b in zip(got, *singles, strict=True):
            want = np.stack([a, b])
            assert g.dtype == want.dtype
            np.testing.assert_allclose(g, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("narrow", [float16, bfloat16], ids=str)
@chosen(has_16_bits)
def test_16_bit_floats_are_float32_rounded(prim, sample, narrow):
    arrays = numeric(sample)
    floats = [a.dtype.kind == "f" for a in arrays]
    with np.errstate(all="ignore"):
        small = [a.astype(narrow.numpy) if f else a for a, f in zip(arrays, floats, strict=True)]
        wide = [a.astype(np.float32) if f else a for a, f in zip(small, floats, strict=True)]
        want = prim.evaluate(*wide, **sample.attrs)
    got = evaluate(lambda *nodes: apply(prim, sample, nodes), small)
    want = want if isinstance(want, tuple) else (want,)
    for g, w in zip(got, want, strict=True):
        with np.errstate(all="ignore"):
            w = np.asarray(w).astype(g.dtype)
        assert (
            (g.dtype == narrow.numpy)
            or g.dtype.kind not in "fV"
            or prim.name in ("cast", "wide_dot", "wide_conv")
        )
        np.testing.assert_array_equal(g.astype(np.complex128), w.astype(np.complex128))
