"""Fractional max pooling with given samples, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, functional, run, spread
from nodes import node
from weft.base.errors import ArgumentError, DTypeError, ShapeError
from weft.ops.composite import fractional as c

IMAGES, VOLUMES = spread(2, 3, 7, 9), spread(2, 2, 5, 6, 4)


def _samples(x, rank, seed=0):
    return np.random.default_rng(seed).uniform(size=(*x.shape[:2], rank))


def _ours(kernel, sizes, samples, function=c.fractional_max_pool):
    return lambda x: function(x, node(samples), kernel=kernel, sizes=sizes)


def _theirs(kernel, sizes, samples, indices=False):
    def call(x):
        import torch

        name = f"fractional_max_pool{len(kernel)}d"
        given = torch.tensor(samples)
        return functional(name, kernel, sizes, None, indices, given)(x)

    return call


CASES = []
for _x, _kernel, _sizes in [
    (IMAGES, (2, 2), (4, 5)),
    (IMAGES, (3, 2), (5, 8)),
    (IMAGES, (7, 2), (1, 2)),
    (VOLUMES, (2, 3, 1), (3, 2, 3)),
    (IMAGES[:0], (2, 2), (3, 3)),
]:
    for _seed in range(2):
        _given = _samples(_x, len(_kernel), _seed)
        _label = f"{_kernel}-{_sizes}-{_seed}" if len(_x) else f"none-{_seed}"
        CASES.append(
            Case(
                "fractional_max_pool",
                _ours(_kernel, _sizes, _given),
                (_x,),
                _theirs(_kernel, _sizes, _given) if len(_x) else None,
                label=_label,
                batch=False,
            )
        )
        if len(_x):
            CASES.append(
                Case(
                    "fractional_max_pool_positions",
                    _ours(_kernel, _sizes, _given, c.fractional_max_pool_positions),
                    (_x,),
                    lambda x, a=(_kernel, _sizes, _given): _theirs(*a, True)(x)[1],
                    smooth=False,
                    label=_label,
                    batch=False,
                )
            )
CASES.append(
    Case(
        "fractional_max_pool",
        lambda x, s: c.fractional_max_pool(x, s, kernel=(2, 2), sizes=(4, 5)),
        (IMAGES, _samples(IMAGES, 2)),
        smooth=False,
        label="batched",
    )
)

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: run(_ours((3, 3), (6, 6), _samples(IMAGES, 2)), IMAGES), ArgumentError, "do not fit"),
        (lambda: run(_ours((2, 2), (3, 3), np.zeros((2, 3, 3))), IMAGES), ShapeError, "random samples of shape"),
        (lambda: run(_ours((2, 2), (3, 3), np.zeros((2, 3, 2), int)), IMAGES), DTypeError, "floating random samples"),
        (lambda: run(_ours((2, 2), (3, 3), np.zeros((3, 2))), IMAGES[0]), ShapeError, r"\(batch, channels, ...\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
