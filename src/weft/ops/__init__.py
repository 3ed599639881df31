"""Floor 2: the primitives, node-level operators over them, and the composites.

Importing this package declares every primitive; importing it twice declares nothing.
"""

from . import (  # noqa: F401  (declaration is the purpose)
    contraction,
    control,
    conv,
    elementwise,
    movement,
    operators,
    random,
    reduce,
    window,
)
