"""What makes NumPy slow here, and what to do about it: ``python -m tinygrad_bp doctor``.

Three parts: `examine` gathers facts, each by itself, so that one that cannot be had is None and breaks nothing else;
`advise` judges them and looks at nothing else; `render` and `to_dict` show them. Speeds are medians of short blocks in
this process, with the kernels, the threads and the environment that it has: nothing is set right first, since what is
wrong is to be found. Whether results are right is not asked here.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib.metadata
import os
import platform
import sys
import sysconfig
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from operator import truediv
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import __version__, nn, optim

__all__ = ["Advice", "Facts", "advise", "blas_kernel", "cpu_name", "examine", "render", "to_dict"]

T = TypeVar("T")
Array = NDArray[Any]
Contender = tuple[Callable[[], object], list[Array]]  # a training step, and the arrays it trains

DTYPES = ("float64", "float32")


# ---- the facts ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Product:
    """The speed of (rows, inner) @ (inner, columns) in 10^9 operations per second, by dtype."""

    rows: int
    inner: int
    columns: int
    one_thread: bool
    gflops: Mapping[str, float]


@dataclass(frozen=True)
class Step:
    """A training step of 784-30-10, batch 10, by dtype; the ratios are to the step written by hand, round by round."""

    name: str
    microseconds: Mapping[str, float]
    ratios: Mapping[str, float]


@dataclass(frozen=True)
class Facts:
    """All that was found; None is unknown.

    Attributes
    ----------
    build
        Of Python: "optimised", "plain" (without --enable-optimizations) or "debug".
    simd, kernel, threads
        The widest vectors of the CPU, and what OpenBLAS says that it uses.
    cores, quota
        The cores this process may use, and the limit of its container in cores, None without one.
    environment
        The variables that matter to speed, where they are set.
    left_out
        Why a step was not measured.
    spread
        How far apart the quartiles of the hand-written step's times are, as a part of their median.
    """

    python: str
    build: str | None
    packages: Mapping[str, str | None]
    cpu: str | None
    simd: str | None
    cores: int | None
    quota: float | None
    blas: str | None
    kernel: str | None
    threads: int | None
    environment: Mapping[str, str]
    products: Sequence[Product]
    steps: Sequence[Step]
    left_out: Mapping[str, str]
    spread: float | None


_PACKAGES = ("numpy", "numba", "rich", "matplotlib", "safetensors")
_OPENBLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
_OTHER_THREADS = ("MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NPY_DISABLE_CPU_FEATURES", "NUMBA_DISABLE_JIT")


def examine(rounds: int = 41) -> Facts:
    """Gather the facts; `rounds` is how often each training step is timed."""
    threads = _known(lambda: _openblas("get_num_threads", ctypes.c_int))
    steps, left_out, spread = _known(lambda: _steps(rounds)) or ([], {}, None)
    return Facts(
        python=platform.python_version(),
        build=_known(_python_build),
        packages={"tinygrad_bp": __version__} | {package: _version(package) for package in _PACKAGES},
        cpu=_known(cpu_name),
        simd=_known(_simd),
        cores=_known(_cores),
        quota=_known(_quota),
        blas=_known(_blas),
        kernel=_known(_kernel),
        threads=threads,
        environment={
            name: os.environ[name] for name in _SLOWING + _OPENBLAS_THREADS + _OTHER_THREADS if name in os.environ
        },
        products=_known(lambda: list(_products(threads))) or [],
        steps=steps,
        left_out=left_out,
        spread=spread,
    )


def _known(gather: Callable[[], T]) -> T | None:
    try:
        return gather()
    except Exception:
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python_build() -> str | None:
    """Windows does not tell, and Debian's builds for /usr are optimised without the option."""
    options = sysconfig.get_config_var("CONFIG_ARGS")
    levels = [flag for flag in str(sysconfig.get_config_var("PY_CORE_CFLAGS")).split() if flag.startswith("-O")]
    if sysconfig.get_config_var("Py_DEBUG") or levels[-1:] == ["-O0"]:
        return "debug"
    if options is None or sys.base_prefix == "/usr":
        return None
    return "optimised" if "--enable-optimizations" in options else "plain"


# ---- CPU and BLAS -------------------------------------------------------------------------------------------------

