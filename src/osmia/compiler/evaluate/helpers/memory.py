"""Helpers that read memory by address."""

from __future__ import annotations

import errno

from osmia.compiler.evaluate.helpers.registry import helper
from osmia.compiler.evaluate.memory import NULL, ORDER, Pointer
from osmia.compiler.ir import Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.evaluate.frame import Run


def _read(run: Run, target: Pointer, size: int, source: Pointer, users: tuple[bool, ...]) -> int:
    run.room(target, size)
    run.write(target, bytes(size))
    for user in users:
        data = run.probe(source, size, user)
        if data is not None:
            run.write(target, data)
            return 0
    return -errno.EFAULT


def _read_text(run: Run, target: Pointer, size: int, source: Pointer, users: tuple[bool, ...]) -> int:
    from osmia.compiler.evaluate.ops.memory import probe_text

    run.room(target, size)
    found = None
    for user in users:
        found = run.probe_text(source, size, user)
        if found is not None:
            break
    text, length = probe_text(found, size)
    run.write(target, text)
    return length


@helper("probe_read_kernel", args="ptr u32 ptr")
def probe_read_kernel(run: Run, target: Pointer, size: int, source: Pointer) -> int:
    """0 or -errno; zeros on failure."""
    return _read(run, target, size, source, (False,))


@helper("probe_read_user", "copy_from_user", args="ptr u32 ptr")
def probe_read_user(run: Run, target: Pointer, size: int, source: Pointer) -> int:
    """0 or -errno; zeros on failure."""
    return _read(run, target, size, source, (True,))


@helper("probe_read", args="ptr u32 ptr")
def probe_read(run: Run, target: Pointer, size: int, source: Pointer) -> int:
    """Kernel or user memory, as the address says."""
    return _read(run, target, size, source, (False, True))


@helper("copy_from_user_task", args="ptr u32 ptr ptr u64")
def copy_from_user_task(run: Run, target: Pointer, size: int, source: Pointer, task: Pointer, flags: int) -> int:
    """Another task's memory; all tasks share the evaluator's user memory."""
    if flags:
        run.room(target, size)
        run.write(target, bytes(size))
        return -errno.EINVAL
    return _read(run, target, size, source, (True,))


@helper("probe_read_kernel_str", args="ptr u32 ptr")
def probe_read_kernel_str(run: Run, target: Pointer, size: int, source: Pointer) -> int:
    """Length with NUL, or -errno."""
    return _read_text(run, target, size, source, (False,))


@helper("probe_read_user_str", args="ptr u32 ptr")
def probe_read_user_str(run: Run, target: Pointer, size: int, source: Pointer) -> int:
    """Length with NUL, or -errno."""
    return _read_text(run, target, size, source, (True,))


@helper("probe_read_str", args="ptr u32 ptr")
def probe_read_str(run: Run, target: Pointer, size: int, source: Pointer) -> int:
    """Kernel or user memory, as the address says."""
    return _read_text(run, target, size, source, (False, True))


@helper("probe_write_user", args="ptr ptr u32")
def probe_write_user(run: Run, target: Pointer, source: Pointer, size: int) -> int:
    """0 or -errno."""
    data = run.read(source, size)
    return 0 if run.machine.user.write(target.address, data) else -errno.EFAULT


@helper("per_cpu_ptr", args="ptr u32")
def per_cpu_ptr(run: Run, symbol: Pointer, cpu: int) -> Pointer:
    """Per-CPU symbols lie once per CPU, each copy where ``Evaluator.per_cpu`` says; null past the last CPU."""
    copies = run.machine.per_cpu.get(symbol.address, ())
    return Pointer(None, copies[cpu]) if cpu < len(copies) else NULL


@helper("this_cpu_ptr", args="ptr")
def this_cpu_ptr(run: Run, symbol: Pointer) -> Pointer:
    """This CPU's copy."""
    return per_cpu_ptr(run, symbol, run.env.cpu)  # type: ignore[no-any-return]


@helper("kptr_xchg", args="ptr ptr")
def kptr_xchg(run: Run, place: Pointer, new: Pointer) -> Pointer:
    """Puts a kernel pointer in a map value and gives the one that was there."""
    from osmia.compiler.evaluate.values import to_pointer
    from osmia.compiler.ir import Ptr

    old = int.from_bytes(run.read(place, 8), ORDER)
    run.write(place, new.address.to_bytes(8, ORDER))
    return to_pointer(old, Ptr(Space.BTF), run.machine.kernel)
