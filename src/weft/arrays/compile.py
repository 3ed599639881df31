"""`compile`: a Python function traced once per signature and run as one program."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import collector
from ..base.errors import ArgumentError, nearest
from ..base.pytree import Structure, flatten
from ..base.state import state, version
from ..ir.dtype import complex128, float64
from ..ir.dtype import dtype as as_dtype
from ..ir.graph import Graph
from ..ir.node import GRAD, Aval, Node
from ..ir.primitive import leaf
from ..ir.shape import check_shape
from ..runtime.exported import Fixed
from .capture import Life, Static, argument, capture
from .cell import flush
from .creation import tensor
from .reach import BY_VALUE
from .standing import BASE_FLAGS, MISSED, prepare
from .tensor import Tensor
from .traced import Traced, from_numpy, is_weak


@dataclass(frozen=True)
class Spec:
    """A tensor argument by type alone, for tracing without data; sizes may be named dimensions."""

    shape: tuple[Any, ...]
    dtype: Any

    @property
    def aval(self) -> Aval:
        return Aval(check_shape(self.shape), as_dtype(self.dtype))


def spec(shape: Sequence[Any], dtype: Any = "float32") -> Spec:
    """The type of an argument: `spec((Dim("batch"), 64))` is a float32 matrix with any number of rows."""
    return Spec(check_shape(shape), as_dtype(dtype))


#: Programs that differ in sizes alone, after which more are expected.
_FEW_SIZES = 3


class Compiled:
    """A function whose programs are kept by the structure, shapes and dtypes of its arguments. See `compile`."""

    __name__: str

    def __init__(self, function: Callable[..., Any], static: tuple[str, ...], limit: int) -> None:
        self.function = function
        self.static_argnames = static
        self.max_programs = limit
        self.traces = 0  #: how often the function was traced
        self._programs: OrderedDict[Any, list[Traced]] = OrderedDict()
        self._broken: str | None = None  # what the last look-up found changed
        self._life: Life | None = None  # of the program that was run last
        self._warned = False
        self._names = list(_parameters(function))
        self.__name__ = type(function).__name__  # of a module, which has no name of its own
        functools.update_wrapper(self, function, updated=())

    def __getattr__(self, name: str) -> Any:
        # A compiled module answers for the module: parameters(), train(), state_dict(), ...
        if name.startswith("__") or "function" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.function, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        life = self._life
        if life is not None and life.ready is not None and life.version == version.value and not kwargs:
            result = life.ready.call(args)
            if result is not MISSED:
                return result
        if state.traces or state.active != BASE_FLAGS:
            return self.function(
                *args, **kwargs
            )  # part of a larger trace or derivative, which sees through it
        key: list[Any] = []
        nodes: list[Node] = []
        if not kwargs and not self.static_argnames:
            if np.ndarray in map(
                type, args
            ):  # they share the programs of tensors, and what makes these quick
                return self(*[tensor(a) if type(a) is np.ndarray else a for a in args])
            for a in args:
                if type(a) is not Tensor:
                    break
                node = a._cell.node
                key.append(node.sig.out)
                key.append(node.flags & GRAD)
                nodes.append(node)
            else:
                return self._run(tuple(key), args, kwargs, nodes, None)
        leaves, structure = self._leaves(args, kwargs)
        key = [structure]
        for x in leaves:
            key.append(_describe(x))
        nodes = []
        for x in leaves:
            if isinstance(x, Tensor):
                nodes.append(x._cell.node)
            elif is_weak(x):
                nodes.append(leaf(_weak_aval(x), x))
        return self._run(tuple(key), args, kwargs, nodes, (leaves, structure))

    def _run(self, key: Any, args: Any, kwargs: Any, nodes: list[Node], flat: Any) -> Any:
        traced = self._find(key)
        if traced is None:
            leaves, structure = flat if flat is not None else self._leaves(args, kwargs)
            traced = self._trace(key, leaves, structure)
        if traced.stateful:
            traced.refuse_captured(nodes)
        if traced.capture.differentiable:
            return traced.apply(nodes)
        values = [n.value if n.value is not None else _realized(n) for n in nodes]
        result = traced.run(values)
        if not kwargs:
            self._make_ready(traced, key, args)
        return result

    def _make_ready(self, traced: Traced, key: Any, args: Any) -> None:
        """After an ordinary call: if it is not the first of its kind, let the next one be quick.

        To prepare that takes as long as some ordinary calls. So where it was of no use before, because something
        changes each time, it is tried again after twice as many.
        """
        life = traced.life
        if self._life is not life:
            self._life, life.waited = life, 0
            return
        life.waited += 1
        if life.waited < life.patience:
            return
        if life.ready is not None:
            life.patience = 1 if life.ready.used > life.served + 4 else min(2 * life.patience, 1 << 12)
        life.waited = 0
        life.ready = prepare(self.function, traced, key, args)
        life.served = 0 if life.ready is None else life.ready.used

    def _find(self, key: Any) -> Traced | None:
        """The program for arguments of this kind whose assumptions hold. This runs in every call."""
        candidates = self._programs.get(key)
        if candidates is None:
            return None
        self._broken = None
        for traced in candidates:
            found, life = traced.capture, traced.life
            if traced.once:
                continue
            if life.version != version.value or traced.gradients is not state.grad:
                if life.over or not found.guards.hold():
                    continue
                life.version = version.value
            check = found.check
            if check is None or check.run(self.function, key) is None:
                return traced
            self._broken = check.broken(self.function, key)
            if self._broken is None:
                return traced
        candidates[:] = [t for t in candidates if not t.life.over]
        return None

    def _leaves(self, args: Any, kwargs: Any) -> tuple[list[Any], Structure]:
        """The leaves of the arguments, NumPy arrays made tensors, static arguments wrapped whole."""
        if self.static_argnames:
            args = tuple(
                [
                    Static(a) if i < len(self._names) and self._names[i] in self.static_argnames else a
                    for i, a in enumerate(args)
                ]
            )
            kwargs = {k: Static(v) if k in self.static_argnames else v for k, v in kwargs.items()}
        leaves, structure = flatten((args, kwargs))
        for i, x in enumerate(leaves):
            if isinstance(x, (np.ndarray, np.inexact)):
                leaves[i] = from_numpy(x)
        return leaves, structure

    def _trace(self, key: Any, leaves: list[Any], structure: Structure) -> Traced:
        self.traces += 1
        self._life = None
        if self.traces > self.max_programs and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self.__name__} has been traced {self.traces} times, more than max_programs={self.max_programs}: "
                f"{self._why(key)}. Programs that are not used are dropped. Pass what changes as a tensor, or pad "
                "to a fixed shape.",
                RuntimeWarning,
                stacklevel=4,
            )
        stand_ins = [_stand_in(x) for x in leaves]
        names = iter(_argument_names(self._names, structure, leaves))
        inputs = [next(names) if isinstance(x, Tensor) else Fixed(x) for x in stand_ins]
        statics = [
            (i + 1, x)
            for i, (x, given) in enumerate(zip(stand_ins, inputs, strict=True))
            if isinstance(given, Fixed) and not isinstance(x, BY_VALUE)
        ]
        with collector.paused():
            found = capture(self.function, structure, stand_ins, statics)
        alike = _sizes_aside(key)
        others = [k for k in self._programs if k != key and _sizes_aside(k) == alike]
        traced = Traced(self.__name__, found, structure, inputs, resized=len(others) >= _FEW_SIZES)
        group = self._programs.setdefault(key, [])
        group[:] = [t for t in group if not t.once]
        group.append(traced)
        self._programs.move_to_end(key)
        while sum(map(len, self._programs.values())) > self.max_programs:
            oldest = next(iter(self._programs.values()))
            oldest.pop(0)
            if not oldest:
                self._programs.popitem(last=False)
        return traced

    def _why(self, key: Any) -> str:
        """What differs from the last program, for the warning."""
        if self._broken is not None:
            return self._broken
        once = [t for t in self._programs.get(key, ()) if t.once]
        if once:
            changed = ", ".join(once[-1].capture.changed)
            return (
                f"it reads and changes {changed}, which makes a new program of every call; make it a tensor"
            )
        last = next(reversed(self._programs), None)
        if last is None or len(last) != len(key):
            return "the structure of its arguments changes"
        changes = [f"{a!r} became {b!r}" for a, b in zip(last, key, strict=True) if a != b]
        return changes[0] if changes else "something that it reads outside its arguments changes"

    def trace(self, *args: Any, **kwargs: Any) -> Traced:
        """The program for these arguments, traced if need be but not run. Tensors may be given as `spec(...)`."""
        leaves, structure = self._leaves(args, kwargs)
        key = (structure, *[_describe(x) for x in leaves])
        return (self._find(key) or self._trace(key, leaves, structure)).held()

    @property
    def programs(self) -> list[Traced]:
        """All programs kept now, the oldest first."""
        return [t for group in self._programs.values() for t in group]

    @property
    def graph(self) -> Graph:
        """The graph of the newest program."""
        if not self._programs:
            raise ArgumentError(f"{self.__name__} has not been called or traced yet")
        return self.programs[-1].graph

    def clear(self) -> None:
        """Forget all programs."""
        self._programs.clear()
        self._life = None
        self.traces = 0
        self._warned = False

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        return functools.partial(self, instance)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        """A copy with a copy of the function (a module is copied, a plain function is itself) and no programs yet."""
        return Compiled(copy.deepcopy(self.function, memo), self.static_argnames, self.max_programs)

    def __reduce__(self) -> Any:
        """By name where the decorated function stands under its own name in its module, else by what it was made of."""
        found: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        name = getattr(self, "__qualname__", None) or ""
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else (Compiled, (self.function, self.static_argnames, self.max_programs))

    def __repr__(self) -> str:
        return f"<compiled {self.__name__}, {len(self.programs)} programs>"


def compile(
    function: Callable[..., Any] | None = None,
    *,
    static_argnames: str | Sequence[str] = (),
    max_programs: int = 64,
) -> Any:
    """Trace `function` and run it as one program from then on. Also a decorator: `@weft.compile`.

    The function is traced once for each structure of its arguments (nested tuples, lists and dicts), the shapes
    and dtypes of the tensors in them, and the values of everything else. Python floats and complex numbers are
    run-time inputs; integers, booleans, strings and the arguments named in `static_argnames` are part of the
    structure. Tensors that the function reads without being passed them (parameters, buffers, a generator's
    state) are captured by reference, and those that it rebinds (an optimiser's step, batch-norm statistics,
    `.grad`) are replaced after each call, all together or, if something fails, not at all.

    What the function reads outside its arguments is looked at in every call, and a change traces it again: global
    names and closure variables, entries of lists and dicts, attributes of plain objects, in the functions that it
    calls too. They may hold tensors, modules, numbers, strings and flags; docs/laziness.md lists what is noticed and
    what is not (such as the contents of large NumPy arrays). To set one of these places to another tensor inside the
    function is an error; changing a tensor in place is not.

    While tracing, no tensor has a value: a Python branch or loop on one raises `TraceError` and names the line.
    Other Python side effects happen when the function is traced and not again.

    At most `max_programs` programs are kept; a function that is traced more often than that warns once.
    """
    if function is None:
        return functools.partial(compile, static_argnames=static_argnames, max_programs=max_programs)
    if isinstance(function, Compiled):
        return function
    if not callable(function):
        raise ArgumentError(f"compile takes a function or a module, got {type(function).__name__}")
    body = inspect.unwrap(getattr(function, "forward", function))
    if (
        inspect.isgeneratorfunction(body)
        or inspect.iscoroutinefunction(body)
        or inspect.isasyncgenfunction(body)
    ):
        raise ArgumentError(
            "compile takes a function that returns its result, not a generator or a coroutine; compile what is done "
            "in one step of it"
        )
    if max_programs < 1:
        raise ArgumentError(f"max_programs must be at least 1, got {max_programs}")
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    _check_static(function, names)
    return Compiled(function, names, max_programs)


# -- arguments ------------------------------------------------------------------------------------------------


def _weak_aval(x: Any) -> Aval:
    return Aval((), float64 if type(x) is float else complex128)


def _sizes_aside(key: Any) -> Any:
    """A program's key without the sizes of tensors."""
    if isinstance(key, Aval):
        return key.dtype, key.ndim
    return tuple([_sizes_aside(x) for x in key]) if isinstance(key, (tuple, list)) else key


