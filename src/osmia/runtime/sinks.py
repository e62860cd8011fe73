"""Where results go: aligned text, JSON lines, CSV, Arrow or Parquet files.

A sink is given *streams* (events of one schema, as they come) and *tables* (a map's contents, a histogram, at an
interval or at the end). JSON lines carry the stream's name in ``"event"`` or the table's in ``"table"``; losses are
``{"loss": ...}``.
"""

from __future__ import annotations

import sys

from osmia.diagnostics import UsageError
from osmia.diagnostics.text import clean
from osmia.object.layout import Char, Int
from osmia.runtime.formats import unchanged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TextIO

    from osmia.runtime.formats import Column

    _Render = tuple[int, Callable[[Any], Any]]


def cannot_write(path: str, error: OSError) -> UsageError:
    """The error of an output that cannot be written."""
    return UsageError("RUN014", f"cannot write {path}: {error.strerror or error}")


class Output:
    """A text file whose errors are Osmia's; a closed pipe stays what it is."""

    def __init__(self, file: TextIO, name: str) -> None:
        self.file = file
        self.name = name

    def write(self, text: str) -> None:
        """Writes text, some time until :meth:`flush`.

        :raises UsageError: RUN014, the disk is full for example.
        """
        try:
            self.file.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise cannot_write(self.name, error) from None

    def flush(self) -> None:
        """Makes everything visible; raises as :meth:`write`."""
        try:
            self.file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise cannot_write(self.name, error) from None


def _output(out: TextIO | None) -> Output:
    return Output(sys.stdout, "standard output") if out is None else Output(out, getattr(out, "name", "the output"))


class Sink:
    """The interface of all sinks. Rows are sequences with one Python value for each column.

    :cvar takes_batches: whether streams come as numpy arrays, to :meth:`batch`, instead of rows.
    """

    takes_batches = False

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        """Announces a stream before its first rows."""

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Rows of a stream, in order."""
        raise TypeError(f"{type(self).__name__} takes no rows")

    def batch(self, name: str, events: Any) -> None:
        """Events of a stream, in order: a numpy array of structs that is valid until the method returns."""
        raise TypeError(f"{type(self).__name__} takes no batches")

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        """A whole table: the contents of a map."""
        raise TypeError(f"{type(self).__name__} takes no tables")

    def lines(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        """A table for other programs to read: text output has no headings and single spaces."""
        self.table(name, columns, rows)

    def histogram(self, name: str, unit: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        """A histogram: (low, high, count) by bucket, both bounds inclusive, empty outer buckets left out."""
        raise TypeError(f"{type(self).__name__} takes no histograms")

    def text(self, line: str) -> None:
        """A line that a program printed."""
        raise TypeError(f"{type(self).__name__} takes no text")

    def loss(self, losses: dict[str, int]) -> None:
        """What was lost, by cause; only causes with a count."""
        raise TypeError(f"{type(self).__name__} takes no losses")

    def flush(self) -> None:
        """Makes all that was given visible."""

    def close(self) -> None:
        """Ends the output."""
        self.flush()


class TextSink(Sink):
    """Aligned columns for people. Headings are printed before a stream's first row and when the stream changes.

    Names and paths of traced programs can hold anything: control characters are made visible.
    """

    def __init__(self, out: TextIO | None = None, errors: TextIO | None = None) -> None:
        self.out = _output(out)
        self.errors = errors or sys.stderr
        self._streams: dict[str, tuple[str, str, list[_Render]]] = {}
        self._last = ""

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        template, headings = _template(columns)
        self._streams[name] = (template, headings, [(at, c.text) for at, c in enumerate(columns) if c.text is not str])

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        template, headings, special = self._streams[name]
        cells = list(map(tuple, _rendered(rows, special)))
        if self._last != name:
            self.out.write(headings + "\n")
            self._last = name
        self.out.write(_lines([template % row for row in cells], template, cells))

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        cells = [tuple([_cell(c.text(item)) for c, item in zip(columns, row, strict=True)]) for row in rows]
        widths = [max([column.width] + [len(row[at]) for row in cells]) for at, column in enumerate(columns)]
        self._last = ""
        lines = ["", f"{clean(name)}:"] if name else [""]
        template, headings = _template(columns, widths)
        if not cells:
            lines.append("  (empty)")
        else:
            lines.append(headings)
            lines.extend(template % row for row in cells)
        self.out.write("\n".join(lines) + "\n")

    def lines(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        self._last = ""
        for row in rows:
            self.out.write(" ".join(_cell(c.text(item)) for c, item in zip(columns, row, strict=True)) + "\n")

    def histogram(self, name: str, unit: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        self._last = ""
        lines = ["", f"{clean(name)}:"] if name else [""]
        if not buckets:
            lines.append("  (empty)")
        most = max((count for _, _, count in buckets), default=0)
        heading = unit or "value"
        if buckets:
            lines.append(f"  {heading:>24} : {'count':<10} distribution")
        for low, high, count in buckets:
            bar = "*" * (count * 40 // most if most else 0)
            span = f"{low} -> {high}" if high > low else str(low)
            lines.append(f"  {span:>24} : {count:<10} |{bar:<40}|")
        self.out.write("\n".join(lines) + "\n")

    def text(self, line: str) -> None:
        self._last = ""
        self.out.write((line if line.isprintable() else clean(line)) + "\n")

    def loss(self, losses: dict[str, int]) -> None:
        self.out.flush()
        _tell_losses(self.errors, losses)

    def flush(self) -> None:
        self.out.flush()


def _tell_losses(errors: TextIO, losses: dict[str, int]) -> None:
    for cause, count in losses.items():
        errors.write(f"lost: {count} ({cause})\n")
    errors.flush()


def _rendered(rows: Iterable[Sequence[Any]], special: Sequence[_Render]) -> Iterable[Sequence[Any]]:
    """The rows with some columns' values rendered; the others stay as they are."""
    if not special:
        return rows
    columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
    for at, render in special if columns else ():
        columns[at] = map(render, columns[at])
    return zip(*columns, strict=True)


