"""A composite with a derivative of its own, for tests."""

from weft.ops.composite.define import composite
from weft.ops.elementwise import exp
from weft.ops.reduce import max_, restore, sum_


@composite
def softmax_for_tests(x, *, axis):
    """Softmax along one axis."""
    e = exp(x - restore(max_(x, axes=(axis,)), x, (axis,)))
    return e / restore(sum_(e, axes=(axis,)), x, (axis,))


@softmax_for_tests.vjp
def _(cts, outs, x, *, axis):
    (y,) = outs
    weighted = cts[0] * y
    return [weighted - y * restore(sum_(weighted, axes=(axis,)), x, (axis,))]


@composite
def standardize_for_tests(x, *, axis):
    """x over the sum of its exponentials: a body whose derivative needs what is inside."""
    e = exp(x)
    return x / restore(sum_(e, axes=(axis,)), x, (axis,))
