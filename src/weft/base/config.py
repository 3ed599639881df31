"""User-visible flags, per thread: `with weft.config(eager=True): ...` or `weft.config.eager = True`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import ArgumentError, nearest
from .state import LONG, ThreadState, state, version


def _debug_level(text: str) -> int:
    if text.strip() not in ("", *"012345"):
        raise ArgumentError(f"the environment variable WEFT_DEBUG takes a number from 0 to 5, got {text!r}")
    return int(text.strip() or 0)


_DEFAULTS: dict[str, Any] = {
    "eager": False,
    "debug_nan": False,
    "verify": os.environ.get("WEFT_VERIFY", "0") == "1",
    "debug": _debug_level(os.environ.get("WEFT_DEBUG", "")),
    "backend": os.environ.get("WEFT_BACKEND", "").strip() or "cpu",
}


ThreadState.debug = _DEFAULTS["debug"]
ThreadState.backend = _DEFAULTS["backend"]


class Config:
    """The flags of the running thread.

    - `eager`: compute after every operation instead of when a value is looked at
    - `debug_nan`: raise at the operation that first makes a NaN or an infinity
    - `verify`: check the graph against the rules of the IR after every transformation
    - `debug`: 0 to 5, how much to print (devices, timings, graphs, kernels, code)
    - `backend`: name of the backend that runs programs
    """

    def __getattr__(self, name: str) -> Any:
        if name in _DEFAULTS:
            return state.config.get(name, _DEFAULTS[name])
        if name.startswith("_"):  # Python and its tools ask every object for such names
            raise AttributeError(name)
        raise ArgumentError(f"config has no flag {name!r}. {nearest(name, _DEFAULTS)}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _DEFAULTS:
            raise ArgumentError(f"config has no flag {name!r}. {nearest(name, _DEFAULTS)}")
        if type(_DEFAULTS[name]) is not type(value):
            want = type(_DEFAULTS[name]).__name__
            raise ArgumentError(f"config flag {name!r} takes a {want}, got {value!r}")
        if name == "debug" and not 0 <= value <= 5:
            raise ArgumentError(f"config flag 'debug' goes from 0 to 5, got {value}")
        if getattr(self, name) != value:
            state.config[name] = value
            if name != "verify":
                setattr(state, name, value)
            if name == "eager":
                state.patience = -1 if value else LONG
            version.bump()

    @contextmanager
    def __call__(self, **flags: Any) -> Iterator[Config]:
        before = {name: getattr(self, name) for name in flags}
        try:
            for name, value in flags.items():
                setattr(self, name, value)
            yield self
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def __dir__(self) -> list[str]:
        return sorted(_DEFAULTS)

    def __repr__(self) -> str:
        return "config(" + ", ".join(f"{n}={getattr(self, n)!r}" for n in _DEFAULTS) + ")"


config = Config()
