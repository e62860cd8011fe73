"""Helpers that tell of the time, the task and the CPU."""

from __future__ import annotations

import errno

from osmia.compiler.evaluate.helpers.registry import helper
from osmia.compiler.evaluate.memory import NULL, ORDER, U64_MASK, Pointer
from osmia.compiler.evaluate.values import signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.evaluate.frame import Run

_COMM = 16


@helper("ktime_get_ns", "ktime_get_boot_ns", "ktime_get_coarse_ns", "ktime_get_tai_ns")
def ktime(run: Run) -> int:
    """The environment's time, which every question moves on."""
    return run.time()


@helper("jiffies64")
def jiffies(run: Run) -> int:
    """The time in steps of 4 ms (HZ = 250)."""
    return run.time() // 4_000_000


@helper("get_current_pid_tgid")
def pid_tgid(run: Run) -> int:
    """Process id in the upper half, thread id in the lower."""
    tid = run.env.pid if run.env.tid is None else run.env.tid
    return (run.env.pid & 0xFFFFFFFF) << 32 | (tid & 0xFFFFFFFF)


@helper("get_ns_current_pid_tgid", args="u64 u64 ptr u32")
def ns_pid_tgid(run: Run, device: int, inode: int, target: Pointer, size: int) -> int:
    """Thread and process id as ``struct bpf_pidns_info``; every namespace is the only one."""
    run.room(target, size)
    if size != 8:
        run.write(target, bytes(size))
        return -errno.EINVAL
    both = pid_tgid(run)
    run.write(target, (both & 0xFFFFFFFF).to_bytes(4, ORDER) + (both >> 32).to_bytes(4, ORDER))
    return 0


@helper("get_current_uid_gid")
def uid_gid(run: Run) -> int:
    """Group in the upper half, user in the lower."""
    return (run.env.gid & 0xFFFFFFFF) << 32 | (run.env.uid & 0xFFFFFFFF)


@helper("get_current_comm", args="ptr u32")
def current_comm(run: Run, target: Pointer, size: int) -> int:
    """The task's name, cut and padded with NULs."""
    run.room(target, size)
    comm = run.env.comm.encode() if isinstance(run.env.comm, str) else run.env.comm
    run.write(target, comm[: min(size, _COMM) - 1].ljust(size, b"\0"))
    return 0


@helper("get_current_task", "get_current_task_btf")
def current_task(run: Run) -> Pointer:
    """The address of the task, as the environment has it."""
    return Pointer(None, run.env.task) if run.env.task else NULL


@helper("get_current_cgroup_id")
def cgroup_id(run: Run) -> int:
    """The task's cgroup."""
    return run.env.cgroup_id


@helper("get_current_ancestor_cgroup_id", args="u32")
def ancestor_cgroup_id(run: Run, level: int) -> int:
    """The cgroup above, by level from the root; 0 below the task's own."""
    chain = run.env.cgroups
    level = signed(level, 32)
    return chain[level] if 0 <= level < len(chain) else 0


@helper("get_smp_processor_id")
def processor(run: Run) -> int:
    """The CPU that runs."""
    return run.env.cpu


@helper("get_numa_node_id")
def numa_node(run: Run) -> int:
    """There is one node."""
    return 0


@helper("get_prandom_u32")
def prandom(run: Run) -> int:
    """A random number; the same sequence for the same seed."""
    return run.machine.random.getrandbits(32)


@helper("get_attach_cookie", args="ptr", optional=1)
def attach_cookie(run: Run, context: Pointer = NULL) -> int:
    """The cookie of the attachment."""
    return run.env.cookie


@helper("get_func_ip", args="ptr")
def func_ip(run: Run, context: Pointer) -> int:
    """The address of the probed function."""
    return run.env.func_ip & U64_MASK


@helper("send_signal", "send_signal_thread", args="u32")
def send_signal(run: Run, number: int) -> int:
    """Notes the signal."""
    run.signals.append(number)
    return 0


@helper("spin_lock", args="ptr")
def spin_lock(run: Run, lock: Pointer) -> None:
    """Takes the lock; a program holds one at a time."""
    from osmia.compiler.evaluate.faults import Fault

    run.read(lock, 4)
    if run.locked is not None:
        raise Fault("IR358", "a second spin lock is taken", "release the first one before")
    run.locked = lock


@helper("spin_unlock", args="ptr")
def spin_unlock(run: Run, lock: Pointer) -> None:
    """Releases the lock that was taken."""
    from osmia.compiler.evaluate.faults import Fault

    if run.locked is None or run.locked != lock:
        raise Fault("IR358", "a spin lock is released that is not held", "release the lock that was taken, once")
    run.locked = None
