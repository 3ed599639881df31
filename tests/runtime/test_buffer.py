"""Buffers: who else can see the memory, and giving it away."""

import gc

import numpy as np
import pytest

import weft as wf
from weft.base.errors import BackendError
from weft.runtime.buffer import Buffer, to_array


def buffer():
    return Buffer(np.arange(4.0))


def sole(b, others=0):
    """Whether a test's variable is the only holder of a buffer, but for `others`. (Not asked inside an `assert`,
    which holds what it compares.)"""
    return b.sole_owner(2 + others)


def test_alone():
    b = buffer()
    alone, fewer = sole(b), sole(b, -1)
    assert alone and not fewer


def test_other_references_to_the_buffer():
    b = buffer()
    held = [b]
    alone, with_one = sole(b), sole(b, 1)
    assert not alone and with_one
    del held
    alone = sole(b)
    assert alone


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
def test_whoever_sees_the_memory_is_an_owner(look):
    b = buffer()
    seen = look(b)
    alone = sole(b)
    assert not alone
    del seen
    gc.collect()
    alone = sole(b)
    assert alone


def test_copies_are_no_owners():
    b = buffer()
    kept = (b.array.copy(), b.copy(), b.array * 2, b.nbytes, repr(b))
    alone = sole(b)
    assert alone and kept


def test_giving_away():
    b = buffer()
    view = b.array
    b.donate()
    with pytest.raises(BackendError, match="donated to a program"):
        b.array
    assert repr(b) == "<buffer, donated>"
    assert view.tolist() == [0, 1, 2, 3]


def test_a_copy_is_contiguous_and_its_own():
    b = Buffer(np.arange(6.0).reshape(2, 3).T)
    c = b.copy()
    assert c.array.flags.c_contiguous and not np.shares_memory(b.array, c.array)


def test_values_as_arrays():
    assert to_array(2, np.dtype(np.float32)).dtype == np.float32
    b = buffer()
    assert to_array(b, np.dtype(np.float64)) is b.array


class TestTensors:
    """What users do with tensors shows in their buffers."""

    def tensor(self):
        x = wf.tensor([1.0, 2.0, 3.0])
        return x, x._node.value

    def test_a_tensor_alone(self):
        _x, b = self.tensor()
        alone = sole(b, 1)
        assert alone

    @pytest.mark.parametrize(
        "look",
        [
            lambda x: x.numpy(), np.asarray, lambda x: x.numpy()[1:], lambda x: x.detach(), np.from_dlpack,
            lambda x: {"copy": wf.tensor(x) is x, "held": x.numpy().T},
        ],
    )  # fmt: skip
    def test_looking_shares(self, look):
        x, b = self.tensor()
        seen = look(x)
        alone = sole(b, 1)
        assert not alone, "a view would change when the memory is written to"
        del seen
        gc.collect()
        alone = sole(b, 1)
        assert alone

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
