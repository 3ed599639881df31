"""Recurrent layers: one direction of one layer as a single `scan`.

Sequences have their steps along the first axis, x (T, N, I); h is (N, H). The products with the inputs of all steps
are one contraction before the loop. Weights are stacked gate by gate: w_ih (G H, I), w_hh (G H, H), b (G H).
A projection w_hr (P, H) makes the state (N, P) and w_hh (G H, P).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...base.errors import ShapeError
from ...ir.dtype import int64
from ...ir.graph import trace_graph
from ...ir.node import Aval, Node
from ...ir.primitive import results
from ...ir.shape import show_shape
from ..contraction import dot_general
from ..elementwise import cast, less, tanh, where
from ..indexing import iota_along
from ..loops import scan
from ..movement import broadcast_to, reshape, slice_axis
from .activations import sigmoid
from .classes import bounded
from .common import floating, positive
from .define import composite

Step = Callable[..., tuple[Node, ...]]


def _times(x: Node, weight: Node) -> Node:
    """x @ weight.T"""
    return dot_general(x, weight, contract=((x.ndim - 1,), (1,)), batch=((), ()))


def _gates(x: Node, count: int) -> list[Node]:
    """The last axis cut into `count` equal parts."""
    axis = x.ndim - 1
    size = x.shape[axis] // count
    return [slice_axis(x, axis, i * size, (i + 1) * size) for i in range(count)]


def _loop(
    step: Step, consts: Sequence[Node], carry: Sequence[Node], x: Node, *, reverse: bool, lengths: Node | None
) -> tuple[Node, ...]:
    """(all outputs, *final carry) of `step(*consts, *carry, x_t) -> carry`; the first carry is the output.

    From `lengths` (N) on, sequences are over: the carry stays as it is and the outputs are 0.
    """
    rows = [x]
    if lengths is not None:
        steps, n = x.shape[:2]
        ends = broadcast_to(bounded(lengths, most=steps), (steps, n))
        rows.append(reshape(less(iota_along((steps, n), 0), cast(ends, dtype=int64)), shape=(steps, n, 1)))

    def body(*args: Node) -> tuple[Node, ...]:
        if lengths is None:
            after = step(*args)
            return (*after, after[0])
        *rest, seen = args
        after = step(*rest)
        masks = [broadcast_to(seen, a.shape) for a in after]
        old = rest[len(consts) : len(consts) + len(carry)]
        kept = [where(m, a, o) for m, a, o in zip(masks, after, old, strict=True)]
        return (*kept, where(masks[0], after[0], 0))

    elements = [Aval(r.shape[1:], r.dtype) for r in rows]
    graph = trace_graph(body, [*[n.aval for n in (*consts, *carry)], *elements])
    node = scan(
        *consts, *carry, *rows,
        body=graph, consts=len(consts), carries=len(carry), length=x.shape[0], reverse=reverse, rule=None,
    )  # fmt: skip
    outs = results(node)
    return (outs[-1], *outs[:-1])


def _check(
    name: str,
    gates: int,
    x: Node,
    w_ih: Node,
    w_hh: Node,
    w_hr: Node | None,
    lengths: Node | None,
    *states: Node,
) -> None:
    floating(name, input=x, weight_ih=w_ih, weight_hh=w_hh, weight_hr=w_hr, state=states[0])
    if x.ndim != 3 or w_ih.ndim != 2 or x.shape[2] != w_ih.shape[1]:
        raise ShapeError(
            f"{name}: the input of shape {show_shape(x.shape)} does not have the {w_ih.shape[-1]} features per step "
            "that the weights take"
        )
    width = w_hh.shape[1]
    hidden = width if w_hr is None else w_hr.shape[1]
    fits = w_hh.shape == (*w_ih.shape[:1], width) and w_ih.shape[0] == hidden * gates
    if not fits or (w_hr is not None and w_hr.shape[0] != width):
        shapes = " and ".join(show_shape(w.shape) for w in (w_ih, w_hh, w_hr) if w is not None)
        raise ShapeError(f"{name}: weights of shapes {shapes} do not belong together")
    for s, size in zip(states, (width, hidden), strict=False):
        if s.shape != (x.shape[1], size):
            raise ShapeError(
                f"{name}: a state of shape {show_shape((x.shape[1], size))} is expected, got {show_shape(s.shape)}"
            )
    if lengths is not None and (lengths.shape != x.shape[1:2] or lengths.dtype.kind not in "iu"):
        raise ShapeError(
            f"{name}: one integer length for each of the {x.shape[1]} sequences is expected, got "
            f"{lengths.aval.describe()}"
        )


def _plus(x: Node, *biases: Node | None) -> Node:
    """x plus the biases, which are added to each other first."""
    present = [b for b in biases if b is not None]
    if not present:
        return x
    total = present[0]
    for b in present[1:]:
        total = total + b
    return x + total


def rnn_step(inputs: Node, h: Node, w_hh: Node, nonlinearity: str) -> Node:
    """The next state, from the inputs' part of the sum (biases included)."""
    total = inputs + _times(h, w_hh)
    return tanh(total) if nonlinearity == "tanh" else positive(total)


