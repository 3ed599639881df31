"""From graphs to regions: scheduled graphs with the regions of their loops and branches inside.

A loop whose body has native code throughout becomes a step like any other, whose scratch memory is what the body
needs. One with a step for the host inside is left to the host as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ...base.state import isolated
from ...ir.dtype import uint8
from ...ir.graph import Graph, fresh_inputs, instantiate, rebuild
from ...ir.node import Aval, Node, Signature
from ...ir.primitive import pick_prim, placeholder
from ...kernel.blocks import reduce_in_blocks
from ...kernel.branches import plain_indices
from ...kernel.channels import sum_by_rows
from ...kernel.complexes import EDGES, split_complex
from ...kernel.folding import fold_taps
from ...kernel.hoist import hoist_invariants
from ...kernel.joining import join_in_steps
from ...kernel.layout import separate_operands
from ...kernel.long_dots import sum_side_by_side
from ...kernel.lower import pulls
from ...kernel.memory import ALIGNMENT, Arena, nbytes, plan_arena
from ...kernel.narrow import widen_storage
from ...kernel.ordering import in_order
from ...kernel.outer import multiply_outright
from ...kernel.packing import pack_constants, pack_steady
from ...kernel.results import copy_results
from ...kernel.schedule import Step, builders, schedule
from ...kernel.taps import spread_windows
from ...kernel.trimming import trim_convolutions
from ...kernel.upsampling import convolve_before_repeating
from ...kernel.wide import is_wide, is_wide_conv, multiply_wide
from ...kernel.words import group_integers
from ...ops.control import call, cond
from ...ops.loops import scan, while_loop
from ...ops.movement import identity
from ...passes.pipeline import PASSES, Pass, Watch, run_passes
from .processor import host_target
from .scalar import table


def supported(node: Node) -> bool:
    """Whether a node is a constant, or there is native code for what it does."""
    return node.value is not None or has_code(node.sig)


@lru_cache(maxsize=1 << 14)
def has_code(sig: Signature) -> bool:
    """Whether there is native code for an operation on its types."""
    name, out = sig.prim.name, sig.out
    if sig.prim is pick_prim or isinstance(out, tuple):
        return False
    if sig.is_complex:
        return name in EDGES
    if sig.prim.computes and any(a.dtype.storage_only for a in sig.inputs):
        return is_wide(sig) or is_wide_conv(sig)  # `widen_storage` leaves no others
    return name in table or name in builders or name in pulls


def numbered(graph: Graph) -> Graph:
    """`graph` with the position of each node in place of its source line: it survives the passes, and tells an
    error which node of the graph it is about."""
    position = {n: i for i, n in enumerate(graph.nodes)}

    def make(old: Node, args: tuple[Node, ...]) -> Node:
        new = rebuild(old, args)
        new.site = (None, position[old])
        return new

    with isolated():
        inputs = fresh_inputs(graph.in_avals)
        return Graph(inputs, instantiate(graph, inputs, make))


def prepare(graph: Graph, watch: Watch | None = None, steady: Collection[int] = ()) -> Graph:
    """`graph` after all passes, made of operations that there are kernels for, where possible.

    `watch(name, graph)` sees it after each pass. The inputs with the numbers `steady` seldom change from run to run.
    """
    return run_passes(graph, watch, all_passes(steady))


def _multiply_wide(graph: Graph) -> Graph:
    target = host_target()
    return multiply_wide(graph, target.pairs) if target.wide else graph


def _widen_storage(graph: Graph) -> Graph:
    return widen_storage(graph, host_target().wide)


def _group_integers(graph: Graph) -> Graph:
    return group_integers(graph, host_target().dots)


#: All passes, in order: those for every compiling backend, and those that fit a graph to the kernels of this one.
#: Behind them comes the one of `all_passes`.
_PASSES: tuple[tuple[str, Pass], ...] = (
    *PASSES,
    ("hoist out of loops", hoist_invariants),
    ("pack constants of loops", pack_constants),
    ("plain indices", plain_indices),
    ("trim convolutions", trim_convolutions),
    ("multiply outright", multiply_outright),
    ("multiply bfloat16", _multiply_wide),
    ("widen storage types", _widen_storage),
    ("group small integers", _group_integers),
    ("split complex numbers", split_complex),
    ("join in steps", join_in_steps),
    ("sum by rows", sum_by_rows),
    ("long dot products", sum_side_by_side),
    ("reduce in blocks", reduce_in_blocks),
    ("convolve before repeating", convolve_before_repeating),
    ("fold taps", fold_taps),
    ("separate operands", separate_operands),
    ("spread windows", spread_windows),
    ("copy results", copy_results),
)


def all_passes(steady: Collection[int] = ()) -> tuple[tuple[str, Pass], ...]:
    """All passes, in order, of a graph whose inputs with the numbers `steady` seldom change from run to run."""
    return (*_PASSES, ("pack steady matrices", lambda graph: pack_steady(graph, steady)))


@dataclass(eq=False)
class Region:
    """A scheduled graph: its steps, where their results lie, and the control flow among them."""

    graph: Graph
    steps: list[Step]
    arena: Arena
    inner: dict[Step, Control] = field(default_factory=dict)
    source: Graph | None = None  #: a body as it was before all passes

    def all_steps(self) -> Iterator[Step]:
        """Its own steps and those of the regions inside, in the order of the code."""
        for step in self.steps:
            yield step
            if step in self.inner:
                for region in self.inner[step].regions:
                    yield from region.all_steps()

    def repeats(self) -> dict[Step, int]:
        """How often each of these steps runs in one run of the program; loops that end by themselves count as some."""
        found: dict[Step, int] = {}
        for step in self.steps:
            found[step] = 1
            if step in self.inner:
                node = step.node
                times = (
                    int(node.attrs["length"]) if node.prim is scan else 16 if node.prim is while_loop else 1
                )
                for region in self.inner[step].regions:
                    found.update({s: n * times for s, n in region.repeats().items()})
        return found

    @property
    def native(self) -> bool:
        """Whether nothing in it is for the host."""
        return all(s.kernel is not None or s in self.inner for s in self.steps)


@dataclass(eq=False)
class Control:
    """What one step of control flow runs. `results[k]` is the number of the node's result that step writes k is."""

    node: Node
    regions: list[Region]
    results: list[int]
    scratch: Node | None  #: memory that only this step uses: first that of the regions, then what is carried
    carried: dict[int, int] = field(default_factory=dict)  #: carry -> where in the scratch its two places are


