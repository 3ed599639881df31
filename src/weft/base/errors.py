"""The exception tree. Every error raised on purpose is a `WeftError` and also the built-in error it refines."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "WeftError",
    "ShapeError",
    "AxisError",
    "DTypeError",
    "ArgumentError",
    "ArgumentTypeError",
    "IndexingError",
    "GraphError",
    "TraceError",
    "GradientError",
    "NumericError",
    "FormatError",
    "FileError",
    "MissingFileError",
    "StateError",
    "DataError",
    "MissingExtraError",
    "BackendError",
]


class WeftError(Exception):
    """Root of all errors raised by Weft."""


class ShapeError(WeftError, ValueError):
    """Operands whose shapes do not fit the operation."""


class AxisError(ShapeError, IndexError):
    """An axis that a tensor does not have."""


class DTypeError(WeftError, TypeError):
    """Operands whose data types do not fit the operation."""


class ArgumentError(WeftError, ValueError):
    """An argument outside what the function accepts."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument of a kind that the function does not take, or an argument that it does not have."""


class IndexingError(WeftError, IndexError):
    """An index outside its axis, or an index of a kind that cannot select."""


class GraphError(WeftError, RuntimeError):
    """A graph that breaks the rules of the intermediate representation."""


class TraceError(WeftError, TypeError):
    """The value of a traced tensor was asked for, or a traced tensor left its trace."""


class GradientError(WeftError, RuntimeError):
    """A derivative that does not exist or cannot be had in this mode."""


class NumericError(WeftError, ArithmeticError):
    """A NaN or an infinity found while `debug_nan` is on, or a singular system."""


class FormatError(WeftError, ValueError):
    """A file that is truncated, altered, or not of the expected kind."""


class FileError(WeftError, OSError):
    """A file that cannot be written or read: no permission, no space, no such folder."""


class MissingFileError(FileError, FileNotFoundError):
    """A file that is not there."""


class StateError(WeftError, RuntimeError):
    """Saved state that does not fit the model or optimiser it is loaded into."""


class DataError(WeftError, ValueError):
    """Data that cannot be used for training or evaluation."""


class MissingExtraError(WeftError, ImportError):
    """An optional package that is needed here and not installed."""


class BackendError(WeftError, RuntimeError):
    """A backend that is missing or cannot run a program."""


class OutOfMemoryError(WeftError, MemoryError):
    """There is not enough memory for the result of an operation."""


def nearest(name: str, options: Iterable[str]) -> str:
    """A sentence that offers the valid names nearest to `name`, for the end of an error message."""
    known = sorted(options)
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    folded = {
        _folded(k): k for k in reversed(known)
    }  # in other letters: "CrossEntropyLoss" for "cross_entropy"
    if _folded(name) in folded:
        close = [folded[_folded(name)]]
    elif not close:
        close = [folded[c] for c in difflib.get_close_matches(_folded(name), folded, n=3, cutoff=0.5)]
    if close:
        return f"Did you mean {' or '.join(repr(c) for c in close)}?"
    return f"Valid names: {', '.join(known)}." if known else "There are none."


def _folded(name: object) -> str:
    return str(name).casefold().replace("_", "").replace("-", "").replace(" ", "")
