"""sin, cos, tan, with the argument reduced exactly however large it is.

x = q pi / 2 + r with q whole and |r| <= pi / 4; the last two bits of q say whether sin x is sin r, cos r, or minus one
of these. Up to 1.5 * 2**20 the multiple of pi / 2 is taken off in four parts (Cody and Waite): three of 33 bits, of
which multiples up to 2**20 are exact, and a rest; r comes as a sum of two numbers, as its error counts close to
multiples of pi / 2. Further out x is a whole number m times a power of two, and what is left of x 2 / pi modulo 4
follows from the product of m with the 128 bits of 2 / pi that are neither multiples of 4 nor too small to count
(Payne and Hanek), in integer arithmetic. This is a branch that vectors without such an angle skip.

float32 angles are reduced in float64 and go on in float32, those of tan in float64.
"""

from __future__ import annotations

import math

from ..algebra import Algebra, Value
from .define import function, horner, keep_zero
from .pairs import quick_two_sum, two_product, two_sum

#: sin r = r + r z (c[0] + c[1] z + ...), z = r**2, |r| <= pi / 4; errors 3.6e-9 and 3.5e-18
_SIN = {
    32: (
        -0.16666654870181635, 0.008332173456821896, -0.00019516648751548957,
    ),
    64: (
        -0.16666666666666632, 0.008333333333322314, -0.00019841269829724855, 2.7557313661886573e-06,
        -2.505075322878484e-08, 1.58965024051759e-10,
    ),
}  # fmt: skip
#: cos r = 1 - z / 2 + z**2 (c[0] + c[1] z + ...); absolute errors 9.6e-11 and 4.7e-20
_COS = {
    32: (
        0.04166664674170333, -0.001388736122059333, 2.443770823941084e-05,
    ),
    64: (
        0.0416666666666666, -0.0013888888888873986, 2.480158728939129e-05, -2.7557314324912154e-07,
        2.087571940235736e-09, -1.1359440520453278e-11,
    ),
}  # fmt: skip

#: pi / 2 in parts of 33 bits, and the rest: multiples up to 2**20 of the former are exact.
_HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32)
_HALF_PI_REST = 6.077100506506192e-11  #: all after the first part
_HALF_PI_PAIR = (math.pi / 2, 6.123233995736766e-17)  #: pi / 2 as a sum, rounded to 106 bits
_NEAR = 2.0**20 * 1.5  #: below this in magnitude the multiple of pi / 2 stays under 2**20

#: The bits of 2 / pi after the point, with a word of zeros before them.
_TWO_OVER_PI = (
    0x0000000000000000,
    0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561, 0xB7246E3A424DD2E0,
    0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41, 0x3991D639835339F4,
    0x9C845F8BBDF9283B, 0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB, 0xF0CFBC209AF4361D,
)  # fmt: skip


def _reduce(a: Algebra, x: Value, pair: bool) -> tuple[Value, Value, Value]:
    """(q, r, e): x = q pi / 2 + r + e modulo 2 pi, |r| <= pi / 4, |q| at most 3, in float64.

    e is what r lacks, where `pair` asks for it, else 0.
    """
    size = a.abs(x)
    far = a.inverse(a.less(size, a.const(_NEAR)))
    t = a.select(far, a.const(0.0), x)
    n = a.round(a.mul(t, a.const(2.0 / math.pi)))
    first, second, third, rest = [a.mul(n, a.const(p)) for p in _HALF_PI]
    r = a.sub(t, first)
    if pair:
        r, lost = two_sum(a, r, a.neg(second))
        r, more = two_sum(a, r, a.neg(third))
        r, e = quick_two_sum(a, r, a.sub(a.add(lost, more), rest))
    else:
        r, e = a.sub(r, a.mul(n, a.const(_HALF_PI_REST))), a.const(0.0)
    q = a.sub(n, a.mul(a.round(a.mul(n, a.const(0.25))), a.const(4.0)))
    far = a.both(far, a.less(size, a.const(math.inf)))
    return a.rarely(far, lambda: _reduce_far(a, x), (q, r, e))  # type: ignore[return-value]


def _window(a: Algebra, start: Value) -> list[Value]:
    """192 bits of the table from bit `start` on, as three words."""
    at, shift = a.shr(start, 6), a.iand(start, a.iconst(63))
    back = a.isub(a.iconst(63), shift)
    words = [a.lookup(_TWO_OVER_PI, a.iadd(at, a.iconst(k))) for k in range(4)]
    return [
        a.ior(a.shl(high, shift), a.lshr(a.lshr(low, 1), back))
        for high, low in zip(words, words[1:], strict=False)
    ]


