"""Nested containers of tensors: flatten to leaves, rebuild from leaves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from .errors import ArgumentError

__all__ = ["LEAF", "Structure", "flatten", "leaf_paths", "register_pytree", "tree_map", "unflatten"]

Flatten = Callable[[Any], tuple[tuple[Any, ...], Any]]
Unflatten = Callable[[Any, list[Any]], Any]

_registry: dict[type, tuple[Flatten, Unflatten]] = {}

#: Types that have been found to be no containers.
_leaves: set[type] = set()


def register_pytree(kind: type, flatten: Flatten, unflatten: Unflatten) -> None:
    """Make instances of `kind` containers: `flatten(x) -> (children, aux)`, `unflatten(aux, children) -> x`.

    `aux` must be hashable: it is part of the structure that compiled functions are keyed by.
    """
    _registry[kind] = (flatten, unflatten)
    _leaves.discard(kind)


register_pytree(tuple, lambda x: (x, None), lambda _, c: tuple(c))
register_pytree(list, lambda x: (tuple(x), None), lambda _, c: list(c))


def _dict_flatten(d: Any) -> tuple[tuple[Any, ...], Any]:
    return tuple(d.values()), tuple(d.keys())


register_pytree(dict, _dict_flatten, lambda keys, c: dict(zip(keys, c, strict=True)))
register_pytree(OrderedDict, _dict_flatten, lambda keys, c: OrderedDict(zip(keys, c, strict=True)))


class Structure:
    """The shape of a nested container, with its leaves taken out. Hashable; compares by content."""

    __slots__ = ("kind", "aux", "children", "_hash", "size")

    def __init__(self, kind: type | None, aux: Any, children: tuple[Structure, ...]) -> None:
        self.kind = kind
        self.aux = aux
        self.children = children
        self._hash = hash((kind, aux, children))
        self.size = 1 if kind is None else sum(c.size for c in children)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Structure)
            and self._hash == other._hash
            and self.kind is other.kind
            and self.aux == other.aux
            and self.children == other.children
        )

    def __repr__(self) -> str:
        """As one would write the container, with * for each leaf."""
        if self.kind is None:
            return "*"
        if self.kind is type(None):
            return "None"
        parts = [repr(c) for c in self.children]
        if isinstance(self.aux, tuple) and len(self.aux) == len(self.children):
            parts = [f"{k!r}: {part}" for k, part in zip(self.aux, parts, strict=True)]
        inner = ", ".join(parts)
        if self.kind is tuple:
            return f"({inner},)" if len(parts) == 1 else f"({inner})"
        if self.kind is list:
            return f"[{inner}]"
        return f"{{{inner}}}" if self.kind is dict else f"{self.kind.__name__}({inner})"


LEAF = Structure(None, None, ())


def _handler(x: Any) -> tuple[Flatten, Unflatten] | None:
    kind = type(x)
    found = _registry.get(kind)
    if found is None and isinstance(x, tuple) and hasattr(kind, "_fields"):
        found = (lambda t: (tuple(t), None), lambda _, c: kind(*c))
        _registry[kind] = found
    if found is None:
        _leaves.add(kind)
    return found


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of `tree`, left to right, and its structure. `None` is a container without leaves."""
    kind = type(tree)
    if (kind is tuple or kind is list) and _leaves.issuperset(map(type, tree)):
        return list(tree), _line(kind, len(tree))
    leaves: list[Any] = []
    try:
        return leaves, _flatten_into(tree, leaves)
    except RecursionError:
        raise ArgumentError("a container is nested too deep, or contains itself") from None


@lru_cache(256)
def _line(kind: type, count: int) -> Structure:
    """A tuple or list of so many leaves."""
    return Structure(kind, None, (LEAF,) * count)


_NONE = Structure(type(None), None, ())


def _flatten_into(tree: Any, leaves: list[Any]) -> Structure:
    if tree is None:
        return _NONE
    found = _handler(tree)
    if found is None:
        leaves.append(tree)
        return LEAF
    children, aux = found[0](tree)
    return Structure(type(tree), aux, tuple([_flatten_into(c, leaves) for c in children]))


def unflatten(structure: Structure, leaves: list[Any]) -> Any:
    """Rebuild the container that `flatten` took apart, with other leaves."""
    if len(leaves) != structure.size:
        raise ArgumentError(f"the structure {structure!r} has {structure.size} leaves, got {len(leaves)}")
    kind = structure.kind
    if (kind is tuple or kind is list) and structure is _line(kind, len(leaves)):
        return kind(leaves)
    return _unflatten_from(structure, iter(leaves))


def _unflatten_from(structure: Structure, leaves: Any) -> Any:
    if structure.kind is None:
        return next(leaves)
    if structure.kind is type(None):
        return None
    children = [_unflatten_from(c, leaves) for c in structure.children]
    return _registry[structure.kind][1](structure.aux, children)


def tree_map(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply `function` to corresponding leaves of one or more trees of the same structure."""
    leaves, structure = flatten(tree)
    columns = [leaves]
    for other in rest:
        more, shape = flatten(other)
        if shape != structure:
            raise ArgumentError(f"trees of different structure: {structure!r} and {shape!r}")
        columns.append(more)
    return unflatten(structure, [function(*row) for row in zip(*columns, strict=True)])


def leaf_paths(structure: Structure, root: str = "") -> list[str]:
    """Where each leaf is, as one would write it: `[0]['weight']` behind `root`."""
    if structure.kind is None:
        return [root]
    aux = structure.aux
    keys = (
        aux
        if isinstance(aux, tuple) and len(aux) == len(structure.children)
        else range(len(structure.children))
    )
    return [
        path
        for key, child in zip(keys, structure.children, strict=True)
        for path in leaf_paths(child, f"{root}[{key!r}]")
    ]
