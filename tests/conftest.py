"""What all tests share: where the data lies, what the machine permits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

# Other tests and other work share the machine: time limits of single examples say nothing about the code.
hypothesis.settings.register_profile("osmia", deadline=None)
hypothesis.settings.load_profile("osmia")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked ``kernel`` where this process may not load programs, and says why."""
    reason = _why_not()
    if not reason:
        return
    skip = pytest.mark.skip(reason=reason)
    for item in items:
        if "kernel" in item.keywords:
            item.add_marker(skip)


def _why_not() -> str:
    if sys.platform != "linux":
        return "needs Linux"
    from osmia.kernel.probe import can_run

    able, why = can_run()
    return "" if able else why


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def osmia_command() -> list[str]:
    """The command, run by this interpreter."""
    return [sys.executable, "-m", "osmia"]


@pytest.fixture
def run_osmia(osmia_command, tmp_path):
    """Runs ``osmia`` with a cache of its own and returns the finished process."""

    def run(*words: str, timeout: float = 60, **settings):
        environment = {**os.environ, "OSMIA_CACHE_DIR": str(tmp_path / "cache"), "NO_COLOR": "1"}
        environment.update(settings.pop("env", {}))
        return subprocess.run(
            [*osmia_command, *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            check=False,
            **settings,
        )

    return run
