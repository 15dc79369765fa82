"""The door to a recording: a small function, written for it, that asks whether it still holds and then replays it.

What a recording relies on is known when it is made: shapes and dtypes of the arguments, which object a name means,
which array a tensor has. As a Python expression for just these facts the question costs a microsecond or two; a loop
over lists of facts costs several. Settings that have changed are put into their arrays here, results become tensors,
``.grad`` and the write clock are set.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy import asarray, ndarray

from .. import random, recipe
from ..nn import module
from ..recipe import Node, is_grad_enabled, leaf
from ..tensor import Tensor, default_dtype
from .handle import Setting
from .plan import Slot, unpack
from .surroundings import Surroundings
from .trace import Trace

__all__ = ["MISS", "Facts"]

MISS: Any = object()
"""What the door returns where the recording does not hold."""


class Facts:
    """What a recording relies on, as one Python expression about `args`, `kwargs` and objects known by name."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {"ndarray": ndarray, "Tensor": Tensor, "MISS": MISS}
        self.conditions: list[str] = []
        self._names: dict[int, str] = {}

    def name(self, x: Any) -> str:
        """A name for an object in the text."""
        if id(x) not in self._names:
            self._names[id(x)] = f"x{len(self._names)}"
            self.known[self._names[id(x)]] = x
        return self._names[id(x)]

    def same(self, expression: str, x: Any) -> None:
        """`expression` gives this very object."""
        plain = x is None or isinstance(x, bool)
        self.conditions.append(f"{expression} is {x if plain else self.name(x)}")

    # -- what may be relied on --

    def arguments(self, tree: Any, path: str) -> list[str]:
        """The structure, shapes and dtypes of arguments; returns the expressions of the arrays among them."""
        found = []
        if isinstance(tree, (list, tuple, dict)):
            self.conditions.append(f"type({path}) is {self.name(type(tree))} and len({path}) == {len(tree)}")
            keys = tree if isinstance(tree, dict) else range(len(tree))
            if isinstance(tree, dict):
                self.conditions += [f"{key!r} in {path}" for key in keys]
            for key in keys:
                found += self.arguments(tree[key], f"{path}[{key!r}]")
        elif isinstance(tree, (ndarray, Tensor)):
            array = tree.data if isinstance(tree, Tensor) else tree
            self.conditions.append(f"type({path}) is {self.name(type(tree))}")
            if isinstance(tree, Tensor):
                self.same(f"{path}.tracked", tree.tracked)
                path += ".data"
            self.conditions.append(f"{path}.shape == {array.shape}")
            self.same(f"{path}.dtype", array.dtype)
            found.append(path)
        elif type(tree) is float:
            self.conditions.append(f"type({path}) is float")
            found.append(f"asarray({path})")
        else:
            self.conditions.append(f"type({path}) is {self.name(type(tree))}")
            if isinstance(tree, (int, str, bytes, complex, np.generic)):
                self.equal(path, tree)
            else:
                self.same(path, tree)
        return found

    def modes(self) -> None:
        """Whether gradients are recorded, and the default dtype."""
        self.known |= {"modes": recipe._recording.get, "tensors": sys.modules[Tensor.__module__]}
        self.same("modes()[-1]", is_grad_enabled())
        self.same("tensors._default_dtype", default_dtype())

    def surroundings(self, around: Surroundings) -> None:
        """What the names in the function mean, and what is in the modules among them."""
        for held in around.plain:
            self.conditions.append(f"{self.name(held)} == {self.name(held.copy())}")
        for held, length in around.lengths():
            self.conditions.append(f"len({self.name(held)}) == {length}")
        for entry in around.entries:
            if entry.relied_on:
                where = entry.text.format(self.name(entry.place))
                if entry.by_content:
                    self.equal(f"{self.name(entry.value)}.tobytes()", entry.value.tobytes())
                if type(entry.value) in (int, float, str, bytes):
                    self.equal(where, entry.value)
                else:
                    self.same(where, entry.value)
        if around.modules:
            seen = [module.changes[0]]

            def still() -> bool:
                seen[0] = module.changes[0] if around.inside_holds() else seen[0]
                return seen[0] == module.changes[0]

            self.known["still"] = still
            self.conditions.append(f"({self.name(seen)}[0] == {self.name(module.changes)}[0] or still())")

    def equal(self, expression: str, x: Any) -> None:
        """`expression` gives a plain value equal to this one."""
        self.conditions.append(f"{expression} == {repr(x) if type(x) in (int, str, bytes) else self.name(x)}")

    def trace(self, trace: Trace) -> None:
        """The arrays of tensors and of optimizers, and whatever else of them was asked."""
        for node, (_, _, array) in trace.tensors.items():
            self.same(f"{self.name(node)}.data", array)
            self.conditions.append(f"{'' if node.tracked else 'not '}{self.name(node)}.tracked")
        for node, gradient in trace.looked.items():
            self.same(f"{self.name(node)}.gradient", gradient)
        for optimizer in trace.optimizers:
            self.same(f"{self.name(optimizer)}.param_groups", optimizer.param_groups)
            self.same(f"{self.name(optimizer)}.check_finite", optimizer.check_finite)
            self.conditions.append(f"len({self.name(optimizer)}.param_groups) == {len(optimizer.param_groups)}")
            for k, group in enumerate(optimizer.param_groups):
                self.same(f"{self.name(optimizer)}.param_groups[{k}]", group)
                for name, value in group.items():
                    if name == "params":
                        self.same(f"{self.name(group)}['params']", value)
                        self.conditions.append(f"len({self.name(value)}) == {len(value)}")
                    elif isinstance(value, (bool, str, type(None))):
                        self.equal(f"{self.name(group)}[{name!r}]", value)
        for leaf_, _, (optimizer, p, name) in trace.memory:
            self.same(f"{self.name(optimizer.state)}[{self.name(p)}].get({name!r})", trace.arrays[leaf_])

    # -- the door --

    def door(
        self,
        step: Callable[..., Any],
        positional: int,
        arrays: Sequence[str],
        trace: Trace,
        draws: bool,
        written: Sequence[Node],
        gradients: Sequence[tuple[Node, Any]],
        result: Any,
    ) -> Callable[[Any, Any], Any]:
        """``enter(args, kwargs)``: MISS, or what the function would return, with everything done that it would do."""
        self.known |= {
            "step": step,
            "lock": Lock(),  # the arrays of a recording are its own: one replay at a time
            "tick": recipe._tick,
            "asarray": asarray,
            "leaf": leaf,
            "generator": random.generator,
        }
        names = "".join(f"a{k}, " for k in range(positional))
        lines = [f"if len(args) != {positional}:", "    return MISS"] + ([f"{names}= args"] if positional else [])
        lines += [f"if not ({' and '.join(self.conditions)}):", "    return MISS"]
        if trace.settings:
            numbers, refresh = _settings(trace)
            texts = [self._number(key) for key in numbers]
            seen: list[Any] = [None]
            self.known["refresh"] = lambda new: refresh(new) and (seen.__setitem__(0, new) or True)
            lines.append(f"numbers = ({', '.join(texts)},)")
            lines += [
                "try:",
                f"    changed = numbers != {self.name(seen)}[0]",
                "except ValueError:",
                "    changed = True",
            ]
            lines += ["if changed and not refresh(numbers):", "    return MISS"]
        inputs = []
        for k, array in enumerate(arrays):
            inputs.append(array if array.startswith("asarray") or not trace.arrays else f"v{k}")
            if inputs[-1] != array:  # what the step writes may be passed to it: a copy, or a view, of it is enough
                lines += [f"v{k} = {array}", f"owner = id(v{k} if v{k}.base is None else v{k}.base)"]
                lines += ["if owner in written:", "    return MISS"]
                lines += ["if owner in gradients:", f"    v{k} = v{k}.copy()"]
        owned = [g.data for _, g in gradients if isinstance(g, Node)]
        self.known["gradients"] = {id(x if x.base is None else x.base) for x in owned}
        self.known["written"] = {id(x if x.base is None else x.base) for x in trace.written} - self.known["gradients"]
        lines += ["with lock:", f"    result = step({', '.join([*inputs, 'generator()'] if draws else inputs)})"]
        stamped = [*written, *(g for _, g in gradients if isinstance(g, Node))]
        if stamped:
            lines.append(" = ".join(f"{self.name(node)}.clock" for node in stamped) + " = tick()")
        lines += [f"{self.name(node)}.gradient = {self.name(g) if g is not None else None}" for node, g in gradients]
        lines.append(f"return {self._result(result)}")
        text = "def enter(args, kwargs):\n" + "".join(f"    {line}\n" for line in lines)
        exec(compile(text, "<the door to a recording>", "exec"), self.known)
        enter: Callable[[Any, Any], Any] = self.known["enter"]
        return enter

    def _number(self, key: tuple[Any, ...]) -> str:
        optimizer, k, name, place = key
        text = f"{self.name(optimizer.param_groups[k])}[{name!r}]"
        return text if place is None else f"{text}[{place}]"

    def _result(self, result: Any) -> str:
        """How what `step` returned becomes what the function returned."""
        template, count = result
        if count == 0:
            return self.name(template) if template is not None else "None"
        self.known |= {"tensor": _tensor, "unpack": unpack}
        if count == 1:
            one = isinstance(template, Slot)
            return "tensor(result)" if one else f"unpack({self.name(template)}, [tensor(result)])"
        return f"unpack({self.name(template)}, list(map(tensor, result)))"


def _tensor(array: Any) -> Any:
    return leaf(array if type(array) is ndarray else asarray(array))


def _settings(trace: Trace) -> tuple[list[tuple[Any, ...]], Callable[[tuple[float, ...]], bool]]:
    """The settings in use, and a function that takes their numbers over: False where they do not fit the recording."""
    numbers = list(dict.fromkeys([key[:4] for key in trace.settings] + list(trace.truths)))
    place = {key: k for k, key in enumerate(numbers)}
    arrays = [(place[key[:4]], trace.arrays[value]) for key, value in trace.settings.items()]
    checks = [
        (function, [_Numbered(place[x.key]) if isinstance(x, Setting) else x for x in args])
        for function, args in trace.setting_checks
    ]

    def refresh(new: tuple[float, ...]) -> bool:
        for function, args in checks:
            function(*(new[x.k] if isinstance(x, _Numbered) else x for x in args))
        if any(bool(new[place[key]]) is not truth for key, truth in trace.truths.items()):
            return False
        for k, array in arrays:
            array[()] = new[k]
        return True

    return numbers, refresh


class _Numbered:
    def __init__(self, k: int) -> None:
        self.k = k
