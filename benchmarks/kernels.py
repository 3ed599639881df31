"""Single kernels against what the machine can do: arithmetic per thread, and memory bandwidth.

    python benchmarks/kernels.py                      every table, as Markdown
    python benchmarks/kernels.py matmul conv          some of matmul, conv, memory
    python benchmarks/kernels.py matmul --torch       with PyTorch beside it
    python benchmarks/kernels.py memory --threads 2

A contraction is a program of one primitive, its kernel repeated in one foreign call until a hundredth of a second has
passed; the quickest of some such calls counts. Images lie channels-last, as they do inside a model. The copies that
put operands in order or widen them are in the second number of a cell. What is bound by memory is timed as users call
it, on arrays of 64 MB, against the bytes that have to be read and written at least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import weft as wf
from options import refuse_unknown
from weft import nn, optim
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu import threads
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.memory import take_block
from weft.backends.cpu.peak import memory_speeds, peak
from weft.ir.dtype import DType, bfloat16, float16, float32, int8, int32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval, Node
from weft.kernel.tiles import Tiles
from weft.kernel.winograd import Winograd
from weft.kernel.winograd_gradient import Sums
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.movement import permute
from weft.ops.selection import cast
from weft.runtime.buffer import Buffer, own_copy

F = nn.functional

#: (M, K, N), and (images, size, channels, filters, kernel, stride) of a square convolution.
PRODUCTS = [
    (64, 64, 64),
    (256, 256, 256),
    (1024, 1024, 1024),
    (32, 784, 128),
    (128, 512, 10),
    (8192, 64, 576),
]
CONVOLUTIONS = [
    (64, 28, 1, 32, 3, 1), (64, 13, 32, 64, 3, 1), (64, 5, 64, 64, 3, 1), (64, 56, 64, 64, 3, 1),
    (64, 14, 256, 256, 3, 1), (16, 224, 3, 64, 7, 2),
]  # fmt: skip
TABLES = ["matmul", "conv", "memory"]
TYPES: tuple[DType, ...] = (float32, bfloat16, float16, int8)

_BLOCK = 0.01  # seconds of one measurement
_ROUNDS = 9
_TURNS = 40  # of an operation and a copy

#: What writes next to nothing.
_ONLY_READ = ("sum(x)", "cross-entropy, rows of 1024")


def best(run: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Seconds of the quickest of some runs."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return min(found)


def wide(x: Node) -> Node:
    """An operand as the product takes it: integers are multiplied and summed as int32."""
    return cast(x, dtype=int32) if x.dtype is int8 else x


def values(aval: Aval, seed: int) -> Buffer:
    """Numbers in memory that begins with a line of the cache, as a tensor's and PyTorch's does."""
    rng = np.random.default_rng(seed)
    if aval.dtype.kind == "i":
        found = rng.integers(-128, 128, aval.shape)
    else:
        found = rng.normal(size=aval.shape)  # type: ignore[arg-type]
    return Buffer(own_copy(found, aval.dtype.numpy))


class Repeated:
    """A program whose steps are run again and again without Python in between."""

    def __init__(self, graph: Graph) -> None:
        self.program = CpuBackend().compile(graph, recurs=True)
        self.code = self.program._code_of
        inputs = [values(a, i) for i, a in enumerate(graph.in_avals)]
        self.standing = self.program._laid_out()
        self.arena = np.zeros(self.program.region.arena.size + 64, np.uint8)
        self.standing._place_arena(self.arena.ctypes.data + (-self.arena.ctypes.data) % 64)
        for k, x in enumerate(inputs):
            self.standing.place(k, x.address)
        block = take_block(self.program.scratch_bytes)
        self.scratch = threads.Scratch(block[1], self.program.scratch_bytes)
        self.kept = inputs, self.standing.take_outputs(), block
        self._run(self.code.words)

    def seconds(self, contraction: bool) -> float:
        """For one run of the program, or of the contractions in it alone."""
        chosen = [i for i, s in enumerate(self.code.origins) if not contraction or self._is_product(s)]
        words = np.ascontiguousarray(self.code.words[chosen])
        if not len(words):
            return float("nan")
        once = best(lambda: self._run(words), 3)
        times = max(1, int(_BLOCK / once))
        many = np.ascontiguousarray(np.tile(words, (times, 1)))
        return best(lambda: self._run(many)) / times

    def _run(self, words: np.ndarray) -> None:
        threads.run(words.ctypes.data, len(words), self.standing.address, scratch=self.scratch)

    @staticmethod
    def _is_product(step: Any) -> bool:
        if isinstance(step.kernel, (Tiles, Winograd, Sums)):
            return True
        return step.kernel is not None and "dot" in str(step.kernel.notes)


def cell(graph: Graph, operations: int) -> str:
    """GFLOP/s of the contraction, and of the whole program."""
    run = Repeated(graph)
    rates = [operations / run.seconds(contraction) / 1e9 for contraction in (True, False)]
    return " / ".join(f"{r:.0f}" for r in rates)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |", flush=True)
    print(flush=True)


# -- matrix products ----------------------------------------------------------------------------------------------


def product(m: int, k: int, n: int, form: str, dtype: DType) -> Graph:
    """`form`: "nn" for A B, "tn" for A^T B, "nt" for A B^T."""
    x = Aval((k, m) if form[0] == "t" else (m, k), dtype)
    y = Aval((n, k) if form[1] == "t" else (k, n), dtype)
    contract = ((0 if form[0] == "t" else 1,), (1 if form[1] == "t" else 0,))
    return trace_graph(lambda a, b: dot_general(wide(a), wide(b), contract=contract, batch=((), ())), (x, y))


def torch_product(m: int, k: int, n: int, form: str, dtype: DType) -> str:
    import torch

    kind = getattr(torch, dtype.name)
    a = torch.ones((k, m) if form[0] == "t" else (m, k), dtype=kind)
    b = torch.ones((n, k) if form[1] == "t" else (k, n), dtype=kind)
    a, b = a.T if form[0] == "t" else a, b.T if form[1] == "t" else b
    call = torch._int_mm if dtype is int8 else torch.mm
    return torch_rate(lambda: call(a, b), 2 * m * k * n)


def torch_rate(call: Callable[[], object], operations: int) -> str:
    try:
        once = best(call, 3)
    except RuntimeError:
        return "-"
    times = max(1, int(_BLOCK / once))
    return f"{operations * times / best(lambda: [call() for _ in range(times)]) / 1e9:.0f}"


def matmul(types: Sequence[DType], torch: bool) -> None:
    for form, name in (("nn", "A B"), ("tn", "A^T B"), ("nt", "A B^T")):
        rows = []
        for m, k, n in PRODUCTS:
            row = [f"{m} x {k} x {n}"]
            for d in types:
                row.append(cell(product(m, k, n, form, d), 2 * m * k * n))
                if torch:
                    row.append(torch_product(m, k, n, form, d))
            rows.append(row)
        table([name, *headings(types, torch)], rows)


def headings(types: Sequence[DType], torch: bool) -> list[str]:
    return [h for d in types for h in (d.name, *((f"PyTorch {d.name}",) if torch else ()))]


# -- convolutions -------------------------------------------------------------------------------------------------


def convolution(case: tuple[int, ...], dtype: DType) -> Graph:
    """Images in and out channels-last."""
    n, size, channels, filters, kernel, stride = case
    pad = kernel // 2 if stride > 1 else 0
    avals = Aval((n, size, size, channels), dtype), Aval((filters, channels, kernel, kernel), dtype)

    def f(x: Node, w: Node) -> Node:
        y = conv(
            permute(wide(x), axes=(0, 3, 1, 2)), wide(w), stride=(stride,) * 2, padding=((pad, pad),) * 2,
            input_dilation=(1, 1), kernel_dilation=(1, 1), feature_groups=1, batch_groups=1,
        )  # fmt: skip
        return permute(y, axes=(0, 2, 3, 1))

    return trace_graph(f, avals)


def conv_flops(case: tuple[int, ...]) -> int:
    n, size, channels, filters, kernel, stride = case
    out = (size - kernel + 2 * (kernel // 2 if stride > 1 else 0)) // stride + 1
    return 2 * n * out**2 * kernel**2 * channels * filters


def torch_convolution(case: tuple[int, ...], dtype: DType) -> str:
    import torch

    n, size, channels, filters, kernel, stride = case
    if dtype is int8:
        return "-"
    kind = getattr(torch, dtype.name)
    x = torch.ones(n, channels, size, size, dtype=kind).to(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(
        channels, filters, kernel, stride, kernel // 2 if stride > 1 else 0, bias=False, dtype=kind
    )
    layer = layer.to(memory_format=torch.channels_last)
    with torch.no_grad():
        return torch_rate(lambda: layer(x), conv_flops(case))


def convolutions(types: Sequence[DType], torch: bool) -> None:
    forward, backward = [], []
    floats = [d for d in types if d.kind == "f"]
    for case in CONVOLUTIONS:
        n, size, channels, filters, kernel, stride = case
        name = [f"{n} x {size}^2 x {channels}->{filters}, {kernel}x{kernel}" + f"/{stride}" * (stride > 1)]
        row = list(name)
        for d in types:
            row.append(cell(convolution(case, d), conv_flops(case)))
            if torch:
                row.append(torch_convolution(case, d))
        forward.append(row)
        row = list(name)
        for wanted in ((True, False), (False, True)):
            row += [cell(vjp_pair(convolution(case, d), wanted).backward, conv_flops(case)) for d in floats]
        backward.append(row)
    table(["convolution", *headings(types, torch)], forward)
    sides = [f"{side}, {d.name}" for side in ("input", "kernel") for d in floats]
    table(["gradient of the", *sides], backward)


# -- memory -------------------------------------------------------------------------------------------------------


def memory_cases() -> dict[str, tuple[Callable[[], object], int]]:
    """name -> (a call, bytes that it has to move at least)."""
    count, rows = 1 << 24, 1 << 14
    rng = np.random.default_rng(0)
    x, y = (wf.tensor(rng.normal(size=count).astype(np.float32)) for _ in range(2))
    matrix = wf.reshape(x, (rows, -1)).realize()
    classes = wf.tensor(rng.integers(0, count // rows, rows))
    gain, shift = wf.ones(count // rows), wf.zeros(count // rows)
    word = 4 * count

    def compiled(function: Callable[..., Any], *args: Any) -> Callable[[], object]:
        program = wf.compile(function)
        return lambda: program(*args)

    def gradient(function: Callable[..., Any], *args: Any) -> Callable[[], object]:
        return compiled(wf.grad(lambda *a: wf.sum(function(*a))), *args)

    parameter = nn.Parameter(wf.zeros(count))
    parameter.grad = y
    adam = optim.Adam([parameter], lr=1e-3)

    def normal(v: Any) -> Any:
        return F.layer_norm(v, (count // rows,), gain, shift)

    return {
        "x + y": (compiled(lambda a, b: a + b, x, y), 3 * word),
        "relu(x)": (compiled(F.relu, x), 2 * word),
        "exp(x)": (compiled(wf.exp, x), 2 * word),
        "tanh(x)": (compiled(wf.tanh, x), 2 * word),
        "gelu(x w + b)": (compiled(lambda a: F.gelu(a * 0.5 + 0.1), x), 2 * word),
        "sum(x)": (compiled(wf.sum, x), word),
        "softmax, rows of 1024": (compiled(lambda a: F.softmax(a, -1), matrix), 2 * word),
        "layer norm, rows of 1024": (compiled(normal, matrix), 2 * word),
        "cross-entropy, rows of 1024": (compiled(lambda a: F.cross_entropy(a, classes), matrix), word),
        "cross-entropy, gradient": (compiled(wf.grad(lambda a: F.cross_entropy(a, classes)), matrix), 2 * word),
        "Adam": (compiled(adam.step), 7 * word),
    }  # fmt: skip


def memory() -> None:
    """Medians of turns with a copy and with reading alone: memory is not as quick from one second to the next."""
    rows = []
    copy, read = memory_speeds()
    for name, (call, moved) in memory_cases().items():
        for _ in range(4):
            call()
        turns = np.array([(moved / best(call, 1), copy(), read()) for _ in range(_TURNS)])
        _, copied, alone = 100 * np.median(turns[:, :1] / turns, axis=0)
        _, best_copied, best_alone = 100 * turns[:, 0].max() / turns.max(axis=0)
        cells = [f"{copied:.0f} %", f"{best_copied:.0f} %"]
        cells += [f"{alone:.0f} %", f"{best_alone:.0f} %"] if name in _ONLY_READ else ["", ""]
        rows.append([name, f"{np.median(turns[:, 0]) / 1e9:.1f}", *cells])
    table(["out of cache", "GB/s", "of a copy's", "the quickest", "of reading's", "the quickest"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables", nargs="*", help="matmul, conv, memory; all of them without any")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--types", default=",".join(d.name for d in TYPES), help="of contractions")
    parser.add_argument("--torch", action="store_true", help="PyTorch beside it")
    options = parser.parse_args()
    refuse_unknown(parser, "table", options.tables, TABLES)
    refuse_unknown(parser, "type", options.types.split(","), [d.name for d in TYPES])
    wf.set_num_threads(options.threads)
    if options.torch:
        import torch

        torch.set_num_threads(options.threads)
    types = [d for d in TYPES if d.name in options.types.split(",")]
    top = peak()
    print(
        f"{options.threads} thread(s): {top.flops32 / 1e9:.0f} GFLOP/s in float32, "
        f"{top.bandwidth / 1e9:.1f} GB/s copying\n"
    )
    wanted = options.tables or TABLES
    if "matmul" in wanted:
        matmul(types, options.torch)
    if "conv" in wanted:
        convolutions(types, options.torch)
    if "memory" in wanted:
        memory()


if __name__ == "__main__":
    main()
