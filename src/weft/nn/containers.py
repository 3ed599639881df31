"""Modules that hold modules: `Sequential`, `ModuleList`, `ModuleDict`, `ParameterList`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, overload

from ..base.errors import ArgumentError, IndexingError, WeftError, nearest
from .module import CHILD, PARAMETER, Module, brief
from .parameter import Parameter


def _position(index: Any, length: int, what: str) -> int:
    try:
        n = index.__index__()
    except (AttributeError, TypeError):
        raise ArgumentError(f"{what} takes integer indices and slices, got {index!r}") from None
    if not -length <= n < length:
        raise IndexingError(f"index {n} is outside a {what} of {length}")
    return n % length


def _check_module(module: Any, what: str) -> Module:
    if isinstance(module, type) and issubclass(module, Module):
        raise ArgumentError(
            f"{what} holds module objects, got the class {module.__name__}; write {module.__name__}(...)"
        )
    if not isinstance(module, Module):
        raise ArgumentError(f"{what} holds modules, got {type(module).__name__}")
    return module


class _Numbered(Module):
    """Children under the names "0", "1", ... or, in a `Sequential`, under names of one's own."""

    def _items(self) -> list[Module]:
        own = self.__dict__
        return [own[name] for name, role in own["_roles"].items() if role == CHILD]

    def _reset(self, modules: Iterable[Module]) -> None:
        """Hold exactly `modules`, numbered afresh."""
        modules = [_check_module(m, type(self).__name__) for m in modules]
        for name in [n for n, _ in self._members(CHILD)]:
            delattr(self, name)
        for i, m in enumerate(modules):
            self.register_module(str(i), m)

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._items())

    def __contains__(self, module: object) -> bool:
        return any(m is module for m in self._items())

    def __setitem__(self, index: int, module: Module) -> None:
        names = [n for n, _ in self._members(CHILD)]
        setattr(
            self,
            names[_position(index, len(names), type(self).__name__)],
            _check_module(module, type(self).__name__),
        )

    def __delitem__(self, index: int | slice) -> None:
        items = self._items()
        del items[index if isinstance(index, slice) else _position(index, len(items), type(self).__name__)]
        self._reset(items)

    def append(self, module: Module) -> Any:
        """Add a module at the end; returns the container."""
        self.register_module(str(len(self)), _check_module(module, type(self).__name__))
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add several modules at the end; returns the container."""
        for m in modules:
            self.append(m)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put a module before position `index`; returns the container."""
        items = self._items()
        items.insert(index, _check_module(module, type(self).__name__))
        self._reset(items)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take a module out and return it."""
        items = self._items()
        found = items.pop(_position(index, len(items), type(self).__name__))
        self._reset(items)
        return found


class Sequential(_Numbered):
    """Modules applied one after the other: `Sequential(nn.Linear(4, 8), nn.ReLU())`.

    Takes modules, or one ordered mapping from names to modules. Indexing gives a module, slicing a `Sequential`.
    An error inside a layer is raised with the layer's place in its message.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = modules[0]
        else:
            named = {str(i): m for i, m in enumerate(modules)}
        for name, m in named.items():
            self.register_module(name, _check_module(m, "Sequential"))

    def forward(self, x: Any) -> Any:
        for name, m in self._members(CHILD):
            try:
                x = m(x)
            except WeftError as e:
                _locate(e, f"layer {name!r} of {type(self).__name__}, {brief(m)}")
                raise
        return x

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Sequential(OrderedDict(list(self._members(CHILD))[index]))
        items = self._items()
        return items[_position(index, len(items), "Sequential")]

    def __add__(self, other: Sequential) -> Sequential:
        return Sequential(*self, *other)


