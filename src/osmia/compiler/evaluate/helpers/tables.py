"""Helpers of maps and buffers."""

from __future__ import annotations

import errno

from osmia.compiler.evaluate.buffers import PerfMap, RingMap
from osmia.compiler.evaluate.faults import bad_argument
from osmia.compiler.evaluate.helpers.registry import helper
from osmia.compiler.evaluate.maps import Map
from osmia.compiler.evaluate.memory import NULL, ORDER, Pointer
from osmia.compiler.evaluate.special import BloomMap, StackMap, StorageMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.evaluate.frame import Run

_SKIP, _USER, _REUSE = 0xFF, 1 << 8, 1 << 10
_STACK_FLAGS = _SKIP | _USER | 1 << 9 | _REUSE
_BUILD_ID = 1 << 11


@helper("map_lookup_elem", args="map ptr")
def map_lookup(run: Run, table: Map, key: Pointer) -> Pointer:
    """The value's address, or null."""
    table.check_reading()
    found = table.lookup(run.read(key, table.key_size))
    return NULL if found is None else found


@helper("map_lookup_percpu_elem", args="map ptr u32")
def map_lookup_percpu(run: Run, table: Map, key: Pointer, cpu: int) -> Pointer:
    """Another CPU's value, or null."""
    table.check_reading()
    found = table.on_cpu(run.read(key, table.key_size), cpu)
    return NULL if found is None else found


@helper("map_update_elem", args="map ptr ptr u64")
def map_update(run: Run, table: Map, key: Pointer, value: Pointer, flags: int) -> int:
    """0 or -errno."""
    table.check_writing()
    return table.update(run.read(key, table.key_size), run.read(value, table.value_size), flags)


@helper("map_delete_elem", args="map ptr")
def map_delete(run: Run, table: Map, key: Pointer) -> int:
    """0 or -errno."""
    table.check_writing()
    return table.delete(run.read(key, table.key_size))


@helper("map_push_elem", args="map ptr u64")
def map_push(run: Run, table: Map, value: Pointer, flags: int) -> int:
    """0 or -errno."""
    table.check_writing()
    return table.push(run.read(value, table.value_size), flags)


def _take(run: Run, table: Map, value: Pointer, take: bool) -> int:
    found = table.pop(take)
    run.write(value, found if found is not None else bytes(table.value_size))
    return 0 if found is not None else -errno.ENOENT


@helper("map_pop_elem", args="map ptr")
def map_pop(run: Run, table: Map, value: Pointer) -> int:
    """0 or -errno; the value is zeros where there was none."""
    table.check_writing()
    return _take(run, table, value, True)


@helper("map_peek_elem", args="map ptr")
def map_peek(run: Run, table: Map, value: Pointer) -> int:
    """The next value, left in place; for a Bloom filter whether the value is in it."""
    table.check_reading()
    if isinstance(table, BloomMap):
        return 0 if table.has(run.read(value, table.value_size)) else -errno.ENOENT
    return _take(run, table, value, False)


@helper(
    "task_storage_get", "inode_storage_get", "sk_storage_get", "cgrp_storage_get", args="map ptr ptr u64", optional=1
)
def storage_get(run: Run, table: Map, owner: Pointer, initial: Pointer, flags: int = 0) -> Pointer:
    """The object's value; with flag 1 made where it is missing."""
    if not isinstance(table, StorageMap):
        raise bad_argument(f"{table.name} is no storage map")
    if flags & ~1 or owner.null:
        return NULL
    made = None
    if flags & 1:
        made = bytes(table.value_size) if initial.null else run.read(initial, table.value_size)
    found = table.of(owner.address, made)
    return NULL if found is None else found


@helper("task_storage_delete", "inode_storage_delete", "sk_storage_delete", "cgrp_storage_delete", args="map ptr")
def storage_delete(run: Run, table: Map, owner: Pointer) -> int:
    """0 or -errno."""
    if not isinstance(table, StorageMap):
        raise bad_argument(f"{table.name} is no storage map")
    return -errno.EINVAL if owner.null else table.drop(owner.address)


