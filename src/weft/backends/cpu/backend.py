"""Programs of the CPU backend: kernels in order over an arena, host steps between them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from ...base.errors import BackendError
from ...ir.graph import Graph
from ...ir.node import Node
from ...ir.primitive import pick_prim
from ...kernel.gemm import Gemm
from ...kernel.schedule import REDUCTIONS, Step, schedule
from ...passes.pipeline import run_passes
from ...runtime.backend import Commit, Observer
from ...runtime.buffer import Buffer, Value, to_array
from . import emit, gemm
from .jit import Library, host_target
from .scalar import table

_STRUCTURAL = ("dot_general", *REDUCTIONS)
_MOVES = (
    "reshape", "permute", "broadcast_in_dim", "flip", "slice", "pad", "concatenate", "identity", "stop_gradient",
    "iota", "windows",
)  # fmt: skip


def supported(node: Node) -> bool:
    """Whether there is native code for a node's operation on its types."""
    if node.value is not None:
        return True
    if node.prim is pick_prim or type(node.sig.out) is tuple:
        return False
    types = [a.dtype for a in node.sig.inputs] + [node.dtype]
    if any(d.kind == "c" or d.storage_only for d in types):
        return False
    return node.prim.name in table or node.prim.name in _STRUCTURAL or node.prim.name in _MOVES


class CpuBackend:
    """Compiles graphs to native code."""

    name = "cpu"

    def compile(self, graph: Graph) -> CpuProgram:
        return CpuProgram(run_passes(graph))


class CpuProgram:
    """One graph, compiled."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.target = host_target()
        self.steps = schedule(graph, supported)
        missing = sorted({s.node.prim.name for s in self.steps if s.kernel is None})
        if missing:
            raise BackendError(f"the cpu backend has no code yet for {', '.join(missing)}")
        self.library = self._compile()

    def _compile(self) -> Library:
        module = ir.Module("program")
        for step in self.steps:
            if isinstance(step.kernel, Gemm):
                gemm.emit_gemm(module, step.kernel, self.target)
            elif step.kernel is not None:
                emit.emit_kernel(module, step.kernel, self.target)
        return Library(module, self.target)

    def run(self, inputs: Sequence[Value], observe: Observer | None = None) -> list[Buffer]:
        values: dict[Node, np.ndarray] = {}
        for node, value in zip(self.graph.inputs, inputs, strict=True):
            values[node] = np.ascontiguousarray(to_array(value, node.dtype.numpy))
        for node in self.graph.constants:
            values[node] = np.ascontiguousarray(to_array(node.value, node.dtype.numpy))
        for step in self.steps:
            self._run_step(step, values)
        return [Buffer(self._owned(values, n)) for n in self.graph.outputs]

    def run_donating(self, inputs: Sequence[Value], donate: Sequence[bool], commit: Commit) -> None:
        commit(self.run(inputs))

    def _run_step(self, step: Step, values: dict[Node, np.ndarray]) -> None:
        kernel: Any = step.kernel
        out = np.empty(step.node.shape, step.node.dtype.numpy)
        arrays = [*[values[n] for n in step.reads], out]
        pointers = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
        self.library[kernel.name](pointers, 0, _units(kernel, self.target))
        values[step.node] = out

    def _owned(self, values: dict[Node, np.ndarray], node: Node) -> np.ndarray:
        return np.array(values[node], copy=True) if node in self.graph.inputs else values[node]


def _units(kernel: Any, target: Any) -> int:
    return gemm.units(kernel, target) if isinstance(kernel, Gemm) else emit.units(kernel, target)
