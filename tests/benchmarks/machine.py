"""What a measurement ran on, and the conditions it needs: one thread, one core, NumPy's own choice of BLAS kernels.

An environment variable such as OPENBLAS_CORETYPE=Haswell makes small products 2-3 times slower on a CPU with AVX-512
and nothing else would tell; so the environment is cleaned before NumPy is loaded, and the kernel in use is stated.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
_FORCED_KERNELS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_CORE_NAMES = (
    "scipy_openblas_get_corename64_",
    "scipy_openblas_get_corename",
    "openblas_get_corename64_",
    "openblas_get_corename",
)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """One thread everywhere, no variable that forces a BLAS kernel, and an allocator (glibc's) that keeps freed memory.

    Without the last, whether a temporary of half a megabyte costs page faults depends on what else the process has
    allocated: the hand-written step of 784-100-10 was seen to take five times as long for no other reason.
    """
    return {k: v for k, v in environment.items() if k not in _FORCED_KERNELS} | ONE_THREAD | KEEP_FREED_MEMORY


def pin_to_one_core() -> None:
    """Keep this process on the last core it may use, where the system has a call for that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def is_pinned() -> bool:
    return hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1


def blas_kernel() -> str:
    """The kernels that NumPy's OpenBLAS chose for this CPU, such as "SkylakeX"; "unknown" for any other BLAS."""
    root = Path(np.__file__).parent
    for library in [*root.parent.glob("numpy.libs/*openblas*"), *root.glob(".dylibs/*openblas*")]:
        loaded = ctypes.CDLL(str(library))
        for name in _CORE_NAMES:
            if hasattr(loaded, name):
                corename = getattr(loaded, name)
                corename.restype = ctypes.c_char_p
                return str(corename().decode())
    return "unknown"


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions(*distributions: str) -> str:
    """Python's version and those of the distributions that are installed, as one phrase."""
    found = [f"Python {sys.version.split()[0]}"]
    for name in distributions:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