def _lines(lines: list[str], template: str, cells: list[tuple[Any, ...]]) -> str:
    """The lines as one text. What a traced program can put into it is looked at in one go, and seldom matters."""
    if "".join(lines).isprintable():
        return "\n".join(lines) + "\n" if lines else ""
    shown = [template % tuple([_cell(item) if isinstance(item, str) else item for item in row]) for row in cells]
    return "\n".join(shown) + "\n"


def _cell(text: str) -> str:
    """A cell's text without anything that would leave its line."""
    return text if text.isprintable() else clean(text).replace("\n", "\\n").replace("\t", "\\t")


def _template(columns: Sequence[Column], widths: Sequence[int] | None = None) -> tuple[str, str]:
    """The ``%`` format of a row, and the headings."""
    parts = []
    last = len(columns) - 1
    for at, column in enumerate(columns):
        width = widths[at] if widths else column.width
        if column.right:
            parts.append(f"%{width}s")
        else:
            parts.append("%s" if at == last else f"%-{width}s")
    template = " ".join(parts)
    return template, template % tuple(column.header for column in columns)


class JsonSink(Sink):
    """One JSON object a line."""

    def __init__(self, out: TextIO | None = None) -> None:
        import json

        self.out = _output(out)
        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": "), default=_json_default).encode
        self._streams: dict[str, tuple[str, list[_Render]]] = {}

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        parts = [f'"event": {self._encode(name)}', *(f"{self._encode(column.name)}: \0" for column in columns)]
        template = ", ".join(parts).replace("%", "%%").replace("\0", "%s")
        special = [(at, self._value(column)) for at, column in enumerate(columns)]
        self._streams[name] = ("{" + template + "}\n", [(at, render) for at, render in special if render is not None])

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        template, special = self._streams[name]
        self.out.write("".join([template % row for row in map(tuple, _rendered(rows, special))]))

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        fields = [(column.name, column.plain) for column in columns]
        for row in rows:
            body = {"table": name}
            for (field, plain), item in zip(fields, row, strict=True):
                body[field] = plain(item)
            self._line(body)

    def histogram(self, name: str, unit: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        body = [{"low": low, "high": high, "count": count} for low, high, count in buckets]
        self._line({"histogram": name, "unit": unit, "buckets": body})

    def text(self, line: str) -> None:
        self._line({"print": line})

    def loss(self, losses: dict[str, int]) -> None:
        self._line({"loss": losses})

    def flush(self) -> None:
        self.out.flush()

    def _value(self, column: Column) -> Callable[[Any], str] | None:
        """From a column's value to its JSON text; ``None`` where Python's own text of it is that."""
        encode, plain = self._encode, column.plain
        if plain is unchanged:
            if isinstance(column.layout, Int):
                return None
            if isinstance(column.layout, Char):
                from json.encoder import encode_basestring

                return encode_basestring
            return encode
        return lambda value: encode(plain(value))

    def _line(self, body: dict[str, Any]) -> None:
        self.out.write(self._encode(body) + "\n")


def _json_default(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


class CsvSink(Sink):
    """Comma-separated values with a heading line for each stream or table; losses go to standard error."""

    def __init__(self, out: TextIO | None = None, errors: TextIO | None = None) -> None:
        self.out = _output(out)
        self.errors = errors or sys.stderr
        self._columns: dict[str, Sequence[Column]] = {}
        self._last = ""

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        self._columns[name] = columns

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        columns = self._columns[name]
        if self._last != name:
            self._write([[column.name for column in columns]])
            self._last = name
        self._body(columns, rows)

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        self._last = ""
        self._write([[column.name for column in columns]])
        self._body(columns, rows)

    def histogram(self, name: str, unit: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        self._last = ""
        self._write([("low", "high", "count"), *buckets])

    def text(self, line: str) -> None:
        self._last = ""
        self._write([(line,)])

    def loss(self, losses: dict[str, int]) -> None:
        _tell_losses(self.errors, losses)

    def flush(self) -> None:
        self.out.flush()

    def _body(self, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        special = [(at, column.plain) for at, column in enumerate(columns) if column.plain is not unchanged]
        self._write(_rendered(rows, special))

    def _write(self, rows: Iterable[Sequence[Any]]) -> None:
        import csv
        import io

        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.out.write(text.getvalue())


def open_sink(form: str, path: str | None = None) -> Sink:
    """The sink for ``text``, ``json``, ``csv``, ``arrow`` or ``parquet``.

    :param path: the file to write; standard output without.
    :raises UsageError: RUN012 to RUN014, it cannot be written or has no format.
    """
    if form in ("arrow", "parquet"):
        if not path:
            raise UsageError("RUN013", f"{form} output needs a file", hint=f"add --output FILE.{form}")
        from osmia.runtime.arrow import ArrowSink

        return ArrowSink(path)
    try:
        out = open(path, "w", encoding="utf-8", errors="backslashreplace") if path else None  # noqa: SIM115 - the run's
    except OSError as error:
        raise cannot_write(str(path), error) from None
    if form == "json":
        return JsonSink(out)
    return CsvSink(out) if form == "csv" else TextSink(out)
