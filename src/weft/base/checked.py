"""Arguments that make no sense: from Python's error, raised somewhere inside, to one about the call."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from .errors import ArgumentError, ArgumentTypeError, WeftError, nearest
from .site import is_internal

F = TypeVar("F", bound=Callable[..., Any])

_PLAIN = (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError)
_LIBRARIES = (os.path.dirname(os.__file__) + os.sep, "<__array_function__", "<frozen")


#: Words of other frameworks for what is called differently here.
_ELSEWHERE = {
    "dim": "axis",
    "dims": "axes",
    "keepdim": "keepdims",
    "unbiased": "correction",
    "a": "x",
    "input": "x",
    "x": "data",
    "verbose": "progress",
    "steps_per_epoch": "batches_per_epoch",
}
#: What to write instead, where the name alone leaves a doubt.
_INSTEAD = {"verbose": " (progress=False is silent)"}
#: Words of other frameworks for what is decided here without them.
_NEEDLESS = {
    **dict.fromkeys(
        ("foreach", "fused", "capturable", "differentiable"), "the compiler decides how it is computed"
    ),
    **dict.fromkeys(("size_average", "reduce"), "reduction='mean', 'sum' or 'none' says the same"),
}


def checked(function: F) -> F:
    """A public function whose errors all speak of what was asked.

    The function checks what it can check better itself; this is the net below: a plain Python error from inside
    becomes an `ArgumentError` that shows the call. Errors raised by the user's own functions pass unchanged.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except WeftError:
            raise
        except _PLAIN as error:
            found = explained(function, args, kwargs, error)
            if found is None:
                raise
            # Where the call itself is wrong, the new error says all that Python's did.
            inside = error.__traceback__ is not None and error.__traceback__.tb_next is not None
            raise found from (error if inside else None)

    return call  # type: ignore[return-value]


def check_constructor(kind: type) -> None:
    """Have a class of Weft's own report its constructor's arguments as `checked` functions do. For
    `__init_subclass__`: classes of users are left alone."""
    if kind.__module__.startswith("weft.") and "__init__" in vars(kind):
        kind.__init__ = checked(kind.__init__)  # type: ignore[misc]


def explained(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
) -> WeftError | None:
    """The error to raise instead of `error`; None where it comes from the user's code."""
    trace = error.__traceback__
    trace = trace.tb_next if trace is not None else None  # past the frame that caught it
    name = getattr(function, "__qualname__", repr(function))
    made = name.endswith(".__init__") and args
    if made:
        name = type(args[0]).__name__
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        signature = None
    if trace is None:
        what = f"{name}{str(error).removeprefix(function.__qualname__)}" if made else error
        return ArgumentTypeError(f"{what}. {_mend(name, signature, kwargs)}")
    if _users(trace):
        return None
    text = f"{name}({_shown(signature, args, kwargs)}): {error}. {_mend(name, signature, {})}"
    return ArgumentError(text) if isinstance(error, ValueError) else ArgumentTypeError(text)


def _mend(name: str, signature: inspect.Signature | None, kwargs: dict[str, Any]) -> str:
    if signature is None:
        return ""
    known = [p.name for p in signature.parameters.values() if p.name != "self"]
    strange = [k for k in kwargs if k not in known]
    hint = ""
    if strange:
        word = _ELSEWHERE.get(strange[0], "")
        also = [
            k for k in (word, "axis" if word == "axes" else "axes" if word == "axis" else "") if k in known
        ]
        instead = _INSTEAD.get(strange[0], "")
        hint = f"It is called {also[0]!r} here{instead}. " if also else f"{nearest(strange[0], known)} "
        if strange[0] in _NEEDLESS:
            hint = f"Leave {strange[0]!r} out: {_NEEDLESS[strange[0]]}. "
    shown = signature.replace(
        parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"],
        return_annotation=signature.empty,
    )
    return f"{hint}It is called as {name}{shown}"


def _shown(signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The arguments as one might have written them."""
    try:
        given = signature.bind_partial(*args, **kwargs).arguments if signature is not None else {}
    except TypeError:
        given = {}
    if not given:
        given = {**{str(i): a for i, a in enumerate(args)}, **kwargs}
    return ", ".join(f"{k}={describe(v)}" for k, v in given.items() if k != "self")


def describe(value: Any) -> str:
    """A value in a few words: a tensor or array by type and shape, anything else as Python writes it, shortened."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"<{dtype} {shape}>"
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else text[:37] + "..."


def refuse_masked(data: Any) -> None:
    """Raise for a NumPy masked array: its mask would be lost."""
    masked = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    if masked is None:
        return
    parts = data if isinstance(data, (list, tuple)) else (data,)
    if any(isinstance(p, masked) for p in parts):
        raise ArgumentTypeError(
            "a masked NumPy array has no tensor: its mask would be lost. Take array.filled(value) for the numbers, "
            "and array.mask as a tensor of its own where it is needed"
        )


def _users(trace: TracebackType | None) -> bool:
    """Whether the error passed through code that is neither Weft's nor a library's."""
    numpy = os.path.dirname(getattr(sys.modules.get("numpy"), "__file__", "") or "") + os.sep
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not is_internal(name) and not name.startswith(_LIBRARIES) and not name.startswith(numpy):
            return True
        trace = trace.tb_next
    return False
