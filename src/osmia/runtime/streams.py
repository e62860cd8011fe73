"""Event buffers of a session: read in batches, decoded by schema, given to the sink or to the program's handlers."""

from __future__ import annotations

import time

from osmia.runtime.decode import Decoder
from osmia.runtime.formats import column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from osmia.object.spec import EventSchema
    from osmia.runtime.session import Session

_BATCH = 4_096
_BREATH = 0.005
"""Seconds to let events gather after a buffer was found nearly empty: one wake-up for a batch instead of one for each."""


class Stream:
    """One buffer map with its schema.

    :ivar buffer: its reader. :ivar seen: records delivered so far.
    """

    def __init__(self, buffer: Any, schema: EventSchema, session: Session) -> None:
        self.buffer = buffer
        self.schema = schema
        self.seen = 0
        self.decoder = Decoder(schema.layout)
        self._sink = session.sink
        handlers = _handlers(session, schema)
        self._handlers = handlers
        if not handlers:
            fields = schema.layout.fields
            shown = [at for at, field in enumerate(fields) if schema.columns.get(field.name) != "hidden"]
            self._columns = [
                column(fields[at].name, fields[at].type, schema.columns.get(fields[at].name, "")) for at in shown
            ]
            self._pick = shown if len(shown) < len(fields) else []
            self._sink.stream(schema.name, self._columns)

    def fileno(self) -> int:
        """The descriptor that is readable when events wait."""
        return int(self.buffer.fileno())

    def on_ready(self) -> None:
        """Delivers what is there; gathers a little first when only a few events wait."""
        if self.buffer.fill < 0.25:
            time.sleep(_BREATH)
        self.drain()
        self._sink.flush()

    def drain(self) -> None:
        """Delivers everything that is in the buffer now."""
        batch: list[tuple[Any, ...]] = []
        for row in self._rows():
            batch.append(row)
            if len(batch) >= _BATCH:
                self._deliver(batch)
                batch = []
        if batch:
            self._deliver(batch)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        if self.decoder.flat:
            yield from self.decoder.texts(self.buffer.read_tuples(self.schema.layout))
            return
        for record in self.buffer.read_raw():
            yield self.decoder.row(record)

    def lost(self) -> int:
        """Records that a perf buffer reports as lost; what a ring buffer refuses is counted by the program."""
        return int(getattr(self.buffer, "lost", 0))

    def close(self) -> None:
        """Frees the mapping."""
        self.buffer.close()

    def _deliver(self, records: list[tuple[Any, ...]]) -> None:
        self.seen += len(records)
        if self._handlers:
            for row in records:
                for handler in self._handlers:
                    handler(row)
            return
        if self._pick:
            records = [tuple(row[at] for at in self._pick) for row in records]
        self._sink.rows(self.schema.name, records)


def _handlers(session: Session, schema: EventSchema) -> list[Callable[[tuple[Any, ...]], None]]:
    found: list[Callable[[tuple[Any, ...]], None]] = []
    if session.program is None:
        return found
    for declared, function in session.program.handlers:
        if declared.name == schema.map_name:
            found.append(_caller(declared.event, function))
    return found


def _caller(event: Callable[..., Any], function: Callable[[Any], object]) -> Callable[[tuple[Any, ...]], None]:
    def call(row: tuple[Any, ...]) -> None:
        function(event(*row))

    return call


def open_streams(session: Session) -> list[Stream]:
    """A stream for every event buffer of the session's collection that was made."""
    from osmia.kernel.ringbuf import RingReader

    found = []
    try:
        for name, schema in session.spec.events.items():
            live = session.loaded.maps.get(name)
            if live is None:
                continue
            if live.kind == "ringbuf":
                reader: Any = RingReader(live)
            else:
                from osmia.kernel.perfbuf import PerfReader

                reader = PerfReader(live)
            found.append(PrintStream(reader, schema, session) if name == PRINTS else Stream(reader, schema, session))
    except BaseException:
        for stream in found:
            stream.close()
        raise
    return found
