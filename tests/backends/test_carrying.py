"""Running totals along rows, of which several are made at a time."""

from __future__ import annotations

import re

import numpy as np
import pytest

import weft as wf
from weft.backends.cpu.making import assembly
from weft.backends.cpu.regions import numbered, plan, prepare
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.target import LEVELS
from weft.ops.cumulative import cumsum


def _backwards(x):
    return wf.flip(wf.cumulative_sum(wf.flip(x, axis=-1), axis=-1), axis=-1)


RUNS = {
    "sums": lambda x: wf.cumulative_sum(x, axis=-1),
    "products": lambda x: wf.cumulative_prod(x, axis=-1),
    "backwards": _backwards,
    "with an epilogue": lambda x: wf.cumulative_sum(x * 2, axis=-1) - x,
    "of two": lambda x: wf.cumulative_sum(x * wf.flip(x, axis=-1), axis=-1),
    "with an initial zero": lambda x: wf.cumulative_sum(x, axis=-1, include_initial=True),
    "gradient of products": wf.grad(lambda x: wf.sum(wf.cumulative_prod(x, axis=-1)[..., ::3])),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int32", "int64"])
@pytest.mark.parametrize("shape", [(48, 64), (37, 77), (3, 19, 33), (16, 8), (1, 100)])
def test_totals_of_many_rows(name, dtype, shape):
    if "gradient" in name and "int" in dtype:
        pytest.skip("gradients are of floating numbers")
    values = np.random.default_rng(0).choice(
        [-1.0, 1.0, 1.0, -2.0, 0.5] if "float" in dtype else [-1, 1, 2], shape
    )
    x = wf.tensor(values, dtype=dtype)
    run = wf.compile(RUNS[name])
    made = [run(x).numpy() for _ in range(3)]
    with wf.config(backend="reference"):
        want = RUNS[name](wf.tensor(values, dtype=dtype)).numpy()
    for got in made:
        np.testing.assert_array_equal(got, made[0])
        if "float" in dtype and dtype != "float64":
            np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(got, want)


def test_rows_are_read_and_written_as_they_lie():
    graph = trace_graph(lambda x: cumsum(x, axis=1, reverse=False), (Aval((64, 1024), float32),))
    (step,) = plan(prepare(numbered(graph))).all_steps()
    text = assembly(step.kernel, "kernel", LEVELS["x86-64-v4"])
    assert len(re.findall(r"vmovup[sd]\s+%zmm\d+, ", text)) >= 16