# Ring buffers


def _ring(table: Map) -> RingMap:
    if isinstance(table, RingMap):
        return table
    raise bad_argument(f"{table.name} is no ring buffer")


@helper("ringbuf_reserve", args="map u64 u64")
def ringbuf_reserve(run: Run, table: Map, size: int, flags: int) -> Pointer:
    """A record, or null."""
    ring = _ring(table)
    if flags:
        return NULL
    record = ring.reserve(size)
    return NULL if record is None else Pointer(record.region, 0)


@helper("ringbuf_submit", args="ptr u64")
def ringbuf_submit(run: Run, record: Pointer, flags: int) -> None:
    """The record is an event now."""
    from osmia.compiler.evaluate.ops.calls import end_record

    end_record(run.machine.maps, record, True)


@helper("ringbuf_discard", args="ptr u64")
def ringbuf_discard(run: Run, record: Pointer, flags: int) -> None:
    """The record is never seen."""
    from osmia.compiler.evaluate.ops.calls import end_record

    end_record(run.machine.maps, record, False)


@helper("ringbuf_output", args="map ptr u64 u64")
def ringbuf_output(run: Run, table: Map, data: Pointer, size: int, flags: int) -> int:
    """0 or -errno."""
    return _ring(table).output(run.read(data, size), flags)


@helper("ringbuf_query", args="map u64")
def ringbuf_query(run: Run, table: Map, what: int) -> int:
    """Unread bytes, size, or a position."""
    return _ring(table).query(what)


@helper("perf_event_output", "skb_output", "xdp_output", args="ptr map u64 ptr u64")
def perf_event_output(run: Run, context: Pointer, table: Map, flags: int, data: Pointer, size: int) -> int:
    """0 or -errno. The upper half of the flags says how many bytes of the packet follow."""
    if not isinstance(table, PerfMap):
        raise bad_argument(f"{table.name} is no perf event array")
    if flags & ~0xFFFFF_FFFFFFFF:
        return -errno.EINVAL
    tail = flags >> 32
    packet = run.packet_bytes()
    if tail and packet is None:
        return -errno.EINVAL
    if packet is not None and tail > len(packet):
        return -errno.EFAULT
    return table.output(flags, run.read(data, size) + (packet or b"")[:tail])


# Stacks


def _stack(run: Run, flags: int) -> tuple[int, ...]:
    return tuple(run.env.user_stack if flags & _USER else run.env.kernel_stack)[flags & _SKIP :]


@helper("get_stackid", args="ptr map u64")
def get_stackid(run: Run, context: Pointer, table: Map, flags: int) -> int:
    """The id of the stack, or -errno."""
    if not isinstance(table, StackMap):
        raise bad_argument(f"{table.name} is no map of stacks")
    if flags & ~_STACK_FLAGS:
        return -errno.EINVAL
    depth = table.value_size // 8
    stack = _stack(run, flags)[:depth]
    return table.keep(stack, bool(flags & _REUSE)) if stack else -errno.EFAULT


@helper("get_stack", args="ptr ptr u32 u64")
def get_stack(run: Run, context: Pointer, target: Pointer, size: int, flags: int) -> int:
    """How many bytes were stored, or -errno; the rest is zeros."""
    run.room(target, size)
    if flags & ~(_SKIP | _USER | _BUILD_ID) or flags & _BUILD_ID or size % 8:
        run.write(target, bytes(size))
        return -errno.EINVAL
    stack = _stack(run, flags)[: size // 8]
    if not stack:
        run.write(target, bytes(size))
        return -errno.EFAULT
    data = b"".join(address.to_bytes(8, ORDER) for address in stack)
    run.write(target, data.ljust(size, b"\0"))
    return len(data)
