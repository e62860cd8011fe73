"""What every live map has, and which class serves which kind."""

from __future__ import annotations

import errno
import os
from struct import unpack_from

from osmia.abi import commands
from osmia.abi.map_types import RDONLY
from osmia.diagnostics.errors import MapError
from osmia.kernel import syscall
from osmia.object.layout import Bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Self

    from osmia.object.layout import Layout
    from osmia.object.spec import MapSpec

ENOTSUPP = 524
"""The kernel's own number for an operation that a map type does not have; it has no name in ``errno``."""


# Kinds by the module and class that serve them; others are plain `Map` objects.
_CLASSES = {
    "hash": ("keyed", "HashMap"),
    "lru_hash": ("keyed", "HashMap"),
    "rhash": ("keyed", "HashMap"),
    "percpu_hash": ("keyed", "PerCpuHash"),
    "lru_percpu_hash": ("keyed", "PerCpuHash"),
    "array": ("keyed", "ArrayMap"),
    "percpu_array": ("keyed", "PerCpuArray"),
    "lpm_trie": ("keyed", "LpmTrie"),
    "cgroup_storage": ("keyed", "CgroupLocalStorage"),
    "percpu_cgroup_storage": ("keyed", "PerCpuCgroupLocalStorage"),
    "queue": ("special", "QueueMap"),
    "stack": ("special", "QueueMap"),
    "bloom_filter": ("special", "BloomFilter"),
    "stack_trace": ("special", "StackTraceMap"),
    "prog_array": ("descriptors", "ProgArray"),
    "array_of_maps": ("descriptors", "MapOfMaps"),
    "hash_of_maps": ("descriptors", "MapOfMaps"),
    "perf_event_array": ("descriptors", "PerfEventArray"),
    "cgroup_array": ("descriptors", "CgroupArray"),
    "sockmap": ("descriptors", "SockMap"),
    "sockhash": ("descriptors", "SockMap"),
    "reuseport_sockarray": ("descriptors", "SockMap"),
    "devmap": ("descriptors", "DevMap"),
    "devmap_hash": ("descriptors", "DevMap"),
    "cpumap": ("descriptors", "CpuMap"),
    "xskmap": ("descriptors", "XskMap"),
    "sk_storage": ("descriptors", "SocketStorage"),
    "inode_storage": ("descriptors", "FileStorage"),
    "task_storage": ("descriptors", "TaskStorage"),
    "cgrp_storage": ("descriptors", "CgroupStorage"),
}


class MapInfo:
    """What the kernel says about a map (``struct bpf_map_info``)."""

    __slots__ = (
        "btf_id",
        "extra",
        "flags",
        "id",
        "ifindex",
        "key_size",
        "kind_number",
        "max_entries",
        "name",
        "value_size",
    )

    def __init__(self, data: bytes | bytearray) -> None:
        kind, number, key, value, entries, flags, name, ifindex = unpack_from("=6I16sI", data)
        self.kind_number: int = kind
        self.id: int = number
        self.key_size: int = key
        self.value_size: int = value
        self.max_entries: int = entries
        self.flags: int = flags
        self.name: str = name.partition(b"\0")[0].decode("ascii", "backslashreplace")
        self.ifindex: int = ifindex
        self.btf_id: int = unpack_from("=I", data, 64)[0]
        self.extra: int = unpack_from("=Q", data, 80)[0]

    @property
    def kind(self) -> str:
        """The map type's name, ``type 99`` for one that Osmia does not know."""
        return kind_name(self.kind_number)

    def __repr__(self) -> str:
        return f"MapInfo({self.kind} {self.name!r}, id {self.id}, {self.max_entries} entries)"


def kind_name(number: int) -> str:
    """The name of a map type's number."""
    from osmia.abi import map_types

    row = map_types.TABLE.find(number)
    return f"type {number}" if row is None else str(row.name)


def read_info(fd: int) -> MapInfo:
    """``struct bpf_map_info`` of a descriptor. :raises OSError: as the system call does."""
    data = bytearray(104)
    syscall.object_info(fd, data)
    return MapInfo(data)


class MissingKey(MapError, KeyError):
    """A key that the map does not have; also a ``KeyError``."""


class EmptyMap(MapError, IndexError):
    """Nothing in the queue; also an ``IndexError``."""


