from __future__ import annotations

import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE, HERE.parents[1] / "scripts" / "abi"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def btf():
    """The running kernel's BTF, read by the generators' own reader."""
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        pytest.skip("the kernel has no BTF")
    from kernel_btf import kernel

    return kernel()


@pytest.fixture(scope="session")
def prober(btf):
    """Loads throw-away programs into the running kernel."""
    from probe_kernel import Prober

    made = Prober()
    if not made.works("socket_filter", "") or not made.works("tracing", "trace_raw_tp"):
        pytest.skip("loading BPF programs is not permitted here")
    return made


@pytest.fixture(scope="session")
def known_kernel():
    """Skips on kernels newer than the tables."""
    from osmia.abi.kernel_versions import NEWEST, running

    if running()[:2] > NEWEST:
        pytest.skip(f"kernel {running()} is newer than the tables ({NEWEST})")


@pytest.fixture(scope="session")
def probed_kernel():
    """Skips on kernels other than the one whose verifier the tables quote."""
    from osmia.abi.kernel_versions import PROBED, running

    if running()[:2] != PROBED:
        pytest.skip(f"the tables quote the verifier of {PROBED}, this is {running()}")
