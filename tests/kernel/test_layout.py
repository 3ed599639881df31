"""In which order values lie in memory, and the copies that put operands in order: against the reference, and when."""

from __future__ import annotations

import math

import pytest

import weft as wf
from compiled import check
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.show import show_kernel
from weft.kernel.tiles import Tiles
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.elementwise import maximum, rsqrt
from weft.ops.movement import broadcast_to, permute, reshape
from weft.ops.reduce import max_, sum_
from weft.ops.window import windows

PLAIN = {"input_dilation": (1, 1), "kernel_dilation": (1, 1), "feature_groups": 1, "batch_groups": 1}


def same(x, w):
    """A convolution by windows of 3 x 3 that keeps the size of its images, and a relu."""
    return maximum(conv(x, w, stride=(1, 1), padding=((1, 1), (1, 1)), **PLAIN), 0)


def graph_of(function, *shapes) -> Graph:
    return trace_graph(function, [Aval(s, float32) for s in shapes])


def gradient_of(function, *shapes) -> Graph:
    return vjp_pair(graph_of(function, *shapes), (True,) * len(shapes)).backward


def steps(graph: Graph) -> list:
    return CpuBackend().compile(graph).steps


def twice_as_large(x):
    """Every pixel four times."""
    n, c, h, w = x.shape
    x = broadcast_to(reshape(x, shape=(n, c, h, 1, w, 1)), (n, c, h, 2, w, 2))
    return reshape(x, shape=(n, c, 2 * h, 2 * w))


def is_contraction(step) -> bool:
    return getattr(step.kernel, "flops", 0) > 1 << 20 or "dot= mul" in show_kernel(step.kernel)


def test_gradients_of_kernels_over_enlarged_images_are_tiles():
    attrs = {"stride": (1, 1), "padding": ((4, 4), (4, 4)), **PLAIN}
    graph = gradient_of(lambda x, w: conv(twice_as_large(x), w, **attrs), (2, 32, 8, 8), (3, 32, 9, 9))
    kernels = [s.kernel for s in steps(graph) if is_contraction(s)]
    assert len(kernels) == 2 and all(isinstance(k, Tiles) for k in kernels)
    check(graph)


def test_columns_that_are_flattened_images_lie_side_by_side():
    def gradient(x, w, y):
        return dot_general(y, reshape(same(x, w), shape=(4, 24 * 35)), contract=((0,), (0,)), batch=((), ()))

    graph = graph_of(gradient, (4, 8, 5, 7), (24, 8, 3, 3), (4, 40))
    (product,) = [s.kernel for s in steps(graph) if s.node.shape == (40, 24 * 35)]
    assert product.n.size == 24 * 35 and product.results[0].step == 1
    check(graph)


def test_products_that_become_images_are_put_in_order_by_what_reads_them():
    def images(x, w, y, v, z):
        flat = dot_general(y, v, contract=((1,), (0,)), batch=((), ()))
        image = same(x, w)
        return same(reshape(flat, shape=(4, 24, 5, 7)) * image, z) + same(image, z)

    graph = graph_of(images, (4, 8, 5, 7), (24, 8, 3, 3), (4, 40), (40, 24 * 35), (16, 24, 3, 3))
    (product,) = [s.kernel for s in steps(graph) if s.node.shape == (4, 24 * 35)]
    assert product.n.size == 24 * 35 and product.results[0].step == 1
    check(graph)


def test_images_with_channels_last_lie_so():
    def normal(x, w, v):
        y = permute(same(x, w), axes=(0, 2, 3, 1))
        total = broadcast_to(reshape(sum_(y * y, axes=(3,)), shape=(2, 6, 7, 1)), y.shape)
        y = dot_general(y * rsqrt(total + 1), v, contract=((3,), (1,)), batch=((), ()))
        return permute(y, axes=(0, 3, 1, 2)) + same(x, w)

    graph = graph_of(normal, (2, 8, 6, 7), (24, 8, 3, 3), (24, 24))
    product = next(s.kernel for s in steps(graph) if isinstance(s.kernel, Tiles) and s.kernel.steps == 24)
    assert product.a.stride == 24 and [t.a for t in product.taps] == [1]
    check(graph)


