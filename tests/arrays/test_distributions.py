"""Distributions: moments and tails with fixed seeds, dtypes, shapes, parameters as tensors, transformations."""

from __future__ import annotations

import math

import numpy as np
import pytest

import weft as wf
from weft.arrays import random
from weft.base.errors import ArgumentError, DTypeError, IndexingError, ShapeError

N = 20_000


@pytest.fixture
def g():
    return random.Generator(1234)


def against(sample, cdf):
    """The largest distance between the distribution function of the sample and the exact one, in units that make
    2.2 an event of probability 1e-4."""
    x = np.sort(np.asarray(sample, np.float64).ravel())
    exact = cdf(x)
    steps = np.arange(len(x) + 1) / len(x)
    return math.sqrt(len(x)) * max(np.max(steps[1:] - exact), np.max(exact - steps[:-1]))


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf)(np.asarray(x) / math.sqrt(2)))


CONTINUOUS = {
    "uniform": (lambda **k: random.uniform(N, **k), lambda x: x),
    "uniform on an interval": (lambda **k: random.uniform(N, -2.0, 3.0, **k), lambda x: (x + 2) / 5),
    "normal": (lambda **k: random.normal(N, **k), normal_cdf),
    "normal elsewhere": (lambda **k: random.normal(N, 3.0, 0.5, **k), lambda x: normal_cdf((x - 3) / 0.5)),
    "exponential": (lambda **k: random.exponential(N, **k), lambda x: 1 - np.exp(-x)),
    "exponential of rate 4": (lambda **k: random.exponential(N, 4.0, **k), lambda x: 1 - np.exp(-4 * x)),
    "gumbel": (lambda **k: random.gumbel(N, **k), lambda x: np.exp(-np.exp(-x))),
    "gumbel elsewhere": (
        lambda **k: random.gumbel(N, 1.0, 2.0, **k),
        lambda x: np.exp(-np.exp(-(x - 1) / 2)),
    ),
    "truncated normal": (
        lambda **k: random.truncated_normal(N, 1.0, 2.0, 0.0, 4.0, **k),
        lambda x: (normal_cdf((x - 1) / 2) - normal_cdf(-0.5)) / (normal_cdf(1.5) - normal_cdf(-0.5)),
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", list(CONTINUOUS))
def test_continuous_distributions(name, dtype, g):
    draw, cdf = CONTINUOUS[name]
    x = draw(dtype=dtype, generator=g)
    assert str(x.dtype) == dtype and x.shape == (N,)
    assert against(x.numpy(), cdf) < 2.2
    neighbours = np.corrcoef(cdf(x.numpy()[:-1].astype(np.float64)), cdf(x.numpy()[1:].astype(np.float64)))[
        0, 1
    ]
    assert abs(neighbours) < 4 / math.sqrt(N)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats(dtype, g):
    u = random.uniform(N, dtype=dtype, generator=g).numpy().astype(np.float64)
    steps = {"float16": 2**11, "bfloat16": 2**8}[dtype]
    assert u.min() >= 0 and u.max() < 1 and np.all(u * steps == np.round(u * steps))
    assert abs(u.mean() - 0.5 + 0.5 / steps) < 0.01
    z = random.normal(N, dtype=dtype, generator=g)
    assert str(z.dtype) == dtype
    assert abs(z.numpy().astype(np.float64).std() - 1) < 0.03


def test_the_ends_of_intervals(g):
    x = random.uniform(N, 1.0, np.nextafter(np.float32(1), np.float32(2)), generator=g).numpy()
    assert set(x.tolist()) == {1.0}  # the only number of the half-open interval
    x = random.uniform(N, 1000.0, 1000.001, generator=g).numpy()
    assert x.min() >= 1000 and x.max() < np.float32(1000.001)
    assert random.uniform(3, 2.0, 2.0, generator=g).numpy().tolist() == [2, 2, 2]
    assert np.isfinite(random.normal(200_000, generator=g).numpy()).all()
    x = random.truncated_normal(N, 0.0, 1.0, 2.0, 2.5, generator=g).numpy()
    assert x.min() >= 2 and x.max() <= 2.5


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0, 2)])
def test_shapes(shape, g):
    for draw in (random.uniform, random.normal, random.exponential, random.gumbel, random.truncated_normal):
        assert draw(shape, generator=g).numpy().shape == shape
    assert random.integers(5, shape=shape, generator=g).shape == shape
    assert random.bernoulli(0.5, shape, generator=g).shape == shape


def test_consecutive_draws_are_independent_of_each_other(g):
    a, b = random.normal(5, generator=g), random.normal(5, generator=g)
    assert not np.intersect1d(a.numpy(), b.numpy()).size
    again = random.Generator(1234)
    np.testing.assert_array_equal(random.normal(5, generator=again).numpy(), a.numpy())
    np.testing.assert_array_equal(random.normal(5, generator=again).numpy(), b.numpy())


