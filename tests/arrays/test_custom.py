"""`custom_vjp`, `custom_jvp`, `stop_gradient`: derivatives stated by hand, deliberately wrong so that they show."""

import numpy as np
import pytest

import weft as wf
from weft.arrays.control import cond, scan
from weft.arrays.custom import checkpoint, custom_jvp, custom_vjp, stop_gradient
from weft.arrays.grad import grad, jvp, vjp
from weft.arrays.jacobian import hessian, jacrev
from weft.arrays.vmap import vmap
from weft.base.errors import ArgumentError, GradientError, ShapeError, TraceError


def t(rng, *shape, **kw):
    return wf.tensor(rng.standard_normal(shape) * 0.5, dtype="float64", **kw)


def near(a, b):
    np.testing.assert_allclose(
        a.numpy(), b if isinstance(b, np.ndarray) else b.numpy(), rtol=1e-12, atol=1e-13
    )


def product_rule(factor=10.0):
    """x * y, with a derivative in x that is `factor` times too large."""

    @custom_vjp
    def product(x, y):
        return x * y

    product.defvjp(lambda x, y: (x * y, (x, y)), lambda r, ct: (ct * r[1] * factor, ct * r[0]))
    return product


def square_rule():
    """x * x, with the derivative 100 x; the rule calls the function itself."""

    @custom_jvp
    def square(x):
        return x * x

    @square.defjvp
    def _(primals, tangents):
        (x,), (dx,) = primals, tangents
        return square(x), dx * x * 100.0

    return square


