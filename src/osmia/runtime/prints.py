"""What kernel functions print: values from the kernel, formatted here by Python's own rules."""

from __future__ import annotations

from osmia.object.layout import from_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from osmia.runtime.session import Session

PRINTS = "osmia_prints"
"""The ring that ``print`` uses; the formats are ``extras["prints"]``, found by the number each record begins with."""


_CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}


class PrintStream:
    """The stream of printed lines. It gathers pieces until a line is complete, as a terminal would.

    :ivar seen: records delivered so far.
    """

    def __init__(self, reader: Any, session: Session) -> None:
        self.buffer = reader
        self.seen = 0
        self._sink = session.sink
        formats = session.spec.extras.get("prints", ())
        self._formats = {int(row["id"]): (row["pieces"], from_plain(row["layout"])) for row in formats}
        self._partial = ""

    def fileno(self) -> int:
        """The descriptor that is readable when lines wait."""
        return int(self.buffer.fileno())

    def on_ready(self) -> None:
        """Prints what is there."""
        self.drain()
        self._sink.flush()

    def drain(self) -> None:
        """Prints everything that is in the buffer now."""
        for record in self.buffer.read_raw():
            self.seen += 1
            self._partial += self._text(record)
            while "\n" in self._partial:
                line, _, self._partial = self._partial.partition("\n")
                self._sink.text(line)

    def lost(self) -> int:
        """Always 0: what the ring refuses is counted by the program."""
        return 0

    def close(self) -> None:
        """Prints an unfinished line and frees the mapping."""
        if self._partial:
            self._sink.text(self._partial)
            self._partial = ""
        self.buffer.close()

    def _text(self, record: memoryview) -> str:
        number = int.from_bytes(record[:4], "little")
        pieces, layout = self._formats[number]
        values = layout.unpack(record)[1:]
        shown = []
        for piece in pieces:
            if isinstance(piece, str):
                shown.append(piece)
                continue
            at, spec, conversion = piece
            value = values[at]
            if conversion:
                value = _CONVERSIONS[conversion](value)
            shown.append(format(value, spec))
        return "".join(shown)
