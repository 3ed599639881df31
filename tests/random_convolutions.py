"""Small networks of convolutions made up at random, with their gradients.

Numbers are small integers, so that sums are exact in every order, Winograd's sums of quarters among them, and results
are equal to the last bit. Where a step rounds anyway, such as a batch norm, they agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from random_graphs import compare, reference, run
from random_operations import fitted, small
from weft.autodiff.reverse import pullback
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import DType, bfloat16, float16, float32, float64, int8, int32
from weft.ir.graph import Graph, fresh_inputs
from weft.ir.node import GRAD, Aval, Node
from weft.ops.composite.activations import relu, silu
from weft.ops.composite.common import along
from weft.ops.composite.conv import convolution, convolution_transpose
from weft.ops.composite.normalization import batch_norm, batch_norm_train, group_norm
from weft.ops.composite.pooling import avg_pool, max_pool
from weft.ops.define import constant
from weft.ops.movement import broadcast_in_dim, concatenate, flip, permute, reshape, slice_axis
from weft.ops.reduce import sum_
from weft.ops.selection import cast
from weft.ops.transcendental import tanh
from weft.runtime.buffer import Buffer

#: Largest numbers of which sums, and Winograd's of their quarters, are exact in the type that they are added up in.
_BOUNDS = {float64: 2.0**45, float16: 2.0**15}

EXACT_TYPES = (float32, float32, float32, float64, bfloat16, float16, int32, int8)

#: Images with more elements are made smaller.
_MOST = 30_000

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A convolution, or a transposed one, and what follows it. A kernel larger than the image is cut to its size."""

    outputs: int  #: channels of each group
    groups: int  #: 0 for a depthwise one
    kernel: Axes
    stride: Axes
    padding: tuple[tuple[int, int], ...]
    dilation: Axes
    transposed: bool
    steps: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Network:
    """Layers, the image that they begin with, of what there are gradients, and a seed for all numbers."""

    batch: int
    channels: int
    size: Axes
    layers: tuple[Layer, ...]
    gradients: str  #: "none", "weights" or "all"
    dtype: DType  #: int8 stands for images and kernels of int8 whose products are summed as int32
    seed: int

    @property
    def exact(self) -> bool:
        return not any(name in smooth for layer in self.layers for name, _ in layer.steps)


class Inputs:
    """The inputs of a graph, made while it is traced."""

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype
        self.nodes: list[Node] = []

    def new(self, shape: Any, of: DType | None = None) -> Node:
        self.nodes += fresh_inputs([Aval(tuple(shape), of or self.dtype)])
        return self.nodes[-1]

    def product_of(self, shape: Any) -> Node:
        """An operand of a convolution."""
        node = self.new(shape)
        return cast(node, dtype=int32) if self.dtype is int8 else node

    def beside(self, x: Node, shape: Any) -> Node:
        """What is combined with x."""
        return self.new(shape, x.dtype)


# -- what follows a convolution: an image, a number that varies it, and more inputs --------------------------------

Step = Callable[[Node, int, Inputs], Node]
exact: dict[str, Step] = {}
smooth: dict[str, Step] = {}


def only(table: dict[str, Step]) -> Callable[[Step], Step]:
    def declare(make: Step) -> Step:
        table[make.__name__] = make
        return make

    return declare


@only(exact)
def adds_bias(x, n, inputs):
    return x + along(inputs.beside(x, x.shape[1:2]), x, 1)


@only(exact)
def rectifies(x, n, inputs):
    return relu(x)


@only(exact)
def cuts(x, n, inputs):
    return small(x)


@only(exact)
def scales(x, n, inputs):
    return x * along(inputs.beside(x, x.shape[1:2]), x, 1)


@only(exact)
def adds_image(x, n, inputs):
    """One of another memory order, for an odd number."""
    if n % 2 == 0:
        return x + inputs.beside(x, x.shape)
    order = (0, *range(2, x.ndim), 1)
    back = (0, x.ndim - 1, *range(1, x.ndim - 1))
    return x + permute(inputs.beside(x, [x.shape[a] for a in order]), axes=back)


