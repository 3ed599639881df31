"""Graphs made up at random, with their gradients, and what compiled ones are held against: the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import random_smooth  # noqa: F401  (declares its operations)
from random_operations import EMPTY, Make, exact, fitted, smooth
from weft.autodiff.reverse import pullback
from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import DType, bfloat16, float16, float32, float64, int8, int16, int32, int64, uint8, uint32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import GRAD, Aval, Node
from weft.runtime.buffer import Buffer

SHAPES = [(4, 6), (3, 5, 2), (17,), (2, 1, 3, 3), (1, 7), (33,), (2, 40), (), (1,), (0,), (2, 0, 3), (5, 17)]

#: Of about a million elements, and what is done with them.
LARGE = [(1000003,), (1009, 991), (3, 7, 47629)]
LARGE_OPERATIONS = (
    "adds", "multiplies", "permutes", "flips", "joins", "sums", "centers", "slices", "chooses", "best", "sorts", "runs",
    "looks_up", "converts", "counts", "draws", "reduces", "repeats", "windowed", "climbs",
)  # fmt: skip

EXACT_TYPES = (float32, float64, int32, int64, int16, int8, float16, bfloat16, uint8, uint32)

#: Up to where sums of integers are exact in the type that they are added up in.
_BOUNDS = {float32: 2.0**22, float64: 2.0**50, float16: 2.0**11, bfloat16: 2.0**8}


@dataclass(frozen=True)
class Program:
    """Operations (name, which operands, how), the shapes of the inputs, and what is computed of them."""

    steps: tuple[tuple[str, int, int, int], ...]
    shapes: tuple[tuple[int, ...], ...]
    gradient: bool
    seed: int
    dtype: DType = float64
    most: int = 600  #: elements of a value

    @property
    def table(self) -> dict[str, Make]:
        return smooth if any(name not in exact for name, *_ in self.steps) else exact


def build(program: Program, table: dict[str, Make]) -> Callable[..., Any]:
    """The results of the last two operations, and with `gradient` those of the inputs."""

    def function(*inputs: Node) -> list[Node]:
        pool = list(inputs)
        for name, i, j, n in program.steps:
            x, y = pool[-1 - i % len(pool)], pool[j % len(pool)]
            make = table[name if x.size or name in EMPTY else "adds"]
            made = make(x if x.ndim else fitted(x, (3,)), y, n)
            if made.size <= program.most and made.ndim <= 5:
                pool.append(made)
        outs = [p for p in pool[-2:] if p not in inputs]
        if not program.gradient or not outs or not inputs[0].dtype.inexact:
            return outs or [pool[-1] + pool[-1]]
        weights = [fitted(inputs[program.seed % len(inputs)], o.shape) + 1 for o in outs]
        pulled = pullback(outs, weights, list(inputs), GRAD)
        return [*outs, *[g for g in pulled if g is not None]]

    return function


def traced(program: Program, table: dict[str, Make]) -> tuple[Graph, list[np.ndarray]]:
    """The graph, and arrays for its inputs."""
    rng = np.random.default_rng(program.seed)
    arrays = [
        rng.integers(0 if program.dtype.kind == "u" else -5, 6, s).astype(program.dtype.numpy)
        for s in program.shapes
    ]
    return trace_graph(build(program, table), [Aval(s, program.dtype) for s in program.shapes]), arrays


@st.composite
def programs(
    draw: Any, table: dict[str, Make], most: int, dtypes: Any = (float64,), large: bool = False
) -> Program:
    """Programs of 5 to `most` operations; large ones have few, on about a million elements each."""
    names = sorted(set(table).intersection(LARGE_OPERATIONS)) if large else sorted(table)
    step = st.tuples(st.sampled_from(names), st.integers(0, 3), st.integers(0, 30), st.integers(0, 41))
    steps = draw(st.lists(step, min_size=1 if large else 5, max_size=most))
    shapes = draw(st.lists(st.sampled_from(LARGE if large else SHAPES), min_size=2, max_size=3))
    gradient, seed, dtype = draw(st.booleans()), draw(st.integers(0, 999)), draw(st.sampled_from(dtypes))
    return Program(tuple(steps), tuple(shapes), gradient, seed, dtype, 2_100_000 if large else 600)


def reference(graph: Graph, arrays: list[np.ndarray], bound: float) -> tuple[list[np.ndarray], float]:
    """What the reference finds, and the largest float on the way, which must be less than `bound`."""
    largest = [1.0]

    def observe(_: int, values: Any) -> None:
        for v in values:
            if v.size and v.dtype.kind not in "biuc":
                largest.append(float(np.abs(v.astype(np.float64)).max()))

    with np.errstate(all="ignore"):
        want = Interpreter(graph).evaluate(arrays, observe)
    assume(max(largest) < bound)
    return want, max(largest)


def check(program: Program, table: dict[str, Make], recurs: bool = False, rounds: bool = False) -> None:
    """Compare the compiled program with the reference: to the bit, or, where operations round, to rounding."""
    graph, arrays = traced(program, table)
    want, largest = reference(graph, arrays, _BOUNDS.get(program.dtype, 2.0**22))
    got = run(CpuBackend().compile(graph, recurs), [Buffer(a) for a in arrays])
    compare(got, want, largest if rounds else None)


def run(program: Any, inputs: list[Buffer]) -> list[np.ndarray]:
    return [b.array for b in program.run(inputs)]


def compare(got: list[np.ndarray], want: list[np.ndarray], scale: float | None) -> None:
    """`scale` is that of the numbers on the way, where results may differ by rounding."""
    for w, g in zip(want, got, strict=True):
        assert w.shape == g.shape and w.dtype == g.dtype
        if scale is None:
            np.testing.assert_array_equal(g, w)
        else:
            np.testing.assert_allclose(g, w, rtol=1e-7, atol=1e-9 * scale)
