"""What is loaded: programs, maps, links and type information of the whole machine, with statistics and owners."""

from __future__ import annotations

import os
from struct import Struct, pack_into, unpack_from

from osmia.abi import commands
from osmia.diagnostics.errors import LoadError
from osmia.kernel import refusals, syscall
from osmia.kernel.maps.base import MapInfo, read_info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self

_PROG = Struct("=II8sIIQQQIIQ16sI")
_PROG_INFO_SIZE = 232
_LINK_INFO_SIZE = 128


class ProgramInfo:
    """What the kernel says about a program (``struct bpf_prog_info``).

    :ivar load_time_ns: on the clock since boot. :ivar run_time_ns, run_count: while statistics are on
        (:func:`statistics`, or ``kernel.bpf_stats_enabled``). :ivar recursion_misses: runs left out because the program
        was running on that CPU already. :ivar verified_insns: how many instructions the verifier looked at.
    :ivar map_ids: numbers of its maps. :ivar btf_id: of its type information, 0 for none.
    :ivar attach_btf_id, attach_btf_obj_id: what it was loaded to attach to.
    """

    __slots__ = (
        "attach_btf_id", "attach_btf_obj_id", "btf_id", "created_by_uid", "gpl", "id", "ifindex", "jited_size",
        "load_time_ns", "map_ids", "name", "recursion_misses", "run_count", "run_time_ns", "tag", "type_number",
        "verified_insns", "xlated_size",
    )  # fmt: skip

    def __init__(self, data: bytearray, map_ids: list[int]) -> None:
        kind, number, tag, jited, xlated, _, _, load_time, uid, _, _, name, ifindex = _PROG.unpack_from(data)
        self.type_number: int = kind
        self.id: int = number
        self.tag: str = tag.hex()
        self.jited_size: int = jited
        self.xlated_size: int = xlated
        self.load_time_ns: int = load_time
        self.created_by_uid: int = uid
        self.map_ids = map_ids
        self.name: str = name.partition(b"\0")[0].decode("ascii", "backslashreplace")
        self.ifindex: int = ifindex
        self.gpl = bool(unpack_from("=I", data, 84)[0] & 1)
        self.btf_id: int = unpack_from("=I", data, 128)[0]
        self.run_time_ns: int
        self.run_count: int
        self.recursion_misses: int
        self.run_time_ns, self.run_count, self.recursion_misses = unpack_from("=QQQ", data, 192)
        self.verified_insns: int
        self.attach_btf_obj_id: int
        self.attach_btf_id: int
        self.verified_insns, self.attach_btf_obj_id, self.attach_btf_id = unpack_from("=III", data, 216)

    @property
    def kind(self) -> str:
        """The program type's name."""
        from osmia.abi import prog_types

        row = prog_types.TABLE.find(self.type_number)
        return f"type {self.type_number}" if row is None else str(row.name)

    def __repr__(self) -> str:
        return f"ProgramInfo({self.kind} {self.name!r}, id {self.id}, {self.run_count} runs)"


def program_info(fd: int) -> ProgramInfo:
    """What the kernel says about a program's descriptor. :raises LoadError: KRN033 when it is no program."""
    try:
        data = bytearray(_PROG_INFO_SIZE)
        syscall.object_info(fd, data)
        count = unpack_from("=I", data, 52)[0]
        ids: list[int] = []
        if count:
            room = bytearray(4 * count)
            data = bytearray(_PROG_INFO_SIZE)
            pack_into("=IQ", data, 52, count, syscall.address(room))
            syscall.object_info(fd, data)
            ids = list(unpack_from(f"={min(count, unpack_from('=I', data, 52)[0])}I", room))
    except OSError as error:
        raise refusals.unexpected(f"descriptor {fd} is no program", error) from None
    return ProgramInfo(data, ids)


class LinkInfo:
    """What the kernel says about a link (``struct bpf_link_info``).

    :ivar kind: the link type's name. :ivar prog_id: its program. :ivar attach_type: the attach type's name, or empty.
    :ivar target: what it is attached to, in words. :ivar details: the kind's own numbers by name.
    """

    __slots__ = ("attach_type", "details", "id", "kind", "prog_id", "target")

    def __init__(self, kind: str, number: int, prog_id: int) -> None:
        self.kind = kind
        self.id = number
        self.prog_id = prog_id
        self.attach_type = ""
        self.target = ""
        self.details: dict[str, int | str] = {}

    def __repr__(self) -> str:
        return f"LinkInfo({self.kind} {self.target!r}, id {self.id}, program {self.prog_id})"