# -- discrete -----------------------------------------------------------------------------------------------------


def fits(counts, probabilities):
    """Pearson's statistic within 5 standard deviations of its mean."""
    expected = np.asarray(probabilities) * np.sum(counts)
    statistic = np.sum((counts - expected) ** 2 / expected)
    freedom = len(expected) - 1
    return abs(statistic - freedom) < 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "uint64"])
def test_integers(dtype, g):
    low = 3 if dtype[0] == "u" else -3
    x = random.integers(low, low + 7, N, dtype=dtype, generator=g)
    assert str(x.dtype) == dtype
    values, counts = np.unique(x.numpy(), return_counts=True)
    assert values.tolist() == list(range(low, low + 7)) and fits(counts, [1 / 7] * 7)


@pytest.mark.parametrize(
    "low, high, dtype",
    [
        (-(2**63), 2**63, "int64"),
        (0, 2**64, "uint64"),
        (-128, 128, "int8"),
        (0, 3 * 2**61, "int64"),
        (2**63, 2**64, "uint64"),
    ],
)
def test_wide_ranges_of_integers(low, high, dtype, g):
    x = [int(v) for v in random.integers(low, high, 4096, dtype=dtype, generator=g).numpy()]
    assert min(x) >= low and max(x) < high
    assert fits(np.histogram([(v - low) * 16 // (high - low) for v in x], 16, (0, 16))[0], [1 / 16] * 16)


def test_bernoulli(g):
    x = random.bernoulli(0.3, N, generator=g)
    assert x.dtype == wf.bool and abs(x.numpy().mean() - 0.3) < 4 * math.sqrt(0.21 / N)
    p = wf.asarray([0.0, 0.5, 1.0])
    table = random.bernoulli(p, (N, 3), dtype="float32", generator=g)
    means = table.numpy().mean(0)
    assert table.dtype == wf.float32 and means[0] == 0 and means[2] == 1 and abs(means[1] - 0.5) < 0.02
    assert random.bernoulli(p, generator=g).shape == (3,)


def test_categorical(g):
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.0, 0.5]])
    with np.errstate(divide="ignore"):
        logits = wf.asarray(np.log(p))
    x = random.categorical(logits, (N,), generator=g)
    assert x.shape == (N, 2) and x.dtype == wf.int64
    for i in range(2):
        counts = np.bincount(x.numpy()[:, i], minlength=3)
        assert fits(counts[p[i] > 0], p[i][p[i] > 0]) and not counts[p[i] == 0].any()
    assert random.categorical(wf.permute_dims(logits, (1, 0)), axis=0, generator=g).shape == (2,)


def test_permutation(g):
    x = random.permutation(10, generator=g)
    assert x.dtype == wf.int64 and sorted(x.numpy().tolist()) == list(range(10))
    table = np.arange(12).reshape(3, 4)
    rows = random.permutation(wf.asarray(table), generator=g).numpy()
    assert sorted(rows.tolist()) == table.tolist()
    columns = random.permutation(wf.asarray(table), axis=1, generator=g).numpy()
    assert sorted(columns.T.tolist()) == table.T.tolist()
    first = np.array([random.permutation(4, generator=g).numpy() for _ in range(400)])
    assert all(fits(np.bincount(first[:, i], minlength=4), [0.25] * 4) for i in range(4))
    assert random.permutation(0, generator=g).shape == (0,)


def test_choice(g):
    x = random.choice(5, (N,), generator=g).numpy()
    assert fits(np.bincount(x, minlength=5), [0.2] * 5)
    weights = wf.asarray([1.0, 0.0, 3.0])
    x = random.choice(3, (N,), p=weights, generator=g).numpy()
    counts = np.bincount(x, minlength=3)
    assert counts[1] == 0 and fits(counts[[0, 2]], [0.25, 0.75])
    assert sorted(random.choice(6, (2, 3), replace=False, generator=g).numpy().ravel().tolist()) == list(
        range(6)
    )
    first = [
        random.choice(3, (2,), replace=False, p=weights, generator=g).numpy().tolist() for _ in range(50)
    ]
    assert all(sorted(f) == [0, 2] for f in first) and {tuple(f) for f in first} == {(0, 2), (2, 0)}
    table = wf.asarray(np.arange(12).reshape(3, 4))
    assert random.choice(table, (5,), axis=1, generator=g).shape == (3, 5)
    assert random.choice(table, generator=g).shape == (4,)
    assert random.choice(4, (0,), generator=g).shape == (0,)


# -- parameters and transformations ---------------------------------------------------------------------------------


