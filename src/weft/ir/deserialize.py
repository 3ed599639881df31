"""Plain data back to graphs: nothing in a file is trusted.

Every node goes through its primitive's own shape rule and the result is compared with what the data says; sizes,
nesting and the number of steps are bounded; whatever does not fit is a `FormatError`. See `serialize` for the form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..base.errors import FormatError, nearest
from ..base.state import isolated
from .dtype import ALL, DType
from .graph import Graph, fresh_inputs, subgraphs
from .node import GRAD, Aval, Node
from .primitive import input_prim, leaf, leaf_prim, pick, pick_prim, registry
from .serialize import FORMAT, decoders
from .shape import Dim

_MAX_RANK = 64
_MAX_BYTES = 2**62  # of one value with all its dimensions known
_MAX_INTEGER = 2**64
_MAX_NESTING = 64  # of bodies in bodies, and of tuples in an attribute
_MAX_STEPS = 10**7  # nodes with every body counted wherever it is called

_dtypes = {d.name: d for d in ALL}


def graph_from_data(data: Any, constants: Sequence[tuple[Aval, Any]] = ()) -> Graph:
    """The graph that `data` describes. `constants` are the types and values that its array constants refer to.

    Raises `FormatError` for anything that is not exactly what `graph_to_data` could have written.
    """
    try:
        with isolated(), np.errstate(all="ignore"):
            return _Reader(data, constants).read()
    except FormatError:
        raise
    except Exception as e:  # the rules of primitives meet attributes that no caller of theirs would give them
        raise FormatError(f"the graph in the file is damaged: {type(e).__name__}: {e}") from None


def _require(condition: object, message: str) -> None:
    if not condition:
        raise FormatError(f"the graph in the file is damaged: {message}")


def _field(data: Any, name: str, kind: type) -> Any:
    _require(type(data) is dict and name in data, f"{name!r} is missing")
    _require(type(data[name]) is kind, f"{name!r} is not a {kind.__name__}")
    return data[name]


def _is_list(value: Any, least: int, most: int) -> bool:
    return isinstance(value, list) and least <= len(value) <= most


def _index(value: Any, count: int, what: str) -> int:
    _require(type(value) is int and 0 <= value < count, f"there is no {what} {value!r}")
    return value


class _Reader:
    def __init__(self, data: Any, constants: Sequence[tuple[Aval, Any]]) -> None:
        self.data = data
        self.constants = constants
        self.types: list[Aval] = []
        self.graphs: list[Graph] = []
        self.extent: dict[Graph, tuple[int, int]] = {}  # nodes with all bodies, and depth of bodies in bodies
        self.allowed: set[str] = set()

    def read(self) -> Graph:
        version = _field(self.data, "format", int)
        if not 1 <= version <= FORMAT:
            raise FormatError(
                f"the graph is in format {version}, this Weft reads up to {FORMAT}: a newer Weft can read it"
            )
        self._check_primitives(_field(self.data, "primitives", dict))
        self.types = [_type(t) for t in _field(self.data, "types", list)]
        graphs = _field(self.data, "graphs", list)
        _require(graphs, "it holds no graph")
        for g in graphs:
            self._graph(g)
        return self.graphs[-1]

    def _check_primitives(self, versions: Mapping[str, Any]) -> None:
        for name, version in versions.items():
            prim = registry.get(name)
            if prim is None or prim in (input_prim, leaf_prim, pick_prim):
                raise FormatError(
                    f"the graph uses the operation {name!r}, which this Weft does not know "
                    f"(a newer version may). {nearest(name, registry)}"
                )
            _require(type(version) is int, f"the version of {name!r} is not a number")
            if version != prim.version:
                age = "newer" if version > prim.version else "older"
                raise FormatError(
                    f"the graph uses version {version} of the operation {name!r}, which is {age} than "
                    f"this Weft's version {prim.version}: its meaning may differ. "
                    f"Save the program again with this version of Weft"
                )
        self.allowed = set(versions)

    def _graph(self, data: Any) -> None:
        types = _field(data, "inputs", list)
        inputs = fresh_inputs([self._type(t) for t in types])
        nodes: list[Node] = list(inputs)
        cut = set(_field(data, "cut", list)) if "cut" in data else set()
        steps, nesting = 0, 0
        for entry in _field(data, "nodes", list):
            _require(type(entry) is list and entry and type(entry[0]) is str, "a node is not a list")
            node = self._node(entry, nodes)
            if len(nodes) in cut:
                node.flags &= ~GRAD
            nodes.append(node)
            steps += 1
            for sub in subgraphs(node):
                inside = self.extent[sub]
                steps, nesting = steps + inside[0], max(nesting, inside[1] + 1)
        _require(steps <= _MAX_STEPS and nesting <= _MAX_NESTING, "its bodies are nested beyond all use")
        outputs = [nodes[_index(i, len(nodes), "node")] for i in _field(data, "outputs", list)]
        _require(all(type(o.sig.out) is not tuple for o in outputs), "an output has several results")
        self.graphs.append(Graph(inputs, outputs))
        self.extent[self.graphs[-1]] = steps, nesting

    def _node(self, entry: list[Any], nodes: list[Node]) -> Node:
        name = entry[0]
        if name == "leaf":
            _require(len(entry) == 3, "a constant has two fields")
            return self._constant(entry[1], self._type(entry[2]))
        if name == "pick":
            _require(len(entry) == 3, "a pick has two fields")
            source = nodes[_index(entry[1], len(nodes), "node")]
            _require(type(source.sig.out) is tuple, "a pick of a node that has one result")
            return pick(source, _index(entry[2], len(source.sig.outs), "result"))
        _require(name in self.allowed, f"{name!r} is not in its list of primitives")
        _require(len(entry) == 4 and type(entry[1]) is list, f"{name} has three fields")
        args = tuple([nodes[_index(i, len(nodes), "node")] for i in entry[1]])
        for a in args:
            _require(type(a.sig.out) is not tuple, f"{name} is applied to a node with several results")
        prim = registry[name]
        try:
            node = prim.bind(args, self._attrs(name, entry[2]))
        except FormatError:
            raise
        except Exception as e:
            raise FormatError(
                f"the graph in the file is damaged: {name} does not accept what it says: {e}"
            ) from None
        said = entry[3]
        out = tuple([self._type(t) for t in said]) if type(said) is list else self._type(said)
        if out != node.sig.out:
            raise FormatError(f"the graph in the file is damaged: {node.sig!r} is said to be {out!r}")
        return node

    def _attrs(self, name: str, data: Any) -> tuple[Any, ...]:
        names = registry[name].attr_names
        _require(type(data) is dict, f"the attributes of {name} are not an object")
        for unknown in data.keys() - set(names):
            raise FormatError(f"{name} has no attribute {unknown!r}. {nearest(unknown, names)}")
        for missing in set(names) - data.keys():
            raise FormatError(f"the attribute {missing!r} of {name} is missing")
        return tuple([self.value(data[n], 0) for n in names])

    def _constant(self, data: Any, aval: Aval) -> Node:
        if type(data) is dict and "array" in data:
            kind, value = self.constants[_index(data["array"], len(self.constants), "array")]
            _require(kind is aval, f"a constant of type {kind!r} is said to be {aval!r}")
            return leaf(aval, value)
        value = self.value(data, 0)
        _require(isinstance(value, (bool, int, float, complex)), f"{value!r} is not a constant")
        _require(aval.shape == (), "a number has no dimensions")
        np.asarray(value, dtype=aval.dtype.numpy)  # raises if it does not fit
        return leaf(aval, value)

    def _type(self, number: Any) -> Aval:
        return self.types[_index(number, len(self.types), "type")]

    def value(self, data: Any, depth: int) -> Any:
        """The attribute value that `data` stands for."""
        _require(depth < _MAX_NESTING, "an attribute is nested beyond all use")
        kind = type(data)
        if data is None or kind in (bool, str):
            return data
        if kind is int:
            _require(abs(data) <= _MAX_INTEGER, "an integer is out of range")
            return data
        if kind is list:
            return tuple([self.value(v, depth + 1) for v in data])
        _require(kind is dict and len(data) == 1, f"{data!r} is not an attribute")
        ((tag, inner),) = data.items()
        if tag in _plain_tags:
            return _plain_tags[tag](inner)
        if tag == "type":
            return self._type(inner)
        if tag == "graph":
            return self.graphs[_index(inner, len(self.graphs), "graph")]
        _require(tag in decoders, f"attributes of kind {tag!r} are unknown")
        return decoders[tag](inner, lambda v: self.value(v, depth + 1))


def _complex(data: Any) -> complex:
    _require(_is_list(data, 2, 2), "a complex number has two parts")
    return complex(float.fromhex(data[0]), float.fromhex(data[1]))


def _dtype(name: Any) -> DType:
    _require(type(name) is str and name in _dtypes, f"there is no dtype {name!r}")
    return _dtypes[name]


_plain_tags: dict[str, Callable[[Any], Any]] = {
    "float": lambda text: float.fromhex(text),
    "complex": _complex,
    "dtype": _dtype,
    "dim": lambda data: _size(data),
}


def _type(data: Any) -> Aval:
    _require(_is_list(data, 2, 2) and _is_list(data[1], 0, _MAX_RANK), "a type is a dtype and sizes")
    kind = _dtype(data[0])
    shape = tuple([_size(s) for s in data[1]])
    known = math.prod([s for s in shape if type(s) is int and s])
    _require(known * kind.itemsize <= _MAX_BYTES, f"no memory holds {kind} of shape {shape}")
    return Aval(shape, kind)


def _size(data: Any) -> Any:
    if type(data) is int:
        _require(0 <= data <= _MAX_BYTES, f"{data} is not a size")
        return data
    if type(data) is str:
        return Dim(data)
    _require(_is_list(data, 1, 64), f"{data!r} is not a size")
    total: Any = 0
    for term in data:
        _require(_is_list(term, 1, 16), f"{data!r} is not a size")
        _require(type(term[0]) is int and abs(term[0]) <= _MAX_BYTES, f"{data!r} is not a size")
        product: Any = term[0]
        for name in term[1:]:
            _require(type(name) is str, f"{data!r} is not a size")
            product = product * Dim(name)
        total = total + product
    _require(isinstance(total, Dim), f"{data!r} has no name in it")
    return total
