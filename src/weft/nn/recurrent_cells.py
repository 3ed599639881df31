"""One step of a recurrent layer."""

from __future__ import annotations

import math
from typing import Any

from ..arrays.dispatch import apply
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, ShapeError
from ..ir.node import Aval
from ..ir.shape import show_shape
from ..ops.composite import recurrent as r
from ..ops.movement import reshape, zeros
from . import init
from .factory import empty, positive_int
from .functional.operands import checked
from .module import Module
from .parameter import Parameter


class _Cell(Module):
    """One step of a recurrent layer: x (N, I) or (I), and a state of (N, H) or (H), zero if not given."""

    _gates = 1
    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = positive_int(name, "input_size", input_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        self.bias = bool(bias)
        rows = self._gates * hidden_size
        self.weight_ih = Parameter(empty((rows, input_size), dtype, device))
        self.weight_hh = Parameter(empty((rows, hidden_size), dtype, device))
        self.register_parameter("bias_ih", Parameter(empty((rows,), dtype, device)) if bias else None)
        self.register_parameter("bias_hh", Parameter(empty((rows,), dtype, device)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, uniformly from [-b, b] with b = 1 / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _operands(self, x: Tensor, states: tuple[Tensor | None, ...]) -> tuple[list[Tensor], bool]:
        """Input and states, (N, ...) each, and whether there was no batch axis."""
        x = checked(type(self).__name__, x)
        lone = x.ndim == 1
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ShapeError(f"an input (N, {self.input_size}) is expected, got {show_shape(x.shape)}")
        x = Tensor(reshape(x._node, shape=(1, *x.shape))) if lone else x
        want = (x.shape[0], self.hidden_size)
        found = [x]
        for s in states:
            if s is None:
                s = Tensor(zeros(Aval(want, x.dtype)))
            s = checked(type(self).__name__, s)
            if lone and s.shape == want[1:]:
                s = Tensor(reshape(s._node, shape=want))
            if s.shape != want:
                raise ShapeError(
                    f"a state of shape {show_shape(want)} is expected, got {show_shape(s.shape)}"
                )
            found.append(s)
        return found, lone

    def _parameters_in_order(self) -> tuple[Parameter | None, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


def _single(x: Tensor, lone: bool) -> Tensor:
    return Tensor(reshape(x._node, shape=x.shape[1:])) if lone else x


class RNNCell(_Cell):
    """One step of `RNN`: the next state from an input and the state before.

        h' = tanh(W_ih x + b_ih + W_hh h + b_hh)        or relu of it (nonlinearity="relu")

    With `bias=False` there are no biases.

    Shapes: x (N, input_size) or (input_size), h and h' (N, hidden_size) or (hidden_size), zeros if not given; weight_ih
    (hidden_size, input_size), weight_hh (hidden_size, hidden_size), biases (hidden_size). All are drawn uniformly from
    [-b, b] with b = 1 / sqrt(hidden_size).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNNCell: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(input_size, hidden_size, bias, device=device, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        operands, lone = self._operands(x, (hx,))
        out = apply(r.rnn_cell, *operands, *self._parameters_in_order(), nonlinearity=self.nonlinearity)
        return _single(out, lone)


class LSTMCell(_Cell):
    """One step of `LSTM`: (h', c') from x and (h, c).

        i, f, o = sigmoid(W_i. x + b_i. + W_h. h + b_h.)        g = tanh(W_ig x + b_ig + W_hg h + b_hg)
        c' = f c + i g                                          h' = o tanh(c')

    Shapes: x (N, input_size) or (input_size), h and c (N, hidden_size), or none for zeros. Gates are in the order i, f,
    g, o in the weights, which are (4 hidden_size, ...) and drawn as in `RNNCell`; `bias` says whether there are biases.

    Reference: S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997.
    """

    _gates = 4

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        operands, lone = self._operands(x, (None, None) if hx is None else tuple(hx))
        h, c = apply(r.lstm_cell, *operands, *self._parameters_in_order())
        return _single(h, lone), _single(c, lone)


class GRUCell(_Cell):
    """One step of `GRU`: h' from x and h.

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r (W_hn h + b_hn))       h' = (1 - z) n + z h

    Shapes: x (N, input_size) or (input_size), h (N, hidden_size) or none for zeros. Gates are in the order r, z, n in
    the weights, which are (3 hidden_size, ...) and drawn as in `RNNCell`; `bias` says whether there are biases.

    Reference: K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014,
    https://arxiv.org/abs/1406.1078
    """

    _gates = 3

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        operands, lone = self._operands(x, (hx,))
        return _single(apply(r.gru_cell, *operands, *self._parameters_in_order()), lone)
