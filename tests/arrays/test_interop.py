"""NumPy, DLPack, pickling, copying: what is shared and what is not."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import weft as wf
from weft.base.errors import ArgumentError, DTypeError
from weft.ir.dtype import ALL

EXCHANGED = [d for d in ALL if d is not wf.bfloat16]


@pytest.mark.parametrize("d", EXCHANGED, ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)], ids=str)
def test_dlpack_with_numpy(d, shape):
    x = wf.ones(shape, dtype=d)
    a = np.from_dlpack(x)
    assert not a.flags.writeable, "the memory is the tensor's"
    np.testing.assert_array_equal(a, np.ones(shape, d.numpy), strict=True)
    y = wf.from_dlpack(np.ones(shape, d.numpy))
    assert y.dtype is d and y.shape == shape and wf.all(y == x)


@pytest.mark.parametrize("d", [d for d in EXCHANGED if d.name not in ("uint16", "uint32", "uint64")], ids=str)
def test_dlpack_with_torch(d):
    torch = pytest.importorskip("torch")
    x = wf.asarray([[0, 1, 2], [3, 4, 5]], dtype=d)
    t = torch.from_dlpack(x)
    assert t.tolist() == x.tolist()
    back = wf.from_dlpack(t.T)  # not contiguous: copied
    assert back.dtype is d and back.tolist() == x.T.tolist()
    assert wf.asarray(torch.arange(3)).tolist() == [0, 1, 2]


class TestSharing:
    def test_numpy_sees_the_memory_and_cannot_write_to_it(self):
        x = wf.ones(3)
        a = np.asarray(x)
        assert np.shares_memory(a, x.numpy())
        with pytest.raises(ValueError, match="read-only"):
            a[0] = 5
        b = np.array(x)
        b[0] = 5
        assert x.tolist() == [1.0, 1.0, 1.0]

    @pytest.mark.parametrize(
        "share",
        [wf.from_numpy, wf.from_dlpack, lambda a: wf.asarray(a, copy=False)],
        ids=["numpy", "dlpack", "asarray"],
    )
    def test_shared_until_first_used(self, share):
        a = np.array([1.0, 2.0, 3.0])
        x = share(a)
        a[0] = 10
        assert x.tolist() == [10.0, 2.0, 3.0]
        y = x * 2  # pending: it has captured the value of this moment
        a[0] = -1
        assert y.tolist() == [20.0, 4.0, 6.0] and x.tolist() == [10.0, 2.0, 3.0]

    @pytest.mark.parametrize(
        "use", [lambda x: x.detach(), lambda x: x[0:2], lambda x: x.reshape(3, 1), copy.deepcopy]
    )
    def test_every_way_to_use_it_captures(self, use):
        a = np.array([1.0, 2.0, 3.0])
        x = wf.from_numpy(a)
        y = use(x)
        a[:] = 0
        assert y.numpy().ravel()[0] == 1.0

    @pytest.mark.parametrize("make", [wf.tensor, wf.asarray, lambda a: wf.from_dlpack(a, copy=True)])
    def test_copied(self, make):
        a = np.array([1.0, 2.0])
        x = make(a)
        a[0] = 5
        assert x.tolist() == [1.0, 2.0]

    def test_from_numpy_of_awkward_arrays(self):
        a = np.arange(12.0).reshape(3, 4)
        for b in (a[::2, ::-1], a.T, a.astype(">f8"), a[:, 1:3], a[:0], np.array(3.0)):
            np.testing.assert_array_equal(wf.from_numpy(b).numpy(), b)
        with pytest.raises(DTypeError, match="takes a NumPy array, got list"):
            wf.from_numpy([1.0])

    def test_what_cannot_be_shared(self):
        a = np.arange(6.0).reshape(2, 3)
        for bad in (a[:, ::2], [1.0, 2.0], 3.0):
            with pytest.raises((ArgumentError, BufferError)):
                wf.asarray(bad, copy=False)
        with pytest.raises(ArgumentError, match="only by copying"):
            wf.asarray(wf.ones(2), dtype=wf.float64, copy=False)
        with pytest.raises(ArgumentError):
            wf.asarray(a, dtype=wf.float32, copy=False)
        with pytest.raises(BufferError, match="not contiguous"):
            wf.from_dlpack(a.T, copy=False)
        with pytest.raises(ArgumentError, match="does not export DLPack"):
            wf.from_dlpack([1.0])

    def test_a_consumer_that_could_write_gets_a_copy(self):
        torch = pytest.importorskip("torch")
        x = wf.ones(3)
        y = x * 1.0
        t = torch.from_dlpack(x.__dlpack__())  # an older version of the protocol, which has no read-only flag
        t[0] = 5.0
        assert x.tolist() == [1.0, 1.0, 1.0]
        z = x.detach()
        u = torch.from_dlpack(x.__dlpack__(copy=False))  # forbids the copy: shared from now on with x alone
        u[0] = 7.0
        assert x.tolist() == [7.0, 1.0, 1.0] and y.tolist() == z.tolist() == [1.0, 1.0, 1.0]

    def test_refusals(self):
        x = wf.ones(3)
        with pytest.raises(ArgumentError, match="no streams"):
            x.__dlpack__(stream=1)
        with pytest.raises(BufferError):
            x.__dlpack__(dl_device=(2, 0))
        with pytest.raises(BufferError, match="bfloat16"):
            x.bfloat16().__dlpack__()
        assert x.__dlpack_device__() == (1, 0)


def test_array_protocol():
    x = wf.tensor([[1.0, 2.0]])
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert np.array(x, dtype=np.int32).tolist() == [[1, 2]]
    with pytest.raises(ArgumentError, match="only by copying"):
        np.asarray(x, dtype=np.float64, copy=False)
    assert np.linalg.norm(x) == pytest.approx(5**0.5)


def test_other_functions_of_numpy_see_the_values():
    x = wf.asarray([[1.0, 2.0], [3.0, 5.0]])
    a = x.numpy()
    for function in (np.mean, np.sum, np.max, np.std, np.median, np.linalg.norm):
        assert type(function(x)) is type(function(a)) and function(x) == function(a)
    np.testing.assert_array_equal(np.sum(x, axis=0, keepdims=True), a.sum(0, keepdims=True))
    np.testing.assert_array_equal(np.concatenate([x, np.ones((1, 2))]), np.concatenate([a, np.ones((1, 2))]))
    assert np.array_equal(np.where(x > 2, x, 0), np.where(a > 2, a, 0)) and np.allclose(x, a)
    with pytest.raises(ValueError, match="read-only"):
        np.cumsum(x, axis=0, out=x)


def test_numpy_asks_for_a_shape_without_computing_anything():
    x = wf.ones((2, 3)) + 1
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)
    assert x._cell.node.value is None
    assert wf.compile(lambda v: v * np.shape(v)[0])(wf.ones(2)).tolist() == [2.0, 2.0]


def test_numpy_functions_give_tensors():
    x = wf.tensor([1.0, 4.0])
    for got, want in [
        (np.sqrt(x), [1.0, 2.0]), (np.add(x, 1), [2.0, 5.0]), (np.add([1.0, 1.0], np.asarray(x)), [2.0, 5.0]),
        (np.ones(2, np.float32) - x, [0.0, -3.0]), (np.power(x, 2), [1.0, 16.0]), (np.absolute(-x), [1.0, 4.0]),
        (np.float32(2) * x, [2.0, 8.0]), (np.maximum(x, 2), [2.0, 4.0]),
    ]:  # fmt: skip
        assert got.tolist() == want
    assert isinstance(np.sqrt(x), wf.Tensor) and isinstance(np.ones(2) - x, wf.Tensor)
    assert (np.ones((3, 2), np.float32) @ x).tolist() == [5.0] * 3
    with pytest.raises(TypeError):
        np.frexp(x)


class TestPickleAndCopy:
    def test_round_trip(self):
        for x in (
            wf.arange(6).reshape(2, 3),
            wf.ones(2).bfloat16(),
            wf.zeros((0, 2)),
            wf.tensor(1j),
            wf.ones(2) + 1,
        ):
            y = pickle.loads(pickle.dumps(x))
            assert y.dtype is x.dtype and y.shape == x.shape and wf.all(y == x)

    def test_gradients(self):
        w = wf.tensor([1.0, 2.0], requires_grad=True)
        (w * w).sum().backward()
        for v in (pickle.loads(pickle.dumps(w)), copy.deepcopy(w)):
            assert v.requires_grad and v.is_leaf and v.grad.tolist() == [2.0, 4.0] and v.grad is not w.grad
            (v * 3).sum().backward()
            assert v.grad.tolist() == [5.0, 7.0] and w.grad.tolist() == [2.0, 4.0]
        assert not copy.deepcopy(w * 2).requires_grad

    def test_deepcopy_keeps_sharing_of_objects(self):
        x = wf.ones(2)
        a, b = copy.deepcopy([x, x])
        assert a is b and a is not x
        a += 1
        assert x.tolist() == [1.0, 1.0]

    def test_subclasses(self):
        class Weight(wf.Tensor):
            pass

        w = Weight(wf.ones(2)._node)
        assert type(copy.deepcopy(w)) is Weight and type(copy.copy(w)) is Weight
        assert (w + 1).tolist() == [2.0, 2.0] and type(w + 1) is wf.Tensor
