"""A convolutional network reads scanned digits; early stopping keeps its best weights."""

import weft as wf
from weft import nn, optim
from weft.data import random_split
from weft.train import EarlyStopping


def main(epochs: int = 15, progress: bool = True) -> float:
    everything, test = wf.data.digits()
    train, validation = random_split(everything, [0.85, 0.15])

    wf.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.LazyLinear(10),
    )  # fmt: skip
    trainer = wf.Trainer(model, "cross_entropy", optim.Adam(lr=5e-3), metrics=["accuracy"])
    trainer.fit(
        train, epochs=epochs, validation_data=validation,
        callbacks=[EarlyStopping("val_loss", patience=4)], seed=0, progress=progress,
    )  # fmt: skip

    accuracy = trainer.evaluate(test)["accuracy"]
    print(f"right in {accuracy:.1%} of the held-out scans")
    return accuracy


if __name__ == "__main__":
    main()
