"""From files to steps: how long does a compiled network wait for an image folder with augmentation?

    python benchmarks/input_pipeline.py [--workers 1] [--batch 64] [--steps 40] [--size 64] [--skip-torch]

Makes JPEG files in a temporary folder, trains on them with worker processes that decode and augment, and measures the
share of the time in which the loop waits for its next batch. Beside it: the same with batches made in the loop's own
process; the step alone, on one batch; and, where PyTorch is importable, its DataLoader over the same dataset.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

THREADS = min(2, os.cpu_count() or 1)
WIDTHS = (32, 64, 128)
CLASSES = 8


def make_folder(root: Path, count: int, size: int) -> None:
    """JPEG files, `count` of them in CLASSES folders: smooth patterns, as large as photographs of that size are."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = rng.random((3, size // 8, size // 8), dtype=np.float32)
        pixels = np.repeat(np.repeat(coarse, 8, 1), 8, 2) + 0.1 * rng.random(
            (3, size, size), dtype=np.float32
        )
        image = Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))
        folder = root / f"class{i % CLASSES}"
        folder.mkdir(exist_ok=True)
        image.save(folder / f"{i:05d}.jpg", quality=90)


def dataset(root: Path, size: int) -> Any:
    from weft import data
    from weft.data import transforms

    augment = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=(0.3, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomRotation(10),
            transforms.ColorJitter(0.3, 0.3, 0.3, 0.05),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            transforms.RandomErasing(0.25),
        ]
    )
    return data.ImageFolder(root, augment)


class Keyed:
    """The dataset for PyTorch's loader, which does not seed what Weft's transforms draw from."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, i: int) -> Any:
        from weft.data import seeded

        with seeded(i):
            return self.inner[i]


def network(nn: Any) -> Any:
    """The network of `WIDTHS`, from the layers of Weft's `nn` or of PyTorch's, which have the same names."""
    layers: list[Any] = []
    for i, width in enumerate(WIDTHS):
        before = (3, *WIDTHS)[i]
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], CLASSES))


def weft_step() -> Callable[[Any, Any], float]:
    import weft as wf
    from weft import nn, optim

    wf.config.backend = "cpu"
    wf.set_num_threads(THREADS)
    wf.manual_seed(0)
    model = network(nn)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    @wf.compile
    def step(x: Any, y: Any) -> Any:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return lambda x, y: step(x, y).item()


def torch_step() -> Callable[[Any, Any], float]:
    import torch
    from torch import nn

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = network(nn)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def step(x: Any, y: Any) -> float:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def forever(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def measure(step: Callable[[Any, Any], float], loader: Any, steps: int, warm_up: int = 4) -> dict[str, float]:
    """Time waited for batches and time of steps; and the time of the step alone, on the last batch."""
    batches = forever(loader)
    for _ in range(warm_up):
        x, y = next(batches)
        step(x, y)
    waits, works = [], []
    for _ in range(steps):
        began = time.perf_counter()
        x, y = next(batches)
        there = time.perf_counter()
        step(x, y)
        waits.append(there - began)
        works.append(time.perf_counter() - there)
    batches.close()  # type: ignore[attr-defined]
    time.sleep(0.5)  # the workers end
    alone = []
    for _ in range(max(5, steps // 4)):
        began = time.perf_counter()
        step(x, y)
        alone.append(time.perf_counter() - began)
    total = sum(waits) + sum(works)
    return {
        "wait_share": sum(waits) / total,
        "wait_ms": 1e3 * sum(waits) / steps,
        "step_ms": 1e3 * statistics.median(works),
        "step_alone_ms": 1e3 * statistics.median(alone),
        "images_per_s": len(y) * steps / total,
    }


def per_image(data: Any, count: int) -> float:
    """Milliseconds to decode and augment one image in this process."""
    from weft.data import seeded

    began = time.perf_counter()
    for i in range(count):
        with seeded(i):
            data[i % len(data)]
    return 1e3 * (time.perf_counter() - began) / count


def torch_loader(data: Any, batch: int, workers: int) -> Any:
    import torch

    def stacked(samples: list[Any]) -> Any:
        return torch.from_numpy(np.stack([s[0] for s in samples])), torch.tensor([s[1] for s in samples])

    return torch.utils.data.DataLoader(
        Keyed(data), batch, shuffle=True, num_workers=workers, drop_last=True, collate_fn=stacked,
        persistent_workers=workers > 0,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--size", type=int, default=64, help="side of what the network sees")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--file-size", type=int, default=96, help="side of the files' images")
    parser.add_argument("--skip-torch", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder), options.images, options.file_size)
        results = run(Path(folder), options)
    print(json.dumps({"options": vars(options), "threads": THREADS, **results}))


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    from weft.data import DataLoader

    data = dataset(folder, options.size)
    results: dict[str, Any] = {"image_ms": per_image(data, 200)}
    print(f"decoding and augmenting one image: {results['image_ms']:.2f} ms on one core")
    step = weft_step()
    common = dict(batch_size=options.batch, shuffle=True, drop_last=True, seed=0)
    for workers in sorted({options.workers, 0}, reverse=True):
        loader = DataLoader(data, num_workers=workers, persistent_workers=workers > 0, **common)
        results[f"weft, {workers} workers"] = measure(step, loader, options.steps)
    if not options.skip_torch:
        try:
            import torch  # noqa: F401
        except ImportError:
            print("PyTorch is not installed")
        else:
            step = torch_step()
            loader = torch_loader(data, options.batch, options.workers)
            results[f"torch, {options.workers} workers"] = measure(step, loader, options.steps)
    print(f"{'':20}  waits  wait ms  step ms  step alone  images/s")
    for name, r in results.items():
        if isinstance(r, dict):
            print(
                f"{name:20} {r['wait_share']:6.1%} {r['wait_ms']:8.1f} {r['step_ms']:8.1f} {r['step_alone_ms']:11.1f} "
                f"{r['images_per_s']:9.0f}"
            )
    return results


if __name__ == "__main__":
    main()
