"""Perf maps: the files in which JIT compilers list the functions they made.

``/tmp/perf-PID.map``, in the process's own root and pid namespace, has lines ``START SIZE NAME`` with
hexadecimal numbers (Linux ``tools/perf/Documentation/jit-interface.txt``). The file grows while the
process runs, and later lines take the place of earlier ones.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from heapq import heappop, heappush
from itertools import pairwise

from osmia.diagnostics.errors import SymbolError
from osmia.symbols.demangle import demangle
from osmia.symbols.files import resolve_in_root
from osmia.symbols.image import open_regular

_MAX_BYTES = 256 << 20
_CHECK_EVERY = 0.5


class PerfMap:
    """One such file, read as far as it goes and read on when it has grown.

    :ivar name: the file's path in the process's root.
    :ivar skipped: lines that were no entries.
    """

    __slots__ = (
        "_checked",
        "_functions",
        "_inode",
        "_owner",
        "_pieces",
        "_read",
        "_root",
        "_starts",
        "name",
        "skipped",
    )

    def __init__(self, root: str, name: str, owner: int = -1) -> None:
        """``owner`` is the user the process runs as: a file of anybody else but root is not believed."""
        self.name = name
        self.skipped = 0
        self._root = root
        self._owner = owner
        self._checked = float("-inf")
        self._inode = (0, 0)
        self._read = 0
        self._functions: list[tuple[int, int, str]] = []
        self._pieces: list[tuple[int, int, int]] = []
        self._starts: list[int] = []

    def lookup(self, address: int) -> tuple[str, int] | None:
        """The name of the function at an address, and the offset into it."""
        now = time.monotonic()
        if now - self._checked >= _CHECK_EVERY:
            self._checked = now
            self._read_on()
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        _, end, number = self._pieces[at]
        start, _, name = self._functions[number]
        return (demangle(name), address - start) if address < end else None

    def _read_on(self) -> None:
        try:
            folder, _, base = self.name.rpartition("/")
            path = f"{resolve_in_root(self._root, folder)}/{base}"
            if not os.path.exists(path):
                return
            # Anybody may put a link into /tmp.
            handle = open_regular(path, follow=False)
        except SymbolError:
            return
        try:
            status = os.fstat(handle)
            if status.st_uid not in (self._owner, 0, os.geteuid()):
                return
            if (status.st_dev, status.st_ino) != self._inode or status.st_size < self._read:
                self._inode = (status.st_dev, status.st_ino)
                self._read = 0
                self._functions.clear()
                self._pieces, self._starts = [], []
            wanted = min(status.st_size, _MAX_BYTES) - self._read
            data = b""
            while len(data) < wanted:
                part = os.pread(handle, min(wanted - len(data), 1 << 24), self._read + len(data))
                if not part:
                    break
                data += part
        except OSError:
            return
        finally:
            os.close(handle)
        # The last line may still be being written.
        whole = data.rfind(b"\n") + 1
        if whole:
            self._read += whole
            self._add(data[:whole])

    def _add(self, data: bytes) -> None:
        for line in data.splitlines():
            fields = line.split(None, 2)
            try:
                start, size = int(fields[0], 16), int(fields[1], 16)
                name = fields[2].decode("utf-8", "backslashreplace")
            except (IndexError, ValueError):
                self.skipped += 1
                continue
            if start < 0 or size <= 0 or start + size >= 1 << 64:
                self.skipped += 1
                continue
            self._functions.append((start, start + size, name))
        self._pieces = _pieces(self._functions)
        used = {index for _, _, index in self._pieces}
        if 2 * len(used) < len(self._functions):
            # Most functions have been replaced: forget those.
            self._functions = [self._functions[index] for index in sorted(used)]
            self._pieces = _pieces(self._functions)
        self._starts = [start for start, _, _ in self._pieces]


def _pieces(functions: list[tuple[int, int, str]]) -> list[tuple[int, int, int]]:
    """Start, end and function number of the pieces of memory that functions own, by address.

    A later function takes all the memory it needs from earlier ones, which may be cut in two.
    """
    order = sorted(range(len(functions)), key=functions.__getitem__)
    if all(functions[one][1] <= functions[two][0] for one, two in pairwise(order)):
        return [(functions[index][0], functions[index][1], index) for index in order]
    edges = sorted({edge for start, end, _ in functions for edge in (start, end)})
    pieces: list[tuple[int, int, int]] = []
    active: list[int] = []
    at = 0
    for start, end in pairwise(edges):
        while at < len(order) and functions[order[at]][0] == start:
            heappush(active, -order[at])
            at += 1
        while active and functions[-active[0]][1] <= start:
            heappop(active)
        if not active:
            continue
        owner = -active[0]
        if pieces and pieces[-1][1] == start and pieces[-1][2] == owner:
            pieces[-1] = (pieces[-1][0], end, owner)
        else:
            pieces.append((start, end, owner))
    return pieces
