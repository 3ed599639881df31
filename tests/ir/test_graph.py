"""Graphs: order, equality by structure, instantiation, binding of dimensions, and the rules that `verify` checks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats_shared import softmax_for_tests
from nodes import node
from weft.base.errors import GraphError, ShapeError
from weft.base.state import state
from weft.ir.dtype import float32, float64
from weft.ir.graph import (
    Graph,
    bind_dims,
    extract,
    fresh_inputs,
    instantiate,
    subgraphs,
    toposort,
    trace_graph,
    verify,
)
from weft.ir.node import GRAD, Aval, Node, Signature
from weft.ir.primitive import leaf, pick, placeholder
from weft.ir.shape import Dim
from weft.ops.control import call
from weft.ops.elementwise import add, exp, mul, tanh
from weft.ops.movement import broadcast_to, reshape
from weft.ops.reduce import sum_
from weft.runtime.buffer import Buffer
from weft.runtime.program import Program

N = Dim("n")
X = Aval((2, 3), float32)


def execute(graph, *arrays):
    return [b.array for b in Program(graph).run([Buffer(np.asarray(a)) for a in arrays])]


@st.composite
def random_graphs(draw):
    """A graph of additions and products over a growing list of nodes."""
    inputs = fresh_inputs([X, X])
    values = list(inputs)
    for _ in range(draw(st.integers(0, 20))):
        prim = draw(st.sampled_from([add, mul]))
        values.append(prim(draw(st.sampled_from(values)), draw(st.sampled_from(values))))
    outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    return Graph(inputs, outputs)


@given(random_graphs())
def test_arguments_come_before_users(graph):
    seen = set(graph.inputs)
    for n in graph.nodes:
        assert all(a in seen for a in n.args)
        assert n not in seen
        seen.add(n)
    verify(graph)


@given(random_graphs())
def test_a_graph_built_again_is_equal(graph):
    inputs = fresh_inputs(graph.in_avals)
    again = Graph(inputs, instantiate(graph, inputs))
    assert again == graph and hash(again) == hash(graph)
    assert extract(graph.outputs, graph.inputs) == graph


@given(random_graphs(), random_graphs())
def test_equal_graphs_compute_the_same(a, b):
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3) / 8, np.ones((2, 3), np.float32)
    if a == b:
        for p, q in zip(execute(a, x, y), execute(b, x, y)):
            np.testing.assert_array_equal(p, q)


def test_deep_graphs_do_not_recurse():
    x = placeholder(X)
    y = x
    for _ in range(20_000):
        y = exp(y)
    graph = Graph([x], [y])
    assert len(toposort([y])) == 20_001
    verify(graph)
    assert extract([y], [x]) == Graph(*(lambda i: (i, instantiate(graph, i)))(fresh_inputs([X])))
    assert len(str(graph).splitlines()) == 20_003
    assert len(bind_dims(graph, {}).nodes) == 20_000


def test_wide_sharing_is_walked_once():
    """2**200 paths, 200 nodes."""
    x = placeholder(X)
    y = x
    for _ in range(200):
        y = y + y
    assert len(Graph([x], [y]).nodes) == 200


class TestEquality:
    """What is part of a graph's identity and what is not."""

    def graph(self, function, avals=(X, X)):
        return trace_graph(function, avals)

    def test_argument_order_outputs_and_attributes(self):
        assert self.graph(lambda x, y: x - y) != self.graph(lambda x, y: y - x)
        assert self.graph(lambda x, y: (x, y)) != self.graph(lambda x, y: (y, x))
        assert self.graph(lambda x, y: sum_(x, axes=(0,))) != self.graph(lambda x, y: sum_(x, axes=(1,)))
        assert self.graph(lambda x, y: x) != self.graph(lambda x, y: x, (X, Aval((2, 3), float64)))

    def test_sharing(self):
        def shared(x, y):
            e = exp(x)
            return e * e

        assert self.graph(shared) != self.graph(lambda x, y: exp(x) * exp(x))

    def test_numbers_by_value_and_type_arrays_by_identity(self):
        assert self.graph(lambda x, y: x * 2.0) == self.graph(lambda x, y: x * 2.0)
        assert self.graph(lambda x, y: x * 2.0) != self.graph(lambda x, y: x * 3.0)
        assert self.graph(lambda x, y: x * 0.0) != self.graph(lambda x, y: x * -0.0)
        nan = float("nan")
        assert self.graph(lambda x, y: x * nan) == self.graph(lambda x, y: x * nan)
        k, other = node(np.ones(3, np.float32)), node(np.ones(3, np.float32))
        assert self.graph(lambda x, y: x * k) == self.graph(lambda x, y: x * k)
        assert self.graph(lambda x, y: x * k) != self.graph(lambda x, y: x * other)

    def test_whether_a_gradient_passes(self):
        def cut(x, y):
            state.grad = False
            try:
                return exp(x)
            finally:
                state.grad = True

        assert self.graph(cut) != self.graph(lambda x, y: exp(x))

    def test_bodies_by_structure(self):
        def calling(function):
            return self.graph(lambda x, y: call(x, name="f", body=trace_graph(function, [X]), rule=None))

        assert calling(exp) == calling(exp)
        assert calling(exp) != calling(tanh)

    def test_lines_do_not_matter(self):
        a = self.graph(lambda x, y: exp(x))
        b = self.graph(lambda x, y: exp(x))
        assert a.nodes[0].site != b.nodes[0].site
        assert a == b