class TestVjp:
    def test_reverse_and_forward_mode(self, rng):
        f, x, y, v = product_rule(), t(rng, 3), t(rng, 3), t(rng, 3)
        near(f(x, y), x * y)
        gx, gy = grad(lambda x, y: f(x, y).sum(), (0, 1))(x, y)
        near(gx, y * 10.0)
        near(gy, x)
        near(jvp(f, (x, y), (v, v))[1], y * v * 10.0 + x * v)

    def test_backward_into_leaves(self, rng):
        f, x, y = product_rule(), t(rng, 3, requires_grad=True), t(rng, 3, requires_grad=True)
        out = f(x, y).sum()
        out.item()
        out.backward()
        near(x.grad, y * 10.0)
        near(y.grad, x)

    def test_second_order_differentiates_the_two_halves(self, rng):
        f, x = product_rule(), t(rng, 3)
        # d/dx (10 y + x) at y = x
        near(hessian(lambda x: f(x, x).sum())(x), np.eye(3) * 11.0)
        near(jacrev(jacrev(lambda x: f(x, x).sum()))(x), np.eye(3) * 11.0)

    def test_under_vmap_either_way(self, rng):
        f, x, y = product_rule(), t(rng, 4, 3), t(rng, 3)
        near(vmap(grad(lambda x: f(x, y).sum()))(x), np.tile(y.numpy() * 10, (4, 1)))
        gx, gy = grad(lambda x, y: vmap(lambda x: f(x, y).sum())(x).sum(), (0, 1))(x, y)
        near(gx, np.tile(y.numpy() * 10, (4, 1)))
        near(gy, x.numpy().sum(0))
        near(jvp(vmap(lambda x: f(x, y)), (x,), (x,))[1], 10 * x.numpy() * y.numpy())

    def test_inside_other_transformations(self, rng):
        f, x, y = product_rule(), t(rng, 3), t(rng, 3)
        inside = {
            "checkpoint": checkpoint(lambda x: f(x, y).sum()),
            "scan": lambda x: scan(lambda c, _: (c, f(x, y)), 0.0, length=1)[1].sum(),
            "cond": lambda x: cond(x.sum() > -100, lambda: f(x, y).sum(), lambda: x.sum()),
            "compile": wf.compile(lambda x: f(x, y).sum()),
        }
        for name, g in inside.items():
            np.testing.assert_allclose(grad(g)(x).numpy(), 10 * y.numpy(), err_msg=name)
        x = t(rng, 3, requires_grad=True)
        inside["compile"](x).backward()
        near(x.grad, y * 10.0)

    def test_residuals_may_hold_anything_and_forward_may_call_the_function(self, rng):
        @custom_vjp
        def f(x, mode):
            return x * 2.0

        f.defvjp(
            lambda x, mode: (f(x, mode), {"mode": mode, "x": (x, None)}),
            lambda r, ct: (ct * r["x"][0] if r["mode"] == "x" else ct, None),
        )
        x = t(rng, 3)
        near(grad(lambda x: f(x, "x").sum())(x), x)
        near(grad(lambda x: f(x, mode="one").sum())(x), np.ones(3))
        near(jacrev(grad(lambda x: f(x, "x").sum()))(x), np.eye(3))

    def test_containers_and_none_cotangents(self, rng):
        @custom_vjp
        def f(p, x, n):
            return {"out": p["w"] * x, "count": n + 1}

        f.defvjp(
            lambda p, x, n: (f.function(p, x, n), p["w"]),
            lambda w, ct: ({"w": ct["out"] * 7.0, "b": w}, None, None),
        )
        p, x = {"w": t(rng, 3), "b": t(rng, 3)}, t(rng, 3)
        gp, gx = grad(lambda p, x: f(p, x, wf.tensor(3))["out"].sum(), (0, 1))(p, x)
        near(gp["w"], np.full(3, 7.0))
        near(gp["b"], p["w"])
        near(gx, np.zeros(3))
        assert f(p, x, wf.tensor(3))["count"].item() == 4

    def test_outer_tensors_may_be_used_but_not_differentiated(self, rng):
        w, x = t(rng, 3, requires_grad=True), t(rng, 3, requires_grad=True)
        f = custom_vjp(lambda x: x * w)
        f.defvjp(lambda x: (x * w, None), lambda _, ct: (ct * w.detach() * 2.0,))
        near(grad(lambda x: f(x).sum())(x.detach()), w.detach() * 2.0)
        with pytest.raises(GradientError, match="uses another tensor"):
            f(x).sum().backward()
        with pytest.raises(GradientError, match="uses another tensor"):
            grad(lambda s: vmap(lambda x: custom(x, s))(wf.ones((2, 3), dtype="float64")).sum())(w.detach())

    def test_changed_literals_and_tensors_are_seen(self, rng):
        x = t(rng, 3)
        for factor in (2.0, 3.0):
            f = product_rule(factor)
            near(grad(lambda x, f=f: f(x, wf.ones(3, dtype="float64")).sum())(x), np.full(3, factor))

    def test_as_a_method(self, rng):
        class Layer:
            scale = 3.0

            @custom_vjp
            def apply(self, x):
                return x * self.scale

        Layer.apply.defvjp(lambda self, x: (x * self.scale, None), lambda _, ct: (None, ct * 5.0))
        near(grad(lambda x: Layer().apply(x).sum())(t(rng, 3)), np.full(3, 5.0))

    @pytest.mark.parametrize(
        ("forward", "backward", "error", "says"),
        [
            (lambda x: x, lambda r, ct: (ct,), TraceError, "must return a pair"),
            (lambda x: ((x, x), None), lambda r, ct: (ct,), TraceError, "forward returns"),
            (lambda x: (x.sum(), None), lambda r, ct: (ct,), ShapeError, "not of the type"),
            (lambda x: (x, None), lambda r, ct: ct, GradientError, "must return a tuple"),
            (lambda x: (x, None), lambda r, ct: (ct, ct), GradientError, "each of the 1 arguments"),
            (lambda x: (x, None), lambda r, ct: (ct.sum(),), ShapeError, r"argument 0 is float64 \(\)"),
            (lambda x: (x, None), lambda r, ct: ((ct, ct),), GradientError, "has structure"),
            (lambda x: (x, None), lambda r, ct: (1.0,), GradientError, "must be a tensor or None"),
        ],
    )
    def test_errors(self, rng, forward, backward, error, says):
        f = custom_vjp(lambda x: x * 1.0)
        f.defvjp(forward, backward)
        with pytest.raises(error, match=says):
            grad(lambda x: f(x).sum())(t(rng, 3))

    def test_a_missing_rule(self, rng):
        @custom_vjp
        def f(x):
            return x

        near(f(wf.ones(3)), np.ones(3))
        with pytest.raises(GradientError, match="defvjp"):
            grad(lambda x: f(x).sum())(t(rng, 3))
        with pytest.raises(ArgumentError):
            custom_vjp(3)


