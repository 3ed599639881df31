"""How an index differs from lane to lane."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.kernel.index import Index, Quotient, Remainder, Var
from weft.kernel.patterns import first, pattern

I, J = Var("i", 96), Var("j", 5)
PLAIN = Index({I: 1}, 0)


def _divided(of: Index) -> st.SearchStrategy[Index]:
    by = st.sampled_from([2, 3, 4, 6, 8, 16, 32])
    kind = st.sampled_from([Quotient, Remainder])
    return st.builds(lambda k, b: Index({k(of, b): 1}, 0), kind, by)


def _sums(of: st.SearchStrategy[Index]) -> st.SearchStrategy[Index]:
    number = st.integers(-3, 40)
    return st.builds(lambda x, y, a, b, c: x * a + y * b + c, of, of, number, number, number)


VARIABLES = st.sampled_from([PLAIN, Index({J: 1}, 0)])
INDICES = st.recursive(VARIABLES, lambda of: _sums(of) | of.flatmap(_divided), max_leaves=5)


@settings(max_examples=300)
@given(INDICES, st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([2, 4, 8, 16]))
def test_every_vector_has_the_pattern(at, every, count):
    found, (rest, modulus) = pattern(at, I, every, count), first(at, I, every)
    for j in range(J.size):
        for i in range(0, I.size - count + 1, every):
            start = at.evaluate({I: i, J: j})
            assert (start - rest) % modulus == 0 if modulus else start == rest
            if found is not None:
                assert [at.evaluate({I: i + k, J: j}) - start for k in range(count)] == list(found)


@pytest.mark.parametrize(
    ("at", "want"),
    [
        (Index({Quotient(PLAIN, 2): 1}, 0), (0, 0, 1, 1)),
        (Index({Remainder(PLAIN, 2): 3}, 7), (0, 3, 0, 3)),
        (Index({Quotient(PLAIN + 1, 2): 1}, 0), (0, 1, 1, 2)),
        (Index({Remainder(Index({Quotient(PLAIN, 2): 1}, 0), 6): 1}, 0), (0, 0, 1, 1)),
        (Index({Quotient(PLAIN, 12): 1}, 0), (0, 0, 0, 0)),
        (Index({Quotient(PLAIN, 3): 1}, 0), None),
        (Index({Quotient(Index({I: 1, J: 1}, 0), 2): 1}, 0), None),
        (Index({Quotient(Index({I: 1, J: 2}, 0), 2): 1}, 0), (0, 0, 1, 1)),
    ],
)
def test_patterns_of_vectors_of_four(at, want):
    assert pattern(at, I, 4, 4) == want
