"""Which kernel runs: its version as numbers, to tell what it can have."""

from __future__ import annotations

import os

Version = tuple[int, int]


def parse(release: str) -> tuple[int, int, int]:
    """``6.1.0-13-amd64`` as ``(6, 1, 0)``; what is no number counts as 0."""
    numbers = []
    for part in release.split(".", 2)[:3]:
        digits = ""
        for char in part:
            if not char.isdigit():
                break
            digits += char
        numbers.append(int(digits or 0))
    numbers += [0] * (3 - len(numbers))
    return numbers[0], numbers[1], numbers[2]


def running() -> tuple[int, int, int]:
    """The running kernel's version. Distributions port features back: a probe knows better than a version."""
    return parse(os.uname().release)


def has(version: Version) -> bool:
    """Whether the running kernel is of that version or later."""
    return running()[:2] >= version


def code() -> int:
    """``LINUX_VERSION_CODE`` of the running kernel, which kernels before 5.0 ask of kprobe programs.

    Debian and Ubuntu put another number into ``uname`` than the code that their kernel was built with.
    """
    major, minor, patch = running()
    try:
        with open("/proc/version_signature", encoding="ascii", errors="replace") as file:
            major, minor, patch = parse(file.read().split()[-1])
    except (OSError, IndexError):
        version = os.uname().version
        at = version.find("Debian ")
        if at >= 0:
            major, minor, patch = parse(version[at + 7 :])
    return (major << 16) + (minor << 8) + min(patch, 255)


def text(version: Version) -> str:
    """``(5, 8)`` as ``5.8``."""
    return f"{version[0]}.{version[1]}"
