"""Elementwise code against its definition: functions bit for bit on every instruction set, corners of integers."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import weft as wf
import weft.ops
from weft.backends.cpu.probe import compiled
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.scalar import table
from weft.ir.dtype import dtype as as_dtype
from weft.ir.dtype import float32, float64
from weft.ir.primitive import registry
from weft.kernel.algebra import NumpyAlgebra
from weft.kernel.functions import functions
from weft.kernel.lower import pulls
from weft.kernel.target import LEVELS

X86 = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
HOST = host_target().name
HERE = X86[: X86.index(HOST) + 1] if HOST in X86 else (HOST,)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def numbers(dtype) -> np.ndarray:
    """Numbers of all sizes, usual arguments, and special values; some huge, so that rare paths run."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    wide = np.exp2(rng.uniform(info.minexp - 20, info.maxexp, 150).astype(np.longdouble)).astype(dtype)
    near = np.concatenate([rng.uniform(-20, 20, 150), rng.uniform(-1, 1, 150)]).astype(dtype)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, info.tiny, info.max, -info.max, 1, -1, 2, 0.5, 3, -3, -0.5]
    return np.concatenate([wide, -wide, near, np.array(special, dtype)])


@pytest.mark.parametrize("level", HERE)
@pytest.mark.parametrize("name", functions)
def test_code_has_the_bits_of_the_formula(name, level):
    target = LEVELS[level]
    operands = len(inspect.signature(functions[name]).parameters) - 1
    for dtype, whole in ((float32, np.int32), (float64, np.int64)):
        x = numbers(dtype.numpy)
        args = (x, np.random.default_rng(1).permutation(x))[:operands]
        got = compiled(name, dtype, operands, len(x), target)(*args)
        want = functions[name](NumpyAlgebra(dtype.bits, target.fma, target.picks), *args)
        same = (got.view(whole) == want.view(whole)) | (np.isnan(got) & np.isnan(want))
        assert same.all(), (dtype, [a[~same][:5] for a in args], got[~same][:5], want[~same][:5])


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_vectors_of_any_length_have_the_same_bits(name):
    """Coefficients are picked sixteen at a time: in shorter and longer vectors and single numbers, too."""
    x = np.linspace(-5, 5, 200, dtype=np.float32)
    target, function = host_target(), getattr(wf, name, None) or getattr(wf.special, name)
    want = functions[name](NumpyAlgebra(32, target.fma, target.picks), x)
    t = wf.tensor(x)
    np.testing.assert_array_equal(function(t).numpy(), want)
    np.testing.assert_array_equal(function(t[37]).numpy(), want[37])
    np.testing.assert_array_equal((function(t) + wf.tensor(np.zeros(200))).numpy(), want.astype(np.float64))
    np.testing.assert_array_equal(wf.max(function(t)).numpy(), want.max())
    np.testing.assert_array_equal(function(t[:3]).numpy(), want[:3])


@pytest.mark.parametrize("name", ["shift_left", "shift_right", "floor_divide", "remainder", "pow"])
@pytest.mark.parametrize("kind", ["int8", "int32", "int64", "uint8", "uint64"])
def test_integers_at_their_corners(name, kind):
    info = np.iinfo(kind)
    x = np.array([info.min, info.min + 1, info.max, 0, 1, 2, 3, 7, 100], kind)
    x = np.concatenate([x, np.array([-1, -2, -7], kind)]) if info.min else x
    x, y = (v.ravel() for v in np.meshgrid(x, x))
    if name.startswith("shift"):
        x, y = x[y >= 0], y[y >= 0]
    if name == "pow":
        x, y = x[y <= 100], y[y <= 100]
    dtype = as_dtype(kind)
    want = registry[name].evaluate(x, y)
    np.testing.assert_array_equal(compiled(name, dtype, 2, len(x), host_target())(x, y), want)


def test_every_elementwise_primitive_of_real_numbers_has_code():
    # All but `complex`, which makes complex numbers.
    real = [p for p in registry.values() if p.elementwise and set(getattr(p, "kinds", "f")) - {"c"}]
    real.remove(registry["complex"])
    assert [p.name for p in real if p.name not in table and p.name not in pulls] == []
