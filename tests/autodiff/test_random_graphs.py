"""Programs made up at random: every derivative against differences and against the others, `vmap` against a loop.

A program is a list of steps over a growing pool of tensors; each step names its operation and the tensors it reads.
Operations are smooth and keep values of moderate size, so that differences can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import weft as wf
from weft.arrays.control import cond, scan, while_loop
from weft.arrays.custom import checkpoint, stop_gradient
from weft.nn import functional as F

SHAPES = [(), (3,), (2, 3), (3, 2), (1, 3), (2, 1, 3)]


@dataclass(frozen=True)
class Step:
    """One operation: its name, where its operands are in the pool, and a small integer that varies it."""

    name: str
    reads: tuple[int, ...]
    choice: int


def _axis(x: Any, choice: int) -> int:
    return choice % x.ndim if x.ndim else 0


def _squash(x):
    return wf.tanh(x)


def _slope(x):
    """Numbers that keep the elements of x apart, so that nothing is near a tie."""
    return wf.reshape(wf.linspace(0.0, 3.0, x.size, dtype=wf.float64), x.shape)


def _replaced(x, choice):
    if not x.ndim:
        return x
    y = x * 1.0
    y[choice % x.shape[0]] = wf.sin(x[0]) * 2.0
    return y


@wf.custom_vjp
def _own_reverse(x):
    return wf.sin(x) * x


_own_reverse.defvjp(
    lambda x: (_own_reverse(x), (x, wf.sin(x))), lambda r, ct: (ct * (r[1] + r[0] * wf.cos(r[0])),)
)


@wf.custom_jvp
def _own_forward(x):
    return wf.tanh(x) * 2.0


@_own_forward.defjvp
def _(primals, tangents):
    y = _own_forward(primals[0])
    return y, tangents[0] * (2.0 - y * y * 0.5)


UNARY: dict[str, Callable[[Any, int], Any]] = {
    "sin": lambda x, c: wf.sin(x),
    "tanh": lambda x, c: wf.tanh(x * (1.0 + c % 3)),
    "exp": lambda x, c: wf.exp(_squash(x)),
    "log": lambda x, c: wf.log(x * x + 1.0),
    "sqrt": lambda x, c: wf.sqrt(x * x + 0.5),
    "square": lambda x, c: _squash(x) ** 2,
    "sum": lambda x, c: wf.sum(x, axis=_axis(x, c)) if x.ndim else x,
    "mean": lambda x, c: wf.mean(x, axis=_axis(x, c), keepdims=True) if x.ndim else x,
    "total": lambda x, c: wf.sum(x),
    "flip": lambda x, c: wf.flip(x, axis=_axis(x, c)) if x.ndim else x,
    "permute": lambda x, c: wf.permute_dims(x, tuple(np.roll(range(x.ndim), c))) if x.ndim else x,
    "flatten": lambda x, c: wf.reshape(x, (-1,)),
    "expand": lambda x, c: wf.expand_dims(x, axis=c % (x.ndim + 1)),
    "spread": lambda x, c: wf.broadcast_to(x, (2, *x.shape)) if x.ndim < 3 else x,
    "slice": lambda x, c: x[: 1 + c % 2] if x.ndim else x,
    "take": lambda x, c: wf.take(x, wf.tensor([0, 0]), axis=_axis(x, c)) if x.ndim else x,
    "masked": lambda x, c: wf.where(wf.astype(x * 0.0 + c % 2, wf.bool), wf.sin(x), x * 2.0),
    "softmax": lambda x, c: F.softmax(x, dim=_axis(x, c)) if x.ndim else x,
    "logsumexp": lambda x, c: F.log_softmax(x, dim=_axis(x, c)) if x.ndim else x,
    "gelu": lambda x, c: F.gelu(x),
    "cumsum": lambda x, c: wf.cumulative_sum(_squash(x), axis=_axis(x, c)) if x.ndim else x,
    "prod": lambda x, c: wf.prod(wf.tanh(x) + 1.5, axis=_axis(x, c)) if x.ndim else x,
    "sort": lambda x, c: wf.sort(x, axis=_axis(x, c)) if x.ndim else x,
    "largest": lambda x, c: wf.max(x + _slope(x), axis=_axis(x, c)) if x.ndim else x,
    "spread_out": lambda x, c: (
        wf.std(x + _slope(x), axis=_axis(x, c)) if x.ndim and x.shape[_axis(x, c)] > 1 else x
    ),
    "norm": lambda x, c: wf.linalg.vector_norm(x + 1.5, axis=_axis(x, c)) if x.ndim else x,
    "gather": lambda x, c: x[wf.tensor([0, -1, 0])] if x.ndim else x,
    "stack": lambda x, c: wf.stack([x, wf.sin(x)], axis=c % (x.ndim + 1)) if x.ndim < 3 else x,
    "concat": lambda x, c: wf.concat([x, x * 2.0], axis=_axis(x, c)) if x.ndim else x,
    "normal": lambda x, c: F.layer_norm(x + _slope(x), (x.shape[-1],)) if x.ndim and x.shape[-1] > 1 else x,
    "attend": lambda x, c: F.scaled_dot_product_attention(x, _squash(x), wf.sin(x)) if x.ndim == 3 else x,
    "shifted": lambda x, c: _replaced(x, c),
    "own_reverse": lambda x, c: _own_reverse(x),
    "own_forward": lambda x, c: _own_forward(x),
    "mapped": lambda x, c: wf.vmap(lambda r: wf.sin(r) * r.sum(), c % x.ndim)(x) if x.ndim else x,
    "slope_inside": lambda x, c: wf.grad(lambda z: (wf.sin(z) * z).sum())(x),
    "pushed": lambda x, c: wf.jvp(lambda z: wf.sin(z) * z.sum(), (x,), (_squash(x),))[1],
    "checkpoint": lambda x, c: checkpoint(lambda x: wf.sin(x) * _squash(x))(x),
    "half_stopped": lambda x, c: x + stop_gradient(x) if c % 2 else x,
    "scan": lambda x, c: _recurrence(x, bool(c % 2)),
    "branch": lambda x, c: cond(wf.tensor(bool(c % 2)), wf.sin, lambda x: x * _squash(x), x),
}
BINARY: dict[str, Callable[[Any, Any, int], Any]] = {
    "add": lambda x, y, c: x + y,
    "sub": lambda x, y, c: x - y,
    "mul": lambda x, y, c: _squash(x) * y,
    "div": lambda x, y, c: x / (y * y + 1.0),
    "where": lambda x, y, c: wf.where(wf.tensor(bool(c % 2)), x, y * 0.5),
    "choose": lambda x, y, c: cond(wf.tensor(bool(c % 2)), lambda: x * y, lambda: x + wf.sin(y)),
    "dot": lambda x, y, c: wf.tensordot(_squash(x), _squash(y), axes=0) if x.ndim + y.ndim <= 3 else x,
    "matmul": lambda x, y, c: _squash(x) @ wf.matrix_transpose(_squash(y)),
}


def _recurrence(x: Any, reverse: bool) -> Any:
    if not x.ndim:
        return x
    start = wf.sum(x, axis=0) * 0.1
    last, rows = scan(lambda h, r: (wf.tanh(h + r), h * r + x[0]), start, x, reverse=reverse)
    return rows + last


def _apply(step: Step, pool: list[Any]) -> Any:
    if step.name in UNARY:
        return UNARY[step.name](pool[step.reads[0] % len(pool)], step.choice)
    x, y = (pool[r % len(pool)] for r in step.reads)
    if step.name == "matmul" and (x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]):
        return x
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return wf.sum(x) * _squash(y) if step.name != "dot" else BINARY["dot"](x, y, step.choice)
    return BINARY[step.name](x, y, step.choice)


def run(steps: tuple[Step, ...], *inputs: Any) -> Any:
    """The program: all its tensors, each brought down to a number in a way that no symmetry cancels."""
    pool = list(inputs)
    for step in steps:
        out = _apply(step, pool)
        if out.size <= 64:
            pool.append(out)
    total = pool[0].sum() * 0.0
    for i, x in enumerate(pool[-4:]):
        weights = wf.reshape(wf.linspace(0.5, 1.5 + 0.1 * i, x.size, dtype=wf.float64), x.shape)
        total = total + wf.sum(wf.sin(x) * weights)
    return total


def _steps(most: int) -> st.SearchStrategy[tuple[Step, ...]]:
    reads = st.integers(0, 40)
    unary = st.builds(Step, st.sampled_from(sorted(UNARY)), st.tuples(reads), st.integers(0, 5))
    binary = st.builds(Step, st.sampled_from(sorted(BINARY)), st.tuples(reads, reads), st.integers(0, 5))
    return st.lists(st.one_of(unary, binary), min_size=3, max_size=most).map(tuple)


programs = st.tuples(
    _steps(25), st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3), st.integers(0, 99)
)
#: Rules of derivatives are the same on every backend, and most of the time would go into compiling.
backends = st.integers(0, 5).map(lambda k: wf.config.backend if k == 5 else "reference")
_often = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)


def checked(test: Callable[[Any], None]) -> Callable[[], None]:
    """A test of random programs, each on a backend."""

    def tested(program: Any, backend: str) -> None:
        with wf.config(backend=backend):
            test(program)

    tested.__name__ = test.__name__
    return _often(given(programs, backends)(tested))


def _arrays(shapes: list[tuple[int, ...]], seed: int, *lead: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [wf.tensor(rng.uniform(-1, 1, (*lead, *s)), dtype="float64") for s in shapes]


def _inner(a: Any, b: Any) -> float:
    return sum(float((x * y).sum().item()) for x, y in zip(a, b))


def _moved(xs: list[Any], vs: list[Any], by: float) -> list[Any]:
    return [x + v * by for x, v in zip(xs, vs)]


@checked
def test_forward_and_reverse_mode_agree(program):
    steps, shapes, seed = program
    xs, vs, us = (_arrays(shapes, seed + k) for k in range(3))
    numbers = tuple(range(len(xs)))
    f = lambda *xs: run(steps, *xs)
    g = wf.grad(f, argnums=numbers)
    np.testing.assert_allclose(_inner(g(*xs), vs), wf.jvp(f, xs, vs)[1].item(), rtol=1e-9, atol=1e-9)
    # Second derivatives: reverse over reverse is the transpose of forward over reverse.
    bent = wf.jvp(g, xs, us)[1]
    twice = wf.grad(lambda *xs: sum((a * v).sum() for a, v in zip(g(*xs), vs)), argnums=numbers)(*xs)
    np.testing.assert_allclose(_inner(twice, us), _inner(bent, vs), rtol=1e-7, atol=1e-7)


@checked
def test_derivatives_are_limits_of_differences(program):
    steps, shapes, seed = program
    steps = tuple(s for s in steps if s.name != "half_stopped")  # whose derivative is not that of its value
    xs, vs, us = (_arrays(shapes, seed + k) for k in range(3))
    f = lambda *xs: run(steps, *xs)
    g = wf.grad(f, argnums=tuple(range(len(xs))))
    h = 1e-5
    value, pushed = wf.jvp(f, xs, vs)
    assert np.isfinite(value.item())
    ahead, behind = (f(*_moved(xs, vs, by)).item() for by in (h, -h))
    np.testing.assert_allclose(pushed.item(), (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-5)
    bent, other = (wf.jvp(g, xs, ws)[1] for ws in (vs, us))
    np.testing.assert_allclose(_inner(bent, us), _inner(other, vs), rtol=1e-7, atol=1e-7)
    ahead, behind = (g(*_moved(xs, vs, by)) for by in (h, -h))
    for b, p, m in zip(bent, ahead, behind):
        np.testing.assert_allclose(b.numpy(), (p.numpy() - m.numpy()) / (2 * h), rtol=1e-4, atol=1e-4)


@checked
def test_vmap_is_the_loop(program):
    steps, shapes, seed = program
    xs = _arrays(shapes, seed, 3)
    f = lambda *xs: run(steps, *xs)
    both = wf.value_and_grad(f, argnums=tuple(range(len(xs))))
    values, slopes = wf.vmap(both)(*xs)
    total = wf.grad(lambda *xs: wf.vmap(f)(*xs).sum(), argnums=tuple(range(len(xs))))(*xs)
    for i in range(3):
        value, slope = both(*[x[i] for x in xs])
        np.testing.assert_allclose(values.numpy()[i], value.numpy(), rtol=1e-9, atol=1e-9)
        for many, summed, one in zip(slopes, total, slope):
            np.testing.assert_allclose(many.numpy()[i], one.numpy(), rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(summed.numpy()[i], one.numpy(), rtol=1e-8, atol=1e-8)


@checked
def test_backward_agrees_with_grad_however_it_is_cut(program):
    steps, shapes, seed = program
    xs = _arrays(shapes, seed)
    want = wf.grad(lambda *xs: run(steps, *xs), argnums=tuple(range(len(xs))))(*xs)
    for look_first in (False, True):
        leaves = [x.detach().requires_grad_() for x in xs]
        loss = run(steps, *leaves)
        if look_first:
            loss.item()
        loss.backward()
        for leaf, w in zip(leaves, want):
            found = np.zeros(w.shape) if leaf.grad is None else leaf.grad.numpy()
            np.testing.assert_array_equal(found, w.numpy())


@checked
def test_inside_loops_and_compiled(program):
    steps, shapes, seed = program
    xs = _arrays(shapes, seed)
    f = lambda *xs: run(steps, *xs)
    want_value, want = wf.value_and_grad(f)(*xs)
    value, slope = wf.compile(wf.value_and_grad(f))(*xs)
    np.testing.assert_array_equal(value.numpy(), want_value.numpy())
    np.testing.assert_array_equal(slope.numpy(), want.numpy())
    in_scan = lambda *xs: scan(lambda c, _: (c + f(*xs), None), wf.zeros((), dtype=wf.float64), length=2)[0]
    np.testing.assert_allclose(wf.grad(in_scan)(*xs).numpy(), 2 * want.numpy(), rtol=1e-9, atol=1e-9)
    once = lambda *xs: while_loop(
        lambda c: c[0] < 1, lambda c: (c[0] + 1, f(*xs)), (0, wf.zeros((), dtype=wf.float64))
    )[1]
    pushed = wf.jvp(once, xs, xs)[1].item()
    np.testing.assert_allclose(pushed, wf.jvp(f, xs, xs)[1].item(), rtol=1e-9, atol=1e-9)
