"""`backward`, `gradients`, `grad`, `jvp`, `vjp`, Jacobians: against known derivatives, against each other, nested."""

import numpy as np
import pytest

import weft as wf
from weft.arrays.backward import backward, enable_grad, gradients, no_grad
from weft.arrays.creation import tensor
from weft.arrays.grad import grad, jvp, linear_transpose, value_and_grad, vjp
from weft.arrays.jacobian import hessian, jacfwd, jacrev
from weft.arrays.vmap import vmap
from weft.base.errors import GradientError, ShapeError


def t(rng, *shape, **kw):
    return tensor(rng.standard_normal(shape), **kw)


def cube(x):
    return (x * x * x).sum()


# -- backward ---------------------------------------------------------------------------------------------------


def test_backward_accumulates(rng):
    x = t(rng, 3, requires_grad=True)
    (x * x).sum().backward()
    (x * x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * x.numpy())


def test_backward_of_a_vector_needs_a_gradient(rng):
    x = t(rng, 3, requires_grad=True)
    with pytest.raises(GradientError, match="must have exactly one element"):
        (x * x).backward()
    with pytest.raises(ShapeError, match="the output"):
        (x * x).backward(t(rng, 2))
    (x * x).backward(tensor(np.array([1.0, 10.0, 100.0])))
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.numpy() * [1, 10, 100])


def test_a_second_backward_raises_unless_retained(rng):
    x = t(rng, 3, requires_grad=True)
    loss = cube(x)
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * x.numpy() ** 2)
    with pytest.raises(GradientError, match="already passed here"):
        loss.backward()


def test_a_released_graph_used_again_raises_and_loses_no_gradient(rng):
    x, w = t(rng, 3, requires_grad=True), t(rng, 3, requires_grad=True)
    h = x * x
    before = (h * w).sum()
    h.sum().backward()
    h.numpy()
    after = (h * 2.0 * w).sum()
    for loss in (before, after):
        with pytest.raises(GradientError, match="already passed here"):
            loss.backward()
    (h.detach() * w).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), x.numpy() ** 2)


def test_create_graph_gives_second_derivatives(rng):
    x = t(rng, 3, requires_grad=True)
    cube(x).backward(create_graph=True)
    slope = x.grad
    assert slope.requires_grad
    (second,) = gradients(slope.sum(), x)
    np.testing.assert_allclose(second.numpy(), 6 * x.numpy())


def test_backward_of_what_needs_no_gradient(rng):
    with pytest.raises(GradientError, match=r"not depend on any tensor .* set requires_grad"):
        t(rng, 3).sum().backward()
    with no_grad(), pytest.raises(GradientError, match=r"nothing is recorded inside no_grad\(\)"):
        t(rng, 3, requires_grad=True).sum().backward()


def test_backward_reaches_a_leaf_that_was_rebound(rng):
    x = t(rng, 3, requires_grad=True)
    loss = cube(x)
    before = x.numpy().copy()
    with no_grad():
        x._cell.rebind((x + 1.0)._node)
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * before**2)


def test_several_outputs(rng):
    x = t(rng, 3, requires_grad=True)
    backward([cube(x), x * x], [None, tensor(np.ones(3))])
    np.testing.assert_allclose(x.grad.numpy(), 3 * x.numpy() ** 2 + 2 * x.numpy())


@pytest.mark.parametrize("decorate", [no_grad, no_grad()], ids=["bare", "called"])
def test_no_grad_as_a_decorator(rng, decorate):
    x = t(rng, 3, requires_grad=True)
    assert not decorate(cube)(x).requires_grad
    with no_grad():
        assert enable_grad(cube)(x).requires_grad


def test_a_gradient_taken_under_no_grad_is_a_constant(rng):
    w, x = t(rng, 3, requires_grad=True), t(rng, 3)
    slope = grad(lambda v: (w * v * v).sum())
    assert slope(x).requires_grad
    with no_grad():
        found = slope(x)
        moved = jvp(lambda v: (w * v * v * v).sum(), (x,), (x,))[1]
    np.testing.assert_allclose(found.numpy(), 2 * w.numpy() * x.numpy())
    np.testing.assert_allclose(moved.numpy(), (3 * w.numpy() * x.numpy() ** 3).sum())
    assert not found.requires_grad and not moved.requires_grad

    def outer(v):
        with no_grad():
            inner = grad(lambda u: (u * u * v).sum())(x)
        return (inner * v).sum()

    np.testing.assert_allclose(grad(outer)(x).numpy(), 2 * x.numpy() ** 2)
    assert slope(x).requires_grad


