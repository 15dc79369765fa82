"""Every row that PyTorch has too: values, gradients and gradients of gradients on all samples, to 12 digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_bp import Tensor, autograd
from tinygrad_bp.autograd import Op

from . import samples
from .checks import floats, naming, signed, tracked
from .differences import assert_close
from .references import gathered, subscripted
from .samples import Sample
from .test_table import ALL_ROWS, entry_of

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore:var:UserWarning")]
torch: Any = None


@pytest.fixture(autouse=True)
def pytorch() -> None:
    """PyTorch, imported by the first test that runs and not by collecting them."""
    global torch
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")


SAME = 1e-12
# The library's own: what they compute is NumPy's division and product, a cast, a copy.
WITHOUT = {"over", "times", "gate", "cast", "copy", "discrete"}
# See test_oracle_linalg.py.
WITHOUT |= {"inv", "solve", "pinv", "matrix_power", "det", "cofactors", "slogdet", "cholesky", "qr", "eigh", "svd"}
# PyTorch's second derivative of this loss has a term of 1e-12 too many; see test_oracle_losses.py for the first.
WITHOUT |= {"binary_cross_entropy"}
# See tests/nn/test_oracle_*.py, and test_oracle_arrays.py.
WITHOUT |= {"conv2d", "conv2d_dx", "conv2d_dw", "max_pool", "max_pool_take", "max_pool_put", "avg_pool", "avg_pool_put"}
WITHOUT |= {"batch_norm", "layer_norm", "rms_norm", "lstm", "gru", "rnn", "convolve"}


def reduction(f: Callable[..., Any]) -> Callable[..., Any]:
    """f(x, dim) of one axis as a function of any axes: those that are reduced become the last."""

    def along(x: Any, axis: Any = None, keepdims: bool = False, **params: Any) -> Any:
        axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        axes = tuple(i % x.ndim for i in axes) if x.ndim else ()
        last = tuple(range(x.ndim - len(axes), x.ndim))
        rest = [n for i, n in enumerate(x.shape) if i not in axes]
        y = f(x.movedim(axes, last).reshape(*rest, int(np.prod([x.shape[i] for i in axes]))), -1, **params)
        return y.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if keepdims else y

    return along


def expand_dims(x: Any, axis: Any) -> Any:
    for i in sorted(a % (x.ndim + np.size(axis)) for a in np.atleast_1d(axis).tolist()):
        x = x.unsqueeze(i)
    return x


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    return x.roll((shift,) * len(axis) if isinstance(axis, tuple) and not isinstance(shift, tuple) else shift, axis)


def pad(x: Any, pad_width: Any, constant_values: float = 0.0) -> Any:
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))
    return torch.nn.functional.pad(x, widths[::-1].ravel().tolist(), value=constant_values)


def raw(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(raw, index))
    return torch.tensor(index) if isinstance(index, np.ndarray) else index


def put(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    place = torch.arange(int(np.prod(shape))).reshape(shape)[raw(index)]
    return torch.zeros(int(np.prod(shape)), dtype=g.dtype).index_add(0, place.flatten(), g.flatten()).reshape(shape)


def getitem(x: Any, index: Any) -> Any:
    if isinstance(index, slice) and (index.step or 1) < 0:  # PyTorch has no negative steps
        return x[torch.tensor(np.arange(len(x))[index].copy())]
    return x[raw(index)]


def sinc(x: Any, n: int = 0) -> Any:
    """As an integral: the second derivative of torch.sinc is nan at 0."""
    t, weights = (torch.tensor(a) for a in np.polynomial.legendre.leggauss(60))
    values = torch.cos(np.pi * x[..., None] * t) * (1.0 - t * t) ** n
    return (values * weights).sum(-1) / (2.0 ** (n + 1) * math.factorial(n))


def quantile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """By the order of the entries, and NumPy's word for the place between two of them."""

    def one(rows: Any, dim: int, q: float) -> Any:
        n = rows.shape[dim]
        place = float(np.quantile(np.arange(float(n)), q, method=method))  # type: ignore[call-overload]
        low = int(place)
        y = rows.sort(dim).values
        return (1.0 - place + low) * y[..., low] + (place - low) * y[..., min(low + 1, n - 1)]

    found = [reduction(one)(x, axis, keepdims, q=v) for v in np.ravel(q)]
    return torch.stack(found).reshape(np.shape(q) + found[0].shape)


