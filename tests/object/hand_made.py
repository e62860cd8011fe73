"""A collection as a front end might make it."""

import struct

from osmia.abi import prog_types
from osmia.isa.instruction import Instruction, encode_program
from osmia.object.layout import S32, U8, U32, U64, Array, Bytes, Char, Enum, Field, Struct
from osmia.object.spec import CollectionSpec, EventSchema, GlobalVar, Hook, LineInfo, MapSpec, ProgramSpec, Reloc

EXIT = Instruction(0x95)

EVENT = Struct.of(
    "Open",
    [("pid", U32), ("kind", Enum("Kind", U8, [("FILE", 1), ("PIPE", 2)])), ("path", Char(32)), ("raw", Bytes(4))],
)
FLAGS = Struct("Flags", [Field("low", U32, 0, 0, 5), Field("high", S32, 0, 5, 27), Field("more", U64, 8)], 16, 8)


def made_by_hand():
    """A collection as a front end might make it: layouts, no BTF."""
    spec = CollectionSpec("opens", "Dual MIT/GPL")
    spec.maps["started"] = MapSpec(
        "started", "hash", key=U64, value=EVENT, max_entries=10240, pin="/sys/fs/bpf/started"
    )
    spec.maps["seen"] = MapSpec("seen", "lru_hash", key=Struct.of("(u32,u64)", [("a", U32), ("b", U64)]), value=FLAGS,
                                max_entries=64, role="filter", contents=[(bytes(16), bytes(16))])  # fmt: skip
    spec.maps["ring"] = MapSpec("ring", "ringbuf", max_entries=1 << 20, role="events")
    spec.maps["inner_a"] = MapSpec("inner_a", "array", key=U32, value=U64, max_entries=4)
    spec.maps["outer"] = MapSpec(
        "outer", "array_of_maps", key=U32, value_size=4, max_entries=3,
        inner=MapSpec("outer.inner", "array", key=U32, value=U64, max_entries=4),
        contents=[(struct.pack("<I", 2), "inner_a")],
    )  # fmt: skip
    spec.maps["jumps"] = MapSpec(
        "jumps", "prog_array", key_size=4, value_size=4, max_entries=8, pin="/sys/fs/bpf/other",
        contents=[(struct.pack("<I", 5), "entry")],
    )  # fmt: skip
    spec.maps["arena"] = MapSpec("arena", "arena", max_entries=100, flags=0x400, extra=0x1234567800000000)
    spec.maps["huge"] = MapSpec("huge", "ringbuf", max_entries=1 << 31)
    spec.maps[".rodata"] = MapSpec(
        ".rodata", "array", key=U32, value_size=24, max_entries=1, flags=0x480, frozen=True, section=".rodata",
        contents=[(bytes(4), bytes(range(24)))],
    )  # fmt: skip
    spec.maps[".bss"] = MapSpec(
        ".bss", "array", key=U32, value_size=80, max_entries=1, flags=0x400, section=".bss", role="scratch"
    )
    spec.global_vars["limit"] = GlobalVar("limit", ".rodata", 0, U64)
    spec.global_vars["names"] = GlobalVar("names", ".rodata", 8, Array(Char(4), 4))
    spec.global_vars["last"] = GlobalVar("last", ".bss", 32, EVENT)
    spec.events["ring"] = EventSchema("Open", "ring", EVENT, {"pid": "", "kind": "enum"})
    spec.extras = {"prints": [("x = {}", (1, 2)), b"\0\xff"], "nested": {1: {"a": None}, "$b": 1.5}, "on": True}
    code = [
        Instruction.wide(1, 0, 1), Instruction.wide(2, 8 << 32, 2), Instruction.wide(3, 32 << 32, 2),
        Instruction(0xB7, 0), EXIT,
    ]  # fmt: skip
    spec.programs["entry"] = ProgramSpec(
        "entry", "uprobe", prog_types.number("kprobe"), encode_program(code), license="Dual MIT/GPL",
        functions=[(0, 0, "entry")], lines=[LineInfo(0, "prog.py", "def entry():", 3, 1)],
        relocs=[Reloc(0, "map", "started"), Reloc(2, "map_value", ".rodata", 8), Reloc(4, "map_value", ".bss", 32)],
        hook=Hook("uprobe", "/bin/x:f", {"binary": "/bin/x", "hz": 9, "raw": b"\1", "args": ("a", 1)}),
    )  # fmt: skip
    return spec
