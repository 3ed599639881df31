"""Loops and branches on the compiled backend, against the reference: one table of cases."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.backends.cpu.backend import CpuBackend
from weft.base.errors import IndexingError
from weft.base.pytree import flatten
from weft.ir.primitive import registry

X = np.linspace(-1.5, 2.0, 12, dtype=np.float32).reshape(4, 3)
W = np.array([[0.3, -0.2, 0.1], [0.5, 0.4, -0.6], [-0.1, 0.2, 0.7]], np.float32)
Z = (X + 1j * X[::-1]).astype(np.complex64)
N = np.array([3, 1, 0, 2])


def rnn(w, xs, h):
    return wf.scan(lambda h, x: (wf.tanh(h @ w + x), h * 2), h, xs)


def delayed(a, b):
    """Carries that only move: each takes the place of another."""
    return wf.scan(lambda s, x: ((s[1], s[2], s[0] + x), s[0]), (a, b, a * b), wf.tensor(X))


def nested(x):
    def outer(s, row):
        t, inner = wf.scan(lambda a, b: (a * b + s.sum(), a + row), row[0], row)
        return s + t, (inner, t)

    return wf.scan(outer, wf.zeros(3), x)


def nested_reverse(x):
    """The inner loop goes over the outer carry, the other way round, and both have sequences."""

    def outer(s, row):
        t, ys = wf.scan(lambda a, b: (wf.sin(a) + b, a * b), row, wf.stack([s, row, s * row]), reverse=True)
        return s + t, ys

    return wf.scan(outer, wf.ones(3), x, reverse=True)


def collatz(n):
    def step(s):
        n, count = s
        return wf.where(n % 2 == 0, n // 2, 3 * n + 1), count + 1

    return wf.while_loop(lambda s: s[0] > 1, step, (n, wf.zeros((), dtype=wf.int64)))


def newton(x):
    return wf.while_loop(lambda s: wf.abs(s * s - x) > 1e-3, lambda s: (s + x / s) / 2, x)


def loop_in_branch(p, x):
    return wf.cond(
        p,
        lambda x: wf.scan(lambda s, r: (s + r, s), wf.zeros(3), x)[1],
        lambda x: wf.while_loop(lambda s: s.sum() < 50, lambda s: s * s + 2, x),
        x,
    )


def branch_in_loop(x, n):
    def step(s, i):
        s = wf.switch(i, [lambda s: s + 1, lambda s: s * 2, wf.exp, lambda s: s], s)
        return s, wf.cond(s.sum() > 4, lambda s: -s, lambda s: s, s)

    return wf.scan(step, x, n)


def counted(x):
    """A loop around a while loop whose number of steps differs."""

    def step(total, row):
        n, _ = wf.while_loop(
            lambda s: s[1] < 10, lambda s: (s[0] + 1, s[1] * 2 + 1), (wf.tensor(0), wf.abs(row[0]))
        )
        return total + n, n

    return wf.scan(step, wf.tensor(0), x)


def flags(x):
    def step(s, r):
        seen, any_, big = s
        return (seen | (r > 0), wf.logical_xor(any_, seen[0]), big + (r > 1).astype(wf.int8)), seen

    return wf.scan(step, (wf.zeros(3, dtype=wf.bool), wf.tensor(False), wf.zeros(3, dtype=wf.int8)), x)


def complex_carry(z):
    return wf.scan(lambda s, x: (s * x + 1j, wf.abs(s) + wf.real(x)), wf.ones(3, dtype=wf.complex64), z)


def complex_moves(z):
    return wf.scan(lambda s, x: ((s[1], s[0]), s[0]), (z[0], z[1]), z)


def halves(x):
    x = x.astype(wf.bfloat16)
    return wf.scan(lambda s, r: (s * r + s, s), x[0], x)[1].astype(wf.float32)


def same_results(x):
    """Results of a step that are the same value, an argument, or a constant."""
    return wf.scan(lambda s, r: (s + r, (s + r, s + r, r, s, wf.ones(2), 3.0)), x[0], x)


def unchanged(x):
    return wf.scan(lambda s, r: ((s[0], s[1] + s[0]), s[0]), (x[0], x[1]), x)


def zero_length(x):
    return wf.scan(lambda s, r: (s + r, s * r), x[0], x[:0])


def empty_elements(x):
    return wf.scan(lambda s, r: (s + r, s * r), x[0, :0], x[:, :0])


def host_inside(x):
    """A factorisation in the body: the host makes the turns."""
    return wf.scan(lambda s, r: (s + wf.linalg.inv(wf.eye(3) * 2 + s).sum() * r, s), x[0], x)


def lookup(x, n):
    return wf.scan(lambda s, i: (s + x[i], x[i] * s), x[0], n)


def power(x):
    """No sequence, a carry whose double the loop needs: longer than a few steps."""
    return wf.scan(lambda s, _: (s * 1.01 + x, None), x, length=57)[0]


def sorted_steps(x):
    return wf.scan(lambda s, r: (wf.sort(s + r), wf.argsort(r)), x[0], x)


def softmax_steps(x, w):
    return wf.scan(
        lambda s, r: (nn.functional.softmax(s @ w + r, dim=-1), wf.sum(s, axis=0)), x, wf.stack([x, -x, x])
    )


def checkpointed(w, xs):
    return wf.checkpoint(lambda w: rnn(w, xs, wf.zeros(3))[0].sum())(w)


def loss(w, xs):
    h, ys = rnn(w, xs, wf.zeros(3))
    return (h * h).sum() + (ys * xs).sum()


def nested_loss(x):
    s, (inner, t) = nested(x)
    return (s * s).sum() + (inner * inner).sum() + t.sum()


def branch_loss(x):
    s, ys = branch_in_loop(x, wf.tensor(N))
    return (s * ys).sum()


CASES = {
    "rnn": (rnn, W, X, X[0]),
    "rnn of matrices": (rnn, W, np.stack([X, X * 2, -X]), X),
    "delayed": (delayed, X[0], X[1]),
    "nested": (nested, X),
    "nested, reverse": (nested_reverse, X),
    "while, integers": (collatz, np.array(27)),
    "while, floats": (newton, np.float32(7.0)),
    "while, no step": (newton, np.float32(1.0)),
    "loop in branch": (loop_in_branch, np.array(True), X),
    "other loop in branch": (loop_in_branch, np.array(False), X),
    "branch in loop": (branch_in_loop, X[0], N),
    "while in scan": (counted, X),
    "booleans": (flags, X),
    "complex": (complex_carry, Z),
    "complex that move": (complex_moves, Z),
    "halves": (halves, X),
    "same results": (same_results, X),
    "unchanged": (unchanged, X),
    "zero length": (zero_length, X),
    "no elements": (empty_elements, X),
    "host inside": (host_inside, X),
    "lookup": (lookup, X, N),
    "power": (power, X),
    "sorted": (sorted_steps, X),
    "softmax": (softmax_steps, X[:3] * 2, W),
    "switch below": (lambda i: wf.switch(i, [lambda: 1.0, lambda: 2.0, lambda: 3.0]), np.array(-4)),
    "switch past": (lambda i: wf.switch(i, [lambda: 1.0, lambda: 2.0, lambda: 3.0]), np.array(9, np.uint8)),
    "gradient": (wf.grad(loss), W, X),
    "gradient of the sequence": (wf.grad(loss, 1), W, X),
    "gradient of a gradient": (wf.grad(lambda w, x: (wf.grad(loss)(w, x) ** 2).sum()), W, X),
    "forward over reverse": (lambda w, x: wf.jvp(lambda w: wf.grad(loss)(w, x), (w,), (w * 2,)), W, X),
    "gradient through nested loops": (wf.grad(nested_loss), X),
    "gradient through branches": (wf.grad(branch_loss), X[0]),
    "gradient, checkpointed": (wf.grad(checkpointed), W, X),
    "vmap of a loop": (wf.vmap(lambda x: wf.scan(lambda s, r: (s + r, s * r), x[0], x)), X),
    "vmap of the constant": (wf.vmap(lambda k: wf.scan(lambda s, r: (s * k + r, s), wf.zeros(3), wf.tensor(X))), X[0]),
    "vmap of while": (wf.vmap(collatz), np.array([6, 1, 27, 2])),
    "vmap of branches": (wf.vmap(lambda i, x: wf.switch(i, [wf.sin, wf.exp, wf.abs, wf.square], x)), N, X),
    "vmap of a gradient": (wf.vmap(wf.grad(loss), in_axes=(None, 0)), W, np.stack([X, X + 1])),
    "gradient of vmap": (wf.grad(lambda x: wf.vmap(nested_loss)(x).sum()), np.stack([X, X * 0.5])),
}  # fmt: skip


def computed(backend, function, arrays):
    with wf.config(backend=backend):
        out = function(*[wf.tensor(a) for a in arrays])
        return [np.asarray(t.numpy()) if isinstance(t, wf.Tensor) else np.asarray(t) for t in flatten(out)[0]]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.replace(" ", "-"))
def test_equals_the_reference(case):
    function, *arrays = CASES[case]
    want, got = computed("reference", function, arrays), computed("cpu", function, arrays)
    assert len(want) == len(got)
    for w, g in zip(want, got, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype
        if w.dtype.kind in "fc":
            scale = np.abs(w).max(initial=1.0)
            np.testing.assert_allclose(g, w, rtol=2e-5, atol=2e-6 * scale)
        else:
            np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("threads", [1, 3])
def test_bits_do_not_depend_on_threads(threads):
    x = np.random.default_rng(0).standard_normal((5, 64, 96)).astype(np.float32)
    w = np.random.default_rng(1).standard_normal((96, 96)).astype(np.float32) / 10

    def run():
        with wf.config(backend="cpu"):
            grads = wf.grad(loss_of_rows, (0, 1))(wf.tensor(w), wf.tensor(x))
            return [g.numpy() for g in grads]

    def loss_of_rows(w, xs):
        h, ys = wf.scan(lambda h, x: (wf.tanh(h @ w + x), h), wf.zeros((64, 96)), xs)
        return (h * h).sum() + ys.sum()

    before = wf.get_num_threads()
    want = run()
    try:
        wf.set_num_threads(threads)
        got = run()
    finally:
        wf.set_num_threads(before)
    for w_, g in zip(want, got, strict=True):
        np.testing.assert_array_equal(g, w_)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("size", [48, 128])
def test_a_loop_has_the_bits_of_its_steps_one_by_one(size, rows, turned):
    """Weights packed before the loop, steps in native code: nothing of it shows."""
    rng = np.random.default_rng(size + rows)
    w = rng.standard_normal((size, size)).astype(np.float32) / 8
    x = rng.standard_normal((6, rows, size)).astype(np.float32)

    def step(h, x):
        return wf.tanh(h @ (weight.T if turned else weight) + x)

    with wf.config(backend="cpu"):
        weight, xs = wf.tensor(w), wf.tensor(x)
        loop, _ = wf.scan(lambda h, x: (step(h, x), None), wf.zeros((rows, size)), xs)
        h = wf.zeros((rows, size))
        for i in range(len(x)):
            h = step(h, wf.tensor(x[i]))
            h.numpy()
    np.testing.assert_array_equal(loop.numpy(), h.numpy())


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_draws_in_loops_and_branches(backend):
    """The same numbers wherever they are drawn, others in every step."""

    def draw():
        wf.manual_seed(5)
        _, a = wf.scan(lambda s, x: (s, wf.random.normal((3,)) + x), 0.0, wf.zeros(4))
        b = wf.cond(wf.tensor(True), lambda: wf.random.uniform((2,)), lambda: wf.zeros(2))
        return [a.numpy(), b.numpy(), wf.random.uniform((2,)).numpy()]

    with wf.config(backend=backend):
        got = draw()
    with wf.config(backend="reference"):
        want = draw()
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-7)
    assert len(np.unique(got[0])) == got[0].size


def test_an_index_outside_in_a_loop_is_an_error():
    x = wf.tensor(X)
    with wf.config(backend="cpu"):
        _, ys = wf.scan(lambda s, i: (s, x[i]), 0.0, wf.tensor([0, 1, 9]))
        with pytest.raises(IndexingError, match="out of bounds"):
            ys.numpy()


def _program(function, *arrays):
    """The compiled program of a function of tensors: the last that was made."""
    made = []
    compile_ = CpuBackend.compile

    def watch(self, graph, *options):
        made.append(compile_(self, graph, *options))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch, wf.config(backend="cpu"):
        patch.setattr(CpuBackend, "compile", watch)
        for t in flatten(function(*[wf.tensor(a) for a in arrays]))[0]:
            t.numpy()
    return made


def test_a_loop_is_one_call():
    """Everything is one native segment, and no sub-graph is compiled on its own."""
    w = np.full((3, 3), 0.25, np.float32)
    made = _program(lambda x: nested_reverse(x @ wf.tensor(w)), X)
    assert [len(p._code_of.segments) for p in made] == [1]


def test_results_that_nobody_wants_are_not_computed():
    made = _program(lambda x: wf.scan(lambda s, r: (s + r, (wf.exp(s), wf.sin(s))), x[0], x)[1][1], X + 0.125)
    names = {n.prim.name for p in made for s in p.steps for n in _within(s)}
    assert "sin" in names and "exp" not in names


def test_what_a_loop_computes_from_constants_is_computed_before_it():
    """Once, whatever the number of steps; but nothing large out of something small."""

    def once(x, w):
        return wf.scan(lambda s, r: (s + r * wf.exp(w), None), x[0], x)[0]

    (program,) = _program(once, X, W[0])
    inside = {n.prim.name for c in program.region.inner.values() for r in c.regions for n in r.graph.nodes}
    assert "exp" not in inside and "exp" in {n.prim.name for n in program.graph.nodes}

    def large(x, w):
        return wf.scan(lambda s, r: (s + wf.sum(wf.exp(w[:, None] * w)) * r, None), x[0, :3], x[:, :3])[0]

    got, want = (
        computed(b, large, (X, np.linspace(0, 1, 200, dtype=np.float32))) for b in ("cpu", "reference")
    )
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)


def test_training_with_and_without_checkpoints_has_the_same_bits():
    def train(checkpointed):
        wf.manual_seed(0)
        model = nn.Sequential(nn.Linear(40, 96), nn.GELU(), nn.LayerNorm(96), nn.Linear(96, 40))
        reader = nn.LSTM(40, 24, batch_first=True)
        opt = wf.optim.Adam([*model.parameters(), *reader.parameters()], lr=1e-2)
        x = wf.tensor(np.random.default_rng(0).normal(size=(6, 9, 40)).astype(np.float32))

        @wf.compile
        def step():
            opt.zero_grad()
            h = wf.checkpoint(model)(x) if checkpointed else model(x)
            h = wf.checkpoint(lambda h: reader(h)[0])(h) if checkpointed else reader(h)[0]
            (h * h).mean().backward()
            opt.step()

        for _ in range(3):
            step()
        return [p.numpy() for p in (*model.parameters(), *reader.parameters())]

    with wf.config(backend="cpu"):
        for plain, again in zip(train(False), train(True), strict=True):
            np.testing.assert_array_equal(plain, again)


def test_the_order_of_a_sum_does_not_depend_on_what_is_fused_with_it():
    """A kernel that also has 64-bit numbers in it has shorter vectors, but the sum is the same."""
    x = np.random.default_rng(1).normal(size=(7, 300)).astype(np.float32)
    n = np.arange(2100).reshape(7, 300) % 3

    def masked(x, n, look):
        kept = x * (n > 0).astype(wf.float32)
        if look:
            kept.numpy()
        return wf.sum(kept, axis=1)

    with wf.config(backend="cpu"):
        want, got = (masked(wf.tensor(x), wf.tensor(n), look).numpy() for look in (False, True))
    np.testing.assert_array_equal(got, want)


def _within(step):
    seen, stack = [], list(step.writes)
    while stack:
        n = stack.pop()
        if n in seen or n in step.reads:
            continue
        seen.append(n)
        stack.extend(n.args)
    return seen


def test_control_primitives_have_lowerings():
    higher = {n for n, p in registry.items() if p.higher_order}
    assert higher == {"call", "scan", "cond", "while_loop"}, (
        "another primitive with sub-graphs needs a lowering"
    )
