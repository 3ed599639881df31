"""What odd datasets, samplers, images and arguments get: an error of Weft or batches; not NumPy's own, nor silence."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft as wf
from weft import data, metrics, nn
from weft.base.errors import ArgumentError, DataError, IndexingError, StateError, WeftError
from weft.data import DataLoader, Dataset, IterableDataset, TensorDataset, transforms


class Made(Dataset):
    def __init__(self, n, get=lambda i: i, **methods):
        self.n, self.get = n, get
        for name, f in methods.items():
            setattr(self, name, f)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.get(i)


def batches(dataset, size=2, **options):
    options = options if "batch_sampler" in options else dict(batch_size=size, **options)
    return [b.tolist() if isinstance(b, wf.Tensor) else b for b in DataLoader(dataset, **options)]


# -- datasets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: batches(Made(0)), "the dataset is empty"),
        (lambda: batches([]), "the dataset is empty"),
        (lambda: batches(Made(-1)), ">= 0"),
        (lambda: batches(Made(2.5)), "a dataset with a length"),
        (lambda: batches(5), "a dataset with a length"),
        (lambda: batches({"x": np.ones(3)}), "a dataset with a length and numbered samples, got dict"),
        (
            lambda: batches((np.ones((3, 2)), np.ones(3))),
            r"a tuple of 2 arrays is no dataset: .*TensorDataset\(x, y",
        ),
        (lambda: batches([np.ones((3, 2)), np.ones(3)]), r"\(3,\), \(3, 2\); .*TensorDataset\(x, y"),
        (lambda: batches(Made(3), 4, drop_last=True), "at most 3 or drop_last=False"),
        (lambda: batches(Made(3, lambda i: None)), "a sample is None"),
        (lambda: batches(Made(2, lambda i: np.ones(i + 1))), r"different shapes: \(1,\), \(2,\)"),
        (lambda: batches(Made(2, lambda i: {"a": [np.ones(i)]})), r"different shapes\['a'\]\[0\]"),
        (lambda: batches(Made(2, lambda i: (1,) * (i + 1))), "different numbers of parts"),
        (lambda: batches(Made(2, lambda i: {i: 1})), "the same keys"),
        (lambda: batches(Made(2, lambda i: np.array([None]))), "not numeric"),
        (lambda: batches(Made(2, lambda i: 2**70)), "not numeric"),
        (lambda: batches(Made(2, lambda i: np.datetime64("2020-01-01"))), "not numeric"),
        (lambda: batches(Made(4, take=lambda i: 5)), r"Made.take must return a tuple"),
        (lambda: batches(Made(4, take=lambda i: (np.ones(1),))), r"Made.take has the shape \(1,\)"),
        (lambda: batches(Made(4, __getitems__=lambda i: [0])), "gave 1 samples for 2 numbers"),
        (lambda: batches(Made(4, lambda i: next(iter(())))), "raised StopIteration for sample 0"),
        (lambda: TensorDataset(np.zeros(3), np.zeros(4)), "one length, got 3, 4"),
        (lambda: TensorDataset(5), "single number"),
        (lambda: TensorDataset(), "at least one"),
        (lambda: data.Subset([1, 2], [2]), "outside a dataset of 2"),
        (lambda: data.Subset([1, 2], [0.5]), "integers"),
        (lambda: data.random_split([1, 2, 3], [2, 2]), "add up to 4"),
        (lambda: data.random_split([1, 2, 3], [0.5, 0.6]), "add up to 1"),
        (lambda: data.random_split([1, 2, 3], [-1, 4]), "add up"),
        (lambda: data.random_split([1, 2, 3], []), "at least one length"),
        (lambda: data.ConcatDataset([]), "at least one"),
        (lambda: data.pad_sequences([]), "no sequences"),
        (lambda: data.pad_sequences([[1], [2, 3]], length=1), "truncate=True"),
        (lambda: data.pad_sequences([[1], [2, 3]], length=-1, truncate=True), "negative"),
        (lambda: data.pad_sequences([[1], [2, 3]], value=0.5), "give an integer"),
        (lambda: data.pad_sequences([[1], [2, 3]], value=float("nan")), "give an integer"),
        (lambda: data.PadCollate()([]), "at least one sample"),
        (lambda: data.PadCollate()([([1], 2), ([1],)]), "shorter|PadCollate"),
    ],
)
def test_datasets(make, says):
    with pytest.raises(WeftError, match=says):
        make()


def test_one_sample_and_batches_larger_than_the_dataset():
    for shuffle in (True, False):
        assert batches(Made(1), 10, shuffle=shuffle) == [[0]]
        assert batches(TensorDataset([7]), 10, shuffle=shuffle)[0][0].tolist() == [7]
    assert batches(Made(3, lambda i: {})) == [{}, {}]


def test_a_dataset_without_end_can_be_begun():
    """The order of samples one after the other takes no memory."""
    assert next(iter(DataLoader(Made(10**12), 3))).tolist() == [0, 1, 2]


def test_what_take_gives_is_copied():
    """A dataset may give a view of its own memory, which batches must not change."""
    x = np.arange(4.0, dtype=np.float32)
    for dataset in (
        Made(4, take=lambda i: (x[i[0] : i[-1] + 1],)),
        data.Subset(Made(4, take=lambda i: (x,)), [0, 1, 2, 3]),
    ):
        ((batch,),) = DataLoader(dataset, 4)
        batch += 1
        assert batch.tolist() == [1, 2, 3, 4] and x.tolist() == [0, 1, 2, 3]


# -- samplers -----------------------------------------------------------------------------------------------


class Says(data.Sampler):
    """A sampler that says it gives `said` numbers, and gives `given`."""

    def __init__(self, said, given):
        self.said, self.given = said, given

    def __len__(self):
        return self.said

    def __iter__(self):
        return iter(range(self.given))


@given(said=st.integers(0, 9), given=st.integers(0, 9), size=st.integers(1, 4), workers=st.just(0))
def test_samplers_of_wrong_lengths(said, given, size, workers):
    """All that they give is loaded; where it is not what they said, a warning tells."""
    loader = DataLoader(list(range(9)), size, sampler=Says(said, given), num_workers=workers)
    expected = [list(range(given))[i : i + size] for i in range(0, given, size)]
    if len(loader) == len(expected):
        assert [b.tolist() for b in loader] == expected
    else:
        with pytest.warns(
            RuntimeWarning, match=rf"len\(Says\) promises {len(loader)} batches and it gave {len(expected)}"
        ):
            assert [b.tolist() for b in loader] == expected


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        (dict(sampler=[0, 5]), IndexError, "out of range"),
        (dict(sampler=[0.5]), TypeError, "indices must be integers"),
        (dict(batch_sampler=[[0], []]), DataError, "at least one sample"),
        (dict(batch_sampler=[0, 1]), DataError, "gives lists of sample numbers.*number 0 is 0"),
        (dict(batch_sampler=np.arange(3)), DataError, "gives lists of sample numbers"),
        (dict(sampler=np.array("x")), ArgumentError, "sampler must give its numbers anew"),
        (dict(sampler=iter([0])), ArgumentError, "anew in every epoch"),
    ],
)
def test_samplers_that_give_something_else(options, kind, says):
    with pytest.raises(kind, match=says):
        batches([1, 2, 3], **options)


def test_numbers_of_samples_are_checked_by_datasets():
    for wrong in (3, -4, 0.5, "a", None, np.zeros(2)):
        with pytest.raises(IndexingError):
            TensorDataset(np.zeros(3))[wrong]
    for make in (lambda: data.SequentialSampler(5), lambda: data.BatchSampler(5, 2, False)):
        with pytest.raises(ArgumentError):
            make()


class NoLength:
    def __iter__(self):
        return iter([2, 0])


def test_a_sampler_without_a_length():
    loader = DataLoader([1, 2, 3], 2, sampler=NoLength())
    with pytest.raises(ArgumentError, match="its NoLength has none"):
        len(loader)
    assert [b.tolist() for b in loader] == [[3, 1]]


# -- streams ------------------------------------------------------------------------------------------------


def counted(n):
    for i in range(n):
        yield np.full(1, i, np.float32), np.full(1, i, np.float32)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("said", "given"), [(5, 2), (1, 2), (0, 1), (3, 0)])
def test_generators_that_end_early_or_late(workers, said, given):
    stream = data.from_generator(counted, given, length=said)
    with pytest.raises(DataError, match=f"gave {given} samples, {said} were|more than the {said} samples"):
        list(DataLoader(stream, 2, num_workers=workers))


def test_a_stream_that_can_be_read_once_ends_a_run_with_an_error():
    left = [2]

    def once():
        left[0] -= 1
        return counted(3) if left[0] >= 0 else iter(())

    trainer = wf.Trainer(nn.Linear(1, 1), "mse", "sgd")
    with pytest.raises(DataError, match="epoch 3 has no batches: the data were at their end"):
        trainer.fit(DataLoader(data.from_generator(once), 1), epochs=5, progress=False)
    assert trainer.epochs == 2
    with pytest.raises(DataError, match="no batches"):
        trainer.fit(DataLoader(data.from_generator(lambda: iter(())), 1), progress=False)


def test_a_stream_that_is_none():
    class Five(IterableDataset):
        def __iter__(self):
            return 5

    with pytest.raises(TypeError, match="int") as caught:
        list(DataLoader(Five()))
    assert "sample 0 of the stream Five" in caught.value.__notes__[0]


# -- images -------------------------------------------------------------------------------------------------

EVERY = [
    transforms.RandomCrop(4),
    transforms.RandomCrop((4, 100)),
    transforms.CenterCrop(4),
    transforms.Resize(5),
    transforms.RandomResizedCrop(5),
    transforms.RandomHorizontalFlip(1.0),
    transforms.RandomVerticalFlip(1.0),
    transforms.RandomRotation(30),
    transforms.RandomAffine(15, translate=(0.1, 0.1), scale=(0.5, 2), shear=10),
    transforms.ColorJitter(0.2, 0.2, 0.2, 0.1),
    transforms.Grayscale(),
    transforms.Normalize([0.5], [0.5]),
    transforms.RandomErasing(1.0),
    transforms.Pad(2),
    transforms.ToFloat(),
]


@given(
    shape=st.lists(st.integers(0, 9), min_size=0, max_size=4),
    dtype=st.sampled_from(["u1", "f4", "f8", "i8", "?", "c8"]),
    which=st.integers(0, len(EVERY) - 1),
    seed=st.integers(0, 99),
)
def test_images_of_any_shape_are_changed_or_refused(shape, dtype, which, seed):
    with data.seeded(seed):
        try:
            out = EVERY[which](np.ones(shape, dtype))
        except WeftError:
            return
    assert len(shape) >= 3 and 0 not in shape[-3:] and dtype in ("u1", "f4", "f8")
    assert out.ndim == len(shape) and out.shape[:-3] == tuple(shape[:-3])


@pytest.mark.parametrize("size", [0, -1, (4, 0), (1, 2, 3), 2.5, "4", None, float("nan"), True, ()])
@pytest.mark.parametrize(
    "make", [transforms.RandomCrop, transforms.CenterCrop, transforms.RandomResizedCrop, transforms.Resize]
)
def test_windows_of_no_size(make, size):
    with pytest.raises(ArgumentError):
        make(size)(np.zeros((3, 8, 8), np.uint8))


@pytest.mark.parametrize("padding", [-1, (1, 2, 3), None, 0.5, "x", float("nan"), (1, -1)])
def test_padding_of_no_size(padding):
    with pytest.raises(ArgumentError):
        transforms.Pad(padding)


@pytest.mark.parametrize("batch", [None, 5, np.zeros(()), (), (np.zeros((2, 1, 4, 4)),), "ab"])
def test_batches_that_cannot_be_mixed(batch):
    for mixing in (transforms.MixUp(num_classes=2), transforms.CutMix(num_classes=2)):
        with pytest.raises(WeftError):
            mixing(batch)


# -- metrics and states -------------------------------------------------------------------------------------

VALUES = st.sampled_from(
    [
        [],
        1,
        2.5,
        "x",
        None,
        [[1], [2, 3]],
        np.arange(3),
        np.zeros((2, 0)),
        np.zeros((3, 2), np.float32),
        [1, 2, 3],
    ]
)


@given(
    kind=st.sampled_from(
        ["accuracy", "f1", "confusion_matrix", "roc_auc", "perplexity", "mse", "r2", "top5_accuracy"]
    ),
    predictions=VALUES,
    targets=VALUES,
)
def test_metrics_of_anything(kind, predictions, targets):
    m = metrics.metric(kind)
    try:
        m.update(predictions, targets)
        m.compute()
    except WeftError:
        pass


@pytest.mark.parametrize(
    "options", [dict(threshold="x"), dict(threshold=float("nan")), dict(ignore_index=[1])]
)
@pytest.mark.parametrize("kind", [metrics.Accuracy, metrics.F1, metrics.ConfusionMatrix])
def test_arguments_of_metrics(kind, options):
    with pytest.raises(ArgumentError, match=re.escape(next(iter(options)))):
        kind(**options)


@pytest.mark.parametrize(
    "state",
    [None, 5, [], {}, {"seed": 1}, {"seed": "x", "epoch": 0, "position": 0}, {"seed": 1, "epoch": -1, "position": 0},
     {"seed": 1, "epoch": 0, "position": 1.5}],
)  # fmt: skip
def test_states_that_are_none(state):
    loader = DataLoader([1, 2, 3], seed=4)
    with pytest.raises(StateError):
        loader.load_state_dict(state)
    assert loader.seed == 4
