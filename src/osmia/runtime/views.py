"""Maps on the screen: tables of keys and values, histograms, and rows that programs make themselves."""

from __future__ import annotations

from osmia.object.layout import S64, Char, Struct
from osmia.runtime.formats import Column, column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from osmia.lang.maps import Histogram, MapDecl
    from osmia.object.layout import Layout
    from osmia.runtime.sinks import Sink


class View:
    """How a map is shown.

    :ivar source: the map's declaration. :ivar title: heading. :ivar columns: display formats by column name: ``key``
        and
        ``value``, or the fields' names of a struct. :ivar top: greatest rows only, 0 for all. :ivar clear: empty the
        map afterwards.
    """

    __slots__ = ("clear", "columns", "source", "title", "top", "unit")

    def __init__(
        self,
        source: MapDecl,
        title: str = "",
        unit: str = "",
        columns: dict[str, str] | None = None,
        clear: bool = False,
        top: int = 0,
    ) -> None:
        self.source = source
        self.title = title or source.name
        self.unit = unit
        self.columns = columns or {}
        self.clear = clear
        self.top = top

    def show(self, sink: Sink, top: int = 0, skip_empty: bool = False) -> None:
        """Prints the map's present contents, sorted by value, greatest last as histories scroll."""
        from osmia.lang.maps import Histogram

        if isinstance(self.source, Histogram):
            self._histograms(self.source, sink, skip_empty)
        else:
            self._table(sink, top or self.top, skip_empty)
        if self.clear:
            self.source.clear()

    def _table(self, sink: Sink, top: int, skip_empty: bool) -> None:
        source = self.source
        pairs = source.live.totals() if source.PER_CPU else source.live.items()
        rows = [(*_flat(source.key_layout, key), *_flat(source.value_layout, value)) for key, value in pairs]
        if skip_empty and not rows:
            return
        keys = _columns(source.key_layout, "key")
        named = [*keys, *_columns(source.value_layout, "value")]
        shown = [at for at, (name, _) in enumerate(named) if self.columns.get(name) != "hidden"]
        columns = [column(named[at][0], named[at][1], self.columns.get(named[at][0], "")) for at in shown]
        rows.sort(key=lambda row: _sortable(row[len(keys) :]), reverse=True)
        sink.table(self.title, columns, [[row[at] for at in shown] for row in (rows[:top] if top else rows)])

    def _histograms(self, source: Histogram[Any], sink: Sink, skip_empty: bool) -> None:
        groups = source.counts()
        if not groups and not skip_empty:
            sink.histogram(self.title, self.unit or source.unit, [])
        totals = sorted(groups.items(), key=lambda item: sum(item[1]))
        for group, counts in totals:
            title = self.title
            if group is not None and source.group_layout is not None:
                title += f"[{column('key', source.group_layout, self.columns.get('key', '')).text(group)}]"
            sink.histogram(title, self.unit or source.unit, _buckets(source, counts))


def show_rows(
    sink: Sink,
    name: str,
    names: Sequence[str],
    rows: Iterable[Sequence[Any]],
    formats: dict[str, str],
    sort: str = "",
    top: int = 0,
    headings: bool = True,
) -> None:
    """Prints rows that a program computed; columns take their looks from ``formats`` and the values' types."""
    body = [list(row) for row in rows]
    if sort:
        at = list(names).index(sort)
        body.sort(key=lambda row: row[at], reverse=True)
    if top:
        body = body[:top]
    shown = [at for at, title in enumerate(names) if formats.get(title) != "hidden"]
    columns = [_free_column(names[at], body, at, formats.get(names[at], "")) for at in shown]
    rows = [[row[at] for at in shown] for row in body]
    if headings:
        sink.table(name, columns, rows)
    else:
        sink.lines(name, columns, rows)


def _free_column(name: str, rows: list[list[Any]], at: int, display: str) -> Column:
    sample = rows[0][at] if rows else 0
    layout: Layout = S64 if isinstance(sample, int) else Char(16)
    if isinstance(sample, float) and not display:
        return Column(name, name.upper(), 10, True, lambda value: f"{value:.3f}", lambda value: value)
    return column(name, layout, display)


def _buckets(source: Histogram[Any], counts: Sequence[int]) -> list[tuple[int, int, int]]:
    used = [at for at, count in enumerate(counts) if count]
    if not used:
        return []
    rows = []
    for at in range(used[0], used[-1] + 1):
        low, above = source.bounds(at)
        rows.append((max(low, 0) if source.scale == "log2" else low, above - 1, counts[at]))
    return rows


def _columns(layout: Layout | None, name: str) -> list[tuple[str, Layout]]:
    """Title and layout of each column that a key or value takes."""
    if layout is None:
        return []
    if isinstance(layout, Struct):
        return [(_title(field.name, name), field.type) for field in layout.fields]
    return [(name, layout)]


def _title(field: str, name: str) -> str:
    number = field.lstrip("_")
    return f"{name}{number}" if number.isdigit() else field


def _flat(layout: Layout | None, value: Any) -> tuple[Any, ...]:
    if layout is None:
        return ()
    if isinstance(layout, Struct):
        return tuple(value) if isinstance(value, tuple) else tuple(getattr(value, f.name) for f in layout.fields)
    return (value,)


def _sortable(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value if isinstance(value, (int, float)) else str(value) for value in values)
