"""Buffers: who else can see the memory."""

import gc
import math
import sys

import numpy as np
import pytest

import weft as wf
from weft.ir.dtype import bfloat16
from weft.runtime.buffer import Buffer, address_of, own_copy, to_array


def buffer():
    return Buffer(np.arange(4.0))


def references(b):
    """How many references there are to a buffer and to what everything holds that looks at its memory."""
    return sys.getrefcount(b) + sys.getrefcount(b.witness)


@pytest.mark.parametrize(
    "look",
    [
        lambda b: b.array,
        lambda b: b.array.view(),
        lambda b: b.array[1:2],
        lambda b: b.array.reshape(2, 2).T,
        lambda b: memoryview(b.array),
        lambda b: np.from_dlpack(b.array),
        lambda b: iter(b.array),
        lambda b: (lambda a: lambda: a)(b.array),
    ],
    ids=["array", "view", "slice", "view of a view", "memoryview", "dlpack", "iterator", "closure"],
)
def test_whoever_sees_the_memory_can_be_told(look):
    b = buffer()
    alone = references(b)
    seen = look(b)
    assert references(b) > alone
    del seen
    gc.collect()
    assert references(b) == alone


def test_copies_hold_nothing():
    b = buffer()
    alone = references(b)
    kept = (b.array.copy(), b.copy(), b.array * 2, b.nbytes, repr(b))
    assert references(b) == alone and kept


def test_a_copy_is_contiguous_and_its_own():
    b = Buffer(np.arange(6.0).reshape(2, 3).T)
    c = b.copy()
    assert c.array.flags.c_contiguous and not np.shares_memory(b.array, c.array)


@pytest.mark.parametrize(
    "array",
    [
        np.ones((2, 3)),
        np.ones((4, 3))[1:],
        np.array(1.0),
        np.ones((0, 3)),
        np.ones((2, 3)).T,
        np.ones(6)[::-2],
        np.broadcast_to(np.ones(3), (2, 3)),
        np.ones(3, bfloat16.numpy),
    ],
    ids=["array", "rows", "no axes", "empty", "transposed", "backwards", "read-only", "bfloat16"],
)
def test_the_address_of_any_array(array):
    assert address_of(array) == array.__array_interface__["data"][0]


def test_values_as_arrays():
    assert to_array(2, np.dtype(np.float32)).dtype == np.float32
    b = buffer()
    assert to_array(b, np.dtype(np.float64)) is b.array


class TestTensors:
    """What users do with tensors shows in their buffers."""

    def tensor(self):
        x = wf.tensor([1.0, 2.0, 3.0])
        return x, x._node.value

    @pytest.mark.parametrize(
        "look",
        [
            lambda x: x.numpy(), np.asarray, lambda x: x.numpy()[1:], lambda x: x.detach(),
            lambda x: {"copy": wf.tensor(x) is x, "held": x.numpy().T},
            pytest.param(
                np.from_dlpack,
                marks=pytest.mark.skipif(
                    np.lib.NumpyVersion(np.__version__) < "2.1.0",
                    reason="NumPy 2.0 does not know memory that is only read, and gets a copy",
                ),
            ),
        ],
    )  # fmt: skip
    def test_looking_shares(self, look):
        x, b = self.tensor()
        alone = references(b)
        seen = look(x)
        assert references(b) > alone, "a view would change when the memory is written to"
        del seen
        gc.collect()
        assert references(b) == alone

    def test_results_never_share(self):
        x = wf.tensor([[1.0, 2.0], [3.0, 4.0]])
        outs = [x + 0, x.reshape((4,)), x[0], x.T, wf.broadcast_to(x, (2, 2, 2)), -x, wf.flip(x)]
        arrays = [x.numpy(), *[o.numpy() for o in outs]]
        for i, a in enumerate(arrays):
            assert a.flags.c_contiguous and not a.flags.writeable
            for b in arrays[i + 1 :]:
                assert not np.shares_memory(a, b)

    def test_data_is_copied_in(self):
        a = np.ones(3)
        x = wf.tensor(a)
        a[:] = 5
        assert x.numpy().tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(3,), (5000,), (70, 71)])
def test_large_copies_begin_with_a_line(shape):
    given = np.arange(math.prod(shape), dtype=np.float64).reshape(shape).T
    copy = own_copy(given, np.dtype(np.int32))
    assert copy.flags.c_contiguous and copy.flags.writeable and not np.shares_memory(copy, given)
    assert copy.size * 4 < 1 << 14 or copy.ctypes.data % 64 == 0
    np.testing.assert_array_equal(copy, given.astype(np.int32))


@pytest.mark.parametrize(
    "make", [wf.tensor, wf.asarray, lambda a: wf.tensor(a, dtype=wf.int32), wf.ones(1).__add__]
)
def test_large_tensors_of_arrays_begin_with_a_line(make):
    given = np.zeros(30_001, np.float32)[1:]
    assert np.asarray(make(given)).ctypes.data % 64 == 0
