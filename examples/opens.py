"""Who opens which files?"""

from osmia import Char, Program, TracepointArgs, comm, pid, u32, user_str

prog = Program("opens")


@prog.event
class Open:
    pid: u32
    comm: Char[16]
    path: Char[256]


opens = prog.ring(Open)


@prog.tracepoint("syscalls:sys_enter_openat")
def enter(args: TracepointArgs) -> None:
    opens.submit(Open(pid=pid(), comm=comm(), path=user_str(args.filename)))


if __name__ == "__main__":
    prog.run()
