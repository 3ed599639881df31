"""Attention with masks, and dropout."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, functional, gradients, run, spread
from nodes import node
from weft.autodiff.pairs import vjp_pair
from weft.base.errors import DTypeError, ShapeError
from weft.ir.dtype import float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.ops.composite import attention as a
from weft.ops.composite import dropout as d
from weft.ops.composite.common import as_type
from weft.ops.composite.heads import multi_head_attention
from weft.ops.composite.softmax import softmax
from weft.ops.contraction import matmul
from weft.ops.control import call
from weft.ops.loops import scan
from weft.ops.random import random_bits

Q, K, V = spread(2, 3, 4), spread(2, 5, 4, seed=1), spread(2, 5, 6, seed=2)
SEEN = np.array([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]], bool)
ADDED = spread(3, 5, seed=3)
Q_K_V = [Aval(x.shape, float64) for x in (Q, K, V)]


def _sdpa(mask=None, **attrs):
    def call(q, k, v):
        from nodes import node

        return a.scaled_dot_product_attention(
            q, k, v, None if mask is None else node(mask), None, None, None, **attrs
        )

    return call


def _torch(mask=None, **attrs):
    def call(q, k, v):
        import torch

        m = None if mask is None else torch.tensor(mask)
        return functional("scaled_dot_product_attention", m, **attrs)(q, k, v)

    return call


def _rows_and_logs(q, k, v, mask, scale):
    out, logs = a.attention_rows(q, k, v, mask, scale, node(np.array(0)), None, None, causal=False)
    return out, as_type(logs, q.dtype)


def _torch_rows_and_logs(q, k, v, mask, scale):
    scores = q @ k.mT * scale + mask
    return scores.softmax(-1) @ v, scores.logsumexp(-1, keepdim=True)


STATES = np.array([[5, 0], [5, 100]], np.uint64)


def _dropped_rows(q, k, v, p):
    return a.attention_rows(q, k, v, None, None, node(np.array(0)), node(STATES), p, causal=False)[0]


def _torch_dropped_rows(q, k, v, p):
    import torch

    bits = random_bits.evaluate(STATES, shape=(3, 5), bits=32)
    kept = torch.tensor((bits >> 8) * 2.0**-24 >= p.item())
    return ((q @ k.mT / 2).softmax(-1) * kept / (1 - p)) @ v


HEADS = (spread(2, 4, 6), spread(18, 6, seed=1), spread(18, seed=2), spread(6, 6, seed=3), spread(6, seed=4))


def _self_attention(x, w_in, b_in, w_out, b_out):
    return multi_head_attention(
        x, None, None, w_in, b_in, None, None, None, w_out, b_out, None, None, None, heads=3, weights=True
    )


def _torch_self_attention(x, w_in, b_in, w_out, b_out):
    import torch

    t = x.transpose(0, 1)
    out, weights = torch.nn.functional.multi_head_attention_forward(
        t, t, t, 6, 3, w_in, b_in, None, None, False, 0.0, w_out, b_out, training=False
    )
    return out.transpose(0, 1), weights


CASES = [
    Case("safe_softmax", a.safe_softmax, (Q,), functional("softmax", -1)),
    Case("attention", _sdpa(), (Q, K, V), _torch()),
    Case("attention", _sdpa(SEEN), (Q, K, V), _torch(SEEN), label="seen"),
    Case("attention", _sdpa(ADDED), (Q, K, V), _torch(ADDED), label="added"),
    Case("attention", _sdpa(causal=True), (Q, K, V), _torch(is_causal=True), label="causal"),
    Case(
        "attention",
        _sdpa(),
        (spread(1, 2, 3, 4), spread(2, 2, 5, 4), spread(2, 2, 5, 6)),
        lambda q, k, v: _torch()(q.expand(2, 2, 3, 4), k, v),
        label="broadcast",
        batch=False,
    ),
    Case(
        "attention",
        lambda q, k, v: a.scaled_dot_product_attention(q, k, v, None, 0.3, None, None),
        (Q, K, V),
        _torch(scale=0.3),
        label="scale",
    ),
    Case("attention", _sdpa(), (Q[:0], K[:0], V[:0]), _torch(), label="nothing"),
    Case(
        "attention_rows",
        lambda q, k, v: a.attention_rows(q, k, v, None, None, node(np.array(0)), None, None, causal=True)[0],
        (Q, K, V),
        _torch(is_causal=True),
    ),
    Case(
        "attention_rows",
        _rows_and_logs,
        (Q, K, V, ADDED, np.array(0.3)),
        _torch_rows_and_logs,
        label="added",
        batch=False,
    ),
    Case(
        "attention_rows",
        _dropped_rows,
        (Q, K, V, np.array(0.25)),
        _torch_dropped_rows,
        label="dropped",
        batch=False,
    ),
    Case("heads", _self_attention, HEADS, _torch_self_attention, batch=False),
]

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


def test_a_query_that_sees_nothing_gets_zeros_and_gives_no_nan():
    blind = SEEN.copy()
    blind[1] = False
    (out,), found = gradients(_sdpa(blind), [Q, K, V])
    assert not out[:, 1].any() and all(np.isfinite(g).all() for g in found)


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match="queries"):
        run(_sdpa(), Q, K[:, :, :3], V)
    with pytest.raises(ShapeError, match=r"mask of shape \(3, 4\)"):
        run(_sdpa(SEEN[:, :4]), Q, K, V)
    with pytest.raises(DTypeError, match="boolean or floating"):
        run(_sdpa(SEEN.astype(int)), Q, K, V)


# -- dropout ----------------------------------------------------------------------------------------------------

BITS = np.random.default_rng(0).integers(0, 2**32, (2000,), dtype=np.uint32)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_dropout_keeps_the_mean_and_drops_by_the_bits(p):
    (out,), (gradient,) = gradients(lambda x: d.dropout(x, _bits(), p), [np.ones(2000)])
    kept = p <= (BITS >> 8) * 2.0**-24
    want = np.where(kept, 1 / (1 - p) if p < 1 else 0.0, 0.0)
    np.testing.assert_allclose(out, want, rtol=1e-6)
    np.testing.assert_array_equal(gradient != 0, kept)
    assert abs(kept.mean() - (1 - p)) < 0.03


def _bits():
    from nodes import node

    return node(BITS)


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_alpha_dropout_keeps_mean_and_variance(p):
    x = np.random.default_rng(1).standard_normal(2000)
    (out,), (gradient,) = gradients(lambda x: d.alpha_dropout(x, _bits(), p), [x])
    kept = p <= (BITS >> 8) * 2.0**-24
    assert p != 1.0 or not out.any()
    np.testing.assert_array_equal(gradient != 0, kept)
    if p < 1:
        assert len(set(out[~kept])) <= 1
        assert abs(out.mean()) < 0.06 and abs(out.std() - 1) < 0.06


def test_dropout_wants_bits():
    with pytest.raises(DTypeError, match="random bits"):
        run(lambda x: d.dropout(x, x, 0.5), np.ones(3))


MASKS = {
    "boolean": np.random.default_rng(1).random((130, 130)) > 0.3,
    "added": np.random.default_rng(2).normal(size=(2, 130, 130)),
    "one for all queries": np.random.default_rng(3).random((1, 130)) > 0.3,
}


@pytest.mark.parametrize("mask", [None, *MASKS])
@pytest.mark.parametrize(("causal", "scale"), [(False, None), (True, None), (False, 0.3)])
def test_some_queries_at_a_time_are_the_same_as_all(monkeypatch, mask, causal, scale):
    floating = [np.random.default_rng(0).normal(size=(2, 130, 5)) for _ in range(3)]
    fixed = MASKS.get(mask)
    if mask == "added":
        floating.append(fixed)

    def attend(q, k, v, given=None):
        m = given if given is not None or fixed is None else node(fixed)
        s = None if scale is None else node(np.array(scale))
        return a.attend(q, k, v, m, s, None, None, causal)

    def scores():
        """How many nodes there are of the size of the scores, that are not masks."""
        given = [node(x) for x in floating]
        nodes = Graph(given, [attend(*given)]).nodes
        shapes = [o.shape for n in nodes if n.value is None for o in n.sig.outs]
        return shapes.count((2, 130, 130))

    want = gradients(attend, floating)
    assert scores() > 0
    monkeypatch.setattr(a, "_MANY", 1)
    got = gradients(attend, floating)
    assert scores() == 0
    for x, y in zip([*got[0], *got[1]], [*want[0], *want[1]], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rows", [130, 300])
def test_some_queries_at_a_time_with_dropout(monkeypatch, causal, rows):
    monkeypatch.setattr(a, "_MANY", 1)
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 3, rows, 5)) / 4, rng.normal(size=(2, 3, 70, 5)) / 4
    v = np.broadcast_to(np.eye(70), (2, 3, 70, 70))  # so that the result is the weights
    state, p = node(np.array([3, 7], np.uint64)), node(np.array(0.25))
    (got,), found = gradients(lambda q, k, v: a.attend(q, k, v, None, None, state, p, causal), [q, k, v])
    want = run(lambda q, k, v: a.attend(q, k, v, None, None, None, None, causal), q, k, v)
    kept = got != 0
    np.testing.assert_allclose(got[kept], want[kept] / 0.75, rtol=1e-10)
    assert abs(kept[want != 0].mean() - 0.75) < 0.01
    masks = kept[..., 64:128, :].reshape(6, -1)
    assert all((x != y).any() for i, x in enumerate(masks) for y in masks[:i])
    assert (kept[..., :64, :] != kept[..., 64:128, :]).any()

    def dense(q, k, v):
        weights = a.weights_of(q, k, None, None, causal)
        return matmul(weights * node(kept / 0.75), v)

    for x, y in zip(found, gradients(dense, [q, k, v])[1], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("keys", [70, 300, 400])
def test_queries_are_not_compared_with_most_keys_that_they_do_not_see(monkeypatch, keys):
    args = [np.random.default_rng(i).normal(size=(n, 5)) for i, n in enumerate((300, keys, keys))]

    def attend(q, k, v):
        return a.attend(q, k, v, None, None, None, None, True)

    want = gradients(attend, args)
    monkeypatch.setattr(a, "_MANY", 1)
    got = gradients(attend, args)
    for x, y in zip([*got[0], *got[1]], [*want[0], *want[1]], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12)
    given = [node(x) for x in args]
    loops = [n for n in Graph(given, [attend(*given)]).nodes if n.prim is scan]
    assert sorted(n.args[0].shape[0] for n in loops) == [min(keys, n) for n in (128, 256, 300)]


def test_the_backward_pass_reads_what_the_forward_pass_returned():
    body = trace_graph(
        lambda q, k, v: a.attention_rows(q, k, v, None, None, 0, None, None, causal=False), Q_K_V
    )
    pair = vjp_pair(body, (True, True, True))
    assert {(False, 0), (False, 1)} <= set(pair.reads) and len(pair.forward.outputs) == 2
    assert [n.attrs["name"] for n in pair.backward.nodes if n.prim is call] == ["attention_rows.vjp"]


def test_weights_that_would_be_subnormal_are_zeros():
    x = np.array([[0.0, -86.0, -88.0, -95.0, -np.inf]], np.float32)
    for function in (a.safe_softmax, lambda n: softmax(n, axis=1)):
        got = run(function, x)
        np.testing.assert_array_equal(got[0, 2:], 0)
        np.testing.assert_allclose(got[0, :2], [1, np.exp(-86.0)], rtol=1e-5)
