"""The order of steps: right, the same set, and sparing with memory."""

from __future__ import annotations

import random

import pytest

import weft as wf
from random_graphs import SHAPES, Program, exact, traced
from weft import nn, optim
from weft.backends.cpu.regions import numbered, plan, prepare, supported
from weft.ir.dtype import float32
from weft.kernel.memory import plan_arena
from weft.kernel.ordering import in_order
from weft.kernel.schedule import schedule


def prepared(seed):
    r = random.Random(seed)
    steps = [
        (r.choice(sorted(exact)), r.randint(0, 3), r.randint(0, 30), r.randint(0, 40)) for _ in range(40)
    ]
    shapes = [r.choice(SHAPES) for _ in range(3)]
    return prepare(numbered(traced(Program(tuple(steps), tuple(shapes), True, seed, float32), exact)[0]))


@pytest.mark.parametrize("seed", range(40))
def test_every_step_comes_once_and_after_what_it_reads(seed):
    graph = prepared(seed)
    before = schedule(graph, supported)
    after = in_order(before, {*graph.inputs, *graph.outputs})
    assert len(after) == len(before) and set(after) == set(before)
    made = {n for s in before for n in s.writes}
    seen = set()
    for step in after:
        assert seen.issuperset(made.intersection(step.reads))
        seen.update(step.writes)


def training_step(depth):
    """The graph of a step of a plain network with `depth` hidden layers, whose activations are what takes memory."""
    wf.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(8, 8), nn.Tanh())]
    model = nn.Sequential(*layers, nn.Linear(8, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @wf.compile
    def step(x):
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    x = wf.ones((4096, 8))
    step(x).item()
    return prepare(numbered(step.graph))


def test_gradients_are_forgotten_when_they_have_been_used():
    """A step needs the activations of all layers and the gradients of two: not the gradients of all layers."""
    depth, activation = 12, 4096 * 8 * 4
    graph = training_step(depth)
    old = plan_arena(graph, schedule(graph, supported)).size
    new = plan(graph).arena.size
    assert new <= (depth + 4) * activation < old


def test_what_only_waits_comes_late():
    """Copies that several products at the end read are made there, not while the memory is needed for others."""

    @wf.compile
    def chain(x, *weights):
        for w in weights:
            x = wf.tanh(x @ (w * 2 + 1).T)
        return x

    args = [wf.ones((64, 256)), *[wf.ones((256, 256)) for _ in range(6)]]
    chain(*args).numpy()
    region = plan(prepare(numbered(chain.graph)))
    assert region.arena.size <= 2 * 4 * 64 * 256 + 4 * 256 * 256 + 4096  # two activations, one matrix
