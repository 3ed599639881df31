"""Callbacks: when they are called, stopping, checkpoints, schedules."""

import csv
import math

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.base.errors import ArgumentError, FileError, StateError
from weft.train import (
    Callback,
    CSVLogger,
    EarlyStopping,
    GradientClipping,
    LambdaCallback,
    LearningRateSchedule,
    ModelCheckpoint,
    Monitor,
    TensorBoard,
    TerminateOnNaN,
    WeightAveraging,
)

X = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
Y = 2 * X + 1


def line(lr=0.1, **options):
    wf.manual_seed(0)
    return wf.Trainer(nn.Linear(1, 1), "mse", optim.SGD(lr=lr), **options)


def fit(trainer, *callbacks, epochs=3, **options):
    return trainer.fit(
        X, Y, epochs=epochs, batch_size=2, callbacks=callbacks, seed=0, progress=False, **options
    )


class Diary(Callback):
    def __init__(self):
        self.notes = []

    def on_fit_begin(self, trainer):
        self.notes.append("fit")

    def on_epoch_begin(self, trainer, epoch):
        self.notes.append(f"epoch {epoch}")

    def on_batch_end(self, trainer, batch, loss):
        assert loss.item() >= 0
        self.notes.append(batch)

    def on_epoch_end(self, trainer, epoch, figures):
        figures["more"] = 7.0
        self.notes.append(sorted(figures))

    def on_fit_end(self, trainer):
        self.notes.append("end")


def test_order_of_calls():
    diary = Diary()
    history = fit(line(callbacks=[diary]), epochs=2, validation_data=(X, Y))
    figures = ["loss", "more", "val_loss"]
    assert diary.notes == ["fit", "epoch 1", 1, 2, figures, "epoch 2", 1, 2, figures, "end"]
    assert history["more"] == [7.0, 7.0]


def test_the_end_is_told_after_an_error():
    class Failing(Diary):
        def on_batch_end(self, trainer, batch, loss):
            raise KeyboardInterrupt

    diary = Failing()
    trainer = line()
    with pytest.raises(KeyboardInterrupt):
        fit(trainer, diary)
    assert diary.notes == ["fit", "epoch 1", "end"]
    assert trainer.history.stopped == "interrupted"


def test_the_end_is_told_to_those_who_have_begun():
    """To each of them, whatever another one raises; not to those that had not come to their beginning."""

    class Breaks(Diary):
        def on_fit_end(self, trainer):
            super().on_fit_end(trainer)
            raise RuntimeError("at the end")

    first, second = Breaks(), Diary()
    with pytest.raises(RuntimeError, match="at the end"):
        fit(line(), first, second, epochs=1)
    assert first.notes[-1] == second.notes[-1] == "end"
    diary, late = Diary(), WeightAveraging(None)
    trainer = line()
    fit(trainer, late)
    weight = trainer.model.weight.item()
    nn.init.constant_(trainer.model.weight, 5.0)
    with pytest.raises(ArgumentError, match="not measured"):
        fit(trainer, diary, EarlyStopping("val_loss"), late)
    assert diary.notes == ["fit", "end"]
    assert trainer.model.weight.item() == 5.0 != weight  # not the average of the run before


class Scripted(Callback):
    """Puts given values in the place of a figure, and remembers the weights."""

    def __init__(self, values):
        self.values = values
        self.weights = []

    def on_epoch_end(self, trainer, epoch, figures):
        figures["val_loss"] = self.values[epoch - 1]
        self.weights.append(trainer.model.weight.item())


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "best"),
    [
        ([3, 2, 1, 2, 3, 4], 2, 5, 3),
        ([3, 2, 1, 2, 3, 0], 3, 6, 6),
        ([1, 2, 3, 4, 5, 6], 1, 2, 1),
        ([1, 2, 3, 4, 5, 6], 0, 2, 1),
        ([5, math.nan, 4, math.nan, math.nan, 1], 2, 5, 3),
        ([math.nan] * 6, 2, 2, None),
    ],
)
def test_early_stopping(values, patience, epochs, best):
    trainer, script, stopping = line(lr=0.01), Scripted(values), EarlyStopping(patience=patience)
    history = fit(trainer, script, stopping, epochs=6, validation_data=(X, Y))
    assert len(history.epochs) == epochs
    assert (history.stopped is not None) == (epochs < 6)
    kept = script.weights[best - 1] if best else script.weights[-1]
    assert trainer.model.weight.item() == kept
    assert stopping.best_epoch == (best or 0)


def test_early_stopping_counts_what_is_better_enough():
    trainer = line(lr=0.01)
    stopping = EarlyStopping(patience=2, min_delta=0.5, restore_best=False)
    history = fit(trainer, Scripted([3, 2.9, 2.8, 1, 1, 1]), stopping, epochs=6, validation_data=(X, Y))
    assert len(history.epochs) == 3 and stopping.best == 3


def test_large_figures_may_be_the_better_ones():
    assert Monitor("val_accuracy").sign == -1
    assert Monitor("val_loss").sign == 1
    assert Monitor("score", mode="max").sign == -1


