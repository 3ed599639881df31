"""Whole training steps through the transformations: eager and compiled, plain and checkpointed, bit for bit."""

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.nn import functional as F


def _classifier():
    wf.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))


def _clipped_step(model, optimizer):
    """A step with the gradient of every example clipped to length 1 on its own."""
    params = dict(model.named_parameters())

    def loss(p, x, y):
        return F.cross_entropy(nn.functional_call(model, p, None, x[None]), y[None])

    def step(x, y):
        detached = {k: p.detach() for k, p in params.items()}
        slopes = wf.vmap(wf.grad(loss), (None, 0, 0))(detached, x, y)
        for k, p in params.items():
            length = wf.sqrt((slopes[k] ** 2).reshape(x.shape[0], -1).sum(axis=1))
            factor = wf.minimum(1.0 / length, wf.ones_like(length))
            p.grad = (slopes[k] * factor.reshape(-1, *[1] * p.ndim)).mean(axis=0)
        optimizer.step()
        return slopes["3.bias"]

    return step


def test_steps_with_clipped_gradients_per_example():
    x = wf.tensor(np.random.default_rng(0).random((6, 1, 8, 8)), dtype="float32")
    y = wf.tensor(np.arange(6))
    found = []
    for compiled in (False, True):
        model = _classifier()
        step = _clipped_step(model, wf.optim.SGD(model.parameters(), lr=0.1))
        step = wf.compile(step) if compiled else step
        slopes = [step(x, y).numpy() for _ in range(3)]
        found.append([*slopes, *[p.numpy().copy() for p in model.parameters()]])
    for a, b in zip(*found):
        np.testing.assert_array_equal(a, b)
    model = _classifier()
    per_example = found[0][0]
    for i in range(6):
        model.zero_grad()
        F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        np.testing.assert_allclose(per_example[i], model[3].bias.grad.numpy(), rtol=1e-4, atol=1e-6)


class Block(nn.Module):
    """A transformer block with dropout."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.inner = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.Dropout(0.1)
        )

    def forward(self, x):
        h = self.norm(x)
        x = x + self.attention(h, h, h)[0]
        return x + self.inner(self.norm(x))


@pytest.mark.parametrize("compiled", [False, True])
def test_checkpointed_blocks_train_alike(compiled):
    losses = []
    for checkpointed in (False, True):
        wf.manual_seed(1)
        blocks = nn.ModuleList([Block(8) for _ in range(2)])
        optimizer = wf.optim.AdamW(blocks.parameters(), lr=1e-2)
        x = wf.tensor(np.random.default_rng(0).random((2, 5, 8)), dtype="float32")

        def step(x, blocks=blocks, optimizer=optimizer, checkpointed=checkpointed):
            for b in blocks:
                x = (wf.checkpoint(b) if checkpointed else b)(x)
            loss = (x * x).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = wf.compile(step) if compiled else step
        losses.append([run(x).item() for _ in range(3)])
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


def test_gradients_through_an_inner_optimisation():
    """The rate of gradient descent, learned by differentiating through its steps."""
    a = wf.tensor([[2.0, 0.3], [0.3, 0.5]], dtype="float64")
    start = wf.tensor([1.0, -1.0], dtype="float64")

    def energy(p):
        return (p * (a @ p)).sum()

    def descend(rate, loop):
        step = lambda p, _: (p - rate * wf.grad(energy)(p), energy(p))
        if loop:
            return energy(wf.scan(step, start, length=5)[0])
        p = start
        for _ in range(5):
            p, _ = step(p, None)
        return energy(p)

    rate = wf.tensor(0.05, dtype="float64")
    value, slope = wf.value_and_grad(lambda r: descend(r, True))(rate)
    h = 1e-6
    ahead, behind = (descend(rate + d, False).item() for d in (h, -h))
    np.testing.assert_allclose(slope.item(), (ahead - behind) / (2 * h), rtol=1e-6)
    assert slope.item() < 0
    assert value.item() < energy(start).item()
    rates = wf.tensor([0.01, 0.05, 0.1], dtype="float64")
    curve = wf.vmap(wf.grad(lambda r: descend(r, True)))(rates)
    np.testing.assert_allclose(curve.numpy()[1], slope.item(), rtol=1e-12)
