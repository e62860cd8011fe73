"""Probes on functions: of user programs (uprobe, uretprobe, USDT) and of the kernel (kprobe, kretprobe).

A probe is a perf event of a PMU of its own, which needs no entry in tracefs (Linux 4.17). Programs loaded for the multi
attach types take all their places with one link (kernel: Linux 5.18, user: 6.6).
"""

from __future__ import annotations

import errno
import os
from struct import pack

from osmia.abi import attach_types
from osmia.diagnostics.errors import AttachError, UnsupportedFeature
from osmia.diagnostics.text import clean
from osmia.kernel import syscall
from osmia.kernel.attach.link import BpfLink, Link, attach_all
from osmia.kernel.attach.problems import perf_refused, refused
from osmia.kernel.attach.tracepoint import carry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from osmia.kernel.program import Program

    Location = tuple[str, int, int, int]

_PMU = "/sys/bus/event_source/devices"
_KPROBE_MULTI, _KPROBE_SESSION, _UPROBE_MULTI, _UPROBE_SESSION = (
    attach_types.number(f"trace_{name}")
    for name in ("kprobe_multi", "kprobe_session", "uprobe_multi", "uprobe_session")
)
_RETURN = 1


def attach(program: Program, kind: str, target: str, options: dict[str, Any]) -> Link:
    """Attaches to functions.

    User probes: ``binary`` and ``symbol`` (or a target ``binary:symbol+offset``), ``offset`` (from the symbol, without
    one from the file's start), ``pid`` (only that process; its files), ``cookie``; or ``locations``: a sequence of
    (path, file offset, offset of the semaphore in the file or 0, cookie), as USDT probes need.
    Kernel probes: the function's name as target, ``offset``, ``cookie``, ``targets`` for several.

    :raises AttachError: HOOK006, HOOK007 (file), HOOK014 (no kprobes), HOOK015-HOOK017, HOOK020 (no such process).
    :raises SymbolError: no such file or function. :raises UnsupportedFeature: HOOK016.
    """
    if kind in ("kprobe", "kretprobe", "ksyscall", "kretsyscall"):
        return _attach_kernel(program, kind, target, options)
    pid = int(options.get("pid") or 0)
    locations: Sequence[Location] = tuple(options.get("locations") or ())
    if not locations:
        if kind == "usdt":
            raise AttachError(
                "HOOK006",
                f"USDT probe {clean(target)} is attached at the locations that its notes name",
                hint="give the option locations= (osmia.symbols finds them)",
            )
        locations = (_location(target, options, pid),)
    if program.attach_type in (_UPROBE_MULTI, _UPROBE_SESSION):
        return _attach_multi(program, kind, target, locations, pid)
    makers = [lambda place=place: _uprobe(program, kind, target, place, pid) for place in locations]
    return attach_all(program, kind, target, makers)


def _location(target: str, options: dict[str, Any], pid: int) -> Location:
    from osmia.symbols.elf import find_symbol
    from osmia.symbols.files import find_binary

    binary, symbol = str(options.get("binary") or ""), str(options.get("symbol") or "")
    offset = int(options.get("offset") or 0)
    if not binary:
        binary, colon, place = target.rpartition(":")
        if not colon or not binary or not place:
            raise AttachError(
                "HOOK006", f"{clean(target)!r} names no place to probe", hint="write BINARY:FUNCTION, or BINARY:OFFSET"
            )
        symbol, _, shift = place.partition("+")
        try:
            offset = int(shift, 0) if shift else 0
            if symbol[:1].isdigit():
                symbol, offset = "", int(symbol, 0) + offset
        except ValueError:
            raise AttachError("HOOK006", f"{clean(place)!r} is neither a function nor an offset") from None
    cookie = int(options.get("cookie") or 0)
    counter = int(options.get("ref_ctr_offset") or 0)
    if not symbol:
        return find_binary(binary, pid=pid or None), offset, counter, cookie
    found = find_symbol(binary, symbol, offset=offset, pid=pid or None)
    return found.path, found.offset, counter, cookie


