"""Writing objects and reading them again; adding notes to objects of other makers."""

import io
import struct

import pytest
from elftools.elf.elffile import ELFFile
from hand_made import EVENT, FLAGS, made_by_hand
from object_sources import ACCESS, EXTERNS, FUNCTIONS, GLOBALS, INFO, IR, LOCAL, MAPS

from osmia.abi import prog_types
from osmia.btf.reader import Btf
from osmia.btf.types import Func, FuncProto, Int, Param, Ptr
from osmia.btf.writer import BtfBuilder
from osmia.diagnostics import ObjectError
from osmia.isa.instruction import Instruction, encode_program
from osmia.object.elf import read_object
from osmia.object.layout import U32, U64, Array, Char, Field, Struct
from osmia.object.layout import Int as IntLayout
from osmia.object.meta import decode_meta, make_meta
from osmia.object.spec import (
    CollectionSpec,
    CoreReloc,
    Hook,
    ProgramSpec,
    Reloc,
)
from osmia.object.writer import attach_meta, write_object

EXIT = Instruction(0x95)
XDP = prog_types.number("xdp")


def facts(spec):
    """All that a collection says; not the order of its parts, nor how its BTF is spelled."""
    name, license_, maps, programs, variables, events, btf, extras = spec.plain()

    def typed(type_id):
        return type_id and Btf.from_bytes(btf).by_id(type_id)

    shown = []
    for row in programs:
        row = list(row)
        row[7] = [(slot, typed(type_id), function) for slot, type_id, function in row[7]]
        shown.append(tuple(row))
    return (
        name, license_, sorted(maps, key=lambda m: m[0]), sorted(shown, key=lambda p: p[0]),
        sorted(variables, key=lambda v: v[0]), sorted(events, key=lambda e: e[1]), extras,
        [str(t) for t in Btf.from_bytes(btf)] if btf else [],
    )  # fmt: skip


def again(spec):
    return read_object(write_object(spec), spec.name)


@pytest.mark.parametrize("source", [MAPS, GLOBALS, FUNCTIONS, EXTERNS], ids=["maps", "globals", "functions", "externs"])
def test_round_trip_of_compiled_objects(compile_c, source):
    spec = read_object(compile_c(source), "round")
    assert facts(again(spec)) == facts(spec)


def test_round_trip_keeps_core_relocations(compile_c):
    spec = read_object(compile_c(INFO + LOCAL + ACCESS), "core")
    assert spec.programs["prog"].core
    assert facts(again(spec)) == facts(spec)


def test_written_twice_gives_the_same_bytes(compile_c):
    spec = read_object(compile_c(FUNCTIONS), "x")
    data = write_object(spec)
    assert data == write_object(read_object(compile_c(FUNCTIONS), "x"))
    assert write_object(read_object(data, "x")) == write_object(read_object(write_object(read_object(data, "x")), "x"))


def test_shared_subprograms_are_stored_once(compile_c):
    data = compile_c(FUNCTIONS)
    theirs, ours = (ELFFile(io.BytesIO(d)) for d in (data, write_object(read_object(data, "x"))))

    def functions(elf):
        table = elf.get_section_by_name(".symtab")
        return sorted(s.name for s in table.iter_symbols() if s["st_info"]["type"] == "STT_FUNC")

    assert functions(ours) == functions(theirs)


def two_programs(body):
    """Two programs, each with a subprogram ``sub`` of its own."""
    spec = CollectionSpec("two")
    for name, value in (("one", 1), ("two", body)):
        code = encode_program([Instruction(0x85, src=1, imm=1), EXIT, Instruction(0xB7, imm=value), EXIT])
        spec.programs[name] = ProgramSpec(
            name, "xdp", XDP, code, attach_type=37, functions=[(0, 0, name), (2, 0, "sub")],
            relocs=[Reloc(0, "call", "sub")], hook=Hook("xdp", "", {"frags": False}),
        )  # fmt: skip
    return spec


@pytest.mark.parametrize(("body", "count"), [(1, 1), (2, 2)])
def test_functions_of_one_name_are_joined_only_if_equal(body, count):
    spec = two_programs(body)
    text = ELFFile(io.BytesIO(write_object(spec))).get_section_by_name(".text")
    assert text["sh_size"] == 16 * count
    assert facts(again(spec)) == facts(spec)


