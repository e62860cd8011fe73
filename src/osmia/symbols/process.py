"""Symbols of a running, or just ended, process: its mappings, its modules, its JIT's perf map."""

from __future__ import annotations

import os
import re
import time
from bisect import bisect_right

from osmia.diagnostics.errors import SymbolError
from osmia.symbols.demangle import demangle
from osmia.symbols.elf import ElfSymbols
from osmia.symbols.files import mapping_root, no_such_process, process_root, resolve_in_root
from osmia.symbols.image import ElfImage, open_regular
from osmia.symbols.perfmap import PerfMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MAPS_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)")
_DELETED = " (deleted)"
_MAX_MODULES = 256
_MAX_KNOWN = 1 << 16


class Mapping:
    """One line of ``/proc/PID/maps``.

    :ivar start, end: addresses in the process, half-open.
    :ivar offset: where in the file ``start`` is.
    :ivar path: the file in the process's own root, perhaps with `` (deleted)``; or ``[vdso]``, or empty.
    """

    __slots__ = ("device", "end", "executable", "inode", "offset", "path", "start")

    def __init__(self, start: int, end: int, executable: bool, offset: int, identity: tuple[int, int, str]) -> None:
        self.start = start
        self.end = end
        self.executable = executable
        self.offset = offset
        self.device, self.inode, self.path = identity

    def __repr__(self) -> str:
        return f"Mapping({self.start:#x}-{self.end:#x} {self.path!r}+{self.offset:#x})"


def parse_mappings(text: bytes) -> list[Mapping]:
    """The mappings in the text of a ``maps`` file (proc_pid_maps(5)), by address; odd lines are left out."""
    found = []
    for line in text.split(b"\n"):
        fields = _MAPS_LINE.match(line)
        if not fields:
            continue
        start, end, mode, offset, major, minor, inode, path = fields.groups()
        device = os.makedev(int(major, 16), int(minor, 16))
        name = os.fsdecode(path.replace(rb"\012", b"\n"))
        found.append(
            Mapping(int(start, 16), int(end, 16), mode[2:3] == b"x", int(offset, 16), (device, int(inode), name))
        )
    return found


def read_mappings(pid: int) -> list[Mapping]:
    """The mappings of a process; none for a kernel thread or a zombie.

    :raises SymbolError: SYM008 (no such process), SYM001 (it is another user's).
    """
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return parse_mappings(file.read())
    except (FileNotFoundError, ProcessLookupError) as error:
        raise no_such_process(pid) from error
    except OSError as error:
        raise SymbolError(
            "SYM001",
            f"cannot read the mappings of process {pid}: {error.strerror}",
            hint="run as the process's user or as root",
        ) from error


class SymbolCache:
    """Symbols of files, shared by all processes that map them: keyed by device, inode, size and time.

    Holds at most 256 files, longest unused dropped first. Files that are no ELF are remembered as such.
    """

    __slots__ = ("_by_build_id", "_files")

    def __init__(self) -> None:
        self._files: dict[tuple[int, int, int, int], ElfSymbols | None] = {}
        self._by_build_id: dict[bytes, ElfSymbols] = {}

    def load(self, path: str, *, root: str = "/", inside: str = "", shown: str = "") -> ElfSymbols | None:
        """The symbols of the file that opens as ``path``; ``None`` if it is missing or no ELF file.

        :param root: where its separate debug data is looked for.
        :param inside: the file's path in that root, where that is not ``path``.
        :param shown: how the file is called in stacks, where that is not ``path``.
        """
        try:
            handle = open_regular(path)
        except SymbolError:
            return None
        status = os.fstat(handle)
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if key in self._files:
            os.close(handle)
            known = self._files.pop(key)
            self._files[key] = known
            return known
        symbols: ElfSymbols | None = None
        try:
            symbols = ElfSymbols(ElfImage(shown or path, handle=handle), path=inside or path, root=root)
            symbols.index()
            symbols.close()
        except SymbolError:
            symbols = None
        self._files[key] = symbols
        if symbols is not None and symbols.build_id:
            self._by_build_id[symbols.build_id] = symbols
        if len(self._files) > _MAX_MODULES:
            dropped = self._files.pop(next(iter(self._files)))
            if dropped is not None and self._by_build_id.get(dropped.build_id) is dropped:
                del self._by_build_id[dropped.build_id]
        return symbols

    def by_build_id(self, build_id: bytes) -> ElfSymbols | None:
        """A file that was loaded before, or that the system keeps under its build id."""
        known = self._by_build_id.get(build_id)
        if known is None and len(build_id) >= 2:
            from osmia.symbols.debugfiles import build_id_path

            # Only the binary itself has the file offsets that build-id stacks hold; its .debug file may not.
            found = self.load(build_id_path(build_id, ""))
            if found is not None and found.build_id == build_id:
                return found
        return known


_shared = SymbolCache()
_vdso: dict[tuple[int, bool], ElfSymbols | None] = {}


