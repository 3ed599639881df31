"""In what portions threads take the units of a step."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.backends.cpu import instructions as ir
from weft.backends.cpu import threads as pool_threads
from weft.backends.cpu import tile_units
from weft.backends.cpu.build import I64, KERNEL, PTR, Build
from weft.backends.cpu.making import library_of
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.regions import numbered, plan, prepare
from weft.backends.cpu.units import units, units_together
from weft.backends.cpu.work import ALIKE, grain_of, work_of
from weft.kernel.tiles import Tiles


def grains(function, *shapes):
    compiled = wf.compile(function)
    compiled(*[wf.zeros(s) for s in shapes])
    region = plan(prepare(numbered(compiled.graph)))
    return [grain_of(s.kernel, work_of(s), 512) for s in region.steps if s.kernel is not None]


def test_a_softmax_is_shared_out_as_the_products_around_it():
    def attention(q, k, v):
        return nn.functional.softmax(q @ k.mT, -1) @ v

    found = grains(attention, (512, 64), (512, 64), (512, 64))
    assert len(found) == 3 and set(found) == {ALIKE}, found


def test_what_takes_long_is_shared_out_finely():
    (found,) = grains(lambda x, w: x @ w, (2048, 1024), (1024, 1024))
    assert 0 < found < 256


FORMS = {
    "A B": lambda x, w: x @ w,
    "A^T B": lambda x, w: x.T @ w,
    "A B^T": lambda x, w: x @ w.T,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "sizes", [(64, 64, 64), (32, 784, 128), (128, 512, 10), (40, 128, 48), (96, 2000, 64)]
)
def test_small_products_are_work_for_two_threads(form, sizes):
    rows, steps, columns = sizes
    x = wf.zeros((steps, rows) if form == "A^T B" else (rows, steps))
    w = wf.zeros((columns, steps) if form == "A B^T" else (steps, columns))
    compiled = wf.compile(FORMS[form])
    compiled(x, w)
    (kernel,) = [
        s.kernel for s in plan(prepare(numbered(compiled.graph))).steps if isinstance(s.kernel, Tiles)
    ]
    assert tile_units.units(kernel, host_target()) >= 2


@pytest.mark.parametrize(
    ("threads", "units", "grain", "expected"),
    [
        (2, 4, 4, [2, 2]),
        (2, 10, 2, [2, 2, 1, 2, 2, 1]),
        (2, 12, 4, [4, 2, 4, 2]),
        (3, 4, 4, [2, 2]),
        (2, 7, 1, [1] * 7),
        (2, 7, ALIKE, [4, 3]),
        (1, 10, 4, [4, 4, 2]),
        (1, 10, ALIKE, [10]),
    ],
)
def test_no_portion_goes_beyond_an_even_share(threads, units, grain, expected):
    module = ir.Module("portions")
    build = Build(module, ir.Function(module, KERNEL, "portion"), host_target())
    buffers, begin, end, _ = build.function.args
    place = build.b.gep(build.b.load(buffers, typ=PTR), [begin], source_etype=I64)
    build.b.store(build.b.sub(end, begin), place, align=8)
    build.b.ret_void()
    library = library_of(module, host_target())
    found = np.zeros(units, np.int64)
    words = np.array([library.address("portion"), 0, units, grain], np.int64)
    tables = np.array([found.ctypes.data], np.int64)
    before = wf.get_num_threads()
    wf.set_num_threads(threads)
    try:
        for _ in range(20):
            found[:] = 0
            pool_threads.run(words.ctypes.data, 1, tables.ctypes.data)
            assert found[found > 0].tolist() == expected
    finally:
        wf.set_num_threads(before)


def test_bands_that_share_packed_columns_are_taken_together():
    compiled = wf.compile(lambda x, w: x.T @ w)
    compiled(wf.zeros((600, 1024)), wf.zeros((600, 1024)))
    (step,) = plan(prepare(numbered(compiled.graph))).steps
    count, together = units(step.kernel, host_target()), units_together(step.kernel, host_target())
    assert grain_of(step.kernel, work_of(step), count, together) == together
    assert together > 1 and count % together == 0


@pytest.mark.parametrize("sizes", [(1024, 700, 1030), (1024, 530, 2100)])
def test_bands_of_blocks_have_the_same_bits_wherever_a_thread_begins(sizes):
    """Bands that a thread goes through together are one in each block of steps, and each is computed once."""
    m, k, n = sizes
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(k, m)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
    product = wf.compile(lambda a, b: a.T @ b)
    before, found = wf.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 4):
            wf.set_num_threads(threads)
            found += [product(wf.asarray(x), wf.asarray(w)).numpy() for _ in range(3)]
    finally:
        wf.set_num_threads(before)
    np.testing.assert_allclose(found[0], x.T.astype(float) @ w.astype(float), rtol=1e-4, atol=1e-3)
    assert len({y.tobytes() for y in found}) == 1


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_bands_of_rows_that_share_packed_columns(threads):
    """Columns are packed for the first band that a thread takes, whichever that is."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(131, 77)).astype(np.float32), rng.normal(size=(11, 77)).astype(np.float32)
    before = wf.get_num_threads()
    wf.set_num_threads(threads)
    try:
        product = wf.compile(lambda a, b: a @ b.T)
        for _ in range(20):
            found = product(wf.asarray(x), wf.asarray(w)).numpy()
            np.testing.assert_allclose(found, x.astype(float) @ w.T.astype(float), rtol=1e-5, atol=1e-5)
    finally:
        wf.set_num_threads(before)
