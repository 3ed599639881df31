"""Floor 2: the primitives, node-level operators over them, and the composites.

Importing this package declares every primitive; importing it twice declares nothing.
"""

from . import (  # noqa: F401  (declaration is the purpose)
    arithmetic,
    bits,
    comparison,
    complex,
    contraction,
    control,
    conv,
    cumulative,
    dynamic,
    elementwise,
    factorization,
    fft,
    gamma,
    gather,
    indexing,
    linalg,
    loops,
    movement,
    operators,
    random,
    rearrange,
    reduce,
    resample,
    rounding,
    selection,
    sorting,
    special,
    statistics,
    transcendental,
    window,
)
