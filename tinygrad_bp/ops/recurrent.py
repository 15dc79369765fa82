"""Recurrences over a whole sequence: rnn, lstm and gru, one row each, all steps and all samples of a batch in it.

What the steps take from their inputs is one product, ``z = linear(x, W_ih, b_ih)``, (steps, batch, gates * n); a row
here is what is left, ``h W^T + b`` and the gates, from a state h before the first step. Its output holds the states h,
(steps, batch, n), and in front of them an axis along which cells and gates are stacked, which its derivative needs
again. That is one joint line, right for any incoming gradient of any part, and works step by step in arrays that stay
in the cache. A sigmoid is a tanh here, ``.5 tanh(x / 2) + .5``, so that all gates of a step are one call. The words are
those of :mod:`~tinygrad_bp.ops.arithmetic`; gates are named where they are stacked; b may be 0.0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..opaque import kernel
from ..recipe import row
from .linear import _product, _rows

__all__ = ["gru", "lstm", "rnn"]

# ---- what the three share ----------------------------------------------------------------------------------


def _check(name: str, gates: int, z: Any, w: Any, b: Any, *states: Any) -> None:
    """Refuse shapes that do not fit, and a sequence of no steps."""
    z, w, b = np.shape(z), np.shape(w), np.shape(b)
    if len(w) != 2 or w[0] != gates * w[1]:
        raise ValueError(f"{name}: weight {w} is not ({gates} * n, n) for states of n entries. Pass one that is.")
    if len(z) != 3 or z[2] != w[0]:
        raise ValueError(f"{name}: z {z} does not fit weight {w}. Pass (steps, batch, {w[0]}).")
    if b not in ((), w[:1]):
        raise ValueError(f"{name}: bias {b} does not fit weight {w}. Pass ({w[0]},), or 0.0 for none.")
    if not z[0]:
        raise ValueError(f"{name}: a sequence of 0 steps has no last state. Pass at least one step.")
    for state in states:
        if np.shape(state) != (z[1], w[1]):
            raise ValueError(f"{name}: a state before is {np.shape(state)}. Pass (batch, n), here {(z[1], w[1])}.")


def _before(state: Any, states: Any) -> Any:
    """The state before each step."""
    return np.concatenate([state[None], states[:-1]])


def _in_time(steps: list[Any]) -> Any:
    """What a loop from the last step to the first has collected, as one array."""
    return np.stack(steps[::-1])


# ---- rnn: h = tanh(z + h W^T + b), or relu ---------------------------------------------------------------------


@kernel
def _rnn_forward(z: Any, w: Any, b: Any, h: Any, nonlinearity: str) -> Any:
    y = np.empty(z.shape, np.result_type(z, w, b, h))
    w = np.ascontiguousarray(w.T)
    for h_next, z_t in zip(y, z):
        np.matmul(h, w, out=h_next)
        h_next += z_t
        h_next += b
        h = np.tanh(h_next, out=h_next) if nonlinearity == "tanh" else np.maximum(h_next, 0.0, out=h_next)
    return y


def _rnn(z: Any, w: Any, b: Any, h: Any, nonlinearity: str = "tanh") -> Any:
    _check("rnn", 1, z, w, b, h)
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f'rnn: nonlinearity is {nonlinearity!r}. Choose "tanh" or "relu".')
    return _rnn_forward(z, w, b, h, nonlinearity)


def _rnn_joint(g: Any, y: Any, z: Any, w: Any, b: Any, h: Any, nonlinearity: str) -> list[Any]:
    slopes = 1.0 - y * y if nonlinearity == "tanh" else y > 0
    back, steps = 0.0, []
    for t in reversed(range(len(y))):
        d = (g[t] + back) * slopes[t]
        back = _product(d, w)
        steps.append(d)
    d = _in_time(steps)
    return [d, _product(_rows(d).T, _rows(_before(h, y))), d.sum((0, 1)), back]


rnn = row("rnn", _rnn, joint=_rnn_joint)

# ---- lstm: gates i, f, a, o; c = f c + i a; h = o tanh(c); stacked h, c, i, f, a, o ------------------------


@kernel
def _lstm_forward(z: Any, w: Any, b: Any, h: Any, c: Any) -> Any:
    (steps, batch, _), n = z.shape, w.shape[1]
    y = np.empty((6, steps, batch, n), np.result_type(z, w, b, h, c))
    w = np.ascontiguousarray(w.T)
    scale = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], y.dtype), n)  # a sigmoid is scale * tanh(scale * x) + 1 - scale
    shift, x = 1.0 - scale, np.empty((batch, 4 * n), y.dtype)
    for t in range(steps):
        np.matmul(h, w, out=x)
        x += z[t]
        x += b
        x *= scale
        np.tanh(x, out=x)
        x *= scale
        x += shift
        y[2:, t] = x.reshape(batch, 4, n).swapaxes(0, 1)
        before, (h, c, i, f, a, o) = c, y[:, t]
        np.multiply(f, before, out=c)
        c += i * a
        np.tanh(c, out=h)
        h *= o
    return y


def _lstm(z: Any, w: Any, b: Any, h: Any, c: Any) -> Any:
    _check("lstm", 4, z, w, b, h, c)
    return _lstm_forward(z, w, b, h, c)


def _lstm_joint(g: Any, y: Any, z: Any, w: Any, b: Any, h: Any, c: Any) -> list[Any]:
    back_h, back_c, steps = 0.0, 0.0, []
    for t in reversed(range(len(z))):
        h_t, c_t, i, f, a, o = y[:, t]
        dh, dc, di, df, da, do = g[:, t]
        tanh_c = np.tanh(c_t)
        dh = dh + back_h
        dc = dc + back_c + dh * (o - h_t * tanh_c)
        di = (di + dc * a) * (i - i * i)
        df = (df + dc * (y[1, t - 1] if t else c)) * (f - f * f)
        da = (da + dc * i) * (1.0 - a * a)
        do = (do + dh * tanh_c) * (o - o * o)
        d = np.concatenate([di, df, da, do], -1)
        back_h, back_c = _product(d, w), dc * f
        steps.append(d)
    d = _in_time(steps)
    return [d, _product(_rows(d).T, _rows(_before(h, y[0]))), d.sum((0, 1)), back_h, back_c]


lstm = row("lstm", _lstm, joint=_lstm_joint)

# ---- gru: gates r, u; a = tanh(z_a + r q), q = h W_a^T + b_a; h = (1 - u) a + u h; stacked h, a, r, u, q ---


@kernel
def _gru_forward(z: Any, w: Any, b: Any, h: Any) -> Any:
    (steps, batch, _), n = z.shape, w.shape[1]
    y = np.empty((5, steps, batch, n), np.result_type(z, w, b, h))
    w = np.ascontiguousarray(w.T)
    x = np.empty((batch, 3 * n), y.dtype)
    gates = x[:, : 2 * n]
    for t in range(steps):
        np.matmul(h, w, out=x)
        x += b
        gates += z[t, :, : 2 * n]
        gates *= 0.5
        np.tanh(gates, out=gates)
        gates *= 0.5
        gates += 0.5
        y[2:, t] = x.reshape(batch, 3, n).swapaxes(0, 1)
        before, (h, a, r, u, q) = h, y[:, t]
        np.multiply(r, q, out=a)
        a += z[t, :, 2 * n :]
        np.tanh(a, out=a)
        np.subtract(before, a, out=h)
        h *= u
        h += a
    return y


def _gru(z: Any, w: Any, b: Any, h: Any) -> Any:
    _check("gru", 3, z, w, b, h)
    return _gru_forward(z, w, b, h)


def _gru_joint(g: Any, y: Any, z: Any, w: Any, b: Any, h: Any) -> list[Any]:
    n = w.shape[1]
    back, steps = 0.0, []
    for t in reversed(range(len(z))):
        _, a, r, u, q = y[:, t]
        dh, da, dr, du, dq = g[:, t]
        dh = dh + back
        da = (da + dh - dh * u) * (1.0 - a * a)
        dr = (dr + da * q) * (r - r * r)
        du = (du + dh * ((y[0, t - 1] if t else h) - a)) * (u - u * u)
        dq = dq + da * r
        d = np.concatenate([da, dr, du, dq], -1)
        back = dh * u + _product(d[:, n:], w)
        steps.append(d)
    d = _in_time(steps)
    of_products = d[..., n:]
    dw = _product(_rows(of_products).T, _rows(_before(h, y[0])))
    return [np.concatenate([d[..., n : 3 * n], d[..., :n]], -1), dw, of_products.sum((0, 1)), back]


gru = row("gru", _gru, joint=_gru_joint)
