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
import importlib
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
Contender = tuple[Callable[[], object], list[NDArray[Any]]]  # a training step, and the weights it trains


# ---- the facts ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Python:
    """`build` is "optimised", "plain" (without --enable-optimizations) or "debug"; None where that cannot be told."""

    version: str
    build: str | None


@dataclass(frozen=True)
class Cpu:
    """`cores` are those this process may use; `quota` is the limit of its container in cores, None without one."""

    name: str | None
    simd: str | None
    cores: int | None
    quota: float | None


@dataclass(frozen=True)
class Blas:
    """`kernel` and `threads` are OpenBLAS's own answers, None for any other library."""

    name: str | None
    version: str | None
    kernel: str | None
    threads: int | None


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
    """All that was found.

    `left_out` says why a step was not measured. `spread` is how far apart the quartiles of the hand-written step's
    times are, as a part of their median.
    """

    python: Python
    packages: Mapping[str, str | None]
    cpu: Cpu
    blas: Blas
    environment: Mapping[str, str]
    products: Sequence[Product]
    steps: Sequence[Step]
    left_out: Mapping[str, str]
    spread: float | None


_PACKAGES = ("numpy", "numba", "rich", "matplotlib", "safetensors")
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
_OTHER_THREAD_VARIABLES = ("MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NPY_DISABLE_CPU_FEATURES", "NUMBA_DISABLE_JIT")
_VARIABLES = (*_SLOWING, *_THREAD_VARIABLES, *_OTHER_THREAD_VARIABLES)


