"""`scan`, `cond`, `switch`, `while_loop` against plain Python loops and branches: values and all derivatives."""

import numpy as np
import pytest

import weft as wf
from weft.arrays.control import cond, scan, switch, while_loop
from weft.arrays.grad import grad, jvp, value_and_grad
from weft.arrays.jacobian import hessian, jacfwd, jacrev
from weft.arrays.vmap import vmap
from weft.base.errors import ArgumentError, DTypeError, GradientError, ShapeError, TraceError
from weft.ir.graph import extract


def t(rng, *shape, **kw):
    return wf.tensor(rng.standard_normal(shape) * 0.5, dtype="float64", **kw)


def close(a, b, **kw):
    np.testing.assert_allclose(a.numpy(), b.numpy(), **{"rtol": 1e-10, "atol": 1e-12, **kw})


def unrolled(function, init, xs=None, length=None, reverse=False):
    """What `scan` means."""
    n = length if xs is None else xs.shape[0]
    carry, ys = init, [None] * n
    for i in reversed(range(n)) if reverse else range(n):
        carry, ys[i] = function(carry, None if xs is None else xs[i])
    return carry, wf.stack(ys) if n else None


def both(loop, *, reverse=False):
    return lambda *args: (scan if loop else unrolled)(*args, reverse=reverse)


class Cell:
    """A recurrent step with a matrix, a vector carry and a nonlinearity; reads `w` from outside."""

    def __init__(self, rng):
        self.w = t(rng, 3, 3, requires_grad=True)
        self.h = t(rng, 3)
        self.x = t(rng, 4, 3)

    def run(self, loop, h, x, w, reverse=False):
        def step(h, x):
            h = wf.tanh(h @ w + x)
            return h, h * x

        last, ys = both(loop, reverse=reverse)(step, h, x)
        return (last * last).sum() + (ys * wf.tensor(np.arange(12.0).reshape(4, 3), dtype="float64")).sum()


@pytest.mark.parametrize("reverse", [False, True])
class TestScanIsTheLoop:
    def test_value_and_gradients_of_everything(self, rng, reverse):
        c = Cell(rng)
        f = [
            value_and_grad(lambda h, x, w, k=k: c.run(k, h, x, w, reverse), argnums=(0, 1, 2)) for k in (0, 1)
        ]
        (v0, g0), (v1, g1) = f[0](c.h, c.x, c.w), f[1](c.h, c.x, c.w)
        close(v0, v1)
        for a, b in zip(g0, g1):
            close(a, b)

    def test_backward_into_what_the_step_closes_over(self, rng, reverse):
        c = Cell(rng)
        grads = []
        for k in (0, 1):
            c.w.grad = None
            loss = c.run(k, c.h, c.x, c.w, reverse)
            loss.item()  # a flush in between keeps the residuals
            loss.backward()
            grads.append(c.w.grad)
        close(*grads)

    def test_forward_mode(self, rng, reverse):
        c = Cell(rng)
        for wrt in ((0,), (1,), (2,), (0, 1, 2)):
            args = [c.h, c.x, c.w]
            direction = [t(rng, *args[i].shape) for i in wrt]

            def f(*moving, k=0, args=args, wrt=wrt):
                full = list(args)
                for i, m in zip(wrt, moving):
                    full[i] = m
                return c.run(k, *full, reverse)

            moving = [args[i] for i in wrt]
            a = jvp(lambda *m: f(*m, k=0), moving, direction)[1]
            b = jvp(lambda *m: f(*m, k=1), moving, direction)[1]
            close(a, b)

    def test_second_order(self, rng, reverse):
        c = Cell(rng)
        for i in range(3):
            args = [c.h, c.x, c.w]

            def f(z, k, i=i, args=args):
                full = list(args)
                full[i] = z
                return c.run(k, *full, reverse)

            want = hessian(lambda z: f(z, 0))(args[i])
            close(hessian(lambda z: f(z, 1))(args[i]), want)
            close(jacrev(grad(lambda z: f(z, 1)))(args[i]), want)
            close(jacrev(jacfwd(lambda z: f(z, 1)))(args[i]), want)

    def test_vmap_over_any_argument(self, rng, reverse):
        c = Cell(rng)
        many = [t(rng, 5, 3), t(rng, 5, 4, 3), t(rng, 5, 3, 3)]
        for mask in range(1, 8):
            axes = tuple(0 if mask >> i & 1 else None for i in range(3))
            args = [m if a == 0 else p for a, m, p in zip(axes, many, [c.h, c.x, c.w])]
            f = [value_and_grad(lambda h, x, w, k=k: c.run(k, h, x, w, reverse), (0, 1, 2)) for k in (0, 1)]
            a, b = vmap(f[0], axes)(*args), vmap(f[1], axes)(*args)
            close(a[0], b[0])
            for p, q in zip(a[1], b[1]):
                close(p, q)

            def total(*z, k, axes=axes):
                return vmap(lambda *y: c.run(k, *y, reverse), axes)(*z).sum()

            summed = [grad(lambda *z, k=k, f=total: f(*z, k=k), (0, 1, 2))(*args) for k in (0, 1)]
            for p, q in zip(*summed):
                close(p, q)


