"""How primitives are declared: the decorators, and the samples that tests feed to every backend and derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..base.errors import ArgumentError, DTypeError
from ..ir.dtype import DType, bool_, real_dtype, weak_dtype
from ..ir.node import Aval, Node
from ..ir.primitive import Primitive, leaf
from ..ir.shape import broadcast_shapes

_KIND_NAMES = {"b": "boolean", "u": "unsigned integer", "i": "integer", "f": "floating", "c": "complex"}


@dataclass
class Sample:
    """One application of a primitive to NumPy arrays.

    `smooth` says whether finite differences may be compared with its derivatives (not at ties, kinks or NaN).
    """

    args: tuple[np.ndarray, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True


def constant(value: bool | int | float | complex, dtype: DType) -> Node:
    """A number as a 0-dimensional node. In an eager program it is a run-time input, in a body a constant."""
    return leaf(Aval((), dtype), value)


def lift(values: Sequence[Any], dtype: DType | None = None) -> tuple[Node, ...]:
    """Python numbers among `values` become constants of the type that the nodes among them have."""
    if dtype is None:
        dtype = next((v.dtype for v in values if isinstance(v, Node)), None)
    return tuple([v if isinstance(v, Node) else constant(v, weak_dtype(v, dtype)) for v in values])


class Elementwise(Primitive):
    """A primitive that works element by element on operands of one dtype, broadcast against each other."""

    def __init__(
        self,
        name: str,
        evaluate: Callable[..., Any],
        *,
        kinds: str,
        out: str,
        samples: Any,
        attrs: tuple[str, ...] = (),
        check: Callable[..., None] | None = None,
    ) -> None:
        super().__init__(name, evaluate, self._infer, attrs=attrs, samples=samples)
        self.arity = evaluate.__code__.co_argcount
        self.kinds = kinds
        self.out = out
        self.check = check
        self.elementwise = True

    def _infer(self, *avals: Aval, **attrs: Any) -> Aval:
        if len(avals) != self.arity:
            raise ArgumentError(f"takes {self.arity} operands, got {len(avals)}")
        dtype = avals[0].dtype
        for a in avals:
            if a.dtype is not dtype:
                raise DTypeError(
                    f"operands of one dtype expected, got {', '.join(x.describe() for x in avals)}"
                )
        if dtype.kind not in self.kinds:
            allowed = ", ".join(_KIND_NAMES[k] for k in self.kinds)
            raise DTypeError(f"takes {allowed} operands, got {', '.join(x.describe() for x in avals)}")
        if self.check is not None:
            self.check(*avals, **attrs)
        result = {"same": dtype, "bool": bool_, "real": real_dtype(dtype)}[self.out]
        return Aval(broadcast_shapes(*[a.shape for a in avals]), result)

    def __call__(self, *args: Any, **attrs: Any) -> Node:
        return self.bind(lift(args), tuple([attrs[n] for n in self.attr_names]))


def elementwise(
    kinds: str = "fc",
    *,
    out: str = "same",
    samples: Any = None,
    name: str | None = None,
    attrs: tuple[str, ...] = (),
    check: Callable[..., None] | None = None,
) -> Callable[[Callable[..., Any]], Elementwise]:
    """Declare an elementwise primitive from its NumPy body.

    kinds: dtype kinds it takes ("b", "u", "i", "f", "c"). out: "same" dtype, "bool", or "real".
    check: called with the operand types and attributes, raises on what the kinds cannot say.
    """

    def declare(body: Callable[..., Any]) -> Elementwise:
        title = name or body.__name__.rstrip("_")
        return Elementwise(title, body, kinds=kinds, out=out, samples=samples, attrs=attrs, check=check)

    return declare


def primitive(
    infer: Callable[..., Any],
    *,
    attrs: tuple[str, ...] = (),
    samples: Any = None,
    version: int = 1,
    name: str | None = None,
    higher_order: bool = False,
) -> Callable[[Callable[..., Any]], Primitive]:
    """Declare any other primitive from its NumPy body and its shape and dtype rule."""

    def declare(body: Callable[..., Any]) -> Primitive:
        title = name or body.__name__.rstrip("_")
        return Primitive(
            title, body, infer, attrs=attrs, samples=samples, version=version, higher_order=higher_order
        )

    return declare


# -- sample values --------------------------------------------------------------------------------------------

#: Values at which functions of a real number most often go wrong.
SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 1e308)


def values(
    shape: tuple[int, ...] = (3, 4), low: float = -2.0, high: float = 2.0, seed: int = 0
) -> np.ndarray:
    """Float64 numbers spread over [low, high] in a fixed shuffled order, without ties."""
    n = int(np.prod(shape))
    grid = np.linspace(low, high, max(n, 1), dtype=np.float64)[:n]
    return np.random.default_rng(seed).permutation(grid).reshape(shape)


def complex_values(shape: tuple[int, ...] = (3, 4), seed: int = 0) -> np.ndarray:
    """Complex128 numbers without ties, none of them real or on an axis."""
    return values(shape, -1.9, 2.1, seed) + 1j * values(shape, -2.2, 1.7, seed + 1)


def integer_values(dtype: Any = np.int64, shape: tuple[int, ...] = (3, 4), seed: int = 0) -> np.ndarray:
    """Small integers of either sign (of one sign where the type has only one), without ties."""
    n = int(np.prod(shape))
    first = 0 if np.dtype(dtype).kind == "u" else -(n // 2)
    return np.random.default_rng(seed).permutation(np.arange(first, first + n)).astype(dtype).reshape(shape)


def unary(
    low: float = -2.0,
    high: float = 2.0,
    *,
    real: bool = True,
    complex: bool = False,
    integers: bool = False,
    special: bool = True,
) -> Callable[[], list[Sample]]:
    """Samples for a function of one argument, smooth on [low, high]: float32, float64, empty, 0-d, and what the
    flags add (`special`: signed zeros, infinities, NaN, subnormal and huge numbers)."""

    def make() -> list[Sample]:
        x = values((3, 4), low, high)
        out = []
        if real:
            out += [
                Sample((x,)),
                Sample((x.astype(np.float32),)),
                Sample((values((0, 2), low, high),)),
                Sample((np.array(low + 0.3 * (high - low)),)),
            ]
            if special:
                out.append(Sample((np.array(SPECIAL),), smooth=False))
        if integers:
            out.append(Sample((integer_values(),), smooth=False))
            out.append(Sample((integer_values(np.uint8),), smooth=False))
            out.append(Sample((integer_values(np.int32),), smooth=False))
        if complex:
            out.append(Sample((x + 0.3j * values((3, 4), low, high, seed=1),)))
            out.append(Sample(((x - 0.2j * values((3, 4), low, high, seed=2)).astype(np.complex64),)))
        return out

    return make


def pairs(
    low: float = -2.0,
    high: float = 2.0,
    *,
    real: bool = True,
    smooth: bool = True,
    ties: bool = False,
    nan: bool = False,
    integers: bool = False,
    bools: bool = False,
    complex: bool = False,
) -> Callable[[], list[Sample]]:
    """Samples for a function of two arguments: equal shapes, broadcasting, float32, and what the flags add."""

    def make() -> list[Sample]:
        x, y = values((3, 4), low, high), values((3, 4), low, high, seed=1) + 0.0123
        out = []
        if real:
            out += [
                Sample((x, y), smooth=smooth),
                Sample((x.astype(np.float32), y.astype(np.float32)), smooth=smooth),
                Sample((x, y[0]), smooth=smooth),
                Sample((x[:, :1], y[:1]), smooth=smooth),
                Sample((x[:0], y[:1]), smooth=smooth),
                Sample((x[0, 0].reshape(()), y), smooth=smooth),
            ]
        if ties:
            out.append(Sample((x, x.copy()), smooth=False))
        if nan:
            special = np.array(SPECIAL)
            out.append(Sample((special[:, None], special), smooth=False))
        if integers:
            i = np.arange(-3, 9).reshape(3, 4)
            out.append(Sample((i, np.flip(i) + 20), smooth=False))
            out.append(Sample((np.abs(i).astype(np.uint8), np.full((3, 4), 2, np.uint8)), smooth=False))
            out.append(Sample((i.astype(np.int32), np.flip(i[:1]).astype(np.int32) + 20), smooth=False))
        if bools:
            out.append(Sample((x > 0, y[0] > 0), smooth=False))
        if complex:
            out.append(Sample((x + 0.5j, y - 1j * x)))
            out.append(Sample(((x + 0.5j).astype(np.complex64), (y[:1] - 1j).astype(np.complex64))))
        return out

    return make
