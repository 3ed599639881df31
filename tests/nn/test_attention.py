"""Masks, causality and dropout of attention; stacks of encoder layers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import weft as wf
from composites import spread
from weft import nn
from weft.base.errors import ArgumentError, DTypeError, ShapeError

F = nn.functional
L, S, N, E, H = 3, 4, 2, 6, 2
Q, K = spread(L, N, E), spread(S, N, E, seed=1)
HIDDEN = np.array([[False, True, False, False], [True, False, False, True]])  # (N, S): keys that nobody sees
BLOCKED = np.array([[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]], bool)  # (L, S)
ADDED = spread(L, S, seed=3)
EACH = np.random.default_rng(0).random((N * H, L, S)) > 0.7

MASKS = {
    "padding": {"key_padding_mask": HIDDEN},
    "blocked": {"attn_mask": BLOCKED},
    "added": {"attn_mask": ADDED},
    "each head": {"attn_mask": EACH},
    "both": {"attn_mask": BLOCKED, "key_padding_mask": HIDDEN},
    "both added": {"attn_mask": ADDED, "key_padding_mask": np.where(HIDDEN, -np.inf, 0.0)},
    "heads apart": {"attn_mask": BLOCKED, "average_attn_weights": False},
    "no weights": {"attn_mask": BLOCKED, "need_weights": False},
}


MORE_KEYS = {"": {}, "bias": {"add_bias_kv": True}, "zero": {"add_zero_attn": True},
             "bias and zero": {"add_bias_kv": True, "add_zero_attn": True, "kdim": E, "vdim": E}}  # fmt: skip


@pytest.mark.parametrize("more", MORE_KEYS.values(), ids=MORE_KEYS.keys())
@pytest.mark.parametrize("options", MASKS.values(), ids=MASKS.keys())
def test_masks_are_those_of_torch(options, more):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.MultiheadAttention(E, H, **more).double()
    ours = nn.MultiheadAttention(E, H, **more).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})

    def given(make):
        return {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}

    want = theirs(torch.tensor(Q), torch.tensor(K), torch.tensor(K), **given(torch.tensor))
    k = wf.tensor(K)
    got = ours(wf.tensor(Q), k, k, **given(wf.tensor))
    for w, g in zip(want, got):
        if w is None:
            assert g is None
        else:
            np.testing.assert_allclose(g.numpy(), w.detach().numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("more", MORE_KEYS.values(), ids=MORE_KEYS.keys())
def test_causal_attention_needs_no_mask(more):
    attention = nn.MultiheadAttention(E, H, **more).double()
    x = wf.tensor(spread(4, N, E))
    future = wf.tensor(np.triu(np.ones((4, 4), bool), 1))
    masked, _ = attention(x, x, x, attn_mask=future)
    causal, _ = attention(x, x, x, is_causal=True)
    np.testing.assert_allclose(causal.numpy(), masked.numpy(), rtol=1e-12)


def test_dropout_of_weights_happens_in_training_only_and_keeps_the_mean():
    wf.manual_seed(0)
    q, k, v = wf.tensor(spread(400, 2, 4)), wf.tensor(spread(400, 3, 4)), wf.tensor(np.ones((400, 3, 1)))
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5).numpy()
    assert out.std() > 0.1 and abs(out.mean() - 1) < 0.1
    attention = nn.MultiheadAttention(4, 2, dropout=0.9)
    x = wf.tensor(np.ones((3, 2, 4), np.float32))
    assert not np.array_equal(attention(x, x, x)[0].numpy(), attention(x, x, x)[0].numpy())
    attention.eval()
    np.testing.assert_array_equal(attention(x, x, x)[0].numpy(), attention(x, x, x)[0].numpy())


def test_grouped_queries():
    torch = pytest.importorskip("torch")
    q, k, v = spread(2, 4, 3, 5), spread(2, 2, 6, 5, seed=1), spread(2, 2, 6, 5, seed=2)
    want = torch.nn.functional.scaled_dot_product_attention(*map(torch.tensor, (q, k, v)), enable_gqa=True)
    got = F.scaled_dot_product_attention(*map(wf.tensor, (q, k, v)), enable_gqa=True)
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-9)


def test_an_encoder_is_copies_of_its_layer():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(E, H, 8, 0.0), 2, torch.nn.LayerNorm(E), enable_nested_tensor=False
    ).double()
    ours = nn.TransformerEncoder(nn.TransformerEncoderLayer(E, H, 8, 0.0), 2, nn.LayerNorm(E)).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    want = theirs(torch.tensor(K), src_key_padding_mask=torch.tensor(HIDDEN))
    got = ours(wf.tensor(K), src_key_padding_mask=wf.tensor(HIDDEN))
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("batch_first", [False, True])
def test_masks_reach_both_sides_of_a_transformer_as_in_torch(batch_first):
    torch = pytest.importorskip("torch")
    options = dict(dim_feedforward=8, dropout=0.0, batch_first=batch_first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.nn.Transformer(E, H, 1, 2, **options).double()
    ours = nn.Transformer(E, H, 1, 2, **options).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    src, tgt = (K, Q) if not batch_first else (K.swapaxes(0, 1).copy(), Q.swapaxes(0, 1).copy())
    future = nn.Transformer.generate_square_subsequent_mask(L, dtype="float64").numpy()
    hidden = np.where(HIDDEN, -1e3, 0.0)
    added = dict(src_mask=spread(S, S, seed=8), tgt_mask=future, memory_mask=np.where(BLOCKED, -1e3, 0.0))
    added |= dict(src_key_padding_mask=hidden, memory_key_padding_mask=hidden)
    want = theirs(torch.tensor(src), torch.tensor(tgt), **{k: torch.tensor(v) for k, v in added.items()})
    got = ours(wf.tensor(src), wf.tensor(tgt), **{k: wf.tensor(v) for k, v in added.items()})
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=1e-9, atol=1e-10)
    del added["tgt_mask"]
    causal = ours(
        wf.tensor(src), wf.tensor(tgt), tgt_is_causal=True, **{k: wf.tensor(v) for k, v in added.items()}
    )
    np.testing.assert_allclose(causal.numpy(), got.numpy(), rtol=1e-12)
    with pytest.raises(ShapeError, match="two sequences of width 6"):
        ours(wf.tensor(src), wf.tensor(tgt[..., :2].copy()))


def test_what_does_not_fit_is_named():
    attention = nn.MultiheadAttention(E, H)
    x = wf.tensor(Q.astype(np.float32))
    with pytest.raises(ShapeError, match=r"attn_mask of shape \(3, 3\)"):
        attention(x, x, x, attn_mask=wf.tensor(BLOCKED))
    with pytest.raises(ShapeError, match=r"key_padding_mask of shape \(2, 3\)"):
        attention(x, x, x, key_padding_mask=wf.tensor(HIDDEN))
    with pytest.raises(DTypeError, match="boolean or floating"):
        attention(x, x, x, attn_mask=wf.tensor(np.ones((3, 3), int)))
    with pytest.raises(ShapeError, match="widths"):
        attention(x, x, wf.tensor(np.ones((3, 2, 5), np.float32)))
    with pytest.raises(ArgumentError, match="does not divide into 4 heads"):
        nn.MultiheadAttention(E, 4)
    with pytest.raises(ArgumentError, match="not both"):
        F.scaled_dot_product_attention(x, x, x, attn_mask=x, is_causal=True)
