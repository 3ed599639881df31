"""Graphs as plain data: what a program file holds.

`graph_to_data` gives a dictionary of JSON's own types, and the values of the graph's array constants beside it;
`deserialize.graph_from_data` builds the graph again.

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

from collections.abc import Callable
from typing import Any

from ..base.errors import FormatError, GradientError
from .dtype import DType
from .graph import Graph, subgraphs
from .node import GRAD, Aval, Node
from .primitive import input_prim, leaf_prim, pick_prim, registry
from .shape import Dim

#: The version of the data's own form. A reader takes this one and older ones.
FORMAT = 1

Encode = Callable[[Any, Callable[[Any], Any]], Any]
Decode = Callable[[Any, Callable[[Any], Any]], Any]

_codecs: dict[type, tuple[str, Encode]] = {}
decoders: dict[str, Decode] = {}


def register_codec(kind: type, tag: str, encode: Encode, decode: Decode) -> None:
    """Let attributes of the class `kind` be saved as `{tag: data}`.

    `encode(value, plain) -> data` and `decode(data, value_of) -> value`; `plain` and `value_of` convert what is inside.
    """
    _codecs[kind] = (tag, encode)
    decoders[tag] = decode


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
