"""Reverse mode of `scan`: a scan in the other direction.

It carries the cotangents of the carry and reads what the forward scan stacked up for it. Cotangents of constants are
summed up as it goes; but where a step's share is a product, as that of a weight matrix is, the factors of all steps
are stacked and multiplied once after the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.state import isolated
from ..ir.graph import Graph, fresh_inputs, instantiate, rebuild, toposort
from ..ir.node import Node, Signature, make_node
from ..ir.primitive import pick_prim, results
from ..ops.arithmetic import add
from ..ops.contraction import dot_general
from ..ops.control import call
from ..ops.loops import scan
from ..ops.movement import permute, reshape, zeros
from .absent import without
from .pairs import Need, Pair, vjp_pair
from .saved import Saved, widen, with_residuals
from .scans import Loop, moving_arguments

#: Where the values of all steps of something in the reverse body are: ("read", k), ("ct", y_i) or ("result", k).
_Source = tuple[str, int]


@dataclass(frozen=True)
class _Product:
    """A cotangent of a constant as a product of values that each step has: contracted over the steps as well."""

    left: _Source
    right: _Source
    contract: tuple[tuple[int, ...], tuple[int, ...]]
    then: tuple[Signature, ...]  #: movement that follows

    def over_steps(self, stacked: Callable[[_Source], Node]) -> Node:
        """The sum over all steps."""
        c0, c1 = self.contract
        contract = (0, *[a + 1 for a in c0]), (0, *[a + 1 for a in c1])
        out = dot_general(stacked(self.left), stacked(self.right), contract=contract, batch=((), ()))
        for sig in self.then:
            out = make_node(sig, (out,))
        return out


@dataclass(frozen=True)
class _Backward:
    """A reverse loop. Its constants are those that the backward graph reads; its carry the cotangents of the active
    carries, then the sums for the constants in `summed`; its sequences the other reads, then the cotangents of the y_i
    that there are; its results after the carry the cotangents of the sequences, then factors of `products`."""

    loop: Loop
    summed: tuple[int, ...]
    moved_xs: tuple[int, ...]  #: the sequences that have cotangents
    products: tuple[tuple[int, tuple[_Product, ...]], ...]


class ScanSaved(Saved):
    """The rule of a scan that stacks up what its reverse pass reads.

    `sources` says for each value that the backward body reads where it comes from: an argument (True, i) or a
    result (False, i) of the wide scan. Constants are passed as they are, the others step by step.
    """

    __slots__ = ("active", "backwards", "loop", "pair", "sources")

    def __init__(
        self, plain: Signature, need: Need, loop: Loop, active: Need, pair: Pair, sources: Any
    ) -> None:
        super().__init__(plain, need, tuple(dict.fromkeys(sources)))
        self.loop = loop
        self.active = active
        self.pair = pair
        self.sources = sources
        self.backwards: dict[Need, _Backward] = {}

    def backward(self, present: Need) -> _Backward:
        """The reverse loop, where `present` tells which y_i have cotangents."""
        found = self.backwards.get(present)
        if found is None:
            with isolated():
                found = self.backwards[present] = _reverse(self, present)
        return found


def _attrs(sig: Signature) -> tuple[Loop, Any]:
    attrs = dict(sig.attrs)
    rule = attrs.pop("rule")
    return Loop(**attrs), rule


def _widen(sig: Signature, need: Need) -> Signature:
    loop, _ = _attrs(sig)
    active = moving_arguments(loop, need)
    pair = vjp_pair(loop.body, active)
    stacked: list[Node] = []

    def result(node: Node) -> tuple[bool, int]:
        """The result of the wide scan that holds this value of every step."""
        own = pair.forward.outputs[loop.carries : pair.results]
        if node in own:
            return False, loop.carries + own.index(node)
        if node not in stacked:
            stacked.append(node)
        return False, pair.results + stacked.index(node)

    sources: list[tuple[bool, int]] = []
    for is_arg, i in pair.reads:
        if is_arg:
            carried = loop.consts <= i < loop.first_x
            sources.append(result(pair.forward.inputs[i]) if carried else (True, i))
        elif loop.carries <= i < pair.results:
            sources.append((False, i))
        else:
            sources.append(result(pair.forward.outputs[i]))
    forward = Graph(pair.forward.inputs, [*pair.forward.outputs[: pair.results], *stacked])
    wide = Loop(forward, loop.consts, loop.carries, loop.length, loop.reverse)
    return wide.signature(sig.inputs, ScanSaved(sig, need, loop, active, pair, tuple(sources)))


widen[scan] = _widen


def _reverse(saved: ScanSaved, present: Need) -> _Backward:
    loop, pair, active = saved.loop, saved.pair, saved.active
    reads = fresh_inputs([pair.backward.inputs[k].aval for k in range(len(pair.reads))])
    outs = loop.body.out_avals
    cts: list[Node | None] = []
    for i, o in enumerate(outs):
        moves = active[loop.consts + i] if i < loop.carries else present[i - loop.carries]
        cts.append(fresh_inputs([o])[0] if moves else None)
    given = [c for o, c in zip(outs, cts, strict=True) if o.dtype.inexact]
    body = _opened(pair.backward, [k for k, i in enumerate(pair.found) if i < loop.consts])
    body, there = without(body, (*[False] * len(reads), *[c is None for c in given]))
    positions = [i for i, t in zip(pair.found, there, strict=True) if t]
    pulled = instantiate(body, [*reads, *[c for c in given if c is not None]])
    grads = dict(zip(positions, pulled, strict=True))
    is_const = [_is_const(loop, s) for s in saved.sources]
    consts = [r for r, c in zip(reads, is_const, strict=True) if c]
    y_cts = {c: ("ct", i) for i, c in enumerate(cts[loop.carries :]) if c is not None}
    available: dict[Node, _Source] = {r: ("read", k) for k, r in enumerate(reads) if not is_const[k]}
    available.update(y_cts)
    moved_xs = tuple([i for i in positions if i >= loop.first_x])
    xs_grads = [grads[i] for i in moved_xs]
    available.update({g: ("result", k) for k, g in enumerate(xs_grads)})
    factors = _Factors(available, _fixed(list(grads.values()), consts), len(xs_grads))
    products = {i: p for i in positions if i < loop.consts and (p := factors.products(grads[i]))}
    summed = [i for i in positions if i < loop.consts and i not in products]
    sums = fresh_inputs([loop.body.in_avals[i] for i in summed])
    moved = [i for i in range(loop.consts, loop.first_x) if active[i]]
    state = [grads[i] if i in grads else zeros(loop.body.in_avals[i]) for i in moved]
    state += [s + grads[i] for i, s in zip(summed, sums, strict=True)]
    carry = [c for c in cts[: loop.carries] if c is not None] + sums
    xs = [r for r, c in zip(reads, is_const, strict=True) if not c] + list(y_cts)
    graph = Graph([*consts, *carry, *xs], [*state, *xs_grads, *factors.stacked])
    back = Loop(graph, len(consts), len(carry), loop.length, not loop.reverse)
    return _Backward(back, tuple(summed), moved_xs, tuple(products.items()))


def _is_const(loop: Loop, source: tuple[bool, int]) -> bool:
    return source[0] and source[1] < loop.consts


def _fixed(outputs: Sequence[Node], consts: Sequence[Node]) -> set[Node]:
    """The nodes behind `outputs` that are computed from `consts` and numbers alone."""
    fixed = set(consts)
    for n in toposort(outputs):
        if n.value is not None or (n.args and all(a in fixed for a in n.args)):
            fixed.add(n)
    return fixed


class _Factors:
    """Finds cotangents that are products, and collects the factors that the loop must stack up for them."""

    def __init__(self, available: dict[Node, _Source], fixed: set[Node], first: int) -> None:
        self.available = available
        self.first = first  #: number of the first result that holds a factor
        self.stacked: list[Node] = []
        self.fixed = fixed  #: the same in every step, so that there is nothing to stack

    def products(self, node: Node) -> tuple[_Product, ...] | None:
        """`node` as a sum of products that change from step to step, or None if it is not one."""
        then: list[Signature] = []
        while node.prim is permute or node.prim is reshape:
            then.append(node.sig)
            node = node.args[0]
        if node.prim is add and not then and node.args[0].aval is node.args[1].aval:
            parts = [self.products(a) for a in node.args]
            return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]
        if node.prim is not dot_general or node.attrs["batch"] != ((), ()):
            return None
        if any(a in self.fixed for a in node.args):
            return None
        left, right = (self._source(a) for a in node.args)
        return (_Product(left, right, node.attrs["contract"], tuple(reversed(then))),)

    def _source(self, node: Node) -> _Source:
        found = self.available.get(node)
        if found is None:
            found = self.available[node] = ("result", self.first + len(self.stacked))
            self.stacked.append(node)
        return found


def _opened(graph: Graph, results_: Sequence[int]) -> Graph:
    """`graph` with the calls that compute the given results replaced by their bodies."""
    opened: set[Node] = set()
    for k in results_:
        node = graph.outputs[k]
        parent = node.args[0] if node.prim is pick_prim else node
        if parent.prim is call and getattr(parent.attrs["rule"], "barrier", None) is None:
            opened.add(parent)
    if not opened:
        return graph
    inner: dict[Node, tuple[Node, ...]] = {}

    def make(node: Node, args: tuple[Node, ...]) -> Node:
        if node in opened:
            outs = instantiate(node.attrs["body"], args)
            new = outs[0] if type(node.sig.out) is not tuple else rebuild(node, args)
            inner[new] = outs
            return new
        if node.prim is pick_prim and args[0] in inner:
            return inner[args[0]][node.attrs["index"]]
        return rebuild(node, args)

    inputs = fresh_inputs(graph.in_avals)
    return _opened(Graph(inputs, instantiate(graph, inputs, make)), results_)


def scan_vjp(
    cts: Sequence[Node | None], outs: Sequence[Node], args: Sequence[Node], need: Need, **attrs: Any
) -> list[Node | None]:
    """Cotangents of the arguments of a scan."""
    rule = attrs.pop("rule")
    loop = Loop(**attrs)
    sig = loop.signature([a.aval for a in args])
    if isinstance(rule, ScanSaved):
        count = rule.pair.results
        if not any(c is not None for c in cts[count:]):
            if rule.covers(need):
                return _pull(rule, cts[:count], outs, args, need)
            cts, outs, sig = cts[:count], outs[:count], rule.plain
    wide = with_residuals(sig, need)
    return _pull(wide.attrs["rule"], cts, results(make_node(wide, tuple(args))), args, need)


def _pull(
    rule: ScanSaved, cts: Sequence[Node | None], saved: Sequence[Node], args: Sequence[Node], need: Need
) -> list[Node | None]:
    loop = rule.loop
    out: list[Node | None] = [None] * len(args)
    y_cts = cts[loop.carries :]
    back = rule.backward(tuple([c is not None for c in y_cts]))
    reads = [args[i] if is_arg else saved[i] for is_arg, i in rule.sources]
    is_const = [_is_const(loop, s) for s in rule.sources]
    moved = [i for i in range(loop.consts, loop.first_x) if rule.active[i]]
    given = [r for r, c in zip(reads, is_const, strict=True) if c]
    for i in moved:
        ct = cts[i - loop.consts]
        given.append(zeros(args[i].aval) if ct is None else ct)
    given += [zeros(args[i].aval) for i in back.summed]
    given += [r for r, c in zip(reads, is_const, strict=True) if not c]
    given += [c for c in y_cts if c is not None]
    if not back.loop.body.outputs:
        outs: tuple[Node, ...] = ()
    else:
        outs = back.loop.bind(given)
    positions = [*moved, *back.summed, *back.moved_xs]
    for i, found in zip(positions, outs, strict=False):
        out[i] = found if need[i] else None

    def stacked(source: _Source) -> Node:
        kind, k = source
        if kind == "read":
            return reads[k]
        found = y_cts[k] if kind == "ct" else outs[back.loop.carries + k]
        assert found is not None
        return found

    for i, products in back.products:
        if need[i]:
            total = products[0].over_steps(stacked)
            for p in products[1:]:
                total = total + p.over_steps(stacked)
            out[i] = total
    return out
