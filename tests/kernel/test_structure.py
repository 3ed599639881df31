"""Kernels as text: what is the same and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weft.ir.dtype import float32, float64
from weft.kernel.index import Index, Var, as_index
from weft.kernel.loops import Apply, Kernel, Literal, Load, Stage, Store
from weft.kernel.structure import structure

I = Var("i", 40)


def kernel(size: int = 40, op: str = "add", dtype=float32, number: str = "1.0", offset: int = 0) -> Kernel:
    i = Var("i", size)
    x = Load(0, Index({i: 1}, offset), dtype)
    value = Apply(op, (x, Literal(number, dtype)), dtype)
    store = Store(1, as_index(i), value)
    return Kernel("k", (i,), (Stage((), stores=(store,)),), (dtype,), (dtype,), across=True)


def test_names_and_notes_do_not_matter():
    assert structure(kernel()) == structure(replace(kernel(), name="other", notes=("add",)))


@pytest.mark.parametrize(
    "other",
    [
        kernel(size=41), kernel(op="sub"), kernel(dtype=float64), kernel(number="2.0"), kernel(number="-0.0"),
        kernel(offset=1), replace(kernel(), across=False), replace(kernel(), outputs=(float64,)),
    ],
)  # fmt: skip
def test_everything_else_does(other):
    assert structure(other) != structure(kernel())


def test_the_sign_of_a_zero_matters():
    assert structure(kernel(number="0.0")) != structure(kernel(number="-0.0"))


def test_shared_parts_are_written_once():
    x = Load(0, as_index(I), float32)
    for _ in range(200):  # written out, this would have 2**200 parts
        x = Apply("add", (x, x), float32)
    store = Store(1, as_index(I), x)
    text = structure(Kernel("k", (I,), (Stage((), stores=(store,)),), (float32,), (float32,)))
    assert len(text.splitlines()) < 220


def test_equal_parts_are_the_same_whether_shared_or_not():
    shared = Load(0, as_index(I), float32)
    one = Apply("mul", (shared, shared), float32)
    two = Apply("mul", (Load(0, as_index(I), float32), Load(0, as_index(I), float32)), float32)
    texts = []
    for value in (one, two):
        stage = Stage((), stores=(Store(1, as_index(I), value),))
        texts.append(structure(Kernel("k", (I,), (stage,), (float32,), (float32,))))
    assert texts[0] == texts[1]
