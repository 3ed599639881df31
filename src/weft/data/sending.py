"""Objects on their way to a worker process.

What a worker can import it imports. What it cannot — classes and functions of the main script, of a notebook or of a
`python -c`, lambdas, functions inside functions — is sent along: its code and the globals that the code names. So a
worker never runs the main script, and the script needs no `if __name__ == "__main__"`.

Code travels only through a pipe from this process to its own child, which runs the same interpreter. On the way back
there is none: a class or function that was sent here is named by a number that it got then (`Answer`), and what a
worker has made for itself cannot be sent.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import dis
import enum
import functools
import importlib
import io
import itertools
import marshal
import mmap
import os
import pickle
import sys
import types
import typing
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..base.errors import DataError

_MAIN = ("__main__", "__mp_main__")
_MADE_BY_STATEMENT = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the others are in C and always importable
_SINGLETONS = {
    id(value): name
    for name in ("MISSING", "KW_ONLY", "_FIELD", "_FIELD_CLASSVAR", "_FIELD_INITVAR", "_HAS_DEFAULT_FACTORY")
    if (value := getattr(dataclasses, name, None)) is not None
}
#: Types of Python that have a name in `types` alone.
_TYPES = {
    kind: name
    for name, kind in vars(types).items()
    if isinstance(kind, type) and getattr(sys.modules.get(kind.__module__), kind.__name__, None) is not kind
}
#: Parts of a class that it gets anew.
_OWN = {
    "__dict__", "__weakref__", "__module__", "__qualname__", "__slots__", "__orig_bases__", "__abstractmethods__",
    "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "_abc_impl",
}  # fmt: skip


def pack(thing: Any, what: str) -> tuple[bytes, list[Any]]:
    """`thing` as a body and buffers for `wire.write`; `DataError` if it cannot be sent."""
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    try:
        Sender(file, 5, buffer_callback=buffers.append).dump(thing)
    except Exception as e:
        where, reason = culprit(thing, what)
        raise DataError(
            f"{where} cannot be sent to a worker process: {reason or e}. Make it where it is used (in __getitem__ or "
            "in worker_init_fn) instead of keeping it, or load with num_workers=0"
        ) from e
    return file.getvalue(), [b.raw() for b in buffers]


def unpack(body: Any, buffers: Iterable[Any]) -> Any:
    """What was packed."""
    return pickle.loads(body, buffers=buffers)


def culprit(thing: Any, name: str, depth: int = 6) -> tuple[str, str]:
    """The smallest part of `thing` that cannot be sent: how it is reached, and why not."""
    reason = _refusal(thing)
    if reason is None:
        return "", ""
    for part, value in itertools.islice(_parts(thing), 200) if depth else ():
        if _refusal(value) is not None:
            return culprit(value, name + part, depth - 1)
    return name, reason


def _refusal(thing: Any) -> str | None:
    try:
        Sender(io.BytesIO(), 5, buffer_callback=lambda _: None).dump(thing)
    except Exception as e:
        return str(e) or type(e).__name__
    return None


def _parts(thing: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(thing, dict):
        yield from [(f"[{k!r}]", v) for k, v in thing.items()]
    elif isinstance(thing, (list, tuple)):
        yield from [(f"[{i}]", v) for i, v in enumerate(thing)]
    elif isinstance(thing, types.FunctionType):
        names = thing.__code__.co_freevars
        for name, cell in zip(names, thing.__closure__ or (), strict=True):
            yield f" (its variable {name!r})", _content(cell)[0]
        for name, value in _needed_globals(thing).items():
            yield f" (its global {name!r})", value
    elif isinstance(thing, types.MethodType):
        yield "", thing.__self__
    elif not isinstance(thing, type):
        yield from [(f".{k}", v) for k, v in getattr(thing, "__dict__", {}).items()]
        yield " (its class)", type(thing)


class Sender(pickle.Pickler):
    """A pickler that sends along what the other side cannot import."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if issubclass(kind, type):
            if obj in _TYPES:
                return getattr, (types, _TYPES[obj])
            return NotImplemented if _importable(obj) else _reduce_class(obj)
        if kind is types.FunctionType:
            return NotImplemented if _importable(obj) else _reduce_function(obj)
        if kind is np.memmap:
            return _reduce_memmap(obj)
        reduce = _REDUCERS.get(kind)
        if reduce is not None:
            return reduce(obj)
        if id(obj) in _SINGLETONS:
            return getattr, (dataclasses, _SINGLETONS[id(obj)])
        return NotImplemented


