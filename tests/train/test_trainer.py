"""Fit, evaluate, predict."""

import copy
import pickle

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.base.errors import ArgumentError, DataError, DTypeError, ShapeError, StateError, TraceError
from weft.data import DataLoader, Dataset, TensorDataset
from weft.train import Callback, Trainer

QUIET = dict(progress=False)


def blobs(n=90, classes=3, seed=0):
    """Points around `classes` centres, with their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = np.array([[2.0, 0.0], [-1.0, 2.0], [-1.0, -2.0]])[:classes]
    return (centres[labels] + 0.4 * rng.normal(size=(n, 2))).astype(np.float32), labels


def mlp(seed=0, out=3):
    wf.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, out))


def trained(fit, compile=None, **options):
    trainer = Trainer(mlp(), "cross_entropy", optim.Adam(lr=0.02), ["accuracy"], compile=compile, **options)
    return trainer, fit(trainer)


def test_fit_learns_and_evaluate_agrees():
    x, y = blobs()
    trainer, history = trained(
        lambda t: t.fit(x, y, epochs=8, batch_size=16, validation_data=blobs(30, seed=1), seed=0, **QUIET)
    )
    assert history.epochs == list(range(1, 9))
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history["val_accuracy"][-1] == 1.0
    found = trainer.evaluate(*blobs(30, seed=1))
    assert found == {"loss": history["val_loss"][-1], "accuracy": 1.0}
    scores = trainer.predict(blobs(30, seed=1)[0])
    assert (scores.numpy().argmax(1) == blobs(30, seed=1)[1]).all()


@pytest.mark.parametrize("compile", [True, False])
def test_the_figures_are_those_of_a_loop_by_hand(compile):
    """Uneven batches: the loss of an epoch is the mean over samples, not over batches."""
    x, y = blobs(50)
    trainer, history = trained(lambda t: t.fit(x, y, epochs=3, batch_size=16, seed=3, **QUIET), compile)
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    loader = DataLoader(TensorDataset(x, y), 16, True, seed=3)
    for epoch in range(3):
        total, right = 0.0, 0
        for xs, ys in loader:
            scores = model(xs)
            loss = nn.functional.cross_entropy(scores, ys)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(ys)
            right += int((scores.numpy().argmax(1) == ys.numpy()).sum())
        assert history["loss"][epoch] == pytest.approx(total / 50, rel=1e-6)
        assert history["accuracy"][epoch] == right / 50
    for a, b in zip(trainer.model.parameters(), model.parameters(), strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_the_step_is_compiled_once_for_each_size_of_batch():
    x, y = blobs(50)
    trainer, _ = trained(lambda t: t.fit(x, y, epochs=4, batch_size=16, seed=0, **QUIET))
    assert trainer._training(False, None, []).traces == 2  # 16 and 2 samples


def test_fit_again_goes_on():
    x, y = blobs()
    once, first = trained(lambda t: t.fit(x, y, epochs=4, seed=5, **QUIET))
    twice, _ = trained(lambda t: t.fit(x, y, epochs=2, seed=5, **QUIET))
    second = twice.fit(x, y, epochs=2, seed=5, **QUIET)
    assert second.epochs == [3, 4]
    assert second["loss"] == first["loss"][2:]
    assert twice.epochs == once.epochs == 4


def droppy(width=8):
    return nn.Sequential(nn.LazyLinear(width), nn.Dropout(0.5), nn.Linear(width, 3))


@pytest.mark.parametrize("compile", [True, False])
def test_a_run_goes_on_from_a_file_as_if_never_interrupted(compile, tmp_path):
    """Momentum, dropout, the order of the samples: all bits are those of one long run."""
    x, y = blobs()

    def start():
        wf.manual_seed(0)
        return Trainer(droppy(), "cross_entropy", optim.Adam(lr=0.02), ["accuracy"], compile=compile)

    whole = start()
    expected = whole.fit(x, y, epochs=4, seed=1, **QUIET)
    first = start()
    first.fit(x, y, epochs=2, seed=1, **QUIET)
    wf.save(first, tmp_path / "run")
    wf.manual_seed(99)
    second = Trainer(droppy(), "cross_entropy", optim.Adam(), ["accuracy"], compile=compile)
    second.load_state_dict(wf.load(tmp_path / "run"))
    found = second.fit(x, y, epochs=2, seed=1, **QUIET)
    assert found.epochs == [3, 4]
    assert found["loss"] == expected["loss"][2:]
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_state_that_does_not_fit_changes_nothing():
    x, y = blobs()
    trainer = Trainer(droppy(), "cross_entropy", optim.Adam())
    trainer.fit(x, y, **QUIET)
    other = Trainer(droppy(), "cross_entropy", optim.SGD())
    other.fit(x, y, **QUIET)
    before = [p.numpy().tobytes() for p in other.model.parameters()]
    with pytest.raises(StateError, match="betas"):
        other.load_state_dict(trainer.state_dict())
    with pytest.raises(StateError, match="not the state of a trainer"):
        other.load_state_dict(trainer.model.state_dict())
    wide = Trainer(droppy(16), "cross_entropy", optim.Adam())
    wide.fit(x, y, **QUIET)
    with pytest.raises(StateError):
        other.load_state_dict(wide.state_dict())
    assert [p.numpy().tobytes() for p in other.model.parameters()] == before


def test_clip_norm_bounds_the_step():
    x, y = blobs()
    trainer = Trainer(nn.Linear(2, 3), "cross_entropy", optim.SGD(lr=1.0), clip_norm=1e-3)
    before = [p.numpy().copy() for p in trainer.model.parameters()]
    trainer.fit(x, y, batch_size=90, **QUIET)
    moved = [p.numpy() - b for p, b in zip(trainer.model.parameters(), before, strict=True)]
    assert np.sqrt(sum((m**2).sum() for m in moved)) == pytest.approx(1e-3, rel=1e-3)


class Pairs(Dataset):
    """A dataset of one's own that is fetched sample by sample."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], int(self.y[i])


