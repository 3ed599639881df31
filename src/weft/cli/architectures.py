"""The five models of the demo, all for images (n, 1, 8, 8) of ten classes."""

from __future__ import annotations

from collections.abc import Callable

from .. import nn
from ..arrays.manipulation import permute_dims
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, nearest


def softmax() -> nn.Module:
    """Softmax regression: one linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def mlp() -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, 10),
    )


def _convolution(channels: int, filters: int) -> list[nn.Module]:
    # Batch normalisation has a bias of its own.
    convolution = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(filters), nn.ReLU()]


def cnn() -> nn.Module:
    """Three convolutions with batch normalisation, the last two followed by pooling."""
    return nn.Sequential(
        *_convolution(1, 32),
        *_convolution(32, 32),
        nn.MaxPool2d(2),
        *_convolution(32, 64),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.LazyLinear(10),
    )


class RowReader(nn.Module):
    """An LSTM that reads the image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 96, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(96, 10)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.reshape((images.shape[0], 8, 8))  # (n, 1, 8, 8) -> (n, 8 steps, 8 pixels)
        states, _ = self.lstm(rows)  # (n, 8, 96)
        return self.head(self.drop(states[:, -1]))  # (n, 10)


class Block(nn.Module):
    """One transformer block: attention, then two linear layers, each normalised before and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class PatchTransformer(nn.Module):
    """A small vision transformer over sixteen patches of 2x2 pixels."""

    def __init__(self, width: int = 64, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(4, width)
        self.position = nn.Embedding(16, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        n = images.shape[0]
        # (n, 1, 8, 8) -> (n, 4, 2, 4, 2) -> (n, 16 patches, 4 pixels)
        patches = permute_dims(images.reshape((n, 4, 2, 4, 2)), (0, 1, 3, 2, 4)).reshape((n, 16, 4))
        x = self.embed(patches) + self.position.weight  # (n, 16, width)
        return self.head(self.norm(self.blocks(x)).mean(axis=1))  # (n, 10)


#: Name -> (how it is made, epochs, learning rate).
ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], int, float]] = {
    "softmax": (softmax, 60, 1e-2),
    "mlp": (mlp, 60, 3e-3),
    "cnn": (cnn, 20, 3e-3),
    "lstm": (RowReader, 40, 5e-3),
    "transformer": (PatchTransformer, 30, 2e-3),
}


def architecture(name: str) -> tuple[Callable[[], nn.Module], int, float]:
    """How a model is made, its usual number of epochs and its learning rate."""
    if name not in ARCHITECTURES:
        raise ArgumentError(f"there is no architecture {name!r}. {nearest(name, ARCHITECTURES)}")
    return ARCHITECTURES[name]
