"""Lookup in a table of rows by name, kernel name or number.

Rows are plain tuples until somebody asks for one: importing a table costs its constants and no more.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, NoReturn

Version = tuple[int, int]


def version_text(version: Version) -> str:
    """``(5, 8)`` as ``5.8``."""
    return f"{version[0]}.{version[1]}"


def suggest(wanted: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest of ``known``, or None when nothing is near."""
    import difflib

    near = difflib.get_close_matches(wanted, list(known), 3, 0.6)
    return "did you mean " + ", ".join(near) + "?" if near else None


class Table:
    """Rows that begin with ``(number, name, ...)``, in the order of their numbers.

    :param what: the thing in a message (``map type``). :param code: the error for an unknown one.
    :param prefix: what the kernel puts before the upper-case name (``BPF_MAP_TYPE_``).
    :param make: makes the row object of a tuple, called once per row that is asked for.
    :param aliases: further names of rows.
    """

    __slots__ = ("_aliases", "_code", "_made", "_make", "_names", "_numbers", "_prefix", "_raw", "_what")

    def __init__(
        self,
        what: str,
        code: str,
        prefix: str,
        rows: tuple[tuple[Any, ...], ...],
        make: Callable[..., Any],
        aliases: dict[str, str] | None = None,
    ) -> None:
        self._what = what
        self._code = code
        self._prefix = prefix
        self._raw = rows
        self._make = make
        self._made: dict[int, Any] = {}
        self._aliases = aliases or {}
        self._names: dict[str, int] | None = None
        self._numbers = {row[0]: index for index, row in enumerate(rows)}

    def get(self, key: str | int) -> Any:
        """The row with that name or number.

        :raises UsageError: with the table's code when there is none.
        """
        index = self._index(key)
        if index is None:
            self._refuse(key)
        return self._row(index)

    def find(self, key: str | int) -> Any | None:
        """The row with that name or number, or None."""
        index = self._index(key)
        return None if index is None else self._row(index)

    def number(self, name: str) -> int:
        """The number of a name, without making a row object."""
        index = self._index(name)
        if index is None:
            self._refuse(name)
        number: int = self._raw[index][0]
        return number

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self._raw)):
            yield self._row(index)

    def __len__(self) -> int:
        return len(self._raw)

    def __contains__(self, key: str | int) -> bool:
        return self._index(key) is not None

    def _index(self, key: str | int) -> int | None:
        if isinstance(key, int):
            return self._numbers.get(key)
        if self._names is None:
            self._names = {row[1]: index for index, row in enumerate(self._raw)}
        index = self._names.get(key)
        if index is None:
            if self._prefix and key.startswith(self._prefix):
                index = self._names.get(key[len(self._prefix) :].lower())
            if index is None and key in self._aliases:
                index = self._names[self._aliases[key]]
        return index

    def _row(self, index: int) -> Any:
        row = self._made.get(index)
        if row is None:
            row = self._made[index] = self._make(*self._raw[index])
        return row

    def _refuse(self, key: str | int) -> NoReturn:
        from osmia.diagnostics import UsageError

        if isinstance(key, int):
            raise UsageError(self._code, f"there is no {self._what} number {key}")
        hint = suggest(key, [row[1] for row in self._raw])
        raise UsageError(self._code, f"there is no {self._what} {key!r}", hint=hint)
