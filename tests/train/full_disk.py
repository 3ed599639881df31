"""A run on a small disk that fills up in its third epoch: started by test_full_disk.py, prints what came of it.

python full_disk.py folder kind filler|limit
"""

import resource
import signal
import sys
from pathlib import Path

import numpy as np

import weft as wf
from weft import data, nn, optim, train

X = np.random.default_rng(0).normal(size=(24, 64)).astype(np.float32)
Y = np.arange(24) % 64


class Disk:
    """A disk that is filled to its last byte, or a limit on the size of files, which refuses writes in the same way."""

    def __init__(self, folder, how):
        self.filler, self.how = Path(folder) / "filler", how
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self):
        if self.how == "limit":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, self.limits[1]))
            return
        with open(self.filler, "wb", 0) as file:
            for size in (4096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass

    def free(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)
        self.filler.unlink(missing_ok=True)


def writer(kind, folder):
    if kind == "checkpoint":
        return train.ModelCheckpoint(folder / "run.safetensors", whole=True)
    if kind == "batches":
        return train.ModelCheckpoint(folder / "run.safetensors", whole=True, every=2)
    if kind == "many":
        return train.ModelCheckpoint(folder / "{epoch}.safetensors", whole=True, keep=2)
    if kind == "csv":
        return train.CSVLogger(folder / "run.csv")
    return train.TensorBoard(folder / "board", every=1)


def fit(callbacks, **options):
    wf.manual_seed(0)
    trainer = wf.Trainer(nn.Linear(64, 64), "cross_entropy", optim.SGD(lr=0.1, momentum=0.9))
    dataset = data.TensorDataset(X, Y)
    history = trainer.fit(
        dataset, epochs=5, batch_size=4, seed=0, progress=False, callbacks=callbacks, **options
    )
    return trainer, history


def main():
    folder, kind, disk = Path(sys.argv[1]), sys.argv[2], Disk(sys.argv[1], sys.argv[3])
    many = {f"figure{i}": i + 0.5 for i in range(1000)}  # more than fits into what is left of a block
    whole, expected = fit([])  # nothing is written; programs are compiled
    full = train.LambdaCallback(
        on_epoch_begin=lambda t, epoch: disk.fill() if epoch == 3 else None,
        on_epoch_end=lambda t, epoch, figures: figures.update(many),
    )
    try:
        fit([full, writer(kind, folder)])
    except wf.errors.FileError as e:
        print("error:", e)
    else:
        print("no error")
    print("left:", sorted(p.name for p in folder.rglob("*") if p.is_file() and p != disk.filler))
    disk.free()
    if kind in ("checkpoint", "batches", "many"):
        trainer, history = fit([writer(kind, folder)], resume=True)
        figures = {k: v for k, v in history.history.items() if k not in many}
        same = [
            a.numpy().tobytes() == b.numpy().tobytes()
            for a, b in zip(trainer.model.parameters(), whole.model.parameters(), strict=True)
        ]
        print("resumed:", all(same) and figures == expected.history)
    if kind == "csv":
        lines = (folder / "run.csv").read_text().splitlines()
        print("lines:", [line.split(",")[0] for line in lines], {line.count(",") for line in lines})


if __name__ == "__main__":
    main()
