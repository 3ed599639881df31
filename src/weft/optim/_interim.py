"""The square root, until it is among the primitives of `ops`."""

import numpy as np

from ..ir.primitive import registry
from ..ops.define import elementwise, unary

if "sqrt" in registry:
    sqrt = registry["sqrt"]  # type: ignore[assignment]
else:

    @elementwise("fc", samples=unary(0.1, 3.0, complex=True))
    def sqrt(x):
        """The non-negative square root; NaN for negative real operands."""
        return np.sqrt(x)

    @sqrt.partials
    def _(out, x):
        return (0.5 / out,)
