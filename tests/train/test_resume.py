"""A run that goes on from a file has the bits of one that was never interrupted."""

import csv
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.data import DataLoader, Dataset, IterableDataset, TensorDataset, item_rng
from weft.errors import ArgumentError, FileError, MissingFileError, StateError
from weft.train import EarlyStopping, LambdaCallback, LearningRateSchedule, ModelCheckpoint, Trainer

sys.path.insert(0, str(Path(__file__).parent))
import resumable

PROGRAM = Path(__file__).parent / "resumable.py"


def scramble(seed):
    """What a new process is like: random numbers of all kinds are somewhere else."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    wf.manual_seed(seed)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"compile": False}], ids=str)
def test_from_every_batch(options, tmp_path):
    """A run leaves a file after each batch and each epoch; from any of them the rest comes out the same."""
    scramble(7)
    trainer, callbacks = resumable.start(tmp_path, **options)
    files = [
        ModelCheckpoint(tmp_path / "states" / "{epoch}-{batch}", whole=True, every=1),
        ModelCheckpoint(tmp_path / "states" / "{epoch}-end", whole=True),
    ]
    expected = resumable.result(trainer, resumable.fit(trainer, [*callbacks, *files]))
    states = sorted((tmp_path / "states").iterdir())
    assert len(states) == 3 * 6
    log = (tmp_path / "log.csv").read_text()
    for i, state in enumerate(states if not options else states[::3]):
        scramble(100 + i)
        trainer, callbacks = resumable.start(tmp_path, **options)
        others = [
            ModelCheckpoint(tmp_path / "others" / "{epoch}-{batch}", whole=True, every=1),
            ModelCheckpoint(tmp_path / "others" / "{epoch}-end", whole=True),
        ]
        history = resumable.fit(trainer, [*callbacks, *others], resume=state)
        assert_equal(resumable.result(trainer, history), expected)
        assert (tmp_path / "log.csv").read_text() == log
        assert [s["epoch"] for s in csv.DictReader(log.splitlines())] == ["1", "2", "3"]


# -- killed -----------------------------------------------------------------------------------------------------


def child(folder, epochs):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), str(epochs)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def killed_again_and_again(folder, times, epochs, seed):
    """Let the program run for a random while and kill it, `times` times; then let it finish."""
    rng = random.Random(seed)
    kills = 0
    while True:
        process = child(folder, epochs)
        assert process.stdout.readline() == "ready\n"
        if kills < times:
            time.sleep(rng.uniform(0.0, 0.4))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
        out, _ = process.communicate()
        if out == "done\n":
            return kills
        assert process.returncode == -signal.SIGKILL


def compare_with_killed(tmp_path, times, epochs, seed):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    process = child(tmp_path / "whole", epochs)
    kills = killed_again_and_again(tmp_path / "killed", times, epochs, seed)
    assert process.wait() == 0
    process.stdout.close()
    found = [dict(np.load(tmp_path / name / "result.npz")) for name in ("killed", "whole")]
    assert_equal(*found)
    logs = [(tmp_path / name / "log.csv").read_text() for name in ("killed", "whole")]
    assert logs[0] == logs[1]
    left = [p.name for p in (tmp_path / "killed").iterdir()]
    assert "run.safetensors" in left and kills
    return kills


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill so")
def test_killed_a_few_times(tmp_path):
    compare_with_killed(tmp_path, 2, 10, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill so")
def test_killed_fifty_times(tmp_path):
    assert compare_with_killed(tmp_path, 50, 6000, seed=1) == 50


# -- the interface ----------------------------------------------------------------------------------------------

X = np.arange(12, dtype=np.float32).reshape(12, 1) / 12
Y = 2 * X


def line(**options):
    wf.manual_seed(0)
    return Trainer(nn.Linear(1, 1), "mse", optim.SGD(lr=0.1, momentum=0.9), **options)


def run(trainer, *callbacks, epochs=4, data=(X, Y), **options):
    options = {"batch_size": 4, **options} if not isinstance(data[0], DataLoader) else options
    return trainer.fit(*data, epochs=epochs, callbacks=callbacks, progress=False, **options)


def test_resume_true_begins_where_there_is_nothing_yet(tmp_path):
    path = tmp_path / "run"
    first = run(line(), ModelCheckpoint(path, whole=True), epochs=2, resume=True, seed=0)
    assert first.epochs == [1, 2]
    again = line()
    history = run(again, ModelCheckpoint(path, whole=True), epochs=5, resume=True, seed=0)
    assert history.epochs == [1, 2, 3, 4, 5] and again.epochs == 5
    assert history["loss"][:2] == first["loss"]
    whole = run(line(), epochs=5, seed=0)
    assert history["loss"] == whole["loss"]
    nothing_left = run(line(), ModelCheckpoint(path, whole=True), epochs=5, resume=True, seed=0)
    assert nothing_left.history == history.history


def test_the_newest_of_numbered_files(tmp_path):
    numbered = lambda: ModelCheckpoint(tmp_path / "{epoch:03d}[a]-{loss:.3f}", whole=True, keep=2)
    run(line(), numbered(), epochs=3, seed=0)
    assert len(list(tmp_path.iterdir())) == 2
    history = run(line(), numbered(), epochs=4, resume=True, seed=0)
    assert history["loss"] == run(line(), epochs=4, seed=0)["loss"]
    assert sorted(p.name[:3] for p in tmp_path.iterdir()) == ["003", "004"]


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loader_of_ones_own(shuffle, tmp_path):
    """Its seed is another one in each process; the saved one counts."""

    def loader():
        return (DataLoader(TensorDataset(X, Y), 5, shuffle),)

    path = tmp_path / "{epoch}-{batch}"
    wf.manual_seed(1)
    expected = run(line(), ModelCheckpoint(path, whole=True, every=1), data=loader())
    for at in ("1-2", "2-3", "4-1"):
        wf.manual_seed(2)
        history = run(line(), data=loader(), resume=tmp_path / at)
        assert history.history == expected.history


class Noisy(Dataset):
    """Loaded by workers; each sample draws."""

    def __len__(self):
        return 12

    def __getitem__(self, i):
        return X[i] + np.float32(random.random() + item_rng().uniform()), Y[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(X[i], Y[i]) for i in range(12)])


@pytest.mark.parametrize("data", [Noisy, Stream])
def test_loaders_with_workers_and_streams(data, tmp_path):
    """What was loaded ahead when the state was saved is loaded again."""

    def loader():
        return (DataLoader(data(), 3, num_workers=1, persistent_workers=True, seed=4),)

    path = tmp_path / "{epoch}-{batch}"
    expected = run(line(), ModelCheckpoint(path, whole=True, every=1), data=loader(), epochs=2)
    for at in ("1-2", "2-3"):
        history = run(line(), data=loader(), resume=tmp_path / at, epochs=2)
        assert history.history == expected.history
    alone = run(line(), data=(DataLoader(data(), 3, seed=4),), epochs=2)
    assert alone.history == expected.history


def test_a_stream_is_read_in_batches(tmp_path):
    expected = run(line(), shuffle=False)
    assert line().fit(Stream(), epochs=4, batch_size=4, progress=False).history == expected.history
    assert line().evaluate(Stream()) == line().evaluate(X, Y)


class Counting(IterableDataset):
    """Samples without end."""

    def __iter__(self):
        return ((X[i % 12], np.float32([i / 100])) for i in itertools.count())


@pytest.mark.parametrize(
    "data", [lambda: (DataLoader(Counting(), 5),), lambda: (X, Y), lambda: (DataLoader(Noisy(), 5, True),)]
)
def test_epochs_of_a_given_length_go_on(data, tmp_path):
    """Streams without end; data that end in the middle of an epoch (of 4 batches, after 3)."""
    path = tmp_path / "{epoch}-{batch}"

    def go(*callbacks, **options):
        wf.manual_seed(0)
        given = data()
        size = {} if isinstance(given[0], DataLoader) else {"batch_size": 5}
        trainer = line()
        options = {"epochs": 3, "batches_per_epoch": 4, "progress": False, **size, **options}
        return trainer.fit(*given, callbacks=callbacks, **options), trainer.model.weight.item()

    files = [
        ModelCheckpoint(path, whole=True, every=1),
        ModelCheckpoint(tmp_path / "{epoch}-end", whole=True),
    ]
    expected, weight = go(*files)
    assert len(list(tmp_path.iterdir())) == 3 * 5
    for state in sorted(tmp_path.iterdir()):
        scramble(1)
        found, other = go(resume=state)
        assert found.history == expected.history and other == weight, state.name


def test_a_stream_without_end_is_no_endless_epoch():
    seen = []
    note = LambdaCallback(on_batch_end=lambda t, b, loss: seen.append((b, t.batches_per_epoch)))
    history = line().fit(
        Counting(), batch_size=2, epochs=2, batches_per_epoch=2, callbacks=[note], progress=False
    )
    assert seen == [(1, 2), (2, 2)] * 2 and len(history.epochs) == 2
    with pytest.raises(ArgumentError, match="batches_per_epoch must be"):
        line().fit(Counting(), batches_per_epoch=0)


def test_batches_without_a_loader(tmp_path):
    data = ([(wf.tensor(X[i : i + 4]), wf.tensor(Y[i : i + 4])) for i in (0, 4, 8)],)

    class Batches:
        def __iter__(self):
            return iter(data[0])

    expected = line().fit(
        Batches(),
        epochs=3,
        progress=False,
        callbacks=[ModelCheckpoint(tmp_path / "{epoch}-{batch}", whole=True, every=1)],
    )
    history = line().fit(Batches(), epochs=3, progress=False, resume=tmp_path / "2-2")
    assert history.history == expected.history


def test_a_run_that_early_stopping_ended_stays_ended(tmp_path):
    class Rising(EarlyStopping):
        def on_epoch_end(self, trainer, epoch, figures):
            figures["loss"] = float(abs(epoch - 2))
            super().on_epoch_end(trainer, epoch, figures)

    path = tmp_path / "run"
    first = line()
    stopped = run(first, Rising("loss", 2), ModelCheckpoint(path, whole=True), epochs=9, seed=0)
    assert stopped.epochs == [1, 2, 3, 4] and "not become better" in stopped.stopped
    other = line()
    again = run(other, Rising("loss", 2), epochs=9, seed=0, resume=path)
    assert again.epochs == [1, 2, 3, 4] and again.stopped == stopped.stopped
    assert other.model.weight.item() == first.model.weight.item()  # that of the best epoch


@pytest.mark.parametrize(
    "make",
    [
        lambda: LearningRateSchedule(lambda epoch: 0.1 / epoch),
        lambda: LearningRateSchedule("plateau", monitor="loss", patience=0, factor=0.5, threshold=0.5),
        lambda: LearningRateSchedule("one_cycle", max_lr=0.2),
        lambda: LearningRateSchedule("cyclic", base_lr=0.01, max_lr=0.2, step_size_up=2),
        lambda: LearningRateSchedule("warm_restarts", T_0=1, T_mult=2, every="batch"),
        lambda: LearningRateSchedule(
            make=lambda o: optim.ChainedScheduler([optim.ConstantLR(o, 0.5, 2), optim.ExponentialLR(o, 0.9)])
        ),
    ],
)
def test_schedules_go_on(make, tmp_path):
    path = tmp_path / "{epoch}-{batch}"
    expected = run(line(), make(), ModelCheckpoint(path, whole=True, every=1), seed=0)
    for at in ("1-3", "2-1", "3-2"):
        assert run(line(), make(), resume=tmp_path / at, seed=0).history == expected.history


def test_layers_without_a_shape_yet(tmp_path):
    """A model whose layers have no shapes yet takes the saved ones."""

    def trainer(seed):
        wf.manual_seed(seed)
        net = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.Dropout(0.2), nn.LazyLinear(1))
        return Trainer(net, "mse", optim.AdamW(lr=0.1))

    path = tmp_path / "{epoch}-{batch}"
    first = trainer(0)
    expected = run(first, ModelCheckpoint(path, whole=True, every=1))
    other = trainer(1)
    assert run(other, resume=tmp_path / "2-2").history == expected.history
    for a, b in zip(first.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_a_state_in_memory(tmp_path):
    states = []
    keep = LambdaCallback(on_epoch_end=lambda t, e, f: t.when_settled(lambda: states.append(t.state_dict())))
    expected = run(line(), keep, seed=0)
    assert run(line(), resume=states[1], seed=0).history == expected.history


def test_callbacks_of_the_file_that_the_run_has_not(tmp_path):
    path = tmp_path / "run"
    schedule = LearningRateSchedule("exponential", gamma=0.5)
    run(line(), schedule, ModelCheckpoint(path, whole=True), epochs=2, seed=0)
    with pytest.warns(RuntimeWarning, match="had the callback LearningRateSchedule"):
        run(line(), ModelCheckpoint(path, whole=True), resume=path, seed=0)


def test_what_killed_processes_leave_is_cleared_away(tmp_path):
    old, fresh = tmp_path / ".run.0123456789ab.part", tmp_path / ".run.ba9876543210.part"
    for part in (old, fresh, tmp_path / ".other.0123456789ab.part"):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 100,) * 2)
    run(line(), ModelCheckpoint(tmp_path / "run", whole=True), epochs=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.0123456789ab.part", fresh.name, "run"]


def test_a_full_disk_keeps_the_last_state(tmp_path, monkeypatch):
    """The file of the epoch before survives, nothing else is left, and the run goes on from it to the same end."""
    path = tmp_path / "run"
    expected = run(line(), seed=0)
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 4:  # two for each file: itself and its folder
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr("os.fsync", full)
    trainer = line()
    with pytest.raises(FileError, match="disk is full"):
        run(trainer, ModelCheckpoint(path, whole=True), seed=0)
    monkeypatch.undo()
    assert trainer.epochs == 3  # nothing in memory is lost either
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert wf.load(path)["epochs"] == 2
    assert run(line(), resume=path, seed=0).history == expected.history


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        (dict(resume=True), ArgumentError, "there is none; add one"),
        (dict(resume="missing"), MissingFileError, "no such file"),
        (dict(resume="model"), StateError, "not the state of a run"),
        (dict(resume="trainer"), StateError, "not the state of a run"),
        (dict(resume="run", batch_size=6), StateError, r"batch_size 4 \(now 6\)"),
        (dict(resume="run", data=(X[:9], Y[:9])), StateError, r"samples 12 \(now 9\)"),
        (dict(resume="run", shuffle=False), StateError, r"shuffle True \(now False\)"),
        (
            dict(resume="inside", metrics=["mae"]),
            StateError,
            r"measured no metrics, this one measures \['mae'\]",
        ),
        (dict(resume="gathering"), StateError, "same accumulate="),
        (dict(resume="wide"), StateError, "weight"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_what_does_not_fit_is_refused(how, error, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = line()
    run(trainer, ModelCheckpoint("run", whole=True), ModelCheckpoint("model", "loss"), epochs=2)
    run(line(), ModelCheckpoint("inside", whole=True, every=2), epochs=1)
    run(line(accumulate=3), ModelCheckpoint("gathering", whole=True, every=2), epochs=1)
    wf.save(trainer, "trainer")
    wide = Trainer(nn.Linear(1, 2), "mse", optim.SGD(lr=0.1, momentum=0.9))
    wide.fit(
        X,
        X @ np.ones((1, 2), "f"),
        batch_size=4,
        callbacks=[ModelCheckpoint("wide", whole=True)],
        progress=False,
    )
    other = line(metrics=how.pop("metrics", ()))
    before = other.model.weight.item()
    with pytest.raises(error, match=says):
        run(other, **how)
    assert other.model.weight.item() == before and other.epochs == 0
