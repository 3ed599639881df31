"""Complex numbers as pairs of real ones: programs compute on parts, and only what is stored outside is interleaved.

`split_complex` takes every complex operation that has a rule here apart. The others are left whole, for the host, and
so are the `real`, `imag` and `complex` at the edges, which read and write one part of interleaved memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..base.state import NO_SITE, isolated, state
from ..ir.dtype import bool_, float32, real_dtype
from ..ir.graph import Graph, fresh_inputs, rebuild
from ..ir.node import Node
from ..ir.primitive import Primitive, registry
from ..ir.shape import broadcast_shapes
from ..ops.arithmetic import abs_ as _abs
from ..ops.arithmetic import copysign, integer_pow
from ..ops.bits import bitwise_and, bitwise_or
from ..ops.comparison import equal, isfinite, isinf, isnan, less, less_equal, not_equal
from ..ops.complex import imag, make_complex, real
from ..ops.define import constant
from ..ops.movement import broadcast_to, zeros
from ..ops.selection import cast, where
from ..ops.transcendental import atan2, cos, cosh, exp, hypot, log, log1p, sin, sinh, sqrt
from .declare import declares


@dataclass(frozen=True, eq=False)
class Pair:
    """A complex value as its real and imaginary parts."""

    re: Node
    im: Node


#: What stays complex: the way from and to interleaved memory.
EDGES = ("real", "imag", "complex")

#: Operations that do the same to both parts: movement, and what is linear with real coefficients.
LINEAR = (
    "identity", "stop_gradient", "reshape", "permute", "broadcast_in_dim", "flip", "slice", "pad", "concatenate",
    "windows", "windows_add", "resample", "triangle", "gather", "scatter", "scatter_add", "dynamic_slice",
    "dynamic_update_slice", "add", "sub", "neg", "sum", "cumsum", "where", "round",
)  # fmt: skip

Rule = Callable[..., "Pair | Node"]

#: primitive -> rule(*operands, **attributes) on pairs
rules: dict[str, Rule] = {}


#: Declares the rule of the primitives with the given names.
rule = declares(rules)


def split_complex(graph: Graph) -> Graph:
    """`graph` with complex operations on parts, where there is a rule."""
    if not any(n.sig.is_complex for n in (*graph.inputs, *graph.nodes)):
        return graph
    with isolated():
        inputs = fresh_inputs(graph.in_avals)
        env: dict[Node, Any] = {n: _apart(i) for n, i in zip(graph.inputs, inputs, strict=True)}
        for node in graph.nodes:
            state.site = node.site or NO_SITE
            env[node] = (
                _constant(node) if node.value is not None else _split(node, [env[a] for a in node.args])
            )
        return Graph(inputs, tuple([_together(env[n]) for n in graph.outputs]))


def _apart(node: Node) -> Pair | Node:
    """A stored complex value as its parts."""
    if type(node.sig.out) is tuple or node.dtype.kind != "c":
        return node
    return Pair(real(node), imag(node))


def _together(value: Pair | Node) -> Node:
    return make_complex(value.re, value.im) if isinstance(value, Pair) else value


def _constant(node: Node) -> Pair | Node:
    if type(node.sig.out) is tuple or node.dtype.kind != "c":
        return node
    if isinstance(node.value, (bool, int, float, complex)):
        value, kind = complex(node.value), real_dtype(node.dtype)
        return Pair(constant(value.real, kind), constant(value.imag, kind))
    return _apart(node)


def _split(node: Node, args: list[Any]) -> Pair | Node:
    if node.sig.is_complex and node.prim.name in rules:
        return rules[node.prim.name](*args, **_attributes(node))
    if node.sig.is_complex and node.prim.name in LINEAR:
        return Pair(*[_part(node, args, which) for which in ("re", "im")])
    new = rebuild(node, tuple([_together(a) for a in args]))
    new.site = node.site
    return _apart(new)


def _attributes(node: Node) -> dict[str, Any]:
    return {"dtype": node.dtype} if node.prim is cast else dict(node.attrs)


def _part(node: Node, args: list[Any], which: str) -> Node:
    new = node.prim(*[getattr(a, which) if isinstance(a, Pair) else a for a in args], **node.attrs)
    new.site = node.site
    return new


# -- parts and conversions ------------------------------------------------------------------------------------


@rule("real")
def _(x: Pair) -> Node:
    return x.re


@rule("imag")
def _(x: Pair) -> Node:
    return x.im


@rule("conj")
def _(x: Pair) -> Pair:
    return Pair(x.re, -x.im)


@rule("complex")
def _(x: Node, y: Node) -> Pair:
    shape = broadcast_shapes(x.shape, y.shape)
    return Pair(broadcast_to(x, shape), broadcast_to(y, shape))


@rule("cast")
def _(x: Pair | Node, *, dtype: Any) -> Pair | Node:
    kind = real_dtype(dtype)
    if not isinstance(x, Pair):
        moved = cast(x, dtype=kind)
        return Pair(moved, zeros(moved.aval))
    if dtype.kind == "c":
        return Pair(cast(x.re, dtype=kind), cast(x.im, dtype=kind))
    if dtype is bool_:
        return bitwise_or(cast(x.re, dtype=bool_), cast(x.im, dtype=bool_))
    return cast(x.re, dtype=dtype)


# -- comparison -----------------------------------------------------------------------------------------------


@rule("equal")
def _(x: Pair, y: Pair) -> Node:
    return bitwise_and(equal(x.re, y.re), equal(x.im, y.im))


def _either(prim: Primitive, both: Primitive) -> None:
    @rule(prim.name)
    def _(x: Pair) -> Node:
        return both(prim(x.re), prim(x.im))


_either(isnan, bitwise_or)
_either(isinf, bitwise_or)
_either(isfinite, bitwise_and)

# -- arithmetic -----------------------------------------------------------------------------------------------


@rule("mul")
def multiply(x: Pair, y: Pair) -> Pair:
    return Pair(x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re)


@rule("div")
def divide(x: Pair, y: Pair) -> Pair:
    """Smith's way: by the larger part of the divisor first, so that its square cannot overflow."""
    flat = less_equal(_abs(y.im), _abs(y.re))
    large, small = where(flat, y.re, y.im), where(flat, y.im, y.re)
    ratio = small / large
    scale = 1 / (large + small * ratio)
    re = where(flat, x.re + x.im * ratio, x.re * ratio + x.im) * scale
    im = where(flat, x.im - x.re * ratio, x.im * ratio - x.re) * scale
    nothing = bitwise_and(equal(y.re, 0), equal(y.im, 0))
    zero = _abs(y.re)
    return Pair(where(nothing, x.re / zero, re), where(nothing, x.im / zero, im))


