"""Reading perf buffers: one ring per CPU, for kernels before 5.8, behind the same methods as a ring buffer's reader.

Records come in order per CPU, not across CPUs. They are not mapped twice in a row, so one that wraps around the end of
its ring is copied; all others are read where they lie. The kernel pads a record's data with up to seven bytes.
"""

from __future__ import annotations

import errno
import mmap
import os
from struct import Struct as Packer

from osmia.abi.uapi_perf import (
    PERF_COUNT_SW_BPF_OUTPUT,
    PERF_EVENT_IOC_DISABLE,
    PERF_EVENT_IOC_ENABLE,
    PERF_RECORD_LOST,
    PERF_RECORD_SAMPLE,
    PERF_SAMPLE_RAW,
    PERF_TYPE_SOFTWARE,
)
from osmia.diagnostics.errors import AttachError, RunError
from osmia.kernel import cpu, syscall
from osmia.kernel.ringbuf import _fence, batch_dtype

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self

    from osmia.kernel.maps.base import Map
    from osmia.object.layout import Layout

_PAGE = mmap.PAGESIZE
_HEAD, _TAIL = 1024 // 8, 1032 // 8
_RECORD = 8  # struct perf_event_header
_PREFIX = 12  # and the size of the data
_HEADER = Packer("=IHH")
_LOST = Packer("=QQ")
DEFAULT_PAGES = 64


