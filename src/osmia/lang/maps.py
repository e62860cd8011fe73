"""Declarations of maps: what a program file writes, typed for checkers, bound to a live map while a session runs.

The same expression means the same on both sides: ``m[k]``, ``m.get(k)``, ``k in m``, ``m.items()``. In kernel
functions the
front end compiles it; in user space it goes to the live map that the session bound.
"""

from __future__ import annotations

from osmia.diagnostics import MapError, RunError, UsageError
from osmia.lang.types import layout_of
from osmia.lang.types import u64 as _U64
from osmia.object.layout import U32, Layout, Struct

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from osmia.lang._generic import Generic, TypeVar, overload
else:
    from collections.abc import Iterator
    from typing import Any, Generic, TypeVar, overload

    from osmia.lang.program import ProgramDecl

_E2BIG, _EEXIST = 7, 17

_K = TypeVar("_K")
_V = TypeVar("_V")
_D = TypeVar("_D")


def _accepted(operation: Any, refusal: int, *args: Any) -> bool:
    """Whether a map took a value; any error but the expected refusal goes on."""
    try:
        operation(*args)
    except MapError as error:
        if error.errno != refusal:
            raise
        return False
    return True


def _live_of(value: Any) -> Any:
    """The live object behind a declared map or kernel function; anything else as it is."""
    if isinstance(value, MapDecl):
        return value.live
    live = getattr(value, "_live", None)
    return value if live is None else live


class MapDecl:
    """A map of a program.

    :ivar kind: the map type's name in ``abi.map_types``. :ivar name: given, or taken from the variable it is
        assigned to.
    :ivar key: the key's type as written, ``None`` for maps without. :ivar value: the value's type.
    :ivar max_entries: capacity (bytes for ring buffers). :ivar flags: ``BPF_F_*`` creation flags.
    :ivar extra: ``map_extra``. :ivar pin: bpffs path. :ivar contents: initial entries.
    :ivar inner: the declaration of inner maps. :ivar role: what the session does with it (``""``: a plain map).
    """

    KEYED = True
    PER_CPU = False

    def __init__(
        self,
        program: ProgramDecl | None,
        kind: str,
        *,
        key: Any = None,
        value: Any = None,
        max_entries: int = 0,
        flags: int = 0,
        extra: int = 0,
        name: str = "",
        pin: str = "",
        contents: dict[Any, Any] | None = None,
        inner: MapDecl | None = None,
        role: str = "",
    ) -> None:
        if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 0:
            raise UsageError("PY005", f"max_entries of a map is a number, not {max_entries!r}")
        self.program = program
        self.kind = kind
        self.key = key
        self.value = value
        self.max_entries = max_entries
        self.flags = flags
        self.extra = extra
        self.name = name
        self.pin = pin
        self.contents = contents or {}
        self.inner = inner
        self.role = role
        self._live: Any = None
        what = f"{kind} map {name}".strip()
        self.key_layout: Layout | None = None if key is None else layout_of(key, f"key of {what}")
        self.value_layout: Layout | None = None if value is None else layout_of(value, f"value of {what}")

    def __repr__(self) -> str:
        return f"<{self.kind} map {self.name or 'without a name'}>"

    @property
    def live(self) -> Any:
        """The session's live map.

        :raises RunError: PY006 while no session runs.
        """
        if self._live is None:
            raise RunError(
                "PY006",
                f"map {self.name or self.kind} holds data only while its program runs",
                hint="use it in a callback (`@prog.on`, `@prog.every`, `@prog.at_end`) or inside `with prog.open()`",
            )
        return self._live

    def bind(self, live: Any) -> None:
        """Connects the declaration with a session's live map; ``None`` disconnects."""
        self._live = live

    def clear(self) -> None:
        """Removes all entries."""
        self.live.clear()

    def freeze(self) -> None:
        """Lets user space only read the map from now on; kernel functions may still write (Linux 5.2)."""
        self.live.freeze()

    def pin_at(self, path: str) -> None:
        """Gives the map a name in a BPF file system, under which it outlives the program."""
        self.live.pin(path)

    def unpin(self, path: str) -> None:
        """Removes such a name."""
        self.live.unpin(path)


