"""Types, signatures, nodes and primitives: what is interned, what is inherited, what is refused."""

import copy
import gc
import pickle

import numpy as np
import pytest

from nodes import node
from weft.base.errors import DTypeError, GraphError, ShapeError
from weft.base.state import state
from weft.ir.dtype import float32, float64, int64
from weft.ir.node import GRAD, Aval
from weft.ir.primitive import Primitive, leaf, leaf_prim, pick, placeholder, register, registry, results
from weft.ir.shape import Dim
from weft.ops.control import call
from weft.ops.elementwise import add, equal, exp
from weft.ops.movement import reshape

X = Aval((2, 3), float32)


class TestAval:
    def test_equal_means_identical(self):
        assert Aval((2, 3), float32) is X
        assert Aval((2, Dim("n")), float32) is Aval((2, Dim("n")), float32)
        assert Aval((3, 2), float32) is not X and Aval((2, 3), float64) is not X

    def test_copies_are_the_same_object(self):
        assert pickle.loads(pickle.dumps(X)) is X
        assert copy.deepcopy(X) is X

    def test_what_it_says(self):
        assert (X.ndim, X.size, repr(X), X.describe()) == (2, 6, "f32[2,3]", "float32 (2, 3)")
        assert Aval((Dim("n"), 3), float32).size == 3 * Dim("n")
        assert repr(Aval((), float32)) == "f32[]"


class TestSignature:
    def test_the_shape_rule_runs_once(self):
        calls = []

        def infer(x, *, k):
            calls.append(k)
            return x

        prim = Primitive("counted_for_test", lambda x, *, k: x, infer, attrs=("k",))
        try:
            x = placeholder(X)
            a, b, c = prim(x, k=1), prim(x, k=1), prim(x, k=2)
            assert a.sig is b.sig and a.sig is not c.sig
            assert calls == [1, 2]
        finally:
            del registry["counted_for_test"]

    def test_errors_name_the_primitive(self):
        with pytest.raises(ShapeError, match=r"^add: shapes .*\(2, 3\).*do not broadcast"):
            placeholder(X) + placeholder(Aval((2, 4), float32))
        with pytest.raises(
            DTypeError, match=r"^add: operands of one dtype expected, got float32 \(2, 3\), float64 \(2, 3\)"
        ):
            placeholder(X) + placeholder(Aval((2, 3), float64))

    def test_how_it_reads(self):
        assert repr(exp(placeholder(X)).sig) == "exp(f32[2,3]) -> f32[2,3]"
        assert repr(add) == "<primitive add>"


class TestFlags:
    def test_results_inherit_what_derivatives_pass(self):
        x, y = placeholder(X, GRAD), placeholder(X)
        assert (x + y).flags & GRAD and not (y + y).flags & GRAD
        assert not equal(x, y).flags & GRAD
        state.grad = False
        try:
            assert not (x + y).flags & GRAD
        finally:
            state.grad = True

    def test_nodes_have_no_truth_value(self):
        with pytest.raises(TypeError, match="no truth value"):
            bool(placeholder(X))


class TestResults:
    def node(self):
        from weft.ir.graph import trace_graph

        body = trace_graph(lambda x: (x, equal(x, x)), [X])
        return call(placeholder(X, GRAD), name="two", body=body, rule=None)

    def test_several(self):
        first, second = results(self.node())
        assert first.aval is X and second.dtype.name == "bool"
        assert first.flags & GRAD

    def test_one(self):
        x = exp(placeholder(X))
        assert results(x) == (x,)

    def test_picking_what_is_not_there(self):
        with pytest.raises(IndexError):
            pick(self.node(), 2)


class TestPrimitives:
    def test_two_of_one_name(self):
        with pytest.raises(GraphError, match="two primitives are called 'add'"):
            register(add)

    def test_missing_and_unknown_attributes(self):
        with pytest.raises(KeyError):
            reshape(placeholder(X))

    def test_leaves_are_not_evaluated(self):
        with pytest.raises(GraphError, match="cannot be evaluated"):
            leaf_prim.evaluate()
        x = leaf(Aval((), int64), 3)
        assert x.value == 3 and x.args == ()

    def test_every_primitive_is_documented(self):
        for prim in registry.values():
            assert prim.doc.strip(), prim.name


def test_nodes_die_with_their_last_user():
    import weakref

    x = node(np.ones(3))
    y = exp(exp(x))
    inner = weakref.ref(y.args[0])
    del y
    gc.collect()
    assert inner() is None
