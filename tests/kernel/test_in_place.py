"""State written where it lies: what may be, what must not be, and that nobody can tell."""

from __future__ import annotations

import random

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.backends.cpu.regions import numbered, own_results, plan, prepare
from weft.kernel.in_place import updates


@pytest.fixture(autouse=True)
def compiled_backend():
    with wf.config(backend="cpu"):
        yield


def states(rows=37, columns=48):
    r = np.random.default_rng(0)
    return [wf.tensor(r.normal(size=(rows, columns)).astype(np.float32)).realize() for _ in range(3)]


#: what a step does to its state (a, b, c), and which of them can be written over
CASES = {
    "product": (lambda a, b, c: (a * 0.5, b, c), "a"),
    "momentum": (lambda a, b, c: (a - 0.1 * (0.9 * b + c), 0.9 * b + c, c), "ab"),
    "adam": (
        lambda a, b, c: (a - b / (wf.sqrt(c * c) + 1), 0.9 * b + 0.1 * a, 0.9 * c + 0.1 * a * a),
        "abc",
    ),
    "the sum of all": (lambda a, b, c: (a - a.sum() * 1e-3, b, c), "a"),
    "the sum of a row": (lambda a, b, c: (a + 0.1 * a.mean(1, keepdims=True), b, c), ""),
    "another's row": (lambda a, b, c: (a * 0.5 + b[:1], b * 0.5, c), "a"),
    "reversed": (lambda a, b, c: (wf.flip(a, axis=(1,)) * 0.5, b, c), ""),
    "both ways": (lambda a, b, c: (a + 0.25 * wf.flip(a, axis=(0,)), b, c), ""),
    "shifted": (lambda a, b, c: (wf.roll(a, 1, axis=1), b, c), ""),
    "in pieces": (lambda a, b, c: (wf.concat([a[:, :5] * 0.5, a[:, 5:] + c[:, 5:]], axis=1), b, c), "a"),
    "pieces exchanged": (lambda a, b, c: (wf.concat([a[:, 24:], a[:, :24] * 2], axis=1), b, c), ""),
    "edges": (lambda a, b, c: (wf.concat([a[:, 1:2], a[:, 1:-1], a[:, -2:-1]], axis=1), b, c), ""),
    "softmax": (lambda a, b, c: (wf.nn.functional.softmax(a, -1), b, c), ""),
    "running sums": (lambda a, b, c: (0.5 * wf.cumulative_sum(a, axis=1), b, c), ""),
    "exchanged": (lambda a, b, c: (-b, -a, c), "b"),
    "in a ring": (lambda a, b, c: (b * 0.5, c * 0.5, a * 0.5), "bc"),
    "used afterwards": (lambda a, b, c: (a * 0.5, b + 0.1 * (0.5 * a).sum(0), c), "b"),
}


def stepping(update):
    """(a compiled step of an update, the state that it changes)."""
    state = states()

    @wf.compile
    def step(x):
        result = x + state[0].sum()
        for cell, new in zip(state, update(*state), strict=True):
            if new is not cell:
                cell[...] = new
        return result

    return step, state


@pytest.mark.parametrize("name", CASES)
def test_what_may_be_written_over(name):
    update, want = CASES[name]
    step, state = stepping(update)
    step(wf.ones(1))
    capture = step.programs[-1].capture
    cells, rebound = capture.cells(), capture.rebound_cells()
    graph = own_results(prepare(numbered(step.graph)))
    first = len(graph.inputs) - len(cells)
    replaced = {graph.outputs[1 + k]: graph.inputs[first + cells.index(c)] for k, c in enumerate(rebound)}
    found = updates(plan(graph).steps, replaced)
    names = {s._cell: n for s, n in zip(state, "abc", strict=True)}
    got = "".join(names[c] for k, c in enumerate(rebound) if graph.outputs[1 + k] in found.results)
    assert got == want


