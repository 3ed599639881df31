"""erf, erfc, erfinv.

erf is a polynomial up to 1, and 1 - erfc from there, where erfc t = exp(-p(t)) with a polynomial p: only its absolute
error counts. erfc itself is wanted relative to its size, down to 1e-308: it is exp(-t**2) times a smooth function,
and t**2 is a sum of two numbers, as exp would magnify what rounding it leaves.
"""

from __future__ import annotations

import math

from ..algebra import Algebra, Value
from .define import clamp, function, horner, in_piece, keep_nan, scale, through_double, with_sign
from .exponential import exp, expm1_near, reduce_exp
from .logarithm import log
from .pairs import two_product
from .tables import ERF

#: erf x = x + x (c[0] + c[1] z + ...), z = x**2, |x| <= 1; errors, relative to x, 3.3e-11 and 3.3e-23
_ERF = {
    32: (
        0.1283791670631784, -0.3761263848395393, 0.11283782748887525, -0.026865445893359985,
        0.005221075017217327, -0.000848471269566868, 0.00011270548762792266, -9.680137052014569e-06,
    ),
    64: (
        0.12837916709551256, -0.37612638903183754, 0.11283791670955126, -0.026866170645131218,
        0.005223977625441682, -0.000854832702340367, 0.00012055332978914105, -1.4925650238183837e-05,
        1.6462110811794171e-06, -1.6365769162219246e-07, 1.4806033356546954e-08, -1.2277786073374128e-09,
        9.324003717771423e-11, -6.197632588894003e-12, 2.80799241573428e-13,
    ),
}  # fmt: skip

#: (end, start, coefficients): erfc t = exp(-p(t - start)) from start to end; absolute errors 1.6e-11, 7.3e-19, 6.8e-22
_ERFC: dict[int, tuple[tuple[float, float, tuple[float, ...]], ...]] = {
    32: (
        (4.0, 1.0, (
            1.8496055098313842, 2.6389675305549996, 0.8431068512317593, 0.04156478512336284,
            -0.010050040532694302, 0.002017197913479929, -0.00029362846103586675, 2.3307600308730828e-05,
            -2.5195478764825377e-07,
        )),
    ),
    64: (
        (2.25, 1.0, (
            1.8496055099332482, 2.638967514234789, 0.8431072563586494, 0.04156109804168041,
            -0.010033825360566559, 0.0019779023539942095, -0.00023732080986780299, -2.6285863680712825e-05,
            2.718439698043978e-05, -9.66412816270056e-06, 2.144749159198744e-06, -2.355322272902214e-07,
            -2.6468059841193987e-08, 1.4498017077952458e-08, -1.7873157329364819e-09,
        )),
        (6.0, 2.25, (
            6.527459896365818, 4.882913810544553, 0.9348675668781029, 0.013312548394563518,
            -0.00277133683700769, 0.0005548409471674271, -0.00010263797168230917, 1.660450095539878e-05,
            -2.0496757579098664e-06, 7.434761314442764e-08, 5.900518650124097e-08, -2.4425216713728048e-08,
            6.02903848508612e-09, -1.027372390077545e-09, 1.11402615591424e-10, -5.76429784877718e-12,
        )),
    ),
}  # fmt: skip

#: exp(x**2) erfc(x) = (c[0] + c[1] u + ...) / (x + 2), u = (x - 2) / (x + 2) - 1/8, 0.5 <= x <= 28;
#: error 1.3e-18
_SCALED64 = (
    0.9399781523570393, -0.6191604927113871, 0.2639268895005256, -0.04607273098647041, -0.01680512533265669,
    0.00845210179085869, 0.0020813211096662528, -0.0014450542385938245, -0.0005150749619177429,
    0.0002321812701929988, 0.00016016435480427225, -1.737089991868273e-05, -4.541201806403252e-05,
    -1.010785205185517e-05, 8.924265963805996e-06, 6.475935411829208e-06, 1.1242595201307164e-07,
    -1.99594096289907e-06, -9.91966292092801e-07, 2.2079353434476532e-07, 4.2115371762887545e-07,
    8.132748607274314e-08, -7.44503156296087e-08, -2.894255600480223e-08,
)  # fmt: skip