@only(exact)
def pools(x, n, inputs):
    """The greatest of windows that overlap or not."""
    if x.dtype.kind != "f":
        return x
    kernel = tuple([min(2 + n % 2, s) for s in x.shape[2:]])
    rank = len(kernel)
    stride, ones = tuple([2 if n // 2 % 2 else k for k in kernel]), (1,) * rank
    return max_pool(x, kernel=kernel, stride=stride, padding=(0,) * rank, dilation=ones, ceil_mode=n % 3 == 0)


@only(exact)
def repeats(x, n, inputs):
    """Every pixel, along the last axis: nearest upsampling."""
    if x.size > _MOST:
        return x
    wide = broadcast_in_dim(x, shape=(*x.shape, 2), axes=tuple(range(x.ndim)))
    return reshape(wide, shape=(*x.shape[:-1], 2 * x.shape[-1]))


@only(exact)
def crops(x, n, inputs):
    axis = 2 + n % (x.ndim - 2)
    return slice_axis(x, axis, 0, x.shape[axis] - (x.shape[axis] > 1), 1 + n // 3 % 2)


@only(exact)
def joins(x, n, inputs):
    return concatenate(x, inputs.beside(x, x.shape), axis=1)


@only(exact)
def turns(x, n, inputs):
    return flip(x, axes=(n % x.ndim,))


@only(exact)
def exchanges(x, n, inputs):
    """The order of the pixels' axes, or the channels of two groups."""
    if n % 2 and x.shape[1] % 2 == 0:
        apart = reshape(x, shape=(x.shape[0], 2, x.shape[1] // 2, *x.shape[2:]))
        return reshape(permute(apart, axes=(0, 2, 1, *range(3, apart.ndim))), shape=x.shape)
    return permute(x, axes=(0, 1, *range(2, x.ndim)[::-1]))


@only(smooth)
def bends(x, n, inputs):
    return silu(x) if n % 2 else tanh(x)


@only(smooth)
def normalizes(x, n, inputs):
    weight, bias = (inputs.beside(x, x.shape[1:2]) for _ in range(2))
    eps, few = constant(0.5, x.dtype), x.size // x.shape[1] < 2
    if n % 3 == 0 or few:
        return batch_norm(x, weight, bias, bias, weight * weight, eps)
    if n % 3 == 1:
        return batch_norm_train(x, weight, bias, None, None, None, eps)[0]
    return group_norm(x, weight, bias, eps, groups=2 if x.shape[1] % 2 == 0 else 1)


@only(smooth)
def averages(x, n, inputs):
    rank = x.ndim - 2
    kernel = tuple([min(3, s) for s in x.shape[2:]])
    return avg_pool(
        x, None, kernel=kernel, stride=(1 + n % 2,) * rank, padding=(0,) * rank, ceil_mode=False, count_include_pad=True
    )  # fmt: skip


# -- graphs ---------------------------------------------------------------------------------------------------------


def _convolved(x: Node, layer: Layer, inputs: Inputs) -> tuple[Node, Node]:
    """The result, and the kernel that it was made with."""
    groups = layer.groups or x.shape[1]
    if x.shape[1] % groups:
        groups = 1
    rank, padding = x.ndim - 2, layer.padding[: x.ndim - 2]
    same = {"stride": layer.stride[:rank], "dilation": layer.dilation[:rank], "groups": groups}
    if layer.transposed and x.dtype.kind == "f":
        extra = tuple([min(s - 1, p) for s, (_, p) in zip(same["stride"], padding, strict=True)])
        whole = [
            (n - 1) * s + d * (k - 1) + more + 1
            for n, s, d, k, more in zip(x.shape[2:], same["stride"], same["dilation"], layer.kernel, extra)
        ]
        cut = tuple([min(p, (n - 1) // 2) for n, (p, _) in zip(whole, padding, strict=True)])
        w = inputs.product_of((x.shape[1], layer.outputs, *layer.kernel[:rank]))
        return convolution_transpose(x, w, None, padding=cut, output_padding=extra, **same), w
    room = [
        (s + low + high - 1) // d + 1 for s, (low, high), d in zip(x.shape[2:], padding, same["dilation"])
    ]
    kernel = [min(k, r) for k, r in zip(layer.kernel, room, strict=False)]
    w = inputs.product_of((groups * layer.outputs, x.shape[1] // groups, *kernel))
    return convolution(x, w, None, padding=padding, **same), w


def traced(network: Network) -> tuple[Graph, list[np.ndarray]]:
    """The graph, and arrays for its inputs: small integers."""
    inputs = Inputs(network.dtype)
    x = image = inputs.product_of((network.batch, network.channels, *network.size))
    weights = []
    for i, layer in enumerate(network.layers):
        x, weight = _convolved(small(x) if i and network.exact else x, layer, inputs)
        weights.append(weight)
        for name, n in layer.steps:
            x = (exact | smooth)[name](x, n, inputs)
    outs = [x, sum_(x, axes=tuple([a for a in range(x.ndim) if a != 1]))]
    if network.gradients != "none" and x.dtype.kind == "f":
        wanted = weights if network.gradients == "weights" else list(inputs.nodes)
        cotangents = [fitted(image, x.shape), inputs.beside(x, outs[1].shape)]
        outs += [g for g in pullback(outs, cotangents, wanted, GRAD) if g is not None]
    rng = np.random.default_rng(network.seed)
    arrays = [rng.integers(-2, 3, n.shape).astype(n.dtype.numpy) for n in inputs.nodes]
    return Graph(inputs.nodes, tuple(outs)), arrays


#: Steps whose results jump, or have derivatives that do, where numbers that are nearly equal are rounded otherwise.
_CHOICES = {"pools", "rectifies", "cuts"}

_FEW, _MANY = st.integers(1, 9), st.sampled_from([1, 3, 4, 16, 17, 32, 33, 48, 64])
_CHANNELS = st.one_of(_FEW, _MANY)
_PADDING = st.tuples(st.integers(0, 2), st.integers(0, 2)) | st.integers(0, 2).map(lambda p: (p, p))


@st.composite
def _layers(draw: Any, rank: int, table: list[str]) -> Layer:
    steps = draw(st.lists(st.tuples(st.sampled_from(table), st.integers(0, 11)), max_size=4))
    usual = rank == 2 and draw(st.booleans())  # what Winograd's method is for
    several = st.tuples(*[st.integers(1, 5 if rank < 3 else 3)] * rank)
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 0]))
    return Layer(
        outputs=draw(_CHANNELS if groups else st.integers(1, 3)),
        groups=groups,
        kernel=(3, 3) if usual else draw(several),
        stride=(1, 1) if usual else draw(st.tuples(*[st.integers(1, 3)] * rank)),
        padding=tuple([draw(_PADDING) for _ in range(rank)]),
        dilation=(1, 1) if usual else draw(st.tuples(*[st.sampled_from([1, 1, 2, 3])] * rank)),
        transposed=draw(st.integers(0, 4)) == 0,
        steps=tuple(steps),
    )


@st.composite
def networks(draw: Any, most: int) -> Network:
    """Networks of up to `most` layers."""
    rank = draw(st.sampled_from([2, 2, 2, 1, 3]))
    rounds = draw(st.integers(0, 3)) == 0
    table = sorted({*exact, *smooth} - _CHOICES if rounds else exact)
    channels, batch = draw(_CHANNELS), draw(st.integers(1, 8))
    longest = (120, 30, 10)[rank - 1]
    size = draw(st.tuples(*[st.integers(1, longest)] * rank))
    batch = max(1, min(batch, _MOST // (channels * math.prod(size))))
    return Network(
        batch,
        channels,
        size,
        tuple([draw(_layers(rank, table)) for _ in range(draw(st.integers(1, most)))]),
        draw(st.sampled_from(["none", "weights", "all"])),
        draw(st.sampled_from([float32, float64] if rounds else EXACT_TYPES)),
        draw(st.integers(0, 999)),
    )


def check(network: Network, recurs: bool) -> None:
    """Compare what is compiled with the reference."""
    graph, arrays = traced(network)
    want, largest = reference(graph, arrays, _BOUNDS.get(network.dtype, 2.0**18))
    got = run(CpuBackend().compile(graph, recurs), [Buffer(a) for a in arrays])
    if network.exact:
        compare(got, want, None)
        return
    eps = float(np.finfo(network.dtype.numpy).eps)
    for w, g in zip(want, got, strict=True):
        assert w.shape == g.shape and w.dtype == g.dtype
        np.testing.assert_allclose(g, w, rtol=1000 * eps, atol=100 * eps * largest)
