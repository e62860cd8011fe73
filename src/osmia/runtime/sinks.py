"""Where results go: aligned text, JSON lines, CSV, Arrow or Parquet files.

A sink is given *streams* (events of one schema, as they come) and *tables* (a map's contents, a histogram, at an interval or at
the end). JSON lines carry the stream's name in ``"event"`` or the table's in ``"table"``; losses are ``{"loss": ...}``.
"""

from __future__ import annotations

import sys

from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, TextIO

    from osmia.runtime.formats import Column


class Sink:
    """The interface of all sinks. Rows are sequences with one Python value for each column."""

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        """Announces a stream before its first rows."""

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Rows of a stream, in order."""
        raise TypeError(f"{type(self).__name__} takes no rows")

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
    """Aligned columns for people. Headings are printed before a stream's first row and when the stream changes."""

    def __init__(self, out: TextIO | None = None, errors: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.errors = errors or sys.stderr
        self._columns: dict[str, Sequence[Column]] = {}
        self._last = ""

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        self._columns[name] = columns

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        columns = self._columns[name]
        template, headings = _template(columns)
        lines = []
        if self._last != name:
            lines.append(headings)
            self._last = name
        texts = [column.text for column in columns]
        for row in rows:
            lines.append(template.format(*[text(item) for text, item in zip(texts, row, strict=True)]))
        self.out.write("\n".join(lines) + "\n")

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        cells = [[column.text(item) for column, item in zip(columns, row, strict=True)] for row in rows]
        widths = [max([column.width] + [len(row[at]) for row in cells]) for at, column in enumerate(columns)]
        self._last = ""
        lines = ["", f"{name}:"] if name else [""]
        template, headings = _template(columns, widths)
        if not cells:
            lines.append("  (empty)")
        else:
            lines.append(headings)
            lines.extend(template.format(*row) for row in cells)
        self.out.write("\n".join(lines) + "\n")

    def lines(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        self._last = ""
        for row in rows:
            self.out.write(" ".join(c.text(item) for c, item in zip(columns, row, strict=True)) + "\n")

    def histogram(self, name: str, unit: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        self._last = ""
        lines = ["", f"{name}:"] if name else [""]
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
        self.out.write(line + "\n")

    def loss(self, losses: dict[str, int]) -> None:
        self.out.flush()
        for cause, count in losses.items():
            self.errors.write(f"lost: {count} ({cause})\n")
        self.errors.flush()

    def flush(self) -> None:
        self.out.flush()


def _template(columns: Sequence[Column], widths: Sequence[int] | None = None) -> tuple[str, str]:
    parts = []
    last = len(columns) - 1
    for at, column in enumerate(columns):
        width = widths[at] if widths else column.width
        if column.right:
            parts.append(f"{{:>{width}}}")
        else:
            parts.append("{}" if at == last else f"{{:<{width}}}")
    template = " ".join(parts)
    return template, template.format(*[column.header for column in columns])


class JsonSink(Sink):
    """One JSON object a line."""

    def __init__(self, out: TextIO | None = None) -> None:
        import json

        self.out = out or sys.stdout
        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": "), default=_json_default).encode
        self._columns: dict[str, Sequence[Column]] = {}

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        self._columns[name] = columns

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        self._write("event", name, self._columns[name], rows)

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        self._write("table", name, columns, rows)

    def histogram(self, name: str, unit: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        body = [{"low": low, "high": high, "count": count} for low, high, count in buckets]
        self._line({"histogram": name, "unit": unit, "buckets": body})

    def text(self, line: str) -> None:
        self._line({"print": line})

    def loss(self, losses: dict[str, int]) -> None:
        self._line({"loss": losses})

    def flush(self) -> None:
        self.out.flush()

    def _write(self, kind: str, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        fields = [(column.name, column.plain) for column in columns]
        for row in rows:
            body = {kind: name}
            for (field, plain), item in zip(fields, row, strict=True):
                body[field] = plain(item)
            self._line(body)

    def _line(self, body: dict[str, Any]) -> None:
        self.out.write(self._encode(body) + "\n")


def _json_default(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


class CsvSink(Sink):
    """Comma-separated values with a heading line for each stream or table; losses go to standard error."""

    def __init__(self, out: TextIO | None = None, errors: TextIO | None = None) -> None:
        import csv

        self.out = out or sys.stdout
        self.errors = errors or sys.stderr
        self._writer = csv.writer(self.out, lineterminator="\n")
        self._columns: dict[str, Sequence[Column]] = {}
        self._last = ""

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        self._columns[name] = columns

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        columns = self._columns[name]
        if self._last != name:
            self._writer.writerow(column.name for column in columns)
            self._last = name
        self._body(columns, rows)

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        self._last = ""
        self._writer.writerow(column.name for column in columns)
        self._body(columns, rows)

    def histogram(self, name: str, unit: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        self._last = ""
        self._writer.writerow(("low", "high", "count"))
        self._writer.writerows(buckets)

    def text(self, line: str) -> None:
        self._last = ""
        self._writer.writerow((line,))

    def loss(self, losses: dict[str, int]) -> None:
        for cause, count in losses.items():
            self.errors.write(f"lost: {count} ({cause})\n")

    def flush(self) -> None:
        self.out.flush()

    def _body(self, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        plain = [column.plain for column in columns]
        for row in rows:
            self._writer.writerow([render(item) for render, item in zip(plain, row, strict=True)])


class ArrowSink(Sink):
    """One Parquet or Arrow IPC file for each stream and table: ``PATH``, or ``PATH`` with the name before its ending.

    Needs the optional extra ``osmia[arrow]``. Rows are gathered and written in groups of 65,536.
    """

    _GROUP = 65_536

    def __init__(self, path: str) -> None:
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
        self._columns: dict[str, Sequence[Column]] = {}
        self._pending: dict[str, list[Sequence[Any]]] = {}
        self._writers: dict[str, Any] = {}

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        self._columns[name] = columns
        self._pending.setdefault(name, [])

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        self._pending[name].extend(rows)
        if len(self._pending[name]) >= self._GROUP:
            self._write(name)

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        self.stream(name, columns)
        self.rows(name, rows)

    def histogram(self, name: str, unit: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        from osmia.object.layout import U64
        from osmia.runtime.formats import column

        self.table(name, [column(title, U64) for title in ("low", "high", "count")], buckets)

    def text(self, line: str) -> None:
        sys.stderr.write(line + "\n")

    def loss(self, losses: dict[str, int]) -> None:
        for cause, count in losses.items():
            sys.stderr.write(f"lost: {count} ({cause})\n")

    def close(self) -> None:
        for name in self._pending:
            self._write(name)
        for writer in self._writers.values():
            writer.close()

    def _write(self, name: str) -> None:
        rows = self._pending[name]
        columns = self._columns[name]
        if not rows and name in self._writers:
            return
        data = {column.name: [column.plain(row[at]) for row in rows] for at, column in enumerate(columns)}
        table = self._arrow.table(data)
        writer = self._writers.get(name)
        if writer is None:
            path = f"{self._stem}.{self._ending}" if not self._writers else f"{self._stem}.{name}.{self._ending}"
            writer = self._writers[name] = self._open(path, table.schema)
        writer.write_table(table.cast(writer.schema if hasattr(writer, "schema") else table.schema))
        self._pending[name] = []

    def _open(self, path: str, schema: Any) -> Any:
        if self._ending == "parquet":
            import pyarrow.parquet

            return pyarrow.parquet.ParquetWriter(path, schema)
        import pyarrow.ipc

        return pyarrow.ipc.new_file(path, schema)


def open_sink(form: str, path: str | None = None) -> Sink:
    """The sink for ``text``, ``json``, ``csv``, ``arrow`` or ``parquet``; ``path`` is a file, standard output without."""
    if form in ("arrow", "parquet"):
        if not path:
            raise UsageError("RUN013", f"{form} output needs a file", hint=f"add --output FILE.{form}")
        return ArrowSink(path)
    try:
        out = open(path, "w", encoding="utf-8", errors="backslashreplace") if path else None
    except OSError as error:
        raise UsageError("RUN014", f"cannot write {path}: {error.strerror}") from None
    if form == "json":
        return JsonSink(out)
    return CsvSink(out) if form == "csv" else TextSink(out)
