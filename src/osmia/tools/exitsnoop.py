"""exitsnoop: trace processes as they end: how long they lived, and why they ended.

One row per process (threads with --threads). CODE is the exit status; SIGNAL is the signal that killed the process,
0 for none.

Option of its own: --threads shows every thread's end, not only whole processes.

Example:

    # osmia run exitsnoop -- sh -c 'sleep 0.1; exit 3'
        PID    PPID COMM               AGE(S) CODE SIGNAL
       1401    1400 sleep            0.101876    0 0
       1400    1391 sh               0.104210    3 0
"""

from __future__ import annotations

from osmia import Char, Program, RawArgs, boot_ns, comm, current, pid, tid, u8, u32, u64

prog = Program("exitsnoop", description="Trace processes as they end.")

threads = prog.option("threads", bool, False, help="every thread, not only whole processes")


@prog.event(columns={"age_ns": "s", "signal": "signal"})
class Exit:
    pid: u32
    ppid: u32
    tid: u32
    comm: Char[16]
    age_ns: u64
    code: u8
    signal: u8


exits = prog.ring(Exit)


@prog.btf_tracepoint("sched_process_exit")
def exited(args: RawArgs) -> None:
    task = current()
    if not threads and task.pid != task.tgid:
        return
    code: u32 = task.exit_code
    exits.submit(
        Exit(
            pid=pid(),
            ppid=task.real_parent.tgid,
            tid=tid(),
            comm=comm(),
            age_ns=boot_ns() - task.start_boottime,
            code=u8(code >> 8),
            signal=u8(code & 0x7F),
        )
    )


if __name__ == "__main__":
    prog.run()
