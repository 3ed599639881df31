"""The samples of every primitive as graphs, and how near a backend comes to the reference."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest

import weft.ops  # noqa: F401
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import dtype as as_dtype
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.ir.primitive import Primitive, registry, results

#: How far elementary functions may be apart from NumPy's.
ULPS = 4

#: Primitives that add up products or elements, whose order of addition may differ.
SUMS = ("sum", "prod", "dot_general", "wide_dot", "conv", "wide_conv", "windows_add")

#: Functions with zeros at points that are no numbers, around which nobody is exact: an error beside 1 is allowed.
AROUND_ZEROS = ("lgamma", "digamma", "polygamma")


def _graph(prim, sample, args):
    avals = [Aval(a.shape, as_dtype(a.dtype)) for a in args]
    attrs = tuple([sample.attrs[n] for n in prim.attr_names])
    return trace_graph(lambda *nodes: results(prim.bind(nodes, attrs)), avals)


def samples(without: Collection[str] = ()) -> list[Any]:
    """(primitive, graph, arguments) of every sample but those of some primitives."""
    found = []
    for prim in registry.values():
        if prim.samples is None or prim.higher_order or prim.name in without:
            continue
        for i, sample in enumerate(prim.samples()):
            args = [np.asarray(a) for a in sample.args]
            graph = _graph(prim, sample, args)
            found.append(pytest.param(prim, graph, args, id=f"{prim.name}-{i}"))
    return found


def quick_samples() -> list[Any]:
    """All samples, of which those behind each primitive's first two are for the slow tests."""
    found, count = [], {}
    for case in samples():
        name = case.values[0].name
        count[name] = count.get(name, 0) + 1
        marks = () if count[name] <= 2 else (pytest.mark.slow,)
        found.append(pytest.param(*case.values, id=case.id, marks=marks))
    return found


def reference(graph, args):
    with np.errstate(all="ignore"):
        return Interpreter(graph).evaluate(args)


def check_sample(
    prim: Primitive, graph: Graph, args: list[np.ndarray], got: np.ndarray, want: np.ndarray
) -> None:
    """What a backend computed of a sample is what the reference did, to the bit or to a few units in the last place."""
    assert got.shape == want.shape and got.dtype == want.dtype
    if prim.name in SUMS:
        _assert_sum(prim, graph, args, got, want)
    elif want.dtype.kind not in "fc" or _is_exact(prim, args):
        np.testing.assert_array_equal(got, want)
    else:
        _assert_ulps(got, want, 32 * np.finfo(want.dtype).eps if prim.name in AROUND_ZEROS else 0.0)


def _is_exact(prim, args):
    """Whether every bit is determined: what moves or compares, and single real operations of IEEE arithmetic."""
    return not prim.computes or (prim.exact and not any(a.dtype.kind == "c" for a in args))


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
