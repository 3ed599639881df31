"""What the compiler makes of a graph: passes, kernels, their work, and pictures of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.base.errors import ArgumentError
from weft.inspect import draw, kernels


def training():
    model = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @wf.compile
    def step(x, y):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step.trace(wf.spec((16, 40)), wf.spec((16,), "int64"))


def test_a_training_step():
    found = kernels(training())
    names = [n for n, _ in found.stages]
    assert names[0] == "as written" and "decompose" in names
    assert any(n.prim.name == "call" for n in found.before.nodes)
    assert not any(n.prim.name == "call" for n in found.after.nodes)
    (first,) = [r for r in found.rows if r.operations == ("linear", "relu")]
    assert first.times == 1 and "test_kernels.py" in first.lines[0]
    rest = 3 * 16 * 30  # the bias; a comparison and a choice
    assert (first.flops, first.read) == (2 * 16 * 30 * 40 + rest, 4 * (16 * 40 + 30 * 40 + 30))
    assert found.inputs >= 4 * (16 * 40 + 40 * 30 + 30 * 10) and found.arena > 0
    text = str(found)
    assert text.splitlines()[0].startswith("step: ") and "linear.vjp" in text
    assert "t0 += b0[40*m + k0] * b1[40*n + k0]" in found.loops
    assert "define void" in first.llvm and first.name in first.llvm and f"{first.name}:" in first.assembly
    assert found.loops.count("kernel ") == sum(bool(r.loops) for r in found.rows)


def test_what_only_some_elements_of_are_read_counts_so():
    table, ids = wf.tensor(np.ones((1000, 8), np.float32)), wf.tensor([1, 2, 3])
    (row,) = [r for r in kernels(wf.take(table, ids, axis=0)).rows if r.loops]
    assert row.read == 3 * 8 * 4 + 3 * 8 and row.written == 3 * 8 * 4


def test_loops_show_their_kernels_and_how_often_they_run():
    x = wf.tensor(np.ones((6, 50), np.float32))
    f = wf.compile(lambda x: wf.scan(lambda c, v: (wf.tanh(c + v), c.sum()), wf.zeros(50), x))
    found = kernels(f.trace(x))
    (loop,) = [r for r in found.rows if r.name == "loop"]
    assert loop.times == 1 and loop.depth == 0
    inside = [r for r in found.rows if r.depth == 1]
    assert inside and all(r.times == 6 for r in inside)
    assert any("6 times" in line for box in found.drawing.boxes for line in box.lines)


def test_what_is_left_to_the_host_is_listed():
    found = kernels(wf.linalg.inv(wf.eye(4)) * 2)
    (row,) = [r for r in found.rows if r.name == "host"]
    assert row.operations == ("inv",) and row.flops > 0 and not row.loops


def test_open_dimensions_need_sizes():
    f = wf.compile(lambda x: wf.exp(x).sum(axis=1))
    traced = f.trace(wf.spec((wf.Dim("batch"), 5)))
    with pytest.raises(ArgumentError, match=r"batch.*dims="):
        kernels(traced)
    assert kernels(traced, dims={"batch": 7}).rows[0].results == "f32[7]"


def test_pictures():
    found = kernels(training())
    picture = found.drawing
    ET.fromstring(picture.svg)
    assert picture.dot.startswith("digraph")
    labels = [line for box in picture.boxes for line in box.lines]
    assert any(t.startswith("k0: linear") for t in labels)
    assert len(picture.boxes) < len(draw(found.after).boxes)
    ends = {b for _, b, _ in picture.edges}
    outputs = [i for i, b in enumerate(picture.boxes) if b.kind == "output"]
    assert set(outputs) <= ends
