"""Maps with rules of their own: queues, Bloom filters, programs, maps of maps, storage, stacks, handles."""

from __future__ import annotations

import errno
from collections import deque

from osmia.compiler.evaluate.buffers import PerfMap, RingMap
from osmia.compiler.evaluate.maps import EXIST, NOEXIST, Map, Setting, encode, refused
from osmia.compiler.evaluate.memory import ORDER, Pointer, Region
from osmia.compiler.evaluate.tables import ArrayMap, HashMap, PrefixMap
from osmia.compiler.ir import Space
from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from osmia.object.spec import MapSpec


class QueueMap(Map):
    """``queue`` and ``stack``. Tests see the values, oldest first, by :meth:`Map.values`."""

    def __init__(self, spec: MapSpec, setting: Setting, newest_first: bool) -> None:
        super().__init__(spec, setting)
        self.newest_first = newest_first
        self._values: deque[bytes] = deque()

    def push(self, value: bytes, flags: int) -> int:
        if flags & NOEXIST or flags > EXIST:
            return -errno.EINVAL
        if len(self._values) >= self.max_entries:
            if not flags & EXIST:
                return -errno.E2BIG
            self._values.popleft()
        self._values.append(value)
        return 0

    def pop(self, take: bool) -> bytes | None:
        if not self._values:
            return None
        value = self._values[-1 if self.newest_first else 0]
        if take:
            self._values.pop() if self.newest_first else self._values.popleft()
        return value

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        return ((b"", value) for value in list(self._values))

    def decode_key(self, key: bytes) -> Any:
        return None

    def encode_key(self, key: Any) -> bytes:
        raise UsageError("IR357", f"{self.name} is a {self.spec.kind} and has no keys", hint="see values() and put()")

    def put(self, value: Any) -> None:
        """Adds a value from the test's side."""
        result = self.push(self.encode_value(value), 0)
        if result:
            raise refused(self.name, result)


class BloomMap(Map):
    """``bloom_filter``, exact: only what was added is found."""

    def __init__(self, spec: MapSpec, setting: Setting) -> None:
        super().__init__(spec, setting)
        self._values: set[bytes] = set()

    def push(self, value: bytes, flags: int) -> int:
        if flags:
            return -errno.EINVAL
        self._values.add(value)
        return 0

    def has(self, value: bytes) -> bool:
        """Whether a value was added."""
        return value in self._values

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        return ((b"", value) for value in sorted(self._values))

    def decode_key(self, key: bytes) -> Any:
        return None

    def put(self, value: Any) -> None:
        """Adds a value from the test's side."""
        self.push(self.encode_value(value), 0)


class NamesMap(ArrayMap):
    """``prog_array``: an index leads to a program's name."""

    def __init__(self, spec: MapSpec, setting: Setting) -> None:
        super().__init__(spec, setting)
        self._names: dict[int, str] = {}

    def target(self, index: int) -> str | None:
        """The program at an index."""
        return self._names.get(index) if index < self.max_entries else None

    def lookup(self, key: bytes) -> Pointer | None:
        raise self._unsupported("looked up")

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        raise self._unsupported("updated")

    def delete(self, key: bytes) -> int:
        raise self._unsupported("deleted from")

    def walk(self) -> Iterator[tuple[bytes, Region]]:
        raise self._unsupported("walked")

    def store(self, key: bytes, value: Any) -> None:
        if not isinstance(value, str) or self._index(key) >= self.max_entries:
            raise UsageError("IR357", f"map {self.name} takes names of programs at 0 to {self.max_entries - 1}")
        self._names[self._index(key)] = value

    def remove(self, key: bytes) -> int:
        return 0 if self._names.pop(self._index(key), None) else -errno.ENOENT

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        return ((index.to_bytes(4, ORDER), name) for index, name in sorted(self._names.items()))

    def raw(self, key: bytes) -> Any:
        return self._names.get(self._index(key))

    def decode_value(self, value: Any) -> Any:
        return value


