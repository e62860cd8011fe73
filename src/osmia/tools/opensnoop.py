"""opensnoop: trace open system calls: which process opens which file, and what came of it.

Follows open, openat and openat2. ERR is the error number's name, 0 for success; a path longer than 255 bytes is cut,
one
that the kernel could not read from the process's memory is shown as <fault> and counted.

Options of its own: --failed shows only opens that fail, --user UID only those of one user.

Example: which files does cat open?

    # osmia run opensnoop -- cat /etc/hostname
        PID COMM             FD ERR      PATH
       1203 cat               3 0        /etc/ld.so.cache
       1203 cat               3 0        /lib/x86_64-linux-gnu/libc.so.6
       1203 cat               3 0        /etc/hostname
"""

from __future__ import annotations

from osmia import Char, Program, TracepointArgs, comm, ktime_ns, pid, s16, s32, tid, u32, u64, uid, user_str

prog = Program("opensnoop", description="Trace open system calls.")

failed = prog.option("failed", bool, False, help="only opens that fail")
user = prog.option("user", s32, -1, help="only opens of this user id", metavar="UID")


@prog.struct
class Request:
    path: u64
    since: u64


@prog.event(columns={"took_ns": "us", "err": "errno"})
class Open:
    pid: u32
    comm: Char[16]
    took_ns: u64
    fd: s16
    err: s16
    path: Char[256]


_requests = prog.hash(u32, Request)
opens = prog.ring(Open)


@prog.func
def begin_open(path: u64) -> None:
    if user.value >= 0 and uid() != u32(user.value):
        return
    _requests[tid()] = Request(path=path, since=ktime_ns())


@prog.func
def end_open(result: s32) -> None:
    request = _requests.get(tid())
    if request is None:
        return
    if result < 0 or not failed:
        opens.submit(
            Open(
                pid=pid(),
                comm=comm(),
                took_ns=ktime_ns() - request.since,
                fd=s16(result) if result >= 0 else s16(-1),
                err=s16(result) if result < 0 else s16(0),
                path=user_str(request.path),
            )
        )
    del _requests[tid()]


@prog.tracepoint("syscalls:sys_enter_open", "syscalls:sys_enter_openat", "syscalls:sys_enter_openat2")
def enter(args: TracepointArgs) -> None:
    begin_open(args.filename)


@prog.tracepoint("syscalls:sys_exit_open", "syscalls:sys_exit_openat", "syscalls:sys_exit_openat2")
def leave(args: TracepointArgs) -> None:
    end_open(s32(args.ret))


if __name__ == "__main__":
    prog.run()
