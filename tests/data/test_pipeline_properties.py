"""Any pipeline of datasets, samplers and loaders against a few lines of plain Python."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weft as wf
from weft import nn
from weft.data import (
    BatchSampler,
    BucketSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    from_generator,
    random_split,
)


class OneByOne(Dataset):
    """The samples of another dataset, without `take`."""

    def __init__(self, inner):
        self.inner = inner

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, i):
        return self.inner[i]


@st.composite
def datasets(draw, depth=2):
    """(a dataset of numbers, the numbers that it holds)."""
    kind = draw(
        st.sampled_from(["arrays", "one by one", "subset", "concat", "split"] if depth else ["arrays"])
    )
    if kind == "arrays":
        numbers = draw(st.lists(st.integers(-99, 99), min_size=1, max_size=12))
        return TensorDataset(np.array(numbers), np.array(numbers, np.float32) / 4), numbers
    if kind == "concat":
        parts = draw(st.lists(datasets(depth=depth - 1), min_size=1, max_size=3))
        return ConcatDataset([d for d, _ in parts]), [x for _, xs in parts for x in xs]
    inner, numbers = draw(datasets(depth=depth - 1))
    if kind == "one by one":
        return OneByOne(inner), numbers
    if kind == "subset":
        n = len(numbers)
        chosen = draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=10))
        return Subset(inner, chosen), [numbers[i] for i in chosen]
    first = math.ceil(len(numbers) * 0.5)
    seed = draw(st.integers(0, 9))
    part, other = random_split(inner, [first, len(numbers) - first], seed=seed)
    assert sorted([*part.indices, *other.indices]) == list(range(len(numbers)))
    return part, [numbers[i] for i in part.indices]


def seen(loader):
    """The numbers of every batch; their parts belong together."""
    out = []
    for x, y in loader:
        assert y.dtype is wf.float32 and (y.numpy() * 4).tolist() == x.tolist()
        out.append(x.tolist())
    return out


def cut(numbers, size, drop):
    parts = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    return [p for p in parts if len(p) == size or not drop]


@given(
    made=datasets(),
    size=st.integers(1, 9),
    drop=st.booleans(),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_epoch_is_a_partition_in_batches(made, size, drop, shuffle, seed):
    dataset, numbers = made
    drop = drop and size <= len(numbers)
    loader = DataLoader(dataset, size, shuffle, drop_last=drop, seed=seed)
    assert len(dataset) == len(numbers)
    epochs = [seen(loader) for _ in range(2)]
    for batches in epochs:
        assert len(batches) == len(loader) and all(len(b) == size for b in batches[: None if drop else -1])
        flat = [x for b in batches for x in b]
        if shuffle:
            counts = {x: numbers.count(x) for x in numbers}
            assert all(flat.count(x) <= counts[x] for x in flat)
            assert len(flat) == (len(numbers) // size * size if drop else len(numbers))
        else:
            assert batches == cut(numbers, size, drop)
    again = DataLoader(OneByOne(dataset), size, shuffle, drop_last=drop, seed=seed)
    assert [seen(again) for _ in range(2)] == epochs  # sample by sample and many at once are the same


@st.composite
def orders(draw, n):
    """Options of a loader over n samples that decide about the order."""
    seed, size = draw(st.integers(0, 99)), draw(st.integers(1, 6))
    kind = draw(st.sampled_from(["shuffle", "plain", "random", "subset", "weighted", "batches", "buckets"]))
    if kind in ("shuffle", "plain"):
        return lambda: dict(batch_size=size, shuffle=kind == "shuffle", seed=seed)
    if kind == "batches":
        return lambda: dict(batch_sampler=BatchSampler(RandomSampler(range(n), seed=seed), size, False))
    if kind == "buckets":
        lengths = np.arange(n) % 4 + 1
        return lambda: dict(batch_sampler=BucketSampler(lengths, size, bucket_size=2, seed=seed))
    count = draw(st.integers(1, 2 * n))
    samplers = {
        "random": lambda: RandomSampler(range(n), num_samples=count, seed=seed),
        "subset": lambda: SubsetRandomSampler(range(0, n, 2), seed=seed),
        "weighted": lambda: WeightedRandomSampler(np.arange(n) + 1.0, count, seed=seed),
    }
    return lambda: dict(batch_size=size, sampler=samplers[kind]())


@given(data=st.data(), made=datasets(depth=1), epoch=st.integers(0, 2), stop=st.integers(0, 12))
def test_a_loader_goes_on_from_any_place_of_any_order(data, made, epoch, stop):
    """From the state alone, which goes through a text file, in a new loader."""
    dataset, numbers = made
    options = data.draw(orders(len(numbers)))
    whole = DataLoader(dataset, **options())
    expected = [seen(whole) for _ in range(5)]
    first = DataLoader(dataset, **options())
    for _ in range(epoch):
        seen(first)
    iterator = iter(first)
    done = [x.tolist() for _, (x, _) in zip(range(stop), iterator, strict=False)]
    state = json.loads(json.dumps(first.state_dict()))
    assert done == expected[epoch][:stop]
    second = DataLoader(dataset, **options())
    second.load_state_dict(state)
    rest = [seen(second) for _ in range(2)]
    if stop > len(expected[epoch]):  # the iterator had come to its end
        assert rest == expected[epoch + 1 : epoch + 3]
    else:
        assert [expected[epoch][:stop] + rest[0], rest[1]] == expected[epoch : epoch + 2]


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    size=st.integers(1, 5),
    drop=st.booleans(),
    stop=st.integers(0, 8),
)
def test_chains_of_streams(lengths, size, drop, stop):
    streams = [
        from_generator(lambda n=n, k=k: iter(range(100 * k, 100 * k + n))) for k, n in enumerate(lengths)
    ]
    numbers = [100 * k + i for k, n in enumerate(lengths) for i in range(n)]
    make = lambda: DataLoader(ChainDataset(streams), size, drop_last=drop, seed=1)
    expected = cut(numbers, size, drop)
    loader = make()
    assert [b.tolist() for b in loader] == expected
    iterator = iter(loader)
    first = [b.tolist() for _, b in zip(range(stop), iterator, strict=False)]
    second = make()
    second.load_state_dict(loader.state_dict())
    rest = [b.tolist() for b in second]
    assert first + rest == expected if stop <= len(expected) else rest == expected


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    size=st.integers(1, 8),
    bucket=st.integers(1, 5),
    drop=st.booleans(),
    seed=st.integers(0, 99),
)
def test_buckets_are_partitions_with_little_padding(lengths, size, bucket, drop, seed):
    batches = list(BucketSampler(lengths, size, drop_last=drop, bucket_size=bucket, seed=seed))
    flat = [i for b in batches for i in b]
    assert len(set(flat)) == len(flat) and all(1 <= len(b) <= size for b in batches)
    if not drop:
        assert sorted(flat) == list(range(len(lengths)))
    assert all(len(b) == size for b in batches) or not drop
    if bucket * size >= len(lengths):  # one bucket: batches do not overlap in length
        spans = sorted((min(lengths[i] for i in b), max(lengths[i] for i in b)) for b in batches)
        assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))


@pytest.mark.parametrize("shuffle", [True, False])
@settings(max_examples=8)
@given(n=st.integers(1, 12), size=st.integers(1, 5), seed=st.integers(0, 99))
def test_all_ways_to_give_data_train_alike(n, size, seed, shuffle):
    """Arrays, a dataset, a loader and batches made beforehand: the same steps, bit for bit."""
    x = np.arange(n, dtype=np.float32)[:, None] / n
    y = 2 * x + 1

    def trained(*data, **options):
        wf.manual_seed(0)
        trainer = wf.Trainer(nn.Linear(1, 1), "mse", wf.optim.SGD(lr=0.1, momentum=0.5))
        history = trainer.fit(*data, epochs=2, progress=False, **options)
        return [p.numpy().tobytes() for p in trainer.model.parameters()], history["loss"]

    plain = dict(batch_size=size, shuffle=shuffle, seed=seed)
    expected = trained(x, y, **plain)
    assert trained(TensorDataset(x, y), **plain) == expected
    assert trained(OneByOne(TensorDataset(x, y)), **plain) == expected
    assert trained(DataLoader(TensorDataset(x, y), size, shuffle, seed=seed)) == expected
    if not shuffle:
        assert trained([(x[i : i + size], y[i : i + size]) for i in range(0, n, size)]) == expected
