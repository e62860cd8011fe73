"""Osmia: program the Linux kernel from Python.

Everything a program file needs is here: ``from osmia import Program, u32, u64, Char, pid, comm``. Names load when
they are first
used, so that ``import osmia`` stays cheap.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.api import Program as Program
    from osmia.diagnostics import OsmiaError as OsmiaError
    from osmia.lang.builtins import addr as addr
    from osmia.lang.builtins import ancestor_cgroup_id as ancestor_cgroup_id
    from osmia.lang.builtins import attach_cookie as attach_cookie
    from osmia.lang.builtins import boot_ns as boot_ns
    from osmia.lang.builtins import cast as cast
    from osmia.lang.builtins import cgroup_id as cgroup_id
    from osmia.lang.builtins import comm as comm
    from osmia.lang.builtins import cpu as cpu
    from osmia.lang.builtins import current as current
    from osmia.lang.builtins import enum_exists as enum_exists
    from osmia.lang.builtins import enum_value as enum_value
    from osmia.lang.builtins import exists as exists
    from osmia.lang.builtins import field_exists as field_exists
    from osmia.lang.builtins import field_offset as field_offset
    from osmia.lang.builtins import field_size as field_size
    from osmia.lang.builtins import func_ip as func_ip
    from osmia.lang.builtins import gid as gid
    from osmia.lang.builtins import htonl as htonl
    from osmia.lang.builtins import htonll as htonll
    from osmia.lang.builtins import htons as htons
    from osmia.lang.builtins import jiffies as jiffies
    from osmia.lang.builtins import kconfig as kconfig
    from osmia.lang.builtins import kernel_bytes as kernel_bytes
    from osmia.lang.builtins import kernel_read as kernel_read
    from osmia.lang.builtins import kernel_str as kernel_str
    from osmia.lang.builtins import kstack as kstack
    from osmia.lang.builtins import ksym as ksym
    from osmia.lang.builtins import ktime_ns as ktime_ns
    from osmia.lang.builtins import log2 as log2
    from osmia.lang.builtins import ntohl as ntohl
    from osmia.lang.builtins import ntohll as ntohll
    from osmia.lang.builtins import ntohs as ntohs
    from osmia.lang.builtins import numa_node as numa_node
    from osmia.lang.builtins import pid as pid
    from osmia.lang.builtins import printk as printk
    from osmia.lang.builtins import random_u32 as random_u32
    from osmia.lang.builtins import selected as selected
    from osmia.lang.builtins import seq_print as seq_print
    from osmia.lang.builtins import seq_write as seq_write
    from osmia.lang.builtins import signed as signed
    from osmia.lang.builtins import tai_ns as tai_ns
    from osmia.lang.builtins import tid as tid
    from osmia.lang.builtins import type_exists as type_exists
    from osmia.lang.builtins import type_size as type_size
    from osmia.lang.builtins import uid as uid
    from osmia.lang.builtins import unsigned as unsigned
    from osmia.lang.builtins import user_bytes as user_bytes
    from osmia.lang.builtins import user_read as user_read
    from osmia.lang.builtins import user_str as user_str
    from osmia.lang.builtins import ustack as ustack
    from osmia.lang.contexts import DeviceContext as DeviceContext
    from osmia.lang.contexts import IterContext as IterContext
    from osmia.lang.contexts import PerfContext as PerfContext
    from osmia.lang.contexts import PtRegs as PtRegs
    from osmia.lang.contexts import RawArgs as RawArgs
    from osmia.lang.contexts import SkbContext as SkbContext
    from osmia.lang.contexts import SkLookupContext as SkLookupContext
    from osmia.lang.contexts import SkMsgContext as SkMsgContext
    from osmia.lang.contexts import SockAddrContext as SockAddrContext
    from osmia.lang.contexts import SockContext as SockContext
    from osmia.lang.contexts import SockOpsContext as SockOpsContext
    from osmia.lang.contexts import SockoptContext as SockoptContext
    from osmia.lang.contexts import SysctlContext as SysctlContext
    from osmia.lang.contexts import TracepointArgs as TracepointArgs
    from osmia.lang.contexts import UsdtArgs as UsdtArgs
    from osmia.lang.contexts import XdpContext as XdpContext
    from osmia.lang.types import Array as Array
    from osmia.lang.types import Bytes as Bytes
    from osmia.lang.types import Char as Char
    from osmia.lang.types import kenum as kenum
    from osmia.lang.types import s8 as s8
    from osmia.lang.types import s16 as s16
    from osmia.lang.types import s32 as s32
    from osmia.lang.types import s64 as s64
    from osmia.lang.types import u8 as u8
    from osmia.lang.types import u16 as u16
    from osmia.lang.types import u32 as u32
    from osmia.lang.types import u64 as u64

__version__ = "0.1.0"

_MODULES = {
    "osmia.api": ("Program",),
    "osmia.diagnostics": ("OsmiaError",),
    "osmia.lang.builtins": (
        "addr", "ancestor_cgroup_id", "attach_cookie", "boot_ns", "cast", "cgroup_id", "comm", "cpu", "current",
        "enum_exists", "enum_value", "exists", "field_exists", "field_offset", "field_size", "func_ip", "gid",
        "htonl", "htonll", "htons", "jiffies", "kconfig", "kernel_bytes", "kernel_read", "kernel_str", "kstack",
        "ksym", "ktime_ns", "log2", "ntohl", "ntohll", "ntohs", "numa_node", "pid", "printk", "random_u32",
        "selected", "seq_print", "seq_write", "signed", "tai_ns", "tid", "type_exists", "type_size", "uid",
        "unsigned", "user_bytes", "user_read", "user_str", "ustack",
    ),
    "osmia.lang.contexts": (
        "DeviceContext", "IterContext", "PerfContext", "PtRegs", "RawArgs", "SkLookupContext", "SkMsgContext",
        "SkbContext", "SockAddrContext", "SockContext", "SockOpsContext", "SockoptContext", "SysctlContext",
        "TracepointArgs", "UsdtArgs", "XdpContext",
    ),
    "osmia.lang.types": (
        "Array", "Bytes", "Char", "kenum", "s16", "s32", "s64", "s8", "u16", "u32", "u64", "u8",
    ),
}  # fmt: skip
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [*_HOME]  # noqa: PLE0604 - the names of the table, imported above for type checkers


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'osmia' has no attribute {name!r}")
    import sys

    if home not in sys.modules:
        __import__(home)
    value = getattr(sys.modules[home], name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
