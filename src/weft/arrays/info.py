"""The namespace of the array API standard, and what it says of itself."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from ..base.errors import ArgumentError
from ..ir.dtype import ALL, DEFAULT_COMPLEX, DEFAULT_FLOAT, DEFAULT_INT, DType
from .dtypes import check_device, isdtype

API_VERSION = "2025.12"
_ANSWERED = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")
_OUTSIDE_THE_STANDARD = ("bfloat16", "float16")


def namespace(version: str | None) -> ModuleType:
    """The module `weft`, for any version of the standard that it answers to."""
    if version is not None and version not in _ANSWERED:
        raise ArgumentError(
            f"the array API standard of {version!r} is not supported; the newest one is {API_VERSION}"
        )
    return sys.modules[__package__.split(".")[0]]  # type: ignore[union-attr]


class NamespaceInfo:
    """What the namespace can do: `weft.__array_namespace_info__()`."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean masks and data-dependent shapes work (they compute what is pending); up to 64 dimensions."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The device on which tensors are made."""
        return "cpu"

    def devices(self) -> tuple[str, ...]:
        """All devices of this machine."""
        return ("cpu",)

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The types that Python numbers and creation functions have by default."""
        check_device(device)
        return {
            "real floating": DEFAULT_FLOAT,
            "complex floating": DEFAULT_COMPLEX,
            "integral": DEFAULT_INT,
            "indexing": DEFAULT_INT,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The dtypes of the standard by name, all or those of one `kind` (see `isdtype`)."""
        check_device(device)
        found = {d.name: d for d in ALL if d.name not in _OUTSIDE_THE_STANDARD}
        return found if kind is None else {n: d for n, d in found.items() if isdtype(d, kind)}


def __array_namespace_info__() -> NamespaceInfo:
    """What the namespace can do, as the array API standard asks."""
    return NamespaceInfo()
