"""What every test shares: one BLAS thread, the hypothesis profile, pictures without a screen, the folder of real data.

Hypothesis draws the same examples on every run and never measures time. Real data is found only through the
environment variable TINYGRAD_BP_DATA: unset, the tests that need data skip and say so; set, a missing file fails.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy loads: on nets this small a second thread spins for nothing
os.environ["MPLBACKEND"] = "Agg"

from hypothesis import HealthCheck, settings  # may load NumPy, to register what the package registers

settings.register_profile("reproducible", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reproducible")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it runs in the background ignore Ctrl-C

collect_ignore = ["benchmarks"]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder that TINYGRAD_BP_DATA names."""
    name = os.environ.get("TINYGRAD_BP_DATA")
    if not name:
        pytest.skip("needs real data: set TINYGRAD_BP_DATA to the folder that holds it")
    folder = Path(name)
    if not folder.is_dir():
        pytest.fail(f"TINYGRAD_BP_DATA is set to {name!r}, which is not a folder")
    return folder


@pytest.fixture(scope="session")
def data_file(data_folder: Path) -> Callable[[str], Path]:
    """data_file("mnist.pkl.gz"): its path in the data folder; a test that asks for a missing file fails."""

    def find(name: str) -> Path:
        path = data_folder / name
        if not path.is_file():
            pytest.fail(f"TINYGRAD_BP_DATA is set, but {name} is not in {data_folder}")
        return path

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Oracle and browser tests run only when asked for (-m oracle), so one that skips has failed."""
    report = yield
    if report.skipped and (item.get_closest_marker("oracle") or item.get_closest_marker("browser")):
        report.outcome = "failed"
        report.longrepr = f"{call.excinfo.value}. A test that was asked for may not skip: pip install '.[bench]'"
    return report
