"""What a compiled program takes for granted about the modules it was traced through."""

from __future__ import annotations

from typing import Any
from weakref import ref

from ..arrays.tensor import Tensor
from ..ir.dtype import DType

_BY_VALUE = (bool, int, float, complex, str, bytes, type(None), DType, type)
_SMALL = 64


class Same:
    """An object that is compared by identity. What has been given up is like nothing that is still there."""

    __slots__ = ("_get",)

    def __init__(self, thing: Any) -> None:
        try:
            self._get = ref(thing)
        except (
            TypeError
        ):  # it cannot be referred to weakly, and is kept alive so that its identity stays meaningful
            self._get = lambda: thing

    @property
    def thing(self) -> Any:
        return self._get()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and (thing := self.thing) is not None and thing is other.thing

    def __hash__(self) -> int:
        return hash(Same)

    def __repr__(self) -> str:
        return f"<this {type(self.thing).__name__}>"


def freeze(value: Any) -> Any:
    """`value` as something that compares equal while a program may go on assuming it.

    Numbers, strings and small containers of them by value (with their type: True is not 1), all else by identity.
    """
    if isinstance(value, _BY_VALUE):
        return type(value), value
    if isinstance(value, Tensor):
        return Same(value)
    if type(value) in (tuple, list) and len(value) <= _SMALL:
        return type(value), tuple([freeze(v) for v in value])
    if type(value) is dict and len(value) <= _SMALL and all(isinstance(k, _BY_VALUE) for k in value):
        return dict, tuple([(freeze(k), freeze(v)) for k, v in value.items()])
    return Same(value)


def snapshot(module: Any) -> tuple[Any, ...]:
    """The module's attributes, frozen: parameters, buffers and children by identity, plain ones by value."""
    own = module.__dict__
    hooks = own.get("_hooks")
    called = () if hooks is None else hooks.keys()
    plain = [(n, freeze(v)) for n, v in own.items() if n not in ("_roles", "_hooks", "_transient")]
    return (
        Same(type(module)),
        tuple(own["_roles"].items()),
        called,
        tuple(sorted(plain, key=lambda p: p[0])),
    )
