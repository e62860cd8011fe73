"""Arrow and Parquet files: columns of events as they lie in the buffer, without a Python object for a value.

A column's type follows from its layout: integers keep their width, texts become strings, bytes stay bytes of fixed
size, structs and arrays nest. Enums and the display formats that give a number a name become strings, as in JSON;
each different value is named once. Times become timestamps.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time

from osmia.diagnostics import RunError, UsageError
from osmia.object.layout import Array, Bool, Bytes, Char, Enum, Int, Struct
from osmia.runtime.decode import decoded
from osmia.runtime.formats import FORMATS
from osmia.runtime.sinks import Sink, cannot_write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from osmia.object.layout import Layout
    from osmia.runtime.formats import Column

_GROUP = 65_536
_UNSAFE = re.compile(r"[^\w.+-]+")


class ArrowSink(Sink):
    """One Parquet or Arrow IPC file for each stream and table: ``PATH``, or ``PATH`` with the name before its ending.

    Needs the optional extra ``osmia[arrow]``. Rows are gathered and written in groups of 65,536.
    """

    takes_batches = True

    def __init__(self, path: str) -> None:
        """Prepares the output; files are made when there is something to write, or at the end.

        :raises UsageError: RUN012 without pyarrow, RUN013 when the path's ending names no format.
        """
        try:
            import pyarrow
        except ImportError:
            raise UsageError(
                "RUN012", "Arrow and Parquet output need pyarrow", hint="install it with: pip install 'osmia[arrow]'"
            ) from None
        self._arrow = pyarrow
        self._stem, dot, self._ending = path.rpartition(".")
        if not dot or self._ending not in ("parquet", "arrow"):
            raise UsageError("RUN013", f"cannot tell a format from {path!r}", hint="end the name in .parquet or .arrow")
        self._parts: dict[str, _Part] = {}
        self._paths: set[str] = set()
        self._made = _check_writable(path)

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        if name not in self._parts:
            self._parts[name] = _Part(self._arrow, name, columns)

    def batch(self, name: str, events: Any) -> None:
        part = self._parts[name]
        part.add_batch(events)
        if part.waiting >= _GROUP:
            self._write(part)

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        part = self._parts[name]
        part.add_rows(rows)
        if part.waiting >= _GROUP:
            self._write(part)

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        self.stream(name, columns)
        self.rows(name, rows)

    def histogram(self, name: str, unit: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        from osmia.object.layout import S64, U64
        from osmia.runtime.formats import column

        self.table(name, [column("low", S64), column("high", S64), column("count", U64)], buckets)

    def text(self, line: str) -> None:
        sys.stderr.write(line + "\n")

    def loss(self, losses: dict[str, int]) -> None:
        for cause, count in losses.items():
            sys.stderr.write(f"lost: {count} ({cause})\n")

    def close(self) -> None:
        parts, self._parts = self._parts, {}
        for part in parts.values():
            self._write(part)
        for part in parts.values():
            if part.writer is not None:
                _writing(part.path, part.writer.close)
        if self._made and not self._paths:
            _remove(f"{self._stem}.{self._ending}")  # nothing came: an empty file would be none of its format
            self._made = False

    def _write(self, part: _Part) -> None:
        table = part.take()
        if part.writer is None:
            part.path = self._path(part.name)
            part.writer = _writing(part.path, lambda: self._open(part.path, table.schema))
        elif not len(table):
            return
        _writing(part.path, lambda: part.writer.write_table(table))

    def _path(self, name: str) -> str:
        """The first part's file has the name that was asked for."""
        path = f"{self._stem}.{self._ending}"
        if self._paths:
            label = _UNSAFE.sub("_", name).strip("_.") or "table"
            path, count = f"{self._stem}.{label}.{self._ending}", 1
            while path in self._paths:
                count += 1
                path = f"{self._stem}.{label}-{count}.{self._ending}"
        self._paths.add(path)
        return path

    def _open(self, path: str, schema: Any) -> Any:
        if self._ending == "parquet":
            import pyarrow.parquet

            return pyarrow.parquet.ParquetWriter(path, schema)
        import pyarrow.ipc

        return pyarrow.ipc.new_file(path, schema)


