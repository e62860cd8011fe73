"""Maps that are read like a dict: hash tables, arrays, their per-CPU and LRU kinds, LPM tries."""

from __future__ import annotations

import errno
from struct import error as StructError
from struct import unpack_from
from sys import byteorder

from osmia.abi import commands
from osmia.kernel import syscall
from osmia.kernel.maps.base import ENOTSUPP, Map, MissingKey
from osmia.object.layout import U32, Array, Bool, Bytes, Enum, Int, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from osmia.object.layout import Layout

ANY, NOEXIST, EXIST, LOCK = 0, 1, 2, 4
"""Flags of an update: create or replace, only create, only replace; LOCK goes with a value's spin lock."""

_NOT_THERE = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)
_BATCH_BYTES = 1 << 20
_PACK_ERRORS = (ValueError, TypeError, AttributeError, OverflowError, LookupError, StructError)

Data = bytes | memoryview
Chunk = tuple[memoryview, memoryview, int]


class KeyedMap(Map):
    """A map with keys and values. Iteration goes over what was there when it began, never twice over one key.

    A missing key raises :class:`MissingKey`, which is a ``MapError`` (code MAP002) and a ``KeyError``.
    Methods take and give Python values by the map's layouts; a key or value given as ``bytes`` of exactly the
    right size is taken as it is. All raise ``MapError``.
    """

    per_cpu_values = False

    def _set_up(self) -> None:
        from _thread import allocate_lock

        self._lock = allocate_lock()
        self._calls = syscall.MapCalls(self.fd, self.key_size, self.user_value_size)
        self._has_batches = True

    # One entry

    def __getitem__(self, key: Any) -> Any:
        found = self.lookup_raw(self._key_bytes(key))
        if found is None:
            self._failed(errno.ENOENT, "look up", key)
        return self._value_of(found, 0)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key, or ``default``."""
        found = self.lookup_raw(self._key_bytes(key))
        return default if found is None else self._value_of(found, 0)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.put(key, value)

    def put(self, key: Any, value: Any, flags: int = ANY) -> None:
        """Sets a value; ``flags`` are ``ANY``, ``NOEXIST``, ``EXIST``, each with ``LOCK`` or without.

        :raises MapError: MAP001 (full), MAP002 (``EXIST``), MAP003 (``NOEXIST``), MAP005, MAP006.
        """
        number = self.update_raw(self._key_bytes(key), self._value_bytes(value), flags)
        if number:
            self._failed(number, "update", key)

    def insert(self, key: Any, value: Any) -> None:
        """Adds a new key. :raises MapError: MAP003 when it is there already, MAP001 when the map is full."""
        self.put(key, value, NOEXIST)

    def replace(self, key: Any, value: Any) -> None:
        """Changes the value of a key. :raises MissingKey: when it is not there."""
        self.put(key, value, EXIST)

    def setdefault(self, key: Any, default: Any) -> Any:
        """The value of a key, which is added with ``default`` if it is not there; safe against other writers."""
        number = self.update_raw(self._key_bytes(key), self._value_bytes(default), NOEXIST)
        if number and number != errno.EEXIST:
            self._failed(number, "update", key)
        return self[key]

    def __delitem__(self, key: Any) -> None:
        data = self._key_bytes(key)
        with self._lock:
            self.fileno()
            self._calls.key[:] = data
            result = self._calls.delete()
        if result:
            self._failed(-result, "delete", key)

    def delete(self, key: Any) -> bool:
        """Removes a key; tells whether it was there."""
        try:
            del self[key]
        except MissingKey:
            return False
        return True

    def pop(self, key: Any, *default: Any) -> Any:
        """Removes a key and gives its value, or ``default`` if given. One step where the kernel can (Linux 5.14)."""
        data = self._key_bytes(key)
        with self._lock:
            self.fileno()
            calls = self._calls
            calls.key[:] = data
            result = calls.lookup_and_delete()
            if -result in _NOT_THERE:
                result = calls.lookup() or calls.delete()
            found = bytes(calls.value) if not result else b""
        if result == -errno.ENOENT and default:
            return default[0]
        if result:
            self._failed(-result, "pop", key)
        return self._value_of(found, 0)

    def __contains__(self, key: Any) -> bool:
        return self.lookup_raw(self._key_bytes(key)) is not None

    def lookup_raw(self, key: bytes, flags: int = 0) -> bytes | None:
        """The bytes of a value, all CPUs together, or None."""
        with self._lock:
            self.fileno()
            calls = self._calls
            calls.key[:] = key
            result = calls.lookup(flags)
            if not result:
                return bytes(calls.value)
        if result != -errno.ENOENT:
            self._failed(-result, "look up", key)
        return None

    def update_raw(self, key: bytes, value: bytes, flags: int = ANY) -> int:
        """Sets a value's bytes; 0 or the error's number."""
        with self._lock:
            self.fileno()
            calls = self._calls
            calls.key[:] = key
            calls.value[:] = value
            return -calls.update(flags)

    # All entries

    def __iter__(self) -> Iterator[Any]:
        return self.keys()

    def keys(self) -> Iterator[Any]:
        """All keys."""
        for keys, _, count in self.chunks():
            yield from self._keys_of(keys, count)

    def values(self) -> Iterator[Any]:
        """All values."""
        for _, values, count in self.chunks():
            yield from self._values_of(values, count)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """All pairs of key and value."""
        for keys, values, count in self.chunks():
            yield from zip(self._keys_of(keys, count), self._values_of(values, count), strict=True)

    def drain(self) -> Iterator[tuple[Any, Any]]:
        """All pairs, each removed from the map as it is read: nothing counted meanwhile is lost or counted twice."""
        for keys, values, count in self.chunks(remove=True):
            yield from zip(self._keys_of(keys, count), self._values_of(values, count), strict=True)

    def __len__(self) -> int:
        return sum(count for _, _, count in self.chunks())

    def update(self, entries: Mapping[Any, Any] | Iterable[tuple[Any, Any]], flags: int = ANY) -> None:
        """Sets many entries, in one system call where the kernel can (Linux 5.6).

        :raises MapError: as :meth:`put`; entries before the failing one are in the map.
        """
        pairs: Any = entries.items() if hasattr(entries, "items") else entries
        packed = [(self._key_bytes(key), self._value_bytes(value)) for key, value in pairs]
        done = 0
        while done < len(packed) and self._has_batches and not flags:
            part = packed[done : done + max(1, _BATCH_BYTES // (self.key_size + self.user_value_size))]
            keys = bytearray(b"".join(key for key, _ in part))
            values = bytearray(b"".join(value for _, value in part))
            count, number = syscall.map_batch(commands.MAP_UPDATE_BATCH, self.fileno(), len(part), keys, values)
            if number in _NOT_THERE and not count:
                self._has_batches = self._iterates_in_batches()
                break
            done += count
            if number:
                key, value = packed[done]
                # Again by itself, for the error that belongs to this entry.
                number = self.update_raw(key, value, flags) or 0
                if number:
                    self._failed(number, "update", self._key_of(key, 0))
                done += 1
        for key, value in packed[done:]:
            number = self.update_raw(key, value, flags)
            if number:
                self._failed(number, "update", self._key_of(key, 0))

    def clear(self) -> None:
        """Removes every entry."""
        for _ in self.chunks(remove=True):
            pass

    def chunks(self, remove: bool = False) -> Iterator[Chunk]:
        """The entries as raw bytes: buffers of keys and values, and how many there are in them.

        :param remove: delete what is read, in the same step where the kernel can (Linux 5.6).
        """
        if self._has_batches:
            try:
                yield from self._batches(remove)
                return
            except _NoBatches:
                self._has_batches = False
        yield from self._walk(remove)

    def _iterates_in_batches(self) -> bool:
        return True

    def _batches(self, remove: bool) -> Iterator[Chunk]:
        command = commands.MAP_LOOKUP_AND_DELETE_BATCH if remove else commands.MAP_LOOKUP_BATCH
        entry = self.key_size + self.user_value_size
        room = max(64, min(self.max_entries, _BATCH_BYTES // entry))
        position: bytearray | None = None
        tokens = bytearray(max(8, self.key_size)), bytearray(max(8, self.key_size))
        turn = 0
        number = 0
        while number != errno.ENOENT:
            keys, values = bytearray(room * self.key_size), bytearray(room * self.user_value_size)
            following = tokens[turn]
            count, number = syscall.map_batch(command, self.fileno(), room, keys, values, position, following)
            if number == errno.ENOSPC and room < 1 << 24:
                room *= 2  # one bucket has more entries than that
                if not count:
                    continue
            elif number and number != errno.ENOENT:
                if number in _NOT_THERE and position is None:
                    raise _NoBatches
                self._failed(number, "read")
            if count:
                yield memoryview(keys), memoryview(values), count
            position, turn = following, 1 - turn

    def _walk(self, remove: bool) -> Iterator[Chunk]:
        """Entry by entry, for kernels and kinds without batches.

        The kernel starts over when the key to go on from is gone; keys that were seen are not given again.
        """
        seen: set[bytes] = set()
        key: bytes | None = None
        repeats = 0
        while True:
            found = self._next_key(None if remove else key)
            if found is None or repeats > len(seen) + 64:
                return
            if not remove and found in seen:
                repeats += 1
                key = found
                continue
            seen.add(found)
            repeats = 0
            key = found
            value = self.lookup_raw(found)
            if remove:
                self._delete_raw(found)
            if value is not None:
                yield memoryview(found), memoryview(value), 1

    def _delete_raw(self, key: bytes) -> None:
        with self._lock:
            self.fileno()
            self._calls.key[:] = key
            result = self._calls.delete()
        if result not in (0, -errno.ENOENT):
            self._failed(-result, "clear")

    def _next_key(self, key: bytes | None) -> bytes | None:
        with self._lock:
            self.fileno()
            if key is not None:
                self._calls.key[:] = key
            result = self._calls.next_key(key is None)
            if not result:
                return bytes(self._calls.next)
        if result != -errno.ENOENT:
            self._failed(-result, "iterate over")
        return None

    def to_numpy(self, remove: bool = False) -> tuple[Any, Any]:
        """All entries as two numpy arrays, keys and values, by the layouts' dtypes.

        Values of per-CPU kinds have a second axis: shape (entries, CPUs).
        """
        import numpy

        all_keys, all_values = bytearray(), bytearray()
        for keys, values, count in self.chunks(remove):
            all_keys += keys[: count * self.key_size]
            all_values += values[: count * self.user_value_size]
        rows = len(all_keys) // self.key_size
        stride = self.value_stride
        columns = self.user_value_size // stride
        key_array = numpy.ndarray((rows,), numpy.dtype(self.key.dtype()), bytes(all_keys))
        shape = (rows, columns) if self.per_cpu_values else (rows,)
        strides = (self.user_value_size, stride) if self.per_cpu_values else (stride,)
        value_type = numpy.dtype(self.value.dtype())
        if value_type.subdtype is not None:
            value_type, inner = value_type.subdtype
            steps = [value_type.itemsize]
            for size in reversed(inner[1:]):
                steps.insert(0, steps[0] * size)
            shape, strides = shape + inner, strides + tuple(steps)
        return key_array, numpy.ndarray(shape, value_type, bytes(all_values), strides=strides)

    # Python values and bytes

    def _key_bytes(self, key: Any) -> bytes:
        return self._packed("key", self.key, key)

    def _packed(self, what: str, layout: Layout, value: Any) -> bytes:
        if isinstance(value, (bytes, bytearray, memoryview)) and len(value) == layout.size:
            return bytes(value)
        try:
            return layout.pack(value)
        except _PACK_ERRORS as error:
            from osmia.kernel.maps.problems import wrong_data

            raise wrong_data(self, what, value, error) from None

    def _value_bytes(self, value: Any) -> bytes:
        return self._packed("value", self.value, value)

    def _key_of(self, data: Data, offset: int) -> Any:
        return self.key.unpack(data, offset)

    def _value_of(self, data: Data, offset: int) -> Any:
        return self.value.unpack(data, offset)

    def _keys_of(self, data: memoryview, count: int) -> Iterable[Any]:
        if isinstance(self.key, Int):
            return unpack_from(f"={count}{self.key.format()}", data)
        size = self.key_size
        return (self._key_of(data, at) for at in range(0, count * size, size))

    def _values_of(self, data: memoryview, count: int) -> Iterable[Any]:
        if isinstance(self.value, Int) and not self.per_cpu_values:
            return unpack_from(f"={count}{self.value.format()}", data)
        size = self.user_value_size
        return (self._value_of(data, at) for at in range(0, count * size, size))


class _NoBatches(Exception):
    """This kernel has no batches for this kind of map."""


class PerCpu(KeyedMap):
    """A value for each possible CPU: ``map[key]`` is a list in the order of the CPUs, and set with one."""

    per_cpu_values = True

    def _set_up(self) -> None:
        from osmia.kernel.cpu import possible_count

        self.cpus = possible_count()
        self.value_stride = (self.value_size + 7) // 8 * 8
        self.user_value_size = self.value_stride * self.cpus
        super()._set_up()

    def per_cpu(self, key: Any) -> list[Any]:
        """The values of a key, one for each possible CPU. :raises MissingKey: when it is not there."""
        values: list[Any] = self[key]
        return values

    def total(self, key: Any) -> Any:
        """The sum over the CPUs; of structs and arrays, the sums of their integers. :raises MissingKey:"""
        found = self.lookup_raw(self._key_bytes(key))
        if found is None:
            self._failed(errno.ENOENT, "look up", key)
        return self._total_of(found, 0)

    def totals(self) -> Iterator[tuple[Any, Any]]:
        """Pairs of key and sum over the CPUs, of all entries."""
        for keys, values, count in self.chunks():
            size = self.user_value_size
            sums = (self._total_of(values, at) for at in range(0, count * size, size))
            yield from zip(self._keys_of(keys, count), sums, strict=True)

    def fill(self, key: Any, value: Any) -> None:
        """Sets every CPU's value to the same."""
        self.put(key, [value] * self.cpus)

    def _total_of(self, data: Data, offset: int) -> Any:
        if isinstance(self.value, Int):
            form, step = "=" + self.value.format(), self.value_stride
            return sum(unpack_from(form, data, offset + cpu * step)[0] for cpu in range(self.cpus))
        values = [_plain(self.value, data, offset + cpu * self.value_stride) for cpu in range(self.cpus)]
        return _rebuilt(self.value, _added(self.value, values))

    def _value_bytes(self, value: Any) -> bytes:
        if isinstance(value, (bytes, bytearray, memoryview)) and len(value) == self.user_value_size:
            return bytes(value)
        if not isinstance(value, (list, tuple)) or len(value) != self.cpus:
            from osmia.kernel.maps.problems import wrong_data

            problem = ValueError(
                f"one value for each of the {self.cpus} CPUs is needed; fill(key, value) sets them all"
            )
            raise wrong_data(self, "value", value, problem)
        step = self.value_stride
        return b"".join(self._packed("value", self.value, item).ljust(step, b"\0") for item in value)

    def _value_of(self, data: Data, offset: int) -> Any:
        unpack, step = self.value.unpack, self.value_stride
        return [unpack(data, offset + cpu * step) for cpu in range(self.cpus)]


