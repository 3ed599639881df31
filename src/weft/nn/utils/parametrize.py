"""Parameters that are computed from others: a module in the place of an attribute."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...arrays.grad import no_grad
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, ShapeError, StateError, nearest
from ...base.state import version
from ..containers import ModuleDict, ModuleList
from ..module import PARAMETER, Module
from ..parameter import Parameter

_CLASSES: dict[tuple[type, frozenset[str]], type] = {}
_PLACE = "parametrizations"


class _Computed(threading.local):
    """Values of parametrized attributes inside `cached`, of each thread."""

    values: dict[tuple[int, str], Tensor] | None = None


_computed = _Computed()


class ParametrizationList(ModuleList):
    """What an attribute is computed by: `original` (or `original0`, ...) through the modules of the list, in order.

        value = last(... first(original))

    `register_parametrization` makes it, as `module.parametrizations.<name>`.
    """

    def __init__(self, first: Module, value: Tensor) -> None:
        super().__init__()
        found = value
        if hasattr(first, "right_inverse"):
            with no_grad():
                found = first.right_inverse(value)
        self.is_tensor = isinstance(found, Tensor)
        kept = [found] if self.is_tensor else list(found)
        for name, x in zip(self._names(len(kept)), kept, strict=True):
            if x is value:
                self.register_parameter(name, value)  # type: ignore[arg-type]
            else:
                self.register_parameter(name, Parameter(x, value.requires_grad))
        self.append(first)

    def _names(self, count: int) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{i}" for i in range(count)]

    def originals(self) -> list[Tensor]:
        """The parameters that stand for the attribute."""
        return [p for _, p in self._members(PARAMETER)]

    def forward(self) -> Tensor:
        """The value of the attribute."""
        first, *others = self
        x = first(*self.originals())
        for module in others:
            x = module(x)
        return x

    def right_inverse(self, value: Tensor) -> None:
        """Make the originals such that the attribute is `value`."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise StateError(
                        f"{type(module).__name__} has no right_inverse: the value it computes cannot be set"
                    )
                value = module.right_inverse(value)
            values = [value] if self.is_tensor else list(value)
            for p, v in zip(self.originals(), values, strict=True):
                p._cell.rebind(v.detach()._node)


def _parametrized(base: type, names: frozenset[str]) -> type:
    """The subclass of `base` whose attributes `names` are computed."""
    key = (base, names)
    if key not in _CLASSES:

        def reader(name: str) -> property:
            def value(self: Any) -> Tensor:
                cache = _computed.values
                found = self.__dict__[_PLACE][name]
                if cache is None:
                    return found()
                if (id(self), name) not in cache:
                    cache[id(self), name] = found()
                return cache[id(self), name]

            return property(value)

        def assign(self: Any, name: str, value: Any) -> None:
            if name in names:
                self.__dict__[_PLACE][name].right_inverse(value)
            else:
                base.__setattr__(self, name, value)  # type: ignore[call-arg]

        own: dict[str, Any] = {n: reader(n) for n in names}
        own |= {"__setattr__": assign, "__reduce_ex__": _reduce, "__doc__": base.__doc__, "_base": base}
        _CLASSES[key] = type(f"Parametrized{base.__name__}", (base,), own)
    return _CLASSES[key]


def _reduce(self: Any, protocol: Any) -> Any:
    return _rebuilt, (self._base, frozenset(self.__dict__[_PLACE])), self.__dict__


def _rebuilt(base: type, names: frozenset[str]) -> Any:
    kind = _parametrized(base, names)
    return object.__new__(kind)


def _refreshed(module: Module) -> None:
    """Give a module the class that its parametrizations ask for."""
    base = getattr(type(module), "_base", type(module))
    names = frozenset(module.__dict__.get(_PLACE) or ())
    module.__class__ = _parametrized(base, names) if names else base  # type: ignore[assignment]
    version.bump()


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let `parametrization` compute the parameter `tensor_name` of `module` from what is learned instead.

    The parameter becomes `module.parametrizations.<name>.original`, and `module.<name>` is parametrization(original).
    If the parametrization has a method `right_inverse`, the original is right_inverse(value): then the attribute keeps
    its value and can be assigned. It may return several tensors, which become `original0`, `original1`, ... A
    second parametrization of one parameter takes what the first gives. Returns the module.

    Args:
        unsafe: let the parametrization change shape and dtype.

    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return (x + x.T) / 2.0
    >>> layer = nn.utils.parametrize.register_parametrization(nn.Linear(2, 2), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    """
    if not isinstance(parametrization, Module):
        raise ArgumentError(f"a parametrization is a module, got {type(parametrization).__name__}")
    if is_parametrized(module, tensor_name):
        chain = module.__dict__[_PLACE][tensor_name]
        before = chain()
        if hasattr(parametrization, "right_inverse"):
            with no_grad():
                value = parametrization.right_inverse(before)
            chain.right_inverse(value)
        chain.append(parametrization)
    else:
        known = {n: p for n, p in module._members(PARAMETER) if p is not None}
        if tensor_name not in known:
            raise ArgumentError(
                f"{type(module).__name__} has no parameter {tensor_name!r}. {nearest(tensor_name, known)}"
            )
        before = known[tensor_name]
        chain = ParametrizationList(parametrization, before)
        if not unsafe:
            _check(chain(), before, tensor_name, parametrization)
        delattr(module, tensor_name)
        if _PLACE not in module.__dict__:
            module.register_module(_PLACE, ModuleDict())
        module.__dict__[_PLACE][tensor_name] = chain
        _refreshed(module)
        return module
    if not unsafe:
        _check(chain(), before, tensor_name, parametrization)
    version.bump()
    return module


def _check(after: Tensor, before: Tensor, name: str, parametrization: Module) -> None:
    if not isinstance(after, Tensor) or after._node.aval is not before._node.aval:
        got = after._node.aval.describe() if isinstance(after, Tensor) else type(after).__name__
        raise ShapeError(
            f"{type(parametrization).__name__} makes {got} of {name}, which is {before._node.aval.describe()}; "
            "unsafe=True allows that"
        )


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether `module` has parametrized parameters, or this one is."""
    found = module.__dict__.get(_PLACE)
    if found is None or not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make `tensor_name` an ordinary parameter again: with the value it has, or with that of its original.

    Args:
        leave_parametrized: whether it keeps the computed value. False is possible only with one original.

    Returns: the module.
    """
    if not is_parametrized(module, tensor_name):
        raise ArgumentError(f"{tensor_name!r} of {type(module).__name__} is not parametrized")
    chain = module.__dict__[_PLACE][tensor_name]
    if not leave_parametrized and not chain.is_tensor:
        raise ArgumentError(
            f"{tensor_name!r} is computed from several tensors: there is no original to go back to"
        )
    original = chain.originals()[0]
    value = Parameter(chain().detach(), original.requires_grad) if leave_parametrized else original
    del module.__dict__[_PLACE][tensor_name]
    _refreshed(module)
    if not module.__dict__[_PLACE]:
        delattr(module, _PLACE)
    module.register_parameter(tensor_name, value)  # type: ignore[arg-type]
    return module


@contextmanager
def cached() -> Iterator[None]:
    """Inside, every parametrized attribute is computed once, however often it is read: `with cached(): ...`.

    Worth it where a weight is read often, in a loop over steps say.
    """
    saved = _computed.values
    _computed.values = {} if saved is None else saved
    try:
        yield
    finally:
        _computed.values = saved
