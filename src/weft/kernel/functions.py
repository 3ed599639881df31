"""Elementary functions as polynomials over an `Algebra`, for float32 and float64.

Accuracy over the whole range is measured by `benchmarks/accuracy.py` and stated in the documentation; the bounds that
tests enforce are 2 ulp in float32 and 4 ulp in float64. The coefficients come from `tools/minimax.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .algebra import Algebra, Value

Function = Callable[[Algebra, Value], Value]

functions: dict[str, Function] = {}


def function(body: Function) -> Function:
    """Declare the formula of the primitive of that name."""
    functions[body.__name__.rstrip("_")] = body
    return body


def horner(a: Algebra, x: Value, coefficients: Sequence[float]) -> Value:
    """c[0] + c[1] x + c[2] x**2 + ..., one fused multiply-add a term."""
    total = a.const(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = a.fma(total, x, a.const(c))
    return total


def _is(a: Algebra, single: float, double: float) -> float:
    return single if a.bits == 32 else double


# -- exponentials -------------------------------------------------------------------------------------------------

_EXP = {
    32: (0.49999993448300871887, 0.16666520633731631993, 0.04166838800851608724, 0.0083687167967070314632,
         0.0013814599035361954043),
    64: (0.50000000000000000439, 0.16666666666666683416, 0.04166666666666609428, 0.0083333333333170372314,
         0.0013888888889115640131, 0.0001984126989637647279, 0.000024801586926588870629, 2.7557234869165722225e-6,
         2.7557581900563070342e-7, 2.5112034369177357842e-8, 2.0826607320209927092e-9),
}  # fmt: skip

#: ln 2 in two parts; the first has few bits, so that small multiples of it are exact.
_LN2 = {
    32: (0.693145751953125, 1.42860682030941723212e-6),
    64: (0.693147180369123816490, 1.90821492927058770002e-10),
}
_LOG2E = 1.0 / math.log(2.0)


def _reduce_exp(a: Algebra, x: Value) -> tuple[Value, Value]:
    """(n, r): x = n ln 2 + r with |r| at most a little over ln 2 / 2, n a whole number."""
    high, low = _LN2[a.bits]
    n = a.round(a.mul(x, a.const(_LOG2E)))
    r = a.fma(n, a.const(-high), x)
    return n, a.fma(n, a.const(-low), r)


def _power_of_two(a: Algebra, n: Value) -> Value:
    """2**n for an integer n in the range of normal exponents."""
    mantissa, bias = (23, 127) if a.bits == 32 else (52, 1023)
    return a.as_float(a.shl(a.iadd(n, a.iconst(bias)), mantissa))


def _scale(a: Algebra, x: Value, n: Value) -> Value:
    """x * 2**n in two steps, so that results below the normal range round once."""
    whole = a.to_int(n)
    half = a.shr(whole, 1)
    return a.mul(a.mul(x, _power_of_two(a, half)), _power_of_two(a, a.isub(whole, half)))


def _clamp(a: Algebra, x: Value, low: float, high: float) -> Value:
    """x within [low, high]; a NaN becomes `low` here and is put back at the end."""
    x = a.select(a.less(a.const(low), x), x, a.const(low))
    return a.select(a.less(x, a.const(high)), x, a.const(high))


def _keep_nan(a: Algebra, x: Value, value: Value) -> Value:
    return a.select(a.unordered(x), a.add(x, x), value)


@function
def exp(a: Algebra, x: Value) -> Value:
    low, high = (-104.0, 89.0) if a.bits == 32 else (-746.0, 710.0)
    n, r = _reduce_exp(a, _clamp(a, x, low, high))
    p = a.fma(a.mul(r, r), horner(a, r, _EXP[a.bits]), r)
    return _keep_nan(a, x, _scale(a, a.add(p, a.const(1.0)), n))


@function
def expm1(a: Algebra, x: Value) -> Value:
    low, high = (-18.0, 89.0) if a.bits == 32 else (-38.0, 710.0)
    n, r = _reduce_exp(a, _clamp(a, x, low, high))
    p = a.fma(a.mul(r, r), horner(a, r, _EXP[a.bits]), r)
    # (1 + p) 2**n - 1 = p 2**n + (2**n - 1), at half the scale so that 2**n does not overflow.
    s = _power_of_two(a, a.isub(a.to_int(n), a.iconst(1)))
    value = a.mul(a.fma(p, s, a.sub(s, a.const(0.5))), a.const(2.0))
    value = a.select(a.equal(n, a.const(0.0)), p, value)  # exact where x is small, -0.0 included
    value = a.select(a.equal(x, a.const(0.0)), x, value)
    return _keep_nan(a, x, value)


# -- logarithms ---------------------------------------------------------------------------------------------------

_LOG32 = (
    0.33333312605650832786, -0.25000009593803801772, 0.20002118538399391439, -0.1666799601524818047,
    0.14219554887077618037, -0.12405588307110662967, 0.11888143972927139708, -0.11675646611911148891,
    0.067466726231840348315,
)  # fmt: skip
_LOG64 = (
    0.66666666666666660974, 0.40000000000006247318, 0.28571428569085840359, 0.22222222646794441667,
    0.18181775666175440081, 0.15387090713157107434, 0.13250119382680976552, 0.13251315978915099526,
)  # fmt: skip


def _split(a: Algebra, x: Value) -> tuple[Value, Value]:
    """(e, f): x = 2**e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), for positive x; subnormal numbers too."""
    mantissa, low = (23, 2.0**-126) if a.bits == 32 else (52, 2.0**-1022)
    tiny = a.less(x, a.const(low))
    x = a.select(tiny, a.mul(x, a.const(2.0**mantissa)), x)
    root = 0x3F3504F3 if a.bits == 32 else 0x3FE6A09E667F3BCD  # sqrt(1/2)
    one = 0x3F800000 if a.bits == 32 else 0x3FF0000000000000
    k = a.iadd(a.as_int(x), a.iconst(one - root))
    e = a.isub(a.shr(k, mantissa), a.iconst(127 if a.bits == 32 else 1023))
    m = a.as_float(a.iadd(a.iand(k, a.iconst((1 << mantissa) - 1)), a.iconst(root)))
    exponent = a.sub(a.to_float(e), a.select(tiny, a.const(float(mantissa)), a.const(0.0)))
    return exponent, a.sub(m, a.const(1.0))


def _log_parts(a: Algebra, f: Value) -> Value:
    """log(1 + f) - f, for sqrt(1/2) <= 1 + f < sqrt(2)."""
    square = a.mul(f, f)
    half = a.mul(square, a.const(0.5))
    if a.bits == 32:
        return a.fma(a.mul(square, f), horner(a, f, _LOG32), a.sub(a.const(0.0), half))
    s = a.div(f, a.add(f, a.const(2.0)))
    z = a.mul(s, s)
    # log(1 + f) = f - (f**2 / 2 - s (f**2 / 2 + z p(z)))
    return a.fma(s, a.fma(z, horner(a, z, _LOG64), half), a.sub(a.const(0.0), half))


def _log_special(a: Algebra, x: Value, value: Value) -> Value:
    value = a.select(a.equal(x, a.const(math.inf)), x, value)
    value = a.select(a.equal(x, a.const(0.0)), a.const(-math.inf), value)
    return a.select(a.less(x, a.const(0.0)), a.const(math.nan), _keep_nan(a, x, value))


@function
def log(a: Algebra, x: Value) -> Value:
    e, f = _split(a, x)
    high, low = _LN2[a.bits]
    rest = a.add(_log_parts(a, f), a.mul(e, a.const(low)))
    return _log_special(a, x, a.fma(e, a.const(high), a.add(rest, f)))


@function
def log1p(a: Algebra, x: Value) -> Value:
    u = a.add(x, a.const(1.0))
    # What rounding 1 + x lost, to be added to the logarithm of u.
    lost = a.select(
        a.less(x, a.const(1.0)),
        a.sub(x, a.sub(u, a.const(1.0))),
        a.sub(a.const(1.0), a.sub(u, x)),
    )
    e, f = _split(a, u)
    high, low = _LN2[a.bits]
    correction = a.div(lost, u)
    rest = a.add(a.add(_log_parts(a, f), a.mul(e, a.const(low))), correction)
    value = _log_special(a, u, a.fma(e, a.const(high), a.add(rest, f)))
    return a.select(a.less(a.abs(x), a.const(_is(a, 1e-9, 1e-20))), x, value)


# -- hyperbolic tangent and error function ------------------------------------------------------------------------

_TANH = {
    32: (-0.33333283925102841365, 0.1333149127761949464, -0.053743497119333890873, 0.020650583864982235646,
         -0.0057170410619077577272),
    64: (-0.33333333333333313789, 0.13333333333329887633, -0.05396825396613365214, 0.0218694884706383115,
         -0.0088632343413120334379, 0.0035921142698214057234, -0.0014557276093839065207,
         0.00058945859807475749755, -0.00023703007037414428076, 0.000091589737591735821399,
         -0.000030217923673209138437, 6.0556232026149129106e-6),
}  # fmt: skip


def _with_sign(a: Algebra, magnitude: Value, x: Value) -> Value:
    """`magnitude` with the sign of x."""
    sign = a.iand(a.as_int(x), a.iconst(-(2 ** (a.bits - 1))))
    return a.as_float(a.ior(a.as_int(magnitude), sign))


@function
def tanh(a: Algebra, x: Value) -> Value:
    z = a.mul(x, x)
    small = a.fma(a.mul(x, z), horner(a, z, _TANH[a.bits]), x)
    t = _clamp(a, a.abs(x), 0.0, _is(a, 10.0, 20.0))
    large = a.sub(a.const(1.0), a.div(a.const(2.0), a.add(exp(a, a.add(t, t)), a.const(1.0))))
    value = a.select(a.less(a.abs(x), a.const(0.625)), small, _with_sign(a, large, x))
    value = a.select(a.equal(x, a.const(0.0)), x, value)
    return _keep_nan(a, x, value)


#: erf x = x + x (c[0] + c[1] z + ...), z = x**2
_ERF = {
    32: (0.12837916706316089, -0.37612638483788872862, 0.11283782746882138047, -0.026865445804502476407,
         0.0052210748355002763651, -0.00084847108936446581683, 0.00011270540870542149255,
         -9.6801270691120381555e-6),
    64: (0.1283791670955125739, -0.37612638903183752462, 0.11283791670955125629, -0.026866170645131219145,
         0.0052239776254416823836, -0.00085483270234036694206, 0.00012055332978914105149,
         -0.000014925650238183837535, 1.6462110811794170306e-6, -1.63657691622192447e-7,
         1.4806033356546954874e-8, -1.2277786073374127398e-9, 9.3240037177714228566e-11,
         -6.197632588894002656e-12, 2.8079924157342797337e-13),
}  # fmt: skip

#: (upper end, middle, coefficients): erfc t = exp(-p(t - middle)) up to there
_ERFC: dict[int, tuple[tuple[float, float, tuple[float, ...]], ...]] = {
    32: (
        (4.0, 2.5, (7.8068152661773082015, 5.3526806504485292987, 0.94389351416056269119, 0.010858731799176849789,
                    -0.002162592050208549283, 0.00042392315380386165354, -0.000078181830259875337692,
                    8.1971692993447473747e-6, -5.1989027202537247864e-6, -7.8451752791786356695e-7)),
    ),
    64: (
        (2.25, 1.625, (3.8370887037779426733, 3.7331259590726173634, 0.90178502965792206867, 0.023008967325758179349,
                       -0.0052700293255128817488, 0.0011028409208921711779, -0.00019549044246694092631,
                       0.000023963988392242563087, 4.9665161443446475422e-7, -1.5009045622660110912e-6,
                       5.8274872858540593335e-7, -1.5076960900275332598e-7, 2.7079525769466875145e-8,
                       -2.0156533631244356676e-9, -1.2171763397885407752e-9, 7.5315664977759379912e-10)),
        (6.0, 4.125, (19.032542764467391903, 8.4799114039568531231, 0.97481416815672710362, 0.0035157571106817156006,
                      -0.0005284298718143433631, 0.000081092662672582868552, -0.000012391243214328539172,
                      1.8556612342302499132e-6, -2.686897869684464816e-7, 3.7032785446290645981e-8,
                      -4.7430844486020360178e-9, 5.3833301974353223945e-10, -4.8754729152404427299e-11,
                      5.6720612948141107997e-13, 7.5522652183511027582e-13, -2.3017153707115602058e-14,
                      2.26705759402509791e-13, 4.4143250388075269657e-14, 1.0795866303198564941e-14,
                      8.1957719415604870035e-17)),
    ),
}  # fmt: skip


@function
def erf(a: Algebra, x: Value) -> Value:
    small = a.fma(x, horner(a, a.mul(x, x), _ERF[a.bits]), x)
    parts = _ERFC[a.bits]
    t = _clamp(a, a.abs(x), 1.0, parts[-1][0])
    power = horner(a, a.sub(t, a.const(parts[0][1])), parts[0][2])
    for (edge, _, _), (_, middle, coefficients) in zip(parts, parts[1:], strict=False):
        further = horner(a, a.sub(t, a.const(middle)), coefficients)
        power = a.select(a.less(t, a.const(edge)), power, further)
    large = a.sub(a.const(1.0), exp(a, a.sub(a.const(0.0), power)))
    value = a.select(a.less(a.abs(x), a.const(1.0)), small, _with_sign(a, large, x))
    return _keep_nan(a, x, value)
