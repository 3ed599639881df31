"""Graphs that are seen for the first time, one operation after the other.

To plan the kernels of a graph takes a millisecond or two, many times as long as to compute a few thousand elements. So
a small graph runs without a plan at first: NumPy moves elements, operations on single elements and reductions to one
number have generic kernels of their own, and all others are programs of one operation, which graphs share. The results
have the bits that those of the planned graph have (docs/decisions/0029-at-once.md).
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...base.errors import IndexingError
from ...base.state import isolated
from ...ir.graph import Graph, fresh_inputs
from ...ir.node import Aval, Node, Signature
from ...ir.primitive import pick, pick_prim
from ...kernel.anchors import REDUCTIONS
from ...kernel.single import is_single, single_kernel
from ...kernel.target import Target
from ...ops.indexing import iota
from ...runtime.backend import NOTHING, Executable, Fault, Observer
from ...runtime.buffer import Buffer, Value, to_array
from . import library, memory
from .host import CONTROL
from .regions import supported

#: Elements of each value in such a graph, at most.
_FEW = 1 << 12

#: Kernels and programs that may have to be made first. Where it takes more, it may as well be those of the whole graph.
_NEW = 3

#: Primitives that compute nothing: their NumPy bodies move elements.
_MOVES = frozenset(
    ("broadcast_in_dim", "concatenate", "dynamic_slice", "dynamic_update_slice", "flip", "gather", "identity", "imag",
     "pad", "permute", "real", "reshape", "slice", "stop_gradient", "triangle")
)  # fmt: skip

#: Programs of one operation that are kept.
_MOST = 256

#: What an operation gives: its value, or several.
_Result = Buffer | Sequence[Buffer]

#: A node as it is run: its operation, and the numbers of its arguments.
_Step = tuple[Callable[[Sequence[Any]], _Result], Sequence[int]]


class AtOnce:
    """A graph as a list of steps, one for each node."""

    def __init__(self, graph: Graph, number: Mapping[Node, int], steps: Sequence[_Step]) -> None:
        self._types = [n.dtype.numpy for n in graph.inputs]
        self._steps = steps
        self._results = [number[n] for n in graph.outputs]
        #: whether each result is an input, or one that is there already: then it is copied
        self._again: list[bool] = []
        seen = set(range(len(graph.inputs)))
        for i in self._results:
            self._again.append(i in seen)
            seen.add(i)

    def run(self, inputs: Sequence[Value], observe: Observer | None = None) -> list[Buffer]:
        values: list[Any] = [
            v if isinstance(v, Buffer) else Buffer(to_array(v, t))
            for v, t in zip(inputs, self._types, strict=True)
        ]
        try:
            for operation, args in self._steps:
                values.append(operation([values[i] for i in args]))
        except Fault as fault:
            raise Fault(len(values) - len(inputs), fault.error) from None
        outs = zip(self._results, self._again, strict=True)
        return [values[i].copy() if again else values[i] for i, again in outs]

    def standing(self, steady: Collection[int] = (), replaced: Mapping[int, int] = NOTHING) -> None:
        """Nothing is laid out for calls that follow one another."""


def at_once(graph: Graph, program: Callable[[Graph], Executable], target: Target) -> AtOnce | None:
    """A small graph without a plan, its other operations made by `program`; None where a plan takes no longer."""
    if any(n.sig.prim.name in CONTROL for n in graph.nodes):
        return None
    if any(_elements(o) > _FEW for n in (*graph.inputs, *graph.nodes) for o in n.sig.outs):
        return None
    number = {n: i for i, n in enumerate([*graph.inputs, *graph.nodes])}
    steps = [(_operation(n, target), [number[a] for a in n.args]) for n in graph.nodes]
    kernels = {s.kernel for s, _ in steps if isinstance(s, _Call) and s.kernel.code is None}
    new = [k for k in kernels if k.form is not None and not library.is_at_hand(k.form.digest)]
    others = {s.sig for s, _ in steps if isinstance(s, _Alone) and s.sig not in _programs}
    if len(new) + len(others) > _NEW:
        return None
    _load(kernels, target)
    for i, (s, _) in enumerate(steps):
        if isinstance(s, _Alone):
            try:
                s.program = _program(s.sig, program)
            except Exception as error:
                error.position = i  # type: ignore[attr-defined]
                raise
    return AtOnce(graph, number, steps)


def _elements(aval: Aval) -> int:
    return prod(aval.shape)  # type: ignore[type-var]


def _operation(node: Node, target: Target) -> Any:
    """What a node does. Those of one signature share it, unless it must be a program."""
    if node.value is not None:
        return _Constant(to_array(node.value, node.dtype.numpy))
    sig = node.sig
    found = sig.memo.get("at once")
    if found is not None:
        return found
    if sig.prim is iota:
        found = _Constant(iota.evaluate(**sig.attrs).astype(node.dtype.numpy))
    elif sig.prim is pick_prim:
        found = _Pick(sig.attrs["index"])
    elif sig.prim.name in _MOVES:
        found = _Move(sig)
    elif supported(node) and is_single(sig):
        found = _Call(sig, target)
    else:
        return _Alone(sig)
    sig.memo["at once"] = found
    return found


class _Constant:
    """What is the same in every run."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __call__(self, args: Sequence[Any]) -> Buffer:
        return Buffer(self.array.copy())