def link_info(fd: int) -> LinkInfo:
    """What the kernel says about a link's descriptor. :raises LoadError: KRN033 when it is no link."""
    from osmia.abi import link_types

    text = bytearray(512)
    data = bytearray(_LINK_INFO_SIZE)
    try:
        syscall.object_info(fd, data)
        kind_number, number, prog_id = unpack_from("=III", data)
        row = link_types.TABLE.find(kind_number)
        info = LinkInfo(f"type {kind_number}" if row is None else str(row.name), number, prog_id)
        fill = _LINK_DETAILS.get(info.kind)
        if fill is not None:
            fill(info, fd, text)
    except OSError as error:
        raise refusals.unexpected(f"descriptor {fd} is no link", error) from None
    return info


def _ask(fd: int, places: tuple[tuple[int, str, int], ...] = ()) -> bytearray:
    """The link's record; ``places`` are numbers to put into it first: offset, form, value."""
    data = bytearray(_LINK_INFO_SIZE)
    for offset, form, value in places:
        pack_into(form, data, offset, value)
    syscall.object_info(fd, data)
    return data


def _text(room: bytearray) -> str:
    return bytes(room).partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _attach_name(number: int) -> str:
    from osmia.abi import attach_types

    row = attach_types.TABLE.find(number)
    return str(number) if row is None else str(row.name)


def _raw_tracepoint(info: LinkInfo, fd: int, text: bytearray) -> None:
    _ask(fd, ((16, "=Q", syscall.address(text)), (24, "=I", len(text))))
    info.target = _text(text)


def _tracing(info: LinkInfo, fd: int, text: bytearray) -> None:
    attach, obj, number = unpack_from("=III", _ask(fd), 16)
    info.attach_type = _attach_name(attach)
    info.details = {"target_obj_id": obj, "target_btf_id": number}
    info.target = f"BTF id {number} of object {obj}"
    try:
        from osmia.btf.kernel import kernel_btf

        if obj == 1:
            info.target = kernel_btf().name_of(number)
    except LoadError:
        pass


def _cgroup(info: LinkInfo, fd: int, text: bytearray) -> None:
    number, attach = unpack_from("=QI", _ask(fd), 16)
    info.attach_type = _attach_name(attach)
    info.details = {"cgroup_id": number}
    info.target = f"cgroup {number}"


def _iter(info: LinkInfo, fd: int, text: bytearray) -> None:
    data = _ask(fd, ((16, "=Q", syscall.address(text)), (24, "=I", len(text))))
    info.target = _text(text)
    map_id = unpack_from("=I", data, 28)[0]
    if map_id:
        info.details = {"map_id": map_id}


def _netns(info: LinkInfo, fd: int, text: bytearray) -> None:
    number, attach = unpack_from("=II", _ask(fd), 16)
    info.attach_type = _attach_name(attach)
    info.details = {"netns_inode": number}
    info.target = f"network namespace {number}" if number else "(detached)"


def _device(info: LinkInfo, fd: int, text: bytearray) -> None:
    index, attach = unpack_from("=II", _ask(fd), 16)
    info.attach_type = _attach_name(attach) if info.kind != "xdp" else "xdp"
    info.details = {"ifindex": index}
    info.target = _device_name(index) if index else "(detached)"


def _device_name(index: int) -> str:
    import socket

    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"device {index} (of another network namespace)"


def _netfilter(info: LinkInfo, fd: int, text: bytearray) -> None:
    family, hook, priority, flags = unpack_from("=IIiI", _ask(fd), 16)
    info.details = {"family": family, "hook": hook, "priority": priority, "flags": flags}
    info.target = f"family {family}, hook {hook}, priority {priority}"


def _sockmap(info: LinkInfo, fd: int, text: bytearray) -> None:
    number, attach = unpack_from("=II", _ask(fd), 16)
    info.attach_type = _attach_name(attach)
    info.details = {"map_id": number}
    info.target = f"map {number}"


def _multi(info: LinkInfo, fd: int, text: bytearray) -> None:
    if info.kind == "kprobe_multi":
        count, flags = unpack_from("=II", _ask(fd), 24)
        info.target = f"{count} kernel functions" + (" (return)" if flags & 1 else "")
    else:
        data = _ask(fd, ((16, "=Q", syscall.address(text)), (48, "=I", len(text))))
        count, flags, pid = unpack_from("=III", data, 52)
        info.target = f"{_text(text)}: {count} places" + (" (return)" if flags & 1 else "")
        info.details = {"pid": pid}
    info.details["count"] = count


_UPROBE, _URETPROBE, _KPROBE, _KRETPROBE, _TRACEPOINT, _EVENT = 1, 2, 3, 4, 5, 6


