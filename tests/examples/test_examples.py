"""Every example runs, and reaches the figure that it is there for."""

import importlib.util
import re
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
    ("name", "least"),
    [
        ("logistic_regression", 0.97),
        ("softmax_regression", 0.95),
        ("cnn_digits", 0.97),
        ("lenet_digits", 0.96),
    ],
)
def test_digits_are_read(name, least, capsys):
    accuracy = example(name).main()
    assert accuracy >= least
    assert f"{accuracy:.1%}" in capsys.readouterr().out


def test_lstm_remembers(capsys):
    assert example("lstm_long_dependency").main() >= 0.99
    assert "remembered the first of 30 symbols" in capsys.readouterr().out


def test_gru_hears_the_order(capsys):
    assert example("gru_long_dependency").main() >= 0.99
    assert "the order was right" in capsys.readouterr().out


def test_rnn_adds_numbers_that_stand_apart(capsys):
    module = example("rnn_long_dependency")
    pairs, sums = module.sequences(500, seed=3)
    np.testing.assert_allclose(pairs[..., 1].sum(1), 2)
    assert ((sums - 1) ** 2).mean() == pytest.approx(1 / 6, rel=0.2)  # what always answering 1 gets
    assert module.main() < 0.02
    assert "always answering 1: 0.1667" in capsys.readouterr().out


def test_autoencoder_beats_principal_components(capsys):
    from sklearn.decomposition import PCA

    module = example("autoencoder_digits")
    error, linear = module.main()
    assert error < 0.75 * linear
    train, test = [part.arrays[0].reshape(-1, 64) for part in module.wf.data.digits()]
    pca = PCA(module.CODE).fit(train)
    assert linear == pytest.approx(
        ((pca.inverse_transform(pca.transform(test)) - test) ** 2).mean(), rel=1e-3
    )
    assert f"{error:.4f}" in capsys.readouterr().out


def test_contrast_teaches_features_without_labels(capsys):
    learned, untrained = example("contrastive_digits").main()
    assert learned >= 0.8 and learned >= untrained + 0.12
    assert f"{learned:.1%} of new scans right" in capsys.readouterr().out


def test_contrast_is_the_loss_of_finding_partners():
    module = example("contrastive_digits")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 4))
    z = np.concatenate([a, b])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    terms = []
    for i in range(6):
        others = [z[i] @ z[j] / 0.2 for j in range(6) if j != i]
        terms.append(np.log(np.exp(others).sum()) - z[i] @ z[(i + 3) % 6] / 0.2)
    got = module.contrast(module.wf.tensor(a), module.wf.tensor(b)).item()
    assert got == pytest.approx(np.mean(terms))


def test_policy_gradient_balances_the_pole(capsys):
    module = example("cartpole_policy_gradient")
    assert module.main() >= 195
    assert f"of {module.STEPS} steps" in capsys.readouterr().out


def test_the_cart_moves_as_the_equations_say():
    """Against the accelerations solved from the two equations of motion, without the closed form."""
    module, rng = example("cartpole_policy_gradient"), np.random.default_rng(0)
    states = rng.uniform(-1, 1, (5, 4))
    for right, force in ((True, 10.0), (False, -10.0)):
        after = module.move(module.wf.tensor(states), module.wf.full((5,), right)).numpy()
        for (x, v, angle, spin), new in zip(states, after):
            sin, cos, half, mass, total = np.sin(angle), np.cos(angle), 0.5, 0.1, 1.1
            # total * x'' + mass * half * (angle'' cos - spin^2 sin) = force, and 4/3 half angle'' + x'' cos = g sin
            left = [[total, mass * half * cos], [cos, 4 / 3 * half]]
            pull, twist = np.linalg.solve(left, [force + mass * half * spin**2 * sin, 9.8 * sin])
            want = [x + 0.02 * v, v + 0.02 * pull, angle + 0.02 * spin, spin + 0.02 * twist]
            np.testing.assert_allclose(new, want, rtol=1e-6)


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


def test_the_table_of_examples_names_them_all():
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[\w+\.py\]\((\w+\.py)\)", table, re.M)) == {
        p.name for p in EXAMPLES.glob("*.py")
    }
    for link in re.findall(r"\]\(([^)]+)\)", table):
        assert (EXAMPLES / link).exists(), link
