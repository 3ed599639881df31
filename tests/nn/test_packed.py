"""Sequences of several lengths: packed and padded as in PyTorch, through recurrent layers, compiled and batched."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from composites import spread
from weft import nn
from weft.base.errors import ArgumentError, DataError, IndexingError, ShapeError

X, LENGTHS = spread(5, 3, 4), [3, 5, 1]
rnn = nn.utils.rnn


def pair(kind, **options):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, kind)(4, 3, 2, bidirectional=True, **options).double()
    ours = getattr(nn, kind)(4, 3, 2, bidirectional=True, **options).double()
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    return torch, ours, theirs


@pytest.mark.parametrize(
    ("kind", "options"),
    [("RNN", {}), ("GRU", {"batch_first": True}), ("LSTM", {}), ("LSTM", {"proj_size": 2})],
)
def test_packed_sequences_go_through_as_in_torch(kind, options):
    torch, ours, theirs = pair(kind, **options)
    given = torch.tensor(X, requires_grad=True)
    x = wf.tensor(X, requires_grad=True)
    pack = torch.nn.utils.rnn.pack_padded_sequence(given, LENGTHS, enforce_sorted=False)
    want, want_state = theirs(pack)
    got, state = ours(rnn.pack_padded_sequence(x, LENGTHS))
    assert isinstance(got, rnn.PackedSequence)
    want, lengths = torch.nn.utils.rnn.pad_packed_sequence(want)
    padded, ours_lengths = rnn.pad_packed_sequence(got)
    assert ours_lengths.tolist() == lengths.tolist() == LENGTHS
    np.testing.assert_allclose(padded.numpy(), want.detach().numpy(), atol=1e-12)
    for a, b in zip(wf.pytree.flatten(state)[0], want_state if kind == "LSTM" else [want_state], strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), atol=1e-12)
    (want * want).sum().backward()
    (padded * padded).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), given.grad.numpy(), atol=1e-12)
    for name, p in theirs.named_parameters():
        np.testing.assert_allclose(
            ours.get_parameter(name).grad.numpy(), p.grad.numpy(), atol=1e-11, err_msg=name
        )


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_lengths_do_what_packing_does(backend):
    net = nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True).double()
    x = wf.tensor(X.swapaxes(0, 1).copy())
    packed, (h, c) = net(rnn.pack_padded_sequence(x, LENGTHS, batch_first=True))
    want, _ = rnn.pad_packed_sequence(packed, batch_first=True)

    @wf.compile
    def run(x, lengths):
        return net(x, lengths=lengths)

    with wf.config(backend=backend):
        for lengths in (LENGTHS, [5, 5, 5]):  # other lengths, the same program
            out, (hn, cn) = run(x, wf.tensor(np.array(lengths)))
            if lengths == LENGTHS:
                for a, b in ((out, want), (hn, h), (cn, c)):
                    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-13)
            else:
                np.testing.assert_allclose(out.numpy(), net(x)[0].numpy(), atol=1e-13)
        assert run.traces == 1


def test_what_lies_beyond_the_length_does_not_count():
    net, other = nn.GRU(4, 3, bidirectional=True).double(), X.copy()
    for i, n in enumerate(LENGTHS):
        other[n:, i] = np.nan
    for x in (X, other):
        out, h = net(wf.tensor(x), lengths=LENGTHS)
        assert np.isfinite(h.numpy()).all()
        found = [out.numpy(), h.numpy()]
        if x is X:
            want = found
    np.testing.assert_array_equal(found[0], want[0])
    np.testing.assert_array_equal(found[1], want[1])


def test_a_sequence_of_no_steps_keeps_its_state():
    net, h0 = nn.RNN(4, 3).double(), spread(1, 3, 3)
    out, h = net(wf.tensor(X), wf.tensor(h0), lengths=[0, 5, 0])
    np.testing.assert_array_equal(h.numpy()[0, [0, 2]], h0[0, [0, 2]])
    assert not out.numpy()[:, 0].any()


def test_sequences_are_padded_and_cut_as_in_torch():
    torch = pytest.importorskip("torch")
    rows = [spread(n, 2, seed=n) for n in LENGTHS]
    for options in ({}, {"batch_first": True, "padding_value": 7.0}, {"padding_side": "left"}):
        want = torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], **options)
        np.testing.assert_array_equal(rnn.pad_sequence(rows, **options).numpy(), want.numpy())
    packed = rnn.pack_sequence([wf.tensor(r) for r in rows], enforce_sorted=False)
    for a, b in zip(rnn.unpack_sequence(packed), rows, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)
    padded, _ = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0, total_length=7)
    assert padded.shape == (3, 7, 2) and padded.numpy()[2, 1:].tolist() == [[-1.0, -1.0]] * 6


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: rnn.pack_padded_sequence(X, [3, 6, 1]), ArgumentError, "between 0 and 5"),
        (lambda: rnn.pack_padded_sequence(X, [3, 5]), ShapeError, "each of the 3 sequences"),
        (lambda: rnn.pack_padded_sequence(X, [3.0, 5.0, 1.0]), ShapeError, "integer length"),
        (lambda: rnn.pack_padded_sequence(X[:, 0, 0], [3]), ShapeError, "takes"),
        (lambda: rnn.pad_packed_sequence(X), ArgumentError, "takes a PackedSequence"),
        (
            lambda: rnn.pad_packed_sequence(rnn.pack_padded_sequence(X, LENGTHS), total_length=2),
            ArgumentError,
            "longest",
        ),
        (lambda: rnn.pad_sequence([]), DataError, "no sequences"),
        (lambda: rnn.pad_sequence([X, X[:, :2]]), ShapeError, "agree in all axes"),
        (lambda: rnn.pad_sequence([X], padding_side="top"), ArgumentError, "'left' or 'right'"),
        (lambda: nn.GRU(4, 3)(wf.tensor(X), lengths=[3, 9, 1]), ArgumentError, "between 0 and 5"),
        (
            lambda: nn.GRU(4, 3).double()(wf.tensor(X), lengths=wf.tensor([3, 9, 1]))[1].numpy(),
            IndexingError,
            "out",
        ),
        (lambda: nn.LSTM(4, 3, proj_size=3), ArgumentError, "less than hidden_size 3"),
    ],
)
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