def _perf_event(info: LinkInfo, fd: int, text: bytearray) -> None:
    kind = unpack_from("=I", _ask(fd), 16)[0]
    if kind in (_UPROBE, _URETPROBE):
        data = _ask(fd, ((24, "=Q", syscall.address(text)), (32, "=I", len(text))))
        offset = unpack_from("=I", data, 36)[0]
        info.attach_type = "uprobe" if kind == _UPROBE else "uretprobe"
        info.target = f"{_text(text)}+{offset:#x}"
    elif kind in (_KPROBE, _KRETPROBE):
        data = _ask(fd, ((24, "=Q", syscall.address(text)), (32, "=I", len(text))))
        offset = unpack_from("=I", data, 36)[0]
        info.attach_type = "kprobe" if kind == _KPROBE else "kretprobe"
        info.target = _text(text) + (f"+{offset:#x}" if offset else "")
    elif kind == _TRACEPOINT:
        _ask(fd, ((24, "=Q", syscall.address(text)), (32, "=I", len(text))))
        info.attach_type = "tracepoint"
        info.target = _text(text)
    elif kind == _EVENT:
        config, event = unpack_from("=QI", _ask(fd), 24)
        info.attach_type = "perf_event"
        info.details = {"type": event, "config": config}
        info.target = f"event {event}:{config:#x}"


_LINK_DETAILS: dict[str, Callable[[LinkInfo, int, bytearray], None]] = {
    "raw_tracepoint": _raw_tracepoint, "tracing": _tracing, "cgroup": _cgroup, "iter": _iter, "netns": _netns,
    "xdp": _device, "tcx": _device, "netkit": _device, "netfilter": _netfilter, "sockmap": _sockmap,
    "kprobe_multi": _multi, "uprobe_multi": _multi, "perf_event": _perf_event,
}  # fmt: skip


class BtfInfo:
    """A loaded BTF object: of the kernel, a module, or a program's."""

    __slots__ = ("id", "kernel", "name", "size")

    def __init__(self, number: int, size: int, name: str, kernel: bool) -> None:
        self.id = number
        self.size = size
        self.name = name
        self.kernel = kernel

    def __repr__(self) -> str:
        return f"BtfInfo({self.name!r}, id {self.id}, {self.size} bytes)"


def btf_info(fd: int) -> BtfInfo:
    """What the kernel says about a BTF object's descriptor."""
    name = bytearray(64)
    data = bytearray(32)
    pack_into("=QI", data, 16, syscall.address(name), len(name))
    try:
        syscall.object_info(fd, data)
    except OSError as error:
        raise refusals.unexpected(f"descriptor {fd} is no BTF object", error) from None
    size, number = unpack_from("=II", data, 8)
    return BtfInfo(number, size, _text(name), bool(unpack_from("=I", data, 28)[0]))


# Everything there is


def programs() -> Iterator[ProgramInfo]:
    """All loaded programs, by id. :raises LoadError: permission errors."""
    return _each("program", commands.PROG_GET_NEXT_ID, commands.PROG_GET_FD_BY_ID, program_info)


def maps() -> Iterator[MapInfo]:
    """All maps, by id. :raises LoadError: permission errors."""
    return _each("map", commands.MAP_GET_NEXT_ID, commands.MAP_GET_FD_BY_ID, read_info)


def links() -> Iterator[LinkInfo]:
    """All links, by id (Linux 5.8). :raises LoadError: permission errors."""
    return _each("link", commands.LINK_GET_NEXT_ID, commands.LINK_GET_FD_BY_ID, link_info)


def btf_objects() -> Iterator[BtfInfo]:
    """All BTF objects, by id. :raises LoadError: permission errors."""
    return _each("BTF object", commands.BTF_GET_NEXT_ID, commands.BTF_GET_FD_BY_ID, btf_info)


def _each(what: str, next_command: int, open_command: int, read: Callable[[int], Any]) -> Iterator[Any]:
    number = 0
    while True:
        try:
            number = syscall.next_id(next_command, number)
        except OSError as error:
            raise refusals.no_such_object(what, number, error) from None
        if not number:
            return
        try:
            fd = syscall.fd_by_id(open_command, number)
        except OSError as error:
            if error.errno == 2:
                continue  # gone meanwhile
            raise refusals.no_such_object(what, number, error) from None
        try:
            yield read(fd)
        finally:
            os.close(fd)


