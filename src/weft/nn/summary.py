"""`Module.summary`: a table of layers, output shapes and numbers of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from ..base.pytree import flatten
from ..ir.dtype import DEFAULT_FLOAT
from ..ir.dtype import dtype as as_dtype
from ..ir.node import Aval
from ..ir.shape import Shape, check_shape, show_shape
from ..ops.movement import zeros

if TYPE_CHECKING:
    from .module import Module


@dataclass(frozen=True)
class Row:
    """One layer of a summary."""

    name: str
    kind: str
    depth: int
    output: str
    parameters: int


@dataclass(frozen=True)
class Summary:
    """What `Module.summary` found. Prints as a table."""

    title: str
    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    bytes: int

    def __str__(self) -> str:
        table = [("layer", "output shape", "parameters")]
        for r in self.rows:
            label = "  " * r.depth + (f"{r.name}: {r.kind}" if r.name else r.kind)
            table.append((label, r.output, f"{r.parameters:,}" if r.parameters else "-"))
        widths = [max(len(row[i]) for row in table) for i in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in table]
        rule = "-" * len(lines[0])
        frozen = self.parameters - self.trainable
        tail = f"{self.parameters:,} parameters"
        if frozen:
            tail += f" ({self.trainable:,} trainable, {frozen:,} frozen)"
        return "\n".join([lines[0], rule, *lines[1:], rule, f"{tail}, {_human(self.bytes)}"])

    __repr__ = __str__


def _human(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def summarize(model: Module, input_shapes: tuple[Any, ...], dtype: Any) -> Summary:
    """Run `model` on inputs of one sample each, in evaluation mode, and write down what comes out of each layer.

    Values are never computed: the graph knows all shapes.
    """
    if not input_shapes:
        raise ArgumentError(
            "summary needs the shape of an input without its batch axis: model.summary((1, 28, 28))"
        )
    want = DEFAULT_FLOAT if dtype is None else as_dtype(dtype)
    inputs = [Tensor(zeros(Aval((1, *check_shape(s)), want))) for s in input_shapes]
    outputs: dict[int, str] = {}
    handles = [m.register_forward_hook(_recorder(outputs)) for m in model.modules()]
    modes = [(m, m.training) for m in model.modules()]
    try:
        model.eval()
        with no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for m, mode in modes:
            m.training = mode
    rows = []
    for path, m in model.named_modules():
        depth = path.count(".") + 1 if path else 0
        own = sum(p.size for p in m.parameters(recurse=False))
        kind = type(m).__name__
        rows.append(Row(path.rpartition(".")[2], kind, depth, outputs.get(id(m), "-"), own))
    everything = list(model.parameters())
    return Summary(
        title=type(model).__name__,
        rows=tuple(rows),
        parameters=sum(p.size for p in everything),
        trainable=sum(p.size for p in everything if p._cell.requires_grad),
        bytes=sum(t.size * t.dtype.itemsize for t in (*everything, *model.buffers())),
    )


def _recorder(outputs: dict[int, str]) -> Any:
    def record(module: Module, _: Any, out: Any) -> None:
        leaves = [x for x in flatten(out)[0] if isinstance(x, Tensor)]
        outputs[id(module)] = ", ".join(_batched(x.shape) for x in leaves)

    return record


def _batched(shape: Shape) -> str:
    """A shape with its batch axis, which was 1, left open."""
    return (
        show_shape(shape)
        if not shape or shape[0] != 1
        else "(" + ", ".join(["batch", *map(str, shape[1:])]) + ")"
    )
