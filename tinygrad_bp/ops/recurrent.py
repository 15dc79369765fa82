"""Recurrences over a whole sequence: rnn, lstm and gru, one row each, all steps and all samples of a batch in it.

What the steps take from their inputs is one product, ``z = linear(x, W_ih, b_ih)``, (steps, batch, gates * n); a row
here is what is left, ``h W^T + b`` and the gates, from a state h before the first step. Its output holds the states
and, packed behind them along the last axis, what its derivative needs again: cells and gates. That derivative is one joint
line, right for any incoming gradient of any part. The slopes of all steps are computed at once; the loop keeps what
depends on the step after. A sigmoid is a tanh here, ``.5 tanh(x / 2) + .5``, so that all gates of a step are one call.
The words are those of :mod:`~tinygrad_bp.ops.arithmetic`; gates are named where they are packed. b may be 0.0: none.
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


def _parts(y: Any, n: int) -> list[Any]:
    """The arrays packed along the last axis, n entries each."""
    return [y[..., k : k + n] for k in range(0, y.shape[-1], n)]


def _in_time(steps: list[Any]) -> Any:
    """What a loop from the last step to the first has collected, as one array."""
    return np.stack(steps[::-1])


# ---- rnn: h = tanh(z + h W^T + b), or relu ---------------------------------------------------------------------


@kernel
def _rnn_forward(z: Any, w: Any, b: Any, h: Any, nonlinearity: str) -> Any:
    y = np.empty(z.shape, np.result_type(z, w, b, h))
    for h_next, z_t in zip(y, z + b):
        np.matmul(h, w.T, out=h_next)
        h_next += z_t
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

# ---- lstm: gates i, f, a, o; c = f c + i a; h = o tanh(c); packed h, c, i, f, a, o -------------------------


@kernel
def _lstm_forward(z: Any, w: Any, b: Any, h: Any, c: Any) -> Any:
    n = w.shape[1]
    y = np.empty((*z.shape[:2], 6 * n), np.result_type(z, w, b, h, c))
    scale = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], y.dtype), n)  # a sigmoid is scale * tanh(scale * x) + 1 - scale
    shift, z, w = 1.0 - scale, (z + b) * scale, w.T * scale
    for y_t, z_t in zip(y, z):
        gates = y_t[:, 2 * n :]
        np.matmul(h, w, out=gates)
        gates += z_t
        np.tanh(gates, out=gates)
        gates *= scale
        gates += shift
        i, f, a, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
        h, before, c = y_t[:, :n], c, y_t[:, n : 2 * n]
        np.multiply(f, before, out=c)
        c += i * a
        np.tanh(c, out=h)
        h *= o
    return y


def _lstm(z: Any, w: Any, b: Any, h: Any, c: Any) -> Any:
    _check("lstm", 4, z, w, b, h, c)
    return _lstm_forward(z, w, b, h, c)


def _lstm_joint(g: Any, y: Any, z: Any, w: Any, b: Any, h: Any, c: Any) -> list[Any]:
    n = w.shape[1]
    hs, cs, i, f, a, o = _parts(y, n)
    tanh_c = np.tanh(cs)
    curves = np.concatenate([i - i * i, f - f * f, 1.0 - a * a, o - o * o], -1)
    slopes = curves * np.concatenate([a, _before(c, cs), i, tanh_c], -1)  # of c by i, f, a before tanh; of h by o
    direct = curves * g[..., 2 * n :]
    of_h, of_c, h_by_c = g[..., :n], g[..., n : 2 * n], o - o * tanh_c * tanh_c
    back_h, back_c, steps = 0.0, 0.0, []
    for t in reversed(range(len(y))):
        dh = of_h[t] + back_h
        dc = of_c[t] + back_c + dh * h_by_c[t]
        d = slopes[t] * np.concatenate([dc, dc, dc, dh], -1) + direct[t]
        back_h, back_c = _product(d, w), dc * f[t]
        steps.append(d)
    d = _in_time(steps)
    return [d, _product(_rows(d).T, _rows(_before(h, hs))), d.sum((0, 1)), back_h, back_c]


lstm = row("lstm", _lstm, joint=_lstm_joint)

# ---- gru: gates r, u; a = tanh(z_a + r q), q = h W_a^T + b_a; h = (1 - u) a + u h; packed h, a, r, u, q ----


@kernel
def _gru_forward(z: Any, w: Any, b: Any, h: Any) -> Any:
    n = w.shape[1]
    y = np.empty((*z.shape[:2], 5 * n), np.result_type(z, w, b, h))
    scale = np.repeat(np.array([0.5, 0.5, 1.0], y.dtype), n)
    z, w, b = z * scale, w.T * scale, b * scale
    for y_t, z_t in zip(y, z):
        products, r_u = y_t[:, 2 * n :], y_t[:, 2 * n : 4 * n]
        np.matmul(h, w, out=products)
        products += b
        r_u += z_t[:, : 2 * n]
        np.tanh(r_u, out=r_u)
        r_u *= 0.5
        r_u += 0.5
        before, h, a, r, u, q = (h, *(y_t[:, k * n : (k + 1) * n] for k in range(5)))
        np.multiply(r, q, out=a)
        a += z_t[:, 2 * n :]
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
    hs, a, r, u, q = _parts(y, n)
    of_h, of_a, of_r, of_u, of_q = _parts(g, n)
    before = _before(h, hs)

    def before_gates(da: Any, dr: Any, du: Any, dq: Any) -> Any:
        da = da * (1.0 - a * a)
        return np.concatenate([da, (da * q + dr) * (r - r * r), du * (u - u * u), da * r + dq], -1)

    slopes, direct = before_gates(1.0 - u, 0.0, before - a, 0.0), before_gates(of_a, of_r, of_u, of_q)
    back, steps = 0.0, []
    for t in reversed(range(len(y))):
        dh = of_h[t] + back
        d = slopes[t] * np.concatenate([dh, dh, dh, dh], -1) + direct[t]
        back = dh * u[t] + _product(d[:, n:], w)
        steps.append(d)
    d = _in_time(steps)
    dr_du_dq = d[..., n:]
    dz = np.concatenate([d[..., n : 3 * n], d[..., :n]], -1)
    return [dz, _product(_rows(dr_du_dq).T, _rows(before)), dr_du_dq.sum((0, 1)), back]


gru = row("gru", _gru, joint=_gru_joint)
