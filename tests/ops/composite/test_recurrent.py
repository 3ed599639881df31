"""Recurrent layers, one direction of one layer, against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, run, spread
from weft.base.errors import ShapeError
from weft.ops.composite import recurrent as r

T, N, I, H = 4, 2, 3, 2
X = spread(T, N, I)


def _parameters(gates: int, low: float = -1.0, high: float = 1.0):
    return (
        spread(gates * H, I, low=low, high=high, seed=1),
        spread(gates * H, H, low=low, high=high, seed=2),
        spread(gates * H, low=low, high=high, seed=3),
        spread(gates * H, low=low, high=high, seed=4),
    )


H0, C0 = spread(N, H, low=-0.5, high=0.5, seed=5), spread(N, H, low=-0.5, high=0.5, seed=6)


def _torch(kind: str, reverse: bool = False, bias: bool = True):
    def call(x, *rest):
        import torch

        states = rest[:2] if kind == "lstm" else rest[:1]
        weights = rest[len(states) :]
        hx = tuple(s[None] for s in states) if kind == "lstm" else states[0][None]
        layer = getattr(torch, kind if kind != "rnn" else "rnn_tanh")
        out = layer(x.flip(0) if reverse else x, hx, list(weights), bias, 1, 0.0, True, False, False)
        ys, *finals = out
        return (ys.flip(0) if reverse else ys, *[f[0] for f in finals])

    return call


def _packed(kind: str, reverse: bool):
    """The same of packed sequences; backwards, every sequence is turned around within its length."""

    def turned(x, lengths):
        import torch

        rows = [torch.cat([x[:n, i].flip(0), x[n:, i]]) for i, n in enumerate(lengths)]
        return torch.stack(rows, 1) if reverse else x

    def call(x, *rest):
        import torch

        *operands, lengths = rest
        lengths = lengths.tolist()
        states = operands[:2] if kind == "lstm" else operands[:1]
        hx = tuple(s[None] for s in states) if kind == "lstm" else states[0][None]
        packed = torch.nn.utils.rnn.pack_padded_sequence(turned(x, lengths), lengths)
        layer = getattr(torch, kind if kind != "rnn" else "rnn_tanh")
        ys, *finals = layer(
            packed.data, packed.batch_sizes, hx, list(operands[len(states) :]), True, 1, 0.0, True, False
        )
        ys, _ = torch.nn.utils.rnn.pad_packed_sequence(
            torch.nn.utils.rnn.PackedSequence(ys, packed.batch_sizes), total_length=x.shape[0]
        )
        return (turned(ys, lengths), *[f[0] for f in finals])

    return call


CASES = [
    Case("rnn", r.rnn, (X, H0, *_parameters(1)), _torch("rnn"), batch=False),
    Case("lstm", r.lstm, (X, H0, C0, *_parameters(4)), _torch("lstm"), batch=False),
    Case("gru", r.gru, (X, H0, *_parameters(3)), _torch("gru"), batch=False),
    Case(
        "lstm",
        lambda *a: r.lstm(*a, reverse=True),
        (X, H0, C0, *_parameters(4)),
        _torch("lstm", True),
        batch=False,
        label="reverse",
    ),
    Case(
        "lstm",
        lambda *a: r.lstm(*a, None, None),
        (X, H0, C0, *_parameters(4)[:2]),
        _torch("lstm", bias=False),
        label="no bias",
    ),
    Case(
        "gru",
        lambda *a: r.gru(*a, None, None),
        (X, H0, *_parameters(3)[:2]),
        _torch("gru", bias=False),
        label="no bias",
    ),
    Case(
        "rnn",
        lambda *a: r.rnn(*a, None, None, nonlinearity="relu"),
        (X, H0, *_parameters(1)[:2]),
        label="relu",
    ),
    Case("lstm", r.lstm, (X[:1], H0, C0, *_parameters(4)), _torch("lstm"), batch=False, label="one step"),
    Case(
        "rnn_cell",
        r.rnn_cell,
        (X[0], H0, *_parameters(1)),
        lambda *a: _cell("rnn_tanh_cell", *a),
        batch=False,
    ),
    Case(
        "lstm_cell",
        r.lstm_cell,
        (X[0], H0, C0, *_parameters(4)),
        lambda x, h, c, *w: _cell("lstm_cell", x, (h, c), *w),
        batch=False,
    ),
    Case("gru_cell", r.gru_cell, (X[0], H0, *_parameters(3)), lambda *a: _cell("gru_cell", *a), batch=False),
]


LENGTHS = np.array([3, 1])
CASES += [
    Case(
        name,
        lambda *a, f=function, n=count, v=reverse, k=name: f(*a[:n], *([None] * (k == "lstm")), a[n], reverse=v),
        (X, *states, *_parameters(gates), LENGTHS),
        _packed(name, reverse),
        batch=False,
        label=f"lengths {reverse}",
    )
    for name, function, states, gates, count in (
        ("rnn", r.rnn, (H0,), 1, 6), ("gru", r.gru, (H0,), 3, 6), ("lstm", r.lstm, (H0, C0), 4, 7),
    )
    for reverse in (False, True)
]  # fmt: skip


def _cell(name, *args):
    import torch

    return getattr(torch, name)(*args)


test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match="3 features per step"):
        run(r.lstm, X[:, :, :2], H0, C0, *_parameters(4))
    with pytest.raises(ShapeError, match="do not belong together"):
        run(r.lstm, X, H0, C0, *_parameters(3))
    with pytest.raises(ShapeError, match=r"state of shape \(2, 2\)"):
        run(r.lstm, X, H0[:1], C0, *_parameters(4))