def test_checkpoint_of_the_best_epoch(tmp_path):
    path = tmp_path / "deep" / "model.safetensors"
    trainer, script = line(lr=0.01), Scripted([3, 1, 2])
    checkpoint = ModelCheckpoint(path)
    fit(trainer, script, checkpoint, validation_data=(X, Y))
    saved = wf.load(path)
    assert saved["weight"].item() == script.weights[1] != trainer.model.weight.item()
    trainer.model.load_state_dict(saved)
    assert trainer.model.weight.item() == script.weights[1]
    assert checkpoint.written == str(path)


def test_checkpoints_of_every_epoch_hold_all_that_a_resumed_run_needs(tmp_path):
    pattern = tmp_path / "{epoch:02d}-{loss:.1f}.safetensors"
    trainer = line()
    fit(trainer, ModelCheckpoint(pattern, best_only=False, whole=True))
    files = sorted(tmp_path.iterdir())
    assert [f.name[:2] for f in files] == ["01", "02", "03"]
    saved = wf.load(files[-1])
    other = line(lr=0.7)
    other.load_state_dict(saved)
    assert other.epochs == 3
    assert other.optimizer.param_groups[0]["lr"].item() == 0.1
    assert other.model.weight.item() == trainer.model.weight.item()


def test_a_checkpoint_that_cannot_be_written_keeps_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    fit(line(), ModelCheckpoint(path, best_only=False), epochs=1)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FileError, match="disk is full"):
        fit(line(lr=0.05), ModelCheckpoint(path, best_only=False), epochs=1)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot make the folder"):
        fit(line(), ModelCheckpoint(tmp_path / "file" / "model", best_only=False))


def test_terminate_on_nan():
    trainer = line(lr=1e30)
    history = fit(trainer, TerminateOnNaN(), epochs=50)
    assert len(history.epochs) < 50
    assert "loss of batch" in history.stopped


def test_schedule_by_epoch():
    history = fit(line(), LearningRateSchedule(lambda epoch: 0.1 / epoch), epochs=3)
    assert history["lr"] == pytest.approx([0.1, 0.05, 0.1 / 3])


@pytest.mark.parametrize(
    ("every", "rates"), [("epoch", [0.1, 0.05, 0.025]), ("batch", [0.025, 0.00625, 0.0015625])]
)
def test_schedules_of_optim(every, rates):
    schedule = LearningRateSchedule(make=lambda o: optim.ExponentialLR(o, 0.5), every=every)
    trainer = line()
    history = fit(trainer, schedule, epochs=3)
    assert history["lr"] == pytest.approx(rates)
    assert trainer._training(False, None, []).traces == 1


CYCLE = dict(max_lr=1.0, anneal_strategy="linear", cycle_momentum=False)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (lambda: LearningRateSchedule("exponential", gamma=0.5), [0.1, 0.05, 0.025]),
        (lambda: LearningRateSchedule("step", step_size=2), [0.1, 0.1, 0.01]),
        (lambda: LearningRateSchedule("multi_step", milestones=[1, 2]), [0.1, 0.01, 0.001]),
        (lambda: LearningRateSchedule("cosine"), [0.1, 0.075, 0.025]),
        (lambda: LearningRateSchedule("cosine", T_max=2), [0.1, 0.05, 0.0]),
        (lambda: LearningRateSchedule("cosine", every="batch"), [0.075, 0.025, 0.0]),
        (lambda: LearningRateSchedule("polynomial"), [0.1, 0.2 / 3, 0.1 / 3]),
        (lambda: LearningRateSchedule("constant", factor=0.5, total_iters=1), [0.05, 0.1, 0.1]),
        (lambda: LearningRateSchedule("constant", factor=1.0, warm_up=2), [0.001, 0.0505, 0.1]),
        (lambda: LearningRateSchedule("cosine", warm_up=1), [0.001, 0.1, 0.05]),
        (lambda: LearningRateSchedule("warm_restarts", T_0=1), [0.1, 0.1, 0.1]),
        (lambda: LearningRateSchedule("linear", start_factor=0.5, total_iters=2), [0.05, 0.075, 0.1]),
        # Of six steps: up to 1 at the third, from there down to the last.
        (lambda: LearningRateSchedule("one_cycle", pct_start=0.5, **CYCLE), [1.0, 1 / 3, 4e-6]),
    ],
)
def test_schedules_by_name(schedule, rates):
    history = fit(line(), schedule(), epochs=3)
    assert history["lr"] == pytest.approx(rates, rel=1e-4)


def test_a_schedule_that_follows_a_figure():
    for schedule in (
        LearningRateSchedule("plateau", patience=1, factor=0.5),
        LearningRateSchedule(make=lambda o: optim.ReduceLROnPlateau(o, patience=1, factor=0.5)),
    ):
        values = [3, 2, 2, 2, 2, 2, 2]
        history = fit(line(lr=0.01), Scripted(values), schedule, epochs=7, validation_data=(X, Y))
        assert history["lr"] == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.0025])
    rising = LearningRateSchedule("plateau", monitor="val_r2", patience=0)
    fit(line(lr=0.01, metrics=["r2"]), rising, validation_data=(X, Y))
    assert rising.schedule.mode == "max"


