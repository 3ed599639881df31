"""The constants of the array API standard, as Python numbers."""

import math

e: float = math.e
inf: float = math.inf
nan: float = math.nan
pi: float = math.pi
newaxis = None
