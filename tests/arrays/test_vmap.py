"""`vmap` against a Python loop over the examples, alone and nested with the derivatives."""

import numpy as np
import pytest

from weft.arrays.backward import no_grad
from weft.arrays.creation import tensor
from weft.arrays.grad import grad, jvp, value_and_grad
from weft.arrays.vmap import vmap
from weft.base.errors import ArgumentError, ShapeError, TraceError


def t(rng, *shape, **kw):
    return tensor(rng.standard_normal(shape), **kw)


def rows(function, x, *more):
    """`function` of each row, stacked."""
    return np.stack([function(tensor(r), *more).numpy() for r in x.numpy()])


def quadratic(x, w):
    return (x * x * w).sum()


def test_it_is_the_loop(rng):
    x, w = t(rng, 4, 3), t(rng, 3)
    np.testing.assert_allclose(vmap(quadratic, (0, None))(x, w).numpy(), rows(quadratic, x, w))
    np.testing.assert_allclose(vmap(lambda x: quadratic(x, w))(x).numpy(), rows(quadratic, x, w))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_in_and_out_axes(rng, axis):
    x = t(rng, 2, 3, 4)
    moved = np.moveaxis(x.numpy(), axis, 0)
    want = np.moveaxis(np.stack([2 * m for m in moved]), 0, axis)
    np.testing.assert_allclose(vmap(lambda x: x + x, axis, axis)(x).numpy(), want)


def test_containers_in_and_out(rng):
    a, b = t(rng, 3, 2), t(rng, 2, 3)
    out = vmap(lambda d, s: {"sum": d["a"] + d["b"], "both": (d["a"], s)}, ({"a": 0, "b": 1}, None))(
        {"a": a, "b": b}, tensor(1.0)
    )
    np.testing.assert_allclose(out["sum"].numpy(), a.numpy() + b.numpy().T)
    assert out["both"][1].shape == (3,)  # does not depend on the examples: repeated


def test_out_axes_none_needs_independence(rng):
    x = t(rng, 3)
    out, same = vmap(lambda x: (x, tensor(1.0)), out_axes=(0, None))(x)
    assert (out.shape, same.shape) == ((3,), ())
    with pytest.raises(TraceError, match="result 0 depends on the mapped arguments"):
        vmap(lambda x: x, out_axes=None)(x)


def test_keyword_arguments_are_shared(rng):
    x, w = t(rng, 4, 3), t(rng, 3)
    np.testing.assert_allclose(vmap(quadratic)(x, w=w).numpy(), rows(quadratic, x, w))


def test_per_sample_gradients_of_arguments_and_closures(rng):
    x, w = t(rng, 4, 3), t(rng, 3)
    np.testing.assert_allclose(vmap(grad(quadratic), (0, None))(x, w).numpy(), 2 * x.numpy() * w.numpy())
    by_weight = vmap(grad(lambda w, x: quadratic(x, w)), (None, 0))(w, x)
    np.testing.assert_allclose(by_weight.numpy(), x.numpy() ** 2)


def test_backward_through_vmap_into_a_closed_over_leaf(rng):
    x, w = t(rng, 4, 3), t(rng, 3, requires_grad=True)
    vmap(lambda x: quadratic(x, w))(x).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), (x.numpy() ** 2).sum(0))


def test_any_order_of_nesting(rng):
    x, v = t(rng, 4, 3), t(rng, 4, 3)

    def f(x):
        return (x * x * x).sum()

    want = 6 * x.numpy() * v.numpy()
    np.testing.assert_allclose(vmap(lambda x, v: jvp(grad(f), (x,), (v,))[1])(x, v).numpy(), want)
    np.testing.assert_allclose(jvp(vmap(grad(f)), (x,), (v,))[1].numpy(), want)
    np.testing.assert_allclose(jvp(grad(lambda x: vmap(f)(x).sum()), (x,), (v,))[1].numpy(), want)
    inner = vmap(lambda x, v: grad(lambda x: (grad(f)(x) * v).sum())(x))
    np.testing.assert_allclose(inner(x, v).numpy(), want)


def test_vmap_of_vmap_is_an_outer_product(rng):
    a, b = t(rng, 3), t(rng, 4)
    outer = vmap(vmap(lambda a, b: a * b, (None, 0)), (0, None))
    np.testing.assert_allclose(outer(a, b).numpy(), np.outer(a.numpy(), b.numpy()))


