"""Padding layers. Widths are one integer for all sides, or (left, right), (.., top, bottom), (.., front, back)."""

from __future__ import annotations

from collections.abc import Sequence

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from . import functional as F
from .module import Module


class _Pad(Module):
    _rank = 0
    _mode = "constant"
    value: float | None = None

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        widths = (padding,) * (2 * self._rank) if isinstance(padding, int) else tuple(padding)
        if len(widths) != 2 * self._rank:
            raise ArgumentError(
                f"{type(self).__name__}: padding needs one integer or {2 * self._rank} of them, got {padding!r}"
            )
        self.padding = widths

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """A number before and after the last axis."""

    _rank = 1


class ConstantPad2d(_ConstantPad):
    """A number around the last two axes."""

    _rank = 2


class ConstantPad3d(_ConstantPad):
    """A number around the last three axes."""

    _rank = 3


class ZeroPad1d(_Pad):
    """Zeros before and after the last axis."""

    _rank = 1


class ZeroPad2d(_Pad):
    """Zeros around the last two axes."""

    _rank = 2


class ZeroPad3d(_Pad):
    """Zeros around the last three axes."""

    _rank = 3


class _ReflectionPad(_Pad):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """The last axis mirrored at its ends, whose elements are not repeated."""

    _rank = 1


class ReflectionPad2d(_ReflectionPad):
    """The last two axes mirrored at their ends, whose elements are not repeated."""

    _rank = 2


class ReflectionPad3d(_ReflectionPad):
    """The last three axes mirrored at their ends, whose elements are not repeated."""

    _rank = 3


class _ReplicationPad(_Pad):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """The elements at both ends of the last axis repeated."""

    _rank = 1


class ReplicationPad2d(_ReplicationPad):
    """The elements at the border of the last two axes repeated."""

    _rank = 2


class ReplicationPad3d(_ReplicationPad):
    """The elements at the border of the last three axes repeated."""

    _rank = 3


class _CircularPad(_Pad):
    _mode = "circular"


class CircularPad1d(_CircularPad):
    """The last axis goes on with its other end."""

    _rank = 1


class CircularPad2d(_CircularPad):
    """The last two axes go on with their other ends."""

    _rank = 2


class CircularPad3d(_CircularPad):
    """The last three axes go on with their other ends."""

    _rank = 3
