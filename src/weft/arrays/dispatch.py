"""From tensors to nodes and back: promotion, Python numbers, and composites that keep what reverse mode needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from ..autodiff.transforms import saving_node
from ..base.checked import refuse_masked
from ..base.errors import ArgumentError, DTypeError, nearest
from ..base.site import user_site
from ..base.state import state
from ..ir.dtype import ALL, DEFAULT_FLOAT, INTEGERS, DType, complex128, float64, promote, weak_dtype
from ..ir.dtype import dtype as to_dtype
from ..ir.node import GRAD, LEAF, TRACED, Aval, Node, make_node
from ..ir.primitive import Primitive, leaf, leaf_prim, pick
from ..ir.shape import Dim
from ..ops.composite.define import Composite
from ..ops.elementwise import cast, mul
from ..ops.gather import size_node
from ..runtime.buffer import Buffer, own_copy
from .cell import Cell, Handle, cut

if TYPE_CHECKING:
    from .tensor import Tensor, WeakScalar
else:
    Tensor = WeakScalar = None  # tensor.py, which imports this module, hands over its classes: see install()

#: The flags of nodes in ordinary work: those of leaves and what is computed from them.
_RECORDED = GRAD | LEAF

#: Kinds of tensor whose dtype counts in promotion: all but WeakScalar. They take the fast path.
strong: set[type] = set()

#: Those that are Weft's own, and so are nothing but tensors to every function.
ours: set[type] = set()

#: (primitive, type of x, type of y) -> the signature of x op y, where both operands can be used as they are; for a
#: Python number its type stands for it, and the value is (signature, signature of the number's leaf, least, greatest).
_pairs: dict[tuple[Primitive, Any, Any], Any] = {}

#: The same for any number of operands: (primitive, their types) -> (signature, for each operand that is a number
#: (signature of its leaf, least, greatest)).
_applications: dict[tuple[Primitive, tuple[Any, ...]], Any] = {}

#: Least and greatest value of the integer types, and what certainly fits every other.
_limits = {d: (int(np.iinfo(d.numpy).min), int(np.iinfo(d.numpy).max)) for d in INTEGERS}
_HUGE = float("inf")

_number_signatures = {d: leaf_prim.signature((), (Aval((), d),)) for d in ALL}


def install(tensor: type, weak: type) -> None:
    """Make the tensor classes known here."""
    globals().update(Tensor=tensor, WeakScalar=weak)
    strong.add(tensor)
    ours.add(tensor)


def wrap(node: Node) -> Tensor:
    """A new tensor that stands for a node."""
    new = node.cell is None and node.value is None and not node.flags & TRACED
    return fresh(node) if new else Tensor(node)


def fresh(node: Node) -> Tensor:
    """The same for a pending node that is new, so that no cell has it. Written out: this runs for every operation."""
    own = state.__dict__  # of this thread: it is looked at in half the time
    cell = _new(Cell)
    cell.node = node
    cell._grad = None
    cell.requires_grad = False
    cell.depth = len(own["traces"])
    node.cell = reference = ref(cell)
    pending = own["pending"]
    pending.append(reference)
    if len(pending) > own["patience"]:
        cut(node)
    tensor = _new(Tensor)
    tensor._cell = cell
    return tensor


_new: Callable[[type], Any] = object.__new__


def is_number(x: Any) -> bool:
    """Whether `x` is a scalar that takes its type from the tensors beside it: bool, int, float or complex.

    NumPy's float64 and complex128 scalars are Python floats and complex numbers by inheritance, and count as such
    (`x * np.sqrt(2)` keeps the dtype of x); its other scalars have the dtype they say.
    """
    return isinstance(x, (bool, int, float, complex))


def number_leaf(value: Any, dtype: DType) -> Node:
    """A Python number as a 0-dimensional leaf: a run-time input of a program. Integers must fit the dtype."""
    kind = dtype.kind
    try:
        value = (complex if kind == "c" else float if kind == "f" else bool if kind == "b" else int)(value)
    except (TypeError, ValueError, OverflowError):
        raise DTypeError(f"{value!r} is not a number of type {dtype}") from None
    if kind == "u" or kind == "i":
        low, high = _limits[dtype]
        if not low <= value <= high:
            raise DTypeError(
                f"the number {value} does not fit {dtype} ({low} to {high}); "
                "cast the tensor to a wider type with astype"
            )
    return Node(_number_signatures[dtype], (), value, 0, None)


def node_of(x: Any, beside: DType | None = None) -> Node:
    """The node of a tensor, of a Python number (typed by the tensor beside it) or of a NumPy array."""
    if isinstance(x, Handle):
        if type(x) is WeakScalar:
            return converted(x._cell.node, weak_dtype(_example(x), beside))
        return x._cell.node
    if is_number(x):
        return number_leaf(x, weak_dtype(x, beside))
    if isinstance(x, Dim):  # an open dimension is an integer that becomes known when the program runs
        return converted(size_node(x), weak_dtype(1, beside))
    if isinstance(x, (np.ndarray, np.generic)):
        if type(x) is not np.ndarray:
            refuse_masked(x)
        dtype = to_dtype(x.dtype)
        return buffer_leaf(own_copy(x, dtype.numpy), dtype)
    raise DTypeError(f"expected a tensor or a number, got {type(x).__name__}; make one with weft.asarray")


def result_dtype(operands: tuple[Any, ...]) -> DType:
    """The dtype that operands take together; Python numbers and weak scalars give way to tensors."""
    dtype: DType | None = None
    weak: list[Any] = []
    for x in operands:
        if isinstance(x, DType):
            found = x
        elif isinstance(x, WeakScalar):
            weak.append(_example(x))
            continue
        elif isinstance(x, Handle):
            found = x._cell.node.sig.out.dtype  # type: ignore[union-attr]
        elif is_number(x):
            weak.append(x)
            continue
        elif isinstance(x, Dim):
            weak.append(1)
            continue
        elif isinstance(x, (np.ndarray, np.generic)):
            found = to_dtype(x.dtype)
        else:
            raise DTypeError(
                f"expected a tensor or a number, got {type(x).__name__}; make one with weft.asarray"
            )
        dtype = found if dtype is None else promote(dtype, found)
    for kind in (bool, int, float, complex):  # from weak to strong: the strongest has the last word
        for x in weak:
            if isinstance(x, kind) and not (kind is int and isinstance(x, bool)):
                dtype = weak_dtype(x, dtype)
                break
    if dtype is None:
        raise ArgumentError("a dtype can only be worked out from at least one tensor, number or dtype")
    return dtype


def _example(x: Handle) -> float | complex:
    """A Python number of the kind of a weak scalar."""
    return 0j if x._cell.node.dtype.kind == "c" else 0.0


def promoted(*operands: Any) -> tuple[Node, ...]:
    """The operands as nodes of one dtype; Python numbers and weak scalars give way to tensors."""
    dtype = result_dtype(operands)
    return tuple([as_dtype(x, dtype) for x in operands])


def promoted_floating(*operands: Any) -> tuple[Node, ...]:
    """As `promoted`, and integers and booleans become floats of the default type."""
    dtype = result_dtype(operands)
    if not dtype.inexact:
        dtype = DEFAULT_FLOAT
    return tuple([as_dtype(x, dtype) for x in operands])


def as_dtype(x: Any, dtype: DType) -> Node:
    """An operand as a node of the given dtype."""
    if not isinstance(x, Handle) and is_number(x):
        return number_leaf(x, dtype)
    return converted(x._cell.node if isinstance(x, Handle) else node_of(x), dtype)


def converted(node: Node, dtype: DType) -> Node:
    """A node as the given dtype; itself where it has it."""
    return node if node.sig.out.dtype is dtype else cast.bind((node,), (dtype,))  # type: ignore[union-attr]


def binary(prim: Primitive, x: Any, y: Any) -> Any:
    """An elementwise primitive of two operands, at least one of them a tensor.

    This is the hot path of eager work, written out for the two cases that matter: tensors of one dtype, and a tensor
    with a Python number that takes its dtype. NotImplemented if an operand is no tensor, number or NumPy array.
    """
    if type(x) in strong:
        a = x._cell.node
        kind = type(y)
        if kind in strong:
            b = y._cell.node
            sig = _pairs.get((prim, a.sig.out, b.sig.out))
            if sig is None:
                return _binary_first(prim, x, y)
        else:
            found = _pairs.get((prim, a.sig.out, kind))
            if found is None:
                return _binary_first(prim, x, y)
            sig, number, low, high = found
            if not low <= y <= high and y == y:
                return _binary_first(prim, x, y)
            b = Node(number, (), y, 0, None)
    else:
        found = _pairs.get((prim, type(x), y._cell.node.sig.out)) if type(y) in strong else None
        if found is None:
            return _binary_first(prim, x, y)
        sig, number, low, high = found
        if not low <= x <= high and x == x:
            return _binary_first(prim, x, y)
        a, b = Node(number, (), x, 0, None), y._cell.node
    own = state.__dict__
    flags = own["ambient"] | a.flags | b.flags
    if flags:
        if flags & ~_RECORDED:
            return Tensor(make_node(sig, (a, b)))
        flags = GRAD & own["active"] if own["grad"] and sig.differentiable else 0
    return fresh(Node(sig, (a, b), None, flags, own["site"] or user_site(2)))


def _binary_first(prim: Primitive, x: Any, y: Any) -> Any:
    """Any application; notes the signature where the next one with operands of these types can be quick."""
    for operand in (x, y):
        if not isinstance(operand, (Handle, bool, int, float, complex, np.ndarray, np.generic, Dim)):
            if prim is mul and isinstance(operand, (list, tuple, str, bytes)):
                # Python, told NotImplemented, would take the tensor for a number of repetitions.
                raise DTypeError(
                    f"multiply takes tensors, arrays and numbers, got {type(x).__name__} and {type(y).__name__}; "
                    "make a tensor with weft.asarray (to repeat a list: int(n) * items)"
                )
            return NotImplemented
    if (
        not (type(x) in strong or type(y) in strong)
        and all(isinstance(o, WeakScalar) or is_number(o) for o in (x, y))
        and not all(isinstance(o, int) for o in (x, y))  # integers are integers, as everywhere
    ):
        return _weak_binary(prim, x, y)
    a, b = (promoted if _takes_integers(prim) else promoted_floating)(x, y)
    node = prim.bind((a, b))
    if len(_pairs) > 100_000:
        _pairs.clear()
    own_a, own_b = (type(o) in strong and n is o._cell.node for o, n in ((x, a), (y, b)))
    if own_a and own_b:
        _pairs[prim, a.sig.out, b.sig.out] = node.sig
    elif own_a and _as_it_is(y, a.dtype):
        _pairs[prim, a.sig.out, type(y)] = node.sig, b.sig, *_limits.get(a.dtype, (-_HUGE, _HUGE))
    elif own_b and _as_it_is(x, b.dtype):
        _pairs[prim, type(x), b.sig.out] = node.sig, a.sig, *_limits.get(b.dtype, (-_HUGE, _HUGE))
    return Tensor(node)


def _weak_binary(prim: Primitive, x: Any, y: Any) -> Any:
    """Arithmetic of weak scalars among themselves and with numbers: weak, and in double precision like Python's."""
    is_complex = any(isinstance(_example(o) if isinstance(o, Handle) else o, complex) for o in (x, y))
    dtype = complex128 if is_complex else float64
    return weak(prim.bind((as_dtype(x, dtype), as_dtype(y, dtype))))


