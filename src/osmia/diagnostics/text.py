"""Text for terminals: visible control characters, display width, nearest names."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

TAB_STOP = 4
_MAX_EDITS = 3
# C0 and C1 controls, and the bidirectional controls that could reorder what a terminal shows.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """``text`` with control characters made visible (``\\x1b``); tabs and newlines stay.

    Names and strings that come from traced programs can hold anything; printed as they are they could
    drive the terminal.
    """
    return _UNSAFE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def char_width(char: str) -> int:
    """How many terminal columns ``char`` takes: 0 (combining), 1, or 2 (East Asian wide)."""
    if char < "\u0300":
        return 1
    import unicodedata

    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def display_width(text: str) -> int:
    """How many terminal columns ``text`` takes; a tab counts as one column."""
    if text.isascii():
        return len(text)
    return sum(map(char_width, text))


def cells(line: str) -> list[str]:
    """The display form of every character of a source line: tabs expanded, control characters visible."""
    shown: list[str] = []
    column = 0
    for char in line:
        if char == "\t":
            cell = " " * (TAB_STOP - column % TAB_STOP)
        elif char < " " or _UNSAFE.match(char):
            cell = _UNSAFE.sub(_escaped, char) if char != "\n" else "\\n"
        else:
            cell = char
        column += display_width(cell)
        shown.append(cell)
    return shown


def edit_distance(left: str, right: str, limit: int) -> int:
    """The number of insertions, deletions, replacements and swaps of neighbours between two texts.

    Counting stops at ``limit``: any larger distance is returned as ``limit + 1``.
    """
    if abs(len(left) - len(right)) > limit:
        return limit + 1
    two_back: list[int] = []
    previous = list(range(len(right) + 1))
    for row, char in enumerate(left, 1):
        # Only cells within ``limit`` of the diagonal can hold a result that matters.
        low = max(1, row - limit)
        high = min(len(right), row + limit)
        current = [limit + 1] * (len(right) + 1)
        current[0] = row
        best = row if low == 1 else limit + 1
        for column in range(low, high + 1):
            other = right[column - 1]
            value = (
                previous[column - 1]
                if char == other
                else 1 + min(previous[column - 1], previous[column], current[column - 1])
            )
            if row > 1 and column > 1 and char == right[column - 2] and left[row - 2] == other:
                value = min(value, two_back[column - 2] + 1)
            current[column] = value
            best = min(best, value)
        if best > limit:
            return limit + 1
        two_back, previous = previous, current
    return min(previous[-1], limit + 1)


def suggest(name: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """At most ``limit`` of ``candidates`` that someone who wrote ``name`` may have meant, best first.

    Typing slips (up to three edits, fewer in short names) come first; names that contain ``name``, or
    are contained in it, follow. Case and ``-`` against ``_`` do not count. Fast enough for all symbols
    of a kernel.
    """
    wanted = _folded(name)
    if not wanted or limit <= 0:
        return []
    edits = min(_MAX_EDITS, max(1, len(wanted) // 3))
    letters = set(wanted)
    scored: list[tuple[int, int, str]] = []
    for candidate in dict.fromkeys(candidates):
        if not candidate:
            continue
        folded = _folded(candidate)
        gap = abs(len(folded) - len(wanted))
        if gap <= edits and len(letters.symmetric_difference(folded)) <= 2 * edits:
            distance = edit_distance(wanted, folded, edits)
            if distance <= edits:
                scored.append((distance, gap, candidate))
                continue
        if len(wanted) >= 3 and wanted in folded:
            # A whole word inside the candidate (openat in sys_enter_openat) beats a mere fragment.
            whole = wanted in re.split(r"[\W_]+", folded) or folded.endswith("_" + wanted)
            scored.append((10 if whole else 20, gap, candidate))
        elif len(folded) >= 4 and 2 * len(folded) > len(wanted) and folded in wanted:
            scored.append((30, gap, candidate))
    scored.sort()
    return [candidate for _, _, candidate in scored[:limit]]


def did_you_mean(name: str, candidates: Iterable[str], limit: int = 3) -> str | None:
    """A hint such as ``did you mean 'openat'?``, or ``None`` where nothing comes close."""
    near = [f"'{clean(item)}'" for item in suggest(name, candidates, limit)]
    if not near:
        return None
    listed = near[0] if len(near) == 1 else ", ".join(near[:-1]) + " or " + near[-1]
    return f"did you mean {listed}?"


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")
