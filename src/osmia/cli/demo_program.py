"""Who opens which files? The program that `osmia demo` shows."""

from osmia import Char, Program, TracepointArgs, comm, pid, u32, user_str

prog = Program("demo", description="Who opens which files?")


@prog.event
class Open:
    """What the kernel sends for each open."""

    pid: u32
    comm: Char[16]
    path: Char[256]


opens = prog.ring(Open)


@prog.tracepoint("syscalls:sys_enter_openat")
def enter(args: TracepointArgs) -> None:
    """Runs in the kernel, whenever a process opens a file."""
    opens.submit(Open(pid=pid(), comm=comm(), path=user_str(args.filename)))