def _check_writable(path: str) -> bool:
    """Tries before anything is traced whether the file can be written; tells whether it was made by that."""
    made = not os.path.lexists(path)
    try:
        with open(path, "ab"):
            return made
    except OSError as error:
        raise cannot_write(path, error) from None


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(path)


def _writing(path: str, action: Callable[[], Any]) -> Any:
    try:
        return action()
    except OSError as error:
        raise cannot_write(path, error) from None


class _Part:
    """What goes to one file.

    :ivar waiting: rows not yet written. :ivar writer: the open file, ``None`` before the first group.
    """

    def __init__(self, arrow: Any, name: str, columns: Sequence[Column]) -> None:
        self.name = name
        self.path = ""
        self.writer: Any = None
        self.waiting = 0
        self._arrow = arrow
        self._columns = columns
        self._kinds = [_kind(arrow, column) for column in columns]
        self._schema: Any = None
        self._done: list[Any] = []
        self._rows: list[Sequence[Any]] = []

    def add_batch(self, events: Any) -> None:
        """Takes over the columns of a numpy array of structs; keeps no part of it."""
        self._finish_rows()
        arrays = [kind.from_numpy(events[column.name]) for column, kind in zip(self._columns, self._kinds, strict=True)]
        self._done.append(self._arrow.record_batch(arrays, schema=self.schema))
        self.waiting += len(events)

    def add_rows(self, rows: Iterable[Sequence[Any]]) -> None:
        """Takes over rows of Python values."""
        before = len(self._rows)
        self._rows.extend(rows)
        self.waiting += len(self._rows) - before

    def take(self) -> Any:
        """Everything that waits, as one table."""
        self._finish_rows()
        done, self._done = self._done, []
        self.waiting = 0
        return self._arrow.Table.from_batches(done, self.schema)

    @property
    def schema(self) -> Any:
        """Names and types of the columns; fixed by the first rows where no layout tells."""
        if self._schema is None:
            fields = [(column.name, kind.type) for column, kind in zip(self._columns, self._kinds, strict=True)]
            self._schema = self._arrow.schema(fields)
        return self._schema

    def _finish_rows(self) -> None:
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        arrays = []
        for at, (column, kind) in enumerate(zip(self._columns, self._kinds, strict=True)):
            arrays.append(self._listed(kind, column, [row[at] for row in rows]))
        self._done.append(self._arrow.record_batch(arrays, schema=self.schema))

    def _listed(self, kind: _Kind, column: Column, values: list[Any]) -> Any:
        arrow = self._arrow
        misfits = (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError, TypeError, ValueError)
        try:
            return kind.from_list(values)
        except misfits:
            if self._schema is not None:
                raise RunError(
                    "RUN017",
                    f"column {column.name!r} of {self.name!r} is {kind.type} in the file, and a value is not",
                    hint="a column's values have one type in all rows",
                ) from None
        # A column that a program made of its own values: they tell the type, texts hold everything.
        found = None
        for type_ in (None, arrow.uint64()):
            try:
                found = arrow.array(values, type_)
                break
            except misfits:
                continue
        if found is None:
            found = arrow.array([str(value) for value in values])
        kind.type = found.type
        return found


class _Kind:
    """How one column becomes Arrow's."""

    def __init__(self, type_: Any, from_numpy: Callable[[Any], Any], from_list: Callable[[list[Any]], Any]) -> None:
        self.type = type_
        self.from_numpy = from_numpy
        self.from_list = from_list


def _kind(arrow: Any, column: Column) -> _Kind:
    if column.display == "time":
        kind = arrow.timestamp("ns", tz="UTC")

        def times(values: Any) -> Any:
            return arrow.array(values.astype("i8") + _wall_offset(), kind)

        return _Kind(kind, times, lambda values: arrow.array([value + _wall_offset() for value in values], kind))
    layout = column.layout
    if column.display and FORMATS[column.display][1] and layout is not None:
        text, raw = column.text, layout

        def named(values: Any) -> Any:
            return _named(arrow, raw, values, text)

        return _Kind(
            arrow.string(), named, lambda values: arrow.array([text(value) for value in values], arrow.string())
        )
    if layout is None:
        unknown = _Kind(arrow.float64(), arrow.array, arrow.array)
        unknown.from_list = lambda values: arrow.array(values, unknown.type)
        return unknown
    known, kind = layout, _type(arrow, layout)
    plain = _plain(layout)
    return _Kind(
        kind,
        lambda values: _array(arrow, known, values),
        lambda values: arrow.array(values if plain is None else [plain(value) for value in values], kind),
    )


