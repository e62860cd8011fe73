"""Latency by key: how long reads take, as a histogram for each process name."""

from osmia import Char, Program, TracepointArgs, comm, ktime_ns, tid, u32, u64

prog = Program("latency")

_started = prog.hash(u32, u64)
reads = prog.histogram(Char[16], unit="nsecs")


@prog.tracepoint("syscalls:sys_enter_read")
def enter(args: TracepointArgs) -> None:
    _started[tid()] = ktime_ns()


@prog.tracepoint("syscalls:sys_exit_read")
def leave(args: TracepointArgs) -> None:
    since = _started.get(tid())
    if since is None:
        return
    reads[comm()].record(ktime_ns() - since)
    del _started[tid()]


if __name__ == "__main__":
    prog.run()
