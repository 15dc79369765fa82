"""What every test shares: the hypothesis profile, pictures without a screen, and where the data is."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

os.environ["MPLBACKEND"] = "Agg"
hypothesis.settings.register_profile("house", derandomize=True, deadline=None)
hypothesis.settings.load_profile("house")

collect_ignore = ["benchmarks"]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of the data sets; where TINYGRAD_BP_DATA names one, a file missing from it fails the test."""
    folder = os.environ.get("TINYGRAD_BP_DATA")
    if folder is None:
        pytest.skip("TINYGRAD_BP_DATA names no folder with the data sets")
    return Path(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Oracle tests run only when asked for (-m oracle), so skipping one is a failure."""
    report = yield
    if report.skipped and item.get_closest_marker("oracle"):
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr}: an oracle test may not skip; pip install '.[bench]'"
    return report
