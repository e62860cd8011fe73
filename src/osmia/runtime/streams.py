"""Event buffers of a session: read in batches, decoded by schema, given to the program's handlers or to the sink.

Three ways, from the fastest: numpy arrays that lie in the buffer itself, for ``@prog.on_batch`` and for sinks that take
columns; rows as tuples, for text, JSON and CSV; one object for an event, for ``@prog.on``.
"""

from __future__ import annotations

import time
from itertools import islice

from osmia.runtime.decode import Decoder
from osmia.runtime.formats import column
from osmia.runtime.prints import PRINTS, PrintStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from osmia.object.spec import EventSchema
    from osmia.runtime.session import Session

_BATCH = 4_096
_BREATH = 0.010
_BURST = 256e6
_SHORTEST = 50e-6
_LITTLE, _MUCH = 0.25, 0.5


class Stream:
    """One buffer map with its schema.

    :ivar buffer: its reader. :ivar schema: what its records are. :ivar seen: records delivered so far.
    """

    def __init__(self, buffer: Any, schema: EventSchema, session: Session) -> None:
        self.buffer = buffer
        self.schema = schema
        self.seen = 0
        self._sink = session.sink
        self._breath = self._longest = breath(buffer.size)
        self._batch_handlers = _declared(session, "batch_handlers", schema)
        self._handlers = [
            (Decoder(declared.event_layout, factory=declared.event), function)
            for declared, function in _declared(session, "handlers", schema)
        ]
        self._decoder: Decoder | None = None
        if not self._handlers and not self._batch_handlers:
            self._decoder = self._announce()
        # Records with bitfields are no columns of numbers.
        decoders = [self._decoder] if self._decoder is not None else [decoder for decoder, _ in self._handlers]
        regular = all(decoder.regular for decoder in decoders)
        to_sink = self._decoder is not None and self._sink.takes_batches and regular
        self._batches = to_sink or bool(self._batch_handlers)

    def fileno(self) -> int:
        """The descriptor that is readable when events wait."""
        return int(self.buffer.fileno())

    def on_ready(self) -> None:
        """Delivers what is there; gathers a little first when only a few events wait."""
        if self._breath and self.buffer.fill < _LITTLE:
            time.sleep(self._breath)
            gathered = self.buffer.fill
            if gathered > _MUCH:
                self._breath /= 2
            elif gathered < _LITTLE:
                self._breath = min(self._longest, self._breath * 1.25)
        self.drain()
        self._sink.flush()

    def rest_at_most(self, seconds: float) -> None:
        """Bounds the time to gather events: what the session's other buffers can bear."""
        self._longest = min(self._longest, seconds)
        self._breath = min(self._breath, self._longest)

    def drain(self) -> None:
        """Delivers everything that is in the buffer now.

        :raises RunError: KRN040 when a handler kept an array that lies in the buffer.
        """
        if self._batches:
            self.buffer.drain(self._deliver_batch, self.schema.layout)
        elif self._decoder is not None:
            self._deliver_rows(self._decoder)
        else:
            self._deliver_objects()

    def lost(self) -> int:
        """Records that a perf buffer reports as lost; what a ring buffer refuses is counted by the program."""
        return int(self.buffer.lost)

    def close(self) -> None:
        """Frees the mapping."""
        self.buffer.close()

    # -- ways of delivery -------------------------------------------------------------------------------------------

    def _announce(self) -> Decoder:
        """Tells the sink the columns to expect, hidden ones left out."""
        layout, shows = self.schema.layout, self.schema.columns
        shown = [at for at, field in enumerate(layout.fields) if shows.get(field.name) != "hidden"]
        fields = [layout.fields[at] for at in shown]
        self._sink.stream(
            self.schema.name, [column(field.name, field.type, shows.get(field.name, "")) for field in fields]
        )
        return Decoder(layout, shown if len(shown) < len(layout.fields) else None)

    def _deliver_batch(self, batch: Any) -> None:
        self.seen += len(batch)
        for _, function in self._batch_handlers:
            function(batch)
        if self._decoder is not None:
            self._sink.batch(self.schema.name, batch)
        if self._handlers:
            data = batch.tobytes()
            for decoder, function in self._handlers:
                for event in decoder.unpack(data):
                    function(event)

    def _deliver_rows(self, decoder: Decoder) -> None:
        rows = iter(self._decoded(decoder))
        name, sink = self.schema.name, self._sink
        while batch := list(islice(rows, _BATCH)):
            self.seen += len(batch)
            sink.rows(name, batch)

    def _deliver_objects(self) -> None:
        before = self.buffer.records
        try:
            if len(self._handlers) == 1:
                ((decoder, function),) = self._handlers
                for event in self._decoded(decoder):
                    function(event)
                return
            made = [(decoder.convert, function) for decoder, function in self._handlers]
            for values in self.buffer.read_tuples(self.schema.layout):
                for convert, function in made:
                    function(convert(values))
        finally:
            self.seen += self.buffer.records - before

    def _decoded(self, decoder: Decoder) -> Iterable[Any]:
        if decoder.regular:
            return decoder.rows(self.buffer.read_tuples(self.schema.layout))
        return decoder.singles(self.buffer.read_raw())


def breath(size: int) -> float:
    """Seconds to let events gather after a nearly empty buffer of ``size`` bytes became readable.

    One wake-up then serves a batch instead of a single event. A buffer must not overflow meanwhile, not even in a burst
    of 256 MB/s, some three million small events a second; so small buffers are read at once. Where events keep coming
    faster than that, the stream sleeps less.
    """
    seconds = min(_BREATH, size / _BURST)
    return seconds if seconds >= _SHORTEST else 0.0


def _declared(session: Session, kind: str, schema: EventSchema) -> list[tuple[Any, Callable[[Any], object]]]:
    """The program's handlers of a kind for this buffer: (declaration of the buffer, function)."""
    rows = getattr(session.program, kind, ())
    return [(declared, function) for declared, function in rows if declared.name == schema.map_name]


def open_streams(session: Session) -> list[Any]:
    """A stream for every event buffer of the session's collection that was made, and one for what programs print."""
    found: list[Any] = []
    try:
        for name, schema in session.spec.events.items():
            live = session.loaded.maps.get(name)
            if live is not None:
                found.append(_opened(live, lambda reader: Stream(reader, schema, session)))  # noqa: B023 - called now
        if len(found) > 1:
            shortest = min(breath(stream.buffer.size) for stream in found) / len(found)
            for stream in found:
                stream.rest_at_most(shortest)
        prints = session.loaded.maps.get(PRINTS)
        if prints is not None:
            found.append(_opened(prints, lambda reader: PrintStream(reader, session)))
    except BaseException:
        for stream in found:
            stream.close()
        raise
    return found


def _opened(live: Any, make: Callable[[Any], Any]) -> Any:
    if live.kind == "ringbuf":
        from osmia.kernel.ringbuf import RingReader

        reader: Any = RingReader(live)
    else:
        from osmia.kernel.perfbuf import PerfReader

        reader = PerfReader(live)
    try:
        return make(reader)
    except BaseException:
        reader.close()
        raise
