"""Operations beside PyTorch's, on what lies in the caches and on what does not, with gradients where there are any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as T

import weft as wf
import weft.nn.functional as F


@dataclass(frozen=True)
class Case:
    """One operation: in Weft, in PyTorch, and what it is given for a number of rows or images."""

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    operands: Callable[[int], list[np.ndarray]]
    sizes: tuple[int, int]  #: for operands that lie in the caches, and some that do not
    wrt: int = 0  #: so many operands, from the first on, the gradients in which are asked for


def _floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _below(most: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, most, shape)


def _images(n: int) -> list[np.ndarray]:
    return [_floats(n, 64, 32, 32)]


def _rows(n: int) -> list[np.ndarray]:
    return [_floats(n, 512)]


def _channels(n: int) -> list[np.ndarray]:
    return [_floats(n, 64, 32, 32), _floats(64), _floats(64)]


def _in_use(n: int) -> list[np.ndarray]:
    return [*_channels(n), _floats(64), np.abs(_floats(64)) + 1]


def _log_sum_exp(x: Any) -> Any:
    most = wf.max(x, axis=1)
    return most + wf.log(wf.sum(wf.exp(x - most[:, None]), axis=1))


def _alone(function: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """A function of one operand, with what else it takes."""
    return lambda x: function(x, *arguments, **options)


def _both(name: str, *arguments: Any, **options: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A function of one operand that has one name and one meaning in both libraries."""
    return (
        _alone(getattr(F, name), *arguments, **options),
        _alone(getattr(T, name), *arguments, **options),
    )


_R, _I = (128, 16384), (1, 128)  #: rows of 512, and images of 64 x 32 x 32: 256 KB and 32 MB

