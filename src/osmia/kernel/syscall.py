"""Raw system calls: the only place that issues them.

Everything here takes and gives numbers and bytes and reports failure as ``OSError``; the modules around it turn
that into errors that explain. Attribute blocks of bpf(2) are packed from the layouts of ``union bpf_attr`` and
``struct perf_event_attr`` in the uapi headers (Linux 6.18); a kernel that knows less accepts them as long as the part
that it does not know is zero.
"""

from __future__ import annotations

import ctypes
import errno
import os
from struct import pack, pack_into, unpack_from

from osmia.abi import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    Data = bytes | bytearray

# bpf, perf_event_open and setns by machine; calls that came with Linux 5.1 or later have one number everywhere.
_NUMBERS = {
    "x86_64": (321, 298, 308),
    "aarch64": (280, 241, 268),
    "riscv64": (280, 241, 268),
    "loongarch64": (280, 241, 268),
    "s390x": (351, 331, 339),
    "ppc64le": (361, 319, 350),
}
_FSOPEN, _FSCONFIG, _FSMOUNT, _PIDFD_OPEN = 430, 431, 432, 434
_BPF, _PERF_EVENT_OPEN, _SETNS = _NUMBERS.get(os.uname().machine, (-1, -1, -1))

OBJ_NAME_LEN = 16
"""Bytes of an object's name with its final NUL (``BPF_OBJ_NAME_LEN``)."""

_libc = ctypes.CDLL(None, use_errno=True)
_long = ctypes.c_long


def _prototype(arguments: int) -> ctypes._NamedFuncPointer:
    function = _libc["syscall"]
    function.restype = _long
    function.argtypes = (_long,) * (arguments + 1)
    return function


_call2, _call3, _call5 = _prototype(2), _prototype(3), _prototype(5)
_from_buffer = ctypes.c_char.from_buffer
_addressof = ctypes.addressof
_get_errno = ctypes.get_errno


def address(buffer: bytearray) -> int:
    """Where a buffer's bytes are; valid while it lives and keeps its size. 0 for an empty one."""
    return _addressof(_from_buffer(buffer)) if buffer else 0


def _fail() -> NoReturn:
    number = _get_errno()
    raise OSError(number, os.strerror(number))


def bpf(command: int, attr: bytearray) -> int:
    """bpf(2). The kernel may write results into ``attr``.

    :raises OSError: what the kernel answered; ``ENOSYS`` on a machine whose number for it is not known.
    """
    result: int = _call3(_BPF, command, _addressof(_from_buffer(attr)), len(attr))
    if result < 0:
        _fail()
    return result


def bpf_at(command: int, attr_address: int, size: int) -> int:
    """As :func:`bpf` for an attribute block that lies at a fixed address; returns ``-errno`` instead of raising."""
    result: int = _call3(_BPF, command, attr_address, size)
    return result if result >= 0 else -_get_errno()


def object_name(name: str) -> bytes:
    """A name as the kernel takes it: at most 15 of the characters ``[A-Za-z0-9_.]``, others become ``_``."""
    text = "".join(char if char.isascii() and (char.isalnum() or char in "_.") else "_" for char in name)
    return text[: OBJ_NAME_LEN - 1].encode()


# Maps


def map_create(
    kind: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    *,
    inner_fd: int = 0,
    numa_node: int = 0,
    name: bytes = b"",
    btf_fd: int = 0,
    btf_key: int = 0,
    btf_value: int = 0,
    extra: int = 0,
) -> int:
    """``BPF_MAP_CREATE``: the new map's descriptor."""
    attr = pack(
        "=7I16s5IQ", kind, key_size, value_size, max_entries, flags, inner_fd, numa_node, name, 0, btf_fd, btf_key,
        btf_value, 0, extra,
    )  # fmt: skip
    return bpf(commands.MAP_CREATE, bytearray(attr))


def map_freeze(fd: int) -> None:
    """``BPF_MAP_FREEZE`` (Linux 5.2): no more writes from user space."""
    bpf(commands.MAP_FREEZE, bytearray(pack("=I", fd)))


