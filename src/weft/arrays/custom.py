"""Functions with derivatives of their own, and functions that are computed again instead of remembered."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..autodiff.custom import CHECKPOINT, CustomJvp, CustomVjp
from ..autodiff.pairs import Need, Pair
from ..autodiff.saved import saving_results
from ..base.checked import checked
from ..base.errors import ArgumentError, GradientError, ShapeError, TraceError
from ..base.pytree import Structure, flatten, leaf_paths, tree_map, unflatten
from ..base.state import state
from ..ir.graph import Graph
from ..ir.node import SPENT, TRACED, Aval, Node, make_node
from ..ir.primitive import results
from ..ops.control import call
from ..ops.movement import identity, zeros
from . import dispatch
from .backward import recording
from .cell import own_node
from .tensor import Tensor
from .tracing import Draws, Traced, trace_function, widened


@checked
def stop_gradient(tree: Any) -> Any:
    """The same values, through which no derivative flows. Takes a tensor, or nested containers of them."""
    return tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, tree)


def _tensor_nodes(leaves: Sequence[Any]) -> list[Node]:
    return [x._node for x in leaves if isinstance(x, Tensor)]


def _replaced(leaves: Sequence[Any], nodes: Sequence[Node]) -> list[Any]:
    """`leaves` with the tensors among them exchanged for `nodes`, in order."""
    given = iter(nodes)
    return [Tensor(next(given)) if isinstance(x, Tensor) else x for x in leaves]


def _tracked(nodes: Sequence[Node]) -> bool:
    """Whether a derivative may be asked for with respect to one of the nodes."""
    bits = state.active & ~(state.tracing | SPENT)
    return state.grad and any(n.flags & bits for n in nodes)


def _title(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


# -- checkpoint ------------------------------------------------------------------------------------------------


@checked
def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, keeping nothing but its arguments for the backward pass, which computes the rest again.

    Trades time for memory: a deep model whose blocks are checkpointed keeps the inputs of the blocks and, during
    the backward pass, the insides of one block. Tensors that the function closes over (its parameters) are
    arguments like the others; random draws inside come out the same the second time; tensors that it changes (the
    statistics of a batch norm) are changed once. Arguments that are not tensors are passed on as they are. Also a
    decorator.

    >>> block = checkpoint(lambda x: exp(x).sum())
    >>> grad(block)(tensor([0.0, 1.0])).numpy().round(3)
    array([1.   , 2.718], dtype=float32)
    """

    @functools.wraps(function, updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten((args, kwargs))
        traced = trace_function("checkpoint", lambda a, k: function(*a, **k), leaves, structure, states=True)
        outs = _tensor_nodes(traced.leaves)
        if not outs and not traced.changed:
            return unflatten(traced.structure, traced.leaves)
        graph, operands = traced.close([*outs, *[n for _, n in traced.changed]])
        nodes = (*operands, *traced.draws.reserve(1), *_tensor_nodes(leaves))
        sig = call.signature(graph.in_avals, (_title(function), graph, CHECKPOINT))
        found = saving_results(sig, nodes)
        with recording(False):
            for (cell, _), node in zip(traced.changed, found[len(outs) :], strict=True):
                cell.rebind(own_node(node))
        return unflatten(traced.structure, _replaced(traced.leaves, found))

    return checkpointed


# -- custom derivatives ----------------------------------------------------------------------------------------


class _Custom:
    """A function of tensors with a derivative stated in Python."""

    __name__: str
    kind = ""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise ArgumentError(f"{self.kind} takes a function, got {type(function).__name__}")
        self.function = function
        functools.update_wrapper(self, function, updated=())

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        if not kwargs:
            return args
        bound = inspect.signature(self.function).bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise ArgumentError(
                f"{_title(self.function)}: keyword-only arguments cannot be differentiated through"
            )
        return bound.args

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args = self._positional(args, kwargs)
        leaves, structure = flatten(args)
        nodes = _tensor_nodes(leaves)
        if (
            not _tracked(nodes) and not state.ambient & TRACED
        ):  # (a compiled program may be differentiated later)
            return self.function(*args)
        traced = trace_function(self.kind, self.function, leaves, structure)
        outs = _tensor_nodes(traced.leaves)
        if len(outs) != len(traced.leaves) or not outs:
            raise TraceError(f"{_title(self.function)}: a function with {self.kind} must return tensors")
        if any(getattr(t, "owner", None) is self for t in state.traces):
            found = self._within_own_rule(leaves, structure, traced)
        else:
            body, used, draws, rule = self._rule(args, leaves, structure, traced)
            given = (*map(_cut_off, used), *draws.reserve(1), *nodes)
            found = saving_results(call.signature(body.in_avals, (_title(self.function), body, rule)), given)
        return unflatten(traced.structure, [Tensor(n) for n in found])

    def _within_own_rule(
        self, leaves: Sequence[Any], structure: Structure, traced: Traced
    ) -> tuple[Node, ...]:
        """A call of the function from its own derivative, whose derivative in turn is worked out when it is needed."""
        graph, operands = traced.close(_tensor_nodes(traced.leaves))
        nodes = _tensor_nodes(leaves)
        rule = Recursive(self, structure, leaves, len(graph.inputs) - len(nodes))
        sig = call.signature(graph.in_avals, (_title(self.function), graph, rule))
        return results(make_node(sig, (*map(_cut_off, operands), *traced.draws.reserve(1), *nodes)))

    def _trace(self, function: Callable[..., Any], leaves: Sequence[Any], structure: Structure) -> Traced:
        """Trace a part of the rule."""
        return trace_function(self.kind, function, leaves, structure, owner=self)

    def _rule(
        self, args: tuple[Any, ...], leaves: list[Any], structure: Structure, traced: Traced
    ) -> tuple[Graph, list[Node], Draws, Any]:
        """The body, what it and the rule use from outside, their random draws, and the rule."""
        raise NotImplementedError

    def _parts(self) -> tuple[Any, ...]:
        """The Python functions that make up the rule."""
        raise NotImplementedError

    def _numbers(self) -> tuple[Any, ...]:
        """The numbers that the functions close over: they are part of what a rule is."""
        held = []
        for f in (self.function, *self._parts()):
            for cell in getattr(f, "__closure__", None) or ():
                try:
                    held.append(cell.cell_contents)
                except ValueError:  # not assigned yet
                    continue
        return tuple([(type(v), v) for v in held if isinstance(v, (bool, int, float, complex, str))])


class Recursive:
    """The rule of a call that a derivative makes to the function it is the derivative of.

    It is traced when a derivative of higher order asks for it. By then the tensors it closes over cannot become
    arguments any more, so there must be none.
    """

    def __init__(self, custom: _Custom, structure: Structure, leaves: Sequence[Any], consts: int) -> None:
        self.custom = custom
        self.structure = structure
        self.leaves = tuple([x._node.aval if isinstance(x, Tensor) else x for x in leaves])
        self.consts = consts
        self._content = (id(custom), structure, self.leaves, consts, custom._numbers())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recursive) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    def __repr__(self) -> str:
        return f"{self.custom.kind} again"

    def pair(self, body: Graph, need: Need) -> Pair:
        return self._found(body).pair(body, need)

    def tangents(self, body: Graph, moving: Need) -> tuple[Graph, Need]:
        return self._found(body).tangents(body, moving)

    def _found(self, body: Graph) -> Any:
        found = body.memo.get(self)
        if found is None:
            found = body.memo[self] = self._traced(body)
        return found

    def _traced(self, body: Graph) -> Any:
        custom = self.custom
        leaves = [Tensor(zeros(x)) if isinstance(x, Aval) else x for x in self.leaves]
        args = unflatten(self.structure, leaves)
        traced = trace_function(custom.kind, custom.function, leaves, self.structure)
        _, used, draws, rule = custom._rule(args, leaves, self.structure, traced)
        if draws.inputs or not all(dispatch.is_number(n.value) for n in used):
            raise GradientError(
                f"{_title(custom.function)}: a derivative of higher order passes through a call of the function in its "
                "own rule, and the rule uses a tensor from outside (or a random draw); pass it as an argument"
            )
        return rule.with_constants(used, body.in_avals[: self.consts])