def custom(x, s):
    """A function whose rule closes over `s`."""
    f = custom_vjp(lambda x: (x * s).sum())
    f.defvjp(lambda x: ((x * s).sum(), None), lambda _, ct: (ct * s,))
    return f(x)


class TestJvp:
    def test_both_modes(self, rng):
        f, x, v = square_rule(), t(rng, 3), t(rng, 3)
        near(f(x), x * x)
        near(jvp(f, (x,), (v,))[1], x * v * 100.0)
        near(grad(lambda x: f(x).sum())(x), x * 100.0)
        near(vjp(f, x)[1](v)[0], x * v * 100.0)

    def test_second_order_follows_the_rule_again(self, rng):
        f, x = square_rule(), t(rng, 3)
        # d/dx (f * 100 x) = 100 x * 100 x + f * 100, with f's derivative by the rule
        want = np.diag(2 * (1e4 * x.numpy() ** 2 + 100 * x.numpy() ** 2))
        for h in (hessian, lambda f: jacrev(jacrev(f)), lambda f: jacrev(grad(f))):
            near(h(lambda x: (f(x) * f(x)).sum())(x), want)

    def test_under_vmap_either_way(self, rng):
        f, x = square_rule(), t(rng, 4, 3)
        near(vmap(grad(lambda x: f(x).sum()))(x), x * 100.0)
        near(grad(lambda x: vmap(f)(x).sum())(x), x * 100.0)
        near(jvp(vmap(f), (x,), (x,))[1], x * x * 100.0)

    def test_several_arguments_some_without_tangents(self, rng):
        @custom_jvp
        def power(x, n):
            return x * wf.astype(n, wf.float64)

        @power.defjvp
        def _(primals, tangents):
            assert tangents[1] is None
            return power(*primals), tangents[0] * 3.0

        x = t(rng, 3)
        near(grad(lambda x: power(x, wf.tensor(5)).sum())(x), np.full(3, 3.0))
        near(power(x, wf.tensor(5)), x * 5.0)

    def test_backward_and_structure_of_one_step_to_the_next(self, rng):
        from weft.runtime.executor import programs

        f, x = square_rule(), t(rng, 3, requires_grad=True)
        for step in range(3):
            x.grad = None
            f(x).sum().backward()
            near(x.grad, x.detach() * 100.0)
            if step == 1:
                before = programs.misses
        assert programs.misses == before

    @pytest.mark.parametrize(
        ("rule", "error", "says"),
        [
            (lambda p, t: t[0], TraceError, "must return a pair"),
            (lambda p, t: (p[0], (t[0], t[0])), TraceError, "the rule returns"),
            (lambda p, t: (p[0], t[0].sum()), ShapeError, r"tangent is float64 \(\)"),
        ],
    )
    def test_errors(self, rng, rule, error, says):
        f = custom_jvp(lambda x: x * 1.0)
        f.defjvp(rule)
        with pytest.raises(error, match=says):
            grad(lambda x: f(x).sum())(t(rng, 3))


def test_stop_gradient(rng):
    x = t(rng, 3)
    near(grad(lambda x: (stop_gradient(x) * x).sum())(x), x)
    near(jvp(lambda x: stop_gradient({"a": x})["a"] * x, (x,), (x,))[1], x * x)
    near(vmap(grad(lambda x: (stop_gradient(x) * x).sum()))(wf.stack([x, x])), wf.stack([x, x]))
    near(grad(lambda x: scan(lambda c, x: (c + stop_gradient(x) * x, None), 0.0, x)[0])(x), x)
    assert not stop_gradient(t(rng, 2, requires_grad=True)).requires_grad