class MapCalls:
    """The element commands of one map, with buffers of its own, so that a call costs little.

    Buffers are shared by all calls: whoever uses them holds a lock (:mod:`osmia.kernel.maps` does).

    :ivar key: buffer of one key. :ivar value: buffer of one value as user space sees it (all CPUs).
    :ivar next: buffer of the key after ``key``.
    """

    __slots__ = ("_at", "_attr", "_next_at", "_next_attr", "_value_at", "key", "next", "value")

    def __init__(self, fd: int, key_size: int, value_size: int) -> None:
        self.key = bytearray(max(key_size, 1))
        self.value = bytearray(max(value_size, 1))
        self.next = bytearray(max(key_size, 1))
        key_at = address(self.key) if key_size else 0
        self._value_at = address(self.value)
        self._attr = bytearray(pack("=IIQQQ", fd, 0, key_at, self._value_at, 0))
        self._next_attr = bytearray(pack("=IIQQQ", fd, 0, key_at, address(self.next), 0))
        self._at = address(self._attr)
        self._next_at = address(self._next_attr)

    def lookup(self, flags: int = 0) -> int:
        """``BPF_MAP_LOOKUP_ELEM``: the value of ``key`` goes to ``value``. 0 or ``-errno``, as all here."""
        pack_into("=Q", self._attr, 24, flags)
        return bpf_at(commands.MAP_LOOKUP_ELEM, self._at, 32)

    def update(self, flags: int = 0) -> int:
        """``BPF_MAP_UPDATE_ELEM``: ``value`` becomes the value of ``key``."""
        pack_into("=Q", self._attr, 24, flags)
        return bpf_at(commands.MAP_UPDATE_ELEM, self._at, 32)

    def delete(self) -> int:
        """``BPF_MAP_DELETE_ELEM`` of ``key``."""
        pack_into("=QQ", self._attr, 16, 0, 0)
        result = bpf_at(commands.MAP_DELETE_ELEM, self._at, 32)
        pack_into("=Q", self._attr, 16, self._value_at)
        return result

    def lookup_and_delete(self, flags: int = 0) -> int:
        """``BPF_MAP_LOOKUP_AND_DELETE_ELEM`` of ``key`` (hash maps: Linux 5.14)."""
        pack_into("=Q", self._attr, 24, flags)
        return bpf_at(commands.MAP_LOOKUP_AND_DELETE_ELEM, self._at, 32)

    def next_key(self, first: bool) -> int:
        """``BPF_MAP_GET_NEXT_KEY``: the key after ``key``, or the first one, goes to ``next``."""
        if first:
            attr = bytearray(self._next_attr)
            pack_into("=Q", attr, 8, 0)
            return bpf_at(commands.MAP_GET_NEXT_KEY, address(attr), 32)
        return bpf_at(commands.MAP_GET_NEXT_KEY, self._next_at, 32)


def map_batch(
    command: int,
    fd: int,
    count: int,
    keys: bytearray,
    values: bytearray | None,
    position: bytearray | None = None,
    following: bytearray | None = None,
) -> tuple[int, int]:
    """One of the ``BPF_MAP_*_BATCH`` commands (Linux 5.6).

    :param position: where to go on, ``None`` from the start. :param following: receives where to go on next.
    :return: the number of entries done, and 0 or the error's number (``ENOENT`` at the end of the map).
    """
    attr = bytearray(
        pack(
            "=QQQQIIQQ", address(position) if position else 0, address(following) if following else 0,
            address(keys), address(values) if values is not None else 0, count, fd, 0, 0,
        )
    )  # fmt: skip
    result = bpf_at(command, address(attr), len(attr))
    done: int = unpack_from("=I", attr, 32)[0]
    return done, -result


# Programs and BTF


