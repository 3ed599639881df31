"""Walks over nodes, and `Graph`: a function written as nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..base.errors import GraphError
from ..base.state import state
from .node import GRAD, Aval, Node, make_node
from .primitive import Primitive, input_prim, leaf_prim, pick, pick_prim, placeholder, script_prim
from .shape import Dim


def toposort(roots: Iterable[Node], follow: Callable[[Node], Sequence[Node]] | None = None) -> list[Node]:
    """All nodes that `roots` depend on, arguments before users. Iterative: graphs may be deep.

    `follow(node)` names the arguments to walk into (default: all of them).
    """
    order: list[Node] = []
    done: set[Node] = set()
    stack = list(roots)
    stack.reverse()
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        waiting = [a for a in (node.args if follow is None else follow(node)) if a not in done]
        if waiting:
            waiting.reverse()
            stack.extend(waiting)
        else:
            stack.pop()
            done.add(node)
            order.append(node)
    return order


class Graph:
    """A pure function as data: input nodes, output nodes, and the nodes between in topological order.

    Two graphs are equal when they do the same operations on the same inputs and constants; hashing is structural,
    so a body that is traced again finds the programs and derivatives of the first one.
    """

    __slots__ = ("inputs", "outputs", "nodes", "key", "_hash", "memo", "__weakref__")

    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        known = set(self.inputs)
        order = toposort(self.outputs, lambda n: () if n in known or n.value is not None else n.args)
        self.nodes = [n for n in order if n not in known]
        self.key = structural_key(self.inputs, self.nodes, self.outputs)
        self._hash = hash(self.key)
        self.memo: dict[Any, Any] = {}

    @property
    def in_avals(self) -> tuple[Aval, ...]:
        return tuple([n.aval for n in self.inputs])

    @property
    def out_avals(self) -> tuple[Aval, ...]:
        return tuple([n.aval for n in self.outputs])

    @property
    def constants(self) -> list[Node]:
        """Leaves inside the graph: buffers and numbers that are part of it."""
        return [n for n in self.nodes if n.value is not None]

    @property
    def dims(self) -> set[str]:
        """Names of the open dimensions of its inputs."""
        return {name for a in self.in_avals for s in a.shape if isinstance(s, Dim) for name in s.names}

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Graph) and self._hash == other._hash and self.key == other.key
        )

    def __repr__(self) -> str:
        ins = ", ".join(map(repr, self.in_avals))
        outs = ", ".join(map(repr, self.out_avals))
        return f"<graph ({ins}) -> ({outs}), {len(self.nodes)} nodes>"

    def __str__(self) -> str:
        from .printer import print_graph

        return print_graph(self)


def _constant_key(value: Any) -> Any:
    if isinstance(value, (bool, int, float, complex)):
        return type(value), repr(value)
    return id(value)


def structural_key(inputs: Sequence[Node], nodes: Sequence[Node], outputs: Sequence[Node]) -> tuple[Any, ...]:
    """Equal for two graphs exactly when they are the same operations on the same inputs and constants."""
    number = {node: i for i, node in enumerate(inputs)}
    key: list[Any] = [n.sig.out for n in inputs]
    for node in nodes:
        number[node] = len(number)
        if node.value is not None:
            key.append((node.sig.out, _constant_key(node.value)))
        else:
            # GRAD is part of the key: `no_grad` inside a body changes what its derivative is.
            key.append((node.sig, node.flags & GRAD, *[number[a] for a in node.args]))
    key.append(tuple([number[n] for n in outputs]))
    return tuple(key)


def trace_graph(function: Callable[..., Any], avals: Sequence[Aval]) -> Graph:
    """The graph of a node-level function of as many nodes as there are `avals`; it returns one node or several."""
    inputs = fresh_inputs(avals)
    out = function(*inputs)
    return Graph(inputs, (out,) if isinstance(out, Node) else tuple(out))


def users_of(graph: Graph) -> dict[Node, list[Node]]:
    """Who uses each node of a graph, in the graph's order, each user once."""
    users: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        for a in dict.fromkeys(node.args):
            users.setdefault(a, []).append(node)
    return users


def fresh_inputs(avals: Iterable[Aval]) -> list[Node]:
    """Placeholders for the inputs of a new graph."""
    return [placeholder(a, GRAD if a.dtype.inexact else 0) for a in avals]


def rebuild(node: Node, args: tuple[Node, ...]) -> Node:
    """The same operation on other arguments of the same types. What was cut off from derivatives stays so."""
    new = pick(args[0], node.sig.attrs["index"]) if node.sig.prim is pick_prim else make_node(node.sig, args)
    if not node.flags & GRAD:
        new.flags &= state.tracing
    return new


def instantiate(
    graph: Graph, args: Sequence[Node], make: Callable[[Node, tuple[Node, ...]], Node] = rebuild
) -> tuple[Node, ...]:
    """The outputs of `graph` applied to `args`, built anew node by node with `make(old node, new arguments)`."""
    env = dict(zip(graph.inputs, args, strict=True))
    for node in graph.nodes:
        if node.value is not None:
            env[node] = node
        else:
            env[node] = make(node, tuple([env[a] for a in node.args]))
    return tuple([env[n] for n in graph.outputs])


