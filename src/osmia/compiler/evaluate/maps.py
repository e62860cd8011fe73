"""Maps of the evaluator: what programs do to them through helpers, and a dict-like view for tests.

Results of the program's side are those of Linux 6.18: 0 or a negative errno. What the kernel leaves open is exact here:
least-recently-used maps evict strictly by last use, and a Bloom filter has no false positives.
"""

from __future__ import annotations

import errno

from osmia.abi.map_types import RDONLY_PROG, WRONLY_PROG
from osmia.compiler.evaluate.faults import Fault, bad_argument
from osmia.compiler.evaluate.memory import ORDER, AddressSpace, Pointer, Region
from osmia.compiler.ir import Space
from osmia.diagnostics import UsageError
from osmia.object.layout import Bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from osmia.compiler.evaluate.buffers import Record
    from osmia.object.layout import Layout
    from osmia.object.spec import MapSpec

NOEXIST, EXIST, LOCK = 1, 2, 4


class Setting:
    """What maps know of the machine.

    :ivar kernel: gives values addresses. :ivar cpus: how many CPUs there are. :ivar cpu: the one that runs.
    :ivar ring_bytes: size of ring buffers whose spec leaves it open. :ivar find: another map by name.
    :ivar log: records of all buffers of one run in order.
    """

    __slots__ = ("cpu", "cpus", "find", "kernel", "log", "ring_bytes")

    def __init__(self, kernel: AddressSpace, cpus: int, ring_bytes: int, find: Callable[[str], Map]) -> None:
        self.kernel = kernel
        self.cpus = cpus
        self.cpu = 0
        self.ring_bytes = ring_bytes
        self.find = find
        self.log: list[tuple[str, Record]] = []


