"""Muon: momentum whose singular values are all made about 1, for the matrices inside a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, ShapeError
from ..ir.node import Node
from ..ir.shape import show_shape
from ..ops.contraction import matmul
from ..ops.elementwise import maximum, sqrt
from ..ops.movement import permute
from ..ops.reduce import sum_
from .group import COUNT, FINITE, POSITIVE, Choice, ParamGroup, Range
from .optimizer import Optimizer
from .precision import narrow, scalar
from .rules import average, prepared, update_rule

_ADJUSTMENTS = (None, "original", "match_rms_adamw")


def orthogonalized(g: Node, a: Node, b: Node, c: Node, eps: Node, steps: int) -> Node:
    """The matrix with the singular vectors of g and singular values near 1, by Newton and Schulz's iteration.

    Each step takes every singular value s to a s + b s**3 + c s**5, of a matrix whose norm was made 1 first.
    """
    wide = g.shape[0] > g.shape[1]
    x = permute(g, axes=(1, 0)) if wide else g
    x = x / maximum(sqrt(sum_(x * x, axes=(0, 1))), scalar(eps, x))
    a, b, c = scalar(a, x), scalar(b, x), scalar(c, x)
    for _ in range(steps):
        gram = matmul(x, permute(x, axes=(1, 0)))
        x = a * x + matmul(b * gram + c * matmul(gram, gram), x)
    return permute(x, axes=(1, 0)) if wide else x


def _scale(shape: tuple[Any, ...], adjust: str | None) -> float:
    """What the learning rate is multiplied by for a matrix of this shape."""
    rows, columns = shape
    if adjust == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


@update_rule
def muon_step(
    p, g, mean, lr, weight_decay, momentum, a, b, c, eps, *, decay, nesterov, ns_steps, adjust_lr_fn
):
    """mean' = momentum mean + (1 - momentum) g; p' = (1 - lr weight_decay) p - lr scale orthogonalized(mean')."""
    x, g = prepared(p, g, lr, weight_decay, decay=decay, decoupled=True, maximize=False)
    mean = average(mean, g, momentum)
    d = average(g, mean, 1 - momentum) if nesterov else mean
    d = orthogonalized(d, a, b, c, eps, ns_steps)
    return narrow(x - scalar(lr * _scale(p.shape, adjust_lr_fn), x) * d, p), mean


class Muon(Optimizer):
    """Muon, for matrices: steps are the nearest orthogonal matrix to a running mean of the gradient g.

        m <- momentum m + (1 - momentum) g            d = (1 - momentum) g + momentum m    (`nesterov`; else m)
        p <- (1 - lr * weight_decay) p - lr * scale * orthogonalized(d)

    Give it the weights of hidden layers; biases, embeddings and the last layer belong to another optimiser: with
    `others`, parameters that are not matrices follow that one, and so do groups with the key `"others": True`. The
    iteration runs in the precision of the parameter, float32 or better (PyTorch runs it in bfloat16).

    Args:
        params: matrices, (name, matrix) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr, weight_decay, momentum: as in the formulas; momentum is below 1.
        nesterov: as in the formulas.
        ns_coefficients: (a, b, c) of the iteration s -> a s + b s**3 + c s**5 on singular values.
        eps: least norm that a matrix is divided by.
        ns_steps: how many iterations.
        adjust_lr_fn: scale: "original" (or None) is sqrt(max(1, rows / columns)), "match_rms_adamw"
            0.2 sqrt(max(rows, columns)), with which learning rates tuned for AdamW can be kept.
        others: an optimiser without parameters, `AdamW(lr=...)` say, for those that are not matrices. Options of a
            group are those of its matrices; the others keep their optimiser's.

    Raises: ShapeError for a parameter that is not a matrix, where there are no `others`.

    Reference: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
    https://kellerjordan.github.io/posts/muon; J. Liu et al., "Muon is Scalable for LLM Training", 2025,
    https://arxiv.org/abs/2502.16982

    >>> net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9))
    >>> ends = [*net[0].parameters(), *net[2].parameters()]
    >>> groups = [{"params": net[1].parameters()}, {"params": ends, "others": True}]
    >>> optimizer = Muon(groups, lr=0.02, others=AdamW(lr=1e-3))
    >>> [(optimizer.kind_of(group).name, [p.shape for p in group["params"]]) for group in optimizer.param_groups]
    [('Muon', [(4, 4)]), ('AdamW', [(4,)]), ('AdamW', [(9, 4), (9, 4), (9,)])]
    """

    rule = muon_step
    ranges = {
        "lr": POSITIVE, "weight_decay": POSITIVE, "momentum": POSITIVE,
        "ns_coefficients": Range(FINITE.holds, FINITE.wording, count=3), "eps": POSITIVE,
    }  # fmt: skip
    switches = ("nesterov",)
    choices = {
        "ns_steps": COUNT,
        "adjust_lr_fn": Choice(_ADJUSTMENTS.__contains__, "one of " + ", ".join(map(repr, _ADJUSTMENTS))),
    }
    all_slots = ("momentum_buffer",)

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-3,
        weight_decay: Any = 0.1,
        momentum: Any = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[Any, Any, Any] = (3.4445, -4.775, 2.0315),
        eps: Any = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        others: Optimizer | None = None,
    ) -> None:
        if others is not None and (not isinstance(others, Optimizer) or others.bound or _steps_alone(others)):
            raise ArgumentError(
                f"Muon: others is an optimiser without parameters, like AdamW(lr=1e-3), got {others!r}"
            )
        self.others = others
        super().__init__(
            params,
            dict(lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov,
                 ns_coefficients=ns_coefficients, eps=eps, ns_steps=ns_steps, adjust_lr_fn=adjust_lr_fn),
        )  # fmt: skip

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        if self.others is None or not isinstance(group, Mapping) or "params" not in group:
            return super().add_param_group(group)
        options = {k: v for k, v in group.items() if k != "others"}
        if group.get("others", False):
            return self._add(self.others, options)
        given = group["params"]
        items = [given] if isinstance(given, Tensor) else list(given)
        matrices = [i for i in items if _is_matrix(i)]
        if matrices or not items:
            super().add_param_group({**options, "params": matrices})
        if len(matrices) < len(items):
            self._add(self.others, {"params": [i for i in items if not _is_matrix(i)]})

    def check_group(self, group: ParamGroup) -> None:
        if group["ns_steps"] >= 100:
            raise ArgumentError(f"Muon: ns_steps must be less than 100, got {group['ns_steps']}")

    def check_parameter(self, index: int, p: Tensor) -> None:
        if p.ndim != 2:
            raise ShapeError(
                f"Muon updates matrices, parameter {index} has shape {show_shape(p.shape)}; give it to another "
                "optimiser: Muon(params, others=AdamW(lr=1e-3)) does"
            )


def _is_matrix(item: Any) -> bool:
    """Whether a parameter, or a (name, parameter) pair, is a matrix."""
    p = item[1] if isinstance(item, tuple) and len(item) == 2 else item
    return getattr(p, "ndim", 2) == 2


def _steps_alone(other: Optimizer) -> bool:
    """Whether it is no rule for each parameter, but has a step of its own (L-BFGS), or others inside."""
    return type(other).step is not Optimizer.step or isinstance(other, Muon)