def test_products_of_weights_are_taken_once_after_the_loop(rng):
    c = Cell(rng)
    loss = c.run(True, c.h, c.x, c.w)
    loss.backward()
    order = extract([c.w.grad._node], []).nodes
    (loop,) = [n for n in order if n.prim.name == "scan" and n.attrs["reverse"]]
    assert loop.attrs["carries"] == 1  # the cotangent of h, and no sum of matrices
    assert [n.prim.name for n in order][-1] in ("dot_general", "permute")

    def composite(w):
        last, _ = scan(lambda h, x: (wf.tanh(wf.nn.functional.linear(h, w) + x), None), c.h, c.x)
        return last.sum()

    def plain(w):
        last, _ = unrolled(lambda h, x: (wf.tanh(h @ wf.matrix_transpose(w) + x), x), c.h, c.x)
        return last.sum()

    close(grad(composite)(c.w), grad(plain)(c.w))
    close(grad(lambda w: composite(w) * composite(w + w))(c.w), grad(lambda w: plain(w) * plain(w + w))(c.w))


def test_integer_and_float_carries_side_by_side(rng):
    x = t(rng, 5)

    def step(carry, x):
        i, s = carry["i"], carry["s"]
        return {"i": i + 1, "s": s + x * wf.astype(i, wf.float64)}, i

    def f(x):
        return scan(step, {"i": wf.tensor(0), "s": wf.tensor(0.0, dtype="float64")}, x)

    carry, ys = f(x)
    assert carry["i"].item() == 5 and ys.numpy().tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(grad(lambda x: f(x)[0]["s"])(x).numpy(), np.arange(5))
    np.testing.assert_allclose(jvp(lambda x: f(x)[0]["s"], (x,), (x,))[1].numpy(), x.numpy() @ np.arange(5))
    assert vmap(lambda x: f(x)[1])(t(rng, 2, 5)).shape == (2, 5)


def test_without_sequences_and_without_results():
    carry, ys = scan(lambda c, _: (c * 2.0, None), wf.tensor(1.0), length=10)
    assert carry.item() == 1024.0 and ys is None
    carry, ys = scan(lambda c, x: (c, x + 1), None, wf.tensor([1, 2]))
    assert carry is None and ys.numpy().tolist() == [2, 3]
    assert scan(lambda c, x: (None, None), None, length=3) == (None, None)


def test_no_steps(rng):
    x, w = t(rng, 0, 3), t(rng, 3)
    f = lambda h, x, w: scan(lambda h, x: (h * w + x, h), h, x)
    last, ys = f(w, x, w)
    close(last, w)
    assert ys.shape == (0, 3)
    grads = grad(lambda h, x, w: f(h, x, w)[0].sum() + f(h, x, w)[1].sum(), (0, 1, 2))(w, x, w)
    assert [g.numpy().tolist() for g in grads] == [[1, 1, 1], [], [0, 0, 0]]


def test_one_step_is_one_node_and_one_program(rng):
    x = t(rng, 100, 3)
    last, _ = scan(lambda h, x: (wf.tanh(h + x), None), t(rng, 3), x)
    assert last._node.prim.name in ("scan", "pick")


def test_a_python_number_takes_the_dtype_of_the_step(rng):
    total, _ = scan(lambda s, x: (s + x, None), 0.0, t(rng, 3))
    assert total.dtype is wf.float64