def partition(x: Any, kth: Any, axis: int = -1) -> Any:
    return torch.take_along_dim(x, torch.tensor(np.argpartition(x.numpy(force=True), kth, axis)), axis)


def quadratic_loss(a: Any, y: Any, reduction: str = "mean") -> Any:
    losses = ((a - y) ** 2).reshape(len(a), -1).sum(1) / 2
    return losses if reduction == "none" else getattr(losses, reduction)()


def cross_entropy(x: Any, y: Any, reduction: str = "mean") -> Any:
    return torch.nn.functional.cross_entropy(x, y % x.shape[1] if y.ndim < x.ndim else y, reduction=reduction)


def attention_weights(q: Any, k: Any, mask: Any, scale: float = 1.0) -> Any:
    """What attention makes of values that are the columns of 1."""
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # which has second derivatives
        one = torch.eye(k.shape[-2], dtype=q.dtype)
        return torch.nn.functional.scaled_dot_product_attention(q, k, one, mask, scale=scale)


def counterparts() -> dict[str, Callable[..., Any]]:
    """PyTorch's function for the name of a row."""
    F = torch.nn.functional
    return {
        **{name: getattr(torch, name) for name in samples.UNARY if hasattr(torch, name)},
        **{name: getattr(torch, name) for name in samples.BINARY if hasattr(torch, name)},
        "cbrt": lambda x: x.sign() * x.abs() ** (1 / 3),
        "power": torch.pow,
        "equal": torch.eq,
        "rint": torch.round,
        "invert": torch.bitwise_not,
        "leaky_relu": F.leaky_relu,
        "elu": F.elu,
        "silu": F.silu,
        "softplus": F.softplus,
        **{name: getattr(F, name) for name in ("mish", "selu", "softsign")},
        "ndtr": torch.special.ndtr,
        "log_sigmoid": F.logsigmoid,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "clip": torch.clamp,
        "where": lambda c, a, b: torch.where(c.bool(), a, b),
        **{
            name: reduction(getattr(torch, name))
            for name in ("sum", "mean", "prod", "logsumexp", "all", "any", "argmax")
        },
        "argmin": reduction(torch.argmin),
        "count_nonzero": reduction(torch.count_nonzero),
        "max": reduction(torch.amax),
        "min": reduction(torch.amin),
        "var": reduction(lambda x, dim, ddof=0: torch.var(x, dim, correction=ddof)),
        "norm": reduction(lambda x, dim: torch.linalg.vector_norm(x, dim=dim)),
        "cumsum": lambda x, axis=None: torch.cumsum(x.flatten() if axis is None else x, axis or 0),
        "cumprod": lambda x, axis=None: torch.cumprod(x.flatten() if axis is None else x, axis or 0),
        "nanmean": reduction(torch.nanmean),
        "nanvar": reduction(lambda x, dim, ddof=0: torch.var(x, dim, correction=ddof)),
        "nanmax": reduction(torch.amax),
        "nanmin": reduction(torch.amin),
        "sinc": sinc,
        "copysign": torch.copysign,
        "heaviside": lambda a, b: torch.where(torch.as_tensor(a) == 0, b, torch.as_tensor(a) > 0),
        "round": lambda x, decimals=0: torch.round(x, decimals=decimals),
        "permuted": lambda x, order, axis: torch.take_along_dim(x, torch.tensor(order), axis),
        "sort": lambda x, axis=-1, **_: (x.flatten() if axis is None else x).sort(-1 if axis is None else axis).values,
        "partition": partition,
        "median": lambda x, axis=None, keepdims=False: quantile(x, 0.5, axis, keepdims=keepdims),
        "nanmedian": lambda x, axis=None, keepdims=False: quantile(x, 0.5, axis, keepdims=keepdims),
        "quantile": quantile,
        "reshape": lambda x, shape: x.reshape(shape),
        "squeeze": lambda x, axis=None: x.squeeze() if axis is None else x.squeeze(axis),
        "expand_dims": expand_dims,
        "transpose": lambda x, axes=None: x.permute(axes or tuple(range(x.ndim))[::-1]),
        "swapaxes": lambda x, axis1, axis2: torch.swapaxes(x, axis1, axis2),
        "moveaxis": torch.moveaxis,
        "broadcast_to": lambda x, shape: torch.broadcast_to(x, shape if isinstance(shape, tuple) else (shape,)),
        "flip": lambda x, axis=None: x.flip(tuple(range(x.ndim)) if axis is None else axis),
        "roll": roll,
        "tril": lambda x, k=0: torch.tril(x if x.ndim > 1 else x.expand(len(x), -1), k),
        "triu": lambda x, k=0: torch.triu(x if x.ndim > 1 else x.expand(len(x), -1), k),
        "pad": pad,
        "concatenate": gathered(lambda xs, axis=0: torch.cat(xs, axis)),
        "getitem": getitem,
        "put": put,
        "attention_weights": attention_weights,
        "linear": F.linear,
        "matmul": torch.matmul,
        "einsum": subscripted(torch.einsum),
        "softmax": lambda x, axis=-1: F.softmax(x, axis),
        "log_softmax": lambda x, axis=-1: F.log_softmax(x, axis),
        "quadratic_loss": quadratic_loss,
        "mse_loss": F.mse_loss,
        "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
        "cross_entropy": cross_entropy,
        "sum_to": lambda x, shape: x.sum_to_size(shape),
    }


