"""Cost of a probe: run time per event by the kernel's own BPF statistics, against bpftrace's program for the same
question.

Claim: at most 1.0x for count-by-key and for latency-by-key. One tool at a time is attached while the same bounded
workload (dd reading
and writing single bytes) runs; rounds are interleaved, medians compared. Only counts leave the kernel. Needs root,
bpftrace and bpftool.

    benchmarks/probe_cost.py [--rounds 5] [--events 300000]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import peers

STATS = Path("/proc/sys/kernel/bpf_stats_enabled")

COUNT = """from osmia import Program, TracepointArgs, pid, u32

prog = Program("counting")
counts = prog.counter(u32)


@prog.tracepoint("syscalls:sys_enter_write")
def enter(args: TracepointArgs) -> None:
    counts[pid()] += 1
"""
LATENCY = """from osmia import Char, Program, TracepointArgs, comm, ktime_ns, tid, u32, u64

prog = Program("latencies")
_started = prog.hash(u32, u64)
latency = prog.histogram(Char[16])


@prog.tracepoint("syscalls:sys_enter_read")
def enter(args: TracepointArgs) -> None:
    _started[tid()] = ktime_ns()


@prog.tracepoint("syscalls:sys_exit_read")
def leave(args: TracepointArgs) -> None:
    since = _started.get(tid())
    if since is None:
        return
    latency[comm()].record(ktime_ns() - since)
    del _started[tid()]
"""
CASES = {
    "count by key": ("tracepoint:syscalls:sys_enter_write { @[pid] = count(); }", COUNT),
    "latency by key": (
        "tracepoint:syscalls:sys_enter_read { @s[tid] = nsecs; } "
        "tracepoint:syscalls:sys_exit_read /@s[tid]/ { @[comm] = hist(nsecs - @s[tid]); delete(@s[tid]); }",
        LATENCY,
    ),
}


def programs() -> dict[int, dict[str, int]]:
    """Statistics of the loaded programs by id."""
    text = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True, check=True).stdout
    return {row["id"]: row for row in json.loads(text)}


def cost(command: list[str], announcement: bytes, events: int) -> float:
    """Nanoseconds per event: summed over the command's programs, per run of the busiest."""
    before = set(programs())
    environment = {**os.environ, "OSMIA_NOTIFY_ATTACHED": "1", "__BPFTRACE_NOTIFY_PROBES_ATTACHED": "1"}
    tracer = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert tracer.stdout is not None
    seen = b""
    while announcement not in seen:
        chunk = os.read(tracer.stdout.fileno(), 4096)
        if not chunk:
            raise SystemExit(f"{command[0]} ended early:\n{seen.decode(errors='replace')}")
        seen += chunk
    try:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["dd", "if=/dev/zero", "of=/dev/null", "bs=1", f"count={events}"], check=True, **quiet)
        rows = [row for number, row in programs().items() if number not in before and row.get("run_cnt")]
    finally:
        tracer.send_signal(signal.SIGTERM)
        tracer.communicate()
    busiest = max(row["run_cnt"] for row in rows)
    if busiest < events:
        raise SystemExit(f"{command[0]}: only {busiest} of {events} events were seen")
    return sum(row["run_time_ns"] for row in rows) / busiest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=300_000)
    arguments = parser.parse_args()
    peers.require("bpftrace", "bpftool", "unshare")
    peers.with_tracefs()
    print(f"{peers.versions()}; medians of {arguments.rounds} rounds of {arguments.events} events")
    print(f"{'':<16} {'bpftrace ns':>12} {'osmia ns':>9} {'ratio':>6}")
    enabled = STATS.read_text()
    good = True
    try:
        STATS.write_text("1")
        for name, (script, source) in CASES.items():
            with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
                file.write(source)
                file.flush()
                theirs, ours = [], []
                for _ in range(arguments.rounds):
                    theirs.append(
                        cost(["bpftrace", "-e", script], b"__BPFTRACE_NOTIFY_PROBES_ATTACHED", arguments.events)
                    )
                    ours.append(cost([peers.osmia(), "run", file.name], b"attached", arguments.events))
            ratio = statistics.median(ours) / statistics.median(theirs)
            good = good and ratio <= 1.0
            print(f"{name:<16} {statistics.median(theirs):>12.1f} {statistics.median(ours):>9.1f} {ratio:>6.2f}")
    finally:
        STATS.write_text(enabled)
    print("claims hold" if good else "claims do NOT hold")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
