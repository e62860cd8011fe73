"""Log2 and linear histograms: from bucket counts to (low, high, count) rows."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

Bucket = tuple[int, int, int]


def log2_buckets(counts: Sequence[int]) -> list[Bucket]:
    """Rows of a power-of-two histogram: slot n holds values from 2^n to 2^(n+1)-1, slot 0 also holds 0.

    Empty slots before the first and after the last used one are left out.
    """
    rows = [(0 if slot == 0 else 1 << slot, (1 << (slot + 1)) - 1, count) for slot, count in enumerate(counts)]
    return _trimmed(rows)


def linear_buckets(counts: Sequence[int], low: int, step: int) -> list[Bucket]:
    """Rows of a linear histogram: slot 0 holds what is below ``low``, the last slot what is above the others."""
    last = len(counts) - 1
    rows = []
    for slot, count in enumerate(counts):
        start = low + (slot - 1) * step
        if slot == 0:
            rows.append((0, low - 1, count))
        elif slot == last:
            rows.append((start, (1 << 64) - 1, count))
        else:
            rows.append((start, start + step - 1, count))
    return _trimmed(rows)


def _trimmed(rows: list[Bucket]) -> list[Bucket]:
    used = [at for at, row in enumerate(rows) if row[2]]
    return rows[used[0] : used[-1] + 1] if used else []