def test_a_changed_literal_is_no_new_graph(rng):
    x = t(rng, 3)
    graphs = set()
    for rate in (0.1, 0.2):
        scan_node = scan(lambda s, x, r=rate: (s + x * r, None), wf.tensor(0.0, dtype="float64"), x)[0]._node
        node = scan_node.args[0] if scan_node.prim.name == "pick" else scan_node
        graphs.add(node.attrs["body"])
    assert len(graphs) == 1


def test_nested_scans(rng):
    x = t(rng, 3, 4)

    def f(x, k):
        inner = lambda c, row: both(k)(lambda s, v: (wf.sin(s) + v * v, s * v), c, row)
        outer = lambda c, row: (inner(c, row)[0], inner(c, row)[1].sum())
        last, ys = both(k)(outer, wf.tensor(0.1, dtype="float64"), x)
        return last * ys.sum()

    close(f(x, 0), f(x, 1))
    close(grad(lambda x: f(x, 0))(x), grad(lambda x: f(x, 1))(x))
    close(hessian(lambda x: f(x, 0))(x), hessian(lambda x: f(x, 1))(x))
    many = t(rng, 2, 3, 4)
    close(vmap(grad(lambda x: f(x, 0)))(many), vmap(grad(lambda x: f(x, 1)))(many))


def test_grad_inside_a_step(rng):
    x = t(rng, 4)
    step = lambda p, x: (p - 0.1 * grad(lambda p: (p * p * x + wf.sin(p)).sum())(p), p)
    for k in (0, 1):
        f = lambda p, x, k=k: both(k)(step, p, x)[0]
        if k == 0:
            want = f(x[0], x), grad(f)(x[0], x)
    close(f(x[0], x), want[0])
    close(grad(f)(x[0], x), want[1])


def test_no_grad_inside_a_step_stays_cut(rng):
    x = t(rng, 4)

    def step(s, x):
        with wf.no_grad():
            c = x * x
        return s + c * x, None

    f = lambda x: scan(step, wf.tensor(0.0, dtype="float64"), x)[0]
    np.testing.assert_allclose(grad(f)(x).numpy(), x.numpy() ** 2)


@pytest.mark.parametrize(
    ("step", "error", "says"),
    [
        (lambda c, x: c, TraceError, r"pair \(carry, y\)"),
        (
            lambda c, x: ({"a": c["a"], "b": c["b"].sum()}, None),
            ShapeError,
            r"carry\['b'\] goes in as float32 \(2,\)",
        ),
        (lambda c, x: ({"a": c["a"], "b": wf.astype(c["b"], wf.float64)}, None), DTypeError, r"carry\['b'\]"),
        (lambda c, x: ({"a": c["a"]}, None), TraceError, "changes its structure"),
        (lambda c, x: (c, "text"), ArgumentError, "y must be a tensor"),
        (lambda c, x: (c, c["a"].sum().item()), TraceError, "inside a trace"),
    ],
)
def test_errors_of_steps(step, error, says):
    with pytest.raises(error, match=says):
        scan(step, {"a": wf.zeros(3), "b": wf.zeros(2)}, wf.zeros(4))


def test_errors_of_sequences():
    f = lambda c, x: (c, None)
    with pytest.raises(ShapeError, match=r"xs\[1\] has 3 steps"):
        scan(f, 0.0, (wf.zeros(2), wf.zeros(3)))
    with pytest.raises(ShapeError, match="xs has no axis of steps"):
        scan(f, 0.0, wf.tensor(1.0))
    with pytest.raises(ShapeError, match="4 are expected"):
        scan(f, 0.0, wf.zeros(3), length=4)
    with pytest.raises(ArgumentError, match="xs or a length"):
        scan(f, 0.0)


def test_changing_an_outer_tensor_raises():
    seen = wf.zeros(3)

    def step(c, x):
        seen[0] = 1.0
        return c, x

    with pytest.raises(TraceError, match="changed inside scan"):
        scan(step, 0.0, wf.zeros(2))


def test_random_draws_differ_by_step_and_do_not_repeat():
    wf.random.seed(3)
    _, inside = scan(lambda c, _: (c, (wf.random.bits((2,)), wf.random.bits((3,)))), 0.0, length=4)
    after = wf.random.bits((5,))
    seen = np.concatenate([inside[0].numpy().ravel(), inside[1].numpy().ravel(), after.numpy()])
    assert len(set(seen.tolist())) == len(seen)
    wf.random.seed(3)
    _, again = scan(lambda c, _: (c, (wf.random.bits((2,)), wf.random.bits((3,)))), 0.0, length=4)
    assert (again[0].numpy() == inside[0].numpy()).all()
    assert (wf.random.bits((5,)).numpy() == after.numpy()).all()


