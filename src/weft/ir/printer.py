"""Graphs as text."""

from __future__ import annotations

from typing import Any

from ..base.site import describe_site
from .graph import Graph, subgraphs
from .node import Aval, Node
from .primitive import pick_prim


def print_graph(graph: Graph, *, sites: bool = False) -> str:
    """One line per node: `%3 = add(%1, %2) : f32[2,3]`.

    A sub-graph follows indented below the first node that uses it, and has its name wherever else it is used. With
    `sites` the user's lines stand behind the nodes.
    """
    bodies: dict[Graph, str] = {}
    return "\n".join(_lines(graph, "graph", "", bodies, sites))


def _lines(graph: Graph, name: str, indent: str, bodies: dict[Graph, str], sites: bool) -> list[str]:
    number: dict[Node, str] = {n: f"%{i}" for i, n in enumerate(graph.inputs)}
    params = ", ".join(f"{number[n]}: {n.sig.out!r}" for n in graph.inputs)
    lines = [f"{indent}{name}({params}) {{"]
    for node in graph.nodes:
        number[node] = f"%{len(number)}"
        new = [g for g in dict.fromkeys(subgraphs(node)) if g not in bodies]
        for g in new:
            bodies[g] = f"body{len(bodies)}"
        text = f"{number[node]} = {_expression(node, number, bodies)} : {_type(node)}"
        lines.append(indent + "  " + text + _site(node, sites))
        for g in new:
            lines += _lines(g, bodies[g], indent + "    ", bodies, sites)
    outs = ", ".join(number[n] for n in graph.outputs)
    return [*lines, f"{indent}  return {outs}", f"{indent}}}"]


def _type(node: Node) -> str:
    return ", ".join(repr(a) for a in node.sig.outs)


def _site(node: Node, sites: bool) -> str:
    where = describe_site(node.site) if sites else ""
    return f"    # {where}" if where else ""


def _expression(node: Node, number: dict[Node, str], bodies: dict[Graph, str]) -> str:
    if node.value is not None:
        plain = isinstance(node.value, (bool, int, float, complex))
        return f"constant {node.value!r}" if plain else "constant"
    args = [number[a] for a in node.args]
    if node.sig.prim is pick_prim:
        return f"{args[0]}[{node.attrs['index']}]"
    silent = ("name", *[k for k in node.prim.advisory if node.attrs[k] is None])
    attrs = [f"{k}={_attr(v, bodies)}" for k, v in node.attrs.items() if k not in silent]
    title = node.sig.prim.name
    if "name" in node.attrs:
        title += f"[{node.attrs['name']}]"
    return f"{title}({', '.join(args + attrs)})"


def _attr(value: Any, bodies: dict[Graph, str]) -> str:
    if isinstance(value, Graph):
        return bodies.get(value, repr(value))
    if isinstance(value, Aval):
        return repr(value)
    if isinstance(value, tuple):
        return "(" + ",".join(_attr(v, bodies) for v in value) + ")"
    return str(value)
