"""The doctor: invented facts are judged right, real ones are gathered, and one that cannot be had breaks nothing."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import __main__ as command
from tinygrad_bp import doctor
from tinygrad_bp.doctor import Facts, Product, Step, advise, examine, render, to_dict

ROOT = Path(__file__).parent.parent


BUILT_WITH = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
openblas = pytest.mark.skipif("openblas" not in BUILT_WITH["name"], reason="this NumPy was not built with OpenBLAS")

MEASURED = ["by hand in NumPy", "eager", "compiled", *(["compiled, numba"] if find_spec("numba") else [])]


def product(float64, float32, one_thread=False):
    return Product(512, 512, 512, one_thread, {"float64": float64, "float32": float32})


HEALTHY = Facts(
    python="3.13.1",
    build="optimised",
    packages={"tinygrad_bp": "0.1.0", "numpy": "2.4.6", "numba": None},
    cpu="AMD EPYC",
    simd="AVX-512",
    cores=8,
    quota=None,
    blas="OpenBLAS 0.3.31",
    kernel="SkylakeX",
    threads=1,
    environment={"OPENBLAS_NUM_THREADS": "1"},
    products=[product(50.0, 100.0)],
    steps=[
        Step("by hand in NumPy", {"float64": 52.1, "float32": 35.9}, {"float64": 1.0, "float32": 1.0}),
        Step("eager", {"float64": 104.3, "float32": 81.4}, {"float64": 2.0, "float32": 2.266}),
    ],
    left_out={"compiled, numba": "not installed"},
    spread=0.05,
)
UNKNOWN = Facts("3.13.1", None, {}, None, None, None, None, None, None, None, {}, [], [], {}, None)


def environment(**variables):
    return {"environment": HEALTHY.environment | variables}


# ---- the judge ----------------------------------------------------------------------------------------------------

SLOW = {
    "a variable forces narrow kernels": (
        environment(OPENBLAS_CORETYPE="haswell") | {"kernel": "Haswell"},
        "OPENBLAS_CORETYPE=haswell makes OpenBLAS run its Haswell kernels (AVX2) on a CPU with AVX-512: small products "
        "can take 2-3 times as long.",
        "Unset OPENBLAS_CORETYPE.",
    ),
    "a variable forces kernels of another family": (
        environment(OPENBLAS_CORETYPE="ARMV8") | {"kernel": "armv8", "simd": "SVE"},
        "OPENBLAS_CORETYPE=ARMV8 makes OpenBLAS run its armv8 kernels whether they are the best for this CPU or not.",
        "Unset OPENBLAS_CORETYPE.",
    ),
    "OpenBLAS does not know the CPU": (
        {"kernel": "Prescott", "simd": "AVX2"},
        "OpenBLAS runs its Prescott kernels (SSE) on a CPU with AVX2: small products can take 2-3 times as long.",
        "Install NumPy's own wheel, the newest: pip install -U numpy.",
    ),
    "no BLAS": (
        {"blas": "none", "kernel": None, "threads": None, "products": [product(1.25, 2.5)]},
        "No product reaches 4 GFLOP/s (the best: 2.5): NumPy has no BLAS that is made for this CPU.",
        "Install NumPy's own wheel, which brings OpenBLAS or uses Accelerate: pip install --force-reinstall numpy.",
    ),
    "more threads than cores": (
        {"threads": 64, "cores": 2},
        "OpenBLAS has 64 threads, and this process may use 2 of the cores: threads wait.",
        "Set OPENBLAS_NUM_THREADS=2 before Python starts, or 1 for small nets.",
    ),
    "more threads than the container may run": (
        {"threads": 8, "quota": 0.5},
        "OpenBLAS has 8 threads, and this process may use 1 of the cores: threads wait.",
        "Set OPENBLAS_NUM_THREADS=1 before Python starts.",
    ),
    "threads that nobody asked for": (
        {"threads": 8, "environment": {}},
        "OpenBLAS divides products among 8 threads: those of a small net gain little, and take far longer where one "
        "has to wait.",
        "Set OPENBLAS_NUM_THREADS=1 before Python starts, unless your layers have hundreds of units.",
    ),
    "threads that cost, though asked for": (
        {"threads": 8, "products": [product(25.0, 99.0), product(50.0, 100.0, one_thread=True)]},
        "OpenBLAS divides products among 8 threads: one measured here takes 2 times as long by that.",
        "Set OPENBLAS_NUM_THREADS=1 before Python starts, unless your layers have hundreds of units.",
    ),
    "numba switched off": (
        environment(NUMBA_DISABLE_JIT="1"),
        "NUMBA_DISABLE_JIT=1 makes numba compile nothing: its code runs as Python.",
        "Unset NUMBA_DISABLE_JIT.",
    ),
    "loops without vectors": (
        environment(NPY_DISABLE_CPU_FEATURES="AVX512F AVX2"),
        "NPY_DISABLE_CPU_FEATURES=AVX512F AVX2 keeps NumPy's own loops, such as exp, from using all that this CPU has.",
        "Unset NPY_DISABLE_CPU_FEATURES.",
    ),
    "a cache size by hand": (
        environment(OPENBLAS_L2_SIZE="128"),
        "OPENBLAS_L2_SIZE=128 stands in for the cache size that OpenBLAS finds by itself: large products may be cut "
        "badly.",
        "Unset OPENBLAS_L2_SIZE, unless this machine hides its cache.",
    ),
    "a plain Python": (
        {"build": "plain"},
        "This Python was built without --enable-optimizations: Python code, and so the eager step, is slower.",
        "Use another build (python.org, conda, uv), or PYTHON_CONFIGURE_OPTS=--enable-optimizations with pyenv.",
    ),
    "a debug Python": (
        {"build": "debug"},
        "This Python is a debug build: Python code takes several times as long.",
        "Use a release build.",
    ),
    "a busy machine": (
        {"spread": 0.42},
        "The same step varied by 42% while it was measured: something else uses this machine.",
        "Run this command again when it is quiet; until then its times say little.",
    ),
}


@pytest.mark.parametrize("found, cause, cure", SLOW.values(), ids=SLOW)
def test_what_slows_is_named_with_its_cure_and_nothing_else_is(found, cause, cure):
    assert [(advice.cause, advice.cure) for advice in advise(replace(HEALTHY, **found))] == [(cause, cure)]


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"kernel": "Haswell", "simd": "AVX2"},
        {"kernel": "Zen", "simd": "AVX2"} | environment(OPENBLAS_CORETYPE="Zen"),
        {"kernel": "SapphireRapids", "simd": "AVX-512"},
        {"kernel": "SkylakeX", "simd": None},
        {"kernel": "neoversev1", "simd": "SVE"},
        {"kernel": None, "threads": None, "blas": "accelerate", "products": [product(400.0, 1000.0)]},
        {"threads": 8, "environment": {"OMP_NUM_THREADS": "8"}},
        {"threads": 8, "quota": 8.0},
        {"threads": 8, "products": [product(50.0, 99.0), product(50.0, 100.0, one_thread=True)]},
        {"threads": 8, "cores": None},
        {"build": None},
        {"spread": 0.3},
        {"products": [product(0.5, 0.5)]},  # OpenBLAS on a slow CPU
        environment(NUMBA_DISABLE_JIT="0", NPY_DISABLE_CPU_FEATURES="", OPENBLAS_L2_SIZE="0"),
    ],
    ids=str,
)
def test_what_does_not_slow_is_not_named(found):
    assert advise(replace(HEALTHY, **found)) == []


def test_nothing_is_said_of_what_is_unknown():
    assert advise(UNKNOWN) == []


def test_a_machine_with_everything_wrong_hears_the_worst_first():
    wrong = {
        "kernel": "Nehalem",
        "threads": 8,
        "build": "plain",
        "spread": 1.0,
        "environment": {"OPENBLAS_L2_SIZE": "1", "NPY_DISABLE_CPU_FEATURES": "AVX2", "OPENBLAS_CORETYPE": "Nehalem"},
    }
    firsts = [advice.cause.split()[0] for advice in advise(replace(HEALTHY, **wrong))]
    variables = ["NPY_DISABLE_CPU_FEATURES=AVX2", "OPENBLAS_L2_SIZE=1"]
    assert firsts == ["OPENBLAS_CORETYPE=Nehalem", "OpenBLAS", *variables, "This", "The"]


# ---- shown --------------------------------------------------------------------------------------------------------


def test_the_text_shows_every_fact_with_its_unit():
    text = render(replace(HEALTHY, quota=1.5, threads=1, products=[product(50.04, 100.0), product(7.0, 8.0, True)]))
    assert (
        text
        == """\