#: erfinv x = x (c[0] + c[1] u + ...): in u = w - 3 for w = -log(1 - x**2) <= 6, above in the square root of w, about
#: 3.22 up to 4 and about 5.04 from there (M. Giles, Approximating the erfinv function, 2010); errors below 2.1e-18
_INVERSE = (
    (3.0, (
        1.6235420064648298, 0.2416304041661583, -0.00573813522100571, -0.0008361817769094496,
        0.00019506132441238919, -1.271642263833543e-05, -1.7480020939648733e-06, 4.4998542494250345e-07,
        -2.3688729163155818e-08, -5.4671786022400805e-09, 1.1107992356926508e-09, -3.1425724432577825e-11,
        -1.732925811280904e-11, 2.699015627816248e-12, 6.378917271510849e-15, -5.2939333839195216e-14,
        6.306153174255826e-15, 2.7525482746880775e-16, -1.5875626728722597e-16, 1.2781071092295585e-17,
        1.763499475508716e-18, -3.874614612196913e-19, 1.477476796834564e-21, 4.25615879721056e-21,
        -2.153085226877953e-22,
    )),
    (3.22, (
        3.0537327786269195, 1.0049263085039122, 0.005722444705095166, -0.004065900909757767,
        0.0027578894913102598, -0.0018666069040456457, 0.0010282898138894634, -0.00035843628340287523,
        3.6232815655939192e-06, 8.308052567838611e-05, -5.122800892260913e-05, 1.1115029478714237e-05,
        4.608497768796248e-06, -4.606968284735461e-06, 1.4645149553118727e-06, 1.0761002376504773e-07,
        -3.1417006951916656e-07, 1.3894655686182308e-07, -1.169217414215471e-08, -1.8748332707253658e-08,
        7.99830384118963e-09, -4.360468701493407e-10,
    )),
    (5.04, (
        4.89031818448288, 1.0102883543801167, -0.00016380580272934184, -0.00020318007798114494,
        7.216536495012509e-05, -1.8628084372542388e-05, 4.257918472786401e-06, -9.234103682632844e-07,
        2.0666546216523078e-07, -5.719918272814215e-08, 2.30869599997668e-08, -1.187382321952613e-08,
        6.168645863149143e-09, -2.8539059075331335e-09, 1.0968997237388018e-09, -3.3881741420071227e-10,
        7.756148907226042e-11, 4.304635263585034e-12, -1.6548652723020958e-11, 5.263289698235472e-12,
    )),
)  # fmt: skip


#: Added to a small positive float32 number, it leaves that, rounded to a whole one, in the last bits.
_ROUNDS = 1.5 * 2.0**23


def _erf_in_pieces(a: Algebra, x: Value) -> Value:
    t = a.abs(x)
    t = a.select(a.less(a.const(3.937), t), a.const(3.937), t)  # a NaN stays
    index = a.as_int(a.fma(t, a.const(8.0), a.const(_ROUNDS)))
    return with_sign(a, in_piece(a, t, ERF, index), x)


@function
def erf(a: Algebra, x: Value) -> Value:
    """2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x: zeros with their sign, 1 and -1 at infinities.

    Where coefficients are picked out of registers, float32 is 32 polynomials (see `tables`).
    """
    if a.bits == 32 and a.picks:
        return _erf_in_pieces(a, x)
    small = a.fma(x, horner(a, a.mul(x, x), _ERF[a.bits]), x)
    parts = _ERFC[a.bits]
    t = clamp(a, a.abs(x), 1.0, parts[-1][0])
    power = horner(a, a.sub(t, a.const(parts[0][1])), parts[0][2])
    for _, start, coefficients in parts[1:]:
        further = horner(a, a.sub(t, a.const(start)), coefficients)
        power = a.select(a.less(t, a.const(start)), power, further)
    large = a.sub(a.const(1.0), exp(a, a.neg(power)))
    value = a.select(a.less(a.abs(x), a.const(1.0)), small, with_sign(a, large, x))
    return keep_nan(a, x, value)


@function
@through_double
def erfc(a: Algebra, x: Value) -> Value:
    """1 - erf x without cancellation: 2 at -inf, 0 at inf and from 28 on."""
    near = a.sub(a.const(1.0), a.fma(x, horner(a, a.mul(x, x), _ERF[64]), x))
    t = clamp(a, a.abs(x), 0.5, 28.0)
    square, lost = two_product(a, t, t)
    n, r = reduce_exp(a, a.neg(square))
    power = a.add(expm1_near(a, r), a.const(1.0))
    power = a.sub(power, a.mul(power, lost))  # e**-(square + lost)
    beyond = a.add(t, a.const(2.0))
    u = a.sub(a.div(a.sub(t, a.const(2.0)), beyond), a.const(0.125))
    tail = scale(a, a.mul(power, a.div(horner(a, u, _SCALED64), beyond)), n)
    far = a.select(a.less(x, a.const(0.0)), a.sub(a.const(2.0), tail), tail)
    return keep_nan(a, x, a.select(a.less(a.abs(x), a.const(0.5)), near, far))


@function
@through_double
def erfinv(a: Algebra, x: Value) -> Value:
    """The number whose erf is x: zeros with their sign, infinities at 1 and -1, NaN beyond."""
    t = a.abs(x)
    one = a.const(1.0)
    w = a.neg(log(a, a.mul(a.sub(one, t), a.add(one, t))))
    w = clamp(a, w, 0.0, 37.0)
    ratio = horner(a, a.sub(w, a.const(3.0)), _INVERSE[0][1])
    root = a.sqrt(w)
    for start, (middle, coefficients) in zip((math.sqrt(6.0), 4.0), _INVERSE[1:], strict=True):
        further = horner(a, a.sub(root, a.const(middle)), coefficients)
        ratio = a.select(a.less(root, a.const(start)), ratio, further)
    value = a.mul(x, ratio)
    value = a.select(a.equal(t, one), with_sign(a, a.const(math.inf), x), value)
    return a.select(a.less(one, t), a.const(math.nan), keep_nan(a, x, value))
