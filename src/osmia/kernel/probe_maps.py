"""Probing map types: the smallest map of each is made and closed."""

from __future__ import annotations

import errno
import mmap
import os
from struct import pack

from osmia.abi import commands
from osmia.kernel import syscall
from osmia.kernel.probe_rows import MAP_TYPE, Row, answered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.abi.map_types import MapType
    from osmia.kernel.probe_programs import Loader

_NAME = b"osmia_probe"
_ENOTSUPP = 524

# Kernel options by map type (include/linux/bpf_types.h of Linux 6.12).
OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("cgroup_array", "cgrp_storage"), ("CONFIG_CGROUPS",)),
    **dict.fromkeys(("cgroup_storage", "percpu_cgroup_storage"), ("CONFIG_CGROUP_BPF",)),
    "stack_trace": ("CONFIG_PERF_EVENTS",),
    "inode_storage": ("CONFIG_BPF_LSM",),
    **dict.fromkeys(("devmap", "devmap_hash", "sk_storage", "cpumap"), ("CONFIG_NET",)),
    "xskmap": ("CONFIG_NET", "CONFIG_XDP_SOCKETS"),
    **dict.fromkeys(("sockmap", "sockhash", "reuseport_sockarray"), ("CONFIG_NET", "CONFIG_INET")),
    "struct_ops": ("CONFIG_BPF_JIT", "CONFIG_DEBUG_INFO_BTF"),
}
_NEED_NET_ADMIN = frozenset(("sockmap", "sockhash", "devmap", "devmap_hash", "xskmap", "reuseport_sockarray"))


class MapMaker:
    """Makes small maps; holds what several of them need. Close it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._inner = -1
        self._btf = -1

    def close(self) -> None:
        """Closes the template map and the type information."""
        for fd in (self._inner, self._btf):
            if fd >= 0:
                os.close(fd)
        self._inner = self._btf = -1

    def make(self, row: MapType, flags: int = 0, entries: int = 0) -> int:
        """The smallest map of a type. :raises OSError: as the system call does."""
        if row.name == "struct_ops":
            return self._struct_ops(row)
        count = entries or {"count": 1, "zero": 0, "one": 1, "bytes": mmap.PAGESIZE, "pages": 1}[row.entries]
        key, value = row.key[0], row.value[0]
        inner = btf = btf_type = 0
        if row.inner:
            inner = self._template()
        if row.btf_only:
            btf, btf_type, value = self._types(), 1, 4
        return syscall.map_create(
            row.number, key, value, count, flags | row.required, inner_fd=inner, name=_NAME, btf_fd=btf,
            btf_key=btf_type, btf_value=btf_type,
        )  # fmt: skip

    def _template(self) -> int:
        if self._inner < 0:
            array = 2
            self._inner = syscall.map_create(array, 4, 4, 1, name=_NAME)
        return self._inner

    def _types(self) -> int:
        """Type information with one integer of 4 bytes."""
        if self._btf < 0:
            from osmia.btf.types import Int
            from osmia.btf.writer import BtfBuilder

            builder = BtfBuilder()
            builder.add(Int("u32", 4))
            found = syscall.btf_load(builder.to_bytes())
            if found < 0:
                raise OSError(-found, os.strerror(-found))
            self._btf = found
        return self._btf

    def _struct_ops(self, row: MapType) -> int:
        """Such a map is made for a struct of the kernel; nothing happens until a value is put into it."""
        from osmia.btf.types import Struct

        types = self._loader.btf()
        found = None if types is None else types.find("bpf_struct_ops_tcp_congestion_ops", Struct)
        if found is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        # Type information of our own must be given as well, although nothing of it is used.
        attr = pack("=7I16s5IQ", row.number, 4, found.size, 1, 0, 0, 0, _NAME, 0, self._types(), 0, 0, found.id, 0)
        return syscall.bpf(commands.MAP_CREATE, bytearray(attr))


def map_type(maker: MapMaker, row: MapType) -> Row:
    """Whether maps of a type can be made."""
    number = 0
    try:
        os.close(maker.make(row))
    except OSError as error:
        number = error.errno or 0
    if number == errno.ENOENT and row.name == "struct_ops":
        number = _ENOTSUPP
    needs = ("bpf", "net_admin") if row.name in _NEED_NET_ADMIN else ("bpf",)
    return answered(
        MAP_TYPE, str(row.name), row.version, number, what=f"cannot make a map of type {row.name}", needs=needs,
        options=OPTIONS.get(row.name, ()),
    )  # fmt: skip


def map_types(loader: Loader) -> list[Row]:
    """A row per map type."""
    from osmia.abi import map_types as table

    maker = MapMaker(loader)
    try:
        return [map_type(maker, row) for row in table.map_types() if row.number]
    finally:
        maker.close()
