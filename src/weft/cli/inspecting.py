"""`weft inspect`: what becomes of a model: its graph before and after the passes, and the kernels."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from ..arrays.compile import Compiled, Spec, compile, spec
from ..arrays.creation import zeros
from ..arrays.traced import Traced
from ..base.atomic import file_error, replacing
from ..base.errors import ArgumentError, MissingFileError, nearest
from ..formats import load
from ..inspect import Kernels, draw, kernels
from ..inspect.subject import subject_of
from ..ir.dtype import ALL
from ..ir.dtype import dtype as as_dtype
from ..ir.shape import Dim
from ..nn import Module, UninitializedParameter

#: What `--show` can name, in the order of the output.
PARTS = ("graph", "passes", "fused", "loops", "llvm", "assembly", "table")


def inspect(
    target: str, inputs: Sequence[str] = (), dims: Mapping[str, int] | None = None,
    show: Sequence[str] = ("graph", "fused", "loops", "table"), output: str | None = None,
) -> Kernels:  # fmt: skip
    """Print what the compiler makes of a model, and with `output` write pictures and texts to that folder.

    target: `file.py`, `file.py:name`, `package.module:name` or a saved program. What it names is a compiled function,
        a module, what makes one without arguments, or a plain function of tensors. Without a name: the one of these
        that the file holds, functions that were compiled first.
    inputs: types of the arguments, as `f32[8,64]`, `int64[8]`, or `8,64` for float32; a size may be a name (an open
        dimension). Not needed where the program exists already.
    dims: sizes of open dimensions.
    """
    program = _program(target, inputs, dims or {})
    given, open_ = set(dims or ()), set(subject_of(program).graph.dims)
    if unknown := sorted(given - open_):
        raise ArgumentError(
            f"the program has no open dimension {unknown[0]!r}; it has {', '.join(sorted(open_)) or 'none'}"
        )
    if missing := sorted(open_ - given):
        sizes = " ".join(f"--dim {name}=32" for name in missing)
        raise ArgumentError(
            f"kernels are made for known sizes; say how large {', '.join(missing)} is: {sizes}"
        )
    found = kernels(program, dims=dims)
    for part in PARTS:
        if part in show:
            print(f"== {_TITLES[part]} ==\n{_text(part, found)}\n")
    if output is not None:
        _write(Path(output), found)
    return found


_TITLES = {
    "graph": "the graph as it was written",
    "passes": "after each pass",
    "fused": "the graph after all passes",
    "loops": "the kernels as loops",
    "llvm": "the kernels as LLVM code",
    "assembly": "the kernels as machine code",
    "table": "the kernels",
}


def _text(part: str, found: Kernels) -> str:
    if part == "graph":
        return str(found.before)
    if part == "passes":
        return "\n\n".join([f"-- {name} --\n{graph}" for name, graph in found.stages[1:]])
    if part == "fused":
        return str(found.after)
    if part in ("llvm", "assembly"):
        return "\n".join([getattr(r, part) for r in found.rows if r.loops])
    return found.loops if part == "loops" else str(found)


def _write(folder: Path, found: Kernels) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise file_error("make the folder", folder, e) from None
    subject = found.subject
    pictures = {
        "before": draw(replace(subject, graph=found.before)),
        "after": draw(replace(subject, graph=found.after, title=f"{subject.title}, after all passes")),
        "kernels": found.drawing,
    }
    for name, picture in pictures.items():
        for ending in ("svg", "dot"):
            picture.save(folder / f"{name}.{ending}")
    for name, part in (("before", "graph"), ("passes", "passes"), ("after", "fused"), ("loops", "loops"),
                       ("kernels", "table")):  # fmt: skip
        with replacing(folder / f"{name}.txt") as file:
            file.write((_text(part, found) + "\n").encode())
    print(f"pictures and texts: {folder}")


# -- what is looked at ----------------------------------------------------------------------------------------


def _program(target: str, inputs: Sequence[str], dims: Mapping[str, int]) -> Any:
    """The program that a target names, traced for the inputs where it has to be."""
    path, _, name = target.partition(":") if not re.match(r"[A-Za-z]:[\\/]", target) else (target, "", "")
    if not path.endswith(".py") and Path(path).is_file():
        return load(path)
    module = _module(path)
    found = _attribute(module, name) if name else _only(module)
    specs = [_spec(text) for text in inputs]
    if isinstance(found, Compiled):
        if specs:
            _check_takes(found.function, specs)
            return found.trace(*specs)
        if not found.programs:
            raise ArgumentError(
                f"{found.__name__} was not called when {path} was imported; give the types of its arguments: "
                "--input f32[8,64] (once for each)"
            )
        return found.programs[-1]
    if isinstance(found, Traced) or not callable(found):
        return found
    if not specs:
        kind = (
            type(found).__name__ if isinstance(found, Module) else getattr(found, "__name__", "the function")
        )
        raise ArgumentError(f"give the types of the arguments of {kind}: --input f32[8,64] (once for each)")
    makes = not isinstance(found, Module) and not _takes_arguments(found)
    model: Any = found() if makes else found
    if isinstance(model, type):
        raise ArgumentError(f"{model.__name__} is a class that takes arguments; name a model made of it")
    _check_takes(model.forward if isinstance(model, Module) else model, specs)
    if isinstance(model, Module):
        _initialize(model, specs, dims)
    return compile(model).trace(*specs)


def _takes_arguments(function: Any) -> bool:
    """Whether a function must be given something."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _check_takes(function: Any, specs: Sequence[Spec]) -> None:
    """Raise where a function takes more or fewer arguments than there are types."""
    try:
        takes = signature(function)
    except (TypeError, ValueError):
        return
    try:
        takes.bind(*specs)
    except TypeError as error:
        name = getattr(function, "__name__", "the function")
        raise ArgumentError(
            f"{name}{takes} cannot be called with {len(specs)} argument{'s' * (len(specs) != 1)}: {error}; "
            "give --input once for each"
        ) from None


