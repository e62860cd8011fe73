"""The declaration of a program: its kernel functions, maps, settings and callbacks.

:class:`ProgramDecl` only records. ``osmia.api.Program`` adds running, building and testing.
"""

from __future__ import annotations

import sys

from osmia.diagnostics import RunError, UsageError
from osmia.lang import maps as M
from osmia.lang.hooks import HelperFunction, HookDecorators, Kfunc
from osmia.lang.structs import struct_class
from osmia.lang.types import layout_of
from osmia.object.layout import U32, U64, Layout

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from osmia.lang._generic import Generic, TypeVar, dataclass_transform, overload
else:
    from collections.abc import Callable
    from typing import Any, Generic, TypeVar, dataclass_transform, overload

    from osmia.lang.hooks import KernelFunction

    _F = TypeVar("_F", bound=Callable[..., Any])
    _C = TypeVar("_C")
    _I = TypeVar("_I", bound=M.MapDecl)

_K = TypeVar("_K")
_V = TypeVar("_V")
_T = TypeVar("_T")

_HIDDEN = ("osmia.lang", "osmia.api")


class Var(Generic[_T]):
    """A global variable that kernel functions and user space share: ``x.value``."""

    __slots__ = ("_live", "initial", "layout", "name", "type")

    def __init__(self, type: Any, initial: Any, name: str) -> None:
        self.type = type
        self.layout: Layout = layout_of(type, f"variable {name}".strip())
        self.initial = initial
        self.name = name
        self._live: Any = None
        if initial is not None:
            _pack(self.layout, initial, f"initial value of variable {name}".strip())

    def __repr__(self) -> str:
        return f"<variable {self.name or 'without a name'}>"

    def bind(self, live: Any) -> None:
        """Connects with a session's live variable, which has a ``value``; ``None`` disconnects."""
        self._live = live

    @property
    def value(self) -> _T:
        """The current value.

        :raises RunError: PY006 while no session runs.
        """
        if self._live is None:
            raise RunError("PY006", f"variable {self.name} has a value only while its program runs")
        return self._live.value  # type: ignore[no-any-return]

    @value.setter
    def value(self, value: _T) -> None:
        if self._live is None:
            _pack(self.layout, value, f"value of variable {self.name}")
            self.initial = value
        else:
            self._live.value = value


class Option(Generic[_T]):
    """A setting of the program: an option of its command line, a constant in the kernel.

    :ivar choices: the values it may take, ``None`` for all. :ivar metavar: shown for the value in ``--help``.
    """

    __slots__ = ("_value", "choices", "default", "help", "layout", "metavar", "name", "type")

    def __init__(self, name: str, type: Any, default: Any, help: str, choices: Any, metavar: str) -> None:
        if not name.replace("-", "_").isidentifier():
            raise UsageError("PY005", f"{name!r} cannot be an option's name", hint="use letters, digits and dashes")
        self.name = name.replace("-", "_")
        self.type = type
        self.layout: Layout = layout_of(type, f"option {name}")
        self.default = default
        self.help = help
        self.choices = choices
        self.metavar = metavar
        self._value: Any = default
        _pack(self.layout, default, f"default of option {name}")

    def __repr__(self) -> str:
        return f"<option {self.name}>"

    @property
    def value(self) -> _T:
        """The value of this run; the default before one is set."""
        return self._value  # type: ignore[no-any-return]

    @value.setter
    def value(self, value: _T) -> None:
        _pack(self.layout, value, f"value of option {self.name}")
        self._value = value

    def __bool__(self) -> bool:
        return bool(self._value)


