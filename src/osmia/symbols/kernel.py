"""The running kernel's symbols, from ``/proc/kallsyms``: functions, modules, BPF programs.

The file has one line per symbol (``ADDRESS TYPE NAME``, and ``[MODULE]`` behind a tab); it is read when
first needed and kept as it is, with the addresses in one array beside it. Without the right to see kernel
addresses (``kernel.kptr_restrict``) all of them read as zero: then nothing resolves, and
:meth:`KernelSymbols.problem` says why.
"""

from __future__ import annotations

import re
import sys
import time
from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate

from osmia.diagnostics.errors import SymbolError
from osmia.diagnostics.text import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TEXT = "tTwWi"
# Labels for the ends of sections, which share their address with a real function or stand before a gap.
_MARKER = re.compile(r"_[se]?(?:init)?text$|__\w+_text_(?:start|end)$")
_END = ("_etext", "_einittext", "_text_end")
# No kernel function is this long: what lies behind is a gap between two areas of code.
_MAX_FUNCTION = 1 << 20


class KernelSymbols:
    """Names for kernel addresses and addresses for kernel names.

    :ivar path: the file read; ``/proc/kallsyms`` but in tests.
    :ivar max_age: seconds after which the table is read again before an address of a module, a BPF program
        or nothing known is answered: those come and go.
    """

    __slots__ = (
        "_addresses",
        "_fixed_end",
        "_fixed_start",
        "_known",
        "_loaded",
        "_order",
        "_places",
        "_problem",
        "_text",
        "max_age",
        "path",
    )

    def __init__(self, path: str = "/proc/kallsyms", *, max_age: float = 5.0) -> None:
        self.path = path
        self.max_age = max_age
        self._loaded = float("-inf")
        self._problem: SymbolError | None = None
        self._text = b""
        self._addresses = array("Q")
        self._places = array("Q")
        self._order = array("Q")
        self._fixed_start = self._fixed_end = 0
        self._known: dict[int, tuple[str, int, str]] = {}

    # Reading

    def problem(self) -> SymbolError | None:
        """Why addresses do not resolve: SYM009 (hidden from this user), SYM010 (unreadable); else ``None``."""
        self._ensure()
        return self._problem

    def refresh(self) -> None:
        """Read the table again: modules and BPF programs may have come or gone."""
        self._loaded = time.monotonic()
        self._known.clear()
        try:
            with open(self.path, "rb") as file:
                text = file.read()
        except OSError as error:
            self._clear(
                SymbolError(
                    "SYM010",
                    f"cannot read the kernel's symbols from {self.path}: {error.strerror}",
                    hint="the kernel needs CONFIG_KALLSYMS, and /proc must be mounted",
                )
            )
            return
        try:
            self._parse(text)
        except (ValueError, OverflowError):
            self._clear(SymbolError("SYM010", f"'{self.path}' is no table of kernel symbols"))

    def _ensure(self) -> None:
        if self._loaded == float("-inf"):
            self.refresh()

    def _clear(self, problem: SymbolError) -> None:
        self._problem = problem
        self._text = b""
        self._addresses, self._places, self._order = array("Q"), array("Q"), array("Q")
        self._fixed_start = self._fixed_end = 0

    def _parse(self, text: bytes) -> None:
        if not text.endswith(b"\n"):
            text += b"\n"
        lines = text.split(b"\n")
        lines.pop()
        width = lines[0].find(b" ") if lines else 0
        if width not in (8, 16):
            raise ValueError("no address at the start of the first line")
        # Each line starts with the same number of hexadecimal digits: all of them make one big number array.
        digits = b"".join([line[:width] for line in lines])
        if len(digits) != width * len(lines):
            raise ValueError("a line without an address")
        addresses = array("Q" if width == 16 else "I", bytes.fromhex(digits.decode("ascii")))
        if len(addresses) != len(lines):
            raise ValueError("a line without an address")
        if sys.byteorder == "little":
            addresses.byteswap()
        order = sorted(range(len(lines)), key=addresses.__getitem__)
        places = array("Q", accumulate([len(line) + 1 for line in lines[:-1]], initial=0))
        if not any(addresses):
            self._clear(_hidden(self.path))
            self._text, self._places = text, places
            return
        self._problem = None
        self._text, self._places = text, places
        self._order = array("Q", order)
        self._addresses = array("Q", [addresses[index] for index in order])
        starts, ends = self._all("_stext"), self._all("_etext")
        self._fixed_start = starts[0][0] if starts else 0
        self._fixed_end = ends[0][0] if ends else 0

    def _line(self, index: int) -> tuple[int, str, str, str]:
        """Address, type, name and module of a line of the file."""
        start = self._places[index]
        line = self._text[start : self._text.index(b"\n", start)]
        head, _, module = line.partition(b"\t")
        parts = head.split(b" ", 2)
        if len(parts) != 3:
            return 0, "?", "", ""
        name = parts[2].decode("utf-8", "backslashreplace")
        return int(parts[0], 16), parts[1].decode("latin-1"), name, module.strip(b"[] ").decode("latin-1")

    # Addresses

    def resolve(self, addresses: Iterable[int]) -> list[tuple[str, int, str]]:
        """:meth:`lookup` of each address."""
        known = self._known
        lookup = self.lookup
        return [known.get(address) or lookup(address) for address in addresses]

    def lookup(self, address: int) -> tuple[str, int, str]:
        """Function name, offset into it, and module of an address in the kernel.

        The module is empty in the kernel proper, and ``bpf`` for BPF programs. For an unknown address the
        name is empty and the offset is the address. Raises nothing: see :meth:`problem`.
        """
        found = self._known.get(address)
        if found is not None:
            return found
        self._ensure()
        fixed = self._fixed_start <= address < self._fixed_end
        if not fixed and time.monotonic() - self._loaded > self.max_age:
            self.refresh()
        found = self._lookup(address)
        if fixed and found is not None:
            # Only the kernel proper stays where it is for as long as it runs.
            if len(self._known) >= 1 << 16:
                self._known.clear()
            self._known[address] = found
        return found or ("", address, "")

    def _lookup(self, address: int) -> tuple[str, int, str] | None:
        addresses = self._addresses
        last = bisect_right(addresses, address) - 1
        if last < 0 or not addresses[last]:
            return None
        start = addresses[last]
        if address - start >= _MAX_FUNCTION:
            return None
        first = bisect_left(addresses, start)
        names = [self._line(self._order[at]) for at in range(first, last + 1)]
        code = [(_preference(name, kind), name, module) for _, kind, name, module in names if kind in _TEXT]
        if not code:
            return None
        best, name, module = min(code)
        if best[0] and name.endswith(_END):
            return None
        return name, address - start, module

    # Names

    def find_all(self, name: str) -> list[tuple[int, str, str]]:
        """Address, type letter (as ``nm`` has it) and module of every symbol of that name.

        :raises SymbolError: SYM009, SYM010: the table is hidden or unreadable.
        """
        problem = self.problem()
        if problem is not None:
            raise problem
        found = self._all(name)
        if not found and time.monotonic() - self._loaded > self.max_age:
            self.refresh()
            found = self._all(name)
        return found

    def _all(self, name: str) -> list[tuple[int, str, str]]:
        if not name or any(char in name for char in " \t\n"):
            return []
        found = []
        encoded = name.encode("utf-8", "surrogateescape")
        for end in (b"\n", b"\t"):
            wanted = b" " + encoded + end
            at = self._text.find(wanted)
            while at >= 0:
                index = bisect_right(self._places, at) - 1
                address, kind, full, module = self._line(index)
                if full == name:
                    found.append((address, kind, module))
                at = self._text.find(wanted, at + 1)
        return sorted(found)

    def address(self, name: str, module: str | None = None) -> int:
        """The address of a symbol.

        :param module: only of that module; ``""`` is the kernel proper.
        :raises SymbolError: SYM011 (none, with near names), SYM005 (several), SYM009, SYM010.
        """
        found = [item for item in self.find_all(name) if module is None or item[2] == module]
        if not found:
            where = f" in module '{module}'" if module else ""
            raise SymbolError(
                "SYM011", f"the kernel has no symbol '{name}'{where}", hint=did_you_mean(name, self.names())
            )
        if len({address for address, _, _ in found}) > 1:
            listed = ", ".join(f"{at:#x}" + (f" [{where}]" if where else "") for at, _, where in found[:6])
            raise SymbolError(
                "SYM005",
                f"the kernel has {len(found)} symbols named '{name}'",
                hint=f"name one by its address: {listed}",
            )
        return found[0][0]

    def names(self) -> Iterator[str]:
        """The names of all functions, also where addresses are hidden."""
        self._ensure()
        for index in range(len(self._places)):
            _, kind, name, _ = self._line(index)
            if kind in _TEXT and name:
                yield name

    def __contains__(self, name: str) -> bool:
        self._ensure()
        return bool(self._all(name))


def _preference(name: str, kind: str) -> tuple[bool, int, bool, int]:
    """Sorts the names of one address: real functions first, then plain, global and short ones."""
    return (_MARKER.match(name) is not None, len(name) - len(name.lstrip("_")), kind in "tw", len(name))


def _hidden(path: str) -> SymbolError:
    return SymbolError(
        "SYM009",
        f"the kernel hides its addresses from this user: all of {path} reads as zero",
        hint="run as root or with CAP_SYSLOG; kernel.kptr_restrict must not be 2",
    )
