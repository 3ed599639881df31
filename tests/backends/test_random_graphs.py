"""Graphs made up at random, with their gradients: compiled against the reference; see `random_operations`."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from random_graphs import EXACT_TYPES, Program, check, exact, programs, run, smooth, traced
from weft.backends.cpu import threads as pool_threads
from weft.backends.cpu import work
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import float32
from weft.runtime import threads
from weft.runtime.buffer import Buffer

ALL = list(HealthCheck)
QUICK = settings(max_examples=12, suppress_health_check=ALL)
LONG = settings(max_examples=1000, suppress_health_check=ALL)
SOME = settings(max_examples=40, suppress_health_check=ALL)

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
    check(program, smooth, rounds=True)


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
    check(program, smooth, recurs, rounds=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@SOME
@given(program=programs(exact, 4, (*EXACT_TYPES[:4], *EXACT_TYPES[5:6]), large=True), recurs=st.booleans())
def test_graphs_of_a_million_elements(program, recurs):
    check(program, exact, recurs)


# -- however it runs, the same bits ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def bits(made, inputs):
    return [g.tobytes() for g in run(made, inputs)]


def in_parts(program):
    """Every kernel cut as small as it can be, for 1 to 4 threads, left after every unit; twice each."""
    graph, arrays = traced(program, program.table)
    inputs = [Buffer(a) for a in arrays]
    want = bits(CpuBackend().compile(graph), inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "SERIAL", 0)
        patch.setattr(work, "PORTION", 1)
        patch.setattr(pool_threads, "SLICE", 1)
        made = CpuBackend().compile(graph)
        for count in (1, 2, 3, 4):
            threads.set_num_threads(count)
            assert bits(made, inputs) == want
            assert bits(made, inputs) == want


def together(first, second):
    """Two Python threads run programs at once, on three threads of the pool."""
    threads.set_num_threads(3)
    made, wrong = [], []
    for program in (first, second):
        graph, arrays = traced(program, program.table)
        inputs = [Buffer(a) for a in arrays]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(work, "SERIAL", 0)
            patch.setattr(work, "PORTION", 1)
            compiled = CpuBackend().compile(graph)
        made.append((compiled, inputs, bits(compiled, inputs)))

    def repeat(compiled, inputs, want):
        try:
            assert all(bits(compiled, inputs) == want for _ in range(30))
        except BaseException as error:
            wrong.append(error)

    callers = [threading.Thread(target=repeat, args=m) for m in (*made, made[0])]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert not wrong, wrong


EITHER = st.one_of(programs(exact, 20, EXACT_TYPES), programs(smooth, 20))


@settings(QUICK, max_examples=4)
@given(program=EITHER)
def test_graphs_in_parts(_threads, program):
    in_parts(program)


@settings(QUICK, max_examples=3)
@given(first=EITHER, second=EITHER)
def test_graphs_at_once(_threads, first, second):
    together(first, second)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(LONG, max_examples=150)
@given(program=EITHER)
def test_many_graphs_in_parts(_threads, program):
    in_parts(program)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(LONG, max_examples=60)
@given(first=EITHER, second=EITHER)
def test_many_graphs_at_once(_threads, first, second):
    together(first, second)
