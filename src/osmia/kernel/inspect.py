"""What is loaded: programs, maps, links and type information of the whole machine, with statistics and owners.

Functions here take ids, the numbers by which the kernel lists its objects, or live objects (with ``fileno()``); those
that take descriptors are in :mod:`osmia.kernel.inspect_objects`, ``inspect_links`` and ``inspect_code``. Ids need
CAP_SYS_ADMIN: without it every function raises ``PermissionMissing`` (KRN001).
"""

from __future__ import annotations

import errno
import os

from osmia.abi import commands
from osmia.diagnostics.errors import LoadError
from osmia.kernel import refusals, syscall
from osmia.kernel.inspect_links import LinkInfo, read_link
from osmia.kernel.inspect_mounts import pinned
from osmia.kernel.inspect_objects import (
    BtfInfo,
    MapRecord,
    ProgramInfo,
    fdinfo,
    number_of,
    read_btf,
    read_btf_data,
    read_map,
    read_program,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol, Self, TypeVar

    from osmia.btf.reader import Btf
    from osmia.kernel.program import Program
    from osmia.object.spec import LineInfo

    T = TypeVar("T")

    class Live(Protocol):
        """A live program, map or link."""

        def fileno(self) -> int: ...


__all__ = [
    "BtfInfo",
    "LinkInfo",
    "MapRecord",
    "ProgramInfo",
    "ProgramRuns",
    "attach_target",
    "btf_data",
    "btf_info",
    "btf_objects",
    "called_functions",
    "function_type",
    "functions",
    "jited",
    "jited_symbols",
    "link_info",
    "links",
    "map_info",
    "maps",
    "owners",
    "pinned",
    "program_info",
    "programs",
    "read_btf",
    "read_link",
    "read_map",
    "read_program",
    "source_lines",
    "statistics",
    "stats",
    "type_name",
    "xlated",
]

# What there is of each kind: words, commands that list and open, how one is read.
_PROGRAM = ("program", commands.PROG_GET_NEXT_ID, commands.PROG_GET_FD_BY_ID)
_MAP = ("map", commands.MAP_GET_NEXT_ID, commands.MAP_GET_FD_BY_ID)
_LINK = ("link", commands.LINK_GET_NEXT_ID, commands.LINK_GET_FD_BY_ID)
_BTF = ("BTF object", commands.BTF_GET_NEXT_ID, commands.BTF_GET_FD_BY_ID)


# Everything there is


def programs() -> Iterator[ProgramInfo]:
    """All loaded programs, by id (Linux 4.13). :raises LoadError: permission errors."""
    return _each(_PROGRAM, _program)


def maps() -> Iterator[MapRecord]:
    """All maps, by id (Linux 4.13). :raises LoadError: permission errors."""
    return _each(_MAP, _map)


def links() -> Iterator[LinkInfo]:
    """All links, by id (Linux 5.8). :raises LoadError: permission errors."""
    return _each(_LINK, read_link)


def btf_objects() -> Iterator[BtfInfo]:
    """All BTF objects, by id (Linux 5.4). :raises LoadError: permission errors."""
    return _each(_BTF, read_btf)


def _each(kind: tuple[str, int, int], read: Callable[[int], T]) -> Iterator[T]:
    what, next_command, open_command = kind
    number = 0
    while True:
        try:
            number = syscall.next_id(next_command, number)
        except OSError as error:
            raise _cannot_list(what, error) from None
        if not number:
            return
        try:
            fd = syscall.fd_by_id(open_command, number)
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue  # gone meanwhile
            raise refusals.no_such_object(what, number, error) from None
        try:
            found = read(fd)
        finally:
            os.close(fd)
        yield found


def _cannot_list(what: str, error: OSError) -> LoadError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return refusals.not_permitted(f"cannot list {what}s", ("sys_admin",))
    if error.errno == errno.EINVAL:
        version = {"link": (5, 8), "BTF object": (5, 4)}.get(what, (4, 13))
        return refusals.too_old("KRN080", f"listing {what}s", version, errno.EINVAL)
    return refusals.unexpected(f"cannot list {what}s", error)


# One object


def program_info(of: int | Live) -> ProgramInfo:
    """The program with that id, or a live one. :raises LoadError: KRN030 when there is none; permission errors."""
    return _one(_PROGRAM, of, _program)


def map_info(of: int | Live) -> MapRecord:
    """The map with that id, or a live one. :raises LoadError: KRN030; permission errors."""
    return _one(_MAP, of, _map)


def link_info(of: int | Live) -> LinkInfo:
    """The link with that id, or a live one. :raises LoadError: KRN030; permission errors."""
    return _one(_LINK, of, read_link)


def btf_info(number: int) -> BtfInfo:
    """The BTF object with that id. :raises LoadError: KRN030; permission errors."""
    return _one(_BTF, number, read_btf)


def btf_data(number: int) -> bytes:
    """The blob of the BTF object with that id. :raises LoadError: KRN030; permission errors."""
    return _one(_BTF, number, read_btf_data)


def _one(kind: tuple[str, int, int], of: int | Live, read: Callable[[int], T]) -> T:
    if not isinstance(of, int):
        return read(of.fileno())
    what, _, open_command = kind
    if not 0 < of < 1 << 32:
        raise refusals.no_such_object(what, of, OSError(errno.ENOENT, os.strerror(errno.ENOENT)))
    try:
        fd = syscall.fd_by_id(open_command, of)
    except OSError as error:
        raise refusals.no_such_object(what, of, error) from None
    try:
        return read(fd)
    finally:
        os.close(fd)


def _program(fd: int) -> ProgramInfo:
    info = read_program(fd)
    info.memory = number_of(fdinfo(fd), "memlock")
    return info


def _map(fd: int) -> MapRecord:
    info = read_map(fd)
    fields = fdinfo(fd)
    info.memory = number_of(fields, "memlock")
    info.frozen = fields.get("frozen") == "1"
    return info


# Statistics


class statistics:
    """Runs of all programs are counted and timed inside the ``with`` block (Linux 5.8); costs every run some 20 ns.

    :raises LoadError: permission errors (CAP_SYS_ADMIN), KRN080 before Linux 5.8.
    """

    def __init__(self) -> None:
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            self._fd = syscall.enable_stats()
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise refusals.not_permitted("cannot keep run statistics", ("sys_admin",)) from None
            if error.errno == errno.EINVAL:
                raise refusals.too_old("KRN080", "keeping run statistics", (5, 8), errno.EINVAL) from None
            raise refusals.unexpected("cannot keep run statistics", error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """No more statistics, unless somebody else keeps them on."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class ProgramRuns:
    """How often and how long a program ran in a span of time.

    :ivar program: the program at the end of it. :ivar runs: how often. :ivar time_ns: how long in all, on all CPUs.
    :ivar misses: runs left out because it was running on that CPU already. :ivar seconds: the span of time.
    """

    __slots__ = ("misses", "program", "runs", "seconds", "time_ns")

    def __init__(self, program: ProgramInfo, runs: int, time_ns: int, misses: int, seconds: float) -> None:
        self.program = program
        self.runs = runs
        self.time_ns = time_ns
        self.misses = misses
        self.seconds = seconds

    @property
    def mean_ns(self) -> float:
        """Nanoseconds of one run, 0 without any."""
        return self.time_ns / self.runs if self.runs else 0.0

    @property
    def cpu(self) -> float:
        """The share of one CPU that it took; 1.0 is one CPU all the time."""
        return self.time_ns / 1e9 / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        return f"ProgramRuns({self.program.name!r}, id {self.program.id}, {self.runs} runs, {self.time_ns} ns)"


def stats(seconds: float, wait: Callable[[float], object] | None = None) -> list[ProgramRuns]:
    """Counts runs for a time and gives what each program did in it, by id.

    Programs that went away meanwhile are left out; those that came count from their first run.

    :param wait: waits that long instead of ``time.sleep``; when it returns early, the span is shorter.
    :raises LoadError: permission errors, KRN080.
    """
    import time

    with statistics():
        before = {info.id: info for info in programs()}
        start = time.monotonic()
        (wait or time.sleep)(seconds)
        after = list(programs())
        passed = time.monotonic() - start
    found = []
    for info in after:
        old = before.get(info.id)
        runs, spent, misses = info.run_count, info.run_time_ns, info.recursion_misses
        if old is not None:
            runs, spent, misses = runs - old.run_count, spent - old.run_time_ns, misses - old.recursion_misses
        found.append(ProgramRuns(info, runs, spent, misses, passed))
    return found


# Owners


def owners() -> dict[tuple[str, int], list[tuple[int, str]]]:
    """Who holds what: pairs of process number and name, by (``program``, ``map``, ``link`` or ``btf``, id).

    Whoever holds a link also holds its program. Reads every process's list of open files, which takes a moment on a
    busy machine; processes of other users are left out where this one may not look. Objects that nobody holds are kept
    by a pin (:func:`pinned`), by a map, or by what they are attached to.
    """
    found: dict[tuple[str, int], list[tuple[int, str]]] = {}
    try:
        entries = os.listdir("/proc")
    except OSError:
        return found
    for pid in sorted(int(entry) for entry in entries if entry.isdigit()):
        try:
            files = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        name = ""
        for fd in files:
            for key in _held(pid, fd):
                name = name or _command(pid)
                holders = found.setdefault(key, [])
                if (pid, name) not in holders:
                    holders.append((pid, name))
    return found


_HELD = {b"prog_id": "program", b"map_id": "map", b"link_id": "link", b"btf_id": "btf"}
_FILES = frozenset(("bpf-prog", "bpf-map", "bpf_link", "btf", "bpf-link"))


def _held(pid: int, fd: str) -> Iterator[tuple[str, int]]:
    try:
        kind, _, name = os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")
        if kind != "anon_inode" or name.strip("[]") not in _FILES:
            return
        with open(f"/proc/{pid}/fdinfo/{fd}", "rb", buffering=0) as file:
            lines = file.read(1 << 16).splitlines()
    except OSError:
        return
    for line in lines:
        key, _, value = line.partition(b":")
        what = _HELD.get(key.strip())
        if what and value.strip().isdigit() and int(value):
            yield what, int(value)


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().strip().decode("utf-8", "backslashreplace")
    except OSError:
        return "?"


# Code of loaded programs


def xlated(of: int | Live) -> bytes:
    """The instructions of a program as the verifier left them. Empty where the kernel hides them (it shows them to
    CAP_BPF together with CAP_PERFMON).

    References to maps carry the map's id, calls of helpers the distance from ``__bpf_call_base``, which
    :func:`called_functions` turns into names.

    :raises LoadError: KRN030; permission errors.
    """
    from osmia.kernel.inspect_code import read_xlated

    return _one(_PROGRAM, of, read_xlated)


def jited(of: int | Live) -> bytes:
    """The machine code of a program, of all its functions. Empty where there is none or the kernel hides it."""
    from osmia.kernel.inspect_code import read_jited

    return _one(_PROGRAM, of, read_jited)


def jited_symbols(of: int | Live) -> list[tuple[int, int]]:
    """Address and size of the machine code of each of a program's functions, the entry first, in the order of
    :func:`jited`. Addresses are 0 where the kernel hides them."""
    from osmia.kernel.inspect_code import read_jited_symbols

    return _one(_PROGRAM, of, read_jited_symbols)


def functions(of: int | Live) -> list[tuple[int, str]]:
    """(First slot, name) of each function in :func:`xlated`, by the program's BTF; empty without type information."""
    from osmia.kernel.inspect_code import read_functions

    return _one(_PROGRAM, of, lambda fd: read_functions(fd, _types_of(read_program(fd))))


def source_lines(of: int | Live) -> list[LineInfo]:
    """The source lines of :func:`xlated`, in the order of their slots; empty for a program without."""
    from osmia.kernel.inspect_code import read_lines

    return _one(_PROGRAM, of, lambda fd: read_lines(fd, _types_of(read_program(fd))))


def called_functions(insns: bytes) -> dict[int, str]:
    """The kernel functions that instructions of :func:`xlated` call, by slot. Empty where addresses are hidden."""
    from osmia.kernel.inspect_code import called

    return dict(called(insns))


# Types


def _types_of(info: ProgramInfo) -> Btf | None:
    from osmia.btf.reader import Btf

    return Btf.from_bytes(btf_data(info.btf_id)) if info.btf_id else None


def type_name(obj: int, number: int) -> str:
    """The name of a type of a loaded BTF object. :raises LoadError: KRN030. :raises BtfError: no such type."""
    from osmia.btf.kernel import module_btf
    from osmia.btf.reader import Btf

    info = btf_info(obj)
    types = module_btf(info.name) if info.kernel and info.name else Btf.from_bytes(btf_data(obj))
    return types.name_of(number)


def attach_target(info: ProgramInfo) -> str:
    """What a program was loaded to attach to: the name of a function or tracepoint type; empty for none."""
    return type_name(info.attach_btf_obj_id, info.attach_btf_id) if info.attach_btf_id else ""


def function_type(program: Program, name: str) -> int:
    """The type id of a function of a live program (its entry for an empty name), in the program's own BTF.

    :raises LoadError: KRN021 when it has no type information, or no such function.
    """
    from osmia.btf.types import Func

    info = read_program(program.fileno())
    types = _types_of(info)
    if types is None:
        raise LoadError("KRN021", f"program '{info.name}' has no type information, so nothing can extend it")
    wanted = name or program.name
    found = types.ids_by_name(wanted, Func)
    if not found:
        raise LoadError("KRN021", f"program '{info.name}' has no function '{wanted}'")
    return found[0]
