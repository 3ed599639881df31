"""A small run with everything in it that a resumed one must take up again; also a program to be killed.

    python resumable.py FOLDER [EPOCHS]

trains until it is done, from `FOLDER/run.safetensors` if that is there, and writes `FOLDER/result.npz`.
"""

import random
import sys
from pathlib import Path

import numpy as np

import weft as wf
from weft import nn, optim, train
from weft.data import Dataset


class Jittered(Dataset):
    """Samples to which a dataset of a user adds noise, from Python's and NumPy's random numbers."""

    def __init__(self, n):
        self.n = n
        self.x = np.sin(np.arange(n * 3, dtype=np.float32)).reshape(n, 3)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        noise = np.float32(np.random.normal(0, 0.1) + random.gauss(0.0, 0.1))  # noqa: NPY002
        return self.x[i] + noise, int(i % 3)


def start(folder, *, compile=None, metrics=("accuracy", "roc_auc"), **options):
    """(trainer, callbacks) of a new run; random numbers of all kinds begin elsewhere in each process."""
    wf.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))
    trainer = train.Trainer(
        model, "cross_entropy", optim.Adam(lr=0.02), metrics, compile=compile, clip_norm=1.0, **options
    )
    folder = Path(folder)
    callbacks = [
        train.LearningRateSchedule("cosine", every="batch", warm_up=2),
        train.EarlyStopping("val_loss", patience=50),
        train.WeightAveraging(0.8, update_norms=False),
        train.CSVLogger(folder / "log.csv"),
        train.TensorBoard(folder / "board", every=2),
    ]
    return trainer, callbacks


def fit(trainer, callbacks, *, epochs=3, n=22, **options):
    return trainer.fit(
        Jittered(n),
        epochs=epochs,
        batch_size=5,
        validation_data=Jittered(6),
        sample_weight=np.linspace(0.5, 2, n),
        class_weight={0: 2.0},
        callbacks=callbacks,
        progress=False,
        **options,
    )


def result(trainer, history):
    """All that must be equal, as arrays."""
    found = {f"model.{k}": v.numpy() for k, v in trainer.model.state_dict().items()}
    for i, slots in trainer.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{i}.{k}": v.numpy() for k, v in slots.items()}
    found |= {f"history.{k}": np.array(v, np.float64) for k, v in history.items()}
    found["epochs"] = np.array(history.epochs)
    found["next"] = wf.rand(3).numpy()
    found["python"] = np.array([random.random()])
    found["numpy"] = np.random.random(2)  # noqa: NPY002
    return found


def main():
    folder, epochs = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    trainer, callbacks = start(folder)
    checkpoint = train.ModelCheckpoint(folder / "run.safetensors", whole=True, every=1)
    at_the_end = train.ModelCheckpoint(folder / "run.safetensors", whole=True)
    print("ready", flush=True)
    everything = [*callbacks, checkpoint, at_the_end]
    history = fit(trainer, everything, epochs=epochs, n=110, resume=True)
    np.savez(folder / "result.npz", **result(trainer, history))
    print("done", flush=True)


if __name__ == "__main__":
    main()