def test_random_draws_in_a_mapped_scan():
    wf.random.seed(0)
    f = lambda x: scan(lambda c, _: (c, wf.random.bits(())), x, length=3)[1]
    with pytest.raises(ArgumentError, match="randomness="):
        vmap(f)(wf.zeros(2))
    apart = vmap(f, randomness="different")(wf.zeros(2)).numpy()
    assert len(set(apart.ravel().tolist())) == 6
    same = vmap(f, randomness="same")(wf.zeros(2)).numpy()
    assert (same[0] == same[1]).all() and len(set(same[0].tolist())) == 3


# -- cond and switch -----------------------------------------------------------------------------------------------


def branches(x, y):
    return {"s": (x * x * y).sum(), "v": wf.sin(x)}


def others(x, y):
    return {"s": (wf.exp(y) * x).sum(), "v": y * y * y}


@pytest.mark.parametrize("taken", [True, False])
class TestCond:
    def test_value_and_derivatives(self, rng, taken):
        x, y = t(rng, 3), t(rng, 3)
        plain = branches if taken else others
        pred = wf.tensor(taken)
        chosen = lambda x, y: cond(pred, branches, others, x, y)
        for key in ("s", "v"):
            close(chosen(x, y)[key], plain(x, y)[key])
            for j in (jacrev, jacfwd):
                got, want = (
                    j(lambda x, y, f=f, key=key: f(x, y)[key], (0, 1))(x, y) for f in (chosen, plain)
                )
                for a, b in zip(got, want):
                    close(a, b)
        total = lambda f: lambda x, y: f(x, y)["s"] * f(x, y)["v"].sum()
        for a, b in zip(hessian(total(chosen), (0, 1))(x, y), hessian(total(plain), (0, 1))(x, y)):
            close(a[0], b[0])
            close(a[1], b[1])

    def test_closures(self, rng, taken):
        x, w = t(rng, 3, requires_grad=True), t(rng, 3, requires_grad=True)
        out = cond(wf.tensor(taken), lambda: (x * x).sum(), lambda: (x * w).sum())
        out.backward()
        np.testing.assert_allclose(x.grad.numpy(), 2 * x.numpy() if taken else w.numpy())
        np.testing.assert_allclose(w.grad.numpy(), np.zeros(3) if taken else x.numpy())

    def test_vmap_over_operands(self, rng, taken):
        x, y = t(rng, 4, 3), t(rng, 3)
        f = lambda x: cond(wf.tensor(taken), branches, others, x, y)["s"]
        plain = lambda x: (branches if taken else others)(x, y)["s"]
        close(vmap(f)(x), vmap(plain)(x))
        close(vmap(grad(f))(x), vmap(grad(plain))(x))
        close(grad(lambda x: vmap(f)(x).sum())(x), vmap(grad(plain))(x))


def test_only_the_branch_taken_runs():
    # The other branch would count for ever.
    forever = lambda x: while_loop(lambda x: x == x, lambda x: x, x)
    assert cond(wf.tensor(True), lambda x: x + 1, forever, wf.tensor(1.0)).item() == 2.0
    assert cond(wf.tensor(True), lambda: wf.tensor(2.0), lambda: forever(wf.tensor(1.0))).item() == 2.0


def test_cond_with_a_condition_for_each_example(rng):
    x, y = t(rng, 6, 3), t(rng, 3)
    f = lambda x: cond(x.sum() > 0, branches, others, x, y)["s"]
    want = [(branches if r.sum() > 0 else others)(wf.tensor(r), y)["s"].item() for r in x.numpy()]
    np.testing.assert_allclose(vmap(f)(x).numpy(), want)
    single = np.stack([grad(f)(wf.tensor(r)).numpy() for r in x.numpy()])
    np.testing.assert_allclose(vmap(grad(f))(x).numpy(), single)
    np.testing.assert_allclose(grad(lambda x: vmap(f)(x).sum())(x).numpy(), single)


