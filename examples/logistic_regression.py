"""Logistic regression: tells scans of a 3 from scans of an 8, from the 64 pixels alone."""

import numpy as np

import weft as wf
from weft import nn, optim


def threes_and_eights(part) -> tuple[np.ndarray, np.ndarray]:
    """The scans of two digits as rows of 64 pixels, with the label 1 for an 8."""
    images, labels = part.arrays
    chosen = (labels == 3) | (labels == 8)
    return images[chosen].reshape(-1, 64), (labels[chosen, None] == 8).astype(np.float32)


def main() -> float:
    train, test = wf.data.digits()
    wf.manual_seed(0)
    model = nn.Linear(64, 1)
    trainer = wf.Trainer(model, "bce_with_logits", optim.Adam(lr=0.02), metrics=["accuracy"])
    trainer.fit(*threes_and_eights(train), epochs=30, seed=0, progress=False)

    accuracy = trainer.evaluate(*threes_and_eights(test))["accuracy"]
    print(f"3 or 8? right in {accuracy:.1%} of the held-out scans")
    return accuracy


if __name__ == "__main__":
    main()