def prog_load(
    prog_type: int,
    insns: Data,
    license_: str,
    *,
    name: bytes = b"",
    attach_type: int = 0,
    flags: int = 0,
    kernel_version: int = 0,
    ifindex: int = 0,
    btf_fd: int = 0,
    func_info: Data = b"",
    line_info: Data = b"",
    attach_btf_id: int = 0,
    attach_fd: int = 0,
    fd_array: Sequence[int] = (),
    log_level: int = 0,
    log: bytearray | None = None,
) -> tuple[int, int]:
    """``BPF_PROG_LOAD``: the descriptor, or ``-errno``, and the size the whole log would take (0 before Linux 6.4).

    :param func_info: records of 8 bytes. :param line_info: records of 16 bytes.
    :param attach_fd: descriptor of the program to extend, or of the BTF object ``attach_btf_id`` belongs to.
    """
    code, text = bytearray(insns), bytearray(license_.encode() + b"\0")
    funcs, lines = bytearray(func_info), bytearray(line_info)
    fds = bytearray(pack(f"={len(fd_array)}i", *fd_array))
    attr = bytearray(
        pack(
            "=IIQQIIQII16sIIIIQIIQIIIIQQII", prog_type, len(code) // 8, address(code), address(text), log_level,
            len(log) if log else 0, address(log) if log else 0, kernel_version, flags, name, ifindex, attach_type,
            btf_fd, 8 if funcs else 0, address(funcs), len(funcs) // 8, 16 if lines else 0, address(lines),
            len(lines) // 16, attach_btf_id, attach_fd, 0, address(fds), 0, 0, 0,
        )
    )  # fmt: skip
    at = address(attr)
    # The verifier gives up with EAGAIN when a signal is pending.
    for _ in range(5):
        result = bpf_at(commands.PROG_LOAD, at, len(attr))
        if result != -errno.EAGAIN:
            break
    true_size: int = unpack_from("=I", attr, 140)[0]
    return result, true_size


def btf_load(data: Data, *, log_level: int = 0, log: bytearray | None = None) -> int:
    """``BPF_BTF_LOAD`` (Linux 4.18): the descriptor or ``-errno``."""
    blob = bytearray(data)
    attr = bytearray(
        pack("=QQIII", address(blob), address(log) if log else 0, len(blob), len(log) if log else 0, log_level)
    )
    return bpf_at(commands.BTF_LOAD, address(attr), len(attr))


def prog_test_run(
    prog_fd: int,
    *,
    data_in: Data = b"",
    data_out: bytearray | None = None,
    ctx_in: Data = b"",
    ctx_out: bytearray | None = None,
    repeat: int = 0,
    flags: int = 0,
    cpu: int = 0,
    batch_size: int = 0,
) -> tuple[int, int, int, int]:
    """``BPF_PROG_TEST_RUN``: return value, duration (ns of one run), bytes of data and of context that came out.

    :param ctx_in: of ``syscall`` programs a ``bytearray``: the kernel writes the context back into it.

    :raises OSError: ``ENOSPC`` when ``data_out`` is too small, ``ENOTSUPP`` (524) for a type that cannot be run.
    """
    data = bytearray(data_in)
    ctx = ctx_in if isinstance(ctx_in, bytearray) else bytearray(ctx_in)
    attr = bytearray(
        pack(
            "=IIIIQQIIIIQQIII4x", prog_fd, 0, len(data), len(data_out) if data_out else 0, address(data),
            address(data_out) if data_out else 0, repeat, 0, len(ctx), len(ctx_out) if ctx_out else 0, address(ctx),
            address(ctx_out) if ctx_out else 0, flags, cpu, batch_size,
        )
    )  # fmt: skip
    bpf(commands.PROG_TEST_RUN, attr)
    retval, out_size, duration, ctx_size = (unpack_from("=I", attr, at)[0] for at in (4, 12, 36, 44))
    return retval, duration, out_size, ctx_size


# Objects: pins, ids, information


def obj_pin(fd: int, path: str) -> None:
    """``BPF_OBJ_PIN``: gives an object a name in a bpf file system."""
    name = bytearray(os.fsencode(path) + b"\0")
    bpf(commands.OBJ_PIN, bytearray(pack("=QII", address(name), fd, 0)))


def obj_get(path: str, flags: int = 0) -> int:
    """``BPF_OBJ_GET``: a descriptor of a pinned object."""
    name = bytearray(os.fsencode(path) + b"\0")
    return bpf(commands.OBJ_GET, bytearray(pack("=QII", address(name), 0, flags)))


