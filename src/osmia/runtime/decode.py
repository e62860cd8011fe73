"""From a buffer's records to rows: no object for an event, texts cut at their NUL.

A reader gives the scalars of a record as one flat tuple. What makes a row of it, or an object of the program's
event class, is an expression that is built once from the layout: ``(t[0], text(t[1]), [t[2], t[3]])``.
"""

from __future__ import annotations

from struct import Struct as Packer

from osmia.object.layout import Array, Char, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from osmia.object.layout import Layout

_NAME = 32
"""Texts of at most so many bytes are names, of which few are different: each is decoded once."""
_NAMES = 4_096


class _Names(dict[bytes, str]):
    """Decoded names by their bytes; emptied before it grows without bound."""

    def __missing__(self, raw: bytes) -> str:
        if len(self) >= _NAMES:
            self.clear()
        found = self[raw] = decoded(raw)
        return found


def decoded(raw: bytes) -> str:
    """The text in a field's bytes: up to the first NUL, undecodable bytes escaped."""
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")


class Decoder:
    """Decodes records of one event type.

    :ivar layout: the event's struct. :ivar regular: every field is a place of its own and in whole bytes, so that a
        reader's flat tuples hold everything; records with bitfields or unions are decoded one by one.
    :ivar convert: from a flat tuple to a row; only for regular layouts.
    """

    def __init__(self, layout: Struct, fields: list[int] | None = None, factory: Any = None) -> None:
        """Prepares the decoding.

        :param fields: which fields make the row, by number; all by default.
        :param factory: called with the row's values: rows become its results, and nested structs that have a class
            of their own become objects of it. Without a factory all structs are tuples.
        """
        self.layout = layout
        chosen = range(len(layout.fields)) if fields is None else fields
        try:
            self._packer = Packer("=" + layout.format())
        except ValueError:
            self.regular = False
        else:
            self.regular = True
        self._convert = _converter(layout, chosen, factory) if self.regular else None
        self.convert: Callable[[tuple[Any, ...]], Any] = self._convert or _same
        self._chosen = None if fields is None else list(chosen)
        self._factory = factory
        bare = layout if factory is not None else _bare(layout)
        self._single = Struct(bare.name, bare.fields, bare.size, bare.align)

    def rows(self, tuples: Iterable[tuple[Any, ...]]) -> Iterable[Any]:
        """Rows from a reader's tuples of scalars, in order; only for regular layouts."""
        return tuples if self._convert is None else map(self._convert, tuples)

    def unpack(self, data: bytes | memoryview) -> Iterable[Any]:
        """Rows of records that lie one behind the other; only for regular layouts."""
        return self.rows(self._packer.iter_unpack(data))

    def singles(self, records: Iterable[bytes | memoryview]) -> Iterator[Any]:
        """Rows of records of any layout; bytes after the layout's size are padding."""
        unpack, chosen, factory = self._single.unpack, self._chosen, self._factory
        for record in records:
            row = unpack(record)
            if chosen is not None:
                row = tuple([row[at] for at in chosen])
            yield row if factory is None else factory(*row)


def _same(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return values


def _bare(layout: Struct) -> Struct:
    """The layout without factories, at any depth."""
    from osmia.object.layout import from_plain

    found = from_plain(layout.plain())
    return found if isinstance(found, Struct) else layout


class _Expression:
    """Builds the expression of a layout; counts the scalars on the way."""

    def __init__(self, nested: bool) -> None:
        self.space: dict[str, Any] = {"names": _Names(), "text": decoded}
        self.at = 0
        self.changed = False
        self._nested = nested

    def of(self, layout: Layout) -> str:
        if isinstance(layout, Struct):
            self.changed = True
            return self._struct(layout)
        if isinstance(layout, Array):
            self.changed = True
            return self._array(layout)
        place = f"t[{self.at}]"
        self.at += 1
        if isinstance(layout, Char):
            self.changed = True
            return f"names[{place}]" if layout.size <= _NAME else f"text({place})"
        return place

    def _struct(self, layout: Struct) -> str:
        values = "".join(self.of(field.type) + ", " for field in layout.fields)
        if layout.factory is None or not self._nested:
            return f"({values})"
        name = f"class_{len(self.space)}"
        self.space[name] = layout.factory
        return f"{name}({values})"

    def _array(self, layout: Array) -> str:
        if isinstance(layout.element, (Array, Struct, Char)):
            return "[" + "".join(self.of(layout.element) + ", " for _ in range(layout.count)) + "]"
        start = self.at
        self.at += layout.count
        return f"list(t[{start}:{self.at}])"


def _converter(layout: Struct, chosen: Iterable[int], factory: Any) -> Callable[[tuple[Any, ...]], Any] | None:
    """From a flat tuple to a row; ``None`` where they are the same."""
    build = _Expression(factory is not None)
    parts = [build.of(field.type) for field in layout.fields]
    chosen = list(chosen)
    values = "".join(parts[at] + ", " for at in chosen)
    if factory is None and not build.changed and len(chosen) == len(parts):
        return None
    build.space["factory"] = factory
    body = f"({values})" if factory is None else f"factory({values})"
    made: Callable[[tuple[Any, ...]], Any] = eval(f"lambda t: {body}", build.space)  # made of numbers and fixed names
    return made