class Batches:
    """An iterable of batches that is no loader."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def __iter__(self):
        for i in range(0, 90, 30):
            yield tuple(wf.tensor(a[i : i + 30]) for a in self.arrays)


@pytest.mark.parametrize(
    "data",
    [
        lambda x, y: (x, y),
        lambda x, y: (x.astype(np.float64), y.astype(np.int32)),
        lambda x, y: (x.tolist(), y.tolist()),
        lambda x, y: (wf.tensor(x), wf.tensor(y)),
        lambda x, y: (np.asfortranarray(x)[::1], y[:]),
        lambda x, y: ((x, y),),
        lambda x, y: (TensorDataset(x, y),),
        lambda x, y: (Pairs(x, y),),
        lambda x, y: (DataLoader(TensorDataset(x, y), 30),),
        lambda x, y: (DataLoader(Pairs(x, y), 30),),
        lambda x, y: (Batches(x, y),),
    ],
)
def test_data_of_every_kind(data):
    x, y = blobs()
    given = data(x, y)
    plain = not isinstance(given[0], (DataLoader, Batches))
    options = dict(batch_size=30, shuffle=False) if plain else {}
    _, history = trained(lambda t: t.fit(*given, epochs=2, **options, **QUIET))
    _, expected = trained(lambda t: t.fit(x, y, epochs=2, batch_size=30, shuffle=False, **QUIET))
    assert history.history == expected.history


@pytest.mark.parametrize("flag", ["eager", "debug_nan"])
def test_under_flags(flag):
    x, y = blobs()
    with wf.config(**{flag: True}):
        _, history = trained(lambda t: t.fit(x, y, epochs=2, seed=0, **QUIET))
    _, expected = trained(lambda t: t.fit(x, y, epochs=2, seed=0, **QUIET))
    assert history.history == expected.history


def test_a_model_in_double_precision():
    x, y = blobs()
    trainer = Trainer(mlp().to("float64"), "cross_entropy", optim.Adam(lr=0.02), compile=True)
    history = trainer.fit(x, y, epochs=2, seed=0, **QUIET)
    assert history["loss"][-1] < history["loss"][0]
    assert str(trainer.predict(x).dtype) == "float64"


def test_data_too_large_to_be_read_through_is_checked_as_it_comes(monkeypatch):
    monkeypatch.setattr("weft.train.inputs._LARGE", 10)
    x, y = blobs(12)
    x[5] = np.nan
    with pytest.raises(DataError, match="batch 2 of the training data hold nan"):
        Trainer(mlp(), "cross_entropy").fit(x, y, batch_size=4, shuffle=False, **QUIET)


def test_one_sample():
    history = Trainer(mlp(), "cross_entropy", metrics=["accuracy"]).fit(X[:1], Y[:1], epochs=2, **QUIET)
    assert history["loss"][1] < history["loss"][0] and history["accuracy"][0] in (0.0, 1.0)


def test_a_model_without_parameters_can_be_measured():
    trainer = Trainer(nn.Identity(), "mse", metrics=["mae"])
    assert trainer.evaluate(X, X) == {"loss": 0.0, "mae": 0.0}
    assert trainer.predict(X).shape == X.shape


def test_targets_that_are_probabilities():
    """With a loss that takes them, metrics by name mean the likeliest class."""
    names = ["accuracy", "top2_accuracy", "f1", "roc_auc"]
    x, y = blobs()
    one_hot = np.eye(3, dtype=np.float32)[y]
    found = Trainer(mlp(), "cross_entropy", metrics=names).evaluate(x, one_hot)
    expected = Trainer(mlp(), "cross_entropy", metrics=names).evaluate(x, y)
    assert found == pytest.approx(expected)


def test_batches_made_beforehand():
    """A list of tuples of tensors or arrays; their lengths weigh in the loss."""
    x, y = blobs(50)
    _, expected = trained(lambda t: t.fit(x, y, epochs=2, batch_size=16, shuffle=False, **QUIET))
    for convert in (wf.tensor, np.asarray):
        made = [(convert(x[i : i + 16]), convert(y[i : i + 16])) for i in range(0, 50, 16)]
        _, found = trained(lambda t, made=made: t.fit(made, epochs=2, **QUIET))
        assert found.history == expected.history
    loss = lambda scores, y: nn.functional.cross_entropy(scores, y["label"])
    model = mlp()
    named = [(wf.tensor(x[i : i + 16]), {"label": wf.tensor(y[i : i + 16])}) for i in range(0, 50, 16)]
    found = Trainer(model, loss, optim.Adam(lr=0.02)).fit(named, epochs=2, **QUIET)
    assert found["loss"] == expected["loss"]


@pytest.mark.parametrize("copied", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy])
def test_copies_of_a_trainer_go_on_alike(copied):
    x, y = blobs()
    trainer, _ = trained(lambda t: t.fit(x, y, epochs=2, seed=0, **QUIET))
    other = copied(trainer)
    ours, theirs = (t.fit(x, y, epochs=2, seed=0, **QUIET) for t in (trainer, other))
    assert theirs.history == ours.history and theirs.epochs == [3, 4]


def test_validation_split():
    x, y = blobs()
    trainer, history = trained(lambda t: t.fit(x, y, epochs=2, validation_split=0.2, seed=0, **QUIET))
    assert "val_loss" in history
    with pytest.raises(ArgumentError, match="not both"):
        trainer.fit(x, y, validation_split=0.2, validation_data=(x, y), **QUIET)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, a, b):
        return self.linear(a) * b


def test_several_inputs():
    a, b = np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)
    trainer = Trainer(TwoInputs(), "mse", "sgd", ["mae"])
    history = trainer.fit((a, b), np.ones((8, 1)), epochs=20, **QUIET)
    assert history["mae"][-1] < history["mae"][0]
    assert trainer.predict((a, b)).shape == (8, 1)
    assert trainer.evaluate((a, b), np.ones((8, 1)))["loss"] < history["loss"][0]


class Dictionary(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, x):
        return {"scores": self.linear(x), "twice": x * 2.0}


def test_predict_joins_what_the_model_returns():
    x, _ = blobs()
    found = Trainer(Dictionary(), lambda out, y: out["scores"].sum()).predict(x, batch_size=40)
    assert found["scores"].shape == (90, 3)
    np.testing.assert_array_equal(found["twice"].numpy(), x * 2)


def test_modes_are_restored_and_dropout_rests_in_evaluation():
    x, y = blobs()
    model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    model[1].eval()
    trainer = Trainer(model, "cross_entropy")
    trainer.fit(x, y, **QUIET)
    assert [m.training for m in model.modules()] == [True, True, False, True]
    model[1].train()
    assert np.array_equal(trainer.predict(x).numpy(), trainer.predict(x).numpy())
    assert trainer.evaluate(x, y) == trainer.evaluate(x, y)


def test_batch_norm_moves_while_training_only():
    x, y = blobs()
    norm = nn.BatchNorm1d(2)
    trainer = Trainer(nn.Sequential(norm, nn.Linear(2, 3)), "cross_entropy", compile=True)
    trainer.evaluate(x, y)
    assert norm.running_mean.numpy().tolist() == [0, 0]
    trainer.fit(x, y, **QUIET)
    moved = norm.running_mean.numpy().copy()
    assert moved.tolist() != [0, 0]
    trainer.evaluate(x, y)
    trainer.predict(x)
    assert norm.running_mean.numpy().tolist() == moved.tolist()


def test_lazy_layers_take_their_shape_before_the_optimiser_is_bound():
    x, y = blobs()
    trainer = Trainer(nn.Sequential(nn.LazyLinear(3)), "cross_entropy", optim.SGD(lr=0.5))
    before = trainer.evaluate(x, y)["loss"]
    assert trainer.fit(x, y, epochs=3, **QUIET)["loss"][-1] < before


class Branching(nn.Module):
    """Branches on a value, which no trace can follow."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, x):
        out = self.linear(x)
        return out * 2.0 if float(out.sum()) > 1e9 else out


