"""Queues, stacks, bloom filters and stack traces."""

from __future__ import annotations

import errno
from struct import unpack_from
from sys import byteorder

from osmia.kernel.maps.keyed import ANY, EXIST, KeyedMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn


class _Keyless(KeyedMap):
    """A map without keys: what a dict does is refused."""

    def _not_a_dict(self, *_: Any) -> NoReturn:
        from osmia.kernel.maps.problems import unsupported

        raise unsupported(self, "access by key")

    __getitem__ = __setitem__ = __delitem__ = _not_a_dict
    get = put = insert = replace = setdefault = delete = update = items = keys = _not_a_dict  # type: ignore[assignment]


class QueueMap(_Keyless):
    """``queue`` (first in, first out) and ``stack`` (last in, first out)."""

    def push(self, value: Any, *, replace_oldest: bool = False) -> None:
        """Adds a value. :raises MapError: MAP001 when it is full and ``replace_oldest`` is not set."""
        number = self.update_raw(b"", self._value_bytes(value), EXIST if replace_oldest else ANY)
        if number:
            self._failed(number, "push to")

    def pop(self, *default: Any) -> Any:
        """Takes the next value out. :raises EmptyMap: when there is none and no ``default`` is given."""
        with self._lock:
            self.fileno()
            result = self._calls.lookup_and_delete()
            found = bytes(self._calls.value) if not result else b""
        return self._taken(result, found, default, "pop from")

    def peek(self, *default: Any) -> Any:
        """The next value, which stays. :raises EmptyMap: when there is none and no ``default`` is given."""
        with self._lock:
            self.fileno()
            result = self._calls.lookup()
            found = bytes(self._calls.value) if not result else b""
        return self._taken(result, found, default, "look into")

    def _taken(self, result: int, found: bytes, default: tuple[Any, ...], doing: str) -> Any:
        if result == -errno.ENOENT and default:
            return default[0]
        if result:
            self._failed(-result, doing)
        return self._value_of(found, 0)

    def drain(self) -> Iterator[Any]:
        """Takes values out until none is left."""
        none = object()
        while (value := self.pop(none)) is not none:
            yield value

    def clear(self) -> None:
        """Takes everything out."""
        for _ in self.drain():
            pass

    def __iter__(self) -> NoReturn:
        self._not_a_dict()

    def __len__(self) -> int:
        from osmia.kernel.maps.problems import unsupported

        raise unsupported(self, "counting without taking out")

    def __contains__(self, value: Any) -> bool:
        from osmia.kernel.maps.problems import unsupported

        raise unsupported(self, "searching")


class BloomFilter(_Keyless):
    """``bloom_filter`` (Linux 5.16): says for certain that a value was not added, and with some error that it was."""

    def add(self, value: Any) -> None:
        """Adds a value; it cannot be removed."""
        number = self.update_raw(b"", self._value_bytes(value))
        if number:
            self._failed(number, "add to")

    def __contains__(self, value: Any) -> bool:
        data = self._value_bytes(value)
        with self._lock:
            self.fileno()
            self._calls.value[:] = data
            result = self._calls.lookup()
        if result and result != -errno.ENOENT:
            self._failed(-result, "look into")
        return result == 0

    def __iter__(self) -> NoReturn:
        self._not_a_dict()

    def __len__(self) -> int:
        from osmia.kernel.maps.problems import unsupported

        raise unsupported(self, "counting")

    def clear(self) -> None:
        """Not for bloom filters. :raises MapError: MAP004."""
        from osmia.kernel.maps.problems import unsupported

        raise unsupported(self, "clearing", "make a new one")


class StackTraceMap(KeyedMap):
    """``stack_trace``: the traces that ``bpf_get_stackid`` stored, by the id that it gave."""

    def ips(self, stack_id: int) -> list[int]:
        """The addresses of a trace, innermost first. :raises MissingKey: when the id is not (or no longer) there."""
        return _addresses(self._trace(stack_id))

    def frames(self, stack_id: int) -> list[tuple[bytes, int]]:
        """For maps made with ``BPF_F_STACK_BUILD_ID``: build id and file offset of each frame.

        The build id is empty where the kernel had none; the number then is the address.
        """
        data = self._trace(stack_id)
        found = []
        for at in range(0, len(data), 32):
            status, build_id, place = unpack_from("=i20sQ", data, at)
            if not status:
                break
            found.append((build_id if status == 1 else b"", place))
        return found

    def traces(self) -> Iterator[tuple[int, list[int]]]:
        """Pairs of id and addresses, of all traces."""
        for keys, values, count in self.chunks():
            for index in range(count):
                at = index * self.value_size
                yield (
                    int.from_bytes(keys[index * 4 : index * 4 + 4], byteorder),
                    _addresses(values[at : at + self.value_size]),
                )

    def pop_ips(self, stack_id: int) -> list[int]:
        """The addresses of a trace, which is then removed. :raises MissingKey:"""
        found = self.ips(stack_id)
        self.delete(stack_id.to_bytes(4, byteorder))
        return found

    def _trace(self, stack_id: int) -> bytes:
        if stack_id < 0 or stack_id >> 32:
            self._failed(errno.ENOENT, "look up", stack_id)
        found = self.lookup_raw(stack_id.to_bytes(4, byteorder))
        if found is None:
            self._failed(errno.ENOENT, "look up", stack_id)
        return found


def _addresses(data: bytes | memoryview) -> list[int]:
    words = unpack_from(f"={len(data) // 8}Q", data)
    return [word for word in words if word]
