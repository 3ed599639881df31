"""matmul, tensordot, vecdot, einsum, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft as wf
from weft.base.errors import ArgumentError, DTypeError, ShapeError


def draw(*shape, seed=0, complex=False):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if complex else x


MATMULS = [
    ((3, 4), (4, 5)), ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)),
    ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,)), ((0, 4), (4, 2)),
    ((3, 0), (0, 2)), ((2, 3, 4), (1, 4, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), MATMULS, ids=str)
@pytest.mark.parametrize("complex", [False, True])
def test_matmul(a, b, complex):
    x, y = draw(*a, complex=complex), draw(*b, seed=1)
    for got in (
        wf.tensor(x) @ wf.tensor(y),
        wf.matmul(wf.tensor(x), wf.tensor(y)),
        wf.tensor(x) @ y,
        x @ wf.tensor(y),
    ):
        np.testing.assert_allclose(got.numpy(), x @ y, rtol=1e-12, atol=1e-12, strict=True)


def test_matmul_of_integers_and_mixed_types():
    x, y = np.arange(6).reshape(2, 3), np.arange(6, dtype=np.int32).reshape(3, 2)
    got = wf.tensor(x) @ wf.tensor(y)
    assert got.dtype is wf.int64 and got.tolist() == (x @ y).tolist()
    assert (wf.tensor(x) @ wf.ones((3, 2))).dtype is wf.float32


@pytest.mark.parametrize(
    ("a", "b", "axes"),
    [((2, 3, 4), (3, 4, 5), 2), ((2, 3), (4, 5), 0), ((2, 3, 4), (4, 3, 5), ((1, 2), (1, 0))), ((2, 3), (3,), 1),
     ((2, 3, 4), (2, 5), (0, 0)), ((2, 3, 4), (4, 2), ([-1, 0], [0, 1]))],
    ids=str,
)  # fmt: skip
def test_tensordot(a, b, axes):
    x, y = draw(*a), draw(*b, seed=1)
    got = wf.tensordot(wf.tensor(x), wf.tensor(y), axes=axes)
    np.testing.assert_allclose(got.numpy(), np.tensordot(x, y, axes), rtol=1e-12, strict=True)


@pytest.mark.parametrize(
    ("a", "b", "axis"),
    [((4,), (4,), -1), ((2, 4), (4,), -1), ((3, 1, 4), (2, 4), -1), ((4, 3), (2, 4, 3), -2)],
)
def test_vecdot(a, b, axis):
    for c in (False, True):
        x, y = draw(*a, complex=c), draw(*b, seed=1, complex=c)
        got = wf.vecdot(wf.tensor(x), wf.tensor(y), axis=axis)
        np.testing.assert_allclose(got.numpy(), np.vecdot(x, y, axis=axis), rtol=1e-12, strict=True)


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("ij->ji", (2, 3)), ("ij->", (2, 3)), ("ij->j", (2, 3)), ("ii->i", (3, 3)), ("ii", (3, 3)), ("iji->j", (2, 3, 2)),
    ("i,i->", (3,), (3,)), ("i,j->ij", (3,), (2,)), ("i,j->ji", (3,), (2,)), ("ij,ij->ij", (2, 3), (2, 3)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 5)), ("...ij->...ji", (2, 3, 4)), ("i...->...", (2, 3, 4)),
    ("...,...", (2, 3), (3,)), ("b...i,...i->b...", (2, 5, 3), (5, 3)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("ab,bc,cd,de->ae", (2, 9), (9, 2), (2, 9), (9, 2)), ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("ijk,ilm,njm,nlk,abc->", (2, 3, 4), (2, 5, 6), (7, 3, 6), (7, 5, 4), (1, 2, 1)), (",ij->ij", (), (2, 3)),
    ("ba,", (2, 3), ()), ("ij , jk -> k i", (2, 3), (3, 4)), ("iij,j->i", (3, 3, 2), (2,)),
]  # fmt: skip


@pytest.mark.parametrize("case", EINSUMS, ids=lambda c: c[0])
def test_einsum(case):
    text, *shapes = case
    arrays = [draw(*s, seed=i) for i, s in enumerate(shapes)]
    got = wf.einsum(text, *[wf.tensor(a) for a in arrays])
    np.testing.assert_allclose(got.numpy(), np.einsum(text, *arrays), rtol=1e-10, atol=1e-12, strict=True)


@given(st.data())
def test_einsum_of_any_labels(data):
    sizes = {"a": 2, "b": 3, "c": 1, "d": 0 if data.draw(st.integers(0, 9)) == 0 else 2, "e": 4}
    labels = st.text("abcde", max_size=4)
    terms = data.draw(st.lists(labels, min_size=1, max_size=3))
    used = sorted({c for t in terms for c in t})
    out = "".join(data.draw(st.lists(st.sampled_from(used), unique=True))) if used else ""
    text = ",".join(terms) + "->" + out
    arrays = [draw(*[sizes[c] for c in t], seed=i) for i, t in enumerate(terms)]
    got = wf.einsum(text, *[wf.tensor(a) for a in arrays])
    np.testing.assert_allclose(got.numpy(), np.einsum(text, *arrays), rtol=1e-10, atol=1e-12, strict=True)


def test_einsum_differentiates():
    x, y = wf.tensor([[1.0, 2.0]], requires_grad=True), wf.tensor([[3.0], [4.0]])
    wf.einsum("ij,jk->", x, y).backward()
    assert x.grad.tolist() == [[3.0, 4.0]]


class TestErrors:
    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (
                lambda: wf.ones((2, 3)) @ wf.ones((2, 3)),
                ShapeError,
                r"matmul of \(2, 3\) and \(2, 3\): the last axis of",
            ),
            (lambda: wf.ones((2, 3)) @ wf.ones(2), ShapeError, "must have one size"),
            (lambda: wf.ones(3) @ wf.tensor(1.0), ShapeError, r"multiply by a number with \*"),
            (lambda: wf.ones((2, 3, 4)) @ wf.ones((5, 4, 2)), ShapeError, "do not broadcast"),
            (lambda: wf.matmul(wf.ones((2, 2)), 2), DTypeError, "matmul takes tensors, got Tensor and int"),
            (lambda: wf.ones((2, 2), dtype=bool) @ wf.ones((2, 2), dtype=bool), DTypeError, "takes numbers"),
            (lambda: wf.tensordot(wf.ones((2, 3)), wf.ones((2, 3)), axes=1), ShapeError, "sizes 3 and 2"),
            (lambda: wf.tensordot(wf.ones(2), wf.ones(2), axes=3), ShapeError, "tensordot over 3 axes"),
            (lambda: wf.vecdot(wf.ones((2, 3)), wf.ones((2, 4))), ShapeError, "sizes 3 and 4"),
            (lambda: wf.outer(wf.ones((2, 3)), wf.ones(2)), ShapeError, "two vectors"),
            (lambda: wf.einsum("ij,jk", wf.ones((2, 3))), ArgumentError, "describes 2 operands, got 1"),
            (lambda: wf.einsum("ij->k", wf.ones((2, 3))), ArgumentError, "in no operand"),
            (lambda: wf.einsum("i1", wf.ones((2, 3))), ArgumentError, "letters"),
            (
                lambda: wf.einsum("i", wf.ones((2, 3))),
                ShapeError,
                r"'i' does not fit a tensor of shape \(2, 3\)",
            ),
            (
                lambda: wf.einsum("ij,ij", wf.ones((2, 3)), wf.ones((2, 4))),
                ShapeError,
                "'j' has sizes 3 and 4",
            ),
            (lambda: wf.einsum("ii", wf.ones((2, 3))), ShapeError, "in one operand"),
            (lambda: wf.einsum(wf.ones(2)), ArgumentError, "subscripts as a string first"),
        ],
    )
    def test_message(self, call, error, message):
        with pytest.raises(error, match=message):
            call()

    def test_the_operator_leaves_other_types_to_themselves(self):
        with pytest.raises(TypeError, match="unsupported operand"):
            wf.ones((2, 2)) @ 2


def test_matmul_of_bytes_summed_as_given():
    rng = np.random.default_rng(0)
    x, y = rng.integers(-128, 128, (20, 70), np.int8), rng.integers(-128, 128, (70, 30), np.int8)
    got = wf.matmul(wf.tensor(x), wf.tensor(y), dtype=wf.int32)
    assert got.dtype == wf.int32
    np.testing.assert_array_equal(got.numpy(), x.astype(np.int32) @ y.astype(np.int32))
    np.testing.assert_array_equal(wf.matmul(wf.tensor(x), wf.tensor(y)).numpy(), x @ y)
    assert wf.matmul(wf.tensor(x), wf.ones(70), dtype="float64").dtype == wf.float64


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "bfloat16"])
def test_outer_keeps_the_sign_of_zero(dtype):
    found = wf.outer(wf.asarray([-1.0, 0.0], dtype=dtype), wf.asarray([0.0, 2.0], dtype=dtype))
    signs = np.signbit(wf.real(found).numpy() if dtype == "complex64" else found.numpy().astype(np.float32))
    assert signs.tolist() == [[True, True], [False, False]]