def test_a_python_bool_chooses_at_once():
    assert cond(True, lambda: "any", lambda: 1) == "any"


def test_numbers_take_the_dtype_of_the_other_branch():
    out = cond(wf.tensor(False), lambda x: x, lambda x: 0, wf.tensor(2.0, dtype="float64"))
    assert out.dtype is wf.float64 and out.item() == 0.0


@pytest.mark.parametrize(
    ("one", "two", "error", "says"),
    [
        (lambda x: x, lambda x: (x, x), TraceError, "different structures"),
        (lambda x: x, lambda x: x.sum(), ShapeError, r"result is float32 \(\) in false_fn"),
        (lambda x: x, lambda x: wf.astype(x, wf.int64), DTypeError, "same types"),
        (lambda x: x, lambda x: "text", ArgumentError, "must be a tensor or a number"),
    ],
)
def test_branches_that_do_not_fit(one, two, error, says):
    with pytest.raises(error, match=says):
        cond(wf.tensor(True), one, two, wf.zeros(2))


@pytest.mark.parametrize("pred", [wf.tensor(1.0), wf.tensor([True, False]), 3, None])
def test_conditions_that_are_none(pred):
    with pytest.raises(ArgumentError, match="one boolean"):
        cond(pred, lambda: 1, lambda: 2)


def test_draws_in_branches_step_by_the_larger_one():
    bits = wf.random.bits
    out = []
    for taken in (True, False):
        wf.random.seed(1)
        chosen = cond(wf.tensor(taken), lambda: bits((100,))[0], lambda: bits((2,))[1])
        out.append((chosen.item(), bits(()).item()))
    assert out[0][0] != out[1][0]
    assert out[0][1] == out[1][1]


@pytest.mark.parametrize("index", [-5, 0, 1, 2, 7])
def test_switch(rng, index):
    x = t(rng, 3)
    fs = [lambda x: x * x, wf.sin, lambda x: x * 3.0]
    plain = fs[min(max(index, 0), 2)]
    f = lambda x: switch(wf.tensor(index), fs, x)
    close(f(x), plain(x))
    close(switch(index, fs, x), plain(x))
    close(jacrev(f)(x), jacrev(plain)(x))
    close(jacfwd(f)(x), jacfwd(plain)(x))


def test_switch_over_examples(rng):
    x, which = t(rng, 5, 3), wf.tensor([-1, 0, 1, 2, 9])
    fs = [lambda x: x * x, wf.sin, lambda x: x * 3.0]
    out = vmap(lambda i, x: switch(i, fs, x))(which, x)
    for row, r, i in zip(out.numpy(), x.numpy(), [0, 0, 1, 2, 2]):
        np.testing.assert_allclose(row, fs[i](wf.tensor(r)).numpy())


def test_switch_errors():
    with pytest.raises(ArgumentError, match="at least one branch"):
        switch(0, [])
    with pytest.raises(ArgumentError, match="one integer"):
        switch(wf.tensor(1.0), [lambda: 1])


# -- while --------------------------------------------------------------------------------------------------------


def newton(a):
    """The square root by Newton's method, until it is near."""
    step = lambda c: ((c[0] + a / c[0]) * 0.5, c[1] + 1)
    return while_loop(lambda c: wf.abs(c[0] * c[0] - a) > 1e-12, step, (a, 0))


def test_while_loop_and_its_forward_derivative():
    a = wf.tensor(2.0, dtype="float64")
    root, steps = newton(a)
    np.testing.assert_allclose(root.item(), 2**0.5)
    assert steps.item() < 10
    slope = jvp(lambda a: newton(a)[0], (a,), (wf.tensor(1.0, dtype="float64"),))[1]
    np.testing.assert_allclose(slope.item(), 0.5 / 2**0.5)
    np.testing.assert_allclose(jacfwd(jacfwd(lambda a: newton(a)[0]))(a).item(), -0.25 * 2**-1.5, rtol=1e-6)


def test_a_mapped_while_loop_runs_until_all_are_done():
    a = wf.tensor([1.5, 2.0, 9.0, 1000.0], dtype="float64")
    root, steps = vmap(newton)(a)
    np.testing.assert_allclose(root.numpy(), np.sqrt(a.numpy()))
    assert steps.numpy().tolist() == [newton(wf.tensor(v, dtype="float64"))[1].item() for v in a.numpy()]
    slope = jvp(lambda a: vmap(newton)(a)[0], (a,), (wf.ones(4, dtype="float64"),))[1]
    np.testing.assert_allclose(slope.numpy(), 0.5 / np.sqrt(a.numpy()))


