"""Steps: gradients of several batches, weights of samples and classes, callbacks inside the step, L-BFGS."""

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.data import DataLoader, TensorDataset
from weft.errors import ArgumentError, DataError
from weft.train import Callback, GradientClipping, LambdaCallback, Trainer, WeightAveraging

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = RNG.integers(0, 3, 50)
COMPILED = pytest.mark.parametrize("compile", [True, False])


def model(out=3):
    wf.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, out))


def run(*data, loss="cross_entropy", optimizer=None, batch_size=50, epochs=3, fit=(), **options):
    trainer = Trainer(model(), loss, optimizer or optim.SGD(lr=0.1), **options)
    data = data or (X, Y)
    history = trainer.fit(*data, epochs=epochs, batch_size=batch_size, seed=1, progress=False, **dict(fit))
    return trainer, history


def weights(trainer):
    return np.concatenate([p.numpy().ravel() for p in trainer.model.parameters()])


# -- accumulation -----------------------------------------------------------------------------------------------


@COMPILED
@pytest.mark.parametrize("batch_size", [10, 16])
def test_gathered_batches_are_one_large_batch(compile, batch_size):
    """Also where the last batch is smaller: the mean is over samples."""
    whole, expected = run()
    parts, found = run(batch_size=batch_size, accumulate=5, compile=compile)
    np.testing.assert_allclose(weights(parts), weights(whole), atol=1e-6)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        lambda: nn.CrossEntropyLoss(),
        lambda: nn.CrossEntropyLoss(weight=wf.tensor([1.0, 5.0, 0.1])),
        lambda: nn.CrossEntropyLoss(reduction="sum"),
        lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
    ],
)
def test_batches_of_which_much_is_left_out(loss):
    """The mean is over what counts, not over batches; of a loss that is a sum, gradients are added."""
    labels = Y.copy()
    labels[:18] = -100  # a batch and more
    options = dict(loss=loss(), optimizer=optim.SGD(lr=0.001 if loss().reduction == "sum" else 0.1))
    whole, _ = run(X, labels, fit={"shuffle": False}, **options)
    options = dict(loss=loss(), optimizer=optim.SGD(lr=0.001 if loss().reduction == "sum" else 0.1))
    parts, _ = run(X, labels, batch_size=16, accumulate=4, fit={"shuffle": False}, **options)
    np.testing.assert_allclose(weights(parts), weights(whole), atol=1e-6)


def test_gradients_of_half_precision_are_gathered_in_single():
    def trained(batch_size, accumulate):
        net = model().to("bfloat16")
        trainer = Trainer(net, "cross_entropy", optim.SGD(lr=0.5), accumulate=accumulate)
        x = wf.tensor(X, dtype="bfloat16")
        trainer.fit(x, Y, batch_size=batch_size, epochs=1, shuffle=False, progress=False)
        return np.concatenate([p.astype("float32").numpy().ravel() for p in net.parameters()])

    single = trained(1, 50)  # one by one, a running sum in bfloat16 would lose most of them
    np.testing.assert_allclose(single, trained(50, 1), atol=0.01)


def test_the_last_batches_of_an_epoch_make_a_step_too():
    counts = []
    count = LambdaCallback(on_batch_end=lambda t, b, loss: counts.append(t.stepped))
    trainer, _ = run(batch_size=10, accumulate=2, epochs=2, callbacks=[count])
    assert counts == [False, True, False, True, True] * 2
    assert trainer.optimizer.param_groups[0]["lr"].item() == pytest.approx(0.1)


def test_an_epoch_of_unknown_length_ends_with_a_step():
    class Batches:
        def __iter__(self):
            return iter([(wf.tensor(X[i : i + 10]), wf.tensor(Y[i : i + 10])) for i in range(0, 50, 10)])

    def by(loader, accumulate):
        trainer = Trainer(model(), "cross_entropy", optim.SGD(lr=0.1), accumulate=accumulate)
        trainer.fit(loader, epochs=2, progress=False)
        return weights(trainer)

    known = DataLoader(TensorDataset(X, Y), 10)
    for accumulate in (2, 5, 7):
        assert by(Batches(), accumulate).tobytes() == by(known, accumulate).tobytes()


