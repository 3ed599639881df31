"""Averages of weights: against PyTorch, compiled, saved, and statistics found anew."""

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.errors import ArgumentError
from weft.train import (
    AveragedModel,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    Trainer,
    WeightAveraging,
    get_ema_avg_fn,
    update_bn,
)


def model():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("kind", ["swa", "ema"])
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averages_equal_pytorch(kind, use_buffers):
    torch = pytest.importorskip("torch")
    swa = torch.optim.swa_utils
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    ours = model()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    their_fn = swa.get_swa_avg_fn() if kind == "swa" else swa.get_ema_avg_fn(0.9)
    mine = AveragedModel(ours, avg_fn=None if kind == "swa" else get_ema_avg_fn(0.9), use_buffers=use_buffers)
    other = swa.AveragedModel(theirs, avg_fn=their_fn, use_buffers=use_buffers)
    rng = np.random.default_rng(0)
    for _ in range(4):
        for (_, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            value = rng.standard_normal(p.shape).astype("float32")
            nn.init.copy_(p, value)
            q.data = torch.tensor(value)
        x = rng.standard_normal((5, 3)).astype("float32")
        ours(wf.tensor(x)), theirs(torch.tensor(x))
        mine.update_parameters(ours)
        other.update_parameters(theirs)
    state, want = mine.state_dict(), other.state_dict()
    assert set(state) == set(want)
    for name, value in state.items():
        if use_buffers and name.endswith("tracked"):
            continue  # a number of batches: copied here, an average of integers there
        np.testing.assert_allclose(value.numpy(), want[name].numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
    x = rng.standard_normal((5, 3)).astype("float32")
    np.testing.assert_allclose(
        mine.eval()(wf.tensor(x)).numpy(),
        other.eval()(torch.tensor(x)).detach().numpy(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_an_average_inside_a_compiled_step():
    net = nn.Linear(2, 1, bias=False)
    averaged, optimizer = AveragedModel(net), wf.optim.SGD(net.parameters(), lr=0.5)

    @wf.compile
    def step(x):
        net(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        averaged.update_parameters(net)

    seen = []
    for _ in range(4):
        step(wf.ones((1, 2)))
        seen.append(net.weight.numpy())
    assert step.traces == 1 and averaged.n_averaged.item() == 4
    np.testing.assert_allclose(averaged.module.weight.numpy(), np.mean(seen, 0), rtol=1e-5)
    again = AveragedModel(nn.Linear(2, 1, bias=False))
    again.load_state_dict(averaged.state_dict())
    assert again.n_averaged.item() == 4


def test_statistics_are_found_anew():
    net = model()
    net[1].momentum, batches = (
        0.3,
        [wf.tensor(np.random.default_rng(i).standard_normal((6, 3))) for i in range(3)],
    )
    net.double().eval()
    update_bn([(b, None) for b in batches], net)
    hidden = [net[0](b).numpy() for b in batches]
    np.testing.assert_allclose(
        net[1].running_mean.numpy(), np.mean([h.mean(0) for h in hidden], 0), atol=1e-6
    )
    assert net[1].momentum == 0.3 and not net.training
    update_bn([], nn.Linear(2, 2))


def test_a_decay_outside_is_refused():
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        get_ema_avg_fn(1.5)


# -- validation -------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)).astype(np.float32), RNG.integers(0, 3, 40)


def values(model):
    return np.concatenate([p.numpy().ravel() for p in model.parameters()])


def averaged_run(*callbacks, epochs=5, compile=None, seed=0, **options):
    """A run with a learning rate so large that weights and their average differ, and every step's weights."""
    wf.manual_seed(0)
    trail = []
    note = LambdaCallback(on_batch_end=lambda t, b, loss: trail.append(values(t.model)))
    trainer = Trainer(nn.Linear(3, 3), "cross_entropy", optim.SGD(lr=2.0), ["accuracy"], compile=compile)
    averaging = WeightAveraging(**options)
    history = trainer.fit(
        X, Y, epochs=epochs, batch_size=10, validation_data=(X, Y), seed=seed, progress=False,
        callbacks=[note, averaging, *callbacks],
    )  # fmt: skip
    return trainer, history, trail


def means(trail, decay, start=0, every=1):
    """The average after every epoch of four batches."""
    out, mean, count = [], None, 0
    for i, w in enumerate(trail, 1):
        if i > start and i % every == 0:
            rate = 1 / (count + 1) if decay is None else 1 - decay
            mean, count = w if mean is None else mean + (w - mean) * rate, count + 1
        if i % 4 == 0:
            out.append(w if mean is None else mean)
    return out


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize(
    ("options", "start", "every"),
    [
        (dict(decay=0.8), 0, 1),
        (dict(decay=None), 0, 1),
        (dict(decay=0.5, start_epoch=3), 8, 1),
        (dict(decay=None, every="epoch"), 0, 4),
    ],
)
def test_validation_measures_the_average(options, start, every, compile, tmp_path):
    files = ModelCheckpoint(tmp_path / "{epoch}", best_only=False)
    trainer, history, trail = averaged_run(files, compile=compile, **options)
    other = Trainer(nn.Linear(3, 3), "cross_entropy", "sgd", ["accuracy"])
    expected = means(trail, options["decay"], start, every)
    for epoch, mean in enumerate(expected, 1):
        other.model.load_state_dict(wf.load(str(tmp_path / str(epoch))))
        np.testing.assert_allclose(values(other.model), mean, atol=1e-5)
        found = other.evaluate(X, Y)
        assert history["val_loss"][epoch - 1] == pytest.approx(found["loss"], rel=1e-5)
        assert history["val_accuracy"][epoch - 1] == found["accuracy"]
    np.testing.assert_allclose(values(trainer.model), expected[-1], atol=1e-5)


def test_training_does_not_notice_the_validation():
    _, history, trail = averaged_run(decay=0.8)
    _, plain, expected = averaged_run(decay=0.8, validate=False)
    assert np.array_equal(trail, expected) and history["loss"] == plain["loss"]
    assert history["val_loss"] != plain["val_loss"]


@pytest.mark.parametrize("first", [True, False])
def test_early_stopping_goes_back_to_the_best_average(first):
    stopping = EarlyStopping("val_loss", patience=1)
    wf.manual_seed(0)
    trainer = Trainer(nn.Linear(3, 3), "cross_entropy", optim.SGD(lr=4.0))
    averaging = WeightAveraging(0.5)
    callbacks = [stopping, averaging] if first else [averaging, stopping]
    history = trainer.fit(
        X, Y, epochs=40, batch_size=10, validation_data=(X, Y), seed=0, progress=False, callbacks=callbacks
    )
    assert trainer.stopped and len(history.epochs) < 40
    assert trainer.evaluate(X, Y)["loss"] == pytest.approx(min(history["val_loss"]), rel=1e-6)


def test_a_run_that_is_stopped_at_once_is_left_with_the_average():
    stop = LambdaCallback(
        on_batch_end=lambda t, b, loss: t.stop("enough", now=True) if t.batches == 7 else None
    )
    trainer, _, trail = averaged_run(stop, decay=0.8)
    assert len(trail) == 7
    mean = trail[0]
    for w in trail[1:]:
        mean = mean + (w - mean) * 0.2
    np.testing.assert_allclose(values(trainer.model), mean, atol=1e-5)
    assert len(trainer.fit(X, Y, epochs=1, progress=False).epochs) == 1