def weak(node: Node) -> Any:
    """A weak scalar for a node, where it is a number that Python would have as float or complex."""
    return WeakScalar(node) if node.dtype.inexact else Tensor(node)


def _as_it_is(x: Any, dtype: DType) -> bool:
    """Whether numbers of the type of x, within the limits, can be leaves of the dtype without conversion."""
    return type(x) is int or (type(x) is float and dtype.inexact)


def _takes_integers(prim: Primitive) -> bool:
    return "i" in prim.kinds  # type: ignore[attr-defined]


def unary(prim: Primitive, node: Node) -> Any:
    """An elementwise primitive of one operand; the quick way there."""
    sig = _pairs.get((prim, node.sig.out, None))
    if sig is None:
        new = prim.bind((node,))
        _pairs[prim, node.sig.out, None] = new.sig
        return Tensor(new)
    own = state.__dict__
    flags = own["ambient"] | node.flags
    if flags:
        if flags & ~_RECORDED:
            return Tensor(make_node(sig, (node,)))
        flags = GRAD & own["active"] if own["grad"] and sig.differentiable else 0
    return fresh(Node(sig, (node,), None, flags, own["site"] or user_site(2)))


def matrix_product(prim: Primitive, x: Any, y: Any) -> Any:
    """A contraction of two tensors whose signature is known from an earlier one (see `note_product`), or None."""
    if type(x) not in strong or type(y) not in strong:
        return None
    a, b = x._cell.node, y._cell.node
    sig = _pairs.get((prim, a.sig.out, b.sig.out))
    if sig is None:
        return None
    return wrap(make_node(sig, (a, b)))


