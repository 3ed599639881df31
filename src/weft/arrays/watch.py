"""Whether what a function read while it was traced is still there: checked in every call of a compiled function.

The check is a Python function made for the program, since it runs before each step: one line for each place that
`reach` has found, such as `if t3["w"] is not r7(): return 7, t3["w"]`. Tensors, modules and other objects are
known by weak reference, so that a program keeps nothing alive that its function has let go of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any
from weakref import ref

from ..base.errors import TraceError
from ..base.state import state
from ..ir.graph import toposort
from ..ir.node import TRACED
from ..ir.primitive import placeholder
from .cell import Cell
from .reach import ATTRIBUTE, BY_VALUE, CONTAINERS, ITEM, MANY, START, Place, Reach, content
from .tensor import Tensor

_GONE = object()  # what is at a place that is no longer there


class Watch:
    """The places that a function may read, from before its trace until it is known which of them count."""

    def __init__(self, function: Any, statics: list[tuple[int, Any]]) -> None:
        reach = Reach(function, statics)
        self.places = reach.places
        self.modules = reach.modules
        self.changed: list[str] = []  #: places of plain values that the trace changed

    def settle(self, captured: Collection[Cell]) -> None:
        """Compare with before, at the end of the trace. What the function itself puts into a list, or keeps to be
        looked at, is no assumption; a tensor that it reads and exchanges is an error."""
        now: dict[Place, Any] = {}
        made: list[Cell] = []
        for place in self.places:
            parent = now.get(place.parent) if place.parent is not None else None
            try:
                found = place.read(parent)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError):
                found = _GONE
            now[place] = found
            if place.content is not None and content(found) != place.content:
                place.content = None
            if found is place.value or place.how == START:
                continue
            if isinstance(found, Tensor):
                made.append(found._cell)
            if isinstance(place.value, Tensor):
                if isinstance(found, Tensor) and _reads(found, place.value, captured):
                    self._put_back(now)
                    raise TraceError(_exchanged(place.title))
                place.watched = False
            elif not isinstance(place.value, BY_VALUE):
                place.watched = place.watched and isinstance(place.value, CONTAINERS)
            elif isinstance(found, BY_VALUE) and not same(place.value, found):
                self.changed.append(place.title)
        for cell in made:
            _leave_trace(cell)
        for place in self.places:
            crowd = place.parent
            if crowd is not None and isinstance(crowd.value, CONTAINERS) and len(crowd.value) > MANY:
                value = place.value
                place.watched = place.watched and not (
                    isinstance(value, Tensor) and value._cell not in captured
                )

    def _put_back(self, now: dict[Place, Any]) -> None:
        for place, found in now.items():
            if isinstance(place.value, Tensor) and found is not place.value:
                try:
                    place.write(now[place.parent] if place.parent is not None else None, place.value)
                except (AttributeError, TypeError):
                    continue  # an entry of a tuple, a frozen object: what holds it is put back

    def check(self) -> Check | None:
        """The check for a program; None where there is nothing to check."""
        guarded = [p for p in self.places if _guarded(p)]
        return Check(self.places) if guarded else None


def _leave_trace(cell: Cell) -> None:
    """Let a tensor that the function keeps be one of the world outside, if it has a value; else it is none at all."""
    if not cell.node.flags & TRACED:
        cell.depth = min(cell.depth, len(state.traces) - 1)
    elif cell.depth >= len(state.traces):
        cell.node = placeholder(cell.node.aval, TRACED)


def _reads(new: Tensor, old: Tensor, captured: Collection[Cell]) -> bool:
    """Whether a tensor was used by the trace that then put another one in its place."""
    if old._cell in captured:
        return True
    node = new._cell.node
    return bool(node.flags & TRACED) and old._cell.node in toposort([node], lambda n: n.args)


def _exchanged(title: str) -> str:
    return (
        f"{title} is a tensor that a compiled function reads and sets to another one, which would happen once, while "
        f"tracing, and not in every call. Change the tensor in place ({title} -= ..., {title}[...] = new), or return "
        "the new one and assign it outside"
    )


def same(a: Any, b: Any) -> bool:
    """Whether two plain values are the same to a program: of one type, and not to be told apart."""
    return type(a) is type(b) and (repr(a) == repr(b) if isinstance(a, (float, complex)) else bool(a == b))


def _guarded(place: Place) -> bool:
    return place.watched and not isinstance(place.value, ModuleType)


class Check:
    """`run(function, key)` is None while everything is as it was, else the number of a place and what is there now."""

    __slots__ = ("plain", "run", "space", "titles")

    def __init__(self, places: list[Place]) -> None:
        self.space: dict[str, Any] = {}
        self.plain: set[int] = set()  #: numbers of the places that are compared by value
        self.titles = {}
        lines = self._lines(places)
        source = "\n ".join(["def run(f, key):", "try:", *["  " + line for line in lines], *_TAIL])
        exec(compile(source, "<what a program assumes>", "exec"), self.space)
        self.run: Callable[[Any, Any], Any] = self.space["run"]

    def _lines(self, places: list[Place]) -> list[str]:
        needed = _needed(places)
        parents = {p.parent for p in needed} | {_twin(p) for p in needed}
        number = {p: i for i, p in enumerate(needed)}
        lines = []
        for place, i in number.items():
            expression = self._expression(place, i, number)
            guard = self._guard(place, i, number)
            if place in parents or guard is None or place.content is not None:
                lines.append(f"t{i} = {expression}")
                expression = f"t{i}"
            if guard is not None:
                lines.append(f"if {guard.format(expression)}: return {i}, {expression}")
                self.titles[i] = place.title
        return lines

    def _expression(self, place: Place, i: int, number: dict[Place, int]) -> str:
        key = place.key
        if place.how == START:
            if type(key) is str:
                return "f"
            return f"key[{key}][1]" if type(key) is int else self._known(i, place.value)
        assert place.parent is not None
        parent = f"t{number[place.parent]}"
        if place.how == ATTRIBUTE:
            return f"{parent}.{key}"
        if place.how == ITEM:
            if type(key) not in (str, int):
                self.space[f"k{i}"] = key
                return f"{parent}[k{i}]"
            return f"{parent}[{key!r}]"
        return f"{parent}.__closure__[{key}].cell_contents"

    def _known(self, i: int, value: Any) -> str:
        """An expression for an object itself, which does not keep it alive where that can be."""
        try:
            self.space[f"r{i}"] = ref(value)
            return f"r{i}()"
        except TypeError:
            self.space[f"v{i}"] = value
            return f"v{i}"

    def _guard(self, place: Place, i: int, number: dict[Place, int]) -> str | None:
        """The condition under which something is not as it was, with {0} for what is there now."""
        value = place.value
        if not _guarded(place):
            return None
        if isinstance(value, CONTAINERS):
            twin = _twin(place)
            if twin is not None:
                return f"{{0}} is not t{number[twin]}"
            self.space[f"c{i}"] = type(value)
            size = "" if place.content is None else f" or len({{0}}) != {place.content}"
            return f"type({{0}}) is not c{i}{size}"
        if isinstance(value, BY_VALUE):
            self.plain.add(i)
            self.space[f"v{i}"] = value
            return f"{{0}} is not v{i}"
        other = f"{{0}} is not {self._known(i, value)}"
        if place.content is not None:
            self.space[f"b{i}"] = place.content
            other += f" or {{0}}{'.tobytes()' if isinstance(place.content, bytes) else ''} != b{i}"
        return other

    def broken(self, function: Any, key: Any) -> str | None:
        """What is no longer as it was, in words; None if everything is. An equal number counts as the same."""
        while (miss := self.run(function, key)) is not None:
            i, found = miss
            if i in self.plain and same(self.space[f"v{i}"], found):
                self.space[f"v{i}"] = found  # the next call sees at once that it is this one
                continue
            if i in self.plain and isinstance(found, BY_VALUE):
                return f"{self.titles[i]}, which it reads, was {self.space[f'v{i}']!r} and is {found!r}"
            return f"{self.titles.get(i, 'something')}, which it reads, is no longer the same"
        return None


_TAIL = ["except (AttributeError, IndexError, KeyError, TypeError, ValueError) as e:", "  return -1, e"]


def _twin(place: Place) -> Place | None:
    """Where the container at a place was met before, and its entries are looked at."""
    return place.first if isinstance(place.value, CONTAINERS) else None


def _needed(places: list[Place]) -> list[Place]:
    """The places with something to check, and those on the way to them."""
    needed: dict[Place, None] = {}
    for place in reversed(places):
        if _guarded(place) or place in needed:
            needed[place] = None
            for other in (place.parent, _twin(place)):
                if other is not None:
                    needed[other] = None
    return [p for p in places if p in needed]