class Answer(pickle.Pickler):
    """A pickler for the way back: what was sent along is what it was there, the same object."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (type, types.FunctionType)):
            if obj in _numbers:
                return _sent, (_numbers[obj],)
            if getattr(obj, "__module__", None) in _MAIN or "<locals>" in obj.__qualname__:
                raise pickle.PicklingError(
                    f"{obj.__qualname__} was made in the worker, where the process of the loader does not find it; "
                    "return arrays, numbers, texts, tuples or dicts of them, or define it in a module or beside the "
                    "dataset"
                )
        return NotImplemented


#: The numbers of classes and functions that are not sent by name, and what has them: the same ones on both sides.
_numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_numbered: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_count = itertools.count()


def _number_of(thing: Any) -> int:
    if thing not in _numbers:
        _has_number(thing, next(_count))
    return _numbers[thing]


def _has_number(thing: Any, number: int) -> None:
    _numbers[thing], _numbered[number] = number, thing


def _sent(number: int) -> Any:
    """The class or function that was sent under a number."""
    return _numbered[number]


# -- what can be imported -----------------------------------------------------------------------------------


def _importable(thing: Any) -> bool:
    """Whether the other side finds this class or function under its name in a module."""
    if isinstance(thing, type) and not thing.__flags__ & _MADE_BY_STATEMENT:
        return True
    name = getattr(thing, "__module__", None)
    if not isinstance(name, str) or name in _MAIN or not _module_is_found(name):
        return False
    found: Any = sys.modules.get(name)
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


@functools.cache
def _module_is_found(name: str) -> bool:
    """Whether a new process with our search path would find the module, and the same one."""
    module = sys.modules.get(name)
    if name in sys.builtin_module_names or name in sys.stdlib_module_names:
        return True
    top, _, rest = name.rpartition(".")
    if top and not _module_is_found(top):
        return False
    path = getattr(sys.modules.get(top), "__path__", None) if top else None
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except (AttributeError, ImportError, ValueError):
            continue
        if spec is not None:
            here = getattr(module, "__file__", None)
            if not (here and spec.origin and spec.has_location):
                return True
            return os.path.realpath(str(here)) == os.path.realpath(spec.origin)
    # C extensions make modules inside modules that no finder knows.
    return bool(rest and top and getattr(module, "__spec__", None) is None)


# -- functions ----------------------------------------------------------------------------------------------


class _Space:
    """The globals of code that is sent along: one name for one dictionary."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.module = str(values.get("__name__", "__main__"))
        module = sys.modules.get(self.module)
        own = module is not None and vars(module) is values
        #: Whether the code's module can be imported; then its globals are the module's.
        self.imported = own and self.module not in _MAIN and _module_is_found(self.module)
        self.key = self.module if own else f"{self.module} {id(values)}"
        self.package = values.get("__package__")
        self.file = values.get("__file__")

    def __reduce__(self) -> Any:
        return _space, (self.key, self.module, self.imported, self.package, self.file)


def _reduce_function(f: types.FunctionType) -> Any:
    space = _Space(f.__globals__)
    state = {
        "globals": {} if space.imported else _needed_globals(f),
        "imports": _needed_modules(f),
        "contents": [_content(cell) for cell in f.__closure__ or ()],
        "__name__": f.__name__,
        "__defaults__": f.__defaults__,
        "__kwdefaults__": f.__kwdefaults__,
        "__module__": f.__module__,
        "__qualname__": f.__qualname__,
        "__doc__": f.__doc__,
        "__dict__": f.__dict__,
        "public": f.__globals__.get(f.__name__) is f and not space.imported,
        "number": _number_of(f),
    }
    args = (marshal.dumps(f.__code__), space, f.__closure__)
    return _function, args, (state, space), None, None, _fill_function


