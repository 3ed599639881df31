"""Graphs that are seen for the first time, one operation after the other.

To plan the kernels of a graph takes a millisecond or two, many times as long as to compute a few thousand elements. So
a small graph runs without a plan at first: NumPy moves and compares elements, nearly all operations have generic
kernels of their own, and the others are programs of one operation, which graphs share. The results have the bits that
those of the planned graph have (docs/decisions/0029-at-once.md).
"""

from __future__ import annotations

import ctypes
import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ...base.errors import IndexingError, WeftError
from ...base.state import isolated
from ...ir.dtype import real_dtype
from ...ir.graph import Graph, fresh_inputs
from ...ir.node import Aval, Node, Signature
from ...ir.primitive import pick, pick_prim
from ...kernel.complexes import is_complex
from ...kernel.loops import Kernel
from ...kernel.single import FEW, Filling, Single, combines_nothing, fillings, single, single_kernel
from ...kernel.target import Target
from ...ops.indexing import iota
from ...runtime.backend import NOTHING, Executable, Fault, Observer
from ...runtime.buffer import Buffer, Value, own_copy, to_array
from . import library, memory
from .cache import disk_cache
from .host import CONTROL, evaluate, on_host
from .regions import has_code

#: Kernels and programs that may have to be made first. Where it takes more, it may as well be those of the whole graph.
_NEW = 3

#: Primitives that compute nothing: their NumPy bodies move elements.
_MOVES = frozenset(
    ("broadcast_in_dim", "concatenate", "dynamic_slice", "dynamic_update_slice", "flip", "gather", "identity", "imag",
     "pad", "permute", "real", "reshape", "slice", "stop_gradient", "triangle")
)  # fmt: skip

#: These choose and compare, and their bodies know no storage types.
_CHOICES = frozenset(
    ("argmax", "argmin", "argsort", "equal", "isfinite", "isinf", "isnan", "less", "less_equal", "signbit", "sort",
     "where")
)  # fmt: skip

#: These round nothing where there are but integers and booleans.
_EXACT = frozenset(
    ("abs", "add", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "cast", "clip", "maximum", "minimum",
     "mul", "neg", "sign", "sub")
)  # fmt: skip

#: Programs of one operation that are kept.
_MOST = 256

#: What an operation gives: its value, or several.
_Result = Buffer | Sequence[Buffer]

#: A node as it is run: what it does, and the numbers of its arguments.
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

    def standing(self, steady: Collection[int] = (), replaced: Mapping[int, int | None] = NOTHING) -> None:
        """Nothing is laid out for calls that follow one another."""


def at_once(graph: Graph, program: Callable[[Graph], Executable], target: Target) -> AtOnce | None:
    """A small graph without a plan, its other operations made by `program`; None where a plan takes no longer."""
    number = {n: i for i, n in enumerate(graph.inputs)}
    results = set(graph.outputs)
    steps: list[_Step] = []
    alone: dict[int, _Alone] = {}
    kernels: dict[_Kernel, None] = {}
    for n in graph.nodes:
        found = (
            _Constant(to_array(n.value, n.dtype.numpy)) if n.value is not None else n.sig.memo.get("at once")
        )
        if found is None:
            found = _operation(n.sig, target)
            if found is None:
                return None
        if found.kernel is not None and found.kernel.code is None:
            kernels[found.kernel] = None
        if type(found) is _Alone:
            alone[len(steps)] = found
        steps.append((found if n in results else found.within, [number[a] for a in n.args]))
        number[n] = len(number)
    new = [k for k in kernels if not library.is_at_hand(k.digest)]
    others = {s.sig for s in alone.values() if s.sig not in _programs}
    if len(new) + len(others) > _NEW:
        return None
    _load(kernels, target)
    for i, s in alone.items():
        try:
            s.program = _program(s.sig, program)
        except Exception as error:
            error.position = i  # type: ignore[attr-defined]
            raise
    return AtOnce(graph, number, steps)


def _operation(sig: Signature, target: Target) -> _Operation | None:
    """What nodes of one signature do, which share it unless it must be a program. None for what is not run so."""
    if sig.prim.name in CONTROL or any(a.size > FEW for a in (*sig.inputs, *sig.outs)):
        return None
    found = _in_numpy(sig) or _called(sig, target) or _in_parts(sig, target)
    if found is None:
        return _Alone(sig)
    sig.memo["at once"] = found
    return found


