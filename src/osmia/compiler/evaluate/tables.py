"""Maps that programs look values up in: hash tables, arrays, prefix tries."""

from __future__ import annotations

import errno
from collections import OrderedDict

from osmia.compiler.evaluate.maps import EXIST, LOCK, NOEXIST, Map, Setting, refused
from osmia.compiler.evaluate.memory import ORDER, Pointer, Region
from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from osmia.object.spec import MapSpec


class HashMap(Map):
    """``hash`` and, with ``lru``, ``lru_hash``; per-CPU ones keep a region for every CPU."""

    def __init__(self, spec: MapSpec, setting: Setting, per_cpu: bool = False, lru: bool = False) -> None:
        super().__init__(spec, setting)
        self.per_cpu = per_cpu
        self.lru = lru
        self._entries: OrderedDict[bytes, list[Region]] = OrderedDict()

    def _here(self) -> int:
        return self.setting.cpu if self.per_cpu else 0

    def lookup(self, key: bytes) -> Pointer | None:
        found = self._entries.get(key)
        if found is None:
            return None
        if self.lru:
            self._entries.move_to_end(key)
        return Pointer(found[self._here()], 0)

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        if (flags & ~LOCK if not self.lru and not self.per_cpu else flags) > EXIST:
            return -errno.EINVAL
        found = self._entries.get(key)
        if found is not None and flags & NOEXIST:
            return -errno.EEXIST
        if found is None and flags & EXIST:
            return -errno.ENOENT
        if found is None and len(self._entries) >= self.max_entries:
            if not self.lru:
                return -errno.E2BIG
            self._entries.popitem(last=False)
        if found is not None and self.per_cpu:
            found[self._here()].data[:] = value
        else:
            self._insert(key, value)
        if self.lru:
            self._entries.move_to_end(key)
        return 0

    def _insert(self, key: bytes, value: bytes) -> None:
        """Pointers to the old value go on seeing the old value, as they do in the kernel."""
        count = self.setting.cpus if self.per_cpu else 1
        zeros = bytes(self.value_size)
        self._entries[key] = [self.region(value if cpu == self._here() else zeros, key) for cpu in range(count)]

    def delete(self, key: bytes) -> int:
        return 0 if self._entries.pop(key, None) is not None else -errno.ENOENT

    def walk(self) -> Iterator[tuple[bytes, Region]]:
        for key in list(self._entries):
            found = self._entries.get(key)
            if found is not None:
                yield key, found[self._here()]

    def on_cpu(self, key: bytes, cpu: int) -> Pointer | None:
        if not self.per_cpu:
            return super().on_cpu(key, cpu)
        found = self._entries.get(key)
        return Pointer(found[cpu], 0) if found is not None and cpu < len(found) else None

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        for key, found in list(self._entries.items()):
            yield key, [bytes(one.data) for one in found] if self.per_cpu else bytes(found[0].data)

    def raw(self, key: bytes) -> Any:
        found = self._entries.get(key)
        if found is None:
            return None
        return [bytes(one.data) for one in found] if self.per_cpu else bytes(found[0].data)

    def store(self, key: bytes, value: Any) -> None:
        if not self.per_cpu:
            super().store(key, value)
            return
        data = _per_cpu(self, value)
        result = self.update(key, data[self.setting.cpu], 0)
        if result:
            raise refused(self.name, result)
        for region, one in zip(self._entries[key], data, strict=True):
            region.data[:] = one


def _per_cpu(table: Map, value: Any) -> list[bytes]:
    """The values of all CPUs; one value stands for all of them."""
    count = table.setting.cpus
    items = value if isinstance(value, list) else [value] * count
    if len(items) != count:
        raise UsageError("IR357", f"{len(items)} values for {count} CPUs in map {table.name}")
    return [table.encode_value(one) for one in items]


