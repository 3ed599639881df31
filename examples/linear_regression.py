"""Linear regression by gradient descent: recovers the slope and the intercept behind noisy points."""

import numpy as np

import weft as wf
from weft import nn, optim


def main() -> tuple[float, float]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=(200, 1)).astype(np.float32)
    y = 3 * x - 2 + 0.1 * rng.normal(size=x.shape).astype(np.float32)

    wf.manual_seed(0)
    model = nn.Linear(1, 1)
    trainer = wf.Trainer(model, loss="mse", optimizer=optim.SGD(lr=0.1))
    trainer.fit(x, y, epochs=20, batch_size=50, seed=0, progress=False)

    slope, intercept = model.weight.item(), model.bias.item()
    print(f"y = {slope:.3f} x {intercept:+.3f}   (the points were made with y = 3 x - 2)")
    return slope, intercept


if __name__ == "__main__":
    main()