def _in_numpy(sig: Signature) -> _Operation | None:
    """An operation that NumPy does with the bits of any kernel, or that Python does anyway."""
    if sig.prim is iota:
        return _Constant(iota.evaluate(**sig.attrs).astype(sig.out.dtype.numpy))  # type: ignore[union-attr]
    if sig.prim is pick_prim:
        return _Pick(sig.attrs["index"])
    if _is_exact(sig):
        return _InNumPy(sig.prim.name, partial(sig.prim.evaluate, **sig.attrs))
    if combines_nothing(sig):
        return _InNumPy(sig.prim.name, partial(np.reshape, shape=sig.out.shape))  # type: ignore[union-attr]
    return _OnHost(sig) if on_host(sig) else None


def _is_exact(sig: Signature) -> bool:
    """Whether an operation has the same bits whoever does it: then NumPy does."""
    name, avals = sig.prim.name, (*sig.inputs, *sig.outs)
    if name in _CHOICES:
        return not any(a.dtype.storage_only for a in avals)
    return name in _MOVES or (name in _EXACT and all(a.dtype.kind in "bui" for a in avals))


def _called(sig: Signature, target: Target) -> _Call | None:
    """An operation that has a generic kernel."""
    found = single(sig)
    if found is None or not (has_code(sig) or is_complex(sig)):
        return None
    return _Call(sig, found, target)


def _in_parts(sig: Signature, target: Target) -> _InParts | None:
    """A sum of complex numbers: the same sum of both parts."""
    if sig.prim.name not in ("sum", "cumsum") or not is_complex(sig):
        return None
    part = Aval(sig.inputs[0].shape, real_dtype(sig.inputs[0].dtype))
    call = _called(sig.prim.signature((part,), tuple(sig.attrs.values())), target)
    return None if call is None else _InParts(sig, call)


class _Operation:
    """What a step does: a function of a list of buffers."""

    kernel: _Kernel | None = None  #: what has to be loaded for it

    def __call__(self, args: Sequence[Any]) -> _Result:
        raise NotImplementedError

    @property
    def within(self) -> Callable[[Sequence[Any]], _Result]:
        """The same for what only the graph itself uses, which nobody writes to: it may lie in an operand."""
        return self


class _Constant(_Operation):
    """What is the same in every run."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __call__(self, args: Sequence[Any]) -> Buffer:
        return Buffer(self.array.copy())


class _Pick(_Operation):
    """One of the results of a node."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __call__(self, args: Sequence[Any]) -> Buffer:
        return args[0][self.index]


class _InNumPy(_Operation):
    """What NumPy does: the same elements in another order or shape, or operations on them that are exact."""

    def __init__(self, name: str, body: Callable[..., np.ndarray]) -> None:
        self.name, self.body = name, body

    def __call__(self, args: Sequence[Buffer]) -> Buffer:
        return Buffer(np.array(self._found(args), order="C"))

    @property
    def within(self) -> Callable[[Sequence[Buffer]], Buffer]:
        return lambda args: Buffer(np.asarray(self._found(args), order="C"))

    def _found(self, args: Sequence[Buffer]) -> np.ndarray:
        try:
            return self.body(*[a.array for a in args])
        except IndexError as e:
            raise Fault(0, IndexingError(f"{self.name}: {e}")) from None


class _OnHost(_Operation):
    """What Python computes in planned programs, too."""

    def __init__(self, sig: Signature) -> None:
        self.node = Node(sig, (), None, 0, None)
        self.types = [o.dtype.numpy for o in sig.outs]
        self.several = type(sig.out) is tuple

    def __call__(self, args: Sequence[Buffer]) -> _Result:
        try:
            with np.errstate(all="ignore"):
                found = evaluate(self.node, [a.array for a in args])
        except WeftError as e:
            raise Fault(0, e) from None
        several = found if self.several else [found]
        outs = [Buffer(own_copy(f, t)) for f, t in zip(several, self.types, strict=True)]
        return outs if self.several else outs[0]


# -- operations with generic kernels of their own ---------------------------------------------------------------

