"""Tables and paragraphs on standard output: plain aligned text in a pipe, rich tables on a terminal."""

from __future__ import annotations

import os
import sys

from osmia.diagnostics.text import clean, display_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLES = {"bold": "1", "dim": "2", "good": "32", "bad": "31", "warn": "33", "head": "1;36"}


class Heading:
    """A column's heading. ``right`` aligns to the right; ``wide`` columns are folded on a narrow terminal."""

    __slots__ = ("right", "title", "wide")

    def __init__(self, title: str, right: bool = False, wide: bool = False) -> None:
        self.title = title
        self.right = right
        self.wide = wide


def colored() -> bool:
    """Whether standard output takes colours: a terminal, and no ``NO_COLOR`` in the environment."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(style: str, text: str) -> str:
    """``text`` in a style (``bold dim good bad warn head``) where standard output takes colours."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if text and colored() else text


def write(text: str) -> None:
    """Writes to standard output; a character that its encoding lacks is written as an escape."""
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "ascii"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def write_json(data: object) -> None:
    """Writes one JSON document."""
    import json

    write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def table(headings: Sequence[Heading], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table. Control characters in cells are shown as escapes."""
    cells = [[_cell(text) for text in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(headings, cells)
    else:
        write(plain_table(headings, cells))


def plain_table(headings: Sequence[Heading], rows: Sequence[Sequence[str]]) -> str:
    """A table as text: columns two spaces apart, the last one as long as it likes."""
    lines = [[heading.title for heading in headings], *rows]
    widths = [max(display_width(line[at]) for line in lines) for at in range(len(headings))]
    out = []
    for line in lines:
        parts = []
        for at, text in enumerate(line):
            gap = " " * (widths[at] - display_width(text))
            parts.append(gap + text if headings[at].right else text + gap)
        out.append("  ".join(parts).rstrip() + "\n")
    return "".join(out)


def _rich_table(headings: Sequence[Heading], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold" if colored() else "", padding=(0, 2, 0, 0))
    for heading in headings:
        made.add_column(
            heading.title,
            justify="right" if heading.right else "left",
            overflow="fold",
            no_wrap=not heading.wide,
        )
    for row in rows:
        made.add_row(*map(Text, row))
    Console(no_color=not colored(), highlight=False).print(made)


def _cell(text: str) -> str:
    return clean(text).replace("\n", "\\n").replace("\t", "\\t")


def columns(words: Sequence[str], indent: int = 2, width: int = 0) -> str:
    """Words, none of them broken, in lines of at most ``width`` characters (the terminal's, 100 in a pipe)."""
    import textwrap

    if not width:
        import shutil

        width = min(120, shutil.get_terminal_size((100, 24)).columns) if sys.stdout.isatty() else 100
    lead = " " * indent
    filled = textwrap.fill(
        " ".join(word.replace(" ", "\x1f") for word in words),
        width,
        initial_indent=lead,
        subsequent_indent=lead,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return filled.replace("\x1f", " ")
