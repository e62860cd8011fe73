"""Errors as text for a terminal or a pipe: place, message, excerpt, notes, hint, details.

::

    prog.py:12:9: error[PY101]: `yield` has no meaning in a kernel program
       |
    12 |         yield pid
       |         ^^^^^^^^^
       |
    note: prog.py:10:5: the function is a kernel program because of this
       |
    10 |     @prog.tracepoint("sched:sched_switch")
       |      -------------------------------------
       |
    hint: send an event: `out.submit(pid)`
    more: osmia explain PY101
"""

from __future__ import annotations

from osmia.diagnostics.errors import MultiError
from osmia.diagnostics.sources import register_source, source_lines
from osmia.diagnostics.text import cells, clean, did_you_mean, display_width, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.diagnostics.errors import OsmiaError
    from osmia.diagnostics.span import Span

__all__ = ["did_you_mean", "excerpt", "register_source", "render", "source_lines", "suggest"]

_MAX_ERRORS = 20
_SHOWN_HEAD, _SHOWN_TAIL = 4, 2
_FAR = 2000

_STYLES = {
    "place": "\x1b[1m",
    "error": "\x1b[1;31m",
    "note": "\x1b[1;36m",
    "hint": "\x1b[1;32m",
    "gutter": "\x1b[34m",
    "caret": "\x1b[1;31m",
    "mark": "\x1b[1;36m",
    "dim": "\x1b[2m",
}
_RESET = "\x1b[0m"


def render(
    error: OsmiaError,
    *,
    color: bool = False,
    verbose: bool = False,
    context: int = 0,
    width: int = 110,
    flag: str = "--verbose",
) -> str:
    """The whole text of an error, lines ending in a newline.

    :param color: use ANSI colours.
    :param verbose: print the error's raw ``details`` (a verifier log); otherwise only say that there are
        some, and that ``flag`` shows them.
    :param context: lines of source shown before and after each span.
    :param width: the width source lines are trimmed to, in terminal columns.
    """
    errors = _flattened(error)
    paint = _Paint(color, context, width)
    blocks = [_block(each, paint, flag, verbose) for each in errors[:_MAX_ERRORS]]
    if len(errors) > 1:
        hidden = len(errors) - len(blocks)
        total = f"{len(errors)} errors" + (f", {hidden} of them not shown" if hidden else "")
        blocks.append([total])
    codes = dict.fromkeys(each.code for each in errors[:_MAX_ERRORS])
    blocks[-1].extend(paint("dim", f"more: osmia explain {clean(code)}") for code in codes)
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def excerpt(span: Span, *, color: bool = False, context: int = 0, width: int = 110, primary: bool = True) -> list[str]:
    """The source lines of ``span`` with a line number gutter and the span underlined; no lines if unknown."""
    return _excerpt(span, _Paint(color, context, width), primary)


class _Paint:
    """How to show: colours, lines of context, width."""

    __slots__ = ("color", "context", "width")

    def __init__(self, color: bool, context: int, width: int) -> None:
        self.color = color
        self.context = context
        self.width = width

    def __call__(self, style: str, text: str) -> str:
        return f"{_STYLES[style]}{text}{_RESET}" if self.color and text else text


def _flattened(error: OsmiaError) -> list[OsmiaError]:
    if not isinstance(error, MultiError):
        return [error]
    return [inner for each in error.errors for inner in _flattened(each)]


def _block(error: OsmiaError, paint: _Paint, flag: str, verbose: bool) -> list[str]:
    place = paint("place", f"{clean(str(error.span))}: ") if error.span.file else ""
    label = paint("error", f"error[{clean(error.code)}]:")
    lines = [f"{place}{label} {paint('place', _indented(error.message))}"]
    lines += _excerpt(error.span, paint, True)
    for text, where in error.notes:
        spot = f"{clean(str(where))}: " if where is not None and where.file else ""
        lines.append(f"{paint('note', 'note:')} {spot}{_indented(text)}")
        if where is not None:
            lines += _excerpt(where, paint, False)
    if error.hint:
        lines.append(f"{paint('hint', 'hint:')} {_indented(error.hint)}")
    if error.details:
        raw = clean(error.details.replace("\r\n", "\n").strip("\n")).split("\n")
        if verbose:
            lines.append("details:")
            lines += [f"    {line}".rstrip() for line in raw]
        else:
            count = f"{len(raw)} line" + ("s" if len(raw) > 1 else "")
            lines.append(paint("dim", f"details: {count}, shown with {flag}"))
    return lines