class _Pick:
    """One of the results of a node."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __call__(self, args: Sequence[Any]) -> Buffer:
        return args[0][self.index]


class _Move:
    """The same elements in another order or shape, in memory of their own."""

    def __init__(self, sig: Signature) -> None:
        self.name, self.move, self.attrs = sig.prim.name, sig.prim.evaluate, sig.attrs

    def __call__(self, args: Sequence[Buffer]) -> Buffer:
        try:
            moved = self.move(*[a.array for a in args], **self.attrs)
        except IndexError as e:
            raise Fault(0, IndexingError(f"{self.name}: {e}")) from None
        return Buffer(np.array(moved, order="C"))


# -- operations with generic kernels of their own ---------------------------------------------------------------

_FUNCTION = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class _Kernel:
    """The generic kernel of one operation on some types."""

    def __init__(self, sig: Signature, repeated: tuple[bool, ...], target: Target) -> None:
        self.form = library.generic_form(single_kernel(sig, repeated), target)
        assert self.form is not None, sig
        _, *cut = self.form.values.tolist()
        self.width = cut[0] if cut else 0  #: elements in a unit of work; 0 if all of it is one
        self.code: library.Code | None = None
        self.function: Any = None


#: By operation, types, and which operands are one element for all of the others'.
_kernels: dict[Any, _Kernel] = {}


def _kernel(sig: Signature, repeated: tuple[bool, ...], target: Target) -> _Kernel:
    attrs = () if sig.prim.name in REDUCTIONS else sig.attrs.values()
    key = sig.prim, *attrs, *[a.dtype for a in sig.inputs], *repeated
    found = _kernels.get(key)
    if found is None:
        found = _kernels[key] = _Kernel(sig, repeated, target)
    return found


def _load(kernels: Collection[_Kernel], target: Target) -> None:
    forms = {k: k.form for k in kernels if k.form is not None}
    code = library.load(list(forms.values()), target) if forms else {}
    for kernel, form in forms.items():
        kernel.function = _FUNCTION(code[form.digest].address)
        kernel.code = code[form.digest]
        kernel.form = None  # its loops are not needed any more


class _Call:
    """A call of such a kernel."""

    def __init__(self, sig: Signature, target: Target) -> None:
        (out,) = sig.outs
        shape: tuple[int, ...] = out.shape  # type: ignore[assignment]
        sizes = [_elements(a) for a in sig.inputs]
        length = sizes[0] if sig.prim.name in REDUCTIONS else _elements(out)
        self.kernel = _kernel(sig, tuple([n == 1 and length > 1 for n in sizes]), target)
        #: for each operand the shape that it must be broadcast to
        self.shapes = [None if n in (1, length) else shape for n in sizes]
        self.units = -(-length // self.kernel.width) if self.kernel.width else 1
        self.values = (ctypes.c_int64 * 3)(length, self.kernel.width, self.units)
        self.words = ctypes.c_int64 * (len(sizes) + 2)
        self.result = memory.size_of(shape, out.dtype.numpy), shape, out.dtype.numpy

    def __call__(self, args: Sequence[Buffer]) -> Buffer:
        held = [
            a if shape is None else Buffer(np.array(np.broadcast_to(a.array, shape), order="C"))
            for a, shape in zip(args, self.shapes, strict=True)
        ]
        out = memory.Recycled(*self.result)
        addresses = [a._address or a.address for a in held]
        words = self.words(*addresses, out._address, ctypes.addressof(self.values))
        self.kernel.function(words, 0, self.units, None)
        return out


# -- all other operations ---------------------------------------------------------------------------------------


class _Alone:
    """A program of one operation."""

    program: Executable

    def __init__(self, sig: Signature) -> None:
        self.sig = sig
        self.several = type(sig.out) is tuple

    def __call__(self, args: Sequence[Buffer]) -> _Result:
        outs = self.program.run(args)
        return outs if self.several else outs[0]


_programs: OrderedDict[Signature, Executable] = OrderedDict()


def _program(sig: Signature, program: Callable[[Graph], Executable]) -> Executable:
    """The program of one operation."""
    found = _programs.get(sig)
    if found is None:
        with isolated():
            inputs = fresh_inputs(sig.inputs)
            node = Node(sig, tuple(inputs), None, 0, None)
            outs = [pick(node, i) for i in range(len(sig.outs))] if type(sig.out) is tuple else [node]
            found = _programs[sig] = program(Graph(inputs, outs))
        if len(_programs) > _MOST:
            _programs.popitem(last=False)
    return found
