"""A plain RNN adds two marked numbers that may stand forty steps apart, thanks to how it starts, and to clipping."""

import numpy as np

import weft as wf
from weft import nn, optim

LENGTH, HIDDEN = 40, 64


def sequences(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n sequences of pairs (a number from 0 to 1, a mark). The answer is the sum of the two numbers that are marked."""
    rng = np.random.default_rng(seed)
    numbers, marks = rng.uniform(size=(n, LENGTH)), np.zeros((n, LENGTH))
    rows = np.arange(n)
    marks[rows, rng.integers(0, LENGTH // 2, n)] = 1  # one in the first half,
    marks[rows, rng.integers(LENGTH // 2, LENGTH, n)] = 1  # one in the second
    pairs = np.stack([numbers, marks], axis=2).astype(np.float32)
    return pairs, (numbers * marks).sum(1, keepdims=True).astype(np.float32)


class Adder(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(2, HIDDEN, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)
        # A state is relu(W before + ...). A random W raised to the 40th power is next to nothing, or huge; the
        # identity keeps what it is given, and its gradient too (Le, Jaitly and Hinton, 2015).
        nn.init.eye_(self.rnn.weight_hh_l0)
        nn.init.normal_(self.rnn.weight_ih_l0, std=0.1)
        nn.init.zeros_(self.rnn.bias_ih_l0)
        nn.init.zeros_(self.rnn.bias_hh_l0)

    def forward(self, pairs):
        states, _ = self.rnn(pairs)  # (n, LENGTH, HIDDEN)
        return self.head(states[:, -1])  # (n, 1)


def main() -> float:
    wf.manual_seed(0)
    # Clipped, because over forty steps a gradient that grows a little at each grows a lot.
    trainer = wf.Trainer(Adder(), "mse", optim.Adam(lr=1e-3), clip_norm=0.5)
    trainer.fit(*sequences(8192, seed=0), epochs=10, batch_size=32, seed=0, progress=False)
    error = trainer.evaluate(*sequences(1024, seed=1))["loss"]
    print(f"mean squared error on new sequences: {error:.4f} (always answering 1: {1 / 6:.4f})")
    return error


if __name__ == "__main__":
    main()