def _function(code: bytes, space: dict[str, Any], closure: Any) -> types.FunctionType:
    return types.FunctionType(marshal.loads(code), space, "f", None, closure)


def _fill_function(f: types.FunctionType, given: tuple[dict[str, Any], dict[str, Any]]) -> None:
    state, space = given
    _has_number(f, state.pop("number"))
    for name in state.pop("imports"):
        importlib.import_module(name)
    for name, value in state.pop("globals").items():
        space.setdefault(name, value)
    for cell, content in zip(f.__closure__ or (), state.pop("contents"), strict=True):
        if content:
            cell.cell_contents = content[0]
    if state.pop("public"):
        space.setdefault(state["__name__"], f)
    f.__dict__.update(state.pop("__dict__"))
    for name, value in state.items():
        setattr(f, name, value)


@functools.cache
def _global_names(code: types.CodeType) -> frozenset[str]:
    """The globals that code, and code inside it, names."""
    names = {
        i.argval
        for i in dis.get_instructions(code)
        if i.opname in ("LOAD_GLOBAL", "STORE_GLOBAL", "LOAD_NAME")
    }
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            names |= _global_names(inner)
    return frozenset(names)


def _needed_globals(f: types.FunctionType) -> dict[str, Any]:
    names = _global_names(f.__code__)
    return {n: f.__globals__[n] for n in sorted(names) if n in f.__globals__ and n != "__builtins__"}


def _all_names(code: types.CodeType) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*[_all_names(c) for c in inner])


def _needed_modules(f: types.FunctionType) -> list[str]:
    """Modules inside modules that the code reaches by attributes: `import a.b` binds `a` alone."""
    out = []
    for value in _needed_globals(f).values():
        if isinstance(value, types.ModuleType):
            start = value.__name__ + "."
            names = _all_names(f.__code__)
            out += [
                m
                for m in list(sys.modules)
                if m.startswith(start) and set(m[len(start) :].split(".")) <= names and _module_is_found(m)
            ]
    return sorted(out)


def _space(key: str, module: str, imported: bool, package: Any, file: Any) -> dict[str, Any]:
    """The globals that code gets on this side."""
    if imported:
        return vars(importlib.import_module(module))
    if key not in _spaces:
        made = types.ModuleType(module)
        made.__package__, made.__file__ = package, file
        made.__dict__["__builtins__"] = __builtins__
        if key == module:
            sys.modules[module] = made  # so that what is sent back is found under its name
        _spaces[key] = made
    return vars(_spaces[key])


_spaces: dict[str, types.ModuleType] = {}


# -- cells and other parts ----------------------------------------------------------------------------------


