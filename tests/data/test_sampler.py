"""Samplers: every order is a partition, a draw, or what it says it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.arrays.random import Generator
from weft.base.errors import ArgumentError, DataError, StateError
from weft.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)


@given(n=st.integers(1, 50), seed=st.integers(0, 2**40), size=st.integers(1, 60), drop=st.booleans())
def test_orders_are_partitions(n, seed, size, drop):
    for sampler in (
        SequentialSampler(range(n)),
        RandomSampler(range(n), seed=seed),
        SubsetRandomSampler(range(n), seed=seed),
        WeightedRandomSampler(np.arange(n) + 1, n, replacement=False, seed=seed),
    ):
        assert len(sampler) == n
        assert sorted(sampler) == list(range(n))
        batches = BatchSampler(sampler, size, drop)
        lists = list(batches)
        assert len(lists) == len(batches)
        assert all(len(b) == size for b in lists[: None if drop else -1])
        flat = [i for b in lists for i in b]
        assert len(set(flat)) == len(flat) == (n // size * size if drop else n)


@given(n=st.integers(1, 20), count=st.integers(1, 60))
def test_more_samples_than_there_are_are_rounds(n, count):
    order = list(RandomSampler(range(n), num_samples=count, seed=0))
    assert len(order) == count
    for start in range(0, count - n + 1, n):
        assert sorted(order[start : start + n]) == list(range(n))


def test_with_replacement_all_are_equally_likely():
    counts = np.bincount(list(RandomSampler(range(4), True, 40_000, seed=1)), minlength=4)
    assert np.all(np.abs(counts - 10_000) < 5 * np.sqrt(10_000 * 0.75))


def test_weights_are_probabilities():
    weights = np.array([1.0, 0.0, 3.0, 4.0])
    counts = np.bincount(list(WeightedRandomSampler(weights, 40_000, seed=1)), minlength=4)
    expected = weights / weights.sum() * 40_000
    assert counts[1] == 0 and np.all(np.abs(counts - expected) < 5 * np.sqrt(10_000))


def test_weights_without_replacement_draw_one_after_the_other():
    """First and second draw of (1, 2, 3): P(0 first) = 1/6, P(2 first, 0 second) = 1/2 * 1/3."""
    pairs = [tuple(WeightedRandomSampler([1, 2, 3], 2, False, seed=s)) for s in range(6000)]
    firsts = np.mean([p[0] == 0 for p in pairs])
    assert abs(firsts - 1 / 6) < 0.025
    assert abs(np.mean([p == (2, 0) for p in pairs]) - 1 / 6) < 0.025


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: RandomSampler(range(30), **k),
        lambda **k: RandomSampler(range(30), True, **k),
        lambda **k: SubsetRandomSampler(range(30), **k),
        lambda **k: WeightedRandomSampler(np.ones(30), 30, **k),
    ],
)
def test_seeds_epochs_and_states(make):
    a, b = make(seed=3), make(seed=3)
    first, second = list(a), list(a)
    assert [list(b), list(b)] == [first, second] and first != second
    b.set_epoch(0)
    assert list(b) == first
    b.load_state_dict({"seed": 3, "epoch": 1})
    assert list(b) == second
    assert list(make(generator=Generator(1))) == list(make(generator=Generator(1))) != list(make(seed=4))
    with pytest.raises(StateError, match="lacks epoch"):
        b.load_state_dict({"seed": 1})


def test_orders_are_the_same_for_ever():
    assert list(RandomSampler(range(8), seed=3)) == [0, 4, 7, 1, 5, 6, 3, 2]
    assert list(RandomSampler(range(8), True, seed=3)) == [0, 1, 6, 4, 0, 3, 3, 1]


def test_a_loader_tells_its_sampler_the_epoch():
    sampler = RandomSampler(range(9), seed=1)
    data = TensorDataset(np.arange(9))
    loader = DataLoader(data, 4, sampler=sampler)
    epochs = [[x.tolist() for (x,) in loader] for _ in range(2)]
    assert epochs[0] != epochs[1]
    loader.epoch = 0
    assert [x.tolist() for (x,) in loader] == epochs[0]
    again = DataLoader(data, batch_sampler=BatchSampler(RandomSampler(range(9), seed=1), 4, False))
    assert [[x.tolist() for (x,) in again] for _ in range(2)] == epochs


@pytest.mark.parametrize("batched", [False, True])
def test_a_loader_saves_its_samplers_state(batched):
    def make(seed):
        sampler = RandomSampler(range(9), seed=seed)
        options = (
            dict(batch_sampler=BatchSampler(sampler, 2, False))
            if batched
            else dict(sampler=sampler, batch_size=2)
        )
        return DataLoader(TensorDataset(np.arange(9)), seed=0, **options)

    loader = make(1)
    list(loader)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    rest = [x.tolist() for (x,) in iterator]
    other = make(2)
    other.load_state_dict(state)
    assert [x.tolist() for (x,) in other] == rest


def test_a_sampler_of_ones_own():
    class Backwards:
        def __iter__(self):
            return iter([3, 2, 1, 0])

        def __len__(self):
            return 4

    loader = DataLoader(TensorDataset(np.arange(4)), 3, sampler=Backwards())
    assert len(loader) == 2 and [x.tolist() for (x,) in loader] == [[3, 2, 1], [0]]


def test_keys_need_not_be_numbers():
    loader = DataLoader({"a": 1.0, "b": 2.0}, 2, sampler=["b", "a"])
    assert next(iter(loader)).tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: RandomSampler([]), DataError, "empty"),
        (lambda: RandomSampler([1], num_samples=0), ArgumentError, "positive"),
        (lambda: RandomSampler([1], seed=1, generator=Generator()), ArgumentError, "not both"),
        (lambda: RandomSampler([1], seed="a"), ArgumentError, "integer"),
        (lambda: SubsetRandomSampler([0.5]), ArgumentError, "integers"),
        (lambda: WeightedRandomSampler([1, -1], 1), DataError, "weight 1 is -1"),
        (lambda: WeightedRandomSampler([1, np.nan], 1), DataError, "weight 1 is nan"),
        (lambda: WeightedRandomSampler([0, 0], 1), DataError, "all weights are 0"),
        (lambda: WeightedRandomSampler([[1]], 1), DataError, "shape"),
        (lambda: WeightedRandomSampler([0, 1], 2, False), DataError, "at most 1"),
        (lambda: BatchSampler([1], 0, False), ArgumentError, "batch_size"),
        (lambda: BatchSampler([1], 1, 1), ArgumentError, "drop_last"),
        (lambda: BatchSampler([1], True, False), ArgumentError, "batch_size"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()
