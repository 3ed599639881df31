"""What a function may read beside its arguments, found from its code before it runs.

Names and closure variables come from the function itself; from there the search goes on through other functions, bound
methods, lists, tuples, dicts and the attributes of plain objects. Of objects and modules only such attributes count as
occur in the code that was reached. Weft's own code, NumPy's and the standard library's is not searched, but
for the functions of users that it holds (`grad(f)`, `functools.partial(f)`). Nor is the code of installed packages that
make no use of Weft, which may be much: of their objects and modules the attributes count that other code names.
"""

from __future__ import annotations

import dis
import functools
import itertools
import sys
from collections import deque
from pathlib import Path
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..base.site import is_internal
from ..ir.dtype import DType
from .tensor import Tensor

#: Types whose values are compared and not told apart by identity.
BY_VALUE = (bool, int, float, complex, str, bytes, type(None), range, slice, np.generic, DType)
CONTAINERS = (list, tuple, dict, deque)
#: Of a container with more entries than this, only the tensors that were used are watched.
MANY = 100
_HUGE = 10_000

#: Names whose use means that any attribute may be read.
_ANY = frozenset({"__dict__", "vars", "attrgetter", "asdict", "astuple", "fields"})

#: How a place is read from its parent.
ITEM, ATTRIBUTE, VARIABLE, START = "item", "attribute", "variable", "start"
_FOREIGN = frozenset(sys.stdlib_module_names) | {"numpy", "weft"}

#: Folders of installed packages, and types whose objects say which module they are from.
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_NAMED = (ModuleType, FunctionType, type)


def content(value: Any) -> int | bytes | frozenset[Any] | None:
    """What of a thing may change while it stays itself, as far as it is looked at."""
    if isinstance(value, CONTAINERS):
        return len(value)
    if isinstance(value, set) and len(value) <= MANY and all(isinstance(v, BY_VALUE) for v in value):
        return frozenset(value)
    return value.tobytes() if isinstance(value, np.ndarray) and value.size <= MANY else None


class Place:
    """One thing that a function may read: how to get there, and what was there when the search came by."""

    __slots__ = ("content", "first", "how", "key", "parent", "title", "value", "watched")

    def __init__(
        self, parent: Place | None, how: str, key: Any, title: str, value: Any, watched: bool = True
    ):
        self.parent = parent
        self.how = how
        self.key = key
        self.title = title
        self.value = value
        self.watched = watched  #: whether another value there is a change, and not only on the way to one
        #: what can change in the thing itself: a container's length, a small array's bytes; None: it does not count
        self.content = content(value)
        self.first: Place | None = None  #: where the same container was met before

    def read(self, parent: Any) -> Any:
        """What is there now, given what is at the parent's place."""
        if self.how == START:
            return self.value
        if self.how == ITEM:
            return parent[self.key]
        if self.how == ATTRIBUTE:
            return getattr(parent, self.key)
        return parent.__closure__[self.key].cell_contents

    def write(self, parent: Any, value: Any) -> None:
        """Put `value` there."""
        if self.how == ITEM:
            parent[self.key] = value
        elif self.how == ATTRIBUTE:
            setattr(parent, self.key, value)
        elif self.how == VARIABLE:
            parent.__closure__[self.key].cell_contents = value


