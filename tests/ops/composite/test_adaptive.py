"""Log-probabilities over clusters of classes."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, run, spread
from weft.base.errors import IndexingError
from weft.ops.composite import adaptive as c

HEAD, FIRST, SECOND = spread(5, 6), spread(5, 3, seed=1), spread(5, 2, seed=2)
CUTS = (4, 7, 9)
TARGET = np.array([0, 3, 4, 8, 6])


def _at(target=TARGET):
    from nodes import node

    return lambda h, a, b: c.adaptive_log_softmax_at(node(target), h, a, b, cutoffs=CUTS)


def _all(h, a, b):
    return c.adaptive_log_softmax(h, a, b, cutoffs=CUTS)


def _torch_all(h, a, b):
    import torch

    h = torch.log_softmax(h, 1)
    return torch.cat([h[:, :4], h[:, 4:5] + torch.log_softmax(a, 1), h[:, 5:6] + torch.log_softmax(b, 1)], 1)


CASES = [
    Case("adaptive_log_softmax", _all, (HEAD, FIRST, SECOND), _torch_all),
    Case("adaptive_log_softmax_at", _at(), (HEAD, FIRST, SECOND),
         lambda *x: _torch_all(*x)[range(5), TARGET], batch=False),
    Case("adaptive_log_softmax_at", _at(TARGET[:0]), (HEAD[:0], FIRST[:0], SECOND[:0]), label="nothing", batch=False),
    Case("adaptive_log_softmax_at",
         lambda t, h, a, b: c.adaptive_log_softmax_at(t, h, a, b, cutoffs=CUTS), (TARGET, HEAD, FIRST, SECOND),
         smooth=False, label="batched"),
]  # fmt: skip

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


def test_probabilities_sum_to_one():
    np.testing.assert_allclose(np.exp(run(_all, HEAD, FIRST, SECOND)).sum(1), 1)


@pytest.mark.parametrize("wrong", [-1, 9, -100])
def test_a_class_out_of_range_is_named(wrong):
    with pytest.raises(IndexingError, match=f"class {wrong} is out of bounds: the valid ones are 0 to 8"):
        run(_at(np.array([0, 1, wrong, 2, 3])), HEAD, FIRST, SECOND)
