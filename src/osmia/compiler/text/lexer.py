"""Words of the textual form: tokens with their place, and how names, text and bytes are written."""

from __future__ import annotations

import re

from osmia.diagnostics import CompileError, Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DIGITS = 400
_TEXT = r'"(?:[^"\\\n]|\\.)*"'
_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\r\n]+|\#[^\n]*)
  | (?P<span>!\d+(?::-?\d+){{1,2}}(?:\.\.-?\d+(?::-?\d+)?)?|!\d+)
  | (?P<name>[%^$@](?:[A-Za-z0-9_.]+|{_TEXT}))
  | (?P<bytes>x"[0-9a-fA-F\s]*")
  | (?P<text>{_TEXT})
  | (?P<number>-?\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)?)
  | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<sign>->|[{{}}()\[\]<>,:;=?])
    """,
    re.VERBOSE,
)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_NAME = re.compile(r"[A-Za-z0-9_.]+")
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
_LONG = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


class Token:
    """A word: its kind (a group of the pattern, or ``end``), text, place, and whether it is the first of its line."""

    __slots__ = ("first", "kind", "start", "text")

    def __init__(self, kind: str, text: str, start: int, first: bool) -> None:
        self.kind = kind
        self.text = text
        self.start = start
        self.first = first

    def __repr__(self) -> str:
        return f"Token({self.kind}, {self.text!r})"


class Source:
    """A text with line numbers."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def span(self, start: int, end: int) -> Span:
        """The place of a piece."""
        from bisect import bisect_right

        line = bisect_right(self._starts, start)
        end_line = bisect_right(self._starts, max(start, end - 1))
        end_column = end - self._starts[end_line - 1]
        return Span(self.name, line, start - self._starts[line - 1], end_line, end_column)

    def error(self, code: str, message: str, token: Token, hint: str | None = None) -> CompileError:
        """An error at a token; makes the text known for the excerpt."""
        from osmia.diagnostics.sources import register_source

        register_source(self.name, self.text)
        end = token.start + max(len(token.text), 1)
        return CompileError(code, message, span=self.span(token.start, end), hint=hint)


def tokens(source: Source) -> Iterator[Token]:
    """All words, then an ``end``.

    :raises CompileError: IR300: something is no word.
    """
    text = source.text
    at = 0
    first = True
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            bad = Token("bad", text[at], at, first)
            hint = "text ends with a quote on its own line" if text[at] == '"' else None
            raise source.error("IR300", f"{text[at]!r} starts nothing known here", bad, hint)
        at = found.end()
        kind = found.lastgroup or ""
        if kind == "space":
            first = first or "\n" in found[0]
            continue
        yield Token(kind, found[0], found.start(), first)
        first = False
    yield Token("end", "", len(text), True)


def quote(text: str) -> str:
    """Text in quotes, in printable characters on one line."""
    out = []
    for char in text:
        known = _LONG.get(char)
        out.append(known if known is not None else char if char.isprintable() else f"\\u{{{ord(char):x}}}")
    return f'"{"".join(out)}"'


def unquote(text: str) -> str | None:
    """The text in quotes; None where an escape means nothing."""
    bad = False

    def one(found: re.Match[str]) -> str:
        nonlocal bad
        digits = found[1] or found[2]
        if digits:
            number = int(digits, 16)
            if number <= 0x10FFFF:
                return chr(number)
        elif found[3] in _SHORT:
            return _SHORT[found[3]]
        bad = True
        return ""

    result = _ESCAPE.sub(one, text[1:-1])
    return None if bad else result


def word(text: str) -> str:
    """A name as a plain word where it is one, else in quotes."""
    return text if _WORD.fullmatch(text) else quote(text)


def name(sigil: str, text: str) -> str:
    """A name behind its sign: ``%3``, ``@counts``."""
    return sigil + (text if _NAME.fullmatch(text) else quote(text))
