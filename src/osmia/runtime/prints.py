"""What kernel functions print: values from a buffer of their own, formatted here by Python's own rules.

Each ``print`` of a program has a number and a layout of its own; a record begins with the number. The collection's
extras tell for each number the pieces of its text: constant text, or the number of a value, its format and conversion.
"""

from __future__ import annotations

import time

from osmia.diagnostics import RunError, UsageError
from osmia.object.layout import Array, Field, Struct, from_plain
from osmia.object.spec import EventSchema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from osmia.object.layout import Layout
    from osmia.runtime.session import Session

PRINTS = "osmia_prints"
"""The ring that ``print`` uses."""

_CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}
_BREATH = 0.001


class PrintStream:
    """The lines that programs print. Pieces gather until a line is complete, as on a terminal.

    :ivar buffer: its reader. :ivar schema: for its name only; the records have many layouts. :ivar seen: records
        delivered so far. :ivar unformatted: values that did not take their format and are shown without it.
    """

    def __init__(self, buffer: Any, session: Session) -> None:
        """Prepares all formats of the session's collection.

        :raises UsageError: RUN015, a format does not fit its value.
        """
        self.buffer = buffer
        self.schema = EventSchema("print", PRINTS, Struct("print", (), 0, 1))
        self.seen = 0
        self.unformatted = 0
        self._sink = session.sink
        self._begun = ""
        self._lines = {int(row["id"]): _Line(row, self) for row in session.spec.extras.get("prints", ())}

    def fileno(self) -> int:
        """The descriptor that is readable when lines wait."""
        return int(self.buffer.fileno())

    def on_ready(self) -> None:
        """Prints what is there; gathers a little first."""
        if self.buffer.fill < 0.25:
            time.sleep(_BREATH)
        self.drain()
        self._sink.flush()

    def drain(self) -> None:
        """Prints everything that is in the buffer now; text without a line's end waits for more.

        :raises RunError: RUN016, a record that belongs to no ``print`` of the program.
        """
        for record in self.buffer.read_raw():
            line = self._lines.get(int.from_bytes(record[:4], "little"))
            if line is None or len(record) < line.size:
                raise RunError("RUN016", f"a record of {len(record)} bytes belongs to no print() of this program")
            self.seen += 1
            *lines, self._begun = (self._begun + line.text(record)).split("\n")
            for text in lines:
                self._sink.text(text)

    def lost(self) -> int:
        """Always 0: what does not fit the buffer is counted by the program."""
        return 0

    def close(self) -> None:
        """Prints an unfinished line and frees the mapping."""
        if self._begun:
            self._sink.text(self._begun)
            self._begun = ""
        self.buffer.close()


class _Line:
    """One ``print`` of the program."""

    def __init__(self, row: dict[str, Any], owner: PrintStream) -> None:
        layout = from_plain(row["layout"])
        if not isinstance(layout, Struct):
            raise RunError("RUN016", f"print {row['id']} has no layout")
        self._owner = owner
        self._layout = _shown_as(layout, outermost=True)
        self._pieces = row["pieces"]
        self.size = layout.size
        try:
            self._text(bytes(layout.size), format)
        except (TypeError, ValueError) as error:
            raise UsageError(
                "RUN015",
                f"print() in {row['function']}, line {row['line']}: {error}",
                hint="numbers take number formats (08x, >5d), texts take text formats (<16, .8)",
            ) from None

    def text(self, record: bytes | memoryview) -> str:
        """The text of a record."""
        return self._text(record, self._lenient)

    def _text(self, record: bytes | memoryview, formatted: Callable[[Any, str], str]) -> str:
        values = self._layout.unpack(record)
        parts: list[str] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                parts.append(piece)
                continue
            number, form, conversion = piece
            value = values[number + 1]  # after the print's own number
            parts.append(formatted(_CONVERSIONS[conversion](value) if conversion else value, form))
        return "".join(parts)

    def _lenient(self, value: Any, form: str) -> str:
        try:
            return format(value, form)
        except (TypeError, ValueError, OverflowError):  # "c" of a number that is no character
            self._owner.unformatted += 1
            return str(value)


class _Record(tuple[object, ...]):
    """A struct's values, shown as the program's own class would show them."""

    __slots__ = ()
    LAYOUT: Struct

    def __repr__(self) -> str:
        names = (field.name for field in self.LAYOUT.fields)
        shown = ", ".join(f"{name}={value!r}" for name, value in zip(names, self, strict=True))
        return f"{self.LAYOUT.name}({shown})"


def _shown_as(layout: Struct, outermost: bool = False) -> Struct:
    """The struct with factories that make tuples of tuples and records of structs, at any depth."""
    fields = [Field(f.name, _inner(f.type), f.offset, f.bit, f.bits) for f in layout.fields]
    if outermost or layout.name == "tuple":
        return Struct(layout.name, fields, layout.size, layout.align)
    kind: Any = type(layout.name, (_Record,), {"LAYOUT": layout, "__slots__": ()})
    return Struct(layout.name, fields, layout.size, layout.align, lambda *values: kind(values))


def _inner(layout: Layout) -> Layout:
    if isinstance(layout, Struct):
        return _shown_as(layout)
    if isinstance(layout, Array):
        return Array(_inner(layout.element), layout.count)
    return layout