@rule("abs")
def absolute(x: Pair) -> Node:
    return hypot(x.re, x.im)


@rule("integer_pow")
def _(x: Pair, *, exponent: int) -> Pair:
    out, base, n = None, x, abs(exponent)
    while n:
        if n & 1:
            out = base if out is None else multiply(out, base)
        n >>= 1
        if n:
            base = multiply(base, base)
    one = Pair(integer_pow(x.re, exponent=0), zeros(x.im.aval))
    out = one if out is None else out
    return divide(one, out) if exponent < 0 else out


# -- contractions: four real ones -----------------------------------------------------------------------------


def _product(name: str) -> None:
    prim = registry[name]

    @rule(name)
    def _(x: Pair, y: Pair, **attrs: Any) -> Pair:
        re = prim(x.re, y.re, **attrs) - prim(x.im, y.im, **attrs)
        return Pair(re, prim(x.re, y.im, **attrs) + prim(x.im, y.re, **attrs))


_product("dot_general")
_product("conv")

# -- elementary functions -------------------------------------------------------------------------------------


@rule("exp")
def _(x: Pair) -> Pair:
    """e^x (cos y + i sin y), where e^x is large as a square: the product may be finite where e^x is not."""
    large = less(88 if x.re.dtype is float32 else 709, x.re)
    root = exp(where(large, x.re * 0.5, x.re))
    rest = where(large, root, 1)
    size, on_axis, lost = root * rest, equal(x.im, 0), _is_lost(x.im)
    limit = bitwise_and(isinf(x.re), lost)  # 0, or infinite in an unknown direction
    gone = bitwise_and(limit, less(x.re, 0))
    re = where(bitwise_or(on_axis, limit), size, root * cos(x.im) * rest)
    return Pair(re, where(on_axis, x.im, where(gone, 0, root * sin(x.im) * rest)))


