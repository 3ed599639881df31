"""An autoencoder squeezes a scan into three numbers and draws it again, better than any linear map could."""

import numpy as np

import weft as wf
from weft import nn, optim

CODE = 3


class Autoencoder(nn.Module):
    """64 pixels to `CODE` numbers and back: what is not in the code is lost, so it must hold what matters."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 32), nn.Tanh(), nn.Linear(32, CODE)
        )
        self.decode = nn.Sequential(
            nn.Linear(CODE, 32), nn.Tanh(), nn.Linear(32, 96), nn.Tanh(), nn.Linear(96, 64)
        )

    def forward(self, pixels):
        return self.decode(self.encode(pixels))


def best_linear(train: np.ndarray, test: np.ndarray) -> float:
    """The error on `test` of the best linear code of as many numbers: the first principal components of `train`."""
    mean = train.mean(0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:CODE]
    drawn = mean + (test - mean) @ axes.T @ axes
    return float(((drawn - test) ** 2).mean())


def main() -> tuple[float, float]:
    train, test = [part.arrays[0].reshape(-1, 64) for part in wf.data.digits()]
    wf.manual_seed(0)
    trainer = wf.Trainer(Autoencoder(), "mse", optim.AdamW(lr=4e-3, weight_decay=0.05))
    schedule = wf.train.LearningRateSchedule(make=lambda o: optim.CosineAnnealingLR(o, 40))
    trainer.fit(train, train, epochs=40, batch_size=64, seed=0, callbacks=[schedule], progress=False)

    error, linear = trainer.evaluate(test, test)["loss"], best_linear(train, test)
    print(f"mean squared error of a pixel: {error:.4f}; of {CODE} principal components: {linear:.4f}")
    return error, linear


if __name__ == "__main__":
    main()
