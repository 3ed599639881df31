"""Datasets made of others, streams, and collation beyond plain tensors."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.arrays.random import Generator
from weft.base.errors import ArgumentError, DataError, IndexingError, StateError
from weft.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomStream,
    Subset,
    TensorDataset,
    collate,
    default_collate,
    item_rng,
    random_split,
    seeded,
)


class Count(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))


class Slow(Dataset):
    """Without `take`."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        return (self.values[self.check_index(i)],)


@given(sizes=st.lists(st.integers(0, 6), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_concatenation_is_concatenation(sizes, seed):
    ends = np.cumsum(sizes)
    parts = [np.arange(e - s, e) for s, e in zip(sizes, ends, strict=True)]
    total = int(ends[-1])
    whole = ConcatDataset([TensorDataset(p) for p in parts])
    assert len(whole) == total and [x.item() for (x,) in whole] == list(range(total))
    if total:
        order = RandomStream(seed).integers(total, shape=(9,))
        assert whole.take(order)[0].tolist() == order.tolist()
        assert whole[-1][0].item() == total - 1
        mixed = ConcatDataset([Slow(p) if i % 2 else TensorDataset(p) for i, p in enumerate(parts)])
        assert [x.tolist() for (x,) in DataLoader(mixed, 4)] == [x.tolist() for (x,) in DataLoader(whole, 4)]


def test_parts_that_do_not_fit_are_named_when_batches_are_made():
    whole = TensorDataset(np.zeros((2, 3))) + TensorDataset(np.zeros((2, 4)))
    with pytest.raises(DataError, match=r"different shapes\[0\]: \(3,\), \(4,\)"):
        list(DataLoader(whole, 4))


def test_subset_of_plain_sequences():
    assert [x.item() for x in DataLoader(Subset([5, 6, 7], [2, 0]))] == [7, 5]


def test_streams_are_chained():
    both = Count(2) + Count(3)
    assert isinstance(both, ChainDataset) and list(both) == [0, 1, 0, 1, 2]
    assert [b.tolist() for b in DataLoader(both, 2)] == [[0, 1], [0, 1], [2]]
    assert [b.tolist() for b in DataLoader(both, 2)] == [[0, 1], [0, 1], [2]]


def test_streams_have_no_length_and_no_numbers():
    with pytest.raises(TypeError, match="no length"):
        len(DataLoader(Count(3)))
    with pytest.raises(IndexingError, match="stream"):
        Count(3)[0]
    with pytest.raises(DataError, match="ChainDataset"):
        ConcatDataset([Count(3)])
    with pytest.raises(ArgumentError, match="own order"):
        DataLoader(Count(3), shuffle=True)
    with pytest.raises(NotImplementedError, match="__iter__"):
        iter(IterableDataset())


def test_random_split_takes_a_generator():
    data = TensorDataset(np.arange(30))

    def first(**options):
        return random_split(data, [10, 20], **options)[0].indices.tolist()

    assert first(generator=Generator(1)) == first(generator=Generator(1)) != first(generator=Generator(2))
    assert first() == first(seed=0)


Point = collections.namedtuple("Point", "x name")


def test_nested_samples():
    samples = [{"p": Point(i, str(i)), "l": [np.ones(2) * i, (i,)]} for i in range(3)]
    batch = collate(samples)
    assert batch["p"].x.tolist() == [0, 1, 2] and batch["p"].name == ["0", "1", "2"]
    assert batch["l"][0].shape == (3, 2) and batch["l"][1][0].tolist() == [0, 1, 2]
    assert default_collate is collate


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([], "at least one"),
        ([{"a": 1}, {"b": 1}], r"same keys: \['a'\] and \['b'\]"),
        ([{"a": 1}, 3], "same keys"),
        ([{"a": (1, 2)}, {"a": (1,)}], r"numbers of parts\['a'\]"),
        ([{"a": np.zeros(2)}, {"a": np.zeros(3)}], r"different shapes\['a'\]"),
        ([1, None], "is None"),
        ([object()], "not numeric"),
    ],
)
def test_what_does_not_fit_is_named(samples, says):
    with pytest.raises(DataError, match=says):
        collate(samples)