_FUNCTION = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class _Kernel:
    """A generic kernel: the numbers that it is called with follow from the sizes of what it is called for.

    What they are is kept on disk beside its code: then nobody has to make its loops again.
    """

    def __init__(self, single: Single, target: Target) -> None:
        self.single, self.target = single, target
        self.code: library.Code | None = None
        self.function: Any = None
        key = library.key_of(f"{single.sig!r} {single.sig.attrs}", target)
        known = disk_cache().get(key)
        if known is None:
            known = json.dumps(self._made()).encode()
            disk_cache().put(key, known)
        #: `width`: elements of the last outer loop in a unit of work; 0 if units are not made so
        self.digest, numbers, self.width, outer = json.loads(known)
        self.count = len(numbers) + (2 if self.width else 0)
        self.numbers, self.outer = ([Filling(n, tuple(of)) for n, of in found] for found in (numbers, outer))

    def loops(self) -> Kernel:
        """The kernel itself."""
        return self._form(single_kernel(self.single.sig)).kernel

    def _form(self, kernel: Kernel) -> library.Form:
        form = library.generic_form(kernel, self.target)
        assert form is not None, self.single
        return form

    def _made(self) -> tuple[str, list[Filling], int, list[Filling]]:
        kernel = single_kernel(self.single.sig)
        form, width = self._form(kernel), 0
        numbers = form.values.tolist()
        if kernel.across:
            *numbers, width, _ = numbers
        stands = self.single.stands
        return form.digest, fillings(numbers, stands), width, fillings([v.size for v in kernel.outer], stands)

    def values(self, sizes: Sequence[int]) -> tuple[int, Sequence[int]]:
        """(units of work, all numbers) for some sizes."""
        values = [f.of(sizes) for f in self.numbers]
        *outer, last = [1, *[f.of(sizes) for f in self.outer]]
        if not self.width:
            return prod(outer) * last, values
        blocks = -(-last // self.width)
        return prod(outer) * blocks, [*values, self.width, blocks]


_kernels: dict[Signature, _Kernel] = {}


def _load(kernels: Collection[_Kernel], target: Target) -> None:
    code = (
        library.load({k.digest: library.Wanted(k.loops, k.count) for k in kernels}, target) if kernels else {}
    )
    for kernel in kernels:
        kernel.function = _FUNCTION(code[kernel.digest].address)
        kernel.code = code[kernel.digest]


class _Call(_Operation):
    """A call of such a kernel."""

    kernel: _Kernel

    def __init__(self, sig: Signature, single: Single, target: Target) -> None:
        found = _kernels.get(single.sig)
        if found is None:
            found = _kernels[single.sig] = _Kernel(single, target)
        self.kernel = found
        self.moves = [
            partial(np.broadcast_to, shape=shape) if shape is not None
            else partial(np.transpose, axes=order) if order is not None
            else None
            for shape, order in zip(single.spread, single.turned, strict=True)
        ]  # fmt: skip
        self.units, values = found.values(single.sizes)
        self.values = (ctypes.c_int64 * len(values))(*values)
        self.words = ctypes.c_int64 * (len(sig.inputs) + 2)
        out: Any = sig.out
        self.result = memory.size_of(out.shape, out.dtype.numpy), out.shape, out.dtype.numpy

    def __call__(self, args: Sequence[Buffer]) -> Buffer:
        held = [
            a if move is None else Buffer(np.asarray(move(a.array), order="C"))
            for a, move in zip(args, self.moves, strict=True)
        ]
        out = memory.Recycled(*self.result)
        addresses = [a._address or a.address for a in held]
        words = self.words(*addresses, out._address, ctypes.addressof(self.values))
        self.kernel.function(words, 0, self.units, None)
        return out


class _InParts(_Operation):
    """An operation on complex numbers that does the same to both parts."""

    def __init__(self, sig: Signature, call: _Call) -> None:
        self.call, self.kernel = call, call.kernel
        out: Any = sig.out
        self.shape, self.dtype = out.shape, out.dtype.numpy

    def __call__(self, args: Sequence[Buffer]) -> Buffer:
        x: Any = args[0].array
        out: Any = np.empty(self.shape, self.dtype)
        for of, part in ((out.real, x.real), (out.imag, x.imag)):
            of[...] = self.call([Buffer(np.array(part, order="C"))]).array
        return Buffer(out)


# -- all other operations ---------------------------------------------------------------------------------------


class _Alone(_Operation):
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