def test_steps_of_accumulated_batches_move_the_schedule_once():
    schedule = LearningRateSchedule("exponential", gamma=0.5, every="batch")
    history = fit(line(accumulate=2), schedule, epochs=3)
    assert history["lr"] == pytest.approx([0.05, 0.025, 0.0125])


def test_functions_as_callbacks():
    seen = []
    both = LambdaCallback(
        on_epoch_begin=lambda t, e: seen.append(e), on_fit_end=lambda t: seen.append(t.last_epoch)
    )
    fit(line(callbacks=both), epochs=2)
    assert seen == [1, 2, 2]


def test_what_callbacks_can_ask():
    seen = []
    ask = LambdaCallback(
        on_batch_end=lambda t, b, loss: seen.append((t.batch, t.batches, t.running_figures()["loss"] > 0)),
        on_fit_begin=lambda t: seen.append((t.total_epochs, t.batches_per_epoch, t.steps_per_epoch)),
    )
    trainer = line(accumulate=2)
    fit(trainer, ask, epochs=2)
    assert seen == [(2, 2, 1), (1, 1, True), (2, 2, True), (1, 3, True), (2, 4, True)]
    with pytest.raises(StateError, match="not in a fit"):
        trainer.batch


def test_checkpoints_after_batches_and_how_many_stay(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}-{batch}.safetensors", every=3, keep=2)
    fit(line(), checkpoint, epochs=5)  # of 10 batches in all
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3-2.safetensors", "5-1.safetensors"]
    assert checkpoint.newest() == checkpoint.written == str(tmp_path / "5-1.safetensors")


def test_csv(tmp_path):
    path = tmp_path / "log.csv"
    history = fit(line(), CSVLogger(path), epochs=2)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["epoch"]) for r in rows] == [1, 2]
    assert [float(r["loss"]) for r in rows] == history["loss"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: fit(line(), EarlyStopping()), "needs validation_data"),
        (lambda: fit(line(), EarlyStopping("los")), "'loss'"),
        (lambda: EarlyStopping(patience=-1), "patience"),
        (lambda: EarlyStopping(mode="best"), "mode must be"),
        (lambda: fit(line(), ModelCheckpoint("{epoch}-{acc}", best_only=False)), "cannot be filled in"),
        (lambda: LearningRateSchedule(), "either"),
        (lambda: LearningRateSchedule("cosin"), "'cosine'"),
        (lambda: LearningRateSchedule("step", step_sise=3), "'step_size'"),
        (lambda: LearningRateSchedule(lambda e: 0.1, gamma=0.5), "with the name of a schedule"),
        (lambda: LearningRateSchedule("plateau", warm_up=2), "cannot have a warm_up"),
        (lambda: LearningRateSchedule("cosine", warm_up=-1), "warm_up must be"),
        (lambda: fit(line(), LearningRateSchedule("plateau")), "needs validation_data"),
        (lambda: fit(line(), LearningRateSchedule("step")), "step_size"),
        (lambda: LambdaCallback(on_epoch_ends=print), "'on_epoch_end'"),
        (
            lambda: fit(line(), optim.StepLR(optim.SGD([wf.tensor([1.0])], lr=0.1), 3)),
            "make=lambda optimizer: StepLR",
        ),
        (lambda: LambdaCallback(on_epoch_end=3), "must be a function"),
        (lambda: GradientClipping(), "needs a norm"),
        (lambda: GradientClipping(norm=-1), "clip_norm must be"),
        (lambda: WeightAveraging(2.0), "between 0 and 1"),
        (lambda: WeightAveraging(every="step"), "every must be"),
        (lambda: WeightAveraging(start_epoch=0), "start_epoch must be"),
        (lambda: ModelCheckpoint("a", every=0), "every must be"),
        (lambda: ModelCheckpoint("a", every=2, best_only=True), "best_only"),
        (lambda: ModelCheckpoint("a", keep=0), "keep must be"),
        (lambda: line(accumulate=0), "accumulate must be"),
        (lambda: LearningRateSchedule(make=lambda o: o, every="step"), "every must be"),
        (lambda: fit(line(), LearningRateSchedule(make=lambda o: o)), "must return a schedule"),
        (lambda: EarlyStopping(5), 'monitor is the name of a figure, such as "val_loss", got 5'),
        (lambda: EarlyStopping(patience=None), "patience is a number of epochs"),
        (lambda: EarlyStopping(min_delta="small"), "min_delta must be a number"),
        (lambda: ModelCheckpoint("a", every=float("nan")), "ModelCheckpoint"),
        (lambda: ModelCheckpoint("a", keep=float("inf")), "ModelCheckpoint"),
        (lambda: WeightAveraging([1]), "WeightAveraging"),
        (lambda: CSVLogger(None), "CSVLogger"),
        (lambda: TensorBoard(5), "TensorBoard"),
    ],
)
def test_errors(make, says):
    with pytest.raises(ArgumentError, match=says):
        make()