class ArrayMap(Map):
    """``array`` and ``percpu_array``: every index is there from the start, as zeros."""

    def __init__(self, spec: MapSpec, setting: Setting, per_cpu: bool = False) -> None:
        super().__init__(spec, setting)
        self.per_cpu = per_cpu
        self.key_size = self.key_size or 4
        self._values: dict[int, list[Region]] = {}

    def _index(self, key: bytes) -> int:
        return int.from_bytes(key[:4], ORDER)

    def _at(self, index: int) -> list[Region]:
        found = self._values.get(index)
        if found is None:
            count = self.setting.cpus if self.per_cpu else 1
            zeros = bytes(self.value_size)
            found = self._values[index] = [self.region(zeros, b"") for _ in range(count)]
        return found

    def _here(self) -> int:
        return self.setting.cpu if self.per_cpu else 0

    def lookup(self, key: bytes) -> Pointer | None:
        index = self._index(key)
        return Pointer(self._at(index)[self._here()], 0) if index < self.max_entries else None

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        if (flags if self.per_cpu else flags & ~LOCK) > EXIST:
            return -errno.EINVAL
        index = self._index(key)
        if index >= self.max_entries:
            return -errno.E2BIG
        if flags & NOEXIST:
            return -errno.EEXIST
        self._at(index)[self._here()].data[:] = value
        return 0

    def delete(self, key: bytes) -> int:
        return -errno.EINVAL

    def walk(self) -> Iterator[tuple[bytes, Region]]:
        for index in range(self.max_entries):
            yield index.to_bytes(4, ORDER), self._at(index)[self._here()]

    def on_cpu(self, key: bytes, cpu: int) -> Pointer | None:
        if not self.per_cpu:
            return super().on_cpu(key, cpu)
        index = self._index(key)
        return Pointer(self._at(index)[cpu], 0) if index < self.max_entries and cpu < self.setting.cpus else None

    def encode_key(self, key: Any) -> bytes:
        if self.spec.key is None and isinstance(key, int):
            return (key & 0xFFFFFFFF).to_bytes(4, ORDER)
        return super().encode_key(key)

    def decode_key(self, key: bytes) -> Any:
        return super().decode_key(key) if self.spec.key is not None else int.from_bytes(key, ORDER)

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        for index in range(self.max_entries):
            key = index.to_bytes(4, ORDER)
            yield key, self.raw(key)

    def raw(self, key: bytes) -> Any:
        index = self._index(key)
        if index >= self.max_entries:
            return None
        found = self._values.get(index)
        values = [bytes(one.data) for one in found] if found else [bytes(self.value_size)] * self.setting.cpus
        return values if self.per_cpu else values[0]

    def store(self, key: bytes, value: Any) -> None:
        if not self.per_cpu or self._index(key) >= self.max_entries:
            super().store(key, value)
            return
        for region, one in zip(self._at(self._index(key)), _per_cpu(self, value), strict=True):
            region.data[:] = one


class PrefixMap(Map):
    """``lpm_trie``: a key is a ``u32`` prefix length and the data; the longest prefix that fits is found."""

    def __init__(self, spec: MapSpec, setting: Setting) -> None:
        super().__init__(spec, setting)
        self._entries: dict[tuple[int, int], tuple[bytes, Region]] = {}

    def _split(self, key: bytes) -> tuple[int, int, int]:
        """Prefix length, data as a number with its first byte on top, and bits of the data."""
        return int.from_bytes(key[:4], ORDER), int.from_bytes(key[4:], "big"), 8 * (len(key) - 4)

    def lookup(self, key: bytes) -> Pointer | None:
        length, data, bits = self._split(key)
        if length > bits:
            return None
        for prefix in range(length, -1, -1):
            found = self._entries.get((prefix, data >> (bits - prefix)))
            if found is not None:
                return Pointer(found[1], 0)
        return None

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        length, data, bits = self._split(key)
        if flags > EXIST or length > bits:
            return -errno.EINVAL
        place = (length, data >> (bits - length))
        there = place in self._entries
        if there and flags == NOEXIST:
            return -errno.EEXIST
        if not there and flags == EXIST:
            return -errno.ENOENT
        if not there and len(self._entries) >= self.max_entries:
            return -errno.ENOSPC
        self._entries[place] = (key, self.region(value, key))
        return 0

    def delete(self, key: bytes) -> int:
        length, data, bits = self._split(key)
        if length > bits:
            return -errno.EINVAL
        return 0 if self._entries.pop((length, data >> (bits - length)), None) else -errno.ENOENT

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        for key, region in list(self._entries.values()):
            yield key, bytes(region.data)

    def raw(self, key: bytes) -> Any:
        found = self.lookup(key)
        return None if found is None or found.region is None else bytes(found.region.data)
