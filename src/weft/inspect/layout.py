"""A layered layout for directed acyclic graphs: every edge points downwards, crossings are few, long edges straight.

In four steps: layers by longest path; points where long edges pass a layer; the order inside each layer by sweeps
that put a box near the mean position of its neighbours; horizontal places by least squares under the constraint
that neighbours keep their distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

GAP_X, GAP_Y = 24.0, 44.0
_SWEEPS = 16
_MANY = 20_000  # boxes and edge points; beyond that the order is improved only a little


@dataclass
class Place:
    """A box, or a point that an edge passes through (of no width)."""

    width: float
    height: float
    layer: int = 0
    x: float = 0.0  #: the middle
    y: float = 0.0  #: the middle
    up: list[int] = field(default_factory=list)
    down: list[int] = field(default_factory=list)


@dataclass
class Layout:
    """Places of the boxes (in the order given), the points of each edge, and the size of the picture."""

    boxes: list[Place]
    edges: list[list[tuple[float, float]]]
    width: float
    height: float


def lay_out(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Places for boxes of the given (width, height), connected by edges (from, to) without cycles.

    Boxes must be numbered so that every edge goes from a smaller to a larger number.
    """
    places = [Place(w, h) for w, h in sizes]
    _assign_layers(places, edges)
    chains = [_chain(places, a, b) for a, b in edges]
    layers: list[list[int]] = [[] for _ in range(max([p.layer for p in places], default=-1) + 1)]
    for i, p in enumerate(places):
        layers[p.layer].append(i)
    _order(places, layers)
    _place_vertically(places, layers)
    _place_horizontally(places, layers)
    left = min([p.x - p.width / 2 for p in places], default=0.0) - GAP_X
    for p in places:
        p.x -= left
    width = max([p.x + p.width / 2 for p in places], default=0.0) + GAP_X
    height = max([p.y + p.height / 2 for p in places], default=0.0) + GAP_X
    return Layout(places[: len(sizes)], [_points(places, c) for c in chains], width, height)


def _assign_layers(places: list[Place], edges: Sequence[tuple[int, int]]) -> None:
    """Below everything it depends on; boxes that depend on nothing sit right above their first user."""
    users: dict[int, list[int]] = {}
    depends: set[int] = set()
    for a, b in sorted(edges, key=lambda e: e[1]):
        places[b].layer = max(places[b].layer, places[a].layer + 1)
        users.setdefault(a, []).append(b)
        depends.add(b)
    for i, p in enumerate(places):
        if i not in depends and i in users:
            p.layer = min(places[u].layer for u in users[i]) - 1


def _chain(places: list[Place], a: int, b: int) -> list[int]:
    """The places an edge goes through: its ends, and a new point in every layer between."""
    chain = [a]
    for layer in range(places[a].layer + 1, places[b].layer):
        places.append(Place(4.0, 0.0, layer))
        chain.append(len(places) - 1)
    chain.append(b)
    for above, below in zip(chain, chain[1:]):
        places[above].down.append(below)
        places[below].up.append(above)
    return chain


def _order(places: list[Place], layers: list[list[int]]) -> None:
    """Sort each layer by the mean position of its neighbours above, then below, and so on; keep the best."""
    position = {i: float(n) for layer in layers for n, i in enumerate(layer)}
    best, fewest = [list(layer) for layer in layers], _crossings(places, layers, position)
    sweeps = _SWEEPS if len(places) < _MANY else 2
    for sweep in range(sweeps):
        downwards = sweep % 2 == 0
        for layer in layers if downwards else reversed(layers):
            wish: dict[int, float] = {}
            for i in layer:
                near = places[i].up if downwards else places[i].down
                wish[i] = sum(position[j] for j in near) / len(near) if near else position[i]
            layer.sort(key=lambda i: wish[i])
            for n, i in enumerate(layer):
                position[i] = float(n)
        crossings = _crossings(places, layers, position)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _crossings(places: list[Place], layers: list[list[int]], position: dict[int, float]) -> int:
    """How many pairs of edges between neighbouring layers cross."""
    total = 0
    for layer in layers[:-1]:
        ends = [position[j] for i in layer for j in sorted(places[i].down, key=position.__getitem__)]
        total += _inversions(ends)
    return total


def _inversions(values: list[float]) -> int:
    """How many pairs are in the wrong order, by merge sort."""
    total, width = 0, 1
    items = list(values)
    while width < len(items):
        merged: list[float] = []
        for start in range(0, len(items), 2 * width):
            left, right = items[start : start + width], items[start + width : start + 2 * width]
            i = 0
            for value in right:
                while i < len(left) and left[i] <= value:
                    merged.append(left[i])
                    i += 1
                total += len(left) - i
                merged.append(value)
            merged += left[i:]
        items, width = merged, 2 * width
    return total


def _place_vertically(places: list[Place], layers: list[list[int]]) -> None:
    y = GAP_X
    for layer in layers:
        height = max(places[i].height for i in layer)
        for i in layer:
            places[i].y = y + height / 2
        y += height + GAP_Y


def _place_horizontally(places: list[Place], layers: list[list[int]]) -> None:
    for layer in layers:
        x = 0.0
        for i in layer:
            places[i].x = x + places[i].width / 2
            x += places[i].width + GAP_X
    for sweep in range(_SWEEPS if len(places) < _MANY else 4):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            _settle(places, layer, up=sweep % 2 == 0, both=sweep >= _SWEEPS // 2)


def _settle(places: list[Place], layer: list[int], *, up: bool, both: bool) -> None:
    """Move the boxes of a layer as close to their neighbours' mean as their order and width allow.

    Least squares with ordered, spaced unknowns: shifted by the spacing it is isotonic regression, which pooling
    neighbours that violate the order solves exactly.
    """
    offset, offsets, previous = 0.0, [], None
    for i in layer:
        if previous is not None:
            offset += (places[previous].width + places[i].width) / 2 + GAP_X
        offsets.append(offset)
        previous = i
    pools: list[tuple[float, float, int]] = []  # weighted sum, weight, members
    for i, shift in zip(layer, offsets):
        p = places[i]
        near = p.up + p.down if both else (p.up if up else p.down)
        # An input stands beside its user and does not draw it away from the line of what is computed.
        pulls = [(places[j].x, 1.0 if places[j].up else 0.05) for j in near]
        wish = sum(x * w for x, w in pulls) / sum(w for _, w in pulls) if near else p.x
        weight = 8.0 if p.height == 0 else 1.0 if p.up and near else 0.05  # long edges want to stay straight
        pools.append(((wish - shift) * weight, weight, 1))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            s, w, n = pools.pop()
            pools[-1] = (pools[-1][0] + s, pools[-1][1] + w, pools[-1][2] + n)
    at = iter(zip(layer, offsets))
    for s, w, n in pools:
        for _ in range(n):
            i, shift = next(at)
            places[i].x = s / w + shift


def _points(places: list[Place], chain: list[int]) -> list[tuple[float, float]]:
    first, last = places[chain[0]], places[chain[-1]]
    inner = [(places[i].x, places[i].y) for i in chain[1:-1]]
    return [(first.x, first.y + first.height / 2), *inner, (last.x, last.y - last.height / 2)]
