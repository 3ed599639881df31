"""Kernels of rows with several rows in flight: the bits of rows that are made one after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.compiled import compiled_kernel

import weft as wf
from weft.backends.cpu import streams
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.regions import prepare
from weft.ir.dtype import bfloat16, float32, float64
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.loops import Kernel
from weft.kernel.schedule import Step, schedule
from weft.ops.composite.common import exp_or_zero
from weft.ops.composite.normalization import layer_norm
from weft.ops.composite.softmax import log_softmax, softmax
from weft.ops.movement import reshape
from weft.ops.reduce import max_, sum_
from weft.ops.transcendental import log


def spread(x, w):
    """The sum of the squares of what rows are off their mean."""
    far = x - reshape(sum_(x, axes=(1,)), shape=(x.shape[0], 1)) / float(x.shape[1])
    return sum_(far * far, axes=(1,))


def log_total(x, w):
    """The logarithm of the sum of the exponentials of rows less their greatest element."""
    top = reshape(max_(x, axes=(1,)), shape=(x.shape[0], 1))
    return log(sum_(exp_or_zero(x - top), axes=(1,)))


#: name -> (a function of rows and of a row, by how many rows the stages of its kernel are behind)
ROWS = {
    "softmax": (lambda x, w: softmax(x, axis=1), (0, 1, 2)),
    "log_softmax": (lambda x, w: log_softmax(x, axis=1), (0, 1, 2)),
    "layer norm": (lambda x, w: layer_norm(x, w, w, 1e-5, shape=w.shape), (0, 1, 2)),
    "spread": (spread, (0, 2, 3)),
    "log of sums": (log_total, (0, 2, 3)),
}


def step_of(name, rows, columns, dtype=float32) -> Step:
    """The step that makes the rows; their numbers of 16 bits are rounded in another one."""
    graph = prepare(trace_graph(ROWS[name][0], (Aval((rows, columns), dtype), Aval((columns,), dtype))))
    return schedule(graph, lambda node: True)[0]


def kernel_of(name, rows, columns, dtype=float32) -> Kernel:
    kernel = step_of(name, rows, columns, dtype).kernel
    assert isinstance(kernel, Kernel)
    return replace(kernel, name="kernel")


def aligned(size, dtype):
    raw = np.zeros(size + 64, dtype)
    first = -raw.ctypes.data % 64 // raw.itemsize
    return raw[first : first + size]


def numbers(rows, columns):
    """Rows as others, and some with NaN, infinities, zeros of both signs, and what vanishes."""
    x = np.random.default_rng(columns).normal(size=(rows, columns)) * 10
    x[3, columns // 2] = x[9, -1] = np.nan
    x[4, 0], x[5, -1], x[6] = np.inf, -np.inf, -np.inf
    x[7] = 0.0
    x[7, ::2] = -0.0
    x[8, 1] = 1000.0
    return x


@pytest.mark.parametrize("dtype", [float32, float64, bfloat16])
@pytest.mark.parametrize("columns", [64, 100, 333, 529])
@pytest.mark.parametrize("name", ROWS)
def test_rows_in_flight_have_the_same_bits(name, columns, dtype, monkeypatch):
    rows = 40
    step, kernel = (of(name, rows, columns, dtype) for of in (step_of, kernel_of))
    inputs = []
    for n in step.reads:
        whole = n.shape == (rows, columns)
        values = numbers(rows, columns) if whole else np.full(n.shape or (1,), 0.75)
        inputs.append(values.astype(n.dtype.numpy))
    found = set()
    never = 1 << 60
    for long, huge in ((never, never), (0, never), (0, 0)):
        monkeypatch.setattr(streams, "LONG", long)
        monkeypatch.setattr(streams, "HUGE", huge)
        run, text = compiled_kernel(kernel)
        assert ("turn.body" in text) == (long == 0 and streams.lags(kernel) != ())
        for parts in ([0, rows], [0, 1, 3, 6, 22, rows]):
            results = [aligned(n.size, n.dtype.numpy) for n in step.writes]
            run([*inputs, *results], parts)
            found.add(b"".join([r.tobytes() for r in results]))
    (bits,) = found
    assert any(bits)


@pytest.mark.parametrize("name", ROWS)
def test_how_far_stages_are_behind(name):
    assert streams.lags(kernel_of(name, 64, 100)) == ROWS[name][1]
    assert streams.lags(kernel_of(name, 31, 100)) == ()  # too few rows
    assert streams.lags(kernel_of(name, 64, 65_552)) == ()  # some would not stay in the cache together
    rows_apart = streams.lags(kernel_of(name, 64, 7_000))  # three would not stay in the first-level cache
    assert rows_apart[:2] == (0, 1) and rows_apart[2:] == (2,)


def test_what_waits_for_more_than_a_turn_is_not_set_aside():
    kernel, _ = streams.set_aside(kernel_of("softmax", 64, 128))
    assert streams.lags(kernel) == (0, 1, 2)
    first, exponentials, result = kernel.stages
    between = replace(exponentials, stores=())
    assert streams.lags(replace(kernel, stages=(first, exponentials, between, result))) == ()


def test_only_what_is_read_first_is_fetched_and_all_its_lines():
    kernel = kernel_of("layer norm", 64, 128)
    assert [[e.buffer for e in loads] for loads in streams.fetched(kernel)] == [[0], [], []]
    assert streams.ahead_of(kernel, host_target()) == streams.AHEAD // 2  # rows in and rows out


@pytest.mark.parametrize("name", ["softmax", "layer norm"])
def test_lines_are_fetched_one_by_one(name, monkeypatch):
    """Several in a row wait for each other."""
    monkeypatch.setattr(streams, "LONG", 0)
    monkeypatch.setattr(streams, "HUGE", 0)
    _, text = compiled_kernel(kernel_of(name, 64, 1024))
    inner = text.split("k0.wide.body" if name == "softmax" else "k0.body")
    loop = next(block for block in inner[1:] if "nontemporal" in block and "@llvm.prefetch" in block)
    order = [kind for line in loop.split("\n") for kind in ("@llvm.prefetch", "nontemporal") if kind in line]
    assert order[:2] in (["nontemporal", "@llvm.prefetch"], ["@llvm.prefetch", "nontemporal"])
    assert all(a != b for a, b in zip(order[:8], order[1:8], strict=False))


def test_exponentials_of_what_is_not_above_zero_have_the_bits_of_all_others():
    """Of a row less its greatest element, whether that is known to be one or was looked at before."""
    values = numbers(40, 333)
    values[10:] = np.linspace(-87.5, 0, 30 * 333).reshape(333, 30).T  # every row has some of all
    values[10:, 0] = 0.0
    x = wf.tensor(values.astype(np.float32))
    together = wf.compile(lambda v: wf.nn.functional.softmax(v, 1))(x).numpy()
    top = wf.max(x, axis=1, keepdims=True).realize()
    powers = wf.compile(lambda v, t: wf.exp(wf.where(v - t < -87.0, -np.inf, v - t)))(x, top).realize()
    by_hand = wf.compile(lambda p: p * (1.0 / wf.sum(p, axis=1, keepdims=True)))(powers).numpy()
    assert together.tobytes() == by_hand.tobytes()