RESULTS = {
    "as it is": lambda y: y,
    "with an activation": lambda y: maximum(y + 1, 0),
    "pooled": lambda y: max_(windows(y, kernel=(2, 2), stride=(2, 2), dilation=(1, 1)), axes=(4, 5)),
}


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("shape", [(2, 3, 14, 12), (1, 40, 9, 8), (30, 5, 8, 8)], ids=str)
def test_results_with_channels_last_are_stored_so_at_once(shape, result):
    def f(x, w):
        return permute(
            RESULTS[result](conv(x, w, stride=(1, 1), padding=((1, 1),) * 2, **PLAIN)), axes=(0, 2, 3, 1)
        )

    graph = graph_of(f, shape, (48, shape[1], 3, 3))
    assert sum(s.node.shape[-1] == 48 or 48 in s.node.shape[:2] for s in steps(graph) if not s.prepares) == 1
    check(graph)


def test_results_with_channels_last_that_others_read():
    def f(x, w, v):
        y = permute(same(x, w), axes=(0, 2, 3, 1))
        z = permute(same(x, v), axes=(0, 3, 2, 1))
        return y, y * 2, z, same(permute(y, axes=(0, 3, 1, 2)), v)

    check(graph_of(f, (2, 24, 9, 7), (24, 24, 3, 3), (24, 24, 3, 3)))


@pytest.mark.parametrize("shape", [(2, 16, 9, 8), (3, 5, 9, 8), (2, 8, 3, 4, 5), (1, 24, 70, 50)])
def test_sums_over_the_pixels_of_each_image(shape):
    axes = tuple(range(2, len(shape)))
    check(graph_of(lambda x: sum_(x * x, axes=axes), shape))
    if len(shape) == 4:
        kernel = (24, shape[1], 3, 3)
        check(graph_of(lambda x, w: sum_(same(x, w), axes=axes), shape, kernel))


def test_a_product_of_what_a_loop_makes():
    """It may come from a convolution or not: loops have several results, and no shape of their own."""

    def f(x, w):
        _, y = wf.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 1.5), (wf.tensor(0), x))
        return wf.reshape(y, (1, -1)) @ w

    x, w = wf.ones((1, 4, 5, 6)), wf.ones((120, 7))
    with wf.config(backend="cpu"):
        assert wf.compile(f)(x, w).tolist() == [[405.0] * 7]


@pytest.mark.parametrize(
    ("x", "filters", "stride", "panels"),
    [
        ((1, 16, 2, 2), 64, 1, 2),
        ((1, 16, 4, 4), 128, 1, 4),
        ((16, 32, 2, 2), 64, 2, 1),
        ((3, 48, 1, 1), 70, 1, 1),
    ],
)
def test_images_of_fewer_pixels_than_a_kernel_has_taps(x, filters, stride, panels):
    attrs = {"stride": (stride, stride), "padding": ((1, 1), (1, 1)), **PLAIN}
    shapes = x, (filters, x[1], 3, 3)
    graph = graph_of(lambda x, w: maximum(conv(x, w, **attrs), 0), *shapes)
    (tiles,) = [s.kernel for s in steps(graph) if isinstance(s.kernel, Tiles)]
    assert math.prod([v.size for v in tiles.outer if v.name == "oh"]) == panels  # and no parts of a sum
    check(graph)
    check(gradient_of(lambda x, w: conv(x, w, **attrs), *shapes))


@pytest.mark.parametrize("shape", [(32, 16, 3, 3), (64, 32, 5), (16, 48, 1, 2, 3), (48, 24, 3, 3)])
def test_kernels_are_copied_in_squares_over_several_channels(shape):
    rank = len(shape) - 2
    ones = dict.fromkeys(("stride", "input_dilation", "kernel_dilation"), (1,) * rank)
    attrs = {**PLAIN, **ones, "padding": ((0, 0),) * rank}
    graph = graph_of(lambda x, w: maximum(conv(x, w, **attrs), 0), (9, shape[1], *(12,) * rank), shape)
    copies = [s for s in steps(graph) if s.node.prim.name == "identity"]
    (copy,) = [s.kernel for s in copies if s.node.size == math.prod(shape)]
    *_, along, last = copy.stages[0].variables
    whole = math.prod(shape[1:]) % 16 == 0
    assert last.size == 16 and (along.size % 16 == 0) == whole
    check(graph)
