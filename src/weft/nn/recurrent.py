"""Recurrent layers: `RNN`, `LSTM`, `GRU` over whole sequences, and their cells for one step."""

from __future__ import annotations

import math
from typing import Any

from ..arrays.dispatch import apply
from ..arrays.manipulation import permute_dims
from ..arrays.remembered import remembered
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, ShapeError
from ..ir.node import Aval
from ..ir.shape import show_shape
from ..ops.composite import recurrent as r
from ..ops.movement import concatenate, reshape, slice_axis, zeros
from ..ops.rearrange import stack
from . import functional as F
from . import init
from .factory import empty, positive_int, probability
from .functional.operands import checked
from .module import Module
from .packed import PackedSequence, pack_padded_sequence
from .parameter import Parameter


class _Recurrent(Module):
    """What the recurrent layers share: parameters, layers, directions and layouts."""

    _gates = 1
    _states = 1  # tensors that the state consists of

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = positive_int(name, "input_size", input_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        self.num_layers = positive_int(name, "num_layers", num_layers)
        self.bias = bool(bias)
        self.batch_first = bool(batch_first)
        self.dropout = probability(name, dropout, "dropout")
        self.bidirectional = bool(bidirectional)
        self.proj_size = positive_int(name, "proj_size", proj_size, zero=True)
        if proj_size >= hidden_size:
            raise ArgumentError(
                f"{name}: proj_size must be less than hidden_size {hidden_size}, got {proj_size}"
            )
        rows = self._gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else self._width * self._directions
            shapes = {"weight_ih": (rows, width), "weight_hh": (rows, self._width)}
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in self._suffixes(layer):
                for kind, shape in shapes.items():
                    setattr(self, f"{kind}_{suffix}", Parameter(empty(shape, dtype, device)))
        self.reset_parameters()

    @property
    def _width(self) -> int:
        """The width of the outputs and of the state h."""
        return self.proj_size or self.hidden_size

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self._directions]

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _weights(self, suffix: str) -> tuple[Parameter | None, ...]:
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple([getattr(self, f"{kind}_{suffix}", None) for kind in kinds])

    def _direction(
        self, x: Tensor, states: list[Tensor], suffix: str, reverse: bool, lengths: Tensor | None
    ) -> tuple[Tensor, ...]:
        """(outputs, *final states) of one direction of one layer."""
        raise NotImplementedError

    def _run(self, x: Any, given: tuple[Tensor, ...] | None, lengths: Any) -> tuple[Any, tuple[Tensor, ...]]:
        """(outputs, final states): all layers in both directions, in the layout that the caller uses."""
        if isinstance(x, PackedSequence):
            out, finals = self._padded(x.padded, given, x.lengths, False)
            return PackedSequence(out, x.lengths), finals
        if lengths is not None:
            x = checked(type(self).__name__, x)
            lengths = pack_padded_sequence(x, lengths, self.batch_first).lengths
        return self._padded(x, given, lengths, self.batch_first)

    def _padded(
        self, x: Tensor, given: tuple[Tensor, ...] | None, lengths: Tensor | None, batch_first: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = checked(type(self).__name__, x)
        lone = x.ndim == 2
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            order = "(N, T, features)" if batch_first else "(T, N, features)"
            raise ShapeError(
                f"sequences {order} or (T, features) of {self.input_size} features are expected, got "
                f"{show_shape(x.shape)}"
            )
        if lone:
            x = Tensor(reshape(x._node, shape=(x.shape[0], 1, x.shape[1])))
        elif batch_first:
            x = permute_dims(x, (1, 0, 2))
        states = self._start(x, given, lone)
        finals: list[list[Tensor]] = [[] for _ in range(self._states)]
        for layer in range(self.num_layers):
            outs = []
            for i, suffix in enumerate(self._suffixes(layer)):
                at = layer * self._directions + i
                out, *after = self._direction(x, [s[at] for s in states], suffix, i == 1, lengths)
                outs.append(out)
                for kept, s in zip(finals, after, strict=True):
                    kept.append(s)
            x = outs[0] if len(outs) == 1 else Tensor(concatenate(*[o._node for o in outs], axis=2))
            if layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        return self._finish(x, finals, lone, batch_first)

    def _start(self, x: Tensor, given: tuple[Tensor, ...] | None, lone: bool) -> list[list[Tensor]]:
        """The initial states: of each tensor that the state consists of, one (N, H) for every layer and direction."""
        rows = self.num_layers * self._directions
        widths = (self._width, self.hidden_size)[: self._states]
        if given is None:
            return [[s] * rows for s in _nothing(x, *widths)]
        shapes = [(rows, x.shape[1], width) for width in widths]
        states = []
        for s, shape in zip(given, shapes, strict=True):
            s = checked(type(self).__name__, s)
            if lone and s.shape == (rows, shape[2]):
                s = Tensor(reshape(s._node, shape=shape))
            if s.shape != shape:
                want = (rows, shape[2]) if lone else shape
                raise ShapeError(
                    f"initial states of shape {show_shape(want)} (layers * directions, batch, hidden) are expected, "
                    f"got {show_shape(s.shape)}"
                )
            states.append([_row(s, i) for i in range(rows)])
        return states

    def _finish(
        self, x: Tensor, finals: list[list[Tensor]], lone: bool, batch_first: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        stacked = tuple([_stacked(*kept) for kept in finals])
        if lone:
            x = Tensor(reshape(x._node, shape=(x.shape[0], x.shape[2])))
            return x, tuple([Tensor(reshape(s._node, shape=(s.shape[0], s.shape[2]))) for s in stacked])
        if batch_first:
            x = permute_dims(x, (1, 0, 2))
        return x, stacked

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            shown += f", proj_size={self.proj_size}"
        for name, default in (("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0)):
            if getattr(self, name) != default:
                shown += f", {name}={getattr(self, name)}"
        return shown + (", bidirectional=True" if self.bidirectional else "")


@remembered
def _nothing(x: Tensor, *widths: int) -> tuple[Tensor, ...]:
    """States of zeros beside sequences x (T, N, features)."""
    return tuple([Tensor(zeros(Aval((x.shape[1], width), x.dtype))) for width in widths])


@remembered
def _stacked(*states: Tensor) -> Tensor:
    return Tensor(stack([s._node for s in states], 0))


@remembered
def _applied(kind: str, *tensors: Tensor | None, **options: Any) -> tuple[Tensor, ...]:
    """All outputs and the final states of one direction of one layer."""
    return apply(getattr(r, kind), *tensors, **options)


def _row(x: Tensor, index: int) -> Tensor:
    return Tensor(reshape(slice_axis(x._node, 0, index, index + 1), shape=x.shape[1:]))


class RNN(_Recurrent):
    """A plain recurrent layer: at each step the state is made anew from the input and the state before.

        h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)        or relu of it (nonlinearity="relu")

    Called with x and, if it is not zero, h_0; returns (all outputs, h_n). Arguments and parameters are those of `LSTM`.

    Shapes: x (T, N, input_size) and outputs (T, N, directions * H), N first if `batch_first`, or both without N; h_0
    and h_n (layers * directions, N, H).

    Reference: J. L. Elman, "Finding Structure in Time", 1990.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity

    def _direction(
        self, x: Tensor, states: list[Tensor], suffix: str, reverse: bool, lengths: Tensor | None
    ) -> tuple[Tensor, ...]:
        options: dict[str, Any] = {"nonlinearity": self.nonlinearity, "reverse": reverse}
        return _applied("rnn", x, *states, *self._weights(suffix), lengths, **options)

    def forward(self, x: Any, hx: Tensor | None = None, *, lengths: Any = None) -> tuple[Any, Tensor]:
        out, (h,) = self._run(x, None if hx is None else (hx,), lengths)
        return out, h


class LSTM(_Recurrent):
    """Long short-term memory: a state h and a cell c that is only scaled and added to.

        i, f, o = sigmoid(W_i. x_t + b_i. + W_h. h_(t-1) + b_h.)        g = tanh(W_ig x_t + b_ig + W_hg h_(t-1) + b_hg)
        c_t = f c_(t-1) + i g                                           h_t = o tanh(c_t)

    Called with x and, if they are not zero, (h_0, c_0); returns (all h_t, (h_n, c_n)).

    Args:
        input_size: features of each step.
        hidden_size: width H of the state.
        num_layers: layers on top of each other; each takes the outputs of the one below.
        bias: whether there are biases (one beside each weight).
        batch_first: whether sequences are (N, T, features) instead of (T, N, features).
        dropout: probability of a dropout on the outputs of each layer but the last, in training.
        bidirectional: a second set of layers reads each sequence from its end; outputs are put side by side.
        proj_size: if not 0, h is projected to so many features by weight_hr_l{l} (proj_size, H); c keeps H.

    Sequences of several lengths are a `PackedSequence` (see `nn.utils.rnn`), which is then returned too, or a padded
    tensor with `lengths`: forward(x, hx, lengths=[5, 3]). Each ends, and backwards begins, at its own last step;
    outputs beyond it are 0.

    Parameters are drawn uniformly from [-b, b] with b = 1 / sqrt(H). Layer l has weight_ih_l{l} (gates * H, inputs),
    weight_hh_l{l} (gates * H, H), bias_ih_l{l} and bias_hh_l{l} (gates * H), gates in the order i, f, g, o, and with
    "_reverse" behind the name those of the other direction.

    Shapes: x (T, N, input_size) and outputs (T, N, directions * H), N first if `batch_first`, or both without N; states
    (layers * directions, N, H).

    Raises: ArgumentError for sizes that make no sense; ShapeError when called, for other features or states.

    Reference: S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997; F. Gers, J. Schmidhuber, F. Cummins,
    "Learning to Forget", 2000.
    """

    _gates = 4
    _states = 2

    def _direction(
        self, x: Tensor, states: list[Tensor], suffix: str, reverse: bool, lengths: Tensor | None
    ) -> tuple[Tensor, ...]:
        projection = getattr(self, f"weight_hr_{suffix}", None)
        return _applied("lstm", x, *states, *self._weights(suffix), projection, lengths, reverse=reverse)

    def forward(
        self, x: Any, hx: tuple[Tensor, Tensor] | None = None, *, lengths: Any = None
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
            raise ArgumentError("LSTM takes its initial state as a pair (h_0, c_0)")
        out, (h, c) = self._run(x, None if hx is None else tuple(hx), lengths)
        return out, (h, c)


class GRU(_Recurrent):
    """Gated recurrent unit: a state that is replaced only as far as a gate lets it.

        r = sigmoid(W_ir x_t + b_ir + W_hr h_(t-1) + b_hr)        z = sigmoid(W_iz x_t + b_iz + W_hz h_(t-1) + b_hz)
        n = tanh(W_in x_t + b_in + r (W_hn h_(t-1) + b_hn))       h_t = (1 - z) n + z h_(t-1)

    Called with x and, if it is not zero, h_0; returns (all h_t, h_n). Arguments and parameters are those of `LSTM`,
    with gates in the order r, z, n.

    Shapes: x (T, N, input_size) and outputs (T, N, directions * H), N first if `batch_first`, or both without N; h_0
    and h_n (layers * directions, N, H).

    Reference: K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014,
    https://arxiv.org/abs/1406.1078
    """

    _gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )

    def _direction(
        self, x: Tensor, states: list[Tensor], suffix: str, reverse: bool, lengths: Tensor | None
    ) -> tuple[Tensor, ...]:
        return _applied("gru", x, *states, *self._weights(suffix), lengths, reverse=reverse)

    def forward(self, x: Any, hx: Tensor | None = None, *, lengths: Any = None) -> tuple[Any, Tensor]:
        out, (h,) = self._run(x, None if hx is None else (hx,), lengths)
        return out, h
