"""CO-RE from layouts and from BTF, kernel symbols, configuration, kernel functions."""

from __future__ import annotations

import struct

import pytest
from ir_build import body, fault

from osmia.btf import Btf, BtfBuilder
from osmia.btf import types as B
from osmia.compiler.evaluate import Evaluator
from osmia.object.layout import S16, S32, U8, U32, U64, Array, Char, Enum, Field, Struct

INNER = Struct.of("inner", [("x", U32), ("y", Array(S16, 3))])
TASK = Struct(
    "task_struct",
    [
        Field("pid", S32, 4),
        Field("comm", Char(16), 8),
        Field("flags", U32, 24, 3, 5),
        Field("signed_bits", S32, 24, 8, 4),
        Field("inner", INNER, 32),
        Field("parent", U64, 48),
    ],
    64,
    8,
)
STATE = Enum("state", U32, [("RUNNING", 3), ("DEAD", 9)])
LAYOUTS = {"task_struct": TASK, "state": STATE}


def btf():
    """The same types, as BTF."""
    builder = BtfBuilder()
    s32 = builder.add(B.Int("int", 4, B.INT_SIGNED))
    u32 = builder.add(B.Int("unsigned int", 4))
    s16 = builder.add(B.Int("short", 2, B.INT_SIGNED))
    u64 = builder.add(B.Int("unsigned long", 8))
    char = builder.add(B.Int("char", 1, B.INT_SIGNED))
    text = builder.add(B.Array(char, u32, 16))
    shorts = builder.add(B.Array(s16, u32, 3))
    inner = builder.add(B.Struct("inner", 12, [B.Member("x", u32, 0), B.Member("y", shorts, 32)]))
    anonymous = builder.add(B.Union("", 12, [B.Member("inner", inner, 0), B.Member("whole", u32, 0)]))
    builder.add(
        B.Struct("task_struct", 64, [
            B.Member("pid", s32, 32), B.Member("comm", text, 64), B.Member("flags", u32, 195, 5),
            B.Member("signed_bits", s32, 200, 4), B.Member("", anonymous, 256), B.Member("parent", u64, 384),
        ])
    )  # fmt: skip
    builder.add(B.Enum("state", 4, [B.Enumerator("RUNNING", 3), B.Enumerator("DEAD", 9)]))
    return Btf.from_bytes(builder.to_bytes())


@pytest.fixture(params=["layouts", "btf"])
def types(request):
    return {"core": LAYOUTS} if request.param == "layouts" else {"btf": btf()}


def memory():
    data = bytearray(64)
    struct.pack_into("=i16s", data, 4, -7, b"init")
    struct.pack_into("=I", data, 24, 21 << 3 | 0b1010 << 8)
    struct.pack_into("=I3h", data, 32, 99, 1, -2, 3)
    return bytes(data)


@pytest.mark.parametrize(
    ("steps", "type_", "value"),
    [
        ('("pid", s32),', "s32", -7),
        ('("inner", kstruct inner), ("x", u32)', "u32", 99),
        ('("inner", kstruct inner), ("y", karray<s16, 3>), (1, s16)', "s16", -2),
        ('("comm", char[16]), (1, u8)', "u8", ord("n")),
    ],
)
def test_fields(types, steps, type_, value):
    for space, load in (("kernel", "read.value"), ("btf", "load"), ("user", "read.value")):
        text = f"""
        %p: ptr<{space}, {type_}> = core.field %t; base=kstruct task_struct, steps=({steps})
        %v: {type_} = {load} %p
        ret %v
        """
        evaluator = body(text, f"%t: ptr<{space}, kstruct task_struct>", type_, **types)
        assert evaluator.call("f", memory()) == value
        assert evaluator.call("f", 0x10) == 0


def test_bit_fields(types):
    for name, type_, value in (
        ("flags", "u32", 21),
        ("signed_bits", "s32", -6),
        ("signed_bits", "u8", 10),
        ("pid", "s64", -7),
    ):
        for space in ("kernel", "btf", "mem"):
            text = f'%v: {type_} = core.bitfield %t; base=kstruct task_struct, steps=(("{name}", u32),)\nret %v'
            evaluator = body(text, f"%t: ptr<{space}, kstruct task_struct>", type_, **types)
            assert evaluator.call("f", memory()) == value
            if space != "mem":
                assert evaluator.call("f", 0x10) == 0


def info(op, attrs, type_, types):
    return body(f"%v: {type_} = core.{op}; {attrs}\nret %v", result=type_, **types).call("f")


def test_what_a_kernel_has(types):
    task, path = "base=kstruct task_struct", 'steps=(("{}", u32),)'
    for name, there in (("pid", True), ("inner", True), ("cpu", False), ("flags", True)):
        assert info("field_exists", f"{task}, {path.format(name)}", "bool", types) is there
    assert info("field_size", f"{task}, {path.format('comm')}", "u64", types) == 16
    assert info("field_offset", f"{task}, {path.format('parent')}", "u64", types) == 48
    assert info("field_offset", f"{task}, {path.format('flags')}", "u64", types) == 24
    assert info("field_size", f"{task}, {path.format('flags')}", "u64", types) == 4
    assert info("type_exists", task, "bool", types) is True
    assert info("type_exists", "base=kstruct task", "bool", types) is False
    assert info("type_size", task, "u64", types) == 64
    assert info("type_size", "base=kstruct task", "u64", types) == 0
    assert info("type_size", "base=kstruct task_struct___old", "u64", types) == 64
    assert info("enum_value", 'base=kenum state, enumerator="DEAD"', "u64", types) == 9
    assert info("enum_exists", 'base=kenum state, enumerator="DEAD"', "bool", types) is True
    assert info("enum_exists", 'base=kenum state, enumerator="BORN"', "bool", types) is False
    assert info("enum_exists", 'base=kenum nowhere, enumerator="DEAD"', "bool", types) is False
    for steps in ('("comm", char[16]), (16, u8)', '("pid", s32), ("x", u32)', '("pid", s32), (0, u32)'):
        assert info("field_exists", f"{task}, steps=({steps})", "bool", types) is False


