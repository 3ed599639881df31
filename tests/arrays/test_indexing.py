"""`x[key]` and `x[key] = value` against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import weft as wf
from weft.arrays import indexing
from weft.arrays.index_plan import Plan
from weft.base.errors import DTypeError, IndexingError, ShapeError, TraceError
from weft.runtime.executor import programs

A = np.arange(60).reshape(3, 4, 5)

BASIC = [
    np.s_[0],
    np.s_[-1],
    np.s_[1, 2],
    np.s_[1, 2, 3],
    np.s_[-1, -2, -3],
    np.s_[:, 1],
    np.s_[:, :, -1],
    np.s_[..., 2],
    np.s_[1, ..., 2],
    np.s_[...],
    np.s_[()],
    np.s_[:],
    np.s_[1:],
    np.s_[:-1],
    np.s_[1:3],
    np.s_[0:0],
    np.s_[2:1],
    np.s_[5:9],
    np.s_[-100:100],
    np.s_[-2:-1],
    np.s_[1:-1, 1:3],
    np.s_[::2, ::3],
    np.s_[1::2],
    np.s_[::-1],
    np.s_[::-2, ::-1],
    np.s_[3:0:-1],
    np.s_[-1:-4:-2],
    np.s_[:, ::-1, 1:4:2],
    np.s_[None],
    np.s_[:, None],
    np.s_[None, 1, ..., None, 2],
    np.s_[1, None, 1:3, None],
    np.s_[np.int32(1), np.uint8(2)],
]
I, J = np.array([0, 2, 2, -1]), np.array([3, 0, -4, 1])
ADVANCED = [
    np.s_[I],
    np.s_[[0, 2]],
    np.s_[[]],
    np.s_[np.zeros((2, 0), np.int64)],
    np.s_[I.reshape(2, 2)],
    np.s_[I, J],
    np.s_[I, :, J],
    np.s_[:, I - 1, J],
    np.s_[:, J],
    np.s_[..., J],
    np.s_[I[:, None], J],
    np.s_[I, 1],
    np.s_[1, J],
    np.s_[1, :, J],
    np.s_[1:, J, 2],
    np.s_[I, None, J],
    np.s_[None, I, :, J, None],
    np.s_[::-1, J, ::2],
    np.s_[I, 1:3],
    np.s_[1:3, :, J],
    np.s_[np.array(1), :, J],
    np.s_[np.uint8([1, 2])],
    np.s_[A > 20],
    np.s_[A % 7 == 0],
    np.s_[A < 0],
    np.s_[:, A[0] % 2 == 0],
    np.s_[1, A[0, :, 0] > 4],
    np.s_[A[:, 0, 0] > 10, 1:3],
    np.s_[A[:, 0, 0] > 10, :, [1]],
    np.s_[[True, False, True]],
    np.s_[[True, False, True], [0, 1]],
    np.s_[True],
    np.s_[False],
    np.s_[:, True],
    np.s_[True, [0, 1]],
    np.s_[True, 1],
    np.s_[:, np.array(True), 0],
    np.s_[[0, 1], :, True],
    np.s_[True, False],
]


def as_tensors(key):
    """The same key with tensors in place of NumPy arrays."""
    if isinstance(key, tuple):
        return tuple([as_tensors(k) for k in key])
    return wf.tensor(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("key", BASIC + ADVANCED, ids=str)
@pytest.mark.parametrize("convert", [lambda k: k, as_tensors], ids=["numpy", "tensor"])
def test_get(key, convert):
    got = wf.tensor(A)[convert(key)]
    want = A[key]
    assert got.dtype is wf.int64
    np.testing.assert_array_equal(got.numpy(), want, strict=True)


@pytest.mark.parametrize("key", BASIC + ADVANCED, ids=str)
def test_set(key):
    want = A.copy()
    values = -np.arange(1, want[key].size + 1).reshape(want[key].shape)
    want[key] = values
    x = wf.tensor(A)
    x[as_tensors(key)] = wf.tensor(values)
    # Where an index occurs twice, the last write stays in both.
    np.testing.assert_array_equal(x.numpy(), want)
    want[key] = 7
    x[key] = 7
    np.testing.assert_array_equal(x.numpy(), want)


def test_set_broadcasts_the_value():
    for key, shape in [
        (np.s_[1:, 2], (5,)),
        (np.s_[1:, 2], (1, 5)),
        (np.s_[1:, 2], (2, 1)),
        (np.s_[1], (1, 1, 4, 1)),
        (np.s_[::2, ::2], (5,)),
        (np.s_[I, :, J], (4, 1)),
        (np.s_[:, J], (4, 5)),
        (np.s_[A > 10], (1,)),
        (np.s_[A[:, 0, 0] > 10], (5,)),
        (np.s_[A[:, 0, 0] > 10], (2, 4, 5)),
        (np.s_[A[:, 0, 0] > 10, 1], (5,)),
    ]:
        values, want, x = -np.arange(1, np.prod(shape) + 1).reshape(shape), A.copy(), wf.tensor(A)
        want[key] = values
        x[key] = values
        np.testing.assert_array_equal(x.numpy(), want, err_msg=str(key))


def shapes():
    return hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def keys(draw, shape):
    """A key for `shape`: basic indices, with some of them replaced by index arrays that broadcast, or a mask."""
    key = draw(hnp.basic_indices(shape, allow_newaxis=True))
    items = list(key) if isinstance(key, tuple) else [key]
    common = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3))
    rank = sum(k is not None and k is not Ellipsis for k in items)
    axis = 0
    for i, k in enumerate(items):
        if k is Ellipsis:
            axis += len(shape) - rank
        elif k is not None:
            if shape[axis] and draw(st.booleans()):
                cut = draw(st.integers(0, len(common)))
                sizes = tuple([n if draw(st.booleans()) else 1 for n in common[cut:]])
                items[i] = draw(
                    hnp.arrays(np.int64, sizes, elements=st.integers(-shape[axis], shape[axis] - 1))
                )
            elif draw(st.integers(0, 7)) == 0:
                items[i] = draw(hnp.arrays(bool, (shape[axis],)))
            axis += 1
    return tuple(items)


@given(data=st.data(), shape=shapes())
def test_get_and_set_as_numpy_does(data, shape):
    a = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    key = data.draw(keys(shape), label="key")
    try:
        want = a[key]
    except IndexError:
        with pytest.raises(IndexError):
            wf.tensor(a)[key].numpy()
        return
    np.testing.assert_array_equal(wf.tensor(a)[key].numpy(), want, strict=True)
    arrays = [k for k in key if isinstance(k, np.ndarray)]
    assume(not arrays or want.size == np.unique(a[key]).size)  # no place is written twice
    values = -1 - np.arange(want.size).reshape(want.shape)
    after, x = a.copy(), wf.tensor(a)
    after[key] = values
    x[key] = values
    np.testing.assert_array_equal(x.numpy(), after)


@given(shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4), data=st.data())
def test_masks(shape, data):
    a = np.arange(np.prod(shape)).reshape(shape)
    mask = data.draw(hnp.arrays(bool, shape[: data.draw(st.integers(0, len(shape)))]))
    np.testing.assert_array_equal(wf.tensor(a)[wf.tensor(mask)].numpy(), a[mask], strict=True)
    after, x = a.copy(), wf.tensor(a)
    after[mask] = -1
    x[wf.tensor(mask)] = -1
    np.testing.assert_array_equal(x.numpy(), after)


class TestStructure:
    """Integers and the starts of windows are run-time values: one program serves them all."""

    @pytest.mark.parametrize(
        "read",
        [
            lambda x, i: x[i],
            lambda x, i: x[i - 5],
            lambda x, i: x[:, i],
            lambda x, i: x[i : i + 2],
            lambda x, i: x[1, i : i + 2, ::2],
            lambda x, i: x[[i, i + 1]],
        ],
    )
    def test_one_program_for_all_positions(self, read):
        x = wf.arange(5 * 10 * 3).reshape(5, 10, 3).realize()
        a = x.numpy()
        misses = 0
        for i in range(4):
            np.testing.assert_array_equal(read(x, i).numpy(), read(a, i))
            misses = programs.misses if i == 0 else misses
        assert programs.misses == misses

    def test_writing_too(self):
        x, misses = wf.zeros(8), 0
        for i in range(6):
            x[i] = float(i)
            x[i : i + 2] = 1.0
            x.realize()
            misses = programs.misses if i < 2 else misses  # the first x is not a leaf yet
        assert programs.misses == misses


class TestErrors:
    def test_an_integer_out_of_bounds_is_found_at_once(self):
        x = wf.zeros((3, 4))
        with pytest.raises(
            IndexingError, match=r"index 4 is out of bounds for axis 1 with size 4 \(valid: -4 to 3\)"
        ):
            x[0, 4]
        with pytest.raises(IndexError, match="index -4 is out of bounds for axis 0"):
            x[-4]
        with pytest.raises(IndexError, match="the axis is empty"):
            wf.zeros((0,))[0]
        with pytest.raises(IndexError, match="out of bounds"):
            x[3] = 1.0

    def test_an_index_tensor_out_of_bounds_names_the_line(self):
        x = wf.zeros((3, 4))
        y = x[wf.tensor([0, 3])]  # this line
        with pytest.raises(
            IndexError, match=r"out of bounds.*test_indexing\.py:\d+, in test_an_index_tensor"
        ):
            y.numpy()

    @pytest.mark.parametrize("key", ["a", 1.0, wf.tensor(1.0), np.array([0.5]), (0, "b"), slice("a")])
    def test_what_cannot_index(self, key):
        with pytest.raises(IndexingError):
            wf.zeros((3, 4))[key]

    def test_too_many_and_too_big(self):
        x = wf.zeros((3, 4))
        with pytest.raises(IndexingError, match=r"too many indices: the tensor has shape \(3, 4\), 3 axes"):
            x[0, 0, 0]
        with pytest.raises(IndexingError, match="only one"):
            x[..., ...]
        with pytest.raises(
            IndexingError, match=r"a mask of shape \(4,\) does not fit a tensor of shape \(3, 4\)"
        ):
            x[wf.ones(4, dtype=bool)]
        with pytest.raises(IndexingError, match="broadcast"):
            x[wf.tensor([0, 1]), wf.tensor([0, 1, 2])]
        with pytest.raises(IndexingError, match="step"):
            x[::0]

    def test_values_that_do_not_fit(self):
        x = wf.zeros((3, 4))
        with pytest.raises(ShapeError, match=r"shape \(3,\) to the \(4,\) elements"):
            x[0] = wf.zeros(3)
        with pytest.raises(ShapeError, match="cannot assign"):
            x[x > 1] = wf.zeros(3)
        with pytest.raises(DTypeError, match="floats to elements of a int64"):
            wf.zeros(3, dtype=wf.int64)[0] = 0.5
        with pytest.raises(DTypeError, match="complex"):
            x[0] = 1j
        with pytest.raises(DTypeError, match="300 does not fit uint8"):
            wf.zeros(3, dtype=wf.uint8)[0] = 300
        assert float(wf.sum(x)) == 0.0

    def test_a_mask_in_a_trace_says_what_to_do(self):
        @wf.compile
        def f(x):
            return x[x > 0]

        with pytest.raises(TraceError, match=r"weft\.where.*size=n"):
            f(wf.ones(3))


def test_assignment_in_a_trace():
    @wf.compile
    def f(x, v):
        y = x * 1.0
        y[0] = v
        y[y < 0] = 0.0
        y[wf.tensor([1, 2])] += 10.0
        return y

    x = wf.tensor([1.0, -2.0, 3.0, -4.0])
    assert f(x, wf.tensor(5.0)).tolist() == [5.0, 10.0, 13.0, 0.0]
    assert x.tolist() == [1.0, -2.0, 3.0, -4.0]


def test_no_aliasing():
    x = wf.arange(6).reshape(2, 3)
    row, same = x[0], x
    row[0] = 100
    assert x[0, 0].item() == 0
    x[1] += 10
    assert same is x and x.tolist() == [[0, 1, 2], [13, 14, 15]] and row.tolist() == [100, 1, 2]


def test_gradients_flow_through_reading_and_writing():
    x = wf.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    v = wf.tensor([10.0, 20.0], requires_grad=True)
    y = x * 1.0
    y[1:3] = v
    y[0] *= 3.0
    (y[wf.tensor([0, 1, 1, 3])] * wf.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert x.grad.tolist() == [3.0, 0.0, 0.0, 4.0]
    assert v.grad.tolist() == [5.0, 0.0]


def test_a_leaf_is_not_written_to_while_gradients_are_recorded():
    x = wf.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(wf.errors.GradientError, match="no_grad"):
        x[0] = 5.0
    with wf.no_grad():
        x[0] = 5.0
    assert x.requires_grad and x.tolist() == [5.0, 2.0]


KEYS_WITHOUT_ARRAYS = [
    np.s_[:, 1],
    np.s_[1:, ::2],
    np.s_[..., None],
    np.s_[:, None, -1],
    np.s_[2, 1:3],
    np.s_[::-1, 0:2],
    np.s_[...],
    np.s_[:],
    np.s_[-2:],
]


class TestKeysThatRecur:
    """What a key of numbers, slices and tensors of integers builds is worked out once for all tensors of a type."""

    @pytest.fixture
    def plans(self, monkeypatch):
        made = []
        monkeypatch.setattr(indexing, "_known", {})
        monkeypatch.setattr(indexing, "Plan", lambda node, key: made.append(key) or Plan(node, key))
        return made

    @pytest.mark.parametrize("key", KEYS_WITHOUT_ARRAYS, ids=str)
    def test_reading(self, key, plans):
        for i in range(3):
            a = np.arange(12, dtype=np.float32).reshape(3, 4) + i
            np.testing.assert_array_equal((wf.tensor(a) * 1.0)[key].numpy(), a[key])
        assert len(plans) == 1 or key in (..., np.s_[:])  # these build nothing

    @pytest.mark.parametrize("key", KEYS_WITHOUT_ARRAYS, ids=str)
    def test_writing(self, key, plans):
        for i in range(3):
            a = np.arange(12, dtype=np.float32).reshape(3, 4)
            x, value = wf.tensor(a) * 1.0, np.float32(-a[key] - i)
            x[key] = wf.tensor(value) * 1.0
            a[key] = value
            np.testing.assert_array_equal(x.numpy(), a)
        assert len(plans) == 1
        x[key] = i  # another type of value
        assert len(plans) == 2

    @pytest.mark.parametrize("key", KEYS_WITHOUT_ARRAYS, ids=str)
    @pytest.mark.parametrize("made", [lambda v: v, wf.tensor, np.float32], ids=["number", "tensor", "numpy"])
    def test_writing_a_number_that_changes(self, key, made):
        for i in range(4):
            a = np.zeros((3, 4), np.float32)
            x = wf.zeros((3, 4))
            x[key] = made(float(i))
            a[key] = i
            np.testing.assert_array_equal(x.numpy(), a)

    def test_index_tensors(self, plans):
        a = np.arange(24, dtype=np.float32).reshape(4, 6)
        for turn, (i, j) in enumerate([([0, 3], [5, 1]), ([2, 2], [0, 4]), ([1, -1], [3, -2])]):
            i, j = np.array(i), np.array(j)
            for rows, columns in (
                (i, 0),
                (slice(1, 3), j),
                (i, j),
                (None, i),
                (i[:, None], slice(None, None, 2)),
            ):
                key = tuple(wf.tensor(k) if isinstance(k, np.ndarray) else k for k in (rows, columns))
                x = wf.tensor(a) * 1.0
                np.testing.assert_array_equal(x[key].numpy(), a[rows, columns])
                changed = a.copy()
                changed[rows, columns] = -1
                x[key] = -1.0
                np.testing.assert_array_equal(x.numpy(), changed)
            assert len(plans) == 10, turn
        x = wf.tensor(a) * 1.0
        np.testing.assert_array_equal(x[wf.tensor(i).astype(wf.int32), 0].numpy(), a[i, 0])
        np.testing.assert_array_equal(x[wf.tensor(i), 1].numpy(), a[i, 1])
        same = wf.tensor(i)
        np.testing.assert_array_equal(x[same, same].numpy(), a[i, i])
        mask = wf.tensor(a[:, 0] > 5)
        for _ in range(2):
            np.testing.assert_array_equal(x[mask, 1].numpy(), a[a[:, 0] > 5, 1])
        with pytest.raises(IndexingError):
            x[wf.tensor(np.array([0, 4])), 0].numpy()

    def test_gradients(self, plans):
        for grad in (True, False, True):
            x = wf.tensor(np.ones((3, 4), np.float32), requires_grad=grad)
            assert x[1:, 2].requires_grad == grad
        with wf.no_grad():
            assert not x[1:, 2].requires_grad
        x[1:, 2].sum().backward()
        assert x.grad.sum().item() == 2.0
        assert len(plans) == 2  # of what is in memory and has no gradient a copy is taken

    def test_types_of_numbers(self, plans):
        x = wf.tensor(np.arange(12.0).reshape(3, 4))
        for _ in range(2):
            assert x[:, 1].shape == (3,) and x[:, True].shape == (3, 1, 4)
            assert x[:, 1:].shape == (3, 3) and x[:, np.int64(1)].shape == (3,)
            for wrong in (np.s_[:, 1.0], np.s_[:, 1.0:], np.s_[:, 4], np.s_[0, 0, 0]):
                with pytest.raises(IndexingError):
                    x[wrong]

    def test_indices_that_happen_to_be_equal_make_no_other_program(self):
        a = wf.asarray(np.arange(30).reshape(5, 6))
        b = wf.asarray(np.arange(30).reshape(5, 6) * 2)
        misses = 0
        for n, (i, j) in enumerate([(0, 3), (1, 2), (0, 3), (2, 2), (1, 1)]):
            out = a[:, i : i + 2] + b[:, j : j + 2]
            np.testing.assert_array_equal(out, a.numpy()[:, i : i + 2] + b.numpy()[:, j : j + 2])
            misses = programs.misses if n == 0 else misses
        assert programs.misses == misses


class TestOpenDimension:
    """Axes whose size is a name: what can be said of them without the size."""

    def run(self, f, x):
        traced = wf.compile(f).trace(wf.spec((wf.Dim("n"), 3)))
        return traced(x).numpy()

    @pytest.mark.parametrize(
        "read",
        [
            lambda x: x[:, 1],
            lambda x: x[0],
            lambda x: x[-1],
            lambda x: x[-1, 1:],
            lambda x: x[::-1],
            lambda x: x[:2],
            lambda x: x[1:],
            lambda x: x[1:3],
            lambda x: x[..., None],
        ],
    )
    def test_reading(self, read):
        for n in (4, 7):
            a = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
            np.testing.assert_array_equal(self.run(read, wf.tensor(a)), read(a))

    def test_what_cannot_be_known(self):
        with pytest.raises(IndexingError, match="while the dimension n is open"):
            self.run(lambda x: x[::2], wf.zeros((4, 3)))
        with pytest.raises(IndexingError, match="while the dimension n is open"):
            self.run(lambda x: x[-2:], wf.zeros((4, 3)))
