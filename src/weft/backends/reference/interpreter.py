"""Evaluate a graph with the NumPy bodies of its primitives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...base.errors import IndexingError, NumericError, OutOfMemoryError, WeftError
from ...ir.graph import Graph
from ...ir.node import Node
from ...ir.primitive import pick_prim
from ...ops.composite.classes import COUNTING_FROM_ZERO, in_users_words
from ...ops.control import call
from ...runtime import profile
from ...runtime.backend import NOTHING, Fault, Observer, register_backend
from ...runtime.buffer import Buffer, Value, to_array
from .control import LOWERINGS


class ReferenceBackend:
    """Runs graphs node by node."""

    name = "reference"

    def compile(self, graph: Graph, recurs: bool = False, steady: Collection[int] = ()) -> Interpreter:
        return Interpreter(graph)

    def at_once(self, graph: Graph) -> None:
        """It takes no time to make a list of NumPy calls."""

    def describe(self) -> str:
        return f"the reference backend: NumPy {np.__version__}, operation by operation"


register_backend(ReferenceBackend.name, ReferenceBackend)


#: What NumPy says of sizes that no memory has.
_TOO_LARGE = ("Maximum allowed", "array is too big")


class Interpreter:
    """A graph as a list of steps over numbered slots; a slot is dropped after its last use."""

    def __init__(self, graph: Graph) -> None:
        slot = {n: i for i, n in enumerate([*graph.inputs, *graph.nodes])}
        self.inputs = [n.aval.dtype.numpy for n in graph.inputs]
        self.size = len(slot)
        self.outputs = [slot[n] for n in graph.outputs]
        last: dict[int, int] = {}
        for i, node in enumerate(graph.nodes):
            for a in node.args:
                last[slot[a]] = i
        keep = set(self.outputs)
        drops: list[list[int]] = [[] for _ in graph.nodes]
        for s, i in last.items():
            if s not in keep:
                drops[i].append(s)
        self.steps = [(slot[n], n, [slot[a] for a in n.args], drops[i]) for i, n in enumerate(graph.nodes)]

    def run(self, inputs: Sequence[Value], observe: Observer | None = None) -> list[Buffer]:
        arrays = [to_array(v, d) for v, d in zip(inputs, self.inputs, strict=True)]
        with np.errstate(all="ignore"):
            outs = self.evaluate(arrays, observe)
        return [Buffer(_own(o, arrays)) for o in outs]

    def standing(self, steady: Collection[int] = (), replaced: Mapping[int, int | None] = NOTHING) -> None:
        """A list of NumPy calls has nothing to lay out."""

    def evaluate(self, arrays: Sequence[np.ndarray], observe: Observer | None = None) -> list[np.ndarray]:
        slots: list[Any] = [None] * self.size
        slots[: len(arrays)] = arrays
        # Bodies of calls and loops are part of the node that they belong to.
        watched = None if profile.recorder is None or profile.recorder.depth > 1 else profile.recorder
        for i, (out, node, args, drop) in enumerate(self.steps):
            try:
                if watched is None:
                    slots[out] = evaluate(node, [slots[a] for a in args])
                else:
                    slots[out] = self._watched(watched, i, [slots[a] for a in args])
            except Fault as f:
                if node.sig.prim is not call:
                    raise Fault(i, f.error) from None
                name, text = node.attrs["name"], str(f.error)
                if name in COUNTING_FROM_ZERO:
                    text = in_users_words(name, text)
                raise Fault(i, type(f.error)(f"{name}: {text}")) from None
            except WeftError as e:
                raise Fault(i, e) from None
            except IndexError as e:
                raise Fault(i, IndexingError(f"{node.prim.name}: {e}")) from None
            except np.linalg.LinAlgError as e:
                raise Fault(i, NumericError(f"{node.prim.name}: {e}")) from None
            except (MemoryError, ValueError) as e:
                if not isinstance(e, MemoryError) and not any(t in str(e) for t in _TOO_LARGE):
                    raise
                wanted = ", ".join(o.describe() for o in node.sig.outs)
                raise Fault(
                    i, OutOfMemoryError(f"{node.prim.name}: not enough memory for {wanted}")
                ) from None
            if observe is not None:
                result = slots[out]
                try:
                    observe(i, result if type(result) is tuple else (result,))
                except Fault as f:
                    raise Fault(i, _within(node, [slots[a] for a in args], observe) or f.error) from None
            for s in drop:
                slots[s] = None
        return [slots[s] for s in self.outputs]

    @cached_property
    def tasks(self) -> list[profile.Task]:
        """What a profile says of each node."""
        return [_task(node) for _, node, _, _ in self.steps]

    def _watched(self, recorder: profile.Recorder, position: int, arrays: list[Any]) -> Any:
        """The result of a node; a recorder is told how long it took."""
        node = self.steps[position][1]
        if node.value is not None or node.sig.prim is pick_prim:
            return evaluate(node, arrays)
        began = recorder.open()
        try:
            return evaluate(node, arrays)
        finally:
            recorder.close(self.tasks[position], began)


def _task(node: Node) -> profile.Task:
    outs = ", ".join(map(repr, node.sig.outs))
    bits = max(o.dtype.bits for o in node.sig.outs)
    return profile.Task("node", (profile.operation_name(node),), (node.site,), outs, bits=bits, node=node)


def evaluate(node: Node, arrays: list[Any]) -> Any:
    """The result of one node: an array, or a tuple of them."""
    prim = node.sig.prim
    if node.value is not None:
        return to_array(node.value, node.aval.dtype.numpy)
    if prim is pick_prim:
        return arrays[0][node.attrs["index"]]
    if prim is call:
        outs = body_of(node.attrs["body"])(arrays)
        return outs[0] if len(outs) == 1 else tuple(outs)
    if prim.higher_order:
        return LOWERINGS[prim.name](body_of, node, arrays)
    narrow = any(a.dtype.storage_only for a in node.sig.inputs)
    if narrow and prim.computes:
        arrays = [
            a.astype(np.float32) if t.dtype.storage_only else a
            for a, t in zip(arrays, node.sig.inputs, strict=True)
        ]
    if prim.computes and (not prim.exact or node.sig.inputs[0].dtype.kind == "c"):
        arrays = _laid_out(arrays, prim.elementwise)
    result = prim.evaluate(*arrays, **node.attrs)
    if type(node.sig.out) is tuple:
        return tuple([_typed(r, t) for r, t in zip(result, node.sig.out, strict=True)])
    return _typed(result, node.sig.out)


def _within(node: Node, arrays: list[Any], observe: Observer) -> WeftError | None:
    """What an observer says of the operations in the body of a loop or branch, which is run again for it."""
    if node.prim is call or not node.prim.higher_order:
        return None
    body, turns = node.attrs.get("body"), -1

    def watched(graph: Graph) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
        def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            nonlocal turns
            turns += graph is body
            return Interpreter(graph).evaluate(arrays, observe.within(graph, arrays))

        return run

    try:
        LOWERINGS[node.prim.name](watched, node, arrays)
    except Fault as f:
        after = "" if turns < 0 else f", after {turns} step{'s' * (turns != 1)}"
        return type(f.error)(f"{node.prim.name}: {f.error}{after}")
    return None


def _laid_out(arrays: list[Any], together: bool) -> list[Any]:
    """The operands contiguous, and broadcast if `together`.

    NumPy adds in an order that follows memory, and has loops of other bits for operands that lie apart or repeat one
    element. What an operand is a view of must not show in the result.
    """
    if together and any(a.shape != arrays[0].shape for a in arrays):
        arrays = np.broadcast_arrays(*arrays)  # type: ignore[assignment]
    return [a if a.flags.c_contiguous and a.flags.aligned else np.array(a, order="C") for a in arrays]


def _typed(result: Any, aval: Any) -> np.ndarray:
    array = np.asarray(result)
    return array if array.dtype == aval.dtype.numpy else array.astype(aval.dtype.numpy)


def body_of(graph: Graph) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """A sub-graph as a function of arrays; made ready once and kept on the graph."""
    found = graph.memo.get("interpreter")
    if found is None:
        found = graph.memo["interpreter"] = Interpreter(graph)
    return found.evaluate


def _own(array: np.ndarray, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """A result in memory of its own, contiguous and read-only: never a view of an input or of another result."""
    if array.base is not None or not array.flags.c_contiguous or any(array is i for i in inputs):
        array = np.array(array, order="C", copy=True)
    return array
