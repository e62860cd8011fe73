"""Simulated memory: regions, pointers that know their region, and address spaces.

Programs reach regions through :class:`Pointer`, which keeps the region it came from however it is moved, so that every
access is checked against exactly that piece of memory. A region gets a number for its address only when a program asks
(comparing pointers, converting one to an integer, storing one in memory); addresses are the same in every evaluation.
"""

from __future__ import annotations

import sys
from bisect import bisect_right, insort

from osmia.compiler.evaluate.faults import Fault
from osmia.compiler.ir import Space
from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.object.layout import Layout

ORDER = sys.byteorder
U64_MASK = (1 << 64) - 1
_GAP = 4096


class Region:
    """A piece of memory.

    :ivar space: what kind of memory it is. :ivar data: its bytes. :ivar writable: programs may store to it.
    :ivar dead: why it may not be used any more, ``""`` while it may. :ivar target: what a region stands for that is no
        memory: an inner map. :ivar home: the address space that gives it an address on demand.
    """

    __slots__ = ("_base", "data", "dead", "home", "name", "space", "target", "writable")

    def __init__(
        self, name: str, space: Space, data: bytearray, home: AddressSpace, writable: bool = True, target: object = None
    ) -> None:
        self.name = name
        self.space = space
        self.data = data
        self.home = home
        self.writable = writable
        self.dead = ""
        self.target = target
        self._base = 0

    @property
    def base(self) -> int:
        """The address, given out at the first question."""
        if not self._base:
            self._base = self.home.assign(self)
        return self._base

    def free(self, why: str) -> None:
        """Ends its life: later accesses are faults."""
        self.dead = why
        if self._base:
            self.home.forget(self._base)

    def __repr__(self) -> str:
        return f"<{self.space.value} memory {self.name}, {len(self.data)} bytes>"


class Pointer:
    """An address.

    ``region`` and an offset in it; without a region, ``offset`` is the address itself (0 is null), as kernel and user
    pointers are. ``low`` and ``high`` are the proven part of a packet.
    """

    __slots__ = ("high", "low", "offset", "region")

    def __init__(self, region: Region | None, offset: int, low: int = 0, high: int = 0) -> None:
        self.region = region
        self.offset = offset
        self.low = low
        self.high = high

    @property
    def null(self) -> bool:
        """Whether this is the null pointer."""
        return self.region is None and self.offset == 0

    @property
    def address(self) -> int:
        """The address as a number of 64 bits."""
        return self.offset if self.region is None else (self.region.base + self.offset) & U64_MASK

    def moved(self, by: int) -> Pointer:
        """The address ``by`` bytes further, in the same region."""
        offset = self.offset + by
        return Pointer(self.region, offset & U64_MASK if self.region is None else offset, self.low, self.high)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pointer):
            return NotImplemented
        if self.region is other.region:
            return self.offset == other.offset
        return self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        if self.region is None:
            return f"<pointer {self.offset:#x}>" if self.offset else "<null pointer>"
        return f"<pointer to {self.region.name}+{self.offset}>"


NULL = Pointer(None, 0)


