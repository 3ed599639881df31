"""Cotangents that are not there leave nothing behind, and the others are as they were."""

import numpy as np

import weft as wf
from weft.ir.graph import extract
from weft.ops.composite.define import composite
from weft.ops.elementwise import exp, sin, where


@composite
def _two_ways(x, y):
    """Two results that share nothing but their arguments (a composite for the tests beside it)."""
    return sin(x) * y, where(y > 0, exp(x) / y, y - x)


def _apply(x, y):
    from weft.arrays.dispatch import apply

    return apply(_two_ways, x, y)


def _plain(x, y):
    return wf.sin(x) * y, wf.where(y > 0, wf.exp(x) / y, y - x)


def t(*values, **kw):
    return wf.tensor(list(values), dtype="float64", **kw)


def test_each_result_alone_and_both():
    x, y = t(0.3, -0.5), t(1.5, -2.0)
    for pick in (lambda o: o[0].sum(), lambda o: o[1].sum(), lambda o: (o[0] * o[1]).sum()):
        for got, want in zip(
            wf.grad(lambda x, y, p=pick: p(_apply(x, y)), (0, 1))(x, y),
            wf.grad(lambda x, y, p=pick: p(_plain(x, y)), (0, 1))(x, y),
        ):
            np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-12)


def _names(graph):
    return {n.prim.name for n in graph.nodes}


def test_the_backward_body_has_only_what_is_needed():
    x, y = t(0.3, requires_grad=True), t(1.5, requires_grad=True)
    _apply(x, y)[0].sum().backward()
    bodies = [
        n.attrs["body"] for n in extract([x.grad._node, y.grad._node], []).nodes if n.prim.name == "call"
    ]
    (backward,) = [b for b in bodies if len(b.outputs) == 2 and "where" not in _names(b)]
    assert "div" not in _names(backward)


def test_a_result_of_a_scan_that_nobody_uses_costs_nothing():
    w = t(0.5, -0.5, requires_grad=True)
    last, _ = wf.scan(lambda h, x: (wf.tanh(h * w + x), h * x), wf.zeros(2, dtype="float64"), t(1.0, 2.0))
    last.sum().backward()
    (loop,) = [n for n in extract([w.grad._node], []).nodes if n.prim.name == "scan" and n.attrs["reverse"]]
    assert "broadcast_in_dim" not in _names(loop.attrs["body"])


def test_a_result_of_a_cond_that_nobody_uses_costs_nothing():
    x = t(0.5, requires_grad=True)
    out, _ = wf.cond(wf.tensor(True), lambda: (wf.sin(x), wf.exp(x)), lambda: (x * x, x))
    out.sum().backward()
    (back,) = [
        n for n in extract([x.grad._node], []).nodes if n.prim.name == "cond" and n.args[-1] is not x._node
    ][-1:]
    assert all("exp" not in _names(b) for b in back.attrs["branches"])
    assert "add" not in _names(back.attrs["branches"][1])
    np.testing.assert_allclose(x.grad.numpy(), np.cos([0.5]))
