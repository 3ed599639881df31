"""The plan of the arena, checked by going through a program's steps byte by byte."""

from __future__ import annotations

import random

import pytest

from random_graphs import SHAPES, Program, exact, traced
from weft.backends.cpu.regions import numbered, plan, prepare
from weft.ir.dtype import float32
from weft.kernel.memory import Arena, nbytes, plan_arena


def violations(region, steps, arena):
    """What is read where something else has been written since, or nothing has; what is written over an operand."""
    outside = {*region.graph.inputs, *region.graph.outputs, *region.graph.constants}
    owner = [None] * arena.size
    found = []
    for i, step in enumerate(steps):
        for n in step.reads:
            if n in outside:
                continue
            size = int(n.size) * n.dtype.itemsize
            if any(o is not n for o in owner[arena.offsets[n] : arena.offsets[n] + size]):
                found.append((i, n))
        busy = set(step.reads)
        for n in step.writes:
            if n not in outside:
                low, high = arena.offsets[n], arena.offsets[n] + nbytes(n)
                assert low % 64 == 0 and high <= arena.size
                if not busy.isdisjoint(owner[low:high]):
                    found.append((i, n))  # in the place of what the same step reads or writes
                owner[low:high] = [n] * (high - low)
                busy.add(n)
    return found


def regions(region):
    yield region
    for control in region.inner.values():
        for inner in control.regions:
            yield from regions(inner)


def program(seed):
    r = random.Random(seed)
    steps = [
        (r.choice(sorted(exact)), r.randint(0, 3), r.randint(0, 30), r.randint(0, 40)) for _ in range(30)
    ]
    shapes = [r.choice(SHAPES) for _ in range(3)]
    graph, _ = traced(Program(tuple(steps), tuple(shapes), r.random() < 0.5, seed, float32), exact)
    return plan(prepare(numbered(graph)))


@pytest.mark.parametrize("seed", range(40))
def test_what_is_read_is_what_was_written(seed):
    for region in regions(program(seed)):
        assert not violations(region, region.steps, region.arena)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_kept_is_there_in_the_next_run(seed):
    region = program(seed)
    inputs = {*region.graph.inputs, *region.graph.constants}
    first = [s for s in region.steps if inputs.issuperset(s.reads)][:3]
    rest = [s for s in region.steps if s not in first]
    arena = plan_arena(region.graph, [*first, *rest], {n for s in first for n in s.writes})
    assert not violations(region, [*first, *rest, *rest], arena)


def test_values_in_one_place_are_found():
    """Whatever two values that live together share is noticed."""
    found = 0
    for seed in range(10):
        region = program(seed)
        arena = Arena(dict.fromkeys(region.arena.offsets, 0), region.arena.size)
        found += bool(violations(region, region.steps, arena))
    assert found >= 5
