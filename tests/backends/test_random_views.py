"""Chains of views made up at random, around what is computed of them: compiled against the reference."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from random_graphs import EXACT_TYPES, check
from random_views import chains, exact_views, smooth_views
from weft.ir.dtype import float64

QUICK = settings(max_examples=12, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=1000, suppress_health_check=list(HealthCheck))


@QUICK
@given(program=chains(exact_views, 8, EXACT_TYPES), recurs=st.booleans())
def test_exact_views(program, recurs):
    check(program, exact_views, recurs)


@QUICK
@given(program=chains(smooth_views, 8, (float64,)), recurs=st.booleans())
def test_smooth_views(program, recurs):
    check(program, smooth_views, recurs, rounds=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@LONG
@given(program=chains(exact_views, 12, EXACT_TYPES), recurs=st.booleans())
def test_many_exact_views(program, recurs):
    check(program, exact_views, recurs)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@LONG
@given(program=chains(smooth_views, 12, (float64,)), recurs=st.booleans())
def test_many_smooth_views(program, recurs):
    check(program, smooth_views, recurs, rounds=True)