def examine(rounds: int = 41) -> Facts:
    """Gather the facts; `rounds` is how often each training step is timed."""
    threads = _known(lambda: _openblas("get_num_threads", ctypes.c_int))
    name, version = _known(_blas_library) or (None, None)
    steps, left_out, spread = _known(lambda: _steps(rounds)) or ([], {}, None)
    return Facts(
        python=Python(platform.python_version(), _known(_python_build)),
        packages={"tinygrad_bp": __version__} | {package: _version(package) for package in _PACKAGES},
        cpu=Cpu(_known(cpu_name), _known(_simd), _known(_cores), _known(_quota)),
        blas=Blas(name, version, _known(_kernel), threads),
        environment={variable: os.environ[variable] for variable in _VARIABLES if variable in os.environ},
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

# Widest first. The flags are those of /proc/cpuinfo and NumPy's names in lower case; OpenBLAS needs AVX512VL, too.
_SIMD = {"AVX-512": {"avx512f", "avx512vl"}, "AVX2": {"avx2"}, "AVX": {"avx"}, "SSE": {"sse2", "sse"}}
_SIMD |= {"SVE": {"sve"}, "NEON": {"asimd"}}
_KERNELS = {
    "AVX-512": ("SkylakeX", "Cooperlake", "SapphireRapids"),
    "AVX2": ("Haswell", "Zen", "Excavator"),
    "AVX": ("Sandybridge", "Bulldozer", "Piledriver", "Steamroller"),
    "SSE": ("Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Atom", "Barcelona", "Bobcat", "Opteron"),
}
_WIDTHS = ("SSE", "AVX", "AVX2", "AVX-512")


def cpu_name() -> str:
    """Return what the CPU calls itself, or its architecture."""
    for line in _cpuinfo("model name"):
        return line
    return platform.processor() or platform.machine()


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
    """The widest vectors: of the CPU where the system tells, else what NumPy may use."""
    flags = next(_cpuinfo("flags"), None) or next(_cpuinfo("Features"), None)
    if flags is None:
        features: dict[str, bool] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
        flags = " ".join(name.lower() for name, has in features.items() if has)
    found = set(flags.split())
    return next((name for name, needed in _SIMD.items() if needed <= found), None)


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _quota(mounted: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> float | None:
    """The least of the limits that this process's control groups, of version 1 or 2, and those around them set."""
    limits = []
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = mounted / "cpu" if controllers else mounted
        for name in ("", *group.strip("/").split("/")):
            folder = folder / name
            limits += _limits(folder / "cpu.max", folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
    return min(limits, default=None)


def _limits(both: Path, quota: Path, period: Path) -> list[float]:
    text = both.read_text() if both.is_file() else ""
    if quota.is_file() and period.is_file():
        text = f"{quota.read_text()} {period.read_text()}"
    numbers = text.split()
    return [int(numbers[0]) / int(numbers[1])] if numbers and numbers[0] not in ("max", "-1") else []


def _blas_library() -> tuple[str, str | None]:
    """Its name and version: OpenBLAS says so itself, of any other NumPy knows what it was built with."""
    try:
        config: bytes = _openblas("get_config", ctypes.c_char_p)
    except (LookupError, OSError):
        built: Any = np.show_config(mode="dicts")
        blas = built["Build Dependencies"]["blas"]
        return str(blas["name"]), blas.get("version")
    name, version = config.decode().split()[:2]
    return name, version


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
        for prefix in ("scipy_openblas_", "openblas_"):
            for suffix in ("64_", ""):
                if hasattr(library, prefix + function + suffix):
                    call = getattr(library, prefix + function + suffix)
                    call.restype = result
                    return call(*arguments)
    raise LookupError(function)


# ---- speeds -------------------------------------------------------------------------------------------------------

_DTYPES = ("float64", "float32")
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
            for dtype in _DTYPES
        ]
        for one_thread in (False, True) if (threads or 1) > 1 else (False,):
            with _one_thread(threads) if one_thread else nullcontext():
                times = _turns(works, rounds=9)
            speeds = {d: 2 * rows * inner * columns / median(turns) for d, turns in zip(_DTYPES, zip(*times))}
            yield Product(rows, inner, columns, one_thread, _rounded(speeds, 1e-9, 1))


@contextmanager
def _one_thread(otherwise: int | None) -> Iterator[None]:
    _openblas("set_num_threads", None, 1)
    try:
        yield
    finally:
        _openblas("set_num_threads", None, otherwise or 1)


def _steps(rounds: int) -> tuple[list[Step], dict[str, str], float]:
    """The steps, why the others were not measured, and the spread."""
    works: dict[tuple[str, str], Callable[[], object]] = {}
    left_out = {}
    for name, make in _CONTENDERS.items():
        try:
            made = {(name, dtype): make(*_problem(dtype))[0] for dtype in _DTYPES}
            for step in made.values():
                step()  # what is compiled is compiled here
            works |= made
        except Exception as error:
            left_out[name] = " ".join(str(error).split()) or type(error).__name__
    times = dict(zip(works, zip(*_turns(list(works.values()), rounds))))
    steps = []
    for name in dict.fromkeys(name for name, _ in works):
        seconds = {dtype: median(times[name, dtype]) for dtype in _DTYPES}
        ratios = {dtype: median(map(truediv, times[name, dtype], times[_BY_HAND, dtype])) for dtype in _DTYPES}
        steps.append(Step(name, _rounded(seconds, 1e6, 1), _rounded(ratios, 1.0, 3)))
    low, middle, high = quantiles(times[_BY_HAND, _DTYPES[0]], n=4)
    return steps, left_out, round((high - low) / middle, 3)


def _rounded(numbers: Mapping[str, float], unit: float, digits: int) -> dict[str, float]:
    return {name: round(number * unit, digits) for name, number in numbers.items()}


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


def _problem(dtype: str) -> list[NDArray[Any]]:
    """[x, y, W1, b1, W2, b2]; the weights are wide enough to give every layer a gradient."""
    rng = np.random.default_rng(0)
    arrays = [rng.random((10, 784)), np.eye(10)]
    for rows, columns in ((30, 784), (10, 30)):
        arrays += [rng.standard_normal((rows, columns)) * 4 / columns**0.5, rng.standard_normal(rows)]
    return [array.astype(dtype) for array in arrays]


def _by_hand(x: NDArray[Any], y: NDArray[Any], *weights: NDArray[Any]) -> Contender:
    W1, b1, W2, b2 = weights
    rate = _RATE / len(x)

    def step() -> None:
        a1 = 1.0 / (1.0 + np.exp(-(x @ W1.T + b1)))
        a2 = 1.0 / (1.0 + np.exp(-(a1 @ W2.T + b2)))
        delta2 = (a2 - y) * a2 * (1.0 - a2)
        delta1 = delta2 @ W2 * a1 * (1.0 - a1)
        for weight, gradient in ((W1, delta1.T @ x), (b1, delta1.sum(0)), (W2, delta2.T @ a1), (b2, delta2.sum(0))):
            weight -= rate * gradient

    return step, list(weights)


def _eager(x: NDArray[Any], y: NDArray[Any], *weights: NDArray[Any]) -> Contender:
    train, parameters = _training(weights)
    return lambda: train(x, y), parameters


def _compiled(x: NDArray[Any], y: NDArray[Any], *weights: NDArray[Any], backend: str = "numpy") -> Contender:
    compiler = importlib.import_module("tinygrad_bp.compiler.step")
    train, parameters = _training(weights)
    step = compiler.compile(train, backend=backend)
    return lambda: step(x, y), parameters


def _training(
    weights: Sequence[NDArray[Any]],
) -> tuple[Callable[[NDArray[Any], NDArray[Any]], None], list[NDArray[Any]]]:
    dtype = weights[0].dtype
    net = nn.Sequential(nn.Linear(784, 30, dtype=dtype), nn.Sigmoid(), nn.Linear(30, 10, dtype=dtype), nn.Sigmoid())
    net.load_state_dict(dict(zip(net.state_dict(), weights)))
    loss, optimizer = nn.QuadraticLoss(), optim.SGD(net.parameters(), lr=_RATE)

    def train(x: NDArray[Any], y: NDArray[Any]) -> None:
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()

    return train, [parameter.data for parameter in net.parameters()]


_BY_HAND, _NUMBA = "by hand in NumPy", "compiled, numba"
_CONTENDERS: dict[str, Callable[..., Contender]] = {
    _BY_HAND: _by_hand,
    "eager": _eager,
    "compiled": _compiled,
    _NUMBA: functools.partial(_compiled, backend="numba"),
}


# ---- advice -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Advice:
    """What slows, and what to do about it: a sentence each."""

    cause: str
    cure: str


def advise(facts: Facts) -> list[Advice]:
    """Judge the facts: what slows this machine, the worst first."""
    rules = (_kernels, _cache_size, _disabled_features, _slow_blas, _threads, _no_jit, _interpreter, _busy)
    return [advice for rule in rules if (advice := rule(facts))]


def _kernels(facts: Facts) -> Advice | None:
    kernel, simd = facts.blas.kernel, facts.cpu.simd
    forced = facts.environment.get("OPENBLAS_CORETYPE")
    runs = next((width for width, kernels in _KERNELS.items() if kernel in kernels), None)
    if runs is None or simd not in _WIDTHS or _WIDTHS.index(runs) >= _WIDTHS.index(simd):
        return None
    cause = f"its {kernel} kernels ({runs}) on a CPU with {simd}: small products can take 2-3 times as long."
    if forced:
        return Advice(f"OPENBLAS_CORETYPE={forced} makes OpenBLAS run {cause}", "Unset OPENBLAS_CORETYPE.")
    return Advice(f"OpenBLAS runs {cause}", "Install NumPy's own wheel, the newest: pip install --upgrade numpy.")


def _cache_size(facts: Facts) -> Advice | None:
    size = facts.environment.get("OPENBLAS_L2_SIZE")
    if size is None:
        return None
    return Advice(
        f"OPENBLAS_L2_SIZE={size} stands in for the cache size that OpenBLAS finds by itself: large products may be "
        "cut into blocks that do not fit.",
        "Unset OPENBLAS_L2_SIZE, unless this machine hides its cache.",
    )


def _disabled_features(facts: Facts) -> Advice | None:
    features = facts.environment.get("NPY_DISABLE_CPU_FEATURES")
    if features is None:
        return None
    return Advice(
        f"NPY_DISABLE_CPU_FEATURES={features} keeps NumPy's own loops, such as exp, from using all that this CPU has.",
        "Unset NPY_DISABLE_CPU_FEATURES.",
    )


def _slow_blas(facts: Facts) -> Advice | None:
    speed = max((speed for product in facts.products for speed in product.gflops.values()), default=None)
    if speed is None or speed >= _SLOW or facts.blas.kernel is not None:
        return None
    return Advice(
        f"No product reaches {_SLOW:g} GFLOP/s (the best: {speed:.1f}): NumPy has no BLAS that is made for this CPU.",
        "Install NumPy's own wheel, which brings OpenBLAS or uses Accelerate: pip install --force-reinstall numpy.",
    )


_SLOW = 4.0  # GFLOP/s; the reference BLAS makes 1 to 3, an optimised one more than 10 on any CPU with AVX2


def _threads(facts: Facts) -> Advice | None:
    threads, cores, quota = facts.blas.threads, facts.cpu.cores, facts.cpu.quota
    if threads is None or threads == 1:
        return None
    usable = min(cores or threads, max(1, int(quota)) if quota else threads)
    if threads > usable:
        return Advice(
            f"OpenBLAS has {threads} threads, this process may use {_count(usable, 'core')}: they wait for each other.",
            f"Set OPENBLAS_NUM_THREADS={usable}, or 1 for small nets, before Python starts.",
        )
    times = _times_as_long(facts.products)
    if times >= 1.5:
        cause = f"OpenBLAS divides products among {threads} threads: one here takes {times:.1f} times as long by that."
    elif any(variable in facts.environment for variable in _THREAD_VARIABLES):
        return None
    else:
        cause = (
            f"OpenBLAS divides products among {threads} threads: one of a small net gains little by that, and takes "
            "several times as long where a thread has to wait for its core."
        )
    return Advice(cause, "Set OPENBLAS_NUM_THREADS=1 before Python starts, unless your layers have hundreds of units.")


def _times_as_long(products: Sequence[Product]) -> float:
    """What several threads cost at worst: the speed with one thread as a multiple of that with all."""
    alone = {(p.rows, p.inner, p.columns): p.gflops for p in products if p.one_thread}
    together = {(p.rows, p.inner, p.columns): p.gflops for p in products if not p.one_thread}
    return max((alone[shape][d] / together[shape][d] for shape in alone for d in alone[shape]), default=1.0)


def _interpreter(facts: Facts) -> Advice | None:
    if facts.python.build == "debug":
        return Advice("This Python is a debug build: Python code runs several times slower.", "Use a release build.")
    if facts.python.build == "plain":
        return Advice(
            "This Python was built without --enable-optimizations: Python code, and so the eager step, runs slower.",
            "Use another build (python.org, conda, uv), or PYTHON_CONFIGURE_OPTS=--enable-optimizations with pyenv.",
        )
    return None


def _no_jit(facts: Facts) -> Advice | None:
    if facts.environment.get("NUMBA_DISABLE_JIT", "0") == "0":
        return None
    return Advice(
        "NUMBA_DISABLE_JIT makes numba compile nothing: what was written for it runs as Python.",
        "Unset NUMBA_DISABLE_JIT.",
    )


def _busy(facts: Facts) -> Advice | None:
    if facts.spread is None or facts.spread <= 0.3:
        return None
    return Advice(
        f"The same step varied by {facts.spread:.0%} while it was measured: something else uses this machine.",
        "Run this command again when it is quiet; until then its times say little.",
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


# ---- shown --------------------------------------------------------------------------------------------------------


def to_dict(facts: Facts) -> dict[str, Any]:
    """Return the facts and the advice as what JSON can hold; what is unknown is None."""
    return asdict(facts) | {"advice": [asdict(advice) for advice in advise(facts)]}


def render(facts: Facts) -> str:
    """Return the facts and the advice as text of less than 80 columns."""
    versions = {"Python": facts.python.version + _BUILDS.get(facts.python.build, "")}
    versions |= {package: version or "not installed" for package, version in facts.packages.items()}
    times = {s.name: [f"{s.microseconds[d]:.0f} us {s.ratios[d]:6.2f}" for d in _DTYPES] for s in facts.steps}
    return "\n".join(
        [
            *_pairs(versions),
            "",
            *_pairs(_machine(facts)),
            "",
            _row("product, GFLOP/s", _DTYPES),
            *(_row(f"  {_label(p)}", [f"{p.gflops[d]:.1f}" for d in _DTYPES]) for p in facts.products),
            "",
            _row("training step (1)", _DTYPES),
            *(_row(f"  {name}", cells) for name, cells in times.items()),
            *_pairs({f"  {name}": why for name, why in facts.left_out.items()}, _WIDTH),
            "(1) 784-30-10, batch 10, SGD; microseconds and multiples of the one by hand",
            "",
            *_numbered(advise(facts)),
        ]
    )


_BUILDS: dict[str | None, str] = {"plain": ", built without --enable-optimizations", "debug": ", a debug build"}
_WIDTH = 26


def _machine(facts: Facts) -> dict[str, str]:
    cpu, blas = facts.cpu, facts.blas
    width = next((f" ({width})" for width, kernels in _KERNELS.items() if blas.kernel in kernels), "")
    return {
        "CPU": f"{_or_unknown(cpu.name)}, {_or_unknown(cpu.simd)}",
        "cores": _or_unknown(cpu.cores) + ("" if cpu.quota is None else f", limited to {cpu.quota:g} by a container"),
        "BLAS": f"{_or_unknown(blas.name)} {blas.version or ''}",
        "  kernels": _or_unknown(blas.kernel) + width,
        "  threads": _or_unknown(blas.threads),
        "environment": " ".join(f"{name}={value}" for name, value in facts.environment.items()) or "nothing set",
    }


def _or_unknown(fact: object) -> str:
    return "unknown" if fact is None else str(fact)


def _label(product: Product) -> str:
    return "  with one thread" if product.one_thread else f"{product.rows} x {product.inner} x {product.columns}"


def _row(label: str, cells: Sequence[str]) -> str:
    return f"{label:<{_WIDTH}}" + "".join(f"{cell:>20}" for cell in cells)


def _pairs(described: Mapping[str, str], indent: int = 14) -> Iterator[str]:
    for name, text in described.items():
        yield from textwrap.wrap(text, 79, initial_indent=f"{name:<{indent}}", subsequent_indent=" " * indent)


def _numbered(advices: Sequence[Advice]) -> Iterator[str]:
    if not advices:
        yield "nothing to improve"
    for number, advice in enumerate(advices, 1):
        yield from textwrap.wrap(
            f"{advice.cause} {advice.cure}", 79, initial_indent=f"{number}. ", subsequent_indent="   "
        )