class OuterMap(Map):
    """``array_of_maps`` and ``hash_of_maps``; tests store maps, or names of the module's maps."""

    def __init__(self, spec: MapSpec, setting: Setting, indexed: bool) -> None:
        super().__init__(spec, setting)
        self.indexed = indexed
        self._maps: dict[bytes, Map] = {}
        self._regions: dict[int, Region] = {}

    def lookup(self, key: bytes) -> Pointer | None:
        found = self._maps.get(key)
        if found is None:
            return None
        region = self._regions.get(id(found))
        if region is None:
            region = Region(f"map {found.name}", Space.MAP, bytearray(8), self.setting.kernel, False, found)
            self._regions[id(found)] = region
        return Pointer(region, 0)

    def store(self, key: bytes, value: Any) -> None:
        inner = self.setting.find(value) if isinstance(value, str) else value
        if not isinstance(inner, Map):
            raise UsageError("IR357", f"map {self.name} holds maps, not {value!r}")
        wanted = self.spec.inner
        if wanted is not None and (inner.spec.kind, inner.key_size, inner.value_size) != (
            wanted.kind, wanted.key_size or inner.key_size, wanted.value_size
        ):  # fmt: skip
            raise UsageError("IR357", f"map {inner.name} is no {wanted.kind} map as {self.name} wants them")
        full = int.from_bytes(key, ORDER) >= self.max_entries if self.indexed else len(self._maps) >= self.max_entries
        if full and key not in self._maps:
            raise refused(self.name, -errno.E2BIG)
        self._maps[key] = inner

    def encode_key(self, key: Any) -> bytes:
        if self.spec.key is None and self.indexed and isinstance(key, int):
            return (key & 0xFFFFFFFF).to_bytes(4, ORDER)
        return super().encode_key(key)

    def remove(self, key: bytes) -> int:
        return 0 if self._maps.pop(key, None) else -errno.ENOENT

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        return iter(list(self._maps.items()))

    def raw(self, key: bytes) -> Any:
        return self._maps.get(key)

    def decode_value(self, value: Any) -> Any:
        return value


class StorageMap(Map):
    """Task, inode, socket and cgroup storage: a value per kernel object, which tests name by its address."""

    def __init__(self, spec: MapSpec, setting: Setting) -> None:
        super().__init__(spec, setting)
        self._values: dict[int, Region] = {}

    def of(self, owner: int, initial: bytes | None) -> Pointer | None:
        """The value of an object; made when ``initial`` is given."""
        found = self._values.get(owner)
        if found is None and initial is not None:
            found = self._values[owner] = self.region(initial, b"")
        return None if found is None else Pointer(found, 0)

    def drop(self, owner: int) -> int:
        """Forgets the value of an object: 0 or -errno."""
        return 0 if self._values.pop(owner, None) else -errno.ENOENT

    def encode_key(self, key: Any) -> bytes:
        return int(key).to_bytes(8, ORDER)

    def decode_key(self, key: bytes) -> Any:
        return int.from_bytes(key, ORDER)

    def store(self, key: bytes, value: Any) -> None:
        self._values[int.from_bytes(key, ORDER)] = self.region(self.encode_value(value), b"")

    def remove(self, key: bytes) -> int:
        return self.drop(int.from_bytes(key, ORDER))

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        return ((owner.to_bytes(8, ORDER), bytes(one.data)) for owner, one in list(self._values.items()))


