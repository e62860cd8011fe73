"""profile: sample the stacks of running tasks and count them, as folded lines for flame graphs.

One line for each distinct stack: the command, then the user and the kernel frames from the outermost in, then the
count. Kernel frames end in
``_[k]``. Stacks are counted in the kernel; only distinct ones reach user space. User stacks need frame pointers.

Options of its own: --hz samples a second on each CPU (99), --user-only and --kernel-only leave the other half out.

Example:

    # osmia run profile --duration 2 -- python3 -c 'sum(range(10**8))'
    python3;_start;__libc_start_main;[libc.so.6];Py_BytesMain;Py_RunMain;[python3.11];PyEval_EvalCode 71
"""

from __future__ import annotations

from osmia import Char, PerfContext, Program, comm, kstack, pid, s32, u32, ustack

prog = Program("profile", description="Sample stacks and count them.")

user_only = prog.option("user-only", bool, False, help="no kernel stacks")
kernel_only = prog.option("kernel-only", bool, False, help="no user stacks")


@prog.struct
class Where:
    pid: u32
    user: s32
    kernel: s32
    comm: Char[16]


_stacks = prog.stack_trace()
_samples = prog.counter(Where)


@prog.profile(hz=99)
def sample(ctx: PerfContext) -> None:
    if pid() == 0:
        return
    where = Where(pid=pid(), user=s32(-1), kernel=s32(-1), comm=comm())
    if not kernel_only:
        where.user = s32(ustack(_stacks))
    if not user_only:
        where.kernel = s32(kstack(_stacks))
    _samples[where] += 1


@prog.every(0.2)
def learn() -> None:
    """Reads the address spaces of sampled processes while they live, so that their stacks can be named later."""
    for where in _samples:
        prog.symbols.remember(where.pid)


@prog.report
def folded() -> None:
    merged: dict[str, int] = {}
    for where, count in _samples.sums():
        stack = ";".join([where.comm, *prog.symbols.folded(_stacks, where.pid, where.user, where.kernel)])
        merged[stack] = merged.get(stack, 0) + count
    prog.table("stacks", ("stack", "count"), sorted(merged.items()), sort="count", headings=False)
    _samples.clear()


if __name__ == "__main__":
    prog.run()
