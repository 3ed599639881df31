"""A compiled function's program as data, its state included; and back to one that runs."""

from __future__ import annotations

from weakref import ref

import numpy as np

from ..autodiff.residuals import drop_unused_residuals
from ..base.errors import ArgumentError
from ..ir.graph import Graph, fresh_inputs
from ..runtime.buffer import to_array
from ..runtime.exported import ExportedProgram, Fixed
from .capture import Capture, Guards, Life, Static, current_flags
from .cell import Cell, value_of
from .compile import Compiled, Traced


def export(program: Compiled | Traced) -> ExportedProgram:
    """The one program of a compiled function, or the given one (`f.trace(*args)`), with copies of its state.

    Gradients that a program leaves in `.grad` are no part of it.
    """
    traced = _only(program) if isinstance(program, Compiled) else program
    found = traced.capture
    found.follow_gradients()
    captured, rebound = found.cells(), found.rebound_cells()
    silent = [c for c in rebound if c not in captured]  # written, never read
    cells = [*captured, *silent]
    names = [*found.names, *_fresh_names(found.names, len(silent))]
    for name, cell, new in zip(
        [names[cells.index(c)] for c in rebound],
        rebound,
        found.graph.out_avals[found.tensors :],
        strict=False,
    ):
        if cell.node.aval is not new:
            raise ArgumentError(
                f"{traced.name} turns the state {name!r} from {cell.node.aval.describe()} into {new.describe()}; "
                "a program in a file keeps the types of its state"
            )
    kept = found.graph.outputs[: found.tensors + len(rebound)]
    inputs = [*found.graph.inputs, *fresh_inputs([c.node.aval for c in silent])]
    return ExportedProgram(
        name=traced.name,
        graph=drop_unused_residuals(Graph(inputs, kept)),
        in_structure=traced.structure,
        out_structure=found.result_structure,
        arguments=tuple(traced.leaves),
        results=tuple([None if r is None else Fixed(r.value) for r in found.results]),
        state=tuple([(name, _value(cell)) for name, cell in zip(names, cells, strict=True)]),
        updates=tuple([cells.index(c) for c in rebound]),
    )


def revive(program: ExportedProgram, cells: list[Cell]) -> Traced:
    """A program made runnable again, on cells that hold its state, in order; the caller keeps them."""
    found = Capture(
        graph=program.graph,
        captured=[ref(c) for c in cells],
        results=[None if r is None else Static(r.value) for r in program.results],
        result_structure=program.out_structure,
        rebound=[ref(cells[i]) for i in program.updates],
        grads=[],
        guards=Guards([], [], [], current_flags()),
        owned=[],
        names=[name for name, _ in program.state],
        differentiable=False,
        life=Life(),
    )
    return Traced(program.name, found, program.in_structure, list(program.arguments))


def _only(compiled: Compiled) -> Traced:
    programs = compiled.programs
    if len(programs) != 1:
        state = "has not been called or traced yet" if not programs else f"holds {len(programs)} programs"
        raise ArgumentError(
            f"{compiled.__name__} {state}: choose one with {compiled.__name__}.trace(...), which takes arguments "
            "or weft.spec(...) for each, and pass that"
        )
    return programs[0]


def _fresh_names(taken: list[str], count: int) -> list[str]:
    out: list[str] = []
    number = 0
    while len(out) < count:
        name = f"output{number}"
        number += 1
        if name not in taken:
            out.append(name)
    return out


def _value(cell: Cell) -> np.ndarray:
    """A copy: a later call of the program may be given the memory."""
    return np.array(to_array(value_of(cell), cell.node.aval.dtype.numpy))