def _plain(layout: Layout, data: Data, offset: int) -> Any:
    """A value without the user's classes: numbers, texts, and lists of those."""
    if isinstance(layout, Struct):
        if any(field.bits for field in layout.fields):
            bare = Struct(layout.name, layout.fields, layout.size, layout.align)
            return list(bare.unpack(data, offset))
        return [_plain(field.type, data, offset + field.offset) for field in layout.fields]
    if isinstance(layout, Array):
        step = layout.element.size
        return [_plain(layout.element, data, offset + index * step) for index in range(layout.count)]
    return layout.unpack(data, offset)


def _added(layout: Layout, values: list[Any]) -> Any:
    """The sums of plain values; what is no number keeps the first that is not empty."""
    if isinstance(layout, Struct):
        return [_added(field.type, [value[at] for value in values]) for at, field in enumerate(layout.fields)]
    if isinstance(layout, Array):
        return [_added(layout.element, [value[at] for value in values]) for at in range(layout.count)]
    if isinstance(layout, Int):
        return sum(values)
    if isinstance(layout, Bool):
        return any(values)
    return next((value for value in values if value and (not isinstance(layout, Bytes) or any(value))), values[0])


def _rebuilt(layout: Layout, value: Any) -> Any:
    """A plain value with the user's classes again."""
    if isinstance(layout, Struct):
        parts = [_rebuilt(field.type, item) for field, item in zip(layout.fields, value, strict=True)]
        return tuple(parts) if layout.factory is None else layout.factory(*parts)
    if isinstance(layout, Array):
        return [_rebuilt(layout.element, item) for item in value]
    return value