@pytest.mark.parametrize("accumulate", [1, 3])
def test_gradients_that_were_left_are_forgotten(accumulate):
    """By a loop by hand, and by a run that an error has ended between batches of one step."""

    class Fails(Callback):
        def on_batch_end(self, trainer, batch, loss):
            if batch == 2:
                raise RuntimeError("in the middle")

    def begun(disturb):
        trainer = Trainer(model(), "cross_entropy", optim.SGD(lr=0.1), accumulate=accumulate)
        state = {k: v.numpy().copy() for k, v in trainer.model.state_dict().items()}
        if disturb:
            with pytest.raises(RuntimeError, match="in the middle"):
                trainer.fit(X, Y, batch_size=10, callbacks=[Fails()], progress=False)
            nn.functional.cross_entropy(trainer.model(wf.tensor(X)), wf.tensor(Y)).backward()
            trainer.model.load_state_dict(state)
        trainer.epochs = 0
        trainer.fit(X, Y, batch_size=10, seed=0, progress=False)
        return weights(trainer)

    assert begun(True).tobytes() == begun(False).tobytes()


def test_momentum_and_dropout_with_accumulation():
    """The optimiser makes as many steps as there are groups, and parameters out of use are left alone."""

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.used(x)

    wf.manual_seed(0)
    trainer = Trainer(Odd(), "cross_entropy", optim.AdamW(lr=0.1, weight_decay=0.1), accumulate=3)
    before = trainer.model.unused.weight.numpy().copy()
    trainer.fit(X, Y, epochs=2, batch_size=10, progress=False)
    assert np.array_equal(trainer.model.unused.weight.numpy(), before)
    steps = trainer.optimizer.state[trainer.model.used.weight]["step"].item()
    assert steps == 4  # groups of 3 and 2 batches in each epoch


# -- weights ----------------------------------------------------------------------------------------------------


@COMPILED
def test_weights_of_one_change_nothing(compile):
    plain, expected = run(compile=compile)
    weighted, found = run(compile=compile, fit={"sample_weight": np.ones(50)})
    np.testing.assert_allclose(weights(weighted), weights(plain), rtol=1e-6, atol=1e-7)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce_with_logits", "huber"])
def test_a_whole_weight_is_a_repetition_and_none_an_absence(loss):
    y = Y if loss == "cross_entropy" else (np.eye(3, dtype=np.float32)[Y])
    w = RNG.integers(0, 3, 50)
    weighted, found = run(X, y, loss=loss, fit={"sample_weight": w})
    repeated, expected = run(np.repeat(X, w, 0), np.repeat(y, w, 0), loss=loss, batch_size=200)
    np.testing.assert_allclose(weights(weighted), weights(repeated), atol=1e-6)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_class_weights_are_those_of_the_loss():
    w = np.array([1.0, 2.0, 5.0], np.float32)
    inside, expected = run(loss=nn.CrossEntropyLoss(weight=wf.tensor(w)), compile=False)
    for class_weight in (w, w.tolist(), wf.tensor(w), {0: 1, 1: 2, 2: 5}, {1: 2.0, 2: 5.0}):
        outside, found = run(fit={"class_weight": class_weight})
        np.testing.assert_allclose(weights(outside), weights(inside), atol=1e-6)
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_class_weights_of_the_loss_go_with_sample_weights():
    w, s = np.array([1.0, 2.0, 5.0], np.float32), RNG.random(50)
    inside, _ = run(loss=nn.CrossEntropyLoss(weight=wf.tensor(w)), fit={"sample_weight": s})
    outside, _ = run(fit={"sample_weight": s * w[Y]})
    np.testing.assert_allclose(weights(inside), weights(outside), atol=1e-6)


def test_balanced_class_weights_equal_sklearns():
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    y = np.repeat([0, 1, 2], [5, 15, 30])
    table = sklearn.compute_class_weight("balanced", classes=np.arange(3), y=y)
    for data in ((X, y), (TensorDataset(X, y),), ([*zip(X, y, strict=True)],)):
        if isinstance(data[0], list):
            data = (Samples(data[0]),)
        found, _ = run(*data, fit={"class_weight": "balanced"})
        expected, _ = run(X, y, fit={"class_weight": table})
        np.testing.assert_allclose(weights(found), weights(expected), atol=1e-7)


class Samples:
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