def test_functions_that_differ_in_a_callee_only_stay_apart():
    spec = CollectionSpec("deep")
    for name, value in (("one", 1), ("two", 2)):
        call = Instruction(0x85, src=1, imm=1)
        code = encode_program([call, EXIT, call, EXIT, Instruction(0xB7, imm=value), EXIT])
        spec.programs[name] = ProgramSpec(
            name, "xdp", XDP, code, attach_type=37, functions=[(0, 0, name), (2, 0, "middle"), (4, 0, "leaf")],
            relocs=[Reloc(0, "call", "middle"), Reloc(2, "call", "leaf")], hook=Hook("xdp", "", {"frags": False}),
        )  # fmt: skip
    assert facts(again(spec)) == facts(spec)


def test_functions_without_names_are_found_by_calls():
    spec = two_programs(7)
    for program in spec.programs.values():
        program.functions = []
    back = again(spec)
    for name, program in back.programs.items():
        assert program.insns == spec.programs[name].insns
        assert [slot for slot, _, _ in program.functions] == [0, 2]


def test_round_trip_of_a_collection_made_by_hand():
    spec, back = made_by_hand(), again(made_by_hand())
    first, second = facts(spec), facts(back)
    for ours, theirs in zip(first[:-1], second[:-1], strict=True):
        if ours != first[2]:
            assert theirs == ours
    for name, made in spec.maps.items():
        row, other = list(made.plain()), list(back.maps[name].plain())
        row[15:17] = other[15:17]  # the ids of key and value are new
        if made.inner is not None:
            inner = list(row[11])
            inner[15:17] = other[11][15:17]
            row[11] = tuple(inner)
        assert other == row, name
    btf = Btf.from_bytes(back.btf)
    started = back.maps["started"]
    assert btf.sizeof(started.key_btf) == 8 and btf.by_id(started.value_btf).name == "Open"
    seen = btf.by_id(back.maps["seen"].key_btf)
    assert seen.name == "_u32_u64_" and [m.bit_offset for m in seen.members] == [0, 64]


def test_layouts_survive_without_notes():
    """Other tools see the same types: what BTF alone says equals the layouts."""
    data = write_object(made_by_hand())
    plain = read_object(data.replace(b".osmia\0", b".xsmia\0"), "plain")
    assert plain.maps["started"].value == EVENT and plain.maps["seen"].value == FLAGS
    assert plain.global_vars["last"].layout == EVENT
    assert plain.global_vars["names"].layout == Array(Char(4), 4)
    assert plain.events == {} and plain.extras == {} and plain.maps["ring"].role == ""
    assert plain.maps["arena"].extra == 0x1234567800000000 and plain.maps["huge"].max_entries == 1 << 31
    assert plain.maps["jumps"].contents == [(struct.pack("<I", 5), "entry")]
    assert plain.programs["entry"].hook.kind == "uprobe" and plain.programs["entry"].hook.target == ""


def with_externs():
    """Externs that no section of the BTF lists yet."""
    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    proto = builder.add(FuncProto(number, [Param("x", number)]))
    function = builder.add(Func("bpf_do", proto, 2))
    pointer = builder.add(Ptr(number))
    spec = CollectionSpec("externs")
    spec.btf = builder.to_bytes()
    code = [Instruction(0x85, src=2), Instruction.wide(1, 0, 3), Instruction.wide(2, 0), EXIT]
    spec.programs["p"] = ProgramSpec(
        "p", "xdp", XDP, encode_program(code), attach_type=37, functions=[(0, 0, "p")],
        relocs=[
            Reloc(0, "kfunc", "bpf_do", function, True), Reloc(1, "ksym", "typed", pointer),
            Reloc(3, "ksym", "untyped", 0, True),
        ],
        hook=Hook("xdp", "", {"frags": False}),
    )  # fmt: skip
    return spec


def test_externs_are_declared():
    spec = with_externs()
    back = again(spec)
    assert back.programs["p"].plain()[:7] == spec.programs["p"].plain()[:7]
    assert [(r.kind, r.name, r.weak) for r in back.programs["p"].relocs] == [
        ("kfunc", "bpf_do", True), ("ksym", "typed", False), ("ksym", "untyped", True),
    ]  # fmt: skip
    assert facts(again(back)) == facts(back)


