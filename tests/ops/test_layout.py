"""The bits of a result depend on the operands' values and shapes alone, not on how they lie in memory.

On the reference backend a permuted, sliced or broadcast operand is a view; once somebody has looked at it, it is an
array of its own. Both must give the same result.
"""

import numpy as np
import pytest

import weft.ops  # noqa: F401
from nodes import arrays, node
from weft.ir.primitive import registry
from weft.ops.movement import broadcast_in_dim, flip, permute, slice_
from weft.runtime.executor import realize

N, M = 67, 129

#: Ways to the same (67, 129) array by a view of another.
VIEWS = {
    "permuted": (lambda a: a.T.copy(), lambda x: permute(x, axes=(1, 0))),
    "strided": (
        lambda a: np.repeat(a, 2, axis=1),
        lambda x: slice_(x, start=(0, 0), limit=(N, 2 * M), stride=(1, 2)),
    ),
    "flipped": (lambda a: a[::-1, ::-1].copy(), lambda x: flip(x, axes=(0, 1))),
}

ELEMENTWISE = [p for _, p in sorted(registry.items()) if p.elementwise and "f" in getattr(p, "kinds", "")]


def operands(count, dtype, rng):
    return [(rng.uniform(0.1, 0.9, (N, M)) + 0.1 * i).astype(dtype) for i in range(count)]


def attributes(prim):
    return {"exponent": 5, "order": 2}.get(prim.attr_names[0]) if prim.attr_names else None


def same_when_looked_at(function, sources, views):
    """`function` of views that stay views, and of views that are computed first."""
    once = arrays(function(*[view(node(s)) for s, view in zip(sources, views)]))[0]
    looked = [view(node(s)) for s, view in zip(sources, views)]
    realize(looked)
    again = arrays(function(*looked))[0]
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("prim", ELEMENTWISE, ids=lambda p: p.name)
def test_elementwise(prim, dtype, rng):
    count = len(next(s for s in prim.samples() if s.args[0].dtype.kind == "f").args)
    values = operands(count, dtype, rng)
    extra = () if not prim.attr_names else (attributes(prim),)
    for turn, view in VIEWS.values():
        same_when_looked_at(lambda *xs: prim.bind(xs, extra), [turn(v) for v in values], [view] * count)
    if count > 1:
        # One operand repeats one number: by broadcasting, or written out.
        def spread(x):
            return broadcast_in_dim(x, shape=(N, M), axes=())

        for number in (2.0, 0.5, -1.0, 0.7):
            sources = [values[0], np.array(number, dtype), *values[2:]]
            views = [lambda x: x, spread, *[lambda x: x] * (count - 2)]
            same_when_looked_at(lambda *xs: prim.bind(xs, extra), sources, views)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "cumsum", "cumprod"])
def test_reductions(name, dtype, rng):
    if name in ("max", "min") and dtype is np.complex64:
        dtype = np.float32
    x = (operands(1, np.float64, rng)[0] - 0.5).astype(dtype) + dtype(1 if "prod" in name else 0)
    prim = registry[name]
    cases = [(0, False, False), (1, True, False)] if name.startswith("cum") else [((0,),), ((1,),), ((0, 1),)]
    for attrs in cases:
        for turn, view in VIEWS.values():
            same_when_looked_at(lambda v, a=attrs: prim.bind((v,), a), [turn(x)], [view])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("contract", "batch"), [(((1,), (1,)), ((), ())), (((0,), (0,)), ((), ())), (((1,), (1,)), ((0,), (0,)))]
)
def test_contractions(contract, batch, dtype, rng):
    x, y = operands(2, dtype, rng)
    prim = registry["dot_general"]
    for turn, view in VIEWS.values():
        same_when_looked_at(lambda a, b: prim.bind((a, b), (contract, batch)), [turn(x), turn(y)], [view] * 2)