def test_a_tangent_under_no_grad_of_what_has_a_reverse_rule_alone(rng):
    x, w = t(rng, 3, 4), t(rng, 3, 4, requires_grad=True)
    f = lambda v: (wf.max(w * v, axis=1) * wf.cumulative_prod(v * w, axis=1).sum(axis=1)).sum()
    want = jvp(f, (x,), (x,))[1].numpy()
    with no_grad():
        np.testing.assert_array_equal(jvp(f, (x,), (x,))[1].numpy(), want)


# -- gradients ---------------------------------------------------------------------------------------------------


def test_gradients_of_intermediates(rng):
    x = t(rng, 3, requires_grad=True)
    y = x * x
    found = gradients((y * y).sum(), [y, x])
    np.testing.assert_allclose(found[0].numpy(), 2 * x.numpy() ** 2)
    np.testing.assert_allclose(found[1].numpy(), 4 * x.numpy() ** 3, rtol=1e-12)
    assert x.grad is None


def test_gradients_errors(rng):
    x, z = t(rng, 3, requires_grad=True), t(rng, 3, requires_grad=True)
    with pytest.raises(GradientError, match="no output depends on input 1"):
        gradients(cube(x), [x, z])
    assert gradients(cube(x), [x, z], allow_unused=True)[1] is None
    with pytest.raises(GradientError, match="input 0 does not require"):
        gradients(cube(x), t(rng, 3))
    loss = cube(x)
    gradients(loss, x)
    with pytest.raises(GradientError, match="already passed"):
        gradients(loss, x)


# -- functions of functions ------------------------------------------------------------------------------------


def test_grad_of_containers_and_several_arguments(rng):
    p = {"w": t(rng, 3), "b": [t(rng, 3)]}
    x = t(rng, 3)
    gp, gx = grad(lambda p, x: (p["w"] * x + p["b"][0]).sum(), argnums=(0, 1))(p, x)
    np.testing.assert_allclose(gp["w"].numpy(), x.numpy())
    np.testing.assert_allclose(gp["b"][0].numpy(), np.ones(3))
    np.testing.assert_allclose(gx.numpy(), p["w"].numpy())


def test_aux(rng):
    x = t(rng, 3)
    (value, aux), slope = value_and_grad(lambda x: (cube(x), "kept"), has_aux=True)(x)
    assert aux == "kept"
    slope2, aux = grad(lambda x: (cube(x), value), has_aux=True)(x)
    np.testing.assert_allclose(slope.numpy(), slope2.numpy())
    with pytest.raises(GradientError, match="pair"):
        grad(cube, has_aux=True)(x)


@pytest.mark.parametrize(
    ("function", "says"),
    [(lambda x: x * x, "one real number"), (lambda x: 3.0, "one real number, got a float")],
)
def test_grad_needs_a_real_number(rng, function, says):
    with pytest.raises(GradientError, match=says):
        grad(function)(t(rng, 3))


def test_an_unused_argument_has_gradient_zero(rng):
    assert grad(lambda x, y: cube(x), argnums=1)(t(rng, 3), t(rng, 2)).numpy().tolist() == [0, 0]


def test_integer_arguments_are_refused():
    with pytest.raises(GradientError, match="floating or complex"):
        grad(lambda x: x.sum())(tensor([1, 2]))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_grad_of_grad(order):
    f = lambda x: x * x * x
    for _ in range(order):
        f = grad(f)
    x = 1.7
    want = [3 * x * x, 6 * x, 6, 0][order - 1]
    np.testing.assert_allclose(f(tensor(np.array(x))).numpy(), want)


def test_inner_and_outer_derivatives_are_not_mixed_up():
    # d/dx (x * d/dy (x + y)) = 1: the inner derivative does not see x move.
    inner = lambda x: x * grad(lambda y: x + y)(tensor(np.array(1.0)))
    assert grad(inner)(tensor(np.array(3.0))).item() == 1.0
    assert jvp(inner, (tensor(np.array(3.0)),), (tensor(np.array(1.0)),))[1].item() == 1.0


def test_jvp_agrees_with_vjp(rng):
    x, v, u = t(rng, 3), t(rng, 3), t(rng, 3)
    f = lambda x: x * x * x.sum()
    value, moved = jvp(f, (x,), (v,))
    again, pull = vjp(f, x)
    np.testing.assert_allclose(value.numpy(), again.numpy())
    np.testing.assert_allclose((moved * u).sum().item(), (pull(u)[0] * v).sum().item())


