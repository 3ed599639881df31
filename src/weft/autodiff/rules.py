"""The derivative of one node, in both modes, from the one kind of derivative that its primitive states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..base.errors import GradientError
from ..base.site import describe_site
from ..base.state import state
from ..ir.node import GRAD, SPENT, Node, make_node
from ..ir.primitive import Primitive, results
from ..ir.shape import Size
from ..ops.define import constant
from ..ops.elementwise import conj, mul, neg
from ..ops.movement import broadcast_to, reshape, sum_to, zeros
from .recipes import recipe

Maybe = Node | None


def no_rule(node: Node) -> GradientError:
    where = describe_site(node.site)
    reason = node.prim.no_derivative or "no rule is declared"
    return GradientError(f"{node.prim.name} has no derivative: {reason}" + (f" ({where})" if where else ""))


def _scaled(x: Node, factor: Node | int | float) -> Node:
    """x * factor, without a node where the factor is 1 or -1."""
    if isinstance(factor, Node):
        return mul(x, factor)
    if factor == 1:
        return x
    return neg(x) if factor == -1 else mul(x, constant(factor, x.dtype))


def _made(partial: Any) -> Any:
    """A partial derivative that is only made where it is needed, made."""
    return partial() if callable(partial) else partial


def _conj(x: Node) -> Node:
    return conj(x) if x.dtype.kind == "c" else x


def node_vjp(node: Node, cts: Sequence[Maybe], need: Sequence[bool]) -> Sequence[Maybe]:
    """Cotangents of `node`'s arguments from those of its results (None is zero); only where `need` says so.

    Cotangents pair with tangents through the real inner product Re(sum conj(ct) t).
    """
    prim = node.sig.prim
    if not prim.higher_order:
        present = tuple([c is not None for c in cts])
        return recipe(node.sig, tuple(need), present, _vjp).apply(node, cts)
    from . import transforms

    if prim.vjp_rule is None:
        raise no_rule(node)
    return prim.vjp_rule(cts, results(node), *node.args, **node.attrs, need=tuple(need), ad=transforms)


def _vjp(node: Node, cts: Sequence[Maybe], need: Sequence[bool]) -> Sequence[Maybe]:
    """The nodes that the primitive's own rule builds."""
    prim = node.sig.prim
    if prim.partials_rule is not None:
        return _vjp_partials(node, cts[0], need)
    if prim.transpose_rule is not None:
        return _vjp_linear(node, cts[0], need)
    if prim.vjp_rule is not None:
        return prim.vjp_rule(cts, results(node), *node.args, **node.attrs)
    if prim.jvp_rule is not None:
        return _vjp_from_jvp(node, cts, need)
    raise no_rule(node)


def _vjp_partials(node: Node, ct: Maybe, need: Sequence[bool]) -> list[Maybe]:
    assert ct is not None
    partials = node.prim.partials_rule(node, *node.args, **node.attrs)  # type: ignore[misc]
    out: list[Maybe] = []
    for arg, partial, wanted in zip(node.args, partials, need, strict=True):
        if not wanted or partial is None:
            out.append(None)
            continue
        factor = _made(partial)
        factor = _conj(factor) if isinstance(factor, Node) else factor
        out.append(sum_to(_scaled(ct, factor), arg.shape))
    return out


def _vjp_linear(node: Node, ct: Maybe, need: Sequence[bool]) -> list[Maybe]:
    assert ct is not None
    prim: Primitive = node.prim
    out: list[Maybe] = []
    for i, arg in enumerate(node.args):
        if not need[i] or (prim.linear_in is not None and i not in prim.linear_in):
            out.append(None)
            continue
        found = prim.transpose_rule(_conj(ct), i, *node.args, **node.attrs)  # type: ignore[misc]
        if found is not None:
            found = _conj(found)
            if prim.elementwise:
                found = sum_to(found, arg.shape)
        out.append(found)
    return out


def _vjp_from_jvp(node: Node, cts: Sequence[Maybe], need: Sequence[bool]) -> Sequence[Maybe]:
    """Transpose the forward rule: it is linear in the tangents, so its reverse mode is the reverse rule."""
    from .reverse import pullback

    tangents = [variable(a) if n else None for a, n in zip(node.args, need, strict=True)]
    outs = node_jvp(node, tangents)
    pairs = [(t, c) for t, c in zip(outs, cts, strict=True) if t is not None and c is not None]
    wrt = [t for t in tangents if t is not None]
    found = iter(pullback([t for t, _ in pairs], [c for _, c in pairs], wrt, GRAD))
    return [None if t is None else next(found) for t in tangents]


