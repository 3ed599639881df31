"""Graphs as plain data: what a program file holds.

`graph_to_data` gives a dictionary of JSON's own types, and the values of the graph's array constants beside it;
`graph_from_data` builds the graph again. Nothing in the data is trusted: every node goes through its primitive's
own shape rule and the result is compared with what the data says; whatever does not fit is a `FormatError`.

The data of format 1::

    {"format": 1,
     "primitives": {"add": 1, ...},                   name -> semantic version, of every primitive that occurs
     "types": [["float32", [2, "batch"]], ...],       dtype and sizes; a size is an integer, a name, or a sum
                                                      of products [[2, "batch"], [1]] meaning 2*batch + 1
     "graphs": [..., {"inputs": [type, ...],          bodies before the graphs that use them, the graph itself last
                      "nodes": [["add", [0, 1], {}, type], ["leaf", number or {"array": i}, type],
                                ["pick", node, index], ...],
                      "outputs": [node, ...],         nodes are numbered from 0, inputs first
                      "cut": [node, ...]}]}           nodes that no gradient passes (made under no_grad)

An attribute is null, a boolean, an integer, a string, a list (a tuple), or an object with one key that says what it
is: float, complex, dtype, type, dim, graph, or a tag declared with `register_codec`.

Rules of derivatives (`Primitive.advisory` attributes) are saved where they have a codec: a registered composite's own
rule by the composite's name, one that a user stated as the graphs it was traced to. One that only says how to compute
what the body implies is left out; any other is replaced by one that raises when it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..base.errors import FormatError, GradientError, nearest
from ..base.state import isolated
from .dtype import ALL, DType
from .graph import Graph, fresh_inputs, subgraphs
from .node import GRAD, Aval, Node
from .primitive import input_prim, leaf, leaf_prim, pick, pick_prim, registry
from .shape import Dim

#: The version of the data's own form. A reader takes this one and older ones.
FORMAT = 1

_MAX_RANK = 64
_MAX_BYTES = 2**62  # of one value with all its dimensions known
_MAX_INTEGER = 2**64
_MAX_NESTING = 64  # of bodies in bodies, and of tuples in an attribute
_MAX_STEPS = 10**7  # nodes with every body counted wherever it is called

Encode = Callable[[Any, Callable[[Any], Any]], Any]
Decode = Callable[[Any, Callable[[Any], Any]], Any]

_dtypes = {d.name: d for d in ALL}
_codecs: dict[type, tuple[str, Encode]] = {}
_decoders: dict[str, Decode] = {}


def register_codec(kind: type, tag: str, encode: Encode, decode: Decode) -> None:
    """Let attributes of the class `kind` be saved as `{tag: data}`.

    `encode(value, plain) -> data` and `decode(data, value_of) -> value`; `plain` and `value_of` convert what is inside.
    """
    _codecs[kind] = (tag, encode)
    _decoders[tag] = decode


class LostDerivative:
    """Stands for a derivative written in Python that a file could not hold: raises when it is asked for."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def vjp(self, *_: Any) -> Any:
        raise GradientError(
            f"the derivative of {self.name!r} is Python code, which a program file does not hold. Call the loaded "
            "program inside no_grad(), or differentiate the model that it was saved from"
        )

    tangents = vjp

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LostDerivative) and self.name == other.name

    def __hash__(self) -> int:
        return hash((LostDerivative, self.name))

    def __repr__(self) -> str:
        return f"<lost derivative of {self.name}>"


register_codec(LostDerivative, "lost", lambda rule, _: rule.name, lambda name, _: LostDerivative(str(name)))


def follows_body(rule: Any) -> bool:
    """Whether the derivatives that `rule` gives are those of the body, found in another way: then a file may leave
    it out. Rules say so with an attribute `follows_body`; the rules of composites are tested for it."""
    return rule is None or getattr(rule, "follows_body", False) or getattr(rule, "remat", False)


# -- writing --------------------------------------------------------------------------------------------------


def graph_to_data(graph: Graph) -> tuple[dict[str, Any], list[Any]]:
    """`graph` as JSON-able data, and the values of its array constants, to which the data refers by position."""
    writer = _Writer()
    writer.add(graph)
    data = {
        "format": FORMAT,
        "primitives": {name: registry[name].version for name in sorted(writer.primitives)},
        "types": writer.types,
        "graphs": writer.graphs,
    }
    return data, writer.values


