"""Graphs made up at random, with their gradients: compiled against the reference; see `random_operations`."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from random_graphs import EXACT_TYPES, Program, check, exact, programs, smooth
from weft.ir.dtype import float32

ALL = list(HealthCheck)
QUICK = settings(max_examples=12, suppress_health_check=ALL)
LONG = settings(max_examples=2000, suppress_health_check=ALL)
SOME = settings(max_examples=60, suppress_health_check=ALL)

#: One program in four is compiled for its own sizes.
OFTEN = st.integers(0, 3).map(lambda k: k == 0)

# The rows beyond the looked-up ones are padding: their positions would lie behind the end of the array of positions.
PADDED = Program(
    (("adds", 0, 0, 0), ("adds", 0, 0, 0), ("looks_up", 0, 0, 1), ("adds", 1, 4, 0), ("adds", 0, 0, 0)),
    ((4, 6), (3, 5, 2)),
    True,
    0,
    float32,
)


@QUICK
@example(program=PADDED, recurs=False)
@given(program=programs(exact, 15, EXACT_TYPES), recurs=OFTEN)
def test_exact_graphs(program, recurs):
    check(program, exact, recurs)


@QUICK
@given(program=programs(smooth, 15))
def test_smooth_graphs(program):
    check(program, smooth)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@LONG
@given(program=programs(exact, 60, EXACT_TYPES), recurs=OFTEN)
def test_many_exact_graphs(program, recurs):
    check(program, exact, recurs)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@LONG
@given(program=programs(smooth, 60), recurs=OFTEN)
def test_many_smooth_graphs(program, recurs):
    check(program, smooth, recurs)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@SOME
@given(program=programs(exact, 4, (*EXACT_TYPES[:4], *EXACT_TYPES[5:6]), large=True), recurs=st.booleans())
def test_graphs_of_a_million_elements(program, recurs):
    check(program, exact, recurs)