def test_a_model_that_cannot_be_traced_trains_all_the_same():
    x, y = blobs()
    trainer = Trainer(Branching(), "cross_entropy", optim.Adam(lr=0.1))
    with pytest.warns(RuntimeWarning, match="cannot be compiled"):
        history = trainer.fit(x, y, epochs=3, **QUIET)
    assert history["loss"][-1] < history["loss"][0]
    with pytest.raises(TraceError):
        Trainer(Branching(), "cross_entropy", compile=True).fit(x, y, **QUIET)


def test_binary_classification_on_logits():
    """With a loss on logits the metrics take 0 as the threshold."""
    x, y = blobs(60, classes=2)
    trainer = Trainer(mlp(out=1), "bce_with_logits", optim.Adam(lr=0.05), ["accuracy", "f1"])
    history = trainer.fit(x, y[:, None].astype(np.float32), epochs=10, **QUIET)
    assert history["accuracy"][-1] == history["f1"][-1] == 1.0


def test_per_class_metrics_are_arrays_in_the_history():
    x, y = blobs()
    trainer = Trainer(mlp(), "cross_entropy", optim.Adam(lr=0.05), [wf.metrics.Recall(None)])
    history = trainer.fit(x, y, epochs=2, **QUIET)
    assert history["recall"][-1].shape == (3,)


