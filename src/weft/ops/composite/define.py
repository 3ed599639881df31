"""Composites: named bodies over primitives, traced once per signature and called as a single node."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ...base.errors import GraphError
from ...base.state import isolated
from ...ir.graph import Graph, fresh_inputs
from ...ir.node import Aval, Node, Signature, make_node
from ...ir.primitive import results
from ...ir.serialize import register_codec
from ..control import call
from ..define import lift

registry: dict[str, Composite] = {}


class OwnDerivative:
    """A composite's own reverse rule for one set of attributes; compares by content, being part of a signature."""

    __slots__ = ("composite", "attrs", "present")
    follows_body = True

    def __init__(self, composite: Composite, attrs: tuple[Any, ...], present: tuple[bool, ...]) -> None:
        self.composite = composite
        self.attrs = attrs
        self.present = present

    def vjp(self, cts: list[Node | None], outs: tuple[Node, ...], *args: Node) -> list[Node | None]:
        """Cotangents of the arguments that are present."""
        given = iter(args)
        full = [next(given) if p else None for p in self.present]
        named = dict(zip(self.composite.attr_names, self.attrs, strict=True))
        found = self.composite.vjp_rule(cts, outs, *full, **named)  # type: ignore[misc]
        return [c for c, p in zip(found, self.present, strict=True) if p]

    def with_sizes(self, size: Callable[[Any], Any]) -> OwnDerivative:
        """The same rule once named dimensions among the attributes have sizes."""
        return OwnDerivative(self.composite, size(self.attrs), self.present)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, OwnDerivative)
            and self.composite is other.composite
            and (self.attrs, self.present) == (other.attrs, other.present)
        )

    def __hash__(self) -> int:
        return hash((id(self.composite), self.attrs, self.present))

    def __repr__(self) -> str:
        return f"<derivative of {self.composite.name}>"


def _restore(data: Any, value_of: Callable[[Any], Any]) -> OwnDerivative | None:
    """The rule of a saved call; None (the body is differentiated) where this Weft's composite has none like it."""
    name, attrs, present = value_of(data)
    found = registry.get(name)
    if found is None or found.vjp_rule is None or len(attrs) != len(found.attr_names):
        return None
    return OwnDerivative(found, attrs, present)


register_codec(
    OwnDerivative, "derivative", lambda r, plain: plain((r.composite.name, r.attrs, r.present)), _restore
)


class Recompute:
    """The rule of a composite whose backward pass computes the body again instead of keeping parts of it."""

    remat = True

    def __repr__(self) -> str:
        return "recompute"


RECOMPUTE = Recompute()
register_codec(Recompute, "recompute", lambda r, plain: None, lambda data, value_of: RECOMPUTE)


class Composite:
    """An operation with a name and a body over primitives.

    Positional parameters of the body are tensors (a Python number becomes a run-time scalar, None stays None);
    keyword-only parameters are attributes, part of the structure. The body returns one node or a tuple.

    Derivatives come from the body. Where that is slower or less stable, `@composite.vjp` states
    `rule(cts, outs, *args, **attrs)`, the cotangents of all arguments; tests hold it against the derived one.
    """

    def __init__(self, body: Callable[..., Any], name: str, *, remat: bool = False) -> None:
        self.name = name
        self.remat = remat
        self.body = body
        self.__doc__ = body.__doc__
        self.__name__ = name
        parameters = inspect.signature(body).parameters.values()
        self.attr_names = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        self._known_attrs = frozenset(self.attr_names)
        self.attr_defaults = {
            p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
        }
        self.arg_names = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.vjp_rule: Callable[..., Any] | None = None
        self.signatures: dict[Any, Signature] = {}
        if name in registry:
            raise GraphError(f"two composites are called {name!r}")
        registry[name] = self

    def vjp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Declare a reverse rule of its own."""
        self.vjp_rule = rule
        return rule

    def attrs(self, given: dict[str, Any]) -> tuple[Any, ...]:
        """Attributes in declared order, defaults filled in."""
        names = self.attr_names
        if len(given) == len(names):
            try:
                return tuple(map(given.__getitem__, names))
            except KeyError:
                pass
        if not given.keys() <= self._known_attrs:
            unknown = given.keys() - self._known_attrs
            raise TypeError(f"{self.name} has no attribute {sorted(unknown)[0]!r}")
        return tuple([given[n] if n in given else self.attr_defaults[n] for n in names])

    def signature(self, avals: tuple[Aval | None, ...], attrs: tuple[Any, ...]) -> Signature:
        """The `call` signature for these argument types; traces the body the first time."""
        key = (attrs, avals)
        sig = self.signatures.get(key)
        if sig is None:
            body = self.trace(avals, attrs)
            present = tuple([a is not None for a in avals])
            rule = RECOMPUTE if self.remat else None
            if self.vjp_rule is not None:
                rule = OwnDerivative(self, attrs, present)
            sig = call.signature(body.in_avals, (self.name, body, rule))
            if len(self.signatures) > 20_000:
                self.signatures.clear()
            self.signatures[key] = sig
        return sig

    def trace(self, avals: tuple[Aval | None, ...], attrs: tuple[Any, ...]) -> Graph:
        """The body as a graph of the arguments that are not None."""
        with isolated():
            inputs = fresh_inputs([a for a in avals if a is not None])
            given = iter(inputs)
            args = [None if a is None else next(given) for a in avals]
            out = self.body(*args, **dict(zip(self.attr_names, attrs, strict=True)))
            return Graph(inputs, (out,) if isinstance(out, Node) else tuple(out))

    def __call__(self, *args: Any, **attrs: Any) -> Any:
        """Node-level application: a `call` node, or a tuple of its results if there are several."""
        nodes = tuple([None if a is None else lift((a,), _first_dtype(args))[0] for a in args])
        sig = self.signature(tuple([None if n is None else n.aval for n in nodes]), self.attrs(attrs))
        node = make_node(sig, tuple([n for n in nodes if n is not None]))
        return node if type(sig.out) is not tuple else results(node)

    def bind(self, nodes: Sequence[Node | None], attrs: tuple[Any, ...]) -> tuple[Node, ...]:
        """The results of the application to nodes; `attrs` in declared order."""
        return results(make_node(*self.applied(nodes, attrs)))

    def applied(
        self, nodes: Sequence[Node | None], attrs: tuple[Any, ...]
    ) -> tuple[Signature, tuple[Node, ...]]:
        """The signature for nodes, and those that are not None."""
        avals: list[Any] = []
        given: list[Node] = []
        for n in nodes:
            if n is None:
                avals.append(None)
            else:
                avals.append(n.sig.out)
                given.append(n)
        types = tuple(avals)
        return self.signatures.get((attrs, types)) or self.signature(types, attrs), tuple(given)

    def __repr__(self) -> str:
        return f"<composite {self.name}>"


def _first_dtype(args: tuple[Any, ...]) -> Any:
    return next((a.dtype for a in args if isinstance(a, Node) and a.dtype.inexact), None) or next(
        (a.dtype for a in args if isinstance(a, Node)), None
    )


def composite(body: Callable[..., Any]) -> Composite:
    """Declare a composite from its body; its name is the function's."""
    return Composite(body, body.__name__.rstrip("_"))


def cheap(body: Callable[..., Any]) -> Composite:
    """Declare a composite that is cheaper to compute again than to keep: reverse mode saves only its arguments."""
    return Composite(body, body.__name__.rstrip("_"), remat=True)
