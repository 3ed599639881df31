"""lgamma, digamma and its derivatives, in float64 also for float32.

The recurrences gamma(x + 1) = x gamma(x) and digamma(x + 1) = digamma(x) + 1 / x bring arguments below 10 to an
interval on which polynomials hold. From 10 on there are the asymptotic series in 1 / x, of Bernoulli's numbers, and
negative arguments are reflected to positive ones. The positive zeros, 1 and 2 of lgamma and 1.46... of digamma, are
factors in front of the polynomials, so that results close to them are as precise as others.

For negative arguments, near the zeros that they have there, the results are precise to a few units of 1e-16 and not
relative to their own value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..algebra import Algebra, Value
from .define import function, horner, keep_nan, negative, through_double, with_sign
from .logarithm import log
from .trigonometric import cos_near, sin_near

#: lgamma x = (x - 1) (x - 2) p(x - middle): (upper end, middle, coefficients); errors below 1.6e-18
_LGAMMA = (
    (1.0, 0.75, (
        0.6504990445801452, -0.35235940133201404, 0.2940853672244385, -0.2889112017736456,
        0.3072613943482526, -0.3419789498688228, 0.3919461026461814, -0.4585651163963191,
        0.5448302623371188, -0.6551522894577294, 0.7954869033940891, -0.9736371839685842,
        1.1997396143894397, -1.4871791168033033, 1.8524564015605727, -2.30901597146912, 2.896217712902739,
        -3.7966964754438224, 4.836540914667071, -4.471919094952138, 5.4223525118268405, -17.509121741863495,
        23.089813968613907,
    )),
    (2.0, 1.5, (
        0.4831289505409809, -0.14595989591430608, 0.06291140107456437, -0.03130848750100938,
        0.01679709863127598, -0.009425622448635198, 0.0054464578390325015, -0.0032120740693684343,
        0.001922916315233889, -0.0011644146796363029, 0.0007115190308872638, -0.00043799182960375656,
        0.0002713140727040487, -0.0001689280589452037, 0.00010535323972672571, -6.608822619077231e-05,
        4.303410681426898e-05, -2.7370721240920368e-05, 1.3173898174552022e-05, -8.05411415599695e-06,
        1.2149723207968277e-05, -7.990261680930102e-06,
    )),
    (3.0, 2.5, (
        0.37957716063055885, -0.07466357415449941, 0.01990515430474318, -0.006018768527036939,
        0.0019490574889486504, -0.0006586397065639069, 0.0002290536374008329, -8.130229410152932e-05,
        2.9299284289017093e-05, -1.068225891524995e-05, 3.9305760998496155e-06, -1.4575552709910705e-06,
        5.43655577530588e-07, -2.0150607411196143e-07, 7.574041250459854e-08, -3.386134937667703e-08,
        1.2964783965269065e-08,
    )),
)  # fmt: skip

#: digamma x = (x - its zero) p(x - 1.5), 1 <= x <= 2; error 2.5e-18
_DIGAMMA = (
    0.9510558760318328, -0.4236274212814606, 0.24054248424078722, -0.14840492305388028, 0.09498872445284959,
    -0.06192213327554267, 0.04076083394339826, -0.026975796657618553, 0.017907248235445004,
    -0.01190822015344602, 0.00792702332855855, -0.005279936631110936, 0.0035180887029687864,
    -0.0023454998819934614, 0.0015635033545253335, -0.0010364317588743076, 0.0006902825736289018,
    -0.00048603549365497373, 0.00032587893563681633, -0.00014465481269374225, 9.329890308663832e-05,
    -0.00017833459279723024, 0.00012117008287249888,
)  # fmt: skip

_ZERO = (1.4616321449683622, 9.549995429965697e-17)  #: digamma's positive zero as a sum
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
_FAR = 10.0  #: from here on the asymptotic series in 1 / x is exact to the last place


def _pieces(a: Algebra, x: Value, table: Sequence[tuple[float, float, Sequence[float]]]) -> Value:
    """p(x - middle) with the polynomial of the first entry whose upper end is above x."""
    terms = max(len(c) for _, _, c in table)

    def choose(numbers: Sequence[float]) -> Value:
        chosen = a.const(numbers[-1])
        for (end, _, _), number in zip(reversed(table[:-1]), reversed(numbers[:-1]), strict=True):
            chosen = a.select(a.less(x, a.const(end)), a.const(number), chosen)
        return chosen

    def coefficient(k: int) -> Value:
        return choose([c[k] if k < len(c) else 0.0 for _, _, c in table])

    u = a.sub(x, choose([middle for _, middle, _ in table]))
    total = coefficient(terms - 1)
    for k in reversed(range(terms - 1)):
        total = a.fma(total, u, coefficient(k))
    return total


def _half_turn(a: Algebra, x: Value) -> tuple[Value, Value, Value]:
    """(whole, sin pi r, cos pi r) with r = x less the nearest whole number; `whole`: r is 0."""
    r = a.sub(x, a.round(x))
    size = a.abs(r)
    fold = a.less(a.const(0.25), size)
    t = a.mul(a.select(fold, a.sub(a.const(0.5), size), size), a.const(math.pi))
    zero = a.const(0.0)
    sine, cosine = sin_near(a, t, zero), cos_near(a, t, zero)
    turned = with_sign(a, a.select(fold, cosine, sine), r)
    return a.equal(r, zero), turned, a.select(fold, sine, cosine)


def _inverse_series(a: Algebra, x: Value, coefficients: Sequence[float]) -> Value:
    """c[0] + c[1] / x**2 + c[2] / x**4 + ..."""
    step = a.div(a.const(1.0), x)
    return horner(a, a.mul(step, step), coefficients)


# -- lgamma -------------------------------------------------------------------------------------------------------


def _lgamma_right(a: Algebra, x: Value) -> Value:
    """lgamma x for x > -0.5 other than 0."""
    one, half = a.const(1.0), a.const(0.5)
    low = a.less(x, half)
    base = a.select(low, a.add(x, one), x)
    product = a.select(low, a.abs(x), one)
    for _ in range(7):
        step = a.inverse(a.less(base, a.const(3.0)))
        base = a.select(step, a.sub(base, one), base)
        product = a.select(step, a.mul(product, base), product)
    base = a.select(a.less(base, a.const(3.0)), base, a.const(2.5))
    shift = log(a, product)
    shift = a.select(low, a.neg(shift), shift)
    zeros = a.mul(a.sub(base, one), a.sub(base, a.const(2.0)))
    near = a.fma(zeros, _pieces(a, base, _LGAMMA), shift)
    far_x = a.select(a.less(x, a.const(_FAR)), a.const(_FAR), x)
    tail = _inverse_series(a, far_x, [b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1)])
    main = a.mul(a.sub(far_x, half), a.sub(log(a, far_x), one))
    far = a.add(main, a.add(a.div(tail, far_x), a.const(0.5 * math.log(2 * math.pi) - 0.5)))
    return a.select(a.less(x, a.const(_FAR)), near, far)


@function
@through_double
def lgamma(a: Algebra, x: Value) -> Value:
    """log |gamma(x)|: inf at 0, at negative whole numbers and at both infinities; 0 at 1 and 2."""
    right = a.less(a.const(-0.5), x)
    size = a.abs(x)
    up = _lgamma_right(a, a.select(right, x, size))
    # Reflection: gamma(x) gamma(-x) = -pi / (x sin(pi x)).
    whole, sine, _ = _half_turn(a, size)
    down = a.sub(log(a, a.div(a.const(math.pi), a.mul(size, a.abs(sine)))), up)
    value = a.select(right, up, a.select(whole, a.const(math.inf), down))
    value = a.select(a.equal(x, a.const(0.0)), a.const(math.inf), value)
    return keep_nan(a, x, a.select(a.equal(size, a.const(math.inf)), size, value))


# -- digamma ------------------------------------------------------------------------------------------------------


def _digamma_right(a: Algebra, x: Value) -> Value:
    """digamma x for x > -0.5 other than 0."""
    one = a.const(1.0)
    low = a.less(x, one)
    total = a.select(low, a.div(a.const(-1.0), x), a.const(0.0))
    base = a.select(low, a.add(x, one), x)
    # Below 0.5 in magnitude x + 1 can be under 1, where the polynomial does not hold: one step more.
    under = a.less(base, one)
    total = a.select(under, a.sub(total, a.div(one, base)), total)
    base = a.select(under, a.add(base, one), base)
    steps = a.const(0.0)
    for _ in range(8):
        step = a.inverse(a.less(base, a.const(2.0)))
        base = a.select(step, a.sub(base, one), base)
        steps = a.select(step, a.add(steps, a.div(one, base)), steps)
    base = a.select(a.less(base, a.const(2.0)), base, a.const(1.5))
    from_zero = a.sub(a.sub(base, a.const(_ZERO[0])), a.const(_ZERO[1]))
    curve = a.mul(from_zero, horner(a, a.sub(base, a.const(1.5)), _DIGAMMA))
    near = a.add(total, a.add(steps, curve))
    far_x = a.select(a.less(x, a.const(_FAR)), a.const(_FAR), x)
    inverse = a.div(one, far_x)
    series = _inverse_series(a, far_x, [b / (2 * k) for k, b in enumerate(_BERNOULLI, 1)])
    tail = a.fma(a.mul(inverse, inverse), series, a.mul(inverse, a.const(0.5)))
    return a.select(a.less(x, a.const(_FAR)), near, a.sub(log(a, far_x), tail))


@function
@through_double
def digamma(a: Algebra, x: Value) -> Value:
    """The derivative of log gamma: -inf at 0.0, inf at -0.0, NaN at negative whole numbers and -inf, inf at inf."""
    right = a.less(a.const(-0.5), x)
    up = _digamma_right(a, a.select(right, x, a.sub(a.const(1.0), x)))
    # Reflection: digamma(x) = digamma(1 - x) - pi cot(pi x).
    whole, sine, cosine = _half_turn(a, x)
    down = a.sub(up, a.div(a.mul(cosine, a.const(math.pi)), sine))
    bad = a.either(whole, a.equal(x, a.const(-math.inf)))
    value = a.select(right, up, a.select(bad, a.const(math.nan), down))
    pole = a.select(negative(a, x), a.const(math.inf), a.const(-math.inf))
    return keep_nan(a, x, a.select(a.equal(x, a.const(0.0)), pole, value))


# -- polygamma ----------------------------------------------------------------------------------------------------


def integer_power(a: Algebra, x: Value, n: int) -> Value:
    """x**n for n >= 1 by repeated squaring."""
    out = None
    while n:
        if n & 1:
            out = x if out is None else a.mul(out, x)
        n >>= 1
        if n:
            x = a.mul(x, x)
    return out


def _polygamma_right(a: Algebra, x: Value, order: int) -> Value:
    """The size of the derivative of that order of digamma, for x > 0."""
    one, far, factor = a.const(1.0), _FAR + order, float(math.factorial(order))

    def step(y: Value, total: Value) -> tuple[Value, ...]:
        return a.add(y, one), a.add(total, integer_power(a, a.div(one, y), order + 1))

    y, total = a.repeat(lambda y, total: a.less(y, a.const(far)), step, (x, a.const(0.0)))
    # In units of order! / y**order, so that nothing overflows on the way.
    terms = [
        b * math.factorial(2 * k + order - 1) / (math.factorial(2 * k) * factor)
        for k, b in enumerate(_BERNOULLI, 1)
    ]
    inverse = a.div(one, y)
    square = a.mul(inverse, inverse)
    tail = a.fma(square, horner(a, square, terms), a.fma(inverse, a.const(0.5), a.const(1.0 / order)))
    total = a.add(total, a.mul(integer_power(a, inverse, order), tail))
    return a.mul(total, a.const(factor))


def _cotangent_derivative(order: int) -> list[float]:
    """The derivative of that order of cot, as a polynomial in cot: cot' = -(1 + cot**2)."""
    poly = [0, 1]
    for _ in range(order):
        slope = [k * c for k, c in enumerate(poly)][1:]
        poly = [0] * (len(slope) + 2)
        for k, c in enumerate(slope):
            poly[k] -= c
            poly[k + 2] -= c
    return [float(c) for c in poly]


def polygamma(a: Algebra, x: Value, order: int) -> Value:
    """The derivative of order `order` >= 1 of digamma.

    At 0 and at negative whole numbers it is inf for odd orders, where both sides of the pole agree, and NaN for even
    ones; NaN at -inf, 0 at inf.
    """
    if a.bits == 32:
        return a.narrow(polygamma(a.double(), a.widen(x), order))
    zero = a.const(0.0)
    right = a.less(zero, x)
    size = _polygamma_right(a, a.select(right, x, a.sub(a.const(1.0), a.select(right, zero, x))), order)
    odd = bool(order % 2)
    up = size if odd else a.neg(size)
    # Reflection: digamma(x) = digamma(1 - x) - pi cot(pi x), differentiated.
    whole, sine, cosine = _half_turn(a, x)
    cot = a.div(cosine, sine)
    turned = a.mul(horner(a, cot, _cotangent_derivative(order)), a.const(math.pi ** (order + 1)))
    down = a.sub(a.neg(up) if odd else up, turned)
    down = a.select(whole, a.const(math.inf if odd else math.nan), down)
    down = a.select(a.equal(x, a.const(-math.inf)), a.const(math.nan), down)
    return keep_nan(a, x, a.select(right, up, down))