def note_product(prim: Primitive, x: Any, y: Any, node: Node) -> None:
    """Remember the signature of a contraction, if it is of the operands as they are."""
    if type(x) in strong and type(y) in strong and node.args == (x._cell.node, y._cell.node):
        _pairs[prim, x._cell.node.sig.out, y._cell.node.sig.out] = node.sig


def application(prim: Primitive, operands: tuple[Any, ...]) -> Node | None:
    """A primitive of operands of types that it has been applied to before (see `note_application`), or None."""
    found = _applications.get(
        (prim, tuple([o._cell.node.sig.out if type(o) in strong else type(o) for o in operands]))
    )
    if found is None:
        return None
    sig, numbers = found
    nodes = []
    for o, number in zip(operands, numbers, strict=True):
        if number is None:
            nodes.append(o._cell.node)
            continue
        leaf, low, high = number
        if not low <= o <= high and o == o:
            return None
        nodes.append(Node(leaf, (), o, 0, None))
    return make_node(sig, tuple(nodes))


def note_application(prim: Primitive, operands: tuple[Any, ...], node: Node) -> None:
    """Remember the signature of an application, if it is to tensors as they are and to numbers."""
    key: list[Any] = []
    numbers: list[Any] = []
    for o, n in zip(operands, node.args, strict=True):
        if type(o) in strong and n is o._cell.node:
            key.append(n.sig.out)
            numbers.append(None)
        elif _as_it_is(o, n.dtype):
            key.append(type(o))
            numbers.append((n.sig, *_limits.get(n.dtype, (-_HUGE, _HUGE))))
        else:
            return
    _applications[prim, tuple(key)] = node.sig, numbers