class StackMap(Map):
    """``stack_trace``: ids to lists of addresses."""

    def __init__(self, spec: MapSpec, setting: Setting) -> None:
        super().__init__(spec, setting)
        self.key_size = 4
        self._stacks: dict[int, tuple[int, ...]] = {}

    def keep(self, stack: tuple[int, ...], reuse: bool) -> int:
        """The id of a stack, or ``-EEXIST`` where another one has its place."""
        from zlib import crc32

        buckets = 1 << max(self.max_entries - 1, 0).bit_length()
        place = crc32(b"".join(address.to_bytes(8, ORDER) for address in stack)) & (buckets - 1)
        if self._stacks.get(place, stack) != stack and not reuse:
            return -errno.EEXIST
        self._stacks[place] = stack
        return place

    def encode_key(self, key: Any) -> bytes:
        return (int(key) & 0xFFFFFFFF).to_bytes(4, ORDER)

    def decode_key(self, key: bytes) -> Any:
        return int.from_bytes(key, ORDER)

    def _shown(self, value: Any) -> Any:
        return list(value)

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        return ((place.to_bytes(4, ORDER), stack) for place, stack in sorted(self._stacks.items()))


class HandleMap(Map):
    """Maps of sockets, devices, CPUs and cgroups: tests store plain numbers, helpers ask what is there."""

    def __init__(self, spec: MapSpec, setting: Setting) -> None:
        super().__init__(spec, setting)
        self.key_size = self.key_size or 4
        self._handles: dict[bytes, Any] = {}

    def lookup(self, key: bytes) -> Pointer | None:
        if self.spec.kind not in ("devmap", "devmap_hash", "cpumap", "xskmap"):
            raise self._unsupported("looked up")
        found = self._handles.get(key)
        if found is None:
            return None
        data = found if isinstance(found, bytes) else encode(found, self.spec.value, self.value_size, "a value")
        return Pointer(Region(f"a value of map {self.name}", Space.MAP, bytearray(data), self.setting.kernel, False), 0)

    def has(self, key: bytes) -> bool:
        """Whether something is stored there."""
        return key in self._handles

    def encode_key(self, key: Any) -> bytes:
        if self.spec.key is None and isinstance(key, int):
            return (key & ((1 << 8 * self.key_size) - 1)).to_bytes(self.key_size, ORDER)
        return super().encode_key(key)

    def store(self, key: bytes, value: Any) -> None:
        self._handles[key] = value

    def remove(self, key: bytes) -> int:
        return 0 if self._handles.pop(key, None) is not None else -errno.ENOENT

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        return iter(list(self._handles.items()))

    def decode_value(self, value: Any) -> Any:
        return value


def make_map(spec: MapSpec, setting: Setting) -> Map:
    """The map that a spec describes.

    :raises UsageError: IR357: there is no such kind of map.
    """
    makers: dict[str, Callable[[], Map]] = {
        "hash": lambda: HashMap(spec, setting),
        "percpu_hash": lambda: HashMap(spec, setting, per_cpu=True),
        "lru_hash": lambda: HashMap(spec, setting, lru=True),
        "lru_percpu_hash": lambda: HashMap(spec, setting, per_cpu=True, lru=True),
        "array": lambda: ArrayMap(spec, setting),
        "percpu_array": lambda: ArrayMap(spec, setting, per_cpu=True),
        "lpm_trie": lambda: PrefixMap(spec, setting),
        "queue": lambda: QueueMap(spec, setting, False),
        "stack": lambda: QueueMap(spec, setting, True),
        "bloom_filter": lambda: BloomMap(spec, setting),
        "prog_array": lambda: NamesMap(spec, setting),
        "array_of_maps": lambda: OuterMap(spec, setting, True),
        "hash_of_maps": lambda: OuterMap(spec, setting, False),
        "stack_trace": lambda: StackMap(spec, setting),
        "ringbuf": lambda: RingMap(spec, setting),
        "perf_event_array": lambda: PerfMap(spec, setting),
    }
    made = makers.get(spec.kind)
    if made is not None:
        return made()
    if spec.kind.endswith("_storage"):
        return StorageMap(spec, setting)
    from osmia.abi.map_types import map_types

    if spec.kind in {row.name for row in map_types()}:
        return HandleMap(spec, setting)
    raise UsageError("IR357", f"map {spec.name} is of the unknown kind {spec.kind!r}")