def plan(graph: Graph, prefix: str = "k") -> Region:
    """The region of a prepared graph; its kernels are named with `prefix`."""
    steps = in_order(schedule(graph, supported, prefix), {*graph.inputs, *graph.outputs})
    inner: dict[Step, Control] = {}
    for i, step in enumerate(steps):
        if step.kernel is None and step.node.prim in (scan, while_loop, cond, call):
            found = _control(step, f"{prefix}{i}_")
            if found is not None:
                inner[step] = found
                if found.scratch is not None:
                    step.writes.append(found.scratch)
    return Region(graph, steps, plan_arena(graph, steps), inner)


def _control(step: Step, prefix: str) -> Control | None:
    """The native form of a step of control flow; None if a part of it is for the host."""
    results = [n.attrs["index"] if n.prim is pick_prim else 0 for n in step.writes]
    node = step.node
    regions: list[Region] = []
    for k, (body, wanted) in enumerate(_bodies(node, results)):
        keep = {}
        if node.prim is scan or (node.prim is while_loop and k == 1):
            keep = _unchanged(node, body)
        source = Graph(body.inputs, [body.outputs[i] for i in wanted])
        own = own_results(prepare(numbered(source)), keep)
        regions.append(plan(own, f"{prefix}{k}_"))
        regions[-1].source = source
        if not regions[-1].native:
            return None
    size = [r.arena.size for r in regions]
    total = max(size, default=0) if node.prim in (cond, call) else sum(size)
    carried: dict[int, int] = {}
    if node.prim in (scan, while_loop):
        first, count = carry_range(node)
        body = regions[-1].graph
        for i in range(count):
            o = body.outputs[i]
            if o is body.inputs[first + i] or o in body.outputs[:i] or o in body.outputs[count:]:
                continue
            carried[i] = total
            total += 2 * nbytes(o)
    if node.prim is while_loop:
        total += ALIGNMENT  # for the condition
    scratch = placeholder(Aval((total,), uint8)) if total else None
    return Control(node, regions, results, scratch, carried)


def carry_range(node: Node) -> tuple[int, int]:
    """(position of the first carry among the inputs of the body, how many there are)."""
    if node.prim is scan:
        return node.attrs["consts"], node.attrs["carries"]
    return node.attrs["body_consts"], len(node.sig.outs)


def _bodies(node: Node, results: Sequence[int]) -> list[tuple[Graph, list[int]]]:
    """The sub-graphs of a node, each with the numbers of those of its outputs that are needed."""
    attrs = node.attrs
    if node.prim is scan:
        carries = attrs["carries"]
        ys = sorted(i for i in results if i >= carries)
        return [(attrs["body"], [*range(carries), *ys])]
    if node.prim is while_loop:
        return [(attrs["cond"], [0]), (attrs["body"], list(range(len(node.sig.outs))))]
    graphs = attrs["branches"] if node.prim is cond else (attrs["body"],)
    return [(g, list(results)) for g in graphs]


def _unchanged(node: Node, body: Graph) -> dict[int, int]:
    """The carries that a step does not touch: output -> input."""
    first, count = carry_range(node)
    return {i: first + i for i in range(count)}


def own_results(graph: Graph, keep: Mapping[int, int] | None = None) -> Graph:
    """`graph` with every output in memory of its own: copies of inputs, constants and outputs that occur twice.

    `keep`: outputs that may be the given input. One output may be both a carry and a result of the step; carries
    (the outputs in `keep`) may be the same value.
    """
    keep = keep or {}
    made = {n for n in graph.nodes if n.value is None}
    seen: set[Node] = set()
    wanted: list[bool] = []
    for i, o in enumerate(graph.outputs):
        if i in keep:
            wanted.append(o not in made and o is not graph.inputs[keep[i]])
        else:
            wanted.append(o not in made or o in seen)
            seen.add(o)
    if not any(wanted):
        return graph
    outputs = []
    with isolated():
        for o, w in zip(graph.outputs, wanted, strict=True):
            outputs.append(identity(o) if w else o)
            outputs[-1].site = o.site
        return split_complex(Graph(graph.inputs, outputs))
