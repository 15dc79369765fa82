"""Optimizers in order of increasing complexity. The base class loops over parameters; a subclass is one formula.

`update(p, g, state, group)` writes the new value of one parameter into its array p, given its gradient g; it is said in
ufuncs with ``out=``, so that a step allocates nothing and no array is ever replaced. Settings are read from
`param_groups` at every step, so changing them there takes effect. A step is all or nothing: every gradient is checked
before the first parameter is written. Formulas, names and defaults are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, ClassVar

import numpy as np
from numpy import add, divide, isfinite, maximum, multiply, ndarray, sqrt, subtract, vecdot

from ..nn.module import Module, Parameter
from ..opaque import value_check
from ..recipe import wrote
from ..tensor import Tensor

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]

Array = ndarray[Any, Any]
Group = dict[str, Any]


BLOCK = 10_000  # entries; above, BLAS wakes its threads for a dot product: matrices are added up row by row then


@value_check
def check_finite(optimizer: str, gradients: list[Array | None]) -> None:
    """Refuse gradients (None: a parameter without) with entries that are not finite, before anything is written."""
    for position, g in enumerate(gradients):
        if g is None:
            continue
        sums = (g if g.size <= BLOCK or g.ndim == 1 else vecdot(g, g)).reshape(-1)
        if not sums.dot(sums) < inf and not isfinite(g).all():
            bad = int(np.count_nonzero(~isfinite(g)))
            raise FloatingPointError(
                f"{optimizer}.step: the gradient of parameter {position}, shape {g.shape}, has {bad} of {g.size} "
                "entries that are not finite. No parameter was written; lower lr, or look for what overflowed."
            )


@value_check
def check_number(optimizer: str, name: str, value: Any, low: float, high: float) -> None:
    """Refuse a setting that is no number, or out of its range."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{optimizer}: {name} is {value!r}, a {type(value).__name__}. Pass a number.")
    if not low <= value < high:
        raise ValueError(f"{optimizer}: {name} is {value}. Pass a number in [{low:g}, {high:g}).")


