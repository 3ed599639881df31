"""What a module says about a name that it does not have."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn


def absence(module: str, known: Iterable[str], reasons: Mapping[str, str]) -> Callable[[str], NoReturn]:
    """A module's `__getattr__`: its error says why a name of other frameworks is not here, or offers near ones.

    The error is Python's own, so that `hasattr` and `getattr` with a default work as ever.

    >>> get = absence("shapes", ["Circle", "Square"], {"Sphere": "shapes are flat; take Circle"})
    >>> get("Sqare")
    Traceback (most recent call last):
    AttributeError: module 'shapes' has no attribute 'Sqare'. Did you mean 'Square'?
    """
    names = sorted(known)

    def get(name: str) -> NoReturn:
        text = f"module {module!r} has no attribute {name!r}"
        if name in reasons:
            text += f": {reasons[name]}"
        elif not name.startswith("__"):
            close = difflib.get_close_matches(name, names, n=3, cutoff=0.7)
            text += f". Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise AttributeError(text)

    return get
