"""What bad labels, mixed samples and unknown names get: an error that names the thing and the mend."""

import re

import numpy as np
import pytest

import weft as wf
from weft import nn, optim, train
from weft.data import DataLoader, Dataset, TensorDataset
from weft.errors import ArgumentError, DataError, DTypeError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype(np.float32)
Y = RNG.integers(0, 3, 20)
SILENT = dict(progress=False, seed=0)


def trainer(loss="cross_entropy", **options):
    wf.manual_seed(0)
    return wf.Trainer(nn.Linear(3, 3), loss, optim.SGD(lr=0.1), **options)


class Made(Dataset):
    """Samples that a function makes of their number."""

    def __init__(self, make, n=6):
        self.make, self.n = make, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.make(i)


# -- labels that the loss ignores ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda y: trainer().fit(X, y, **SILENT),
        lambda y: trainer().fit(X, y, batch_size=5, **SILENT),
        lambda y: trainer().fit(TensorDataset(X, y), **SILENT),
        lambda y: trainer().fit(DataLoader(TensorDataset(X, y), 5), progress=False),
        lambda y: trainer().fit(X, Y, validation_data=(X, y), **SILENT),
        lambda y: trainer().evaluate(X, y),
    ],
)
def test_labels_that_are_all_ignored_are_refused_before_the_first_step(use):
    with pytest.raises(
        DataError, match=r"all labels of .*data are -100, which the loss ignores.*correct the labels"
    ):
        use(np.full(20, -100))


def test_streams_of_which_all_is_ignored():
    batches = [(wf.asarray(X[:5]), wf.asarray(np.full(5, -100)))] * 3
    t = trainer()
    before = [p.numpy().copy() for p in t.model.parameters()]
    with pytest.raises(DataError, match="only such as weigh nothing"):
        t.fit(batches, progress=False)
    assert all(np.array_equal(a, p.numpy()) for a, p in zip(before, t.model.parameters(), strict=True))


@pytest.mark.parametrize("size", [1, 3, 20])
@pytest.mark.parametrize("ignored", [-100, 1])
def test_the_loss_is_that_of_what_counts_however_it_is_cut(size, ignored):
    y = np.where(RNG.random(20) < 0.5, ignored, np.where(ignored == Y, 0, Y))
    y[:4] = ignored  # whole batches of it
    t = trainer(nn.CrossEntropyLoss(ignore_index=ignored))
    expected = nn.functional.cross_entropy(
        t.model(wf.asarray(X[y != ignored])), wf.asarray(y[y != ignored])
    ).item()
    assert t.evaluate(X, y, batch_size=size)["loss"] == pytest.approx(expected, rel=1e-6)
    t.optimizer = optim.SGD(lr=0.0)
    history = t.fit(X, y, batch_size=size, validation_data=(X, y), shuffle=False, **SILENT)
    assert history["loss"][0] == pytest.approx(expected, rel=1e-6)
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("soft", [False, True])
def test_a_loss_with_class_weights_and_smoothing_equals_pytorchs(smoothing, soft):
    """Over batches of any size, and with gradients of several of them."""
    torch = pytest.importorskip("torch")
    weight = np.array([1.0, 2.0, 5.0], np.float32)
    y = RNG.dirichlet(np.ones(3), 20).astype(np.float32) if soft else Y.copy()
    if not soft:
        y[::7] = -100
    t = trainer(nn.CrossEntropyLoss(weight=wf.asarray(weight), label_smoothing=smoothing), accumulate=4)
    theirs = torch.nn.Linear(3, 3)
    with torch.no_grad():
        for a, b in zip(theirs.parameters(), t.model.parameters(), strict=True):
            a.copy_(torch.from_numpy(b.numpy().copy()))
    criterion = torch.nn.CrossEntropyLoss(torch.from_numpy(weight), label_smoothing=smoothing)
    loss = criterion(theirs(torch.from_numpy(X)), torch.from_numpy(y))
    loss.backward()
    assert t.evaluate(X, y, batch_size=7)["loss"] == pytest.approx(loss.item(), rel=1e-5)
    history = t.fit(X, y, batch_size=5, shuffle=False, **SILENT)
    assert history["loss"][0] == pytest.approx(loss.item(), rel=1e-5)
    for a, b in zip(theirs.parameters(), t.model.parameters(), strict=True):
        np.testing.assert_allclose(b.numpy(), (a - 0.1 * a.grad).detach().numpy(), atol=1e-6)


