"""From a buffer's bytes to rows: one ``struct`` format for a whole batch, no object for an event."""

from __future__ import annotations

import struct

from osmia.object.layout import ORDER, Bool, Bytes, Char, Enum, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from osmia.object.layout import Struct

_FLAT = (Int, Bool, Char, Bytes, Enum)


class Decoder:
    """Decodes records of one event type.

    :ivar layout: the event's struct. :ivar stride: bytes from one record to the next in a buffer of equal records, when every
        record has ``header`` bytes before it and is padded to a multiple of eight.
    """

    def __init__(self, layout: Struct, header: int = 8) -> None:
        self.layout = layout
        self.header = header
        self.stride = header + -(-layout.size // 8) * 8
        self._flat = all(isinstance(field.type, _FLAT) and not field.bits for field in layout.fields)
        self._texts = [at for at, field in enumerate(layout.fields) if isinstance(field.type, Char)]
        if self._flat:
            padding = self.stride - header - layout.size
            self._one = struct.Struct(ORDER + layout.format())
            self._many = struct.Struct(f"{ORDER}{header}x{layout.format()}{padding}x")

    def rows(self, data: memoryview) -> Iterable[tuple[Any, ...]]:
        """The rows of a whole number of records that lie one after the other, headers included."""
        if not self._flat:
            count = len(data) // self.stride
            return [self._slow(data, index * self.stride + self.header) for index in range(count)]
        raw = self._many.iter_unpack(data)
        return self._with_texts(raw) if self._texts else raw

    def row(self, data: bytes | memoryview) -> tuple[Any, ...]:
        """The row of one record without header; bytes after the layout's size are padding."""
        if not self._flat:
            return self._slow(data, 0)
        values = self._one.unpack_from(data)
        return next(self._with_texts(iter((values,)))) if self._texts else values

    def _slow(self, data: bytes | memoryview, offset: int) -> tuple[Any, ...]:
        return tuple(
            self.layout._field_value(field, data, offset)  # noqa: SLF001 - the layout's own decoding
            for field in self.layout.fields
        )

    def _with_texts(self, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        texts = self._texts
        for row in rows:
            values = list(row)
            for at in texts:
                values[at] = values[at].partition(b"\0")[0].decode("utf-8", "backslashreplace")
            yield tuple(values)


def factory(layout: Struct, event: Callable[..., Any]) -> Callable[[tuple[Any, ...]], Any]:
    """Makes the user's event objects from rows; nested structs keep their own classes."""
    return lambda row: event(*row)
