"""``--top`` for events: the first rows only."""

from __future__ import annotations

from osmia.runtime.sinks import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from osmia.runtime.formats import Column


class FirstRows(Sink):
    """Passes a number of event rows on to another sink and then says that it is enough; tables pass as they are."""

    def __init__(self, sink: Sink, rows: int, enough: Callable[[], None]) -> None:
        self._sink = sink
        self._left = rows
        self._enough = enough

    @property
    def takes_batches(self) -> bool:  # type: ignore[override]
        """As the other sink."""
        return self._sink.takes_batches

    def stream(self, name: str, columns: Sequence[Column]) -> None:
        self._sink.stream(name, columns)

    def rows(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        chosen = list(rows)[: self._left]
        if chosen:
            self._sink.rows(name, chosen)
        self._count(len(chosen))

    def batch(self, name: str, array: Any) -> None:
        chosen = array[: self._left]
        if len(chosen):
            self._sink.batch(name, chosen)
        self._count(len(chosen))

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        self._sink.table(name, columns, rows)

    def lines(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
        self._sink.lines(name, columns, rows)

    def histogram(self, name: str, unit: str, buckets: Sequence[tuple[int, int, int]]) -> None:
        self._sink.histogram(name, unit, buckets)

    def text(self, line: str) -> None:
        self._sink.text(line)

    def loss(self, losses: dict[str, int]) -> None:
        self._sink.loss(losses)

    def flush(self) -> None:
        self._sink.flush()

    def close(self) -> None:
        self._sink.close()

    def _count(self, rows: int) -> None:
        self._left -= rows
        if not self._left:
            self._enough()
