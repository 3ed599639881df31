"""What code is generated for: vector width, registers, and which instructions there are."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.errors import ArgumentError, nearest

#: Lines so many bytes apart share a place of the first-level cache.
WAY = 4096


@dataclass(frozen=True)
class Target:
    """An instruction set, as far as schedules and emitters need to know it."""

    name: str
    vector_bytes: int
    registers: int  #: vector registers
    fma: bool
    cpu: str  #: the code generator's name of the processor
    features: str  #: and its feature string
    triple: str = "x86_64-unknown-linux-gnu"  #: architecture, and system if this machine has another one
    half: bool = True  #: whether it converts between float16 and float32
    dots: bool = False  #: whether it adds four products of bytes to a sum at once
    matrices: bool = False  #: whether it has registers that are matrices, and multiplies those of bfloat16
    #: Whether it adds two products of bfloat16 to a sum at once, and takes no longer than for one of float32.
    pairs: bool = False
    #: Arrays, read and written side by side, up to which it reads quicker if lines are fetched ahead for it.
    fetches: int = 1 << 30
    fetches_to: int = 2  #: the level of the cache that they had better be brought to

    @property
    def wide(self) -> bool:
        """Whether it makes products of bfloat16 by itself, quicker than those of float32."""
        return self.matrices or self.pairs

    @property
    def picks(self) -> bool:
        """Whether an instruction picks numbers, one for each lane, out of two registers: with AVX-512."""
        return self.vector_bytes == 64

    def lanes(self, itemsize: int) -> int:
        """Elements of `itemsize` bytes in one vector."""
        return max(self.vector_bytes // itemsize, 1)


#: The x86-64 levels, by the names that compilers use, and AArch64.
LEVELS = {
    "x86-64-v2": Target("x86-64-v2", 16, 16, False, "x86-64-v2", "", half=False),
    "x86-64-v3": Target("x86-64-v3", 32, 16, True, "x86-64-v3", ""),
    "x86-64-v4": Target("x86-64-v4", 64, 32, True, "x86-64-v4", "-prefer-256-bit"),
    "aarch64": Target("aarch64", 16, 32, True, "generic", "+neon", "aarch64-unknown-linux-gnu"),
}


def named_target(name: str) -> Target:
    """The target called `name`, for `WEFT_CPU`."""
    if name not in LEVELS:
        raise ArgumentError(f"WEFT_CPU={name!r} is not a known target. {nearest(name, LEVELS)}")
    return LEVELS[name]
