"""Single convolutions beside PyTorch: python benchmarks/convolutions.py [--seconds S]   -> Markdown

Images and kernels as users have them, channels first, in float32, and so are the results: copies into another order are
part of the time. Each convolution, the gradient of its images and that of its kernel are compiled in Weft and called as
they are in PyTorch, in turns, two threads: microseconds of a call, the median. Results are compared first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as T

import weft as wf
import weft.nn.functional as F
from operations import in_turns


class Case(NamedTuple):
    """Square images and kernels; with `transposed`, the kernel spreads each pixel."""

    images: int
    inputs: int
    outputs: int
    size: int
    taps: int
    stride: int = 1
    padding: int = 0
    transposed: bool = False

    def __str__(self) -> str:
        kind = "transposed, " if self.transposed else ""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{kind}{self.images} x {self.size}^2 x {self.inputs}->{self.outputs}, {self.taps}x{self.taps}{stride}"


CASES = [
    Case(16, 64, 64, 16, 3, 1, 1),
    Case(16, 64, 64, 32, 5, 1, 2),
    Case(16, 64, 64, 16, 3, 2, 1),
    Case(16, 32, 64, 16, 4, 2, 1),
    Case(1, 64, 256, 32, 1),
    Case(1, 32, 64, 32, 3, 2, 1),
    Case(4, 3, 64, 64, 7, 2, 3),
    Case(16, 32, 3, 32, 3, 1, 1),
    Case(16, 32, 1, 32, 4, 2, 1),
    Case(16, 64, 1, 64, 1),
    Case(16, 128, 1, 4, 4),
    Case(16, 64, 32, 8, 4, 2, 1, True),
    Case(1, 64, 32, 16, 4, 2, 1, True),
    Case(16, 16, 8, 16, 2, 2, 0, True),
    Case(16, 32, 3, 16, 4, 2, 1, True),
    Case(16, 32, 1, 16, 4, 2, 1, True),
    Case(16, 1, 32, 16, 4, 2, 1, True),
]

#: What is asked of PyTorch for the gradients of images and of kernels.
_WANTED = ([True, False, False], [False, True, False])


def _weft(case: Case) -> list[Callable[..., Any]]:
    """The convolution, and its gradients for given cotangents, compiled."""
    function: Any = F.conv_transpose2d if case.transposed else F.conv2d

    def convolve(x: Any, w: Any) -> Any:
        return function(x, w, stride=case.stride, padding=case.padding)

    def of_images(x: Any, w: Any, g: Any) -> Any:
        return wf.vjp(lambda x: convolve(x, w), x)[1](g)[0]

    def of_kernel(x: Any, w: Any, g: Any) -> Any:
        return wf.vjp(lambda w: convolve(x, w), w)[1](g)[0]

    return [wf.compile(f) for f in (lambda x, w, g: convolve(x, w), of_images, of_kernel)]


def _torch(case: Case) -> list[Callable[..., torch.Tensor]]:
    function = T.conv_transpose2d if case.transposed else T.conv2d
    pair = [case.stride] * 2, [case.padding] * 2

    def gradient(k: int) -> Callable[..., torch.Tensor]:
        return lambda x, w, g: torch.ops.aten.convolution_backward(
            g, x, w, None, *pair, [1, 1], case.transposed, [0, 0], 1, _WANTED[k]
        )[k]

    return [
        lambda x, w, g: function(x, w, stride=case.stride, padding=case.padding),
        gradient(0),
        gradient(1),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn")
    options = parser.parse_args()
    wf.set_num_threads(2)
    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    print("| convolution | forward | ratio | gradient of images | ratio | gradient of kernel | ratio |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        channels = (case.inputs, case.outputs) if case.transposed else (case.outputs, case.inputs)
        shapes = (case.images, case.inputs, case.size, case.size), (*channels, case.taps, case.taps)
        x, w = (rng.standard_normal(s, dtype=np.float32) for s in shapes)
        theirs = _torch(case)
        g = rng.standard_normal(theirs[0](torch.tensor(x), torch.tensor(w), None).shape, dtype=np.float32)
        a, b = [wf.tensor(v) for v in (x, w, g)], [torch.tensor(v) for v in (x, w, g)]
        cells = []
        for ours, other in zip(_weft(case), theirs, strict=True):
            got, want = [ours(*a).numpy() for _ in range(8)][-1], other(*b).numpy()
            np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())
            us, them = in_turns([partial(ours, *a), partial(other, *b)], options.seconds)
            cells += [f"{us:.0f} / {them:.0f}", f"{them / us:.2f}"]
        print(f"| {case} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
