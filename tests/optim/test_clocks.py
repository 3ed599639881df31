"""Adam's step counts: shared by parameters that are updated together, and never seen to be."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import weft as wf
from weft import optim
from weft.base.errors import IndexingError
from weft.passes.decompose import decompose

SIZES = (3, 2, 4)


def parameters():
    rng = np.random.default_rng(0)
    return [wf.tensor(rng.normal(size=n).astype(np.float32), requires_grad=True) for n in SIZES]


def give(params, which, t):
    for i, p in enumerate(params):
        p.grad = wf.tensor(np.float32(np.sin(np.arange(SIZES[i]) + t))) if i in which else None


#: Which parameters have gradients in which step.
STEPS = [(0, 1, 2), (0, 1, 2), (0, 2), (1,), (0, 1, 2), (2,), (), (0, 1, 2)]


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_as_if_each_parameter_had_an_optimiser_of_its_own(kind, compiled):
    together, alone = parameters(), parameters()
    one = kind(together, lr=0.1, weight_decay=0.1)
    many = [kind([p], lr=0.1, weight_decay=0.1) for p in alone]
    step = wf.compile(one.step) if compiled else one.step
    for t, which in enumerate(STEPS):
        give(together, which, t)
        give(alone, which, t)
        step()
        for optimizer in many:
            optimizer.step()
        for a, b in zip(together, alone, strict=True):
            assert np.array_equal(a.numpy(), b.numpy())
    counts = [one.state[p]["step"].item() for p in together]
    assert counts == [o.state[p]["step"].item() for o, p in zip(many, alone, strict=True)] == [5, 5, 6]


def test_two_steps_in_one_program_with_other_gradients():
    def run(transform):
        params = parameters()
        optimizer = optim.Adam(params, lr=0.1)

        @transform
        def twice(x):
            for p in params:
                p.grad = None
            sum((p * p).sum() * x for p in params).backward()
            optimizer.step()
            params[1].grad = None
            optimizer.step()

        for i in range(4):
            twice(wf.tensor(i + 1.0))
        return [p.tolist() for p in params], [optimizer.state[p]["step"].item() for p in params]

    assert run(wf.compile) == run(lambda f: f)
    assert run(wf.compile)[1] == [8, 4, 8]


def powers(optimizer, params):
    give(params, range(len(params)), 0)
    graph = decompose(wf.compile(optimizer.step).trace().graph)
    return sum(n.prim.name == "pow" for n in graph.nodes)


def test_the_corrections_are_computed_once():
    few, many = parameters()[:1], parameters()
    assert powers(optim.Adam(few), few) == powers(optim.Adam(many), many) == 2


def test_who_asks_for_a_count_gets_one_of_its_own():
    params = parameters()
    optimizer = optim.Adam(params)
    step = wf.compile(optimizer.step)
    give(params, range(3), 0)
    step()
    optimizer.state[params[0]]["step"][...] = 10
    give(params, range(3), 1)
    step()
    assert [optimizer.state[p]["step"].item() for p in params] == [11, 2, 2]


def test_counts_are_saved_and_loaded_as_they_are():
    params = parameters()
    optimizer = optim.Adam(params)
    for t, which in enumerate(STEPS):
        give(params, which, t)
        optimizer.step()
    others = [p.detach().requires_grad_() for p in params]
    second = optim.Adam(others)
    second.load_state_dict(optimizer.state_dict())
    for o, ps in ((optimizer, params), (second, others)):
        give(ps, range(3), 9)
        o.step()
    assert [a.tolist() for a in params] == [b.tolist() for b in others]
    assert [second.state[p]["step"].item() for p in others] == [6, 6, 7]
    for again in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert [s["step"].item() for s in again.state.values()] == [6, 6, 7]


def test_a_step_that_fails_counts_for_nobody():
    params = parameters()
    optimizer = optim.Adam(params)
    give(params, range(3), 0)
    bad = wf.take(params[0], wf.tensor([9])).sum()
    bad.backward()
    with pytest.raises(IndexingError):
        optimizer.step()
    assert all(s["step"].item() == 0 for s in optimizer.state.values())
