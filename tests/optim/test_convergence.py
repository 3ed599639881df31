"""Every optimiser finds the minimum of a parabola, the end of Rosenbrock's valley and the weights of a network."""

import numpy as np
import pytest

import weft as wf
from optim_cases import NAMES, parameter
from weft import nn, optim
from weft.arrays.compile import compile

#: kind -> (options, steps) for the parabola, for Rosenbrock's function, and for the network.
TABLE = {
    "SGD": ((dict(lr=0.1), 60), (dict(lr=1e-3, momentum=0.9, nesterov=True), 1500), (dict(lr=0.2, momentum=0.9), 150)),
    "Adam": ((dict(lr=0.1), 150), (dict(lr=0.05), 1500), (dict(lr=0.05), 100)),
    "AdamW": ((dict(lr=0.1, weight_decay=0.0), 150), (dict(lr=0.05, weight_decay=0.0), 1500), (dict(lr=0.05), 100)),
    "NAdam": ((dict(lr=0.1), 200), (dict(lr=0.02), 1500), (dict(lr=0.05), 100)),
    "RAdam": ((dict(lr=0.2), 200), (dict(lr=0.01, betas=(0.9, 0.99)), 1500), (dict(lr=0.1), 150)),
    "Adamax": ((dict(lr=0.1), 200), (dict(lr=0.1), 1500), (dict(lr=0.05), 100)),
    "Adagrad": ((dict(lr=1.0), 100), (dict(lr=0.5), 3000), (dict(lr=0.2), 100)),
    "Adadelta": ((dict(lr=10.0, eps=1e-4), 150), (dict(lr=0.1), 4000), (dict(lr=5.0), 150)),
    "RMSprop": ((dict(lr=0.01, momentum=0.9, centered=True), 200), (dict(lr=1e-3, momentum=0.9), 1500),
                (dict(lr=0.02), 100)),
    "Rprop": ((dict(), 60), (dict(lr=1e-3), 1500), (dict(), 100)),
    "ASGD": ((dict(lr=0.1), 60), (dict(lr=2e-3), 3000), (dict(lr=1.0), 200)),
    "Lion": ((dict(lr=0.02, betas=(0.5, 0.5)), 200), (dict(lr=2e-3), 1500), (dict(lr=0.02), 150)),
    "Adafactor": ((dict(lr=0.3), 300), (dict(lr=5e-3, beta2_decay=-0.3, eps=(None, 1.0)), 4000), (dict(lr=0.3), 150)),
    "Muon": ((dict(lr=0.03, weight_decay=0.0, momentum=0.5), 200),
             (dict(lr=4e-3, weight_decay=0.0), 1500), (dict(lr=0.1), 100)),
    "LBFGS": ((dict(), 2), (dict(line_search_fn="strong_wolfe"), 3), (dict(line_search_fn="strong_wolfe"), 3)),
}  # fmt: skip
#: Those whose steps do not shrink stay about a step away from the minimum.
SLACK = {"Lion": 0.05, "Muon": 0.05}

#: As it is written, on the reference backend; and as one compiled program, of native code.
both = pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])


def test_the_table_is_complete():
    found = {n for n in optim.__all__ if isinstance(getattr(optim, n), type)}
    assert {n for n in found if issubclass(getattr(optim, n), optim.Optimizer)} == {*TABLE, "Optimizer"}
    assert set(NAMES) | {"Muon", "LBFGS"} == set(TABLE)


def descend(kind, options, steps, params, loss_of, compiled):
    optimizer = getattr(optim, kind)(params, **options)

    def closure():
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    if kind == "LBFGS":
        run = compile(closure) if compiled else closure
        with wf.config(backend="cpu" if compiled else "reference"):
            for _ in range(steps):
                optimizer.step(run)
        return

    def step():
        loss = closure()
        optimizer.step()
        return loss

    run = compile(step) if compiled else step
    with wf.config(backend="cpu" if compiled else "reference"):
        for _ in range(steps):
            run()


@both
@pytest.mark.parametrize("kind", TABLE)
def test_parabola(kind, compiled):
    options, steps = TABLE[kind][0]
    p = parameter([[3.0], [-2.0]])  # a matrix, as Muon wants it
    centre, weight = wf.tensor([[1.0], [0.5]]), wf.tensor([[1.0], [3.0]])
    descend(kind, options, steps, [p], lambda: ((p - centre) * (p - centre) * weight).sum(), compiled)
    np.testing.assert_allclose(p.numpy(), [[1.0], [0.5]], atol=SLACK.get(kind, 5e-3))


@both
@pytest.mark.parametrize("kind", TABLE)
def test_rosenbrock(kind, compiled):
    """(1-x)^2 + 100 (y-x^2)^2 has its minimum 0 at (1, 1), at the end of a curved valley."""
    options, steps = TABLE[kind][1]
    x, y = parameter([[-1.0]], "float64"), parameter([[1.0]], "float64")

    def loss_of():
        a, b = 1.0 - x, y - x * x
        return (a * a + 100.0 * b * b).sum()

    descend(kind, options, steps, [x, y], loss_of, compiled)
    np.testing.assert_allclose([x.item(), y.item()], [1, 1], atol=0.1)


@both
@pytest.mark.parametrize("kind", TABLE)
def test_a_small_network_learns_the_exclusive_or(kind, compiled):
    options, steps = TABLE[kind][2]
    wf.manual_seed(0)
    # Without biases every parameter is a matrix, as Muon wants them; a constant input stands for them.
    net = nn.Sequential(nn.Linear(3, 8, bias=False), nn.Tanh(), nn.Linear(8, 1, bias=False))
    x = wf.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    y = wf.tensor([[0.0], [1.0], [1.0], [0.0]])

    def loss_of():
        return nn.functional.binary_cross_entropy_with_logits(net(x), y)

    descend(kind, options, steps, list(net.parameters()), loss_of, compiled)
    assert ((net(x) > 0).numpy() == (y > 0.5).numpy()).all() and loss_of().item() < 0.2
