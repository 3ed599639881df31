"""Passes keep the meaning bit for bit, give graphs that verify, and do nothing the second time."""

from __future__ import annotations

import numpy as np
import pytest

from weft.autodiff.transforms import jvp_graph, vjp_pair
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import dtype as as_dtype
from weft.ir.dtype import float32, float64, int32
from weft.ir.graph import Graph, trace_graph, verify
from weft.ir.node import Aval
from weft.ir.primitive import registry
from weft.ops.composite.define import Composite
from weft.ops.define import constant
from weft.ops.elementwise import cast, neg, where
from weft.ops.movement import broadcast_in_dim, full, identity, pad, permute, reshape
from weft.ops.reduce import sum_
from weft.passes.cse import eliminate_common
from weft.passes.dead import remove_dead
from weft.passes.decompose import decompose
from weft.passes.pipeline import PASSES, run_passes
from weft.passes.rewrite import rewrite
from weft.passes.simplify import simplify

V = Aval((4,), float32)
M = Aval((3, 4), float32)


def _inner(x, w):
    """x @ w, and a number nobody may want."""
    return x @ w, sum_(x * x, axes=(0, 1))


def _outer(x, w):
    """Calls a composite with two results and uses one of them."""
    y, _ = INNER(x, w)
    return y * 1 + identity(y)


INNER = Composite(_inner, "test_inner")
OUTER = Composite(_outer, "test_outer")


def calls() -> Graph:
    return trace_graph(lambda x, w: OUTER(x, w) / 2, (M, Aval((4, 4), float32)))


def bits(graph: Graph, arrays) -> list[bytes]:
    with np.errstate(all="ignore"):
        return [np.asarray(o).tobytes() for o in Interpreter(graph).evaluate(arrays)]


def arrays_for(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=a.shape).astype(a.dtype.numpy) for a in graph.in_avals]


@pytest.mark.parametrize(("name", "step"), PASSES)
@pytest.mark.parametrize("make", [
    calls,
    lambda: vjp_pair(calls(), (True, True)).forward,
    lambda: vjp_pair(calls(), (True, True)).backward,
    lambda: jvp_graph(calls(), (True, False))[0],
])  # fmt: skip
def test_a_pass_keeps_the_bits_verifies_and_is_idempotent(name, step, make):
    graph = make()
    after = step(graph)
    verify(after)
    inputs = arrays_for(graph)
    assert bits(after, inputs) == bits(graph, inputs)
    assert step(after) is after


def _samples():
    for prim in registry.values():
        if prim.samples is None or prim.higher_order:
            continue
        for i, sample in enumerate(prim.samples()):
            yield pytest.param(prim, sample, id=f"{prim.name}-{i}")


@pytest.mark.parametrize(("prim", "sample"), list(_samples()))
def test_all_passes_keep_every_sample_of_every_primitive(prim, sample):
    args = [np.asarray(a) for a in sample.args]
    avals = [Aval(a.shape, as_dtype(a.dtype)) for a in args]

    def function(*nodes):
        outs = prim.bind(nodes, tuple([sample.attrs[n] for n in prim.attr_names]))
        from weft.ir.primitive import results

        return results(outs)

    graph = trace_graph(function, avals)
    after = run_passes(graph)
    verify(after)
    assert bits(after, args) == bits(graph, args)


def test_decompose_leaves_no_call_and_keeps_what_it_is_told_to():
    assert "call" not in {n.prim.name for n in decompose(calls()).nodes}
    kept = decompose(calls(), lambda n: n.attrs["name"] == "test_inner")
    assert [n.attrs["name"] for n in kept.nodes if n.prim.name == "call"] == ["test_inner"]


def test_dead_results_of_calls_are_not_computed():
    graph = trace_graph(lambda x, w: INNER(x, w)[0], (M, Aval((4, 4), float32)))
    (node,) = [n for n in remove_dead(graph).nodes if n.prim.name == "call"]
    assert len(node.attrs["body"].outputs) == 1


def test_common_subexpressions_are_merged():
    graph = trace_graph(lambda x: (x * x) + (x * x), (V,))
    assert len(graph.nodes) == 3 and len(eliminate_common(graph).nodes) == 2


def test_the_same_border_is_made_once():
    def padded(x, fill):
        return pad(x, constant(fill, float32), low=(1,), high=(2,), interior=(0,))

    for second, count in ((0.0, 1), (-0.0, 2), (1.0, 2)):
        graph = trace_graph(lambda x, second=second: padded(x, 0.0) + padded(x, second), (V,))
        assert len([n for n in eliminate_common(graph).nodes if n.prim.name == "pad"]) == count


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


def test_a_rule_for_some_operations_sees_these_alone():
    graph = trace_graph(lambda x: neg(sum_(neg(x * x), axes=(0,))), [V])
    seen = []

    def see(old, args):
        seen.append(old.prim.name)
        return args[0] if old.prim is neg else None

    out = rewrite(graph, see, ("neg", "exp"))
    assert seen == ["neg", "neg"]
    assert [n.prim.name for n in out.nodes] == ["mul", "sum"]
    assert out.nodes[0] is graph.nodes[0]  # before all that changes
    assert rewrite(graph, see, ("exp",)) is graph and len(seen) == 2


def test_what_passes_make_stands_for_the_line_of_what_it_replaces():
    graph = vjp_pair(
        trace_graph(lambda x, w: OUTER(x * full(M, 2.0), w) / 2, (M, Aval((4, 4), float32))), (True, True)
    )
    for half in (graph.forward, graph.backward):
        for i, node in enumerate(half.nodes):
            node.site = (None, 100 + i)
        sites = [n.site for n in run_passes(half).nodes if n.value is None]
        assert sites and all(site[1] >= 100 for site in sites)


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
