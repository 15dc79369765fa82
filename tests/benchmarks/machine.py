"""What a measurement ran on, and the conditions it needs: so many threads and cores, and BLAS kernels by choice.

An environment variable such as OPENBLAS_CORETYPE=Haswell makes small products 2-3 times slower on a CPU with AVX-512
and nothing else would tell; so the environment is cleaned before NumPy is loaded, and the kernel in use is stated.
The same variable, set on purpose, shows what a CPU without AVX-512 would do.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tinygrad_bp.doctor import blas_kernel as blas_kernel
from tinygrad_bp.doctor import cpu_name as cpu_name

_POOLS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
_FORCED_KERNELS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
AVX2_KERNEL = "Haswell"
AVX2_KERNELS = ("Haswell", "Zen", "Excavator")  # what OpenBLAS calls its AVX2 kernels


def clean_environment(environment: Mapping[str, str], threads: int = 1, kernel: str = "") -> dict[str, str]:
    """So many threads in every pool, the BLAS kernel named or NumPy's own choice, an allocator that keeps freed memory.

    Without the last (glibc's), whether a temporary of half a megabyte costs page faults depends on what else the
    process has allocated: the hand-written step of 784-100-10 was seen to take five times as long for no other reason.
    """
    eigen = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()} intra_op_parallelism_threads={threads}"
    settings = dict.fromkeys(_POOLS, str(threads))
    settings |= {"XLA_FLAGS": eigen, "JAX_PLATFORMS": "cpu", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    forced = {"OPENBLAS_CORETYPE": kernel} if kernel else {}
    kept = {name: value for name, value in environment.items() if name not in _FORCED_KERNELS}
    return kept | settings | KEEP_FREED_MEMORY | forced


def threads() -> int:
    """How many threads the environment gives to every pool."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pin_to_cores(count: int) -> None:
    """Keep this process on the last cores it may use, where the system has a call for that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])


def is_pinned() -> bool:
    """Whether this process stays on as many cores as it has threads."""
    return hasattr(os, "sched_getaffinity") and cores() == threads()


def has_avx2() -> bool:
    """Whether the CPU says that it can run AVX2 kernels."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and " avx2 " in cpuinfo.read_text()


def versions(*distributions: str) -> str:
    """Python's version and those of the distributions that are installed, as one phrase."""
    found = [f"Python {sys.version.split()[0]}"]
    for name in distributions:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
