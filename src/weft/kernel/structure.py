"""Kernels as text: two kernels have the same code if, and only if, they are written alike here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from ..ir.dtype import DType
from .index import Index


def structure(kernel: Any) -> str:
    """All that code for a kernel depends on, as text: everything but its name and its notes.

    Each different expression is one line and is referred to by the line's number, so that the text of an expression
    that shares its parts is no longer than the expression.
    """
    writer = _Writer()
    writer.text(kernel)
    return "\n".join(writer.lines)


class _Writer:
    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self._known: dict[int, str] = {}  # by identity; what is written is kept alive by the kernel

    def text(self, x: Any) -> str:
        """`x`, or the number of its line. Parts come first, without recursion: expressions may be deep."""
        known = self._known
        parts: dict[int, Sequence[Any]] = {}
        stack = [x]
        while stack:
            top = stack[-1]
            if type(top) in _PLAIN or id(top) in known:
                stack.pop()
                continue
            found = parts.get(id(top))
            if found is None:
                found = parts[id(top)] = _parts(top)
                waiting = [p for p in found if type(p) not in _PLAIN and id(p) not in known]
                if waiting:
                    stack.extend(waiting)
                    continue
            stack.pop()
            known[id(top)] = self._line(top, found)
        return self._short(x)

    def _short(self, x: Any) -> str:
        if isinstance(x, DType):
            return x.name
        return repr(x) if type(x) in _PLAIN else self._known[id(x)]

    def _line(self, x: Any, parts: Sequence[Any]) -> str:
        short = [self._short(p) for p in parts]
        if isinstance(x, tuple):
            return f"({' '.join(short)})"
        if isinstance(x, Index):
            # In the order in which the terms are: that is the order in which they are added up.
            terms = [f"{t}*{f}" for t, f in zip(short, x.factors.values(), strict=True)]
            line = f"[{' '.join([*terms, str(x.offset)])}]"
        else:
            line = f"{type(x).__name__} {' '.join(short)}"
        return f"#{self.lines.setdefault(line, len(self.lines))}"


_PLAIN = frozenset((bool, int, float, str, type(None), DType))


def _parts(x: Any) -> Sequence[Any]:
    """What a part of a kernel is made of."""
    if isinstance(x, tuple):
        return x
    if isinstance(x, Index):
        return list(x.factors)
    assert is_dataclass(x), type(x)
    return [getattr(x, f.name) for f in _compared(type(x))]


_fields: dict[type, list[Any]] = {}


def _compared(kind: type) -> list[Any]:
    """The fields of a class that code depends on. A variable's name only says which one it is."""
    found = _fields.get(kind)
    if found is None:
        found = [f for f in fields(kind) if f.compare]
        if any(f.name == "inputs" for f in found):  # a kernel
            found = [f for f in found if f.name != "name"]
        _fields[kind] = found
    return found
