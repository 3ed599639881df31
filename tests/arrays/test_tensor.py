"""The tensor itself: what it says of itself, conversion to Python, laziness, printing."""

from __future__ import annotations

import math

import numpy as np
import pytest

import weft as wf
from weft.base.errors import ArgumentError, DTypeError, GradientError, ShapeError, TraceError
from weft.base.state import state


def test_what_it_is():
    x = wf.zeros((2, 3), dtype=wf.int16)
    assert (x.shape, x.ndim, x.size, x.dtype, x.device, len(x), x.itemsize, x.nbytes) == (
        (2, 3), 2, 6, wf.int16, "cpu", 2, 2, 12,
    )  # fmt: skip
    assert x.dim() == 2 and x.numel() == 6 and x.cpu() is x and x.to_device("cpu") is x
    with pytest.raises(TypeError, match="no dimensions"):
        len(wf.tensor(1))
    with pytest.raises(ArgumentError, match="make tensors with"):
        wf.Tensor([1, 2])


def test_identity_is_its_hash():
    x, y = wf.ones(2), wf.ones(2)
    assert hash(x) == hash(x) and len({x, y}) == 2 and {x: 1}[x] == 1


class TestToPython:
    @pytest.mark.parametrize("kind", [float, int, complex, bool])
    @pytest.mark.parametrize("value", [0, 1, 2.5, -3, True])
    def test_single_values(self, kind, value):
        for x in (wf.tensor(value), wf.tensor([[value]])):
            assert kind(x) == kind(value) and type(kind(x)) is kind
            assert x.item() == value and type(x.item()) is type(value)

    def test_special_values(self):
        assert math.isnan(float(wf.tensor(math.nan))) and bool(wf.tensor(math.nan)) is True
        assert float(wf.tensor(-math.inf)) == -math.inf and bool(wf.tensor(-0.0)) is False
        assert bool(wf.tensor(1j)) is True and complex(wf.tensor(1 + 2j)) == 1 + 2j
        for kind in (float, int):
            with pytest.raises(TypeError, match=r"take weft\.real"):
                kind(wf.tensor(1j))

    def test_an_index(self):
        assert [10, 20, 30][wf.tensor(1)] == 20 and list(range(wf.tensor(3, dtype=wf.uint8))) == [0, 1, 2]
        for bad in (wf.tensor(1.0), wf.tensor([1]), wf.tensor(True)):
            with pytest.raises(TypeError, match="only an integer tensor of no dimensions"):
                [1, 2][bad]

    def test_several_values(self):
        x = wf.arange(6).reshape(2, 3)
        assert x.tolist() == [[0, 1, 2], [3, 4, 5]] and x.item(1, 2) == 5 and wf.arange(3).item(2) == 2
        for convert in (float, int, complex, wf.Tensor.item):
            with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
                convert(x)
        with pytest.raises(ValueError, match="any"):
            if x > 1:
                pass

    def test_iteration(self):
        rows = list(wf.arange(6).reshape(2, 3))
        assert [r.tolist() for r in rows] == [[0, 1, 2], [3, 4, 5]]
        a, b, c = wf.tensor([1.0, 2.0, 3.0])
        assert (a.item(), b.item(), c.item()) == (1.0, 2.0, 3.0) and list(wf.zeros((0, 3))) == []
        assert 2 in wf.arange(3) and 5 not in wf.arange(3)
        with pytest.raises(TypeError, match="cannot be iterated"):
            iter(wf.tensor(1))

    def test_formatting(self):
        assert (
            f"{wf.tensor(2.5):.3f} {wf.tensor([3]):04d}" == "2.500 0003"
            and f"{wf.tensor([1, 2])}"[:6] == "tensor"
        )


class TestPrinting:
    def test_layout(self):
        assert repr(wf.tensor([[1.0, 2.5], [3.0, -4.0]])) == (
            "tensor([[ 1. ,  2.5],\n        [ 3. , -4. ]], dtype=float32)"
        )
        assert repr(wf.tensor(3)) == "tensor(3, dtype=int64)" == str(wf.tensor(3))
        assert repr(wf.tensor([True, False])) == "tensor([ True, False], dtype=bool)"
        assert repr(wf.tensor([1.5]).bfloat16()) == "tensor([1.5], dtype=bfloat16)"
        assert repr(wf.zeros((0, 2))) == "tensor([], shape=(0, 2), dtype=float32)"
        assert repr(wf.tensor([1.0], requires_grad=True)) == "tensor([1.], dtype=float32, requires_grad=True)"
        assert len(repr(wf.zeros(10_000))) < 200

    def test_inside_a_trace_there_is_only_a_type(self):
        seen = []

        @wf.compile
        def f(x):
            seen.append(repr(x + 1))
            return x

        f(wf.zeros((2, 3)))
        assert seen == ["tensor(float32 (2, 3), traced)"]


