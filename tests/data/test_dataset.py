"""Datasets: fetching, subsets, splits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.arrays.creation import tensor
from weft.arrays.tensor import Tensor
from weft.base.errors import ArgumentError, DataError, IndexingError
from weft.data import Dataset, Subset, TensorDataset, random_split


@pytest.fixture
def pairs():
    return TensorDataset(np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6))


def test_samples_are_tuples_of_tensors(pairs):
    x, y = pairs[2]
    assert isinstance(x, Tensor) and x.numpy().tolist() == [4.0, 5.0]
    assert y.item() == 2 and y.shape == ()
    assert pairs[-1][1].item() == 5
    assert len(list(pairs)) == len(pairs) == 6


def test_lists_of_floats_become_float32_and_arrays_keep_their_dtype():
    assert TensorDataset([0.5, 1.0]).arrays[0].dtype == np.float32
    assert TensorDataset(np.ones(2)).arrays[0].dtype == np.float64
    assert TensorDataset(tensor([1.0, 2.0])).arrays[0].tolist() == [1.0, 2.0]


def test_arrays_are_not_copied():
    x = np.zeros((3, 2), np.float32)
    assert TensorDataset(x).arrays[0] is x


def test_a_sample_does_not_change_with_the_array():
    x = np.zeros(3, np.float32)
    sample = TensorDataset(x)[0][0]
    x[:] = 1
    assert sample.item() == 0


@pytest.mark.parametrize("indices", [[0, 1, 2], [3, 1, 1], [5], [], [2, 3], [1, 0, 3]])
def test_take_is_fancy_indexing(pairs, indices):
    indices = np.array(indices, dtype=np.int64)
    for part, array in zip(pairs.take(indices), pairs.arrays, strict=True):
        assert np.array_equal(part, array[indices])
        assert part.flags.c_contiguous
        assert not np.shares_memory(part, array)


def test_subset_of_subset(pairs):
    inner = Subset(Subset(pairs, [5, 3, 1]), [-1, 0])
    assert [y.item() for _, y in inner] == [1, 5]
    assert inner.take(np.array([1, 0]))[1].tolist() == [5, 1]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: TensorDataset(), DataError, "at least one"),
        (lambda: TensorDataset(np.zeros(3), np.zeros(4)), DataError, "got 3, 4"),
        (lambda: TensorDataset(3.0), DataError, "single number"),
        (lambda: TensorDataset([[1], [1, 2]]), DataError, "not rectangular"),
        (lambda: TensorDataset(np.array(["a", "b"])), DataError, "encode it as numbers"),
        (lambda: TensorDataset(np.array([None])), DataError, "not numeric"),
        (lambda: TensorDataset([1.0])[1], IndexingError, "sample 1 is outside a dataset of 1"),
        (lambda: TensorDataset([1.0])["a"], IndexingError, "integer"),
        (lambda: Subset(TensorDataset([1.0]), [1]), IndexingError, "index 1"),
        (lambda: Subset(TensorDataset([1.0]), [0.5]), ArgumentError, "integers"),
        (lambda: random_split(TensorDataset([1.0, 2.0]), [1, 2]), ArgumentError, "add up to 3"),
        (lambda: random_split(TensorDataset([1.0, 2.0]), [0.5, 0.2]), ArgumentError, "add up to 1"),
        (lambda: random_split(TensorDataset([1.0, 2.0]), []), ArgumentError, "at least one"),
        (lambda: random_split(TensorDataset([1.0, 2.0]), [3, -1]), ArgumentError, "add up"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_a_dataset_says_what_it_lacks():
    class Half(Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Half must define __len__"):
        len(Half())


@given(n=st.integers(1, 60), cut=st.integers(0, 100), seed=st.integers(0, 2**40))
def test_random_split_is_a_partition(n, cut, seed):
    data = TensorDataset(np.arange(n))
    parts = random_split(data, [cut / 100, 1 - cut / 100], seed=seed)
    assert sorted(np.concatenate([p.indices for p in parts])) == list(range(n))
    assert abs(len(parts[0]) - n * cut / 100) < 1 + 1e-6


def test_random_split_depends_on_the_seed_alone():
    data = TensorDataset(np.arange(50))

    def first(seed):
        return random_split(data, [10, 40], seed=seed)[0].indices.tolist()

    assert first(1) == first(1) != first(2)


def test_random_split_is_the_same_for_ever():
    assert random_split(TensorDataset(np.arange(8)), [8], seed=3)[0].indices.tolist() == [
        0,
        4,
        7,
        1,
        5,
        6,
        3,
        2,
    ]
