"""Helpers of packets."""

from __future__ import annotations

import errno

from osmia.compiler.evaluate.faults import Fault
from osmia.compiler.evaluate.helpers.registry import helper
from osmia.compiler.evaluate.maps import Map
from osmia.compiler.evaluate.memory import ORDER, Pointer, Region
from osmia.compiler.evaluate.special import HandleMap
from osmia.compiler.evaluate.values import signed
from osmia.compiler.ir import Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.evaluate.frame import Run

XDP_REDIRECT, TC_REDIRECT = 4, 7
_LEAST = 14
_META = 255
"""An XDP program may take so many bytes in front of the packet."""


def _packet(run: Run) -> Region:
    if run.packet is None:
        raise Fault("IR349", "a helper works on the packet, and there is none", "give one: run(packet=...)")
    return run.packet


def _renew(run: Run, data: bytes, start: int, meta: int) -> None:
    """The packet has moved: pointers into it are of no use any more."""
    old = _packet(run)
    old.free("a helper has changed the packet, after which its pointers are loaded anew")
    run.packet = Region("the packet", Space.PACKET, bytearray(data), old.home, old.writable)
    run.packet_start, run.packet_meta = start, meta


@helper("xdp_adjust_head", args="ptr u32")
def xdp_adjust_head(run: Run, context: Pointer, delta: int) -> int:
    """0 or -errno. The bytes in front of the packet move with its start."""
    packet, delta = _packet(run), signed(delta, 32)
    front = bytes(packet.data[run.packet_meta : run.packet_start])
    body = bytes(packet.data[run.packet_start :])
    if len(body) - delta < _LEAST or run.packet_room - len(front) + delta < 0:
        return -errno.EINVAL
    run.packet_room += delta
    body = bytes(-delta) + body if delta < 0 else body[delta:]
    _renew(run, front + body, len(front), 0)
    return 0


@helper("xdp_adjust_meta", args="ptr u32")
def xdp_adjust_meta(run: Run, context: Pointer, delta: int) -> int:
    """0 or -errno."""
    packet, delta = _packet(run), signed(delta, 32)
    size = run.packet_start - run.packet_meta - delta
    if size < 0 or size > min(_META, run.packet_room):
        return -errno.EINVAL
    if size % 4:
        return -errno.EACCES
    old = bytes(packet.data[run.packet_meta : run.packet_start])
    front = (bytes(size) + old)[-size:] if size else b""
    _renew(run, front + bytes(packet.data[run.packet_start :]), size, 0)
    return 0


@helper("xdp_adjust_tail", args="ptr u32")
def xdp_adjust_tail(run: Run, context: Pointer, delta: int) -> int:
    """0 or -errno; new bytes are zeros."""
    packet, delta = _packet(run), signed(delta, 32)
    size = len(packet.data) - run.packet_start + delta
    if size < _LEAST or delta > run.packet_tailroom:
        return -errno.EINVAL
    run.packet_tailroom -= delta
    data = bytes(packet.data)
    data = data + bytes(delta) if delta > 0 else data[: len(data) + delta]
    _renew(run, data, run.packet_start, run.packet_meta)
    return 0


def _inside(run: Run, offset: int, size: int, most: int) -> bool:
    return offset <= most and run.packet_start + offset + size <= len(_packet(run).data)


@helper("skb_load_bytes", args="ptr u32 ptr u32")
def skb_load_bytes(run: Run, context: Pointer, offset: int, target: Pointer, size: int) -> int:
    """0 or -errno; zeros on failure."""
    run.room(target, size)
    if not _inside(run, offset, size, 0x7FFFFFFF):
        run.write(target, bytes(size))
        return -errno.EFAULT
    start = run.packet_start + offset
    run.write(target, bytes(_packet(run).data[start : start + size]))
    return 0


@helper("xdp_load_bytes", args="ptr u32 ptr u32")
def xdp_load_bytes(run: Run, context: Pointer, offset: int, target: Pointer, size: int) -> int:
    """0 or -errno."""
    run.room(target, size)
    if offset > 0xFFFF or size > 0xFFFF:
        return -errno.EFAULT
    if not _inside(run, offset, size, 0xFFFF):
        return -errno.EINVAL
    start = run.packet_start + offset
    run.write(target, bytes(_packet(run).data[start : start + size]))
    return 0


def _store(run: Run, offset: int, data: bytes) -> None:
    old = _packet(run)
    start = run.packet_start + offset
    old.data[start : start + len(data)] = data


@helper("skb_store_bytes", args="ptr u32 ptr u32 u64")
def skb_store_bytes(run: Run, context: Pointer, offset: int, source: Pointer, size: int, flags: int) -> int:
    """0 or -errno; pointers into the packet end."""
    data = run.read(source, size)
    if flags & ~3:
        return -errno.EINVAL
    if not _inside(run, offset, size, 0x7FFFFFFF):
        return -errno.EFAULT
    _store(run, offset, data)
    _renew(run, bytes(_packet(run).data), run.packet_start, run.packet_meta)
    return 0


@helper("xdp_store_bytes", args="ptr u32 ptr u32")
def xdp_store_bytes(run: Run, context: Pointer, offset: int, source: Pointer, size: int) -> int:
    """0 or -errno."""
    data = run.read(source, size)
    if offset > 0xFFFF or size > 0xFFFF:
        return -errno.EFAULT
    if not _inside(run, offset, size, 0xFFFF):
        return -errno.EINVAL
    _store(run, offset, data)
    return 0


@helper("skb_pull_data", args="ptr u32")
def skb_pull_data(run: Run, context: Pointer, size: int) -> int:
    """0 or -errno; the packet lies in one piece already, but pointers into it end."""
    if run.packet_start + size > len(_packet(run).data):
        return -errno.ENOMEM
    _renew(run, bytes(_packet(run).data), run.packet_start, run.packet_meta)
    return 0


@helper("xdp_get_buff_len", args="ptr")
def xdp_get_buff_len(run: Run, context: Pointer) -> int:
    """Bytes of the packet."""
    return len(_packet(run).data) - run.packet_start


@helper("csum_diff", args="ptr u32 ptr u32 u32")
def csum_diff(run: Run, before: Pointer, before_size: int, after: Pointer, after_size: int, seed: int) -> int:
    """The checksum of RFC 1071 of what is taken out and put in, not folded to 16 bits."""
    if (before_size | after_size) & 3:
        return -errno.EINVAL
    total = seed
    for place, size, flip in ((before, before_size, 0xFFFF), (after, after_size, 0)):
        data = run.read(place, size) if size else b""
        for at in range(0, size, 2):
            total += int.from_bytes(data[at : at + 2], ORDER) ^ flip
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@helper("redirect", args="u32 u64")
def redirect(run: Run, interface: int, flags: int) -> int:
    """Notes the interface. XDP programs get ``XDP_REDIRECT``, others ``TC_ACT_REDIRECT``."""
    run.redirects.append(("", interface))
    return XDP_REDIRECT if run.is_xdp else TC_REDIRECT


@helper("redirect_map", args="map u64 u64")
def redirect_map(run: Run, table: Map, key: int, flags: int) -> int:
    """``XDP_REDIRECT``, or the action in the two low bits of the flags where the map has nothing there."""
    if not isinstance(table, HandleMap):
        raise Fault("IR349", f"redirect through {table.name}, which is a {table.spec.kind} map")
    place = (key & 0xFFFFFFFF).to_bytes(4, ORDER)
    if flags & ~0x1B:
        return 0
    if not table.has(place) and not flags & 8:
        return flags & 3
    run.redirects.append((table.name, key & 0xFFFFFFFF))
    return XDP_REDIRECT
