"""Loaders: batches, order, collation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.arrays.random import Generator
from weft.arrays.random import seed as manual_seed
from weft.base.errors import ArgumentError, DataError, IndexingError
from weft.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, collate


def numbers(loader):
    return [x.numpy().tolist() for (x,) in loader]


@given(n=st.integers(1, 40), size=st.integers(1, 50), shuffle=st.booleans(), drop=st.booleans())
def test_every_sample_once(n, size, shuffle, drop):
    drop = drop and size <= n
    loader = DataLoader(TensorDataset(np.arange(n)), size, shuffle, drop_last=drop, seed=0)
    batches = numbers(loader)
    assert len(batches) == len(loader)
    seen = [i for b in batches for i in b]
    assert len(set(seen)) == len(seen) == (n // size * size if drop else n)
    assert all(len(b) == size for b in batches[:-1])
    if not shuffle:
        assert seen == list(range(len(seen)))


def test_shuffled_orders_differ_by_epoch_and_repeat_by_seed():
    data = TensorDataset(np.arange(30))
    one, two = DataLoader(data, 7, True, seed=5), DataLoader(data, 7, True, seed=5)
    first, second = numbers(one), numbers(one)
    assert first != second
    assert [numbers(two), numbers(two)] == [first, second]
    two.epoch = 0
    assert numbers(two) == first
    assert numbers(DataLoader(data, 7, True, seed=6)) != first


def test_without_a_seed_every_loader_has_its_own_order():
    data = TensorDataset(np.arange(30))
    assert numbers(DataLoader(data, 30, True)) != numbers(DataLoader(data, 30, True))


def test_a_generator_gives_the_seed():
    data = TensorDataset(np.arange(30))

    def order():
        return numbers(DataLoader(data, 30, True, generator=Generator(4)))

    assert order() == order()


def test_the_default_generator_gives_it_otherwise():
    data = TensorDataset(np.arange(30))
    orders = []
    for _ in range(2):
        manual_seed(7)
        orders.append((numbers(DataLoader(data, 30, True)), numbers(DataLoader(data, 30, True))))
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1]


def test_two_iterators_of_one_loader_do_not_disturb_each_other():
    loader = DataLoader(TensorDataset(np.arange(6)), 2, True, seed=0)
    a, b = iter(loader), iter(loader)
    mixed = [(next(a), next(b)) for _ in range(3)]
    loader.epoch = 0
    assert [x.numpy().tolist() for (x,), _ in mixed] == numbers(loader)


class Squares(Dataset):
    """A dataset of one's own, without `take`."""

    def __len__(self):
        return 5

    def __getitem__(self, i):
        return {"x": float(i), "name": f"n{i}"}, i * i


def test_samples_are_collated_one_by_one():
    batch, y = next(iter(DataLoader(Squares(), 3)))
    assert batch["x"].numpy().tolist() == [0.0, 1.0, 2.0]
    assert str(batch["x"].dtype) == "float32"
    assert batch["name"] == ["n0", "n1", "n2"]
    assert y.numpy().tolist() == [0, 1, 4]


def test_subset_of_such_a_dataset():
    _, y = next(iter(DataLoader(Subset(Squares(), [4, 2]), 2)))
    assert y.numpy().tolist() == [16, 4]


def test_plain_sequences_are_datasets():
    (x,) = list(DataLoader([1.0, 2.0], 2))
    assert x.numpy().tolist() == [1.0, 2.0]


def test_collate_fn_sees_the_samples():
    loader = DataLoader(TensorDataset([1.0, 2.0, 3.0]), 2, collate_fn=lambda samples: len(samples))
    assert list(loader) == [2, 1]


def test_a_batch_is_its_own_memory():
    x = np.zeros(4, np.float32)
    (batch,) = next(iter(DataLoader(TensorDataset(x), 4)))
    x[:] = 1
    assert batch.numpy().tolist() == [0] * 4


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: DataLoader(TensorDataset(np.zeros((0, 2)))), DataError, "empty"),
        (lambda: DataLoader(TensorDataset([1.0]), 0), ArgumentError, "positive integer"),
        (lambda: DataLoader(TensorDataset([1.0]), 1.5), ArgumentError, "positive integer"),
        (lambda: DataLoader(TensorDataset([1.0]), 2, drop_last=True), DataError, "at most 1"),
        (lambda: DataLoader(x for x in [1]), DataError, "TensorDataset"),
        (lambda: DataLoader([1], seed=1, generator=Generator()), ArgumentError, "not both"),
        (lambda: collate([np.zeros(2), np.zeros(3)]), DataError, "pad"),
        (lambda: collate([(1, 2), (1,)]), DataError, "numbers of parts"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()


class Failing(IterableDataset):
    def __init__(self, at):
        self.at = at

    def __iter__(self):
        for i in range(9):
            if i == self.at:
                raise OSError("gone")
            yield i


def stacked(samples):
    raise KeyError("no such part")


@pytest.mark.parametrize(
    ("dataset", "options", "kind", "notes"),
    [
        (Failing(5), {}, OSError, ["sample 5 of the stream Failing was read", "batch 1 was made"]),
        (Failing(0), {}, OSError, ["sample 0 of the stream Failing was read", "batch 0 was made"]),
        ([1, 2, 3, "a", 5], {}, DataError, ["batch 0 (samples 0, 1, 2, 3) was made"]),
        (range(3, 12), dict(collate_fn=stacked), KeyError, ["batch 0 (samples 0, 1, 2, 3) was made"]),
        (
            range(3),
            dict(sampler=[0, 2, 7]),
            IndexError,
            ["sample 7 of range was fetched", "(samples 0, 2, 7) was made"],
        ),
        (
            TensorDataset(np.zeros(3)),
            dict(batch_sampler=[[0], [1, 3]]),
            IndexingError,
            ["sample 3 of TensorDataset was fetched", "batch 1 (samples 1, 3) was made"],
        ),
    ],
)
def test_an_error_says_at_which_sample_and_batch(dataset, options, kind, notes):
    options = options if "batch_sampler" in options else dict(batch_size=4, **options)
    with pytest.raises(kind) as caught:
        list(DataLoader(dataset, **options))
    assert len(caught.value.__notes__) == len(notes)
    for note, wanted in zip(caught.value.__notes__, notes, strict=True):
        assert wanted in note
