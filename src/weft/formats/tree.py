"""Nested dictionaries, lists and tuples of tensors and plain values, as a table of tensors and a JSON skeleton."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays.tensor import Tensor, from_array
from ..base.errors import ArgumentError, DTypeError, FormatError
from ..ir.dtype import ALL, DType, dtype

_MAX_DEPTH = 100
_dtypes = {d.name: d for d in ALL}


def array_of(x: Any) -> np.ndarray:
    """The elements of a tensor or an array."""
    return x.numpy() if isinstance(x, Tensor) else np.asarray(x)


def tensor_of(array: np.ndarray) -> Tensor:
    """A tensor that owns `array`."""
    return from_array(array, dtype(array.dtype))


def split(tree: Any) -> tuple[dict[str, np.ndarray], Any]:
    """The tensors of `tree` by dotted path, and the skeleton that holds everything else.

    Objects with a `state_dict` (models, optimisers) are taken by their state. What a file cannot hold raises
    `ArgumentError` with the path to it.
    """
    tensors: dict[str, np.ndarray] = {}

    def plain(x: Any, path: tuple[str, ...]) -> Any:
        if len(path) > _MAX_DEPTH:
            raise ArgumentError(
                f"{_show(path[:4])}... is nested more than {_MAX_DEPTH} deep, or contains itself"
            )
        if isinstance(x, np.generic) and not isinstance(x, (np.character, np.object_)):
            x = (
                np.asarray(x)
                if x.dtype.kind not in "biuf" or x.dtype.name not in _plain_scalars
                else x.item()
            )
        if x is None or type(x) in (bool, int, str):
            return x
        if type(x) is float:
            return x if math.isfinite(x) else {"float": repr(x)}
        if type(x) is complex:
            return {"complex": [repr(x.real), repr(x.imag)]}
        if isinstance(x, DType):
            return {"dtype": x.name}
        if isinstance(x, (Tensor, np.ndarray)):
            name = _unused(".".join(path) or "value", tensors)
            tensors[name] = array_of(x)
            _check_elements(tensors[name], path)
            return {"tensor": name}
        if isinstance(x, (list, tuple)) and type(x) in (list, tuple):
            inside = [plain(v, (*path, str(i))) for i, v in enumerate(x)]
            return inside if type(x) is list else {"tuple": inside}
        if not isinstance(x, Mapping) and callable(getattr(x, "state_dict", None)):
            x = x.state_dict()  # type: ignore[union-attr]
        if isinstance(x, Mapping):
            return {"dict": [[_key(k, path), plain(v, (*path, str(k)))] for k, v in x.items()]}
        raise ArgumentError(
            f"{_show(path)} is {_describe(x)}, which a file cannot hold: tensors, arrays, numbers, texts, None, dicts, "
            "lists and tuples can be saved, and objects that have a state_dict()"
        )

    return tensors, plain(tree, ())


_plain_scalars = {"bool", "int64", "float64"}  # NumPy numbers that are the same as Python's


def _check_elements(array: np.ndarray, path: tuple[str, ...]) -> None:
    try:
        dtype(array.dtype.newbyteorder("="))
    except DTypeError:
        raise ArgumentError(f"{_show(path)} is an array of {array.dtype}, which a file cannot hold") from None


def _key(key: Any, path: tuple[str, ...]) -> str | int:
    if type(key) not in (str, int):
        raise ArgumentError(f"the key {key!r} in {_show(path)} cannot be saved: keys are texts or integers")
    return key


def _describe(x: Any) -> str:
    return f"a {type(x).__name__}" if not isinstance(x, type) else f"the class {x.__name__}"


def _show(path: tuple[str, ...]) -> str:
    return repr(".".join(path)) if path else "what is to be saved"


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """`name`, or the first of name#2, name#3, ... that is free: {"a.b": x, "a": {"b": y}} has one path twice."""
    out, n = name, 1
    while out in taken or out == "__metadata__":
        n += 1
        out = f"{name}#{n}"
    return out


def join(tensors: Mapping[str, np.ndarray], skeleton: Any) -> Any:
    """The tree that `split` took apart; `FormatError` if the skeleton is not one that `split` makes."""
    try:
        return _join(tensors, skeleton, 0)
    except FormatError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as e:
        raise FormatError(f"the description of what the file holds is damaged: {e}") from None


def _join(tensors: Mapping[str, np.ndarray], x: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH + 1:
        raise FormatError("the description of what the file holds is nested beyond all use")
    if x is None or type(x) in (bool, int, float, str):
        return x
    if type(x) is list:
        return [_join(tensors, v, depth + 1) for v in x]
    if type(x) is not dict or len(x) != 1:
        raise FormatError(f"the description of what the file holds is damaged: {x!r}")
    ((tag, inner),) = x.items()
    if tag == "tensor":
        return tensor_of(tensors[inner])
    if tag == "float":
        return float(inner)
    if tag == "complex":
        return complex(float(inner[0]), float(inner[1]))
    if tag == "dtype":
        return _dtypes[inner]
    if tag == "tuple":
        return tuple([_join(tensors, v, depth + 1) for v in inner])
    if tag == "dict":
        return {k: _join(tensors, v, depth + 1) for k, v in inner}
    raise FormatError(
        f"the description of what the file holds has an unknown kind {tag!r}; a newer Weft may know it"
    )


def parse(text: str, what: str) -> Any:
    """JSON from a file's metadata."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise FormatError(f"{what} in the file is damaged: {e}") from None
