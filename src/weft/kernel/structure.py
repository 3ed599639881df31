"""Kernels as text: two kernels have the same code if, and only if, they are written alike here."""

from __future__ import annotations

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
        """`x`, or the number of its line."""
        kind = type(x)
        if kind is int or kind is str or kind is bool or x is None:
            return repr(x)
        if kind is DType:
            return x.name
        found = self._known.get(id(x))
        if found is None:
            found = self._known[id(x)] = self._line(x)
        return found

    def _line(self, x: Any) -> str:
        if isinstance(x, (tuple, list)):
            return f"({' '.join([self.text(v) for v in x])})"
        if isinstance(x, Index):
            # In the order in which the terms are: that is the order in which they are added up.
            terms = [f"{self.text(t)}*{f}" for t, f in x.factors.items()]
            return self._number(f"[{' '.join([*terms, str(x.offset)])}]")
        assert is_dataclass(x), type(x)
        parts = [self.text(getattr(x, f.name)) for f in _compared(type(x))]
        return self._number(f"{type(x).__name__} {' '.join(parts)}")

    def _number(self, line: str) -> str:
        return f"#{self.lines.setdefault(line, len(self.lines))}"


_fields: dict[type, list[Any]] = {}


def _compared(kind: type) -> list[Any]:
    """The fields of a class that code depends on. A variable's name only says which one it is."""
    found = _fields.get(kind)
    if found is None:
        found = [f for f in fields(kind) if f.compare]
        if any(f.name == "outer" for f in found):  # a kernel
            found = [f for f in found if f.name != "name"]
        _fields[kind] = found
    return found