def test_pull_can_be_called_often_late_and_under_transformations(rng):
    x = t(rng, 3)
    value, pull = vjp(lambda x: x * x, x)
    value.numpy()  # a flush between the two halves
    for _ in range(2):
        np.testing.assert_allclose(pull(x)[0].numpy(), 2 * x.numpy() ** 2)
    rows = vmap(lambda ct: pull(ct)[0])(tensor(np.eye(3)))
    np.testing.assert_allclose(rows.numpy(), np.diag(2 * x.numpy()))
    with pytest.raises(ShapeError, match="cotangent 0"):
        pull(t(rng, 2))
    with pytest.raises(GradientError, match="structure"):
        pull((x, x))


def test_vjp_is_differentiable_with_respect_to_the_point(rng):
    x = t(rng, 3)
    f = lambda x: vjp(lambda x: x * x * x, x)[1](tensor(np.ones(3)))[0].sum()
    np.testing.assert_allclose(grad(f)(x).numpy(), 6 * x.numpy())


def test_vjp_and_jvp_with_aux(rng):
    x = t(rng, 3)
    _, pull, aux = vjp(lambda x: (x * x, 1), x, has_aux=True)
    assert aux == 1 and pull(x)[0].shape == (3,)
    assert jvp(lambda x: (x * x, 1), (x,), (x,), has_aux=True)[2] == 1


def test_linear_transpose(rng):
    w, ct = t(rng, 2, 3), t(rng, 2)
    (back,) = linear_transpose(lambda x: w * x, t(rng, 2, 3))(w)
    np.testing.assert_allclose(back.numpy(), w.numpy() ** 2)
    with pytest.raises(GradientError, match="not linear"):
        linear_transpose(lambda x: x * x, ct)
    with pytest.raises(GradientError, match="not linear"):
        linear_transpose(lambda x: w, ct)


# -- Jacobians ---------------------------------------------------------------------------------------------------


def test_jacobians_of_a_matrix_function(rng):
    x = t(rng, 2, 3)
    f = lambda x: x * x
    want = np.zeros((2, 3, 2, 3))
    for i, j in np.ndindex(2, 3):
        want[i, j, i, j] = 2 * x.numpy()[i, j]
    np.testing.assert_allclose(jacfwd(f)(x).numpy(), want)
    np.testing.assert_allclose(jacrev(f)(x).numpy(), want)


def test_jacobians_of_containers(rng):
    p = {"a": t(rng, 2), "b": t(rng, 3)}
    f = lambda p: (p["a"] * p["b"].sum(), p["b"])
    forward, reverse = jacfwd(f)(p), jacrev(f)(p)
    for j in (forward, reverse):
        assert j[0]["a"].shape == (2, 2) and j[0]["b"].shape == (2, 3) and j[1]["a"].shape == (3, 2)
        np.testing.assert_allclose(j[0]["b"].numpy(), np.outer(p["a"].numpy(), np.ones(3)))
        np.testing.assert_allclose(j[1]["a"].numpy(), np.zeros((3, 2)))
        np.testing.assert_allclose(j[1]["b"].numpy(), np.eye(3))


def test_hessian_and_its_batch(rng):
    x = t(rng, 4, 3)
    f = lambda x: (x * x * x).sum() * x.sum()
    h = vmap(hessian(f))(x).numpy()
    for row, found in zip(x.numpy(), h):
        want = np.diag(6 * row) * row.sum() + 3 * row[:, None] ** 2 + 3 * row[None] ** 2
        np.testing.assert_allclose(found, want, rtol=1e-12)
    np.testing.assert_allclose(hessian(f)(tensor(x.numpy()[0])).numpy(), h[0])


def test_hessian_of_several_arguments(rng):
    x, y = t(rng, 2), t(rng, 2)
    h = hessian(lambda x, y: (x * x * y).sum(), argnums=(0, 1))(x, y)
    np.testing.assert_allclose(h[0][1].numpy(), np.diag(2 * x.numpy()))
    np.testing.assert_allclose(h[1][1].numpy(), np.zeros((2, 2)))


def test_jacobians_of_empty_tensors(rng):
    assert jacfwd(lambda x: x * x)(t(rng, 0)).shape == (0, 0)
    assert jacrev(lambda x: x * x)(t(rng, 0)).shape == (0, 0)


def test_jacobian_with_aux(rng):
    j, aux = jacrev(lambda x: (x * x, "kept"), has_aux=True)(t(rng, 2))
    assert j.shape == (2, 2) and aux == "kept"
