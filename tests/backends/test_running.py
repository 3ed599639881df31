"""Running reductions, run-time places and searches: compiled kernels against the reference."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import dtype as as_dtype
from weft.ir.dtype import int64
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ops.cumulative import cummax, cumprod, cumsum, linear_recurrence
from weft.ops.define import constant
from weft.ops.dynamic import dynamic_slice, dynamic_update_slice
from weft.ops.gather import gather, iota, scatter, scatter_add
from weft.ops.indexing import add_along_axis, put_along_axis
from weft.ops.movement import broadcast_in_dim, pad, permute
from weft.ops.sorting import argsort, searchsorted, sort
from weft.runtime.backend import Fault
from weft.runtime.buffer import Buffer

RNG = np.random.default_rng(5)


def both(function, *arrays):
    """The results of a function of nodes on the reference and compiled."""
    arrays = [np.asarray(a) for a in arrays]
    graph = trace_graph(lambda *n: [function(*n)], [Aval(a.shape, as_dtype(a.dtype)) for a in arrays])
    with np.errstate(all="ignore"):
        (want,) = Interpreter(graph).evaluate(arrays)
    (got,) = CpuBackend().compile(graph).run([Buffer(np.ascontiguousarray(a)) for a in arrays])
    return want, got.array


def agree(function, *arrays):
    want, got = both(function, *arrays)
    assert want.dtype == got.dtype
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("shape", "axis"), [((700,), 0), ((5, 37), 0), ((5, 37), 1), ((4, 1, 18), 2)])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_reductions_are_sequential(shape, axis, reverse):
    x = RNG.normal(size=shape).astype(np.float32)
    along = {"axis": axis, "reverse": reverse}
    for exclusive in (False, True):
        agree(partial(cumsum, exclusive=exclusive, **along), x)
    agree(lambda n: cumprod(n * n, **along) + n, x)
    agree(lambda n: cummax(n, **along), x)
    agree(lambda n: linear_recurrence(-n, n + n, **along), x.astype(np.float64))


def test_running_sums_keep_signs_and_infinities_apart():
    x = np.array([[-0.0, 1.0], [np.inf, -0.0], [np.nan, -np.inf]])
    for axis in (0, 1):
        want, got = both(partial(cumsum, axis=axis), x)
        np.testing.assert_array_equal(got, want)
        assert np.array_equal(np.signbit(got), np.signbit(want))


@pytest.mark.parametrize("write", [scatter, scatter_add])
def test_updates_come_in_order(write):
    x, i = RNG.normal(size=(9, 70)).astype(np.float32), RNG.integers(-9, 9, (50,))
    agree(lambda x, u, i: write(x, u, i, axes=(0,)), x, RNG.normal(size=(50, 70)).astype(np.float32), i)
    agree(
        lambda x, u, i: write(x, u, i, axes=(1,)), x.T.copy(), RNG.normal(size=(50, 70)).astype(np.float32), i
    )
    agree(lambda x, u, i: write(x, u, i, axes=(0,)), x[:, 0], RNG.normal(size=(50,)).astype(np.float32), i)
    agree(
        lambda x, u, i, j: write(x, u, i, j, axes=(0, 1)),
        x,
        RNG.normal(size=(50,)).astype(np.float32),
        i,
        i * 3,
    )


@pytest.mark.parametrize("write", [scatter, scatter_add])
@pytest.mark.parametrize(
    ("shape", "axis"), [((1006, 70), 0), ((9, 300, 40), 1), ((700, 3, 35), 0), ((40, 2000), 1)]
)
def test_updates_of_a_large_result_come_in_order_too(write, shape, axis):
    """Bands of rows are written by different units, each with its own updates."""
    x, i = RNG.normal(size=shape).astype(np.float32), RNG.integers(-shape[axis], shape[axis], (20, 30))
    i[3] = i[7]
    rest = [n for a, n in enumerate(shape) if a != axis]
    agree(
        lambda x, u, i: write(x, u, i, axes=(axis,)),
        x,
        RNG.normal(size=(20, 30, *rest)).astype(np.float32),
        i,
    )


@pytest.mark.parametrize("write", [add_along_axis, put_along_axis])
@pytest.mark.parametrize(
    ("shape", "axis", "n"),
    [((9, 70), 1, 90), ((9, 70), 0, 20), ((4, 5, 33), 1, 12), ((4, 5, 33), 2, 40), ((50,), 0, 70)],
)
def test_updates_along_an_axis_come_in_order(write, shape, axis, n):
    """Rows have units of their own, each with its updates in order."""
    wide = tuple([n if a == axis else s for a, s in enumerate(shape)])
    x, u = (RNG.normal(size=s).astype(np.float32) for s in (shape, wide))
    i = RNG.integers(-shape[axis], shape[axis], wide)
    agree(lambda x, u, i: write(x, u, i, axis), x, u, i)


def test_rows_of_which_each_has_its_own_updates():
    x, u, i = RNG.normal(size=(6, 40)), RNG.normal(size=(6, 50)), RNG.integers(0, 40, (6, 50))
    graph = trace_graph(
        lambda x, u, i: add_along_axis(x, u, i, 1), [Aval(v.shape, as_dtype(v.dtype)) for v in (x, u, i)]
    )
    (kernel,) = [s.kernel for s in CpuBackend().compile(graph).steps]
    assert [v.size for v in kernel.outer] == [6]
    # where the index is the number of the update everywhere, or of another axis, nothing is cut
    agree(lambda x, u: scatter_add(x, u, iota(size=6, dtype=int64), axes=(0,)), x, x)
    square, rows = RNG.normal(size=(7, 7)), np.arange(7)
    agree(
        lambda x, u, i: scatter_add(x, u, iota(size=7, dtype=int64), i, axes=(1, 0)),
        square,
        square[0],
        rows * 0,
    )
    agree(
        lambda x, u: scatter_add(x, u, iota(size=7, dtype=int64), iota(size=7, dtype=int64), axes=(0, 1)),
        square, square[0],
    )  # fmt: skip


def test_indices_computed_with_branches():
    x, i = RNG.normal(size=(4, 50)), np.array([1, -1])
    widths = {"low": (1,), "high": (2,), "interior": (0,)}
    agree(
        lambda x, i, u: scatter_add(x, u, pad(i, constant(2, i.dtype), **widths), axes=(0,)),
        x, i, RNG.normal(size=(5, 50)),
    )  # fmt: skip


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (2, 1), (0, 1, 2)])
def test_windows_at_run_time_places(axes):
    x = RNG.normal(size=(6, 5, 35))
    starts = [np.asarray(k + 1) for k in range(len(axes))]
    sizes = tuple([3] * len(axes))
    agree(lambda x, *s: dynamic_slice(permute(x, axes=(0, 1, 2)), *s, axes=axes, sizes=sizes), x, *starts)
    u = RNG.normal(size=tuple([3 if a in axes else n for a, n in enumerate(x.shape)]))
    agree(lambda x, u, *s: dynamic_update_slice(x, u, *s, axes=axes), x, u, *starts)


def test_search_in_many_sizes():
    for size in (0, 1, 2, 3, 7, 8, 9, 100):
        edges = np.sort(RNG.integers(0, 20, size))
        for side in ("left", "right"):
            agree(partial(searchsorted, side=side), edges, np.arange(-1, 22))


def _many(write, x, i):
    """The same rows written to a large result."""
    wide = broadcast_in_dim(x, shape=(4, 5, 3), axes=(0, 2))
    return write(broadcast_in_dim(constant(0.0, x.dtype), shape=(5000, 5, 3), axes=()), wide, i, axes=(0,))


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (lambda x, i: gather(x, i, axes=(0,)), [np.array([0, 4])]),
        (lambda x, i: gather(x, i, axes=(0,)) * 2.0 + 1.0, [np.array([0, 4])]),
        (lambda x, i: scatter(x, x, i, axes=(0,)), [np.array([0, 1, 2, -5])]),
        (lambda x, i: scatter_add(x, x, i, axes=(0,)), [np.array([0, 1, 4, 0])]),
        (lambda x, i: _many(scatter_add, x, i), [np.array([0, 1, 5000, 0])]),  # in bands
        (lambda x, i: _many(scatter_add, x, i), [np.array([0, 1, -5001, 0])]),
        (lambda x, i: gather(x, i, axes=(0,)), [np.uint64([0, 2**64 - 1])]),  # no negative number
        (lambda x, i: gather(x, i, axes=(0,)), [np.asarray(np.uint64(2**63))]),
        (lambda x, i: scatter(x, x, i, axes=(0,)), [np.uint64([0, 1, 2, 2**64 - 4])]),
        (lambda x, i: scatter_add(x, x, i, axes=(0,)), [np.uint64([0, 1, 2, 2**63])]),
        (lambda x, i: _many(scatter_add, x, i), [np.uint64([0, 1, 2**64 - 5000, 0])]),
        (lambda x, i: dynamic_slice(x, i, axes=(0,), sizes=(2,)), [np.asarray(np.uint64(2**64 - 1))]),
        (lambda x, i: dynamic_slice(x, i, axes=(0,), sizes=(2,)), [np.asarray(3)]),
        (lambda x, i: dynamic_slice(x, i, axes=(0,), sizes=(2,)), [np.asarray(-1)]),
        (lambda x, i: dynamic_update_slice(x, x, i, axes=(0,)), [np.asarray(1)]),
    ],
)
def test_an_index_outside_is_an_error_on_both(function, args):
    arrays = [np.ones((4, 3)), *args]
    graph = trace_graph(lambda *n: [function(*n)], [Aval(a.shape, as_dtype(a.dtype)) for a in arrays])
    with pytest.raises(Fault) as reference:
        Interpreter(graph).evaluate(arrays)
    with pytest.raises(Fault) as compiled:
        CpuBackend().compile(graph).run([Buffer(a) for a in arrays])
    assert type(reference.value.error) is type(compiled.value.error)
    name = str(reference.value.error).partition(":")[0]
    assert str(compiled.value.error).startswith(f"{name}: ") and "out of bounds" in str(compiled.value.error)
    assert reference.value.position == compiled.value.position


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("prim", [sort, argsort])
def test_sorting_is_stable_with_nan_last(prim, descending):
    for size in (0, 1, 2, 3, 17, 64, 1000):
        x = RNG.integers(-9, 10, size).astype(np.float32)
        x[x == 9] = np.nan
        x[x == 0] *= RNG.choice([-1.0, 1.0], (x == 0).sum())
        want, got = both(partial(prim, axis=0, descending=descending), x)
        np.testing.assert_array_equal(got, want)
        assert np.array_equal(np.signbit(got), np.signbit(want)) or prim is argsort


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.bool_, np.float16, np.float64])
def test_sorting_along_any_axis_of_any_type(dtype):
    x = RNG.integers(0, 50, (3, 41, 5)).astype(dtype)
    for axis in range(3):
        agree(partial(sort, axis=axis, descending=True), x)
        agree(lambda x, axis=axis: argsort(permute(x, axes=(2, 0, 1)), axis=axis, descending=False), x)