def _pack(layout: Layout, value: Any, what: str) -> bytes:
    try:
        return layout.pack(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError("PY005", f"{what}: {error}") from None


class ProgramDecl(HookDecorators):
    """A program: what one ``Program("name")`` and its decorators collected.

    :ivar functions: kernel functions in source order. :ivar maps: map declarations likewise. :ivar structs: struct
        and event
        classes. :ivar variables, options, kfuncs: likewise. :ivar handlers: (ring, function) of ``@prog.on``.
    :ivar batch_handlers: likewise of ``@prog.on_batch``.
    :ivar timers: (seconds, function) of ``@prog.every``. :ivar finals: functions of ``@prog.at_end``.
    :ivar file: the program file. :ivar module_globals: the namespace the program was made in.
    """

    def __init__(self, name: str, *, license: str = "GPL", description: str = "") -> None:
        if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
            raise UsageError("PY005", f"{name!r} cannot be a program's name", hint="use letters, digits and dashes")
        self.name = name
        self.license = license
        self.description = description
        self.functions: list[KernelFunction] = []
        self.maps: list[M.MapDecl] = []
        self.structs: list[Any] = []
        self.variables: list[Var[Any]] = []
        self.options: list[Option[Any]] = []
        self.kfuncs: list[Kfunc] = []
        self.handlers: list[tuple[M.Buffer[Any], Callable[[Any], object]]] = []
        self.batch_handlers: list[tuple[M.Buffer[Any], Callable[[Any], object]]] = []
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.finals: list[Callable[[], object]] = []
        frame = _outside()
        self.file: str = frame.f_code.co_filename
        self.module_globals: dict[str, Any] = frame.f_globals

    def __repr__(self) -> str:
        return f"<program {self.name}>"

    # -- types ------------------------------------------------------------------------------------------------------

    @dataclass_transform()
    def struct(self, cls: type[_C]) -> type[_C]:
        """Makes a class with annotated fields a struct of fixed layout."""
        made = struct_class(cls, _outside())
        self.structs.append(made)
        return made

    @overload
    @dataclass_transform()
    def event(self, cls: type[_C]) -> type[_C]: ...
    @overload
    @dataclass_transform()
    def event(self, *, columns: dict[str, str]) -> Callable[[type[_C]], type[_C]]: ...
    def event(self, cls: Any = None, *, columns: dict[str, str] | None = None) -> Any:
        """Makes a class with annotated fields an event, which rings carry to user space.

        :param columns: display formats by field: ``{"latency": "ms", "address": "ip"}``.
        """
        frame = _outside()

        def make(cls: Any) -> Any:
            made: Any = struct_class(cls, frame)
            shown = dict(columns or {})
            for name in shown:
                if name not in made.__slots__:
                    raise UsageError("PY005", f"event {made.__name__} has no field {name!r} to show")
            made.__columns__ = shown
            self.structs.append(made)
            return made

        return make if cls is None else make(cls)

    # -- maps -------------------------------------------------------------------------------------------------------

    def _map(self, declaration: _I) -> _I:
        self.maps.append(declaration)
        return declaration

    def hash(
        self,
        key: type[_K],
        value: type[_V],
        *,
        max_entries: int = 10_240,
        flags: int = 0,
        name: str = "",
        pin: str = "",
    ) -> M.Table[_K, _V]:
        """A hash map."""
        return self._map(
            M.Table(self, "hash", key=key, value=value, max_entries=max_entries, flags=flags, name=name, pin=pin)
        )

    def percpu_hash(
        self,
        key: type[_K],
        value: type[_V],
        *,
        max_entries: int = 10_240,
        flags: int = 0,
        name: str = "",
        pin: str = "",
    ) -> M.PerCpuTable[_K, _V]:
        """A hash map with one value per CPU."""
        return self._map(
            M.PerCpuTable(
                self, "percpu_hash", key=key, value=value, max_entries=max_entries, flags=flags, name=name, pin=pin
            )
        )

    def lru_hash(
        self,
        key: type[_K],
        value: type[_V],
        *,
        max_entries: int = 10_240,
        flags: int = 0,
        name: str = "",
        pin: str = "",
    ) -> M.Table[_K, _V]:
        """A hash map that drops the least recently used entry when full."""
        return self._map(
            M.Table(self, "lru_hash", key=key, value=value, max_entries=max_entries, flags=flags, name=name, pin=pin)
        )

    def lru_percpu_hash(
        self,
        key: type[_K],
        value: type[_V],
        *,
        max_entries: int = 10_240,
        flags: int = 0,
        name: str = "",
        pin: str = "",
    ) -> M.PerCpuTable[_K, _V]:
        """An LRU hash map with one value per CPU."""
        return self._map(
            M.PerCpuTable(
                self, "lru_percpu_hash", key=key, value=value, max_entries=max_entries, flags=flags, name=name, pin=pin
            )
        )

    def array(
        self, value: type[_V], max_entries: int, *, flags: int = 0, name: str = "", pin: str = ""
    ) -> M.ArrayTable[_V]:
        """An array map of ``max_entries`` values, zero at the start."""
        return self._map(
            M.ArrayTable(self, "array", key=_u32, value=value, max_entries=max_entries, flags=flags, name=name, pin=pin)
        )

    def percpu_array(
        self, value: type[_V], max_entries: int, *, flags: int = 0, name: str = "", pin: str = ""
    ) -> M.PerCpuArray[_V]:
        """An array map with one value per CPU."""
        return self._map(
            M.PerCpuArray(
                self, "percpu_array", key=_u32, value=value, max_entries=max_entries, flags=flags, name=name, pin=pin
            )
        )

    def lpm_trie(
        self, key: type[_K], value: type[_V], *, max_entries: int = 10_240, name: str = "", pin: str = ""
    ) -> M.Table[_K, _V]:
        """Longest prefix match. The key is a struct whose first field is the prefix length in bits, a ``u32``."""
        layout = layout_of(key, "key of an lpm_trie")
        fields: tuple[Any, ...] = getattr(layout, "fields", ())
        if len(fields) < 2 or fields[0].type != U32:
            raise UsageError(
                "PY005", "the key of an lpm_trie is a struct", hint="fields: `prefix: u32`, then the address bytes"
            )
        return self._map(
            M.Table(self, "lpm_trie", key=key, value=value, max_entries=max_entries, flags=1, name=name, pin=pin)
        )

    def counter(self, key: type[_K], *, max_entries: int = 10_240, name: str = "", pin: str = "") -> M.Counter[_K]:
        """Numbers by key, counted per CPU: ``counter[key] += 1``."""
        return self._map(
            M.Counter(self, "percpu_hash", key=key, value=_u64, max_entries=max_entries, name=name, pin=pin)
        )

    @overload
    def histogram(
        self, *, scale: str = ..., low: int = ..., high: int = ..., step: int = ..., name: str = ..., unit: str = ...
    ) -> M.Histogram[None]: ...
    @overload
    def histogram(
        self,
        key: type[_K],
        *,
        scale: str = ...,
        low: int = ...,
        high: int = ...,
        step: int = ...,
        max_entries: int = ...,
        name: str = ...,
        unit: str = ...,
    ) -> M.Histogram[_K]: ...
    def histogram(
        self,
        key: Any = None,
        *,
        scale: str = "log2",
        low: int = 0,
        high: int = 0,
        step: int = 0,
        max_entries: int = 10_240,
        name: str = "",
        unit: str = "",
    ) -> M.Histogram[Any]:
        """Counts values in buckets, ``log2`` or ``linear`` from ``low`` to ``high`` in steps, by ``key`` if given."""
        return self._map(M.Histogram(self, key, scale, low, high, step, max_entries, name, unit))

    def ring(self, event: type[_V], *, size: int = 256 * 1024, name: str = "") -> M.Ring[_V]:
        """A ring buffer of ``size`` bytes (a power of two, at least a page) for one type of events."""
        if size < 4096 or size & (size - 1):
            raise UsageError("PY005", f"the size of a ring is a power of two of at least 4096, not {size}")
        return self._map(M.Ring(self, "ringbuf", event, size, name))

    def perf_ring(self, event: type[_V], *, name: str = "") -> M.PerfRing[_V]:
        """Per-CPU buffers for one type of events, as kernels before 5.8 have them."""
        return self._map(M.PerfRing(self, "perf_event_array", event, 0, name))

    perf = perf_ring

    def stack_trace(self, *, max_entries: int = 16_384, depth: int = 127, name: str = "") -> M.StackTrace:
        """Stacks by number."""
        if not 0 < depth <= 127:
            raise UsageError("PY005", f"a stack holds 1 to 127 addresses, not {depth}")
        made = M.StackTrace(self, "stack_trace", key=_u32, max_entries=max_entries, name=name)
        made.value_layout = _addresses(depth)
        return self._map(made)

    def queue(self, value: type[_V], *, max_entries: int = 10_240, name: str = "", pin: str = "") -> M.Queue[_V]:
        """First in, first out (Linux 4.20)."""
        return self._map(M.Queue(self, "queue", value=value, max_entries=max_entries, name=name, pin=pin))

    def stack(self, value: type[_V], *, max_entries: int = 10_240, name: str = "", pin: str = "") -> M.Queue[_V]:
        """Last in, first out (Linux 4.20)."""
        return self._map(M.Queue(self, "stack", value=value, max_entries=max_entries, name=name, pin=pin))

    def bloom(
        self, value: type[_V], *, max_entries: int = 10_240, hashes: int = 5, name: str = "", pin: str = ""
    ) -> M.Bloom[_V]:
        """A bloom filter (Linux 5.16)."""
        if not 1 <= hashes <= 15:
            raise UsageError("PY005", f"a bloom filter has 1 to 15 hashes, not {hashes}")
        return self._map(
            M.Bloom(self, "bloom_filter", value=value, max_entries=max_entries, extra=hashes, name=name, pin=pin)
        )

    def prog_array(
        self, max_entries: int, contents: dict[int, KernelFunction] | None = None, *, name: str = ""
    ) -> M.ProgArray:
        """Programs by number, for tail calls."""
        return self._map(
            M.ProgArray(self, "prog_array", key=_u32, value=_u32, max_entries=max_entries, name=name, contents=contents)
        )

    def array_of_maps(
        self, inner: _I, max_entries: int, contents: dict[int, M.MapDecl] | None = None, *, name: str = ""
    ) -> M.MapOfMaps[int, _I]:
        """An array whose values are maps like ``inner``."""
        return self._map(
            M.MapOfMaps(
                self, "array_of_maps", key=_u32, value=_u32, max_entries=max_entries, name=name, contents=contents,
                inner=inner,
            )
        )  # fmt: skip

    def hash_of_maps(
        self,
        key: type[_K],
        inner: _I,
        *,
        max_entries: int = 1_024,
        contents: dict[Any, M.MapDecl] | None = None,
        name: str = "",
    ) -> M.MapOfMaps[_K, _I]:
        """A hash map whose values are maps like ``inner``."""
        return self._map(
            M.MapOfMaps(
                self, "hash_of_maps", key=key, value=_u32, max_entries=max_entries, name=name, contents=contents,
                inner=inner,
            )
        )  # fmt: skip

    def sockmap(self, max_entries: int = 1_024, *, name: str = "", pin: str = "") -> M.Redirect[int]:
        """Sockets by number."""
        return self._redirect("sockmap", _u32, _u64, max_entries, name, pin)

    def sockhash(self, key: type[_K], *, max_entries: int = 1_024, name: str = "", pin: str = "") -> M.Redirect[_K]:
        """Sockets by key."""
        return self._redirect("sockhash", key, _u64, max_entries, name, pin)

    def devmap(self, max_entries: int = 256, *, name: str = "", pin: str = "") -> M.Redirect[int]:
        """Network devices by number, for XDP."""
        return self._redirect("devmap", _u32, _u32, max_entries, name, pin)

    def devmap_hash(self, *, max_entries: int = 256, name: str = "", pin: str = "") -> M.Redirect[int]:
        """Network devices by any 32-bit key, for XDP (Linux 5.4)."""
        return self._redirect("devmap_hash", _u32, _u32, max_entries, name, pin)

    def cpumap(self, max_entries: int = 256, *, name: str = "", pin: str = "") -> M.Redirect[int]:
        """CPUs, for XDP."""
        return self._redirect("cpumap", _u32, _u32, max_entries, name, pin)

    def xskmap(self, max_entries: int = 64, *, name: str = "", pin: str = "") -> M.Redirect[int]:
        """AF_XDP sockets by queue, for XDP."""
        return self._redirect("xskmap", _u32, _u32, max_entries, name, pin)

    def _redirect(self, kind: str, key: Any, value: Any, max_entries: int, name: str, pin: str) -> M.Redirect[Any]:
        return self._map(M.Redirect(self, kind, key=key, value=value, max_entries=max_entries, name=name, pin=pin))

    def sk_storage(self, value: type[_V], *, name: str = "", pin: str = "") -> M.Storage[_V]:
        """A value kept with each socket (Linux 5.2)."""
        return self._storage("sk_storage", value, name, pin)

    def task_storage(self, value: type[_V], *, name: str = "", pin: str = "") -> M.Storage[_V]:
        """A value kept with each task (Linux 5.11)."""
        return self._storage("task_storage", value, name, pin)

    def inode_storage(self, value: type[_V], *, name: str = "", pin: str = "") -> M.Storage[_V]:
        """A value kept with each inode (Linux 5.10)."""
        return self._storage("inode_storage", value, name, pin)

    def cgroup_storage(self, value: type[_V], *, name: str = "", pin: str = "") -> M.Storage[_V]:
        """A value kept with each cgroup (Linux 6.2)."""
        return self._storage("cgrp_storage", value, name, pin)

    def _storage(self, kind: str, value: Any, name: str, pin: str) -> M.Storage[Any]:
        # BPF_F_NO_PREALLOC is what the kernel asks of all local storage.
        return self._map(M.Storage(self, kind, key=_s32, value=value, flags=1, name=name, pin=pin))

    def cgroup_array(self, max_entries: int = 16, *, name: str = "") -> M.CgroupArray:
        """Cgroups by number."""
        return self._map(M.CgroupArray(self, "cgroup_array", key=_u32, value=_u32, max_entries=max_entries, name=name))

    # -- settings and functions -------------------------------------------------------------------------------------

    def var(self, type: type[_T], initial: Any = None, *, name: str = "") -> Var[_T]:
        """A global variable shared with user space."""
        made: Var[_T] = Var(type, initial, name)
        self.variables.append(made)
        return made

    def option(
        self, name: str, type: type[_T], default: Any, help: str = "", *, choices: Any = None, metavar: str = ""
    ) -> Option[_T]:
        """A setting: ``--name`` on the command line, a constant in kernel functions."""
        made: Option[_T] = Option(name, type, default, help, choices, metavar)
        if any(other.name == made.name for other in self.options):
            raise UsageError("PY005", f"program {self.name} has two options {name!r}")
        self.options.append(made)
        return made

    @overload
    def func(self, function: _F) -> _F: ...
    @overload
    def func(self, *, inline: bool = True) -> Callable[[_F], _F]: ...
    def func(self, function: Any = None, *, inline: bool = True) -> Any:
        """A function for kernel functions to call; ``inline=False`` makes it a call of its own."""

        def decorate(function: Any) -> Any:
            return HelperFunction(self, function, inline)

        return decorate if function is None else decorate(function)

    @overload
    def kfunc(self, function: _F) -> _F: ...
    @overload
    def kfunc(self, *, weak: bool = False) -> Callable[[_F], _F]: ...
    def kfunc(self, function: Any = None, *, weak: bool = False) -> Any:
        """Declares a kernel function by a typed stub of its name; ``weak`` lets the program load without it."""

        def decorate(function: Any) -> Any:
            made = Kfunc(function, weak)
            self.kfuncs.append(made)
            return made

        return decorate if function is None else decorate(function)

    def on(self, buffer: M.Buffer[_V]) -> Callable[[Callable[[_V], object]], Callable[[_V], object]]:
        """Calls a user-space function for every event of a ring."""
        if not isinstance(buffer, M.Buffer):
            raise UsageError("PY005", f"@prog.on takes a ring, not {buffer!r}")

        def decorate(function: Callable[[_V], object]) -> Callable[[_V], object]:
            self.handlers.append((buffer, function))
            return function

        return decorate

    def on_batch(self, buffer: M.Buffer[Any]) -> Callable[[Callable[[Any], object]], Callable[[Any], object]]:
        """Calls a user-space function with the events of a ring in batches: numpy arrays of structs, by field name.

        For high rates: ``events["bytes"].sum()`` costs a few nanoseconds an event. An array lies in the ring and is
        valid until the function returns; keep ``events.copy()``. Texts are ``bytes`` without their NULs.
        """
        if not isinstance(buffer, M.Buffer):
            raise UsageError("PY005", f"@prog.on_batch takes a ring, not {buffer!r}")

        def decorate(function: Callable[[Any], object]) -> Callable[[Any], object]:
            self.batch_handlers.append((buffer, function))
            return function

        return decorate

    def every(self, seconds: float) -> Callable[[Callable[[], object]], Callable[[], object]]:
        """Calls a user-space function at regular times."""
        if not seconds > 0:
            raise UsageError("PY005", f"@prog.every takes a number of seconds above 0, not {seconds!r}")

        def decorate(function: Callable[[], object]) -> Callable[[], object]:
            self.timers.append((seconds, function))
            return function

        return decorate

    def at_end(self, function: Callable[[], object]) -> Callable[[], object]:
        """Calls a user-space function once the programs are detached, while maps still hold their data."""
        self.finals.append(function)
        return function

    def resolve_names(self) -> None:
        """Names maps and variables after the Python variables that hold them, where no ``name=`` was given.

        :raises UsageError: PY008 when two maps or variables of a program have one name.
        """
        spaces = [self.module_globals]
        for function in self.functions:
            code = function.function.__code__
            cells = function.function.__closure__ or ()
            spaces.append(dict(zip(code.co_freevars, (_content(cell) for cell in cells), strict=True)))
            if function.function.__globals__ is not self.module_globals:
                spaces.append(function.function.__globals__)
        everything: list[Any] = [*self.maps, *self.variables]
        unnamed = [item for item in everything if not item.name]
        if unnamed:
            known = {id(value): name for space in reversed(spaces) for name, value in reversed(space.items())}
            counts: dict[str, int] = {}
            for item in unnamed:
                kind = getattr(item, "kind", "variable")
                counts[kind] = counts.get(kind, 0) + 1
                item.name = known.get(id(item)) or f"{kind}_{counts[kind]}"
        taken: set[str] = set()
        for item in everything:
            if item.name in taken:
                raise UsageError(
                    "PY008", f"program {self.name} has two maps or variables named {item.name!r}", hint="give one name="
                )
            taken.add(item.name)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _outside() -> Any:
    """The innermost frame that is no part of the declaration machinery: the program file's."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(_HIDDEN):
        frame = frame.f_back
    return frame


def _addresses(depth: int) -> Layout:
    from osmia.object.layout import Array

    return Array(U64, depth)


if TYPE_CHECKING:
    _u32 = _u64 = _s32 = int
else:
    from osmia.lang.types import s32 as _s32
    from osmia.lang.types import u32 as _u32
    from osmia.lang.types import u64 as _u64
