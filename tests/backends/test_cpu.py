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
from weft.backends.cpu import host
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.scalar import table
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import dtype as as_dtype
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ir.primitive import registry, results
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

#: How far elementary functions may be apart from NumPy's.
ULPS = 4

#: Primitives that still have no code: the backend raises an error that names them.
UNFINISHED: frozenset[str] = frozenset()


def test_every_primitive_has_native_code_or_a_written_reason():
    reasons = {*NO_CODE, *host.LIBRARY, *host.CONTROL, *UNFINISHED}
    coded = {*table, *builders, *pulls}
    assert not {n for n in registry if n not in coded and n not in reasons}
    assert not {n for n in UNFINISHED if n in coded}, "these have code now"


def _graph(prim, sample, args):
    avals = [Aval(a.shape, as_dtype(a.dtype)) for a in args]
    attrs = tuple([sample.attrs[n] for n in prim.attr_names])
    return trace_graph(lambda *nodes: results(prim.bind(nodes, attrs)), avals)


def _samples():
    for prim in registry.values():
        if prim.samples is None or prim.higher_order or prim.name in UNFINISHED:
            continue
        for i, sample in enumerate(prim.samples()):
            args = [np.asarray(a) for a in sample.args]
            graph = _graph(prim, sample, args)
            yield pytest.param(prim, graph, args, id=f"{prim.name}-{i}")


def run(program, arrays):
    return [np.asarray(b.array) for b in program.run([Buffer(np.ascontiguousarray(a)) for a in arrays])]


def reference(graph, args):
    with np.errstate(all="ignore"):
        return Interpreter(graph).evaluate(args)


@pytest.mark.parametrize(("prim", "graph", "args"), list(_samples()))
def test_samples(prim, graph, args):
    want = reference(graph, args)
    got = run(CpuBackend().compile(graph), args)
    for w, g in zip(want, got, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype
        if prim.name in SUMS:
            _assert_sum(prim, graph, args, g, w)
        elif w.dtype.kind not in "fc" or _is_exact(prim, args):
            np.testing.assert_array_equal(g, w)
        else:
            _assert_ulps(g, w, 32 * np.finfo(w.dtype).eps if prim.name in AROUND_ZEROS else 0.0)


def _is_exact(prim, args):
    """Whether every bit is determined: what moves or compares, and single real operations of IEEE arithmetic."""
    return not prim.computes or (prim.exact and not any(a.dtype.kind == "c" for a in args))


#: Primitives that add up products or elements, whose order of addition may differ.
SUMS = ("sum", "prod", "dot_general", "wide_dot", "conv", "windows_add")

#: Functions with zeros at points that are no numbers, around which nobody is exact: an error beside 1 is allowed.
AROUND_ZEROS = ("lgamma", "digamma", "polygamma")


def _assert_ulps(got, want, floor):
    """Within a few units in the last place (of the modulus of complex numbers); infinities and NaN the same."""
    info = np.finfo(want.dtype)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    bound = ULPS * info.eps * np.abs(want[finite]) + max(floor, info.tiny)
    assert (np.abs(got[finite] - want[finite]) <= bound).all(), (got, want)


def _assert_sum(prim, graph, args, got, want):
    """Within a few units in the last place of the sum of magnitudes."""
    if want.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, want)
        return
    (magnitudes,) = reference(graph, [np.abs(a).astype(a.dtype) for a in args])
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    bound = 8 * np.finfo(want.dtype).eps * np.abs(magnitudes[finite])
    assert (np.abs(got[finite] - want[finite]) <= bound).all()


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3"])
def test_samples_on_lesser_processors(cpu):
    here = Path(__file__).parent
    names = (
        "cpu", "half", "storage", "running", "contractions", "control", "complex", "same_bits", "bounds",
        "random_graphs",
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