def _within(kind, f, x):
    """f inside loops and branches inside one another."""
    if kind == "cond in cond":
        return cond(
            x.sum() > -99, lambda c: cond(c.sum() > -99, f, lambda c: c, c), lambda c: c, x
        )  # fmt: skip
    if kind == "scan in scan":
        return scan(lambda c, _: (scan(lambda d, _: (f(d), None), c, length=2)[0], None), x, length=2)[0]
    if kind == "cond in scan":
        return scan(lambda c, _: (cond(c.sum() > -99, f, lambda c: c, c), None), x, length=2)[0]
    return checkpoint(checkpoint(f))(x)


@pytest.mark.parametrize("kind", ["cond in cond", "scan in scan", "cond in scan", "checkpoint twice"])
@pytest.mark.parametrize("make", ["vjp", "jvp"])
def test_numbers_and_constant_tensors_from_outside_are_no_hindrance_however_deep(kind, make):
    weights = wf.tensor([2.0, 3.0], dtype="float64")
    plain = lambda v: v**3 * 0.5 * weights
    if make == "vjp":
        f = custom_vjp(lambda v: plain(v))
        f.defvjp(lambda v: (plain(v), v), lambda v, ct: (1.5 * v * v * weights * ct,))
    else:
        f = custom_jvp(lambda v: plain(v))
        f.defjvp(lambda vs, ts: (plain(vs[0]), 1.5 * vs[0] ** 2 * weights * ts[0]))
    x = wf.tensor([0.3, -0.7], dtype="float64")
    expected = grad(lambda v: _within(kind, plain, v).sum())(x)
    near(grad(lambda v: _within(kind, f, v).sum())(x), expected)
    near(hessian(lambda v: _within(kind, f, v).sum())(x), hessian(lambda v: _within(kind, plain, v).sum())(x))
    y = wf.tensor([0.3, -0.7], dtype="float64", requires_grad=True)
    _within(kind, f, y).sum().backward()
    near(y.grad, expected)


def test_a_differentiated_tensor_from_outside_is_refused_also_inside_loops():
    w = wf.tensor([2.0, 3.0], requires_grad=True)
    f = custom_vjp(lambda v: v * w)
    f.defvjp(lambda v: (v * w, None), lambda _, ct: (ct * w,))
    with pytest.raises(GradientError, match="uses another tensor"):
        scan(lambda c, _: (f(c), None), wf.ones(2), length=2)[0].sum().backward()


class TestSecondDerivatives:
    """They are derivatives of what the rule computes, whether or not that is the function's own derivative."""

    @staticmethod
    def orders(f):
        one = wf.tensor(1.0)
        yield wf.grad(wf.grad(f))
        yield wf.hessian(f)
        yield lambda x: wf.jvp(wf.grad(f), (x,), (one,))[1]
        yield wf.grad(lambda x: wf.jvp(f, (x,), (one,))[1])
        yield lambda x: wf.jvp(lambda v: wf.jvp(f, (v,), (one,))[1], (x,), (one,))[1]

    @pytest.mark.parametrize(
        "forward, backward, expected",
        [
            (lambda f, x: (x * x * x, x), lambda x, ct: (ct * 10 * x,), 10.0),  # an argument
            (
                lambda f, x: (x * x * x, x * x),
                lambda r, ct: (ct * 10 * r,),
                40.0,
            ),  # through forward's operations
            (lambda f, x: (x * x * x, f(x)), lambda r, ct: (ct * r,), 8.0),  # through the rule again: f' = f
            (lambda f, x: (x * x * x, wf.stop_gradient(x)), lambda x, ct: (ct * 10 * x,), 0.0),
            (lambda f, x: (x * x * x, None), lambda _, ct: (ct,), 0.0),
        ],
    )
    def test_of_custom_vjp(self, forward, backward, expected):
        @wf.custom_vjp
        def f(x):
            return x * x * x

        f.defvjp(lambda x: forward(f, x), backward)
        assert [d(wf.tensor(2.0)).item() for d in self.orders(f)] == [expected] * 5

    def test_of_custom_jvp(self):
        @wf.custom_jvp
        def f(x):
            return x * x * x

        @f.defjvp
        def _(primals, tangents):
            (x,), (t,) = primals, tangents
            return f(x), f(x) * t  # on purpose not 3 x^2

        assert [d(wf.tensor(2.0)).item() for d in self.orders(f)] == [8.0] * 5  # f' = f, so that f'' = f' = f
