"""Logs: CSV, event files for TensorBoard, the progress bar."""

import csv
import io
import struct

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.errors import ArgumentError, FileError
from weft.train import Callback, CSVLogger, LambdaCallback, ProgressBar, TensorBoard
from weft.train.events import EventFile, crc32c, record

X = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
Y = 2 * X + 1


def fit(*callbacks, epochs=2, **options):
    wf.manual_seed(0)
    trainer = wf.Trainer(nn.Linear(1, 1), "mse", optim.SGD(lr=0.1), ["mae"])
    options = {"progress": False, "validation_data": (X, Y), **options}
    history = trainer.fit(X, Y, epochs=epochs, batch_size=2, callbacks=callbacks, seed=0, **options)
    return trainer, history


# -- event files --------------------------------------------------------------------------------------------------


def test_checks_of_records():
    """The examples of RFC 3720, B.4, and the standard check value."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    framed = record(b"123456789")
    assert framed[:8] == struct.pack("<Q", 9) and framed[12:21] == b"123456789" and len(framed) == 25
    crc = 0xE3069283
    assert struct.unpack("<I", framed[21:])[0] == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    """The messages of an event file; their checks must hold."""
    at, found = 0, []
    while at < len(data):
        (n,) = struct.unpack_from("<Q", data, at)
        message = data[at + 12 : at + 12 + n]
        assert data[at : at + 16 + n] == record(message)
        found.append(fields(message))
        at += 16 + n
    return found


def varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        n |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return n, at


def fields(data):
    """A protocol-buffer message as (number, value) pairs."""
    at, found = 0, []
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif tag & 7 == 5:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            n, at = varint(data, at)
            value, at = data[at : at + n], at + n
        found.append((tag >> 3, value))
    return found


def scalars(path):
    """{(step, tag): value}, and the steps of restarts."""
    first, *rest = records(path.read_bytes())
    assert dict(first)[3] == b"brain.Event:2"
    found, restarts = {}, []
    for event in map(dict, rest):
        if 7 in event:
            restarts.append(event[2])
        for _, value in fields(event.get(5, b"")):
            one = dict(fields(value))
            found[event[2], one[1].decode()] = one[2]
    return found, restarts


def test_figures_for_tensorboard(tmp_path):
    _, history = fit(TensorBoard(tmp_path / "run", every=2))
    (train,) = (tmp_path / "run" / "train").iterdir()
    (validation,) = (tmp_path / "run" / "validation").iterdir()
    (batches,) = (tmp_path / "run" / "batches").iterdir()
    found, restarts = scalars(train)
    assert found == {(e, name): np.float32(history[name][e - 1]) for e in (1, 2) for name in ("loss", "mae")}
    assert restarts == [1]
    found, _ = scalars(validation)
    assert found[2, "mae"] == np.float32(history["val_mae"][1]) and len(found) == 4
    assert list(scalars(batches)[0]) == [(2, "batch_loss"), (4, "batch_loss")]


def test_numbers_of_every_size(tmp_path):
    file = EventFile(tmp_path)
    values = {"a": 1e300, "b": -1e300, "c": float("nan"), "naïve": 1e-300}
    file.scalars(2**40, values)
    file.close()
    (found, _) = scalars(file.path)
    assert found[2**40, "a"] == np.inf and found[2**40, "b"] == -np.inf
    assert np.isnan(found[2**40, "c"]) and found[2**40, "naïve"] == 0


def test_tensorboard_reads_them(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, history = fit(TensorBoard(tmp_path))
    events = loader.EventAccumulator(str(tmp_path / "train"))
    events.Reload()
    assert [e.value for e in events.Scalars("loss")] == pytest.approx(history["loss"])


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write"):
        fit(TensorBoard(tmp_path / "file"))
    with pytest.raises(ArgumentError, match="every must be"):
        TensorBoard(tmp_path, every=0)


# -- CSV ----------------------------------------------------------------------------------------------------------


def test_csv_of_figures_that_are_numbers(tmp_path):
    path = tmp_path / "log.csv"
    extra = LambdaCallback(on_epoch_end=lambda t, e, figures: figures.update(text="a,b", more=e / 2))
    _, history = fit(extra, CSVLogger(path))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["epoch"] for r in rows] == ["1", "2"]
    assert [float(r["val_mae"]) for r in rows] == history["val_mae"]
    assert [float(r["more"]) for r in rows] == [0.5, 1.0] and "text" not in rows[0]


def test_csv_on_a_full_disk_has_no_half_of_a_line(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    fit(CSVLogger(path), epochs=1)
    whole = path.read_bytes()
    logger = CSVLogger(path)
    real = type(path).open

    class Full(io.TextIOWrapper):
        def write(self, text):
            super().write(text[:5])
            self.flush()
            raise OSError(28, "No space left on device")

    def opened(self, mode="r", *args, **kwargs):
        return Full(real(self, "ab")) if mode == "a" else real(self, mode, *args, **kwargs)

    monkeypatch.setattr(type(path), "open", opened)
    with pytest.raises(FileError, match="disk is full"):
        fit(logger, epochs=2)
    monkeypatch.undo()
    assert path.read_bytes() == whole  # the first epoch's line, of a run with the same figures


def test_csv_where_there_is_no_folder(tmp_path):
    with pytest.raises(FileError, match="no such file or folder"):
        fit(CSVLogger(tmp_path / "none" / "log.csv"))


# -- progress -----------------------------------------------------------------------------------------------------


def test_progress_lines(capsys):
    fit(progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "val_mae=" in lines[0]
    fit(ProgressBar(), progress=True)  # not a second one
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_progress_in_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("weft.train.progress._in_terminal", lambda: True)
    monkeypatch.setattr("weft.train.progress._LOOK_EVERY", 0.0)
    fit(progress=True)
    assert "epoch 2/2" in screen.getvalue() and "2/2 [" in screen.getvalue()

    class Fails(Callback):
        def on_batch_end(self, trainer, batch, loss):
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fit(Fails(), progress=True)
