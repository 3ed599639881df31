"""Every primitive works under an open leading dimension: traced once, it runs for every size.

The batching rule of each primitive is applied with a named dimension as the size of the batch; the graph that comes
out, bound to a size, must compute what the primitive computes for each element of the batch.
"""

import numpy as np
import pytest

import weft  # noqa: F401  (all primitives)
from weft.autodiff.batching import batch_nodes
from weft.base.config import config
from weft.base.errors import ShapeError
from weft.base.state import isolated
from weft.ir import dtype as d
from weft.ir.dtype import dtype
from weft.ir.graph import Graph, bind_dims, fresh_inputs, instantiate, trace_graph, verify
from weft.ir.node import Aval, make_node
from weft.ir.primitive import registry, results
from weft.ir.shape import Dim
from weft.ops.contraction import dot_general
from weft.ops.cumulative import cumsum
from weft.ops.define import constant
from weft.ops.gather import dim_size, iota
from weft.ops.movement import broadcast_to, concatenate, flip, pad, permute, reshape, slice_
from weft.ops.reduce import argmax, max_, sum_
from weft.ops.selection import cast
from weft.ops.sorting import sort
from weft.ops.transcendental import exp
from weft.runtime.buffer import Buffer
from weft.runtime.program import Program

N = Dim("n")

#: Arguments that stay without the batch axis. Two batched operands make one convolution with a group for each
#: element of the batch, and the number of groups is structure, not size.
PLAIN = {"conv": (1,), "wide_conv": (1,)}

CASES = [
    pytest.param(prim, i, id=f"{prim.name}-{i}")
    for prim in registry.values()
    if prim.samples is not None and not prim.higher_order
    for i in range(len(prim.samples()))
]


def carries(prim, args):
    """Which arguments carry the axis."""
    return [i not in PLAIN.get(prim.name, ()) for i in range(len(args))]


def batched(sample, prim, size):
    """The graph of `prim` for arguments with one more axis, of length `size`, at the front."""
    avals = [Aval(np.shape(a), dtype(np.asarray(a).dtype)) for a in sample.args]
    with isolated():
        plain = fresh_inputs(avals)
        many = fresh_inputs(
            [Aval((size, *a.shape), a.dtype) if c else a for a, c in zip(avals, carries(prim, avals))]
        )
        sig = prim.signature(tuple(avals), tuple([sample.attrs[n] for n in prim.attr_names]))
        outs = results(make_node(sig, tuple(plain)))
        mapped = [(p, m) for p, m, c in zip(plain, many, carries(prim, avals)) if c]
        final = instantiate(
            Graph(plain, outs), [p if c else m for p, m, c in zip(plain, many, carries(prim, avals))]
        )
        found = batch_nodes(final, [p for p, _ in mapped], [m for _, m in mapped], size)
        return Graph(many, [n for n, _ in found])


@pytest.mark.parametrize(("prim", "number"), CASES)
def test_an_open_batch(prim, number):
    sample = prim.samples()[number]
    if not sample.args:
        pytest.skip("no argument to carry the dimension")
    graph = batched(sample, prim, N)
    assert graph.dims == {"n"}
    verify(graph)
    agrees(graph, sample, prim, 3)
    with config(backend="reference"):  # the other sizes: of graphs, not of code
        agrees(graph, sample, prim, 2, 1)


def agrees(graph, sample, prim, *sizes):
    """The open graph computes for every size what the graph of that size does."""
    program = Program(graph)
    for size in sizes:
        args = [np.asarray(a) for a in sample.args]
        rows = [np.stack([a] * size) if c else a for a, c in zip(args, carries(prim, args))]
        with np.errstate(all="ignore"):
            outs = program.run([Buffer(np.array(r)) for r in rows])
            fixed = Program(batched(sample, prim, size)).run([Buffer(np.array(r)) for r in rows])
        for a, b in zip(outs, fixed, strict=True):
            np.testing.assert_array_equal(a.array, b.array, strict=True)


