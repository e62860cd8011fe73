"""biolatency: how long block devices take, as a histogram.

Measures each request from its issue to the device until its completion; with --queued from its insertion into the
queue. --pid and its kin select requests by the task that issues them; what the kernel writes back later belongs to its
own threads.

Options of its own: --queued includes the time in the queue, --by-disk one histogram for each device, --ms milliseconds.

Example:

    # osmia run biolatency --duration 10
    latency:
                        usecs : count      distribution
                   128 -> 255 : 26         |****************************************|
                   256 -> 511 : 4          |******                                  |
"""

from __future__ import annotations

from osmia import Program, addr, ktime_ns, u32, u64
from osmia.ktypes import request

prog = Program("biolatency", description="Time that block devices take, as a histogram.")

queued = prog.option("queued", bool, False, help="include the time in the queue")
by_disk = prog.option("by-disk", bool, False, help="one histogram for each device")
milliseconds = prog.option("ms", bool, False, help="milliseconds instead of microseconds")

_started = prog.hash(u64, u64)
latency = prog.histogram(unit="usecs")
disk_latency = prog.histogram(u32, unit="usecs")


@prog.btf_tracepoint("block_rq_insert")
def inserted(rq: request) -> None:
    if queued:
        _started[addr(rq)] = ktime_ns()


@prog.btf_tracepoint("block_rq_issue")
def issued(rq: request) -> None:
    if not queued or addr(rq) not in _started:
        _started[addr(rq)] = ktime_ns()


@prog.btf_tracepoint("block_rq_complete", subject=None)
def completed(rq: request) -> None:
    since = _started.get(addr(rq))
    if since is None:
        return
    took: u64 = ktime_ns() - since
    del _started[addr(rq)]
    took = took // 1_000_000 if milliseconds else took // 1_000
    if by_disk:
        disk = rq.q.disk
        disk_latency[(u32(disk.major) << 20) | u32(disk.first_minor)].record(took)
    else:
        latency.record(took)


@prog.report
def histograms() -> None:
    unit = "msecs" if milliseconds else "usecs"
    chosen = disk_latency if by_disk else latency
    prog.show(chosen, unit=unit, title="latency", columns={"key": "dev"}, clear=True)


if __name__ == "__main__":
    prog.run()