# -- samples of several kinds -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (
            lambda i: (X[i].astype("f8" if i == 3 else "f4"), 0),
            DTypeError,
            r"float64.*astype.*batch 2 of epoch 1",
        ),
        (
            lambda i: (X[i].astype("f8" if i > 3 else "f4"), 0),
            DTypeError,
            r"float64.*astype.*batch 3 of epoch 1",
        ),
        (lambda i: (X[i], 1.5 if i == 3 else 1), DTypeError, r"must be integers.*batch 2 of epoch 1"),
        (
            lambda i: (X[i], "cat" if i == 3 else 1),
            DataError,
            r"different kinds\[1\]: int, str.*samples 2, 3",
        ),
        (
            lambda i: (X[i], 1 if i == 1 else "cat"),
            DataError,
            r"different kinds\[1\]: int, str.*samples 0, 1",
        ),
        (lambda i: (X[i], {"a": 1} if i == 1 else 2), DataError, r"different kinds\[1\]: dict, int"),
        (lambda i: (X[i], "cat"), DataError, r"labels are texts, such as 'cat'.*classes.index"),
        (lambda i: (X[i], None), DataError, r"a sample\[1\] is None.*samples 0, 1"),
        (lambda i: X[i], DataError, "a batch must be a tuple"),
        (lambda i: (X[i][: 3 - i % 2], 0), DataError, r"different shapes\[0\]: \(2,\), \(3,\)"),
        (lambda i: (X[i][: 3 - i // 4], 0), ShapeError, r"2 features.*batch 3 of epoch 1"),
        (
            lambda i: (X[i] * (np.nan if i == 4 else 1), 0),
            DataError,
            r"batch 3 of the training data hold nan",
        ),
        (
            lambda i: (X[i], 7 if i == 4 else 0),
            DataError,
            r"batch 3 of the training data hold 7 .*correct the labels",
        ),
        (lambda i: (X[i, :0], 0), ShapeError, "0 features"),
    ],
)
def test_samples_that_do_not_go_together(make, kind, says):
    with pytest.raises(kind) as caught:
        trainer().fit(Made(make), batch_size=2, shuffle=False, progress=False)
    text = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert re.search(says, text), text


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda t: t.fit(X[:0], Y[:0], **SILENT), "empty: there is nothing to learn from"),
        (lambda t: t.evaluate(X[:0], Y[:0]), "empty: there is nothing to measure"),
        (
            lambda t: t.fit(X, Y, validation_data=(X[:0], Y[:0]), **SILENT),
            "empty: there is nothing to measure",
        ),
        (lambda t: t.evaluate(X[:0]), "evaluate needs labels"),
        (lambda t: t.predict(X[:0]), "predict got no samples"),
        (lambda t: t.predict(Made(None, 0)), "empty"),
        (
            lambda t: t.fit(X[:1], Y[:1], validation_split=0.5, **SILENT),
            "leaves none for validation|leaves none",
        ),
        (lambda t: t.fit(X, Y[:3], **SILENT), "20 samples and y has 3"),
        (lambda t: t.fit([[1.0, 2.0], [1.0]], [0, 1], **SILENT), "not rectangular"),
        (lambda t: t.fit([], [], **SILENT), "empty"),
        (lambda t: t.fit(iter([(X, Y)]), **SILENT), "loader has decided|only once"),
    ],
)
def test_nothing_and_too_little(use, says):
    with pytest.raises((DataError, ArgumentError), match=says):
        use(trainer())


# -- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "offers"),
    [
        (lambda: trainer("cross_entropi"), "'cross_entropy'"),
        (lambda: trainer("CrossEntropyLoss"), "'cross_entropy'"),
        (lambda: trainer("MSE"), "'mse'"),
        (lambda: trainer("no such"), "Valid names: bce, "),
        (lambda: wf.Trainer(nn.Linear(1, 1), "mse", "adm"), "'adam'"),
        (lambda: wf.Trainer(nn.Linear(1, 1), "mse", "AdamW"), "'adamw'"),
        (lambda: wf.Trainer(nn.Linear(1, 1), "mse", "SGD"), "'sgd'"),
        (lambda: wf.Trainer(nn.Linear(1, 1), "mse", "moun"), "Did you mean 'muon'"),
        (lambda: trainer(metrics=["acuracy"]), "'accuracy'"),
        (lambda: trainer(metrics=["f1_score"]), "f1"),
        (lambda: trainer(metrics=["auc"]), "'roc_auc'"),
        (lambda: train.LearningRateSchedule("cosin"), "'cosine'"),
        (lambda: train.LearningRateSchedule("CosineAnnealingLR"), "'cosine'"),
        (lambda: train.LearningRateSchedule("cosine", t_max=3), "'T_max'"),
        (lambda: train.LambdaCallback(on_epoch_ends=print), "'on_epoch_end'"),
        (lambda: train.EarlyStopping("acc").on_fit_begin(measuring("accuracy")), "'accuracy'"),
    ],
)
def test_unknown_names_offer_the_nearest(make, offers):
    with pytest.raises(ArgumentError, match=offers):
        make()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(verbose=0), r"called 'progress' here \(progress=False is silent\)"),
        (dict(steps_per_epoch=3), r"called 'batches_per_epoch' here"),
        (dict(x=X), r"called 'data' here"),
    ],
)
def test_words_of_other_frameworks_get_ours(options, says):
    with pytest.raises(ArgumentError, match=says):
        trainer().fit(*(() if "x" in options else (X,)), y=Y, **options)


def measuring(*names):
    t = trainer()
    t.figure_names = ["loss", *names]
    return t


def test_muon_trains_the_matrices_alone():
    t = trainer()
    t = wf.Trainer(
        t.model, "cross_entropy", optim.Muon([p for p in t.model.parameters() if p.ndim == 2], lr=0.02)
    )
    losses = t.fit(X, Y, epochs=5, **SILENT)["loss"]
    assert losses[-1] < losses[0]
