"""Maps whose values or keys are descriptors: programs, maps, sockets, devices, CPUs, cgroups, tasks, files."""

from __future__ import annotations

import errno
import os
from sys import byteorder

from osmia.diagnostics.errors import MapError
from osmia.diagnostics.text import clean
from osmia.kernel.maps.keyed import KeyedMap
from osmia.object.layout import U32, Bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.kernel.maps.base import Map


def descriptor_of(value: Any) -> int:
    """The descriptor of a number or of anything with ``fileno()``.

    :raises TypeError: for something else. :raises ValueError: when it is closed.
    """
    if isinstance(value, bool):
        raise TypeError("a descriptor or an object with one is needed")
    number = value if isinstance(value, int) else None
    if number is None:
        method = getattr(value, "fileno", None)
        if method is None:
            raise TypeError("a descriptor or an object with one is needed")
        number = method()
    if not isinstance(number, int) or number < 0:
        raise ValueError("the descriptor is closed")
    return number


class _Numbered(KeyedMap):
    """Keys are small numbers where no layout says otherwise."""

    def _set_up(self) -> None:
        if isinstance(self.key, Bytes) and self.key_size == 4:
            self.key = U32
        super()._set_up()

    def _descriptor_bytes(self, value: Any, size: int) -> bytes:
        try:
            return descriptor_of(value).to_bytes(size, byteorder)
        except (TypeError, ValueError) as error:
            from osmia.kernel.maps.problems import wrong_data

            raise wrong_data(self, "value", value, error) from None


class _Descriptors(_Numbered):
    """Values are set with a descriptor (or an object that has one) and read as the kernel's number."""

    def _value_bytes(self, value: Any) -> bytes:
        return self._descriptor_bytes(value, self.value_size)

    def _value_of(self, data: bytes | memoryview, offset: int) -> int:
        return int.from_bytes(data[offset : offset + self.value_size], byteorder)


class ProgArray(_Descriptors):
    """``prog_array``: programs to tail-call. Set with programs; reads as program ids."""

    def set(self, index: int, program: Any) -> None:
        """Puts a program (or its descriptor) into a slot. :raises MapError: MAP007 when it does not fit the others."""
        self.put(index, program)

    def unset(self, index: int) -> bool:
        """Empties a slot; tells whether there was a program."""
        return self.delete(index)

    def __iter__(self) -> Any:
        return self.keys()


class CgroupArray(_Descriptors):
    """``cgroup_array``: cgroups to test membership of. Set with descriptors or paths of cgroup folders."""

    def _value_bytes(self, value: Any) -> bytes:
        if not isinstance(value, str):
            return super()._value_bytes(value)
        folder = _open_folder(self, value)
        try:
            # The map keeps the cgroup; the descriptor may go once the value is set, which put() below does.
            return folder.to_bytes(4, byteorder)
        finally:
            self._opened = folder

    def put(self, key: Any, value: Any, flags: int = 0) -> None:
        """Sets a slot, see :meth:`KeyedMap.put`."""
        self._opened = -1
        try:
            super().put(key, value, flags)
        finally:
            if self._opened >= 0:
                os.close(self._opened)
                self._opened = -1


class PerfEventArray(_Descriptors):
    """``perf_event_array``: perf events by CPU; :mod:`osmia.kernel.perfbuf` fills and reads it."""


class MapOfMaps(_Numbered):
    """``array_of_maps`` and ``hash_of_maps``: maps by key. Set with maps; reads open the inner map.

    The caller closes what it reads.
    """

    def _value_bytes(self, value: Any) -> bytes:
        return self._descriptor_bytes(value, 4)

    def _value_of(self, data: bytes | memoryview, offset: int) -> Map:
        from osmia.kernel.maps.base import map_from_id

        inner = self.spec.inner if self.spec is not None else None
        return map_from_id(
            int.from_bytes(data[offset : offset + 4], byteorder),
            key=inner.key if inner else None,
            value=inner.value if inner else None,
        )

    def ids(self) -> dict[Any, int]:
        """The numbers of the inner maps by key; opens nothing."""
        found = {}
        for keys, values, count in self.chunks():
            for index in range(count):
                found[self._key_of(keys, index * self.key_size)] = int.from_bytes(
                    values[index * 4 : index * 4 + 4], byteorder
                )
        return {key: number for key, number in found.items() if number}


class SockMap(_Descriptors):
    """``sockmap``, ``sockhash``, ``reuseport_sockarray``: sockets by slot or key.

    Set with sockets. Reads give the sockets' cookies, which needs values of 8 bytes; a socket that closes leaves.
    """


