"""Elementwise functions of the array API standard: one line each, from the primitives.

Tensors of different dtypes are promoted, Python numbers take the dtype of the tensor beside them, shapes broadcast.
Functions that are defined for floating types only take integers and booleans as float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..base.checked import checked
from ..base.errors import DTypeError
from ..ir.dtype import DEFAULT_FLOAT
from ..ir.primitive import Primitive
from ..ir.shape import broadcast_shapes
from ..ops import elementwise as e
from ..ops.movement import broadcast_to, identity, zeros
from .cell import Handle
from .dispatch import (
    application,
    as_dtype,
    binary,
    converted,
    node_of,
    note_application,
    promoted,
    unary,
    wrap,
)

if TYPE_CHECKING:
    from .tensor import Tensor

_SMALL_POWER = 16


def _named(function: Callable[..., Any], name: str, op: Any, note: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{op.__doc__}\n\n    {note}"
    return function


def _unary(name: str, op: Any, note: str = "Elementwise; the shape is that of x.") -> Callable[[Any], Tensor]:
    """The tensor-level function of a node-level one."""
    primitive = isinstance(op, Primitive)
    floats = op is e.reciprocal or (primitive and "i" not in op.kinds)  # type: ignore[attr-defined]

    def function(x: Any, /) -> Tensor:
        node = node_of(x)
        if floats and not node.dtype.inexact:
            node = converted(node, DEFAULT_FLOAT)
        return unary(op, node) if primitive else wrap(op(node))

    return _named(function, name, op, note)


def _binary(name: str, op: Any) -> Callable[[Any, Any], Tensor]:
    """The tensor-level function of an elementwise primitive of two operands."""

    def function(x1: Any, x2: Any, /) -> Tensor:
        out = binary(op, x1, x2)
        if out is NotImplemented:
            raise _operands(name, x1, x2)
        return out

    return _named(function, name, op, "Elementwise; operands are promoted and broadcast.")


def _operands(name: str, *operands: Any) -> DTypeError:
    got = ", ".join(type(x).__name__ for x in operands)
    return DTypeError(f"{name} takes tensors and numbers, got {got}; make tensors with weft.asarray")


def _logical(name: str, op: Any) -> Callable[[Any, Any], Tensor]:
    def function(x1: Any, x2: Any, /) -> Tensor:
        return wrap(op(node_of(x1), node_of(x2)))

    return _named(function, name, op, "Elementwise; operands are broadcast.")


def _composed(name: str, op: Any) -> Callable[[Any, Any], Tensor]:
    def function(x1: Any, x2: Any, /) -> Tensor:
        return wrap(op(*promoted(x1, x2)))

    return _named(function, name, op, "Elementwise; operands are promoted and broadcast.")


abs = _unary("abs", e.abs_)
acos = _unary("acos", e.acos)
acosh = _unary("acosh", e.acosh)
asin = _unary("asin", e.asin)
asinh = _unary("asinh", e.asinh)
atan = _unary("atan", e.atan)
atanh = _unary("atanh", e.atanh)
bitwise_invert = _unary("bitwise_invert", e.bitwise_not)
ceil = _unary("ceil", e.ceil)
cos = _unary("cos", e.cos)
cosh = _unary("cosh", e.cosh)
digamma = _unary("digamma", e.digamma)
erf = _unary("erf", e.erf)
erfc = _unary("erfc", e.erfc)
erfinv = _unary("erfinv", e.erfinv)
exp = _unary("exp", e.exp)
exp2 = _unary("exp2", e.exp2)
expm1 = _unary("expm1", e.expm1)
floor = _unary("floor", e.floor)
isfinite = _unary("isfinite", e.isfinite)
isinf = _unary("isinf", e.isinf)
isnan = _unary("isnan", e.isnan)
lgamma = _unary("lgamma", e.lgamma)
log = _unary("log", e.log)
log10 = _unary("log10", e.log10)
log1p = _unary("log1p", e.log1p)
log2 = _unary("log2", e.log2)
logical_not = _unary("logical_not", e.logical_not)
negative = _unary("negative", e.neg)
reciprocal = _unary("reciprocal", e.reciprocal)
round = _unary("round", e.round_)
rsqrt = _unary("rsqrt", e.rsqrt)
sign = _unary("sign", e.sign)
signbit = _unary("signbit", e.signbit)
sin = _unary("sin", e.sin)
sinh = _unary("sinh", e.sinh)
sqrt = _unary("sqrt", e.sqrt)
square = _unary("square", e.square)
tan = _unary("tan", e.tan)
tanh = _unary("tanh", e.tanh)
trunc = _unary("trunc", e.trunc)
angle = _unary("angle", e.angle)

add = _binary("add", e.add)
atan2 = _binary("atan2", e.atan2)
bitwise_and = _binary("bitwise_and", e.bitwise_and)
bitwise_left_shift = _binary("bitwise_left_shift", e.shift_left)
bitwise_or = _binary("bitwise_or", e.bitwise_or)
bitwise_right_shift = _binary("bitwise_right_shift", e.shift_right)
bitwise_xor = _binary("bitwise_xor", e.bitwise_xor)
copysign = _binary("copysign", e.copysign)
divide = _binary("divide", e.div)
equal = _binary("equal", e.equal)
floor_divide = _binary("floor_divide", e.floor_divide)
hypot = _binary("hypot", e.hypot)
less = _binary("less", e.less)
less_equal = _binary("less_equal", e.less_equal)
logaddexp = _binary("logaddexp", e.logaddexp)
maximum = _binary("maximum", e.maximum)
minimum = _binary("minimum", e.minimum)
multiply = _binary("multiply", e.mul)
nextafter = _binary("nextafter", e.nextafter)
remainder = _binary("remainder", e.remainder)
subtract = _binary("subtract", e.sub)

greater = _composed("greater", e.greater)
greater_equal = _composed("greater_equal", e.greater_equal)
not_equal = _composed("not_equal", e.not_equal)

logical_and = _logical("logical_and", e.logical_and)
logical_or = _logical("logical_or", e.logical_or)
logical_xor = _logical("logical_xor", e.logical_xor)


def positive(x: Any, /) -> Tensor:
    """x itself, as another tensor."""
    node = node_of(x)
    if node.dtype.kind == "b":
        raise DTypeError("positive takes numbers, got a boolean tensor")
    return wrap(identity.bind((node,)))


def real(x: Any, /) -> Tensor:
    """The real part of a complex tensor; of a real one, the tensor itself."""
    node = node_of(x)
    return wrap(e.real(node) if node.dtype.kind == "c" else identity.bind((node,)))


def imag(x: Any, /) -> Tensor:
    """The imaginary part of a complex tensor; of a real one, zeros."""
    node = node_of(x)
    return wrap(e.imag(node) if node.dtype.kind == "c" else zeros(node.aval))


def conj(x: Any, /) -> Tensor:
    """The complex conjugate; of a real tensor, the tensor itself."""
    node = node_of(x)
    return wrap(e.conj(node) if node.dtype.kind == "c" else identity.bind((node,)))


def power(x1: Any, x2: Any, /) -> Any:
    """`x1 ** x2`, NotImplemented where an operand is of a foreign kind."""
    if type(x2) is int and -_SMALL_POWER <= x2 <= _SMALL_POWER and isinstance(x1, Handle):
        node = x1._cell.node
        if node.dtype.inexact or (x2 >= 0 and node.dtype.kind in "ui"):
            return wrap(e.integer_pow.bind((node,), (x2,)))
    return binary(e.pow_, x1, x2)


def pow(x1: Any, x2: Any, /) -> Tensor:
    """x1 to the power x2, elementwise; operands are promoted and broadcast.

    A small Python integer as exponent is part of the program's structure and is worked out by repeated multiplication;
    any other exponent is a run-time value. Anything to the power 0 is 1. A negative real number to a power that is not
    whole is NaN. See the primitives `pow` and `integer_pow` for derivatives.
    """
    out = power(x1, x2)
    if out is NotImplemented:
        raise _operands("pow", x1, x2)
    return out


@checked
def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """x kept between `min` and `max`, elementwise: numbers or tensors that broadcast with x, or None for no bound.

    The result has the dtype of x. Where min > max it is max. x gets the gradient wherever min <= x <= max; elsewhere it
    goes to the bound.
    """
    known = None if min is None or max is None else application(e.clip, (x, min, max))
    if known is not None:
        return wrap(known)
    node = node_of(x)
    bounds = [None if b is None else as_dtype(b, node.dtype) for b in (min, max)]
    low, high = bounds
    if low is not None and high is not None:
        out = e.clip.bind((node, low, high))
        note_application(e.clip, (x, min, max), out)
        return wrap(out)
    if low is not None:
        return wrap(e.maximum.bind((node, low)))
    if high is not None:
        return wrap(e.minimum.bind((node, high)))
    return wrap(identity.bind((node,)))


@checked
def where(condition: Any, x1: Any, x2: Any, /) -> Tensor:
    """x1 where `condition` (booleans) holds, else x2; the three are broadcast, x1 and x2 promoted.

    A NaN on the side that is not taken reaches neither the value nor the gradient.
    """
    known = application(e.where, (condition, x1, x2))
    if known is not None:
        return wrap(known)
    mask = node_of(condition)
    if mask.dtype.kind != "b":
        raise DTypeError(
            f"the condition of where must be boolean, got {mask.aval.describe()}; compare, e.g. x != 0"
        )
    a, b = promoted(x1, x2)
    out = e.where.bind((mask, a, b))
    note_application(e.where, (condition, x1, x2), out)
    return wrap(out)


@checked
def lerp(start: Any, end: Any, weight: Any, /) -> Tensor:
    """start + weight * (end - start), elementwise."""
    return start + weight * (end - start)


def spread(*operands: Any) -> tuple[Any, ...]:
    """Nodes of all operands, broadcast to their common shape."""
    nodes = [node_of(x) for x in operands]
    shape = broadcast_shapes(*[n.shape for n in nodes])
    return tuple([broadcast_to(n, shape) for n in nodes])
