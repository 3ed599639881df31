"""Primitives: what a node can be. Each is declared once, with its NumPy body, its types and its rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..base.errors import GraphError, WeftError
from ..base.state import state
from .node import Aval, Node, Signature, make_node

Rule = Callable[..., Any]

_MAX_SIGNATURES = 50_000


class Primitive:
    """A kind of node.

    `evaluate(*arrays, **attrs)` is the meaning, in NumPy; `infer(*avals, **attrs)` gives the result type or a
    tuple of them and raises on operands that do not fit. Exactly one kind of derivative is stated:

    - `partials(out, *args, **attrs)`: for elementwise primitives, d out / d arg for every argument
      (a node, a Python number, None for zero, or a function without arguments that makes one of these if it is needed)
    - `transpose(ct, index, *args, **attrs)`: for primitives linear in each of the arguments `linear_in`, the
      cotangent of `args[index]`; the others are held fixed
    - `vjp(cts, outs, *args, **attrs)`: cotangents of all arguments (None for zero). `cts` has one entry per
      result (None for zero); forward mode is derived by transposing it
    - `jvp(tangents, outs, *args, **attrs)`: tangents of the results, linear in `tangents`; reverse mode is derived
    - `nondifferentiable`: why there is none

    `batch(size, batched, *args, **attrs)` gives the result(s) for arguments of which those marked in `batched`
    carry one more axis, of length `size`, at the front; every result carries it too.

    Rules of primitives with sub-graphs (`higher_order`) receive one more keyword, `ad`: the transformations.
    """

    def __init__(
        self,
        name: str,
        evaluate: Callable[..., Any],
        infer: Callable[..., Any],
        *,
        attrs: tuple[str, ...] = (),
        version: int = 1,
        samples: Callable[[], Sequence[Any]] | None = None,
        doc: str | None = None,
        higher_order: bool = False,
    ) -> None:
        self.name = name
        self.evaluate = evaluate
        self.infer = infer
        self.attr_names = attrs
        self.version = version
        self.samples = samples
        self.doc = doc or evaluate.__doc__ or ""
        self.__doc__ = self.doc
        self.higher_order = higher_order
        self.signatures: dict[Any, Signature] = {}
        self.partials_rule: Rule | None = None
        self.transpose_rule: Rule | None = None
        self.linear_in: tuple[int, ...] | None = None
        self.multilinear = False
        self.vjp_rule: Rule | None = None
        self.jvp_rule: Rule | None = None
        self.no_derivative: str | None = None
        self.batch_rule: Rule | None = None
        self.elementwise = False
        self.movement = False  # moves elements without computing: cheaper to redo than to keep
        self.advisory: tuple[
            str, ...
        ] = ()  # attributes that hold derivatives: no part of what the node computes
        self.computes = True  # does arithmetic: 16-bit floats are widened for it
        self.exact = False  # on real numbers its body gives the same bits wherever the operands lie in memory
        register(self)

    # -- declaring rules ------------------------------------------------------------------------------------

    def partials(self, rule: Rule) -> Rule:
        self.partials_rule = rule
        return rule

    def transpose(self, *linear_in: int, multilinear: bool = False) -> Callable[[Rule], Rule]:
        """State linearity in the arguments `linear_in` (all of them if none is named) and its transpose.

        Linear in them jointly, like a concatenation, or, if `multilinear`, in each with the others held fixed,
        like a product.
        """

        def declare(rule: Rule) -> Rule:
            self.transpose_rule = rule
            self.linear_in = linear_in or None
            self.multilinear = multilinear
            return rule

        return declare

    def vjp(self, rule: Rule) -> Rule:
        self.vjp_rule = rule
        return rule

    def jvp(self, rule: Rule) -> Rule:
        self.jvp_rule = rule
        return rule

    def nondifferentiable(self, reason: str) -> Primitive:
        self.no_derivative = reason
        return self

    def batch(self, rule: Rule) -> Rule:
        self.batch_rule = rule
        return rule

    @property
    def differentiable(self) -> bool:
        return self.no_derivative is None

    # -- building nodes -------------------------------------------------------------------------------------

    def bind(self, args: tuple[Node, ...], attrs: tuple[Any, ...] = ()) -> Node:
        """The node that applies this primitive; `attrs` in the order of `attr_names`."""
        key = (attrs, *[a.sig.out for a in args])
        sig = self.signatures.get(key)
        if sig is None:
            sig = self.signature(tuple([a.aval for a in args]), attrs)
        return make_node(sig, args)

    def signature(self, avals: tuple[Aval, ...], attrs: tuple[Any, ...]) -> Signature:
        """The interned signature for these argument types; runs the shape and dtype rule the first time."""
        key = (attrs, *avals)
        sig = self.signatures.get(key)
        if sig is None:
            named = dict(zip(self.attr_names, attrs, strict=True))
            try:
                out = self.infer(*avals, **named)
            except WeftError as e:
                raise type(e)(f"{self.name}: {e}") from None
            if len(self.signatures) > _MAX_SIGNATURES:
                self.signatures.clear()
            sig = self.signatures.setdefault(key, Signature(self, named, avals, out))
        return sig

    def __call__(self, *args: Node, **attrs: Any) -> Node:
        return self.bind(args, tuple([attrs[n] for n in self.attr_names]))

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


registry: dict[str, Primitive] = {}


def register(prim: Primitive) -> None:
    if prim.name in registry:
        raise GraphError(f"two primitives are called {prim.name!r}")
    registry[prim.name] = prim


# -- leaves and projections, which every graph needs ----------------------------------------------------------


def _no_value(*_: Any, **__: Any) -> Any:
    """A leaf is not evaluated: it has a value from the start, or is given one by the caller of its graph."""
    raise GraphError("a leaf cannot be evaluated")


leaf_prim = Primitive(
    "leaf", _no_value, lambda *, aval: aval, attrs=("aval",), doc="A value that is already there."
)
input_prim = Primitive("input", _no_value, lambda *, aval: aval, attrs=("aval",), doc="A graph's input.")


_leaf_signatures: dict[Aval, Signature] = {}


def leaf_signature(aval: Aval) -> Signature:
    """The signature of leaves of a type."""
    found = _leaf_signatures.get(aval)
    if found is None:
        found = _leaf_signatures[aval] = leaf_prim.signature((), (aval,))
    return found


def leaf(aval: Aval, value: Any) -> Node:
    """A node that has its value: a buffer, or a Python number that programs take as a run-time input."""
    return Node(leaf_signature(aval), (), value, 0, None)


def placeholder(aval: Aval, flags: int = 0) -> Node:
    """An input of a graph."""
    return Node(input_prim.signature((), (aval,)), (), None, flags, None)


def _pick_infer(*, outs: tuple[Aval, ...], index: int) -> Aval:
    return outs[index]


pick_prim = Primitive(
    "pick", _no_value, _pick_infer, attrs=("outs", "index"), doc="One result of a node that has several."
)


def pick(node: Node, index: int) -> Node:
    """Result `index` of a node with several results."""
    sig = (node.sig.picks or _picks(node.sig))[index]
    flags = node.flags if sig.differentiable else node.flags & state.tracing
    picked = Node(sig, (node,), None, flags, node.site)
    parts = node.parts
    if parts is not None:
        picked.value = parts[index]
    return picked


def _picks(sig: Signature) -> list[Signature]:
    """The signatures of the projections to all results."""
    known, outs = pick_prim.signatures, sig.outs
    sig.picks = [
        known.setdefault((outs, i), Signature(pick_prim, {"outs": outs, "index": i}, (), aval))
        for i, aval in enumerate(outs)
    ]
    return sig.picks


script_prim = Primitive(
    "script", _no_value, _no_value, attrs=("script",), doc="A node that stands for several: see `ir.script`."
).nondifferentiable("it stands for nodes that were made where gradients are not recorded")


def results(node: Node) -> tuple[Node, ...]:
    """All results of a node, as single-result nodes."""
    if type(node.sig.out) is tuple:
        return tuple([pick(node, i) for i in range(len(node.sig.out))])
    return (node,)