Python        3.13.1, optimised build
tinygrad_bp   0.1.0
numpy         2.4.6
numba         not installed

CPU           AMD EPYC, AVX-512
cores         8, limited to 1.5 by a container
BLAS          OpenBLAS 0.3.31
  kernels     SkylakeX (AVX-512)
  threads     1
environment   OPENBLAS_NUM_THREADS=1

product, GFLOP/s                       float64             float32
  512 x 512 x 512                         50.0               100.0
    with one thread                        7.0                 8.0

training step (1)                      float64             float32
  by hand in NumPy                52 us   1.00        36 us   1.00
  eager                          104 us   2.00        81 us   2.27
  compiled, numba         not installed
(1) 784-30-10, batch 10, SGD; microseconds and multiples of the one by hand

nothing to improve"""
    )


def test_advice_is_numbered_and_wrapped():
    assert (
        render(replace(HEALTHY, build="debug", spread=0.5)).split("\n\n")[-1]
        == """\
1. This Python is a debug build: Python code takes several times as long. Use a
   release build.
2. The same step varied by 50% while it was measured: something else uses this
   machine. Run this command again when it is quiet; until then its times say
   little."""
    )


def test_what_is_unknown_is_called_so():
    lines = render(UNKNOWN).splitlines()
    assert "CPU           unknown, unknown" in lines
    assert "  kernels     unknown" in lines
    assert lines[-1] == "nothing to improve"


@pytest.mark.parametrize("facts", [HEALTHY, UNKNOWN, *(replace(HEALTHY, **found) for found, _, _ in SLOW.values())])
def test_a_line_has_less_than_80_columns(facts):
    long = {"NPY_DISABLE_CPU_FEATURES": " ".join(["AVX512F"] * 20)}
    for shown in (facts, replace(facts, environment=long, cpu="A " * 60, left_out={"compiled": "because " * 20})):
        assert max(map(len, render(shown).splitlines())) < 80


def test_json_has_every_fact_and_the_advice():
    found = to_dict(replace(HEALTHY, build="debug"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [*found] == [*(field.name for field in fields(Facts)), "advice"]
    assert found["steps"][1]["ratios"] == {"float64": 2.0, "float32": 2.266}
    assert found["advice"] == [
        {
            "cause": "This Python is a debug build: Python code takes several times as long.",
            "cure": "Use a release build.",
        }
    ]


# ---- gathered -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    """What this machine is, looked at quickly."""
    return examine(rounds=2)


def test_the_facts_of_this_machine(real):
    assert real.python == sys.version.split()[0]
    assert real.packages["tinygrad_bp"] == bp.__version__
    assert real.packages["numpy"] == np.__version__
    assert real.packages.keys() == {"tinygrad_bp", "numpy", "numba", "rich", "matplotlib", "safetensors"}
    assert real.cpu
    assert real.cores >= 1
    assert real.blas
    assert (real.kernel or "unknown") == doctor.blas_kernel()
    assert real.environment.items() <= os.environ.items()
    assert real.environment["OPENBLAS_NUM_THREADS"] == "1"
    assert {(p.rows, p.inner, p.columns) for p in real.products} == {(32, 32, 32), (32, 784, 100), (512, 512, 512)}
    assert all(speed > 0 for p in real.products for speed in p.gflops.values())
    assert [s.name for s in real.steps] == MEASURED
    assert {*real.left_out} == {*doctor.CONTENDERS} - {*MEASURED}
    for step in real.steps:
        assert step.microseconds.keys() == step.ratios.keys() == {"float64", "float32"}
        assert min(step.microseconds.values()) > 1
    assert set(real.steps[0].ratios.values()) == {1.0}
    assert real.spread >= 0
    assert "unknown" not in render(real) or real.kernel is None or real.simd is None


@openblas
def test_openblas_speaks_for_itself(real):
    assert real.threads == 1  # what tests/conftest.py sets
    assert real.blas.startswith("OpenBLAS 0.")
    assert doctor.blas_kernel() != "unknown"
    assert all(not p.one_thread for p in real.products)


@openblas
def test_products_with_several_threads_are_repeated_with_one_and_the_threads_come_back(monkeypatch):
    seen = []

    def turns(works, rounds):
        seen.append(doctor._openblas("get_num_threads", ctypes.c_int))
        return [[1.0, 0.5]] * rounds

    monkeypatch.setattr(doctor, "_turns", turns)
    doctor._openblas("set_num_threads", None, 2)
    try:
        products = list(doctor._products(2))
        assert doctor._openblas("get_num_threads", ctypes.c_int) == 2
    finally:
        doctor._openblas("set_num_threads", None, 1)
    assert [p.one_thread for p in products] == [False, True] * 3
    assert seen == [2, 1] * 3
    assert products[-1].gflops == {"float64": 0.3, "float32": 0.5}  # 2 * 512^3 = 268e6 operations in 1 s, in 0.5 s


def test_ratios_are_taken_round_by_round_and_the_spread_is_that_of_the_quartiles(monkeypatch):
    by_hand = [1e-6, 2e-6, 3e-6, 4e-6, 5e-6, 6e-6, 7e-6]
    factors = [2, 2, 2, 2, 9, 9, 9]
    monkeypatch.setattr(
        doctor, "_turns", lambda works, rounds: [[t, t / 2, f * t, f * t] for t, f in zip(by_hand, factors)]
    )
    monkeypatch.setattr(doctor, "CONTENDERS", {name: doctor.CONTENDERS[name] for name in ("by hand in NumPy", "eager")})
    steps, left_out, spread = doctor._steps(7)
    assert steps == [
        Step("by hand in NumPy", {"float64": 4.0, "float32": 2.0}, {"float64": 1.0, "float32": 1.0}),
        Step("eager", {"float64": 8.0, "float32": 8.0}, {"float64": 2.0, "float32": 4.0}),
    ]
    assert left_out == {}
    assert spread == 1.0  # quartiles 2, 4 and 6


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
def test_every_contender_makes_the_same_update(dtype, tolerance):
    start = [array.copy() for array in doctor._problem(dtype)[2:]]
    trained = {}
    for name in MEASURED:
        step, arrays = doctor.CONTENDERS[name](*doctor._problem(dtype))
        for _ in range(3):
            step()
        trained[name] = arrays
    for arrays in trained.values():
        for before, after, right in zip(start, arrays, trained["by hand in NumPy"], strict=True):
            moved = np.abs(right - before).max()
            assert moved > 1e-3
            assert after.dtype == dtype
            assert np.abs(after - right).max() <= tolerance * max(1, np.abs(right).max())


def test_works_take_turns_with_the_collector_off():
    calls, collecting = [], set()

    def work(name):
        calls.append(name)
        collecting.add(gc.isenabled())

    times = doctor._turns([lambda: work("a"), lambda: work("b")], rounds=3)
    assert [len(turn) for turn in times] == [2, 2, 2]
    assert all(seconds > 0 for turn in times for seconds in turn)
    in_turn = [name for name, before in zip(calls, [None, *calls]) if name != before]
    assert in_turn == ["a", "b"] * 4
    assert len(set(Counter(calls).values())) == 1
    assert collecting == {True, False}
    assert gc.isenabled()


def test_a_part_that_fails_is_unknown_and_breaks_nothing(monkeypatch):
    def broken(*_, **__):
        raise OSError("cannot be read")

    for gatherer in ("_openblas", "_cpuinfo", "_cores", "_quota", "_products", "_python_build"):
        monkeypatch.setattr(doctor, gatherer, broken)
    monkeypatch.setitem(doctor.CONTENDERS, "eager", broken)
    found = examine(rounds=2)
    assert (found.cpu, found.simd, found.cores, found.quota, found.build) == (None,) * 5
    assert (found.kernel, found.threads, found.products) == (None, None, [])
    assert found.blas == f"{BUILT_WITH['name']} {BUILT_WITH['version']}"
    assert found.left_out["eager"] == "cannot be read"
    assert found.steps[0].name == "by hand in NumPy"
    assert doctor.blas_kernel() == "unknown"
    assert "  eager                   cannot be read" in render(found).splitlines()

    monkeypatch.setattr(doctor, "_steps", broken)
    found = examine(rounds=2)
    assert (found.steps, found.left_out, found.spread) == ([], {}, None)
    render(found)


def test_where_there_is_no_proc_and_no_affinity(monkeypatch):
    """As on macOS and Windows."""
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    features = np._core._multiarray_umath.__cpu_features__
    assert doctor._cores() == 3
    assert doctor._quota() is None
    assert doctor.cpu_name()
    if features.get("AVX2"):
        assert doctor._simd() == ("AVX-512" if features["AVX512F"] and features["AVX512VL"] else "AVX2")


@pytest.mark.parametrize(
    "key, flags, simd",
    [
        ("flags", "sse sse2 avx avx2 avx512f avx512vl", "AVX-512"),
        ("flags", "sse sse2 avx avx2 avx512f", "AVX2"),
        ("flags", "sse sse2 avx", "AVX"),
        ("flags", "sse sse2", "SSE"),
        ("Features", "fp asimd sve", "SVE"),
        ("Features", "fp asimd", "NEON"),
        ("Features", "fp", None),
    ],
)
def test_the_widest_vectors_of_a_cpu(monkeypatch, key, flags, simd):
    monkeypatch.setattr(doctor, "_cpuinfo", lambda asked: iter([flags] if asked == key else []))
    assert doctor._simd() == simd


@pytest.mark.parametrize(
    "groups, files, quota",
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "200000 100000\n"}, 0.5),
        (
            "4:memory:/x\n1:cpu,cpuacct:/\n",
            {"cpu/cpu.cfs_quota_us": "90000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            0.9,
        ),
        ("1:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, None),
        ("1:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "300000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 3.0),
        ("1:cpu:/not/mounted\n0::/\n", {"cpu/cpu.cfs_quota_us": "1000", "cpu/cpu.cfs_period_us": "2000"}, 0.5),
    ],
)
def test_the_limit_of_a_container(tmp_path, groups, files, quota):
    for name, text in files.items():
        (tmp_path / "mounted" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounted" / name).write_text(text)
    (tmp_path / "groups").write_text(groups)
    assert doctor._quota(tmp_path / "mounted", tmp_path / "groups") == quota


@pytest.mark.parametrize(
    "variables, prefix, build",
    [
        ({"CONFIG_ARGS": "'--enable-optimizations' '--with-lto'", "PY_CORE_CFLAGS": "-O0 -O3"}, "/opt", "optimised"),
        ({"CONFIG_ARGS": "'--prefix=/opt'", "PY_CORE_CFLAGS": "-O3"}, "/opt", "plain"),
        ({"CONFIG_ARGS": "'--enable-optimizations'", "PY_CORE_CFLAGS": "-O3 -O0"}, "/opt", "debug"),
        ({"CONFIG_ARGS": "'--enable-optimizations'", "Py_DEBUG": 1}, "/opt", "debug"),
        ({"CONFIG_ARGS": "'--prefix=/usr'", "PY_CORE_CFLAGS": "-O2"}, "/usr", None),
        ({}, "C:\\Python", None),
    ],
)
def test_how_python_was_built(monkeypatch, variables, prefix, build):
    monkeypatch.setattr(sysconfig, "get_config_var", variables.get)
    monkeypatch.setattr(sys, "base_prefix", prefix)
    assert doctor._python_build() == build


# ---- the command --------------------------------------------------------------------------------------------------


def test_the_command_prints_text_or_json(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: HEALTHY)
    assert command.main(["doctor"]) == 0
    assert capsys.readouterr().out == render(HEALTHY) + "\n"
    assert command.main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == to_dict(HEALTHY)


@pytest.mark.skipif(doctor._known(doctor._simd) not in ("AVX2", "AVX-512"), reason="needs a CPU with AVX2")
@openblas
def test_a_slow_environment_is_found_out():
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tinygrad_bp", "doctor", "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_CORETYPE": "Sandybridge", "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stderr == ""
    found = json.loads(process.stdout)
    assert found["kernel"] == "Sandybridge"
    assert found["environment"]["OPENBLAS_CORETYPE"] == "Sandybridge"
    assert found["advice"][0]["cure"] == "Unset OPENBLAS_CORETYPE."
    assert "Unset NUMBA_DISABLE_JIT." in [advice["cure"] for advice in found["advice"]]
