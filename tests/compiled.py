"""Graphs that are compiled and run as they are, beside the reference in float64; single kernels as functions."""

from __future__ import annotations

import ctypes

import numpy as np

from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.emit import emit_kernel
from weft.backends.cpu.instructions import Module
from weft.backends.cpu.loop_units import scratch_bytes
from weft.backends.cpu.making import library_of
from weft.backends.cpu.processor import host_target
from weft.backends.reference.interpreter import Interpreter
from weft.ir.graph import Graph
from weft.kernel.loops import Kernel
from weft.runtime.buffer import Buffer


def arguments(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    return [rng.normal(size=a.shape).astype(a.dtype.numpy) for a in graph.in_avals]


def run(graph: Graph, given: list[np.ndarray] | None = None) -> list[np.ndarray]:
    """The results for the given arguments, or for random ones."""
    args = arguments(graph) if given is None else given
    return [b.array for b in CpuBackend().compile(graph).run([Buffer(a) for a in args])]


def check(graph: Graph) -> None:
    """What the compiled graph computes equals the reference, sums of large numbers to what these leave of float32."""
    want = Interpreter(graph).evaluate([a.astype(np.float64) for a in arguments(graph)])
    for w, g in zip(want, run(graph), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-5 + 3e-6 * np.abs(w).max(initial=0))


def compiled_kernel(kernel: Kernel):
    """(a function of arrays and of where the parts of all units begin and end, the code)"""
    module = Module("test")
    emit_kernel(module, kernel, host_target())
    library = library_of(module, host_target())
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    call = ctypes.CFUNCTYPE(None, pointer, number, number, pointer)(library.address("kernel"))
    scratch = np.zeros(scratch_bytes(kernel) + 64, np.uint8)

    def run(arrays, parts):
        table = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
        for begin, end in zip(parts, parts[1:], strict=False):
            call(table, begin, end, scratch.ctypes.data + -scratch.ctypes.data % 64)
        return library  # lives as long as its code is used

    return run, str(module)


def programs_of(monkeypatch):
    """The programs that are made from now on."""
    made = []
    compile_ = CpuBackend.compile

    def compile_and_keep(self, graph, *options):
        made.append(compile_(self, graph, *options))
        return made[-1]

    monkeypatch.setattr(CpuBackend, "compile", compile_and_keep)
    return made
