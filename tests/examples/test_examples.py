"""Every example runs, and reaches the figure that it is there for."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def least_squares():
    """The best line through the points of the two examples on linear regression, solved directly."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=200)
    y = 3 * x - 2 + 0.1 * rng.normal(size=200)
    return np.polyfit(x, y, 1)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("linear_regression", 0.02), ("linear_regression_by_hand", 1e-3)]
)
def test_linear_regression_recovers_the_line(name, tolerance, capsys):
    slope, intercept = example(name).main()
    assert (slope, intercept) == pytest.approx((3, -2), abs=0.03)
    assert (slope, intercept) == pytest.approx(tuple(least_squares()), abs=tolerance)
    assert f"y = {slope:.3f} x {intercept:+.3f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "least"), [("logistic_regression", 0.97), ("softmax_regression", 0.95), ("cnn_digits", 0.97)]
)
def test_digits_are_read(name, least, capsys):
    accuracy = example(name).main()
    assert accuracy >= least
    assert f"{accuracy:.1%}" in capsys.readouterr().out


def test_lstm_remembers(capsys):
    assert example("lstm_long_dependency").main() >= 0.99
    assert "remembered the first of 30 symbols" in capsys.readouterr().out


def test_gpt_beats_the_table_of_pairs(capsys):
    module = example("char_gpt")
    loss, table = module.main(steps=200, progress=False)
    assert loss < table - 0.1
    # The table is the bigram model: its loss must be what counting gives, between that of single characters and 0.
    tokens = module.wf.data.shakespeare().tokens
    share = np.bincount(tokens) / len(tokens)
    assert 2.2 < table < -(share * np.log(share)).sum()
    assert "ROSALIND" in capsys.readouterr().out


def test_every_example_is_tested():
    """A new example needs a figure of its own here."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert [p.stem for p in EXAMPLES.glob("*.py") if f'"{p.stem}"' not in text] == []
