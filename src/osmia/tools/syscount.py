"""syscount: count system calls, by call or by process, with the time spent in them.

Counting is done in the kernel, per CPU; nothing is sent for a single call. TIME is the sum over completed calls,
only with --latency.

Options of its own: --process counts by process instead of by call; --failed counts only calls that fail;
--latency adds the time spent.

Example: what does ls ask of the kernel?

    # osmia run syscount --top 3 -- ls /
    SYSCALL                 COUNT
    mmap                       21
    close                      14
    openat                     11
"""

from __future__ import annotations

from osmia import Char, Program, TracepointArgs, comm, ktime_ns, pid, s64, tid, u32, u64

prog = Program("syscount", description="Count system calls.")

process = prog.option("process", bool, False, help="count by process instead of by call")
only_failed = prog.option("failed", bool, False, help="count only calls that fail")
latency = prog.option("latency", bool, False, help="add the time spent in the calls")


@prog.struct
class Process:
    pid: u32
    comm: Char[16]


@prog.struct
class Total:
    count: u64
    time_ns: u64


_since = prog.hash(u32, u64)
_calls = prog.percpu_hash(u32, Total, max_entries=1_024)
_processes = prog.percpu_hash(Process, Total)


@prog.tracepoint("raw_syscalls:sys_enter")
def enter(args: TracepointArgs) -> None:
    if latency:
        _since[tid()] = ktime_ns()


@prog.func
def account_call(number: u32, took: u64) -> None:
    total = _calls.get(number)
    if total is None:
        _calls.insert(number, Total(count=1, time_ns=took))
    else:
        total.count += 1
        total.time_ns += took


@prog.func
def account_process(took: u64) -> None:
    key = Process(pid=pid(), comm=comm())
    total = _processes.get(key)
    if total is None:
        _processes.insert(key, Total(count=1, time_ns=took))
    else:
        total.count += 1
        total.time_ns += took


@prog.tracepoint("raw_syscalls:sys_exit")
def leave(args: TracepointArgs) -> None:
    took: u64 = 0
    if latency:
        since = _since.get(tid())
        if since is None:
            return
        took = ktime_ns() - since
        del _since[tid()]
    result: s64 = args.ret
    if only_failed and result >= 0:
        return
    if process:
        account_process(took)
    else:
        account_call(u32(args.id), took)


@prog.report
def totals() -> None:
    columns = {"time_ns": "ms"} if latency else {"time_ns": "hidden"}
    if process:
        rows = [(who.pid, who.comm, total.count, total.time_ns) for who, total in _processes.sums()]
        prog.table("processes", ("pid", "comm", "count", "time_ns"), rows, sort="count", formats=columns)
        _processes.clear()
    else:
        calls = [(number, total.count, total.time_ns) for number, total in _calls.sums()]
        columns["syscall"] = "syscall"
        prog.table("syscalls", ("syscall", "count", "time_ns"), calls, sort="count", formats=columns)
        _calls.clear()


if __name__ == "__main__":
    prog.run()
