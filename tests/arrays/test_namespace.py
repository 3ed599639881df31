"""The public namespace: what is in it, what the standard asks of it, how it is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

import weft as wf
from weft.base.errors import ArgumentError

STANDARD = set(
    """
    abs acos acosh add all any arange argmax argmin argsort asarray asin asinh astype atan atan2 atanh
    bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
    broadcast_arrays broadcast_shapes broadcast_to can_cast ceil clip concat conj copysign cos cosh
    count_nonzero cumulative_prod cumulative_sum diff divide e empty empty_like equal exp expand_dims expm1
    eye fft finfo flip floor floor_divide from_dlpack full full_like greater greater_equal hypot iinfo imag
    inf isdtype isfinite isin isinf isnan less less_equal linalg linspace log log10 log1p log2 logaddexp
    logical_and logical_not logical_or logical_xor matmul matrix_transpose max maximum mean meshgrid min
    minimum moveaxis multiply nan negative newaxis nextafter nonzero not_equal ones ones_like permute_dims
    pi positive pow prod real reciprocal remainder repeat reshape result_type roll round searchsorted sign
    signbit sin sinh sort sqrt square squeeze stack std subtract sum take take_along_axis tan tanh tensordot
    tile tril triu trunc unique_all unique_counts unique_inverse unique_values unstack var vecdot where
    zeros zeros_like bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64
    complex128 __array_namespace_info__
    """.split()  # noqa: SIM905
)


def test_every_name_of_the_standard_is_there():
    assert [n for n in sorted(STANDARD) if not hasattr(wf, n)] == []
    assert set(dir(wf)) >= STANDARD


def test_every_public_name_can_be_had_and_is_documented():
    for name in wf.__all__:
        value = getattr(wf, name)
        if callable(value) and not isinstance(value, type):
            assert value.__doc__, name
    assert len(set(wf.__all__)) == len(wf.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        wf.nonsense


def test_the_namespace_of_a_tensor():
    x = wf.ones(2)
    assert x.__array_namespace__() is wf is x.__array_namespace__(api_version="2023.12")
    assert wf.__array_api_version__ == "2025.12"
    with pytest.raises(ArgumentError, match="not supported"):
        x.__array_namespace__(api_version="2031.12")


def test_what_the_namespace_says_of_itself():
    info = wf.__array_namespace_info__()
    assert info.capabilities() == {
        "boolean indexing": True,
        "data-dependent shapes": True,
        "max dimensions": 64,
    }
    assert info.default_device() == "cpu" and info.devices() == ("cpu",)
    assert info.default_dtypes() == {
        "real floating": wf.float32, "complex floating": wf.complex64, "integral": wf.int64, "indexing": wf.int64,
    }  # fmt: skip
    assert info.dtypes(kind="real floating") == {"float32": wf.float32, "float64": wf.float64}
    assert len(info.dtypes()) == 13 and set(info.dtypes(kind=("bool", "signed integer"))) == {
        "bool", "int8", "int16", "int32", "int64",
    }  # fmt: skip
    for bad in (lambda: info.dtypes(kind="float"), lambda: info.dtypes(device="moon")):
        with pytest.raises(ArgumentError):
            bad()


def test_64_dimensions():
    x = wf.ones((1,) * 64)
    assert (x + x).sum().item() == 2.0


def test_sub_modules_are_imported_when_they_are_used():
    code = (
        "import sys, weft; early = [m for m in sys.modules if m.startswith('weft.')];"
        "print(any(m.split('.')[1] in ('nn', 'optim', 'data', 'metrics', 'train') for m in early));"
        "print('weft.arrays.linalg' in early); weft.linalg; print('weft.arrays.linalg' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False", "True"]
