"""Perplexity against its definition in double precision."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft import nn, optim, train
from weft.errors import DataError
from weft.metrics import Perplexity


@given(n=st.integers(1, 12), length=st.integers(1, 4), cut=st.integers(0, 12), seed=st.integers(0, 999))
def test_equals_its_definition(n, length, cut, seed):
    """Uneven batches, padding, logits and log-probabilities alike."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, 5, length)).astype(np.float32)
    targets = rng.integers(0, 5, (n, length))
    targets[rng.random((n, length)) < 0.3] = -100
    targets[0, 0] = 1
    wide = logits.astype(np.float64)
    logs = wide - np.log(np.exp(wide).sum(1, keepdims=True))
    own = np.take_along_axis(logs, np.where(targets < 0, 0, targets)[:, None], 1)[:, 0]
    expected = math.exp(-own[targets >= 0].mean())
    for given_scores in (logits, logs.astype(np.float32)):
        m = Perplexity()
        m.update(given_scores[:cut], targets[:cut])
        m.update(given_scores[cut:], targets[cut:])
        assert m.compute() == pytest.approx(expected, rel=1e-5)


def test_is_the_exponential_of_the_loss():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)).astype(np.float32), rng.integers(0, 3, 30)
    trainer = train.Trainer(nn.Linear(4, 3), "cross_entropy", optim.SGD(lr=0.1), ["perplexity"])
    history = trainer.fit(x, y, epochs=2, batch_size=7, progress=False)
    for loss, p in zip(history["loss"], history["perplexity"], strict=True):
        assert p == pytest.approx(math.exp(loss), rel=1e-5)


def test_beyond_all_numbers():
    m = Perplexity()
    m.update(np.array([[0.0, 1e4]], np.float32), [0])
    assert m.compute() == math.inf
    m.reset()
    m.update(np.array([[0.0, np.nan]], np.float32), [0])
    assert math.isnan(m.compute())


@pytest.mark.parametrize(
    ("targets", "says"), [([3], "1 of 1 targets are no class"), ([-1], "no class"), ([-100], "no samples")]
)
def test_errors(targets, says):
    m = Perplexity()
    m.update(np.zeros((1, 3), np.float32), targets)
    with pytest.raises(DataError, match=says):
        m.compute()