class Table(MapDecl, Generic[_K, _V]):
    """A map with keys: hash, LRU hash, LPM trie and their per-CPU forms."""

    def __getitem__(self, key: _K) -> _V:
        return self.live[key]  # type: ignore[no-any-return]

    def __setitem__(self, key: _K, value: _V) -> None:
        self.live[key] = value

    def __delitem__(self, key: _K) -> None:
        del self.live[key]

    def __contains__(self, key: object) -> bool:
        return key in self.live

    def __len__(self) -> int:
        return len(self.live)

    def __iter__(self) -> Iterator[_K]:
        return iter(self.live)

    def __bool__(self) -> bool:
        return True

    @overload
    def get(self, key: _K) -> _V | None: ...
    @overload
    def get(self, key: _K, default: _D) -> _V | _D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """The value of ``key``, ``default`` (or ``None``) where there is none."""
        return self.live.get(key, default)

    def update(self, entries: dict[_K, _V]) -> None:
        """Sets many entries, in batches where the kernel can (user space)."""
        self.live.update(entries)

    def insert(self, key: _K, value: _V) -> bool:
        """Adds an entry unless the key is there; whether it was added."""
        return _accepted(self.live.insert, _EEXIST, key, value)

    def pop(self, key: _K) -> _V | None:
        """Removes an entry and returns its value, ``None`` where there was none."""
        return self.live.pop(key, None)  # type: ignore[no-any-return]

    def items(self) -> Iterator[tuple[_K, _V]]:
        """All keys with their values."""
        return self.live.items()  # type: ignore[no-any-return]

    def keys(self) -> Iterator[_K]:
        """All keys."""
        return self.live.keys()  # type: ignore[no-any-return]

    def values(self) -> Iterator[_V]:
        """All values."""
        return self.live.values()  # type: ignore[no-any-return]


class PerCpuTable(Table[_K, _V]):
    """A keyed map with one value per CPU. The kernel sees its own CPU's value; user space asks for all or the sum."""

    PER_CPU = True

    def per_cpu(self, key: _K) -> list[_V]:
        """The value of every CPU (user space)."""
        return self.live.per_cpu(key)  # type: ignore[no-any-return]

    def sum(self, key: _K) -> _V:
        """The sum over all CPUs (user space)."""
        return self.live.total(key)  # type: ignore[no-any-return]

    def sums(self) -> Iterator[tuple[_K, _V]]:
        """All keys with the sum over all CPUs (user space)."""
        return self.live.totals()  # type: ignore[no-any-return]


class ArrayTable(Table[int, _V]):
    """An array map: keys are ``0 .. max_entries - 1``, all there from the start."""


class PerCpuArray(PerCpuTable[int, _V]):
    """An array map with one value per CPU."""


class Counter(PerCpuTable[_K, int]):
    """Numbers by key, one per CPU so that CPUs never wait for each other: ``counter[key] += 1``."""

    def add(self, key: _K, amount: int = 1) -> None:
        """Adds to a key's number (kernel)."""
        raise kernel_only(f"{self!r}.add")


class _Recorder(Generic[_K]):
    """``histogram[key]`` in kernel code."""

    def record(self, value: int, weight: int = 1) -> None:
        """Counts a value (kernel)."""
        raise kernel_only("record")


