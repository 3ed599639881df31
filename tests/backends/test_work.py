"""In what portions threads take the units of a step."""

from __future__ import annotations

import weft as wf
from weft import nn
from weft.backends.cpu.regions import numbered, plan, prepare
from weft.backends.cpu.work import ALIKE, grain_of, work_of


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
