"""The running kernel's tracefs, mounted in a directory of its own for as long as it is needed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

_LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def mounted() -> Iterator[pathlib.Path]:
    """A directory where tracefs can be read; an existing mount is used, otherwise one is made and taken away again."""
    for place in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        if os.path.isdir(place + "/events"):
            yield pathlib.Path(place)
            return
    with tempfile.TemporaryDirectory(prefix="tracefs-") as folder:
        if _LIBC.mount(b"tracefs", folder.encode(), b"tracefs", ctypes.c_ulong(0), None):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "tracefs")
        try:
            yield pathlib.Path(folder)
        finally:
            _LIBC.umount2(folder.encode(), 2)


FIELD = re.compile(r"field:(.+?);\s*offset:(\d+);\s*size:(\d+);\s*signed:(\d);")


def fields(text: str) -> list[tuple[str, str, int, int, bool]]:
    """Of a ``format`` file: C type, name, offset, size, signed, without the common fields."""
    found = []
    for declaration, offset, size, signed in FIELD.findall(text):
        match = re.match(r"(.*?)(\w+)((?:\[[^\]]*\])*)$", declaration)
        if match is None:
            raise ValueError(declaration)
        ctype = (match[1].strip() + match[3]).strip()
        if not match[2].startswith("common_"):
            found.append((ctype, match[2], int(offset), int(size), signed == "1"))
    return found
