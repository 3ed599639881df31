"""The compiled backend against the reference, on the samples of every primitive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import weft as wf
import weft.ops
from samples import check_sample, reference, samples
from weft.backends.cpu import host
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.scalar import table
from weft.ir.dtype import dtype as as_dtype
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ir.primitive import registry
from weft.kernel.lower import pulls
from weft.kernel.schedule import builders
from weft.ops.gather import gather
from weft.ops.movement import concatenate
from weft.ops.selection import cast
from weft.runtime.buffer import Buffer

#: Primitives that need no code of their own.
NO_CODE = {
    "leaf": "a value that is there already",
    "input": "a value that the caller gives",
    "pick": "a result of another node",
    "script": "the nodes that it stands for take its place",
    "call": "decomposed before code is made",
}

#: Primitives that still have no code: the backend raises an error that names them.
UNFINISHED: frozenset[str] = frozenset()


def test_every_primitive_has_native_code_or_a_written_reason():
    reasons = {*NO_CODE, *host.LIBRARY, *host.CONTROL, *UNFINISHED}
    coded = {*table, *builders, *pulls}
    assert not {n for n in registry if n not in coded and n not in reasons}
    assert not {n for n in UNFINISHED if n in coded}, "these have code now"


def run(program, arrays):
    return [np.asarray(b.array) for b in program.run([Buffer(np.ascontiguousarray(a)) for a in arrays])]


@pytest.mark.parametrize(("prim", "graph", "args"), samples(without=UNFINISHED))
def test_samples(prim, graph, args):
    want = reference(graph, args)
    got = run(CpuBackend().compile(graph), args)
    for w, g in zip(want, got, strict=True):
        check_sample(prim, graph, args, g, w)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3"])
def test_samples_on_lesser_processors(cpu):
    here = Path(__file__).parent
    names = (
        "cpu", "half", "storage", "running", "contractions", "control", "complex", "same_bits", "bounds",
        "random_graphs", "random_convolutions", "random_views",
    )  # fmt: skip
    files = [here / f"test_{n}.py" for n in names]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-m", "not slow", *map(str, files)]
    done = subprocess.run(
        command, env={**os.environ, "WEFT_CPU": cpu}, capture_output=True, text=True, timeout=1400
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int8", "float16"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((64, 96), (1, 0)),
        ((3, 32, 48), (0, 2, 1)),
        ((2, 28, 32, 16), (0, 3, 1, 2)),
        ((80, 112), (1, 0)),
        ((48, 40), (1, 0)),
        ((48, 3, 4, 8), (3, 0, 1, 2)),  # vectors go on over the ends of the rows of 3 x 4
    ],
)
def test_transpositions_in_squares_and_strips(dtype, shape, axes):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=shape) * 50).astype(dtype)
    y = rng.normal(size=[shape[a] for a in axes]).astype(np.float32)
    with wf.config(backend="cpu"):
        turned = wf.permute_dims(wf.tensor(x), axes)
        moved, summed = turned + 0, wf.astype(turned, wf.float32) + wf.tensor(y)
        np.testing.assert_array_equal(moved.numpy(), x.transpose(axes))
        np.testing.assert_array_equal(summed.numpy(), x.transpose(axes).astype(np.float32) + y)


@pytest.mark.parametrize("recurs", [False, True])
@pytest.mark.parametrize("rest", [(), (21,)])
def test_parts_of_a_row_are_read_where_they_are_alone(recurs, rest):
    """The second part begins in the middle of a vector: before its first index lies what is no index."""
    around = np.full(4096, 1 << 40)
    at = around[2000:2005]
    at[:] = np.arange(5)
    size = int(np.prod(rest))
    x = np.arange(3 * size, dtype=np.float32).reshape(3, *rest)
    table = np.arange(7 * size, dtype=np.float32).reshape(7, *rest)
    graph = trace_graph(
        lambda x, table, at: [concatenate(x, gather(table, at, axes=(0,)), x, axis=0)],
        [Aval(a.shape, as_dtype(a.dtype)) for a in (x, table, at)],
    )
    (got,) = run(CpuBackend().compile(graph, recurs), [x, table, at])
    np.testing.assert_array_equal(got, np.concatenate([x, table[:5], x]))


_EDGES = [0.0, -0.0, 0.5, -0.5, 0.99, -0.99, 1.5, -1.5, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-40]
_POWERS = [2.0**k for k in (7, 8, 15, 16, 31, 32, 52, 63, 64)]
_EDGES += [sign * (p + d) for p in _POWERS for d in (-1.0, -0.5, 0.0, 0.5, 1.0) for sign in (1, -1)]


@pytest.mark.parametrize("recurs", [False, True])
@pytest.mark.parametrize("wide", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("narrow", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_floats_at_the_ends_of_integers(wide, narrow, recurs):
    with np.errstate(all="ignore"):
        x = np.array(_EDGES, as_dtype(wide).numpy)
    graph = trace_graph(lambda v: [cast(v, dtype=as_dtype(narrow))], [Aval(x.shape, as_dtype(wide))])
    (got,) = run(CpuBackend().compile(graph, recurs), [x])
    np.testing.assert_array_equal(got, *reference(graph, [x]))
