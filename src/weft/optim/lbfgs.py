"""L-BFGS: Newton's method with curvature that is learned from the last few steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..arrays.cell import register
from ..arrays.dispatch import apply
from ..arrays.grad import enable_grad, no_grad
from ..arrays.outer import outer_tensor, outer_zeros
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, TraceError
from ..base.state import state
from ..ir.dtype import float64, int64
from ..ir.graph import trace_graph
from ..ir.node import TRACED, Aval, Node
from ..ir.primitive import results
from ..ir.shape import size_of
from ..ops.composite.define import composite
from ..ops.contraction import dot_general
from ..ops.elementwise import abs_, less, where
from ..ops.loops import scan
from ..ops.movement import concatenate, reshape, slice_axis
from ..ops.reduce import max_, sum_
from .group import COUNT, POSITIVE, Choice, ParamGroup
from .line_search import Point, strong_wolfe
from .optimizer import Optimizer
from .precision import narrow, scalar, widen


def _dot(a: Node, b: Node) -> Node:
    return dot_general(a, b, contract=((0,), (0,)), batch=((), ()))


@composite
def flattened(*xs):
    """All elements of several tensors as one vector, and the largest of them and the sum of all by absolute value."""
    out = concatenate(*[reshape(widen(x), shape=(x.size,)) for x in xs], axis=0)
    return out, max_(abs_(out), axes=(0,)), sum_(abs_(out), axes=(0,))


@composite
def moved(t, d, *xs):
    """Tensors that are t further along a direction, which is one vector for all of them."""
    out, at = [], 0
    for x in xs:
        part = reshape(slice_axis(d, 0, at, at + x.size), shape=x.shape)
        out.append(narrow(widen(x) + scalar(t, part) * part, x))
        at += x.size
    return tuple(out)


@composite
def lbfgs_direction(g, before, d, t, n, changes, steps, rho, scale):
    """The direction -H g, H the inverse curvature that the last gradient changes y and steps s tell of.

    y = g - before and s = t d join the histories (newest last, their oldest drops out) if y s is positive. A history
    of zeros changes nothing: the first direction is -g. Returns (d, n + 1, histories, scale, g d, the largest |d|).
    """
    y, s = g - before, d * scalar(t, g)
    curvature = _dot(y, s)
    kept = less(1e-10, curvature)
    safe = where(kept, curvature, 1)

    def pushed(history: Node, new: Node) -> Node:
        joined = concatenate(history, reshape(new, shape=(1, *new.shape)), axis=0)
        return where(kept, slice_axis(joined, 0, 1, joined.shape[0]), history)

    changes, steps, rho = pushed(changes, y), pushed(steps, s), pushed(rho, 1 / safe)
    scale = where(kept, safe / where(kept, _dot(y, y), 1), where(less(n, 1), 1.0, scale))
    q, shares = _loop(_backwards, -g, changes, steps, rho, reverse=True)
    (r,) = _loop(_forwards, q * scale, changes, steps, rho, shares)
    return r, n + 1, changes, steps, rho, scale, _dot(g, r), max_(abs_(r), axes=(0,))


def _backwards(q: Node, y: Node, s: Node, rho: Node) -> tuple[Node, ...]:
    share = _dot(s, q) * rho
    return q - share * y, share


def _forwards(r: Node, y: Node, s: Node, rho: Node, share: Node) -> tuple[Node, ...]:
    return (r + (share - _dot(y, r) * rho) * s,)


def _loop(step: Callable[..., Any], start: Node, *rows: Node, reverse: bool = False) -> tuple[Node, ...]:
    """The last carry, and what the steps gave."""
    elements = [Aval(x.shape[1:], x.dtype) for x in rows]
    body = trace_graph(step, [start.aval, *elements])
    node = scan(
        start, *rows, body=body, consts=0, carries=1, length=rows[0].shape[0], reverse=reverse, rule=None
    )
    return results(node)


def _is_limit(x: Any) -> bool:
    return x is None or COUNT.holds(x)


class LBFGS(Optimizer):
    """L-BFGS: for losses of the whole data that are smooth, where a few good steps replace thousands of cheap ones.

    Every call of `step` makes up to `max_iter` steps p <- p + t d with d = -H g. H is built from the changes of the
    gradient and the steps of the last `history_size` iterations; t is `lr`, or found by a search along d.

    Args:
        params: tensors, or (name, tensor) pairs: one group. None: `bind` them later.
        lr: length of the steps in units of d; where a search begins.
        max_iter: steps in a call.
        max_eval: evaluations of the closure in a call (default: 5/4 of max_iter).
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when no element, or the loss, changes by more.
        history_size: how many steps are remembered.
        line_search_fn: None, or "strong_wolfe" for a search.

    `step` takes a closure that clears the gradients, computes the loss, calls `backward` and returns the loss. It looks
    at values, so it runs outside compiled functions; the closure itself may be compiled.

    >>> p = weft.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((p - weft.tensor([1.0, 0.5])) ** 2 * weft.tensor([1.0, 10.0])).sum()
    ...     loss.backward()
    ...     return loss
    >>> first = optimizer.step(closure)
    >>> bool(closure() < 1e-6)
    True

    Reference: D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    """

    ranges = {"lr": POSITIVE, "tolerance_grad": POSITIVE, "tolerance_change": POSITIVE}
    choices = {
        "max_iter": COUNT,
        "max_eval": Choice(_is_limit, "a positive integer or None"),
        "history_size": COUNT,
        "line_search_fn": Choice((None, "strong_wolfe").__contains__, "None or 'strong_wolfe'"),
    }
    all_slots = ("func_evals", "t", "d", "prev_flat_grad", "n_iter", "old_dirs", "old_stps", "ro", "H_diag")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: Any = 1e-7,
        tolerance_change: Any = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            dict(lr=lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad,
                 tolerance_change=tolerance_change, history_size=history_size, line_search_fn=line_search_fn),
        )  # fmt: skip

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Not more than one group: the curvature is that of all parameters together."""
        if self.bound:
            raise ArgumentError("LBFGS takes one group of parameters: they are updated as one vector")
        super().add_param_group(group)

    def _fill(self, group: ParamGroup, p: Tensor, slots: dict[str, Tensor]) -> None:
        """What is remembered is about all parameters together and stands with the first."""
        if p is not group.params[0] or slots:
            return
        kind = widen(p._cell.node).dtype
        size, rows = sum([size_of(q.shape) for q in group.params]), group["history_size"]
        shapes = {"d": (size,), "prev_flat_grad": (size,), "ro": (rows,), "H_diag": ()}
        for name in self.all_slots:
            dtype = int64 if name in ("func_evals", "n_iter") else float64 if name == "t" else kind
            shape = (rows, size) if name.startswith("old") else shapes.get(name, ())
            slots[name] = outer_zeros(Aval(shape, dtype))

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """Up to `max_iter` steps; returns the loss before the first."""
        if closure is None:
            raise ArgumentError("LBFGS.step takes a closure that computes the loss anew and calls backward()")
        if not self.bound:
            raise ArgumentError("this LBFGS has no parameters; give them when it is made: LBFGS(params)")
        if state.ambient & TRACED:
            raise TraceError("LBFGS looks at values: call its step outside compiled functions")
        group = self.param_groups[0]
        slots = group.slots[0]
        if slots["ro"].shape[0] != group["history_size"]:
            slots.clear()
            self._fill(group, group.params[0], slots)
        held = [p._cell for p in group.params] + [s._cell for s in slots.values()]
        before = [cell.node for cell in held]
        try:
            with no_grad():
                return _Run(group, closure).go()
        except BaseException:
            for cell, node in zip(held, before, strict=True):
                cell.node = node
                register(cell, node)
            raise


