"""Shapes: tuples of integers and named dimensions, and the arithmetic that shape rules need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

from ..base.errors import ArgumentError, AxisError, ShapeError


class Dim:
    """A dimension whose size is known by name only: `Dim("batch")`. Sums and products of them are Dims too.

    Held as a polynomial with integer coefficients: `{("batch",): 2, (): 1}` is 2*batch + 1. Two Dims are equal
    when their polynomials are; whether two different ones happen to be equal at run time is never guessed.
    """

    __slots__ = ("terms", "_hash")

    def __init__(self, name: str | Mapping[tuple[str, ...], int]) -> None:
        if isinstance(name, str):
            if not name.isidentifier():
                raise ArgumentError(f"a dimension's name must be an identifier, got {name!r}")
            terms: dict[tuple[str, ...], int] = {(name,): 1}
        elif isinstance(name, Mapping):
            terms = dict(name)
        else:
            raise ArgumentError(f"a dimension's name must be a string, got {name!r}")
        self.terms = terms
        self._hash = hash(frozenset(terms.items()))

    @property
    def names(self) -> set[str]:
        """The names that occur in it."""
        return {n for monomial in self.terms for n in monomial}

    def bind(self, sizes: Mapping[str, int]) -> Size:
        """The size once the names in `sizes` are known; names that are not in it stay open."""
        total: Size = 0
        for monomial, coefficient in self.terms.items():
            product: Size = coefficient
            for name in monomial:
                product = product * sizes[name] if name in sizes else product * Dim(name)
            total = total + product
        return total

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __add__(self, other: Size) -> Size:
        return _from_terms(_add(self.terms, _terms(other), 1)) if _is_size(other) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Size) -> Size:
        return _from_terms(_add(self.terms, _terms(other), -1)) if _is_size(other) else NotImplemented

    def __rsub__(self, other: Size) -> Size:
        return _from_terms(_add(_terms(other), self.terms, -1)) if _is_size(other) else NotImplemented

    def __neg__(self) -> Size:
        return 0 - self

    def __mul__(self, other: Size) -> Size:
        if not _is_size(other):
            return NotImplemented
        out: dict[tuple[str, ...], int] = {}
        for m1, c1 in self.terms.items():
            for m2, c2 in _terms(other).items():
                key = tuple(sorted(m1 + m2))
                out[key] = out.get(key, 0) + c1 * c2
        return _from_terms(out)

    __rmul__ = __mul__

    def __pow__(self, exponent: int) -> Size:
        if type(exponent) is not int or exponent < 0:
            return NotImplemented
        out: Size = 1
        for _ in range(exponent):
            out = out * self
        return out

    def __floordiv__(self, other: Size) -> Size:
        if not _is_size(other):
            return NotImplemented
        quotient = divide(self, other)
        if quotient is None:
            raise ShapeError(f"{self} is not known to be a multiple of {other}")
        return quotient

    def __bool__(self) -> bool:
        return True

    def _undecided(self, other: object) -> bool:
        raise ShapeError(
            f"whether {self} is larger or smaller than {other} is not known while the dimension is open; "
            "give it a size (bind it) or write the program without the comparison"
        )

    __lt__ = __le__ = __gt__ = __ge__ = _undecided

    def __index__(self) -> int:
        raise ShapeError(f"the size of {self} is not known while the dimension is open")

    def __repr__(self) -> str:
        text = ""
        for monomial, c in sorted(self.terms.items(), reverse=True):
            factors = ([str(abs(c))] if abs(c) != 1 or not monomial else []) + list(monomial)
            text += ("-" if c < 0 else "+" if text else "") + "*".join(factors)
        return text


Size = int | Dim
Shape = tuple[Size, ...]


def _is_size(x: object) -> bool:
    return isinstance(x, (int, Dim, Integral))


def _terms(x: Size) -> Mapping[tuple[str, ...], int]:
    if isinstance(x, Dim):
        return x.terms
    return {(): int(x)} if x else {}


def _add(a: Mapping[tuple[str, ...], int], b: Mapping[tuple[str, ...], int], sign: int) -> dict[Any, int]:
    out = dict(a)
    for monomial, c in b.items():
        out[monomial] = out.get(monomial, 0) + sign * c
    return out


def _from_terms(terms: Mapping[tuple[str, ...], int]) -> Size:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    return Dim(kept)


def divide(a: Size, b: Size) -> Size | None:
    """a / b where that is exact as polynomials (b an integer or a single product), else None."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else None
    if a == b:
        return 1
    divisor = _terms(b)
    if len(divisor) != 1:
        return None
    (monomial, coefficient), *_ = divisor.items()
    out = {}
    for m, c in _terms(a).items():
        rest = list(m)
        for name in monomial:
            if name not in rest:
                return None
            rest.remove(name)
        if c % coefficient:
            return None
        out[tuple(rest)] = c // coefficient
    return _from_terms(out)


