"""Module: an object whose attributes are parameters, buffers and other modules, and whose call is `forward`.

Nothing is registered: the tree is found by walking ``vars(self)`` in the order of assignment, through lists, tuples and
dicts. A Parameter is learned; a Tensor that is not a Parameter is a buffer, saved but not learned; a name that begins
with ``_`` is private and skipped. What is reached twice is listed once, under its first dotted name. Layers live in
:mod:`~tinygrad_bp.nn.layers`; files are written and read by :mod:`tinygrad_bp.io`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from reprlib import recursive_repr
from types import NoneType
from typing import Any, ClassVar, Self, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..recipe import wrote
from ..tensor import Tensor
from .functional.accepted import check_settings
from .summary import Summary, summarize

__all__ = ["Module", "Parameter", "Sequential"]

changes = [0]
"""How often an attribute of any module was set: whoever relies on some of them looks again when this has moved."""


class Parameter(Tensor):
    """A tensor that is learned: a copy of `data` that requires grad, listed by the `parameters()` of its module.

    >>> import tinygrad_bp as bp
    >>> bp.nn.Parameter([0.0, 1.0])
    tensor([0., 1.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: DTypeLike | None = None) -> None:
        super().__init__(data, True, dtype)  # which copies
        self.requires_grad = requires_grad

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A parameter of the same numbers, without the gradient."""
        memo[id(self)] = copied = type(self)(self.data, self.requires_grad)
        return copied


class Module:
    """A part of a network: assign parameters and modules as attributes, define `forward`, call the module.

    >>> import tinygrad_bp as bp
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter(2.0)
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> scale = Scale()
    >>> scale(bp.tensor([1.0, 2.0])).tolist(), list(scale.state_dict())
    ([2.0, 4.0], ['factor'])
    """

    training = True
    """Whether layers that act differently in training do so; set by `train()` and `eval()`."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What a call computes; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__}: has no forward. Define forward(self, ...) in the class.")

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what looks like a parameter and would not be trained."""
        if not name.startswith("_"):
            where, kind = f"{type(self).__name__}: {name}", type(value).__name__
            if isinstance(vars(self).get(name), Parameter) and not isinstance(value, (Parameter, Module, NoneType)):
                raise TypeError(
                    f"{where} is a Parameter; a {kind} in its place would not be trained. "
                    f"Assign a Parameter, or write into {name}.data[...]."
                )
            leaf = isinstance(value, Tensor) and value.requires_grad and value.is_leaf
            if leaf and not isinstance(value, Parameter):
                raise TypeError(
                    f"{where} requires grad but is a {kind}, which would not be trained. Wrap it in nn.Parameter."
                )
        changes[0] += 1
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        changes[0] += 1
        super().__delattr__(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``forward(...)``."""
        return self.forward(*args, **kwargs)

    # -- the tree --

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        """The public attributes, by the names they have in `state_dict()`."""
        return ((name, value) for name, value in vars(self).items() if not name.startswith("_"))

    def _inside(self) -> Iterator[tuple[str, Module | Tensor]]:
        """The modules and tensors directly inside this module."""
        for name, value in self._attributes():
            yield from _unpacked(name, value)

    def _walk(self, path: str, seen: set[int]) -> Iterator[tuple[str, Module | Tensor]]:
        """Self and all modules and tensors below it, except those seen."""
        seen.add(id(self))
        yield path, self
        for name, value in self._inside():
            below = f"{path}.{name}" if path else name
            if id(value) in seen:
                continue
            if isinstance(value, Module):
                yield from value._walk(below, seen)
            else:
                seen.add(id(value))
                yield below, value

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Self, named "", and every module below it, with dotted names."""
        return ((name, value) for name, value in self._walk("", set()) if isinstance(value, Module))

    def modules(self) -> Iterator[Module]:
        """Self and every module below it."""
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator[Module]:
        """The modules directly inside this one."""
        found = {id(value): value for _, value in self._inside() if isinstance(value, Module)}
        return iter(found.values())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names, in the order of assignment."""
        return ((name, value) for name, value in self._walk("", set()) if isinstance(value, Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """The parameters in the order of assignment: what an optimizer is given."""
        return (parameter for _, parameter in self.named_parameters())

    def buffers(self) -> Iterator[Tensor]:
        """The tensors that are saved but not learned."""
        return (value for value in self._tensors().values() if not isinstance(value, Parameter))

    def _tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        found: dict[str, Tensor] = {}
        for name, value in self._walk("", set()):
            if isinstance(value, Tensor):
                if name in found:
                    raise ValueError(f"{type(self).__name__}: two tensors are named '{name}'. Rename one attribute.")
                found[name] = value
        return found

    # -- state --

    def train(self, mode: bool = True) -> Self:
        """Set `training` on every module of the tree; returns self."""
        check_settings("train", mode=mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """``train(False)``."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of the arrays of all parameters and buffers, by dotted name.

        >>> import tinygrad_bp as bp
        >>> list(bp.nn.Sequential(bp.nn.Linear(2, 3), bp.nn.Sigmoid()).state_dict())
        ['0.weight', '0.bias']
        """
        return {name: tensor.data.copy() for name, tensor in self._tensors().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> tuple[list[str], list[str]]:
        """Write the arrays of `state` into the tensors of the same names: all of them, or on an error none.

        Parameters
        ----------
        state
            Arrays or tensors by dotted name, of exactly the shapes and dtypes of this module's.
        strict
            Whether names that are missing from `state`, or unknown to this module, are an error.

        Returns
        -------
        (missing, unexpected)
            Those names.

        Raises
        ------
        ValueError
            Lists every missing and unexpected name and every array of another shape or dtype together.
        TypeError
            The state is no dict but, say, a path.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"load_state_dict: the state is a {type(state).__name__}. Pass bp.load(path) or net.state_dict()."
            )
        tensors = self._tensors()
        found = {name: value.data if isinstance(value, Tensor) else value for name, value in state.items()}
        arrays = {name: np.asarray(value).copy() for name, value in found.items()}
        missing = [name for name in tensors if name not in arrays]
        unexpected = [name for name in arrays if name not in tensors]
        shared = [name for name in tensors if name in arrays]
        faults = [f"missing {name}" for name in missing] + [f"unexpected {name}" for name in unexpected]
        faults = faults if strict else []
        for name in shared:
            given, own = arrays[name], tensors[name].data
            if given.shape != own.shape:
                faults.append(f"{name} has shape {given.shape}, not {own.shape}")
            elif given.dtype != own.dtype:
                faults.append(f"{name} has dtype {given.dtype}, not {own.dtype}")
            elif not own.flags.writeable:
                faults.append(f"{name} is read-only here")
        if faults:
            raise ValueError(
                f"load_state_dict: the state does not fit {type(self).__name__}: {'; '.join(faults)}. "
                "Nothing was loaded; use the model it was saved from."
            )
        for name in shared:
            tensors[name].data[...] = arrays[name]
        wrote(*(tensors[name] for name in shared))
        return missing, unexpected

    def summary(self, *inputs: Any) -> Summary:
        """The table of layers: class, shape of the output, parameters; last how many there are, and their memory.

        Parameters
        ----------
        inputs
            What the model is called with, for the shapes: arrays and tensors, or for zeros in the dtype of the
            parameters a shape, a tuple of integers. Without any there are no shapes.

        Returns
        -------
        Summary
            Which prints as the table, and has its rows and totals as attributes. What is shared counts once.

        Raises
        ------
        TypeError
            An input is an integer.

        Examples
        --------
        >>> import tinygrad_bp as bp
        >>> bp.nn.Sequential(bp.nn.Linear(784, 30), bp.nn.Sigmoid(), bp.nn.Linear(30, 10)).summary((1, 784))
        layer         output   parameters
        Sequential    (1, 10)
          0: Linear   (1, 30)      23,550
          1: Sigmoid  (1, 30)
          2: Linear   (1, 10)         310
        ---------------------------------
        23,860 parameters, all trainable; 190,880 bytes of float64
        """
        return summarize(self, *inputs)

    @recursive_repr()
    def __repr__(self) -> str:
        settings, lines = [], []
        arguments = signature(type(self)).parameters
        for name, value in self._attributes():
            if name in ("training", "forward"):  # forward is there while record_calls looks on
                continue
            if all(isinstance(x, _PLAIN) for x in (value if isinstance(value, tuple) else (value,))):
                settings += [f"{name}={value!r}"] if value is not None or name in arguments else []
            elif isinstance(value, Module) or not callable(value):
                lines += [f"({at}): {below!r}" for at, below in _unpacked(name, value) if isinstance(below, Module)]
            else:
                lines.append(f"({name}): {_described(value)}")
        return f"{type(self).__name__}({_block(', '.join(settings), lines)})"


class Calling(Module):
    """A layer without parameters: one call of a function, with the settings that it was made with."""

    function: ClassVar[Callable[..., Any]]
    settings: ClassVar[tuple[str, ...]] = ()

    def forward(self, input: Any) -> Any:
        """What the function gives for these settings."""
        return type(self).function(input, *(getattr(self, name) for name in self.settings))


class Sequential(Module):
    """Stages called one after the other, each with what the one before returned.

    A stage is a module or any function of one argument. Stages are named by their positions: ``0.weight``.
    ``len``, iteration, indexing and slicing give stages.

    >>> import tinygrad_bp as bp
    >>> net = bp.nn.Sequential(bp.nn.Linear(2, 3), bp.nn.Sigmoid(), bp.nn.Linear(3, 1), abs)
    >>> net(bp.ones(5, 2)).shape, len(net), net[1]
    ((5, 1), 4, Sigmoid())
    """

    def __init__(self, *layers: Module | Callable[[Any], Any]) -> None:
        for position, stage in enumerate(layers):
            if isinstance(stage, type):
                name = stage.__name__
                raise TypeError(f"Sequential: stage {position} is the class {name}. Make an instance: {name}(...).")
            if not callable(stage):
                raise TypeError(f"Sequential: stage {position} is a {type(stage).__name__}. Pass modules or functions.")
        self._stages = layers

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        yield from ((str(position), stage) for position, stage in enumerate(self._stages))
        yield from super()._attributes()

    def forward(self, input: Any) -> Any:
        """The last stage of ... the first stage of `input`."""
        position = 0
        try:
            for position, stage in enumerate(self._stages):  # noqa: B007
                input = stage(input)
        except Exception as error:
            error.add_note(f"in stage {position} of Sequential: {_described(self._stages[position])}")
            raise
        return input

    def __len__(self) -> int:
        return len(self._stages)

    def __iter__(self) -> Iterator[Callable[[Any], Any]]:
        return iter(self._stages)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Any:
        return Sequential(*self._stages[index]) if isinstance(index, slice) else self._stages[index]


def _unpacked(name: str, value: Any) -> Iterator[tuple[str, Module | Tensor]]:
    """The modules and tensors in a value: itself, or what its lists, tuples and dicts hold."""
    if isinstance(value, (Module, Tensor)):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _unpacked(f"{name}.{key}", below)


_PLAIN = (bool, int, float, str, NoneType)


def _described(stage: Any) -> str:
    """A module, or the name of a function, which is the same in every process."""
    return repr(stage) if isinstance(stage, Module) else getattr(stage, "__name__", type(stage).__name__)


def _block(settings: str, lines: list[str]) -> str:
    """What stands between the brackets of a repr: settings on its first line, children below, indented."""
    if not lines:
        return settings
    return "\n".join([settings, *("  " + line.replace("\n", "\n  ") for line in lines), ""])