def test_single_samples_are_converted():
    loader = DataLoader(Slow([np.arange(3), np.arange(2)]), batch_size=None)
    assert len(loader) == 2 and [x.tolist() for (x,) in loader] == [[0, 1, 2], [0, 1]]


def test_many_samples_at_once():
    class Many(Dataset):
        def __len__(self):
            return 5

        def __getitems__(self, indices):
            assert all(type(i) is int for i in indices)
            return [10 * i for i in indices]

    assert [x.tolist() for x in DataLoader(Many(), 3)] == [[0, 10, 20], [30, 40]]


def test_a_sample_that_ends_the_iteration_by_mistake():
    class Ends(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            raise StopIteration

    with pytest.raises(DataError, match="StopIteration for sample 0"):
        list(DataLoader(Ends()))


def test_an_error_says_which_sample():
    class Bad(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return 1 // (i - 1)

    iterator = iter(DataLoader(Bad()))
    next(iterator)
    with pytest.raises(ZeroDivisionError) as caught:
        next(iterator)
    assert "sample 1 of Bad" in caught.value.__notes__[0]
    assert next(iterator).tolist() == [1]


def test_item_rng_depends_on_the_place_alone():
    class Draws(Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, i):
            return item_rng().uniform()

    def draws(size, **options):
        return [v for b in DataLoader(Draws(), size, seed=1, **options) for v in b.tolist()]

    assert draws(2) == draws(3) == draws(6) and len(set(draws(2))) == 6
    loader = DataLoader(Draws(), 6, seed=1)
    assert next(iter(loader)).tolist() != next(iter(loader)).tolist()


def test_seeded_blocks_and_the_default_generator():
    import weft as wf

    with seeded(1, 2):
        a = item_rng().uniform(), item_rng().uniform()
    with seeded(1, 2):
        assert (item_rng().uniform(), item_rng().uniform()) == a and a[0] != a[1]
    wf.manual_seed(3)
    b = item_rng().uniform()
    wf.manual_seed(3)
    assert item_rng().uniform() == b != item_rng().uniform()


def test_random_streams_have_their_distributions():
    r = RandomStream(7)
    assert abs(np.mean(r.uniform(2, 4, (4000,))) - 3) < 0.05
    assert set(r.integers(3, 6, (100,)).tolist()) == {3, 4, 5} and {r.integers(2) for _ in range(50)} == {
        0,
        1,
    }
    normal = r.normal(1.0, 2.0, (9000,))
    assert abs(normal.mean() - 1) < 0.1 and abs(normal.std() - 2) < 0.1
    beta = np.array([r.beta(0.4, 0.8) for _ in range(3000)])
    assert abs(beta.mean() - 1 / 3) < 0.03 and beta.min() >= 0 and beta.max() <= 1
    assert abs(np.mean([r.gamma(2.5) for _ in range(3000)]) - 2.5) < 0.15
    assert sorted(r.permutation(9).tolist()) == list(range(9))
    with pytest.raises(ArgumentError, match="no integer from 3"):
        r.integers(3, 3)


def test_random_streams_are_the_same_for_ever():
    r = RandomStream(1, 2)
    assert [r.integers(1000) for _ in range(3)] == [135, 990, 36]
    assert r.raw() == 9764271169753787187


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"seed": 1}, "lacks epoch, position"),
        ({"seed": 1, "epoch": -1, "position": 0}, "count from 0"),
        ({"seed": 1, "epoch": 0, "position": 0, "sampler": {}}, "the loader has none"),
    ],
)
def test_states_that_are_none(state, says):
    with pytest.raises(StateError, match=says):
        DataLoader([1, 2]).load_state_dict(state)


def test_loaders_can_be_copied_while_they_run():
    import copy
    import pickle

    loader = DataLoader(TensorDataset(np.arange(6)), 2, True, seed=1)
    running = iter(loader)
    next(running)
    for other in (copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))):
        assert [x.tolist() for (x,) in other] == [x.tolist() for (x,) in copy.deepcopy(loader)]
