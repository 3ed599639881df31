"""The rules of the optimisers: against PyTorch, compiled, and on functions with a known minimum."""

import numpy as np
import pytest

from optim_cases import KINDS, OPTIONS, loss_of, parameter
from weft.arrays.compile import compile
from weft.arrays.creation import tensor
from weft.base.errors import DTypeError
from weft.optim import SGD, Adam


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_twenty_steps_equal_pytorch(kind, options, dtype, rng):
    torch = pytest.importorskip("torch")
    start = [rng.normal(size=(3, 2)).astype(dtype), rng.normal(size=2).astype(dtype)]
    ours = [parameter(s, dtype) for s in start]
    theirs = [torch.tensor(s, requires_grad=True) for s in start]
    mine = KINDS[kind](ours, **options)
    other = getattr(torch.optim, kind)(theirs, **options)
    tolerance = 2e-6 if dtype == "float32" else 1e-12
    for step in range(20):
        for params, optimizer in ((ours, mine), (theirs, other)):
            optimizer.zero_grad()
            loss_of(*params).backward()
            optimizer.step()
        for a, b in zip(ours, theirs, strict=True):
            b = b.detach().numpy()
            np.testing.assert_allclose(a.numpy(), b, rtol=tolerance, atol=tolerance, err_msg=f"step {step}")


@pytest.mark.parametrize("kind", KINDS)
def test_groups_with_options_of_their_own_equal_pytorch(kind, rng):
    torch = pytest.importorskip("torch")
    start = [rng.normal(size=3).astype("float32") for _ in range(2)]
    ours, theirs = [parameter(s) for s in start], [torch.tensor(s, requires_grad=True) for s in start]
    pairs = [(ours, KINDS[kind]), (theirs, getattr(torch.optim, kind))]
    optimizers = [
        make([{"params": [p[0]]}, {"params": p[1], "lr": 0.01, "weight_decay": 0.3}], lr=0.1)
        for p, make in pairs
    ]
    for step in range(6):
        for (params, _), optimizer in zip(pairs, optimizers, strict=True):
            optimizer.zero_grad()
            loss_of(params[0], params[1]).backward()
            if step == 3:
                optimizer.param_groups[0]["lr"] = 0.03
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=2e-6, atol=1e-6)


def take_step(params, optimizer):
    optimizer.zero_grad()
    loss = loss_of(*params)
    loss.backward()
    optimizer.step()
    return loss


def closed(params, optimizer):
    """The step as a function without arguments, which `compile` lets capture what it uses."""
    return lambda: take_step(params, optimizer)


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_a_compiled_step_gives_the_same_bits(kind, options, rng):
    start = [rng.normal(size=(3, 2)), rng.normal(size=2)]
    runs = []
    for compiled in (False, True):
        params = [parameter(s) for s in start]
        optimizer = KINDS[kind](params, **options)

        run = closed(params, optimizer)
        if compiled:
            run = compile(run)
        losses = [run().item() for _ in range(5)]
        optimizer.param_groups[0]["lr"] = 0.01
        losses += [run().item() for _ in range(3)]
        runs.append((losses, [p.numpy().tobytes() for p in params]))
        if compiled:
            assert run.traces == 1  # a new learning rate is no reason to trace again
    assert runs[0] == runs[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_without_gradient_stays(kind):
    p, q = parameter([1.0, 2.0]), parameter([3.0])
    optimizer = KINDS[kind]([p, q], lr=0.1)
    (p * p).sum().backward()
    optimizer.step()
    assert q.numpy().tolist() == [3.0]
    assert p.numpy().tolist() != [1.0, 2.0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_late_gradient_counts_its_own_steps(kind):
    """A parameter that gets its first gradient later is treated as at its first step."""
    p, q = parameter([1.0]), parameter([1.0])
    optimizer = KINDS[kind]([p, q], lr=0.1)
    moved = []
    for params in ([p], [p, q]):
        optimizer.zero_grad()
        for t in params:
            (t * t).sum().backward()
        before = p.numpy().copy()
        optimizer.step()
        moved.append((before - p.numpy(), 1 - q.numpy()))
    np.testing.assert_array_equal(moved[0][0], moved[1][1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_storage_types_are_updated_in_float32(kind, dtype):
    p = tensor([1.0, -2.0], dtype=dtype, requires_grad=True)
    optimizer = KINDS[kind]([p], lr=0.125, **({"momentum": 0.9} if kind == "SGD" else {}))
    for _ in range(3):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
    assert str(p.dtype) == dtype
    assert {str(t.dtype) for t in optimizer.state[p].values()} == {"float32", "int64"}
    assert abs(p.numpy().astype("float32")).max() < 2


def test_complex_parameters():
    p = tensor(np.array([1 + 2j], "complex64"), requires_grad=True)
    optimizer = SGD([p], lr=0.5, momentum=0.9)
    p._cell.grad = tensor(np.array([2 - 2j], "complex64"))
    optimizer.step()
    assert p.numpy().tolist() == [3j]
    with pytest.raises(DTypeError, match="real and imaginary"):
        Adam([p])


@pytest.mark.parametrize(
    ("kind", "options", "steps"),
    [
        ("SGD", dict(lr=0.1), 120),
        ("SGD", dict(lr=0.05, momentum=0.8), 120),
        ("Adam", dict(lr=0.1), 300),
        ("AdamW", dict(lr=0.1, weight_decay=0.0), 300),
    ],
)
def test_parabola(kind, options, steps):
    p = parameter([3.0, -2.0])
    optimizer = KINDS[kind]([p], **options)
    centre, weight = tensor([1.0, 0.5]), tensor([1.0, 3.0])
    for _ in range(steps):
        optimizer.zero_grad()
        ((p - centre) * (p - centre) * weight).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(p.numpy(), [1.0, 0.5], atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "options"), [("SGD", dict(lr=1e-3, momentum=0.9, nesterov=True)), ("Adam", dict(lr=0.05))]
)
def test_rosenbrock(kind, options):
    """(1-x)^2 + 100 (y-x^2)^2 has its minimum 0 at (1, 1), at the end of a curved valley."""
    x, y = parameter(-1.0, "float64"), parameter(1.0, "float64")
    optimizer = KINDS[kind]([x, y], **options)

    @compile
    def step():
        a, b = 1.0 - x, y - x * x
        (a * a + 100.0 * b * b).backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(1500):
        step()
    np.testing.assert_allclose([x.item(), y.item()], [1, 1], atol=0.02)
