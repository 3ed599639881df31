"""Random bits as instructions: Philox4x32 with ten rounds, for each element its word of its block.

A block of four words of 32 bits is a function of a counter and of a key, the seed, and of nothing else: so elements
can be made in any order, by any thread. A round multiplies two of the words with constants, and what the two products
of 64 bits have in their halves, with the other words and the key, is the next block; the key goes on by odd constants.
The counter has 64 bits here; the upper two words of it are 0.

J. Salmon, M. Moraes, R. Dror and D. Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011); the reference is the body
of the primitive `random_bits`.
"""

from __future__ import annotations

from ...ir.dtype import DType
from . import instructions as ir
from .build import I32, Build, like
from .scalar import operation

#: Multipliers of a round, which were found by search.
_MULTIPLY = (0xD2511F53, 0xCD9E8D57)

#: What is added to the key after a round: the golden ratio less 1, and the square root of 3 less 1, times 2**32.
_WEYL = (0x9E3779B9, 0xBB67AE85)

_ROUNDS = 10


def _words(build: Build, seed: ir.Value, start: ir.Value, block: ir.Value) -> list[ir.Value]:
    """The four words of a block, each in the lower half of 64 bits."""
    b = build.b

    def const(x: int) -> ir.Value:
        return build.const(x, seed.type)

    low, half = const(0xFFFFFFFF), const(32)
    counter = b.add(start, block)
    c = [b.and_(counter, low), b.lshr(counter, half), const(0), const(0)]
    k = [b.and_(seed, low), b.lshr(seed, half)]
    for _ in range(_ROUNDS):
        p, q = b.mul(c[0], const(_MULTIPLY[0])), b.mul(c[2], const(_MULTIPLY[1]))
        c = [
            b.xor(b.xor(b.lshr(q, half), c[1]), k[0]),
            b.and_(q, low),
            b.xor(b.xor(b.lshr(p, half), c[3]), k[1]),
            b.and_(p, low),
        ]
        k = [b.and_(b.add(x, const(w)), low) for x, w in zip(k, _WEYL, strict=True)]
    return c


@operation("philox32")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    """Word number `word` of 0 to 3."""
    seed, start, block, word = args
    words = _words(build, seed, start, block)
    value = words[3]
    for i in (2, 1, 0):
        here = build.b.icmp_unsigned("==", word, build.const(i, word.type))
        value = build.b.select(here, words[i], value)
    lanes = seed.lanes
    return build.b.trunc(value, like(I32, lanes))


@operation("philox64")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    """Words 0 and 1, or 2 and 3, as one number of 64 bits, the lower half first."""
    seed, start, block, word = args
    words = _words(build, seed, start, block)
    half = build.const(32, seed.type)
    first, second = (build.b.or_(words[i], build.b.shl(words[i + 1], half)) for i in (0, 2))
    return build.b.select(build.b.icmp_unsigned("==", word, build.const(0, word.type)), first, second)