def _uprobe(program: Program, kind: str, target: str, place: Location, pid: int) -> Link:
    path, offset, counter, cookie = place
    number = _pmu_type("uprobe", "HOOK016", "uprobes (CONFIG_UPROBE_EVENTS, Linux 4.17)")
    name = bytearray(os.fsencode(path) + b"\0")
    config = counter << 32 | (_RETURN << _return_bit("uprobe") if kind == "uretprobe" else 0)
    if counter >> 32 or counter < 0:
        raise AttachError("HOOK007", f"the semaphore of {clean(target)} lies beyond 4 GiB", errno=errno.EINVAL)
    attr = syscall.perf_attr(number, config, config1=syscall.address(name), config2=offset)
    try:
        fd = syscall.perf_event_open(attr, pid if pid > 0 else -1, -1 if pid > 0 else 0)
    except OSError as error:
        raise _user_error(program, kind, target, path, offset, pid, error) from None
    return carry(program, kind, f"{path}+{offset:#x}", fd, cookie)


def _user_error(
    program: Program, kind: str, target: str, path: str, offset: int, pid: int, error: OSError
) -> Exception:
    number = error.errno or 0
    what = f"cannot probe {clean(path)} at {offset:#x}"
    if number == errno.ESRCH:
        return AttachError("HOOK020", f"there is no process {pid} to probe", errno=number)
    if number in (errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.ENOTDIR):
        return AttachError("HOOK007", f"{what}: {os.strerror(number).lower()}", errno=number)
    if number == errno.EINVAL:
        return AttachError(
            "HOOK007",
            f"{what}: it is no place for a probe",
            errno=number,
            hint="the offset must be inside of the file and at the start of an instruction, on a real file system",
        )
    if number in (errno.EIO, errno.ENOTSUP):
        return AttachError("HOOK007", f"{what}: that instruction cannot be probed", errno=number)
    return perf_refused(f"attach '{program.name}' to {kind} {clean(target)}", error)


def _attach_multi(program: Program, kind: str, target: str, locations: Sequence[Location], pid: int) -> Link:
    """All places of each file with one link."""
    files: dict[str, list[Location]] = {}
    for place in locations:
        files.setdefault(place[0], []).append(place)

    def one(path: str, places: list[Location]) -> Link:
        name = bytearray(os.fsencode(path) + b"\0")
        offsets = bytearray(pack(f"={len(places)}Q", *(place[1] for place in places)))
        counters = bytearray(pack(f"={len(places)}Q", *(place[2] for place in places)))
        cookies = bytearray(pack(f"={len(places)}Q", *(place[3] for place in places)))
        has_counters = any(place[2] for place in places)
        flags = _RETURN if kind == "uretprobe" else 0
        extra = pack(
            "=QQQQIII", syscall.address(name), syscall.address(offsets),
            syscall.address(counters) if has_counters else 0, syscall.address(cookies), len(places), flags, pid,
        )  # fmt: skip
        try:
            fd = syscall.link_create(program.fileno(), 0, program.attach_type, 0, extra)
        except OSError as error:
            if error.errno == errno.ESRCH:
                raise AttachError("HOOK020", f"there is no process {pid} to probe", errno=errno.ESRCH) from None
            if error.errno in (errno.ENOENT, errno.EBADF):
                raise AttachError(
                    "HOOK007", f"cannot probe {clean(path)}: {os.strerror(error.errno).lower()}", errno=error.errno
                ) from None
            since = (6, 6) if program.attach_type == _UPROBE_MULTI else (6, 13)
            hint = "every offset must be inside of the file and at the start of an instruction"
            raise refused(program, kind, target, error, since=since, hint=hint) from None
        return BpfLink(program, kind, f"{path} ({len(places)} places)", fd)

    makers = [lambda path=path, places=places: one(path, places) for path, places in files.items()]
    return attach_all(program, kind, target, makers)


# The kernel's functions


def _attach_kernel(program: Program, kind: str, target: str, options: dict[str, Any]) -> Link:
    names = [_function(kind, name) for name in options.get("targets") or (target,)]
    returns = kind in ("kretprobe", "kretsyscall")
    cookie = int(options.get("cookie") or 0)
    if program.attach_type in (_KPROBE_MULTI, _KPROBE_SESSION):
        return _kprobe_multi(program, kind, target, names, returns, cookie)
    offset = int(options.get("offset") or 0)
    makers = [lambda name=name: _kprobe(program, kind, name, offset, returns, cookie) for name in names]
    return attach_all(program, kind, target, makers)