def test_gradients_flow_to_parameters(g):
    state = g.state
    mean, std = wf.asarray([1.0, 2.0]), wf.asarray([0.5, 3.0])
    z = random.normal(2, generator=g).numpy()

    def total(mean, std):
        g.state = state
        return wf.sum(random.normal(None, mean, std, generator=g))

    a, b = wf.grad(total, argnums=(0, 1))(mean, std)
    np.testing.assert_allclose(a.numpy(), [1, 1])
    np.testing.assert_allclose(b.numpy(), z, rtol=1e-6)


def test_parameters_give_shape_and_dtype(g):
    mean = wf.zeros((3, 1), dtype="float64")
    assert random.normal(None, mean, wf.ones(2), generator=g).shape == (3, 2)
    assert random.normal(None, mean, generator=g).dtype == wf.float64
    assert random.normal(2, wf.asarray([1, 2]), generator=g).dtype == wf.float32
    ends = random.integers(wf.asarray([0, 10]), wf.asarray([2, 12]), (100, 2), generator=g).numpy()
    assert ends.min(0).tolist() == [0, 10] and ends.max(0).tolist() == [1, 11]


def test_compiled_and_mapped_draws(g):
    def draws(x):
        return x + random.normal(3, generator=g), random.integers(10, shape=2, generator=g)

    x = wf.zeros(3)
    plain = [v.numpy() for _ in range(2) for v in draws(x)]
    g.seed(1234)
    compiled = wf.compile(draws)
    for got, want in zip([v.numpy() for _ in range(2) for v in compiled(x)], plain):
        np.testing.assert_array_equal(got, want)
    g.seed(1234)
    many = wf.vmap(lambda _: random.normal(3, generator=g), randomness="different")(wf.zeros(4)).numpy()
    assert many.shape == (4, 3) and len(np.unique(many)) == 12
    np.testing.assert_array_equal(many[0], plain[0])
    same = wf.vmap(lambda _: random.uniform(3, generator=g), randomness="same")(wf.zeros(4)).numpy()
    assert (same == same[0]).all()


def test_draws_of_an_open_size(g):
    f = wf.compile(lambda x: (x + random.normal(x.shape, generator=g), random.uniform(x.shape, generator=g)))
    traced = f.trace(wf.spec((wf.Dim("n"), 3)))
    for n in (1, 4):
        g.seed(1)
        z, u = traced(wf.zeros((n, 3)))
        assert g.state.numpy().tolist() == [1, 9 * n]  # twice as much for the normal numbers
        assert z.shape == (n, 3) and len(np.unique(np.concatenate([z.numpy(), u.numpy()]))) == 6 * n
        assert abs(z.numpy()).max() < 5 and u.numpy().min() >= 0 and u.numpy().max() < 1


def test_short_names(g):
    random.manual_seed(7)
    a = [
        random.rand(2, 3),
        random.randn((2, 3)),
        random.randint(5, (4,)),
        random.randint(1, 5, (4,)),
        random.randperm(4),
    ]
    assert [x.shape for x in a] == [(2, 3), (2, 3), (4,), (4,), (4,)]
    assert random.rand().shape == ()
    assert random.rand_like(wf.ones((2, 2), dtype="float64")).dtype == wf.float64
    assert random.randn_like(wf.ones(3)).shape == (3,)
    random.manual_seed(7)
    np.testing.assert_array_equal(random.uniform((2, 3)).numpy(), a[0].numpy())


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: random.uniform(3, 2.0, 1.0), ArgumentError, "low <= high"),
        (lambda: random.normal(3, std=-1.0), ArgumentError, "std >= 0"),
        (lambda: random.normal(3, wf.ones(2)), ShapeError, r"\(3,\), \(2,\)"),
        (lambda: random.normal(3, dtype="int32"), DTypeError, "int32"),
        (lambda: random.normal(-3), ShapeError, "negative"),
        (lambda: random.exponential(3, 0.0), ArgumentError, "rate > 0"),
        (lambda: random.truncated_normal(3, low=1.0, high=1.0), ArgumentError, "low < high"),
        (lambda: random.bernoulli(1.5), ArgumentError, "between 0 and 1"),
        (lambda: random.integers(3, 3), ArgumentError, "no integer from 3"),
        (lambda: random.integers(0, 300, dtype="uint8"), ArgumentError, "0 to 255"),
        (lambda: random.integers(0.5, 3), ArgumentError, "integers"),
        (lambda: random.integers(3, dtype="float32"), DTypeError, "float32"),
        (lambda: random.categorical(wf.asarray(1.0)), ShapeError, "at least one dimension"),
        (lambda: random.choice(3, (4,), replace=False), ArgumentError, "4 different choices of 3"),
        (lambda: random.choice(3, (1,), p=wf.ones(2)), ShapeError, "3 weights"),
        (lambda: random.choice(0, (1,)), IndexingError, "nothing to choose"),
        (lambda: random.permutation(2.5), ArgumentError, "2.5"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