class ProcessSymbols:
    """Names for addresses of one process, also after it has ended.

    :ivar pid: as this process's pid namespace numbers it.
    :ivar root: how this process reaches the root directory of that one.
    :ivar mappings: executable mappings by address, those seen earlier included where nothing took their place.
    """

    __slots__ = (
        "_cache",
        "_demangle",
        "_file_root",
        "_known",
        "_modules",
        "_perf_maps",
        "_refreshed",
        "_root_handle",
        "_started_at",
        "_starts",
        "mappings",
        "pid",
        "root",
        "start_time",
    )

    def __init__(self, pid: int, *, cache: SymbolCache | None = None, demangle: bool = True) -> None:
        """Take a snapshot of a process: its mappings now, and a hold on its root directory.

        :param cache: files already read; without one, all processes share one cache.
        :raises SymbolError: SYM008 (no such process), SYM001 (not permitted).
        """
        self._root_handle = -1
        self.pid = pid
        self.start_time = start_time(pid)
        self._started_at = _wall_clock(self.start_time)
        self._cache = _shared if cache is None else cache
        self._demangle = demangle
        self._known: dict[int, tuple[str, int, str]] = {}
        self._modules: dict[tuple[int, int, int], tuple[ElfSymbols | None, str]] = {}
        self.mappings: list[Mapping] = []
        self._starts: list[int] = []
        self.root = self._hold_root()
        self._file_root = "/" if mapping_root(pid) == "/" else self.root
        self._perf_maps = self._perf_map_files()
        self._refreshed = 0.0
        self._take(read_mappings(pid))

    @classmethod
    def snapshot(cls, pid: int, *, cache: SymbolCache | None = None) -> ProcessSymbols:
        """What is needed to name a process's addresses later, taken now. See :meth:`preload`."""
        return cls(pid, cache=cache)

    def __repr__(self) -> str:
        return f"ProcessSymbols({self.pid}, {len(self.mappings)} mappings)"

    def close(self) -> None:
        """Let go of the process's root directory."""
        handle, self._root_handle = self._root_handle, -1
        if handle >= 0:
            os.close(handle)

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> ProcessSymbols:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The process

    @property
    def alive(self) -> bool:
        """Whether the process still runs, and is not another one that got the same number."""
        try:
            return start_time(self.pid) == self.start_time
        except SymbolError:
            return False

    def refresh(self) -> bool:
        """Read the mappings again, after a dlopen or an exec; ``False`` if the process has ended."""
        self._refreshed = time.monotonic()
        try:
            if not self.alive:
                return False
            fresh = read_mappings(self.pid)
        except SymbolError:
            return False
        if not fresh:
            return False
        self._take(fresh)
        return True

    def preload(self) -> None:
        """Read the symbols of every mapped file now, so that nothing is missing once the process has ended."""
        for mapping in self.mappings:
            self._module(mapping)

    def _take(self, fresh: list[Mapping]) -> None:
        code = [mapping for mapping in fresh if mapping.executable]
        starts = [mapping.start for mapping in code]
        kept = []
        for old in self.mappings:
            # Older mappings stay known where nothing has taken their place.
            at = bisect_right(starts, old.start)
            before = at > 0 and code[at - 1].end > old.start
            behind = at < len(code) and code[at].start < old.end
            if not before and not behind:
                kept.append(old)
        self.mappings = sorted(code + kept[-4096:], key=lambda mapping: mapping.start)
        self._starts = [mapping.start for mapping in self.mappings]
        self._known.clear()

    def _hold_root(self) -> str:
        root = process_root(self.pid)
        if root == "/":
            return root
        try:
            self._root_handle = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return root
        return f"/proc/self/fd/{self._root_handle}"

    def _perf_map_files(self) -> list[PerfMap]:
        numbers, owner = [self.pid], -1
        try:
            with open(f"/proc/{self.pid}/status", "rb") as file:
                status = file.read()
        except OSError:
            status = b""
        inner = re.search(rb"^NSpid:.*?(\d+)$", status, re.MULTILINE)
        if inner:
            numbers.insert(0, int(inner[1]))
        user = re.search(rb"^Uid:\t\d+\t(\d+)", status, re.MULTILINE)
        if user:
            owner = int(user[1])
        return [PerfMap(self.root, f"/tmp/perf-{number}.map", owner) for number in dict.fromkeys(numbers)]

    # Addresses

    def resolve(self, addresses: Iterable[int]) -> list[tuple[str, int, str]]:
        """:meth:`lookup` of each address."""
        known = self._known
        lookup = self.lookup
        return [known.get(address) or lookup(address) for address in addresses]

    def lookup(self, address: int) -> tuple[str, int, str]:
        """Function name, offset into it, and module of an address in the process.

        Where the function is unknown the name is empty and the offset is the address within the module's
        file, as ``addr2line`` takes it (the offset in the mapped file, if it is no ELF file). Where nothing
        is mapped, name and module are empty and the offset is the address.
        """
        found = self._known.get(address)
        if found is not None:
            return found
        found = self._lookup(address)
        if found is None and time.monotonic() - self._refreshed > 0.2 and self.refresh():
            found = self._lookup(address)
        if found is None:
            return self._jitted(address) or ("", address, "")
        if found[2] and found[0]:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[address] = found
        return found

    def _lookup(self, address: int) -> tuple[str, int, str] | None:
        at = bisect_right(self._starts, address) - 1
        if at < 0 or self.mappings[at].end <= address:
            return None
        mapping = self.mappings[at]
        symbols, module = self._module(mapping)
        place = address - mapping.start + mapping.offset
        if symbols is not None:
            inner = symbols.image.address_of(place)
            if inner is not None:
                place = inner
                found = symbols.lookup(inner)
                if found is not None:
                    return demangle(found[0]) if self._demangle else found[0], found[1], module
        return self._jitted(address) or ("", place, module)

    def _jitted(self, address: int) -> tuple[str, int, str] | None:
        for perf_map in self._perf_maps:
            found = perf_map.lookup(address)
            if found is not None:
                return found[0], found[1], perf_map.name
        return None

    def build_id(self, address: int) -> bytes:
        """The build id of the file mapped at an address; empty if unknown."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or self.mappings[at].end <= address:
            return b""
        symbols, _ = self._module(self.mappings[at])
        return symbols.build_id if symbols is not None else b""

    # Modules

    def _module(self, mapping: Mapping) -> tuple[ElfSymbols | None, str]:
        key = (mapping.start, mapping.device, mapping.inode)
        known = self._modules.get(key)
        if known is None:
            known = self._modules[key] = self._load(mapping)
        return known

    def _load(self, mapping: Mapping) -> tuple[ElfSymbols | None, str]:
        path = mapping.path
        if path == "[vdso]":
            return _vdso_symbols(self.pid, mapping), path
        if not mapping.inode or not path.startswith("/"):
            return None, path or "[anon]"
        plain = path.removesuffix(_DELETED)
        exact = f"/proc/{self.pid}/map_files/{mapping.start:x}-{mapping.end:x}"
        if self._is_exact(exact, mapping):
            # The mapped file itself, even if it was deleted or replaced since.
            inside = plain if self._file_root == "/" else self._file_root + plain
            symbols = self._cache.load(exact, root=self._file_root, inside=inside, shown=plain)
            if symbols is not None:
                return symbols, path
        if path == plain and self._is_unchanged(mapping):
            place = resolve_in_root(self._file_root, path)
            return self._cache.load(place, root=self._file_root, inside=place, shown=path), path
        return None, path

    def _is_exact(self, exact: str, mapping: Mapping) -> bool:
        try:
            named = os.readlink(exact)
        except OSError:
            return False
        return named == mapping.path and self.alive

    def _is_unchanged(self, mapping: Mapping) -> bool:
        """Whether the file of that name is still the one that was mapped.

        Its inode number says so; overlay file systems show different ones in maps than in stat, and there
        a file that has not changed since the process started will do.
        """
        try:
            status = os.stat(resolve_in_root(self._file_root, mapping.path))
        except (OSError, SymbolError):
            return False
        return status.st_ino == mapping.inode or status.st_ctime < self._started_at


def start_time(pid: int) -> int:
    """When a process started, in clock ticks after boot: with its number, this names a process for good.

    :raises SymbolError: SYM008, there is no such process.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the command in parentheses, which may hold anything; field 22 is wanted.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError) as error:
        raise no_such_process(pid) from error


def _wall_clock(ticks: int) -> float:
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def _vdso_symbols(pid: int, mapping: Mapping) -> ElfSymbols | None:
    """Symbols of the vdso: the kernel maps the same pages into all processes of one ABI."""
    key = _vdso_key(mapping)
    if key not in _vdso:
        _vdso[key] = _read_vdso(pid, mapping)
    return _vdso[key]


def _vdso_key(mapping: Mapping) -> tuple[int, bool]:
    # A 32-bit process has another vdso, perhaps of the same size, but never above 4 GiB.
    return mapping.end - mapping.start, mapping.start < 1 << 32


def _read_vdso(pid: int, mapping: Mapping) -> ElfSymbols | None:
    places = [(pid, mapping)]
    size = mapping.end - mapping.start
    places += [
        (os.getpid(), own) for own in read_mappings(os.getpid()) if own.path == "[vdso]" and own.end - own.start == size
    ]
    for owner, place in places:
        try:
            handle = os.open(f"/proc/{owner}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            data = os.pread(handle, size, place.start)
        except OSError:
            continue
        finally:
            os.close(handle)
        try:
            symbols = ElfSymbols(ElfImage("[vdso]", data=data))
            symbols.index()
        except SymbolError:
            continue
        return symbols
    return None
