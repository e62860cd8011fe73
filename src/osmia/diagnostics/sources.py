"""Source texts for excerpts: files read when needed, and texts that were never a file."""

from __future__ import annotations

import os
import re
import stat

_MAX_BYTES = 16 << 20
_MAX_REGISTERED = 512
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_NEWLINE = re.compile(r"\r\n|\r|\n")

_registered: dict[str, list[str]] = {}
_files: dict[str, tuple[tuple[int, int, int], list[str]]] = {}


def register_source(name: str, text: str) -> None:
    """Make ``text`` known under ``name`` (``<string>``, ``<probe>``), for excerpts in errors.

    A later text of the same name takes its place. The oldest names are forgotten once there are many.
    """
    _registered.pop(name, None)
    _registered[name] = _NEWLINE.split(text)
    while len(_registered) > _MAX_REGISTERED:
        del _registered[next(iter(_registered))]


def source_lines(name: str) -> list[str] | None:
    """The lines of a registered text or of a file, without line ends; ``None`` where it cannot be read.

    Lines end where Python's tokenizer ends them (not at form feeds or U+2028). The encoding is UTF-8 or
    what a coding comment in the first two lines says (PEP 263); undecodable bytes show as U+FFFD.
    """
    lines = _registered.get(name)
    if lines is not None:
        return lines
    if not name or "\0" in name or (name.startswith("<") and name.endswith(">")):
        return None
    try:
        # O_NONBLOCK: opening a FIFO for reading must not wait for a writer.
        handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            return None
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = _files.get(name)
        if known is not None and known[0] == version:
            return known[1]
        data = b""
        while len(data) <= _MAX_BYTES and (chunk := os.read(handle, 1 << 20)):
            data += chunk
    except OSError:
        return None
    finally:
        os.close(handle)
    lines = _NEWLINE.split(_decoded(data))
    if len(_files) >= 64:
        _files.clear()
    _files[name] = (version, lines)
    return lines


def _decoded(data: bytes) -> str:
    encoding = "utf-8"
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    else:
        for line in data.split(b"\n", 2)[:2]:
            found = _CODING.match(line)
            if found:
                encoding = found[1].decode("ascii")
                break
    try:
        return data.decode(encoding, "replace")
    except (LookupError, UnicodeError):
        return data.decode("utf-8", "replace")
