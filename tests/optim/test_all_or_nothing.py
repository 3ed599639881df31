"""An optimiser's step happens as a whole or not at all."""

from __future__ import annotations

import pytest

import weft as wf
from weft import optim
from weft.arrays.cell import register
from weft.errors import IndexingError, ShapeError
from weft.optim import optimizer as optimizer_module
from weft.pytree import flatten


def test_a_step_that_cannot_be_computed_changes_nothing():
    table = wf.tensor([[1.0], [2.0]], requires_grad=True)
    optimizer = optim.SGD([table], lr=0.5, momentum=0.9)

    def step(index):
        optimizer.zero_grad()
        wf.take(table, wf.asarray([index]), axis=0).sum().backward()
        optimizer.step()

    step(0)
    slots = optimizer.state_dict()
    with pytest.raises(IndexingError):
        step(7)
    assert table.tolist() == [[0.5], [2.0]]
    same_state(slots, optimizer.state_dict())
    step(1)
    assert table.tolist() == [[pytest.approx(0.05)], [1.5]]


def same_state(before, after):
    for a, b in zip(flatten(before)[0], flatten(after)[0], strict=True):
        assert (a.tolist() if hasattr(a, "tolist") else a) == (b.tolist() if hasattr(b, "tolist") else b)


def test_a_failure_before_the_step_is_as_if_the_program_had_stopped_there():
    w = wf.tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.5)
    (w * 2.0).sum().backward()
    other = wf.take(wf.ones(2), wf.asarray([9]), axis=0)
    with pytest.raises(IndexingError):
        optimizer.step()
    assert w.tolist() == [1.0]
    with pytest.raises(IndexingError):
        other.numpy()
    optimizer.step()
    assert w.tolist() == [0.0]


def test_a_gradient_that_does_not_fit_stops_the_step_before_any_change():
    first, second = wf.tensor([1.0], requires_grad=True), wf.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([first, second], lr=0.5)
    (first.sum() + second.sum()).backward()
    second._cell.grad = wf.ones(3)
    with pytest.raises(ShapeError):
        optimizer.step()
    assert first.tolist() == [1.0] and second.tolist() == [1.0, 2.0]


def test_an_interrupt_while_another_one_is_dealt_with_leaves_no_half_update(monkeypatch):
    params = [wf.tensor([float(i)], requires_grad=True) for i in range(3)]
    optimizer = optim.SGD(params, lr=0.5)
    sum(p.sum() for p in params).backward()
    rung = []

    def interrupted(*args):
        rung.append(args)
        if len(rung) in (1, 3):  # the flush, and the second of three to be put back
            raise KeyboardInterrupt
        return register(*args)

    monkeypatch.setattr(optimizer_module, "flush", interrupted)
    monkeypatch.setattr(optimizer_module, "register", interrupted)
    with pytest.raises(KeyboardInterrupt):
        optimizer.step()
    monkeypatch.undo()
    assert [p.tolist() for p in params] == [[0.0], [1.0], [2.0]]
    optimizer.step()
    assert [p.tolist() for p in params] == [[-0.5], [0.5], [1.5]]