class TestLaziness:
    def test_nothing_is_computed_until_it_is_looked_at(self):
        x = wf.ones(3).realize()
        y = x + 1
        z = y * 2
        assert y._node.value is None and z._node.value is None
        assert z.tolist() == [4.0] * 3
        assert y._node.value is not None, "what is still held is computed in the same program"

    def test_eager_mode(self):
        with wf.config(eager=True):
            assert (wf.ones(3) + 1)._node.value is not None
        assert (wf.ones(3) + 1)._node.value is None

    def test_a_loop_that_never_looks_is_cut(self):
        x = wf.zeros(())
        for _ in range(5000):
            x = x + 1.0
        assert len(state.pending) <= 2100 and x.item() == 5000.0

    def test_a_traced_value_cannot_be_looked_at(self):
        @wf.compile
        def f(x):
            return x if x > 0 else -x

        with pytest.raises(TraceError, match=r"weft\.where or weft\.cond.*test_tensor\.py:\d+, in f"):
            f(wf.tensor(1.0))


class TestGradients:
    def test_leaves_and_results(self):
        x = wf.tensor([1.0, 2.0], requires_grad=True)
        y = x * x
        assert x.is_leaf and x.requires_grad and not y.is_leaf and y.requires_grad and x.grad is None
        y.sum().backward()
        assert x.grad.tolist() == [2.0, 4.0]
        x.grad = None
        assert x.grad is None and not x.detach().requires_grad and not wf.ones(2).requires_grad
        with pytest.raises(ShapeError, match=r"the gradient of a float32 \(2,\) tensor must be of that type"):
            x.grad = wf.ones(3)
        with pytest.raises(GradientError):
            wf.tensor([1, 2], requires_grad=True)

    def test_copies_pass_gradients_on(self):
        x = wf.tensor([1.0, 2.0], requires_grad=True)
        (+x * x.clone() * wf.asarray(x, copy=True)).sum().backward()
        assert x.grad.tolist() == [3.0, 12.0]
        y = +x
        with wf.no_grad():
            x += 1.0
        assert y.tolist() == [1.0, 2.0]


class TestMethods:
    def test_shapes(self):
        x, a = wf.arange(24).reshape(2, 3, 4), np.arange(24).reshape(2, 3, 4)
        for got, want in [
            (x.reshape(4, -1), a.reshape(4, -1)),
            (x.reshape((6, 4)), a.reshape(6, 4)),
            (x.flatten(), a.ravel()),
            (x.flatten(1), a.reshape(2, 12)),
            (x.ravel(), a.ravel()),
            (x.permute(2, 0, 1), a.transpose(2, 0, 1)),
            (x.permute((2, 0, 1)), a.transpose(2, 0, 1)),
            (x.transpose(), a.T),
            (x.transpose(0, 2), a.swapaxes(0, 2)),
            (x.transpose((0, 2, 1)), a.transpose(0, 2, 1)),
            (x.swapaxes(-1, 0), a.swapaxes(-1, 0)),
            (x.mT, a.swapaxes(1, 2)),
            (x[0].T, a[0].T),
            (x.unsqueeze(1).squeeze(1), a),
            (x[None].squeeze(), a),
            (x[0, :1].broadcast_to(3, 4), np.broadcast_to(a[0, :1], (3, 4))),
            (x[0, :1].expand(5, -1, 4), np.broadcast_to(a[0, :1], (5, 1, 4))),
            (x.repeat(2, axis=1), a.repeat(2, axis=1)),
            (x.flip(0), a[::-1]),
            (x.roll(1, 2), np.roll(a, 1, 2)),
        ]:
            np.testing.assert_array_equal(got.numpy(), want, strict=True)
        with pytest.raises(ShapeError, match=r"transpose of a matrix; this tensor has shape \(2, 3, 4\)"):
            x.T

    def test_values(self):
        x = wf.tensor([[1.0, 4.0], [9.0, 16.0]])
        a = x.numpy()
        for name in ["sum", "prod", "mean", "var", "std", "max", "min", "argmax", "argmin", "all", "any"]:
            for axis in (None, 0, 1, -1):
                got = getattr(x, name)(axis)
                np.testing.assert_allclose(got.numpy(), getattr(a, name)(axis), rtol=1e-6)
                assert getattr(x, name)(axis=axis, keepdims=True).ndim == 2
        for name in ["exp", "log", "sqrt", "square", "sin", "cos", "tanh"]:
            np.testing.assert_allclose(getattr(x, name)().numpy(), getattr(np, name)(a), rtol=1e-6)
        assert x.cumsum(0).tolist() == a.cumsum(0).tolist() and x.cumprod(1).tolist() == a.cumprod(1).tolist()
        assert x.clamp(2, 10).tolist() == a.clip(2, 10).tolist() and (-x).abs().tolist() == a.tolist()
        assert (
            x.argsort(descending=True).tolist() == [[1, 0], [1, 0]] and x.pow(2).tolist() == (a**2).tolist()
        )
        assert [n.tolist() for n in (x > 5).nonzero()] == [[1, 1], [0, 1]] and (x / 3).round().tolist()[
            1
        ] == [3.0, 5.0]

    def test_moving_nowhere(self):
        with pytest.raises(ArgumentError):
            wf.ones(1).to_device("gpu")
        with pytest.raises(DTypeError):
            wf.ones(1).astype("nothing")