def extract(outputs: Sequence[Node], cuts: Sequence[Node]) -> Graph:
    """The graph that computes `outputs` from the values of the nodes `cuts`, which become its inputs.

    Whatever else `outputs` depend on must be constants, or placeholders among `cuts`.
    """
    return extract_with_origins(outputs, cuts)[0]


def extract_with_origins(
    outputs: Sequence[Node], cuts: Sequence[Node]
) -> tuple[Graph, dict[Node, tuple[Node, int]]]:
    """As `extract`; also returns for each node of the graph the one outside that it stands for and, where that is a
    script, the number of the line among its sites, else -1."""
    known = set(cuts)
    order = toposort(outputs, lambda n: () if n in known or _has_value(n) else n.args)
    inputs = fresh_inputs([n.aval for n in cuts])
    env = dict(zip(cuts, inputs, strict=True))
    scripts: dict[Node, list[Node]] = {}
    origins: dict[Node, tuple[Node, int]] = {}
    for node in order:
        if node in env:
            continue
        if _has_value(node):
            env[node] = node
        elif node.sig.prim is script_prim:
            script, args = node.sig.attrs["script"], [env[a] for a in node.args]
            slots = script.unrolled(args, node.site)
            scripts[node] = [slots[s] for s in script.slots]
            for new, (_, _, _, line) in zip(slots[len(args) :], script.steps, strict=True):
                new.site = node.site[line]
                origins[new] = node, line
        elif node.args and node.args[0] in scripts:
            env[node] = scripts[node.args[0]][node.sig.attrs["index"]]
        else:
            new = env[node] = rebuild(node, tuple([env[a] for a in node.args]))
            new.site = node.site
            origins[new] = node, -1
    return Graph(inputs, [env[n] for n in outputs]), origins


def _has_value(node: Node) -> bool:
    """A node with several results holds a list of those known so far, perhaps not all: its picks have the values."""
    return node.value is not None and type(node.value) is not list


def bind_dims(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """The graph with named dimensions replaced by sizes, all types worked out again."""

    def size(x: Any) -> Any:
        if isinstance(x, Dim):
            return x.bind(sizes)
        if isinstance(x, tuple):
            return tuple([size(i) for i in x])
        if isinstance(x, Graph):
            return bind_dims(x, sizes)
        if isinstance(x, Aval):
            return Aval(size(x.shape), x.dtype)
        with_sizes = getattr(
            x, "with_sizes", None
        )  # the rules of calls hold attributes and bodies of their own
        return x if with_sizes is None else with_sizes(size)

    def make(node: Node, args: tuple[Node, ...]) -> Node:
        if node.sig.prim is pick_prim:
            return pick(args[0], node.sig.attrs["index"])
        new = node.sig.prim.bind(args, tuple([size(v) for v in node.sig.attrs.values()]))
        if not node.flags & GRAD:
            new.flags &= ~GRAD
        new.site = node.site
        return new

    inputs = fresh_inputs([size(a) for a in graph.in_avals])
    return Graph(inputs, instantiate(graph, inputs, make))


def subgraphs(node: Node) -> list[Graph]:
    """The graphs among a node's attributes."""
    found = []
    for v in node.sig.attrs.values():
        for item in v if isinstance(v, tuple) else (v,):
            if isinstance(item, Graph):
                found.append(item)
    return found


def verify(graph: Graph) -> None:
    """Check `graph` against the rules of the IR; raises `GraphError` at the first node that breaks one.

    Inputs are distinct placeholders; every argument is an input, a constant or an earlier node; no other
    placeholder is reachable; every signature is what the primitive's own rule gives for its argument types.
    """
    if len(set(graph.inputs)) != len(graph.inputs):
        raise GraphError("an input occurs twice")
    for n in graph.inputs:
        if n.sig.prim is not input_prim:
            raise GraphError(f"an input must be a placeholder, got {n!r}")
    seen = set(graph.inputs)
    for n in graph.nodes:
        _verify_node(n, seen)
        seen.add(n)
    for n in graph.outputs:
        if n not in seen:
            raise GraphError(f"output {n!r} is not computed by the graph")
        if type(n.sig.out) is tuple:
            raise GraphError(f"output {n!r} has several results; pick one")


def _verify_node(n: Node, seen: set[Node]) -> None:
    prim: Primitive = n.sig.prim
    if n.value is not None:
        return
    if prim is input_prim or prim is leaf_prim:
        raise GraphError(f"{n!r} is a placeholder that is not among the inputs")
    for a in n.args:
        if a not in seen:
            raise GraphError(f"{n!r} uses {a!r} before it is computed")
    if prim is pick_prim:
        if n.args[0].sig.out[n.attrs["index"]] is not n.sig.out:  # type: ignore[index]
            raise GraphError(f"{n!r} picks a result of another type")
        return
    if tuple([a.sig.out for a in n.args]) != n.sig.inputs:
        raise GraphError(f"{n!r} is applied to {[a.sig.out for a in n.args]}")
    if prim.infer(*n.sig.inputs, **n.sig.attrs) != n.sig.out:
        raise GraphError(f"{n!r} has a result type that differs from its primitive's rule")
    for sub in subgraphs(n):
        if "verified" not in sub.memo:  # bodies are shared by many nodes and programs
            verify(sub)
            sub.memo["verified"] = True