class Reach:
    """The places that `function`, called with the non-tensor arguments `statics`, may read.

    `statics` are (position in a program's key, value).
    """

    def __init__(self, function: Any, statics: list[tuple[int, Any]]) -> None:
        self.names: set[str] = set()  # attributes that occur in the code
        known = -1
        while known != len(self.names):  # a name met late may be one of an object met early
            known = len(self.names)
            self.places: list[Place] = []
            self.modules: list[Any] = []
            self._seen: dict[int, Place] = {}
            self._namespaces: dict[int, Place] = {}
            self._waiting: deque[Place] = deque()
            self._add(None, START, "f", "the function", function, watched=False)
            for i, value in statics:
                self._add(None, START, i, f"argument {i}", value, watched=False)
            while self._waiting:
                self._visit(self._waiting.popleft())
        del self._seen, self._namespaces, self._waiting

    def _add(self, parent: Any, how: str, key: Any, title: str, value: Any, watched: bool = True) -> Place:
        place = Place(parent, how, key, title, value, watched and not isinstance(value, ModuleType))
        self.places.append(place)
        if isinstance(value, (*BY_VALUE, Tensor)):
            return place
        place.first = self._seen.get(id(value))
        if place.first is None and len(self._seen) < _HUGE:
            self._seen[id(value)] = place
            self._waiting.append(place)
        return place

    def _visit(self, place: Place) -> None:
        value = place.value
        kind = type(value)
        if kind is FunctionType:
            self._function(place, value)
        elif kind is MethodType:
            self._add(place, ATTRIBUTE, "__func__", place.title, value.__func__, watched=False)
            self._add(place, ATTRIBUTE, "__self__", "self", value.__self__, watched=False)
        elif kind is functools.partial:
            for name in ("func", "args", "keywords"):
                self._add(
                    place, ATTRIBUTE, name, f"{place.title}.{name}", getattr(value, name), watched=False
                )
        elif isinstance(value, CONTAINERS):
            self._container(place, value)
        elif isinstance(value, ModuleType):
            if not _foreign(value.__name__):
                self._attributes(place, vars(value))
        elif isinstance(value, type):
            if not _foreign(value.__module__):
                self._class(value)
                self._attributes(place, _class_attributes(value))
        elif hasattr(kind, "_assumptions") and hasattr(kind, "named_modules"):
            self._module(place, value)
        elif _foreign(kind.__module__):
            self._foreign_object(place, value)
        else:
            self._class(kind)
            self._attributes(place, _class_attributes(kind) | _own_attributes(value))

    def _function(self, place: Place, function: FunctionType) -> None:
        code = function.__code__
        names, attributes, variables, imports = _reads(code)
        self._attributes(place, vars(function))
        for i, (name, cell) in enumerate(zip(code.co_freevars, function.__closure__ or (), strict=False)):
            try:
                value = cell.cell_contents
            except ValueError:
                continue  # not assigned yet
            if name in variables or not isinstance(value, BY_VALUE):
                self._add(place, VARIABLE, i, name, value)
        for name in ("__defaults__", "__kwdefaults__", "__wrapped__"):
            held = getattr(function, name, None)
            if held is not None:
                self._add(place, ATTRIBUTE, name, f"{place.title}.{name}", held, watched=False)
        if is_internal(code.co_filename) or not _is_searched(function.__module__):
            return
        self.names |= attributes | (_ANY & names)
        for name in sorted(imports & sys.modules.keys()):
            self._add(None, START, sys.modules[name], name, sys.modules[name], watched=False)
        space = function.__globals__
        home = self._namespaces.get(id(space))
        if home is None:
            home = Place(place, ATTRIBUTE, "__globals__", "", space, watched=False)
            self._namespaces[id(space)] = home
            self.places.append(home)
        for name in sorted(names & space.keys()):
            if (id(space), name) not in self._namespaces:
                self._namespaces[id(space), name] = self._add(home, ITEM, name, name, space[name])  # type: ignore[index]

    def _container(self, place: Place, value: Any) -> None:
        if len(value) > _HUGE:
            return
        entries = list(value.items() if isinstance(value, dict) else enumerate(value))
        few = len(entries) <= MANY
        for key, entry in entries:
            if few or not isinstance(entry, BY_VALUE):
                self._add(place, ITEM, key, f"{place.title}[{key!r}]", entry)

    def _attributes(self, place: Place, attributes: dict[str, Any]) -> None:
        every = _ANY & self.names and not isinstance(place.value, ModuleType)
        names = attributes.keys() if every else self.names & attributes.keys()
        for name in [n for n in names if n.isidentifier()]:
            self._add(place, ATTRIBUTE, name, f"{place.title}.{name}", attributes[name])

    def _class(self, kind: type) -> None:
        """The methods of a class that occur in the code, or that Python and modules call by themselves."""
        if id(kind) in self._namespaces:
            return
        self._namespaces[id(kind)] = None  # type: ignore[assignment]
        for base in kind.__mro__:
            if not _is_searched(base.__module__):
                continue
            for name, member in vars(base).items():
                if name in self.names or name == "forward" or name.startswith("__"):
                    for function in _functions(member):
                        self._add(None, START, function, function.__qualname__, function, watched=False)

    def _module(self, place: Place, value: Any) -> None:
        """A module of a network: setting its attributes moves the version, so that only what can change behind
        them is a place of its own."""
        for _, module in value.named_modules():
            self.modules.append(module)
            kind = type(module)
            hooks = vars(module).get("_hooks")
            tables = [t for t in vars(hooks).values() if isinstance(t, dict)] if hooks is not None else []
            for hook, *_ in [entry for table in tables for entry in table.values()]:
                self._add(None, START, hook, "a hook", hook, watched=False)
            if _foreign(kind.__module__) or (module is not value and id(module) in self._seen):
                continue
            self._class(kind)
            home = place
            if module is not value:
                home = self._seen[id(module)] = Place(None, START, module, kind.__name__, module, False)
                self.places.append(home)
            own = {n: v for n, v in vars(module).items() if n in self.names and not n.startswith("_")}
            for name, held in own.items():
                if not isinstance(held, Tensor) and not hasattr(type(held), "_assumptions"):
                    plain = isinstance(held, BY_VALUE)
                    self._add(home, ATTRIBUTE, name, f"{home.title}.{name}", held, watched=not plain)

    def _foreign_object(self, place: Place, value: Any) -> None:
        """An object of Weft's or of the library's: of a namespace the attributes, else the functions and models that
        it holds."""
        held = getattr(value, "__dict__", None)
        if not isinstance(held, dict):
            held = {"__wrapped__": w} if (w := getattr(value, "__wrapped__", None)) is not None else {}
        if _root(type(value).__module__) in ("types", "argparse"):
            self._attributes(place, held)
            return
        for name, member in list(held.items()):
            kind = type(member)
            function = kind in (FunctionType, MethodType, functools.partial) or hasattr(member, "function")
            if function or hasattr(kind, "_assumptions"):
                self._add(place, ATTRIBUTE, name, f"{place.title}.{name}", member, watched=not function)


