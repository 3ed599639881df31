"""What kernels read: the stored nodes that roots are computed from, what of these a node is a view of, who uses it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..ir.node import Node
from .lower import looked_up

#: Operations so cheap that computing them again in every user beats storing them.
FREE = ("cast", "neg", "less", "less_equal", "equal", "bitwise_not", "real", "imag")

_VIEWS = ("reshape", "permute", "slice", "flip", "broadcast_in_dim", "stop_gradient")


def behind_views(node: Node) -> Node:
    """What a node is a view of, as far as strides can say."""
    while node.value is None and node.prim.name in _VIEWS:
        node = node.args[0]
    return node


def source(node: Node, stored: set[Node]) -> Node:
    """What of something stored, or computed, a node is a view of or a cast."""
    while (
        node not in stored
        and node.value is None
        and len(node.args) == 1
        and (node.prim.movement or node.prim.name == "cast")
    ):
        node = node.args[0]
    return node


def uses_of(node: Node, users: Mapping[Node, list[Node]], outputs: Collection[Node]) -> list[Node]:
    """Who uses a node, without what is only on the way to another use: the x <= 0 of where(x <= 0, 0, x)."""
    found = users.get(node, [])
    if len(found) < 2:
        return found

    def on_the_way(user: Node) -> bool:
        after = users.get(user, ())
        free = user.prim.elementwise and user.prim.name in FREE and user not in outputs
        return free and len(after) == 1 and after[0] in found

    return [u for u in found if not on_the_way(u)]


def reads_of(roots: list[Node], stored: set[Node]) -> list[Node]:
    """The stored nodes that the kernel of `roots` reads, in the order in which its expressions meet them."""
    order: dict[Node, None] = {}
    seen: set[Node] = set()
    inside = set(roots)
    stack = [a for r in reversed(roots) for a in reversed(r.args)]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in stored and node not in inside:
            order[node] = None
        elif node.value is None:
            stack.extend(reversed(node.args))
    return list(order)


def looks_up(root: Node, stored: set[Node]) -> bool:
    """Whether the kernel of `root` reads memory at run-time places: what another kernel has finished writing."""
    stack, seen = [root], {root}
    while stack:
        node = stack.pop()
        if node.prim.name in looked_up:
            return True
        more = [a for a in node.args if a.value is None and a not in stored and a not in seen]
        seen.update(more)
        stack.extend(more)
    return False
