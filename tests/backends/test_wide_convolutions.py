"""Convolutions of bfloat16 by pairs of neighbouring channels: the sums as the manual has them, to the bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.backends.test_wide import MATRICES, PAIRS, graph_of, halves, tiles_of
from tests.compiled import run

import weft as wf
from weft.backends.cpu import making, regions
from weft.backends.cpu.processor import host_target
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import bfloat16, float32
from weft.ir.graph import Graph
from weft.kernel.wide import multiply_wide
from weft.ops.arithmetic import maximum
from weft.ops.contraction import dot_general
from weft.ops.conv import conv, wide_conv
from weft.ops.selection import cast

F = wf.nn.functional
has_pairs = pytest.mark.skipif(not host_target().pairs, reason="this processor has no such instruction")

#: images, channels, output channels, image, kernel, stride, padding, distance of taps
CASES = {
    "many images": (30, 32, 64, (9, 9), 3, 1, 0, 1),
    "one image": (1, 16, 40, (14, 14), 3, 1, 1, 1),
    "odd channels, strides": (3, 9, 17, (11, 12), 3, 2, 1, 1),
    "single pixels": (3, 64, 96, (8, 8), 1, 1, 0, 1),
    "some pixels": (26, 24, 32, (8, 8), 1, 2, 0, 1),
    "one axis": (7, 8, 16, (40,), 5, 1, 2, 1),
    "three axes": (2, 10, 33, (5, 6, 7), 3, 1, 1, 1),
    "taps apart": (2, 8, 16, (9, 9), 3, 1, 2, 2),
    "long sums": (2, 200, 64, (6, 6), 3, 1, 1, 1),
}  # fmt: skip


def attributes(rank: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> dict:
    return {
        "stride": (stride,) * rank, "padding": ((padding, padding),) * rank, "input_dilation": (1,) * rank,
        "kernel_dilation": (dilation,) * rank, "feature_groups": 1, "batch_groups": 1,
    }  # fmt: skip


def operands(case: str) -> tuple[list[np.ndarray], dict]:
    n, c, o, size, kernel, *rest = CASES[case]
    return [halves(n, c, *size), halves(o, c, *(kernel,) * len(size))], attributes(len(size), *rest)


def in_the_processors_order(x: np.ndarray, w: np.ndarray, attrs: dict) -> np.ndarray:
    """Tap by tap, of every two channels first the second, then the first onto the sum."""
    odd = x.shape[1] % 2
    x = np.pad(np.asarray(x, np.float32), ((0, 0), (0, odd), *attrs["padding"]))
    w = np.pad(np.asarray(w, np.float32), ((0, 0), (0, odd), *((0, 0),) * (x.ndim - 2)))
    apart, steps = attrs["kernel_dilation"], attrs["stride"]
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], apart, strict=True)]
    out = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, steps, strict=True)]
    total = np.zeros((len(x), len(w), *out), np.float32)
    for tap in itertools.product(*map(range, w.shape[2:])):
        ends = zip(tap, apart, out, steps, strict=True)
        view = x[(..., *[slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in ends])]
        for c in range(x.shape[1]):
            c ^= 1
            product = np.einsum("n...,o->no...", view[:, c].astype(np.float64), w[(slice(None), c, *tap)])
            total = (total + product).astype(np.float32)
    return total


def graph(arrays: list[np.ndarray], attrs: dict) -> Graph:
    return graph_of(lambda x, w: conv(x, w, **attrs), *arrays)


@has_pairs
@pytest.mark.parametrize("case", CASES)
def test_sums_are_those_of_the_manual(case):
    arrays, attrs = operands(case)
    made = graph(arrays, attrs)
    (kernel,) = tiles_of(made)
    assert kernel.wide
    want = in_the_processors_order(*arrays, attrs)
    np.testing.assert_array_equal(run(made, arrays)[0], want.astype(bfloat16.numpy))


@has_pairs
def test_what_follows_is_done_by_the_same_kernel():
    arrays, attrs = operands("one image")
    bias = np.random.default_rng(0).normal(size=(40, 1, 1)).astype(np.float32)
    made = graph_of(lambda x, w, b: maximum(cast(conv(x, w, **attrs), dtype=float32) + b, 0), *arrays, bias)
    (kernel,) = tiles_of(made)
    assert kernel.wide and kernel.outputs == (float32,)
    rounded = in_the_processors_order(*arrays, attrs).astype(bfloat16.numpy).astype(np.float32)
    np.testing.assert_array_equal(run(made, [*arrays, bias])[0], np.maximum(rounded + bias, 0))


@has_pairs
def test_an_image_that_a_product_reads_as_well():
    """Neither of them changes how the other finds it in memory."""
    x, w, y = halves(2, 8, 12, 16), halves(16, 8, 3, 3), halves(16, 32)
    attrs = attributes(2)

    def f(x, w, y):
        x = maximum(x, 0)
        return conv(x, w, **attrs), dot_general(x, y, contract=((3,), (0,)), batch=((), ()))

    found = run(graph_of(f, x, w, y), [x, w, y])
    x = np.maximum(x, np.zeros((), x.dtype))
    want = in_the_processors_order(x, w, attrs).astype(bfloat16.numpy)
    np.testing.assert_array_equal(found[0], want)
    flat = run(
        graph_of(lambda a, b: dot_general(a, b, contract=((1,), (0,)), batch=((), ())), x.reshape(-1, 16), y),
        [x.reshape(-1, 16), y],
    )
    np.testing.assert_array_equal(found[1].reshape(-1, 32), flat[0])


@has_pairs
def test_layers_have_the_same_bits_looked_at_or_not_and_for_any_number_of_threads():
    wf.manual_seed(4)
    x = wf.randn(4, 8, 16, 16).astype(wf.bfloat16)
    first, second = (wf.randn(*s).astype(wf.bfloat16) for s in ((32, 8, 3, 3), (16, 32, 3, 3)))

    def loss(a, b, look=False):
        hidden = F.max_pool2d(F.relu(F.conv2d(x, a, padding=1)), 2)
        if look:
            hidden.numpy()
        return (F.conv2d(hidden, b, padding=1, stride=2) ** 2).mean()

    want = [g.numpy() for g in wf.grad(loss, argnums=(0, 1))(first, second)]
    looked = wf.grad(lambda a, b: loss(a, b, True), argnums=(0, 1))(first, second)
    compiled = wf.compile(wf.grad(loss, argnums=(0, 1)))
    before = wf.get_num_threads()
    try:
        found = [looked]
        for count in (1, 2, 3):
            wf.set_num_threads(count)
            found.append(compiled(first, second))
    finally:
        wf.set_num_threads(before)
    for gradients in found:
        for w, g in zip(want, gradients, strict=True):
            np.testing.assert_array_equal(g.numpy(), w)


def test_the_pass_keeps_the_meaning_and_is_done_once():
    arrays, attrs = operands("odd channels, strides")
    made = graph(arrays, attrs)
    once = multiply_wide(made, pairs=True)
    assert any(n.prim is wide_conv for n in once.nodes) and multiply_wide(once, pairs=True) == once
    want, got = (Interpreter(g).evaluate(arrays)[0].astype(np.float32) for g in (made, once))
    np.testing.assert_allclose(got, want, rtol=2**-7, atol=1e-2)


def test_registers_that_are_matrices_make_none(monkeypatch):
    arrays, attrs = operands("many images")
    made = graph(arrays, attrs)
    assert multiply_wide(made) == made
    monkeypatch.setattr(regions, "host_target", lambda: MATRICES)
    assert not any(t.wide for t in tiles_of(made))


@pytest.mark.parametrize(
    "shapes",
    [((4, 4, 9, 9), (32, 4, 3, 3)), ((4, 16, 9, 9), (8, 16, 3, 3)), ((32, 16, 5, 5), (16, 16, 4, 4))],
)
def test_few_channels_and_large_windows_are_left_to_float32(shapes):
    made = graph([halves(*s) for s in shapes], attributes(2))
    assert multiply_wide(made, pairs=True) == made


def test_images_that_are_mostly_border_are_left_to_float32():
    for size, wide in ((3, False), (5, True)):
        made = graph([halves(4, 16, size, size), halves(16, 16, 3, 3)], attributes(2, padding=2))
        assert (multiply_wide(made, pairs=True) != made) == wide


def test_code_for_processors_that_have_pairs(monkeypatch):
    monkeypatch.setattr(regions, "host_target", lambda: PAIRS)
    (kernel,) = tiles_of(graph(*operands("many images")))
    text = making.assembly(kernel, "kernel", PAIRS)
    assert "vdpbf16ps" in text and "vfmadd" not in text
