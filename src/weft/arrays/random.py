"""Random tensors of many distributions.

Every draw takes `generator=`, a `Generator`, or uses the default one, which `manual_seed` seeds. Parameters may be
tensors, to which gradients flow where the number drawn is a smooth function of them; `shape=None` stands for the shape
that they broadcast to. A draw is lazy like any operation, and compiled functions take the generator's state along.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..base.checked import checked
from ..base.errors import ArgumentError, DTypeError, IndexingError, ShapeError
from ..ir.dtype import DEFAULT_FLOAT, DEFAULT_INT, DType, float32, int64, uint64
from ..ir.dtype import dtype as as_dtype
from ..ir.node import Node
from ..ir.shape import Shape, Size, broadcast_shapes, check_shape, normalize_axis, show_shape
from ..ops.composite import distributions as d
from ..ops.composite.define import Composite
from ..ops.elementwise import cast, log
from ..ops.indexing import iota, take
from ..ops.movement import reshape, slice_axis
from ..ops.random import blocks, random_bits
from . import dispatch
from .cell import Handle
from .creation import shape_and_dtype
from .generator import Generator, checked_generator, default_generator, manual_seed, seed
from .tensor import Tensor

Number = Any  #: a Python number or a tensor


# -- bits ---------------------------------------------------------------------------------------------------------


@checked
def bits(shape: Any = (), width: int = 32, *, generator: Generator | None = None) -> Tensor:
    """Random bits: uint32 or, with `width=64`, uint64 numbers, every value equally likely."""
    size = check_shape(shape)
    if width not in (32, 64):
        raise ArgumentError(f"width must be 32 or 64, got {width!r}")
    state = checked_generator(generator).draw_state(blocks(size, width))
    return Tensor(random_bits(state, shape=size, bits=width))


def _draw(
    composite: Composite,
    generator: Generator | None,
    advance_by: Size,
    parameters: Sequence[Node | None],
    **attrs: Any,
) -> Tensor:
    state = checked_generator(generator).draw_state(advance_by)
    return dispatch.wrap(dispatch.apply_nodes(composite, (state, *parameters), composite.attrs(attrs)))


def _floating(dtype: Any, *parameters: Number) -> DType:
    """The dtype asked for, or that of the tensors among the parameters, or the default."""
    if dtype is not None:
        found = as_dtype(dtype)
    else:
        tensors = [p for p in parameters if isinstance(p, Handle)]
        found = dispatch.result_dtype(tuple(tensors)) if tensors else DEFAULT_FLOAT
        if not found.inexact:
            found = DEFAULT_FLOAT
    d.bits_for(found)
    return found


def _shape(shape: Any, *parameters: Number) -> Shape:
    """The shape asked for, to which the parameters must broadcast; None: theirs."""
    given = [p._cell.node.shape for p in parameters if isinstance(p, Handle)]
    if shape is None:
        return broadcast_shapes((), *given)
    size = check_shape(shape)
    for g in given:
        if broadcast_shapes(size, g) != size:
            raise ShapeError(f"a parameter of shape {show_shape(g)} does not broadcast to {show_shape(size)}")
    return size


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ArgumentError(message)


def _known(*values: Number) -> bool:
    """Whether the parameters are Python numbers, whose values can be checked."""
    return all(dispatch.is_number(v) for v in values)


# -- continuous ---------------------------------------------------------------------------------------------------


@checked
def uniform(
    shape: Any = None,
    low: Number = 0.0,
    high: Number = 1.0,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers in [low, high), all equally likely.

    >>> weft.random.uniform((2, 3), -1.0, 1.0).shape
    (2, 3)
    """
    if _known(low, high):
        _require(low <= high, f"uniform needs low <= high, got {low!r} and {high!r}")
    size, kind = _shape(shape, low, high), _floating(dtype, low, high)
    plain = _known(low, high) and low == 0 and high == 1
    ends = (None, None) if plain else (dispatch.as_dtype(low, kind), dispatch.as_dtype(high, kind))
    return _draw(d.random_uniform, generator, blocks(size, d.bits_for(kind)), ends, shape=size, dtype=kind)