# Widest first: flags of /proc/cpuinfo, or NumPy's names in lower case. OpenBLAS, too, wants AVX512VL beside AVX512F.
_SIMD = {"AVX-512": {"avx512f", "avx512vl"}, "AVX2": {"avx2"}, "AVX": {"avx"}, "SSE": {"sse2"}}
_SIMD |= {"SVE": {"sve"}, "NEON": {"asimd"}}
_KERNELS = {
    "AVX-512": ("SkylakeX", "Cooperlake", "SapphireRapids"),
    "AVX2": ("Haswell", "Zen", "Excavator"),
    "AVX": ("Sandybridge", "Bulldozer", "Piledriver", "Steamroller"),
    "SSE": ("Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Atom", "Barcelona", "Bobcat", "Opteron"),
}


def cpu_name() -> str:
    """Return what the CPU calls itself, or its architecture."""
    return next(_cpuinfo("model name"), "") or platform.processor() or platform.machine()


def blas_kernel() -> str:
    """Return the kernels that NumPy's OpenBLAS chose for this CPU, such as "SkylakeX"; "unknown" for any other BLAS."""
    return _known(_kernel) or "unknown"


def _kernel() -> str:
    name: bytes = _openblas("get_corename", ctypes.c_char_p)
    return name.decode()


def _cpuinfo(key: str) -> Iterator[str]:
    """Its values in /proc/cpuinfo, of which there are none but on Linux."""
    file = Path("/proc/cpuinfo")
    for line in file.read_text("utf-8", "replace").splitlines() if file.is_file() else ():
        if line.split(":")[0].strip() == key:
            yield line.partition(":")[2].strip()


