"""Backward passes that are made from a list: the same gradients, errors and hooks as when they are worked out."""

import inspect

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.autodiff import replay
from weft.base.errors import GradientError, IndexingError, NumericError
from weft.ir.graph import extract, verify
from weft.runtime.executor import Pending


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(replay, "_known", {})


def leaf(*values):
    return wf.tensor(list(values), requires_grad=True)


FUNCTIONS = {
    "square": lambda w, v, x: (w * w).sum(),
    "product": lambda w, v, x: (w * v).sum(),
    "twice": lambda w, v, x: (w * v + w * x).sum(),
    "crossed": lambda w, v, x: (v * w + v * x).sum(),
    "data": lambda w, v, x: (w * x).sum(),
    "same data": lambda w, v, x: ((w * x) * x).sum(),
    "numbers": lambda w, v, x: ((w * 2.5 - 1.0) ** 2 / 3.0).mean(),
    "parts": lambda w, v, x: sum(p.sum() * k for k, p in enumerate(wf.split(w * v, 3), 1)),
    "softmax": lambda w, v, x: (nn.functional.softmax(w, 0) * v).sum(),
    "loss": lambda w, v, x: nn.functional.cross_entropy((w * v)[None], wf.tensor([2])),
    "largest": lambda w, v, x: wf.max(w * v) * wf.cumulative_sum(x * w).sum(),
    "leaf itself": lambda w, v, x: w[0] + v.sum(),
    "constant": lambda w, v, x: (w.detach() * v).sum(),
    "positions": lambda w, v, x: (wf.sort(w * x) * wf.arange(3.0)).sum(),
}


@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_those_of_the_first_pass(name, looked):
    numbers = np.random.default_rng(0)
    for turn in range(3):
        values = numbers.normal(size=(3, 3)).astype(np.float32)
        found = []
        for fresh in (False, True):
            if fresh:
                replay._known.clear()
            w, v = (wf.tensor(values[i], requires_grad=True) for i in range(2))
            loss = FUNCTIONS[name](w, v, wf.tensor(values[2]))
            if looked:
                loss.item()
            loss.backward()
            found.append([None if t.grad is None else t.grad.tolist() for t in (w, v)])
        assert found[0] == found[1]
        assert len(replay._known) == 1 or turn == 0


def test_structures_are_told_apart():
    x = wf.tensor([1.0, 2.0])
    for _ in range(2):
        for f, want in (
            (lambda a, b: (a * b).sum(), ([3.0, 4.0], [1.0, 2.0])),
            (lambda a, b: (b * a).sum(), ([3.0, 4.0], [1.0, 2.0])),
            (lambda a, b: (a * a * x).sum(), ([2.0, 8.0], None)),
            (lambda a, b: (a * x).sum() + b[0], ([1.0, 2.0], [1.0, 0.0])),
        ):
            a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
            f(a, b).backward()
            assert tuple(None if t.grad is None else t.grad.tolist() for t in (a, b)) == want


def test_gradients_add_up_and_what_was_released_says_so():
    w = leaf(1.0, 2.0)
    for turn in range(1, 4):
        loss = (w * w).sum()
        loss.backward()
        assert w.grad.tolist() == [2.0 * turn, 4.0 * turn]
        with pytest.raises(GradientError, match="released"):
            loss.backward()
    y = w * 3.0
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    with pytest.raises(GradientError, match="released"):
        (y * w).sum().backward()


def test_hooks_are_called_every_time():
    layer, seen = nn.Linear(2, 1), []
    for turn in range(4):
        if turn == 2:
            layer.register_full_backward_hook(lambda *given: seen.append(given))
        layer(wf.ones((3, 2)) * 1.0).sum().backward()
    assert len(seen) == 2


def test_an_error_in_the_backward_pass_names_the_line():
    line = inspect.currentframe().f_lineno + 3
    for _ in range(3):
        w = leaf(1.0, 2.0, 3.0)
        wrong = wf.take(w, wf.tensor([7]))
        wrong.sum().backward()
        del wrong
        with pytest.raises(IndexingError, match=f"test_replay.py:{line}"):
            w.grad.numpy()


def test_nans_of_the_backward_pass_are_found_at_the_line():
    line = inspect.currentframe().f_lineno + 5
    for _ in range(3):
        w = leaf(0.0, 1.0)
        x = w * 1.0
        with wf.config(debug_nan=True):
            y = wf.sqrt(x)
            loss = y.sum()
            loss.backward()
            with pytest.raises(NumericError, match=f"test_replay.py:{line}"):
                w.grad.numpy()


def test_one_node_stands_for_the_pass_and_programs_never_see_it():
    programs = []
    for _ in range(3):
        w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
        (w * v).sum().backward()
        nodes = [t.grad._node for t in (w, v)]
        parents = {n.args[0] for n in nodes}
        assert len(parents) == 1 and parents.pop().prim.name == "script"
        graph = extract(nodes, [w._node, v._node])
        verify(graph)
        assert "script" not in {n.prim.name for n in graph.nodes}
        programs.append(graph)
        assert w.grad.tolist() == [3.0, 4.0] and v.grad.tolist() == [1.0, 2.0]
    assert programs[0] == programs[1] == programs[2]