class Histogram(MapDecl, Generic[_K]):
    """Counts values in buckets, by key if there is one.

    ``log2``: bucket 0 counts values of 0 and below, bucket ``b`` values from ``2**(b-1)`` to below ``2**b``.
    ``linear``: bucket
    0 counts values below ``low``, bucket ``1 + (v - low) // step`` the others, the last one those from ``high`` on.

    :ivar scale: ``log2`` or ``linear``. :ivar buckets: number of buckets.
    """

    PER_CPU = True

    def __init__(
        self,
        program: ProgramDecl,
        key: Any,
        scale: str,
        low: int,
        high: int,
        step: int,
        max_entries: int,
        name: str,
        unit: str,
    ) -> None:
        if scale not in ("log2", "linear"):
            raise UsageError("PY005", f"a histogram is 'log2' or 'linear', not {scale!r}")
        if scale == "linear" and not (step > 0 and low < high):
            raise UsageError("PY005", "a linear histogram needs low < high and a step above 0")
        self.scale = scale
        self.low = low
        self.high = high
        self.step = step
        self.unit = unit
        self.buckets = 65 if scale == "log2" else 2 + -(-(high - low) // step)
        self.group = key
        self.group_layout = None if key is None else layout_of(key, f"key of histogram {name}".strip())
        if key is None:
            super().__init__(program, "percpu_array", value=_U64, max_entries=self.buckets, name=name, role="histogram")
            self.key_layout = U32
        else:
            super().__init__(program, "percpu_hash", value=_U64, max_entries=max_entries, name=name, role="histogram")
            assert self.group_layout is not None
            self.key_layout = Struct.of("histogram_key", [("key", self.group_layout), ("bucket", U32)])

    def __getitem__(self, key: _K) -> _Recorder[_K]:
        raise kernel_only(f"{self!r}[...]")

    def record(self, value: int, weight: int = 1) -> None:
        """Counts a value (kernel)."""
        raise kernel_only(f"{self!r}.record")

    def counts(self) -> dict[Any, list[int]]:
        """The buckets' counts by key (``None`` for a histogram without keys), summed over CPUs (user space)."""
        found: dict[Any, list[int]] = {}
        for key, count in self.live.totals():
            group, bucket = (None, key) if self.group is None else key
            found.setdefault(group, [0] * self.buckets)[bucket] += count
        return found

    def bounds(self, bucket: int) -> tuple[int, int]:
        """The least value of a bucket and the one above its greatest; an open end is the 64-bit limit."""
        if self.scale == "log2":
            return (-(1 << 63), 1) if bucket == 0 else (1 << (bucket - 1), 1 << bucket)
        if bucket == 0:
            return -(1 << 63), self.low
        start = self.low + (bucket - 1) * self.step
        return (self.high, 1 << 64) if bucket == self.buckets - 1 else (start, min(start + self.step, self.high))


class Buffer(MapDecl, Generic[_V]):
    """A queue of events from the kernel to user space.

    :ivar event: the event class.
    """

    KEYED = False

    def __init__(self, program: ProgramDecl, kind: str, event: Any, max_entries: int, name: str) -> None:
        layout = getattr(event, "__layout__", None)
        if not isinstance(layout, Struct):
            raise UsageError(
                "PY005",
                f"a {kind} carries events, and {event!r} is none",
                hint="pass a class decorated with @prog.event",
            )
        super().__init__(program, kind, max_entries=max_entries, name=name, role="events")
        self.event = event
        self.event_layout = layout
        self.columns: dict[str, str] = dict(getattr(event, "__columns__", {}))


class Ring(Buffer[_V]):
    """A ring buffer of one type of events (Linux 5.8)."""

    def submit(self, event: _V) -> bool:
        """Sends an event (kernel); whether there was room. A lost event is counted."""
        raise kernel_only(f"{self!r}.submit")

    def reserve(self) -> _V | None:
        """Room for one event, to be filled in place and submitted or discarded (kernel); ``None`` when full."""
        raise kernel_only(f"{self!r}.reserve")

    def discard(self, event: _V) -> None:
        """Gives reserved room back without sending (kernel)."""
        raise kernel_only(f"{self!r}.discard")


class PerfRing(Buffer[_V]):
    """A perf event array: one buffer per CPU, for kernels before 5.8 and for full per-CPU order."""

    def submit(self, ctx: object, event: _V) -> bool:
        """Sends an event (kernel); whether there was room. A lost event is counted."""
        raise kernel_only(f"{self!r}.submit")


class StackTrace(MapDecl):
    """Stacks by number: ``kstack(stacks)`` and ``ustack(stacks)`` store one and give its number."""

    def __getitem__(self, number: int) -> list[int]:
        return self.live.ips(number)  # type: ignore[no-any-return]

    def get(self, number: int) -> list[int] | None:
        """The addresses of a stack, innermost first; ``None`` where there is none."""
        return self.live.ips(number) if number in self.live else None


class Queue(MapDecl, Generic[_V]):
    """A queue (``kind`` is ``queue``: first in, first out) or a stack (last in, first out)."""

    KEYED = False

    def push(self, value: _V) -> bool:
        """Adds a value; whether there was room."""
        return _accepted(self.live.push, _E2BIG, value)

    def pop(self) -> _V | None:
        """Takes the next value out; ``None`` when empty."""
        return self.live.pop(None)  # type: ignore[no-any-return]

    def peek(self) -> _V | None:
        """The next value, which stays; ``None`` when empty."""
        return self.live.peek(None)  # type: ignore[no-any-return]


class Bloom(MapDecl, Generic[_V]):
    """A bloom filter: ``value in bloom`` is never wrongly false (Linux 5.16)."""

    KEYED = False

    def add(self, value: _V) -> bool:
        """Adds a value; whether it worked."""
        return _accepted(self.live.add, _E2BIG, value)

    def __contains__(self, value: object) -> bool:
        return value in self.live


class ProgArray(MapDecl):
    """Programs by number, for tail calls."""

    def __setitem__(self, index: int, program: object) -> None:
        if self._live is None:
            self.contents[index] = program
        else:
            self.live[index] = _live_of(program)

    def __getitem__(self, index: int) -> Any:
        """In kernel code ``table[i](ctx)`` is a tail call."""
        raise kernel_only(f"{self!r}[...]")

    def tail_call(self, ctx: object, index: int) -> None:
        """Goes on with another program, never to come back; continues where the slot is empty (kernel)."""
        raise kernel_only(f"{self!r}.tail_call")


class MapOfMaps(MapDecl, Generic[_K, _V]):
    """A map whose values are maps like its inner one."""

    def get(self, key: _K) -> _V | None:
        """The inner map of a key (kernel), ``None`` where there is none."""
        if self._live is None:
            raise kernel_only(f"{self!r}.get")
        return self.live.get(key)  # type: ignore[no-any-return]

    def __getitem__(self, key: _K) -> _V:
        return self.live[key]  # type: ignore[no-any-return]

    def __setitem__(self, key: _K, inner: object) -> None:
        if self._live is None:
            self.contents[key] = inner
        else:
            self.live[key] = _live_of(inner)

    def __delitem__(self, key: _K) -> None:
        del self.live[key]


class Redirect(MapDecl, Generic[_K]):
    """A map of sockets, devices or CPUs, mostly for redirection."""

    def redirect(self, *args: object, flags: int = 0) -> int:
        """The verdict that sends the packet to an entry (kernel)."""
        raise kernel_only(f"{self!r}.redirect")

    def __setitem__(self, key: _K, value: object) -> None:
        self.live[key] = value

    def __getitem__(self, key: _K) -> Any:
        return self.live[key]

    def __delitem__(self, key: _K) -> None:
        del self.live[key]


class Storage(MapDecl, Generic[_V]):
    """A value kept with a socket, task, inode or cgroup; it ends with its owner."""

    def get(self, owner: Any) -> _V | None:
        """The value kept with ``owner``, ``None`` where there is none."""
        return self.live.get(owner)  # type: ignore[no-any-return]

    def get_or_create(self, owner: Any) -> _V | None:
        """The value kept with ``owner``, made of zeros if it was not there (kernel); ``None`` without memory."""
        raise kernel_only(f"{self!r}.get_or_create")

    def delete(self, owner: Any) -> bool:
        """Removes the value; whether there was one."""
        return self.live.delete(owner)  # type: ignore[no-any-return]


class CgroupArray(MapDecl):
    """Cgroups by number: ``cgroups.has_current(i)`` asks whether the current task is below one."""

    def __setitem__(self, index: int, cgroup: object) -> None:
        self.live[index] = cgroup

    def has_current(self, index: int) -> bool:
        """Whether the current task is in the cgroup or below it (kernel)."""
        raise kernel_only(f"{self!r}.has_current")


def kernel_only(what: str) -> UsageError:
    """The error of something that has a meaning in kernel functions only."""
    return UsageError(
        "PY004",
        f"{what} works in kernel functions only",
        hint="call it from a function under a hook decorator, such as @prog.tracepoint",
    )