def _describe(x: Any) -> Any:
    """What of an argument is part of a program's key."""
    if isinstance(x, Tensor):
        node = x._cell.node
        return node.sig.out, bool(node.flags & GRAD)
    if isinstance(x, Spec):
        return x.aval, False
    if is_weak(x):
        return type(x)
    value = x.value if isinstance(x, Static) else x
    try:
        hash(value)
    except TypeError:
        raise ArgumentError(
            f"an argument of type {type(value).__name__} is neither a tensor nor hashable; pass tensors, numbers, "
            "strings, or nested tuples, lists and dicts of them, or make the type a container with "
            "weft.pytree.register_pytree"
        ) from None
    return type(value), value


def _stand_in(x: Any) -> Any:
    if isinstance(x, Tensor):
        return argument(x._cell.node.aval, False, bool(x._cell.node.flags & GRAD))
    if isinstance(x, Spec):
        return argument(x.aval, False, False)
    if is_weak(x):
        return argument(_weak_aval(x), True, False)
    return x.value if isinstance(x, Static) else x


def _realized(node: Node) -> Any:
    flush(node)
    return node.value


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        # What a module is called with is what its `forward` takes.
        return inspect.signature(getattr(function, "forward", function)).parameters
    except (TypeError, ValueError):
        return {}


