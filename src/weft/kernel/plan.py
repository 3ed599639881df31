"""What of a graph is stored, and what the kernel of each stored node takes along: before there are any loops.

Every stored node becomes one kernel. What can be computed element by element on the way to it is computed inside
(its *producers*); and a reduction or contraction, the kernel's *anchor*, takes the elementwise operations that
follow it along, up to the node that is stored, as its epilogue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

from ..base.config import config
from ..ir.dtype import int32
from ..ir.graph import Graph, users_of
from ..ir.node import Node
from ..ir.primitive import pick_prim
from ..ops.movement import identity, permute, reshape, slice_
from . import contraction, convolution
from .anchors import builders
from .borders import inside_of, is_narrow
from .layout import assign_layouts, channels_last
from .lower import can_pull, looked_up
from .pixels import is_kernel_gradient
from .pooling import pooling_after
from .reading import FREE, behind_views, reads_of, source, uses_of
from .resampling import read_in_place, taps_of
from .rows import Group, find_rows
from .running import FINAL
from .slices import first_readers
from .storing import store_the_large, store_the_spread
from .verify import verify_kernel
from .wide import is_wide, is_wide_conv
from .winograd import suits

#: Operations of one instruction.
_STEPS = ("add", "sub", "mul")

#: Operations, at most, that follow a value with several uses before they come together again.
_TOGETHER = 40

#: With more uses a value that is moved before it is used is stored, though movement costs nothing.
_OFTEN = 3


def _operand_in_memory(contraction: Node, operand: Node) -> Node:
    """What lies in memory of an operand: matrix products, and those of integers, widen what is narrow as they read it,
    but convolutions of floats read it for many taps, some of which lie outside the image."""
    if contraction.prim.name == "conv" and contraction.dtype.kind == "f":
        return behind_views(operand)
    while (found := behind_views(operand)).value is None and _widens(found):
        operand = found.args[0]
    return found


def _widens(node: Node) -> bool:
    return node.prim.name == "cast" and contraction.widens(node.args[0].dtype, node.dtype)


class Plan:
    """Which nodes are stored, and the anchor of each stored node that has one."""

    def __init__(self, graph: Graph, supported: Callable[[Node], bool]) -> None:
        self.outputs = set(graph.outputs)
        self.users = users_of(graph)
        self.position = {n: i for i, n in enumerate(graph.nodes)}
        self.stored = self._stored(graph, supported)
        self.anchor: dict[Node, Node] = {}
        self.rows: dict[Node, Group] = {}
        self.beside: dict[Node, Node] = {}  #: numbers of rows -> the root of the kernel that stores them
        self.pooled: dict[Node, Node] = {}  #: pooling -> what it pools, the end of a convolution's epilogue
        self.framed: dict[
            Node, Node
        ] = {}  #: image with a border, or channels-last -> what a convolution makes, in the middle of it
        grouped: set[Node] = set()
        fixed = self._fixed(graph, supported)
        for root, group in find_rows(graph.nodes, self.users, fixed, self.stored, supported).items():
            self.rows[root] = group
            self.beside.update(dict.fromkeys(group.beside, root))
            self.stored -= group.inside
            self.stored |= {root, *group.beside}
            grouped |= {root, *group.inside, *group.beside}
        for node in graph.nodes:
            if node in grouped or node in self.pooled:
                continue
            if node.value is None and node.prim.name in builders and supported(node):
                self._extend(node, supported)
        self.layouts = assign_layouts(graph, self.stored, self.anchor, self._hosted(graph, supported))
        self._kinds: dict[Hashable, Any] = {}

    def kind(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, which it is asked for once for all that have equal keys."""
        if key not in self._kinds:
            found = self._kinds[key] = make()
            if config.verify:
                for kernel in found if isinstance(found, tuple) else (found,):
                    if kernel is not None:
                        verify_kernel(kernel)
        return self._kinds[key]

    def _stored(self, graph: Graph, supported: Callable[[Node], bool]) -> set[Node]:
        """Everything but what can be computed inside its only user."""
        stored: set[Node] = {*graph.inputs, *graph.outputs}
        for node in graph.nodes:
            if not (can_pull(node) and supported(node)):
                stored.add(node)
            if node.prim is pick_prim:
                stored.add(node)
            elif node.value is None and not supported(node):
                stored.update(node.args)
            elif node.value is None:
                stored.update(node.args[i] for i in looked_up.get(node.prim.name, ()))
                if read_in_place(node):
                    stored.add(behind_views(node.args[0]))
            if node.value is None and node.prim is identity:
                stored.add(node)  # a copy that somebody asked for: the simplifier has removed the others
            free = node.prim.movement or node.prim.name in FREE or self._is_cheap(node, stored)
            if len(self._uses(node)) > 1 and not free:
                stored.add(node)
            if node.value is None and node.prim.name in contraction.CONTRACTIONS:
                stored.update(_operand_in_memory(node, a) for a in node.args)
            if self._is_shared_number(node) or self._is_read_often(node):
                stored.add(node)
        store_the_spread(graph, stored)
        self.depth = store_the_large(graph, stored)
        return {n for n in stored if not isinstance(n.value, (bool, int, float, complex))}

    def _is_cheap(self, node: Node, stored: set[Node]) -> bool:
        """Whether a node is one operation on something stored and a number for each row: a row less its maximum, say.

        Reading what is stored, and the number, again is no more than reading the result would be.
        """
        if node.value is not None or node.prim.name not in _STEPS or type(node.sig.out) is tuple:
            return False
        sources = [source(a, stored) for a in node.args]
        whole = [x for x in sources if x.size == node.size]
        small = [x for x in sources if 8 * x.size <= node.size]
        return len(whole) == 1 and whole[0] in stored and len(small) == len(sources) - 1

    def _uses(self, node: Node) -> list[Node]:
        return uses_of(node, self.users, self.outputs)

    def _is_read_often(self, node: Node) -> bool:
        """Whether a node that has to be computed is used many times, moved about: by every tap of a window, say.

        Or one of several parts, for each element of which it has to be found out which one it is in."""
        if node.value is None and node.prim.name == "concatenate":
            return len(self._uses(node)) > _OFTEN
        if node.value is not None or node.prim.movement or node.prim.name in FREE:
            return False
        users = self._uses(node)
        while len(users) == 1 and users[0].prim.movement and users[0].prim is not identity:
            if users[0].prim.name == "concatenate" and self._is_read_often(users[0]):
                return False  # that is stored
            users = self.users.get(users[0], [])
        return len(users) > _OFTEN

    def _is_shared_number(self, node: Node) -> bool:
        """Whether a node is one number that many elements are computed from: not to be computed for each of them."""
        if node.value is not None or type(node.sig.out) is tuple or node.size != 1:
            return False
        if node.prim.movement or node.prim.name in FREE:
            return False
        stack = list(self.users.get(node, ()))
        while stack:
            user = stack.pop()
            if type(user.sig.out) is not tuple and user.size != 1:
                return True
            if user.prim.movement or user.prim.name in FREE:
                stack.extend(self.users.get(user, ()))
        return False

    def _fixed(self, graph: Graph, supported: Callable[[Node], bool]) -> set[Node]:
        """What is stored whatever is fused: outputs, copies, and operands of what has no code or looks them up."""
        fixed = set(graph.outputs)
        for node in graph.nodes:
            if node.value is None and (not supported(node) or node.prim is pick_prim):
                fixed.update(node.args)
            elif node.value is None:
                fixed.update(node.args[i] for i in looked_up.get(node.prim.name, ()))
                if read_in_place(node):
                    fixed.add(behind_views(node.args[0]))
                if node.prim is identity:
                    fixed.add(node)
        return fixed

    def _hosted(self, graph: Graph, supported: Callable[[Node], bool]) -> set[Node]:
        """What the host reads or writes, or wide products: they know no order of axes but the shape's."""
        hosted: set[Node] = set()
        for node in graph.nodes:
            if node.value is None and (node.prim is pick_prim or not supported(node)):
                hosted.update((node, *node.args))
            if is_wide(node.sig) or is_wide_conv(node.sig):
                hosted.update(behind_views(a) for a in node.args)
        hosted.update(root for root, anchor in self.anchor.items() if is_wide(anchor.sig))
        return hosted

    def followed(
        self, groups: list[list[Node]], joins: Callable[[Node], object | None]
    ) -> dict[Node, tuple[Node, bool]]:
        """By the first root of a group of elementwise kernels: a matrix product that this group reads first, and
        whether it is needed elsewhere. Not where results lie in another order: tiles would write them bit by bit."""

        def plain(root: Node) -> bool:
            anchor = self.anchor.get(root)
            return root not in self.layouts and anchor is not None and anchor.prim.name == "dot_general"

        products = {g[0] for g in groups if len(g) == 1 and plain(g[0])}
        found = first_readers(groups, lambda g: reads_of(self.made(g), self.stored), products)
        fits = {r for r in found if joins(r) is not None and r not in self.layouts}
        return {r: (p, more or p in self.outputs) for r, (p, more) in found.items() if r in fits}

    def made(self, group: Sequence[Node]) -> list[Node]:
        """The roots of a group and what their kernel stores beside them."""
        return [n for r in group for n in ((r, *self.rows[r].beside) if r in self.rows else (r,))]

    def results(self, node: Node) -> list[Node]:
        """The node itself, or the picks of its results."""
        if type(node.sig.out) is not tuple:
            return [node]
        return [u for u in self.users.get(node, ()) if u.prim is pick_prim]

    def _extend(self, anchor: Node, supported: Callable[[Node], bool]) -> None:
        """Let the anchor's kernel go on through the elementwise operations that are its only use."""
        root = anchor
        path: list[list[Node]] = []

        def fits(user: Node, above: Collection[Node]) -> bool:
            found = user.prim.elementwise or _rounds(user, anchor)
            found = found and user.shape == anchor.shape and supported(user)
            found = found and user.dtype.kind != "c"
            found = found and user not in self.rows and user not in self.beside
            return found and user not in self.anchor and not self._holds_anchor(user, above)

        while anchor.prim.name not in FINAL and root not in self.outputs:
            uses = self._uses(root)
            if len(uses) == 1 and (root not in self.stored or root is anchor):
                inside, user = [root], uses[0]
            elif len(uses) > 1 and (found := self._until_together(root, fits)) is not None:
                *inside, user = found
            else:
                break
            if not fits(user, inside):
                break
            path.append(inside)
            root = user
        while path and not contraction.can_store(anchor, root.dtype):
            root = path.pop()[0]
        for inside in path:
            self.stored.difference_update(inside)
        pool = self._pooling(anchor, root)
        if pool is not None and supported(pool):
            self.stored.discard(root)
            self.pooled[pool] = root
            root = pool
        home = self._home(anchor, root)
        home = self._turned(anchor, root) if home is None else home
        if home is not None:
            self.stored.discard(root)
            self.framed[home] = root
            root = home
        self.stored.add(root)
        self.anchor[root] = anchor

    def _until_together(
        self, root: Node, fits: Callable[[Node, Collection[Node]], bool]
    ) -> list[Node] | None:
        """A node with several uses, what follows it, and the one node where all of that comes together again: the
        product in x * sigmoid(x)."""
        inside, ahead = {root: None}, set(self.users[root])
        while len(ahead) > 1:
            node = min(ahead, key=self.position.__getitem__)
            needed = node in self.stored and len(self._uses(node)) == 1  # in memory, not for its many uses
            if needed or node in self.outputs or len(inside) == _TOGETHER or not fits(node, inside):
                return None
            inside[node] = None
            ahead.remove(node)
            ahead.update(self.users.get(node, ()))
        return [*inside, *ahead] if ahead else None

    def _pooling(self, anchor: Node, end: Node) -> Node | None:
        """The pooling that the kernel of a convolution can do, if nothing else needs what is pooled."""
        if anchor.prim.name != "conv" or not convolution.fits(anchor):
            return None
        if end in self.outputs or (end in self.stored and end is not anchor):
            return None
        pool = pooling_after(anchor, end, self._uses)
        if pool is None or pool in self.rows:
            return None
        between = pool.args[0]
        while between is not end and between not in self.stored:
            between = between.args[0]
        return pool if self._in_memory(anchor) and between is end else None

    def _home(self, anchor: Node, end: Node) -> Node | None:
        """The image with a border of zeros that the kernel of a convolution can write its results into."""
        if anchor.prim.name != "conv" or not convolution.fits(anchor) or is_narrow(anchor):
            return None
        if end in self.outputs or end.dtype is not anchor.dtype or len(self._uses(end)) != 1:
            return None
        (home,) = self._uses(end)
        if home not in self.stored and len(self._uses(home)) == 1:
            (home,) = self._uses(home)
        if home not in self.stored or inside_of(home) is not end or home in self.rows:
            return None
        return home if self._in_memory(anchor) else None

    def _turned(self, anchor: Node, end: Node) -> Node | None:
        """The result of the program that is what the kernel of a convolution makes, but for the channels, which come
        last: they do so in memory anyway."""
        if anchor.prim.name != "conv" or not convolution.fits(anchor) or is_kernel_gradient(anchor):
            return None
        if end in self.outputs or end.dtype is not anchor.dtype or len(self._uses(end)) != 1:
            return None
        (view,) = self._uses(end)
        last = view.prim is permute and view.attrs["axes"] == channels_last(view.ndim)
        return view if last and view in self.outputs and self._in_memory(anchor) else None

    def _in_memory(self, conv: Node) -> bool:
        """Whether both operands of a convolution are stored, or parts of what is, or kernels in panels."""
        x, w = conv.args
        while x not in self.stored and x.value is None and x.prim in (slice_, permute):
            x = x.args[0]
        return (
            x in self.stored and (behind_views(w) if w.prim is reshape or suits(conv) else w) in self.stored
        )

    def _holds_anchor(self, user: Node, above: Collection[Node]) -> bool:
        """Whether another operand of `user` than those `above` has an anchor inside, so that one kernel would have two,
        or is made by a group of rows that needs `user`; or reads several elements for each, which rows of a tile would
        each look for by themselves."""
        stack = [a for a in user.args if a not in above]
        while stack:
            node = stack.pop()
            if node in self.beside and self.rows[self.beside[node]].needs(user):
                return True
            if node in self.stored or node.value is not None:
                continue
            if node.prim.name in builders or taps_of(node) > 1:
                return True
            stack.extend(node.args)
        return False


def _rounds(node: Node, anchor: Node) -> bool:
    """Whether a node rounds what follows an anchor to a 16-bit type, or takes it from there, where the anchor can.

    Sums of integers are followed to any type."""
    narrow = node.prim.name == "cast" and (node.dtype.storage_only or node.args[0].dtype.storage_only)
    whole = (
        node.prim.name == "cast" and anchor.dtype is int32 and anchor.prim.name in contraction.CONTRACTIONS
    )
    if not narrow and not whole:
        return False
    return anchor.prim.name not in contraction.CONTRACTIONS or contraction.ends_in_registers(anchor)
