"""Recurrent layers: RNN, LSTM, GRU over sequences, and their cells, which take one step.

Each layer and direction is one product of the whole input and one row of :mod:`~tinygrad_bp.ops.recurrent`, where the
steps are computed. Names of arguments and parameters, their order and how they begin are PyTorch's; projections
(`proj_size`) are not offered.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from .. import ops
from .functional.accepted import as_dtype, as_input, as_sizes, check_settings
from .functional.layers import dropout
from .init import uniform_
from .module import Module, Parameter

__all__ = ["GRU", "LSTM", "RNN", "EveryStep", "GRUCell", "LSTMCell", "LastStep", "RNNCell"]


class _Recurrent(Module):
    """What layers and cells share: parameters, and one run of the row."""

    _row: Any
    _gates = 1
    _states: tuple[str, ...] = ("h_0",)

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        name = type(self).__name__
        check_settings(name, bias=bias)
        (self.input_size,) = as_sizes(name, "input_size", input_size, 1, 1)
        (self.hidden_size,) = as_sizes(name, "hidden_size", hidden_size, 1, 1)
        self.bias = bias

    def _says(self, text: str) -> str:
        return f"{type(self).__name__}: {text}"

    def _nonlinearity(self, name: str) -> str:
        if name not in ("tanh", "relu"):
            raise ValueError(self._says(f'nonlinearity is {name!r}. Choose "tanh" or "relu".'))
        return name

    def _add(self, suffix: str, entries: int, dtype: DTypeLike | None) -> None:
        """The parameters of one layer in one direction."""
        n, rows = self.hidden_size, self._gates * self.hidden_size
        bound, dtype = 1.0 / math.sqrt(n), as_dtype(type(self).__name__, dtype)
        biases = {"bias_ih": (rows,), "bias_hh": (rows,)} if self.bias else {}
        for kind, shape in ({"weight_ih": (rows, entries), "weight_hh": (rows, n)} | biases).items():
            setattr(self, kind + suffix, Parameter(np.zeros(shape, dtype)))
            uniform_(getattr(self, kind + suffix), -bound, bound)

    def _run(self, suffix: str, x: Any, states: list[Any], backwards: bool = False) -> Any:
        """What the row stacks, states first, for every step of x (steps, batch, entries); `backwards` in time."""
        w, w_h = getattr(self, f"weight_ih{suffix}"), getattr(self, f"weight_hh{suffix}")
        b, b_h = (getattr(self, f"bias_{k}h{suffix}") for k in "ih") if self.bias else (None, 0.0)
        steps, batch, entries = x.shape
        z = ops.linear(ops.reshape(x, (steps * batch, entries)), w, b)
        z = ops.reshape(z, (steps, batch, w.shape[0]))
        return self._row(ops.flip(z, 0) if backwards else z, w_h, b_h, *states)

    def _checked(self, input: Any, ranks: dict[int, str]) -> Any:
        """The input, if it has one of the ranks and `input_size` entries in its last axis."""
        x = as_input(type(self).__name__, "input", input)
        if x.ndim not in ranks:
            raise ValueError(
                self._says(f"input {x.shape} has the wrong number of axes. Pass {' or '.join(ranks.values())}.")
            )
        if x.shape[-1] != self.input_size:
            has = f"input {x.shape} has {x.shape[-1]} entries a step, the layer expects {self.input_size}"
            raise ValueError(self._says(f"{has}. Give it input_size={x.shape[-1]} or the input {self.input_size}."))
        return x

    def _given(self, hx: Any, like: Any, shape: tuple[int, ...]) -> list[Any]:
        """The states before the first step, each of `shape`; zeros if there are none."""
        if hx is None:
            return [np.zeros_like(like, shape=shape) for _ in self._states]
        several = len(self._states) > 1
        if several and (not isinstance(hx, (tuple, list)) or len(hx) != len(self._states)):
            raise TypeError(self._says(f"hx is no pair of states. Pass ({', '.join(self._states)})."))
        if not several and isinstance(hx, tuple):
            raise TypeError(self._says("hx is a tuple; there is one state. Pass h_0 itself."))
        states = [as_input(type(self).__name__, name, x) for name, x in zip(self._states, hx if several else [hx])]
        for name, x in zip(self._states, states):
            if x.shape != shape:
                raise ValueError(self._says(f"{name} has shape {x.shape}. Pass {shape} for this input."))
        return states

    def _answer(self, states: list[Any]) -> Any:
        """One state, or the tuple of several."""
        return states[0] if len(states) == 1 else tuple(states)


class _Layer(_Recurrent):
    """Layers and directions over a sequence."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias)
        name = type(self).__name__
        check_settings(name, batch_first=batch_first, dropout=dropout, bidirectional=bidirectional)
        (self.num_layers,) = as_sizes(name, "num_layers", num_layers, 1, 1)
        self.batch_first = batch_first
        self.dropout = float(dropout)
        if dropout and num_layers == 1:
            warnings.warn(
                self._says(f"dropout {dropout} is between layers, and there is one. Add layers, or leave it 0."),
                stacklevel=2,
            )
        self.bidirectional = bidirectional
        for layer in range(self.num_layers):
            for suffix in self._directions():
                entries = hidden_size * len(self._directions()) if layer else input_size
                self._add(f"_l{layer}{suffix}", entries, dtype)

    def _directions(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """``(output, hx)``: h of the last layer at every step, and the last states of every layer and direction."""
        batched = "(batch, steps, entries)" if self.batch_first else "(steps, batch, entries)"
        x = self._checked(input, {2: "(steps, entries)", 3: batched})
        alone = x.ndim == 2
        if alone:
            x = ops.expand_dims(x, 1)
        elif self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        if not x.shape[0]:
            raise ValueError(self._says(f"input {np.shape(input)} has no steps. Pass at least one."))
        runs = len(self._directions()) * self.num_layers
        shape = (runs, self.hidden_size) if alone else (runs, x.shape[1], self.hidden_size)
        before = self._given(hx, self.weight_hh_l0, shape)  # type: ignore[attr-defined]
        if alone:
            before = [ops.expand_dims(state, 1) for state in before]
        after: list[list[Any]] = []
        for layer in range(self.num_layers):
            x = dropout(x, self.dropout, self.training) if layer else x
            outputs = []
            for suffix in self._directions():
                y = self._run(f"_l{layer}{suffix}", x, [state[len(after)] for state in before], bool(suffix))
                after.append([y[k, -1] for k in range(len(self._states))])
                outputs.append(ops.flip(y[0], 0) if suffix else y[0])
            x = ops.concatenate(outputs, -1) if len(outputs) > 1 else outputs[0]
        states = [ops.stack(each) for each in zip(*after)]
        if alone:
            x, states = x[:, 0], [state[:, 0] for state in states]
        elif self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        return x, self._answer(states)


class _Cell(_Recurrent):
    """One step of one layer."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: DTypeLike | None = None) -> None:
        super().__init__(input_size, hidden_size, bias)
        self._add("", input_size, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The states after a step: h, of an LSTM (h, c)."""
        x = self._checked(input, {1: "(entries,)", 2: "(batch, entries)"})
        shape = (*x.shape[:-1], self.hidden_size)
        states = self._given(hx, self.weight_hh, shape)  # type: ignore[attr-defined]
        if alone := x.ndim == 1:
            x, states = ops.expand_dims(x, 0), [ops.expand_dims(state, 0) for state in states]
        y = self._run("", ops.expand_dims(x, 0), states)
        return self._answer([y[k, 0, 0] if alone else y[k, 0] for k in range(len(states))])


# ---- the layers --------------------------------------------------------------------------------------------


class RNN(_Layer):
    """``h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)`` for every step t of a sequence; or with relu for tanh.

    Parameters
    ----------
    input_size, hidden_size
        Entries of x_t, and of h_t.
    num_layers
        Layers: each reads the h_t of the one below.
    nonlinearity
        "tanh" or "relu".
    bias
        Whether there are b_ih and b_hh.
    batch_first
        Whether input and output are (batch, steps, entries) and not (steps, batch, entries); states never are.
    dropout
        Probability with which, in training, an entry between two layers is made 0 and the others grow to keep the mean.
    bidirectional
        Whether a second set of parameters reads each layer's input from the last step to the first; its h_t are joined
        to those of the first along the last axis.
    dtype
        Of the parameters; by default the package's.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0
        (n, input_size), (n, n), (n,), (n,), with n = hidden_size; of layer k ``_lk``, which reads the layer below; of
        the second direction ``_l0_reverse``. Entries begin uniform in +-1/sqrt(n), as PyTorch's.

    A call takes the input, or one sequence without a batch, (steps, entries), and the states h_0 before the first
    step, (num_layers * directions, batch, n), zeros if left out. It returns (output, h_n): the h_t of the last layer,
    and those after the last step of every layer and direction.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> output, h_n = RNN(3, 4, num_layers=2)(bp.zeros(7, 5, 3))
    >>> output.shape, h_n.shape
    ((7, 5, 4), (2, 5, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)
        self.nonlinearity = self._nonlinearity(nonlinearity)

    def _row(self, *inputs: Any) -> Any:
        return ops.expand_dims(ops.rnn(*inputs, self.nonlinearity), 0)


class LSTM(_Layer):
    """Long short-term memory: ``c_t = f c_{t-1} + i a`` and ``h_t = o tanh(c_t)`` for every step t of a sequence.

    The gates i, f, o are the sigmoid of ``W_ih x_t + b_ih + W_hh h_{t-1} + b_hh``, a is its tanh; their rows in the
    weights are in the order i, f, a, o (Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000).
    Parameters, attributes and shapes are those of :class:`RNN`, with 4 n rows in the weights. States are pairs:
    a call takes hx = (h_0, c_0) and returns (output, (h_n, c_n)).

    >>> import tinygrad_bp as bp
    >>> layer = LSTM(3, 4, bidirectional=True)
    >>> output, (h_n, c_n) = layer(bp.zeros(7, 5, 3))
    >>> output.shape, c_n.shape, layer.weight_ih_l0.shape
    ((7, 5, 8), (2, 5, 4), (16, 3))
    """

    _row = ops.lstm
    _gates = 4
    _states = ("h_0", "c_0")


class GRU(_Layer):
    """Gated recurrent unit: ``h_t = (1 - u) a + u h_{t-1}`` for every step t of a sequence.

    The gates r and u are the sigmoid of ``W_ih x_t + b_ih + W_hh h_{t-1} + b_hh``; ``a = tanh(W_ih x_t + b_ih +
    r (W_hh h_{t-1} + b_hh))``; their rows in the weights are in the order r, u, a (Cho et al. 2014, as PyTorch has it).
    Parameters, attributes and shapes are those of :class:`RNN`, with 3 n rows in the weights.

    >>> import tinygrad_bp as bp
    >>> output, h_n = GRU(3, 4, batch_first=True)(bp.zeros(5, 7, 3))
    >>> output.shape, h_n.shape
    ((5, 7, 4), (1, 5, 4))
    """

    _row = ops.gru
    _gates = 3


# ---- what comes after them in a Sequential ------------------------------------------------------------------


class EveryStep(Module):
    """The output of a recurrent layer at every step, without the states that it returns beside.

    >>> import tinygrad_bp as bp
    >>> net = bp.nn.Sequential(LSTM(3, 4), EveryStep(), GRU(4, 2), EveryStep())
    >>> net(bp.zeros(7, 5, 3)).shape
    (7, 5, 2)
    """

    def forward(self, input: Any) -> Any:
        """Of a tuple the first, anything else as it is."""
        return as_input(type(self).__name__, "input", input[0] if isinstance(input, tuple) else input)


class LastStep(EveryStep):
    """The output of a recurrent layer at the last step, without the states: (batch, entries), or (entries,).

    It takes what the layer returns or such an output alone, and has to be told `batch_first` like the layer. Of a
    second direction, which reads backwards, the last step is where it has read one step only.

    >>> import tinygrad_bp as bp
    >>> net = bp.nn.Sequential(LSTM(3, 4, batch_first=True), LastStep(batch_first=True), bp.nn.Linear(4, 2))
    >>> net(bp.zeros(5, 7, 3)).shape
    (5, 2)
    """

    def __init__(self, batch_first: bool = False) -> None:
        check_settings("LastStep", batch_first=batch_first)
        self.batch_first = batch_first

    def forward(self, input: Any) -> Any:
        """``output[-1]``, or ``output[:, -1]`` of a batch that comes first."""
        output = super().forward(input)
        if output.ndim not in (2, 3):
            raise ValueError(f"LastStep: the output has shape {output.shape}. Pass that of a recurrent layer.")
        return output[:, -1] if self.batch_first and output.ndim == 3 else output[-1]


# ---- the cells ---------------------------------------------------------------------------------------------


class RNNCell(_Cell):
    """One step of :class:`RNN`: input (batch, input_size) or (input_size,) and hx = h give the next h.

    The parameters are ``weight_ih, weight_hh, bias_ih, bias_hh``.

    >>> import tinygrad_bp as bp
    >>> RNNCell(3, 4)(bp.zeros(5, 3)).shape
    (5, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.nonlinearity = self._nonlinearity(nonlinearity)

    def _row(self, *inputs: Any) -> Any:
        return ops.expand_dims(ops.rnn(*inputs, self.nonlinearity), 0)


class LSTMCell(_Cell):
    """One step of :class:`LSTM`: input (batch, input_size) or (input_size,) and hx = (h, c) give the next (h, c).

    >>> import tinygrad_bp as bp
    >>> h, c = LSTMCell(3, 4)(bp.zeros(5, 3))
    >>> h.shape, c.shape
    ((5, 4), (5, 4))
    """

    _row = ops.lstm
    _gates = 4
    _states = ("h_0", "c_0")


class GRUCell(_Cell):
    """One step of :class:`GRU`: input (batch, input_size) or (input_size,) and hx = h give the next h.

    >>> import tinygrad_bp as bp
    >>> GRUCell(3, 4)(bp.zeros(3)).shape
    (4,)
    """

    _row = ops.gru
    _gates = 3
