"""Derivatives and batching of `call`: a named body, differentiated as a whole.

The `rule` of a call is None (everything follows from the body) or an object, compared by content, with any of

- `vjp(cts, outs, *args)`: cotangents of the arguments, as a composite states them
- `pair(body, need) -> Pair`: the whole forward/backward pair
- `tangents(body, moving) -> (graph, present)`: forward mode, like `jvp_graph`
- `remat = True`: keep nothing but the arguments for reverse mode; `backward_rule`: the rule of the backward call
- `consts`: so many of the first arguments have no derivative
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..base.errors import GradientError
from ..ir.graph import Graph
from ..ir.node import Node, Signature, make_node
from ..ir.primitive import results
from ..ir.serialize import follows_body, register_codec
from ..ir.shape import Size
from ..ops.control import call
from .absent import without
from .graphs import batch_graph, jvp_graph
from .pairs import Need, Pair, batch_pair, vjp_pair
from .saved import Saved, saving_results, widen, with_residuals


class Residuals(Saved):
    """The rule of a call that returns its residuals already."""

    __slots__ = ("_backwards", "pair")

    def __init__(self, plain: Signature, need: Need, pair: Pair) -> None:
        super().__init__(plain, need, pair.reads)
        self.pair = pair
        self._backwards: dict[Need, tuple[Signature, tuple[int, ...]]] = {}

    def backward(self, present: Need) -> tuple[Signature, tuple[int, ...]]:
        """The signature of the call that is the backward pass, where `present` tells which cotangents there are, and
        the positions of the arguments that it finds cotangents of."""
        found = self._backwards.get(present)
        if found is None:
            graph, positions = self.pair.backward, self.pair.found
            if not all(present):
                zero = (*[False] * len(self.pair.reads), *[not p for p in present])
                graph, there = without(graph, zero)
                positions = tuple([i for i, t in zip(positions, there, strict=True) if t])
            name, own = self.plain.attrs["name"], self.plain.attrs["rule"]
            sig = call.signature(graph.in_avals, (name + ".vjp", graph, getattr(own, "backward_rule", None)))
            found = self._backwards[present] = sig, positions
        return found


def _widen(sig: Signature, need: Need) -> Signature:
    pair = vjp_pair(sig.attrs["body"], need, sig.attrs["rule"])
    return call.signature(sig.inputs, (sig.attrs["name"], pair.forward, Residuals(sig, need, pair)))


widen[call] = _widen


def call_vjp(
    cts: Sequence[Node | None],
    outs: Sequence[Node],
    args: Sequence[Node],
    name: str,
    body: Graph,
    rule: Any,
    need: Need,
) -> list[Node | None]:
    """Reverse mode through a `call` node."""
    if isinstance(rule, Residuals):
        count = rule.pair.results
        if not any(c is not None for c in cts[count:]):
            if rule.covers(need):
                return _pull(cts, outs, outs, args, name, rule, need)
            cts, outs = cts[:count], outs[:count]
            sig = rule.plain
        else:  # the residuals are differentiated themselves, for a second derivative
            sig = call.signature(body.in_avals, (name, body, None))
    else:
        sig = call.signature(body.in_avals, (name, body, rule))
    wide = with_residuals(sig, need)
    found: Residuals = wide.attrs["rule"]
    saved = outs if len(wide.outs) == len(outs) else results(make_node(wide, tuple(args)))
    return _pull(cts, outs, saved, args, name, found, need)


def _pull(
    cts: Sequence[Node | None],
    outs: Sequence[Node],
    saved: Sequence[Node],
    args: Sequence[Node],
    name: str,
    rule: Residuals,
    need: Need,
) -> list[Node | None]:
    pair, own = rule.pair, rule.plain.attrs["rule"]
    _refuse_closed(own, name, need)
    out: list[Node | None] = [None] * len(args)
    if not pair.found:
        return out
    given = [c for c, o in zip(cts[: pair.results], outs, strict=False) if c is not None or o.dtype.inexact]
    inputs = [args[i] if is_arg else saved[i] for is_arg, i in pair.reads]
    sig, positions = rule.backward(tuple([c is not None for c in given]))
    if not positions:
        return out
    found = saving_results(sig, (*inputs, *[c for c in given if c is not None]))
    for i, g in zip(positions, found, strict=True):
        out[i] = g if need[i] else None
    return out


def _refuse_closed(rule: Any, name: str, need: Sequence[bool]) -> None:
    if any(need[: getattr(rule, "consts", 0)]):
        raise GradientError(
            f"{name} has a derivative of its own with respect to its arguments alone, but it uses another tensor that "
            "is differentiated; pass that as an argument, or detach it"
        )


def tangent_graph(body: Graph, moving: Need, rule: Any) -> tuple[Graph, Need]:
    """`jvp_graph`, or what the rule has in its place."""
    own = getattr(rule, "tangents", None)
    return jvp_graph(body, moving) if own is None else own(body, moving)


def call_jvp(
    tangents: Sequence[Node | None],
    outs: Sequence[Node],
    args: Sequence[Node],
    name: str,
    body: Graph,
    rule: Any,
) -> list[Node | None]:
    """Forward mode through a `call` node."""
    if isinstance(rule, Residuals):
        inner = rule.plain.attrs["rule"]
        if not hasattr(inner, "tangents"):
            return call_jvp(tangents, outs, args, name, body, None)
        # The results have their own forward rule, the residuals follow from how they are computed.
        count = rule.pair.results
        own = call_jvp(tangents, outs[:count], args, name, rule.plain.attrs["body"], inner)
        rest = Graph(body.inputs, body.outputs[count:])
        return own + call_jvp(tangents, outs[count:], args, name, rest, None) if rest.outputs else own
    moving = tuple([t is not None for t in tangents])
    _refuse_closed(rule, name, moving)
    graph, present = tangent_graph(body, moving, rule)
    if not any(present):
        return [None] * len(outs)
    sig = call.signature(graph.in_avals, (name + ".jvp", graph, None))
    moved = (*args, *[t for t in tangents if t is not None])
    found = iter(saving_results(sig, moved))
    return [next(found) if p else None for p in present]


class BatchedRule:
    """The rule of a call whose body is the batch of one that had a rule."""

    __slots__ = ("batched", "body", "rule", "size")

    def __init__(self, rule: Any, body: Graph, batched: Need, size: Size) -> None:
        self.rule = rule
        self.body = body
        self.batched = batched
        self.size = size

    @property
    def follows_body(self) -> bool:
        """Whether the derivative is that of the batched body."""
        return follows_body(self.rule)

    @property
    def consts(self) -> int:
        """How many arguments the rule has no derivative for."""
        return getattr(self.rule, "consts", 0)

    @property
    def backward_rule(self) -> Any:
        """The rule of the call that is the backward pass."""
        return getattr(self.rule, "backward_rule", None)

    @property
    def barrier(self) -> Any:
        """The rule under which passes keep the call whole, if they must."""
        return getattr(self.rule, "barrier", None)

    @property
    def _content(self) -> tuple[Any, ...]:
        return self.rule, self.body, self.batched, self.size

    def with_sizes(self, size: Callable[[Any], Any]) -> BatchedRule:
        """The same rule once named dimensions have sizes."""
        return BatchedRule(size(self.rule), size(self.body), self.batched, size(self.size))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BatchedRule) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    def __repr__(self) -> str:
        return f"<batch of {self.rule!r}>"

    def pair(self, body: Graph, need: Need) -> Pair:
        return batch_pair(vjp_pair(self.body, need, self.rule), self.batched, self.size)

    def tangents(self, body: Graph, moving: Need) -> tuple[Graph, Need]:
        graph, present = tangent_graph(self.body, moving, self.rule)
        carried = [b for b, m in zip(self.batched, moving, strict=True) if m]
        return batch_graph(graph, (*self.batched, *carried), self.size), present


def _batched(sig: Signature, batched: Need, size: Size) -> Signature:
    """The signature of the batch of a call."""
    key = ("batch", batched, size)
    found = sig.memo.get(key)
    if found is None:
        name, body, rule = sig.attrs["name"], sig.attrs["body"], sig.attrs["rule"]
        graph = batch_graph(body, batched, size)
        if isinstance(rule, Residuals):
            plain = _batched(rule.plain, batched, size)
            rule = Residuals(plain, rule.need, batch_pair(rule.pair, batched, size))
        elif rule is not None:
            rule = BatchedRule(rule, body, batched, size)
        found = sig.memo[key] = call.signature(graph.in_avals, (name, graph, rule))
    return found


def call_batch(
    size: Size, batched: Need, args: Sequence[Node], name: str, body: Graph, rule: Any
) -> tuple[Node, ...]:
    """Batching of a `call` node."""
    sig = call.signature(body.in_avals, (name, body, rule))
    return saving_results(_batched(sig, batched, size), tuple(args))


register_codec(
    BatchedRule,
    "batched",
    lambda rule, plain: plain((rule.rule, rule.body, rule.batched, rule.size)),
    lambda data, value_of: BatchedRule(*value_of(data)),
)
