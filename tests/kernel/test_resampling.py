"""Axes of other sizes: the tables, what kernels make of them, and the bits, however a graph is cut."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
import weft.nn.functional as F
from weft.backends.cpu.tables import runs_of_tables
from weft.inspect import kernels
from weft.kernel.index import Index, Listed, Table, Var, as_index, listed
from weft.kernel.loops import Load, Stage, Store
from weft.ops.resample import added, taps

SMOOTH = [("linear", a, s) for a in (False, True) for s in (False, True)]
SMOOTH += [("cubic", a, s) for a in (False, True) for s in (False, True)] + [("lanczos", False, True)]

#: (shape, new size, mode, align_corners): rows of parts of a vector and of many, sizes with and without a period.
CASES = [
    ((2, 3, 7, 9), (14, 18), "bilinear", False),
    ((2, 20, 9, 33), (5, 70), "bilinear", True),
    ((1, 5, 14, 14), (224, 100), "bilinear", True),
    ((1, 2, 3, 70), (5, 1200), "bilinear", False),
    ((1, 2, 3, 70), (5, 1201), "bilinear", True),  # too many different vectors
    ((2, 17, 5, 6), (9, 11), "bicubic", False),
    ((1, 3, 40, 50), (20, 20), "bicubic", True),
    ((1, 3, 6, 28), (7, 70), "nearest", None),
    ((2, 9, 28, 6), (70, 17), "nearest-exact", None),
    ((1, 3, 60, 64), (6, 16), "nearest", None),
    ((1, 20, 1, 6), (33, 33), "bilinear", False),
]


@pytest.mark.parametrize(("curve", "align", "spread"), SMOOTH)
@pytest.mark.parametrize(("size", "new"), [(1, 1), (1, 5), (5, 1), (5, 12), (12, 5), (14, 224), (100, 7)])
def test_tables_are_means_of_what_is_there(curve, align, spread, size, new):
    places, weights = taps(size, new, curve, None, align, spread, False)
    assert places.shape == weights.shape and places.shape[1] == new
    assert places.min() >= 0 and places.max() < size
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-12)
    matrix, back = np.zeros((size, new)), np.zeros((new, size))
    np.add.at(matrix, (places, np.arange(new)), weights)
    there, shares = taps(new, size, curve, None, align, spread, True)
    np.add.at(back, (there, np.arange(size)), shares)
    np.testing.assert_allclose(back, matrix.T, atol=1e-12)


def test_sums_of_many_are_made_in_groups():
    made = added([str(k) for k in range(19)], lambda a, b: f"({a}{b})")
    assert made == "(((((((((01)2)3)4)5)6)7)(((((((89)10)11)12)13)14)15))((1617)18))"


def _with_gradient(case, last=False):
    _, size, mode, align = case
    swapped = ((0, 3, 1, 2), (0, 2, 3, 1))

    def f(x):
        x = wf.permute_dims(x, swapped[0]) if last else x
        y = F.interpolate(x, size=size, mode=mode, align_corners=align)
        return wf.permute_dims(y, swapped[1]) if last else y

    def both(x, g):
        y, pull = wf.vjp(f, x)
        return y, pull(g)[0]

    return both


def _operands(case):
    (n, c, h, w), size, *_ = case
    rng = np.random.default_rng(3)
    return [rng.standard_normal(s).astype(np.float32) for s in ((n, c, h, w), (n, c, *size))]


@pytest.mark.parametrize("case", CASES)
def test_the_bits_of_the_reference_in_any_layout(case):
    x, g = _operands(case)
    with wf.config(backend="reference"):
        want = [t.numpy() for t in _with_gradient(case)(wf.tensor(x), wf.tensor(g))]
    with wf.config(backend="cpu"):
        got = [t.numpy() for t in wf.compile(_with_gradient(case))(wf.tensor(x), wf.tensor(g))]
        turned = [wf.tensor(np.ascontiguousarray(t.transpose(0, 2, 3, 1))) for t in (x, g)]
        last = [t.numpy().transpose(0, 3, 1, 2) for t in wf.compile(_with_gradient(case, True))(*turned)]
    for w, a, b in zip(want, got, last, strict=True):
        np.testing.assert_array_equal(a, w)
        np.testing.assert_array_equal(b, w)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_the_bits_do_not_depend_on_where_a_graph_is_cut(mode):
    """Behind a convolution and in front of one, between zeros, beside another part, added to another image."""
    wf.manual_seed(0)
    x, skip = wf.randn(1, 8, 9, 11), wf.randn(1, 16, 20, 27)
    first, second, third = wf.randn(16, 8, 3, 3), wf.randn(16, 32, 3, 3), wf.randn(16, 16, 1, 1)

    def small(x):
        return F.relu(F.conv2d(x, first, padding=1))

    def large(x):
        return F.interpolate(x, size=(20, 27), mode=mode)

    def rest(y, skip):
        beside = F.conv2d(wf.concat([skip, y], axis=1), second, padding=1)
        return beside, F.relu(F.conv2d(skip, third) + y), F.log_softmax(y, dim=1), (y - skip).square().mean()

    with wf.config(backend="cpu"):
        whole = wf.compile(lambda x, skip: rest(large(small(x)), skip))(x, skip)
        a = small(x)
        a.numpy()
        b = large(a)
        b.numpy()
        for w, c in zip(whole, rest(b, skip), strict=True):
            np.testing.assert_array_equal(w.numpy(), c.numpy())


@pytest.mark.parametrize("case", CASES[:2])
def test_any_number_of_threads(case):
    given, found, before = [wf.tensor(t) for t in _operands(case)], [], wf.get_num_threads()
    with wf.config(backend="cpu"):
        try:
            for count in (1, 2, 3):
                wf.set_num_threads(count)
                found.append([t.numpy().tobytes() for t in wf.compile(_with_gradient(case))(*given)])
        finally:
            wf.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_a_gradient_reads_and_nothing_lies_in_between():
    """Both ways, no element is looked for at run time or added to one by one; a linear resize is one kernel."""
    x = wf.randn(2, 16, 8, 8)

    def f(x):
        return F.interpolate(x, scale_factor=2, mode="bilinear")

    with wf.config(backend="cpu"):
        forward, gradient = wf.compile(f), wf.compile(lambda x, g: wf.vjp(f, x)[1](g)[0])
        forward(x), gradient(x, f(x))
        found = kernels(forward)
        assert len(found.rows) == 1 and found.arena == 0
        for text in (found.loops, kernels(gradient).loops):
            assert "+=" not in text and "floor" not in text


def test_numbers_that_are_evenly_apart_are_no_table():
    i = as_index(Var("i", 5))
    assert listed(Table((3, 5, 7, 9, 11)), i) == i * 2 + 3
    table = Table((0, 0, 1, 1, 2))
    (term,) = listed(table, i).factors
    assert isinstance(term, Listed) and term.bounds == (0, 2)
    assert [listed(table, i).evaluate({Var("i", 5): k}) for k in range(5)] == [0, 0, 1, 1, 2]
    assert [term.at(k) for k in (-1, 4, 7)] == [0, 2, 2]


def test_vectors_that_read_alike_share_their_code():
    i = Var("i", 64)
    halves = Load(0, listed(Table(tuple([max(0, (k - 1) // 2) for k in range(64)])), as_index(i)), wf.float32)
    stage = Stage((i,), stores=(Store(1, as_index(i), halves),))
    assert runs_of_tables(stage, i, 16) == [(0, 1), (16, 3)]
    assert runs_of_tables(stage, i, 1) == ()
    plain = Stage((i,), stores=(Store(1, as_index(i), Load(0, Index({i: 1}, 0), wf.float32)),))
    assert runs_of_tables(plain, i, 16) == ()
