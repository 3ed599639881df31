"""Loading saved state into a module: all checks first, then all values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..arrays.cell import own_node
from ..arrays.creation import tensor
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, StateError
from ..ir.node import Node
from ..ir.shape import show_shape
from ..ops.elementwise import cast

if TYPE_CHECKING:
    from .module import Module

_LISTED = 12


class LoadReport(NamedTuple):
    """What `load_state_dict` found: names the module has and the file has not, and the other way round."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_into(module: Module, given: Mapping[str, Any], strict: bool) -> LoadReport:
    """Load `given` into `module`, or raise one `StateError` for everything that does not fit and change nothing."""
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"load_state_dict takes a mapping of names to tensors, got {type(given).__name__}"
        )
    for path, m in module.named_modules():
        prepare = getattr(m, "_prepare_load", None)
        if prepare is not None:
            prepare(path + "." if path else "", given)
    own = dict(module._state())
    missing = [n for n in own if n not in given]
    unexpected = [n for n in given if n not in own]
    values: dict[str, Node] = {}
    misfits: list[str] = []
    for name, target in own.items():
        if name not in given:
            continue
        node = _value(name, given[name])
        if node.shape != target.shape:
            misfits.append(
                f"{name}: the module has {show_shape(target.shape)}, the state {show_shape(node.shape)}"
            )
        elif node.dtype.kind == "c" and target.dtype.kind != "c":
            misfits.append(f"{name}: the module has {target.dtype}, the state {node.dtype}")
        else:
            values[name] = node
    if misfits or (strict and (missing or unexpected)):
        source = getattr(given, "class_name", "")  # a file says what it was saved from
        title = f"the state{f' saved from {source}' if source else ''} does not fit {type(module).__name__}:"
        raise StateError(_report(title, missing if strict else [], unexpected if strict else [], misfits))
    with no_grad():
        for name, node in values.items():
            target = own[name]
            if node.dtype is not target.dtype:
                node = cast(node, dtype=target.dtype)
            target._cell.rebind(own_node(node))
    return LoadReport(missing, unexpected)


def _value(name: str, value: Any) -> Node:
    if isinstance(value, Tensor):
        return value._node
    if hasattr(value, "__array__"):
        return tensor(value.__array__())._node
    raise StateError(f"the state holds a {type(value).__name__} under {name!r}, not a tensor or an array")


def _report(first: str, missing: list[str], unexpected: list[str], misfits: list[str]) -> str:
    lines = [first]
    for title, names in (
        ("missing from the state", missing),
        ("unknown to the module", unexpected),
        ("of another shape", misfits),
    ):
        if names:
            more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            separator = "; " if title.startswith("of") else ", "
            lines.append(f"  {title} ({len(names)}): {separator.join(names[:_LISTED])}{more}")
    if not misfits:
        lines.append("  load_state_dict(..., strict=False) loads what fits and reports the rest")
    return "\n".join(lines)