def test_extract_takes_constants_along_and_cuts():
    x, k = placeholder(X), node(np.full(3, 2.0, np.float32))
    inner = exp(x) * k
    graph = extract([inner + inner], [inner])
    assert len(graph.inputs) == 1 and [n.prim for n in graph.nodes] == [add]
    whole = extract([inner + inner], [x])
    assert whole.constants == [k]
    (out,) = execute(whole, np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(out, np.full((2, 3), 4.0, np.float32))


def test_what_was_cut_off_from_derivatives_stays_so():
    x = fresh_inputs([X])[0]
    state.grad = False
    try:
        y = exp(x)
    finally:
        state.grad = True
    graph = Graph([x], [y + x])
    for again in (extract(graph.outputs, graph.inputs), bind_dims(graph, {"n": 3})):
        assert not again.nodes[0].flags & GRAD
        assert again.outputs[0].flags & GRAD


class TestBinding:
    def test_sizes_reach_types_attributes_and_bodies(self):
        def function(x, y):
            z = softmax_for_tests(x + broadcast_to(y, (N, 3)), axis=1)
            return reshape(z, shape=(N * 3,)), sum_(z, axes=(0,))

        graph = trace_graph(function, [Aval((N, 3), float32), Aval((3,), float32)])
        assert graph.dims == {"n"}
        bound = bind_dims(graph, {"n": 2})
        verify(bound)
        assert bound.dims == set() and [a.shape for a in bound.out_avals] == [(6,), (3,)]
        assert bound == trace_graph(
            lambda x, y: (
                reshape(z := softmax_for_tests(x + broadcast_to(y, (2, 3)), axis=1), shape=(6,)),
                sum_(z, axes=(0,)),
            ),
            [Aval((2, 3), float32), Aval((3,), float32)],
        )

    def test_one_name_at_a_time(self):
        graph = trace_graph(lambda x: exp(x), [Aval((N, Dim("m")), float32)])
        half = bind_dims(graph, {"n": 4})
        assert half.dims == {"m"} and half.out_avals[0].shape == (4, Dim("m"))
        assert bind_dims(half, {"m": 5}).out_avals[0].shape == (4, 5)

    def test_attributes_of_own_derivatives(self):
        from weft.autodiff.pairs import vjp_pair

        graph = trace_graph(lambda x: softmax_for_tests(x, axis=1), [Aval((N, 3), float32)])
        bound = bind_dims(graph, {"n": 2})
        assert vjp_pair(bound, (True,)).backward.out_avals[0].shape == (2, 3)

    def test_a_size_that_breaks_a_rule(self):
        graph = trace_graph(lambda x: reshape(x, shape=(N - 4, 1)), [Aval((N - 4,), float32)])
        assert bind_dims(graph, {"n": 6}).out_avals[0].shape == (2, 1)

    def test_it_computes(self):
        graph = trace_graph(lambda x: sum_(x * x, axes=(0,)), [Aval((N, 2), float32)])
        program = Program(graph)
        for n in (1, 3, 0, 3):
            x = np.ones((n, 2), np.float32)
            (out,) = program.run([Buffer(x)])
            assert out.array.tolist() == [n, n]


class TestDimSizes:
    """Sizes are read off the inputs of a program."""

    def run(self, shapes, *given):
        from weft.runtime.program import dim_sizes

        graph = Graph(fresh_inputs([Aval(s, float32) for s in shapes]), [])
        return dim_sizes(graph, list(given))

    def test_plain_names(self):
        assert self.run([(N, 2), (N,)], (5, 2), (5,)) == {"n": 5}
        assert self.run([(2, 3)], (2, 3)) == {}

    def test_polynomials_are_solved_where_one_name_is_unknown(self):
        m = Dim("m")
        assert self.run([(2 * N + 1,)], (7,)) == {"n": 3}
        assert self.run([(N * m,), (m,)], (6,), (3,)) == {"m": 3, "n": 2}
        assert self.run([(N + m,), (m - N,), (N,)], (7,), (3,), (2,)) == {"n": 2, "m": 5}
        assert self.run([(N + m,), (2 * N,)], (7,), (4,)) == {"n": 2, "m": 5}

    @pytest.mark.parametrize(
        ("shapes", "given", "message"),
        [
            ([(N,), (N,)], [(2,), (3,)], "dimension 'n' is 2 in one input and 3 in another"),
            ([(N, 2)], [(2, 3)], r"shape \(n, 2\) is expected, got \(2, 3\)"),
            ([(N, 2)], [(2,)], "2 dimensions is expected"),
            ([(2 * N,)], [(5,)], r"shape \(2\*n,\) is expected, got \(5,\)"),
            ([(N, N + 1)], [(3, 3)], r"\(n, n\+1\) is expected"),
            ([(N + 5,)], [(3,)], "is expected"),
            ([(N * N,)], [(4,)], "is expected"),
            ([(N + Dim("m"),)], [(4,)], "is expected"),
        ],
    )
    def test_shapes_that_do_not_fit(self, shapes, given, message):
        with pytest.raises(ShapeError, match=message):
            self.run(shapes, *given)


class TestVerify:
    """Each rule of the IR, broken once."""

    def fails(self, graph, message):
        with pytest.raises(GraphError, match=message):
            verify(graph)

    def test_an_input_occurs_twice(self):
        x = placeholder(X)
        self.fails(Graph([x, x], [x]), "an input occurs twice")

    def test_an_input_is_no_placeholder(self):
        k = node(np.ones(3))
        self.fails(Graph([k], [exp(k)]), "an input must be a placeholder")

    def test_a_foreign_placeholder(self):
        x, other = placeholder(X), placeholder(X)
        self.fails(Graph([x], [x + other]), "a placeholder that is not among the inputs")

    def test_a_leaf_without_a_value(self):
        x, k = placeholder(X), leaf(X, None)
        self.fails(Graph([x], [x + k]), "not among the inputs")

    def test_use_before_computation(self):
        graph = trace_graph(lambda x: exp(exp(x)), [X])
        graph.nodes.reverse()
        self.fails(graph, "before it is computed")

    def test_an_output_that_is_not_computed(self):
        graph = trace_graph(lambda x: exp(x), [X])
        graph.outputs = (exp(graph.inputs[0]),)
        self.fails(graph, "is not computed by the graph")

    def test_an_output_with_several_results(self):
        x = fresh_inputs([X])[0]
        body = trace_graph(lambda x: (x, exp(x)), [X])
        self.fails(Graph([x], [call(x, name="f", body=body, rule=None)]), "has several results; pick one")

    def test_a_pick_of_another_type(self):
        x = fresh_inputs([X])[0]
        body = trace_graph(lambda x: (x, sum_(x, axes=(0,))), [X])
        both = call(x, name="f", body=body, rule=None)
        wrong = pick(both, 0)
        wrong.sig = Signature(wrong.prim, {"outs": both.sig.out, "index": 1}, (), wrong.sig.out)
        self.fails(Graph([x], [wrong]), "picks a result of another type")

    def test_arguments_of_other_types(self):
        x, y = fresh_inputs([X, Aval((3,), float32)])
        wrong = Node(exp(x).sig, (y,), None, 0, None)
        self.fails(Graph([y], [wrong]), "is applied to")

    def test_a_result_of_another_type(self):
        (x,) = fresh_inputs([X])
        sig = Signature(exp, {}, (X,), Aval((3, 2), float32))
        self.fails(Graph([x], [Node(sig, (x,), None, 0, None)]), "differs from its primitive's rule")

    def test_inside_a_body(self):
        (x,) = fresh_inputs([X])
        sig = Signature(exp, {}, (X,), Aval((3, 2), float32))
        body = Graph([x], [Node(sig, (x,), None, 0, None)])
        outer = trace_graph(lambda x: call(x, name="f", body=body, rule=None), [X])
        self.fails(outer, "differs from its primitive's rule")
        assert subgraphs(outer.nodes[0]) == [body]

    def test_programs_are_verified_in_tests(self):
        (x,) = fresh_inputs([X])
        sig = Signature(exp, {}, (X,), Aval((3, 2), float32))
        with pytest.raises(GraphError):
            Program(Graph([x], [Node(sig, (x,), None, 0, None)]))