class _Run:
    """One call of `step`."""

    def __init__(self, group: ParamGroup, closure: Callable[[], Tensor]) -> None:
        self.params, self.slots = group.params, group.slots[0]
        self.closure = closure
        self.lr, self.flat, self.still = (
            group[n].item() for n in ("lr", "tolerance_grad", "tolerance_change")
        )
        self.searches = group["line_search_fn"] is not None
        self.most = group["max_iter"]
        self.evaluations = 0
        limit = group["max_eval"]
        self.limit = self.most * 5 // 4 if limit is None else limit

    def go(self) -> Tensor:
        first, here, size, total = self.evaluate()
        if size <= self.flat:
            return self.done(first)
        for i in range(self.most):
            slope, longest, started = self.turn(here.gradient)
            t = self.lr * (1.0 if started else min(1.0, 1.0 / total))
            self.slots["t"]._cell.rebind(outer_tensor(t, Aval((), float64))._cell.node)
            if slope > -self.still:
                break
            old = here.loss
            here, size = self.advance(
                Point(0.0, here.loss, slope, here.gradient), t, longest, i + 1 == self.most
            )
            t = self.slots["t"].item()
            if (
                i + 1 == self.most
                or self.evaluations >= self.limit
                or size <= self.flat
                or longest * t <= self.still
                or abs(here.loss - old) < self.still
            ):
                break
        return self.done(first)

    def done(self, first: Tensor) -> Tensor:
        total = self.slots["func_evals"].item() + self.evaluations
        self.slots["func_evals"]._cell.rebind(outer_tensor(total, Aval((), int64))._cell.node)
        return first

    def evaluate(self) -> tuple[Tensor, Point, float, float]:
        """The loss here as the closure gives it, what is known here, and the gradient's largest element and sum."""
        with enable_grad():
            loss = self.closure()
        self.evaluations += 1
        parts = [Tensor(p._cell.node) * 0 if p.grad is None else p.grad for p in self.params]
        gradient, size, total = apply(flattened, *parts)
        return loss, Point(0.0, float(loss.item()), 0.0, gradient), size.item(), total.item()

    def turn(self, gradient: Tensor) -> tuple[float, float, bool]:
        """Work out the next direction; its slope, its largest element, and whether there was one before."""
        s = self.slots
        started = s["n_iter"].item() > 0
        found = apply(
            lbfgs_direction, gradient, s["prev_flat_grad"], s["d"], s["t"], s["n_iter"], s["old_dirs"],
            s["old_stps"], s["ro"], s["H_diag"],
        )  # fmt: skip
        *new, slope, longest = found
        names = ("d", "n_iter", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad")
        for name, value in zip(names, [*new, gradient], strict=True):
            s[name]._cell.rebind(value._cell.node)
        return slope.item(), longest.item(), started

    def advance(self, start: Point, t: float, longest: float, last: bool) -> tuple[Point, float]:
        """Move the parameters along the direction; what is known there, and the gradient's largest element."""
        here = [p._cell.node for p in self.params]
        if not self.searches:
            self.place(here, t)
            if last:  # nobody asks for the loss there
                return start, float("inf")
            _, point, size, _ = self.evaluate()
            return point, size
        sizes: dict[float, float] = {}

        def at(distance: float) -> Point:
            self.place(here, distance)
            _, point, size, _ = self.evaluate()
            sizes[distance] = size
            slope = apply(slope_along, point.gradient, self.slots["d"]).item()
            return Point(distance, point.loss, slope, point.gradient)

        tries = self.limit - self.evaluations
        found, _ = strong_wolfe(at, start, t, longest, self.still, tries)
        self.place(here, found.t)
        self.slots["t"]._cell.rebind(outer_tensor(found.t, Aval((), float64))._cell.node)
        return found, sizes.get(found.t, float("inf"))

    def place(self, start: list[Node], t: float) -> None:
        """Put the parameters t along the direction from where they were."""
        distance = outer_tensor(t, Aval((), float64))
        found = apply(moved, distance, self.slots["d"], *[Tensor(n) for n in start])
        for p, new in zip(self.params, found if isinstance(found, (tuple, list)) else (found,), strict=True):
            p._cell.rebind(new._cell.node)


@composite
def slope_along(g, d):
    """The derivative of the loss along a direction: g d."""
    return _dot(g, d)