def apply(composite: Composite, *args: Any, **attrs: Any) -> Any:
    """A composite applied to tensors; numbers take the dtype of the first inexact tensor, None stays None."""
    nodes: list[Node | None] = []
    for a in args:
        if type(a) in strong:
            nodes.append(a._cell.node)
        elif a is None:
            nodes.append(None)
        else:
            nodes = _typed(args)
            break
    node = apply_nodes(composite, nodes, composite.attrs(attrs))
    return tuple(map(wrap, node)) if type(node) is tuple else wrap(node)


def _typed(operands: Sequence[Any]) -> list[Node | None]:
    """Nodes of operands among which are numbers, weak scalars or arrays."""
    operands = [a._cell.node if type(a) in strong else a for a in operands]
    dtype = None
    for a in operands:
        if isinstance(a, Node) and (dtype is None or (a.dtype.inexact and not dtype.inexact)):
            dtype = a.dtype
    return [a if a is None or isinstance(a, Node) else node_of(a, dtype) for a in operands]


def apply_nodes(composite: Composite, nodes: Sequence[Node | None], attrs: tuple[Any, ...]) -> Any:
    """The same on nodes. Where a gradient may be asked for, the call returns its residuals from the start."""
    sig, given = composite.applied(nodes, attrs)
    node = saving_node(sig, given)
    if type(sig.out) is tuple:
        return tuple([pick(node, i) for i in range(len(sig.out))])
    return pick(node, 0) if type(node.sig.out) is tuple else node


def buffer_leaf(array: np.ndarray, dtype: DType) -> Node:
    """A leaf that owns `array`."""
    return leaf(Aval(array.shape, dtype), Buffer(array))


def operation(composite: Composite) -> Callable[..., Any]:
    """The tensor-level function of a composite."""

    def function(*args: Any, **attrs: Any) -> Any:
        return apply(composite, *args, **attrs)

    function.__name__ = composite.name
    function.__doc__ = composite.__doc__
    return function


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise unless `value` is one of `choices`."""
    if value not in choices:
        close = nearest(str(value), choices)
        hint = f". {close}" if close.startswith("Did") and len(choices) > 3 else ""
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}{hint}")
