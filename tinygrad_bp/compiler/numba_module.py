"""What becomes of a module for numba: compiled, kept in the user's cache directory, and given what it is made with.

:func:`load` runs the text that :mod:`~tinygrad_bp.compiler.numba_source` has written. Modules are kept under a name
that depends on their text and on all versions involved; where that cannot be written they are compiled anew in every
process. Products are calls of the OpenBLAS that NumPy's wheels bring; where there is none they are left to NumPy.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

from . import kernels
from .numpy_source import Source
from .plan import UFUNCS, CompileError, Value, evaluate

__all__ = ["Module", "blas", "load", "require", "tools"]


@dataclass(frozen=True)
class Module(Source):
    """A plan as text, with what the text leaves to NumPy.

    Attributes
    ----------
    written
        Which of the arrays are written.
    calls
        The instructions that the text calls call_0, call_1, ...
    """

    written: tuple[bool, ...]
    calls: tuple[Value, ...]


def require() -> None:
    """Raise CompileError where numba is not installed, or is switched off."""
    if find_spec("numba") is None:
        raise CompileError(
            "compile: backend 'numba' needs numba, which is not installed. pip install 'tinygrad_bp[jit]', or leave "
            "backend= out."
        )
    if import_module("numba").config.DISABLE_JIT:
        raise CompileError(
            "compile: backend 'numba' needs numba, which NUMBA_DISABLE_JIT switches off. Unset that variable, or leave "
            "backend= out."
        )


@cache
def blas() -> Path | None:
    """The OpenBLAS that NumPy's wheels bring, if this is one of them and its products are called what they are."""
    import ctypes

    beside = Path(np.__file__).parent
    folders = (beside.parent / "numpy.libs", beside / ".dylibs")
    for path in sorted(path for folder in folders if folder.is_dir() for path in folder.glob("*openblas64_*")):
        try:
            if hasattr(ctypes.CDLL(str(path)), "scipy_cblas_dgemm64_"):
                return path
        except OSError:
            continue
    return None


