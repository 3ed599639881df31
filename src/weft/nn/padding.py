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
    """A number before and after the last axis: [a b c] with widths (1, 2) and value v becomes [v a b c v v].

    Args:
        padding: one width for both ends, or (before, after); negative ones take elements away.
        value: the number.

    Shapes: (..., L) to (..., before + L + after).
    """

    _rank = 1


class ConstantPad2d(_ConstantPad):
    """A number around images.

    Args:
        padding: one width for all sides, or (left, right, top, bottom); negative ones take elements away.
        value: the number.

    Shapes: (..., H, W) to (..., top + H + bottom, left + W + right).
    """

    _rank = 2


class ConstantPad3d(_ConstantPad):
    """A number around volumes.

    Args:
        padding: one width for all sides, or (left, right, top, bottom, front, back); negative ones take elements away.
        value: the number.

    Shapes: (..., D, H, W) to (..., front + D + back, top + H + bottom, left + W + right).
    """

    _rank = 3


class ZeroPad1d(_Pad):
    """Zeros before and after the last axis: `ConstantPad1d` with the value 0, and its `padding`.

    Shapes: (..., L) to (..., before + L + after).
    """

    _rank = 1


class ZeroPad2d(_Pad):
    """Zeros around images: `ConstantPad2d` with the value 0, and its `padding`.

    Shapes: (..., H, W) to (..., top + H + bottom, left + W + right).
    """

    _rank = 2


class ZeroPad3d(_Pad):
    """Zeros around volumes: `ConstantPad3d` with the value 0, and its `padding`.

    Shapes: (..., D, H, W) to (..., front + D + back, top + H + bottom, left + W + right).
    """

    _rank = 3


class _ReflectionPad(_Pad):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """Sequences mirrored at their ends, whose elements are not repeated: [a b c] with width 2 becomes [c b a b c b a].

    Args:
        padding: one width for both ends, or (before, after), less than L each.

    Shapes: (..., L) to (..., before + L + after). Raises: ShapeError when called, for wider padding.
    """

    _rank = 1


class ReflectionPad2d(_ReflectionPad):
    """Images mirrored at their borders, whose elements are not repeated; along each axis as `ReflectionPad1d`.

    Args:
        padding: one width for all sides, or (left, right, top, bottom), less than the image each.

    Shapes: (..., H, W) to (..., top + H + bottom, left + W + right).
    """

    _rank = 2


class ReflectionPad3d(_ReflectionPad):
    """Volumes mirrored at their borders, whose elements are not repeated; along each axis as `ReflectionPad1d`.

    Args:
        padding: one width for all sides, or (left, right, top, bottom, front, back), less than the volume each.

    Shapes: (..., D, H, W) to (..., front + D + back, top + H + bottom, left + W + right).
    """

    _rank = 3


class _ReplicationPad(_Pad):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """The elements at both ends of sequences repeated: [a b c] with width 2 becomes [a a a b c c c].

    Args:
        padding: one width for both ends, or (before, after).

    Shapes: (..., L) to (..., before + L + after).
    """

    _rank = 1


class ReplicationPad2d(_ReplicationPad):
    """The elements at the borders of images repeated; along each axis as `ReplicationPad1d`.

    Args:
        padding: one width for all sides, or (left, right, top, bottom).

    Shapes: (..., H, W) to (..., top + H + bottom, left + W + right).
    """

    _rank = 2


class ReplicationPad3d(_ReplicationPad):
    """The elements at the borders of volumes repeated; along each axis as `ReplicationPad1d`.

    Args:
        padding: one width for all sides, or (left, right, top, bottom, front, back).

    Shapes: (..., D, H, W) to (..., front + D + back, top + H + bottom, left + W + right).
    """

    _rank = 3


class _CircularPad(_Pad):
    _mode = "circular"


class CircularPad1d(_CircularPad):
    """Sequences that go on with their other end: [a b c] with width 2 becomes [b c a b c a b].

    Args:
        padding: one width for both ends, or (before, after), at most L each.

    Shapes: (..., L) to (..., before + L + after). Raises: ShapeError when called, for wider padding.
    """

    _rank = 1


class CircularPad2d(_CircularPad):
    """Images that go on with their other side; along each axis as `CircularPad1d`.

    Args:
        padding: one width for all sides, or (left, right, top, bottom), at most the image each.

    Shapes: (..., H, W) to (..., top + H + bottom, left + W + right).
    """

    _rank = 2


class CircularPad3d(_CircularPad):
    """Volumes that go on with their other side; along each axis as `CircularPad1d`.

    Args:
        padding: one width for all sides, or (left, right, top, bottom, front, back), at most the volume each.

    Shapes: (..., D, H, W) to (..., front + D + back, top + H + bottom, left + W + right).
    """

    _rank = 3