# -- bad input --------------------------------------------------------------------------------------------------

X, Y = blobs(12)


def spoiled(array, value, at=5):
    out = array.astype(np.float32)
    out[at] = value
    return out


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        ((spoiled(X, np.nan), Y), DataError, r"inputs of the training data hold nan \(sample 5"),
        ((spoiled(X, np.inf), Y), DataError, "hold inf"),
        ((X, spoiled(Y, np.nan)), DataError, "takes class labels as integers"),
        ((X, Y.astype(np.float32)), DataError, "astype"),
        ((X, Y + 1), DataError, r"hold 3 \(sample 2\), but the model has 3 scores, for the labels 0 to 2"),
        ((X, Y - 1), DataError, "hold -1"),
        ((X, Y[:-1]), DataError, "x has 12 samples and y has 11"),
        ((X[:0], Y[:0]), DataError, "empty"),
        ((TensorDataset(X[:0], Y[:0]),), DataError, "empty"),
        ((X,), DataError, "needs labels"),
        ((TensorDataset(X),), DataError, r"tuple \(inputs..., targets\)"),
        ((TensorDataset(X, Y), Y), ArgumentError, "leave out y"),
        ((DataLoader(TensorDataset(X, Y), 4), Y), ArgumentError, "leave out y"),
        ((iter([]),), DataError, "only once"),
        ((3.0, 1.0), DataError, "single number"),
        ((X, np.array(["a"] * 12)), DataError, "not numeric"),
        (([[1.0], [1.0, 2.0]], [0, 1]), DataError, "rectangular"),
        ((np.zeros((12, 3), np.float32), Y), ShapeError, "."),
        ((X, Y[:, None]), ShapeError, "."),
        ((object(),), DataError, "expected"),
    ],
)
def test_bad_data_is_refused_before_any_step(data, error, says):
    trainer = Trainer(mlp(), "cross_entropy", "sgd")
    before = [p.numpy().tobytes() for p in trainer.model.parameters()]
    with pytest.raises(error, match=says):
        trainer.fit(*data, **QUIET)
    assert [p.numpy().tobytes() for p in trainer.model.parameters()] == before
    assert trainer.epochs == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_labels_of_a_regression(value):
    trainer = Trainer(nn.Linear(2, 1), "mse")
    with pytest.raises(DataError, match="labels of the training data hold"):
        trainer.fit(X, spoiled(Y, value)[:, None], **QUIET)


def test_datasets_without_take_are_checked_as_they_come():
    trainer = Trainer(mlp(), "cross_entropy")
    with pytest.raises(DataError, match="batch 2 of the training data hold nan"):
        trainer.fit(Pairs(spoiled(X, np.nan), Y), batch_size=4, shuffle=False, **QUIET)


