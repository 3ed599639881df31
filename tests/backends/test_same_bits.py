"""Whole training steps of the main models: the same bits for any number of threads, and what the reference finds."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.nn import functional as F


class Reader(nn.Module):
    """An LSTM over a sequence of tokens."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 24)
        self.lstm = nn.LSTM(24, 40, batch_first=True)
        self.head = nn.Linear(40, 10)

    def forward(self, x):
        states, _ = self.lstm(self.embed(x))
        return self.head(states[:, -1])


class Attender(nn.Module):
    """One block of attention with its norms."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        self.norm = nn.LayerNorm(32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 96), nn.GELU(), nn.Linear(96, 10))

    def forward(self, x):
        x = self.embed(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.mlp(x).mean(axis=1)


def mlp():
    return nn.Sequential(
        nn.Linear(200, 160), nn.ReLU(), nn.Dropout(0.2), nn.Linear(160, 96), nn.Tanh(), nn.Linear(96, 10)
    )


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(10),
    )  # fmt: skip


def numbers(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def tokens(rng, *shape):
    return rng.integers(0, 50, shape)


#: name -> (model, what makes its input)
MODELS = {
    "mlp": (mlp, lambda rng: numbers(rng, 64, 200)),
    "cnn": (cnn, lambda rng: numbers(rng, 16, 1, 20, 20)),
    "lstm": (Reader, lambda rng: tokens(rng, 12, 9)),
    "attention": (Attender, lambda rng: tokens(rng, 8, 24)),
}


class Training:
    """A model and its compiled step, which can be started again from the same state."""

    def __init__(self, name):
        make, data = MODELS[name]
        rng = np.random.default_rng(7)
        wf.manual_seed(7)
        self.x = wf.tensor(data(rng))
        self.y = wf.tensor(rng.integers(0, 10, self.x.shape[0]))
        self.model = model = make()
        model(self.x)  # the lazy layer finds its size
        self.optimizer = optimizer = optim.Adam(model.parameters(), lr=1e-2)

        @wf.compile
        def step(x, y):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        self.step = step
        step(self.x, self.y)  # now all state is there
        self.start = copy.deepcopy((model.state_dict(), optimizer.state_dict()))

    def again(self):
        """A few steps of Adam from the start: losses, gradients, parameters and statistics, as bytes."""
        wf.manual_seed(8)
        weights, slots = copy.deepcopy(self.start)
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(slots)
        losses = [self.step(self.x, self.y).numpy() for _ in range(3)]
        self.losses = [float(x) for x in losses]
        assert np.isfinite(losses).all() and len(set(self.losses)) == 3
        seen = [*losses, *[p.grad.numpy() for p in self.model.parameters()]]
        seen += [v.numpy() for v in self.model.state_dict().values()]
        return [v.tobytes() for v in seen]


@pytest.fixture
def compiled():
    before = wf.get_num_threads()
    with wf.config(backend="cpu"):
        yield
    wf.set_num_threads(before)


@pytest.mark.parametrize("name", MODELS)
def test_the_bits_of_training_do_not_depend_on_the_number_of_threads(compiled, name):
    training = Training(name)
    found = []
    for count in (1, 2, 3, 4, 8):
        wf.set_num_threads(count)
        found.append(training.again())
    assert all(bits == found[0] for bits in found)
    with wf.config(backend="reference"):
        reference = Training(name)
        reference.again()
    np.testing.assert_allclose(training.losses, reference.losses, rtol=2e-4)


MOVED = {
    "channels to pixels": ((5, 32, 9, 11), lambda x: F.pixel_shuffle(x, 2)),
    "pixels to channels": ((26, 2, 12, 14), lambda x: F.pixel_unshuffle(x, 2)),
    "channels shuffled": ((5, 8, 9, 11), lambda x: F.channel_shuffle(x, 2)),
    "pixels repeated": ((5, 8, 9, 11), lambda x: F.interpolate(x, scale_factor=2)),
    "pixels between": ((5, 8, 9, 11), lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")),
}


@pytest.mark.parametrize("case", MOVED)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_bits_of_a_convolution_do_not_depend_on_whether_its_image_was_moved_before(case, stride):
    shape, move = MOVED[case]
    rng = np.random.default_rng(9)
    x, w = (wf.tensor(numbers(rng, *s)) for s in (shape, (32, 8, 3, 3)))
    image = move(F.relu(x))
    image.numpy()
    alone = F.conv2d(image, w, stride=stride).numpy()
    together = wf.compile(lambda x, w: F.conv2d(move(F.relu(x)), w, stride=stride))(x, w).numpy()
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_attention_in_blocks_for_any_number_of_threads(causal, dropout):
    """Values and gradients of more queries than one block has, as written and compiled."""
    options = {"is_causal": causal, "dropout_p": dropout}
    wf.manual_seed(4)
    args = [wf.randn(2, 2, 700, 16) for _ in range(3)]

    def attend(q, k, v):
        wf.manual_seed(5)
        return F.scaled_dot_product_attention(q, k, v, **options)

    gradients = wf.grad(lambda q, k, v: (attend(q, k, v) ** 2).sum(), argnums=(0, 1, 2))
    compiled = wf.compile(gradients)
    before, found = wf.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            wf.set_num_threads(threads)
            made = [*gradients(*args), attend(*args), *[compiled(*args) for _ in range(3)][-1]]
            found.append([x.numpy() for x in made])
    finally:
        wf.set_num_threads(before)
    for made in found:
        for k, x in enumerate(made):
            np.testing.assert_array_equal(x, found[0][k % 4])
