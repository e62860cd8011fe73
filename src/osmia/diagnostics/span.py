"""Where something stands in a source text."""

from __future__ import annotations


class Span:
    """A half-open piece of a source text.

    ``line`` and ``end_line`` count from 1; ``column`` and ``end_column`` count characters from 0, as
    Python's ``ast`` does after conversion from UTF-8 offsets. ``file`` is a path or a name such as
    ``<string>``. A span with ``line == 0`` names a file only.
    """

    __slots__ = ("column", "end_column", "end_line", "file", "line")

    def __init__(
        self, file: str, line: int = 0, column: int = 0, end_line: int | None = None, end_column: int | None = None
    ) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.end_line = line if end_line is None else end_line
        self.end_column = column + 1 if end_column is None else end_column

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Span) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Span({self})"

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column + 1}"

    def _key(self) -> tuple[str, int, int, int, int]:
        return (self.file, self.line, self.column, self.end_line, self.end_column)


NO_SPAN = Span("")