def _root(module: Any) -> str:
    return str(module).partition(".")[0]


def _foreign(module: Any) -> bool:
    root = _root(module)
    return root in _FOREIGN and root != "__main__"


def _is_searched(module: Any) -> bool:
    """Whether code of the module with this name is looked into."""
    return not _foreign(module) and _may_use_weft(_root(module))


@functools.cache
def _may_use_weft(package: str) -> bool:
    """Whether a package is no installed one, or a module of it has anything of Weft's among its names.

    The program itself is the user's, whatever started it: an installed package may have (`python -m ...`)."""
    if package == "__main__":
        return True
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    if not _INSTALLED.intersection(Path(file).parts):
        return True
    modules = [m for name, m in list(sys.modules.items()) if _root(name) == package]
    values = [v for m in modules if isinstance(m, ModuleType) for v in list(vars(m).values())]
    named = [v for v in values if issubclass(type(v), _NAMED)]  # `isinstance` would ask objects themselves
    return "weft" in [_root(v.__name__ if isinstance(v, ModuleType) else v.__module__) for v in named]


def _own_attributes(value: Any) -> dict[str, Any]:
    """The attributes that an object itself has, in its `__dict__` and its slots."""
    found = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        for name, member in vars(base).items():
            if isinstance(member, MemberDescriptorType):
                try:
                    found[name] = member.__get__(value)
                except AttributeError:
                    continue
    return found


def _class_attributes(kind: type) -> dict[str, Any]:
    """The attributes of a class that are data."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if not _foreign(base.__module__):
            found |= {n: v for n, v in vars(base).items() if not hasattr(type(v), "__get__")}
    return found


def _functions(member: Any) -> list[FunctionType]:
    """The functions behind an entry of a class: a method, a property, a static method, ..."""
    if isinstance(member, property):
        found = [member.fget]
    else:
        for name in (
            "__func__",
            "func",
            "function",
        ):  # class and static methods, cached properties, compiled ones
            member = getattr(member, name, member)
        found = [member]
    return [f for f in found if type(f) is FunctionType]


class Reads(NamedTuple):
    """What a piece of code reads: global names, attributes, closure variables, and modules that it imports."""

    names: frozenset[str]
    attributes: frozenset[str]
    variables: frozenset[str]
    imports: frozenset[str]


#: Instructions by what they read.
_KINDS = {
    "LOAD_GLOBAL": 0,
    "LOAD_NAME": 0,
    "LOAD_ATTR": 1,
    "LOAD_METHOD": 1,
    "LOAD_SUPER_ATTR": 1,
    "IMPORT_FROM": 1,
    "LOAD_DEREF": 2,
    "LOAD_CLASSDEREF": 2,
    "LOAD_FROM_DICT_OR_DEREF": 2,
    "IMPORT_NAME": 3,
}


@functools.lru_cache(maxsize=4096)
def _reads(code: CodeType) -> Reads:
    """What a piece of code reads, the functions inside it too. To count (`calls += 1`) is not to read."""
    found: tuple[set[str], ...] = (set(), set(), set(), set())
    instructions = list(dis.get_instructions(code))
    for i, instruction in enumerate(instructions):
        kind = _KINDS.get(instruction.opname)
        if kind is not None and not _counts(instructions[i : i + 6]):
            found[kind].add(instruction.argval)
        if instruction.argval in ("getattr", "hasattr"):
            found[1].update(_named(instructions[i + 1 :]))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            for own, inner in zip(found, _reads(constant), strict=True):
                own |= inner
    return Reads(*map(frozenset, found))


def _named(instructions: list[dis.Instruction]) -> list[str]:
    """The attribute that a call of `getattr` names; `vars` where it is not a constant, and may be any."""
    arguments = list(itertools.takewhile(lambda i: "CALL" not in i.opname, instructions))
    texts = [i.argval for i in arguments if i.opname == "LOAD_CONST" and isinstance(i.argval, str)]
    computed = any(i.opname.startswith(("BINARY", "BUILD", "FORMAT")) for i in arguments)
    return ["vars"] if computed else [t for t in texts if t.isidentifier()] or ["vars"]


def _counts(instructions: list[dis.Instruction]) -> bool:
    """Whether a name is loaded to be stored again with a number added, and for nothing else."""
    first, *rest = [i for i in instructions if i.opname not in ("SWAP", "COPY", "CACHE")]
    return (
        len(rest) >= 3
        and rest[0].opname in ("LOAD_CONST", "LOAD_SMALL_INT")
        and rest[1].opname == "BINARY_OP"
        and rest[2].opname.startswith("STORE_")
        and rest[2].argval == first.argval
    )