def test_validation_data_is_checked_too():
    with pytest.raises(DataError, match="validation data hold nan"):
        Trainer(mlp(), "cross_entropy").fit(X, Y, validation_data=(spoiled(X, np.nan), Y), **QUIET)


def test_labels_that_the_loss_ignores_are_allowed():
    labels = Y.copy()
    labels[0] = -100
    Trainer(mlp(), nn.CrossEntropyLoss()).fit(X, labels, **QUIET)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Trainer(mlp(), "cross_entrop"), ArgumentError, "'cross_entropy'"),
        (lambda: Trainer(mlp(), nn.CrossEntropyLoss), ArgumentError, r"write CrossEntropyLoss\(\)"),
        (lambda: Trainer(mlp(), 3), ArgumentError, "int"),
        (lambda: Trainer(mlp(), "mse", "adm"), ArgumentError, "'adam'"),
        (lambda: Trainer(mlp(), "mse", optim.Adam), ArgumentError, r"write Adam\(lr=...\)"),
        (lambda: Trainer(mlp(), "mse", clip_norm=0), ArgumentError, "clip_norm must be"),
        (lambda: Trainer(mlp(), "mse", metrics=["acuracy"]), ArgumentError, "'accuracy'"),
        (lambda: Trainer(mlp(), "mse", metrics=["mae", "mae"]), ArgumentError, "two figures"),
        (lambda: Trainer(lambda x: x, "mse"), ArgumentError, "nn.Module"),
        (lambda: Trainer(mlp(), "mse", callbacks=[Callback]), ArgumentError, r"write Callback\(\)"),
        (lambda: Trainer(mlp(), "cross_entropy").fit(X, Y, epochs=0), ArgumentError, "epochs"),
        (lambda: Trainer(mlp(), "cross_entropy").fit(X, Y, batch_size=0), ArgumentError, "batch_size"),
        (
            lambda: Trainer(mlp(), "cross_entropy").fit(DataLoader(TensorDataset(X, Y)), batch_size=3),
            ArgumentError,
            "give batch_size to the loader",
        ),
        (
            lambda: Trainer(mlp(), nn.MSELoss("none")).fit(X, np.zeros((12, 3)), **QUIET),
            ArgumentError,
            "one number",
        ),
        (lambda: Trainer(mlp(), lambda p, y: 3.0).fit(X, Y, **QUIET), ArgumentError, "it is float"),
        (
            lambda: Trainer(mlp(), "cross_entropy", optim.SGD(mlp().parameters())).fit(X, Y, **QUIET),
            ArgumentError,
            "made for another model",
        ),
        (lambda: Trainer(mlp(), "mse").predict(X[:0]), DataError, "no samples"),
        (lambda: Trainer(nn.ReLU(), "mse").fit(X, X), ArgumentError, "no parameters that could be trained"),
        (
            lambda: Trainer(mlp().requires_grad_(False), "cross_entropy").fit(X, Y),
            ArgumentError,
            "requires_grad is False for all",
        ),
        (lambda: Trainer(mlp(), "cross_entropy").fit(X, Y, epoch=3), ArgumentError, "Did you mean 'epochs'"),
        (lambda: Trainer(mlp(), "cross_entropy", metric=["f1"]), ArgumentError, "Did you mean 'metrics'"),
        (
            lambda: Trainer(mlp(), "cross_entropy", metrics=["mae"]).fit(X, Y),
            DataError,
            "must have one shape",
        ),
        (
            lambda: Trainer(mlp(), "cross_entropy").fit(X[:1], Y[:1], validation_split=0.2),
            DataError,
            "leaves none",
        ),
        *[
            (
                lambda split=split: Trainer(mlp(), "cross_entropy").fit(X, Y, validation_split=split),
                ArgumentError,
                "at least 0 and below 1",
            )
            for split in (1.0, -0.1, "0.2")
        ],
        (
            lambda: Trainer(mlp(), "cross_entropy").fit(iter([(X, Y)]), validation_split=0.2),
            ArgumentError,
            "give validation_data",
        ),
        (lambda: Trainer(mlp(), "mse").predict(X[:, :1]), ShapeError, "."),
        (lambda: Trainer(mlp(), "cross_entropy").fit(X.astype(int), Y, **QUIET), DTypeError, "."),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_an_error_in_the_model_says_for_what_batch():
    with pytest.raises(ShapeError) as caught:
        Trainer(mlp(), "cross_entropy").fit(np.zeros((4, 5), np.float32), np.zeros(4, int), **QUIET)
    assert any("inputs float32 (4, 5) and targets int64 (4,)" in n for n in caught.value.__notes__)
