"""Functions that run before and after a module's `forward`, and when gradients come back through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arrays.tensor import Tensor
from ..autodiff.reverse import taps
from ..base.errors import ArgumentError, ShapeError
from ..base.pytree import flatten, unflatten
from ..base.state import state, version
from ..ir.node import Node, make_node
from ..ir.primitive import results
from ..ir.shape import show_shape
from ..ops.composite.define import composite
from ..ops.movement import identity

Table = dict[int, tuple[Callable[..., Any], bool]]


class Removable:
    """A hook that was added; `remove()` takes it away. Also a context manager."""

    def __init__(self, table: Table, key: int) -> None:
        self._table = table
        self._key = key

    def remove(self) -> None:
        """Take the hook away; doing so twice is harmless."""
        if self._table.pop(self._key, None) is not None:
            version.bump()

    def __enter__(self) -> Removable:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


class Hooks:
    """The hooks of one module, in order of registration."""

    def __init__(self) -> None:
        self.before: Table = {}
        self.after: Table = {}
        self.back_before: Table = {}  # see the gradients of the outputs
        self.back: Table = {}  # see the gradients of the inputs and of the outputs
        self._count = 0

    def add_pre(self, hook: Callable[..., Any], with_kwargs: bool) -> Removable:
        return self._add(self.before, hook, with_kwargs)

    def add_post(self, hook: Callable[..., Any], with_kwargs: bool) -> Removable:
        return self._add(self.after, hook, with_kwargs)

    def add_back(self, hook: Callable[..., Any], early: bool) -> Removable:
        return self._add(self.back_before if early else self.back, hook, False)

    def keys(self) -> tuple[Any, ...]:
        """Which hooks there are, for those who assume that they stay."""
        return tuple([tuple(t) for t in (self.before, self.after, self.back_before, self.back)])

    def _add(self, table: Table, hook: Callable[..., Any], with_kwargs: bool) -> Removable:
        self._count += 1
        table[self._count] = (hook, with_kwargs)
        version.bump()
        return Removable(table, self._count)

    def run(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`forward` with the hooks around it."""
        for hook, with_kwargs in list(self.before.values()):
            if with_kwargs:
                changed = hook(module, args, kwargs)
                if changed is not None:
                    args, kwargs = changed
            else:
                changed = hook(module, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        if self.back or self.back_before:
            out = Passage(module, self).run(args, kwargs)
        else:
            out = module.forward(*args, **kwargs)
        for hook, with_kwargs in list(self.after.values()):
            changed = hook(module, args, kwargs, out) if with_kwargs else hook(module, args, out)
            if changed is not None:
                out = changed
        return out


@composite
def passing(*xs):
    """The arguments as they are: a node through which all their gradients pass together."""
    return tuple([identity(x) for x in xs])


def _together(leaves: list[Any], watch: Callable[[list[Node | None]], list[Node | None]]) -> list[Any]:
    """The leaves, with the tensors that are differentiated sent through one node; `watch` sees their gradients."""
    places = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad]
    if not places or not state.grad:
        return leaves
    args = tuple([leaves[i]._node for i in places])
    node = make_node(passing.signature(tuple([a.aval for a in args]), ()), args)

    def tap(ct: Any) -> Any:
        found: list[Node | None] = [None] * len(leaves)
        for i, c in zip(places, ct if isinstance(ct, list) else [ct], strict=True):
            found[i] = c
        seen = watch(found)
        given = [seen[i] for i in places]
        return given if isinstance(ct, list) else given[0]

    taps[node] = tap
    out = list(leaves)
    for i, n in zip(places, results(node), strict=True):
        out[i] = Tensor(n)
    return out


class Passage:
    """One call of a module whose backward hooks will see the gradients of its tensor arguments and results."""

    def __init__(self, module: Any, hooks: Hooks) -> None:
        self.module = module
        self.hooks = hooks
        self.outputs: tuple[Tensor | None, ...] = ()

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaves, structure = flatten(list(args))
        inputs = _together(leaves, self._at_inputs)
        self.inputs = len(leaves) if inputs is not leaves else 0
        self.count = len(leaves)
        out = self.module.forward(*unflatten(structure, inputs), **kwargs)
        leaves, structure = flatten(out)
        return unflatten(structure, _together(leaves, self._at_outputs))

    def _at_outputs(self, cts: list[Node | None]) -> list[Node | None]:
        for hook, _ in list(self.hooks.back_before.values()):
            cts = _replaced(hook(self.module, _tensors(cts)), cts, "pre-hook")
        self.outputs = _tensors(cts)
        if not self.inputs:  # no gradient will come to the inputs
            self._call([None] * self.count)
        return cts

    def _at_inputs(self, cts: list[Node | None]) -> list[Node | None]:
        return self._call(cts)

    def _call(self, cts: list[Node | None]) -> list[Node | None]:
        for hook, _ in list(self.hooks.back.values()):
            cts = _replaced(hook(self.module, _tensors(cts), self.outputs), cts, "hook")
        return cts


def _tensors(cts: list[Node | None]) -> tuple[Tensor | None, ...]:
    return tuple([None if c is None else Tensor(c) for c in cts])


def _replaced(given: Any, cts: list[Node | None], what: str) -> list[Node | None]:
    """The gradients that a hook returned; those that were there, if it returned None."""
    if given is None:
        return cts
    items = list(given) if isinstance(given, (tuple, list)) else [given]
    if len(items) != len(cts):
        raise ArgumentError(
            f"a backward {what} returns None or as many gradients as it got, {len(cts)}, not {len(items)}"
        )
    out: list[Node | None] = []
    for new, old in zip(items, cts, strict=True):
        if isinstance(new, Tensor) and old is not None and new._node.aval is not old.aval:
            raise ShapeError(
                f"a backward {what} returned a gradient {new.dtype} {show_shape(new.shape)} in place of "
                f"{old.aval.describe()}"
            )
        out.append(new._node if isinstance(new, Tensor) and old is not None else None)
    return out
