"""Functions and layers traced once with named dimensions, run for every size."""

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.base.errors import ArgumentError, IndexingError, ShapeError

B, S, H, W = map(wf.Dim, "BSHW")


def data(shape):
    return wf.tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def check(function, spec, *shapes):
    """One trace of `function` for the open `spec` gives what the function itself gives, for each of the shapes."""
    with wf.no_grad():
        program = wf.compile(function).trace(wf.spec(spec))
        for shape in shapes:
            x = data(shape)
            found, expected = program(x), function(x)
            found, expected = (r[0] if isinstance(r, tuple) else r for r in (found, expected))
            assert found.dtype is expected.dtype
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


FUNCTIONS = {
    "mean": lambda x: x.mean(1),
    "mean by hand": lambda x: x.sum(axis=1) / x.shape[1],
    "variance": lambda x: wf.var(x, axis=1),
    "first": lambda x: x[:, 0],
    "last": lambda x: x[:, -1],
    "without the first": lambda x: x[:, 1:],
    "without the last": lambda x: x[:, :-1],
    "inner": lambda x: x[:, 1:-1],
    "reversed": lambda x: wf.flip(x, axis=1),
    "concatenated": lambda x: wf.concat([x, wf.zeros((x.shape[0], 1, 8)), x], axis=1),
    "stacked": lambda x: wf.stack([x, x]),
    "flattened": lambda x: wf.reshape(x, (-1, 8)),
    "folded": lambda x: wf.reshape(x, (x.shape[0], -1)),
    "new axis": lambda x: x[:, None],
    "positions": lambda x: x + wf.arange(x.shape[1])[:, None],
    "positions from one": lambda x: x[:, 1:] * wf.arange(1, x.shape[1])[:, None],
    "float positions": lambda x: x * wf.arange(x.shape[1], dtype=wf.float32)[:, None],
    "size times": lambda x: x.shape[1] * x,
    "size minus": lambda x: x.shape[0] - x,
    "polynomial of sizes": lambda x: x + x.shape[1] * 2 - 1,
    "size in a function": lambda x: wf.maximum(x, x.shape[1]),
    "size with integers": lambda x: wf.argmax(x, axis=1) // x.shape[1],
    "size compared": lambda x: x * wf.astype(wf.arange(x.shape[1]) < x.shape[1] - 1, wf.float32)[:, None],
    "all sizes": lambda x: x / x.size,
    "matrix product": lambda x: x @ wf.matrix_transpose(x),
    "einsum": lambda x: wf.einsum("bsd,btd->bst", x, x),
    "sorted": lambda x: wf.sort(x, axis=1),
    "cumulative": lambda x: wf.cumulative_sum(x, axis=1),
    "triangle": lambda x: wf.tril(x @ wf.matrix_transpose(x)),
    "masked": lambda x: wf.where((wf.arange(x.shape[1]) < 2)[:, None], x, 0),
    "padded": lambda x: nn.functional.pad(x, (1, 1)),
    "repeated": lambda x: wf.repeat(x, 2, axis=1),
    "tiled": lambda x: wf.tile(x, (1, 2, 1)),
    "broadcast": lambda x: wf.broadcast_to(x[:1], x.shape),
    "identity matrix": lambda x: wf.eye(x.shape[1]) @ x,
    "norm": lambda x: wf.linalg.vector_norm(x, axis=1),
    "taken": lambda x: wf.take(x, wf.tensor([0]), axis=1),
    "gradient": lambda x: wf.grad(lambda v: (v.mean(1) ** 2).sum())(x),
    "mapped": lambda x: wf.vmap(lambda v: v.sum(0) / v.shape[0])(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    check(FUNCTIONS[name], (B, S, 8), (2, 3, 8), (1, 5, 8))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x, need_weights=False)[0]


def causal(x):
    return nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)


LAYERS = {
    "lstm": (lambda: nn.LSTM(8, 4, batch_first=True), (B, S, 8), (2, 3, 8), (1, 5, 8)),
    "gru": (lambda: nn.GRU(8, 4), (S, B, 8), (2, 3, 8), (1, 5, 8)),
    "deep rnn": (lambda: nn.RNN(8, 4, num_layers=2, bidirectional=True), (S, B, 8), (2, 3, 8), (1, 5, 8)),
    "attention": (Attention, (B, S, 8), (2, 3, 8), (1, 5, 8)),
    "causal attention": (lambda: causal, (B, 2, S, 8), (2, 2, 3, 8), (1, 2, 5, 8)),
    "layer norm": (lambda: nn.LayerNorm(8), (B, S, 8), (2, 3, 8), (1, 5, 8)),
    "softmax": (lambda: nn.Softmax(dim=1), (B, S, 8), (2, 3, 8), (1, 5, 8)),
    "convolution": (lambda: nn.Conv2d(3, 4, 3, padding=1), (B, 3, H, W), (2, 3, 5, 6), (1, 3, 8, 8)),
    "smaller": (lambda: nn.Conv2d(3, 4, 3), (B, 3, H, W), (2, 3, 5, 6), (1, 3, 8, 8)),
    "with a stride": (lambda: nn.Conv2d(3, 4, 2, stride=2), (B, 3, 2 * H, 2 * W), (2, 3, 4, 6), (1, 3, 8, 8)),
    "pooling": (lambda: nn.MaxPool2d(2), (B, 3, 8, 8), (2, 3, 8, 8), (5, 3, 8, 8)),
    "batch norm": (lambda: nn.BatchNorm2d(3), (B, 3, H, W), (2, 3, 4, 6), (1, 3, 8, 8)),
    "group norm": (lambda: nn.GroupNorm(3, 3), (B, 3, H, W), (2, 3, 4, 6), (1, 3, 8, 8)),
    "flatten": (nn.Flatten, (B, 3, H, W), (2, 3, 4, 6), (1, 3, 8, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    make, *shapes = LAYERS[name]
    layer = make()
    if isinstance(layer, nn.Module):
        layer.eval()
    check(layer, *shapes)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: x[:, ::2], IndexingError, "::2 cannot be worked out while the dimension S is open"),
        (lambda x: wf.roll(x, 1, axis=1), ShapeError, "its size S is open"),
        (lambda x: wf.arange(0, x.shape[1], 2), ArgumentError, "starts at an integer and has step 1"),
        (lambda x: x + wf.ones((4, 1)), ShapeError, "do not broadcast"),
        (lambda x: wf.reshape(x, (3, -1)), ShapeError, "do not divide into 3"),
        (lambda x: x if x.shape[1] > 3 else -x, ShapeError, "not known while the dimension is open"),
        (lambda x: [x[:, i] for i in range(x.shape[1])], ShapeError, "the size of S is not known"),
    ],
)
def test_what_needs_a_size_says_so(function, error, message):
    with pytest.raises(error, match=message):
        wf.compile(function).trace(wf.spec((B, S, 8)))
