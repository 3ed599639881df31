"""Single operations on a million floats beside PyTorch: python benchmarks/operations.py [NAME ...]   -> Markdown
With --cases, those of operation_cases.py: on what lies in the caches and on what does not, with gradients.

Each is compiled in Weft and called as it is in PyTorch, in one process with two threads, in turns that begin when the
threads of the other sleep: microseconds of a call, the median of many, and the largest difference between the results.
What moves elements is in front.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as T

import weft as wf
import weft.nn.functional as F
from operation_cases import CASES, Case
from options import refuse_unknown

rng = np.random.default_rng(0)
SQUARE = rng.standard_normal((1024, 1024), dtype=np.float32)
IMAGES = rng.standard_normal((8, 32, 64, 64), dtype=np.float32)
ROWS = rng.integers(0, 1024, 2048)
ANGLES = [f(rng.random((256, 32))).astype(np.float32) for f in (np.cos, np.sin)]
HEADS = rng.standard_normal((8, 8, 256, 64), dtype=np.float32)


def _rotated(x: Any, cos: Any, sin: Any, stack: Callable[..., Any]) -> Any:
    """A rotary embedding whose pairs are neighbours."""
    a, b = x[..., ::2], x[..., 1::2]
    return stack([a * cos - b * sin, b * cos + a * sin]).reshape(x.shape)


_pooled_gradient = wf.grad(lambda x: (F.max_pool2d(x, 3, 2, 1) ** 2).sum())


def _torch_pooled_gradient(x: torch.Tensor) -> torch.Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad((T.max_pool2d(x, 3, 2, 1) ** 2).sum(), x)[0]


#: name -> (Weft, PyTorch, operands)
OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[np.ndarray]]] = {
    "x[:, ::2] * 2": (lambda x: x[:, ::2] * 2, lambda x: x[:, ::2] * 2, [SQUARE]),
    "flip": (lambda x: wf.flip(x, axis=1) * 2, lambda x: x.flip(1) * 2, [SQUARE]),
    "repeat": (lambda x: wf.repeat(x, 2, axis=1), lambda x: x.repeat_interleave(2, 1), [SQUARE]),
    "stack": (
        lambda x: wf.stack([x * 2, x + 1], axis=-1),
        lambda x: torch.stack([x * 2, x + 1], -1),
        [SQUARE],
    ),
    "roll": (lambda x: wf.roll(x, 3, axis=1), lambda x: x.roll(3, 1), [SQUARE]),
    "outer": (lambda x: x[0][:, None] * x[1][None], lambda x: torch.outer(x[0], x[1]), [SQUARE]),
    "rows": (lambda x, i: wf.take(x, i, axis=0), lambda x, i: x[i], [SQUARE, ROWS]),
    "rotary pairs": (
        lambda x, c, s: _rotated(x, c, s, lambda p: wf.stack(p, axis=-1)),
        lambda x, c, s: _rotated(x, c, s, lambda p: torch.stack(p, -1)),
        [HEADS, *ANGLES],
    ),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 2), lambda x: T.pixel_unshuffle(x, 2), [IMAGES]),
    "interpolate": (
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: T.interpolate(x, scale_factor=2),
        [IMAGES],
    ),
    "bilinear": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: T.interpolate(x, scale_factor=2, mode="bilinear"),
        [IMAGES],
    ),
    "max_pool1d": (lambda x: F.max_pool1d(x[None], 2), lambda x: T.max_pool1d(x[None], 2), [SQUARE]),
    "max_pool2d 3/2": (lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: T.max_pool2d(x, 3, 2, 1), [IMAGES]),
    "its gradient": (_pooled_gradient, _torch_pooled_gradient, [IMAGES]),
    "channel means": (lambda x: wf.mean(x, axis=(0, 2, 3)), lambda x: x.mean((0, 2, 3)), [IMAGES]),
    "image means": (lambda x: wf.mean(x, axis=(2, 3)), lambda x: x.mean((2, 3)), [IMAGES]),
    "cumsum": (lambda x: wf.cumulative_sum(x, axis=1), lambda x: x.cumsum(1), [SQUARE]),
    "cumprod": (lambda x: wf.cumulative_prod(x, axis=1), lambda x: x.cumprod(1), [SQUARE / 4]),
    "topk 5": (lambda x: wf.topk(x, 5)[0], lambda x: x.topk(5)[0], [SQUARE]),
    "sort": (lambda x: wf.sort(x, axis=1), lambda x: x.sort(1)[0], [SQUARE]),
    "argmax": (lambda x: wf.argmax(x, axis=1), lambda x: x.argmax(1), [SQUARE]),
    "sum": (lambda x: wf.sum(x, axis=1), lambda x: x.sum(1), [SQUARE]),
    "softmax": (lambda x: F.softmax(x, -1), lambda x: T.softmax(x, -1), [SQUARE]),
    "gelu": (F.gelu, T.gelu, [SQUARE]),
    "layer_norm": (lambda x: F.layer_norm(x, (1024,)), lambda x: T.layer_norm(x, (1024,)), [SQUARE]),
    "complex x y": (
        lambda x, y: x * y,
        lambda x, y: x * y,
        [(SQUARE + 1j * SQUARE.T).astype(np.complex64), (SQUARE.T - 1j * SQUARE).astype(np.complex64)],
    ),
    "randn": (lambda x: wf.random.normal(x.shape), lambda x: torch.randn(x.shape), [SQUARE]),
    "dropout": (lambda x: F.dropout(x, 0.1), lambda x: T.dropout(x, 0.1), [SQUARE]),
}
DRAWN = ("randn", "dropout")  #: whose results are others each time


#: Seconds after which the threads of the other library are asleep: they wait for work in a loop, on the second core.
_ASLEEP = 0.3


def in_turns(calls: list[Callable[[], Any]], seconds: float) -> list[float]:
    """Microseconds of a call of each, the median; they take two turns of so many seconds, alone on the machine."""
    found: list[list[float]] = [[] for _ in calls]
    for times, call in [*zip(found, calls, strict=True)] * 2:
        time.sleep(_ASLEEP)
        for _ in range(5):  # the first ones find the caches full of what the other made
            call()
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            call()
            times.append(time.perf_counter() - start)
    return [1e6 * float(np.median(times)) for times in found]


def measured(ours: Callable[..., Any], theirs: Callable[..., Any], given: list[np.ndarray], seconds: float):
    """(results of Weft, of PyTorch, microseconds of a call of each)."""
    compiled = wf.compile(ours)
    a, b = [wf.tensor(x) for x in given], [torch.tensor(x) for x in given]
    got = [compiled(*a) for _ in range(8)][-1]
    want = theirs(*b)
    times = in_turns([lambda: compiled(*a), lambda: theirs(*b)], seconds)
    return got, want, times


def apart(got: Any, want: Any) -> float:
    """The largest difference between two results, or tuples of some, as a part of the largest element."""
    if isinstance(got, (tuple, list)):
        return max([apart(g, w) for g, w in zip(got, want, strict=True)])
    x, y = got.numpy().astype(np.float64), want.detach().numpy().astype(np.float64)
    finite = np.isfinite(y)
    difference = np.abs(x[finite] - y[finite]).max(initial=0)
    return float(difference / max(np.abs(y[finite]).max(initial=0), 1e-30))


def _with_gradients(case: Case) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What gives the result of a case and the gradients in what they are asked for in, for a cotangent in front."""

    function, other, wrt = case.ours, case.theirs, case.wrt

    def ours(g: Any, *given: Any) -> Any:
        some, rest = given[:wrt], given[wrt:]
        out, pull = wf.vjp(lambda *x: function(*x, *rest), *some)
        return out, *pull(g)

    def theirs(g: torch.Tensor, *given: torch.Tensor) -> Any:
        some = [x.detach().requires_grad_() for x in given[:wrt]]
        out = other(*some, *given[wrt:])
        return out, *torch.autograd.grad(out, some, g)

    return ours, theirs


