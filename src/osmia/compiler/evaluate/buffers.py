"""Buffers that carry events to user space: the ring buffer and the perf event array."""

from __future__ import annotations

import errno

from osmia.compiler.evaluate.faults import Fault
from osmia.compiler.evaluate.maps import Map, Setting
from osmia.compiler.evaluate.memory import Pointer, Region
from osmia.compiler.ir import Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from osmia.object.layout import Layout
    from osmia.object.spec import MapSpec

_HEADER = 8
_LONGEST = 0xFFFFFFFF // 4
BUSY, SUBMITTED, DISCARDED = "busy", "submitted", "discarded"


class Event:
    """A record that user space would read.

    :ivar map: the buffer's name. :ivar data: its bytes. :ivar cpu: the CPU that ran.
    :ivar layout: the event's layout where the module has a schema for the buffer.
    """

    __slots__ = ("cpu", "data", "layout", "map")

    def __init__(self, map: str, data: bytes, cpu: int, layout: Layout | None) -> None:
        self.map = map
        self.data = data
        self.cpu = cpu
        self.layout = layout

    @property
    def value(self) -> Any:
        """The record decoded by its schema; the bytes where there is none or it is longer than the record."""
        if self.layout is None or self.layout.size > len(self.data):
            return self.data
        return self.layout.unpack(self.data)

    def __repr__(self) -> str:
        return f"Event({self.map!r}, {self.value!r})"


class Record:
    """A reservation in a ring."""

    __slots__ = ("cpu", "length", "region", "state")

    def __init__(self, region: Region, length: int, cpu: int) -> None:
        self.region = region
        self.length = length
        self.cpu = cpu
        self.state = BUSY


class RingMap(Map):
    """``ringbuf``: records with a header of 8 bytes, rounded up to 8, never more than size - 1 bytes unread.

    :ivar size: bytes. :ivar producer: position after the newest reservation. :ivar consumer: position of the oldest
        record that is not read. :ivar lost: reservations and outputs that did not fit.
    """

    def __init__(self, spec: MapSpec, setting: Setting) -> None:
        super().__init__(spec, setting)
        self.size = spec.max_entries or setting.ring_bytes
        self.producer = 0
        self.consumer = 0
        self.lost = 0
        self.records: list[Record] = []

    def reserve(self, size: int) -> Record | None:
        """Room for a record, or None."""
        length = (size + _HEADER + 7) // 8 * 8
        if size > _LONGEST or length > self.size or self.producer + length - self.consumer > self.size - 1:
            self.lost += 1
            return None
        region = Region(f"a record of ring {self.name}", Space.RING, bytearray(size), self.setting.kernel)
        record = Record(region, length, self.setting.cpu)
        self.producer += length
        self.records.append(record)
        self.setting.log.append((self.name, record))
        return record

    def finish(self, pointer: Pointer, submit: bool) -> None:
        """Submits or discards the record that a pointer is the start of."""
        region = pointer.region
        for record in self.records:
            if record.region is region and record.state == BUSY:
                if pointer.offset:
                    raise Fault("IR350", "a ring record is ended through a pointer that is not its start")
                record.state = SUBMITTED if submit else DISCARDED
                record.region.free(f"it was {record.state}")
                return
        raise Fault("IR350", "a ring record is ended that is not reserved", "end each record once on every way")

    def output(self, data: bytes, flags: int) -> int:
        """``ringbuf_output``."""
        if flags & ~3:
            return -errno.EINVAL
        record = self.reserve(len(data))
        if record is None:
            return -errno.EAGAIN
        record.region.data[:] = data
        record.state = SUBMITTED
        record.region.free("it was submitted")
        return 0

    def query(self, what: int) -> int:
        """``ringbuf_query``: unread bytes, size, consumer's and producer's position."""
        answers = (self.producer - self.consumer, self.size, self.consumer, self.producer)
        return answers[what] if what < len(answers) else 0

    def consume(self) -> list[bytes]:
        """Reads all records up to the first that is not ended, as user space would."""
        out = []
        while self.records and self.records[0].state != BUSY:
            record = self.records.pop(0)
            self.consumer += record.length
            if record.state == SUBMITTED:
                out.append(bytes(record.region.data))
        return out

    def forget_busy(self) -> None:
        """Records that a faulty run left behind become discarded."""
        for record in self.records:
            if record.state == BUSY:
                record.state = DISCARDED

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        return ((b"", bytes(one.region.data)) for one in list(self.records) if one.state == SUBMITTED)

    def decode_key(self, key: bytes) -> Any:
        return None

    def decode_value(self, value: bytes) -> Any:
        return value


class PerfMap(Map):
    """``perf_event_array``: every CPU has a buffer without end."""

    def __init__(self, spec: MapSpec, setting: Setting) -> None:
        super().__init__(spec, setting)
        self.sent: list[tuple[bytes, int]] = []

    def output(self, flags: int, data: bytes) -> int:
        """``perf_event_output`` without the part of the packet, which the caller has appended."""
        index = flags & 0xFFFFFFFF
        if index == 0xFFFFFFFF:
            index = self.setting.cpu
        if index >= (self.max_entries or self.setting.cpus):
            return -errno.E2BIG
        if index >= self.setting.cpus:
            return -errno.ENOENT
        if index != self.setting.cpu:
            return -errno.EOPNOTSUPP
        region = Region(f"a record of {self.name}", Space.RING, bytearray(data), self.setting.kernel)
        record = Record(region, len(data), index)
        record.state = SUBMITTED
        self.sent.append((data, index))
        self.setting.log.append((self.name, record))
        return 0

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        return ((b"", data) for data, _ in self.sent)

    def decode_key(self, key: bytes) -> Any:
        return None

    def decode_value(self, value: bytes) -> Any:
        return value
