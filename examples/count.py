"""Count by key in the kernel: system calls by process name. Ctrl-C prints the table."""

from osmia import Char, Program, TracepointArgs, comm

prog = Program("count")

calls = prog.counter(Char[16])


@prog.tracepoint("raw_syscalls:sys_enter")
def enter(args: TracepointArgs) -> None:
    calls[comm()] += 1


if __name__ == "__main__":
    prog.run()
