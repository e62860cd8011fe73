# ruff: noqa: D103 - the functions are named after rows of the table of operations, which docs/ir.md explains
"""Locals, globals, loads and stores, address arithmetic, whole pieces of memory, atomics, probe reads."""

from __future__ import annotations

import errno

from osmia.compiler.evaluate.faults import Fault, malformed
from osmia.compiler.evaluate.frame import result_type
from osmia.compiler.evaluate.memory import NULL, Pointer, locate
from osmia.compiler.evaluate.ops.numbers import arithmetic
from osmia.compiler.evaluate.values import decode, encode, size_of, unsigned, wrap
from osmia.compiler.ir import KArray, Ptr, Space
from osmia.object.layout import Array, Bool, Bytes, Char, Int, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.compiler.evaluate.frame import Frame
    from osmia.compiler.ir import Op, Value

_BY_ADDRESS = (Space.KERNEL, Space.USER)


# Locals


def _local(frame: Frame, op: Op) -> str:
    name: str = op.attrs["local"]
    if name not in frame.function.locals:
        raise malformed(f"there is no local {name} in {frame.function.name}")
    return name


def eval_local_get(frame: Frame, op: Op) -> Any:
    name = _local(frame, op)
    region = frame.memory.get(name)
    if region is not None:
        return decode(frame.ready.memory[name], region.data, 0, frame.run.machine.kernel)
    if name not in frame.scalars:
        raise Fault("IR346", f"local {name} is read before it is set", "set it on every way that leads here")
    return frame.scalars[name]


def eval_local_set(frame: Frame, op: Op) -> None:
    name = _local(frame, op)
    value = frame.value(op.args[0])
    region = frame.memory.get(name)
    if region is not None:
        region.data[:] = encode(frame.ready.memory[name], value)
        return
    frame.scalars[name] = value


def eval_local_addr(frame: Frame, op: Op) -> Pointer:
    return Pointer(frame.memory[_local(frame, op)], 0)


# Loads and stores


def load(frame: Frame, source: Value, pointer: Pointer, type_: object) -> Any:
    """The value of a type at a place that programs read directly."""
    space = frame.pointer_type(source).space
    kernel = frame.run.machine.kernel
    size = size_of(type_)
    if space in _BY_ADDRESS:
        raise Fault("IR343", f"a load through a pointer to {space.value} memory", "use read.value or a probe read")
    if space is Space.BTF:
        # The kernel turns these loads into ones that give zeros where the memory is not there.
        data = frame.run.probe(pointer, size, False)
        return decode(type_, data if data is not None else bytes(size), 0, kernel)
    memory, start = locate(pointer, size, False, space)
    return decode(type_, memory, start, kernel)


def eval_load(frame: Frame, op: Op) -> Any:
    source = op.args[0]
    return load(frame, source, frame.pointer(source), frame.pointer_type(source).to)


def _writable(frame: Frame, target: Value, size: int) -> tuple[bytearray, int]:
    space = frame.pointer_type(target).space
    if space in (*_BY_ADDRESS, Space.BTF):
        raise Fault("IR344", f"a store through a pointer to {space.value} memory, which programs may not change")
    return locate(frame.pointer(target), size, True, space)


def eval_store(frame: Frame, op: Op) -> None:
    target, source = op.args
    data = encode(frame.pointer_type(target).to, frame.value(source))
    memory, start = _writable(frame, target, len(data))
    memory[start : start + len(data)] = data


# Addresses


def eval_field(frame: Frame, op: Op) -> Pointer:
    return frame.pointer(op.args[0]).moved(op.attrs["offset"])


def _elements(type_: Ptr) -> tuple[int, int | None]:
    """Bytes of an element, and how many there are where the type says."""
    to = type_.to
    if isinstance(to, Array):
        return to.element.size, to.count
    if isinstance(to, KArray):
        return to.element.size if isinstance(to.element, Layout) else 8, to.count
    if isinstance(to, (Char, Bytes)):
        return 1, to.size
    return 1, type_.bound


def eval_element(frame: Frame, op: Op) -> Pointer:
    source, index_value = op.args
    size, count = _elements(frame.pointer_type(source))
    index = unsigned(frame.number(index_value), 64)
    if count is not None and index >= count:
        raise Fault("IR355", f"element {index} of {count}", "prove the index with br.inrange")
    return frame.pointer(source).moved(index * size)


def eval_cast_ptr(frame: Frame, op: Op) -> Pointer:
    before, after = frame.pointer_type(op.args[0]), result_type(op)
    if not isinstance(after, Ptr) or before.space is not after.space:
        raise malformed(f"cast.ptr from {before} to {after}")
    return frame.pointer(op.args[0])


def eval_ptr_add(frame: Frame, op: Op) -> Pointer:
    amount = frame.number(op.args[1])
    return frame.pointer(op.args[0]).moved(amount - (1 << 64) if amount >> 63 else amount)


def eval_int_to_ptr(frame: Frame, op: Op) -> Pointer:
    return Pointer(None, unsigned(frame.number(op.args[0]), 64))


def eval_ptr_to_int(frame: Frame, op: Op) -> int:
    return frame.pointer(op.args[0]).address


def eval_null(frame: Frame, op: Op) -> Pointer:
    return NULL


