"""Sorting, searching and the k largest, with ties and NaN."""

import numpy as np
import pytest

from nodes import check_derivatives, gradients, run, same
from weft.base.errors import DTypeError, ShapeError
from weft.ops import sorting as s

inf, nan = np.inf, np.nan
X = np.array([2.0, nan, -1.0, 2.0, inf, -0.0, 0.0, -inf, nan])


def test_nan_comes_last_in_both_directions_and_equals_keep_their_order():
    up = run(lambda v: s.argsort(v, axis=0, descending=False), X)
    down = run(lambda v: s.argsort(v, axis=0, descending=True), X)
    same(up, np.array([7, 2, 5, 6, 0, 3, 4, 1, 8]))
    same(down, np.array([4, 0, 3, 5, 6, 2, 7, 1, 8]))
    same(run(lambda v: s.sort(v, axis=0, descending=False), X), X[up])
    same(run(lambda v: s.sort(v, axis=0, descending=True), X), X[down])


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "uint64", "bool"])
def test_integers_to_the_ends_of_their_range(kind):
    if kind == "bool":
        x = np.array([True, False, True, False])
    else:
        info = np.iinfo(kind)
        x = np.array([info.max, 0, info.min, info.max, 1], kind)
    got = run(lambda v: s.argsort(v, axis=0, descending=True), x)
    want = np.array(sorted(range(len(x)), key=lambda i: -int(x[i])))
    same(got, want)
    same(run(lambda v: s.sort(v, axis=0, descending=False), x), np.sort(x))


def test_the_gradient_goes_back_where_the_element_came_from():
    x, w = np.array([3.0, 1.0, 3.0, 2.0]), np.array([1.0, 2.0, 3.0, 4.0])
    got = gradients(lambda v, weights: s.sort(v, axis=0, descending=False) * weights, x, w)[0]
    same(got, np.array([3.0, 1.0, 4.0, 2.0]))
    got = gradients(lambda v, weights: s.sort(v, axis=0, descending=True) * weights, x, w)[0]
    same(got, np.array([1.0, 4.0, 2.0, 3.0]))


def test_searchsorted():
    edges, x = np.array([1.0, 2.0, 2.0, inf, nan]), np.array([[0.0, 1.0, 2.0], [3.0, inf, nan]])
    for side in ("left", "right"):
        got = run(lambda e, v, side=side: s.searchsorted(e, v, side=side), edges, x)
        same(got, np.searchsorted(edges, x, side))
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    got = run(lambda e, v: s.searchsorted(e, v, side="left"), rows, np.array([[1.5, 9.0], [1.5, 3.5]]))
    same(got, np.array([[1, 2], [0, 1]]))


def test_top_k():
    x = np.array([[3.0, nan, 3.0, 1.0], [0.0, 5.0, -1.0, 5.0]])
    values, indices = run(lambda v: s.top_k(v, 2, 1), x)
    same(values, np.array([[3.0, 3.0], [5.0, 5.0]]))
    same(indices, np.array([[0, 2], [1, 3]]))
    values, indices = run(lambda v: s.top_k(v, 1, 0, largest=False), x)
    same(values, np.array([[0.0, 5.0, -1.0, 1.0]]))
    same(indices, np.array([[1, 1, 1, 0]]))
    check_derivatives(lambda v: s.top_k(v, 2, 1)[0], [np.array([[3.0, 1.0, 2.0], [0.5, -4.0, 2.5]])])
    with pytest.raises(ShapeError, match="5 elements"):
        run(lambda v: s.top_k(v, 5, 1)[0], x)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("largest", [False, True])
def test_the_few_largest_are_the_first_that_sorting_gives(rng, dtype, largest, monkeypatch):
    x = rng.choice(np.array([-inf, -2, -1e-40, -0.0, 0.0, 1e-40, 0.5, 3, inf, nan], dtype), (40, 12))
    got = [run(lambda v, k=k: s.top_k(v, k, 1, largest=largest)[1], x) for k in (1, 5, 12)]
    monkeypatch.setattr(s, "_FEW", 0)
    want = run(lambda v: s.top_k(v, 12, 1, largest=largest)[1], x)
    for k, found in zip((1, 5, 12), got, strict=True):
        same(found, want[:, :k])


def test_agrees_with_torch(rng):
    torch = pytest.importorskip("torch")
    x = rng.integers(0, 5, (4, 9)).astype(float)
    for descending in (False, True):
        values, indices = torch.sort(torch.tensor(x), dim=1, descending=descending, stable=True)
        same(run(lambda v, d=descending: s.sort(v, axis=1, descending=d), x), values.numpy())
        same(run(lambda v, d=descending: s.argsort(v, axis=1, descending=d), x), indices.numpy())


def test_errors():
    with pytest.raises(DTypeError, match="no order"):
        run(lambda v: s.sort(v, axis=0, descending=False), np.ones(2, complex))
    with pytest.raises(ShapeError, match="no axis 1"):
        run(lambda v: s.argsort(v, axis=1, descending=False), np.ones(2))
    with pytest.raises(DTypeError, match="one real dtype"):
        run(lambda e, v: s.searchsorted(e, v, side="left"), np.ones(2), np.ones(2, int))
    with pytest.raises(ShapeError, match="leading axes"):
        run(lambda e, v: s.searchsorted(e, v, side="left"), np.ones((2, 3)), np.ones((3, 3)))
