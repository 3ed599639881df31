"""History: figures by epoch, the best of them, the picture. Progress: what a run shows."""

import os
import sys

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.base.errors import ArgumentError, MissingExtraError
from weft.train import History
from weft.train.progress import _in_terminal


@pytest.fixture
def history():
    found = History()
    for epoch, (loss, accuracy) in enumerate([(3.0, 0.1), (1.0, 0.8), (2.0, 0.9)], 1):
        found.append(
            epoch, {"loss": loss, "val_loss": loss / 2, "accuracy": accuracy, "recall": np.ones(2)}, 0.5
        )
    return found


def test_a_mapping_of_figures(history):
    assert history["loss"] == [3.0, 1.0, 2.0]
    assert list(history) == ["loss", "val_loss", "accuracy", "recall"]
    assert history.history["val_loss"] == [1.5, 0.5, 1.0]
    with pytest.raises(KeyError, match="'loss'"):
        history["los"]
    assert "3 epochs" in repr(history) and "loss=2" in repr(history)


def test_best(history):
    assert history.best("loss") == (2, 1.0)
    assert history.best("accuracy") == (3, 0.9)
    assert history.best("loss", mode="max") == (1, 3.0)
    history.append(4, {"loss": float("nan")}, 0.1)
    assert history.best("loss") == (2, 1.0)
    with pytest.raises(ArgumentError, match="mode"):
        history.best("loss", mode="up")


def test_plot(history, tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    path = tmp_path / "curves.png"
    figure = history.plot(path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [a.get_title() for a in figure.axes] == ["loss", "accuracy"]
    assert [len(a.get_lines()) for a in figure.axes] == [2, 1]
    assert figure.axes[0].get_lines()[1].get_ydata().tolist() == [1.5, 0.5, 1.0]
    pyplot.close(figure)


def test_plot_says_what_to_install(history, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match="pip install matplotlib"):
        history.plot()


def run(**options):
    trainer = wf.Trainer(nn.Linear(1, 1), "mse")
    trainer.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=2, **options)


def test_a_line_for_each_epoch_outside_terminals(capsys):
    run()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "loss=" in lines[0]


def test_a_bar_in_terminals(capsys, monkeypatch):
    monkeypatch.setattr("weft.train.progress._in_terminal", lambda: True)
    run()
    shown = capsys.readouterr().err
    assert "epoch 2/2 ████████████████ 1/1 [00:00, loss=" in shown


def test_a_terminal_without_a_width_gets_lines(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.fileno", lambda: 2, raising=False)
    for columns in (0, 80):
        monkeypatch.setattr("os.get_terminal_size", lambda _, c=columns: os.terminal_size((c, c)))
        assert _in_terminal() == (columns > 0)


def test_silence(capsys):
    run(progress=False)
    found = capsys.readouterr()
    assert found.err == found.out == ""