def _cut_off(node: Node) -> Node:
    """A tensor or number from outside, marked as a constant where it is one: a trace around takes it for an input of
    its own, which it must assume to be differentiated."""
    if not state.traces or node.flags & state.active & ~(state.tracing | SPENT):
        return node
    return identity.bind((node,))


def _close_together(
    runs: Sequence[Traced], outs: Sequence[Sequence[Node]]
) -> tuple[list[Graph], list[Node], Draws]:
    """Graphs of several traced functions over the same first inputs: tensors from outside, then random states."""
    closed = [t.close(o) for t, o in zip(runs, outs, strict=True)]
    used = list(dict.fromkeys(n for _, operands in closed for n in operands))
    draws = Draws.union([t.draws for t in runs])
    graphs = [widened(g, ops, t, used, draws) for (g, ops), t in zip(closed, runs, strict=True)]
    return graphs, used, draws


class custom_vjp(_Custom):
    """A function whose reverse mode is stated by hand.

    `f.defvjp(forward, backward)` sets two functions: `forward(*args)` returns (value of f, residuals), where the
    residuals are whatever `backward` needs, tensors or not; `backward(residuals, cotangent)` returns a tuple with
    a cotangent for every positional argument, in its structure, or None for zero. Both are ordinary functions of
    tensors, and are differentiated as such for higher derivatives. Forward mode follows by transposition.

    Arguments that are not tensors are passed on as they are. A tensor that is differentiated must be an argument.

    >>> @custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, ct: (clip(ct, -1.0, 1.0),))
    >>> grad(lambda x: (clip_gradient(x) * 10.0).sum())(tensor([1.0])).item()
    1.0
    """

    kind = "custom_vjp"

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.forward: Callable[..., Any] | None = None
        self.backward: Callable[..., Any] | None = None

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Set the two halves of the reverse rule."""
        self.forward, self.backward = forward, backward

    def _parts(self) -> tuple[Any, ...]:
        return self.forward, self.backward

    def _rule(
        self, args: tuple[Any, ...], leaves: list[Any], structure: Structure, traced: Traced
    ) -> tuple[Graph, list[Node], Draws, Any]:
        name = _title(self.function)
        if self.forward is None or self.backward is None:
            raise GradientError(f"{name}: state its derivative with {name}.defvjp(forward, backward) first")
        pair_structure = Structure(tuple, None, (structure,))

        def forward(inner: tuple[Any, ...]) -> Any:
            out = self.forward(*inner)  # type: ignore[misc]
            if not isinstance(out, tuple) or len(out) != 2:
                raise TraceError(f"{name}: forward must return a pair (value, residuals)")
            return {"value": out[0], "residuals": out[1]}

        ahead = self._trace(forward, leaves, pair_structure)
        value, kept = ahead.structure.children
        values, residuals = ahead.leaves[: value.size], ahead.leaves[value.size :]
        if value != traced.structure:
            raise TraceError(
                f"{name}: forward returns {value!r} as the value, the function {traced.structure!r}"
            )
        for v, w, path in zip(values, traced.leaves, leaf_paths(value, "value"), strict=True):
            if not isinstance(v, Tensor) or v._node.aval is not w._node.aval:
                raise ShapeError(f"{name}: {path} of forward is not of the type that the function returns")
        back, grads, positions = self._trace_backward(args, residuals, kept, traced)
        outs = [_tensor_nodes(x) for x in (traced.leaves, [*values, *residuals])]
        graphs, used, draws = _close_together([traced, ahead, back], [*outs, grads])
        body, ahead_graph, back_graph = graphs
        first = len(used) + len(draws.inputs)
        rule = CustomVjp(ahead_graph, back_graph, len(outs[0]), first, tuple([first + p for p in positions]))
        return body, used, draws, rule

    def _trace_backward(
        self, args: tuple[Any, ...], residuals: list[Any], kept: Structure, traced: Traced
    ) -> tuple[Traced, list[Node], list[int]]:
        """The backward function traced, its cotangents that are not None, and the arguments they belong to."""
        name = _title(self.function)
        cts = [Tensor(zeros(t._node.aval)) if t.dtype.inexact else None for t in traced.leaves]
        ct_leaves, ct_structure = flatten(unflatten(traced.structure, cts))
        with_cts = [*residuals, *ct_leaves]
        back = self._trace(self.backward, with_cts, Structure(tuple, None, (kept, ct_structure)))  # type: ignore[arg-type]
        if back.draws.inputs:
            raise TraceError(f"{name}: backward draws random numbers; draw them in forward and keep them")
        if back.structure.kind not in (tuple, list) or len(back.structure.children) != len(args):
            raise GradientError(
                f"{name}: backward must return a tuple with a cotangent (or None) for each of the {len(args)} "
                f"arguments, it returned {back.structure!r}"
            )
        found = unflatten(back.structure, back.leaves)
        grads: list[Node] = []
        positions: list[int] = []
        at = 0
        for i, (arg, ct) in enumerate(zip(args, found, strict=True)):
            for x, g, path in _aligned(arg, ct, f"the cotangent of argument {i}", name):
                if not isinstance(x, Tensor):
                    continue
                if isinstance(g, Tensor):
                    if g._node.aval is not x._node.aval:
                        raise ShapeError(
                            f"{name}: {path} is {g._node.aval.describe()}, it must be {x._node.aval.describe()}"
                        )
                    if x.dtype.inexact:
                        grads.append(g._node)
                        positions.append(at)
                elif g is not None:
                    raise GradientError(f"{name}: {path} must be a tensor or None, got {type(g).__name__}")
                at += 1
        return back, grads, positions


def _aligned(arg: Any, ct: Any, root: str, name: str) -> list[tuple[Any, Any, str]]:
    """The leaves of an argument beside those of its cotangent, where None stands for a whole sub-tree of zeros."""
    leaves, structure = flatten(arg)
    paths = leaf_paths(structure, root)
    if ct is None:
        return [(x, None, p) for x, p in zip(leaves, paths, strict=True)]
    given, other = flatten(ct)
    if other != structure:
        raise GradientError(f"{name}: {root} has structure {other!r}, the argument {structure!r}")
    return list(zip(leaves, given, paths, strict=True))


class custom_jvp(_Custom):
    """A function whose forward mode is stated by hand.

    `f.defjvp(rule)` sets `rule(primals, tangents) -> (value, tangent of the value)`, linear in the tangents, which
    come in the structure of the positional arguments (None for an argument without tangent, such as an integer).
    Reverse mode follows by transposition; the rule itself is differentiated for higher derivatives.

    >>> @custom_jvp
    ... def relu(x):
    ...     return maximum(x, 0.0)
    >>> @relu.defjvp
    ... def _(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return relu(x), where(x > 0.0, t, 0.0)
    """

    kind = "custom_jvp"

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the forward rule; returns it, so that this can be a decorator."""
        self.rule = rule
        return rule

    def _parts(self) -> tuple[Any, ...]:
        return (self.rule,)

    def _rule(
        self, args: tuple[Any, ...], leaves: list[Any], structure: Structure, traced: Traced
    ) -> tuple[Graph, list[Node], Draws, Any]:
        name = _title(self.function)
        if self.rule is None:
            raise GradientError(f"{name}: state its derivative with {name}.defjvp(rule) first")
        moved = [
            Tensor(zeros(x._node.aval)) if isinstance(x, Tensor) and x.dtype.inexact else None for x in leaves
        ]
        tangents, t_structure = flatten(unflatten(structure, moved))

        def forward(primals: Any, tangents: Any) -> Any:
            out = self.rule(primals, tangents)  # type: ignore[misc]
            if not isinstance(out, tuple) or len(out) != 2:
                raise TraceError(f"{name}: the rule must return a pair (value, tangent)")
            return {"value": out[0], "tangent": out[1]}

        both = self._trace(forward, [*leaves, *tangents], Structure(tuple, None, (structure, t_structure)))
        value, tangent = both.structure.children
        if value != traced.structure or (tangent != value and tangent.size):
            raise TraceError(
                f"{name}: the rule returns a value {value!r} and a tangent {tangent!r}, "
                f"the function {traced.structure!r}"
            )
        pushed = both.leaves[value.size :]
        if not all(isinstance(p, Tensor) for p in pushed):
            raise TraceError(f"{name}: the tangents must be tensors")
        for p, w, path in zip(pushed, traced.leaves, leaf_paths(tangent, "tangent"), strict=False):
            if p._node.aval is not w._node.aval:
                raise ShapeError(
                    f"{name}: {path} is {p._node.aval.describe()}, it must be {w._node.aval.describe()}"
                )
        outs = _tensor_nodes(traced.leaves)
        wanted = [p._node for p, o in zip(pushed, outs, strict=False) if o.dtype.inexact]
        (body, push), used, draws = _close_together([traced, both], [outs, wanted])
        first = len(used) + len(draws.inputs)
        return body, used, draws, CustomJvp(name, push, first)
