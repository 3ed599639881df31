"""The CPU backend: kernels as LLVM IR, compiled in the process through llvmlite.

It is young: `WEFT_BACKEND=cpu` selects it, and a program that holds a primitive it has no code for raises.
"""

from . import registration  # noqa: F401  (the backend registers itself)
