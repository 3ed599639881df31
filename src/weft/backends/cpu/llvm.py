"""LLVM, loaded when it is first needed: a process that finds all its kernels on disk does without."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...base.locks import hold_across_forks


@cache
def llvm() -> Any:
    """The module `llvmlite.binding`, ready to make code for this machine."""
    import llvmlite.binding as binding

    guard = getattr(getattr(binding.ffi.lib, "_lock", None), "_lock", None)
    if guard is not None:  # LLVM works under one lock of llvmlite's
        hold_across_forks(guard, rank=30)
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding
