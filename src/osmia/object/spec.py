"""Specs: what a program collection *is*, before any engine has touched it.

A front end plus the compiler, or the ELF reader, make a :class:`CollectionSpec`; relocation makes it fit a kernel; an
engine turns it into live objects. Specs are plain, deterministic and can be turned into plain tuples for caches.
"""

from __future__ import annotations

from osmia.object.layout import Layout, Struct, from_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class MapSpec:
    """A map to create.

    :ivar kind: the map type's name in ``abi.map_types`` (``hash``, ``ringbuf``, ``percpu_array``...).
    :ivar key: layout of a key, ``None`` where the type has none or nothing is known but the size.
    :ivar value: layout of a value, likewise.
    :ivar key_size: bytes of a key. :ivar value_size: bytes of a value (one CPU's, for per-CPU maps).
    :ivar max_entries: capacity in entries (ring buffer: bytes, 0 lets the session choose).
    :ivar flags: ``BPF_F_*`` creation flags. :ivar extra: ``map_extra`` (bloom filter hashes, arena address).
    :ivar pin: bpffs path to pin to or reuse, ``""`` for none.
    :ivar inner: the spec of inner maps for maps of maps.
    :ivar contents: initial entries as (key bytes, value) where a value is bytes or, for prog arrays and maps of
        maps, the name of a program or map of the same collection.
    :ivar frozen: user space may not write after the contents are in (``.rodata``).
    :ivar section: the ELF data section that this map backs (``.rodata``, ``.data.x``, ``.bss``), else ``""``.
    :ivar key_btf: type id of the key in the collection's BTF, 0 for none. :ivar value_btf: likewise.
    :ivar role: what the session does with it: ``""`` (user's map), ``scratch``, ``events``, ``loss``, ``filter``...
    """

    __slots__ = (
        "contents", "extra", "flags", "frozen", "inner", "key", "key_btf", "key_size", "kind", "max_entries",
        "name", "numa_node", "pin", "role", "section", "value", "value_btf", "value_size",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        kind: str,
        *,
        key: Layout | None = None,
        value: Layout | None = None,
        key_size: int = 0,
        value_size: int = 0,
        max_entries: int = 0,
        flags: int = 0,
        extra: int = 0,
        numa_node: int = 0,
        pin: str = "",
        inner: MapSpec | None = None,
        contents: list[tuple[bytes, bytes | str]] | None = None,
        frozen: bool = False,
        section: str = "",
        key_btf: int = 0,
        value_btf: int = 0,
        role: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.key = key
        self.value = value
        self.key_size = key.size if key is not None else key_size
        self.value_size = value.size if value is not None else value_size
        self.max_entries = max_entries
        self.flags = flags
        self.extra = extra
        self.numa_node = numa_node
        self.pin = pin
        self.inner = inner
        self.contents = contents or []
        self.frozen = frozen
        self.section = section
        self.key_btf = key_btf
        self.value_btf = value_btf
        self.role = role

    def plain(self) -> tuple[Any, ...]:
        """The spec as nested tuples; the inverse is :meth:`from_plain`."""
        return (
            self.name, self.kind, self.key and self.key.plain(), self.value and self.value.plain(), self.key_size,
            self.value_size, self.max_entries, self.flags, self.extra, self.numa_node, self.pin,
            self.inner and self.inner.plain(), tuple(self.contents), self.frozen, self.section, self.key_btf,
            self.value_btf, self.role,
        )  # fmt: skip

    @classmethod
    def from_plain(cls, data: tuple[Any, ...]) -> MapSpec:
        """The spec that :meth:`plain` described."""
        name, kind, key, value, key_size, value_size, entries, flags, extra, numa, pin, inner, contents, *rest = data
        return cls(
            name, kind, key=from_plain(key) if key else None, value=from_plain(value) if value else None,
            key_size=key_size, value_size=value_size, max_entries=entries, flags=flags, extra=extra, numa_node=numa,
            pin=pin, inner=cls.from_plain(inner) if inner else None, contents=list(contents), frozen=rest[0],
            section=rest[1], key_btf=rest[2], value_btf=rest[3], role=rest[4],
        )  # fmt: skip


class Hook:
    """Where a program attaches.

    :ivar kind: the hook's name: ``tracepoint``, ``raw_tracepoint``, ``btf_tracepoint``, ``uprobe``, ``uretprobe``,
        ``usdt``, ``perf_event``, ``interval``, ``begin``, ``end``, ``iter``, ``xdp``, ``tc``, ``cgroup``,
        ``socket_filter``, ``sk_lookup``, ``sk_skb``, ``sk_msg``, ``kprobe``, ``kretprobe``, ``fentry``, ``fexit``,
        ``lsm``, ``syscall``, ``func`` (never attached), ...
    :ivar target: what to attach to, in the words of the kind (``sched:sched_switch``, ``/bin/bash:readline``,
        ``eth0``).
    :ivar options: further settings of str, int, bool, bytes or tuples of those (``{"hz": 99}``).
    """

    __slots__ = ("kind", "options", "target")

    def __init__(self, kind: str, target: str = "", options: dict[str, Any] | None = None) -> None:
        self.kind = kind
        self.target = target
        self.options = options or {}

    def __repr__(self) -> str:
        return f"Hook({self.kind!r}, {self.target!r}, {self.options!r})"


class Reloc:
    """Something in a program's instructions that an engine fills in.

    :ivar insn: index of the 8-byte slot. :ivar kind: ``map`` (map fd), ``map_value`` (address inside a map's only
        value; ``addend`` is the offset), ``func`` (callback address) and ``call`` (both resolved inside the program
        already: listed for tools), ``kfunc`` (``addend``: the ``Func`` in the collection's BTF), ``ksym`` (``addend``:
        the type in the collection's BTF, 0 for an untyped symbol, of which only the address is wanted), ``kconfig``
        (``addend``: the offset in the value of the map ``.kconfig``). ``osmia.object.elf`` shows the instructions.
    :ivar name: map, function or symbol. :ivar weak: absence gives 0 instead of an error.
    """

    __slots__ = ("addend", "insn", "kind", "name", "weak")

    def __init__(self, insn: int, kind: str, name: str, addend: int = 0, weak: bool = False) -> None:
        self.insn = insn
        self.kind = kind
        self.name = name
        self.addend = addend
        self.weak = weak


class CoreReloc:
    """One CO-RE relocation: instruction slot, root type id in the collection's BTF, access string, kind number."""

    __slots__ = ("access", "insn", "kind", "type_id")

    def __init__(self, insn: int, type_id: int, access: str, kind: int) -> None:
        self.insn = insn
        self.type_id = type_id
        self.access = access
        self.kind = kind


class LineInfo:
    """Source place of the instructions from slot ``insn`` on; ``column`` counts from 1, 0 is unknown."""

    __slots__ = ("column", "file", "insn", "line", "text")

    def __init__(self, insn: int, file: str, text: str, line: int, column: int) -> None:
        self.insn = insn
        self.file = file
        self.text = text
        self.line = line
        self.column = column


class ProgramSpec:
    """A program: an entry function and the functions it calls, linked into one run of instructions.

    :ivar name: the entry function. :ivar section: its ELF section (``tracepoint/sched/sched_switch``).
    :ivar prog_type: number of ``abi.prog_types``. :ivar attach_type: expected attach type's number, 0 for none.
    :ivar insns: encoded instructions. :ivar flags: ``BPF_F_*`` load flags (sleepable...).
    :ivar functions: (first slot, func type id in BTF, name) of the entry and every subprogram, ascending.
    :ivar hook: where the session attaches it.
    """

    __slots__ = (
        "attach_type", "core", "flags", "functions", "hook", "insns", "license", "lines", "name", "prog_type",
        "relocs", "section",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        section: str,
        prog_type: int,
        insns: bytes,
        *,
        attach_type: int = 0,
        flags: int = 0,
        license: str = "GPL",
        functions: list[tuple[int, int, str]] | None = None,
        lines: list[LineInfo] | None = None,
        relocs: list[Reloc] | None = None,
        core: list[CoreReloc] | None = None,
        hook: Hook | None = None,
    ) -> None:
        self.name = name
        self.section = section
        self.prog_type = prog_type
        self.insns = insns
        self.attach_type = attach_type
        self.flags = flags
        self.license = license
        self.functions = functions or []
        self.lines = lines or []
        self.relocs = relocs or []
        self.core = core or []
        self.hook = hook or Hook("func")

    def plain(self) -> tuple[Any, ...]:
        """The spec as nested tuples; the inverse is :meth:`from_plain`."""
        return (
            self.name, self.section, self.prog_type, self.insns, self.attach_type, self.flags, self.license,
            tuple(self.functions), tuple((i.insn, i.file, i.text, i.line, i.column) for i in self.lines),
            tuple((r.insn, r.kind, r.name, r.addend, r.weak) for r in self.relocs),
            tuple((c.insn, c.type_id, c.access, c.kind) for c in self.core),
            (self.hook.kind, self.hook.target, self.hook.options),
        )  # fmt: skip

    @classmethod
    def from_plain(cls, data: tuple[Any, ...]) -> ProgramSpec:
        """The spec that :meth:`plain` described."""
        name, section, prog_type, insns, attach_type, flags, license_, functions, lines, relocs, core, hook = data
        return cls(
            name, section, prog_type, insns, attach_type=attach_type, flags=flags, license=license_,
            functions=list(functions), lines=[LineInfo(*row) for row in lines], relocs=[Reloc(*row) for row in relocs],
            core=[CoreReloc(*row) for row in core], hook=Hook(hook[0], hook[1], dict(hook[2])),
        )  # fmt: skip


class GlobalVar:
    """A global variable: the data section's map, the offset in its value and the layout."""

    __slots__ = ("layout", "map_name", "name", "offset")

    def __init__(self, name: str, map_name: str, offset: int, layout: Layout) -> None:
        self.name = name
        self.map_name = map_name
        self.offset = offset
        self.layout = layout


class EventSchema:
    """What records of one buffer map are: a struct, and how its columns are shown.

    :ivar columns: per field a display format name (``""`` default, ``hex``, ``ns``, ``ip``, ``stack:MAP``...), by field
        name.
    """

    __slots__ = ("columns", "layout", "map_name", "name")

    def __init__(self, name: str, map_name: str, layout: Struct, columns: dict[str, str] | None = None) -> None:
        self.name = name
        self.map_name = map_name
        self.layout = layout
        self.columns = columns or {}


class CollectionSpec:
    """Programs, maps, globals and event schemas that belong together: one object file.

    :ivar btf: the collection's own BTF blob (``b""`` for none); type ids in the specs refer to it.
    :ivar extras: further plain data of the front end (``{"prints": [...]}``), str keys, marshal-able values.
    """

    __slots__ = ("btf", "events", "extras", "global_vars", "license", "maps", "name", "programs")

    def __init__(self, name: str, license: str = "GPL") -> None:
        self.name = name
        self.license = license
        self.maps: dict[str, MapSpec] = {}
        self.programs: dict[str, ProgramSpec] = {}
        self.global_vars: dict[str, GlobalVar] = {}
        self.events: dict[str, EventSchema] = {}
        self.btf = b""
        self.extras: dict[str, Any] = {}

    def plain(self) -> tuple[Any, ...]:
        """The collection as nested tuples that ``marshal`` takes; the inverse is :meth:`from_plain`."""
        return (
            self.name, self.license, tuple(m.plain() for m in self.maps.values()),
            tuple(p.plain() for p in self.programs.values()),
            tuple((g.name, g.map_name, g.offset, g.layout.plain()) for g in self.global_vars.values()),
            tuple((e.name, e.map_name, e.layout.plain(), e.columns) for e in self.events.values()),
            self.btf, self.extras,
        )  # fmt: skip

    @classmethod
    def from_plain(cls, data: tuple[Any, ...]) -> CollectionSpec:
        """The collection that :meth:`plain` described."""
        name, license_, maps, programs, global_vars, events, btf, extras = data
        spec = cls(name, license_)
        for row in maps:
            map_spec = MapSpec.from_plain(row)
            spec.maps[map_spec.name] = map_spec
        for row in programs:
            program = ProgramSpec.from_plain(row)
            spec.programs[program.name] = program
        for var, map_name, offset, layout in global_vars:
            spec.global_vars[var] = GlobalVar(var, map_name, offset, from_plain(layout))
        for event, map_name, layout, columns in events:
            struct_layout = from_plain(layout)
            if isinstance(struct_layout, Struct):
                spec.events[map_name] = EventSchema(event, map_name, struct_layout, columns)
        spec.btf = btf
        spec.extras = extras
        return spec