def _indented(text: str) -> str:
    return clean(text.rstrip("\n")).replace("\n", "\n    ")


def _excerpt(span: Span, paint: _Paint, primary: bool) -> list[str]:
    if not span.file or span.line < 1:
        return []
    source = source_lines(span.file)
    if source is None or span.line > len(source):
        return []
    last = max(span.line, min(span.end_line, len(source)))
    if last > span.line and last == span.end_line and span.end_column <= 0:
        last -= 1
    shown: list[int | None] = list(range(span.line, last + 1))
    if len(shown) > _SHOWN_HEAD + _SHOWN_TAIL + 1:
        shown = [*shown[:_SHOWN_HEAD], None, *shown[-_SHOWN_TAIL:]]
    before = range(max(1, span.line - paint.context), span.line)
    after = range(last + 1, min(len(source), last + paint.context) + 1)
    size = len(str(max(last, after[-1] if after else 0)))
    empty = paint("gutter", " " * size + " |")
    out = [empty]
    for number in [*before, *shown, *after]:
        if number is None:
            out.append(paint("gutter", "." * size + " |") + " ...")
            continue
        text = source[number - 1]
        inside = span.line <= number <= last
        start, end = _marked(span, number, text) if inside else (0, 0)
        visible, offset, length = _window(text, start, end, max(20, paint.width - size - 3))
        out.append(f"{paint('gutter', f'{number:>{size}} |')} {visible}".rstrip())
        if inside and length:
            mark = paint("caret" if primary else "mark", ("^" if primary else "-") * length)
            out.append(f"{empty} {' ' * offset}{mark}")
    out.append(empty)
    return out


def _marked(span: Span, number: int, text: str) -> tuple[int, int]:
    """The half-open range of characters of line ``number`` that lie in ``span``."""
    bare = text.rstrip()
    if number == span.line:
        start = max(0, min(span.column, len(text)))
    else:
        start = len(text) - len(text.lstrip())
    end = min(span.end_column, len(text)) if number == span.end_line else len(bare)
    if end <= start and number == span.line:
        return start, start + 1
    return start, max(start, end)


def _window(text: str, start: int, end: int, room: int) -> tuple[str, int, int]:
    """A line trimmed to ``room`` columns around ``start``: text, and the mark's offset and length."""
    skipped = 0
    if len(text) > 2 * _FAR:
        skipped = max(0, start - _FAR)
        text = text[skipped : start + _FAR]
        start, end = start - skipped, min(end - skipped, len(text) + 1)
    shown = cells(text)
    widths = [display_width(cell) for cell in shown]
    low, high = 0, len(shown)
    if sum(widths) > room or skipped:
        low = start
        lead = 0
        while low > 0 and lead + widths[low - 1] <= room // 3:
            low -= 1
            lead += widths[low]
        high, used = low, 2
        while high < len(shown) and used + widths[high] <= room:
            used += widths[high]
            high += 1
        while low > 0 and used + widths[low - 1] <= room:
            low -= 1
            used += widths[low]
    left = "…" if low > 0 or skipped else ""
    right = "…" if high < len(shown) else ""
    offset = len(left) + sum(widths[low:start])
    stop = min(end, high)
    length = sum(widths[start:stop]) + max(0, end - len(shown) if high == len(shown) else 0)
    if end > start:
        length = max(1, length)
    return left + "".join(shown[low:high]) + right, offset, length
