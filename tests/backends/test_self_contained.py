"""Kernels, the driver and the functions of loops need nobody: no C library, no runtime of a compiler, on any target."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from elf import MACHINES, Object
from samples import quick_samples
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu import forms, jit, making, regions
from weft.backends.cpu.compiling import WHOLE
from weft.backends.cpu.control import emit_control
from weft.backends.cpu.driver import emit_driver
from weft.backends.cpu.instructions import Module
from weft.backends.cpu.regions import numbered, plan, prepare
from weft.ir.dtype import bfloat16, float16, float32, float64, int64
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.target import LEVELS, Target
from weft.ops.contraction import dot_general
from weft.ops.elementwise import add, remainder
from weft.ops.movement import concatenate, permute, zeros
from weft.ops.selection import cast
from weft.ops.sorting import sort

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="object files have another form here")

TARGETS = dict(LEVELS)
TARGETS["x86-64-v4 with VNNI"] = replace(
    LEVELS["x86-64-v4"], features="-prefer-256-bit,+avx512vnni", dots=True
)


def missing(text: str, effort: int, target: Target) -> list[str]:
    found = Object(jit.compiler(target).object_code(text, effort, True))
    assert found.machine == MACHINES[target.triple.partition("-")[0]]
    return found.missing


def kernels(graph, target):
    """The texts of a graph's kernels, with the generic ones."""
    for step in plan(prepare(numbered(graph))).all_steps():
        if step.kernel is not None:
            yield making.source(step.kernel, "kernel", target)
            form = forms.generic_form(step.kernel, target)
            if form is not None:
                yield making.source(form[0], "kernel", target, len(form[1]))


@pytest.fixture(params=TARGETS)
def target(request, monkeypatch) -> Target:
    monkeypatch.setattr(regions, "host_target", lambda: TARGETS[request.param])
    return TARGETS[request.param]


def check(graphs, target):
    seen = set()
    for graph in graphs:
        for text, effort in kernels(graph, target):
            if text not in seen:
                seen.add(text)
                assert not missing(text, effort, target), text
    return len(seen)


def test_kernels_of_samples(target):
    assert check([c.values[1] for c in quick_samples() if not c.marks], target) > 200


@pytest.mark.slow
def test_kernels_of_all_samples(target):
    assert check([c.values[1] for c in quick_samples() if c.marks], target) > 800


def test_what_libraries_are_asked_for_elsewhere(target):
    """Loops that fill or move, remainders, rounding to and from 16 bits, and larger integers than the processor's."""
    x, big = Aval((600, 40), float32), Aval((600, 40), int64)
    half, brain, double = (Aval((600, 40), t) for t in (float16, bfloat16, float64))
    functions = [
        (lambda: zeros(Aval((8, 40), float32)), ()),
        (lambda a: concatenate(a, zeros(a.aval), a, axis=0), (x,)),
        (lambda a: permute(a, axes=(1, 0)), (x,)),
        (lambda a: remainder(a, 2.5), (x,)),
        (lambda a: remainder(a, 2.5), (double,)),
        (lambda a: remainder(a, 7), (big,)),
        (lambda a: sort(a, axis=0, descending=False), (x,)),
    ]
    functions += [
        (lambda a, t=t: cast(a, dtype=t), (v,))
        for v in (x, half, brain, double, big)
        for t in (float16, bfloat16, float32, float64, int64)
    ]
    functions += [(lambda a, b: add(a, b), (v, v)) for v in (half, brain)]
    graphs = [trace_graph(lambda *a, f=f: [f(*a)], avals) for f, avals in functions]
    for v in (Aval((70, 70), t) for t in (float32, float64, float16, bfloat16)):
        graph = trace_graph(lambda a, b: [dot_general(a, b, contract=((1,), (1,)), batch=((), ()))], (v, v))
        graphs += [graph, vjp_pair(graph, (True, True)).backward]
    assert check(graphs, target) > 20


@pytest.mark.parametrize("emit", [emit_driver, emit_control])
def test_what_runs_kernels(target, emit):
    module = Module("weft")
    emit(module, target)
    making._alone(module)
    assert not missing(str(module), WHOLE, target)


def test_what_is_missing_is_found():
    """The search sees a function of the C library."""
    text = """
    declare double @fmod(double, double)
    define double @kernel(double %x) {
      %y = call double @fmod(double %x, double 2.0)
      ret double %y
    }
    """
    for t in LEVELS.values():
        assert missing(text, WHOLE, t) == ["fmod"]
