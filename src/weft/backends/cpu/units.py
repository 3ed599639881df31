"""Into how many units, that may run in any order, the work of any kernel is cut, and the memory that each needs."""

from __future__ import annotations

from typing import Any

from ...kernel.memory import aligned
from ...kernel.sorting import Sort
from ...kernel.target import Target
from ...kernel.tiles import Tiles
from ...kernel.winograd import Winograd
from ...kernel.winograd_gradient import Sums
from . import loop_units, tile_units

#: Units of a step, at most: the pool counts them in 32 bits, of which the last number says that there are none.
MOST = 2**32 - 2


def units(kernel: Any, target: Target) -> int:
    """How many there are."""
    if isinstance(kernel, Sort):
        return kernel.iterations
    if isinstance(kernel, (Winograd, Sums)):
        return kernel.units
    return tile_units.units(kernel, target) if isinstance(kernel, Tiles) else loop_units.units(kernel, target)


def units_together(kernel: Any, target: Target) -> int:
    """How many that follow one another are less work if one thread does them, one after the other."""
    return tile_units.run_length(kernel, target) if isinstance(kernel, Tiles) else 1


def scratch_bytes(kernel: Any, target: Target) -> int:
    """The scratch memory that a thread needs for a kernel."""
    if isinstance(kernel, Sort):
        return kernel.scratch(target)
    if isinstance(kernel, (Winograd, Sums)):  # what lies between its steps, and what the products take
        first, second, third = kernel.sizes
        between = (first, third) if isinstance(kernel, Winograd) else (first, second)
        return sum([aligned(4 * size) for size in between]) + tile_units.scratch_bytes(
            kernel.products, target
        )
    return (
        tile_units.scratch_bytes(kernel, target)
        if isinstance(kernel, Tiles)
        else loop_units.scratch_bytes(kernel)
    )
