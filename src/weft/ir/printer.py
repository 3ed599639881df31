"""Graphs as text."""

from __future__ import annotations

from typing import Any

from ..base.site import describe_site
from .graph import Graph, subgraphs
from .node import Aval, Node
from .primitive import pick_prim


def print_graph(graph: Graph, *, indent: str = "", name: str = "graph", sites: bool = False) -> str:
    """One line per node: `%3 = add(%1, %2) : f32[2,3]`. Sub-graphs follow indented below their node."""
    number: dict[Node, str] = {n: f"%{i}" for i, n in enumerate(graph.inputs)}
    params = ", ".join(f"{number[n]}: {n.sig.out!r}" for n in graph.inputs)
    lines = [f"{indent}{name}({params}) {{"]
    for node in graph.nodes:
        number[node] = f"%{len(number)}"
        lines.append(
            f"{indent}  {number[node]} = {_expression(node, number)} : {_type(node)}" + _site(node, sites)
        )
        for i, sub in enumerate(subgraphs(node)):
            lines.append(print_graph(sub, indent=indent + "    ", name=f"body{i}"))
    outs = ", ".join(number[n] for n in graph.outputs)
    lines += [f"{indent}  return {outs}", f"{indent}}}"]
    return "\n".join(lines)


def _type(node: Node) -> str:
    return ", ".join(repr(a) for a in node.sig.outs)


def _site(node: Node, sites: bool) -> str:
    where = describe_site(node.site) if sites else ""
    return f"    # {where}" if where else ""


def _expression(node: Node, number: dict[Node, str]) -> str:
    if node.value is not None:
        plain = isinstance(node.value, (bool, int, float, complex))
        return f"constant {node.value!r}" if plain else "constant"
    args = [number[a] for a in node.args]
    if node.sig.prim is pick_prim:
        return f"{args[0]}[{node.attrs['index']}]"
    attrs = [f"{k}={_attr(v)}" for k, v in node.attrs.items() if not _is_graph(v) and k != "name"]
    title = node.sig.prim.name
    if "name" in node.attrs:
        title += f"[{node.attrs['name']}]"
    return f"{title}({', '.join(args + attrs)})"


def _is_graph(value: Any) -> bool:
    return isinstance(value, Graph) or (isinstance(value, tuple) and any(isinstance(v, Graph) for v in value))


def _attr(value: Any) -> str:
    if isinstance(value, Aval):
        return repr(value)
    if isinstance(value, tuple):
        return "(" + ",".join(_attr(v) for v in value) + ")"
    return str(value)
