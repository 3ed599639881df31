"""Shape rules with named dimensions: a program is written once and bound to sizes later."""

import numpy as np
import pytest

import weft.ops  # noqa: F401
from weft.backends.reference.interpreter import Interpreter
from weft.base.errors import ShapeError
from weft.ir.dtype import float64, int64
from weft.ir.graph import bind_dims, trace_graph, verify
from weft.ir.node import Aval
from weft.ir.shape import Dim
from weft.ops import cumulative, indexing, movement, rearrange, reduce, sorting, statistics
from weft.ops import elementwise as e

B = Dim("batch")
X = Aval((B, 3), float64)


def bound(function, aval, *arrays):
    """The function traced with the open dimension, bound to the sizes of the first array, and run."""
    graph = trace_graph(function, [aval, *[Aval(a.shape, int64) for a in arrays[1:]]])
    verify(graph)
    out = []
    for n in (5, 2):
        closed = bind_dims(graph, {"batch": n})
        verify(closed)
        with np.errstate(all="ignore"):
            out.append(Interpreter(closed).evaluate([arrays[0][:n], *arrays[1:]])[0])
    return graph.out_avals[0], out


A = np.random.default_rng(0).standard_normal((5, 3))

CASES = [
    (lambda x: e.exp(x) + x * 2, (B, 3), lambda x: np.exp(x) + x * 2),
    (lambda x: movement.reshape(x, shape=(B * 3,)), (B * 3,), lambda x: x.reshape(-1)),
    (lambda x: movement.flip(x, axes=(0,)), (B, 3), lambda x: x[::-1]),
    (lambda x: movement.concatenate(x, x, axis=0), (B * 2, 3), lambda x: np.concatenate([x, x])),
    (lambda x: movement.concatenate(x, x, axis=1), (B, 6), lambda x: np.concatenate([x, x], 1)),
    (lambda x: movement.slice_axis(x, 0, 1, B), (B - 1, 3), lambda x: x[1:]),
    (lambda x: movement.slice_axis(x, 0, 0, B - 1), (B - 1, 3), lambda x: x[:-1]),
    (lambda x: movement.slice_axis(x, 1, 0, 3, 2), (B, 2), lambda x: x[:, ::2]),
    (lambda x: cumulative.shifted(x, 0), (B, 3), lambda x: np.concatenate([0 * x[:1], x[:-1]])),
    (lambda x: rearrange.tile(x, (2, 1)), (B * 2, 3), lambda x: np.tile(x, (2, 1))),
    (lambda x: rearrange.repeat(x, 2, 0), (B * 2, 3), lambda x: np.repeat(x, 2, 0)),
    (lambda x: rearrange.roll(x, 1, 0), (B, 3), lambda x: np.roll(x, 1, 0)),
    (lambda x: rearrange.stack([x, x], 0), (2, B, 3), lambda x: np.stack([x, x])),
    (lambda x: reduce.sum_(x, axes=(0,)), (3,), lambda x: x.sum(0)),
    (lambda x: reduce.max_(x, axes=(0, 1)), (), lambda x: x.max()),
    (lambda x: reduce.argmax(x, axis=1), (B,), lambda x: x.argmax(1)),
    (lambda x: statistics.mean(x, (0, 1)), (), lambda x: x.mean()),
    (lambda x: statistics.var(x, (0,), 1), (3,), lambda x: x.var(0, ddof=1)),
    (lambda x: cumulative.cumsum(x, axis=0), (B, 3), lambda x: x.cumsum(0)),
    (lambda x: sorting.sort(x, axis=0, descending=False), (B, 3), lambda x: np.sort(x, 0)),
    (lambda x: indexing.dim_size(x, axis=0), (), lambda x: np.int64(x.shape[0])),
    (lambda x: indexing.iota_along(x.shape, 0), (B, 3), lambda x: np.indices(x.shape)[0]),
    (lambda x: x @ rearrange.swapaxes(x, 0, 1), (B, B), lambda x: x @ x.T),
    (lambda x: e.where(rearrange.tri(B, B), x @ rearrange.swapaxes(x, 0, 1), 0), (B, B), lambda x: np.tril(x @ x.T)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "shape", "numpy"), CASES)
def test_programs_with_an_open_dimension(function, shape, numpy):
    aval, (five, two) = bound(function, X, A)
    assert aval.shape == shape
    np.testing.assert_allclose(five, numpy(A), rtol=1e-12)
    np.testing.assert_allclose(two, numpy(A[:2]), rtol=1e-12)


def test_gather_reads_an_open_axis_and_checks_its_index_at_run_time():
    i = np.array([1, -1])
    _, (five, two) = bound(lambda x, k: indexing.gather(x, k, axes=(0,)), X, A, i)
    np.testing.assert_array_equal(five, A[[1, 4]])
    np.testing.assert_array_equal(two, A[[1, 1]])


def test_the_gradient_of_a_program_with_an_open_dimension():
    from weft.autodiff.reverse import pullback
    from weft.ir.node import GRAD

    def gradient(x):
        x.flags |= GRAD
        loss = statistics.mean(e.square(movement.slice_axis(x, 0, 1, B)), (0, 1))
        return pullback([loss], [movement.full(loss.aval, 1.0)], [x], GRAD)[0]

    _, (five, two) = bound(gradient, X, A)
    for x, got in ((A, five), (A[:2], two)):
        want = 2 * x / (x[1:].size)
        want[0] = 0
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_what_cannot_be_decided_is_refused():
    with pytest.raises(ShapeError, match="stride 1"):
        trace_graph(lambda x: movement.slice_axis(x, 0, 0, B, 2), [X])
    with pytest.raises(ShapeError, match="do not broadcast"):
        trace_graph(lambda x: x + movement.reshape(x, shape=(3, B)), [X])
    graph = trace_graph(lambda x: movement.slice_axis(x, 0, 0, B - 3), [X])
    with pytest.raises(ShapeError, match="cannot slice"):
        bind_dims(graph, {"batch": 2})
