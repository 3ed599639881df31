"""LeNet-5, the network that read cheques in 1998, on scanned digits enlarged to the 28 pixels that it was made for."""

import weft as wf
from weft import nn, optim


def lenet() -> nn.Module:
    return nn.Sequential(                                       # (n, 1, 8, 8)
        nn.Upsample(size=(28, 28), mode="bilinear"),            # (n, 1, 28, 28)
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),   # (n, 6, 14, 14)
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),        # (n, 16, 5, 5)
        nn.Flatten(),
        nn.Linear(400, 120), nn.Tanh(),
        nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, 10),
    )  # fmt: skip


def main(epochs: int = 8, progress: bool = True) -> float:
    train, test = wf.data.digits()
    wf.manual_seed(0)
    trainer = wf.Trainer(lenet(), "cross_entropy", optim.Adam(lr=3e-3), metrics=["accuracy"])
    trainer.fit(train, epochs=epochs, batch_size=64, seed=0, progress=progress)

    accuracy = trainer.evaluate(test)["accuracy"]
    print(f"right in {accuracy:.1%} of the held-out scans")
    return accuracy


if __name__ == "__main__":
    main()
