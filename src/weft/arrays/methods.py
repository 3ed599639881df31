"""The methods of tensors: the namespace's functions in the spelling of methods.

Where NumPy's and PyTorch's methods agree, so does the one here; `axis` and `keepdims` are the array API standard's
words. `axis` may be given by position.
"""

# pyright: reportGeneralTypeIssues=false
# `self` is annotated as the one class that these methods end up in.

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from ..base.errors import ArgumentError, ShapeError
from ..ir import dtype as d
from ..ir.shape import show_shape
from . import dtypes, elementwise, manipulation, reductions, searching
from .cell import Handle
from .interop import numpy_function
from .remembered import remembered

if TYPE_CHECKING:
    from .tensor import Tensor

Axis = int | tuple[int, ...] | None


def _spread(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sizes or axes given one by one, or as one tuple or list."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], (tuple, list)) else values


def _as(x: Tensor, dtype: d.DType) -> Tensor:
    """The tensor as another data type; itself where it has it."""
    return x if x._cell.node.dtype is dtype else dtypes.astype(x, dtype)


class Methods(Handle):
    """What a tensor does by method. Abstract: `Tensor` is the one class of tensors."""

    __slots__ = ()

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return numpy_function(function, types, args, kwargs)

    # -- types and devices ----------------------------------------------------------------------------------

    def astype(self: Tensor, dtype: Any, /, *, copy: Any = True) -> Tensor:
        """The tensor as another data type; see `weft.astype`."""
        return dtypes.astype(self, dtype, copy=copy)

    def to(self: Tensor, *args: Any, dtype: Any = None, device: Any = None, copy: Any = False) -> Tensor:
        """The tensor with another dtype, on a device, or both: `x.to(weft.float64)`, `x.to("cpu")`.

        It is the tensor itself if nothing changes, unless `copy` is set.
        """
        for a in args:
            if isinstance(a, str) and a.partition(":")[0] in ("cpu", "cuda", "mps", "gpu", "tpu"):
                device = a
            elif isinstance(a, Handle):
                dtype = a._cell.node.dtype
            else:
                dtype = a
        dtypes.check_device(device)
        return dtypes.astype(self, self.dtype if dtype is None else dtype, copy=copy)

    def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
        """The tensor on another device; there is only "cpu"."""
        dtypes.check_device(device)
        if stream is not None:
            raise ArgumentError(f"a tensor on the CPU has no streams, got stream={stream!r}")
        return self

    def cpu(self: Tensor) -> Tensor:
        """The tensor itself: it is on the CPU."""
        return self

    def float(self: Tensor) -> Tensor:
        """As float32."""
        return _as(self, d.float32)

    def double(self: Tensor) -> Tensor:
        """As float64."""
        return _as(self, d.float64)

    def half(self: Tensor) -> Tensor:
        """As float16."""
        return _as(self, d.float16)

    def bfloat16(self: Tensor) -> Tensor:
        """As bfloat16."""
        return _as(self, d.bfloat16)

    def int(self: Tensor) -> Tensor:
        """As int32."""
        return _as(self, d.int32)

    def long(self: Tensor) -> Tensor:
        """As int64."""
        return _as(self, d.int64)

    def bool(self: Tensor) -> Tensor:
        """As booleans: True where the element is not zero."""
        return _as(self, d.bool_)

    def clone(self: Tensor) -> Tensor:
        """Another tensor of the same value; gradients flow through."""
        return elementwise.positive(self) if self.dtype.kind != "b" else dtypes.astype(self, self.dtype)

    copy = clone

    # -- shape ----------------------------------------------------------------------------------------------

    @property
    @remembered
    def T(self: Tensor) -> Tensor:
        """The transpose of a matrix."""
        if self.ndim != 2:
            raise ShapeError(
                f".T is the transpose of a matrix; this tensor has shape {show_shape(self.shape)}. Use .mT for the "
                "last two axes of a stack, permute_dims for any order"
            )
        return manipulation.permute_dims(self, (1, 0))

    @property
    @remembered
    def mT(self: Tensor) -> Tensor:
        """The transpose of each matrix of a stack: the last two axes swapped."""
        return manipulation.matrix_transpose(self)

    @property
    def H(self: Tensor) -> Tensor:
        """The conjugate transpose of a matrix."""
        return elementwise.conj(self.T)

    @property
    def real(self: Tensor) -> Tensor:
        """The real part."""
        return elementwise.real(self)

    @property
    def imag(self: Tensor) -> Tensor:
        """The imaginary part."""
        return elementwise.imag(self)

    def dim(self: Tensor) -> Any:
        """The number of dimensions."""
        return self.ndim

    def numel(self: Tensor) -> Any:
        """The number of elements."""
        return self.size

    @remembered
    def reshape(self: Tensor, *shape: Any) -> Tensor:
        """The same elements in another shape, one size of which may be -1: `x.reshape(2, -1)`, `x.reshape((2, -1))`."""
        return manipulation.reshape(self, _spread(shape))

    @remembered
    def flatten(self: Tensor, start: Any = 0, end: Any = -1) -> Tensor:
        """Axes `start` to `end` (included) merged into one."""
        return manipulation.flatten(self, start, end)

    @remembered
    def ravel(self: Tensor) -> Tensor:
        """All elements in one dimension."""
        return manipulation.reshape(self, (-1,))

    @remembered
    def permute(self: Tensor, *axes: Any) -> Tensor:
        """Axes in another order."""
        return manipulation.permute_dims(self, _spread(axes))

    @remembered
    def transpose(self: Tensor, *axes: Any) -> Tensor:
        """Two axes swapped, `x.transpose(0, 1)`; without arguments all axes reversed; with a tuple, in that order."""
        if not axes or axes == (None,):
            return manipulation.permute_dims(self, tuple(range(self.ndim))[::-1])
        if len(axes) == 2:
            return manipulation.swapaxes(self, *axes)
        return manipulation.permute_dims(self, _spread(axes))

    @remembered
    def swapaxes(self: Tensor, axis1: Any, axis2: Any, /) -> Tensor:
        """Two axes swapped."""
        return manipulation.swapaxes(self, axis1, axis2)

    @remembered
    def squeeze(self: Tensor, axis: Axis = None) -> Tensor:
        """Without the given axes of size 1, or without all of them."""
        return manipulation.squeeze(self, axis)

    @remembered
    def unsqueeze(self: Tensor, axis: Any) -> Tensor:
        """With a new axis of size 1 at `axis`."""
        return manipulation.expand_dims(self, axis)

    @remembered
    def broadcast_to(self: Tensor, *shape: Any) -> Tensor:
        """Broadcast to a shape."""
        return manipulation.broadcast_to(self, _spread(shape))

    @remembered
    def expand(self: Tensor, *shape: Any) -> Tensor:
        """Broadcast to a shape in which -1 keeps a size."""
        return manipulation.expand(self, _spread(shape))

    def repeat(self: Tensor, repeats: Any, /, *, axis: Any = None) -> Tensor:
        """Every element repeated, as NumPy's `repeat` does; see `weft.tile` for repeating the whole."""
        return manipulation.repeat(self, repeats, axis=axis)

    @remembered
    def flip(self: Tensor, axis: Axis = None) -> Tensor:
        """In reverse order along axes (all of them for None)."""
        return manipulation.flip(self, axis=axis)

    def roll(self: Tensor, shift: Any, axis: Axis = None) -> Tensor:
        """Shifted along axes, with what falls off coming in again."""
        return manipulation.roll(self, shift, axis=axis)

    # -- reductions -----------------------------------------------------------------------------------------

    @remembered
    def sum(self: Tensor, axis: Axis = None, *, dtype: Any = None, keepdims: Any = False) -> Tensor:
        """The sum over axes; see `weft.sum`."""
        return reductions.sum(self, axis=axis, dtype=dtype, keepdims=keepdims)

    @remembered
    def prod(self: Tensor, axis: Axis = None, *, dtype: Any = None, keepdims: Any = False) -> Tensor:
        """The product over axes; see `weft.prod`."""
        return reductions.prod(self, axis=axis, dtype=dtype, keepdims=keepdims)

    @remembered
    def mean(self: Tensor, axis: Axis = None, *, keepdims: Any = False) -> Tensor:
        """The mean over axes; see `weft.mean`."""
        return reductions.mean(self, axis=axis, keepdims=keepdims)

    @remembered
    def var(self: Tensor, axis: Axis = None, *, correction: Any = 0.0, keepdims: Any = False) -> Tensor:
        """The variance over axes; see `weft.var`."""
        return reductions.var(self, axis=axis, correction=correction, keepdims=keepdims)

    @remembered
    def std(self: Tensor, axis: Axis = None, *, correction: Any = 0.0, keepdims: Any = False) -> Tensor:
        """The standard deviation over axes; see `weft.std`."""
        return reductions.std(self, axis=axis, correction=correction, keepdims=keepdims)

    @remembered
    def max(self: Tensor, axis: Axis = None, *, keepdims: Any = False) -> Tensor:
        """The largest element over axes; see `weft.max`."""
        return reductions.max(self, axis=axis, keepdims=keepdims)

    @remembered
    def min(self: Tensor, axis: Axis = None, *, keepdims: Any = False) -> Tensor:
        """The smallest element over axes; see `weft.min`."""
        return reductions.min(self, axis=axis, keepdims=keepdims)

    @remembered
    def all(self: Tensor, axis: Axis = None, *, keepdims: Any = False) -> Tensor:
        """Whether all elements over axes are not zero."""
        return reductions.all(self, axis=axis, keepdims=keepdims)

    @remembered
    def any(self: Tensor, axis: Axis = None, *, keepdims: Any = False) -> Tensor:
        """Whether any element over axes is not zero."""
        return reductions.any(self, axis=axis, keepdims=keepdims)

    @remembered
    def argmax(self: Tensor, axis: Any = None, *, keepdims: Any = False) -> Tensor:
        """The position of the largest element along an axis; see `weft.argmax`."""
        return searching.argmax(self, axis=axis, keepdims=keepdims)

    @remembered
    def argmin(self: Tensor, axis: Any = None, *, keepdims: Any = False) -> Tensor:
        """The position of the smallest element along an axis; see `weft.argmin`."""
        return searching.argmin(self, axis=axis, keepdims=keepdims)

    @remembered
    def argsort(self: Tensor, axis: Any = -1, *, descending: Any = False, stable: Any = True) -> Tensor:
        """The order of the elements along an axis; see `weft.argsort`."""
        return searching.argsort(self, axis=axis, descending=descending, stable=stable)

    @remembered
    def cumsum(self: Tensor, axis: Any = None) -> Tensor:
        """Running sums along an axis; see `weft.cumulative_sum`."""
        return reductions.cumulative_sum(self, axis=axis)

    @remembered
    def cumprod(self: Tensor, axis: Any = None) -> Tensor:
        """Running products along an axis; see `weft.cumulative_prod`."""
        return reductions.cumulative_prod(self, axis=axis)

    def nonzero(self: Tensor) -> tuple[Tensor, ...]:
        """The positions of the elements that are not zero, one tensor per axis."""
        return searching.nonzero(self)

    # -- elementwise ----------------------------------------------------------------------------------------

    def abs(self: Tensor) -> Tensor:
        """The absolute value."""
        return elementwise.abs(self)

    def exp(self: Tensor) -> Tensor:
        """e to the power of each element."""
        return elementwise.exp(self)

    def log(self: Tensor) -> Tensor:
        """The natural logarithm."""
        return elementwise.log(self)

    def sqrt(self: Tensor) -> Tensor:
        """The square root."""
        return elementwise.sqrt(self)

    def square(self: Tensor) -> Tensor:
        """Each element times itself."""
        return elementwise.square(self)

    def sin(self: Tensor) -> Tensor:
        """The sine."""
        return elementwise.sin(self)

    def cos(self: Tensor) -> Tensor:
        """The cosine."""
        return elementwise.cos(self)

    def tanh(self: Tensor) -> Tensor:
        """The hyperbolic tangent."""
        return elementwise.tanh(self)

    def round(self: Tensor) -> Tensor:
        """The nearest whole number, halves to even."""
        return elementwise.round(self)

    def pow(self: Tensor, exponent: Any, /) -> Tensor:
        """Each element to a power."""
        return elementwise.pow(self, exponent)

    def clip(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
        """Each element kept between two bounds."""
        return elementwise.clip(self, min, max)

    clamp = clip

    def conj(self: Tensor) -> Tensor:
        """The complex conjugate."""
        return elementwise.conj(self)


for _method in vars(Methods).values():
    if callable(_method):  # errors and help() call a method by the class that users know
        _method.__qualname__ = inspect.unwrap(_method).__qualname__ = f"Tensor.{_method.__name__}"
