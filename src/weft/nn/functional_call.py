"""A module as a function of its parameters and buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..arrays.cell import Cell
from ..arrays.tensor import Tensor
from ..base.checked import checked
from ..base.errors import ArgumentError, DTypeError, ShapeError, nearest
from ..ir.shape import show_shape
from .module import Module


@checked
def functional_call(
    model: Module,
    params: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor] | None,
    *args: Any,
    return_buffers: bool = False,
    **kwargs: Any,
) -> Any:
    """`model(*args, **kwargs)` with other values for its parameters and buffers, by dotted name.

    The model itself is left as it was, whatever happens. Names that are not given keep the model's own values.
    What the call would have written into buffers (running statistics) goes to copies: with `return_buffers` the
    result is `(output, {name: buffer afterwards})`.

    Works under `grad`, `vmap`, `jvp` and nested in itself; per-sample gradients are::

        params = dict(model.named_parameters())
        loss = lambda p, x, y: nn.functional.mse_loss(nn.functional_call(model, p, {}, x[None]), y[None])
        per_sample = wf.vmap(wf.grad(loss), in_axes=(None, 0, 0))(params, xs, ys)

    Calls of one model from several threads at once disturb each other.
    """
    own_parameters = dict(model.named_parameters(remove_duplicate=False))
    own_buffers = dict(model.named_buffers(remove_duplicate=False))
    cells: dict[int, tuple[Tensor, Cell]] = {}
    for name, value in params.items():
        target = _target(model, name, value, own_parameters, "parameter")
        held = cells.setdefault(id(target), (target, value._cell))
        if held[1] is not value._cell:
            raise ArgumentError(
                f"parameter {name!r} is shared under several names, which were given different values"
            )
    given = {} if buffers is None else buffers
    for name in given:
        _target(model, name, given[name], own_buffers, "buffer")
    for name, target in own_buffers.items():
        cells.setdefault(id(target), (target, _fresh(given.get(name, target))))
    with _swapped(list(cells.values())):
        out = model(*args, **kwargs)
        if return_buffers:
            return out, {name: Tensor(target._cell.node) for name, target in own_buffers.items()}
        return out


def _target(model: Module, name: str, value: Any, known: Mapping[str, Tensor], what: str) -> Tensor:
    if name not in known:
        raise ArgumentError(f"{type(model).__name__} has no {what} {name!r}. {nearest(name, known)}")
    if not isinstance(value, Tensor):
        raise DTypeError(f"{what} {name!r} must be a tensor, got {type(value).__name__}")
    if value.shape != known[name].shape:
        raise ShapeError(
            f"{what} {name!r} has shape {show_shape(known[name].shape)}, got {show_shape(value.shape)}"
            + ("; map over a leading axis with weft.vmap" if value.shape[1:] == known[name].shape else "")
        )
    return known[name]


def _fresh(value: Tensor) -> Cell:
    """A cell that belongs to the running trace: what is written into it stays there."""
    return Tensor(value._node)._cell


@contextmanager
def _swapped(cells: list[tuple[Tensor, Cell]]) -> Iterator[None]:
    """Let each tensor stand on another cell, and put its own one back in any event.

    No value changes and no tensor is rebound, so this is also right inside vmap, scan and other traces.
    """
    before = [(t, t._cell) for t, _ in cells]
    try:
        for t, cell in cells:
            t._cell = cell
        yield
    finally:
        for t, cell in before:
            t._cell = cell