CASES: dict[str, Case] = {
    # Norms.
    "layer norm": Case(
        lambda x, w, b: F.layer_norm(x, (512,), w, b),
        lambda x, w, b: T.layer_norm(x, (512,), w, b),
        lambda n: [_floats(n, 512), _floats(512), _floats(512)],
        _R,
        3,
    ),
    "RMS norm": Case(
        lambda x, w: F.rms_norm(x, (512,), w),
        lambda x, w: T.rms_norm(x, (512,), w),
        lambda n: [_floats(n, 512), _floats(512)],
        _R,
        2,
    ),
    "batch norm": Case(
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        lambda x, w, b: T.batch_norm(x, None, None, w, b, True),
        _channels,
        _I,
        3,
    ),
    "batch norm in use": Case(
        lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b),
        lambda x, w, b, m, v: T.batch_norm(x, m, v, w, b),
        _in_use,
        _I,
    ),
    "group norm": Case(
        lambda x, w, b: F.group_norm(x, 8, w, b),
        lambda x, w, b: T.group_norm(x, 8, w, b),
        _channels,
        _I,
        3,
    ),
    "instance norm": Case(*_both("instance_norm"), _images, _I, 1),
    # Softmax.
    "softmax, rows": Case(*_both("softmax", -1), _rows, _R, 1),
    "softmax, columns": Case(*_both("softmax", 0), _rows, _R, 1),
    "softmax, channels": Case(*_both("softmax", 1), _images, _I, 1),
    "log-softmax, rows": Case(*_both("log_softmax", -1), _rows, _R, 1),
    "log-softmax, channels": Case(*_both("log_softmax", 1), _images, _I, 1),
    "log-sum-exp": Case(
        _log_sum_exp,
        lambda x: torch.logsumexp(x, 1),
        _rows,
        _R,
    ),
    "cross-entropy": Case(
        F.cross_entropy, T.cross_entropy, lambda n: [_floats(n, 8192), _below(8192, n)], (16, 1024), 1
    ),
    # Pooling.
    "max pool 2/2": Case(*_both("max_pool2d", 2), _images, _I, 1),
    "max pool 3/2": Case(*_both("max_pool2d", 3, 2, 1), _images, _I, 1),
    "average pool 2/2": Case(*_both("avg_pool2d", 2), _images, _I, 1),
    "average pool 3/1": Case(*_both("avg_pool2d", 3, 1, 1), _images, _I, 1),
    "average pool, adaptive": Case(*_both("adaptive_avg_pool2d", 7), _images, _I, 1),
    "average pool, all": Case(*_both("adaptive_avg_pool2d", 1), _images, _I, 1),
    "max pool, 1-D": Case(*_both("max_pool1d", 4), lambda n: [_floats(n, 64, 1024)], _I, 1),
    "average pool, 1-D": Case(*_both("avg_pool1d", 4), lambda n: [_floats(n, 64, 1024)], _I, 1),
    "max pool, 3-D": Case(*_both("max_pool3d", 2), lambda n: [_floats(n, 4, 16, 32, 32)], _I, 1),
    # Look-ups.
    "embedding": Case(
        lambda w, i: F.embedding(i, w),
        lambda w, i: T.embedding(i, w),
        lambda n: [_floats(10000, 64), _below(10000, n, 64)],
        (16, 2048),
        1,
    ),
    "rows taken": Case(
        lambda x, i: wf.take(x, i, axis=0),
        lambda x, i: torch.index_select(x, 0, i),
        lambda n: [_floats(n, 512), _below(n, n)],
        _R,
        1,
    ),
    "taken along rows": Case(
        lambda x, i: wf.take_along_axis(x, i, axis=1),
        lambda x, i: torch.take_along_dim(x, i, 1),
        lambda n: [_floats(n, 512), _below(512, n, 512)],
        _R,
        1,
    ),
    "index_add": Case(
        lambda x, s, i: wf.index_add(x, i, s),
        lambda x, s, i: torch.index_add(x, 0, i, s),
        lambda n: [_floats(n, 512), _floats(n, 512), _below(n, n)],
        _R,
    ),
    "scatter_add": Case(
        lambda x, s, i: wf.scatter_add(x, i, s, axis=1),
        lambda x, s, i: torch.scatter_add(x, 1, i, s),
        lambda n: [_floats(n, 512), _floats(n, 512), _below(512, n, 512)],
        _R,
    ),
    "one-hot": Case(
        lambda i: F.one_hot(i, 512), lambda i: T.one_hot(i, 512), lambda n: [_below(512, n)], (64, 8192)
    ),
    # Running totals, extremes, order.
    "cumsum, rows": Case(lambda x: wf.cumulative_sum(x, axis=1), lambda x: x.cumsum(1), _rows, _R, 1),
    "cumsum, columns": Case(lambda x: wf.cumulative_sum(x, axis=0), lambda x: x.cumsum(0), _rows, _R, 1),
    "cumprod, rows": Case(lambda x: wf.cumulative_prod(x, axis=1), lambda x: x.cumprod(1), _rows, _R),
    "sum, rows": Case(lambda x: wf.sum(x, axis=1), lambda x: x.sum(1), _rows, _R),
    "sum, columns": Case(lambda x: wf.sum(x, axis=0), lambda x: x.sum(0), _rows, _R),
    "sum, all": Case(wf.sum, torch.sum, _rows, _R),
    "max, rows": Case(lambda x: wf.max(x, axis=1), lambda x: x.amax(1), _rows, _R, 1),
    "variance, rows": Case(lambda x: wf.var(x, axis=1), lambda x: x.var(1, correction=0), _rows, _R, 1),
    "argmax, rows": Case(lambda x: wf.argmax(x, axis=1), lambda x: x.argmax(1), _rows, _R),
    "argmax, columns": Case(lambda x: wf.argmax(x, axis=0), lambda x: x.argmax(0), _rows, _R),
    "topk 5": Case(lambda x: wf.topk(x, 5)[0], lambda x: x.topk(5)[0], _rows, _R, 1),
    "topk 50": Case(lambda x: wf.topk(x, 50)[0], lambda x: x.topk(50)[0], _rows, _R),
    "topk 5 of 50257": Case(
        lambda x: wf.topk(x, 5)[0], lambda x: x.topk(5)[0], lambda n: [_floats(n, 50257)], (2, 128)
    ),
    "sort, rows": Case(
        lambda x: wf.sort(x, axis=1), lambda x: x.sort(dim=1, stable=True)[0], _rows, (128, 2048), 1
    ),
    "argsort, rows": Case(
        lambda x: wf.argsort(x, axis=1), lambda x: x.argsort(dim=1, stable=True), _rows, (128, 2048)
    ),
    # What only moves.
    "concatenate, last": Case(
        lambda x: wf.concat([x, x * 2], axis=1), lambda x: torch.cat([x, x * 2], 1), _rows, _R, 1
    ),
    "concatenate, first": Case(
        lambda x, y: wf.concat([x, y]),
        lambda x, y: torch.cat([x, y]),
        lambda n: [_floats(n, 512), _floats(n, 512)],
        _R,
    ),
    "stack, last": Case(
        lambda x, y: wf.stack([x, y], axis=-1),
        lambda x, y: torch.stack([x, y], -1),
        lambda n: [_floats(n, 512), _floats(n, 512)],
        _R,
    ),
    "split": Case(
        lambda x: wf.concat(wf.split(x, 128, axis=1)[::-1], axis=1),
        lambda x: torch.cat(x.split(128, 1)[::-1], 1),
        _rows,
        _R,
        1,
    ),
    "pad": Case(*_both("pad", (1, 1, 1, 1)), _images, _I, 1),
    "pad, reflected": Case(*_both("pad", (1, 1, 1, 1), "reflect"), _images, _I, 1),
    "roll, rows": Case(lambda x: wf.roll(x, 3, axis=1), lambda x: x.roll(3, 1), _rows, _R),
    "roll, columns": Case(lambda x: wf.roll(x, 3, axis=0), lambda x: x.roll(3, 0), _rows, _R),
    "flip, rows": Case(lambda x: wf.flip(x, axis=1), lambda x: x.flip(1), _rows, _R),
    "flip, columns": Case(lambda x: wf.flip(x, axis=0), lambda x: x.flip(0), _rows, _R),
    "transpose": Case(lambda x: x.T + 0, lambda x: x.T.contiguous(), lambda n: [_floats(n, 512)], _R),
    "NCHW -> NHWC": Case(
        lambda x: wf.permute_dims(x, (0, 2, 3, 1)) + 0,
        lambda x: x.permute(0, 2, 3, 1).contiguous(),
        _images,
        _I,
    ),
    "NHWC -> NCHW": Case(
        lambda x: wf.permute_dims(x, (0, 3, 1, 2)) + 0,
        lambda x: x.permute(0, 3, 1, 2).contiguous(),
        lambda n: [_floats(n, 32, 32, 64)],
        _I,
    ),
    "heads apart": Case(
        lambda x: wf.permute_dims(x.reshape(-1, 128, 8, 64), (0, 2, 1, 3)) + 0,
        lambda x: x.view(-1, 128, 8, 64).permute(0, 2, 1, 3).contiguous(),
        _rows,
        _R,
    ),
    "repeat": Case(
        lambda x: wf.repeat(x, 2, axis=1), lambda x: x.repeat_interleave(2, 1), _rows, (64, 8192), 1
    ),
    # Masks.
    "where": Case(
        lambda x, y: wf.where(x > 0, x, y),
        lambda x, y: torch.where(x > 0, x, y),
        lambda n: [_floats(n, 512), _floats(n, 512)],
        _R,
        2,
    ),
    "clip": Case(lambda x: wf.clip(x, -1.0, 1.0), lambda x: x.clamp(-1, 1), _rows, _R, 1),
    "masked fill": Case(
        lambda x, m: wf.where(m, -wf.inf, x),
        lambda x, m: x.masked_fill(m, -float("inf")),
        lambda n: [_floats(n, 512), _floats(n, 512) > 0],
        _R,
        1,
    ),
    "triangle": Case(wf.tril, torch.tril, lambda n: [_floats(n, 256, 256)], (1, 128), 1),
    # Images larger, smaller, other.
    "nearest": Case(*_both("interpolate", scale_factor=2), lambda n: [_floats(n, 64, 16, 16)], _I, 1),
    "bilinear": Case(
        *_both("interpolate", scale_factor=2, mode="bilinear"), lambda n: [_floats(n, 64, 16, 16)], _I, 1
    ),
    "bilinear, aligned": Case(
        *_both("interpolate", scale_factor=2, mode="bilinear", align_corners=True),
        lambda n: [_floats(n, 64, 28, 28)],
        (1, 16),
        1,
    ),
    "bilinear, 16 times": Case(
        *_both("interpolate", size=(224, 224), mode="bilinear"),
        lambda n: [_floats(n, 16, 14, 14)],
        (1, 16),
        1,
    ),
    "bilinear, 33 to 513": Case(
        *_both("interpolate", size=(513, 513), mode="bilinear"), lambda n: [_floats(n, 3, 33, 33)], (1, 7), 1
    ),
    "bilinear, channels last": Case(
        lambda x: wf.permute_dims(
            F.interpolate(wf.permute_dims(x, (0, 3, 1, 2)), scale_factor=2, mode="bilinear"), (0, 2, 3, 1)
        ),
        lambda x: T.interpolate(x.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear").permute(0, 2, 3, 1),
        lambda n: [_floats(n, 28, 28, 64)],
        (1, 16),
        1,
    ),
    "nearest, 28 to 70": Case(
        *_both("interpolate", size=(70, 70)), lambda n: [_floats(n, 64, 28, 28)], (1, 16), 1
    ),
    "bilinear, smaller": Case(*_both("interpolate", size=(20, 20), mode="bilinear"), _images, _I, 1),
    "bicubic": Case(
        *_both("interpolate", scale_factor=2, mode="bicubic"), lambda n: [_floats(n, 64, 16, 16)], _I, 1
    ),
    "pixel shuffle": Case(*_both("pixel_shuffle", 2), _images, _I, 1),
    "pixel unshuffle": Case(*_both("pixel_unshuffle", 2), _images, _I, 1),
    # Contractions.
    "depthwise 3x3": Case(
        lambda x, w: F.conv2d(x, w, padding=1, groups=64),
        lambda x, w: T.conv2d(x, w, padding=1, groups=64),
        lambda n: [_floats(n, 64, 32, 32), _floats(64, 1, 3, 3)],
        (1, 64),
        2,
    ),
    "grouped 3x3": Case(
        lambda x, w: F.conv2d(x, w, padding=1, groups=4),
        lambda x, w: T.conv2d(x, w, padding=1, groups=4),
        lambda n: [_floats(n, 64, 32, 32), _floats(64, 16, 3, 3)],
        (1, 16),
        2,
    ),
    "1-D convolution": Case(
        lambda x, w: F.conv1d(x, w, padding=1),
        lambda x, w: T.conv1d(x, w, padding=1),
        lambda n: [_floats(n, 64, 512), _floats(64, 64, 3)],
        (1, 16),
        2,
    ),
    "transposed 4x4/2": Case(
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1),
        lambda x, w: T.conv_transpose2d(x, w, stride=2, padding=1),
        lambda n: [_floats(n, 64, 16, 16), _floats(64, 32, 4, 4)],
        (1, 32),
        2,
    ),
    "attention": Case(
        F.scaled_dot_product_attention,
        T.scaled_dot_product_attention,
        lambda n: [_floats(n, 8, 128, 64)] * 3,
        (1, 16),
        3,
    ),
    "causal attention": Case(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda q, k, v: T.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda n: [_floats(n, 8, 512, 64)] * 3,
        (1, 4),
        3,
    ),
    "einsum bqhd,bkhd->bhqk": Case(
        lambda q, k: wf.einsum("bqhd,bkhd->bhqk", q, k),
        lambda q, k: torch.einsum("bqhd,bkhd->bhqk", q, k),
        lambda n: [_floats(n, 128, 8, 64)] * 2,
        (1, 32),
        2,
    ),
    "einsum bhqk,bkhd->bqhd": Case(
        lambda p, v: wf.einsum("bhqk,bkhd->bqhd", p, v),
        lambda p, v: torch.einsum("bhqk,bkhd->bqhd", p, v),
        lambda n: [_floats(n, 8, 128, 128), _floats(n, 128, 8, 64)],
        (1, 32),
        2,
    ),
    "outer": Case(wf.outer, torch.outer, lambda n: [_floats(n), _floats(n)], (256, 2048), 2),
    "distances": Case(
        lambda x, y: wf.sqrt(wf.sum((x[:, None] - y[None]) ** 2, axis=-1)),
        torch.cdist,
        lambda n: [_floats(n, 32), _floats(n, 32) + 1],
        (128, 1024),
    ),
    "matrix by vector": Case(
        lambda a, x: a @ x, lambda a, x: a @ x, lambda n: [_floats(n, 512), _floats(512)], _R, 2
    ),
}