def test_value_and_grad_inside(rng):
    x = t(rng, 4, 3)
    value, slope = vmap(value_and_grad(lambda x: (x * x).sum()))(x)
    np.testing.assert_allclose(value.numpy(), (x.numpy() ** 2).sum(1))
    np.testing.assert_allclose(slope.numpy(), 2 * x.numpy())


def test_what_no_grad_cuts_off_stays_cut(rng):
    x = t(rng, 4, 3)

    def f(x):
        with no_grad():
            constant = x * x
        return (constant * x).sum()

    np.testing.assert_allclose(vmap(grad(f))(x).numpy(), x.numpy() ** 2)
    np.testing.assert_allclose(grad(lambda x: vmap(f)(x).sum())(x).numpy(), x.numpy() ** 2)
    with no_grad():
        np.testing.assert_allclose(vmap(grad(f))(x).numpy(), x.numpy() ** 2)


def test_zero_and_one_examples(rng):
    assert vmap(lambda x: (x * x).sum())(t(rng, 0, 3)).shape == (0,)
    assert vmap(grad(lambda x: (x * x).sum()))(t(rng, 1, 3)).shape == (1, 3)


def test_axis_size_without_mapped_arguments(rng):
    assert vmap(lambda x: x, None, axis_size=3)(t(rng, 2)).shape == (3, 2)
    with pytest.raises(ArgumentError, match="give axis_size"):
        vmap(lambda x: x, None)(t(rng, 2))


def test_rebinding_an_outer_tensor_raises(rng):
    seen = t(rng, 2)

    def f(x):
        seen._cell.rebind((seen + x)._node)
        return x

    with pytest.raises(TraceError, match=r"changed inside vmap .*test_vmap\.py"):
        vmap(f)(t(rng, 3, 2))


def test_rebinding_an_own_tensor_is_fine(rng):
    def f(x):
        y = x * 1.0
        y._cell.rebind((y + x)._node)
        return y

    x = t(rng, 3, 2)
    np.testing.assert_allclose(vmap(f)(x).numpy(), 2 * x.numpy())


def test_backward_into_an_outer_leaf_raises(rng):
    w = t(rng, 3, requires_grad=True)

    def f(x):
        (x * w).sum().backward()
        return x

    with pytest.raises(TraceError, match="grad of a tensor made outside"):
        vmap(f)(t(rng, 2, 3))


def test_a_value_cannot_be_looked_at(rng):
    with pytest.raises(TraceError, match="inside a trace"):
        vmap(lambda x: x * x.sum().item())(t(rng, 3, 2))


@pytest.mark.parametrize("use", [lambda x: x + 1.0, lambda x: x.numpy(), lambda x: vmap(lambda y: y * x)(x)])
def test_an_escaped_tensor_raises_at_first_use(rng, use):
    kept = []

    def f(x):
        kept.append(x * 2.0)
        return x

    vmap(f)(t(rng, 3, 2))
    with pytest.raises(TraceError):
        use(kept[0])


def test_an_escaped_tensor_returned_later_raises(rng):
    kept = []
    vmap(lambda x: kept.append(x) or x)(t(rng, 3))
    with pytest.raises(TraceError, match="has ended"):
        vmap(lambda x: kept[0])(t(rng, 3))


@pytest.mark.parametrize(
    ("arguments", "axes", "error", "says"),
    [
        ((np.zeros((2, 3)), np.zeros((3, 2))), 0, ShapeError, r"different sizes \(2, 3\)"),
        ((np.zeros(()),), 0, ShapeError, "no dimensions to map over"),
        ((np.zeros(3),), 1, ShapeError, "in_axes 1"),
        ((np.zeros(3),), (0, 0), ArgumentError, "2 entries for 1 values"),
        ((np.zeros(3),), "0", ArgumentError, "must hold integers or None"),
        ((3.0,), 0, ArgumentError, "is a float, which has no axis"),
        (({"a": np.zeros(3)},), ({"b": 0},), ArgumentError, "keys"),
    ],
)
def test_errors(arguments, axes, error, says):
    with pytest.raises(error, match=says):
        vmap(lambda *a: a[0], axes)(*[tensor(a) if isinstance(a, np.ndarray) else a for a in arguments])


def test_results_must_be_tensors(rng):
    with pytest.raises(TraceError, match="must return tensors"):
        vmap(lambda x: "text")(t(rng, 3))
    assert vmap(lambda x: 2.0)(t(rng, 3)).numpy().tolist() == [2.0, 2.0, 2.0]


def test_unknown_randomness():
    with pytest.raises(ArgumentError, match="randomness must be one of"):
        vmap(lambda x: x, randomness="some")
