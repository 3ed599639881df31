"""Estimators of scikit-learn: its own checks, and what they leave out."""

import copy
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.errors import ArgumentError
from weft.train import CSVLogger

pytest.importorskip("sklearn")

from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_diabetes, load_iris, make_moons
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from weft.train import WeftClassifier, WeftRegressor

X, Y = load_iris(return_X_y=True)


def checks():
    for estimator in (WeftClassifier(), WeftRegressor()):
        for made, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            yield pytest.param(made, check, id=f"{type(estimator).__name__}-{name}")


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_sklearns_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


CHECK = """
import json, sys, warnings
from sklearn.utils.estimator_checks import check_estimator
from weft import train
warnings.simplefilter("ignore")
found = check_estimator(getattr(train, sys.argv[1])(), on_fail="raise", on_skip=None)
print(json.dumps([(r["check_name"], r["status"], str(r["exception"])) for r in found]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["WeftClassifier", "WeftRegressor"])
def test_check_estimator_as_a_whole(kind):
    """With the array API switched on; none is left out but those that need pandas, where it is not installed."""
    env = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", CHECK, kind], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    skipped = [name for name, status, _ in found if status == "skipped"]
    assert all(status in ("passed", "skipped") for _, status, _ in found)
    assert len(found) - len(skipped) >= 58
    if importlib.util.find_spec("pandas") is None:
        assert all("pandas is not installed" in why for _, status, why in found if status == "skipped")
        assert len(skipped) <= 2
    else:
        assert skipped == []


def test_in_pipelines_and_searches():
    model = make_pipeline(StandardScaler(), WeftClassifier(lr=0.02, epochs=40, random_state=0))
    assert cross_val_score(model, X, Y, cv=3).mean() > 0.93
    search = GridSearchCV(
        WeftClassifier(epochs=3, random_state=0), {"hidden_layer_sizes": [(4,), (8, 4)], "lr": [0.1]}, cv=2
    )
    assert search.fit(X, Y).best_params_["lr"] == 0.1
    assert is_classifier(model) and is_regressor(WeftRegressor())


@pytest.mark.parametrize("labels", [["a", "b", "c"], [10, -3, 7]])
def test_labels_of_every_kind(labels):
    y = np.array(labels)[Y]
    model = WeftClassifier(lr=0.05, epochs=30, random_state=0).fit(X, y)
    assert model.classes_.tolist() == sorted(labels)
    assert set(model.predict(X)) <= set(labels) and model.score(X, y) > 0.9
    p = model.predict_proba(X)
    assert p.shape == (150, 3) and np.allclose(p.sum(1), 1)
    np.testing.assert_allclose(np.log(p), model.predict_log_proba(X), atol=1e-9)
    assert (model.classes_[p.argmax(1)] == model.predict(X)).all()


def test_dtypes_are_kept():
    for dtype in (np.float32, np.float64):
        model = WeftClassifier(epochs=2, random_state=0).fit(X.astype(dtype), Y)
        assert model.predict_proba(X.astype(dtype)).dtype == dtype
        assert str(next(model.module_.parameters()).dtype) == np.dtype(dtype).name


def test_random_state_decides_everything():
    before = wf.random.default_generator().state.tolist()
    fits = [WeftClassifier(epochs=3, random_state=s).fit(X, Y).predict_proba(X) for s in (0, 0, 1)]
    assert fits[0].tobytes() == fits[1].tobytes() != fits[2].tobytes()
    assert wf.random.default_generator().state.tolist() == before


def test_modules_of_ones_own():
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    first = net[0].weight.numpy().copy()
    model = WeftClassifier(net, lr=0.05, epochs=20, random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.9 and model.module_ is not net
    assert np.array_equal(net[0].weight.numpy(), first)
    made = WeftClassifier(lambda features, classes: nn.Linear(features, classes), lr=0.1, epochs=20)
    assert made.fit(X, Y).module_.weight.shape == (3, 4)
    images = X.reshape(-1, 1, 2, 2)
    conv = nn.Sequential(nn.Conv2d(1, 8, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    assert WeftClassifier(conv, lr=0.1, epochs=30, random_state=0).fit(images, Y).score(images, Y) > 0.9
    words = np.arange(20)[:, None] % 5
    spell = WeftClassifier(nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(4, 2)), lr=0.1)
    assert spell.fit(words, words[:, 0] > 2).score(words, words[:, 0] > 2) == 1.0


@pytest.mark.parametrize("copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_copies_predict_and_learn_on_as_the_original(copied):
    """With the optimiser's memory."""
    model = WeftClassifier(random_state=0)
    for _ in range(3):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    other = copied(model)
    assert other.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    assert (
        other.partial_fit(X, Y).predict_proba(X).tobytes()
        == model.partial_fit(X, Y).predict_proba(X).tobytes()
    )
    assert not hasattr(clone(model), "module_")