def variable(like: Node) -> Node:
    """A stand-in that a linear map is applied to, to be transposed away: its value is never computed."""
    node = zeros(like.aval)
    node.flags |= GRAD
    return node


def node_jvp(node: Node, tangents: Sequence[Maybe]) -> Sequence[Maybe]:
    """Tangents of `node`'s results from those of its arguments (None is zero)."""
    prim = node.sig.prim
    if prim.partials_rule is not None:
        return [_jvp_partials(node, tangents)]
    if prim.transpose_rule is not None:
        return [_jvp_linear(node, tangents)]
    if prim.jvp_rule is not None:
        if prim.higher_order:
            from . import transforms

            return prim.jvp_rule(tangents, results(node), *node.args, **node.attrs, ad=transforms)
        return prim.jvp_rule(tangents, results(node), *node.args, **node.attrs)
    if prim.vjp_rule is not None:
        return jvp_by_transposing(node, tangents)
    raise no_rule(node)


def _jvp_partials(node: Node, tangents: Sequence[Maybe]) -> Maybe:
    total: Maybe = None
    partials = node.prim.partials_rule(node, *node.args, **node.attrs)  # type: ignore[misc]
    for t, partial in zip(tangents, partials, strict=True):
        if t is None or partial is None:
            continue
        term = _scaled(t, _made(partial))
        total = term if total is None else total + term  # type: ignore[operator]
    return total if total is None else broadcast_to(total, node.shape)


def _jvp_linear(node: Node, tangents: Sequence[Maybe]) -> Maybe:
    prim: Primitive = node.prim
    linear_in = range(len(node.args)) if prim.linear_in is None else prim.linear_in
    moved = [i for i in linear_in if tangents[i] is not None]
    if not moved or not node.sig.differentiable:
        return None
    if not prim.multilinear:
        args = list(node.args)
        for i in linear_in:
            args[i] = tangents[i] if tangents[i] is not None else zeros(args[i].aval)  # type: ignore[call-overload]
        return make_node(node.sig, tuple(args))
    total: Maybe = None
    for i in moved:
        args = list(node.args)
        args[i] = tangents[i]  # type: ignore[call-overload]
        term = make_node(node.sig, tuple(args))
        total = term if total is None else total + term  # type: ignore[operator]
    return total


def jvp_by_transposing(node: Node, tangents: Sequence[Maybe]) -> list[Maybe]:
    """Transpose the reverse rule, which is linear in the cotangents."""
    from .reverse import pullback

    outs = node.sig.outs
    variables = [variable(o) if o.dtype.inexact else None for o in results(node)]
    need = [t is not None for t in tangents]
    saved = state.active
    try:
        state.active |= GRAD  # what depends on the variables is told by their flag
        pulled = node_vjp(node, variables, need)
        pairs = [(p, t) for p, t in zip(pulled, tangents, strict=True) if p is not None and t is not None]
        wrt = [v for v in variables if v is not None]
        found = iter(pullback([p for p, _ in pairs], [t for _, t in pairs], wrt, GRAD))
    finally:
        state.active = saved
    return [next(found) if o.dtype.inexact else None for o in outs]


def node_batch(node: Node, args: Sequence[Node], batched: Sequence[bool], size: Size) -> Sequence[Node]:
    """`node` for arguments of which those marked carry a batch axis at the front; all results carry it."""
    prim = node.sig.prim
    if prim.elementwise:
        ranks = [a.ndim for a in node.args]
        top = max(ranks)
        lined = [
            _insert_axes(a, top - rank) if b and rank < top else a
            for a, b, rank in zip(args, batched, ranks, strict=True)
        ]
        new = prim.bind(tuple(lined), tuple(node.attrs.values()))
        return [_as_cut(new, node)]
    if prim.batch_rule is None:
        raise GradientError(f"{prim.name} has no batching rule")
    extra = {}
    if prim.higher_order:
        from . import transforms

        extra["ad"] = transforms
    out = prim.batch_rule(size, tuple(batched), *args, **node.attrs, **extra)
    outs = (out,) if isinstance(out, Node) else tuple(out)
    return [_as_cut(o, node) for o in outs]


def _as_cut(new: Node, old: Node) -> Node:
    if not old.flags & ~(state.tracing | SPENT):
        new.flags &= state.tracing
    return new


def _insert_axes(x: Node, count: int) -> Node:
    return reshape(x, shape=(x.shape[0], *[1] * count, *x.shape[1:]))
