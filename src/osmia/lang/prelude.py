"""Kernel code that every program may need: the process filter, ids in a pid namespace, following a command's process
tree,
arguments of USDT probes.

It is written in the language of program files and compiled with the program that uses it. The session sets
``osmia_filter`` before
the program is loaded; the verifier then sees constants and takes unused tests out.
"""

from __future__ import annotations

from osmia.helpers import (
    bpf_get_current_ancestor_cgroup_id,
    bpf_get_current_pid_tgid,
    bpf_get_ns_current_pid_tgid,
)
from osmia.lang.builtins import attach_cookie, comm, kernel_read, user_read
from osmia.lang.maps import Table
from osmia.lang.program import Var
from osmia.lang.structs import struct_class
from osmia.lang.types import Array, Char, s16, s64, u8, u16, u32, u64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    from osmia.ktypes import task_struct

    _C = TypeVar("_C")
    _Settings = Var[Any]

    @dataclass_transform()
    def _struct(cls: type[_C]) -> type[_C]: ...
else:
    _Settings = Var
    _struct = struct_class

SELF, PID, TID, CGROUP, COMM, TREE, PIDNS = (1 << bit for bit in range(7))
"""Bits of ``Filter.flags``: what is tested, and whether ids are those of a pid namespace."""


@_struct
class Filter:
    """Settings of the process filter."""

    flags: u32
    self_tgid: u32
    pid: u32
    tid: u32
    cgroup_level: u32
    cgroup_id: u64
    comm: Char[16]
    pidns_dev: u64
    pidns_ino: u64


@_struct
class PidNs:
    """What bpf_get_ns_current_pid_tgid fills (``struct bpf_pidns_info``)."""

    pid: u32
    tgid: u32


class Setting(_Settings):
    """A variable that the session sets before loading and nobody changes after."""

    __slots__ = ()
    frozen = True


osmia_filter: Setting = Setting(Filter, None, "osmia_filter")
osmia_tree: Table[u32, u8] = Table(
    None, "hash", key=u32, value=u8, max_entries=65_536, name="osmia_tree", role="filter"
)  # fmt: skip


def ids_in_namespace() -> u64:
    """Process and thread id of the current task in the session's pid namespace; 0 where it has none there."""
    if osmia_filter.value.flags & PIDNS:
        ns = PidNs(pid=0, tgid=0)
        if bpf_get_ns_current_pid_tgid(osmia_filter.value.pidns_dev, osmia_filter.value.pidns_ino, ns) != 0:
            return 0
        return u64(ns.tgid) << 32 | ns.pid
    return u64(bpf_get_current_pid_tgid())


def selects_current() -> bool:
    """Whether the filter lets an event of the current task through."""
    flags = osmia_filter.value.flags
    if flags & (SELF | PID | TID):
        ids: u64 = ids_in_namespace()
        tgid = u32(ids >> 32)
        if flags & SELF and tgid == osmia_filter.value.self_tgid:
            return False
        if flags & PID and tgid != osmia_filter.value.pid:
            return False
        if flags & TID and u32(ids) != osmia_filter.value.tid:
            return False
    if flags & TREE and u32(bpf_get_current_pid_tgid() >> 32) not in osmia_tree:
        return False
    if flags & CGROUP:
        cgroup: u64 = bpf_get_current_ancestor_cgroup_id(osmia_filter.value.cgroup_level)
        if cgroup != osmia_filter.value.cgroup_id:
            return False
    return not (flags & COMM and comm() != osmia_filter.value.comm)


def selects_process(tgid: u32) -> bool:
    """Whether the filter lets an event about a process through; thread, cgroup and name cannot be told from its id."""
    flags = osmia_filter.value.flags
    if flags & SELF and tgid == osmia_filter.value.self_tgid:
        return False
    if flags & PID and tgid != osmia_filter.value.pid:
        return False
    return not (flags & TREE and tgid not in osmia_tree)


# -- a command's process tree -----------------------------------------------------------------------------------------


def osmia_tree_fork(parent: task_struct, child: task_struct) -> None:
    """A child of a followed process is followed."""
    if parent.tgid != child.tgid and u32(parent.tgid) in osmia_tree:
        osmia_tree[child.tgid] = 1


def osmia_tree_exit(task: task_struct) -> None:
    """A process that is gone for good makes room."""
    if task.pid == task.tgid:
        del osmia_tree[task.tgid]


# -- USDT arguments --------------------------------------------------------------------------------

CONSTANT, REGISTER, MEMORY = range(3)


@_struct
class UsdtArg:
    """Where one argument is, as the session reads it from the probe's note.

    ``kind``: CONSTANT (``value``), REGISTER, or MEMORY at ``base + index * scale + value``. ``base`` and ``index``
    are byte
    offsets in ``pt_regs``, -1 for none. The value has ``bits`` bits from bit ``shift`` of what was read; ``signed``
    extends its sign.
    """

    value: s64
    base: s16
    index: s16
    scale: u16
    kind: u8
    bits: u8
    shift: u8
    signed: u8
    index_bits: u8
    index_signed: u8


@_struct
class UsdtSpec:
    """The arguments of one probe location."""

    count: u64
    args: Array[UsdtArg, 12]


osmia_usdt: Table[u64, UsdtSpec] = Table(
    None, "hash", key=u64, value=UsdtSpec, max_entries=4_096, name="osmia_usdt", role="usdt"
)  # fmt: skip


def usdt_value(regs: u64, arg: UsdtArg) -> u64:
    """The value of an argument; ``regs`` is the address of the registers."""
    value = u64(arg.value)
    if arg.kind != CONSTANT:
        base: u64 = 0
        if arg.base >= 0:
            base = kernel_read(regs + u64(arg.base), u64)
        if arg.kind == REGISTER:
            value = base
        else:
            if arg.index >= 0:
                index: u64 = kernel_read(regs + u64(arg.index), u64)
                if arg.index_bits == 32:
                    index = u64(s64(index << 32) >> 32) if arg.index_signed != 0 else index & 0xFFFFFFFF
                base += index * arg.scale
            value = user_read(base + value, u64)
    value = value >> arg.shift
    unused = u64(64 - arg.bits)
    if arg.signed != 0:
        return u64(s64(value << unused) >> unused)
    return value << unused >> unused


def usdt_argument(regs: u64, number: u32) -> u64:
    """One argument of the probe that fired; 0 where the probe has fewer."""
    spec = osmia_usdt.get(attach_cookie())
    if spec is None or number >= spec.count or number >= 12:
        return 0
    return usdt_value(regs, spec.args[number])