def test_partial_fit_in_parts_of_the_data():
    model = WeftClassifier(lr=0.05, random_state=0)
    for _ in range(30):
        for c in range(3):  # each part has one class alone
            model.partial_fit(X[c == Y][::5], Y[c == Y][::5], classes=[0, 1, 2])
        model.partial_fit(X, Y)
    assert model.score(X, Y) > 0.9 and model.n_epochs_ == 1
    with pytest.raises(ArgumentError, match=r"classes \[3\]"):
        model.partial_fit(X, np.full(150, 3))


def test_warm_start():
    model = WeftClassifier(epochs=2, warm_start=True, random_state=0, tol=None).fit(X, Y)
    first = model.loss_
    net = model.module_
    assert model.fit(X, Y).loss_ < first and model.module_ is net
    cold = WeftClassifier(epochs=2, random_state=0, tol=None).fit(X, Y)
    assert cold.fit(X, Y).loss_ == first


def test_early_stopping():
    model = WeftClassifier(early_stopping=True, n_iter_no_change=2, lr=0.5, epochs=100, random_state=0)
    model.fit(X, Y, sample_weight=np.ones(150))
    assert model.n_epochs_ < 100 and len(model.history_["val_loss"]) == model.n_epochs_
    plain = WeftClassifier(n_iter_no_change=2, tol=10.0, random_state=0).fit(X, Y)
    assert plain.n_epochs_ <= 4  # no epoch is better by ten
    assert WeftClassifier(epochs=12, tol=None, random_state=0).fit(X, Y).n_epochs_ == 12


def test_weights_of_classes_and_samples():
    x, y = make_moons(200, noise=0.4, random_state=0)
    rare = y.copy()
    rare[20:] = 0
    found = {}
    for weight in (None, "balanced", {1: 100.0}):
        model = WeftClassifier(class_weight=weight, lr=0.02, epochs=60, random_state=0).fit(x, rare)
        found[str(weight)] = model.predict(x).mean()
    assert found["None"] < found["balanced"] < found["{1: 100.0}"]


def test_regression_of_several_outputs():
    x, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    both = np.stack([y, -2 * y], 1)
    model = WeftRegressor(lr=0.01, epochs=60, random_state=0).fit(x * 20, both)
    assert model.predict(x * 20).shape == (442, 2) and model.score(x * 20, both) > 0.4
    one = WeftRegressor(
        optimizer="lbfgs", lr=None, epochs=5, hidden_layer_sizes=(), batch_size=500, random_state=0
    )
    from sklearn.linear_model import LinearRegression

    expected = LinearRegression().fit(x * 20, y)
    assert one.fit(x * 20, y).score(x * 20, y) == pytest.approx(expected.score(x * 20, y), abs=1e-3)
    with pytest.raises(ArgumentError, match="1 outputs, at first it had 2"):
        model.partial_fit(x, y)


def test_options_of_the_trainer(tmp_path):
    model = WeftRegressor(
        optimizer=lambda: optim.SGD(lr=0.1), loss="huber", callbacks=[CSVLogger(tmp_path / "log.csv")],
        activation="tanh", epochs=3, batch_size=16,
    )  # fmt: skip
    model.fit(X, Y)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(activation="rellu"), "'relu'"),
        (dict(optimizer="adm"), "'adam'"),
        (dict(loss="cross_entrpy"), "'cross_entropy'"),
        (dict(batch_size="all"), "auto"),
        (dict(batch_size=0), "batch_size"),
        (dict(epochs=0), "epochs"),
        (dict(module=lambda f, o: 3), "must make an nn.Module"),
        (dict(callbacks=[3]), "callback"),
    ],
)
def test_errors(options, says):
    with pytest.raises(ArgumentError, match=says):
        WeftClassifier(**options).fit(X, Y)


def test_without_sklearn():
    """Weft imports, and the estimators say what is missing."""
    code = """
import sys
sys.modules["sklearn"] = None
import weft.train
from weft.errors import MissingExtraError
try:
    weft.train.WeftClassifier
except MissingExtraError as e:
    assert "weft[sklearn]" in str(e)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    loaded = "import weft.train, sys; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", loaded], check=True)