def test_labels_that_are_ignored_weigh_nothing():
    labels = Y.copy()
    labels[::2] = -100
    ignoring, expected = run(X[1::2], Y[1::2])
    weighted, found = run(X, labels, fit={"sample_weight": np.ones(50)})
    np.testing.assert_allclose(weights(weighted), weights(ignoring), atol=1e-6)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_batches_without_any_weight_change_nothing():
    w = np.zeros(50)
    w[:10] = 1
    weighted, found = run(batch_size=10, fit={"sample_weight": w, "shuffle": False})
    few, expected = run(X[:10], Y[:10], batch_size=10)
    np.testing.assert_allclose(weights(weighted), weights(few), atol=1e-7)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_weighted_validation_and_evaluation():
    w = RNG.integers(1, 4, 50)
    trainer, history = run(fit={"validation_data": (X, Y, w)})
    assert trainer.evaluate(X, Y, sample_weight=w)["loss"] == history["val_loss"][-1]
    repeated = trainer.evaluate(np.repeat(X, w, 0), np.repeat(Y, w, 0))
    assert history["val_loss"][-1] == pytest.approx(repeated["loss"], rel=1e-6)
    trainer, history = run(fit={"sample_weight": w, "validation_split": 0.2, "class_weight": "balanced"})
    assert np.isfinite(history["val_loss"]).all()


@pytest.mark.parametrize(
    ("fit", "error", "says"),
    [
        ({"sample_weight": np.ones(49)}, DataError, "each of the 50 samples"),
        ({"sample_weight": np.ones((50, 1))}, DataError, "each of the 50 samples"),
        ({"sample_weight": -np.ones(50)}, DataError, r"holds -1.0 \(number 0\)"),
        ({"sample_weight": np.full(50, np.nan)}, DataError, "holds nan"),
        ({"sample_weight": np.zeros(50)}, ArgumentError, "all of sample_weight is 0"),
        ({"sample_weight": np.array(["a"] * 50)}, DataError, "must be numbers"),
        ({"class_weight": "balancd"}, ArgumentError, "balanced"),
        ({"class_weight": [1.0, 2.0]}, ArgumentError, "each of the 3 classes"),
        ({"class_weight": {3: 1.0}}, ArgumentError, "label 3; labels are 0 to 2"),
        ({"class_weight": {"a": 1.0}}, ArgumentError, "label 'a'"),
        ({"class_weight": {0: "a"}}, ArgumentError, "must be a number"),
        ({"class_weight": {0: -1.0}}, DataError, "holds -1.0"),
    ],
)
def test_bad_weights(fit, error, says):
    with pytest.raises(error, match=says):
        run(fit=fit)


def test_what_cannot_be_weighted():
    ones = np.ones(50)
    with pytest.raises(ArgumentError, match="loss of every sample by itself"):
        run(loss=lambda p, y: nn.functional.cross_entropy(p, y), fit={"sample_weight": ones})
    with pytest.raises(ArgumentError, match="has class weights already"):
        run(loss=nn.CrossEntropyLoss(wf.ones(3)), fit={"class_weight": [1, 2, 3]})
    with pytest.raises(ArgumentError, match="integer class labels, the labels are float32"):
        run(X, np.eye(3)[Y], loss="mse", fit={"class_weight": np.ones(3)})
    with pytest.raises(ArgumentError, match="one class label for every loss"):
        run(X, np.eye(3)[Y], loss="cross_entropy", fit={"class_weight": np.ones(3)})
    trainer = Trainer(model(), "cross_entropy")
    with pytest.raises(ArgumentError, match="arrays or a dataset"):
        trainer.fit(DataLoader(TensorDataset(X, Y), 10), sample_weight=ones, progress=False)
    weighted, _ = run(loss=nn.functional.cross_entropy, fit={"sample_weight": ones})
    plain, _ = run()
    np.testing.assert_allclose(weights(weighted), weights(plain), atol=1e-7)


# -- callbacks inside the step ----------------------------------------------------------------------------------