def _check_static(function: Callable[..., Any], names: tuple[str, ...]) -> None:
    """Raise for a name that no argument has: what it was meant for would be passed as a tensor, or traced anew."""
    known = _parameters(function)
    if not known or any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    for name in names:
        if name not in known:
            what = getattr(function, "__name__", type(function).__name__)
            raise ArgumentError(f"static_argnames: {what} has no argument {name!r}. {nearest(name, known)}")


def _argument_names(names: list[str], structure: Structure, leaves: list[Any]) -> list[str]:
    """A name for each tensor argument: `x`, `batch[0]`, `inputs['mask']`."""
    paths: list[str] = []

    def walk(s: Structure, path: str) -> None:
        if s.kind is None:
            paths.append(path)
            return
        keys = s.aux if isinstance(s.aux, tuple) and len(s.aux) == len(s.children) else range(len(s.children))
        for k, child in zip(keys, s.children, strict=True):
            walk(child, f"{path}[{k!r}]")

    positional, keyword = structure.children
    for i, child in enumerate(positional.children):
        walk(child, names[i] if i < len(names) else f"arg{i}")
    for k, child in zip(keyword.aux, keyword.children, strict=True):
        walk(child, str(k))
    return [p for p, x in zip(paths, leaves, strict=True) if isinstance(x, (Tensor, Spec)) or is_weak(x)]
