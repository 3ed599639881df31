"""From a graph to kernels: the steps that compute it, in order, and the loops of each of them.

Every node that is stored (`plan`) becomes one kernel, alone or with others that are alike in what they read.
"""

from __future__ import annotations

from collections.abc import Callable
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
    plan = Plan(graph, supported)
    roots = [n for n in graph.nodes if n in plan.stored and n.value is None and n.prim is not pick_prim]
    roots = [n for n in roots if n not in plan.beside]

    def native(node: Node) -> bool:
        return supported(node) and (can_pull(node) or node.prim.name in builders)

    @cache
    def joins(root: Node) -> object | None:
        alone = not native(root) or root in plan.anchor or root in plan.rows or root.prim.name in builders
        alone = alone or looks_up(root, plan.stored) or plan.depth[root] > DEEP // 3 or goes_over_taps(root)
        return None if alone else (domain(root, plan.layouts), plan.layouts.get(root))

    @cache
    def after(root: Node) -> list[Node]:
        """The roots that must come first; one result of several comes from the node that has them."""
        reads = reads_of(plan.made([root]), plan.stored) if native(root) else root.args
        return [a.args[0] if a.prim is pick_prim else plan.beside.get(a, a) for a in reads]

    groups = merge(roots, joins, after)
    products = plan.followed(groups, joins)
    if products:  # these groups read what their products read, and so may others join them
        inside = {product for product, _ in products.values()}
        groups = merge(
            roots, joins, lambda r: [y for x in after(r) for y in (x, *(after(x) if x in inside else ()))]
        )
        products = plan.followed(groups, joins)
    wanted = set(graph.outputs)
    for group in groups:
        wanted.update(reads_of(plan.made(group), plan.stored) if native(group[0]) else group[0].args)
    inside = {product for product, _ in products.values()}
    steps: list[Step] = []
    for group in groups:
        root, name = group[0], f"{prefix}{len(steps)}"
        if root in inside:
            continue  # it is made where it is read first
        try:
            if root in products:
                step = _sliced_step(group, products[root], wanted, plan, name)
                if step is not None:
                    steps.append(step)
                    continue
                steps += _kernel_steps([products[root][0]], wanted, plan, name)
                name = f"{prefix}{len(steps)}"
            if native(root):
                steps += _kernel_steps(group, wanted, plan, name)
            else:
                steps.append(Step(root, None, list(root.args), plan.results(root)))
        except Exception as error:
            error.about = root  # type: ignore[attr-defined]  (whoever reports it knows the user's line)
            raise
    return steps


def _common(
    group: list[Node], wanted: set[Node], plan: Plan, name: str, stored: set[Node], anchor: Node | None
) -> tuple[Common, list[Node], list[Node]]:
    """(what the kernel of a group is built from, what it reads, the roots that it stores).

    What of the group only the others in it need stays in registers."""
    reads = reads_of(group, stored)
    roots = [r for r in group if r in wanted] or group
    lowering = Lowering({n: i for i, n in enumerate(reads)}, plan.layouts)
    types = tuple([real_dtype(n.dtype) for n in reads])
    framed = plan.framed.get(roots[0])
    pooled = plan.pooled.get(roots[0] if framed is None else framed)
    return Common(name, roots[0], anchor, lowering, types, pooled, framed), reads, roots


def _sliced_step(
    group: list[Node], product: tuple[Node, bool], wanted: set[Node], plan: Plan, name: str
) -> Step | None:
    """The kernel of a group and of the product that it reads, if that can be one."""
    node, needed = product
    common, reads, roots = _common(group, wanted, plan, name, plan.stored - {node}, plan.anchor[node])
    key = "sliced", needed, likeness(roots, reads, plan.layouts, [node, common.anchor])
    kernel = plan.kind(key, lambda: sliced(common, roots, node if needed else None))
    if kernel is None:
        return None
    return Step(roots[0], kernel, reads, [*roots, node] if needed else roots, name=name)


def _kernel_steps(group: list[Node], wanted: set[Node], plan: Plan, name: str) -> list[Step]:
    """The kernel of a group, and before it what prepares its operands."""
    found = plan.anchor.get(group[0])
    common, reads, roots = _common(plan.made(group), wanted, plan, name, plan.stored, found)
    if group[0] in plan.rows:
        rows, group = plan.rows[group[0]], plan.made(group)
        key = "rows", rows.whole, likeness(group, reads, plan.layouts, rows.reductions)
        kernel = plan.kind(key, lambda: row_kernel(replace(common, root=group[0]), rows))
        return [Step(group[0], kernel, reads, group, name=name)]
    key = "kernel", likeness(roots, reads, plan.layouts, [found, common.pooled, common.framed])
    build = builders[found.prim.name] if found is not None else lambda c: elementwise(c, roots)
    kernel = plan.kind(key, lambda: build(common))
    if isinstance(kernel, tuple):  # what is summed up first, and what is made of it
        total = kernel[0].sizes[2] * kernel[0].units
        made = placeholder(Aval((total,), common.anchor.dtype))  # type: ignore[union-attr]
        return [
            Step(roots[0], kernel[0], reads, [made], name=name),
            Step(roots[0], kernel[1], [*reads, made], roots, name=name),
        ]
    if isinstance(kernel, Sort):
        roots = [*roots, placeholder(Aval((kernel.scratch,), uint8))]  # memory that only this step uses
    if not isinstance(kernel, Winograd):
        return [Step(roots[0], kernel, reads, roots, roots[0].prim is identity, name)]
    assert found is not None
    w = behind_views(found.args[1])
    made = placeholder(Aval((transformed_size(found),), found.dtype))
    key = "transformed", found.sig, likeness([found.args[1]], [w], plan.layouts)
    change = plan.kind(key, lambda: transformed(f"{name}w", Lowering({w: 0}, plan.layouts), found))
    return [
        Step(found, change, [w], [made], True, f"{name}w"),
        Step(roots[0], kernel, [*reads, made], roots, name=name),
    ]
