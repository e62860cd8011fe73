"""Links: what the kernel says about one, and its attach point in words."""

from __future__ import annotations

import os
from struct import pack_into, unpack_from

from osmia.diagnostics.errors import OsmiaError
from osmia.kernel import refusals, syscall
from osmia.kernel.inspect_mounts import cgroup_name
from osmia.kernel.inspect_objects import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LINK_INFO_SIZE = 128
_PATH_ROOM = 4096
_RETURN = 1


class LinkInfo:
    """What the kernel says about a link (``struct bpf_link_info``).

    :ivar kind: the link type's name. :ivar prog_id: its program, 0 for none (``struct_ops``).
    :ivar attach_type: the attach type's name, for perf events ``tracepoint``, ``uprobe``, ``uretprobe``, ``kprobe``,
        ``kretprobe`` or ``perf_event``; empty where the kind says it all.
    :ivar details: the kind's own numbers by the kernel's names.
    """

    __slots__ = ("_target", "attach_type", "details", "id", "kind", "prog_id")

    def __init__(self, kind: str, number: int, prog_id: int) -> None:
        self.kind = kind
        self.id = number
        self.prog_id = prog_id
        self.attach_type = ""
        self.details: dict[str, Any] = {}
        self._target: str | None = None

    @property
    def target(self) -> str:
        """What it is attached to, in words: ``sched_switch``, ``/usr/bin/bash+0x1234``, ``eth0``, ``cgroup /a.slice``.

        Names of devices, cgroups and types are looked up when first asked for.
        """
        if self._target is None:
            describe = _TEXTS.get(self.kind)
            try:
                self._target = describe(self) if describe is not None else ""
            except (OSError, OsmiaError):
                self._target = ", ".join(f"{name} {value}" for name, value in self.details.items())
        return self._target

    def plain(self) -> dict[str, Any]:
        """Everything by name, for JSON."""
        return {
            "id": self.id, "kind": self.kind, "prog_id": self.prog_id, "attach_type": self.attach_type,
            "target": self.target, "details": self.details,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"LinkInfo({self.kind} {self.target!r}, id {self.id}, program {self.prog_id})"


def read_link(fd: int) -> LinkInfo:
    """What the kernel says about a link's descriptor. :raises LoadError: KRN033 when it is no link."""
    from osmia.abi import link_types

    try:
        number, link_id, prog_id = unpack_from("=III", _ask(fd))
        row = link_types.TABLE.find(number)
        info = LinkInfo(f"type {number}" if row is None else str(row.name), link_id, prog_id)
        read = _READERS.get(info.kind)
        if read is not None:
            read(info, fd)
    except OSError as error:
        raise refusals.unexpected(f"descriptor {fd} is no link", error) from None
    return info


def _ask(fd: int, *places: tuple[int, str, int]) -> bytearray:
    """The link's record; ``places`` are numbers to put into it first: offset, form, value."""
    data = bytearray(_LINK_INFO_SIZE)
    for offset, form, value in places:
        pack_into(form, data, offset, value)
    syscall.object_info(fd, data)
    return data


def _named(fd: int, pointer_at: int, length_at: int) -> tuple[bytearray, str]:
    """The record, and the text that the kernel writes to a buffer named in it."""
    room = bytearray(_PATH_ROOM)
    data = _ask(fd, (pointer_at, "=Q", syscall.address(room)), (length_at, "=I", len(room)))
    return data, text_of(room)


def _attach_name(number: int) -> str:
    from osmia.abi import attach_types

    row = attach_types.TABLE.find(number)
    return f"type {number}" if row is None else str(row.name)


def _cookie(info: LinkInfo, data: bytearray, offset: int) -> None:
    value = unpack_from("=Q", data, offset)[0]
    if value:
        info.details["cookie"] = value


# Reading


def _raw_tracepoint(info: LinkInfo, fd: int) -> None:
    data, info._target = _named(fd, 16, 24)
    _cookie(info, data, 32)


def _tracing(info: LinkInfo, fd: int) -> None:
    data = _ask(fd)
    attach, obj, number = unpack_from("=III", data, 16)
    info.attach_type = _attach_name(attach) if attach or not number else ""
    info.details = {"target_obj_id": obj, "target_btf_id": number}
    _cookie(info, data, 32)


def _cgroup(info: LinkInfo, fd: int) -> None:
    number, attach = unpack_from("=QI", _ask(fd), 16)
    info.attach_type = _attach_name(attach)
    info.details = {"cgroup_id": number}


def _iter(info: LinkInfo, fd: int) -> None:
    data, name = _named(fd, 16, 24)
    info.details = {"target_name": name}
    if "map" in name:  # bpf_map_elem, bpf_sk_storage_map, sockmap; plain bpf_map walks all of them
        number = unpack_from("=I", data, 28)[0]
        if number:
            info.details["map_id"] = number
    elif name == "cgroup":
        info.details["cgroup_id"], info.details["order"] = unpack_from("=QI", data, 32)
    elif name.startswith("task"):
        for key, value in zip(("tid", "pid"), unpack_from("=II", data, 32), strict=True):
            if value:
                info.details[key] = value


def _netns(info: LinkInfo, fd: int) -> None:
    number, attach = unpack_from("=II", _ask(fd), 16)
    info.attach_type = _attach_name(attach)
    info.details = {"netns_ino": number}


def _xdp(info: LinkInfo, fd: int) -> None:
    info.details = {"ifindex": unpack_from("=I", _ask(fd), 16)[0]}


def _struct_ops(info: LinkInfo, fd: int) -> None:
    info.details = {"map_id": unpack_from("=I", _ask(fd), 16)[0]}


def _netfilter(info: LinkInfo, fd: int) -> None:
    family, hook, priority, flags = unpack_from("=IIiI", _ask(fd), 16)
    info.details = {"pf": family, "hooknum": hook, "priority": priority, "flags": flags}


def _device(info: LinkInfo, fd: int) -> None:
    index, attach = unpack_from("=II", _ask(fd), 16)
    info.attach_type = _attach_name(attach)
    info.details = {"ifindex": index}


def _sockmap(info: LinkInfo, fd: int) -> None:
    number, attach = unpack_from("=II", _ask(fd), 16)
    info.attach_type = _attach_name(attach)
    info.details = {"map_id": number}


def _kprobe_multi(info: LinkInfo, fd: int) -> None:
    count, flags, missed = unpack_from("=IIQ", _ask(fd), 24)
    info.attach_type = "trace_kprobe_multi"
    info.details = {"count": count, "flags": flags, "missed": missed}
    room = bytearray(8 * count)
    if count:
        _ask(fd, (16, "=Q", syscall.address(room)), (24, "=I", count))
        info.details["addrs"] = [address for address in unpack_from(f"={count}Q", room) if address]


def _uprobe_multi(info: LinkInfo, fd: int) -> None:
    data, path = _named(fd, 16, 48)
    count, flags, pid = unpack_from("=III", data, 52)
    info.attach_type = "trace_uprobe_multi"
    info.details = {"path": path, "count": count, "flags": flags}
    if pid:
        info.details["pid"] = pid
    room = bytearray(8 * count)
    if count:
        _ask(fd, (24, "=Q", syscall.address(room)), (52, "=I", count))
        info.details["offsets"] = list(unpack_from(f"={count}Q", room))


_UPROBE, _URETPROBE, _KPROBE, _KRETPROBE, _TRACEPOINT, _EVENT = 1, 2, 3, 4, 5, 6


def _perf_event(info: LinkInfo, fd: int) -> None:
    kind = unpack_from("=I", _ask(fd), 16)[0]
    if kind in (_UPROBE, _URETPROBE):
        data, path = _named(fd, 24, 32)
        info.attach_type = "uprobe" if kind == _UPROBE else "uretprobe"
        info.details = {"file_name": path, "offset": unpack_from("=I", data, 36)[0]}
        _cookie(info, data, 40)
        counter = unpack_from("=Q", data, 48)[0]
        if counter:
            info.details["ref_ctr_offset"] = counter
    elif kind in (_KPROBE, _KRETPROBE):
        data, name = _named(fd, 24, 32)
        info.attach_type = "kprobe" if kind == _KPROBE else "kretprobe"
        offset, address, missed = unpack_from("=IQQ", data, 36)
        info.details = {"func_name": name, "offset": offset, "addr": address, "missed": missed}
        _cookie(info, data, 56)
    elif kind == _TRACEPOINT:
        data, name = _named(fd, 24, 32)
        info.attach_type = "tracepoint"
        info.details = {"tp_name": name}
        _cookie(info, data, 40)
    elif kind == _EVENT:
        data = _ask(fd)
        config, event = unpack_from("=QI", data, 24)
        info.attach_type = "perf_event"
        info.details = {"type": event, "config": config}
        _cookie(info, data, 40)


_READERS: dict[str, Callable[[LinkInfo, int], None]] = {
    "raw_tracepoint": _raw_tracepoint, "tracing": _tracing, "cgroup": _cgroup, "iter": _iter, "netns": _netns,
    "xdp": _xdp, "struct_ops": _struct_ops, "netfilter": _netfilter, "tcx": _device, "netkit": _device,
    "sockmap": _sockmap, "kprobe_multi": _kprobe_multi, "uprobe_multi": _uprobe_multi, "perf_event": _perf_event,
}  # fmt: skip


# In words


def _detached(info: LinkInfo, key: str) -> bool:
    """A link whose device, cgroup or namespace went away, or that was detached, names none."""
    return not info.details.get(key)


def _tracing_text(info: LinkInfo) -> str:
    from osmia.kernel import inspect

    number, obj = info.details["target_btf_id"], info.details["target_obj_id"]
    program = inspect.program_info(info.prog_id)
    if program.attach_btf_obj_id == obj or not program.attach_btf_obj_id:
        return inspect.attach_target(program) or f"BTF type {number} of object {obj}"
    # A function of another program: the object is that program.
    target = inspect.program_info(obj)
    return f"{inspect.type_name(target.btf_id, number)} of program {target.name} (id {obj})"


def _cgroup_text(info: LinkInfo) -> str:
    return "(detached)" if _detached(info, "cgroup_id") else cgroup_name(info.details["cgroup_id"])


def _iter_text(info: LinkInfo) -> str:
    text = str(info.details["target_name"])
    if "map_id" in info.details:
        return f"{text} of {_map_name(info.details['map_id'])}"
    if "cgroup_id" in info.details:
        return f"{text}, {cgroup_name(info.details['cgroup_id'])}"
    if "pid" in info.details:
        return f"{text} of process {info.details['pid']}"
    if "tid" in info.details:
        return f"{text} of thread {info.details['tid']}"
    return text


def _map_name(number: int) -> str:
    from osmia.kernel import inspect

    try:
        name = inspect.map_info(number).name
    except OsmiaError:
        name = ""
    return f"map {name} (id {number})" if name else f"map {number}"


def _netns_text(info: LinkInfo) -> str:
    number = info.details["netns_ino"]
    if not number:
        return "(detached)"
    try:
        if os.stat("/proc/self/ns/net").st_ino == number:
            return "this network namespace"
        for name in os.listdir("/run/netns"):
            if os.stat(f"/run/netns/{name}").st_ino == number:
                return f"network namespace {name}"
    except OSError:
        pass
    return f"network namespace {number}"


def _device_text(info: LinkInfo) -> str:
    index = info.details["ifindex"]
    if not index:
        return "(detached)"
    # The number is one of the device's own network namespace. Only where the program is seen on our device of that
    # number is it ours.
    import socket

    try:
        name = socket.if_indextoname(index)
        here = _xdp_programs(index) if info.kind == "xdp" else _attached_programs(index, info.attach_type)
    except OSError:
        name, here = "", set()
    return name if info.prog_id in here else f"device {index} of another network namespace"


def _attached_programs(index: int, attach_type: str) -> set[int]:
    from osmia.abi import attach_types

    return set(syscall.prog_query(index, attach_types.number(attach_type)))


def _xdp_programs(index: int) -> set[int]:
    """Ids of the XDP programs of a device of this network namespace."""
    from osmia.kernel.netlink import Route

    with Route() as route:
        return {route.xdp_of(index)[1]}


def _struct_ops_text(info: LinkInfo) -> str:
    return "(detached)" if _detached(info, "map_id") else _map_name(info.details["map_id"])


_FAMILIES = {1: "inet", 2: "ipv4", 3: "arp", 5: "netdev", 7: "bridge", 10: "ipv6"}
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")


def _netfilter_text(info: LinkInfo) -> str:
    details = info.details
    family = _FAMILIES.get(details["pf"], f"family {details['pf']}")
    hook = _HOOKS[details["hooknum"]] if details["hooknum"] < len(_HOOKS) else f"hook {details['hooknum']}"
    return f"{family} {hook}, priority {details['priority']}"


def _kprobe_multi_text(info: LinkInfo) -> str:
    count = info.details["count"]
    places = f"{count} kernel functions" if count != 1 else "1 kernel function"
    addresses = info.details.get("addrs", [])
    if addresses:
        from osmia.symbols.kernel import KernelSymbols

        names = [name for name, _, _ in KernelSymbols().resolve(addresses[:3])]
        places = ", ".join(names) + (f" and {count - 3} more" if count > 3 else "")
    return places + (" (return)" if info.details["flags"] & _RETURN else "")


def _uprobe_multi_text(info: LinkInfo) -> str:
    details = info.details
    offsets = [f"{offset:#x}" for offset in details.get("offsets", ())]
    text = details["path"] or "(deleted file)"
    text += "+" + ",".join(offsets[:3]) + (f" and {len(offsets) - 3} more" if len(offsets) > 3 else "")
    text += " (return)" if details["flags"] & _RETURN else ""
    return text + (f" of process {details['pid']}" if "pid" in details else "")


_SOFTWARE = (
    "cpu-clock", "task-clock", "page-faults", "context-switches", "cpu-migrations", "minor-faults", "major-faults",
    "alignment-faults", "emulation-faults", "dummy", "bpf-output", "cgroup-switches",
)  # fmt: skip
_HARDWARE = (
    "cpu-cycles", "instructions", "cache-references", "cache-misses", "branch-instructions", "branch-misses",
    "bus-cycles", "stalled-cycles-frontend", "stalled-cycles-backend", "ref-cycles",
)  # fmt: skip
_CACHES = ("L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node")
_CACHE_OPS = ("load", "store", "prefetch")


def _perf_event_text(info: LinkInfo) -> str:
    details = info.details
    if "file_name" in details:
        return f"{details['file_name'] or '(unknown file)'}+{details['offset']:#x}"
    if "func_name" in details:
        name = details["func_name"] or f"{details['addr']:#x}"
        return name + (f"+{details['offset']:#x}" if details["offset"] else "")
    if "tp_name" in details:
        return str(details["tp_name"])
    return event_name(details["type"], details["config"]) if details else ""


def event_name(kind: int, config: int) -> str:
    """A perf event by the names of perf(1): ``cpu-clock``, ``branch-misses``, ``L1-dcache-load-misses``."""
    for number, names in ((0, _HARDWARE), (1, _SOFTWARE)):
        if kind == number and config < len(names):
            return names[config]
    if kind == 3:
        cache, operation, result = config & 0xFF, config >> 8 & 0xFF, config >> 16
        if cache < len(_CACHES) and operation < len(_CACHE_OPS) and result < 2:
            plural = "es" if operation == 2 else "s"
            return f"{_CACHES[cache]}-{_CACHE_OPS[operation]}{'-misses' if result else plural}"
    return f"event {kind}:{config:#x}"


_TEXTS: dict[str, Callable[[LinkInfo], str]] = {
    "tracing": _tracing_text, "cgroup": _cgroup_text, "iter": _iter_text, "netns": _netns_text, "xdp": _device_text,
    "struct_ops": _struct_ops_text, "netfilter": _netfilter_text, "tcx": _device_text, "netkit": _device_text,
    "sockmap": _struct_ops_text, "kprobe_multi": _kprobe_multi_text, "uprobe_multi": _uprobe_multi_text,
    "perf_event": _perf_event_text,
}  # fmt: skip