def ours(call: Callable[..., Any], sample: Sample) -> list[Any]:
    """The value; if it is differentiable the gradients, and their gradients along fixed directions."""
    leaves = tracked(sample.inputs)
    y = call(*leaves, **sample.params)
    if not y.requires_grad:
        return [y.data]
    u, targets = Tensor(signed(y.shape), requires_grad=True), [leaves[k] for k in floats(sample.inputs)]
    first = autograd.grad(y, targets, u, create_graph=True)
    total = sum((g * signed(g.shape, k + 1)).sum() for k, g in enumerate(first))
    second = autograd.grad(total, [*targets, u], allow_unused=True)
    return [x if x is None else x.data for x in (y, *first, *second)]


def theirs(call: Callable[..., Any], sample: Sample, differentiable: bool) -> list[Any]:
    leaves = [x if x is None else torch.from_numpy(np.array(x)) for x in sample.inputs]
    targets = [leaves[k].requires_grad_() for k in floats(sample.inputs)]
    y = call(*leaves, **sample.params)
    if not (differentiable and y.requires_grad):
        return [y.detach().numpy()]
    u = torch.tensor(signed(tuple(y.shape)), requires_grad=True)
    first = torch.autograd.grad(y, targets, u, create_graph=True)
    total = sum((g * torch.tensor(signed(tuple(g.shape), k + 1))).sum() for k, g in enumerate(first))
    wanted = [*targets, u]
    second = torch.autograd.grad(total, wanted, allow_unused=True) if total.requires_grad else [None] * len(wanted)
    return [x if x is None else x.numpy(force=True) for x in (y, *first, *second)]


def is_wrong_in_torch(name: str, *inputs: Any) -> bool:
    """PyTorch's second derivatives of a**p are 0 instead of 1/a at p = 0, and nan by p at a = 0."""
    return name == "power" and not all(map(np.all, inputs))


def test_every_row_has_its_counterpart() -> None:
    assert {row.name for row in ALL_ROWS} == set(counterparts()) | WITHOUT


@pytest.mark.parametrize("row", [row for row in ALL_ROWS if row.name not in WITHOUT], ids=lambda row: row.name)
def test_row_against_torch(row: Op) -> None:
    counterpart = counterparts()[row.name]
    for sample in entry_of(row).samples:
        with naming(sample):
            mine, yours = ours(entry_of(row).call, sample), theirs(counterpart, sample, row.differentiable)
            for k, (a, b) in enumerate(zip(mine, yours, strict=True)):
                if a is None or b is None:  # an input that the gradient does not depend on
                    a, b = (0.0 if x is None else np.max(np.abs(x), initial=0.0) for x in (a, b))
                elif k > len(floats(sample.inputs)) and is_wrong_in_torch(row.name, *sample.inputs):
                    continue
                assert_close(a, b, f"result {k}", SAME)