def test_a_mapped_while_loop_with_one_condition(rng):
    x = t(rng, 4)
    out = vmap(lambda x: while_loop(lambda c: c[1] < 3, lambda c: (c[0] * 2.0, c[1] + 1), (x, 0))[0])(x)
    close(out, x * 8.0)
    assert vmap(newton)(wf.zeros(0, dtype="float64"))[0].shape == (0,)


def test_while_loop_has_no_reverse_mode_and_says_so():
    a = wf.tensor(2.0, dtype="float64", requires_grad=True)
    root = newton(a)[0]
    assert root.item() > 1  # looking at it is fine
    with pytest.raises(GradientError, match=r"while_loop has no reverse mode.*scan"):
        root.backward()
    with pytest.raises(GradientError, match="while_loop has no reverse mode"):
        grad(lambda a: newton(a)[0])(a)


def test_draws_in_a_while_loop():
    wf.random.seed(5)
    body = lambda c: (c[0] + 1, c[1] + wf.astype(wf.random.bits(()), wf.float64), wf.random.bits(()))
    loop = lambda: while_loop(lambda c: c[0] < 3, body, (0, 0.0, wf.tensor(0, dtype="uint32")))
    first, second = loop(), loop()
    assert first[1].item() != second[1].item() and first[2].item() != second[2].item()


@pytest.mark.parametrize(
    ("condition", "body", "error", "says"),
    [
        (lambda x: x, lambda x: x, DTypeError, "one boolean"),
        (lambda x: x > 0, lambda x: (x, x), TraceError, "structure"),
        (lambda x: x > 0, lambda x: wf.astype(x, wf.int64), DTypeError, "carry changes its type"),
    ],
)
def test_while_errors(condition, body, error, says):
    with pytest.raises(error, match=says):
        while_loop(condition, body, wf.tensor(1.0))


# -- inside compiled functions -----------------------------------------------------------------------------------


def test_control_flow_inside_compile(rng):
    w = t(rng, 3, requires_grad=True)

    @wf.compile
    def step(x):
        last, _ = scan(lambda h, x: (wf.tanh(h * w + x), None), wf.zeros(3, dtype="float64"), x)
        loss = cond(last.sum() > 0, lambda l: l.sum(), lambda l: (l * l).sum(), last)
        w.grad = None
        loss.backward()
        with wf.no_grad():
            w[...] = w - 0.1 * w.grad
        return loss

    start = w.numpy().copy()
    x = t(rng, 4, 3)
    losses = [step(x).item() for _ in range(3)]
    compiled = w.numpy().copy()
    with wf.no_grad():
        w[...] = wf.tensor(start)
    eager = [step.function(x).item() for _ in range(3)]
    np.testing.assert_array_equal(losses, eager)
    np.testing.assert_array_equal(compiled, w.numpy())


def _tripled(v):
    return while_loop(lambda z: (z * z).sum() < 9.0, lambda z: z * 1.5 + 0.1, v + 1.0)


def _checkpointed(v):
    return wf.checkpoint(_tripled)(v)


OUTER = {
    "scan": lambda v: scan(lambda c, _: (_tripled(c), None), v, length=2)[0],
    "cond": lambda v: cond(v.sum() > -99, _tripled, lambda c: c, v),
    "checkpoint": _checkpointed,
    "compile": lambda v: wf.compile(_tripled)(v),
}
PLAIN = {"scan": lambda v: _tripled(_tripled(v))}


@pytest.mark.parametrize("outer", sorted(OUTER))
def test_while_inside_others_has_forward_mode_and_refuses_reverse_mode_when_it_is_asked_for(rng, outer):
    x, dx = t(rng, 2), t(rng, 2)
    f, plain = OUTER[outer], PLAIN.get(outer, _tripled)
    for got, want in zip(jvp(f, (x,), (dx,)), jvp(plain, (x,), (dx,)), strict=True):
        close(got, want)
    tracked = wf.tensor(x.numpy(), requires_grad=True)
    out = f(tracked)
    close(out, plain(x))
    with pytest.raises(GradientError, match="no reverse mode"):
        out.sum().backward()