class AddressSpace:
    """Addresses and what lies there: one for the kernel, one for user memory."""

    def __init__(self, space: Space, start: int) -> None:
        self.space = space
        self._next = start
        self._bases: list[int] = []
        self._regions: dict[int, Region] = {}

    def map(self, data: bytes | int, address: int | None = None, name: str = "", writable: bool = True) -> int:
        """Puts bytes (or so many zeros) at an address, or at a free one; returns it.

        :raises UsageError: IR357: something lies there already, or the address is no address.
        """
        content = bytearray(data)
        region = Region(name or f"{self.space.value} memory", self.space, content, self, writable)
        if address is None:
            return region.base
        end = address + max(len(content), 1)
        if not 0 < address <= end <= 1 << 64:
            raise UsageError("IR357", f"{address:#x} is no address for {len(content)} bytes")
        at = bisect_right(self._bases, address)
        before = self._regions[self._bases[at - 1]] if at else None
        if (before is not None and before.base + len(before.data) > address) or (
            at < len(self._bases) and self._bases[at] < end
        ):
            raise UsageError("IR357", f"there is other memory at {address:#x} already", hint="write() changes it")
        region._base = address
        insort(self._bases, address)
        self._regions[address] = region
        return address

    def place(self, layout: Layout, value: Any, address: int | None = None, name: str = "") -> int:
        """Puts a Python value, packed by its layout; returns the address."""
        return self.map(layout.pack(value), address, name or str(layout))

    def unmap(self, address: int) -> None:
        """Takes away what was mapped at exactly that address; reads there fault from now on."""
        region = self._regions.get(address)
        if region is None:
            raise UsageError("IR357", f"nothing is mapped at {address:#x}")
        region.free("it was unmapped")

    def assign(self, region: Region) -> int:
        """A free address for a region."""
        base = self._next
        while True:
            end = base + len(region.data) + _GAP
            at = bisect_right(self._bases, end)
            before = self._regions[self._bases[at - 1]] if at else None
            if before is None or before.base + len(before.data) < base:
                break
            base = -(-(before.base + len(before.data) + _GAP) // _GAP) * _GAP
        self._next = -(-end // _GAP) * _GAP
        insort(self._bases, base)
        self._regions[base] = region
        return base

    def forget(self, base: int) -> None:
        """Nothing lies there any more."""
        del self._regions[base]
        del self._bases[bisect_right(self._bases, base) - 1]

    def find(self, address: int) -> Pointer | None:
        """The region that has an address, its end included."""
        at = bisect_right(self._bases, address)
        if not at:
            return None
        region = self._regions[self._bases[at - 1]]
        offset = address - region.base
        return Pointer(region, offset) if offset <= len(region.data) else None

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes at an address, None where any of them is missing."""
        out = bytearray()
        while len(out) < size:
            found = self.find(address + len(out))
            if found is None or found.region is None or found.offset == len(found.region.data):
                return None
            out += found.region.data[found.offset : found.offset + size - len(out)]
        return bytes(out)

    def read_text(self, address: int, limit: int) -> bytes | None:
        """The bytes up to the first NUL, which is left out, at most ``limit``; None where one of them is missing."""
        out = bytearray()
        while len(out) < limit:
            found = self.find(address + len(out))
            if found is None or found.region is None or found.offset == len(found.region.data):
                return None
            piece = found.region.data[found.offset : found.offset + limit - len(out)]
            end = piece.find(0)
            if end >= 0:
                return bytes(out + piece[:end])
            out += piece
        return bytes(out)

    def write(self, address: int, data: bytes) -> bool:
        """Stores bytes at an address; false, and nothing changed, where any of it is missing."""
        if self.read(address, len(data)) is None:
            return False
        done = 0
        while done < len(data):
            found = self.find(address + done)
            if found is None or found.region is None:
                return False
            room = len(found.region.data) - found.offset
            piece = data[done : done + room]
            found.region.data[found.offset : found.offset + len(piece)] = piece
            done += len(piece)
        return True


_ALLOWED = {Space.STACK: (Space.STACK, Space.MAP)}
"""Scratch memory, a map value, may stand in for the stack."""


def locate(pointer: Pointer, size: int, write: bool, space: Space | None = None) -> tuple[bytearray, int]:
    """The bytes and the offset that an access of ``size`` bytes touches.

    :param space: the memory that the pointer's type promises, None where any memory will do.
    :raises Fault: the access is not allowed.
    """
    region = pointer.region
    verb = "store to" if write else "load from"
    if region is None:
        if pointer.offset == 0:
            raise Fault("IR342", f"{verb} a null pointer", "branch with br.nonnull first")
        raise Fault("IR343", f"{verb} {pointer.offset:#x}, which is no memory of this program", "use a probe read")
    if region.dead:
        raise Fault("IR343", f"{verb} {region.name}, which is gone: {region.dead}")
    if region.target is not None:
        raise Fault("IR343", f"{verb} {region.name}, which is no memory", "pass it to a map helper")
    if space is not None and space is not Space.MEM and region.space not in _ALLOWED.get(space, (space,)):
        raise Fault("IR343", f"the pointer's type says {space.value}, and it points to {region.name}")
    start = pointer.offset
    if region.space is Space.PACKET and not pointer.low <= start <= start + size <= pointer.high:
        proven = f"bytes {pointer.low} to {pointer.high}" if pointer.high > pointer.low else "nothing"
        what = f"{verb} {size} bytes at {start} of the packet, of which {proven} is proven"
        raise Fault("IR345", what, "use br.packet")
    if start < 0 or start + size > len(region.data):
        raise Fault("IR341", f"{verb} {size} bytes at offset {start} of {region.name}, which has {len(region.data)}")
    if write and not region.writable:
        raise Fault("IR344", f"store to {region.name}, which programs may only read")
    return region.data, start