def _wall_offset() -> int:
    """Nanoseconds from the monotonic clock to the wall clock."""
    return time.time_ns() - time.monotonic_ns()


def _type(arrow: Any, layout: Layout) -> Any:
    """Arrow's type for a layout."""
    if isinstance(layout, Int):
        return getattr(arrow, f"{'' if layout.signed else 'u'}int{layout.bits}")()
    if isinstance(layout, Bool):
        return arrow.bool_()
    if isinstance(layout, (Enum, Char)):
        return arrow.string()
    if isinstance(layout, Bytes):
        return arrow.binary(layout.size)
    if isinstance(layout, Array):
        return arrow.list_(_type(arrow, layout.element), layout.count)
    if isinstance(layout, Struct):
        return arrow.struct([(field.name, _type(arrow, field.type)) for field in layout.fields])
    raise UsageError("RUN010", f"no way to show a value of {layout}")


def _array(arrow: Any, layout: Layout, values: Any) -> Any:
    """An Arrow array of a numpy array's values; the first dimension counts them. Nothing of it is kept."""
    if isinstance(layout, (Int, Bool)):
        return arrow.array(values.copy())
    if isinstance(layout, Char):
        return _texts(arrow, values, layout.size)
    if isinstance(layout, Enum):
        name_of = layout.name_of
        return _named(arrow, layout.base, values, lambda value: name_of(value) or str(value))
    if isinstance(layout, Bytes):
        data = arrow.py_buffer(values.tobytes())
        return arrow.Array.from_buffers(arrow.binary(layout.size), len(values), [None, data])
    if isinstance(layout, Array):
        flat = values.reshape((-1, *values.shape[2:]))
        kind = _type(arrow, layout)
        return arrow.FixedSizeListArray.from_arrays(_array(arrow, layout.element, flat), type=kind)
    if isinstance(layout, Struct):
        kind = _type(arrow, layout)
        children = [_array(arrow, field.type, values[field.name]) for field in layout.fields]
        return arrow.StructArray.from_arrays(children, fields=list(kind))
    raise UsageError("RUN010", f"no way to show a value of {layout}")


def _texts(arrow: Any, values: Any, size: int) -> Any:
    """Strings of a column of fixed-size texts, each up to its first NUL."""
    raw = arrow.array(values, arrow.binary())
    try:
        return raw.cast(arrow.string())
    except arrow.ArrowInvalid:  # bytes that are no UTF-8 are escaped, as everywhere
        return _named(arrow, Bytes(size), values, decoded)


def _named(arrow: Any, layout: Layout, values: Any, text: Callable[[Any], str]) -> Any:
    """Strings for values, each different one turned into text once."""
    import numpy

    if isinstance(layout, (Int, Bool, Enum)):
        unique, places = numpy.unique(values, return_inverse=True)
        names = [text(value) for value in unique.tolist()]
    else:
        table = numpy.frombuffer(values.tobytes(), numpy.uint8).reshape(len(values), layout.size)
        rows, places = numpy.unique(table, axis=0, return_inverse=True)
        shown = decoded if isinstance(layout, Char) else None
        names = [text(shown(bytes(row)) if shown else bytes(row)) for row in rows]
    return arrow.array(names, arrow.string()).take(arrow.array(places.reshape(-1)))


def _plain(layout: Layout) -> Callable[[Any], Any] | None:
    """From a Python value to what Arrow takes; ``None`` where it is the same."""
    if isinstance(layout, Enum):
        name_of = layout.name_of
        return lambda value: name_of(value) or str(value)
    if isinstance(layout, Array):
        inner = _plain(layout.element)
        return None if inner is None else lambda value: [inner(item) for item in value]
    if isinstance(layout, Struct):
        fields = [(field.name, _plain(field.type)) for field in layout.fields]

        def struct(value: Any) -> dict[str, Any]:
            items = value if isinstance(value, tuple) else [getattr(value, name) for name, _ in fields]
            pairs = zip(fields, items, strict=True)
            return {name: item if plain is None else plain(item) for (name, plain), item in pairs}

        return struct
    return None