def _content(cell: Any) -> tuple[Any, ...]:
    """The content of a cell, if it has one."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _cell() -> types.CellType:
    return types.CellType()


def _proxy(contents: dict[Any, Any]) -> Any:
    return types.MappingProxyType(contents)


def _cached_property(function: Callable[[Any], Any], name: str | None) -> Any:
    made = functools.cached_property(function)
    made.attrname = name
    return made


def _lru_cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _reduce_cached(f: Any) -> Any:
    if _importable(f):
        return NotImplemented
    return _lru_cached, (f.__wrapped__, *f.cache_parameters().values())


def _reduce_module(module: types.ModuleType) -> Any:
    name = module.__name__
    if name in _MAIN or not _module_is_found(name):
        raise pickle.PicklingError(f"the module {name!r} cannot be imported by another process")
    return importlib.import_module, (name,)


def _reduce_memmap(array: np.memmap) -> Any:
    """A file that is mapped here is mapped there too."""
    origin = array._mmap  # type: ignore[attr-defined]
    if (
        not array.flags.c_contiguous
        or array.filename is None
        or origin is None
        or array.mode not in ("r", "r+")
    ):
        return np.array(array).__reduce_ex__(5)
    if array.mode == "r+":
        array.flush()
    start = np.frombuffer(origin, np.uint8).__array_interface__["data"][0]
    page = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    first = page + array.__array_interface__["data"][0] - start
    return _memmap, (os.path.abspath(array.filename), array.dtype, first, array.shape)


def _memmap(name: str, dtype: np.dtype, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.memmap(name, dtype, "r", offset, shape)


# -- classes ------------------------------------------------------------------------------------------------


def _reduce_class(kind: type) -> Any:
    """A class as its name and bases, and then all that is in it: its methods may refer to it."""
    space = _Space(_globals_of(kind))
    contents = {
        k: v
        for k, v in vars(kind).items()
        if k not in _OWN and type(v) not in (types.GetSetDescriptorType, types.MemberDescriptorType)
    }
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    if isinstance(kind, enum.EnumMeta):
        members = {
            name: member.value  # type: ignore[attr-defined]
            for name, member in kind.__members__.items()
        }
        own = {
            k: v
            for k, v in contents.items()
            if isinstance(v, types.FunctionType) and k not in vars(enum.Enum)
        }
        make, args = _enumeration, (kind.__bases__, kind.__name__, names, members)
        contents = {k: v for k, v in own.items() if not k.startswith("_")}
    elif kind.__bases__ == (tuple,) and hasattr(kind, "_fields"):
        defaults = getattr(kind, "_field_defaults", {})
        make, args = _named_tuple, (kind.__name__, kind._fields, tuple(defaults.values()), names)  # type: ignore[attr-defined]
        fresh = vars(_named_tuple(*args))
        contents = {k: v for k, v in contents.items() if k not in fresh}
    else:
        first = {k: vars(kind)[k] for k in ("__slots__", "__orig_bases__") if k in vars(kind)}
        make, args = _class, (type(kind), kind.__name__, kind.__bases__, {**names, **first})
    state = contents, space, kind.__qualname__ == kind.__name__, _number_of(kind)
    return make, args, state, None, None, _fill_class


def _globals_of(kind: type) -> dict[str, Any]:
    """The globals of the code that made a class."""
    for value in vars(kind).values():
        f = getattr(value, "__func__", getattr(value, "fget", value))
        if isinstance(f, types.FunctionType) and f.__module__ == kind.__module__:
            return f.__globals__
    module = sys.modules.get(kind.__module__)
    return vars(module) if module is not None else {"__name__": kind.__module__}


def _class(meta: type, name: str, bases: tuple[type, ...], first: dict[str, Any]) -> type:
    return types.new_class(name, bases, {"metaclass": meta}, lambda ns: ns.update(first))


def _enumeration(bases: tuple[type, ...], name: str, names: dict[str, str], members: dict[str, Any]) -> type:
    def fill(space: dict[str, Any]) -> None:
        for key, value in {**names, **members}.items():
            space[key] = value

    return types.new_class(name, bases, {}, fill)


def _named_tuple(
    name: str, fields: tuple[str, ...], defaults: tuple[Any, ...], names: dict[str, str]
) -> type:
    made = collections.namedtuple(name, fields, defaults=defaults, module=names["__module__"])
    made.__qualname__ = names["__qualname__"]
    return made


def _fill_class(kind: type, state: tuple[dict[str, Any], dict[str, Any], bool, int]) -> None:
    contents, space, public, number = state
    _has_number(kind, number)
    for name, value in contents.items():
        setattr(kind, name, value)
    if isinstance(kind, abc.ABCMeta):
        abc.update_abstractmethods(kind)
    if public:
        space.setdefault(kind.__name__, kind)


_REDUCERS: dict[type, Callable[[Any], Any]] = {
    types.CellType: lambda cell: (_cell, ()),
    types.ModuleType: _reduce_module,
    types.MappingProxyType: lambda m: (_proxy, (dict(m),)),
    property: lambda p: (property, (p.fget, p.fset, p.fdel, p.__doc__)),
    staticmethod: lambda m: (staticmethod, (m.__func__,)),
    classmethod: lambda m: (classmethod, (m.__func__,)),
    functools.cached_property: lambda p: (_cached_property, (p.func, p.attrname)),
    functools._lru_cache_wrapper: _reduce_cached,
    typing.TypeVar: lambda t: (typing.TypeVar, (t.__name__,)),
}
