"""Reading ring buffers: records decoded where they lie, in batches.

A ring buffer (Linux 5.8) is mapped twice in a row, so that a record never wraps: whatever is between the consumer's and
the producer's position is one piece of memory. Each record has a header of 8 bytes, whose first half is the length with
two flags: *busy* while a program writes it, *discarded* when it thought better of it. When all records have one size
they have one stride, and the records are an array: a numpy view needs no copy and no loop.

Order of memory accesses: the kernel writes a record, then clears the busy flag, and publishes the producer's position
after the record's header. The reader must not see them in another order. x86 keeps loads in order, and stores behind
loads. Elsewhere a fence is needed: giving up and taking a lock, which is a release and an acquire operation, is
one (:func:`_fence`).
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from itertools import compress
from struct import Struct as Packer

from osmia.diagnostics.errors import RunError
from osmia.kernel.maps.base import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self

    from osmia.object.layout import Layout

BUSY, DISCARDED = 1 << 31, 1 << 30
HEADER = 8
_LENGTH = DISCARDED - 1
_ANY_FATE = 0xFFFFFFFF ^ DISCARDED  # leaves the length and the busy flag
_PAGE = mmap.PAGESIZE
_CHUNK = 256 << 10
_WORTH = 64  # records at the start of a run that are worth a view of their own
_STRONG = os.uname().machine in ("x86_64", "i686")


def _no_fence() -> None:
    """x86 keeps the order by itself."""


def _make_fence() -> Callable[[], None]:
    if _STRONG:
        return _no_fence
    from _thread import allocate_lock

    def fence() -> None:
        lock = allocate_lock()  # one of its own: readers in several threads must not release each other's
        lock.acquire()
        lock.release()
        lock.acquire()

    return fence


_fence = _make_fence()


class RingReader:
    """The consumer of a ring buffer; there can be only one per ring.

    What the reading methods give lies in the ring itself and is valid until the method goes on: the next step of an
    iterator, the return of a callback. Keep copies (``array.copy()``, ``bytes(view)``).

    :ivar records: records read. :ivar bytes_read: their bytes, without headers. :ivar discarded: records that programs
        took back. :ivar lost: always 0: a program learns at once that the ring is full, and counts it itself.
    """

    lost = 0

    def __init__(self, ring: Map) -> None:
        """Maps the ring of a live map of kind ``ringbuf``; the map stays open while the reader is used.

        :raises MapError: MAP004 for another kind of map, MAP007 when it cannot be mapped.
        """
        if ring.kind != "ringbuf":
            from osmia.kernel.maps.problems import unsupported

            raise unsupported(
                ring, "reading records", "records come from maps of the kinds ringbuf and perf_event_array"
            )
        self.ring = ring
        self.name = ring.name
        self.size = ring.max_entries
        self.records = 0
        self.bytes_read = 0
        self.discarded = 0
        self._reading = False
        self._typed: tuple[Layout, Any] | None = None
        self._mask = self.size - 1
        fd = ring.fileno()
        try:
            self._consumer = mmap.mmap(fd, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            self._memory = mmap.mmap(fd, _PAGE + 2 * self.size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)
        except (OSError, ValueError) as error:
            ring._failed(getattr(error, "errno", 0) or errno.EINVAL, "map")
        # A memoryview reads and writes a machine word at once, which the kernel relies on.
        self._consumed = memoryview(self._consumer).cast("Q")
        self._produced = memoryview(self._memory)[:8].cast("Q")
        self._view = memoryview(self._memory)[_PAGE:]
        self._words = self._view.cast("I")
        self._position: int = self._consumed[0]
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RingReader of {self.name!r}, {self.size} bytes, {self.records} records read>"

    def fileno(self) -> int:
        """The descriptor to wait on: readable when there is a record (level-triggered epoll)."""
        return self.ring.fileno()

    def close(self) -> None:
        """Unmaps the ring. Arrays that were kept against the rules stay readable, if of no use."""
        if self._closed:
            return
        self._closed = True
        for view in (self._consumed, self._produced, self._words, self._view):
            try:  # noqa: SIM105
                view.release()
            except BufferError:
                pass  # a record's view was kept; the memory goes when it does
        self._consumer.close()
        # Numpy arrays do not lock the mapping: it is left to the last reference instead of being closed here.
        del self._memory

    @property
    def fill(self) -> float:
        """How full the ring is, 0 to 1."""
        return self.pending / self.size

    @property
    def pending(self) -> int:
        """Bytes between the consumer and the producers, records being written included."""
        self._check()
        return int(self._produced[0]) - self._position

    def poll(self, timeout: float | None = None) -> bool:
        """Waits until there is something to read, for at most ``timeout`` seconds; tells whether there is."""
        if self.pending:
            return True
        import select

        waiter = select.poll()
        waiter.register(self.fileno(), select.POLLIN)
        return bool(waiter.poll(None if timeout is None else max(0, timeout * 1000)))

    # Reading

    def read_raw(self) -> Iterator[memoryview]:
        """Every record there is now, of any size, as a view of its bytes; the ring moves on in steps."""
        self._begin()
        words, view, mask, fence = self._words, self._view, self._mask, None if _STRONG else _fence
        position = published = self._position
        records = total = 0
        try:
            limit = self._limit()
            while position < limit:
                offset = position & mask
                length = words[offset >> 2]
                if fence is not None:
                    fence()
                if length > _LENGTH:
                    if length & BUSY:
                        return
                    self.discarded += 1
                    length &= _LENGTH
                else:
                    yield view[offset + 8 : offset + 8 + length]
                    records += 1
                    total += length
                position += length + 15 & -8  # with the header, rounded up to eight
                if position - published >= _CHUNK:
                    self._position = published = position
                    self._publish()
        finally:
            self.records += records
            self.bytes_read += total
            self._position = position
            self._end()

    def read_tuples(self, layout: Layout) -> Iterator[tuple[Any, ...]]:
        """Every record there is now as a tuple of the scalars of ``layout``; for small batches, without numpy.

        Texts come as ``bytes`` with what follows their NUL.

        :raises RunError: KRN041, a record has another size. :raises ValueError: the layout has bitfields.
        """
        size, stride = layout.size, HEADER + (layout.size + 7 & ~7)
        padding = stride - HEADER - size
        unpack = Packer(f"={HEADER}x{layout.format()}" + (f"{padding}x" if padding else "")).iter_unpack
        self._begin()
        try:
            for offset, count, kept in self._runs(size, stride):
                found = unpack(self._view[offset : offset + count * stride])
                yield from found if kept is None else compress(found, kept)
                self._advance(count, count if kept is None else sum(kept), size, stride)
        finally:
            self._end()

    def read_batches(self, layout: Layout) -> Iterator[Any]:
        """Every record there is now, as numpy arrays with the layout's dtype. No copies (but where programs took
        records back in between): an array lies in the ring and is valid until the next one is asked for.

        :raises RunError: KRN041, a record has another size.
        """
        self._begin()
        try:
            for batch, count, size, stride in self._batches(layout):
                yield batch
                self._advance(count, len(batch), size, stride)
        finally:
            self._end()

    def drain(self, callback: Callable[[Any], object], layout: Layout) -> int:
        """Calls back with every batch that :meth:`read_batches` gives, and makes sure that none of it is kept.

        :return: the number of records.
        :raises RunError: KRN040 when the callback kept an array that lies in the ring, or a part of it; the records
            of that batch are then not taken out of the ring.
        """
        before = self.records
        self._begin()
        try:
            for batch, count, size, stride in self._batches(layout):
                taken = len(batch)
                held = sys.getrefcount(batch)
                callback(batch)
                if sys.getrefcount(batch) > held and batch.base is self._memory:
                    raise RunError(
                        "KRN040",
                        f"an array of ring buffer '{self.name}' was kept after its batch",
                        hint="it lies in the ring, and will be overwritten: keep batch.copy() instead",
                    )
                self._advance(count, taken, size, stride)
        finally:
            self._end()
        return self.records - before

    def skip(self, layout: Layout | None = None) -> int:
        """Takes out every record there is now without looking at it; the number of records.

        :param layout: of the records, if they have one size, which is much faster.
        """
        before = self.records
        if layout is None:
            for _ in self.read_raw():
                pass
            return self.records - before
        import numpy

        size, stride = layout.size, HEADER + (layout.size + 7 & ~7)
        self._begin()
        try:
            for _, count, kept in self._array_runs(numpy, size, stride):
                self._advance(count, count if kept is None else int(kept.sum()), size, stride)
        finally:
            self._end()
        return self.records - before

    # Runs: pieces of the ring in which every record is complete and has one size

    def _batches(self, layout: Layout) -> Iterator[tuple[Any, int, int, int]]:
        import numpy

        if self._typed is None or self._typed[0] is not layout:
            self._typed = layout, batch_dtype(numpy, layout, f"ring buffer '{self.name}'")
        dtype = self._typed[1]
        size, stride = layout.size, HEADER + (layout.size + 7 & ~7)
        for offset, count, kept in self._array_runs(numpy, size, stride):
            batch = numpy.ndarray((count,), dtype, self._memory, _PAGE + offset + HEADER, (stride,))
            yield (batch if kept is None else batch[kept]), count, size, stride

    def _runs(self, size: int, stride: int) -> Iterator[tuple[int, int, list[bool] | None]]:
        """Offset and number of records of each run, and which to keep (None: all); whoever iterates advances."""
        limit = self._limit()
        most = max(1, min(_CHUNK, self.size // 4) // stride)
        while self._position < limit:
            count = min((limit - self._position) // stride, most)
            offset = self._position & self._mask
            lengths = self._words[offset >> 2 : (offset + count * stride) >> 2 : stride >> 2].tolist() if count else []
            _fence()
            if count and lengths.count(size) == count:
                yield offset, count, None
                continue
            same = _leading(lengths, size)
            if same:
                yield offset, same, [length == size for length in lengths[:same]]
            elif not self._odd_one(size):
                return

    def _array_runs(self, numpy: Any, size: int, stride: int) -> Iterator[tuple[int, int, Any]]:
        """As :meth:`_runs`, with numpy looking at the headers."""
        limit = self._limit()
        most = max(1, min(_CHUNK, self.size // 4) // stride)
        while self._position < limit:
            count = min((limit - self._position) // stride, most)
            offset = self._position & self._mask
            same = good = 0
            if count:
                lengths = numpy.ndarray((count,), "=u4", self._memory, _PAGE + offset, (stride,))
                right = lengths == size
                good = count if right.all() else int(right.argmin())
                same = good
                if good < min(count, _WORTH):
                    seen = lengths.copy()  # one look: a record may be finished between two
                    right = seen == size
                    alike = seen & _ANY_FATE == size
                    same = count if alike.all() else int(alike.argmin())
                    good = count if right.all() else int(right.argmin())
                _fence()
            if same > good:
                yield offset, same, right[:same]
            elif good:
                yield offset, good, None
            elif not self._odd_one(size):
                return

    def _odd_one(self, size: int) -> bool:
        """Deals with a record that is no plain one of ``size`` bytes; False when reading must stop."""
        length = self._words[(self._position & self._mask) >> 2]
        _fence()
        if length & BUSY:
            return False
        if length & DISCARDED:
            self.discarded += 1
            self._position += HEADER + ((length & _LENGTH) + 7 & ~7)
            self._publish()
            return True
        if length == size:
            return True  # it was finished a moment ago
        raise RunError(
            "KRN041",
            f"a record of ring buffer '{self.name}' has {length & _LENGTH} bytes, its layout has {size}",
            hint="records of several sizes are read one by one, with read_raw()",
        )

    def _advance(self, count: int, taken: int, size: int, stride: int) -> None:
        """Moves on by ``count`` places, of which ``taken`` were records."""
        self.records += taken
        self.bytes_read += taken * size
        self.discarded += count - taken
        self._position += count * stride
        self._publish()

    def _limit(self) -> int:
        limit: int = self._produced[0]
        _fence()
        return limit

    def _publish(self) -> None:
        _fence()
        if not self._closed:
            self._consumed[0] = self._position

    def _check(self) -> None:
        if self._closed:
            raise RunError("KRN042", f"the reader of ring buffer '{self.name}' is closed")

    def _begin(self) -> None:
        self._check()
        if self._reading:
            raise RunError(
                "KRN042",
                f"ring buffer '{self.name}' is being read already",
                hint="finish (or close) one iterator before the next; a ring has one reader",
            )
        self._reading = True

    def _end(self) -> None:
        self._reading = False
        self._publish()


def batch_dtype(numpy: Any, layout: Layout, what: str) -> Any:
    """The dtype of a batch's records. Making one costs as much as reading hundreds of records: keep it.

    :raises RunError: KRN041 for a layout that is an array by itself.
    """
    dtype = numpy.dtype(layout.dtype())
    if dtype.itemsize != layout.size or dtype.subdtype is not None:
        raise RunError("KRN041", f"records of {what} are structs or scalars, not {layout}")
    return dtype


def _leading(lengths: list[int], size: int) -> int:
    """How many of the first lengths are ``size``, discarded or not."""
    for index, length in enumerate(lengths):
        if length & _ANY_FATE != size:
            return index
    return len(lengths)
