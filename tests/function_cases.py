"""Every function of nn.functional, with PyTorch's names of arguments; the options that layers do not reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from composites import integers, spread
from layer_cases import (
    CLASSES,
    FRACTIONS,
    IDS,
    IMAGES,
    LISTS,
    SEQUENCES,
    SIGNS,
    VOLUMES,
    P,
    X,
    Y,
    leaves,
    unpooled,
)  # fmt: skip


@dataclass
class Function:
    """A function by name, its tensors in order, and its other arguments by name: the same in both libraries."""

    name: str
    inputs: tuple[np.ndarray, ...]
    options: dict[str, Any] = field(default_factory=dict)
    once: bool = False  # PyTorch has no second derivative
    tol: float = 1e-9

    def call(self, library: Any, make: Any, tensors: Any) -> list[Any]:
        options = {k: make(v) if isinstance(v, np.ndarray) else v for k, v in self.options.items()}
        return leaves(getattr(library, self.name)(*tensors, **options))


def case(name: str, *inputs: np.ndarray, once: bool = False, tol: float = 1e-9, **options: Any) -> Function:
    return Function(name, inputs, options, once, tol)


MATRIX, ROWS, FOUR = spread(3, 6), spread(2, 4, 6), spread(4, seed=3)
WEIGHTS = np.arange(1.0, 7.0)
RATES = np.abs(X) + 0.1
Q, K, V = spread(2, 4, 3, 6), spread(2, 2, 5, 6, seed=1), spread(2, 2, 5, 4, seed=2)
GRID = spread(2, 4, 5, 2, low=-1.3, high=1.3)
PLAIN = ("relu", "relu6", "selu", "silu", "mish", "hardswish", "sigmoid", "logsigmoid", "tanh", "softsign",
         "tanhshrink", "elu", "celu", "leaky_relu", "hardtanh", "softplus", "softshrink", "hardshrink", "gelu",
         "glu")  # fmt: skip
PAIRS = {1: (SEQUENCES, (3,), (2,)), 2: (IMAGES, (3, 2), (2, 1)), 3: (VOLUMES, (2, 3, 2), (1, 2, 2))}

CASES = [
    *[case(name, X) for name in PLAIN],
    case("hardsigmoid", X, tol=1e-7, once=True),
    case("celu", X, alpha=0.5), case("elu", X, alpha=0.5), case("leaky_relu", X, negative_slope=0.3),
    case("hardtanh", X, min_val=-0.3, max_val=0.8), case("softplus", X, beta=2.0, threshold=1.0),
    case("softshrink", X, lambd=0.2), case("hardshrink", X, lambd=0.2), case("gelu", X, approximate="tanh"),
    case("glu", X, dim=0), case("threshold", X, threshold=0.1, value=0.7), case("rrelu", X, training=False),
    case("prelu", X, np.array([0.3])), *[case(n, X, dim=0) for n in ("softmax", "softmin", "log_softmax")],
    *[case(n, X, p=0.5, training=False) for n in ("dropout", "alpha_dropout", "feature_alpha_dropout")],
    *[case(f"dropout{r}d", x, p=0.5, training=False) for r, (x, _, _) in PAIRS.items()],
    case("linear", X, MATRIX, bias=spread(3)), case("bilinear", X, Y, spread(3, 6, 6), bias=spread(3)),
    case("embedding", IDS, spread(7, 4), padding_idx=-2), case("one_hot", IDS, num_classes=9),
    case("embedding_bag", IDS.ravel(), spread(7, 4), offsets=np.array([0, 3, 10]), mode="sum",
         per_sample_weights=spread(10, seed=5), include_last_offset=True, once=True),
    *[case(f"conv{r}d", x, spread(4, 3, *k), bias=FOUR, stride=s, padding=1, dilation=1)
      for r, (x, k, s) in PAIRS.items()],
    *[case(f"conv_transpose{r}d", x, spread(3, 4, *k), bias=FOUR, stride=2, padding=1, output_padding=1)
      for r, (x, k, s) in PAIRS.items()],
    *[case(f"max_pool{r}d", x, kernel_size=k, stride=s, padding=1, ceil_mode=True, return_indices=True)
      for r, (x, k, s) in PAIRS.items()],
    *[case(f"max_pool{r}d", x, kernel_size=2, stride=1, dilation=2) for r, (x, k, s) in PAIRS.items()],
    *[case(f"avg_pool{r}d", x, kernel_size=k, stride=s, padding=1, ceil_mode=True, count_include_pad=False)
      for r, (x, k, s) in PAIRS.items()],
    *[case(f"avg_pool{r}d", x, kernel_size=k, divisor_override=5) for r, (x, k, s) in PAIRS.items() if r > 1],
    *[case(f"lp_pool{r}d", x, norm_type=4.0, kernel_size=2, stride=1, ceil_mode=True)
      for r, (x, k, s) in PAIRS.items()],
    *[case(f"adaptive_avg_pool{r}d", x, output_size=2) for r, (x, k, s) in PAIRS.items()],
    *[case(f"adaptive_max_pool{r}d", x, output_size=3, return_indices=True) for r, (x, k, s) in PAIRS.items()],
    *[case(f"max_unpool{r}d", *unpooled(r), kernel_size=2) for r in PAIRS],
    case("fractional_max_pool2d", IMAGES, kernel_size=2, output_size=(3, 5), _random_samples=FRACTIONS[..., :2]),
    case("fractional_max_pool3d", VOLUMES, kernel_size=(2, 1, 2), output_ratio=0.6, _random_samples=FRACTIONS),
    case("batch_norm", IMAGES, running_mean=spread(3), running_var=np.ones(3), weight=spread(3), training=False),
    case("batch_norm", IMAGES, running_mean=None, running_var=None, training=True),
    case("instance_norm", IMAGES, weight=spread(3), bias=spread(3), eps=1e-3),
    case("layer_norm", X, normalized_shape=(6,), weight=spread(6), bias=spread(6), eps=1e-3),
    case("rms_norm", X, normalized_shape=(6,), weight=spread(6)), case("group_norm", IMAGES, num_groups=3),
    case("local_response_norm", IMAGES, size=2, alpha=0.1), case("normalize", X, p=3.0, dim=0),
    case("pad", IMAGES, pad=(1, 2, 0, 1), value=0.5), case("pad", SEQUENCES, pad=(1, 2), mode="replicate"),
    case("pad", IMAGES, pad=(1, 2, 2, 1), mode="reflect"), case("pad", SEQUENCES, pad=(3, 1), mode="circular"),
    case("flatten", IMAGES, start_dim=1, end_dim=2), case("unflatten", X, dim=1, sizes=(2, 3)),
    case("unfold", IMAGES, kernel_size=2, dilation=2, padding=1, stride=2),
    case("fold", spread(2, 8, 6), output_size=(4, 3), kernel_size=2),
    case("pixel_shuffle", spread(2, 8, 2, 3), upscale_factor=2),
    case("pixel_unshuffle", spread(2, 2, 4, 6), downscale_factor=2),
    case("channel_shuffle", spread(2, 6, 2, 2), groups=3),
    *[case("interpolate", IMAGES, size=(9, 5), mode=m, align_corners=a)
      for m, a in (("nearest", None), ("nearest-exact", None), ("area", None), ("bilinear", True), ("bicubic", False))],
    *[case("interpolate", IMAGES, size=(4, 5), mode=m, antialias=True) for m in ("bilinear", "bicubic", "lanczos")],
    case("interpolate", SEQUENCES, scale_factor=1.7, mode="linear", recompute_scale_factor=True),
    case("interpolate", VOLUMES, size=(3, 7, 5), mode="trilinear"), case("upsample", IMAGES, scale_factor=2),
    case("affine_grid", spread(2, 2, 3), size=(2, 3, 4, 5), align_corners=False),
    *[case("grid_sample", IMAGES, GRID, mode=m, padding_mode=p, align_corners=c, once=True)
      for m, p, c in (("bilinear", "zeros", True), ("nearest", "border", False), ("bicubic", "reflection", False))],
    case("scaled_dot_product_attention", Q, K, V, enable_gqa=True, scale=0.3),
    case("scaled_dot_product_attention", K, K, V, is_causal=True),
    case("scaled_dot_product_attention", K, K, V, attn_mask=np.random.default_rng(0).random((5, 5)) > 0.3),
    case("scaled_dot_product_attention", K, K, V, attn_mask=spread(2, 1, 5, 5)),
    case("cosine_similarity", X, Y, dim=0), case("pairwise_distance", X, Y, p=3.0, keepdim=True),
    case("pdist", X, p=2.0, once=True), case("pdist", X, p=1.0, once=True),
    *[case(n, X, P, reduction=r) for n in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div")
      for r in ("none", "sum")],
    *[case(n, X, P, weight=RATES) for n in ("mse_loss", "l1_loss", "huber_loss")],
    case("smooth_l1_loss", X, P, beta=0.3), case("huber_loss", X, P, delta=0.3),
    case("kl_div", X, Y, log_target=True, reduction="batchmean"),
    case("cross_entropy", X, CLASSES, weight=WEIGHTS, ignore_index=2, label_smoothing=0.2, reduction="mean"),
    case("cross_entropy", X, P, weight=WEIGHTS, label_smoothing=0.2),
    case("cross_entropy", spread(2, 5, 3), integers(2, 3, high=5), reduction="none"),
    case("linear_cross_entropy", ROWS[0], spread(5, 6), integers(4, high=5), linear_bias=spread(5),
         label_smoothing=0.1),
    case("nll_loss", X, CLASSES, weight=WEIGHTS, ignore_index=1),
    case("nll_loss", spread(2, 5, 3), integers(2, 3, high=5)),
    case("binary_cross_entropy", P, P[::-1].copy(), weight=RATES),
    case("binary_cross_entropy_with_logits", X, P, weight=RATES, pos_weight=WEIGHTS, reduction="sum"),
    case("poisson_nll_loss", RATES, P, log_input=False, full=True), case("poisson_nll_loss", X, P),
    case("gaussian_nll_loss", X, Y, P, full=True), case("soft_margin_loss", X, SIGNS, reduction="none"),
    case("hinge_embedding_loss", X, SIGNS, margin=0.3, reduction="none"),
    case("margin_ranking_loss", X, Y, SIGNS, margin=0.3),
    case("cosine_embedding_loss", X, Y, SIGNS[:, 0].copy(), margin=0.2, reduction="none"),
    case("triplet_margin_loss", X, Y, P, margin=2.0, p=3.0, swap=True, reduction="none"),
    case("triplet_margin_with_distance_loss", X, Y, P, margin=2.0, swap=True),
    case("multi_margin_loss", X, CLASSES, p=2, margin=0.5, weight=WEIGHTS, reduction="none", once=True),
    case("multilabel_margin_loss", X, LISTS, reduction="none", once=True),
    case("multilabel_soft_margin_loss", X, (P > 0.5) * 1.0, weight=WEIGHTS, reduction="none"),
]  # fmt: skip

#: Random ones, and CTC, of which PyTorch gives the gradient together with that of the softmax before it:
#: ops/composite/test_activations.py and test_ctc.py.
ELSEWHERE = {"gumbel_softmax", "ctc_loss"}

names = [f"{c.name}-{i}" for i, c in enumerate(CASES)]
everything = pytest.mark.parametrize("case", CASES, ids=names)


def places(library: Any) -> Any:
    """Where the functions are; PyTorch has two of them elsewhere."""
    import torch

    found = torch.nn.functional
    for name in ("flatten", "unflatten"):
        if not hasattr(found, name):
            setattr(found, name, getattr(torch, name))
    return found
