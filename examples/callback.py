"""Call Python for each event: print what a process writes, with a limit on the kernel's side."""

from osmia import Program, TracepointArgs, pid, u32, u64

prog = Program("callback")

least = prog.option("least", u64, 1, help="only writes of at least this many bytes", metavar="BYTES")


@prog.event
class Write:
    pid: u32
    fd: u32
    size: u64


writes = prog.ring(Write)


@prog.tracepoint("syscalls:sys_enter_write")
def enter(args: TracepointArgs) -> None:
    if args.count >= least.value:
        writes.submit(Write(pid=pid(), fd=u32(args.fd), size=u64(args.count)))


@prog.on(writes)
def show(event: Write) -> None:
    print(f"process {event.pid} writes {event.size} bytes to {event.fd}")


if __name__ == "__main__":
    prog.run()