def eval_global_addr(frame: Frame, op: Op) -> Pointer:
    region = frame.run.machine.global_regions.get(op.attrs["name"])
    if region is None:
        raise malformed(f"there is no global variable {op.attrs['name']}")
    return Pointer(region, 0)


# Pieces of memory


def _readable(frame: Frame, source: Value, size: int) -> bytes:
    space = frame.pointer_type(source).space
    pointer = frame.pointer(source)
    if space in _BY_ADDRESS:
        raise Fault("IR343", f"a load through a pointer to {space.value} memory", "use a probe read")
    if space is Space.BTF:
        found = frame.run.probe(pointer, size, False)
        return found if found is not None else bytes(size)
    memory, start = locate(pointer, size, False, space)
    return bytes(memory[start : start + size])


def eval_copy(frame: Frame, op: Op) -> None:
    size = op.attrs["size"]
    memory, start = _writable(frame, op.args[0], size)
    data = _readable(frame, op.args[1], size)
    target, source = frame.pointer(op.args[0]), frame.pointer(op.args[1])
    if target.region is source.region and 0 < abs(target.offset - source.offset) < size:
        raise Fault(
            "IR359", f"{size} bytes are copied {abs(target.offset - source.offset)} bytes further, over themselves"
        )
    memory[start : start + size] = data


def eval_zero(frame: Frame, op: Op) -> None:
    size = op.attrs["size"]
    memory, start = _writable(frame, op.args[0], size)
    memory[start : start + size] = bytes(size)


def eval_memeq(frame: Frame, op: Op) -> bool:
    a, b = (_readable(frame, arg, op.attrs["size"]) for arg in op.args)
    return a == b


def eval_streq(frame: Frame, op: Op) -> bool:
    a, b = (_readable(frame, arg, op.attrs["size"]).partition(b"\0")[0] for arg in op.args)
    return a == b


# Scratch memory, which passes put in the place of large locals


def eval_scratch_addr(frame: Frame, op: Op) -> Pointer:
    return frame.pointer(op.args[0]).moved(op.attrs["offset"])


def eval_scratch_claim(frame: Frame, op: Op) -> bool:
    memory, start = _writable(frame, op.args[0], 4)
    free = not any(memory[start : start + 4])
    memory[start : start + 4] = encode(Int(32), 1)
    return free


def eval_scratch_release(frame: Frame, op: Op) -> None:
    memory, start = _writable(frame, op.args[0], 4)
    memory[start : start + 4] = bytes(4)


# Atomics


def eval_atomic(frame: Frame, op: Op) -> int | None:
    type_ = op.args[1].type
    if not isinstance(type_, Int) or type_.bits < 32:
        raise malformed(f"{op.name} works on 32 or 64 bits, not on {type_}")
    memory, start = _writable(frame, op.args[0], type_.size)
    if start % type_.size:
        raise Fault("IR356", f"{op.name} at offset {start}, which is no multiple of {type_.size}")
    old = decode(type_, memory, start, frame.run.machine.kernel)
    given = [wrap(frame.number(arg), type_) for arg in op.args[1:]]
    name = op.name.partition(".")[2]
    if name == "cmpxchg":
        new = given[1] if old == given[0] else old
    elif name == "xchg":
        new = given[0]
    else:
        new = arithmetic(name, old, given[0], type_)
    memory[start : start + type_.size] = encode(type_, new)
    return int(old)


# Probe reads


def _wanted(frame: Frame, op: Op) -> int:
    size: int = op.attrs["size"]
    return min(size, unsigned(frame.number(op.args[2]), 64)) if len(op.args) > 2 else size


def _probe_target(frame: Frame, op: Op, size: int) -> tuple[bytearray, int, bool]:
    memory, start = _writable(frame, op.args[0], size) if size else (bytearray(), 0)
    return memory, start, "user" in op.name


def eval_read_mem(frame: Frame, op: Op) -> int:
    size = _wanted(frame, op)
    memory, start, user = _probe_target(frame, op, size)
    data = frame.run.probe(frame.pointer(op.args[1]), size, user)
    memory[start : start + size] = data if data is not None else bytes(size)
    return 0 if data is not None else -errno.EFAULT


def eval_read_str(frame: Frame, op: Op) -> int:
    """The bytes after the NUL stay as they were; the kernel may clear some of them."""
    size = _wanted(frame, op)
    memory, start, user = _probe_target(frame, op, size)
    text, length = probe_text(frame.run.probe_text(frame.pointer(op.args[1]), size, user), size)
    memory[start : start + len(text)] = text
    return length


def probe_text(found: bytes | None, size: int) -> tuple[bytes, int]:
    """What a read of a string stores, and what it returns."""
    if not size:
        return b"", 0
    if found is None:
        return bytes(size), -errno.EFAULT
    text = found[: size - 1] + b"\0"
    return text, len(text)


def eval_read_value(frame: Frame, op: Op) -> Any:
    source = frame.pointer_type(op.args[0])
    type_ = source.to
    size = size_of(type_)
    data = frame.run.probe(frame.pointer(op.args[0]), size, source.space is Space.USER)
    value = decode(type_, data if data is not None else bytes(size), 0, frame.run.machine.kernel)
    wanted = result_type(op)
    if isinstance(wanted, Int) and isinstance(value, int):
        return wrap(value, wanted)
    return bool(value) if isinstance(wanted, Bool) else value