class ModuleList(_Numbered):
    """A list whose modules are registered: `ModuleList(nn.Linear(8, 8) for _ in range(3))`. It has no forward.

    Indexing gives a module, slicing a `ModuleList`; `append`, `extend`, `insert`, `pop` and `del` work as in lists. The
    names of parameters begin with the position: "0.weight".
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def __repr__(self) -> str:
        """As for every module, with neighbours that print alike put together: `(0-2): 3 x Linear(...)`."""
        lines = []
        numbered = [(i, repr(m)) for i, m in enumerate(self._items())]
        for text, run in groupby(numbered, key=lambda pair: pair[1]):
            indices = [i for i, _ in run]
            first, last = indices[0], indices[-1]
            label = f"({first}): " if first == last else f"({first}-{last}): {len(indices)} x "
            lines.append("  " + (label + text).replace("\n", "\n  "))
        return "\n".join(["ModuleList(", *lines, ")"]) if lines else "ModuleList()"

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: Any) -> Any:
        items = self._items()
        if isinstance(index, slice):
            return ModuleList(items[index])
        return items[_position(index, len(items), "ModuleList")]


class ModuleDict(Module):
    """A dictionary whose modules are registered, in order of insertion. It has no forward.

    `keys`, `values`, `items`, `pop`, `update` and `in` work as in dictionaries. The names of parameters begin with the
    key: "age.weight". Raises: ArgumentError for what is no module, or a key that is no name.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Module:
        if self._roles.get(key) != CHILD:
            known = dict(self._members(CHILD))
            raise ArgumentError(f"ModuleDict has no module {key!r}. {nearest(str(key), known)}")
        return self.__dict__[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.register_module(key, _check_module(module, "ModuleDict"))

    def __delitem__(self, key: str) -> None:
        self[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(dict(self._members(CHILD)))

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._members(CHILD)))

    def __contains__(self, key: object) -> bool:
        return key in dict(self._members(CHILD))

    def keys(self) -> Any:
        """The names."""
        return dict(self._members(CHILD)).keys()

    def values(self) -> Any:
        """The modules."""
        return dict(self._members(CHILD)).values()

    def items(self) -> Any:
        """(name, module) pairs."""
        return dict(self._members(CHILD)).items()

    def clear(self) -> None:
        """Take all modules out."""
        for key in list(self):
            del self[key]

    def pop(self, key: str) -> Module:
        """Take a module out and return it."""
        found = self[key]
        delattr(self, key)
        return found

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules."""
        for key, m in dict(modules).items():
            self[key] = m


class ParameterList(Module):
    """A list whose parameters are registered. Tensors and arrays become parameters.

    `append`, `extend` and indexing work as in lists; the names of parameters are the positions: "0", "1", ...
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end; returns the list."""
        for p in values:
            self.append(p)
        return self

    def __setitem__(self, index: int, parameter: Any) -> None:
        at = _position(index, len(self), "ParameterList")
        p = parameter if isinstance(parameter, Parameter) else Parameter(parameter)
        self.register_parameter(str(at), p)

    def append(self, parameter: Any) -> ParameterList:
        """Add a parameter at the end; returns the list."""
        p = parameter if isinstance(parameter, Parameter) else Parameter(parameter)
        self.register_parameter(str(len(self)), p)
        return self

    def __len__(self) -> int:
        return len(list(self._members(PARAMETER)))

    def __iter__(self) -> Iterator[Parameter]:
        return iter([p for _, p in self._members(PARAMETER)])

    def __getitem__(self, index: int) -> Parameter:
        items = list(self)
        return items[_position(index, len(items), "ParameterList")]


class ParameterDict(Module):
    """A dictionary whose parameters are registered, in order of insertion. Tensors and arrays become parameters.

    `keys`, `values`, `items`, `get`, `setdefault`, `pop`, `update` and `in` work as in dictionaries.
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def update(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add parameters, or replace those of the same names."""
        for key, value in dict(parameters).items():
            self[key] = value

    def __getitem__(self, key: str) -> Parameter:
        known = dict(self._members(PARAMETER))
        if key not in known:
            raise ArgumentError(f"ParameterDict has no parameter {key!r}. {nearest(str(key), known)}")
        return known[key]

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter under a name, or `default`."""
        return dict(self._members(PARAMETER)).get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Parameter:
        """The parameter under a name; if there is none, `default` becomes it."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Parameter:
        """Take a parameter out and return it."""
        found = self[key]
        del self[key]
        return found

    def popitem(self) -> tuple[str, Parameter]:
        """Take out the parameter that was added last; returns (name, parameter)."""
        if not len(self):
            raise ArgumentError("popitem from an empty ParameterDict")
        key = list(self)[-1]
        return key, self.pop(key)

    def clear(self) -> None:
        """Take all parameters out."""
        for key in list(self):
            del self[key]

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A dictionary with `default` under each of the keys."""
        return ParameterDict(dict.fromkeys(keys, default))

    def copy(self) -> ParameterDict:
        """Another dictionary of the same parameters."""
        return ParameterDict(dict(self.items()))

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, value if isinstance(value, Parameter) else Parameter(value))

    def __delitem__(self, key: str) -> None:
        self[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(dict(self._members(PARAMETER)))

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._members(PARAMETER)))

    def __contains__(self, key: object) -> bool:
        return key in dict(self._members(PARAMETER))

    def keys(self) -> Any:
        """The names."""
        return dict(self._members(PARAMETER)).keys()

    def values(self) -> Any:
        """The parameters."""
        return dict(self._members(PARAMETER)).values()

    def items(self) -> Any:
        """(name, parameter) pairs."""
        return dict(self._members(PARAMETER)).items()


def _locate(error: WeftError, where: str) -> None:
    """Add to an error in which layer it was raised."""
    error.add_note(f"in {where}")
