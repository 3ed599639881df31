"""Parts of a graph that are alike have one kernel, and it is the one that each of them would have."""

from __future__ import annotations

import random

import pytest

import weft as wf
from random_graphs import Program, exact, traced
from weft import nn, optim
from weft.backends.cpu.regions import numbered, plan, prepare, supported
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel import plan as planning
from weft.kernel.schedule import schedule
from weft.kernel.structure import structure
from weft.ops.contraction import dot_general
from weft.ops.elementwise import exp, maximum, tanh
from weft.ops.movement import permute

MATRIX = Aval((16, 16), float32)


def product(x, y, turned=False):
    return dot_general(x, permute(y, axes=(1, 0)) if turned else y, contract=((1,), (0,)), batch=((), ()))


def kinds(function, *avals):
    return [id(s.kernel) for s in schedule(trace_graph(function, avals), supported)]


def test_equal_layers_have_one_kernel_and_names_of_their_own():
    def layers(x, v, w):
        return maximum(product(maximum(product(x, v), 0.0), w), 0.0)

    first, second = schedule(trace_graph(layers, [MATRIX] * 3), supported)
    assert first.kernel is second.kernel
    assert first.name != second.name and first.reads != second.reads


@pytest.mark.parametrize(
    "other",
    [
        lambda x, w: maximum(product(x, w), 1.0),
        lambda x, w: maximum(product(x, w), -0.0),
        lambda x, w: maximum(product(x, w, True), 0.0),
        lambda x, w: tanh(product(x, w)),
        lambda x, w: maximum(product(x, w), w),
        lambda x, w: maximum(product(x, w), x),
        lambda x, w: maximum(product(x, x), 0.0),
    ],
)
def test_what_differs_has_another_kernel(other):
    def both(x, v, w):
        return maximum(product(x, v), 0.0), other(x, w)

    found = kinds(both, MATRIX, MATRIX, MATRIX)
    assert len(found) == len(set(found)) == 2


def test_shapes_and_which_operand_is_shared_tell_kernels_apart():
    def sums(x, y, row):
        return exp(x) + y * y, exp(x) + row * row, exp(y) + y * y

    found = kinds(
        lambda *a: [permute(e, axes=(1, 0)) for e in sums(*a)], MATRIX, MATRIX, Aval((16,), float32)
    )
    assert len(found) == len(set(found))


def residual():
    block = [nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    block += [nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*block, *block[:3], nn.Flatten(), nn.Linear(32 * 36, 5)), (3, 32, 12, 12)


def transformer():
    layers = [nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True) for _ in range(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 6, 5)), (3, 6, 16)


def recurrent():
    return nn.Sequential(nn.GRU(8, 8, batch_first=True)), (3, 5, 8)


def training(make):
    model, shape = make()
    optimizer = optim.AdamW(model.parameters(), lr=0.1)

    @wf.compile
    def step(x):
        out = model(x)
        loss = (out[0] if isinstance(out, tuple) else out).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step.trace(wf.spec(shape)).graph


def texts(graph):
    steps = plan(prepare(numbered(graph))).all_steps()
    return [structure(s.kernel) for s in steps if s.kernel is not None]


def alike_and_alone(graph, monkeypatch):
    """The kernels of a graph, and what they are if each is made by itself."""
    shared = texts(graph)
    with monkeypatch.context() as m:
        m.setattr(planning.Plan, "kind", lambda self, key, make: make())
        return shared, texts(graph)


@pytest.mark.parametrize("make", [residual, transformer, recurrent])
def test_kernels_of_models_are_what_they_are_alone(make, monkeypatch):
    shared, alone = alike_and_alone(training(make), monkeypatch)
    assert shared == alone and len(set(shared)) < len(shared)


@pytest.mark.parametrize("seed", range(8))
def test_kernels_of_random_graphs_are_what_they_are_alone(seed, monkeypatch):
    r = random.Random(seed)
    steps = [(r.choice(sorted(exact)), *[r.randrange(20) for _ in range(3)]) for _ in range(30)]
    graph, _ = traced(Program(tuple(steps), ((4, 6), (3, 5, 2)), seed % 2 == 0, seed, float32), exact)
    shared, alone = alike_and_alone(graph, monkeypatch)
    assert shared == alone