def next_id(command: int, start: int) -> int:
    """``BPF_*_GET_NEXT_ID``: the first id above ``start``, 0 when there is none."""
    attr = bytearray(pack("=III", start, 0, 0))
    result = bpf_at(command, address(attr), len(attr))
    if result == -errno.ENOENT:
        return 0
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    found: int = unpack_from("=I", attr, 4)[0]
    return found


def fd_by_id(command: int, number: int) -> int:
    """``BPF_*_GET_FD_BY_ID``."""
    return bpf(command, bytearray(pack("=III", number, 0, 0)))


def object_info(fd: int, info: bytearray) -> int:
    """``BPF_OBJ_GET_INFO_BY_FD``: fills ``info``, which may hold addresses of further buffers; bytes filled."""
    attr = bytearray(pack("=IIQ", fd, len(info), address(info)))
    bpf(commands.OBJ_GET_INFO_BY_FD, attr)
    length: int = unpack_from("=I", attr, 4)[0]
    return length


def enable_stats(kind: int = 0) -> int:
    """``BPF_ENABLE_STATS`` (Linux 5.8): run statistics are kept while the descriptor is open."""
    return bpf(commands.ENABLE_STATS, bytearray(pack("=I", kind)))


# Attaching


def raw_tracepoint_open(prog_fd: int, name: str | None, cookie: int = 0) -> int:
    """``BPF_RAW_TRACEPOINT_OPEN``: a link; ``name`` is ``None`` for programs that were loaded for a BTF target."""
    text = bytearray(name.encode() + b"\0") if name is not None else bytearray()
    return bpf(commands.RAW_TRACEPOINT_OPEN, bytearray(pack("=QIIQ", address(text), prog_fd, 0, cookie)))


def link_create(prog_fd: int, target: int, attach_type: int, flags: int = 0, extra: Data = b"") -> int:
    """``BPF_LINK_CREATE`` (Linux 5.7).

    :param target: a descriptor or interface index. :param extra: what belongs to this kind of link, from byte 16 on.
    """
    attr = bytearray(pack("=IIII", prog_fd, target, attach_type, flags) + bytes(extra).ljust(48, b"\0"))
    return bpf(commands.LINK_CREATE, attr)


def link_update(link_fd: int, prog_fd: int, old_fd: int = 0) -> None:
    """``BPF_LINK_UPDATE``: another program on the same link, if ``old_fd`` still is its program."""
    replace = 4  # BPF_F_REPLACE
    bpf(commands.LINK_UPDATE, bytearray(pack("=IIII", link_fd, prog_fd, replace if old_fd else 0, old_fd)))


def link_detach(link_fd: int) -> None:
    """``BPF_LINK_DETACH`` (Linux 5.9)."""
    bpf(commands.LINK_DETACH, bytearray(pack("=I", link_fd)))


def prog_attach(target: int, prog_fd: int, attach_type: int, flags: int = 0, replace_fd: int = 0) -> None:
    """``BPF_PROG_ATTACH``: attaches without a link; it stays when the process ends."""
    attr = pack("=IIIIIIQ", target, prog_fd, attach_type, flags, replace_fd, 0, 0)
    bpf(commands.PROG_ATTACH, bytearray(attr))


def prog_detach(target: int, prog_fd: int, attach_type: int) -> None:
    """``BPF_PROG_DETACH``."""
    bpf(commands.PROG_DETACH, bytearray(pack("=IIIIIIQ", target, prog_fd, attach_type, 0, 0, 0, 0)))


def prog_query(target: int, attach_type: int, flags: int = 0, room: int = 64) -> list[int]:
    """``BPF_PROG_QUERY``: ids of the programs attached to a cgroup, network namespace, device or map."""
    ids = bytearray(4 * room)
    attr = bytearray(pack("=IIIIQIIQQQQ", target, attach_type, flags, 0, address(ids), room, 0, 0, 0, 0, 0))
    try:
        bpf(commands.PROG_QUERY, attr)
    except OSError as error:
        if error.errno != errno.ENOSPC or room >= 1 << 16:
            raise
        return prog_query(target, attach_type, flags, room * 16)
    count: int = unpack_from("=I", attr, 24)[0]
    return list(unpack_from(f"={count}I", ids))


