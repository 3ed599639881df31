"""The fft namespace against NumPy: values, sizes, norms, dtypes; derivatives through the whole functions."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft.arrays import fft
from weft.base.errors import ArgumentError, DTypeError, ShapeError

NORMS = ["backward", "ortho", "forward"]


def data(shape, kind, rng):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "c" else x


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", [None, 1, 5, 10])
@pytest.mark.parametrize(
    "name, kind", [("fft", "c"), ("ifft", "c"), ("rfft", "f"), ("irfft", "c"), ("hfft", "c"), ("ihfft", "f")]
)
def test_one_axis(name, kind, n, norm, rng):
    x = data((2, 6, 3), kind, rng)
    for axis in (-1, 1, 0):
        want = getattr(np.fft, name)(x, n=n, axis=axis, norm=norm)
        got = getattr(fft, name)(wf.asarray(x), n=n, axis=axis, norm=norm)
        assert got.shape == want.shape
        np.testing.assert_allclose(got.numpy(), want, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "s, axes", [(None, None), (None, (0, 2)), ((4, 7), (2, 0)), ((-1, 5), (0, 1)), ((3,), (-1,))]
)
@pytest.mark.parametrize("name, kind", [("fftn", "c"), ("ifftn", "c"), ("rfftn", "f"), ("irfftn", "c")])
def test_several_axes(name, kind, s, axes, norm, rng):
    x = data((3, 4, 5), kind, rng)
    want = getattr(np.fft, name)(x, s=s, axes=axes, norm=norm)
    got = getattr(fft, name)(wf.asarray(x), s=s, axes=axes, norm=norm)
    assert got.shape == want.shape
    np.testing.assert_allclose(got.numpy(), want, atol=1e-11)


def test_the_default_size_of_the_last_axis_uses_all_frequencies(rng):
    x = rng.standard_normal((3, 6))
    half = fft.rfftn(wf.asarray(x))
    for s, axes in ((None, None), ((-1, -1), (0, 1))):
        np.testing.assert_allclose(fft.irfftn(half, s=s, axes=axes).numpy(), x, atol=1e-14)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_precision_is_kept(name):
    for real, cplx in (("float32", "complex64"), ("float64", "complex128")):
        given = real if name in ("rfft", "ihfft") else cplx
        out = getattr(fft, name)(wf.ones((4,), dtype=given))
        assert str(out.dtype) == (real if name in ("irfft", "hfft") else cplx)


def test_real_operands_become_complex():
    assert str(fft.fft(wf.ones(4)).dtype) == "complex64"
    assert str(fft.fft(wf.asarray([1, 2, 3])).dtype) == "complex64"
    assert str(fft.rfft(wf.asarray([1, 2, 3])).dtype) == "complex64"
    np.testing.assert_allclose(fft.fft(wf.asarray([1, 2, 3])).numpy(), np.fft.fft([1, 2, 3]), rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_frequencies_and_shifts(n):
    np.testing.assert_allclose(
        fft.fftfreq(n, d=0.5, dtype="float64").numpy(), np.fft.fftfreq(n, 0.5), rtol=1e-15
    )
    np.testing.assert_allclose(
        fft.rfftfreq(n, d=3.0, dtype="float64").numpy(), np.fft.rfftfreq(n, 3.0), rtol=1e-15
    )
    assert str(fft.fftfreq(n).dtype) == "float32"
    x = np.arange(n * 4).reshape(n, 4)
    for axes in (None, 0, (1,), (0, 1)):
        np.testing.assert_array_equal(
            fft.fftshift(wf.asarray(x), axes=axes).numpy(), np.fft.fftshift(x, axes)
        )
        np.testing.assert_array_equal(
            fft.ifftshift(wf.asarray(x), axes=axes).numpy(), np.fft.ifftshift(x, axes)
        )


@pytest.mark.parametrize(
    "name, kind", [("rfft", "f"), ("irfft", "c"), ("fft", "c"), ("hfft", "c"), ("ihfft", "f")]
)
@pytest.mark.parametrize("n", [5, 6])
def test_gradients_agree_with_torch(name, kind, n, rng):
    torch = pytest.importorskip("torch")
    x = data((2, 5), kind, rng)
    given = torch.tensor(x, requires_grad=True)
    theirs = getattr(torch.fft, name)(given, n=n)
    (want,) = torch.autograd.grad((theirs.abs() ** 2).sum(), given)
    f = lambda x: wf.sum(wf.abs(getattr(fft, name)(x, n=n)) ** 2)
    np.testing.assert_allclose(wf.grad(f)(wf.asarray(x)).numpy(), want.numpy(), atol=1e-11)


def test_a_transform_inside_vmap_and_compile(rng):
    x = data((3, 8), "c", rng)
    f = lambda x: fft.ifft(fft.fft(x, n=10) * 2, norm="backward")[:8]
    want = 2 * x
    np.testing.assert_allclose(wf.vmap(f)(wf.asarray(x)).numpy(), want, atol=1e-12)
    np.testing.assert_allclose(wf.compile(wf.vmap(f))(wf.asarray(x)).numpy(), want, atol=1e-12)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: fft.rfft(wf.ones(3, dtype="complex64")), DTypeError, "rfft takes real.*use fft"),
        (lambda: fft.fft(wf.ones(3), n=0), ArgumentError, "at least 1, got 0"),
        (lambda: fft.fft(wf.ones(3), n=2.5), ArgumentError, "integer"),
        (lambda: fft.fft(wf.ones(3), norm="unit"), ArgumentError, "norm must be"),
        (lambda: fft.fft(wf.ones(3), axis=1), ShapeError, "axis 1"),
        (lambda: fft.fft(wf.asarray(1.0)), ShapeError, "at least one dimension"),
        (lambda: fft.fft(wf.ones((0,))), ArgumentError, "at least 1, got 0"),
        (lambda: fft.irfft(wf.ones(1)), ArgumentError, "at least 1, got 0"),
        (lambda: fft.fftn(wf.ones((2, 2)), s=(2, 2)), ArgumentError, "axes"),
        (lambda: fft.fftn(wf.ones((2, 2)), s=(2,), axes=(0, 1)), ArgumentError, "1 sizes for 2 axes"),
        (lambda: fft.rfftn(wf.ones((2, 2)), axes=()), ArgumentError, "at least one axis"),
        (lambda: fft.fftfreq(0), ArgumentError, "at least 1"),
        (lambda: fft.fftfreq(3, dtype="complex64"), DTypeError, "real"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
