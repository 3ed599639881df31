"""Graphs as plain data: they come back equal, and nothing that is wrong with the data passes or crashes."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weft.arrays  # noqa: F401  (registers the reference backend)
from formats_shared import softmax_for_tests, standardize_for_tests
from weft.autodiff.residuals import drop_unused_residuals
from weft.autodiff.transforms import vjp_pair, with_residuals
from weft.base.errors import FormatError, GradientError
from weft.base.state import state
from weft.ir import serialize
from weft.ir.deserialize import graph_from_data
from weft.ir.dtype import bfloat16, bool_, complex64, float32, float64, int64, uint64
from weft.ir.graph import Graph, fresh_inputs, trace_graph, verify
from weft.ir.node import GRAD, Aval, make_node
from weft.ir.primitive import Primitive, leaf, placeholder, registry, results
from weft.ir.serialize import LostDerivative, graph_to_data
from weft.ir.shape import Dim
from weft.ops.control import call
from weft.ops.define import constant
from weft.ops.elementwise import cast, exp, mul, where
from weft.ops.movement import broadcast_to, reshape
from weft.ops.reduce import sum_
from weft.runtime.buffer import Buffer
from weft.runtime.program import Program

X = Aval((2, 3), float32)
N = Dim("n")


def through(graph):
    """Written, as JSON text, and read."""
    data, values = graph_to_data(graph)
    types = [Aval(v.array.shape, float32) for v in values]
    return graph_from_data(json.loads(json.dumps(data, allow_nan=False)), list(zip(types, values)))


def detached(x):
    state.grad = False
    try:
        return x * x
    finally:
        state.grad = True


def shared_body(x):
    body = trace_graph(lambda a: exp(a) + 1.0, [x.aval])
    y = call(x, name="f", body=body, rule=None)
    return call(y, name="f", body=body, rule=None)


def nested(depth):
    def build(level):
        def f(x):
            return (
                exp(x)
                if level == 0
                else call(x, name=f"f{level}", body=trace_graph(build(level - 1), [x.aval]), rule=None)
            )

        return f

    return build(depth)


def residual_call(x):
    sig = with_residuals(standardize_for_tests.signature((x.aval,), (1,)), (True,))
    node = make_node(sig, (x,))
    return results(node)


GRAPHS = {
    "arithmetic": (lambda x, y: x * y + 2.0, [X, X]),
    "nothing": (lambda x: x, [X]),
    "swapped": (lambda x, y: (y, x, y), [X, X]),
    "no inputs": (lambda: constant(3.0, float32), []),
    "attributes": (lambda x: sum_(reshape(x, shape=(3, 2)), axes=(0,)), [X]),
    "dtypes": (lambda x: cast(cast(x, dtype=bfloat16), dtype=complex64), [X]),
    "numbers": (lambda x: (x + 0.1, x * float("inf"), constant(float("nan"), float64), constant(True, bool_)), [X]),
    "large integers": (lambda: (constant(2**64 - 1, uint64), constant(-(2**63), int64)), []),
    "complex number": (lambda: constant(1 - 0.1j, complex64), []),
    "named dimensions": (lambda x, y: broadcast_to(sum_(x, axes=(0,)), (N, 3)) * y, [Aval((N, 3), float32)] * 2),
    "polynomial": (lambda x: reshape(x, shape=(N * N * 2 + N,)), [Aval((N * 2 + 1, N), float32)]),
    "no gradient": (lambda x: detached(x) + x, [X]),
    "composite": (lambda x: softmax_for_tests(x, axis=1), [X]),
    "shared body": (shared_body, [X]),
    "nested bodies": (nested(5), [X]),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_come_back_equal(name):
    function, avals = GRAPHS[name]
    graph = trace_graph(function, avals)
    found = through(graph)
    verify(found)
    assert found == graph
    assert str(found) == str(graph)


def test_array_constants_are_shared_not_copied():
    k = leaf(Aval((3,), float32), Buffer(np.ones(3, np.float32)))
    graph = trace_graph(lambda x: x * k + k, [X])
    _, values = graph_to_data(graph)
    assert values == [k.value]
    assert through(graph) == graph
    body = trace_graph(lambda x: x * k, [X])
    outer = trace_graph(lambda x: call(x, name="f", body=body, rule=None) + k, [X])
    assert through(outer) == outer


def test_a_body_that_is_used_twice_is_written_once():
    data, _ = graph_to_data(trace_graph(shared_body, [X]))
    assert len(data["graphs"]) == 2


def test_deep_graphs_do_not_recurse():
    def chain(x):
        for _ in range(10_000):
            x = exp(x)
        return x

    graph = trace_graph(chain, [X])
    assert through(graph) == graph


def test_bodies_in_bodies_do_not_recurse_when_written():
    data, _ = graph_to_data(trace_graph(nested(60), [X]))
    graph_from_data(data)
    data, _ = graph_to_data(trace_graph(nested(70), [X]))
    with pytest.raises(FormatError, match="nested beyond all use"):
        graph_from_data(data)


def test_every_primitive_with_samples_comes_back():
    """Whatever attributes a primitive has, they have a plain form."""
    from weft.ir.dtype import dtype

    for prim in list(registry.values()):
        for sample in prim.samples() if prim.samples is not None else ():
            if prim.higher_order:
                continue
            avals = tuple([Aval(np.shape(a), dtype(np.asarray(a).dtype)) for a in sample.args])
            sig = prim.signature(avals, tuple([sample.attrs[n] for n in prim.attr_names]))
            inputs = fresh_inputs(avals)
            graph = Graph(inputs, results(make_node(sig, tuple(inputs))))
            assert through(graph) == graph, prim.name


# -- derivatives ----------------------------------------------------------------------------------------------


def test_a_composites_own_derivative_is_found_by_name():
    graph = trace_graph(lambda x: softmax_for_tests(x, axis=1), [X])
    (node,) = through(graph).nodes
    assert node.attrs["rule"] == graph.nodes[0].attrs["rule"] is not None


def test_unknown_composites_keep_their_body(monkeypatch):
    from weft.ops.composite.define import registry as composites

    graph = trace_graph(lambda x: softmax_for_tests(x, axis=1), [X])
    data, _ = graph_to_data(graph)
    monkeypatch.delitem(composites, "softmax_for_tests")
    (node,) = graph_from_data(data).nodes
    assert node.attrs["rule"] is None
    assert node.attrs["body"] == graph.nodes[0].attrs["body"]


def test_other_derivatives_raise_when_they_are_needed():
    class Rule:
        def vjp(self, cts, outs, x):
            return [cts[0]]

    body = trace_graph(lambda x: exp(x), [X])
    found = through(trace_graph(lambda x: call(x, name="mine", body=body, rule=Rule()), [X]))
    assert found.nodes[0].attrs["rule"] == LostDerivative("mine")
    with pytest.raises(GradientError, match="'mine' is Python code"):
        vjp_pair(found, (True,))
    assert through(found) == found


def test_residuals_are_kept_where_they_are_read_and_else_dropped():
    used = trace_graph(lambda x: residual_call(x), [X])
    assert drop_unused_residuals(used) is used
    found = through(used)
    assert found.out_avals == used.out_avals
    unused = trace_graph(lambda x: residual_call(x)[0] * 2.0, [X])
    plain = drop_unused_residuals(unused)
    assert plain == trace_graph(lambda x: standardize_for_tests(x, axis=1) * 2.0, [X])
    assert through(plain) == plain


def test_gradients_stop_where_they_stopped():
    found = through(trace_graph(GRAPHS["no gradient"][0], [X]))
    product = next(n for n in found.nodes if n.prim is mul)
    assert not product.flags & GRAD
    assert found.outputs[0].flags & GRAD


# -- what does not fit ----------------------------------------------------------------------------------------


def graph_data():
    k = leaf(Aval((3,), float32), Buffer(np.ones(3, np.float32)))

    def function(x, y):
        a, b = residual_call(x * k + 2.0)[:2]
        return where(y, a, 0.0) + broadcast_to(reshape(b, shape=(2, 1)), (2, 3)), detached(a)

    graph = trace_graph(function, [X, Aval((2, 3), bool_)])
    data, values = graph_to_data(graph)
    return data, [(Aval((3,), float32), values[0])]


DATA, CONSTANTS = graph_data()


def test_the_data_is_good():
    assert str(graph_from_data(copy.deepcopy(DATA), CONSTANTS))


def replaced(data, path, value):
    data = copy.deepcopy(data)
    at = data
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return data


def small(**changes):
    data = {"format": 1, "primitives": {"add": 1, "sum": 1}, "types": [["float32", [2]], ["float32", []]],
            "graphs": [{"inputs": [0, 0], "nodes": [["add", [0, 1], {}, 0], ["sum", [2], {"axes": [0]}, 1]],
                        "outputs": [3]}]}  # fmt: skip
    return {**data, **changes}


def nodes(*entries, outputs=(2,)):
    return small(graphs=[{"inputs": [0, 0], "nodes": list(entries), "outputs": list(outputs)}])


def test_the_small_one_is_good():
    assert len(graph_from_data(small()).nodes) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "'format' is missing"),
        ([], "'format' is missing"),
        (small(format="1"), "not a int"),
        (small(format=True), "not a int"),
        (small(format=2), "format 2, this Weft reads up to 1: a newer Weft can read it"),
        (small(format=0), "format 0"),
        (small(primitives={"sub_marine": 1}), "operation 'sub_marine', which this Weft does not know.* Did you mean"),
        (small(primitives={"input": 1}), "operation 'input'"),
        (small(primitives={"add": 2}), "version 2 of the operation 'add', which is newer"),
        (small(primitives={"add": 0}), "version 0 of the operation 'add', which is older"),
        (small(primitives={"add": "1"}), "not a number"),
        (small(primitives={"add": 1}), "'sum' is not in its list"),
        (small(types=[]), "no type 0"),
        (small(types=[["float31", [2]]]), "no dtype 'float31'"),
        (small(types=[["float32", [-1]]]), "-1 is not a size"),
        (small(types=[["float32", [2**63]]]), "not a size"),
        (small(types=[["float32", [2**31, 2**31]]]), "no memory"),
        (small(types=[["float32", [1] * 65]]), "a type is"),
        (small(types=[["float32", ["not a name"]]]), "identifier"),
        (small(types=[["float32", [[]]]]), "is not a size"),
        (small(types=[["float32", [[[1]]]]]), "has no name"),
        (small(types=[["float32", [[[2, "n"], ["n"]]]]]), "is not a size"),
        (small(types=[["float32", [1.0]]]), "is not a size"),
        (small(types=[["float32"]]), "a type is"),
        (small(graphs=[]), "holds no graph"),
        (small(graphs=[None]), "'inputs' is missing"),
        (small(graphs=[{"inputs": [], "nodes": [], "outputs": [0]}]), "no node 0"),
        (nodes(["add", [0, 2], {}, 0]), "no node 2"),  # itself
        (nodes(["add", [0, -1], {}, 0]), "no node -1"),
        (nodes(["add", [0, True], {}, 0]), "no node True"),
        (nodes(["add", [0], {}, 0]), "takes 2 operands, got 1"),
        (nodes(["add", [], {}, 0]), "takes 2 operands, got 0"),
        (nodes(["add", [0, 1], {"axis": 1}, 0]), "add has no attribute 'axis'"),
        (nodes(["sum", [0], {}, 0]), "the attribute 'axes' of sum is missing"),
        (nodes(["sum", [0], {"axes": [5]}, 0]), "does not accept|said to be"),
        (nodes(["sum", [0], {"axes": None}, 0]), "does not accept"),
        (nodes(["sum", [0], {"axes": 0.5}, 0]), "not an attribute"),
        (nodes(["sum", [0], {"axes": {"graph": 0}}, 0]), "no graph 0"),
        (nodes(["sum", [0], {"axes": {"odd": 0}}, 0]), "kind 'odd' are unknown"),
        (nodes(["sum", [0], {"axes": [2**65]}, 0]), "out of range"),
        (nodes(["add", [0, 1], {}, 1]), "is said to be f32"),
        (nodes(["add", [0, 1], {}, [0]]), "is said to be"),
        (nodes(["add", [0, 1], {}]), "three fields"),
        (nodes(["pick", 0, 0]), "one result"),
        (nodes(["leaf", {"array": 0}, 0]), "no array 0"),
        (nodes(["leaf", 1, 0]), "a number has no dimensions"),
        (nodes(["leaf", "x", 1]), "not a constant"),
        (nodes(["leaf", {"float": "x"}, 1]), "damaged"),
        (nodes([]), "not a list"),
        (nodes("add"), "not a list"),
        (nodes(["add", [0, 1], {}, 0], outputs=[9]), "no node 9"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(data, message):
    with pytest.raises(FormatError, match=message):
        graph_from_data(data)


def test_constants_must_be_what_the_graph_says():
    with pytest.raises(FormatError, match="there is no array 0"):
        graph_from_data(DATA, [])
    with pytest.raises(FormatError, match="is said to be"):
        graph_from_data(DATA, [(Aval((4,), float32), CONSTANTS[0][1])])


def test_attributes_that_are_nested_for_ever():
    deep = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(FormatError, match="nested beyond"):
        graph_from_data(nodes(["sum", [0], {"axes": deep}, 0]))


def test_bodies_that_multiply_are_refused():
    """Each body calls the one before it twice: a hundred lines that would run 2**100 nodes."""
    graphs = [{"inputs": [0], "nodes": [["exp", [0], {}, 0]], "outputs": [1]}]
    for i in range(50):
        attrs = {"name": "f", "body": {"graph": i}, "rule": None}
        graphs.append(
            {"inputs": [0], "nodes": [["call", [0], attrs, 0], ["call", [1], attrs, 0]], "outputs": [2]}
        )
    data = {"format": 1, "primitives": {"call": 1, "exp": 1}, "types": [["float32", [2]]], "graphs": graphs}
    with pytest.raises(FormatError, match="nested beyond all use"):
        graph_from_data(data)


def test_a_primitive_that_is_not_registered_cannot_be_written(monkeypatch):
    graph = trace_graph(lambda x: exp(x), [X])
    monkeypatch.delitem(registry, "exp")
    with pytest.raises(FormatError, match="'exp' is not a registered primitive"):
        graph_to_data(graph)


def test_attributes_without_a_plain_form_cannot_be_written():
    odd = Primitive("odd_for_test", lambda x, *, how: x, lambda x, *, how: x, attrs=("how",))
    try:
        graph = trace_graph(lambda x: odd(x, how=frozenset([1])), [X])
        with pytest.raises(
            FormatError, match=r"attribute 'how' of odd_for_test cannot be saved: .*frozenset"
        ):
            graph_to_data(graph)
    finally:
        del registry["odd_for_test"]


def test_placeholders_of_other_graphs_cannot_be_written():
    x, other = placeholder(X), placeholder(X)
    graph = Graph([x], [x + other])
    with pytest.raises(FormatError, match="not among its inputs"):
        graph_to_data(graph)


# -- fuzz -----------------------------------------------------------------------------------------------------


def paths(data, prefix=()):
    yield prefix
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, inner in items:
        yield from paths(inner, (*prefix, key))


PATHS = [p for p in paths(DATA) if p]
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.integers()
    | st.floats()
    | st.sampled_from(list(registry)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["array", "graph", "dim", "type", "dtype", "derivative", "axes"]),
            inner,
            max_size=2,
        )
    ),
    max_leaves=6,
)


def read_or_refuse(data):
    """A changed graph is refused, or is a graph that keeps the rules and says what it does."""
    try:
        graph = graph_from_data(data, CONSTANTS)
    except FormatError:
        return
    verify(graph)
    str(graph)
    graph_from_data(graph_to_data(graph)[0], CONSTANTS)


@settings(max_examples=400)
@given(st.sampled_from(PATHS), json_values)
def test_any_value_anywhere(path, value):
    read_or_refuse(replaced(DATA, path, value))


@settings(max_examples=200)
@given(st.sampled_from(PATHS), st.sampled_from(PATHS))
def test_parts_in_the_place_of_others(a, b):
    part = DATA
    for step in b:
        part = part[step]
    read_or_refuse(replaced(DATA, a, copy.deepcopy(part)))


@settings(max_examples=200)
@given(st.sampled_from(PATHS))
def test_missing_parts(path):
    data = copy.deepcopy(DATA)
    at = data
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    read_or_refuse(data)


@settings(max_examples=300)
@given(json_values)
def test_anything_at_all(data):
    with pytest.raises(FormatError):
        graph_from_data(data)


def test_what_was_read_computes_the_same():
    function, avals = GRAPHS["composite"]
    graph = trace_graph(function, avals)
    x = Buffer(np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32))
    (a,), (b,) = Program(graph).run([x]), Program(through(graph)).run([x])
    np.testing.assert_array_equal(a.array, b.array)


def test_the_form_is_versioned():
    assert graph_to_data(trace_graph(lambda x: x, [X]))[0]["format"] == serialize.FORMAT == 1
