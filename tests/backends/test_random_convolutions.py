"""Networks of convolutions made up at random, with their gradients: compiled against the reference."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from random_convolutions import Layer, Network, check, networks
from weft.ir.dtype import float32

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


@QUICK
@example(network=POOLED, recurs=True)
@given(network=networks(2), recurs=st.booleans())
def test_convolutions(network, recurs):
    check(network, recurs)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@LONG
@given(network=networks(3), recurs=st.booleans())
def test_many_convolutions(network, recurs):
    check(network, recurs)