def _simd() -> str | None:
    """Of the CPU where the system tells, else what NumPy may use."""
    flags = next(_cpuinfo("flags"), None) or next(_cpuinfo("Features"), None)
    if flags is None:
        features: dict[str, bool] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
        flags = " ".join(name.lower() for name, has in features.items() if has)
    return next((name for name, needed in _SIMD.items() if needed <= set(flags.split())), None)


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _quota(mounted: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> float | None:
    """The least limit that this process's control groups, of version 1 or 2, and those around them set."""
    limits = []
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, controllers, group = line.split(":", 2)
        folder = mounted / "cpu" if "cpu" in controllers.split(",") else mounted
        for name in ("", *group.strip("/").split("/")):
            folder = folder / name
            files = [folder / file for file in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
            numbers = " ".join(file.read_text() for file in files if file.is_file()).split()
            if numbers and numbers[0].isdecimal():  # else "max" or -1: no limit
                limits.append(int(numbers[0]) / int(numbers[1]))
    return min(limits, default=None)


def _blas() -> str:
    """Its name and version: OpenBLAS says so itself, of any other NumPy knows what it was built with."""
    try:
        config: bytes = _openblas("get_config", ctypes.c_char_p)
        return " ".join(config.decode().split()[:2])
    except (LookupError, OSError):
        built: Any = np.show_config(mode="dicts")
        blas = built["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas.get('version', '')}".rstrip()


@functools.cache
def _openblas_files() -> list[Path]:
    """The OpenBLAS of NumPy's wheel, and what else of that name is loaded (conda, distributions; Linux only)."""
    numpy, maps = Path(np.__file__).parent, Path("/proc/self/maps")
    mapped = [line.split(maxsplit=5)[-1] for line in maps.read_text().splitlines()] if maps.is_file() else []
    loaded = sorted({Path(name) for name in mapped if name.startswith("/") and "openblas" in name})
    return [*numpy.parent.glob("numpy.libs/*openblas*"), *numpy.glob(".dylibs/*openblas*"), *loaded]


def _openblas(function: str, result: Any, *arguments: int) -> Any:
    """Call OpenBLAS's own function: its names have a prefix in NumPy's wheels and a suffix for 64-bit integers."""
    for file in _openblas_files():
        library = ctypes.CDLL(str(file))
        for name in (f"{prefix}openblas_{function}{suffix}" for prefix in ("scipy_", "") for suffix in ("64_", "")):
            if hasattr(library, name):
                call = getattr(library, name)
                call.restype = result
                return call(*arguments)
    raise LookupError(function)


# ---- speeds -------------------------------------------------------------------------------------------------------

_SHAPES = ((32, 32, 32), (32, 784, 100), (512, 512, 512))
_BLOCK = 0.002  # seconds
_RATE = 0.5


def _products(threads: int | None) -> Iterator[Product]:
    """Each product as NumPy runs it, and where that is with several threads, with one, too."""
    rng = np.random.default_rng(0)
    for rows, inner, columns in _SHAPES:
        a, b = rng.random((rows, inner)), rng.random((inner, columns))
        works = [
            functools.partial(a.astype(dtype).dot, b.astype(dtype), np.empty((rows, columns), dtype))
            for dtype in DTYPES
        ]
        for one_thread in (False, True) if (threads or 1) > 1 else (False,):
            with _one_thread(threads) if one_thread else nullcontext():
                times = _turns(works, rounds=9)
            speeds = [2 * rows * inner * columns / median(turns) for turns in zip(*times)]
            yield Product(rows, inner, columns, one_thread, _by_dtype(speeds, 1e-9, 1))


@contextmanager
def _one_thread(otherwise: int | None) -> Iterator[None]:
    _openblas("set_num_threads", None, 1)
    try:
        yield
    finally:
        _openblas("set_num_threads", None, otherwise or 1)


def _by_dtype(numbers: Sequence[float], unit: float, digits: int) -> dict[str, float]:
    return {dtype: round(number * unit, digits) for dtype, number in zip(DTYPES, numbers)}


def _steps(rounds: int) -> tuple[list[Step], dict[str, str], float]:
    """The steps, why the others were not measured, and the spread."""
    works: dict[str, list[Callable[[], object]]] = {}
    left_out = {}
    for name, make in CONTENDERS.items():
        try:
            made = [make(*_problem(dtype))[0] for dtype in DTYPES]
            for step in made:
                step()  # what is compiled is compiled here
            works[name] = made
        except Exception as error:
            left_out[name] = " ".join(str(error).split()) or type(error).__name__
    columns = list(zip(*_turns([step for made in works.values() for step in made], rounds)))
    times = {name: columns[2 * place : 2 * place + 2] for place, name in enumerate(works)}
    by_hand = times["by hand in NumPy"]
    steps = []
    for name, ours in times.items():
        ratios = [median(map(truediv, one, other)) for one, other in zip(ours, by_hand)]
        steps.append(Step(name, _by_dtype([median(turns) for turns in ours], 1e6, 1), _by_dtype(ratios, 1.0, 3)))
    low, middle, high = quantiles(by_hand[0], n=4)
    return steps, left_out, round((high - low) / middle, 3)


def _turns(works: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds per call, of each round and each work: they take turns in blocks, each after one call that warms up."""
    start = time.perf_counter()
    for work in works:
        work()
    calls = max(1, int(_BLOCK * len(works) / (time.perf_counter() - start)))
    times = []
    collects = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            turn = []
            for work in works:
                work()
                start = time.perf_counter()
                for _ in range(calls):
                    work()
                turn.append((time.perf_counter() - start) / calls)
            times.append(turn)
    finally:
        if collects:
            gc.enable()
    return times


def _problem(dtype: str) -> list[Array]:
    """[x, y, W1, b1, W2, b2]; the weights are wide enough to give every layer a gradient."""
    rng = np.random.default_rng(0)
    arrays = [rng.random((10, 784)), np.eye(10)]
    for rows, columns in ((30, 784), (10, 30)):
        arrays += [rng.standard_normal((rows, columns)) * 4 / columns**0.5, rng.standard_normal(rows)]
    return [array.astype(dtype) for array in arrays]


def _by_hand(x: Array, y: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> Contender:
    rate = _RATE / len(x)

    def step() -> None:
        a1 = 1.0 / (1.0 + np.exp(-(x @ W1.T + b1)))
        a2 = 1.0 / (1.0 + np.exp(-(a1 @ W2.T + b2)))
        delta2 = (a2 - y) * a2 * (1.0 - a2)
        delta1 = delta2 @ W2 * a1 * (1.0 - a1)
        for weight, gradient in ((W1, delta1.T @ x), (b1, delta1.sum(0)), (W2, delta2.T @ a1), (b2, delta2.sum(0))):
            weight -= rate * gradient

    return step, [W1, b1, W2, b2]


def _eager(x: Array, y: Array, *weights: Array, compiled_by: str | None = None) -> Contender:
    dtype = weights[0].dtype
    net = nn.Sequential(nn.Linear(784, 30, dtype=dtype), nn.Sigmoid(), nn.Linear(30, 10, dtype=dtype), nn.Sigmoid())
    net.load_state_dict(dict(zip(net.state_dict(), weights)))
    loss, optimizer = nn.QuadraticLoss(), optim.SGD(net.parameters(), lr=_RATE)

    def train(x: Array, y: Array) -> None:
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()

    step: Callable[[Array, Array], object] = train
    if compiled_by is not None:
        from .compiler.step import compile

        step = compile(train, backend=compiled_by)
    return lambda: step(x, y), [parameter.data for parameter in net.parameters()]


CONTENDERS: dict[str, Callable[..., Contender]] = {
    "by hand in NumPy": _by_hand,
    "eager": _eager,
    "compiled": functools.partial(_eager, compiled_by="numpy"),
    "compiled, numba": functools.partial(_eager, compiled_by="numba"),
}


# ---- advice -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Advice:
    """What slows, and what to do about it: a sentence each."""

    cause: str
    cure: str


Found = tuple[str, str] | None  # cause and cure


def advise(facts: Facts) -> list[Advice]:
    """Judge the facts: what slows NumPy here, the worst first."""
    set_here = {name: facts.environment.get(name, "") for name in _UNSET}
    found = [_kernels(facts), _slow_blas(facts), _threads(facts)]
    found += [
        (f"{name}={value} {_UNSET[name][0]}", _UNSET[name][1]) for name, value in set_here.items() if value.strip("0")
    ]
    found += [_BUILDS.get(facts.build or ""), _busy(facts)]
    return [Advice(*both) for both in found if both is not None]


_UNSET = {
    "NUMBA_DISABLE_JIT": ("makes numba compile nothing: its code runs as Python.", "Unset NUMBA_DISABLE_JIT."),
    "NPY_DISABLE_CPU_FEATURES": (
        "keeps NumPy's own loops, such as exp, from using all that this CPU has.",
        "Unset NPY_DISABLE_CPU_FEATURES.",
    ),
    "OPENBLAS_L2_SIZE": (
        "stands in for the cache size that OpenBLAS finds by itself: large products may be cut badly.",
        "Unset OPENBLAS_L2_SIZE, unless this machine hides its cache.",
    ),
}
_BUILDS = {
    "debug": ("This Python is a debug build: Python code takes several times as long.", "Use a release build."),
    "plain": (
        "This Python was built without --enable-optimizations: Python code, and so the eager step, is slower.",
        "Use another build (python.org, conda, uv), or PYTHON_CONFIGURE_OPTS=--enable-optimizations with pyenv.",
    ),
}


def _kernels(facts: Facts) -> Found:
    widths, runs = list(_KERNELS), _width(facts.kernel)
    forced = facts.environment.get("OPENBLAS_CORETYPE")
    if runs is not None and facts.simd in widths and widths.index(runs) > widths.index(facts.simd):
        effect = f"({runs}) on a CPU with {facts.simd}: small products can take 2-3 times as long."
    elif runs is None and facts.kernel and forced:
        effect = "whether they are the best for this CPU or not."
    else:
        return None
    cure = "Unset OPENBLAS_CORETYPE." if forced else "Install NumPy's own wheel, the newest: pip install -U numpy."
    who = f"OPENBLAS_CORETYPE={forced} makes OpenBLAS run" if forced else "OpenBLAS runs"
    return f"{who} its {facts.kernel} kernels {effect}", cure


def _width(kernel: str | None) -> str | None:
    return next((width for width, kernels in _KERNELS.items() if kernel in kernels), None)


_SLOW = 4.0  # GFLOP/s; the reference BLAS makes 1 to 3, an optimised one more than 10 on any CPU with AVX2


def _slow_blas(facts: Facts) -> Found:
    speed = max((speed for product in facts.products for speed in product.gflops.values()), default=_SLOW)
    if speed >= _SLOW or facts.kernel is not None:
        return None
    return (
        f"No product reaches {_SLOW:g} GFLOP/s (the best: {speed:.1f}): NumPy has no BLAS that is made for this CPU.",
        "Install NumPy's own wheel, which brings OpenBLAS or uses Accelerate: pip install --force-reinstall numpy.",
    )


def _threads(facts: Facts) -> Found:
    threads = facts.threads or 1
    usable = min(facts.cores or threads, max(1, int(facts.quota or threads)))
    if threads > usable:
        return (
            f"OpenBLAS has {threads} threads, and this process may use {usable} of the cores: threads wait.",
            f"Set OPENBLAS_NUM_THREADS={usable} before Python starts{', or 1 for small nets' if usable > 1 else ''}.",
        )
    cost = _cost_of_threads(facts.products)
    if cost >= 1.5:
        effect = f"one measured here takes {cost:.3g} times as long by that."
    elif threads > 1 and not any(name in facts.environment for name in _OPENBLAS_THREADS):
        effect = "those of a small net gain little, and take far longer where one has to wait."
    else:
        return None
    return (
        f"OpenBLAS divides products among {threads} threads: {effect}",
        "Set OPENBLAS_NUM_THREADS=1 before Python starts, unless your layers have hundreds of units.",
    )


def _cost_of_threads(products: Sequence[Product]) -> float:
    """At worst: the speed with one thread as a multiple of that with all."""
    alone, together = (
        {(p.rows, p.inner, p.columns): p.gflops for p in products if p.one_thread is one} for one in (True, False)
    )
    return max((alone[shape][d] / together[shape][d] for shape in alone for d in DTYPES), default=1.0)


def _busy(facts: Facts) -> Found:
    if facts.spread is None or facts.spread <= 0.3:
        return None
    return (
        f"The same step varied by {facts.spread:.0%} while it was measured: something else uses this machine.",
        "Run this command again when it is quiet; until then its times say little.",
    )


# ---- shown --------------------------------------------------------------------------------------------------------


def to_dict(facts: Facts) -> dict[str, Any]:
    """Return the facts and the advice as what JSON can hold; what is unknown is None."""
    return asdict(facts) | {"advice": [asdict(advice) for advice in advise(facts)]}


def render(facts: Facts) -> str:
    """Return the facts and the advice as text of less than 80 columns."""
    build = "" if facts.build is None else f", {facts.build} build"
    width = _width(facts.kernel)
    known = {name: "unknown" if fact is None else str(fact) for name, fact in vars(facts).items()}
    versions = {package: version or "not installed" for package, version in facts.packages.items()}
    machine = {
        "CPU": f"{known['cpu']}, {known['simd']}",
        "cores": known["cores"] + ("" if facts.quota is None else f", limited to {facts.quota:g} by a container"),
        "BLAS": known["blas"],
        "  kernels": known["kernel"] + (f" ({width})" if width else ""),
        "  threads": known["threads"],
        "environment": " ".join(f"{name}={value}" for name, value in facts.environment.items()) or "nothing set",
    }
    lines = _described({"Python": known["python"] + build} | versions)
    lines += ["", *_described(machine)]
    lines += ["", _row("product, GFLOP/s", DTYPES)]
    for p in facts.products:
        label = "  with one thread" if p.one_thread else f"{p.rows} x {p.inner} x {p.columns}"
        lines += [_row(f"  {label}", [f"{p.gflops[dtype]:.1f}" for dtype in DTYPES])]
    lines += ["", _row("training step (1)", DTYPES)]
    for s in facts.steps:
        lines += [_row(f"  {s.name}", [f"{s.microseconds[dtype]:.0f} us {s.ratios[dtype]:6.2f}" for dtype in DTYPES])]
    for name, why in facts.left_out.items():
        lines += _wrapped(_row(f"  {name}", ()), why)
    lines += ["(1) 784-30-10, batch 10, SGD; microseconds and multiples of the one by hand", ""]
    for number, advice in enumerate(advise(facts), 1):
        lines += _wrapped(f"{number}. ", f"{advice.cause} {advice.cure}")
    return "\n".join(lines if advise(facts) else [*lines, "nothing to improve"])


def _row(label: str, cells: Sequence[str]) -> str:
    return f"{label:<26}" + "".join(f"{cell:>20}" for cell in cells)


def _described(facts: Mapping[str, str]) -> list[str]:
    return [line for name, text in facts.items() for line in _wrapped(f"{name:<14}", text)]


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, 79, initial_indent=head, subsequent_indent=" " * len(head))
