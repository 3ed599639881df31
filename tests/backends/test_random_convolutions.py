"""Networks of convolutions made up at random, with their gradients: compiled against the reference."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from random_convolutions import Layer, Network, check, networks
from weft.ir.dtype import float16, float32

QUICK = settings(max_examples=12, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=1000, suppress_health_check=list(HealthCheck))

# LLVM 22 made wrong code of where the greatest of each window lies, when lanes were folded by permutations.
POOLED = Network(
    5,
    1,
    (1, 3),
    (Layer(1, 1, (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), True, (("pools", 0),)),),
    "weights",
    float32,
    0,
)

# LLVM 22 aborted where a loop ran once: while it simplified the body it found out that the index is always 0.
ONCE = Network(
    1,
    3,
    (2, 7),
    (
        Layer(
            2,
            1,
            (3, 5),
            (3, 3),
            ((2, 2), (0, 2)),
            (1, 1),
            False,
            (("adds_bias", 9), ("joins", 8), ("adds_image", 11), ("rectifies", 6)),
        ),
        Layer(32, 1, (2, 3), (2, 2), ((2, 2), (1, 1)), (2, 1), False, (("adds_bias", 11), ("exchanges", 0))),
        Layer(32, 3, (3, 3), (1, 1), ((0, 2), (2, 2)), (1, 1), False, (("joins", 5),)),
    ),
    "none",
    float16,
    7,
)


@QUICK
@example(network=POOLED, recurs=True)
@example(network=ONCE, recurs=True)
@given(network=networks(2), recurs=st.booleans())
def test_convolutions(network, recurs):
    check(network, recurs)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@LONG
@given(network=networks(3), recurs=st.booleans())
def test_many_convolutions(network, recurs):
    check(network, recurs)
