"""From a buffer's records to rows: no object for an event, texts cut at their NUL."""

from __future__ import annotations

from osmia.object.layout import Bool, Bytes, Char, Enum, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from osmia.object.layout import Struct

_FLAT = (Int, Bool, Char, Bytes, Enum)


class Decoder:
    """Decodes records of one event type.

    :ivar layout: the event's struct. :ivar flat: all fields are scalars, texts or bytes, so that a reader's tuples of
        scalars are rows already.
    """

    def __init__(self, layout: Struct) -> None:
        self.layout = layout
        self.flat = all(isinstance(field.type, _FLAT) and not field.bits for field in layout.fields)
        self._texts = [at for at, field in enumerate(layout.fields) if isinstance(field.type, Char)]
        self._bare = type(layout)(layout.name, layout.fields, layout.size, layout.align)

    def texts(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Rows with ``str`` where the tuples of a reader hold a text's bytes."""
        texts = self._texts
        for row in rows:
            if not texts:
                yield row
                continue
            values = list(row)
            for at in texts:
                values[at] = values[at].partition(b"\0")[0].decode("utf-8", "backslashreplace")
            yield tuple(values)

    def row(self, data: bytes | memoryview) -> tuple[Any, ...]:
        """The row of one record of any layout; bytes after the layout's size are padding."""
        values: tuple[Any, ...] = self._bare.unpack(data)
        return values
