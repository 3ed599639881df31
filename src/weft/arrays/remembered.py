"""Functions that remember what they build.

Most functions do nothing with their tensors but look at types, check options, and build a node or a few. What they
build then follows from the types and options alone, so it is worked out once, with all checks, and from then on made at
once: that is what makes the second step of an undecorated loop cheap.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from ..base.checked import checked
from ..base.site import user_site
from ..base.state import state
from ..ir.dtype import DType
from ..ir.graph import toposort
from ..ir.node import SHARED, SPENT, Node, Signature
from ..ir.primitive import leaf_prim
from . import dispatch
from .dispatch import fresh, ours

F = TypeVar("F", bound=Callable[..., Any])

#: Options of these types are told apart by value and type; with any other argument a function is called as it is.
_OPTIONS = frozenset((int, bool, float, str, type(None), DType))
_MOST = 2048


class Recipe:
    """What a call built, over slots: the tensors given, numbers, then one for each step."""

    __slots__ = ("kind", "numbers", "outputs", "steps")

    def __init__(
        self,
        numbers: list[Node],
        steps: list[tuple[Signature, tuple[int, ...], int]],
        outputs: list[int],
        kind: Callable[[list[Any]], Any] | None,
    ) -> None:
        self.numbers = numbers
        self.steps = steps  #: signature, slots of the arguments, flags
        self.outputs = outputs
        self.kind = kind  #: makes tuples, lists and such of several outputs; None if there is one

    def extend(self, slots: list[Node], numbers: list[Node]) -> None:
        """Add the numbers, and what is built of them and the tensors, to slots that hold the tensors."""
        slots += numbers
        site = state.site or user_site(2)
        get, add = slots.__getitem__, slots.append
        for sig, at, flags in self.steps:
            add(Node(sig, tuple(map(get, at)), None, flags, site))


#: What `remembered` finds for a call of a kind that is new.
NEW = Recipe([], [], [], None)


def remembered(function: F) -> F:
    """`checked`, for a public function of tensors and plain options that does nothing but build nodes from them.

    What depends on anything else (values, a draw of random numbers, a tensor that is not an argument or is changed in
    place) is noticed and not remembered. Settings that are not arguments are not noticed: do not read any. Numbers that
    change from call to call belong to operands, not to options.
    """
    known: dict[Any, Recipe | None] = {}
    plainly = checked(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        own = state.__dict__
        if own["ambient"]:
            return plainly(*args, **kwargs)
        slots: list[Node] = []
        key: list[Any] = [own["grad"] and own["active"]]
        for a in (*args, *kwargs.values()) if kwargs else args:
            kind = type(a)
            if kind in ours:
                node = a._cell.node
                slots.append(node)
                key += node.sig.out, node.flags
            elif (kind is list or kind is tuple) and a and type(a[0]) in ours:
                key += kind, len(a)
                for t in a:
                    if type(t) not in ours:
                        return plainly(*args, **kwargs)
                    node = t._cell.node
                    slots.append(node)
                    key += node.sig.out, node.flags
            elif kind is tuple:
                key += a, tuple(map(type, a))
            elif kind in _OPTIONS:
                key += a, kind
            else:
                return plainly(*args, **kwargs)
        if kwargs:
            key += kwargs
        try:
            found = known[tuple(key)]
        except KeyError:
            found = NEW  # called below: in here, what it raises would be shown as raised while handling a KeyError
        except TypeError:  # a list inside of a tuple
            found = None
        if found is None:
            return plainly(*args, **kwargs)
        if found is NEW:
            return _first(plainly, args, kwargs, slots, known, tuple(key))
        found.extend(slots, found.numbers)
        if found.kind is None:
            return fresh(slots[-1])
        return found.kind([fresh(slots[i]) for i in found.outputs])

    return call  # type: ignore[return-value]


def _first(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given: list[Node],
    known: dict[Any, Recipe | None],
    key: tuple[Any, ...],
) -> Any:
    """Call the function, and note what it built, or that it must be called every time."""
    before = state.looks, len(state.undo)
    out = function(*args, **kwargs)
    options = [a for a in (*args, *kwargs.values()) if type(a) not in ours and not _tensors(a)]
    if len(set(given)) == len(given) and not state.eager and all(map(_settled, options)):
        if len(known) >= _MOST:
            known.clear()
        known[key] = _recipe_of(given, out) if (state.looks, len(state.undo)) == before else None
    return out


def _tensors(argument: Any) -> bool:
    """Whether an argument is a list or tuple of tensors: nobody gets here with one of tensors and others."""
    return type(argument) in (list, tuple) and bool(argument) and type(argument[0]) in ours


def _settled(option: Any) -> bool:
    """Whether an option that is equal and of the same type is the same. -0.0 is not 0.0; a NaN is not even itself."""
    if type(option) is tuple:
        return all(type(o) in _OPTIONS and type(o) is not float for o in option)
    return type(option) is not float or (option != 0 and option == option)


def _recipe_of(given: list[Node], out: Any) -> Recipe | None:
    """How what a function returned was built from the given nodes; None where it depends on anything else."""
    several = isinstance(out, (tuple, list))
    tensors = list(out) if several else [out]
    if not tensors or not all(type(t) is dispatch.Tensor for t in tensors):
        return None
    kind = (
        getattr(type(out), "_make", type(out)) if several else None
    )  # a named tuple is made by another name
    return recipe(given, [t._cell.node for t in tensors], kind)


def recipe(
    given: list[Node], results: list[Node], kind: Callable[[list[Any]], Any] | None = None
) -> Recipe | None:
    """How the results were built from the given nodes; None where they depend on anything else."""
    if any(n.flags & (state.tracing | SPENT | SHARED) for n in given):
        return None
    known = set(given)
    order = [n for n in toposort(results, lambda n: () if n in known else n.args) if n not in known]
    numbers = [
        n for n in order if n.sig.prim is leaf_prim and isinstance(n.value, (bool, int, float, complex))
    ]
    slot = {n: i for i, n in enumerate([*given, *numbers])}
    made = [n for n in order if n not in slot]
    if any(n.value is not None for n in made) or len(set(results) & set(made)) < len(results):
        return None
    steps = []
    for n in made:
        steps.append((n.sig, tuple([slot[a] for a in n.args]), n.flags))
        slot[n] = len(slot)
    return Recipe(numbers, steps, [slot[n] for n in results], kind)