class statistics:  # noqa: N801 - used as `with statistics():`
    """Run statistics of all programs are kept inside the ``with`` block (Linux 5.8); costs every run some 20 ns."""

    def __init__(self) -> None:
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            self._fd = syscall.enable_stats()
        except OSError as error:
            if error.errno == 1:
                raise refusals.not_permitted("cannot keep run statistics", ("sys_admin",)) from None
            raise refusals.unexpected("cannot keep run statistics", error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """No more statistics, unless somebody else keeps them on."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def owners() -> dict[tuple[str, int], list[tuple[int, str]]]:
    """Who holds what: pairs of process number and name, by (``program``, ``map`` or ``link``, id).

    Reads every process's list of open files, which takes a moment on a busy machine; processes of other users are left
    out where this one may not look.
    """
    found: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        pid = int(entry)
        try:
            files = os.listdir(f"/proc/{pid}/fdinfo")
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


_HELD = {b"prog_id": "program", b"map_id": "map", b"link_id": "link"}


def _held(pid: int, fd: str) -> Iterator[tuple[str, int]]:
    try:
        if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("anon_inode:"):
            return
        with open(f"/proc/{pid}/fdinfo/{fd}", "rb", buffering=0) as file:
            lines = file.read(4096).splitlines()
    except OSError:
        return
    for line in lines:
        key, _, value = line.partition(b":")
        kind = _HELD.get(key.strip())
        if kind and value.strip().isdigit():
            yield kind, int(value)


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().strip().decode("utf-8", "backslashreplace")
    except OSError:
        return "?"


# Code of loaded programs


def xlated(program: Any) -> bytes:
    """The instructions of a loaded program as the verifier left them. Empty where the kernel hides them.

    :param program: a descriptor or a live program. :raises LoadError:
    """
    return _code(program, 20, 32)


def jited(program: Any) -> bytes:
    """The machine code of a loaded program. Empty where there is none or the kernel hides it."""
    return _code(program, 16, 24)


def _code(program: Any, length_at: int, pointer_at: int) -> bytes:
    fd = program if isinstance(program, int) else program.fileno()
    try:
        data = bytearray(_PROG_INFO_SIZE)
        syscall.object_info(fd, data)
        size = unpack_from("=I", data, length_at)[0]
        if not size:
            return b""
        room = bytearray(size)
        data = bytearray(_PROG_INFO_SIZE)
        pack_into("=I", data, length_at, size)
        pack_into("=Q", data, pointer_at, syscall.address(room))
        syscall.object_info(fd, data)
    except OSError as error:
        raise refusals.unexpected("cannot read the program's code", error) from None
    # The kernel clears the pointer for those who may not see the code.
    return bytes(room) if unpack_from("=Q", data, pointer_at)[0] else b""


def jited_symbols(program: Any) -> list[tuple[int, int]]:
    """Address and size of the machine code of each of a program's functions; empty where hidden."""
    fd = program if isinstance(program, int) else program.fileno()
    try:
        data = bytearray(_PROG_INFO_SIZE)
        syscall.object_info(fd, data)
        count, lengths = unpack_from("=II", data, 104)
        count = min(count, lengths)
        if not count:
            return []
        addresses, sizes = bytearray(8 * count), bytearray(4 * count)
        data = bytearray(_PROG_INFO_SIZE)
        pack_into("=IIQQ", data, 104, count, count, syscall.address(addresses), syscall.address(sizes))
        syscall.object_info(fd, data)
    except OSError as error:
        raise refusals.unexpected("cannot read the program's symbols", error) from None
    pairs = zip(unpack_from(f"={count}Q", addresses), unpack_from(f"={count}I", sizes), strict=True)
    return [(address, size) for address, size in pairs if address]


def btf_data(number: int) -> bytes:
    """The blob of a loaded BTF object by its id. :raises LoadError: KRN030."""
    try:
        fd = syscall.fd_by_id(commands.BTF_GET_FD_BY_ID, number)
    except OSError as error:
        raise refusals.no_such_object("BTF object", number, error) from None
    try:
        room = bytearray(btf_info(fd).size)
        data = bytearray(32)
        pack_into("=QI", data, 0, syscall.address(room), len(room))
        syscall.object_info(fd, data)
        return bytes(room)
    finally:
        os.close(fd)


def function_type(program: Any, name: str) -> int:
    """The type id of a function of a live program (its entry for an empty name), in the program's own BTF.

    :raises LoadError: KRN021 when it has no type information, or no such function.
    """
    from osmia.btf.reader import Btf
    from osmia.btf.types import Func

    info = program_info(program.fileno())
    if not info.btf_id:
        raise LoadError("KRN021", f"program '{info.name}' has no type information, so nothing can extend it")
    types = Btf.from_bytes(btf_data(info.btf_id))
    wanted = name or program.name
    found = types.ids_by_name(wanted, Func)
    if not found:
        raise LoadError("KRN021", f"program '{info.name}' has no function '{wanted}'")
    return found[0]
