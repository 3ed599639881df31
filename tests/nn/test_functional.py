"""Every function against PyTorch's, called with the same names of arguments; the options that layers do not reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import weft as wf
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
    weighted,
    weighting,
)  # fmt: skip
from weft import nn

F = nn.functional


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


def test_every_function_is_in_the_table():
    """A new function needs a row: what follows then holds for it too."""
    assert set(F.__all__) - ELSEWHERE == {c.name for c in CASES}


def places(library: Any) -> Any:
    """Where the functions are; PyTorch has two of them elsewhere."""
    import torch

    found = torch.nn.functional
    for name in ("flatten", "unflatten"):
        if not hasattr(found, name):
            setattr(found, name, getattr(torch, name))
    return found


@pytest.mark.filterwarnings("ignore:.nn.functional.upsample. is deprecated")
@everything
def test_values_and_derivatives_to_second_order_are_those_of_torch(case: Function):
    torch = pytest.importorskip("torch")
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in case.inputs]
    ours = [wf.tensor(a, requires_grad=a.dtype.kind == "f") for a in case.inputs]
    with torch.nn.attention.sdpa_kernel(
        torch.nn.attention.SDPBackend.MATH
    ):  # others have no second derivative
        want = case.call(places(torch), torch.tensor, theirs)
    got = case.call(F, wf.tensor, ours)
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g.numpy(), w.detach().numpy(), rtol=case.tol, atol=1e-10)
    if not any(w.requires_grad for w in want):
        return
    want, got = [w for w in want if w.requires_grad], got[: sum(w.requires_grad for w in want)]
    order = not case.once
    moving, leading = [t for t in theirs if t.requires_grad], [x for x in ours if x.requires_grad]
    first = torch.autograd.grad(
        weighted([w.tanh() for w in want], torch.tensor), moving, create_graph=order, allow_unused=True
    )
    weighted([wf.tanh(g) for g in got], wf.tensor).backward(create_graph=order)
    grads = [x.grad for x in leading]
    for f, g in zip(first, grads, strict=True):
        assert (f is None or not f.detach().numpy().any()) if g is None else True
        if f is not None and g is not None:
            np.testing.assert_allclose(g.numpy(), f.detach().numpy(), rtol=10 * case.tol, atol=case.tol)
    if not order or not any(f is not None and f.requires_grad for f in first):
        return
    for x in leading:
        x.grad = None
    sum((f * f).sum() for f in first if f is not None).backward()
    sum((g * g).sum() for g in grads if g is not None).backward()
    for t, x in zip(moving, leading, strict=True):
        zero = np.zeros(t.shape)
        second, mine = [zero if v.grad is None else v.grad.numpy() for v in (t, x)]
        np.testing.assert_allclose(mine, second, rtol=1e-7, atol=1e-8)


@everything
def test_forward_mode_gives_the_derivatives_of_reverse_mode(case: Function):
    rng = np.random.default_rng(4)
    point = {i: wf.tensor(a) for i, a in enumerate(case.inputs) if a.dtype.kind == "f"}
    if not point:
        return

    def call(moving):
        found = case.call(F, wf.tensor, [moving.get(i, wf.tensor(a)) for i, a in enumerate(case.inputs)])
        return [o for o in found if o.dtype.kind == "f"]

    away = {i: wf.tensor(rng.standard_normal(p.shape)) for i, p in point.items()}
    outs, moved = wf.jvp(call, (point,), (away,))
    weights = [wf.tensor(w) for w in weighting(outs)]
    (back,) = wf.vjp(call, point)[1](weights)
    forward = sum((m * w).sum().item() for m, w in zip(moved, weights, strict=True))
    assert forward == pytest.approx(sum((back[i] * away[i]).sum().item() for i in away), rel=1e-9, abs=1e-12)


@everything
def test_the_compiled_backend_computes_what_the_reference_does(case: Function):
    def compute(backend):
        tensors = [wf.tensor(a, requires_grad=a.dtype.kind == "f") for a in case.inputs]
        with wf.config(backend=backend):
            outs = case.call(F, wf.tensor, tensors)
            live = [o for o in outs if o.requires_grad]
            if live:
                weighted(live, wf.tensor).backward()
            return [x.numpy() for x in [*outs, *[t.grad for t in tensors if t.grad is not None]]]

    for a, b in zip(compute("reference"), compute("cpu"), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-13)


@everything
def test_mapped_over_a_new_axis_it_is_one_call_after_the_other(case: Function):
    rng = np.random.default_rng(5)
    many = [np.stack([rng.permutation(a.ravel()).reshape(a.shape) if a.dtype.kind == "f" else a for _ in range(2)])
            for a in case.inputs]  # fmt: skip
    mapped = wf.vmap(lambda *xs: tuple(case.call(F, wf.tensor, xs)))(*map(wf.tensor, many))
    for i in range(2):
        single = case.call(F, wf.tensor, [wf.tensor(a[i]) for a in many])
        for m, s in zip(mapped, single, strict=True):
            np.testing.assert_allclose(m.numpy()[i], s.numpy(), rtol=1e-9, atol=1e-10)