class _Writer:
    def __init__(self) -> None:
        self.types: list[Any] = []
        self.graphs: list[dict[str, Any]] = []
        self.values: list[Any] = []
        self.primitives: set[str] = set()
        self._type_number: dict[Aval, int] = {}
        self._graph_number: dict[Graph, int] = {}
        self._value_number: dict[int, int] = {}

    def add(self, graph: Graph) -> int:
        """The number of `graph` in the table; bodies enter before the graphs that use them, without recursion."""
        stack = [graph]
        while stack:
            top = stack[-1]
            waiting = [s for n in top.nodes for s in subgraphs(n) if s not in self._graph_number]
            if top in self._graph_number:
                stack.pop()
            elif waiting:
                stack.extend(waiting)
            else:
                stack.pop()
                self._graph_number[top] = len(self.graphs)
                self.graphs.append(self._graph(top))
        return self._graph_number[graph]

    def _graph(self, graph: Graph) -> dict[str, Any]:
        number = {n: i for i, n in enumerate([*graph.inputs, *graph.nodes])}
        data: dict[str, Any] = {
            "inputs": [self._type(a) for a in graph.in_avals],
            "nodes": [self._node(n, number) for n in graph.nodes],
            "outputs": [number[n] for n in graph.outputs],
        }
        # A graph in which no gradient was recorded at all (inference) says nothing of where one would stop.
        recorded = any(n.flags & GRAD for n in graph.nodes)
        cut = [number[n] for n in graph.nodes if recorded and _is_cut(n)]
        if cut:
            data["cut"] = cut
        return data

    def _node(self, node: Node, number: dict[Node, int]) -> list[Any]:
        prim = node.prim
        if node.value is not None:
            return ["leaf", self._constant(node), self._type(node.aval)]
        if prim is pick_prim:
            return ["pick", number[node.args[0]], node.attrs["index"]]
        if prim is input_prim or prim is leaf_prim:
            raise FormatError(f"the graph uses {node!r}, which is not among its inputs and has no value")
        if registry.get(prim.name) is not prim:
            raise FormatError(f"{prim.name!r} is not a registered primitive: a file could not name it")
        self.primitives.add(prim.name)
        attrs = {}
        for name, value in node.attrs.items():
            if name in prim.advisory and type(value) not in _codecs:
                value = (
                    None if follows_body(value) else LostDerivative(str(node.attrs.get("name", prim.name)))
                )
            try:
                attrs[name] = self.plain(value)
            except FormatError as e:
                raise FormatError(f"attribute {name!r} of {prim.name} cannot be saved: {e}") from None
        outs = [self._type(a) for a in node.sig.outs]
        result = outs if type(node.sig.out) is tuple else outs[0]
        return [prim.name, [number[a] for a in node.args], attrs, result]

    def _constant(self, node: Node) -> Any:
        value = node.value
        if isinstance(value, (bool, int, float, complex)):
            return self.plain(value)
        if id(value) not in self._value_number:
            self._value_number[id(value)] = len(self.values)
            self.values.append(value)
        return {"array": self._value_number[id(value)]}

    def _type(self, aval: Aval) -> int:
        found = self._type_number.get(aval)
        if found is None:
            found = self._type_number[aval] = len(self.types)
            self.types.append([aval.dtype.name, [_plain_size(s) for s in aval.shape]])
        return found

    def plain(self, value: Any) -> Any:
        """An attribute value as JSON-able data."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is tuple:
            return [self.plain(v) for v in value]
        if kind is float:
            return {"float": value.hex()}
        if kind is complex:
            return {"complex": [value.real.hex(), value.imag.hex()]}
        if kind is DType:
            return {"dtype": value.name}
        if kind is Aval:
            return {"type": self._type(value)}
        if kind is Dim:
            return {"dim": _plain_size(value)}
        if kind is Graph:
            return {"graph": self.add(value)}  # a rule's graph enters here, a body is there already
        if kind in _codecs:
            tag, encode = _codecs[kind]
            return {tag: encode(value, self.plain)}
        raise FormatError(f"there is no plain form of {kind.__name__} {value!r}")


def _plain_size(size: Any) -> Any:
    if not isinstance(size, Dim):
        return size
    if list(size.terms.values()) == [1] and len(next(iter(size.terms))) == 1:
        return next(iter(size.terms))[0]
    return [[c, *names] for names, c in sorted(size.terms.items())]


def _is_cut(node: Node) -> bool:
    """Whether a gradient that reaches the arguments of `node` would be stopped at it."""
    return bool(
        node.value is None
        and not node.flags & GRAD
        and node.sig.differentiable
        and node.prim is not pick_prim
        and any(a.flags & GRAD for a in node.args)
    )


# -- reading --------------------------------------------------------------------------------------------------


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
        _require(tag in _decoders, f"attributes of kind {tag!r} are unknown")
        return _decoders[tag](inner, lambda v: self.value(v, depth + 1))


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