@checked
def normal(
    shape: Any = None,
    mean: Number = 0.0,
    std: Number = 1.0,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Normally distributed numbers of the given mean and standard deviation (method of Box and Muller)."""
    if _known(std):
        _require(std >= 0, f"normal needs std >= 0, got {std!r}")
    size, kind = _shape(shape, mean, std), _floating(dtype, mean, std)
    location = None if _known(mean) and mean == 0 else dispatch.as_dtype(mean, kind)
    scale = None if _known(std) and std == 1 else dispatch.as_dtype(std, kind)
    count = d.normal_blocks(size, d.bits_for(kind))
    return _draw(d.random_normal, generator, count, (location, scale), shape=size, dtype=kind)


@checked
def truncated_normal(
    shape: Any = None,
    mean: Number = 0.0,
    std: Number = 1.0,
    low: Number = -2.0,
    high: Number = 2.0,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Normally distributed numbers, those outside [low, high] left out."""
    if _known(std):
        _require(std > 0, f"truncated_normal needs std > 0, got {std!r}")
    if _known(low, high):
        _require(low < high, f"truncated_normal needs low < high, got {low!r} and {high!r}")
    numbers = (mean, std, low, high)
    size, kind = _shape(shape, *numbers), _floating(dtype, *numbers)
    given = [dispatch.as_dtype(v, kind) for v in numbers]
    return _draw(
        d.random_truncated_normal, generator, blocks(size, d.bits_for(kind)), given, shape=size, dtype=kind
    )


@checked
def exponential(
    shape: Any = None, rate: Number = 1.0, *, dtype: Any = None, generator: Generator | None = None
) -> Tensor:
    """Waiting times of events that happen `rate` times per unit: density rate * exp(-rate * x) for x >= 0."""
    if _known(rate):
        _require(rate > 0, f"exponential needs rate > 0, got {rate!r}")
    size, kind = _shape(shape, rate), _floating(dtype, rate)
    scale = None if _known(rate) and rate == 1 else dispatch.as_dtype(rate, kind)
    return _draw(
        d.random_exponential, generator, blocks(size, d.bits_for(kind)), (scale,), shape=size, dtype=kind
    )


@checked
def gumbel(
    shape: Any = None,
    loc: Number = 0.0,
    scale: Number = 1.0,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Gumbel-distributed numbers loc - scale * log(-log(u)): the limit law of maxima."""
    size, kind = _shape(shape, loc, scale), _floating(dtype, loc, scale)
    given = (
        None if _known(loc) and loc == 0 else dispatch.as_dtype(loc, kind),
        None if _known(scale) and scale == 1 else dispatch.as_dtype(scale, kind),
    )
    return _draw(d.random_gumbel, generator, blocks(size, d.bits_for(kind)), given, shape=size, dtype=kind)


# -- discrete -----------------------------------------------------------------------------------------------------


@checked
def bernoulli(
    p: Number = 0.5, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None
) -> Tensor:
    """True with probability p, else False; with a `dtype`, 1 and 0 of that type."""
    if _known(p):
        _require(0 <= p <= 1, f"a probability is between 0 and 1, got {p!r}")
    size = _shape(shape, p)
    given = dispatch.as_dtype(p, float32)
    out = _draw(d.random_bernoulli, generator, blocks(size, 32), (given,), shape=size)
    return out if dtype is None else Tensor(cast(out._node, dtype=as_dtype(dtype)))


@checked
def integers(
    low: Number,
    high: Number = None,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Integers from low up to, not including, high, all equally likely; of one number, from 0 up to it.

    >>> weft.random.integers(10, shape=(2, 2)).dtype
    weft.int64
    """
    if high is None:
        low, high = 0, low
    kind = DEFAULT_INT if dtype is None else as_dtype(dtype)
    if kind.kind not in "ui":
        raise DTypeError(f"integers are drawn in an integer dtype, got {kind}")
    first, span = _integer_range(low, high, kind)
    size = _shape(shape, low, high)
    return _draw(d.random_integers, generator, blocks(size, 64), (first, span), shape=size, dtype=kind)


def _integer_range(low: Number, high: Number, kind: DType) -> tuple[Node, Node]:
    """low and high - low, modulo 2**64."""
    if not _known(low, high):
        first, last = (_modulo(v) for v in (low, high))
        return first, last - first  # type: ignore[operator]
    for v in (low, high):
        _require(int(v) == v, f"the ends of a range of integers are integers, got {v!r}")
    low, high = int(low), int(high)
    _require(low < high, f"there is no integer from {low} up to, not including, {high}")
    bottom = 0 if kind.kind == "u" else -(1 << (kind.bits - 1))
    top = bottom + (1 << kind.bits)
    _require(
        bottom <= low and high <= top,
        f"integers from {low} up to {high} do not fit {kind} ({bottom} to {top - 1})",
    )
    whole = 1 << 64
    return dispatch.number_leaf(low % whole, uint64), dispatch.number_leaf((high - low) % whole, uint64)


def _modulo(v: Number) -> Node:
    if dispatch.is_number(v):
        return dispatch.number_leaf(int(v) % (1 << 64), uint64)
    node = dispatch.node_of(v)
    if node.dtype.kind not in "ui":
        raise DTypeError(f"the ends of a range of integers are integers, got {node.aval.describe()}")
    return cast(node, dtype=uint64)


@checked
def categorical(
    logits: Tensor, shape: Any = (), *, axis: int = -1, generator: Generator | None = None
) -> Tensor:
    """Indices along `axis` of logits, drawn with probabilities softmax(logits).

    Returns: int64 of shape (*shape, *(logits.shape without axis)).
    """
    node = _weights(logits)
    at = normalize_axis(axis, node.ndim) - node.ndim
    lead = check_shape(shape)
    count = blocks((*lead, *node.shape), d.bits_for(node.dtype))
    return _draw(d.random_categorical, generator, count, (node,), shape=lead, axis=at)


def _weights(x: Any) -> Node:
    (node,) = dispatch.promoted_floating(x)
    if node.ndim == 0 or node.dtype.kind != "f":
        raise ShapeError(f"real weights of at least one dimension expected, got {node.aval.describe()}")
    return node


@checked
def permutation(x: Any, /, *, axis: int = 0, generator: Generator | None = None) -> Tensor:
    """The slices of x along `axis` in random order; of an integer n, the integers 0 ... n - 1 in random order."""
    if isinstance(x, Handle):
        node = dispatch.node_of(x)
        at = normalize_axis(axis, node.ndim)
        order = _order(node.shape[at], None, None, generator)
        return Tensor(take(node, order, at))
    return Tensor(_order(_population(x), None, None, generator))


def _population(n: Any) -> int:
    try:
        count = n.__index__()
    except AttributeError:
        raise ArgumentError(f"expected a tensor or how many there are to choose from, got {n!r}") from None
    _require(count >= 0, f"there cannot be {count} to choose from")
    return count


def _order(size: Any, count: int | None, logits: Node | None, generator: Generator | None) -> Node:
    wide = 64 if logits is None else d.bits_for(logits.dtype)
    drawn = _draw(
        d.random_order,
        generator,
        blocks((size,), wide),
        (logits,),
        size=size,
        count=size if count is None else count,
    )
    return drawn._node


@checked
def choice(
    x: Any,
    shape: Any = (),
    *,
    replace: bool = True,
    p: Any = None,
    axis: int = 0,
    generator: Generator | None = None,
) -> Tensor:
    """Slices of x along `axis`, or integers below x, chosen at random.

    Args:
        shape: how many; it takes the place of `axis` in the result.
        replace: whether one may be chosen several times.
        p: weights of the choices, a tensor of one dimension; they need not sum to 1. None: all alike.
    """
    node = dispatch.node_of(x) if isinstance(x, Handle) else None
    at = 0 if node is None else normalize_axis(axis, node.ndim)
    size = _population(x) if node is None else node.shape[at]
    lead = check_shape(shape)
    logits = None if p is None else log(_weights(p))
    if logits is not None and logits.shape != (size,):
        raise ShapeError(
            f"{size} weights expected, one for each choice, got shape {show_shape(logits.shape)}"
        )
    chosen = _chosen(size, lead, replace, logits, generator)
    return Tensor(chosen if node is None else take(node, chosen, at))


def _chosen(size: Any, shape: Shape, replace: bool, logits: Node | None, generator: Generator | None) -> Node:
    count: Any = 1
    for n in shape:
        count = count * n
    if count == 0:
        return reshape(slice_axis(iota(size=size, dtype=int64), 0, 0, 0), shape=shape)
    if size == 0:
        raise IndexingError("there is nothing to choose from")
    if not replace:
        _require(count <= size, f"{count} different choices of {size} do not exist; choose with replacement")
        return reshape(_order(size, count, logits, generator), shape=shape)
    if logits is None:
        return integers(size, shape=shape, generator=generator)._node
    return categorical(Tensor(logits), shape, generator=generator)._node


# -- the short names ----------------------------------------------------------------------------------------------


def _dims(shape: tuple[Any, ...]) -> Any:
    return shape[0] if len(shape) == 1 else shape


@checked
def rand(*shape: Any, dtype: Any = None, generator: Generator | None = None) -> Tensor:
    """`uniform` on [0, 1): `rand(2, 3)` or `rand((2, 3))`."""
    return uniform(_dims(shape), dtype=dtype, generator=generator)


@checked
def randn(*shape: Any, dtype: Any = None, generator: Generator | None = None) -> Tensor:
    """Standard normal numbers: `randn(2, 3)` or `randn((2, 3))`."""
    return normal(_dims(shape), dtype=dtype, generator=generator)


@checked
def randint(
    low: Number, high: Number, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None
) -> Tensor:
    """`integers`, also in the form `randint(high, shape)`."""
    if shape is None and isinstance(high, (tuple, list)):
        low, high, shape = 0, low, tuple(high)
    return integers(low, high, shape, dtype=dtype, generator=generator)


@checked
def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """The integers 0 ... n - 1 in random order."""
    return permutation(_population(n), generator=generator)


@checked
def rand_like(x: Tensor, *, dtype: Any = None, generator: Generator | None = None) -> Tensor:
    """Uniform numbers on [0, 1) of the shape and dtype of x."""
    shape, want = shape_and_dtype(x, dtype)
    return uniform(shape, dtype=want, generator=generator)


@checked
def randn_like(x: Tensor, *, dtype: Any = None, generator: Generator | None = None) -> Tensor:
    """Standard normal numbers of the shape and dtype of x."""
    shape, want = shape_and_dtype(x, dtype)
    return normal(shape, dtype=want, generator=generator)


__all__ = [
    "Generator", "bernoulli", "bits", "categorical", "choice", "default_generator", "exponential", "gumbel", "integers",
    "manual_seed", "normal", "permutation", "rand", "rand_like", "randint", "randn", "randn_like", "randperm", "seed",
    "truncated_normal", "uniform",
]  # fmt: skip
