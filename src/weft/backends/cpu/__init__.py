"""The CPU backend: kernels as LLVM IR, compiled in the process through llvmlite.

It is the default. A program that holds a primitive without code, and without a reason for having none, raises.
"""

from . import registration  # noqa: F401  (the backend registers itself)