@COMPILED
def test_clipping(compile):
    by_value, _ = run(callbacks=[GradientClipping(value=1e-3)], compile=compile)
    same, _ = run(clip_value=1e-3, compile=compile)
    assert weights(by_value).tobytes() == weights(same).tobytes()
    moved = np.abs(weights(same) - np.concatenate([p.numpy().ravel() for p in model().parameters()]))
    assert 0 < moved.max() <= 3 * 0.1 * 1e-3 * 1.01
    both, _ = run(clip_norm=1e-3, clip_value=1e-4, compile=compile)
    assert not np.array_equal(weights(both), weights(same))


@COMPILED
def test_callbacks_in_the_step_are_part_of_the_program(compile):
    class Halve(Callback):
        calls = 0

        def on_gradients(self, trainer):
            type(self).calls += 1
            for p in trainer.model.parameters():
                p.grad = p.grad * 0.5

    halved, _ = run(callbacks=[Halve()], compile=compile)
    slow, _ = run(optimizer=optim.SGD(lr=0.05), compile=compile)
    assert weights(halved).tobytes() == weights(slow).tobytes()
    assert (Halve.calls == 3) is not compile


@COMPILED
def test_numbers_of_a_callback_may_change(compile):
    class Scale(Callback):
        def __init__(self):
            self.factor = 1.0

        def on_epoch_begin(self, trainer, epoch):
            self.factor = 1.0 if epoch == 1 else 0.0

        def on_gradients(self, trainer):
            for p in trainer.model.parameters():
                p.grad = p.grad * self.factor

    scaled, _ = run(callbacks=[Scale()], epochs=3, compile=compile)
    once, _ = run(epochs=1, compile=compile)
    assert weights(scaled).tobytes() == weights(once).tobytes()


@COMPILED
@pytest.mark.parametrize("decay", [0.9, None])
def test_averaged_weights(compile, decay):
    trail = []
    note = LambdaCallback(on_batch_end=lambda t, b, loss: trail.append(weights(t)))
    averaging = WeightAveraging(decay, start_epoch=2)
    trainer, _ = run(batch_size=10, callbacks=[averaging, note], compile=compile)
    expected = trail[5]
    for i, w in enumerate(trail[6:], 1):
        expected = expected + (w - expected) * (0.1 if decay else 1 / (i + 1))
    np.testing.assert_allclose(weights(trainer), expected, atol=1e-6)
    assert averaging.averaged.n_averaged.item() == 10


def test_averages_by_epoch_and_their_norms():
    wf.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    trainer = Trainer(net, "cross_entropy", optim.SGD(lr=0.5))
    averaging = WeightAveraging(None, every="epoch")
    trainer.fit(X, Y, epochs=3, batch_size=50, shuffle=False, callbacks=[averaging], progress=False)
    assert averaging.averaged.n_averaged.item() == 3
    inside = net[0](wf.tensor(X)).numpy()
    np.testing.assert_allclose(net[1].running_mean.numpy(), inside.mean(0), atol=1e-5)
    assert net.training


def test_lbfgs_takes_several_looks_in_a_step():
    wf.manual_seed(0)
    x = RNG.normal(size=(40, 2)).astype(np.float32)
    y = x @ np.array([[2.0], [-1.0]], np.float32) + 0.5
    trainer = Trainer(nn.Linear(2, 1), "mse", "lbfgs", metrics=["r2"])
    history = trainer.fit(x, y, epochs=4, batch_size=40, progress=False)
    assert history["loss"][-1] < 1e-6
    assert trainer.evaluate(x, y)["r2"] == pytest.approx(1.0)
    with pytest.raises(ArgumentError, match="LBFGS"):
        Trainer(nn.Linear(2, 1), "mse", "lbfgs", accumulate=2)


def test_evaluation_in_the_middle_of_an_epoch_disturbs_nothing():
    look = LambdaCallback(on_batch_end=lambda t, b, loss: (t.evaluate(X, Y), t.predict(X)))
    looking, found = run(batch_size=10, metrics=["accuracy"], callbacks=[look])
    before = wf.random.default_generator().state.tolist()
    plain, expected = run(batch_size=10, metrics=["accuracy"])
    assert wf.random.default_generator().state.tolist() == before  # nor the random numbers
    assert found.history == expected.history
    assert weights(looking).tobytes() == weights(plain).tobytes()
    with pytest.raises(wf.errors.StateError, match="running already"):
        run(callbacks=[LambdaCallback(on_batch_end=lambda t, b, loss: t.fit(X, Y, progress=False))])
