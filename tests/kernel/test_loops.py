"""Expressions whose parts occur in each other many times over: nothing takes as long as writing them out would."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.backends.cpu import instructions as ir
from weft.backends.cpu.emit import emit_kernel
from weft.backends.cpu.expressions import reads_alike, reads_memory
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.streams import bytes_moved
from weft.backends.cpu.wideness import lane_count, same_along
from weft.backends.cpu.work import work_of
from weft.inspect import kernels
from weft.ir.dtype import float32, int64
from weft.kernel.generic import generalize
from weft.kernel.index import Var, as_index
from weft.kernel.loops import (
    Apply,
    Inside,
    Kernel,
    Literal,
    Load,
    Lookup,
    Scalar,
    Search,
    Stage,
    Store,
    always_read,
    found_in,
    has_lookup,
)
from weft.kernel.schedule import Step
from weft.kernel.show import show, show_kernel
from weft.kernel.structure import structure

I, J = Var("i", 40), Var("j", 3)


def chain(links: int, start=None):
    """An expression of `links` operations that is made of its start 2**links times."""
    x = Load(0, as_index(I), float32) if start is None else start
    for k in range(links):
        x = Apply(("add", "mul", "maximum")[k % 3], (x, x), float32)
    return x


def kernel(value) -> Kernel:
    stage = Stage((), stores=(Store(1, as_index(I), value),))
    return Kernel("chain", (I,), (stage,), (float32,), (float32,), across=True)


def test_made_twice_they_are_equal_and_found():
    one, two = chain(60), chain(60)
    assert one is not two and one == two and hash(one) == hash(two)
    assert {one: "known"}[two] == "known"
    assert chain(59) != one and chain(60, Load(1, as_index(I), float32)) != one


@pytest.mark.parametrize(
    "make",
    [
        lambda x, n: Apply("add", (x, n), float32),
        lambda x, n: Inside(((as_index(I), 0, 4),), x, n, float32),
        lambda x, n: Lookup(0, as_index(0), ((x, 4, 1), (n, 5, 1)), float32),
    ],
)
def test_each_part_counts(make):
    x, n = chain(3), Literal("1.0", float32)
    assert make(x, n) == make(chain(3), n) and make(x, n) != make(n, x)
    assert make(x, n) != make(x, Literal("2.0", float32)) and make(x, n) != make(x, x)


@pytest.mark.parametrize(
    "other",
    [
        Apply("sub", (chain(3),), float32), Apply("add", (chain(3), chain(3)), float32),
        Apply("add", (chain(3),), int64), chain(3), "add",
    ],
)  # fmt: skip
def test_what_is_not_a_part_counts(other):
    assert Apply("add", (chain(3),), float32) != other


def test_what_looks_up_and_searches_is_told_apart():
    key = chain(2)
    looked = Lookup(0, as_index(0), ((key, 4, 1),), float32)
    assert looked != Lookup(0, as_index(0), ((key, 4, 2),), float32)
    assert looked != Lookup(0, as_index(0), ((key, 4, 1),), float32, wraps=False)
    search = Search(0, as_index(0), 8, 1, key, True, int64)
    assert search == Search(0, as_index(0), 8, 1, chain(2), True, int64)
    assert search != Search(0, as_index(0), 8, 1, key, False, int64)


def test_all_parts_are_found_once_the_whole_first():
    x = chain(100)
    found = found_in([x])
    assert found[0] is x and len(found) == 101 and found[-1] == Load(0, as_index(I), float32)
    a, b = Scalar(0, float32), Scalar(1, float32)
    assert found_in([Apply("sub", (a, b), float32), b])[1:] == [a, b]


def test_what_a_condition_guards_is_not_always_read():
    guarded, free = Load(0, as_index(I), float32), Load(1, as_index(I), float32)
    e = Apply("add", (Inside(((as_index(I), 0, 4),), guarded, free, float32), free), float32)
    assert always_read(e) == [free]


def test_nothing_takes_as_long_as_writing_it_out():
    x = chain(64)
    k = kernel(x)
    assert not has_lookup(x) and always_read(x) == [Load(0, as_index(I), float32)]
    assert reads_memory(x) and not reads_alike(x, I)
    assert same_along(x, I) == [] and same_along(x, J) == [x]
    assert lane_count(k, host_target()) in (4, 8, 16) and bytes_moved(k) == 320
    assert work_of(Step(None, k, [], [])) == 40 * 64
    assert len(show_kernel(k)) < 5000 and len(structure(k)) < 5000
    found = generalize(k)
    assert found is not None and len(show_kernel(found.kernel)) < 6000
    module = ir.Module("chain")
    emit_kernel(module, k, host_target())
    assert str(module).count("fadd") >= 22


def test_short_expressions_are_written_out_and_long_ones_named():
    assert show(chain(2)) == "mul(add(b0[i], b0[i]), add(b0[i], b0[i]))"
    assert " = " not in show_kernel(kernel(chain(2))).splitlines()[-2]
    lines = show_kernel(kernel(chain(8))).splitlines()
    assert lines[2].strip() == "e0 = add(b0[i], b0[i])" and lines[-1].strip() == "b1[i] = mul(e6, e6)"


@pytest.mark.parametrize("rows", [False, True])
def test_a_long_recurrence(rows):
    """Newton's method and the like: the new value depends on the old one in several places."""

    def last(x):
        for _ in range(24):
            x = x * x * 0.5 + 0.25 * x + 0.125
        return nn.functional.softmax(x, -1) if rows else x

    x = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    f = wf.compile(last)
    got = f(wf.tensor(x)).numpy()
    want = x.astype(np.float64)
    for _ in range(24):
        want = want * want * 0.5 + 0.25 * want + 0.125
    if rows:
        want = np.exp(want) / np.exp(want).sum(-1, keepdims=True)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert sum(len(row.loops or "") for row in kernels(f).rows) < 20_000
