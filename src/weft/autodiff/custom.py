"""The rules of calls whose derivatives users state, and of those that are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..base.state import isolated
from ..ir.graph import Graph, fresh_inputs, instantiate
from ..ir.node import GRAD, Aval, Node
from ..ir.primitive import results
from ..ir.serialize import register_codec
from ..ops.control import call
from ..ops.movement import zeros
from .pairs import Need, Pair, cotangents, make_pair
from .reverse import pullback
from .rules import jvp_by_transposing, variable


class Recomputed:
    """The rule of the backward pass of a checkpoint: passes keep the call whole, or they would find what it computes
    again to be there already, and so keep it in memory after all."""

    __slots__ = ()
    remat = True

    @property
    def barrier(self) -> Recomputed:
        """The rule under which passes keep the call whole."""
        return self

    @property
    def backward_rule(self) -> Recomputed:
        """The rule of the call that is its own backward pass."""
        return self

    def __repr__(self) -> str:
        return "recomputed"


RECOMPUTED = Recomputed()


class Checkpoint:
    """The rule of a call that keeps its arguments alone for reverse mode."""

    __slots__ = ()
    remat = True
    backward_rule = RECOMPUTED

    def __repr__(self) -> str:
        return "checkpoint"


CHECKPOINT = Checkpoint()
register_codec(Checkpoint, "checkpoint", lambda rule, plain: None, lambda data, value_of: CHECKPOINT)
register_codec(Recomputed, "recomputed", lambda rule, plain: None, lambda data, value_of: RECOMPUTED)


class _ByContent:
    """Rules are parts of signatures, so they compare by what they hold."""

    __slots__ = ()

    def _content(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.__slots__])

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._content() == other._content()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self), *self._content()))


def _fixed(graph: Graph, constants: Sequence[Node], own: Sequence[Aval]) -> Graph:
    """`graph` with constants for its first inputs, and in their place others that it does not look at."""
    with isolated():
        inputs = fresh_inputs(graph.in_avals[len(constants) :])
        outs = instantiate(graph, [*constants, *inputs])
        return Graph([*fresh_inputs(own), *inputs], outs)


class CustomVjp(_ByContent):
    """A reverse rule as two graphs over the inputs of the body, of which the first `consts` come from outside.

    `forward`: body inputs -> results, residuals. `backward`: (the first `consts` inputs, residuals, cotangents of
    the inexact results) -> cotangents of the inputs at `positions`.
    """

    __slots__ = ("forward", "backward", "results", "consts", "positions")

    def __init__(
        self, forward: Graph, backward: Graph, results: int, consts: int, positions: tuple[int, ...]
    ) -> None:
        self.forward = forward
        self.backward = backward
        self.results = results
        self.consts = consts
        self.positions = positions

    def __repr__(self) -> str:
        return "custom_vjp"

    def with_sizes(self, size: Callable[[Any], Any]) -> CustomVjp:
        """The rule once named dimensions have sizes."""
        return CustomVjp(size(self.forward), size(self.backward), self.results, self.consts, self.positions)

    def pair(self, body: Graph, need: Need) -> Pair:
        """The pair for the needed arguments. A residual that is an argument is read from there."""
        inputs = {n: i for i, n in enumerate(self.forward.inputs)}
        own = self.forward.outputs[: self.results]
        kept: list[Node] = []
        reads: list[tuple[bool, int]] = [(True, i) for i in range(self.consts)]
        for r in self.forward.outputs[self.results :]:
            if r in inputs:
                reads.append((True, inputs[r]))
                continue
            if r not in kept:
                kept.append(r)
            reads.append((False, self.results + kept.index(r)))
        chosen = [k for k, p in enumerate(self.positions) if need[p]]
        return Pair(
            forward=Graph(self.forward.inputs, [*own, *kept]),
            backward=Graph(self.backward.inputs, [self.backward.outputs[k] for k in chosen]),
            reads=tuple(reads),
            found=tuple([self.positions[k] for k in chosen]),
            results=self.results,
        )

    def with_constants(self, constants: Sequence[Node], own: Sequence[Aval]) -> CustomVjp:
        """The rule with its first inputs fixed, for a body that has inputs of its own in their place."""
        shift = len(own) - len(constants)
        return CustomVjp(
            _fixed(self.forward, constants, own),
            _fixed(self.backward, constants, own),
            self.results,
            len(own),
            tuple([p + shift for p in self.positions]),
        )

    def tangents(self, body: Graph, moving: Need) -> tuple[Graph, Need]:
        """Forward mode: the transpose of the backward graph, which is linear in the cotangents."""
        key = ("tangents", self, moving)
        found = body.memo.get(key)
        if found is None:
            with isolated():
                args = fresh_inputs(body.in_avals)
                given = [fresh_inputs([a.aval])[0] if m else None for a, m in zip(args, moving, strict=True)]
                node = call(*args, name="custom_vjp", body=body, rule=self)
                pushed = jvp_by_transposing(node, given)
                inputs = [*args, *[t for t in given if t is not None]]
                graph = Graph(inputs, [p for p in pushed if p is not None])
                found = body.memo[key] = graph, tuple([p is not None for p in pushed])
        return found


class CustomJvp(_ByContent):
    """A forward rule as a graph: (inputs of the body, tangents of its inexact arguments) -> tangents of the inexact
    results. The first `consts` inputs of the body come from outside and have no tangents."""

    __slots__ = ("name", "push", "consts")

    def __init__(self, name: str, push: Graph, consts: int) -> None:
        self.name = name
        self.push = push
        self.consts = consts

    def __repr__(self) -> str:
        return "custom_jvp"

    def with_sizes(self, size: Callable[[Any], Any]) -> CustomJvp:
        """The rule once named dimensions have sizes."""
        return CustomJvp(self.name, size(self.push), self.consts)

    def with_constants(self, constants: Sequence[Node], own: Sequence[Aval]) -> CustomJvp:
        """The rule with its first inputs fixed, for a body that has inputs of its own in their place."""
        return CustomJvp(self.name, _fixed(self.push, constants, own), len(own))

    def _pushed(self, args: Sequence[Node], tangents: Sequence[Node | None]) -> tuple[Node, ...]:
        given = [
            zeros(a.aval) if t is None else t
            for a, t in zip(args[self.consts :], tangents[self.consts :], strict=True)
            if a.dtype.inexact
        ]
        return instantiate(self.push, [*args, *given])

    def tangents(self, body: Graph, moving: Need) -> tuple[Graph, Need]:
        """What the rule says, with zeros for the tangents that are not there."""
        key = ("tangents", self, moving)
        found = body.memo.get(key)
        if found is None:
            with isolated():
                args = fresh_inputs(body.in_avals)
                given = [fresh_inputs([a.aval])[0] if m else None for a, m in zip(args, moving, strict=True)]
                pushed = self._pushed(args, given)
                graph = Graph([*args, *[t for t in given if t is not None]], pushed)
                found = body.memo[key] = graph, tuple([a.dtype.inexact for a in body.out_avals])
        return found

    def pair(self, body: Graph, need: Need) -> Pair:
        """Reverse mode: the transpose of the rule. The forward graph calls the function with its rule, so that a
        second derivative follows it again."""
        args = fresh_inputs(body.in_avals)
        outs = results(call(*args, name=self.name, body=body, rule=self))
        cts = cotangents(outs)
        moved = [variable(a) if n else None for a, n in zip(args, need, strict=True)]
        pushed = self._pushed(args, moved)
        found = pullback(pushed, [c for c in cts if c is not None], [m for m in moved if m is not None], GRAD)
        index = [i for i, n in enumerate(need) if n]
        grads = {i: g for i, g in zip(index, found, strict=True) if g is not None}
        return make_pair(args, outs, cts, grads)


def _save_vjp(rule: CustomVjp, plain: Callable[[Any], Any]) -> Any:
    return plain((rule.forward, rule.backward, rule.results, rule.consts, rule.positions))


def _save_jvp(rule: CustomJvp, plain: Callable[[Any], Any]) -> Any:
    return plain((rule.name, rule.push, rule.consts))


register_codec(CustomVjp, "custom_vjp", _save_vjp, lambda data, value_of: CustomVjp(*value_of(data)))
register_codec(CustomJvp, "custom_jvp", _save_jvp, lambda data, value_of: CustomJvp(*value_of(data)))