class Map:
    """A map; the base of all kinds.

    Tests use it like a dict: ``m[key]``, ``m[key] = value``, ``key in m``, ``len(m)``, ``m.items()``, ``m.get(key)``,
    ``dict(m.items())``. Keys and values are Python values of the spec's layouts, raw bytes where the spec has none;
    bytes are always taken as they are. Values of per-CPU maps are lists, one item per CPU.

    :ivar name: the map's name. :ivar spec: its spec.
    """

    per_cpu = False

    def __init__(self, spec: MapSpec, setting: Setting) -> None:
        self.name = spec.name
        self.spec = spec
        self.setting = setting
        self.key_size = spec.key_size
        self.value_size = spec.value_size
        self.max_entries = spec.max_entries

    # The program's side

    def lookup(self, key: bytes) -> Pointer | None:
        """The value's address, or None."""
        raise self._unsupported("looked up")

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        """0 or -errno."""
        raise self._unsupported("updated")

    def delete(self, key: bytes) -> int:
        """0 or -errno."""
        raise self._unsupported("deleted from")

    def push(self, value: bytes, flags: int) -> int:
        """``map_push_elem``: 0 or -errno."""
        raise self._unsupported("pushed to")

    def pop(self, take: bool) -> bytes | None:
        """``map_pop_elem`` or ``map_peek_elem``: the value, or None."""
        raise self._unsupported("popped")

    def walk(self) -> Iterator[tuple[bytes, Region]]:
        """The entries that ``for_each_map_elem`` visits, with this CPU's values."""
        raise self._unsupported("walked")

    def on_cpu(self, key: bytes, cpu: int) -> Pointer | None:
        """``map_lookup_percpu_elem``."""
        raise bad_argument(f"{self.name} is a {self.spec.kind} map, and map_lookup_percpu_elem takes per-CPU maps")

    def _unsupported(self, what: str) -> Fault:
        return Fault(
            "IR354",
            f"{self.name} is {what} by a program, which {self.spec.kind} maps do not allow",
            "see `osmia explain IR354`",
        )

    def check_reading(self) -> None:
        """:raises Fault: programs may only write this map."""
        if self.spec.flags & WRONLY_PROG:
            raise Fault("IR354", f"{self.name} is looked up, and programs may only write it (BPF_F_WRONLY_PROG)")

    def check_writing(self) -> None:
        """:raises Fault: programs may only read this map."""
        if self.spec.flags & RDONLY_PROG:
            raise Fault("IR344", f"{self.name} is changed, and programs may only read it (BPF_F_RDONLY_PROG)")

    def region(self, value: bytes, key: bytes) -> Region:
        """Memory for a value."""
        name = f"a value of map {self.name}"
        writable = not self.spec.flags & RDONLY_PROG
        return Region(name, Space.MAP, bytearray(value), self.setting.kernel, writable)

    # The test's side

    def encode_key(self, key: Any) -> bytes:
        """A key as bytes."""
        return encode(key, self.spec.key, self.key_size, f"a key of map {self.name}")

    def decode_key(self, key: bytes) -> Any:
        """A key as a Python value."""
        return self.spec.key.unpack(key) if self.spec.key is not None else key

    def encode_value(self, value: Any) -> bytes:
        """A value as bytes."""
        return encode(value, self.spec.value, self.value_size, f"a value of map {self.name}")

    def decode_value(self, value: bytes) -> Any:
        """A value as a Python value."""
        return self.spec.value.unpack(value) if self.spec.value is not None else value

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        """Keys as bytes, and values as bytes (a list of bytes for per-CPU maps)."""
        return iter(())

    def raw(self, key: bytes) -> Any:
        """The value of one key as :meth:`entries` gives it, or None."""
        return dict(self.entries()).get(key)

    def store(self, key: bytes, value: Any) -> None:
        """Sets a value from the test's side.

        :raises UsageError: IR357: the map does not take it.
        """
        result = self.update(key, self.encode_value(value), 0)
        if result:
            raise refused(self.name, result)

    def remove(self, key: bytes) -> int:
        """Deletes an entry from the test's side: 0 or -errno."""
        return self.delete(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key, or the default."""
        found = self.raw(self.encode_key(key))
        return default if found is None else self._shown(found)

    def _shown(self, value: Any) -> Any:
        return [self.decode_value(one) for one in value] if isinstance(value, list) else self.decode_value(value)

    def __getitem__(self, key: Any) -> Any:
        found = self.raw(self.encode_key(key))
        if found is None:
            raise KeyError(key)
        return self._shown(found)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.store(self.encode_key(key), value)

    def __delitem__(self, key: Any) -> None:
        if self.remove(self.encode_key(key)):
            raise KeyError(key)

    def __contains__(self, key: Any) -> bool:
        return self.raw(self.encode_key(key)) is not None

    def __len__(self) -> int:
        return sum(1 for _ in self.entries())

    def __iter__(self) -> Iterator[Any]:
        return (self.decode_key(key) for key, _ in self.entries())

    def keys(self) -> list[Any]:
        """All keys."""
        return list(self)

    def items(self) -> list[tuple[Any, Any]]:
        """All keys and values."""
        return [(self.decode_key(key), self._shown(value)) for key, value in self.entries()]

    def values(self) -> list[Any]:
        """All values."""
        return [value for _, value in self.items()]

    def __repr__(self) -> str:
        return f"<{self.spec.kind} map {self.name}>"


def encode(value: Any, layout: Layout | None, size: int, what: str) -> bytes:
    """A test's value as bytes.

    :raises UsageError: IR357: it does not fit.
    """
    if isinstance(value, (bytes, bytearray)) and not isinstance(layout, Bytes):
        data = bytes(value)
    elif layout is not None:
        try:
            data = layout.pack(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError("IR357", f"{value!r} is no {what.removeprefix('a ')}: {error}") from None
    elif isinstance(value, int) and size:
        data = (value & ((1 << (8 * size)) - 1)).to_bytes(size, ORDER)
    else:
        raise UsageError("IR357", f"{what} is needed as bytes: the map's spec has no layout for it")
    if len(data) != size:
        raise UsageError("IR357", f"{what} has {size} bytes, not {len(data)}")
    return data


def refused(name: str, result: int) -> UsageError:
    """The error for an entry that a map does not take from the test's side."""
    return UsageError("IR357", f"map {name} refuses the entry: {errno.errorcode.get(-result, result)}")
