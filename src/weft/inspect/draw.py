"""Pictures of graphs: Graphviz DOT text, and SVG drawn here without any other program."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ..base.atomic import Path, path_text, replacing
from ..base.errors import ArgumentError
from ..base.site import describe_site
from ..ir.graph import Graph, subgraphs
from ..ir.node import Aval, Node
from ..ir.primitive import pick_prim
from .layout import Layout, lay_out
from .subject import Subject, subject_of

#: Fill and border of each kind of box.
_COLORS = {
    "argument": ("#dbeafe", "#2563eb"),
    "state": ("#dcfce7", "#15803d"),
    "constant": ("#f3f4f6", "#6b7280"),
    "contraction": ("#ffedd5", "#c2410c"),
    "composite": ("#fef9c3", "#a16207"),
    "reduction": ("#f3e8ff", "#7e22ce"),
    "movement": ("#f9fafb", "#9ca3af"),
    "operation": ("#ffffff", "#374151"),
    "output": ("#fee2e2", "#b91c1c"),
}
_CHARACTER, _LINE = 6.7, 15.0  # of the 11 pixel monospaced letters
_LONGEST = 44


@dataclass(frozen=True)
class Box:
    """One box of the picture: its lines of text, what it is, and what a tooltip says."""

    lines: tuple[str, ...]
    kind: str
    tooltip: str


@dataclass(frozen=True)
class Drawing:
    """A picture of a graph. Notebooks show it; `svg` and `dot` are its texts."""

    title: str
    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int, str], ...]  #: from, to, the type of what flows

    @property
    def dot(self) -> str:
        """Text for Graphviz."""
        lines = [
            f"digraph {_quoted(self.title)} {{",
            "  node [shape=box, style=filled, fontname=monospace, fontsize=11];",
        ]
        for i, box in enumerate(self.boxes):
            fill, border = _COLORS[box.kind]
            label = "\\n".join(map(_escaped, box.lines))
            shape = ", shape=ellipse" if box.kind in ("argument", "output") else ""
            lines.append(
                f'  n{i} [label="{label}", tooltip={_quoted(box.tooltip)}, '
                f'fillcolor="{fill}", color="{border}"{shape}];'
            )
        lines += [f"  n{a} -> n{b} [tooltip={_quoted(kind)}];" for a, b, kind in self.edges]
        return "\n".join([*lines, "}", ""])

    @property
    def svg(self) -> str:
        """A picture that every browser shows."""
        sizes = [
            (max(len(t) for t in b.lines) * _CHARACTER + 18, len(b.lines) * _LINE + 10) for b in self.boxes
        ]
        return _svg(self, lay_out(sizes, [(a, b) for a, b, _ in self.edges]))

    def save(self, path: Path) -> None:
        """Write the picture to a file whose name ends in `.svg`, `.dot` or `.gv`."""
        ending = os.path.splitext(path_text(path))[1].lower()
        if ending not in (".svg", ".dot", ".gv"):
            raise ArgumentError(f"a drawing is saved as .svg, .dot or .gv, not {path_text(path)!r}")
        text = self.svg if ending == ".svg" else self.dot
        with replacing(path) as file:
            file.write(text.encode())

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<drawing of {self.title}, {len(self.boxes)} boxes, {len(self.edges)} edges>"


def draw(obj: Any, path: Path | None = None) -> Drawing:
    """A picture of a graph: inputs at the top, results at the bottom, a composite as one box.

    obj: a compiled function (its newest program), one of its programs, a loaded program, a `Graph`, or a tensor (what
    has not been computed yet). With `path` the picture is also written there, as `.svg`, `.dot` or `.gv`.
    """
    drawing = _drawing(subject_of(obj))
    if path is not None:
        drawing.save(path)
    return drawing


def _drawing(subject: Subject) -> Drawing:
    graph = subject.graph
    boxes: list[Box] = []
    number: dict[Node, int] = {}
    edges: list[tuple[int, int, str]] = []
    used = {a for n in graph.nodes for a in n.args} | set(graph.outputs)
    for i, (node, name) in enumerate(zip(graph.inputs, subject.input_names, strict=True)):
        kind = "state" if i in subject.state else "argument"
        if node in used or kind == "argument":
            number[node] = len(boxes)
            boxes.append(Box((short(name), repr(node.aval)), kind, f"{kind} {name}: {node.aval.describe()}"))
    for node in graph.nodes:
        if _inlined(node):
            if node in graph.outputs:
                number[node] = len(boxes)
                boxes.append(Box((_number(node.value), repr(node.aval)), "constant", "a constant"))
            continue
        if node.prim is pick_prim:
            number[node] = number[node.args[0]]
            continue
        number[node] = at = len(boxes)
        boxes.append(_box(node))
        for a in node.args:
            if not _inlined(a):
                edges.append((number[a], at, repr(a.sig.out)))
    for label, out in zip(subject.output_names, graph.outputs, strict=True):
        edges.append((number[out], len(boxes), repr(out.aval)))
        boxes.append(Box((short(label), repr(out.aval)), "output", f"{label}: {out.aval.describe()}"))
    return Drawing(subject.title, tuple(boxes), tuple(edges))


def _inlined(node: Node) -> bool:
    """Numbers are written into the boxes that use them."""
    return isinstance(node.value, (bool, int, float, complex))


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _box(node: Node) -> Box:
    if node.value is not None:
        return Box(("constant", repr(node.aval)), "constant", f"a constant of {node.aval.describe()}")
    name = str(node.attrs.get("name", node.prim.name))
    numbers = [f"{_number(a.value)}" if _inlined(a) else "·" for a in node.args]
    head = f"{name}({', '.join(numbers)})" if any(map(_inlined, node.args)) else name
    attrs = [f"{k}={_attribute(v)}" for k, v in node.attrs.items() if not _untold(k, v)]
    types = ", ".join(map(repr, node.sig.outs))
    detail = ", ".join(attrs)
    bodies = subgraphs(node)
    inside = f"{sum(len(b.nodes) for b in bodies)} operations inside" if bodies else ""
    lines = [head, *([detail] if detail else []), types]
    tooltip = [f"{name}: {', '.join(a.describe() for a in node.sig.inputs)} -> {types}", detail, inside]
    where = describe_site(node.site)
    return Box(tuple([short(t) for t in lines]), _kind(node), "\n".join([t for t in [*tooltip, where] if t]))


def _kind(node: Node) -> str:
    name = node.prim.name
    if subgraphs(node):
        return "composite"
    if name in ("dot_general", "conv"):
        return "contraction"
    if "axes" in node.attrs and not node.prim.movement and node.prim.computes and "gather" not in name:
        return "reduction"
    return "movement" if node.prim.movement else "operation"


def _untold(name: str, value: Any) -> bool:
    """Attributes that say nothing in a picture: bodies, and what is empty."""
    return name in ("name", "rule") or value in ((), ((), ())) or _has_graph(value)


def _has_graph(value: Any) -> bool:
    return isinstance(value, Graph) or (isinstance(value, tuple) and any(_has_graph(v) for v in value))


def _attribute(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ",".join(map(_attribute, value)) + ")"
    return repr(value) if isinstance(value, Aval) else str(value)


def short(text: str) -> str:
    """A line of a box, cut where it would be too long."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


