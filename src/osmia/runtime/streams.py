"""Event buffers of a session: read in batches, decoded by schema, given to the sink or to the program's handlers."""

from __future__ import annotations

import time

from osmia.runtime.decode import Decoder
from osmia.runtime.formats import column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from osmia.object.spec import EventSchema
    from osmia.runtime.session import Session

_BREATH = 0.005
"""Seconds to let events gather after a buffer was found nearly empty: one wake-up for a batch instead of one for each."""


class Stream:
    """One buffer map with its schema.

    :ivar seen: records delivered so far.
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
        if self.buffer.fill() < 0.25:
            time.sleep(_BREATH)
        self.drain()
        self._sink.flush()

    def drain(self) -> None:
        """Delivers everything that is in the buffer now."""
        self.seen += self.buffer.consume(self._deliver)

    def lost(self) -> int:
        """Records that a perf buffer reports as lost; what a ring buffer refuses is counted by the program."""
        return int(getattr(self.buffer, "lost", 0))

    def close(self) -> None:
        """Frees the mapping."""
        self.buffer.close()

    def _deliver(self, records: list[tuple[Any, ...]]) -> None:
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