def broken(change):
    spec = made_by_hand()
    change(spec)
    return spec


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.programs["entry"].relocs.append(Reloc(6, "map", "started")),
        lambda s: s.programs["entry"].relocs.append(Reloc(99, "map", "started")),
        lambda s: setattr(s.programs["entry"].relocs[0], "name", "nowhere"),
        lambda s: setattr(s.programs["entry"].relocs[0], "kind", "mystery"),
        lambda s: setattr(s.programs["entry"].relocs[1], "addend", -1),
        lambda s: setattr(s.programs["entry"], "insns", b"\0" * 7),
        lambda s: setattr(s.programs["entry"], "insns", b""),
        lambda s: setattr(s.programs["entry"], "license", "GPL"),
        lambda s: setattr(s.programs["entry"], "section", ".text"),
        lambda s: setattr(s.programs["entry"], "functions", [(0, 0, "entry"), (77, 0, "far")]),
        lambda s: setattr(s.programs["entry"], "insns", encode_program([Instruction(0x85, src=1, imm=50), EXIT])),
        lambda s: setattr(s.maps["jumps"], "contents", [(bytes(4), "nobody")]),
        lambda s: setattr(s.maps["started"], "kind", "nothing"),
        lambda s: setattr(s.maps["started"], "max_entries", -1),
        lambda s: setattr(s.maps[".rodata"], "contents", [(bytes(4), bytes(25))]),
        lambda s: setattr(s.maps[".bss"], "contents", [(bytes(4), b"\1")]),
        lambda s: s.programs["entry"].relocs.append(Reloc(7, "kfunc", "no_prototype")),
        lambda s: s.programs["entry"].relocs.append(Reloc(0, "kconfig", "CONFIG_X")),
    ],
)
def test_contradictions_are_refused(change):
    with pytest.raises(ObjectError) as caught:
        write_object(broken(change))
    assert caught.value.code == "OBJ023"


def test_values_that_cannot_be_written():
    spec = made_by_hand()
    spec.extras["set"] = {1, 2}
    with pytest.raises(ObjectError, match="OBJ021"):
        write_object(spec)
    spec = made_by_hand()
    spec.maps["seen"].value = Struct("bad", [Field("far", U64, 12)], 16, 8)
    with pytest.raises(ObjectError, match="OBJ021"):
        write_object(spec)


def sections(data):
    return {s.name: (s["sh_type"], s["sh_flags"], s.data()) for s in ELFFile(io.BytesIO(data)).iter_sections()}


@pytest.mark.parametrize("maker", ["clang", "llvm", "osmia"])
def test_notes_leave_the_object_as_it_is(compile_c, compile_ir, maker):
    makers = {
        "clang": lambda: compile_c(MAPS),
        "llvm": lambda: compile_ir(IR),
        "osmia": lambda: write_object(made_by_hand()),
    }
    data = makers[maker]()
    name = next(iter(read_object(data, "x").programs))
    hook = Hook("interval", "", {"hz": 10})
    noted = attach_meta(data, make_meta(hooks={name: hook}, extras={"a": (1, b"2")}))
    before, after = sections(data), sections(noted)
    assert after[".osmia"][0] == "SHT_STRTAB"
    for section, contents in before.items():
        if section == ".osmia":
            continue
        if section == ".strtab":
            assert after[section][2].startswith(contents[2])
        else:
            assert after[section] == contents
    spec, plain = read_object(noted, "x"), read_object(data, "x")
    assert (spec.programs[name].hook.kind, spec.programs[name].hook.options) == ("interval", {"hz": 10})
    assert spec.extras["a"] == (1, b"2")
    assert spec.programs[name].insns == plain.programs[name].insns


def test_notes_can_be_replaced(compile_c):
    data = compile_c(FUNCTIONS)
    first = attach_meta(data, make_meta(extras={"text": "x" * 1000}))
    second = attach_meta(first, make_meta(extras={"text": "y"}))
    assert read_object(second, "x").extras == {"text": "y"}
    names = [s.name for s in ELFFile(io.BytesIO(second)).iter_sections()]
    assert names.count(".osmia") == 1


def test_notes_as_data():
    spec = made_by_hand()
    meta = make_meta(
        maps=spec.maps.values(), events=spec.events.values(), hooks={"entry": spec.programs["entry"].hook},
        global_vars=spec.global_vars.values(), extras=spec.extras,
    )  # fmt: skip
    from osmia.object.meta import encode_meta

    assert decode_meta(encode_meta(meta)) == meta


def test_bit_field_layout_of_a_register():
    assert FLAGS.unpack(struct.pack("<Iq", 0xFFFFFFE3, 0).ljust(16, b"\0"))[:2] == (3, -1)
    assert IntLayout(32) == U32


def test_core_relocation_of_a_blank_function():
    spec = two_programs(3)
    spec.programs["one"].core = [CoreReloc(2, 1, "0", 8)]
    builder = BtfBuilder()
    builder.add(Int("int", 4, 1))
    spec.btf = builder.to_bytes()
    back = again(spec)
    assert [(c.insn, c.type_id, c.access, c.kind) for c in back.programs["one"].core] == [(2, 1, "0", 8)]
    assert not back.programs["two"].core
