"""Functions that run before and after a module's `forward`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..base.state import version

Table = dict[int, tuple[Callable[..., Any], bool]]


class Removable:
    """A hook that was added; `remove()` takes it away. Also a context manager."""

    def __init__(self, table: Table, key: int) -> None:
        self._table = table
        self._key = key

    def remove(self) -> None:
        """Take the hook away; doing so twice is harmless."""
        if self._table.pop(self._key, None) is not None:
            version.bump()

    def __enter__(self) -> Removable:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


class Hooks:
    """The hooks of one module, in order of registration."""

    def __init__(self) -> None:
        self.before: Table = {}
        self.after: Table = {}
        self._count = 0

    def add_pre(self, hook: Callable[..., Any], with_kwargs: bool) -> Removable:
        return self._add(self.before, hook, with_kwargs)

    def add_post(self, hook: Callable[..., Any], with_kwargs: bool) -> Removable:
        return self._add(self.after, hook, with_kwargs)

    def _add(self, table: Table, hook: Callable[..., Any], with_kwargs: bool) -> Removable:
        self._count += 1
        table[self._count] = (hook, with_kwargs)
        version.bump()
        return Removable(table, self._count)

    def run(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`forward` with the hooks around it."""
        for hook, with_kwargs in list(self.before.values()):
            if with_kwargs:
                changed = hook(module, args, kwargs)
                if changed is not None:
                    args, kwargs = changed
            else:
                changed = hook(module, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        out = module.forward(*args, **kwargs)
        for hook, with_kwargs in list(self.after.values()):
            changed = hook(module, args, kwargs, out) if with_kwargs else hook(module, args, out)
            if changed is not None:
                out = changed
        return out