def evaluate(function, shapes, *arrays):
    """`function` traced once for the open `shapes` and run on `arrays`."""
    graph = trace_graph(function, [Aval(s, dtype(a.dtype)) for s, a in zip(shapes, arrays)])
    verify(graph)
    return [b.array for b in Program(graph).run([Buffer(np.array(a)) for a in arrays])]


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: sum_(x, axes=(0,)), lambda x: x.sum(0)),
        (lambda x: max_(x, axes=(0, 1)), lambda x: x.max()),
        (lambda x: dot_general(x, x, contract=((0,), (0,)), batch=((), ())), lambda x: x.T @ x),
        (lambda x: dot_general(x, x, contract=((1,), (1,)), batch=((0,), (0,))), lambda x: (x * x).sum(1)),
        (lambda x: concatenate(x, x, axis=0), lambda x: np.concatenate([x, x])),
        (lambda x: concatenate(x, x, x, axis=1), lambda x: np.concatenate([x, x, x], 1)),
        (lambda x: reshape(x, shape=(3 * N,)), lambda x: x.reshape(-1)),
        (lambda x: reshape(reshape(x, shape=(N * 3,)), shape=(3, N)), lambda x: x.reshape(3, -1)),
        (lambda x: permute(x, axes=(1, 0)), lambda x: x.T),
        (lambda x: flip(x, axes=(0,)), lambda x: x[::-1]),
        (lambda x: slice_(x, start=(0, 1), limit=(N, 3), stride=(1, 1)), lambda x: x[:, 1:]),
        (lambda x: pad(x, constant(7.0, x.dtype), low=(1, 0), high=(2, 0), interior=(0, 0)),
         lambda x: np.pad(x, ((1, 2), (0, 0)), constant_values=7)),
        (lambda x: cumsum(x, axis=0, reverse=False, exclusive=False), lambda x: x.cumsum(0)),
        (lambda x: argmax(x, axis=0), lambda x: x.argmax(0)),
        (lambda x: sort(x, axis=0, descending=False), lambda x: np.sort(x, 0)),
        (lambda x: broadcast_to(sum_(x, axes=(0,)), (N, 3)), lambda x: np.broadcast_to(x.sum(0), x.shape)),
        (lambda x: cast(iota(size=N, dtype=d.int64), dtype=d.float64), lambda x: np.arange(len(x)).astype(float)),
        (lambda x: x - sum_(x, axes=(0,)) / cast(dim_size(x, axis=0), dtype=d.float64), lambda x: x - x.mean(0)),
    ],
)  # fmt: skip
def test_an_open_axis_in_the_middle_of_things(function, expected, n):
    x = np.random.default_rng(0).permutation(np.arange(3.0 * n)).reshape(n, 3)
    (found,) = evaluate(function, [(N, 3)], x)
    np.testing.assert_allclose(found, expected(x))


def test_gradients_under_an_open_dimension():
    """The derivative of a traced function is traced with it, sizes open."""
    from weft.autodiff.pairs import vjp_pair

    body = trace_graph(lambda x, y: sum_(exp(x) * y / 2.0, axes=(0, 1)), [Aval((N, 3), d.float64)] * 2)
    pair = vjp_pair(body, (True, True))
    assert [a.shape for a in pair.backward.out_avals] == [(N, 3), (N, 3)]
    for graph in (pair.forward, pair.backward):
        verify(graph)
        verify(bind_dims(graph, {"n": 4}))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: reshape(x, shape=(6,)), "element counts differ"),
        (lambda x: x + broadcast_to(constant(1.0, x.dtype), (5, 3)), "do not broadcast"),
        (lambda x: dot_general(x, x, contract=((0,), (1,)), batch=((), ())), "have sizes n and 3"),
    ],
)
def test_sizes_that_cannot_be_told_to_fit_are_refused(function, message):
    with pytest.raises(ShapeError, match=message):
        trace_graph(function, [Aval((N, 3), d.float64)])
