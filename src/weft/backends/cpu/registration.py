"""The backend's name. What it needs is imported when it is first used."""

from __future__ import annotations

from ...base import collector
from ...runtime.backend import Backend, register_backend


def _make() -> Backend:
    with collector.paused():
        from .backend import CpuBackend

    return CpuBackend()


register_backend("cpu", _make)