# -- SVG ------------------------------------------------------------------------------------------------------


def _svg(drawing: Drawing, layout: Layout) -> str:
    width, height = round(layout.width), round(layout.height)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11">',
        f"<title>{escape(drawing.title)}</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#6b7280"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<g fill="none" stroke="#9ca3af" stroke-width="1.2">',
    ]
    for points, (_, _, kind) in zip(layout.edges, drawing.edges, strict=True):
        out.append(
            f'<path d="{_curve(points)}" marker-end="url(#arrow)"><title>{escape(kind)}</title></path>'
        )
    out.append("</g>")
    for box, place in zip(drawing.boxes, layout.boxes, strict=True):
        fill, border = _COLORS[box.kind]
        left, top = place.x - place.width / 2, place.y - place.height / 2
        radius = place.height / 2 if box.kind in ("argument", "output") else 4
        out.append(f"<g><title>{escape(box.tooltip)}</title>")
        out.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" '
            f'rx="{radius:.1f}" fill="{fill}" stroke="{border}"/>'
        )
        for i, text in enumerate(box.lines):
            weight = ' font-weight="bold"' if i == 0 else ' fill="#4b5563"'
            y = top + 5 + _LINE * (i + 0.75)
            out.append(
                f'<text x="{place.x:.1f}" y="{y:.1f}" text-anchor="middle"{weight}>{escape(text)}</text>'
            )
        out.append("</g>")
    return "\n".join([*out, "</svg>", ""])


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """A smooth path that leaves and enters every point vertically."""
    parts = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        middle = (y0 + y1) / 2
        parts.append(f"C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}")
    return " ".join(parts)
