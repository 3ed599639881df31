"""What every test shares: one thread per worker, no window, verified graphs, reproducible random numbers."""

import gc
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

# Before NumPy is imported: pytest-xdist already runs one worker per core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Every graph is checked against the rules of the IR before it runs.
os.environ.setdefault("WEFT_VERIFY", "1")
# Kernels of the tests, of which random graphs have thousands, are kept apart from the user's own.
os.environ.setdefault("WEFT_CACHE_DIR", str(Path(__file__).parent.parent / ".kernels"))

# What a shell starts in the background ignores Ctrl-C, and so do the processes that it starts: some tests press it.
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis
import numpy as np
import pytest

# Under CI the examples are the same in every run; elsewhere they vary and failures are remembered.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def without_wide_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of bfloat16 in float32, as on processors that do not multiply it by themselves."""
    from weft.backends.cpu import regions
    from weft.backends.cpu.processor import host_target

    monkeypatch.setattr(regions, "host_target", lambda: replace(host_target(), matrices=False, pairs=False))


@pytest.fixture
def compiled_anew(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it where a part of the compiler has been replaced: kernels are not those on disk then, nor for others."""
    from weft.backends.cpu import library

    generator = f"{library._generator()} changed by {request.node.nodeid}"
    return lambda: monkeypatch.setattr(library, "_generator", lambda: generator)


def pytest_collection_finish() -> None:
    """The tests and the libraries stay: the collector need not go through all of them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator that starts from the same seed in every test."""
    return np.random.default_rng(0)