def _initialize(model: Module, specs: Sequence[Spec], dims: Mapping[str, int]) -> None:
    """Let lazy layers find their sizes."""
    if any(isinstance(p, UninitializedParameter) for p in model.parameters()):
        shapes = [tuple([n.bind(dims) if isinstance(n, Dim) else n for n in s.aval.shape]) for s in specs]
        model(*[zeros(shape, dtype=s.dtype) for shape, s in zip(shapes, specs, strict=True)])


def _module(path: str) -> ModuleType:
    """The module that a file or a dotted name stands for, imported now."""
    if not path.endswith(".py"):
        unknown = ArgumentError(
            f"there is no module {path!r}; name a file (model.py), a module (package.model) or a saved program"
        )
        if not all(part.isidentifier() for part in path.split(".")):  # a folder, or a file that is not there
            raise unknown
        sys.path.insert(0, "")
        try:
            return importlib.import_module(path)
        except ModuleNotFoundError as e:
            if e.name != path and not path.startswith(f"{e.name}."):
                raise
            raise unknown from None
        finally:
            sys.path.remove("")
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(2, "there is no such file", path)
    name = file.stem
    made = importlib.util.spec_from_file_location(name, file)
    assert made is not None and made.loader is not None
    module = importlib.util.module_from_spec(made)
    sys.modules[name] = module
    sys.path.insert(0, str(file.resolve().parent))
    try:
        made.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.resolve().parent))
    return module


def _attribute(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            options = [n for n in dir(found) if not n.startswith("_")]
            raise ArgumentError(f"{module.__name__} has no {name!r}. {nearest(part, options)}")
        found = getattr(found, part)
    return found


def _only(module: ModuleType) -> Any:
    """The one thing in a module that can be looked at: a compiled function that was called, another, or a model."""
    own = {n: v for n, v in vars(module).items() if not n.startswith("_")}
    compiled = {n: v for n, v in own.items() if isinstance(v, Compiled)}
    called = {n: v for n, v in compiled.items() if v.programs}
    models = {n: v for n, v in own.items() if isinstance(v, Module)}
    for group in (called, compiled, models):
        if len(group) == 1:
            return next(iter(group.values()))
        if group:
            names = ", ".join(f"{module.__name__}:{n}" for n in group)
            raise ArgumentError(f"there are several things to look at; name one: {names}")
    raise ArgumentError(
        f"{module.__name__} holds no compiled function and no model; name a function: {module.__name__}:function"
    )


_INPUT = re.compile(r"(?:(?P<dtype>\w+)\s*\[(?P<sizes>[^\]]*)\]|(?P<bare>[\w\s,]*))$")


def _spec(text: str) -> Spec:
    """`f32[8,64]`, `float32[batch,64]` or `8,64` as a type."""
    found = _INPUT.match(text.strip())
    if found is None:
        raise ArgumentError(f"{text!r} is no type of an argument; write it as f32[8,64], int64[8] or 8,64")
    sizes = found["sizes"] if found["dtype"] else found["bare"]
    shape = [int(s) if s.isdigit() else Dim(s) for s in map(str.strip, sizes.split(",")) if s]
    short = {d.short: d for d in ALL}
    name = found["dtype"] or "float32"
    return spec(shape, short.get(name) or as_dtype(name))
