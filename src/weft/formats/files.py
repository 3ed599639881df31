"""`save` and `load`: whatever can be saved, by one pair of functions."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays.compile import Compiled, Traced
from ..arrays.tensor import Tensor
from ..base.atomic import Path
from ..base.errors import ArgumentError, FormatError
from ..ir.dtype import dtype
from ..runtime.exported import ExportedProgram
from . import container
from .loaded import LoadedProgram
from .program import program_from, save_program
from .tree import array_of, join, parse, split, tensor_of


class SavedState(dict[str, Any]):
    """The state of a model or optimiser as it was loaded: a dict for `load_state_dict`, and where it came from."""

    class_name: str = ""  #: the class of the object that was saved
    fingerprint: str = (
        ""  #: of the names, shapes and dtypes of its tensors: equal for models of one architecture
    )


def save(obj: Any, path: Path) -> None:
    """Write `obj` to one file, which replaces an old one only when it is whole on the disk.

    obj: a module or an optimiser (its `state_dict()` is written); a nested dict, list or tuple of tensors, numbers,
    texts and such objects, like `{"model": model, "optimizer": optimizer, "epoch": 3}`; or a compiled function that
    holds one program, or one of its programs (`f.trace(...)`), which `load` runs without the model's code.

    The file is in the safetensors format; nothing in it is ever executed. Raises `FileError` if it cannot be written
    (the old file stays) and `ArgumentError` for what a file cannot hold.
    """
    if isinstance(obj, LoadedProgram):
        save_program(obj.exported, path)
    elif isinstance(obj, (Compiled, Traced, ExportedProgram)):
        save_program(obj, path)
    elif isinstance(obj, (Tensor, np.ndarray, Mapping, list, tuple)) or callable(
        getattr(obj, "state_dict", None)
    ):
        tensors, skeleton = split(obj)
        about = {"weft.tree": json.dumps(skeleton)}
        if not isinstance(obj, (Tensor, np.ndarray, Mapping, list, tuple)):
            about |= {"weft.class": type(obj).__name__, "weft.architecture": fingerprint(tensors)}
        container.write(path, tensors, "state", about)
    else:
        raise ArgumentError(
            f"save takes a module, an optimiser, a dict of tensors or a compiled function, got a {type(obj).__name__}"
        )


def load(path: Path) -> Any:
    """Read what `save` wrote: a dict (or other container) of tensors and numbers, or a `LoadedProgram` to call.

    A file with the state of a module is loaded with `model.load_state_dict(weft.load(path))`. Safetensors files from
    elsewhere give a dict of tensors. Raises `MissingFileError`, `FileError`, or `FormatError` for a file that is
    damaged, altered, or of another kind; pickles are never read.
    """
    content = container.read(path)
    if content.kind is None or content.kind == "weights":
        return {name: tensor_of(a) for name, a in content.tensors.items()}
    if content.kind == "program":
        return LoadedProgram(program_from(content), copy=False)
    if content.kind != "state":
        raise FormatError(
            f"{os.fspath(path)!r} holds a {content.kind!r}, which this Weft does not know; a newer one may"
        )
    tree = join(
        content.tensors, parse(content.metadata.get("weft.tree", ""), "the description of what it holds")
    )
    if "weft.class" in content.metadata and isinstance(tree, dict):
        tree = SavedState(tree)
        tree.class_name = content.metadata["weft.class"]
        tree.fingerprint = content.metadata.get("weft.architecture", "")
    return tree


def save_weights(state: Mapping[str, Any], path: Path) -> None:
    """Write named tensors as a plain safetensors file, which other frameworks read too.

    bfloat16 is kept; a complex tensor becomes a real one with a last axis of two, its name noted in the metadata.
    """
    if not isinstance(state, Mapping):
        raise ArgumentError(f"save_weights takes a dict of tensors, got a {type(state).__name__}")
    for name, x in state.items():
        if not isinstance(x, (Tensor, np.ndarray)):
            raise ArgumentError(
                f"{name!r} is a {type(x).__name__}, not a tensor; weft.save takes nested state"
            )
    container.write(path, {name: array_of(x) for name, x in state.items()}, "weights", {})


def load_weights(path: Path) -> dict[str, Tensor]:
    """The named tensors of any safetensors file, checked against its digest if it has one."""
    return {name: tensor_of(a) for name, a in container.read(path).tensors.items()}


def fingerprint(tensors: Mapping[str, np.ndarray]) -> str:
    """A short text that two models share when their tensors have the same names, shapes and dtypes."""
    listed = sorted([name, list(a.shape), dtype(a.dtype).name] for name, a in tensors.items())
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
