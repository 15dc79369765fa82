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
from . import watch
from .handle import Setting
from .plan import Slot, unpack
from .surroundings import Surroundings
from .trace import Trace, is_number

__all__ = ["MISS", "Facts"]

MISS: Any = object()
"""What the door returns where the recording does not hold."""


class Facts:
    """What a recording relies on, as Python expressions about its arguments and objects known by name.

    Each condition comes with words that name what it is about.
    """

    def __init__(self) -> None:
        self.known: dict[str, Any] = {"ndarray": ndarray, "Tensor": Tensor, "MISS": MISS, "watch": watch}
        self.conditions: list[tuple[str, str]] = [
            ("(watch._current is None or not watch.in_recording())", "another recording")
        ]
        self._names: dict[int, str] = {}

    def name(self, x: Any) -> str:
        """A name for an object in the text."""
        if id(x) not in self._names:
            self._names[id(x)] = f"x{len(self._names)}"
            self.known[self._names[id(x)]] = x
        return self._names[id(x)]

    def holds(self, condition: str, words: str) -> None:
        """The condition is relied on."""
        self.conditions.append((condition, words))

    def same(self, expression: str, x: Any, words: str) -> None:
        """`expression` gives this very object."""
        plain = x is None or isinstance(x, bool)
        self.holds(f"{expression} is {x if plain else self.name(x)}", words)

    def equal(self, expression: str, x: Any, words: str) -> None:
        """`expression` gives a plain value equal to this one, or this very one (nan)."""
        name = self.name(x)
        self.holds(f"({expression} is {name} or {expression} == {name})", words)

    def missing(self, args: Any, kwargs: Any) -> str:
        """What does not hold for a call, in words."""
        known = self.known | {"kwargs": kwargs} | {f"a{k}": x for k, x in enumerate(args)}
        for condition, words in self.conditions:
            try:
                if not eval(condition, known):
                    return words
            except (AttributeError, IndexError, KeyError, NameError, TypeError):
                return words
        return "a setting of an optimizer"

    # -- what may be relied on --

    def arguments(self, trace: Trace, tree: Any, path: str, words: str) -> list[str]:
        """The structure, shapes and dtypes of arguments; returns the expressions of the arrays among them."""
        found = []
        self.holds(f"type({path}) is {self.name(type(tree))}", words)
        if isinstance(tree, (list, tuple, dict)):
            self.holds(f"len({path}) == {len(tree)}", words)
            for key in tree if isinstance(tree, dict) else range(len(tree)):
                if isinstance(tree, dict):
                    self.holds(f"{self.name(key)} in {path}", words)
                found += self.arguments(trace, tree[key], f"{path}[{self.name(key)}]", words)
        elif isinstance(tree, (ndarray, Tensor)):
            array = trace.array_of(tree) if isinstance(tree, Tensor) else tree
            if isinstance(tree, Tensor):
                self.same(f"{path}.tracked", tree.tracked, words)
                path += ".data"
            self.holds(f"{path}.shape == {array.shape}", f"the shape of {words}")
            self.equal(f"{path}.dtype", array.dtype, f"the dtype of {words}")
            found.append(path)
        elif type(tree) is float:
            found.append(f"asarray({path})")
        elif isinstance(tree, (int, str, bytes, complex, np.generic)):
            self.equal(path, tree, f"{words}, which is {tree!r}")
        else:
            self.same(path, tree, words)
        return found

    def modes(self) -> None:
        """Whether gradients are recorded, and the default dtype."""
        self.known |= {"modes": recipe._recording.get, "tensors": sys.modules[Tensor.__module__]}
        self.same("modes()[-1]", is_grad_enabled(), "whether gradients are recorded")
        self.same("tensors._default_dtype", default_dtype(), "the default dtype")

    def surroundings(self, around: Surroundings) -> None:
        """What the names in the function mean, and what is in the objects among them."""
        for words, held in around.plain:
            self.holds(f"{self.name(held)} == {self.name(held.copy())}", words)
        for words, held in around.containers():
            self.holds(f"len({self.name(held)}) == {len(held)}", f"the length of {words}")
        for entry in around.entries:
            if entry.by_content:
                self.holds(f"{self.name(entry.value)}.tobytes() == {self.name(entry.value.tobytes())}", entry.name)
            if entry.relied_on:
                is_plain = type(entry.value) in (int, float, str, bytes)
                relied = self.equal if is_plain else self.same
                relied(entry.expression(self.name(entry.place)), entry.value, entry.name)
        if around.modules:
            seen = [module.changes[0]]

            def still() -> bool:
                seen[0] = module.changes[0] if around.inside_holds() else seen[0]
                return seen[0] == module.changes[0]

            self.known["still"] = still
            self.holds(
                f"({self.name(seen)}[0] == {self.name(module.changes)}[0] or still())", "an attribute of a module"
            )

    def trace(self, trace: Trace) -> None:
        """The arrays of tensors and of optimizers, and whatever else of them was asked."""
        for node, (_, _, array) in trace.tensors.items():
            words = f"a tensor of shape {array.shape}"
            self.same(f"{self.name(node)}.data", array, words)
            self.holds(f"{'' if node.tracked else 'not '}{self.name(node)}.tracked", words)
        for node, gradient in trace.looked.items():
            self.same(f"{self.name(node)}.gradient", gradient, "a gradient")
        for optimizer in trace.optimizers:
            groups, words = optimizer.param_groups, f"param_groups of {type(optimizer).__name__}"
            self.same(f"{self.name(optimizer)}.param_groups", groups, words)
            self.same(f"{self.name(optimizer)}.check_finite", optimizer.check_finite, words)
            self.holds(f"len({self.name(optimizer)}.param_groups) == {len(groups)}", words)
            for k, group in enumerate(groups):
                self.same(f"{self.name(optimizer)}.param_groups[{k}]", group, words)
                for name, value in group.items():
                    if name == "params":
                        self.same(f"{self.name(group)}['params']", value, words)
                        self.holds(f"len({self.name(value)}) == {len(value)}", words)
                    elif not is_number(value) and not (isinstance(value, (tuple, list)) and all(map(is_number, value))):
                        self.same(f"{self.name(group)}[{name!r}]", value, words)
        for leaf_, _, (optimizer, p, name) in trace.memory:
            where = f"{self.name(optimizer.state)}[{self.name(p)}].get({name!r})"
            self.same(where, trace.arrays[leaf_], f"{name} of {type(optimizer).__name__}")

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
        lines += [f"if not ({' and '.join(condition for condition, _ in self.conditions)}):", "    return MISS"]
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
        lines += [f"{self.name(g)}.data = {self.name(g.data)}" for _, g in gradients if isinstance(g, Node)]
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

    truths = dict(trace.truths)

    def refresh(new: tuple[float, ...]) -> bool:
        for function, args in checks:
            function(*(new[x.k] if isinstance(x, _Numbered) else x for x in args))
        if any(bool(new[place[key]]) is not truth for key, truth in truths.items()):
            return False
        for k, array in arrays:
            array[()] = new[k]
        return True

    return numbers, refresh


class _Numbered:
    def __init__(self, k: int) -> None:
        self.k = k
