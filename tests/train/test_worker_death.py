"""A run whose workers die, hang or run out of memory ends with an error that names them, and goes on from its file."""

import os
import signal
import time

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.data import DataLoader, Dataset
from weft.errors import DataError
from weft.train import ModelCheckpoint

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")
X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)


class Mortal(Dataset):
    """Does something bad at sample 5, once: while a file is there."""

    def __init__(self, path, how):
        self.path, self.how = str(path), how

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        if i == 5 and os.path.exists(self.path):
            os.remove(self.path)
            self.how()
        return X[i], int(i % 3)


def out_of_memory():
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (2**31, resource.getrlimit(resource.RLIMIT_AS)[1]))
    np.ones(2**31)


def fit(dataset, folder, workers=1, timeout=100):
    wf.manual_seed(0)
    trainer = wf.Trainer(nn.Linear(3, 3), "cross_entropy", optim.Adam(lr=0.1))
    loader = DataLoader(
        dataset, 4, shuffle=True, seed=3, num_workers=workers, timeout=timeout if workers else None
    )
    files = ModelCheckpoint(folder / "run.safetensors", whole=True, every=1)
    history = trainer.fit(loader, epochs=2, progress=False, callbacks=[files], resume=True)
    return [p.numpy().tobytes() for p in trainer.model.parameters()], history.history


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            "worker 0 of 1 .*SIGKILL.*memory runs out: use fewer workers",
        ),
        (lambda: os._exit(3), "worker 0 of 1 .*exit code 3"),
        (lambda: time.sleep(1000), "worker 0 of 1 .*has not made batch .*timeout of 5 s"),
        (out_of_memory, "worker 0 of 1 .*MemoryError.*batch"),
        (lambda: 1 / 0, "worker 0 of 1 .*ZeroDivisionError.*batch"),
    ],
    ids=["killed", "ends", "hangs", "memory", "raises"],
)
def test_nothing_is_lost(how, says, tmp_path, request):
    (tmp_path / "whole").mkdir()
    expected = fit(Mortal(tmp_path / "none", None), tmp_path / "whole", workers=0)
    (tmp_path / "once").touch()
    dataset = Mortal(tmp_path / "once", how)
    with pytest.raises(DataError, match=f"(?s){says}"):
        fit(dataset, tmp_path, timeout=5 if "hangs" in request.node.name else 100)
    assert fit(dataset, tmp_path) == expected