class HashMap(KeyedMap):
    """``hash`` and ``lru_hash``."""


class PerCpuHash(PerCpu):
    """``percpu_hash`` and ``lru_percpu_hash``."""


class _Indexed(KeyedMap):
    """Keys are the numbers from 0; every entry exists from the start and cannot be deleted."""

    def _set_up(self) -> None:
        if isinstance(self.key, Bytes):
            self.key = U32
        super()._set_up()

    def _key_bytes(self, key: Any) -> bytes:
        if isinstance(key, int) and not 0 <= key < self.max_entries and not isinstance(self.key, Enum):
            self._failed(errno.ENOENT, "use", key)
        return super()._key_bytes(key)

    def __len__(self) -> int:
        return self.max_entries

    def __delitem__(self, key: Any) -> None:
        from osmia.kernel.maps.problems import unsupported

        raise unsupported(self, "deleting an entry", "assign a zero value instead")

    def pop(self, key: Any, *default: Any) -> Any:
        """Not for arrays. :raises MapError: MAP004."""
        del self[key]

    def drain(self) -> Iterator[tuple[Any, Any]]:
        """Not for arrays. :raises MapError: MAP004."""
        from osmia.kernel.maps.problems import unsupported

        raise unsupported(self, "draining", "read items() and clear() instead")

    def chunks(self, remove: bool = False) -> Iterator[Chunk]:
        """The entries as raw bytes, see :meth:`KeyedMap.chunks`; nothing can be removed."""
        if remove:
            self.drain()
        return super().chunks()

    def clear(self) -> None:
        """Sets every entry to zero."""
        zero = bytes(self.user_value_size)
        self.update((index.to_bytes(4, byteorder), zero) for index in range(self.max_entries))


