"""Drawings: what is in them, as DOT and as SVG."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import weft.formats
from formats_shared import standardize_for_tests
from weft.arrays.compile import compile, spec
from weft.arrays.creation import tensor
from weft.arrays.dispatch import operation
from weft.arrays.grad import no_grad
from weft.base.errors import ArgumentError
from weft.inspect import draw
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ir.shape import Dim
from weft.ops.elementwise import exp

standardize = operation(standardize_for_tests)
NAMESPACE = "{http://www.w3.org/2000/svg}"


def training_step():
    w = tensor(np.ones((4, 3), np.float32), requires_grad=True)

    @compile
    def step(x, y):
        d = standardize(x @ w * 0.5, axis=1) - y
        loss = (d * d).sum()
        loss.backward()
        with no_grad():
            w._cell.rebind((w - w.grad)._node)
        w._cell.grad = None
        return loss

    return step.trace(spec((Dim("batch"), 4)), spec((Dim("batch"), 3)))


def test_what_is_drawn():
    drawing = draw(training_step())
    heads = [b.lines[0] for b in drawing.boxes]
    kinds = {b.lines[0]: b.kind for b in drawing.boxes}
    assert drawing.title == "step"
    assert heads[:3] == ["x", "y", "state0"]
    assert heads[-2:] == ["result", "new state0"]
    assert (kinds["x"], kinds["state0"], kinds["result"]) == ("argument", "state", "output")
    assert kinds["standardize_for_tests"] == "composite"
    assert kinds["dot_general"] == "contraction"
    assert kinds["sum"] == "reduction"
    assert "mul(·, 0.5)" in heads  # a number is written where it is used
    assert not any("pick" in h for h in heads)
    assert any("f32[batch,3]" in line for b in drawing.boxes for line in b.lines)
    assert any("test_draw.py" in b.tooltip for b in drawing.boxes)  # the user's line


def test_dot_text():
    dot = draw(training_step()).dot
    assert dot.startswith('digraph "step" {') and dot.endswith("}\n")
    boxes = set(re.findall(r"^  (n\d+) \[", dot, re.M))
    edges = re.findall(r"^  (n\d+) -> (n\d+)", dot, re.M)
    assert edges and {n for e in edges for n in e} <= boxes
    assert all(int(a[1:]) < int(b[1:]) for a, b in edges)


def test_svg_is_well_formed_and_complete():
    drawing = draw(training_step())
    root = ElementTree.fromstring(drawing.svg)
    assert root.tag == f"{NAMESPACE}svg"
    texts = [t.text for t in root.iter(f"{NAMESPACE}text")]
    for box in drawing.boxes:
        for line in box.lines:
            assert line in texts
    assert len(list(root.iter(f"{NAMESPACE}rect"))) == len(drawing.boxes) + 1  # and the paper
    assert drawing._repr_svg_() == drawing.svg


def test_names_are_escaped():
    @compile
    def odd(x):
        return x + 1

    odd.__name__ = 'a < b & "c"\\'
    odd(tensor([1.0]))
    drawing = draw(odd)
    ElementTree.fromstring(drawing.svg)
    assert 'digraph "a < b & \\"c\\"\\\\" {' in drawing.dot


@pytest.mark.parametrize("name", ["g.svg", "g.dot", "g.gv", "G.SVG"])
def test_saving(tmp_path, name):
    drawing = draw(training_step(), tmp_path / name)
    text = (tmp_path / name).read_text()
    assert text == (drawing.svg if name.lower().endswith("svg") else drawing.dot)


def test_saving_as_something_else(tmp_path):
    with pytest.raises(ArgumentError, match=r"saved as \.svg, \.dot or \.gv"):
        draw(training_step(), tmp_path / "g.png")


def test_everything_that_has_a_graph(tmp_path):
    graph = trace_graph(lambda x: exp(x) * x, [Aval((2,), float32)])
    assert [b.lines[0] for b in draw(graph).boxes] == ["input0", "exp", "mul", "result"]
    pending = tensor([1.0, 2.0]) * 2
    assert [b.lines[0] for b in draw(pending).boxes] == ["value0", "mul(·, 2)", "result"]
    assert pending._node.value is None  # looking at the graph computes nothing
    computed = tensor([1.0])
    assert [b.lines[0] for b in draw(computed).boxes] == ["value0", "result"]
    weft.formats.save(training_step(), tmp_path / "p.weft")
    loaded = weft.formats.load(tmp_path / "p.weft")
    assert [b.kind for b in draw(loaded).boxes] == [b.kind for b in draw(training_step()).boxes]


def test_what_has_no_graph():
    with pytest.raises(ArgumentError, match="a value of type int has no graph"):
        draw(3)
    with pytest.raises(ArgumentError, match="has not been called or traced yet"):
        draw(compile(lambda x: x))


def test_hundreds_of_operations_are_drawn():
    def long(x):
        for i in range(150):
            x = exp(x) + (x if i % 10 else 1.0)
        return x

    drawing = draw(trace_graph(long, [Aval((2,), float32)]))
    assert len(drawing.boxes) == 302
    ElementTree.fromstring(drawing.svg)
