"""Gather, scatter and run-time windows: NumPy's meaning, repeated and negative indices, errors at run time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes import check_derivatives, gradients, node, run, same
from weft.autodiff.batching import batch_nodes
from weft.base.errors import DTypeError, IndexingError, ShapeError
from weft.ir.node import Aval
from weft.ir.primitive import placeholder
from weft.ops import indexing as at
from weft.runtime.executor import realize


@st.composite
def reads(draw):
    """An array, axes of it, and index arrays that broadcast against each other."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    axes = draw(st.permutations(range(len(shape))))[: draw(st.integers(1, len(shape)))]
    rank = draw(st.integers(0, 2))
    common = [draw(st.integers(0, 3)) for _ in range(rank)]
    seed = draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    indices = []
    for a in axes:
        own = tuple(n if draw(st.booleans()) else 1 for n in common)
        own = own[draw(st.integers(0, rank)) :] if rank else own
        indices.append(rng.integers(-shape[a], shape[a], own))
    return rng.standard_normal(shape), tuple(axes), indices


def numpy_gather(x, axes, indices):
    return np.transpose(x, (*axes, *[i for i in range(x.ndim) if i not in axes]))[tuple(indices)]


@given(reads())
def test_gather_is_numpys_integer_indexing(case):
    x, axes, indices = case
    same(run(lambda v, *i: at.gather(v, *i, axes=axes), x, *indices), numpy_gather(x, axes, indices))


@given(reads())
def test_scatter_add_is_its_transpose_and_scatter_writes_what_it_reads(case):
    x, axes, indices = case
    read = numpy_gather(x, axes, indices)
    u = np.random.default_rng(1).standard_normal(read.shape)
    added = run(lambda v, w, *i: at.scatter_add(v, w, *i, axes=axes), np.zeros_like(x), u, *indices)
    np.testing.assert_allclose(np.sum(added * x), np.sum(u * read), rtol=1e-12, atol=1e-12)
    same(run(lambda v, w, *i: at.scatter(v, w, *i, axes=axes), x, read, *indices), x)


def test_repeated_positions():
    x, i, u = np.zeros(3), np.array([2, 0, 2, -1]), np.array([1.0, 2.0, 3.0, 4.0])
    same(run(lambda v, w, k: at.scatter_add(v, w, k, axes=(0,)), x, u, i), np.array([2.0, 0.0, 8.0]))
    same(run(lambda v, w, k: at.scatter(v, w, k, axes=(0,)), x, u, i), np.array([2.0, 0.0, 4.0]))
    in_x, in_u = gradients(lambda v, w, k: at.scatter(v, w, k, axes=(0,)), x, u, i)
    same(in_x, np.array([0.0, 1.0, 0.0]))
    same(in_u, np.array([0.0, 1.0, 0.0, 1.0]))
    rows = np.arange(6.0).reshape(3, 2)
    check_derivatives(lambda v, w: at.scatter(v, w, node(i), axes=(0,)), [rows, np.ones((4, 2)) * u[:, None]])


def test_16_bit_updates_add_up_in_single_precision():
    u = np.ones(5000, np.float16)
    got = run(
        lambda v, w, i: at.scatter_add(v, w, i, axes=(0,)), np.zeros(1, np.float16), u, np.zeros(5000, int)
    )
    same(got, np.float16([5000]))


@pytest.mark.parametrize("index", [3, -4, 2**63, 2**64 - 1])
@pytest.mark.parametrize("name", ["gather", "scatter", "scatter_add"])
def test_an_index_out_of_range_names_the_operation_and_the_line(name, index):
    x, i, u = np.ones((3, 2)), np.array([0, index], np.uint64 if index > 3 else np.int64), np.ones((2, 2))
    args = (x, i) if name == "gather" else (x, u, i)
    out = getattr(at, name)(*[node(a) for a in args], axes=(0,))  # the line that is at fault
    with pytest.raises(
        IndexingError, match=rf"{name}: index {index} is out of bounds.*test_indexing\.py:\d+"
    ):
        realize([out])
    with pytest.raises(IndexError):
        realize([out])


def test_windows():
    x = np.arange(20.0).reshape(4, 5)
    two = {"axes": (1, 0), "sizes": (3, 2)}
    same(run(lambda v, i, j: at.dynamic_slice(v, i, j, **two), x, 2, 1), x[1:3, 2:5])
    got = run(lambda v, w, i: at.dynamic_update_slice(v, w, i, axes=(0,)), x, -x[:2], 2)
    same(got, np.concatenate([x[:2], -x[:2]]))


@pytest.mark.parametrize("start", [-1, 3, 100])
def test_a_window_that_does_not_fit_is_an_index_error(start):
    x = np.ones((4, 5))
    with pytest.raises(IndexingError, match=r"dynamic_slice: a window of 2 from .* axis 0 with size 4"):
        run(lambda v, i: at.dynamic_slice(v, i, axes=(0,), sizes=(2,)), x, start)
    with pytest.raises(IndexingError, match="dynamic_update_slice: a window of 2"):
        run(lambda v, w, i: at.dynamic_update_slice(v, w, i, axes=(0,)), x, x[:2], start)
    # And so it is for one element of a batch.
    plain = placeholder(Aval((), node(start).dtype))
    out = at.dynamic_slice(node(x), plain, axes=(0,), sizes=(2,))
    ((many, _),) = batch_nodes([out], [plain], [node(np.array([0, start]))], 2)
    with pytest.raises(IndexingError):
        realize([many])


def test_errors_at_once():
    x, i = np.ones((3, 2)), np.array([0, 1])
    with pytest.raises(DTypeError, match="indices must be integers"):
        run(lambda v, k: at.gather(v, k, axes=(0,)), x, i + 0.5)
    with pytest.raises(ShapeError, match="one index array for each"):
        run(lambda v, k: at.gather(v, k, axes=(0, 1)), x, i)
    with pytest.raises(ShapeError, match="not distinct axes"):
        run(lambda v, k: at.gather(v, k, axes=(2,)), x, i)
    with pytest.raises(ShapeError, match="updates of float64"):
        run(lambda v, w, k: at.scatter(v, w, k, axes=(0,)), x, np.ones(3), i)
    with pytest.raises(ShapeError, match="window of 4 does not fit"):
        run(lambda v, k: at.dynamic_slice(v, k, axes=(0,), sizes=(4,)), x, 0)


@given(reads(), st.integers(0, 3))
def test_take_is_numpys(case, axis):
    x, _, indices = case
    axis = axis % x.ndim
    i = indices[0] % x.shape[axis]
    same(run(lambda v, k: at.take(v, k, axis), x, i), np.take(x, i, axis))


def test_along_an_axis():
    x = np.random.default_rng(0).standard_normal((3, 4, 2))
    i = np.random.default_rng(1).integers(-4, 4, (3, 5, 2))
    same(run(lambda v, k: at.take_along_axis(v, k, 1), x, i), np.take_along_axis(x, i, 1))
    same(run(lambda v, k: at.take_along_axis(v, k, 1), x, i[:1]), np.take_along_axis(x, i[:1], 1))
    j = np.argsort(x, axis=0)
    want = np.array(x)
    np.put_along_axis(want, j, -x, 0)
    same(run(lambda v, w, k: at.put_along_axis(v, w, k, 0), x, -x, j), want)
    check_derivatives(lambda v: at.take_along_axis(v, node(i), 1), [x])
    with pytest.raises(ShapeError, match="3 dimensions"):
        run(lambda v, k: at.take_along_axis(v, k, 1), x, i[0])