@pytest.mark.parametrize(
    ("op", "attrs", "type_"),
    [
        ("field_size", 'base=kstruct task_struct, steps=(("cpu", u32),)', "u64"),
        ("field_offset", 'base=kstruct task, steps=(("cpu", u32),)', "u64"),
        ("enum_value", 'base=kenum state, enumerator="BORN"', "u64"),
    ],
)
def test_what_is_missing_faults(types, op, attrs, type_):
    fault("IR351", body(f"%v: {type_} = core.{op}; {attrs}\nret %v", result=type_, **types))


def test_a_missing_field_faults(types):
    text = """
    %p: ptr<kernel, u32> = core.field %t; base=kstruct task_struct, steps=(("cpu", u32),)
    %v: u32 = read.value %p
    ret %v
    """
    evaluator = body(text, "%t: ptr<kernel, kstruct task_struct>", "u32", **types)
    assert "core.field_exists" in fault("IR351", evaluator, b"", memory()).hint


def test_nothing_is_known_without_types():
    evaluator = body("%v: bool = core.type_exists; base=kstruct task_struct\nret %v", result="bool")
    assert "btf=" in fault("IR351", evaluator).hint


def test_a_kernel_type_of_an_unknown_sort():
    evaluator = body('%v: bool = core.type_exists; base=ktype "class" task\nret %v', result="bool", btf=btf())
    fault("IR340", evaluator)


def test_bit_fields_across_units():
    wide = Struct("w", [Field("a", U8, 0, 6, 4), Field("b", U64, 0, 60, 20)], 16, 8)
    types = {"core": {"w": wide}}
    assert info("field_size", 'base=kstruct w, steps=(("a", u8),)', "u64", types) == 2
    evaluator = body('%v: u64 = core.field_size; base=kstruct w, steps=(("b", u64),)\nret %v', core={"w": wide})
    fault("IR351", evaluator)
    text = '%v: u32 = core.bitfield %t; base=kstruct w, steps=(("b", u64),)\nret %v'
    data = (0xABCDE << 60).to_bytes(16, "little")
    assert body(text, "%t: ptr<kernel, kstruct w>", "u32", **types).call("f", data) == 0xABCDE


@pytest.mark.kernel
def test_the_running_kernels_types():
    from osmia.btf import kernel_btf

    types = {"btf": kernel_btf()}
    path = 'base=kstruct task_struct, steps=(("se", kstruct sched_entity), ("load", kstruct load_weight))'
    place = types["btf"].find_member(types["btf"].by_name("task_struct", B.Struct).id, "se.load")
    assert info("field_offset", path, "u64", types) == place.offset
    assert info("field_exists", path, "bool", types) is True
    assert info("enum_value", 'base=kenum bpf_map_type, enumerator="BPF_MAP_TYPE_ARRAY"', "u64", types) == 2


# Symbols


def test_kernel_symbols():
    text = '%p: ptr<btf, u32>? = ksym.addr; name="thing"{}\n%v: u64 = ptr.to.int %p\nret %v'
    assert body(text.format(""), ksyms={"thing": 0xFFFF0000}).call("f") == 0xFFFF0000
    assert body(text.format(", weak=true")).call("f") == 0
    fault("IR348", body(text.format("")))
    evaluator = body('%p: ptr<btf, u32> = ksym.addr; name="thing"\n%v: u32 = load %p\nret %v', result="u32")
    evaluator.ksyms["thing"] = evaluator.kernel.map(b"\7\0\0\0")
    assert evaluator.call("f") == 7


def test_configuration():
    text = '%v: {0} = kconfig; name="CONFIG_HZ"\nret %v'
    assert body(text.format("u32"), result="u32", kconfig={"CONFIG_HZ": 250}).call("f") == 250
    assert body(text.format("bool"), result="bool", kconfig={"CONFIG_HZ": 2}).call("f") is True
    assert body(text.format("u8"), result="u8", kconfig={"CONFIG_HZ": 257}).call("f") == 1
    fault("IR348", body(text.format("u32"), result="u32"))


def test_kernel_functions():
    text = """
    ^entry:
      %there: bool = kfunc.exists; name="bpf_thing"
      condbr %there; then=^yes, other=^no
    ^yes:
      %r: s32 = kfunc %a, %p; name="bpf_thing", weak=true
      ret %r
    ^no:
      %n: s32 = const; value=-1
      ret %n
    """
    seen = []

    def thing(run, number, pointer):
        seen.append((number, run.read(pointer, 3)))
        return 5

    evaluator = body(text, "%a: s32, %p: ptr<mem, bytes>", "s32", kfuncs={"bpf_thing": thing})
    assert evaluator.call("f", -3, b"abc") == 5 and seen == [(-3, b"abc")]
    evaluator = body(text, "%a: s32, %p: ptr<mem, bytes>", "s32")
    assert evaluator.call("f", -3, b"abc") == -1
    fault("IR348", body('kfunc; name="bpf_thing"\nret', result="void"))


def test_layouts_come_before_btf():
    small = Struct.of("task_struct", [("pid", S32)])
    evaluator = body(
        "%v: u64 = core.type_size; base=kstruct task_struct\n"
        "%w: u64 = core.type_size; base=kstruct inner\n%r: u64 = add %v, %w\nret %r",
        btf=btf(),
        core={"task_struct": small},
    )
    assert isinstance(evaluator, Evaluator) and evaluator.call("f") == 4 + 12
