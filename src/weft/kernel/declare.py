"""Tables of what is done for each primitive, filled by decorators: to add an operation is to add a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def declares(table: dict[str, Any]) -> Callable[..., Callable[[F], F]]:
    """A decorator that puts a function into `table` under each name that it is given."""

    def named(*names: str) -> Callable[[F], F]:
        def declare(function: F) -> F:
            table.update(dict.fromkeys(names, function))
            return function

        return declare

    return named
