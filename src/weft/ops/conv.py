"""Convolution: one primitive whose two transposes are convolutions again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import float32
from ..ir.node import Aval, Node
from ..ir.shape import divide, show_shape
from .define import Sample, primitive, values
from .movement import flip, permute, reshape, zeros

Sizes = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]


def dilated(size: Any, dilation: int) -> Any:
    """The extent of `size` elements with `dilation - 1` gaps between neighbours."""
    return 0 if size == 0 else (size - 1) * dilation + 1


def _check_attrs(rank: int, **attrs: tuple[Any, ...]) -> None:
    for name, value in attrs.items():
        if len(value) != rank:
            raise ArgumentError(f"{name} needs one entry for each of the {rank} spatial axes, got {value}")
        if name != "padding" and any(v < 1 for v in value):
            raise ArgumentError(f"{name} must be at least 1, got {value}")
        if name == "padding" and any(len(pair) != 2 for pair in value):
            raise ArgumentError(f"padding is a pair (before, after) for each axis, got {value}")


def _check_groups(x: Aval, w: Aval, feature_groups: int, batch_groups: int) -> None:
    if feature_groups < 1 or batch_groups < 1 or (feature_groups > 1 and batch_groups > 1):
        raise ArgumentError(
            f"groups must be at least 1, and only one kind more, got feature_groups={feature_groups} "
            f"and batch_groups={batch_groups}"
        )
    if divide(x.shape[1], feature_groups) != w.shape[1]:
        each = f" in each of {feature_groups} groups" if feature_groups > 1 else ""
        raise ShapeError(
            f"the kernel of shape {show_shape(w.shape)} wants {w.shape[1]} input channels{each}, but the input of "
            f"shape {show_shape(x.shape)} has {x.shape[1]}"
        )
    if divide(w.shape[0], feature_groups * batch_groups) is None:
        raise ShapeError(
            f"{w.shape[0]} output channels (kernel {show_shape(w.shape)}) do not divide into "
            f"{feature_groups * batch_groups} groups"
        )
    if divide(x.shape[0], batch_groups) is None:
        raise ShapeError(f"a batch of {x.shape[0]} does not divide into {batch_groups} groups")


def _infer(
    x: Aval,
    w: Aval,
    *,
    stride: Sizes,
    padding: Padding,
    input_dilation: Sizes,
    kernel_dilation: Sizes,
    feature_groups: int,
    batch_groups: int,
) -> Aval:
    if x.ndim < 2 or x.ndim != w.ndim:
        raise ShapeError(
            f"an input (batch, channels, *spatial) and a kernel (out channels, in channels, *spatial) of equal "
            f"rank are expected, got {show_shape(x.shape)} and {show_shape(w.shape)}"
        )
    if x.dtype is not w.dtype or x.dtype.kind == "b":
        raise DTypeError(
            f"input and kernel of one numeric dtype expected, got {x.describe()} and {w.describe()}"
        )
    _check_attrs(
        x.ndim - 2,
        stride=stride,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
    )
    _check_groups(x, w, feature_groups, batch_groups)
    out = []
    for i, (size, kernel) in enumerate(zip(x.shape[2:], w.shape[2:], strict=True)):
        room = dilated(size, input_dilation[i]) + sum(padding[i]) - dilated(kernel, kernel_dilation[i])
        if isinstance(room, int) and (room < 0 or kernel == 0):
            raise ShapeError(
                f"a kernel of shape {show_shape(w.shape)} with dilation {kernel_dilation} does not fit into an "
                f"input of shape {show_shape(x.shape)} with padding {padding}: spatial axis {i} is too short"
            )
        out.append((room if stride[i] == 1 else room // stride[i]) + 1)
    return Aval((divide(x.shape[0], batch_groups), w.shape[0], *out), x.dtype)  # type: ignore[arg-type]


def _samples() -> list[Sample]:
    def sample(
        xs,
        ws,
        stride=1,
        padding: Any = 0,
        input_dilation=1,
        kernel_dilation=1,
        feature_groups=1,
        batch_groups=1,
        dtype=None,
    ):
        n = len(xs) - 2
        pads = padding if isinstance(padding, tuple) else ((padding, padding),) * n
        attrs = {
            "stride": (stride,) * n,
            "padding": pads,
            "input_dilation": (input_dilation,) * n,
            "kernel_dilation": (kernel_dilation,) * n,
            "feature_groups": feature_groups,
            "batch_groups": batch_groups,
        }
        x, w = values(xs), values(ws, seed=1)
        return Sample((x, w) if dtype is None else (x.astype(dtype), w.astype(dtype)), attrs)

    return [
        sample((2, 3, 5, 6), (4, 3, 3, 2)),
        sample((2, 2, 7), (3, 2, 3), stride=2, padding=1),
        sample((1, 2, 6, 5), (2, 2, 2, 3), stride=2, padding=((1, 2), (0, 1)), kernel_dilation=2),
        sample((2, 4, 5), (6, 2, 3), feature_groups=2, padding=1),
        sample((4, 3, 5), (6, 3, 3), batch_groups=2, stride=2),
        sample((1, 2, 4), (2, 2, 3), input_dilation=2, padding=((1, 2),)),
        sample((1, 1, 8), (1, 1, 2), padding=((-2, -1),), stride=3),
        sample((1, 1, 3, 3, 4), (2, 1, 2, 2, 2), padding=((0, 1), (1, 0), (0, 0))),
        sample((2, 3, 5), (2, 3, 1), dtype=np.float32),
        sample((0, 3, 5), (2, 3, 2)),
    ]


_COLUMNS = 1 << 21  # elements of the gathered columns that one matrix product works on


def _padded(x, padding, dilation):
    """x with zeros between and around its spatial elements; a negative padding takes elements away."""
    if not any(any(p) for p in padding) and all(d == 1 for d in dilation):
        return x
    inner = [dilated(n, d) for n, d in zip(x.shape[2:], dilation, strict=True)]
    out = np.zeros(
        (*x.shape[:2], *[n + lo + hi for n, (lo, hi) in zip(inner, padding, strict=True)]), x.dtype
    )
    to, take = [slice(None)] * 2, [slice(None)] * 2
    for n, d, (lo, _), room in zip(x.shape[2:], dilation, padding, out.shape[2:], strict=True):
        first = max(0, -(lo // d)) if lo < 0 else 0  # the first element that is still inside
        last = min(n, -((lo - room) // d))
        take.append(slice(first, max(first, last)))
        start = lo + first * d
        to.append(
            slice(start, start + (max(first, last) - first - 1) * d + 1, d) if last > first else slice(0, 0)
        )
    out[tuple(to)] = x[tuple(take)]
    return out


def _view(x, kernel, kernel_dilation, stride, feature_groups, batch_groups):
    """The elements under each position of the kernel: (groups, channels, *kernel, batch, *positions)."""
    n, c, *spatial = x.shape
    if batch_groups > 1:
        x = x.reshape(batch_groups, n // batch_groups, c, *spatial).swapaxes(1, 2)
    else:
        x = x.reshape(n, feature_groups, c // feature_groups, *spatial)
        x = x.transpose(1, 2, 0, *range(3, x.ndim))
    out = [
        (size - dilated(k, d)) // s + 1
        for size, k, d, s in zip(spatial, kernel, kernel_dilation, stride, strict=True)
    ]
    inside = [s * d for s, d in zip(x.strides[3:], kernel_dilation, strict=True)]
    across = [s * t for s, t in zip(x.strides[3:], stride, strict=True)]
    strides = (*x.strides[:2], *inside, x.strides[2], *across)
    return as_strided(x, (*x.shape[:2], *kernel, x.shape[2], *out), strides, writeable=False)


@primitive(
    _infer,
    attrs=("stride", "padding", "input_dilation", "kernel_dilation", "feature_groups", "batch_groups"),
    samples=_samples,
)
def conv(x, w, *, stride, padding, input_dilation, kernel_dilation, feature_groups, batch_groups):
    """Cross-correlation of x (N, C, *spatial) with kernels w (O, C / feature_groups, *kernel).

    x' is x with `input_dilation - 1` zeros between its elements, then `padding` = ((low, high), ...) zeros around
    them (negative: elements removed). Then, with s = stride and d = kernel_dilation,

        out[n, o, p...] = sum over c, k... of x'[n, c, p s + k d, ...] * w[o, c, k...]

    which has (size' - (kernel - 1) d - 1) // s + 1 positions along each axis. With `feature_groups` G the channels
    of x and the kernels are cut into G runs, and each run of kernels sees its run of channels. With `batch_groups` G
    the batch and the kernels are cut into G runs, each run of kernels sees its run of the batch, and the result
    has N / G batch entries.
    """
    groups = feature_groups * batch_groups
    kernel = w.shape[2:]
    view = _view(
        _padded(x, padding, input_dilation), kernel, kernel_dilation, stride, feature_groups, batch_groups
    )
    rank = len(kernel)
    channels, count, out = view.shape[1], view.shape[2 + rank], view.shape[3 + rank :]
    rows = int(np.prod(kernel, dtype=np.int64)) * channels
    positions = int(np.prod(out, dtype=np.int64))
    each = w.shape[0] // groups
    weights = w.reshape(groups, each, rows)
    result = np.empty((count, groups, each, positions), np.result_type(x, w))
    chunk = max(1, _COLUMNS // max(1, groups * rows * positions))
    # The gathered elements are laid out so that the longer of the two last axes is the innermost one.
    tall = rank > 0 and kernel[-1] > out[-1]
    if tall:
        view = view.transpose(0, *range(2 + rank, 3 + 2 * rank), *range(1, 2 + rank))
        weights = weights.swapaxes(1, 2)
    for at in range(0, count, chunk):
        size = min(chunk, count - at)
        part = (
            view[:, at : at + size] if tall else view[(slice(None),) * (2 + rank) + (slice(at, at + size),)]
        )
        if tall:
            product = np.matmul(part.reshape(groups, size * positions, rows), weights)
            product = product.reshape(groups, size, positions, each).transpose(1, 0, 3, 2)
        else:
            product = np.matmul(weights, part.reshape(groups, rows, size * positions))
            product = product.reshape(groups, each, size, positions).transpose(2, 0, 1, 3)
        result[at : at + size] = product
    return result.reshape(count, w.shape[0], *out)


def _wide_infer(x: Aval, w: Aval, **attrs: Any) -> Aval:
    if x.dtype.kind != "f" or x.dtype.bits > 32:
        raise DTypeError(f"takes floats of 16 or 32 bits, got {x.describe()} and {w.describe()}")
    return Aval(_infer(x, w, **attrs).shape, float32)


def _wide_samples() -> list[Sample]:
    single = [tuple([a.astype(np.float32) for a in s.args]) for s in _samples()]
    return [Sample(x, s.attrs, smooth=False) for x, s in zip(single, _samples(), strict=True)]


@primitive(
    _wide_infer,
    attrs=("stride", "padding", "input_dilation", "kernel_dilation", "feature_groups", "batch_groups"),
    samples=_wide_samples,
)
def wide_conv(x, w, *, stride, padding, input_dilation, kernel_dilation, feature_groups, batch_groups):
    """`conv` of floats of at most 32 bits, with sums that stay float32, not rounded to the operands' type.

    Compilers write it where the processor itself multiplies 16-bit floats. What users ask for is rounded.
    """
    return conv.evaluate(
        x, w, stride=stride, padding=padding, input_dilation=input_dilation, kernel_dilation=kernel_dilation,
        feature_groups=feature_groups, batch_groups=batch_groups,
    )  # fmt: skip


wide_conv.nondifferentiable("compilers write it when gradients have been taken; those are of conv")


# -- derivatives: both transposes are convolutions --------------------------------------------------------------


def _swap(x: Node) -> Node:
    return permute(x, axes=(1, 0, *range(2, x.ndim)))


def _turned(w: Node, groups: int) -> Node:
    """Kernels (G O, C, *k) as (G C, O, *k), reversed along the spatial axes."""
    spatial = tuple(range(2, w.ndim))
    turned = flip(w, axes=spatial) if any(n != 1 for n in w.shape[2:]) else w
    if groups == 1:
        return _swap(turned)
    out, channels, *kernel = w.shape
    turned = reshape(turned, shape=(groups, out // groups, channels, *kernel))
    turned = permute(turned, axes=(0, 2, 1, *[a + 1 for a in spatial]))
    return reshape(turned, shape=(groups * channels, out // groups, *kernel))


def _empty(*nodes: Node) -> bool:
    return any(n == 0 for x in nodes for n in x.shape)


@conv.transpose(0, 1, multilinear=True)
def _(ct, index, x, w, **attrs):
    if _empty(ct, x, w):
        return zeros((x, w)[index].aval)
    return _input_transpose(ct, x, w, **attrs) if index == 0 else _kernel_transpose(ct, x, w, **attrs)


def _input_transpose(
    ct, x, w, *, stride, padding, input_dilation, kernel_dilation, feature_groups, batch_groups
):
    """Each element of ct spread by the kernel: ct with stride - 1 gaps, under the kernel turned around."""
    pads = []
    for i, (lo, _) in enumerate(padding):
        inside = dilated(x.shape[2 + i], input_dilation[i])
        reach = dilated(w.shape[2 + i], kernel_dilation[i]) - 1
        low = reach - lo
        pads.append((low, inside + reach - dilated(ct.shape[2 + i], stride[i]) - low))
    groups = feature_groups * batch_groups
    out = conv(
        ct,
        _turned(w, groups),
        stride=input_dilation,
        padding=tuple(pads),
        input_dilation=stride,
        kernel_dilation=kernel_dilation,
        feature_groups=groups,
        batch_groups=1,
    )
    if batch_groups == 1:
        return out
    n, _, *spatial = out.shape
    out = reshape(out, shape=(n, batch_groups, x.shape[1], *spatial))
    return reshape(permute(out, axes=(1, 0, *range(2, out.ndim))), shape=x.shape)


def _kernel_transpose(
    ct, x, w, *, stride, padding, input_dilation, kernel_dilation, feature_groups, batch_groups
):
    """x under ct as the kernel, batch and channels changing roles; the two kinds of groups do too."""
    pads = []
    for i, (lo, _) in enumerate(padding):
        reach = dilated(w.shape[2 + i], kernel_dilation[i]) - 1
        inside = dilated(x.shape[2 + i], input_dilation[i])
        pads.append((lo, reach + dilated(ct.shape[2 + i], stride[i]) - inside - lo))
    out = conv(
        _swap(x),
        _swap(ct),
        stride=kernel_dilation,
        padding=tuple(pads),
        input_dilation=input_dilation,
        kernel_dilation=stride,
        feature_groups=batch_groups,
        batch_groups=feature_groups,
    )
    return _swap(out)


# -- batching ---------------------------------------------------------------------------------------------------


@conv.batch
def _(size, batched, x, w, **attrs):
    return _batched(conv, size, batched, x, w, **attrs)


@wide_conv.batch
def _(size, batched, x, w, **attrs):
    return _batched(wide_conv, size, batched, x, w, **attrs)


def _batched(prim, size, batched, x, w, *, feature_groups, batch_groups, **attrs):
    def run(x, w, features=feature_groups, batches=batch_groups):
        return prim(x, w, feature_groups=features, batch_groups=batches, **attrs)

    if batched == (True, False):
        return _batch_input(size, x, lambda x: run(x, w), batch_groups)
    if batched == (False, True):
        return _batch_kernel(size, w, lambda w: run(x, w), feature_groups * batch_groups)
    kernels = reshape(w, shape=(size * w.shape[1], *w.shape[2:]))
    if batch_groups > 1:
        out = run(reshape(x, shape=(size * x.shape[1], *x.shape[2:])), kernels, batches=size * batch_groups)
    else:
        side = permute(x, axes=(1, 0, *range(2, x.ndim)))
        channels = reshape(side, shape=(x.shape[1], size * x.shape[2], *x.shape[3:]))
        out = run(channels, kernels, features=size * feature_groups)
    n, _, *spatial = out.shape
    out = reshape(out, shape=(n, size, w.shape[1], *spatial))
    return permute(out, axes=(1, 0, *range(2, out.ndim)))


def _batch_input(size, x, run, groups):
    """Fold the new axis into the batch, inside each batch group."""
    n, *rest = x.shape[1:]
    if groups == 1:
        out = run(reshape(x, shape=(size * n, *rest)))
        return reshape(out, shape=(size, n, *out.shape[1:]))
    x = reshape(x, shape=(size, groups, n // groups, *rest))
    x = permute(x, axes=(1, 0, *range(2, x.ndim)))
    out = run(reshape(x, shape=(size * n, *rest)))
    return reshape(out, shape=(size, n // groups, *out.shape[1:]))


def _batch_kernel(size, w, run, groups):
    """Fold the new axis into the output channels, inside each group."""
    o, *rest = w.shape[1:]
    w = reshape(w, shape=(size, groups, o // groups, *rest))
    w = permute(w, axes=(1, 0, *range(2, w.ndim)))
    out = run(reshape(w, shape=(size * o, *rest)))
    n, _, *spatial = out.shape
    out = reshape(out, shape=(n, groups, size, o // groups, *spatial))
    out = permute(out, axes=(2, 0, 1, *range(3, out.ndim)))
    return reshape(out, shape=(size, n, o, *spatial))