def _reduce_far(a: Algebra, x: Value) -> tuple[Value, Value, Value]:
    """The same for finite |x| >= `_NEAR` after Payne and Hanek: x times those bits of 2 / pi that matter modulo 4."""
    as_bits = a.as_int(a.select(a.less(a.abs(x), a.const(_NEAR)), a.const(_NEAR), a.abs(x)))
    exponent = a.lshr(as_bits, 52)
    # NaN and infinity have no bits to look up; they are dealt with elsewhere.
    exponent = a.select(a.iless(exponent, a.iconst(2047)), exponent, a.iconst(2046))
    m = a.ior(a.iand(as_bits, a.iconst(2**52 - 1)), a.iconst(2**52))
    # x = m 2**(exponent - 1075); the bits of 2 / pi that stand for 4 and more are left out.
    w0, w1, w2 = _window(a, a.isub(exponent, a.iconst(1023 + 54 - 64)))
    low1 = a.imul(m, w1)
    p1 = a.iadd(low1, a.imulhi(m, w2))
    carry = a.select(a.below(p1, low1), a.iconst(1), a.iconst(0))
    p0 = a.iadd(a.iadd(a.imul(m, w0), a.imulhi(m, w1)), carry)
    # p0 p1 / 2**126 = x 2 / pi modulo 4: the nearest whole number, and the signed fraction in four parts.
    q = a.to_float(a.lshr(a.iadd(p0, a.iconst(2**61)), 62))
    f0, f1 = a.ior(a.shl(p0, 2), a.lshr(p1, 62)), a.shl(p1, 2)
    part = 2**32 - 1
    words = (a.shr(f0, 32), a.iand(f0, a.iconst(part)), a.lshr(f1, 32), a.iand(f1, a.iconst(part)))
    parts = [a.mul(a.to_float(w), a.const(2.0 ** (-32 * (k + 1)))) for k, w in enumerate(words)]
    s, e1 = two_sum(a, parts[0], parts[1])
    s, e2 = two_sum(a, s, parts[2])
    s, e3 = two_sum(a, s, parts[3])
    tail = a.add(e1, a.add(e2, e3))
    product, lost = two_product(a, s, a.const(_HALF_PI_PAIR[0]))
    lost = a.add(lost, a.add(a.mul(s, a.const(_HALF_PI_PAIR[1])), a.mul(tail, a.const(_HALF_PI_PAIR[0]))))
    r, e = quick_two_sum(a, product, lost)
    below = a.less(x, a.const(0.0))
    return tuple([a.select(below, a.neg(v), v) for v in (q, r, e)])  # type: ignore[return-value]


def sin_near(a: Algebra, r: Value, e: Value) -> Value:
    """sin(r + e) for |r| <= pi / 4, in float64."""
    z = a.mul(r, r)
    cube = a.mul(z, r)
    first, *others = _SIN[64]
    inner = a.sub(a.mul(e, a.const(0.5)), a.mul(cube, horner(a, z, others)))
    return a.sub(r, a.sub(a.sub(a.mul(z, inner), e), a.mul(cube, a.const(first))))


def cos_near(a: Algebra, r: Value, e: Value) -> Value:
    """cos(r + e) for |r| <= pi / 4, in float64."""
    z = a.mul(r, r)
    half = a.mul(z, a.const(0.5))
    w = a.sub(a.const(1.0), half)
    lost = a.sub(a.sub(a.const(1.0), w), half)
    return a.add(w, a.add(lost, a.sub(a.mul(a.mul(z, z), horner(a, z, _COS[64])), a.mul(r, e))))


def _circle(a: Algebra, x: Value) -> tuple[Value, Value, Value]:
    """(q, sin r, cos r): x = q pi / 2 + r modulo 2 pi; q an integer of which the last two bits count."""
    if a.bits == 64:
        q, r, e = _reduce(a, x, True)
        return a.to_int(q), sin_near(a, r, e), cos_near(a, r, e)
    wide = a.double()
    q, r, _ = [a.narrow(v) for v in _reduce(wide, a.widen(x), False)]
    z = a.mul(r, r)
    sine = a.fma(a.mul(r, z), horner(a, z, _SIN[32]), r)
    cosine = a.fma(a.mul(z, z), horner(a, z, _COS[32]), a.fma(z, a.const(-0.5), a.const(1.0)))
    return a.to_int(q), sine, cosine


def _bit(a: Algebra, q: Value, bit: int) -> Value:
    return a.iequal(a.iand(q, a.iconst(bit)), a.iconst(bit))


def _finite_only(a: Algebra, x: Value, value: Value) -> Value:
    """`value`, but NaN for an infinity or NaN."""
    return a.select(a.less(a.abs(x), a.const(math.inf)), value, a.sub(x, x))


@function
def sin(a: Algebra, x: Value) -> Value:
    """sin x: zeros with their sign, NaN at infinities."""
    q, sine, cosine = _circle(a, x)
    value = a.select(_bit(a, q, 1), cosine, sine)
    value = a.select(_bit(a, q, 2), a.neg(value), value)
    return _finite_only(a, x, keep_zero(a, x, value))


@function
def cos(a: Algebra, x: Value) -> Value:
    """cos x: NaN at infinities."""
    q, sine, cosine = _circle(a, x)
    value = a.select(_bit(a, q, 1), sine, cosine)
    value = a.select(_bit(a, a.iadd(q, a.iconst(1)), 2), a.neg(value), value)
    return _finite_only(a, x, value)


@function
def tan(a: Algebra, x: Value) -> Value:
    """sin x / cos x: zeros with their sign, NaN at infinities; no number is so close to a pole that it overflows."""
    if a.bits == 32:
        return a.narrow(tan(a.double(), a.widen(x)))
    q, sine, cosine = _circle(a, x)
    odd = _bit(a, q, 1)
    value = a.div(a.select(odd, a.neg(cosine), sine), a.select(odd, sine, cosine))
    return _finite_only(a, x, keep_zero(a, x, value))