class _CpuRing:
    """One CPU's ring. Positions count bytes since the beginning; ``mask`` makes offsets of them."""

    __slots__ = ("cpu", "data", "fd", "mask", "memory", "position", "words")

    def __init__(self, fd: int, cpu_number: int, pages: int) -> None:
        self.fd = fd
        self.cpu = cpu_number
        self.mask = pages * _PAGE - 1
        self.memory = mmap.mmap(fd, (pages + 1) * _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.words = memoryview(self.memory)[:_PAGE].cast("Q")
        self.data = memoryview(self.memory)[_PAGE:]
        self.position: int = self.words[_TAIL]

    def head(self) -> int:
        found: int = self.words[_HEAD]
        _fence()
        return found

    def publish(self) -> None:
        _fence()
        self.words[_TAIL] = self.position

    def piece(self, position: int, size: int) -> memoryview:
        """``size`` bytes from a position; a copy where they wrap around."""
        at = position & self.mask
        end = self.mask + 1
        if at + size <= end:
            return self.data[at : at + size]
        return memoryview(bytes(self.data[at:end]) + bytes(self.data[: at + size - end]))

    def close(self) -> None:
        for view in (self.words, self.data):
            try:  # noqa: SIM105
                view.release()
            except BufferError:
                pass  # a record's view was kept
        # Numpy arrays do not lock the mapping: it is left to the last reference instead of being closed here.
        del self.memory
        os.close(self.fd)


class PerfReader:
    """The consumer of a ``perf_event_array``: opens a ring on every CPU that is online and puts them into the map.

    Reading works as with :class:`osmia.kernel.ringbuf.RingReader`: what is given is valid until the method goes on.

    :ivar records: records read. :ivar bytes_read: their bytes. :ivar lost: records that the kernel had no room for.
    :ivar discarded: always 0.
    """

    discarded = 0

    def __init__(self, events: Map, pages: int = DEFAULT_PAGES, *, wakeup: int = 1) -> None:
        """Opens the rings.

        :param pages: size of each CPU's ring, rounded up to a power of two. :param wakeup: wake the reader after so
            many records.
        :raises MapError: MAP004 for another kind of map. :raises AttachError: HOOK013 or a permission error.
        """
        if events.kind != "perf_event_array":
            from osmia.kernel.maps.problems import unsupported

            raise unsupported(events, "reading records by CPU", "a ringbuf has its own reader")
        self.ring = events
        self.name = events.name
        self.records = self.bytes_read = self.lost = 0
        self._closed = self._reading = False
        self._typed: tuple[Layout, Any] | None = None
        self._rings: list[_CpuRing] = []
        size = 1
        while size < pages:
            size *= 2
        self.size = size * _PAGE
        import select

        self._epoll = select.epoll()
        try:
            for number in cpu.online():
                if number < events.max_entries:
                    self._open(number, size, wakeup)
        except BaseException:
            self.close()
            raise

    def _open(self, number: int, pages: int, wakeup: int) -> None:
        attr = syscall.perf_attr(
            PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT, period=1, sample_type=PERF_SAMPLE_RAW, wakeup=wakeup
        )
        try:
            fd = syscall.perf_event_open(attr, -1, number)
        except OSError as error:
            from osmia.kernel.attach.problems import perf_refused

            raise perf_refused("open a perf buffer", error) from None
        try:
            ring = _CpuRing(fd, number, pages)
        except (OSError, ValueError) as error:
            os.close(fd)
            raise AttachError(
                "HOOK013",
                f"cannot map the perf buffer of CPU {number}: {error}",
                errno=getattr(error, "errno", 0) or errno.EINVAL,
                hint="fewer pages, or a higher kernel.perf_event_mlock_kb",
            ) from None
        self._rings.append(ring)
        calls = syscall.MapCalls(self.ring.fileno(), 4, 4)
        calls.key[:], calls.value[:] = number.to_bytes(4, "little"), fd.to_bytes(4, "little")
        failed = calls.update()
        if failed:
            self.ring._failed(-failed, "put a perf buffer into")
        syscall.ioctl(fd, PERF_EVENT_IOC_ENABLE)
        self._epoll.register(fd, 1)  # EPOLLIN

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PerfReader of {self.name!r}, {len(self._rings)} CPUs, {self.records} records read, {self.lost} lost>"

    def fileno(self) -> int:
        """The descriptor to wait on: an epoll of all CPUs' rings."""
        self._check()
        return self._epoll.fileno()

    def close(self) -> None:
        """Closes the rings; programs' records then go nowhere."""
        if self._closed:
            return
        self._closed = True
        for ring in self._rings:
            try:  # noqa: SIM105
                syscall.ioctl(ring.fd, PERF_EVENT_IOC_DISABLE)
            except OSError:
                pass  # a CPU that went offline
            ring.close()
        self._rings.clear()
        self._epoll.close()

    @property
    def pending(self) -> int:
        """Bytes that wait to be read, of all CPUs."""
        self._check()
        return sum(ring.head() - ring.position for ring in self._rings)

    @property
    def fill(self) -> float:
        """How full the fullest CPU's ring is, 0 to 1."""
        self._check()
        return max((ring.head() - ring.position for ring in self._rings), default=0) / self.size

    def poll(self, timeout: float | None = None) -> bool:
        """Waits until there is something to read, for at most ``timeout`` seconds; tells whether there is."""
        self._check()
        if self.pending:
            return True
        self._epoll.poll(-1 if timeout is None else max(0.0, timeout))
        return self.pending > 0

    # Reading

    def read_raw(self) -> Iterator[memoryview]:
        """Every record there is now, as a view of its bytes and the kernel's padding of up to seven bytes."""
        self._begin()
        try:
            for ring in self._rings:
                head = ring.head()
                while ring.position < head:
                    kind, _, size = _HEADER.unpack(ring.piece(ring.position, _RECORD))
                    if not size:
                        raise self._broken(ring)
                    record = ring.piece(ring.position, size)
                    if kind == PERF_RECORD_SAMPLE:
                        length = int.from_bytes(record[_RECORD:_PREFIX], "little")
                        self.records += 1
                        self.bytes_read += length
                        yield record[_PREFIX : _PREFIX + length]
                    elif kind == PERF_RECORD_LOST:
                        self.lost += _LOST.unpack_from(record, _RECORD)[1]
                    ring.position += size
                    ring.publish()
        finally:
            self._end()

    def read_tuples(self, layout: Layout) -> Iterator[tuple[Any, ...]]:
        """Every record there is now as a tuple of the scalars of ``layout``.

        :raises RunError: KRN041, a record has another size. :raises ValueError: the layout has bitfields.
        """
        unpack, size = Packer("=" + layout.format()).unpack, layout.size
        for record in self.read_raw():
            if not size <= len(record) < size + 8:
                raise self._other_size(len(record), layout)
            yield unpack(record[:size])

    def read_batches(self, layout: Layout) -> Iterator[Any]:
        """Every record there is now, as numpy arrays with the layout's dtype, CPU by CPU; valid until the next one.

        :raises RunError: KRN041, a record has another size.
        """
        import numpy

        if self._typed is None or self._typed[0] is not layout:
            self._typed = layout, batch_dtype(numpy, layout, f"perf buffer '{self.name}'")
        dtype = self._typed[1]
        # The data and its size are padded together.
        stride = _RECORD + (layout.size + 4 + 7 & ~7)
        self._begin()
        try:
            for ring in self._rings:
                head = ring.head()
                while ring.position < head:
                    at = ring.position & ring.mask
                    count = min(head - ring.position, ring.mask + 1 - at) // stride
                    good = _plain_records(numpy, ring, at, count, stride) if count else 0
                    if good:
                        batch = numpy.ndarray((good,), dtype, ring.memory, _PAGE + at + _PREFIX, (stride,))
                        step = good * stride
                    else:
                        found, step = self._one(ring, layout, stride)
                        if found is not None:
                            batch = numpy.ndarray((1,), dtype, found)
                            good = 1
                    if good:
                        yield batch
                        self.records += good
                        self.bytes_read += good * layout.size
                    ring.position += step
                    ring.publish()
        finally:
            self._end()

    def drain(self, callback: Callable[[Any], object], layout: Layout) -> int:
        """Calls back with every batch; see :meth:`osmia.kernel.ringbuf.RingReader.drain`.

        :raises RunError: KRN040 when the callback kept an array that lies in the buffer.
        """
        import sys

        before = self.records
        for batch in self.read_batches(layout):
            held = sys.getrefcount(batch)
            callback(batch)
            if sys.getrefcount(batch) > held and isinstance(batch.base, mmap.mmap):
                raise RunError(
                    "KRN040",
                    f"an array of perf buffer '{self.name}' was kept after its batch",
                    hint="it lies in the buffer, and will be overwritten: keep batch.copy() instead",
                )
        return self.records - before

    def skip(self, layout: Layout | None = None) -> int:
        """Takes out every record there is now without looking at it; the number of records."""
        before = self.records
        for _ in self.read_raw() if layout is None else self.read_batches(layout):
            pass
        return self.records - before

    def _one(self, ring: _CpuRing, layout: Layout, stride: int) -> tuple[bytes | None, int]:
        """The data of the next record if it is a sample (it wraps, or has strange neighbours), and the step to take."""
        kind, _, size = _HEADER.unpack(ring.piece(ring.position, _RECORD))
        if not size:
            raise self._broken(ring)
        record = ring.piece(ring.position, size)
        if kind == PERF_RECORD_LOST:
            self.lost += _LOST.unpack_from(record, _RECORD)[1]
        if kind != PERF_RECORD_SAMPLE:
            return None, size
        if size != stride:
            raise self._other_size(int.from_bytes(record[_RECORD:_PREFIX], "little"), layout)
        return bytes(record[_PREFIX : _PREFIX + layout.size]), size

    def _other_size(self, length: int, layout: Layout) -> RunError:
        return RunError(
            "KRN041",
            f"a record of perf buffer '{self.name}' has {length} bytes with padding, its layout has {layout.size}",
            hint="records of several sizes are read one by one, with read_raw()",
        )

    def _broken(self, ring: _CpuRing) -> RunError:
        return RunError("KRN041", f"perf buffer '{self.name}' of CPU {ring.cpu} holds a record of no size")

    def _check(self) -> None:
        if self._closed:
            raise RunError("KRN042", f"the reader of perf buffer '{self.name}' is closed")

    def _begin(self) -> None:
        self._check()
        if self._reading:
            raise RunError(
                "KRN042",
                f"perf buffer '{self.name}' is being read already",
                hint="finish (or close) one iterator before the next; a buffer has one reader",
            )
        self._reading = True

    def _end(self) -> None:
        self._reading = False


def _plain_records(numpy: Any, ring: _CpuRing, at: int, count: int, stride: int) -> int:
    """How many of the first ``count`` records are samples of ``stride`` bytes."""
    kinds = numpy.ndarray((count,), "=u4", ring.memory, _PAGE + at, (stride,))
    sizes = numpy.ndarray((count,), "=u2", ring.memory, _PAGE + at + 6, (stride,))
    right = (kinds == PERF_RECORD_SAMPLE) & (sizes == stride)
    return count if right.all() else int(right.argmin())