def size_of(shape: Iterable[Size]) -> Size:
    """The number of elements."""
    total: Size = 1
    for s in shape:
        total = total * s
    return total


def is_static(shape: Iterable[Size]) -> bool:
    """Whether every dimension is a plain integer."""
    return all(type(s) is int for s in shape)


#: Elements of a tensor, at most.
_MOST = 2**62


def check_count(shape: Shape) -> None:
    """An error if a tensor of so many elements cannot be numbered, wherever it came from."""
    count = 1
    for n in shape:
        if type(n) is int:
            count *= n or 1
    if count > _MOST:
        raise ShapeError(f"a tensor of shape {show_shape(shape)} has more elements than can be numbered")


def check_shape(shape: Any) -> Shape:
    """`shape` as a tuple of non-negative integers and Dims, or an error that says what is wrong with it."""
    if type(shape) is tuple:
        items = shape
    elif isinstance(shape, (int, Dim)) or hasattr(shape, "__index__"):
        items = (shape,)
    elif isinstance(shape, Iterable) and not isinstance(shape, str):
        items = tuple(shape)
    else:
        raise ShapeError(f"a shape is an integer or a tuple of integers, got {shape!r}")
    out: list[Size] = []
    for s in items:
        if type(s) is int:
            n = s
        elif isinstance(s, Dim):
            out.append(s)
            continue
        else:
            try:
                n = s.__index__()
            except (AttributeError, TypeError):
                raise ShapeError(f"a shape holds integers or Dims, got {s!r} in {shape!r}") from None
        if n < 0:
            raise ShapeError(f"a shape holds no negative sizes, got {shape!r}")
        out.append(n)
    check_count(tuple(out))
    return tuple(out)


def broadcasts_to(shape: Shape, target: Shape) -> bool:
    """Whether what has a shape can be broadcast to another one."""
    try:
        return broadcast_shapes(shape, target) == target
    except ShapeError:
        return False


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The common shape by NumPy's rule: aligned at the right, sizes equal or 1."""
    first = shapes[0]
    for s in shapes:
        if s != first:
            break
    else:
        return first
    rank = max(len(s) for s in shapes)
    out: list[Size] = [1] * rank
    for s in shapes:
        offset = rank - len(s)
        for i, n in enumerate(s):
            at = offset + i
            if n != out[at]:
                if out[at] == 1:
                    out[at] = n
                elif n != 1:
                    listed = ", ".join(show_shape(x) for x in shapes)
                    raise ShapeError(
                        f"shapes {listed} do not broadcast: axis {at - rank} has sizes {out[at]} and {n} "
                        "(sizes must be equal, or one of them 1)"
                    )
    return tuple(out)


def normalize_axis(axis: int, rank: int, what: str = "axis") -> int:
    """`axis` counted from the front, or an error if there is no such axis."""
    try:
        n = axis.__index__()
    except (AttributeError, TypeError):
        raise ArgumentError(f"{what} must be an integer, got {axis!r}") from None
    if not -rank <= n < rank:
        raise AxisError(f"{what} {n} is outside a tensor of {rank} dimensions (valid: {-rank} to {rank - 1})")
    return n % rank if rank else 0


def normalize_axes(axes: Any, rank: int, what: str = "axis") -> tuple[int, ...]:
    """All axes for None, else the given ones counted from the front, without repetition, in the order given."""
    if axes is None:
        return tuple(range(rank))
    items = tuple(axes) if isinstance(axes, (tuple, list)) else (axes,)
    out = tuple(normalize_axis(a, rank, what) for a in items)
    if len(set(out)) != len(out):
        raise ArgumentError(f"{what} {axes!r} names the same axis twice")
    return out


def show_shape(shape: Shape) -> str:
    """`(2, batch, 3)` as it is printed in messages."""
    return "(" + ", ".join(str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