def lstm_step(inputs: Node, h: Node, c: Node, w_hh: Node, w_hr: Node | None = None) -> tuple[Node, Node]:
    """The next (h, c); the gates are input, forget, cell, output. w_hr projects h."""
    i, f, g, o = _gates(inputs + _times(h, w_hh), 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h if w_hr is None else _times(h, w_hr), c


def gru_step(inputs: Node, h: Node, w_hh: Node, b_hh: Node | None) -> Node:
    """The next h; the gates are reset, update, new. The reset gate acts on the state's product, bias included."""
    r_in, z_in, n_in = _gates(inputs, 3)
    r_h, z_h, n_h = _gates(_plus(_times(h, w_hh), b_hh), 3)
    r, z = sigmoid(r_in + r_h), sigmoid(z_in + z_h)
    n = tanh(n_in + r * n_h)
    return (h - n) * z + n


@composite
def rnn(x, h, w_ih, w_hh, b_ih, b_hh, lengths=None, *, nonlinearity="tanh", reverse=False):
    """h_t = tanh(w_ih x_t + b_ih + w_hh h_{t-1} + b_hh), or with relu. Returns (all h_t, the last one).

    Where `lengths` (N) are given, sequence n ends after lengths[n] steps: what it returns further on is 0, and its
    last h is that of its own last step; with `reverse` it begins there.
    """
    _check("rnn", 1, x, w_ih, w_hh, None, lengths, h)
    inputs = _plus(_times(x, w_ih), b_ih, b_hh)

    def step(w: Node, state: Node, element: Node) -> tuple[Node, ...]:
        return (rnn_step(element, state, w, nonlinearity),)

    return _loop(step, [w_hh], [h], inputs, reverse=reverse, lengths=lengths)


@composite
def lstm(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr=None, lengths=None, *, reverse=False):
    """Long short-term memory. Returns (all h_t, the last h, the last c).

    i, f, o = sigmoid of, g = tanh of the four parts of w_ih x_t + b_ih + w_hh h_{t-1} + b_hh, in the order
    i, f, g, o; c_t = f c_{t-1} + i g and h_t = o tanh(c_t), or w_hr of that. `lengths` as in `rnn`.
    """
    _check("lstm", 4, x, w_ih, w_hh, w_hr, lengths, h, c)
    inputs = _plus(_times(x, w_ih), b_ih, b_hh)

    consts = [w_hh] if w_hr is None else [w_hh, w_hr]

    def step(w: Node, *rest: Node) -> tuple[Node, ...]:
        *projection, h, c, element = rest
        return lstm_step(element, h, c, w, *projection)

    return _loop(step, consts, [h, c], inputs, reverse=reverse, lengths=lengths)


@composite
def gru(x, h, w_ih, w_hh, b_ih, b_hh, lengths=None, *, reverse=False):
    """Gated recurrent unit. Returns (all h_t, the last one).

    r, z = sigmoid of the first two parts of w_ih x_t + b_ih + w_hh h_{t-1} + b_hh; with the third parts
    n = tanh(w_in x_t + b_in + r (w_hn h_{t-1} + b_hn)); h_t = (1 - z) n + z h_{t-1}. `lengths` as in `rnn`.
    """
    _check("gru", 3, x, w_ih, w_hh, None, lengths, h)
    inputs = _plus(_times(x, w_ih), b_ih)
    consts = [w_hh] if b_hh is None else [w_hh, b_hh]

    def step(w: Node, *rest: Node) -> tuple[Node, ...]:
        *bias, state, element = rest
        return (gru_step(element, state, w, bias[0] if bias else None),)

    return _loop(step, consts, [h], inputs, reverse=reverse, lengths=lengths)


@composite
def rnn_cell(x, h, w_ih, w_hh, b_ih, b_hh, *, nonlinearity="tanh"):
    """One step of `rnn`: the next h for x (N, I)."""
    return rnn_step(_plus(_times(x, w_ih), b_ih, b_hh), h, w_hh, nonlinearity)


@composite
def lstm_cell(x, h, c, w_ih, w_hh, b_ih, b_hh):
    """One step of `lstm`: the next (h, c) for x (N, I)."""
    return lstm_step(_plus(_times(x, w_ih), b_ih, b_hh), h, c, w_hh)


@composite
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    """One step of `gru`: the next h for x (N, I)."""
    return gru_step(_plus(_times(x, w_ih), b_ih), h, w_hh, b_hh)