class ArrayMap(_Indexed):
    """``array``."""


class PerCpuArray(_Indexed, PerCpu):
    """``percpu_array``."""


class LpmTrie(KeyedMap):
    """``lpm_trie``: values by address prefix; a lookup finds the longest prefix that matches.

    A key is a network as text (``10.0.0.0/8``, ``2001:db8::/32``), an ``ipaddress`` network or address, a pair of
    prefix length and address bytes, or what the key's layout takes.
    """

    def _set_up(self) -> None:
        super()._set_up()
        self._has_batches = False  # the kernel may go round for ever when entries are deleted meanwhile

    def _iterates_in_batches(self) -> bool:
        return False

    def _key_bytes(self, key: Any) -> bytes:
        room = self.key_size - 4
        if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], (bytes, bytearray)):
            bits, data = key
            if isinstance(bits, int) and 0 <= bits <= room * 8 and len(data) <= room:
                return bits.to_bytes(4, byteorder) + bytes(data).ljust(room, b"\0")
        if isinstance(key, str) or type(key).__module__ == "ipaddress":
            return self._network_bytes(key)
        return super()._key_bytes(key)

    def _network_bytes(self, key: Any) -> bytes:
        from ipaddress import ip_network

        room = self.key_size - 4
        try:
            network = ip_network(key, strict=False)
            address = network.network_address.packed
            if len(address) != room:
                raise ValueError(f"an address of this map has {room} bytes")
        except ValueError as error:
            from osmia.kernel.maps.problems import wrong_data

            raise wrong_data(self, "key", str(key), error) from None
        return network.prefixlen.to_bytes(4, byteorder) + address

    def networks(self) -> Iterator[tuple[Any, Any]]:
        """Pairs of ``ipaddress`` network and value; for keys of 4 or 16 address bytes."""
        from ipaddress import ip_network

        for key, value in self.raw_items():
            bits = int.from_bytes(key[:4], byteorder)
            yield ip_network((bytes(key[4:]), bits)), self._value_of(value, 0)

    def raw_items(self) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of key and value bytes."""
        for key, value, _ in self.chunks():
            yield bytes(key), bytes(value)


class CgroupLocalStorage(KeyedMap):
    """``cgroup_storage``: a value for each attachment of a program to a cgroup; entries come and go with those."""

    def __delitem__(self, key: Any) -> None:
        from osmia.kernel.maps.problems import unsupported

        raise unsupported(self, "deleting an entry", "detach the program from the cgroup")


class PerCpuCgroupLocalStorage(CgroupLocalStorage, PerCpu):
    """``percpu_cgroup_storage``."""
