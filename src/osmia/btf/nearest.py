"""The names most like a misspelled one, out of very many."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORTLIST = 60


def nearest(name: str, names: Iterable[bytes], count: int) -> list[str]:
    """Up to ``count`` of ``names`` that look like ``name``, the nearest first.

    Letter pairs choose a short list, ``difflib`` orders it: comparing 60,000 names one by one would take
    seconds.
    """
    from difflib import SequenceMatcher

    wanted = name.encode(errors="surrogateescape")
    if not wanted or len(wanted) > 512:
        return []
    folded = wanted.lower()
    pairs = {folded[i : i + 2] for i in range(max(1, len(folded) - 1))}
    slack = max(2, len(folded) // 3)
    low, high = len(folded) - slack, len(folded) + slack
    need = len(pairs) // 2
    scored = []
    for candidate in names:
        if low <= len(candidate) <= high:
            text = candidate.lower()
            score = sum([pair in text for pair in pairs])
            if score >= need:
                scored.append((-score, abs(len(text) - len(folded)), candidate))
    scored.sort()
    spelled = [candidate.decode(errors="replace") for _, _, candidate in scored[:_SHORTLIST]]
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(name.lower())
    rated = []
    for spelling in spelled:
        matcher.set_seq1(spelling.lower())
        ratio = matcher.ratio()
        if ratio >= 0.6 and spelling != name:
            rated.append((-ratio, spelling))
    return [spelling for _, spelling in sorted(rated)[:count]]