@pytest.mark.parametrize("together", [True, False], ids=["of an update's kernel", "of another kernel"])
def test_what_is_not_read_may_be_written_over_by_an_update(together):
    state = states()

    @wf.compile
    def step():
        gradient = state[0] * state[2] if together else state[0] @ wf.ones((48, 48))
        state[1][...] = gradient  # it is not read before
        state[0][...] = state[0] - 0.1 * gradient

    step()
    rebound = step.programs[-1].capture.rebound_cells()
    graph = own_results(prepare(numbered(step.graph)))
    gradient, new = (graph.outputs[rebound.index(state[k]._cell)] for k in (1, 0))
    cells = step.programs[-1].capture.cells()
    found = updates(plan(graph).steps, {gradient: None, new: graph.inputs[cells.index(state[0]._cell)]})
    assert found.results == ({gradient, new} if together else {new})


@pytest.mark.parametrize("name", CASES)
def test_calls_that_follow_one_another_do_the_same_as_the_loop_as_written(name):
    update = CASES[name][0]
    step, state = stepping(update)
    other = states()
    x = wf.ones(1).realize()
    for _ in range(9):
        got = step(x)
        np.testing.assert_array_equal(got.numpy(), (x + other[0].sum()).numpy())
        for cell, new in zip(other, [u.realize() for u in update(*other)], strict=True):
            if new is not cell:
                cell[...] = new.clone()
    assert step.programs[-1].life.ready.used >= 5
    for a, b in zip(state, other, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def random_update(seed):
    """A random way to make new states of old ones."""
    r = random.Random(seed)
    plans = [(r.randrange(8), r.randrange(6), r.randrange(6), r.random()) for _ in range(8)]
    ends = [r.randrange(11) for _ in range(3)]

    def update(a, b, c):
        values = [a, b, c]
        for kind, i, j, factor in plans:
            x, y = values[i % len(values)], values[j % len(values)]
            values.append(
                [
                    lambda x=x, y=y, f=factor: x * f + y * (1 - f),
                    lambda x=x, y=y: wf.tanh(x - y),
                    lambda x=x, f=factor: x * f,
                    lambda x=x: wf.flip(x, axis=(1,)),
                    lambda x=x: wf.roll(x, 3, axis=0),
                    lambda x=x, y=y: wf.maximum(x, 0.5 * y),
                    lambda x=x, y=y: x + y.mean(1, keepdims=True),
                    lambda x=x, y=y: wf.where(x > 0, x, y),
                ][kind]()
            )
        return [values[e] for e in ends]

    return update


@pytest.mark.parametrize("seed", range(30))
def test_random_updates(seed):
    update = random_update(seed)
    step, state = stepping(lambda a, b, c: [v * 1.0 for v in update(a, b, c)])
    other = states()
    x = wf.ones(1).realize()
    for _ in range(7):
        step(x)
        for cell, new in zip(other, [(u * 1.0).realize() for u in update(*other)], strict=True):
            cell[...] = new
    for a, b in zip(state, other, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam, optim.RMSprop, optim.Lion])
def test_a_step_of_an_optimiser_is_written_over_the_state(optimizer):
    model = nn.Sequential(nn.Linear(40, 30), nn.Tanh(), nn.Linear(30, 20))
    opt = optimizer(model.parameters(), lr=0.01)

    @wf.compile
    def step(x):
        opt.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        opt.step()
        return loss

    x = wf.ones((8, 40)).realize()
    for _ in range(5):
        step(x)

    def places():
        tensors = [t for p in model.parameters() for t in (p, p.grad)]
        return [t._node.value.address for t in tensors]

    before = places()
    for _ in range(4):
        step(x)
        assert places() == before


def test_a_step_that_fails_leaves_the_state_as_it_was():
    table, head = nn.Embedding(10, 8), nn.Linear(8, 4)
    opt = optim.Adam([*table.parameters(), *head.parameters()], lr=0.1)

    @wf.compile
    def step(tokens):
        opt.zero_grad()
        loss = head(table(tokens)).square().mean()
        loss.backward()
        opt.step()
        return loss

    good, bad = wf.asarray([1, 2, 3]).realize(), wf.asarray([1, 99, 3]).realize()
    for _ in range(6):
        step(good)
    assert step.programs[-1].life.ready.used >= 2
    tensors = [*table.parameters(), *head.parameters()]
    before = [t.numpy().copy() for t in tensors] + [t.grad.numpy().copy() for t in tensors]
    with pytest.raises(wf.errors.IndexingError):
        step(bad)
    after = [t.numpy() for t in tensors] + [t.grad.numpy() for t in tensors]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(step(good).item())