def _is_lost(angle: Node) -> Node:
    """Whether an angle is infinite or NaN, so that it has no sine."""
    return not_equal(angle - angle, 0)


#: Powers of two by which numbers are made larger or smaller where their absolute value could not be told exactly.
_UP, _DOWN = 64, -2


def _by_range(x: Pair, tiny: float, usual: float, huge: float) -> Node:
    """One of three numbers, by how large the larger part of x is: `tiny` where |x| may be a subnormal number, `huge`
    where it may overflow."""
    top = where(less(_abs(x.re), _abs(x.im)), _abs(x.im), _abs(x.re))
    low, high = (-62, 125) if x.re.dtype is float32 else (-958, 1021)
    small, large = less(top, 2.0**low), less(2.0**high, top)
    usual_or_huge = where(large, constant(huge, x.re.dtype), constant(usual, x.re.dtype))
    return where(small, constant(tiny, x.re.dtype), usual_or_huge)


def _in_range(x: Pair) -> Pair:
    scale = _by_range(x, 2.0**_UP, 1.0, 2.0**_DOWN)
    return Pair(x.re * scale, x.im * scale)


@rule("log")
def _(x: Pair) -> Pair:
    """log|z| + i arg z. Near |z| = 1 the logarithm is taken of |z|^2 - 1, computed without cancellation."""
    scaled = _in_range(x)
    size = hypot(scaled.re, scaled.im)
    back = _by_range(x, _UP * math.log(2), 0.0, _DOWN * math.log(2))
    large, small = (
        where(less(_abs(x.re), _abs(x.im)), x.im, x.re),
        where(less(_abs(x.re), _abs(x.im)), x.re, x.im),
    )
    large = _abs(large)
    near = bitwise_and(less(0.5, size), less(size, 2))
    fine = log1p((large - 1) * (large + 1) + small * small) * 0.5
    return Pair(where(near, fine, log(size) - back), atan2(x.im, x.re))


@rule("sqrt")
def _(x: Pair) -> Pair:
    """The root with a real part that is not negative."""
    scaled, back = _in_range(x), _by_range(x, 2.0 ** -(_UP // 2), 1.0, 2.0 ** -(_DOWN // 2))
    half = sqrt(_abs(scaled.re) * 0.5 + hypot(scaled.re, scaled.im) * 0.5)
    other = scaled.im / (half + half) * back
    half = half * back
    right = less_equal(0, x.re)
    re, im = where(right, half, _abs(other)), where(right, other, copysign(half, x.im))
    nothing, above = equal(half, 0), isinf(x.im)  # of an infinite imaginary part both are infinite
    re = where(above, _abs(x.im), where(nothing, half, re))
    return Pair(re, where(bitwise_or(nothing, above), x.im, im))


@rule("sin")
def _(x: Pair) -> Pair:
    turned = hyperbolic_sine(
        Pair(x.im, x.re)
    )  # sin z = -i sinh iz, and sinh of the conjugate is the conjugate
    return Pair(turned.im, turned.re)


@rule("cos")
def _(x: Pair) -> Pair:
    return hyperbolic_cosine(Pair(-x.im, x.re))


@rule("sinh")
def hyperbolic_sine(x: Pair) -> Pair:
    known = bitwise_and(
        _is_lost(x.im), bitwise_or(equal(x.re, 0), isinf(x.re))
    )  # the real part, whatever the angle
    re = where(known, x.re, sinh(x.re) * cos(x.im))
    return Pair(re, where(equal(x.im, 0), x.im, cosh(x.re) * sin(x.im)))


@rule("cosh")
def hyperbolic_cosine(x: Pair) -> Pair:
    lost, turned = _is_lost(x.im), where(less(x.re, 0), -x.im, x.im)
    re = where(bitwise_and(lost, isinf(x.re)), _abs(x.re), cosh(x.re) * cos(x.im))
    on_axis = bitwise_and(equal(x.im, 0), not_equal(x.re, 0))  # sinh may overflow there
    im = where(on_axis, turned, sinh(x.re) * sin(x.im))
    return Pair(re, where(bitwise_and(lost, equal(x.re, 0)), 0, im))
