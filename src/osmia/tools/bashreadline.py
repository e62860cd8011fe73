"""bashreadline: trace the lines that are typed into bash.

Attaches to the return of ``readline`` in the bash that PATH finds. It sees interactive shells only, since scripts
are not
read through readline.

Example:

    # osmia run bashreadline
        PID COMM             LINE
       1630 bash             ls -l /tmp
"""

from __future__ import annotations

from osmia import Char, Program, comm, pid, u32, u64, user_str

prog = Program("bashreadline", description="Trace the lines typed into bash.")


@prog.event
class Line:
    pid: u32
    comm: Char[16]
    line: Char[256]


lines = prog.ring(Line)


@prog.uretprobe("bash", "readline")
def typed(text: u64) -> None:
    if text != 0:
        lines.submit(Line(pid=pid(), comm=comm(), line=user_str(text)))


if __name__ == "__main__":
    prog.run()
