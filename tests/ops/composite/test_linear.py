"""Affine maps and picking by index."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, functional, integers, run, spread
from weft.base.errors import DTypeError, IndexingError, ShapeError
from weft.ir.dtype import float64
from weft.ops.composite import classes as c
from weft.ops.composite import linear as li

W, B = spread(5, 4), spread(5, seed=1)


def _pick(axis):
    def call(x, target):
        return x.gather(axis, target.unsqueeze(axis)).squeeze(axis)

    return call


BAGS, OFFSETS = integers(3, 4, high=6, seed=4), np.array([0, 5, 5, 12])


def _shortened(index, table):
    import torch

    rows = table.clone()
    torch.embedding_renorm_(rows, index, 1.3, 2.0)
    return rows


def _bag(mode):
    return lambda i, t: c.embedding_bag(i, t, None, mode=mode)


def _torch_bag(**attrs):
    def call(index, table):
        import torch

        return torch.nn.functional.embedding_bag(index, table, **attrs)

    return call


def _embedding(padding_idx=None):
    def call(index, table):
        import torch

        return torch.nn.functional.embedding(index, table, padding_idx)

    return call


IDS = integers(2, 3, high=6)

CASES = [
    Case("linear", li.linear, (spread(3, 4), W, B), functional("linear")),
    Case(
        "linear",
        lambda x, w: li.linear(x, w, None),
        (spread(2, 3, 4), W),
        functional("linear"),
        label="no bias",
    ),
    Case("linear", li.linear, (spread(4), W, B), functional("linear"), label="vector"),
    Case("linear", li.linear, (spread(0, 4), W, B), functional("linear"), label="no rows"),
    Case(
        "bilinear",
        li.bilinear,
        (spread(3, 2), spread(3, 4), spread(5, 2, 4), B),
        functional("bilinear"),
        batch=False,
    ),
    Case(
        "pick_class", lambda x, t: c.pick_class(x, t, axis=1), (spread(4, 3), integers(4, high=3)), _pick(1)
    ),
    Case(
        "pick_class",
        lambda x, t: c.pick_class(x, t, axis=1),
        (spread(2, 3, 2, 2), integers(2, 2, 2, high=3)),
        _pick(1),
        label="images",
    ),
    Case(
        "pick_class",
        lambda x, t: c.pick_class(x, t, axis=0),
        (spread(3), integers(high=3)),
        _pick(0),
        label="one",
    ),
    Case("embedding", c.embedding, (IDS, spread(6, 4)), _embedding()),
    Case(
        "embedding",
        lambda i, t: c.embedding(i, t, padding_idx=2),
        (IDS, spread(6, 4)),
        _embedding(2),
        label="padding",
        smooth=False,
    ),
    Case(
        "shortened_rows",
        lambda i, t: c.shortened_rows(i, t, 1.3, 2.0),
        (IDS, spread(6, 4)),
        lambda i, t: _shortened(i, t.detach()),
        smooth=False,
    ),
    Case(
        "by_frequency",
        lambda i, t: c.by_frequency(c.embedding(i, t), i, count=6),
        (IDS, spread(6, 4)),
        lambda i, t: functional("embedding", scale_grad_by_freq=True)(i, t),
        smooth=False,
        batch=False,
    ),
    Case("embedding", c.embedding, (IDS[:0], spread(6, 4)), _embedding(), label="nothing"),
    *[
        Case(
            "embedding_bag", _bag(mode), (BAGS, spread(6, 4)), _torch_bag(mode=mode), label=mode, batch=False
        )
        for mode in ("sum", "mean", "max")
    ],
    *[
        Case(
            "embedding_bag_offsets",
            lambda i, t, o, m=mode: c.embedding_bag_offsets(i, t, o, None, bags=4, mode=m, padding_idx=2),
            (BAGS.ravel(), spread(6, 4), OFFSETS),
            lambda i, t, o, m=mode: _torch_bag(mode=m, padding_idx=2, offsets=o)(i, t),
            label=mode,
            batch=False,
        )
        for mode in ("sum", "mean", "max")
    ],
    Case(
        "embedding_bag",
        lambda i, t, w: c.embedding_bag(i, t, w, mode="sum", padding_idx=2),
        (BAGS, spread(6, 4), spread(3, 4, seed=1)),
        lambda i, t, w: _torch_bag(mode="sum", padding_idx=2, per_sample_weights=w)(i, t),
        label="weighted",
        batch=False,
    ),
    Case(
        "embedding_bag_offsets",
        lambda i, t, o, w: c.embedding_bag_offsets(i, t, o, w, bags=3, mode="sum"),
        (BAGS.ravel(), spread(6, 4), OFFSETS, spread(12, seed=1)),
        lambda i, t, o, w: _torch_bag(mode="sum", include_last_offset=True, offsets=o, per_sample_weights=w)(
            i, t
        ),
        label="last offset",
        batch=False,
    ),
]

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


def test_one_hot():
    found = run(lambda i: c.one_hot(i, classes=4, dtype=float64), np.array([[0, 3], [1, 1]]))
    np.testing.assert_array_equal(found, np.eye(4)[[[0, 3], [1, 1]]])


@pytest.mark.parametrize("bad", [6, -1, -7])
def test_an_index_outside_the_table_is_an_error_when_it_runs(bad):
    with pytest.raises(IndexingError, match="out of bounds"):
        run(c.embedding, np.array([0, bad]), spread(6, 4))
    with pytest.raises(IndexingError, match="out of bounds"):
        run(lambda x, t: c.pick_class(x, t, axis=1), spread(2, 6), np.array([0, bad]))
    with pytest.raises(IndexingError, match="out of bounds"):
        run(lambda i: c.one_hot(i, classes=6, dtype=float64), np.array([0, bad]))


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ((spread(3, 5), W, B), ShapeError, "5 features.*takes 4"),
        ((spread(3, 2, 2), W, B), ShapeError, r"nn.Flatten\(\)"),
        ((spread(3, 4), W, spread(4)), ShapeError, r"bias of shape \(5,\)"),
        ((spread(3, 4), spread(5), B), ShapeError, r"weight of shape \(out, in\)"),
        ((integers(3, 4, high=2), W, B), DTypeError, r"input.astype\('float32'\)"),
        ((spread(3, 4).astype(np.float32), W, B), DTypeError, r"to\('float32'\)"),
    ],
)
def test_what_does_not_fit_is_named(args, error, words):
    with pytest.raises(error, match=words):
        run(li.linear, *args)
