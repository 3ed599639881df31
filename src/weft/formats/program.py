"""Program files: a graph, its state and the structure of its arguments, to be run without the code it came from."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np

from ..arrays.compile import Compiled, Traced
from ..arrays.export import export
from ..base.atomic import Path
from ..base.errors import ArgumentError, FormatError, WeftError
from ..base.pytree import LEAF, Structure, register_pytree
from ..ir.deserialize import graph_from_data
from ..ir.dtype import dtype
from ..ir.node import Aval
from ..ir.serialize import graph_to_data
from ..runtime.buffer import Buffer, to_array
from ..runtime.exported import ExportedProgram, Fixed
from . import container
from .tree import join, parse, split

_MAX_DEPTH = 100
_KINDS: dict[str, type] = {"tuple": tuple, "list": list, "dict": dict, "ordered": OrderedDict}
_KIND_NAMES = {kind: name for name, kind in _KINDS.items()}


def save_program(program: ExportedProgram | Compiled | Traced, path: Path) -> None:
    """Write a program to a file that `load_program` runs without the code of the model.

    program: a compiled function that has one program, one of its programs (`f.trace(...)`; dimensions given as
    `Dim` stay open), or an `ExportedProgram`.
    """
    tensors, metadata = program_parts(program if isinstance(program, ExportedProgram) else export(program))
    container.write(path, tensors, "program", metadata)


def program_parts(program: ExportedProgram) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a program's file."""
    graph, values = graph_to_data(program.graph)
    tensors = {f"state/{name}": value for name, value in program.state}
    constants = [to_array(v, v.array.dtype) for v in values]
    tensors |= {f"constant/{i}": a for i, a in enumerate(constants)}
    about = {
        "name": program.name,
        "in": _plain_structure(program.in_structure, "an argument"),
        "out": _plain_structure(program.out_structure, "the result"),
        "arguments": [
            a if isinstance(a, str) else {"fixed": _plain(a, "argument")} for a in program.arguments
        ],
        "results": [None if r is None else {"fixed": _plain(r, "result")} for r in program.results],
        "state": [name for name, _ in program.state],
        "updates": list(program.updates),
        "constants": len(constants),
    }
    metadata = {"weft.program": json.dumps(about), "weft.graph": json.dumps(graph, separators=(",", ":"))}
    return tensors, metadata


def program_from(content: container.Content) -> ExportedProgram:
    """The program that the contents of a file describe; `FormatError` if they describe none."""
    about = parse(content.metadata.get("weft.program", "null"), "the program's description")
    graph_data = parse(content.metadata.get("weft.graph", "null"), "the program's graph")
    try:
        values = [
            content.tensors[f"constant/{i}"] for i in range(min(about["constants"], len(content.tensors)))
        ]
        graph = graph_from_data(graph_data, [(Aval(a.shape, dtype(a.dtype)), Buffer(a)) for a in values])
        return ExportedProgram(
            name=_text(about["name"]),
            graph=graph,
            in_structure=_structure(about["in"], 0),
            out_structure=_structure(about["out"], 0),
            arguments=tuple(
                [a if isinstance(a, str) else Fixed(join({}, a["fixed"])) for a in about["arguments"]]
            ),
            results=tuple([None if r is None else Fixed(join({}, r["fixed"])) for r in about["results"]]),
            state=tuple([(_text(n), content.tensors[f"state/{n}"]) for n in about["state"]]),
            updates=tuple(about["updates"]),
        )
    except FormatError:
        raise
    except (WeftError, TypeError, LookupError, ValueError, AttributeError) as e:
        raise FormatError(
            f"the program's description in the file is damaged: {type(e).__name__}: {e}"
        ) from None


def _text(x: Any) -> str:
    if not isinstance(x, str):
        raise FormatError(f"the program's description in the file is damaged: {x!r} is not a name")
    return x


def _plain(fixed: Fixed, what: str) -> Any:
    tensors, skeleton = split(fixed.value)
    if tensors:
        raise ArgumentError(f"a fixed {what} of the program is an array, which is no part of its graph")
    return skeleton


# -- structures of arguments and results ----------------------------------------------------------------------


def _plain_structure(s: Structure, what: str) -> Any:
    if s.kind is None:
        return "*"
    if s.kind is type(None):
        return None
    children = [_plain_structure(c, what) for c in s.children]
    fields = getattr(s.kind, "_fields", None)
    if s.kind in (tuple, list):
        return {_KIND_NAMES[s.kind]: children}
    if s.kind in (dict, OrderedDict):
        for k in s.aux:
            if type(k) not in (str, int):
                raise ArgumentError(
                    f"{what} is a dict with the key {k!r}; a file holds texts and integers as keys"
                )
        return {_KIND_NAMES[s.kind]: [list(s.aux), children]}
    if issubclass(s.kind, tuple) and fields is not None:
        return {"named": [s.kind.__name__, list(fields), children]}
    raise ArgumentError(
        f"{what} of the program is a {s.kind.__name__}, which a process without its code cannot build: "
        "use dicts, lists, tuples and named tuples"
    )


_named: dict[tuple[str, tuple[str, ...]], type] = {}


def _structure(data: Any, depth: int) -> Structure:
    if depth > _MAX_DEPTH:
        raise FormatError("the structure of the program's arguments is nested beyond all use")
    if data == "*":
        return LEAF
    if data is None:
        return Structure(type(None), None, ())
    ((tag, inner),) = data.items()
    if tag in ("tuple", "list"):
        return Structure(_KINDS[tag], None, _children(inner, depth))
    if tag in ("dict", "ordered"):
        keys, children = inner
        if len(keys) != len(children) or not all(type(k) in (str, int) for k in keys):
            raise FormatError("the structure of the program's arguments is damaged")
        return Structure(_KINDS[tag], tuple(keys), _children(children, depth))
    if tag == "named":
        name, fields, children = inner
        key = (_text(name), tuple([_text(f) for f in fields]))
        if key not in _named:
            kind = _named[key] = namedtuple(name, fields)  # type: ignore[misc]
            register_pytree(kind, lambda t: (tuple(t), None), lambda _, c: kind(*c))
        return Structure(_named[key], None, _children(children, depth))
    raise FormatError(f"the program's arguments contain a {tag!r}, which this Weft does not know")


def _children(data: list[Any], depth: int) -> tuple[Structure, ...]:
    return tuple([_structure(c, depth + 1) for c in data])
