"""execsnoop: trace new programs: every successful execve, with its parent and arguments.

The arguments are read from the new program's memory, up to 512 bytes; what is longer is cut and ends in an ellipsis.

Example: what does a build script really start?

    # osmia run execsnoop -- sh -c 'ls /tmp >/dev/null; date >/dev/null'
        PID    PPID     UID COMM             ARGS
       1310    1302       0 sh               sh -c 'ls /tmp >/dev/null; date >/dev/null'
       1311    1310       0 ls               ls /tmp
       1312    1310       0 date             date
"""

from __future__ import annotations

from osmia import Bytes, Char, Program, RawArgs, comm, current, pid, u32, u64, uid, user_bytes

prog = Program("execsnoop", description="Trace new programs.")


@prog.event(columns={"args": "argv", "size": "hidden"})
class Exec:
    pid: u32
    ppid: u32
    uid: u32
    comm: Char[16]
    size: u32
    args: Bytes[512]


execs = prog.ring(Exec)


@prog.btf_tracepoint("sched_process_exec")
def executed(args: RawArgs) -> None:
    task = current()
    memory = task.mm
    if memory is None:
        return
    start: u64 = memory.arg_start
    size: u64 = memory.arg_end - start
    execs.submit(
        Exec(
            pid=pid(),
            ppid=task.real_parent.tgid,
            uid=uid(),
            comm=comm(),
            size=u32(size),
            args=user_bytes(start, min(size, 512)),
        )
    )


if __name__ == "__main__":
    prog.run()
