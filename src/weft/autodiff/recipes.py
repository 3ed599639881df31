"""Reverse rules written down: what a rule builds depends on a node's signature alone, so it runs once.

From then on its nodes are made directly from their signatures, without the rule's own arithmetic on shapes and axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..base.state import isolated, state
from ..ir.graph import fresh_inputs, toposort
from ..ir.node import GRAD, Node, Signature, make_node
from ..ir.primitive import input_prim, pick, pick_prim, results

Maybe = Node | None
Rule = Callable[[Node, Sequence[Maybe], Sequence[bool]], Sequence[Maybe]]

#: A step: the signature to apply (None: pick result number `index` of the one before), the slots of the arguments,
#: and whether the rule cut the result off from derivatives.
_Step = tuple[Signature | None, tuple[int, ...], int, bool]


class Recipe:
    """The nodes of one reverse rule, over slots: the node's arguments, its results, the cotangents that are there,
    constants, then a slot for each step."""

    __slots__ = ("constants", "found", "picked", "steps")

    def __init__(
        self,
        steps: list[_Step],
        constants: tuple[Node, ...],
        picked: tuple[bool, ...],
        found: tuple[int, ...],
    ) -> None:
        self.steps = steps
        self.constants = constants
        self.picked = picked  #: which results of the node are read
        self.found = found  #: the slot of each argument's cotangent, or -1

    def apply(self, node: Node, cts: Sequence[Maybe]) -> list[Maybe]:
        """The cotangents of the arguments of `node`."""
        env: list[Maybe] = list(node.args)
        if type(node.sig.out) is tuple:
            env += [pick(node, i) if p else None for i, p in enumerate(self.picked)]
        else:
            env.append(node)
        env += [c for c in cts if c is not None]
        env += self.constants
        for sig, slots, index, cut in self.steps:
            if sig is None:
                new = pick(env[slots[0]], index)  # type: ignore[arg-type]
            else:
                new = make_node(sig, tuple([env[i] for i in slots]))  # type: ignore[misc]
            if cut:
                new.flags &= state.tracing
            env.append(new)
        return [None if s < 0 else env[s] for s in self.found]


def recipe(sig: Signature, need: tuple[bool, ...], present: tuple[bool, ...], rule: Rule) -> Recipe:
    """The recipe for cotangents of the arguments marked in `need`, from those of the results marked in `present`."""
    key = ("recipe", need, present)
    found = sig.memo.get(key)
    if found is None:
        with isolated():
            found = sig.memo[key] = _record(sig, need, present, rule)
    return found


def _record(sig: Signature, need: tuple[bool, ...], present: tuple[bool, ...], rule: Rule) -> Recipe:
    args = fresh_inputs(sig.inputs)
    node = make_node(sig, tuple(args))
    outs = list(results(node))
    cts = [fresh_inputs([a])[0] if p else None for a, p in zip(sig.outs, present, strict=True)]
    grads = [g if n else None for g, n in zip(rule(node, cts, need), need, strict=True)]
    order = toposort([g for g in grads if g is not None], lambda n: () if n is node else n.args)
    known = {n: i for i, n in enumerate([*args, *outs, *[c for c in cts if c is not None]])}
    constants = [n for n in order if n.value is not None]
    known.update({n: len(known) + i for i, n in enumerate(constants)})
    picked = [False] * len(outs)
    steps: list[_Step] = []
    count = len(known)
    for n in order:
        if n.sig.prim is pick_prim and n.args[0] is node:
            known[n] = len(args) + n.attrs["index"]
            picked[n.attrs["index"]] = True
        if n in known or n is node:
            continue
        assert n.sig.prim is not input_prim
        cut = not n.flags & GRAD and n.sig.differentiable and any(a.flags & GRAD for a in n.args)
        slots = tuple([known[a] for a in n.args])
        if n.sig.prim is pick_prim:
            steps.append((None, slots, n.attrs["index"], cut))
        else:
            steps.append((n.sig, slots, 0, cut))
        known[n] = count
        count += 1
    return Recipe(
        steps, tuple(constants), tuple(picked), tuple([-1 if g is None else known[g] for g in grads])
    )
