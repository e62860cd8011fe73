"""What the benchmarks need of the machine and of the peers they compare with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_MOUNTS = (
    "mount --make-rprivate / && mount -t debugfs nodev /sys/kernel/debug && mount -t tracefs nodev /sys/kernel/tracing"
    ' && exec "$@"'
)


def require(*programs: str) -> None:
    """Ends the benchmark with a word where root or a peer is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.insert(0, "root")
    if missing:
        print(f"skipped: needs {', '.join(missing)}")
        sys.exit(0)


def with_tracefs() -> None:
    """Runs the script again in a mount namespace of its own that has tracefs where bpftrace looks for it."""
    if os.environ.get("OSMIA_BENCH_MOUNTED"):
        return
    environment = {**os.environ, "OSMIA_BENCH_MOUNTED": "1"}
    command = ["unshare", "--mount", "sh", "-c", _MOUNTS, "sh", sys.executable, *sys.argv]
    sys.exit(subprocess.run(command, env=environment, check=False).returncode)


def osmia() -> str:
    """The command of this environment."""
    return str(Path(sys.executable).with_name("osmia"))


def versions() -> str:
    """One line that says what was measured."""
    bpftrace = subprocess.run(["bpftrace", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    own = subprocess.run([osmia(), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{bpftrace}; {own}; Python {sys.version.split()[0]}; Linux {os.uname().release}"
