"""Elements read as neighbours and put in another order: strides, repetitions, pieces in turn."""

from __future__ import annotations

import re

import numpy as np
import pytest

import weft as wf
from weft.arrays.tensor import Tensor
from weft.backends.cpu.making import assembly
from weft.backends.cpu.regions import numbered, plan, prepare
from weft.ir.dtype import float32, int64
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.target import LEVELS
from weft.ops.gather import gather


def _turned(x: Tensor, parts: int) -> Tensor:
    """Each row with the first element of each of some parts of it, then the second ones, and so on."""
    return wf.reshape(wf.permute_dims(wf.reshape(x, (x.shape[0], parts, -1)), (0, 2, 1)), x.shape)


MOVES = {
    "every second": lambda x: x[..., ::2] + x[..., 1::2],
    "every third": lambda x: x[..., 1::3] * 1,
    "every fourth": lambda x: x[..., 3::4] * 1,
    "far apart": lambda x: x[..., ::7] * 1,
    "backwards": lambda x: wf.flip(x, axis=-1) * 1,
    "backwards by two": lambda x: wf.flip(x[..., ::2], axis=-1) * 1,
    "twice each": lambda x: wf.repeat(x, 2, axis=-1) * 1,
    "three times each": lambda x: wf.repeat(x, 3, axis=-1) * 1,
    "in turn": lambda x: wf.reshape(wf.stack([x * 1, x + x], axis=-1), (x.shape[0], -1)) * 1,
    "three in turn": lambda x: wf.reshape(wf.stack([x * 1, x + x, x * x], axis=-1), (x.shape[0], -1)) * 1,
    "one in turn with a row": lambda x: (
        wf.reshape(wf.stack([x * 1, wf.broadcast_to(x[:1], x.shape)], axis=-1), (x.shape[0], -1)) * 1
    ),
    "thirds in turn": lambda x: _turned(x, 3) * 1,
    "twelfths in turn": lambda x: _turned(x, 12) * 1,
    "stacked": lambda x: wf.stack([x * 2, x + x], axis=-1),
    "three stacked": lambda x: wf.stack([x * 2, x + x, x * x], axis=-1),
    "four stacked": lambda x: wf.stack([x * 2, x + x, x * x, x - 1], axis=-1),
    "five stacked": lambda x: wf.stack([x * 2, x + x, x * x, x - 1, x - 2], axis=-1),
    "pieces": lambda x: (
        wf.concat([x[:, :9], x[:, 17:40] * 1, x[:, 3:5]], axis=1) + wf.flip(x[:, :34], axis=1)
    ),
    "sums of pairs": lambda x: wf.sum(wf.reshape(x[:, :48], (-1, 24, 2)), axis=-1),
    "sums of every second": lambda x: wf.sum(x[..., ::2], axis=-1),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int8", "int64"])
@pytest.mark.parametrize("columns", [60, 84])
def test_elements_in_another_order(name, dtype, columns):
    values = np.random.default_rng(0).integers(-7, 8, (37, columns))
    x = wf.tensor(values, dtype=dtype)
    run = wf.compile(MOVES[name])
    for _ in range(3):
        got = run(x)
    with wf.config(backend="reference"):
        want = MOVES[name](wf.tensor(values, dtype=dtype)).numpy()
    np.testing.assert_array_equal(got.numpy(), want)


def test_conditions_that_change_from_lane_to_lane():
    x = np.arange(50, dtype=np.float32).reshape(2, 25)
    run = wf.compile(lambda x: wf.reshape(wf.stack([x > 3, x < 20], axis=-1), (2, -1)))
    want = np.stack([x > 3, x < 20], -1).reshape(2, -1)
    for _ in range(3):
        np.testing.assert_array_equal(run(wf.tensor(x)).numpy(), want)


#: Those of `MOVES` in which no element is more than a few vectors away from the one before.
WHOLE = ["every second", "every third", "backwards", "twice each", "in turn", "stacked", "three stacked"]


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_read_or_written_one_by_one(name):
    with wf.config(backend="reference"):
        graph = trace_graph(lambda x: MOVES[name](Tensor(x))._node, (Aval((32, 480), float32),))
    kernels = [s.kernel for s in plan(prepare(numbered(graph))).all_steps()]
    assert kernels
    for kernel in kernels:
        text = assembly(kernel, "kernel", LEVELS["x86-64-v4"])
        assert "zmm" in text and not re.search("gather|scatter", text)


def test_rows_at_places_known_at_run_time_are_read_as_they_lie():
    avals = (Aval((100, 48), float32), Aval((32,), int64))
    graph = trace_graph(lambda x, i: gather(x, i, axes=(0,)) * 2, avals)
    for step in plan(prepare(numbered(graph))).all_steps():
        text = assembly(step.kernel, "kernel", LEVELS["x86-64-v4"])
        assert "zmm" in text and "gather" not in text
