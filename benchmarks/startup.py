"""Start-up: from the command to the first attached probe, for a one-tracepoint counter, against bpftrace.

Claims (docs/benchmarks.md): cold at most 0.8x and cached at most 0.35x of bpftrace's time; with cache at most 0.5x
of its peak memory.
Both tools announce on standard output or error that their probes are attached; the clock stops at that line. Runs are
interleaved, medians are compared. Needs root and bpftrace.

    benchmarks/startup.py [--runs 15]
"""

from __future__ import annotations

import argparse
import os
import pty
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers

SCRIPT = "tracepoint:syscalls:sys_enter_openat { @ = count(); }"
PROGRAM = """from osmia import Program, TracepointArgs, u32

prog = Program("opened")
opened = prog.counter(u32)


@prog.tracepoint("syscalls:sys_enter_openat")
def enter(args: TracepointArgs) -> None:
    opened[0] += 1
"""


def measure(command: list[str], environment: dict[str, str], announcement: bytes) -> tuple[float, float]:
    """Seconds until the announcement, and peak memory in MiB."""
    # A terminal, so that neither tool holds its announcement back in a buffer.
    terminal, theirs = pty.openpty()
    started = time.perf_counter()
    child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while announcement not in seen:
        ready, _, _ = select.select([terminal], [], [], 20)
        if not ready or child.poll() is not None:
            child.kill()
            raise SystemExit(f"{command[0]} did not attach:\n{seen.decode(errors='replace')}")
        seen += os.read(terminal, 4096)
    took = time.perf_counter() - started
    child.kill()  # bpftrace forgets a SIGTERM that comes before its loop begins
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    os.close(terminal)
    return took, usage.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    peers.require("bpftrace", "unshare")
    peers.with_tracefs()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "opened.py"
        program.write_text(PROGRAM)
        environment = {
            **os.environ,
            "OSMIA_NOTIFY_ATTACHED": "1",
            "__BPFTRACE_NOTIFY_PROBES_ATTACHED": "1",
            "OSMIA_CACHE_DIR": f"{folder}/cache",
        }
        rows: dict[str, list[tuple[float, float]]] = {"bpftrace": [], "cold": [], "cached": []}
        for _ in range(runs + 1):
            rows["bpftrace"].append(
                measure(["bpftrace", "-e", SCRIPT], environment, b"__BPFTRACE_NOTIFY_PROBES_ATTACHED")
            )
            shutil.rmtree(f"{folder}/cache", ignore_errors=True)
            command = [peers.osmia(), "run", str(program)]
            rows["cold"].append(measure(command, environment, b"attached"))
            rows["cached"].append(measure(command, environment, b"attached"))
    print(f"{peers.versions()}; medians of {runs} runs")
    base_time = statistics.median(took for took, _ in rows["bpftrace"][1:])
    base_memory = statistics.median(memory for _, memory in rows["bpftrace"][1:])
    print(f"{'':<10} {'seconds':>8} {'ratio':>6} {'MiB':>7} {'ratio':>6}")
    result = {}
    for name, samples in rows.items():
        took = statistics.median(item[0] for item in samples[1:])
        memory = statistics.median(item[1] for item in samples[1:])
        result[name] = (took / base_time, memory / base_memory)
        print(f"{name:<10} {took:>8.3f} {took / base_time:>6.2f} {memory:>7.1f} {memory / base_memory:>6.2f}")
    good = result["cold"][0] <= 0.8 and result["cached"][0] <= 0.35 and result["cached"][1] <= 0.5
    print("claims hold" if good else "claims do NOT hold")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
