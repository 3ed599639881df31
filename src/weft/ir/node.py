"""Nodes of the graph, and the signatures they share.

A node is one application of a primitive to other nodes. Everything about it that does not depend on *which* nodes
it is applied to (the primitive, its attributes, the types in and out) lives in an interned `Signature`, so that
shape rules run once per signature and two nodes compute the same thing exactly when their signatures are the
same object and their arguments do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from ..base.errors import TraceError
from ..base.site import user_site
from ..base.state import state
from .dtype import DType
from .shape import Shape, check_count, show_shape, size_of

if TYPE_CHECKING:
    from .primitive import Primitive

#: Node flags. GRAD: the node depends, differentiably, on a leaf that requires a gradient (inside a `Graph`: on an
#: input). TRACED: it depends on the placeholder of an open trace and has no value. LEAF: `backward` accumulates here
#: and goes no further. SPENT: `backward` has passed and released what it had saved. Bits from LEVEL up belong to the
#: nested functional transformations (`grad`, `jvp`) that are running. New nodes inherit the bits in `state.active`
#: (GRAD, TRACED, SPENT and the levels in use), so those of transformations that have returned die out. A trace that
#: must tell what was made inside it (cond, checkpoint) takes a bit of the same kind, which `state.tracing` lists.
#: SHARED: a leaf whose memory somebody outside may still write to; the first operation on it gives it a copy.
GRAD = 1
TRACED = 2
LEAF = 4
SPENT = 8
LEVEL = 16
SHARED = 1 << 60


class Aval:
    """What is known of a value before it is computed: shape and dtype. Interned: equal means identical."""

    __slots__ = ("shape", "dtype")
    _interned: dict[tuple[Shape, DType], Aval] = {}

    shape: Shape
    dtype: DType

    def __new__(cls, shape: Shape, dtype: DType) -> Aval:
        key = (shape, dtype)
        found = cls._interned.get(key)
        if found is None:
            check_count(shape)
            found = object.__new__(cls)
            found.shape = shape
            found.dtype = dtype
            found = cls._interned.setdefault(key, found)  # another thread may have been first
        return found

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Any:
        return size_of(self.shape)

    def __repr__(self) -> str:
        return f"{self.dtype.short}[{','.join(str(s) for s in self.shape)}]"

    def describe(self) -> str:
        """`float32 (3, 4)`, as in messages."""
        return f"{self.dtype} {show_shape(self.shape)}"

    def __reduce__(self) -> Any:
        return Aval, (self.shape, self.dtype)


class Signature:
    """A primitive with its attributes, argument types and result type(s)."""

    __slots__ = ("prim", "attrs", "inputs", "out", "differentiable", "memo", "picks", "__weakref__")

    def __init__(
        self, prim: Primitive, attrs: dict[str, Any], inputs: tuple[Aval, ...], out: Aval | tuple[Aval, ...]
    ) -> None:
        self.prim = prim
        self.attrs = attrs
        self.inputs = inputs
        self.out = out
        self.differentiable = prim.differentiable and any(o.dtype.inexact for o in self.outs)
        self.memo: dict[Any, Any] = {}  # what transformations derived from this signature
        self.picks: list[Signature] | None = (
            None  # the projections to its results, if it has several: see `pick`
        )

    @property
    def outs(self) -> tuple[Aval, ...]:
        return self.out if type(self.out) is tuple else (self.out,)  # type: ignore[return-value]

    @property
    def is_complex(self) -> bool:
        """Whether the operation takes or gives complex numbers."""
        return any(a.dtype.kind == "c" for a in (*self.inputs, *self.outs))

    def __repr__(self) -> str:
        return f"{self.prim.name}({', '.join(map(repr, self.inputs))}) -> {self.out!r}"


class Node:
    """One operation of a graph, or one of its leaves.

    `value` is None until computed; a leaf has one from the start (a buffer or a Python number), a placeholder
    never gets one. `cell` is a weak reference to the tensor cell that was made for this node, if any. A node with
    several results has no value itself; `parts` holds those of its results that are known (None: not yet).
    """

    __slots__ = ("sig", "args", "value", "flags", "site", "cell", "parts", "__weakref__")

    sig: Signature
    args: tuple[Node, ...]
    value: Any
    flags: int
    site: Any
    cell: ref[Any] | None
    parts: list[Any] | None

    def __init__(self, sig: Signature, args: tuple[Node, ...], value: Any, flags: int, site: Any) -> None:
        self.sig = sig
        self.args = args
        self.value = value
        self.flags = flags
        self.site = site
        self.cell = None
        self.parts = None

    if TYPE_CHECKING:  # the operators are filled in by `ops.operators`

        def __add__(self, other: Node | complex, /) -> Node: ...
        def __radd__(self, other: complex, /) -> Node: ...
        def __sub__(self, other: Node | complex, /) -> Node: ...
        def __rsub__(self, other: complex, /) -> Node: ...
        def __mul__(self, other: Node | complex, /) -> Node: ...
        def __rmul__(self, other: complex, /) -> Node: ...
        def __truediv__(self, other: Node | complex, /) -> Node: ...
        def __rtruediv__(self, other: complex, /) -> Node: ...
        def __pow__(self, other: Node | complex, /) -> Node: ...
        def __rpow__(self, other: complex, /) -> Node: ...
        def __matmul__(self, other: Node, /) -> Node: ...
        def __neg__(self, /) -> Node: ...
        def __abs__(self, /) -> Node: ...
        def __lt__(self, other: Node | float, /) -> Node: ...
        def __le__(self, other: Node | float, /) -> Node: ...
        def __gt__(self, other: Node | float, /) -> Node: ...
        def __ge__(self, other: Node | float, /) -> Node: ...
        def __and__(self, other: Node | int, /) -> Node: ...
        def __or__(self, other: Node | int, /) -> Node: ...
        def __xor__(self, other: Node | int, /) -> Node: ...
        def __invert__(self, /) -> Node: ...

    @property
    def aval(self) -> Aval:
        """The type of a node with one result."""
        return self.sig.out  # type: ignore[return-value]

    @property
    def shape(self) -> Shape:
        return self.sig.out.shape  # type: ignore[union-attr]

    @property
    def dtype(self) -> DType:
        return self.sig.out.dtype  # type: ignore[union-attr]

    @property
    def ndim(self) -> int:
        return len(self.sig.out.shape)  # type: ignore[union-attr]

    @property
    def size(self) -> Any:
        return size_of(self.sig.out.shape)  # type: ignore[union-attr]

    @property
    def prim(self) -> Primitive:
        return self.sig.prim

    @property
    def attrs(self) -> dict[str, Any]:
        return self.sig.attrs

    def __repr__(self) -> str:
        return f"<{self.sig!r}>"

    def __bool__(self) -> bool:
        raise TypeError("a graph node has no truth value; compare with `is`, or use where/cond")


def make_node(sig: Signature, args: tuple[Node, ...]) -> Node:
    """A node for `sig` applied to `args`: works out its flags and remembers the user's line."""
    flags = state.ambient
    for a in args:
        flags |= a.flags
    if flags:
        if flags & SHARED:
            settle(args)
        flags &= state.active if sig.differentiable and state.grad else state.tracing
        if flags & TRACED and not state.traces:
            escaped()
    return Node(sig, args, None, flags, state.site or user_site(1))


def settle(nodes: tuple[Node, ...]) -> None:
    """Give leaves in shared memory a copy of their own: what is computed from them later is what they hold now."""
    for n in nodes:
        if n.flags & SHARED:
            n.value = n.value.copy()
            n.flags &= ~SHARED


def escaped() -> None:
    raise TraceError(
        "this tensor belongs to a trace that has ended (it was kept from inside vmap, compile, scan, cond or "
        "checkpoint); return it from the traced function instead"
    )