def _function(kind: str, name: str) -> str:
    name = name.rpartition(":")[2]
    if not name:
        raise AttachError("HOOK006", f"a {kind} needs a kernel function", hint="for example vfs_read")
    if "syscall" not in kind:
        return name
    machine = os.uname().machine
    prefix = {"x86_64": "__x64_", "aarch64": "__arm64_", "s390x": "__s390x_", "riscv64": "__riscv_"}.get(machine, "")
    return f"{prefix}sys_{name.removeprefix('sys_')}"


def _kprobe(program: Program, kind: str, name: str, offset: int, returns: bool, cookie: int) -> Link:
    number = _pmu_type("kprobe", "HOOK014", "kprobes (CONFIG_KPROBE_EVENTS, Linux 4.17)")
    text = bytearray(name.encode() + b"\0")
    config = 1 << _return_bit("kprobe") if returns else 0
    attr = syscall.perf_attr(number, config, config1=syscall.address(text), config2=offset)
    try:
        fd = syscall.perf_event_open(attr, -1, 0)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL, errno.EADDRNOTAVAIL, errno.EILSEQ):
            raise _no_function(name, error.errno) from None
        raise perf_refused(f"attach '{program.name}' to {kind} {clean(name)}", error) from None
    return carry(program, kind, name + (f"+{offset:#x}" if offset else ""), fd, cookie)


def _kprobe_multi(program: Program, kind: str, target: str, names: Sequence[str], returns: bool, cookie: int) -> Link:
    texts = [bytearray(name.encode() + b"\0") for name in names]
    pointers = bytearray(pack(f"={len(texts)}Q", *(syscall.address(text) for text in texts)))
    cookies = bytearray(pack(f"={len(texts)}Q", *[cookie] * len(texts)))
    extra = pack(
        "=IIQQQ", _RETURN if returns else 0, len(texts), syscall.address(pointers), 0,
        syscall.address(cookies) if cookie else 0,
    )  # fmt: skip
    try:
        fd = syscall.link_create(program.fileno(), 0, program.attach_type, 0, extra)
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise _no_function(" or ".join(names[:3]), error.errno) from None
        if error.errno in (errno.EOPNOTSUPP, 524):
            raise UnsupportedFeature(
                "HOOK014",
                f"cannot attach '{clean(program.name)}' to {kind} {clean(target)}: this kernel has no kprobes on many "
                "functions",
                errno=error.errno,
                hint="it needs CONFIG_FPROBE; a tracepoint may tell the same",
            ) from None
        since = (5, 18) if program.attach_type == _KPROBE_MULTI else (6, 10)
        raise refused(program, kind, target, error, since=since) from None
    return BpfLink(program, kind, f"{target} ({len(texts)} functions)", fd)


def _no_function(name: str, number: int) -> AttachError:
    from osmia.diagnostics.text import did_you_mean
    from osmia.symbols.kernel import KernelSymbols

    symbols = KernelSymbols()
    hint = None if name in symbols else did_you_mean(name, symbols.names())
    return AttachError(
        "HOOK014",
        f"cannot probe kernel function {clean(name)}",
        errno=number,
        hint=hint or "it does not exist, is inlined everywhere, or the kernel forbids probes on it",
    )


def _pmu_type(name: str, code: str, what: str) -> int:
    try:
        with open(f"{_PMU}/{name}/type", "rb", buffering=0) as file:
            return int(file.read())
    except (OSError, ValueError):
        raise UnsupportedFeature(
            code, f"this kernel has no {what}", errno=errno.EOPNOTSUPP,
            hint="use another hook; tracepoints are there on every kernel" if name == "kprobe" else None,
        ) from None  # fmt: skip


def _return_bit(name: str) -> int:
    """Which bit of ``config`` makes a return probe: ``config:0``."""
    try:
        with open(f"{_PMU}/{name}/format/retprobe", "rb", buffering=0) as file:
            return int(file.read().strip().partition(b":")[2])
    except (OSError, ValueError):
        return 0