class Optimizer:
    """The loop: groups of parameters with their settings, and a state for each parameter.

    Subclasses define `update` and call ``super().__init__(params, lr=..., ...)`` with their settings, which become the
    keys of every group. A setting whose name is in `ranges` must be a number in ``[low, high)``.

    Attributes
    ----------
    param_groups
        A list of dicts: "params", and the settings of these parameters.
    state
        For each parameter a dict of what `update` remembers; names that begin with ``_`` are scratch and not saved.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> class SignDescent(Optimizer):
    ...     def update(self, p, g, state, group):
    ...         p -= group["lr"] * np.sign(g)
    >>> w = bp.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SignDescent([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5, 1.5], requires_grad=True)
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {"lr": (0.0, inf)}

    remembered: ClassVar[dict[str, bool]] = {}
    """What `update` keeps in `state` for a parameter, by name: an array like it (True) or one number (False)."""

    optional: ClassVar[frozenset[str]] = frozenset()
    """Those of them that only some settings need."""

    check_finite = True
    """Whether a step refuses gradients that are not finite; set False to save the pass over them."""

    def __init__(self, params: Iterable[Any], **defaults: Any) -> None:
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        if isinstance(params, Tensor):
            raise TypeError(f"{self._name}: got one Tensor for params. Pass a list of them, [tensor].")
        groups = self._listed(params)
        for group in groups if groups and isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """Write the next value of one parameter into p: the formula; every subclass defines it.

        Parameters
        ----------
        p, g
            The arrays of the parameter and of its gradient, which is not to be written.
        state
            What was remembered of this parameter; ``_scratch`` is an array like p to compute in, and ``_lr`` the
            learning rate as a 0-d array of p's dtype, which a ufunc takes at half the cost of a Python float.
        group
            The settings.
        """
        raise NotImplementedError(f"{self._name}: has no update. Define update(self, p, g, state, group) in the class.")

    def step(self) -> None:
        """Update every parameter that has a gradient.

        Raises
        ------
        RuntimeError
            No parameter has a gradient: backward() was not called.
        FloatingPointError
            A gradient has entries that are nan or infinite; no parameter was written.
        ValueError, TypeError
            A learning rate that is no number or out of range; no parameter was written. Other settings are checked
            when a group is added or loaded.
        """
        gradients = []
        updates = []
        for group in self.param_groups:
            lr = group["lr"]
            if type(lr) is not float or not 0.0 <= lr < inf:
                self._check_number("lr", lr, 0.0, inf)
            for p in group["params"]:
                g = None if p.gradient is None else p.gradient.data
                gradients.append(g)
                if g is not None:
                    updates.append((p, g, group))
        if not updates:
            raise RuntimeError(f"{self._name}.step: no parameter has a gradient. Call backward() on the loss first.")
        if self.check_finite:
            check_finite(self._name, gradients)
        try:
            for p, g, group in updates:
                state = self.state[p]
                state["_lr"][()] = group["lr"]
                self.update(p.data, g, state, group)
        finally:
            wrote(*[p for p, _, _ in updates])

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for group in self.param_groups:
            for p in group["params"]:
                p.gradient = None

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Optimize the tensors of `group["params"]` too; settings it does not name are the optimizer's.

        >>> import tinygrad_bp as bp
        >>> w, b = bp.tensor([1.0], requires_grad=True), bp.tensor([0.0], requires_grad=True)
        >>> optimizer = SGD([w], lr=0.1)
        >>> optimizer.add_param_group({"params": [b], "lr": 0.2})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.2]
        """
        if not isinstance(group, Mapping):
            raise TypeError(f"{self._name}: a group is a {type(group).__name__}. Pass dicts, or tensors, not both.")
        unknown = sorted(set(group) - set(self.defaults) - {"params"})
        if unknown or "params" not in group:
            wrong = f"unknown {', '.join(unknown)}" if unknown else "no 'params'"
            raise ValueError(f"{self._name}: a group has {wrong}. Its keys are params, {', '.join(self.defaults)}.")
        params = [group["params"]] if isinstance(group["params"], Tensor) else self._listed(group["params"])
        if not params:
            raise ValueError(f"{self._name}: there are no parameters. Pass those of a model that has some.")
        known = set(self.state)
        for position, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{self._name}: parameter {position} is a {type(p).__name__}. Pass Tensors.")
            if not p.is_leaf:
                raise ValueError(f"{self._name}: parameter {position} of shape {p.shape} was computed. Pass leaves.")
            if not (p.requires_grad or isinstance(p, Parameter)):  # a Parameter is frozen on purpose
                raise ValueError(
                    f"{self._name}: parameter {position} of shape {p.shape} does not require grad. "
                    "Make it with requires_grad=True."
                )
            if p in known:
                raise ValueError(f"{self._name}: parameter {position} of shape {p.shape} is given twice. Pass it once.")
            known.add(p)
        complete = {"params": params} | self.defaults | {name: group[name] for name in group if name != "params"}
        self._check_settings(complete)
        self.param_groups.append(complete)
        for p in params:
            self.state[p] = {"_scratch": np.empty_like(p.data), "_lr": np.zeros((), p.dtype)}

    # -- checks --

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        shown = [{name: value for name, value in group.items() if name != "params"} for group in self.param_groups]
        return f"{self._name}({'; '.join(', '.join(f'{k}={v!r}' for k, v in group.items()) for group in shown)})"

    def _listed(self, params: Any) -> list[Any]:
        """What an iterator or a sequence holds; a network and its method are near misses."""
        if isinstance(params, (Module, Mapping, str)) or not isinstance(params, Iterable):
            instead = "a list of dicts, [{...}]" if isinstance(params, Mapping) else "net.parameters()"
            raise TypeError(f"{self._name}: got a {type(params).__name__} for params. Pass {instead}.")
        return list(params)

    def _check_settings(self, group: Group) -> None:
        """Refuse settings that are no numbers or out of range."""
        for name, (low, high) in self.ranges.items():
            self._check_number(name, group[name], low, high)

    def _check_number(self, name: str, value: Any, low: float, high: float) -> None:
        check_number(self._name, name, value, low, high)

    def _check_flag(self, name: str, value: Any) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"{self._name}: {name} is {value!r}. Pass True or False.")

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    # -- saving --

    def state_dict(self) -> dict[str, Any]:
        """{"state": {index: what is remembered}, "param_groups": settings}, parameters as indices, arrays as copies.

        >>> import tinygrad_bp as bp
        >>> SGD([bp.tensor([1.0], requires_grad=True)], lr=0.1).state_dict()["param_groups"][0]["params"]
        [0]
        """
        index = {p: i for i, p in enumerate(self._parameters())}
        state = {index[p]: {k: v.copy() for k, v in kept.items() if k[0] != "_"} for p, kept in self.state.items()}
        return {
            "state": {i: kept for i, kept in state.items() if kept},
            "param_groups": [group | {"params": [index[p] for p in group["params"]]} for group in self.param_groups],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict()` returned, for the same parameters in the same order: all of it or nothing.

        Raises
        ------
        ValueError
            Other groups, other settings, or arrays of other shapes than these parameters need.
        TypeError
            The state is no dict.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: the state is a {type(state_dict).__name__}. Pass what state_dict() returned."
            )
        if set(state_dict) != {"state", "param_groups"}:
            raise ValueError(f"load_state_dict: got the keys {sorted(state_dict)}. Pass what state_dict() returned.")
        groups, parameters = state_dict["param_groups"], self._parameters()
        sizes, own = [len(group["params"]) for group in groups], [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise ValueError(f"load_state_dict: groups of {sizes} parameters do not fit this optimizer's {own}.")
        for group, mine in zip(groups, self.param_groups):
            if differ := ", ".join(sorted((set(group) ^ set(mine)) - {"initial_lr"})):  # which a schedule adds
                raise ValueError(f"load_state_dict: a group differs in {differ}. Use the optimizer it was saved from.")
            self._check_settings(group)
        loaded: dict[Tensor, dict[str, Array]] = {p: {} for p in parameters}
        for i, kept in state_dict["state"].items():
            if i not in range(len(parameters)):
                raise ValueError(f"load_state_dict: there is no parameter {i} here, only {len(parameters)}.")
            p = parameters[i]
            if not set(self.remembered) - self.optional <= set(kept) <= set(self.remembered):
                raise ValueError(
                    f"load_state_dict: parameter {i} has {sorted(kept)}, {self._name} remembers "
                    f"{sorted(self.remembered)}. Use the optimizer it was saved from."
                )
            for name, value in kept.items():
                array, shape = np.array(value), p.shape if self.remembered[name] else ()
                if array.shape != shape or array.dtype.kind not in "fiu":
                    raise ValueError(
                        f"load_state_dict: {name} of parameter {i} has dtype {array.dtype} and shape {array.shape}, "
                        f"it needs numbers of shape {shape}. Use the optimizer it was saved from."
                    )
                loaded[p][name] = array.astype(p.dtype if self.remembered[name] else float)
        for p, kept in loaded.items():
            state = self.state[p]
            for name in [name for name in state if name[0] != "_" and name not in kept]:
                del state[name]
            for name, array in kept.items():
                if name in state:
                    state[name][...] = array
                else:
                    state[name] = array
        for group, mine in zip(groups, self.param_groups):
            mine.update({name: value for name, value in group.items() if name != "params"})


# ---- what formulas have in common --------------------------------------------------------------------------


def _decayed(p: Array, g: Array, weight_decay: float, out: Array) -> Array:
    """g + weight_decay p."""
    return add(g, multiply(p, weight_decay, out), out)


def _average(mean: Array, new: Array, beta: float, scratch: Array) -> None:
    """mean <- beta mean + (1 - beta) new"""
    multiply(mean, beta, mean)
    add(mean, multiply(new, 1.0 - beta, scratch), mean)


def _begin(p: Array, state: dict[str, Any], arrays: tuple[str, ...], scratch: tuple[str, ...] = ()) -> None:
    """Zeros for arrays that `update` meets for the first time, a step that counts from 0, arrays to compute in."""
    for name in arrays:
        if name not in state:
            state[name] = np.zeros_like(p)
    if "step" not in state:
        state["step"] = np.zeros_like(p, shape=(), dtype=float)
    for name in scratch:
        if name not in state:
            state[name] = np.empty_like(p)


# ---- the formulas ------------------------------------------------------------------------------------------


class SGD(Optimizer):
    """p <- p - lr g: gradient descent on the gradient of a mini-batch.

    With `weight_decay`, g <- g + weight_decay p first. With `momentum`, a buffer v <- momentum v + (1 - dampening) g
    (v = g in the first step) takes the place of g; with `nesterov` it is g + momentum v.

    Parameters
    ----------
    params
        Tensors, or dicts {"params": tensors, settings ...}: groups with settings of their own.
    lr
        The learning rate, Nielsen's eta.

    Raises
    ------
    ValueError, TypeError
        No parameters, one given twice, something that is no leaf or does not require grad; settings out of range.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> w = bp.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5, 1. ], requires_grad=True)
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "lr": (0.0, inf),
        "momentum": (0.0, inf),
        "dampening": (0.0, 1.0),
        "weight_decay": (0.0, inf),
    }
    remembered: ClassVar[dict[str, bool]] = {"momentum_buffer": True}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def _check_settings(self, group: Group) -> None:
        super()._check_settings(group)
        self._check_flag("nesterov", group["nesterov"])
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD: nesterov needs momentum > 0 and dampening 0, not {group['momentum']} and {group['dampening']}."
            )

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """p -= lr * g"""
        lr, momentum, scratch = state["_lr"], group["momentum"], state["_scratch"]
        if group["weight_decay"]:
            g = _decayed(p, g, group["weight_decay"], scratch)
        if momentum:
            v = state.get("momentum_buffer")
            if v is None:
                v = state["momentum_buffer"] = g.copy()
            else:
                multiply(v, momentum, v)
                if group["dampening"]:
                    g = multiply(g, 1.0 - group["dampening"], scratch)
                add(v, g, v)
            if group["nesterov"]:
                subtract(p, multiply(g, lr, scratch), p)
                g = multiply(v, momentum, scratch)
            else:
                g = v
        subtract(p, multiply(g, lr, scratch), p)


class Adam(Optimizer):
    """p <- p - lr m / (sqrt(v) + eps), with running means m of g and v of g^2 (Kingma and Ba, 2015, algorithm 1).

    m <- beta1 m + (1 - beta1) g and v <- beta2 v + (1 - beta2) g^2 begin at 0, which after t steps is made good by
    dividing by 1 - beta1^t and 1 - beta2^t. With `weight_decay`, g <- g + weight_decay p first.

    Parameters
    ----------
    params
        Tensors, or dicts {"params": tensors, settings ...}: groups with settings of their own.

    Raises
    ------
    ValueError, TypeError
        No parameters, one given twice, something that is no leaf or does not require grad; settings out of range.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> w = bp.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = Adam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.75, 1.75], requires_grad=True)
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "lr": (0.0, inf),
        "eps": (0.0, inf),
        "weight_decay": (0.0, inf),
    }
    remembered: ClassVar[dict[str, bool]] = {"step": False, "exp_avg": True, "exp_avg_sq": True}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _check_settings(self, group: Group) -> None:
        super()._check_settings(group)
        if not isinstance(group["betas"], (tuple, list)) or len(group["betas"]) != 2:
            raise ValueError(f"{self._name}: betas is {group['betas']!r}. Pass two numbers in [0, 1).")
        for k, beta in enumerate(group["betas"]):
            self._check_number(f"betas[{k}]", beta, 0.0, 1.0)

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """p -= lr * m / (sqrt(v) + eps), m and v freed of their bias: in the order of Kingma and Ba's section 2."""
        beta1, beta2 = group["betas"]
        _begin(p, state, ("exp_avg", "exp_avg_sq"), ("_g",) if group["weight_decay"] else ())
        if "_rate" not in state:
            state |= {name: np.empty_like(p, shape=()) for name in ("_rate", "_eps")}
        t, m, v, scratch = state["step"], state["exp_avg"], state["exp_avg_sq"], state["_scratch"]
        add(t, 1.0, t)
        if group["weight_decay"]:
            g = self._decay(p, g, state, group["weight_decay"])
        _average(m, g, beta1, scratch)
        _average(v, multiply(g, g, scratch), beta2, scratch)
        root = sqrt(1.0 - beta2**t)
        rate = multiply(state["_lr"], root / (1.0 - beta1**t), state["_rate"])
        eps = multiply(root, group["eps"], state["_eps"])
        divide(m, add(sqrt(v, scratch), eps, scratch), scratch)
        subtract(p, multiply(scratch, rate, scratch), p)

    def _decay(self, p: Array, g: Array, state: dict[str, Any], weight_decay: float) -> Array:
        """The gradient with weight decay in it."""
        return _decayed(p, g, weight_decay, state["_g"])


class AdamW(Adam):
    """p <- p - lr weight_decay p, then Adam's step (Loshchilov and Hutter, 2019, algorithm 2).

    The decay does not pass through the running means of the gradient, so it is the same for every parameter.

    Parameters
    ----------
    params
        Tensors, or dicts {"params": tensors, settings ...}: groups with settings of their own.

    Raises
    ------
    ValueError, TypeError
        No parameters, one given twice, something that is no leaf or does not require grad; settings out of range.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> w = bp.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = AdamW([w], lr=0.25, weight_decay=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.625, 1.5  ], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _decay(self, p: Array, g: Array, state: dict[str, Any], weight_decay: float) -> Array:
        """The gradient as it is; p itself decays."""
        share = multiply(state["_lr"], weight_decay, state["_rate"])
        subtract(p, multiply(p, share, state["_g"]), p)
        return g


class RMSprop(Optimizer):
    """p <- p - lr g / (sqrt(v) + eps), with a running mean v of g^2 (Tieleman and Hinton, 2012, lecture 6.5).

    v <- alpha v + (1 - alpha) g^2 begins at 0. If `centered`, the square of a running mean of g is taken off v. With
    `momentum`, a buffer b <- momentum b + g / (sqrt(v) + eps) takes the place of that quotient. With `weight_decay`,
    g <- g + weight_decay p first.

    Parameters
    ----------
    params
        Tensors, or dicts {"params": tensors, settings ...}: groups with settings of their own.

    Raises
    ------
    ValueError, TypeError
        No parameters, one given twice, something that is no leaf or does not require grad; settings out of range.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> w = bp.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = RMSprop([w], lr=0.25, alpha=0.75, eps=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5, 1.5], requires_grad=True)
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "lr": (0.0, inf),
        "alpha": (0.0, 1.0),
        "eps": (0.0, inf),
        "weight_decay": (0.0, inf),
        "momentum": (0.0, inf),
    }
    remembered: ClassVar[dict[str, bool]] = {
        "step": False,
        "square_avg": True,
        "momentum_buffer": True,
        "grad_avg": True,
    }
    optional: ClassVar[frozenset[str]] = frozenset({"momentum_buffer", "grad_avg"})

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered
        )

    def _check_settings(self, group: Group) -> None:
        super()._check_settings(group)
        self._check_flag("centered", group["centered"])

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """p -= lr * g / (sqrt(v) + eps)"""
        _begin(p, state, ("square_avg",), ("_g",) if group["weight_decay"] else ())
        t, v, scratch = state["step"], state["square_avg"], state["_scratch"]
        add(t, 1.0, t)
        if group["weight_decay"]:
            g = _decayed(p, g, group["weight_decay"], state["_g"])
        _average(v, multiply(g, g, scratch), group["alpha"], scratch)
        if group["centered"]:
            _begin(p, state, ("grad_avg",))
            mean = state["grad_avg"]
            _average(mean, g, group["alpha"], scratch)
            subtract(v, multiply(mean, mean, scratch), scratch)
            sqrt(maximum(scratch, 0.0, out=scratch), scratch)  # rounding can take more off than there is
        else:
            sqrt(v, scratch)
        move = divide(g, add(scratch, group["eps"], scratch), scratch)
        if group["momentum"]:
            _begin(p, state, ("momentum_buffer",))
            b = state["momentum_buffer"]
            multiply(b, group["momentum"], b)
            move = add(b, move, b)
        subtract(p, multiply(move, state["_lr"], scratch), p)


class Adagrad(Optimizer):
    """p <- p - lr g / (sqrt(s) + eps), with the sum s of all g^2 so far (Duchi, Hazan and Singer, 2011).

    s begins at `initial_accumulator_value`. After t steps lr is divided by 1 + t lr_decay. With `weight_decay`,
    g <- g + weight_decay p first.

    Parameters
    ----------
    params
        Tensors, or dicts {"params": tensors, settings ...}: groups with settings of their own.

    Raises
    ------
    ValueError, TypeError
        No parameters, one given twice, something that is no leaf or does not require grad; settings out of range.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> w = bp.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = Adagrad([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.75, 1.75], requires_grad=True)
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "lr": (0.0, inf),
        "lr_decay": (0.0, inf),
        "weight_decay": (0.0, inf),
        "initial_accumulator_value": (0.0, inf),
        "eps": (0.0, inf),
    }
    remembered: ClassVar[dict[str, bool]] = {"step": False, "sum": True}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """p -= lr / (1 + t lr_decay) * g / (sqrt(s) + eps)"""
        if "sum" not in state:
            s = state["sum"] = np.zeros_like(p)
            add(s, group["initial_accumulator_value"], s)
        if "_rate" not in state:
            state["_rate"] = np.empty_like(p, shape=())
        _begin(p, state, (), ("_g",) if group["weight_decay"] else ())
        t, s, scratch = state["step"], state["sum"], state["_scratch"]
        if group["weight_decay"]:
            g = _decayed(p, g, group["weight_decay"], state["_g"])
        add(s, multiply(g, g, scratch), s)
        divide(g, add(sqrt(s, scratch), group["eps"], scratch), scratch)
        rate = divide(state["_lr"], 1.0 + t * group["lr_decay"], state["_rate"])
        subtract(p, multiply(scratch, rate, scratch), p)
        add(t, 1.0, t)