def iter_create(link_fd: int) -> int:
    """``BPF_ITER_CREATE``: a descriptor whose reads run an iterator's program."""
    return bpf(commands.ITER_CREATE, bytearray(pack("=II", link_fd, 0)))


def task_fd_query(pid: int, fd: int) -> tuple[int, int, int, int, str]:
    """``BPF_TASK_FD_QUERY``: program id, kind of perf event, offset, address and name of what it probes."""
    room = bytearray(256)
    attr = bytearray(pack("=IIIIQIIQQ", pid, fd, 0, len(room), address(room), 0, 0, 0, 0))
    bpf(commands.TASK_FD_QUERY, attr)
    prog_id, kind, offset, place = unpack_from("=IIQQ", attr, 24)
    return prog_id, kind, offset, place, bytes(room).partition(b"\0")[0].decode("utf-8", "backslashreplace")


PERF_ATTR_SIZE = 112
"""Bytes of ``struct perf_event_attr`` that we fill: version 5, Linux 4.1."""


def perf_attr(
    kind: int,
    config: int,
    *,
    period: int = 0,
    frequency: bool = False,
    sample_type: int = 0,
    disabled: bool = True,
    inherit: bool = False,
    exclude_user: bool = False,
    exclude_kernel: bool = False,
    wakeup: int = 0,
    config1: int = 0,
    config2: int = 0,
) -> bytearray:
    """A ``struct perf_event_attr``. ``period`` counts events, or with ``frequency`` samples a second."""
    bits = disabled | inherit << 1 | exclude_user << 4 | exclude_kernel << 5 | frequency << 10
    return bytearray(
        pack(
            "=IIQQQQQIIQQQQIiQII", kind, PERF_ATTR_SIZE, config, period, sample_type, 0, bits, wakeup, 0, config1,
            config2, 0, 0, 0, 0, 0, 0, 0,
        )
    )  # fmt: skip


def perf_event_open(attr: bytearray, pid: int, cpu: int, flags: int = 0, group: int = -1) -> int:
    """perf_event_open(2); the descriptor closes on exec."""
    close_on_exec = 8  # PERF_FLAG_FD_CLOEXEC
    result: int = _call5(_PERF_EVENT_OPEN, address(attr), pid, cpu, group, flags | close_on_exec)
    if result < 0:
        _fail()
    return result


def ioctl(fd: int, request: int, argument: int = 0) -> int:
    """ioctl(2) with a number as its argument."""
    from fcntl import ioctl as call

    return call(fd, request, argument)


# Mounts, namespaces, processes


def detached_mount(kind: str) -> int:
    """A new instance of a file system that is mounted nowhere (Linux 5.2): a directory descriptor to open files in."""
    close_on_exec, create = 1, 6  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC; FSCONFIG_CMD_CREATE
    name = bytearray(kind.encode() + b"\0")
    context: int = _call2(_FSOPEN, address(name), close_on_exec)
    if context < 0:
        _fail()
    try:
        if _call5(_FSCONFIG, context, create, 0, 0, 0) < 0:
            _fail()
        mount: int = _call3(_FSMOUNT, context, close_on_exec, 0)
        if mount < 0:
            _fail()
        return mount
    finally:
        os.close(context)


def setns(fd: int, kind: int) -> None:
    """setns(2): the calling thread enters a namespace; ``kind`` is its ``CLONE_NEW*`` flag."""
    if _call2(_SETNS, fd, kind) < 0:
        _fail()


def unshare(kind: int) -> None:
    """unshare(2): the calling thread gets a namespace of its own; ``kind`` is its ``CLONE_NEW*`` flag."""
    if _libc.unshare(kind) < 0:
        _fail()


def pidfd_open(pid: int) -> int:
    """pidfd_open(2) (Linux 5.3); closes on exec."""
    result: int = _call2(_PIDFD_OPEN, pid, 0)
    if result < 0:
        _fail()
    return result
