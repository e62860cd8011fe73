"""runqlat: how long tasks wait for a CPU, as a histogram.

Measures from the moment a task becomes runnable (woken, or preempted) until it runs. A machine with free CPUs shows
microseconds; a saturated one shows the length of its time slices.

Options of its own: --ms shows milliseconds, --by-process one histogram for each process.

Example:

    # osmia run runqlat --duration 1
    latency:
                        usecs : count      distribution
                       0 -> 1 : 233        |***********                             |
                       2 -> 3 : 742        |****************************************|
                       4 -> 7 : 203        |**********                              |
"""

from __future__ import annotations

from osmia import Program, ktime_ns, selected, u32, u64
from osmia.ktypes import task_struct

prog = Program("runqlat", description="Time that tasks wait for a CPU, as a histogram.")

milliseconds = prog.option("ms", bool, False, help="milliseconds instead of microseconds")
by_process = prog.option("by-process", bool, False, help="one histogram for each process")

_queued = prog.hash(u32, u64, max_entries=65_536)
latency = prog.histogram(unit="usecs")
process_latency = prog.histogram(u32, unit="usecs")

_RUNNING = 0


@prog.func
def enqueue(task: task_struct) -> None:
    if task.pid != 0 and selected(task.tgid):
        _queued[task.pid] = ktime_ns()


@prog.btf_tracepoint("sched_wakeup", "sched_wakeup_new", subject=None)
def woken(task: task_struct) -> None:
    enqueue(task)


@prog.btf_tracepoint("sched_switch", subject=None)
def switched(preempt: bool, previous: task_struct, task: task_struct) -> None:
    if previous.__state == _RUNNING:
        enqueue(previous)
    since = _queued.get(task.pid)
    if since is None:
        return
    waited: u64 = ktime_ns() - since
    del _queued[task.pid]
    waited = waited // 1_000_000 if milliseconds else waited // 1_000
    if by_process:
        process_latency[task.tgid].record(waited)
    else:
        latency.record(waited)


@prog.report
def histograms() -> None:
    unit = "msecs" if milliseconds else "usecs"
    prog.show(process_latency if by_process else latency, unit=unit, title="latency", clear=True)


if __name__ == "__main__":
    prog.run()
