"""The loop IR: one kernel as loops over index variables, with expressions that say what each element is.

A kernel runs its `outer` loops (any order, in parallel) and, for each of their iterations, its stages one after
the other. A stage loops over its own variables and either accumulates reductions or stores results. Reductions of
earlier stages are numbers to later ones, which is what makes a softmax over a row one kernel.

Everything is immutable data: two kernels that are equal have equal code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ..ir.dtype import DType
from .index import Index, Table, Var


class _Shared:
    """What is compared by what it says, however often its parts occur in each other.

    The hash is computed once, of the parts' own. Two that are equal and not the same object are compared part by
    part, each pair of parts once.
    """

    _hash: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((type(self).__name__, *vars(self).values())))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or hash(self) != hash(other):
            return False
        known: set[tuple[int, int]] = set()
        waiting: list[tuple[Any, Any]] = [(self, other)]
        while waiting:
            a, b = waiting.pop()
            if a is b or (id(a), id(b)) in known:
                continue
            known.add((id(a), id(b)))
            if isinstance(a, _Shared) and type(a) is type(b) and hash(a) == hash(b):
                waiting.extend(zip(operands(a), operands(b), strict=True))  # type: ignore[arg-type]
                a, b = _besides(a), _besides(b)
            if a != b:
                return False
        return True


@dataclass(frozen=True)
class Literal:
    """A number. `value` is kept as text, so that signed zeros and NaN compare right."""

    value: str
    dtype: DType


@dataclass(frozen=True)
class Scalar:
    """The only element of an input buffer of one element."""

    buffer: int
    dtype: DType


@dataclass(frozen=True)
class Load:
    """Element `index` of a buffer."""

    buffer: int
    index: Index
    dtype: DType


@dataclass(frozen=True, eq=False)
class Lookup(_Shared):
    """An element whose place depends on integers computed at run time.

    It is element base + sum of index * stride over `parts` = (index, size, stride). A negative index counts from
    the end if it `wraps`; one outside its axis reads element 0 instead and reports the kernel's step as faulty.
    """

    buffer: int
    base: Index
    parts: tuple[tuple[Expr, int, int], ...]
    dtype: DType
    wraps: bool = True


@dataclass(frozen=True, eq=False)
class Search(_Shared):
    """How many of `size` sorted elements of a buffer, from `base` on and `stride` apart, lie before `key`.

    Those that are less than it, or, with `right`, not greater. NaN comes after everything else and equals NaN.
    """

    buffer: int
    base: Index
    size: int
    stride: int
    key: Expr
    right: bool
    dtype: DType


@dataclass(frozen=True)
class Position:
    """An index as a value."""

    index: Index
    dtype: DType


@dataclass(frozen=True)
class Entry:
    """The number of a table at an index, as a value."""

    table: Table
    index: Index
    dtype: DType


@dataclass(frozen=True, eq=False)
class Apply(_Shared):
    """An elementwise operation, named as its primitive."""

    op: str
    args: tuple[Expr, ...]
    dtype: DType


@dataclass(frozen=True, eq=False)
class Inside(_Shared):
    """`then` where every index lies in its range [low, high), else `other`; each reads memory there alone."""

    conditions: tuple[tuple[Index, int, int], ...]
    then: Expr
    other: Expr
    dtype: DType


@dataclass(frozen=True)
class Total:
    """The value of a reduction or carry of an earlier stage, or of a carry of this one."""

    reduction: int
    dtype: DType


Expr = Literal | Scalar | Load | Lookup | Search | Position | Entry | Apply | Inside | Total


@dataclass(frozen=True)
class Reduction:
    """An accumulator: `op` ("sum", "prod", "max", "min", "any", "all") over the stage's iterations, in their order.

    "dot" is the sum of products, the `value` being one: each is added in one rounding where the processor can, as
    in tiles.
    """

    op: str
    value: Expr
    dtype: DType


@dataclass(frozen=True)
class Carry:
    """A number taken from iteration to iteration.

    In `value`, the `Total` of this carry (numbered after the totals before it) is what the iteration before left,
    and nothing that may be used in the first; in the stores of the stage it is the new value.
    """

    value: Expr
    dtype: DType


@dataclass(frozen=True)
class Store:
    """Write an element of an output buffer, where every index of `within` lies in its range [low, high).

    These do not depend on the variable that vectors run along, and `value` can be computed anywhere.
    """

    buffer: int
    index: Index
    value: Expr
    within: tuple[tuple[Index, int, int], ...] = ()


@dataclass(frozen=True)
class Scatter:
    """Write, or with `add` add to, an element of an output whose place depends on integers known at run time.

    It is element base + sum of index * stride over `parts`, as in a `Lookup`. The indices do not depend on the
    variable that vectors run along. One that is outside its axis writes nothing and reports the step as faulty.
    Where it leads elsewhere than `within`, another unit of work writes.
    """

    buffer: int
    base: Index
    parts: tuple[tuple[Expr, int, int], ...]
    value: Expr
    add: bool
    wraps: bool = True
    within: tuple[Index, int] | None = None  #: (lowest, count) of the sums of index * stride that are written


@dataclass(frozen=True)
class Stage:
    """Loops over `variables` (outermost first) around reductions, or carries and stores.

    What a stage with reductions stores, it stores in the same turn of its loops.

    The last variable is the one that vectors run along, unless the iterations must be made one after the other:
    those of a stage with carries, and of one that says it is `serial`.
    """

    variables: tuple[Var, ...]
    reductions: tuple[Reduction, ...] = ()
    stores: tuple[Store | Scatter, ...] = ()
    carries: tuple[Carry, ...] = ()
    serial: bool = False


@dataclass(frozen=True, repr=False)  # its text, of parts that share theirs, is `show_kernel`'s
class Kernel:
    """Loops over buffers 0 .. inputs-1 (read) and inputs .. (written). Buffers are dense, in row-major order.

    Vectors run along the last variable of each stage, or, with `across`, along the last outer variable: then every
    expression of the stages is computed for several outer iterations at once.
    """

    name: str
    outer: tuple[Var, ...]
    stages: tuple[Stage, ...]
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]
    across: bool = False
    notes: tuple[str, ...] = field(
        default=(), compare=False
    )  #: names of the operations in it, for the profiler
    #: whether, `across` or not, reductions are combined as if vectors ran along them: see `turning.py`
    turned: bool = False

    @property
    def iterations(self) -> int:
        """How many iterations the outer loops make."""
        total = 1
        for v in self.outer:
            total *= v.size
        return total

    @property
    def checked(self) -> bool:
        """Whether it reads or writes at places known only at run time, and reports those that do not exist."""
        for stage in self.stages:
            values = [x.value for x in (*stage.reductions, *stage.carries, *stage.stores)]
            if any(isinstance(x, Scatter) for x in stage.stores) or any(has_lookup(v) for v in values):
                return True
        return False


def operands(e: Expr) -> tuple[Expr, ...]:
    """The expressions that an expression is made of."""
    if isinstance(e, Apply):
        return e.args
    if isinstance(e, Inside):
        return e.then, e.other
    if isinstance(e, Lookup):
        return tuple([i for i, _, _ in e.parts])
    return (e.key,) if isinstance(e, Search) else ()


def _besides(e: Any) -> tuple[Any, ...]:
    """What an expression says besides what it is made of."""
    if isinstance(e, Apply):
        return e.op, len(e.args), e.dtype
    if isinstance(e, Inside):
        return e.conditions, e.dtype
    if isinstance(e, Lookup):
        return e.buffer, e.base, [part[1:] for part in e.parts], e.dtype, e.wraps
    assert isinstance(e, Search), e
    return e.buffer, e.base, e.size, e.stride, e.right, e.dtype


def found_in(values: Iterable[Expr], inside: Callable[[Expr], Iterable[Expr]] = operands) -> list[Expr]:
    """The different expressions that some are made of, these included, each before what only it is made of.

    An expression occurs in others many times over: whoever looks at all of its parts goes through this list.
    """
    seen: dict[Expr, None] = {}
    waiting = [*values][::-1]
    while waiting:
        e = waiting.pop()
        if e not in seen:
            seen[e] = None
            waiting.extend([*inside(e)][::-1])
    return list(seen)


def always_read(e: Expr) -> list[Load | Scalar]:
    """What an expression reads whatever the conditions in it say."""
    found = found_in([e], lambda e: () if isinstance(e, Inside) else operands(e))
    return [x for x in found if isinstance(x, (Load, Scalar))]


def has_lookup(e: Expr) -> bool:
    """Whether a `Lookup` occurs in an expression."""
    return any(isinstance(x, Lookup) for x in found_in([e]))


def substituted(e: Expr, old: Expr, new: Expr) -> Expr:
    """An expression with one of the operations and operands that it is made of replaced, wherever it occurs."""
    known: dict[Expr, Expr] = {old: new}

    def made(e: Expr) -> Expr:
        found = known.get(e)
        if found is None:
            found = replace(e, args=tuple([made(a) for a in e.args])) if isinstance(e, Apply) else e
            known[e] = found
        return found

    return made(e)


def literal(value: Any, dtype: DType) -> Literal:
    """A number as an expression."""
    return Literal(repr(value), dtype)
