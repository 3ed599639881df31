"""Elements selected and replaced where a mask says so."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft.base.errors import DTypeError, ShapeError


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool", "complex64"])
@pytest.mark.parametrize("mask", [[True, False, True], [[True, False, True]] * 3, True])
def test_numbers_are_assigned_by_mask_alike_each_time(dtype, mask):
    """What is remembered of a choice, of `where` too, is used for what is the same: this type, all of this shape."""
    a, m = np.arange(9).reshape(3, 3).astype(dtype), np.array(mask)

    def assigned(value):
        x = wf.tensor(a)
        try:
            x[wf.tensor(m)] = value
        except (DTypeError, ShapeError) as error:
            return type(error), str(error)
        return x.dtype, x.numpy().tobytes()

    for value in (0.0, 2, -1, 300, True, 2.5, float("nan"), -0.0, 1j):
        first = assigned(value)
        for kind in (1, 1.0):
            wf.where(wf.tensor(m), kind, wf.tensor(a))
        assert assigned(value) == first == assigned(value)
        if first[0] is wf.tensor(a).dtype:
            want = a.copy()
            want[m] = value
            assert first[1] == want.tobytes()


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (0,), (2, 0)])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_masks_of_all_elements(shape, share):
    rng = np.random.default_rng(len(shape))
    a, m = rng.normal(size=shape), rng.random(shape) < share
    v = rng.normal(size=m.sum())
    x, values = wf.tensor(a, requires_grad=True), wf.tensor(v, requires_grad=True)
    np.testing.assert_array_equal(x[wf.tensor(m)].detach().numpy(), a[m], strict=True)
    y = x * 2.0
    y[wf.tensor(m)] = values
    want = a * 2.0
    want[m] = v
    np.testing.assert_array_equal(y.detach().numpy(), want, strict=True)
    w = rng.normal(size=shape)
    ((y * wf.tensor(w)).sum() + (x[wf.tensor(m)] ** 2).sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.where(m, 2 * a, 2 * w))
    np.testing.assert_array_equal(values.grad.numpy(), w[m])
    with pytest.raises(ShapeError, match="cannot assign a value of shape"):
        y[wf.tensor(m)] = wf.ones(len(v) + 2, dtype=wf.float64)