def _row(name: str, seconds: float) -> None:
    case, cells, most = CASES[name], [name], 0.0
    for size in case.sizes:
        given = case.operands(size)
        got, want, (us, them) = measured(case.ours, case.theirs, given, seconds)
        most = max(most, apart(got, want))
        cells += [f"{us:.0f} / {them:.0f}", f"{them / us:.2f}"]
        if not case.wrt:
            cells += ["", ""]
            continue
        g = rng.standard_normal(tuple(want.shape), dtype=np.float32)
        got, want, (us, them) = measured(*_with_gradients(case), [np.asarray(g), *given], seconds)
        most = max(most, apart(got, want))
        cells += [f"{us:.0f} / {them:.0f}", f"{them / us:.2f}"]
    print(f"| {' | '.join(cells)} | {most:.0e} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="operations (default: all)")
    parser.add_argument("--cases", action="store_true", help="those with two sizes and gradients")
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn")
    options = parser.parse_args()
    refuse_unknown(parser, "operation", options.names, CASES if options.cases else OPERATIONS)
    wf.set_num_threads(2)
    torch.set_num_threads(2)
    if options.cases:
        print(
            "| operation | in caches | ratio | with gradients | ratio "
            "| larger | ratio | with gradients | ratio | difference |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|")
        for name in options.names or CASES:
            _row(name, options.seconds)
        return
    print("| operation | Weft | PyTorch | PyTorch / Weft | difference |")
    print("|---|---|---|---|---|")
    for name in options.names or OPERATIONS:
        got, want, (us, them) = measured(*OPERATIONS[name], options.seconds)
        cell = "" if name in DRAWN else f"{float(np.abs(got.numpy() - want.numpy()).max(initial=0)):.0e}"
        print(f"| {name} | {us:.0f} | {them:.0f} | {them / us:.2f} | {cell} |", flush=True)


if __name__ == "__main__":
    main()
