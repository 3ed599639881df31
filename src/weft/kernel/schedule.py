"""From a graph to kernels: the steps that compute it, in order, and the loops of each of them.

Every node that is stored (`plan`) becomes one kernel, alone or with others that are alike in what they read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from ..ir.dtype import real_dtype, uint8
from ..ir.graph import Graph
from ..ir.node import Aval, Node
from ..ir.primitive import pick_prim, placeholder
from ..ops.movement import identity
from . import contraction, convolution, running, sorting, windows  # noqa: F401  (declare their kernels)
from .alike import likeness
from .anchors import Common, builders
from .elementwise import domain, elementwise
from .loops import Kernel
from .lower import Lowering, can_pull
from .merge import merge
from .plan import Plan
from .pooling import goes_over_taps
from .reading import behind_views, looks_up, reads_of
from .rows import row_kernel
from .slices import sliced
from .sorting import Sort
from .storing import DEEP
from .tiles import Tiles
from .winograd import Winograd, transformed, transformed_size
from .winograd_gradient import Sums


@dataclass(eq=False)
class Step:
    """One thing a program does: run a kernel, or (kernel None) have the host compute `node`."""

    node: Node
    kernel: Kernel | Tiles | Sort | Winograd | Sums | None  #: the same object in steps that are alike
    reads: list[Node]  #: in the order of the kernel's inputs
    writes: list[Node]  #: what is stored: the node, or those of its several results that somebody uses
    prepares: bool = False  #: whether this is only what is read in another form, as its readers want it
    name: str = ""


def schedule(graph: Graph, supported: Callable[[Node], bool], prefix: str = "k") -> list[Step]:
    """The steps that compute `graph`, in order. `supported(node)`: its operation can be emitted.

    The names of the kernels begin with `prefix`."""
    return _Scheduler(graph, supported, prefix).scheduled()


class _Scheduler:
    """Makes the steps of a graph: kernels of groups of stored nodes, and nodes for the host."""

    def __init__(self, graph: Graph, supported: Callable[[Node], bool], prefix: str) -> None:
        self.plan = Plan(graph, supported)
        self.supported = supported
        self.prefix = prefix
        self.steps: list[Step] = []
        self.groups, self.products = self._grouped(graph)
        self.wanted = set(graph.outputs)  #: what must be in memory
        for group in self.groups:
            self.wanted.update(self._reads(group))

    def _native(self, node: Node) -> bool:
        return self.supported(node) and (can_pull(node) or node.prim.name in builders)

    def _reads(self, group: list[Node]) -> Sequence[Node]:
        """What is read for the roots of a group."""
        root = group[0]
        return reads_of(self.plan.made(group), self.plan.stored) if self._native(root) else root.args

    def _joins(self, root: Node) -> object | None:
        """What is equal for roots that one kernel may compute; None for one that stays alone."""
        plan = self.plan
        alone = (
            not self._native(root) or root in plan.anchor or root in plan.rows or root.prim.name in builders
        )
        alone = alone or looks_up(root, plan.stored) or plan.depth[root] > DEEP // 3 or goes_over_taps(root)
        # Each copy in an order of its own goes through what it copies in the order that suits it.
        alone = alone or (
            root.prim is identity and root in plan.layouts and behind_views(root.args[0]) in plan.stored
        )
        return None if alone else (domain(root, plan.layouts), plan.layouts.get(root))

    def _grouped(self, graph: Graph) -> tuple[list[list[Node]], dict[Node, tuple[Node, bool]]]:
        """The roots of each kernel; and the matrix products that some of these groups may be made with, see `Plan`."""
        plan = self.plan
        roots = [n for n in graph.nodes if n in plan.stored and n.value is None and n.prim is not pick_prim]
        roots = [n for n in roots if n not in plan.beside]
        joins = cache(self._joins)

        @cache
        def after(root: Node) -> list[Node]:
            """The roots that must come first; one result of several comes from the node that has them."""
            return [a.args[0] if a.prim is pick_prim else plan.beside.get(a, a) for a in self._reads([root])]

        groups = merge(roots, joins, after)
        products = plan.followed(groups, joins)
        if not products:
            return groups, products
        # These groups read what their products read, and so may others join them.
        inside = {product for product, _ in products.values()}
        groups = merge(
            roots, joins, lambda r: [y for x in after(r) for y in (x, *(after(x) if x in inside else ()))]
        )
        return groups, plan.followed(groups, joins)

    def scheduled(self) -> list[Step]:
        inside = {product for product, _ in self.products.values()}
        for group in self.groups:
            if group[0] in inside:
                continue  # it is made where it is read first
            try:
                self._add(group)
            except Exception as error:
                error.about = group[0]  # type: ignore[attr-defined]  (whoever reports it knows the user's line)
                raise
        return self.steps

    def _add(self, group: list[Node]) -> None:
        """Add the steps of a group, with the product that it is made with, or after it."""
        root = group[0]
        if root in self.products:
            step = self._sliced_step(group)
            if step is not None:
                self.steps.append(step)
                return
            self.steps += self._kernel_steps([self.products[root][0]])
        if self._native(root):
            self.steps += self._kernel_steps(group)
        else:
            self.steps.append(Step(root, None, list(root.args), self.plan.results(root)))

    @property
    def _name(self) -> str:
        """That of the next kernel."""
        return f"{self.prefix}{len(self.steps)}"

    def _common(
        self, group: list[Node], stored: set[Node], anchor: Node | None
    ) -> tuple[Common, list[Node], list[Node]]:
        """(what the kernel of a group is built from, what it reads, the roots that it stores).

        What of the group only the others in it need stays in registers."""
        plan, reads = self.plan, reads_of(group, stored)
        roots = [r for r in group if r in self.wanted] or group
        lowering = Lowering({n: i for i, n in enumerate(reads)}, plan.layouts)
        types = tuple([real_dtype(n.dtype) for n in reads])
        framed = plan.framed.get(roots[0])
        pooled = plan.pooled.get(roots[0] if framed is None else framed)
        return Common(self._name, roots[0], anchor, lowering, types, pooled, framed), reads, roots

    def _sliced_step(self, group: list[Node]) -> Step | None:
        """The kernel of a group and of the product that it reads, if that can be one."""
        plan, (product, needed) = self.plan, self.products[group[0]]
        common, reads, roots = self._common(group, plan.stored - {product}, plan.anchor[product])
        key = "sliced", needed, likeness(roots, reads, plan.layouts, [product, common.anchor])
        kernel = plan.kind(key, lambda: sliced(common, roots, product if needed else None))
        if kernel is None:
            return None
        return Step(roots[0], kernel, reads, [*roots, product] if needed else roots, name=self._name)

    def _kernel_steps(self, group: list[Node]) -> list[Step]:
        """The kernel of a group, and before it what prepares its operands."""
        plan, name = self.plan, self._name
        anchor = plan.anchor.get(group[0])
        common, reads, roots = self._common(plan.made(group), plan.stored, anchor)
        if group[0] in plan.rows:
            rows, group = plan.rows[group[0]], plan.made(group)
            key = "rows", rows.whole, likeness(group, reads, plan.layouts, rows.reductions)
            kernel = plan.kind(key, lambda: row_kernel(replace(common, root=group[0]), rows))
            return [Step(group[0], kernel, reads, group, name=name)]
        key = "kernel", likeness(roots, reads, plan.layouts, [anchor, common.pooled, common.framed])
        build = builders[anchor.prim.name] if anchor is not None else lambda c: elementwise(c, roots)
        kernel = plan.kind(key, lambda: build(common))
        if isinstance(kernel, tuple):  # what is summed up first, and what is made of it
            sums, results = kernel
            made = placeholder(Aval((sums.sizes[2] * sums.units,), common.anchor.dtype))  # type: ignore[union-attr]
            return [
                Step(roots[0], sums, reads, [made], name=name),
                Step(roots[0], results, [*reads, made], roots, name=name),
            ]
        if isinstance(kernel, Sort) and kernel.beside:
            roots = [*roots, placeholder(Aval((kernel.beside,), uint8))]  # memory that only this step uses
        if not isinstance(kernel, Winograd):
            return [Step(roots[0], kernel, reads, roots, roots[0].prim is identity, name)]
        assert anchor is not None
        w = behind_views(anchor.args[1])
        made = placeholder(Aval((transformed_size(anchor),), anchor.dtype))
        key = "transformed", anchor.sig, likeness([anchor.args[1]], [w], plan.layouts)
        change = plan.kind(key, lambda: transformed(f"{name}w", Lowering({w: 0}, plan.layouts), anchor))
        return [
            Step(anchor, change, [w], [made], True, f"{name}w"),
            Step(roots[0], kernel, [*reads, made], roots, name=name),
        ]
