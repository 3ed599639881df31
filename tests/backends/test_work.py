"""In what portions threads take the units of a step."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.backends.cpu import tile_units
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.regions import numbered, plan, prepare
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