@cache
def _tools() -> Mapping[str, Any]:
    """What the modules are made with: kernels, dgemm and sgemm, vector, part, table."""
    numba, binding = import_module("numba"), import_module("llvmlite.binding")  # which have no types
    njit, carray, types = numba.njit, numba.carray, numba.types

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def pointer(context: Any, address: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

        return types.voidptr(types.int64), code

    @njit(forceinline=True)  # type: ignore[untyped-decorator]
    def vector(address: Any, size: Any, dtype: Any) -> Any:
        return carray(pointer(address), size, dtype)

    found: dict[str, Any] = {**kernels.compiled(), "vector": vector, "loop": _loop, "part": _part, "table": _table}
    path = blas()
    if path is not None:
        binding.load_library_permanently(str(path))
        int32, int64 = types.int32, types.int64
        for name, number in (("dgemm", types.float64), ("sgemm", types.float32)):
            three, matrix = (int32,) * 3 + (int64,) * 3, (int64, int64)
            signature = types.void(*three, number, *matrix, *matrix, number, *matrix)
            found[name] = types.ExternalFunction(f"scipy_cblas_{name}64_", signature)
    return found


def tools(*names: str) -> tuple[Any, ...]:
    """What a module is made with, by name."""
    return tuple(_tools()[name] for name in names)


def _part(signature: str) -> Callable[[Any], Any]:
    """Compile a function for arguments of these types now, and for others when they come."""

    def compiled(function: Any) -> Any:
        kept = os.path.isfile(function.__code__.co_filename)
        part = import_module("numba").njit(function, error_model="numpy", cache=kept)
        part.compile(f"int64({signature})")
        return part

    return compiled


def _loop(function: Any) -> Any:
    """Compile a function when a part that calls it is compiled."""
    return import_module("numba").njit(function, error_model="numpy")


def _table(arrays: tuple[Any, ...]) -> Any:
    """Their addresses; somebody must hold the arrays for as long as they are used."""
    return np.array([a.ctypes.data for a in arrays], np.int64)


def load(source: Source) -> Callable[..., Callable[..., Any]]:
    """Compile a module; returns ``make(*arrays)``, which returns ``step(*inputs)``.

    The arrays may lie in memory as they like; those that are not C-contiguous are copied at every step.

    Raises CompileError where numba is not installed.
    """
    require()
    parts = cast(Module, source)
    module = _module(parts.text)
    calls = [_caller(v) for v in parts.calls]

    def make(*arrays: Any) -> Callable[..., Any]:
        straight = tuple(a if a.flags.c_contiguous else a.copy("C") for a in arrays)
        step: Callable[..., Any] = module.make(*straight, *calls)
        strided = [(a, s, w) for a, s, w in zip(arrays, straight, parts.written) if a is not s]
        return partial(_copying, step, strided) if strided else step

    return make


def _copying(step: Callable[..., Any], strided: list[tuple[Any, Any, bool]], *inputs: Any) -> Any:
    """A step on contiguous copies of arrays that are not."""
    for array, straight, _ in strided:
        np.copyto(straight, array)
    try:
        return step(*inputs)
    finally:
        for array, straight, written in strided:
            if written:
                np.copyto(array, straight)


def _caller(v: Value) -> Callable[..., None]:
    """The instruction as a function of the array for its result and of its arguments."""
    if v.op in ("check", "guard"):
        check = replace(v, op="call")
        return lambda *args: evaluate(check, args) and None
    if v.op == "draw":
        return lambda out, *args: np.copyto(out, evaluate(v, args[:-1], args[-1]))
    if v.op == "product":
        return lambda out, a, b, c: np.add(np.matmul(a, b), c, out)
    if v.op in UFUNCS or v.op == "matmul":
        function = UFUNCS.get(v.op, np.matmul)
        return lambda out, *args: function(*args, out=out)
    return lambda out, *args: np.copyto(out, evaluate(v, args))


# ---- the cache ---------------------------------------------------------------------------------------------


def _module(text: str) -> ModuleType:
    """The text as a module: from its file in the cache directory, or from nowhere if that does not work."""
    path = _file(text)
    if path is not None:
        try:
            return _executed(text, path)
        except (OSError, RuntimeError):
            pass
    return _executed(text, None)


def _executed(text: str, path: Path | None) -> ModuleType:
    name = f"tinygrad_bp_step_{path.stem if path else hashlib.sha256(text.encode()).hexdigest()[:16]}"
    module = ModuleType(name)
    sys.modules[name] = module  # where numba looks for it when it reads its cache
    exec(compile(text, path or f"<{name}>", "exec"), vars(module))
    return module


def _file(text: str) -> Path | None:
    """The module's own file in the cache directory; None if it cannot be written."""
    from .. import __version__

    numba, llvmlite = import_module("numba"), import_module("llvmlite.binding")
    cpu = platform.machine(), llvmlite.get_host_cpu_name()
    versions = np.__version__, numba.__version__, llvmlite.llvm_version_info, sys.version, __version__, *cpu
    own = [Path(str(file)).read_bytes() for file in (kernels.__file__, __file__)]
    key = hashlib.sha256(b"\0".join([text.encode(), repr(versions).encode(), repr(blas()).encode(), *own]))
    try:
        path = _folder() / f"{key.hexdigest()[:24]}.py"
        if not path.is_file() or path.read_text("ascii") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=path.parent, suffix=".tmp", delete=False, encoding="ascii"
            ) as file:
                file.write(text)
            os.replace(file.name, path)
    except (OSError, ValueError, RuntimeError):
        return None
    return path


def _folder() -> Path:
    """Where compiled modules are kept: TINYGRAD_BP_CACHE, or the place the system has for such things."""
    own = os.environ.get("TINYGRAD_BP_CACHE")
    if own:
        return Path(own)
    local = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return Path(local or Path.home() / ".cache") / "tinygrad_bp"