class DevMap(_Numbered):
    """``devmap`` and ``devmap_hash``: network devices to redirect to.

    Set with an interface index, a name, or a pair of one of those and an XDP program; reads as a pair of
    interface index and program id (0 for none).
    """

    def _value_bytes(self, value: Any) -> bytes:
        device, program = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
        if isinstance(device, str):
            device = _interface(self, device)
        return _with_program(self, device, program)

    def _value_of(self, data: bytes | memoryview, offset: int) -> tuple[int, int]:
        return _number_and_program(self, data, offset)


class CpuMap(_Numbered):
    """``cpumap``: CPUs to hand packets to. Set with a queue size, or a pair of that and an XDP program.

    Reads as a pair of queue size and program id (0 for none); an unused CPU has queue size 0.
    """

    def _value_bytes(self, value: Any) -> bytes:
        size, program = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
        return _with_program(self, size, program)

    def _value_of(self, data: bytes | memoryview, offset: int) -> tuple[int, int]:
        return _number_and_program(self, data, offset)


class XskMap(_Descriptors):
    """``xskmap``: AF_XDP sockets by queue. The kernel lets nobody read it."""


class _Storage(KeyedMap):
    """A value for each object; user space names the object by a descriptor. Cannot be iterated."""

    def _key_bytes(self, key: Any) -> bytes:
        try:
            return descriptor_of(key).to_bytes(4, byteorder)
        except (TypeError, ValueError) as error:
            from osmia.kernel.maps.problems import wrong_data

            raise wrong_data(self, "key", key, error) from None

    def chunks(self, remove: bool = False) -> Any:
        """Not for local storage. :raises MapError: MAP004."""
        from osmia.kernel.maps.problems import unsupported

        raise unsupported(self, "iterating", "ask for the value of one object, or load an iterator program")

    def __iter__(self) -> Any:
        return self.chunks()

    def __len__(self) -> int:
        return len(self.chunks())


class SocketStorage(_Storage):
    """``sk_storage`` (Linux 5.2): a value for each socket, by the socket or its descriptor."""


class FileStorage(_Storage):
    """``inode_storage`` (Linux 5.10): a value for each inode, by an open file or its descriptor."""


class TaskStorage(_Storage):
    """``task_storage`` (Linux 5.11): a value for each task, by a pidfd (:func:`os.pidfd_open`)."""

    def of_pid(self, pid: int, default: Any = None) -> Any:
        """The value of a process by its number, or ``default``. :raises MapError: MAP006 when there is none."""
        try:
            handle = os.pidfd_open(pid)
        except (OSError, OverflowError, TypeError) as error:
            from osmia.kernel.maps.problems import wrong_data

            raise wrong_data(self, "key", pid, error) from None
        try:
            return self.get(handle, default)
        finally:
            os.close(handle)


class CgroupStorage(_Storage):
    """``cgrp_storage`` (Linux 6.2): a value for each cgroup, by a descriptor of its folder."""

    def of_path(self, path: str, default: Any = None) -> Any:
        """The value of the cgroup at a path, or ``default``. :raises MapError: MAP006 when it cannot be opened."""
        folder = _open_folder(self, path)
        try:
            return self.get(folder, default)
        finally:
            os.close(folder)


def _open_folder(map_: KeyedMap, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        from osmia.kernel.maps.problems import wrong_data

        raise wrong_data(map_, "value", path, error) from None


def _interface(map_: KeyedMap, name: str) -> int:
    import socket

    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError):
        raise MapError(
            "MAP006",
            f"there is no network device {clean(name)!r} for map '{clean(map_.name)}'",
            errno=errno.ENODEV,
            hint="devices: " + ", ".join(item for _, item in socket.if_nameindex()),
        ) from None


def _with_program(map_: KeyedMap, number: Any, program: Any) -> bytes:
    from osmia.kernel.maps.problems import wrong_data

    try:
        first = int(number).to_bytes(4, byteorder)
        if map_.value_size < 8:
            if program is not None:
                raise ValueError("a program needs values of 8 bytes")
            return first
        fd = -1 if program is None else descriptor_of(program)
        # The kernel reads a descriptor of 0 as none up to Linux 5.8 and below 0 as none ever since.
        return first + (fd if fd >= 0 else 0xFFFFFFFF).to_bytes(4, byteorder)
    except (TypeError, ValueError, OverflowError) as error:
        raise wrong_data(map_, "value", number, error) from None


def _number_and_program(map_: KeyedMap, data: bytes | memoryview, offset: int) -> tuple[int, int]:
    program = int.from_bytes(data[offset + 4 : offset + 8], byteorder) if map_.value_size >= 8 else 0
    return int.from_bytes(data[offset : offset + 4], byteorder), program
