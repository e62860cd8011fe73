"""How many CPUs: the kernel's lists of possible and online ones."""

from __future__ import annotations

_FOLDER = "/sys/devices/system/cpu"
_possible = 0


def parse_list(text: str) -> list[int]:
    """The numbers of a list such as ``0-3,8,10-11``."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def possible_count() -> int:
    """How many values a per-CPU map has: one for each possible CPU. Constant while the kernel runs."""
    global _possible
    if not _possible:
        _possible = len(_read("possible"))
    return _possible


def online() -> list[int]:
    """The CPUs that run now."""
    return _read("online")


def _read(name: str) -> list[int]:
    try:
        with open(f"{_FOLDER}/{name}", "rb", buffering=0) as file:
            return parse_list(file.read().decode())
    except OSError:
        import os

        return list(range(os.cpu_count() or 1))