class Map:
    """A live map. Closing it gives up the descriptor; the map itself lives as long as anything uses it.

    :ivar name: the name in the spec, which may be longer than the kernel's. :ivar kind: name of the map type.
    :ivar key: layout of keys. :ivar value: layout of values (one CPU's). :ivar fd: descriptor, -1 when closed.
    :ivar flags: creation flags. :ivar value_stride: bytes from one CPU's value to the next.
    :ivar user_value_size: bytes of a value as user space sees it, all CPUs together.
    """

    fd: int

    def __init__(
        self,
        fd: int,
        name: str,
        kind: str,
        *,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int = 0,
        key: Layout | None = None,
        value: Layout | None = None,
        spec: MapSpec | None = None,
    ) -> None:
        self.fd = fd
        self.name = name
        self.kind = kind
        self.key_size = key_size
        self.value_size = value_size
        self.max_entries = max_entries
        self.flags = flags
        self.key: Layout = key if key is not None else Bytes(key_size)
        self.value: Layout = value if value is not None else Bytes(value_size)
        self.spec = spec
        self.value_stride = value_size
        self.user_value_size = value_size
        self._temporary_pins: list[Any] = []
        self._set_up()

    def _set_up(self) -> None:
        """What a kind needs once its sizes are known."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.fd < 0 else f"fd {self.fd}"
        return f"<{type(self).__name__} {self.name!r} ({self.kind}, {self.max_entries} entries, {state})>"

    def __bool__(self) -> bool:
        return True  # an empty map is still a map

    def fileno(self) -> int:
        """The descriptor.

        :raises MapError: MAP009 when the map is closed.
        """
        if self.fd < 0:
            raise MapError(
                "MAP009",
                f"map '{self.name}' is closed",
                errno=errno.EBADF,
                hint="use it inside the `with` block, or before the session ends",
            )
        return self.fd

    def close(self) -> None:
        """Gives up the descriptor and removes temporary pins. Closing twice is fine."""
        for pin in self._temporary_pins:
            pin.remove()
        self._temporary_pins.clear()
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def info(self) -> MapInfo:
        """What the kernel says about the map."""
        try:
            return read_info(self.fileno())
        except OSError as error:
            self._failed(error.errno or 0, "ask for information about")

    @property
    def id(self) -> int:
        """The map's number in the kernel."""
        return self.info().id

    def pin(self, path: str, *, temporary: bool = False) -> None:
        """Gives the map a name in a bpf file system, under which it outlives every process.

        :param temporary: remove the pin when the map is closed, and, should the process die, by the next run.
        :raises LoadError: KRN025 (not in a bpf file system), KRN024 (the name is taken).
        """
        from osmia.kernel import pins

        record = pins.pin(self.fileno(), path, f"map '{self.name}'", temporary=temporary)
        if record is not None:
            self._temporary_pins.append(record)

    def unpin(self, path: str) -> None:
        """Removes a pin; the map lives on as long as it is open or used."""
        from osmia.kernel import pins

        pins.unpin(path)

    def freeze(self) -> None:
        """No more writes from user space, for good (Linux 5.2); programs may still write.

        :raises MapError: MAP007 while the map is mapped writable.
        """
        try:
            syscall.map_freeze(self.fileno())
        except OSError as error:
            self._failed(error.errno or 0, "freeze")

    def _failed(self, number: int, doing: str, key: Any = None) -> NoReturn:
        """Raises the error for a failed operation."""
        from osmia.kernel.maps.problems import map_error

        raise map_error(self, number, doing, key)


def make(fd: int, spec: MapSpec, info: MapInfo | None = None) -> Map:
    """The object for a descriptor of a map made from ``spec``; takes over the descriptor.

    :param info: what the kernel made of it where that differs from the spec.
    """
    entries = spec.max_entries if info is None else info.max_entries
    flags = spec.flags if info is None else info.flags
    return _class_of(spec)(
        fd, spec.name, spec.kind, key_size=spec.key_size, value_size=spec.value_size, max_entries=entries,
        flags=flags, key=spec.key, value=spec.value, spec=spec,
    )  # fmt: skip


def _class_of(spec: MapSpec) -> type[Map]:
    if spec.section and spec.kind == "array" and spec.max_entries == 1:
        from osmia.kernel.maps.global_data import GlobalData

        return GlobalData
    return class_of(spec.kind)


def class_of(kind: str) -> type[Map]:
    """The class that serves a kind of map."""
    place = _CLASSES.get(kind)
    if place is None:
        return Map
    from importlib import import_module

    found: type[Map] = getattr(import_module(f"osmia.kernel.maps.{place[0]}"), place[1])
    return found


def map_from_fd(fd: int, *, key: Layout | None = None, value: Layout | None = None, name: str = "") -> Map:
    """The object for any map's descriptor, which it takes over.

    :param key: layout of keys; raw bytes without it. :param value: likewise.
    :raises MapError: MAP006 when a layout's size is not the map's; MAP007 when it is no map.
    """
    try:
        info = read_info(fd)
    except OSError as error:
        raise MapError("MAP007", f"descriptor {fd} is no map: {error.strerror}", errno=error.errno or 0) from None
    for what, layout, size in (("key", key, info.key_size), ("value", value, info.value_size)):
        if layout is not None and layout.size != size:
            raise MapError(
                "MAP006", f"the {what} of map '{name or info.name}' has {size} bytes, {layout} has {layout.size}"
            )
    return class_of(info.kind)(
        fd, name or info.name, info.kind, key_size=info.key_size, value_size=info.value_size,
        max_entries=info.max_entries, flags=info.flags, key=key, value=value,
    )  # fmt: skip


def map_from_id(number: int, *, key: Layout | None = None, value: Layout | None = None) -> Map:
    """The map with that number in the kernel (needs CAP_SYS_ADMIN).

    :raises LoadError: KRN030 when there is none; the permission errors of loading.
    """
    try:
        fd = syscall.fd_by_id(commands.MAP_GET_FD_BY_ID, number)
    except OSError as error:
        from osmia.kernel.refusals import no_such_object

        raise no_such_object("map", number, error) from None
    return map_from_fd(fd, key=key, value=value)


def open_pinned(path: str, *, key: Layout | None = None, value: Layout | None = None, read_only: bool = False) -> Map:
    """The map pinned at ``path``.

    :raises LoadError: KRN025 when nothing, or something else, is pinned there.
    """
    from osmia.kernel import pins

    fd = pins.open_pin(path, "map", RDONLY if read_only else 0)
    try:
        return map_from_fd(fd, key=key, value=value, name=os.path.basename(path))
    except MapError:
        os.close(fd)
        raise
