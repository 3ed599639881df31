"""Networks in use, beside ONNX Runtime: python benchmarks/inference.py [NAME ...] [--rounds N]   -> Markdown

Each network is written once, with the names that Weft's layers share with PyTorch's; PyTorch gives the weights and
exports it. A call takes a NumPy array and returns one. Both run in processes of their own, two threads each, in turns,
with a pause between turns, as ONNX Runtime's threads go on looking for work for a while. Outputs are compared first.

Needs torch, onnx and onnxruntime beside Weft.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import THREADS
from options import refuse_unknown

Array = np.ndarray


def mlp(nn: Any, sizes: tuple[int, ...]) -> Any:
    layers = [layer for i, o in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def norm_act(
    nn: Any, inputs: int, outputs: int, taps: int, act: str | None, stride: int = 1, groups: int = 1
) -> Any:
    conv = nn.Conv2d(inputs, outputs, taps, stride, taps // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([] if act is None else [getattr(nn, act)()]))


def residual(nn: Any, body: Any, act: str | None = None, shortcut: Any = None) -> Any:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.shortcut = body, nn.Identity() if shortcut is None else shortcut
            self.act = nn.Identity() if act is None else getattr(nn, act)()

        def forward(self, x: Any) -> Any:
            return self.act(self.shortcut(x) + self.body(x))

    return Residual()


def head(nn: Any, channels: int, classes: int) -> list[Any]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def vgg(nn: Any) -> Any:
    layers, channels = [], 3
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 256), nn.ReLU(), nn.Linear(256, 10))


#: MobileNet V2's: (expansion, channels, blocks, stride)
INVERTED = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def mobilenet(nn: Any, act: str = "ReLU6") -> Any:
    layers, channels = [norm_act(nn, 3, 32, 3, act, 2)], 32
    for expansion, width, blocks, first in INVERTED:
        for stride in (first, *[1] * (blocks - 1)):
            inner = channels * expansion
            wide = [] if expansion == 1 else [norm_act(nn, channels, inner, 1, act)]
            deep = norm_act(nn, inner, inner, 3, act, stride, inner)
            body = nn.Sequential(*wide, deep, norm_act(nn, inner, width, 1, None))
            layers.append(residual(nn, body) if stride == 1 and channels == width else body)
            channels = width
    return nn.Sequential(*layers, norm_act(nn, channels, 1280, 1, act), *head(nn, 1280, 1000))


def resnet50(nn: Any) -> Any:
    layers, channels = [norm_act(nn, 3, 64, 7, "ReLU", 2), nn.MaxPool2d(3, 2, 1)], 64
    for width, blocks, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for stride in (first, *[1] * (blocks - 1)):
            body = nn.Sequential(
                norm_act(nn, channels, width, 1, "ReLU"),
                norm_act(nn, width, width, 3, "ReLU", stride),
                norm_act(nn, width, 4 * width, 1, None),
            )
            same = stride == 1 and channels == 4 * width
            shortcut = None if same else norm_act(nn, channels, 4 * width, 1, None, stride)
            layers.append(residual(nn, body, "ReLU", shortcut))
            channels = 4 * width
    return nn.Sequential(*layers, *head(nn, channels, 1000))


def encoder(nn: Any, width: int = 256, heads: int = 8, layers: int = 4, length: int = 128) -> Any:
    functional = importlib.import_module(f"{nn.__name__}.functional")

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.split, self.join = (
                nn.LayerNorm(width),
                nn.Linear(width, 3 * width),
                nn.Linear(width, width),
            )

        def forward(self, x: Any) -> Any:
            parts = self.split(self.norm(x)).reshape(x.shape[0], length, 3, heads, width // heads)
            q, k, v = (parts[:, :, i].permute(0, 2, 1, 3) for i in range(3))
            y = functional.scaled_dot_product_attention(q, k, v)
            return self.join(y.permute(0, 2, 1, 3).reshape(x.shape[0], length, width))

    def block() -> list[Any]:
        wide = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        return [residual(nn, Attention()), residual(nn, nn.Sequential(nn.LayerNorm(width), *wide))]

    blocks = [b for _ in range(layers) for b in block()]
    return nn.Sequential(nn.Embedding(2000, width), *blocks, nn.LayerNorm(width), nn.Linear(width, 2))


def lstm(nn: Any) -> Any:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.out = nn.LSTM(64, 128, 2, batch_first=True), nn.Linear(128, 5)

        def forward(self, x: Any) -> Any:
            return self.out(self.layers(x)[0][:, -1])

    return Last()


#: name -> the network, and the shape of one input
NETWORKS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "mlp": (lambda nn: mlp(nn, (784, 300, 100, 10)), (784,)),
    "wide-mlp": (lambda nn: mlp(nn, (1024, 2048, 2048, 512, 10)), (1024,)),
    "vgg-32": (vgg, (3, 32, 32)),
    "mobilenet-224": (mobilenet, (3, 224, 224)),
    "mobilenet-silu-64": (lambda nn: mobilenet(nn, "SiLU"), (3, 64, 64)),
    "resnet50-224": (resnet50, (3, 224, 224)),
    "encoder": (encoder, (128,)),
    "lstm": (lstm, (60, 64)),
}

BATCHES = (1, 16)


def images(name: str, batch: int) -> Array:
    rng, shape = np.random.default_rng(0), (batch, *NETWORKS[name][1])
    return rng.integers(0, 2000, shape) if name == "encoder" else rng.standard_normal(shape, dtype=np.float32)


def onnxruntime(name: str, x: Array, weights: Path) -> Callable[[], Array]:
    """ONNX Runtime's call of a network, whose weights are left in a file."""
    import onnxruntime as ort
    import torch

    torch.manual_seed(0)
    network, exported = NETWORKS[name][0](torch.nn).eval(), io.BytesIO()
    np.savez(weights, **{k: v.detach().numpy() for k, v in network.state_dict().items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.from_numpy(x),), exported, dynamo=False)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = ort.InferenceSession(exported.getvalue(), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    return lambda: session.run(None, feed)[0]


def weft(name: str, x: Array, weights: Path) -> Callable[[], Array]:
    """Weft's."""
    import weft as wf
    from weft import nn

    wf.set_num_threads(THREADS)
    network = NETWORKS[name][0](nn).eval()
    with np.load(weights) as found:
        network.load_state_dict({k: found[k] for k in network.state_dict()})

    @wf.compile
    def predict(x: Any) -> Any:
        with wf.no_grad():
            return network(x)

    return lambda: predict(x).numpy()


CALLS = {"onnxruntime": onnxruntime, "weft": weft}


def serve(kind: str, name: str, batch: int, folder: Path) -> None:
    """Answer the seconds of a turn with the milliseconds of a call in it."""
    answers, sys.stdout = sys.stdout, sys.stderr
    call = CALLS[kind](name, images(name, batch), folder / "weights.npz")
    np.save(folder / f"{kind}.npy", call())
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        seconds, calls, began = float(line), 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds or not calls:
            call()
            calls += 1
        print(1e3 * passed / calls, file=answers, flush=True)


class Server:
    """A process that calls a network in turns."""

    def __init__(self, kind: str, name: str, batch: int, folder: Path) -> None:
        command = [sys.executable, __file__, "--serve", json.dumps([kind, name, batch, str(folder)])]
        environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        if self._answer() != "ready":
            raise SystemExit(f"{kind} could not run {name}")

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def turn(self, seconds: float) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(name: str, batch: int, rounds: int) -> dict[str, float]:
    """Milliseconds of a call of each, the median of the turns."""
    with tempfile.TemporaryDirectory() as folder:
        servers = {kind: Server(kind, name, batch, Path(folder)) for kind in CALLS}
        want, got = (np.load(Path(folder) / f"{kind}.npy") for kind in CALLS)
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * float(np.abs(want).max()))
        times: dict[str, list[float]] = {kind: [] for kind in CALLS}
        for kind in CALLS:
            servers[kind].turn(0.2)
        for _ in range(rounds):
            for kind, server in servers.items():
                time.sleep(0.3)
                server.turn(0.02)
                times[kind].append(server.turn(0.1))
        for server in servers.values():
            server.end()
    return {kind: statistics.median(found) for kind, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default: 7)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        kind, name, batch, folder = json.loads(options.serve)
        return serve(kind, name, batch, Path(folder))
    refuse_unknown(parser, "network", options.names, NETWORKS)
    print("| network | batch | ONNX Runtime ms | Weft ms | ratio |\n|---|---|---|---|---|")
    for name in options.names or NETWORKS:
        for batch in BATCHES:
            found = measure(name, batch, options.rounds)
            peer, ours = found["onnxruntime"], found["weft"]
            print(f"| {name} | {batch} | {peer:.3g} | {ours:.3g} | {peer / ours:.2f} |", flush=True)
    return None


if __name__ == "__main__":
    main()