def test_what_is_known_is_not_computed_again():
    w = leaf(1.0, 2.0)
    for looked in (False, True, False, True):
        w.grad = None
        loss = nn.functional.cross_entropy((w * 2.0)[None], wf.tensor([1]))
        if looked:
            loss.item()
        loss.backward()
        pending = Pending([w.grad._node])
        forward = [n for n in pending.nodes if n.attrs.get("name") == "cross_entropy"]
        assert len(forward) == (0 if looked else 1)
        np.testing.assert_allclose(w.grad.numpy(), [0.2384058, -0.2384058], rtol=1e-5)


def test_second_derivatives_are_worked_out_anew():
    for _ in range(2):
        w = leaf(2.0)
        (w**3).sum().backward(create_graph=True)
        (first,) = (w.grad,)
        w.grad = None
        first.sum().backward()
        assert w.grad.tolist() == [12.0]


# -- the functional transformations -----------------------------------------------------------------------------------


def cubed(v):
    return (v * v * v).sum()


def slope(v):
    return wf.grad(cubed)(v)


def by_hand():
    """A function whose backward pass takes a gradient itself."""
    f = wf.custom_vjp(lambda a: cubed(a) * 2)
    f.defvjp(lambda a: (cubed(a) * 2, (a, slope(a))), lambda kept, ct: ((slope(kept[0]) + kept[1]) * ct,))
    return f


def through_leaf(f):
    w = leaf(1.0, 2.0, 3.0)
    f(w).backward()
    return w.grad


def of_an_earlier_gradient(x):
    a = slope(x)
    return wf.grad(lambda v: (v * a * v).sum())(x) + wf.grad(lambda v: (v * v * a).sum())(a)


PLACES = {
    "plain": slope,
    "nested": lambda x: wf.grad(lambda v: (slope(v) * v).sum())(x),
    "hessian": wf.hessian(cubed),
    "forward over reverse": lambda x: wf.jvp(slope, (x,), (x,))[1],
    "vjp": lambda x: wf.vjp(slope, x)[1](x)[0],
    "vmap": lambda x: wf.grad(lambda v: wf.vmap(slope)(wf.stack([v, v + 1])).sum())(x),
    "compile": lambda x: wf.compile(slope)(x),
    "scan": lambda x: wf.grad(lambda v: wf.scan(lambda c, s: (c - slope(c) * s, s), v, x * 0.01)[0].sum())(x),
    "cond": lambda x: wf.cond(x[0] > 0, slope, lambda v: v, x),
    "while": lambda x: wf.while_loop(lambda v: v.sum() > 1, lambda v: v - 0.01 * slope(v), x),
    "checkpoint": lambda x: wf.grad(lambda v: wf.checkpoint(lambda u: (slope(u) * u).sum())(v))(x),
    "custom": lambda x: wf.grad(by_hand())(x),
    "custom twice": lambda x: wf.grad(lambda v: (wf.grad(by_hand())(v) * v).sum())(x),
    "of a leaf": lambda x: through_leaf(lambda w: (slope(w) * w).sum()),
    "around a leaf": lambda x: through_leaf(lambda w: wf.grad(lambda v: (v * v * w).sum())(x).sum()),
    "without recording": lambda x: wf.no_grad(slope)(x),
    "several arguments": lambda x: wf.stack(wf.grad(lambda a, b: cubed(a * b) + cubed(b), (0, 1))(x, x)),
    "an argument that is not used": lambda x: wf.stack(wf.grad(lambda a, b: cubed(b), (1, 0))(x, x)),
    "the argument itself": lambda x: wf.grad(lambda v: v)(x[1]),
    "a constant": lambda x: wf.grad(lambda v: cubed(x))(x),
    "after a look": lambda x: wf.grad(lambda v: (v * float((v * v).sum())).sum())(x),
    "composites": lambda x: wf.grad(lambda v: (nn.functional.softmax(v, 0) * nn.functional.gelu(v)).sum())(x),
    "an earlier gradient": of_an_earlier_gradient,
}


@pytest.mark.parametrize("name", PLACES)
def test_grad_is_the_same_wherever_it_is_taken(name, monkeypatch):
    x = wf.tensor([1.0, 2.0, 3.0])
    with monkeypatch.context() as patch:
        patch.setattr("weft.arrays.grad.path_of", lambda *_: None)
        want = PLACES[name](x).tolist()
    for _ in range(3):
        assert PLACES[name](x).tolist() == want


def test_grad_is_worked_out_once():
    for turn in range(3):
        value, gradient = wf.value_and_grad(cubed)(wf.tensor([1.0, 2.0]) + turn)
        (parent,) = gradient._node.args
        assert parent.prim.name == "script" and len(replay._known) == 1
        assert gradient.tolist() == [3.0 * (k + turn) ** 2 for k in (1, 2)]
        assert value.item() == sum((k + turn) ** 3 for k in (1, 2))


def test_an_error_in_a_gradient_names_the_line():
    line = inspect.currentframe().f_lineno + 3

    def f(v):
        return wf.take(v, wf.tensor([7])).sum()

    for _ in range(3):
        with pytest.raises(IndexingError, match=f"test_replay.py:{line}"):
            wf.grad(f)(wf.tensor([1.0, 2.0])).numpy()
