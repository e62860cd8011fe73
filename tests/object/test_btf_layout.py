"""Between BTF types and layouts."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osmia.btf.reader import Btf
from osmia.btf.types import Struct as BtfStruct
from osmia.btf.types import Var
from osmia.btf.writer import BtfBuilder
from osmia.diagnostics import ObjectError
from osmia.object.btf_layout import identifier, layout_of, layout_to_btf
from osmia.object.elf import read_object
from osmia.object.layout import (
    BOOL,
    S8,
    S16,
    S32,
    S64,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes,
    Char,
    Enum,
    Field,
    Layout,
    Struct,
)

C_TYPES = {
    "char": S8, "signed char": S8, "unsigned char": U8, "bool": BOOL, "short": S16, "__u16": U16, "int": S32,
    "unsigned": U32, "long": S64, "unsigned long long": U64, "void *": U64, "__int128": Bytes(16), "double": Bytes(8),
    "const volatile int": S32,
}  # fmt: skip


def variables(compile_c, source):
    spec = read_object(compile_c(source), "x")
    return {name: var.layout for name, var in spec.global_vars.items()}


def test_scalars(compile_c):
    source = "".join(f'{kind} v{index} SEC(".data.{index}");\n' for index, kind in enumerate(C_TYPES))
    found = variables(compile_c, source)
    assert [found[f"v{index}"] for index in range(len(C_TYPES))] == list(C_TYPES.values())


def test_text_arrays_and_functions(compile_c):
    found = variables(compile_c, "char name[16]; __u8 mac[6]; int grid[2][3]; int (*call)(int); char rows[4][8];")
    assert found == {
        "name": Char(16), "mac": Array(U8, 6), "grid": Array(Array(S32, 3), 2), "call": U64, "rows": Array(Char(8), 4),
    }  # fmt: skip


def test_enums(compile_c):
    found = variables(
        compile_c, "enum level { LOW = 1, HIGH = 70000 } level; enum { ON, OFF } __attribute__((packed)) state;"
    )
    assert found["level"] == Enum("level", U32, [("LOW", 1), ("HIGH", 70000)])
    assert found["state"] == Enum("", U8, [("ON", 0), ("OFF", 1)])


def test_structs_unions_and_anonymous_members(compile_c):
    source = """
    struct part { int x; char c; };
    struct whole {
        __u8 tag;
        union { __u32 word; struct { __u16 low, high; }; };
        struct part parts[2];
        union { __u64 number; char text[8]; } value;
        struct { int nested; } named;
    } whole;
    struct { __u8 a; __u32 b; } __attribute__((packed)) packed;
    """
    found = variables(compile_c, source)
    whole = found["whole"]
    assert [(f.name, f.offset, str(f.type)) for f in whole.fields] == [
        ("tag", 0, "u8"), ("word", 4, "u32"), ("low", 4, "u16"), ("high", 6, "u16"),
        ("parts", 8, "struct part[2]"), ("value", 24, "struct "), ("named", 32, "struct "),
    ]  # fmt: skip
    assert (whole.size, whole.align) == (40, 8)
    assert [f.offset for f in whole.field("value").type.fields] == [0, 0]
    packed = found["packed"]
    assert (packed.size, packed.align, packed.field("b").offset) == (5, 1, 1)


def test_bit_fields(compile_c):
    source = """
    struct bits { int a : 3; unsigned b : 20; unsigned long long c : 40; __u8 d : 2; int : 3; int e; } bits;
    struct tight { __u8 a : 5; __u32 b : 30; __u8 rest[2]; } __attribute__((packed)) tight;
    """
    found = variables(compile_c, source)
    bits = found["bits"]
    values = dict(zip([f.name for f in bits.fields], bits.unpack(bits.pack((-3, 99999, 1 << 39, 2, -1))), strict=True))
    assert values == {"a": -3, "b": 99999, "c": 1 << 39, "d": 2, "e": -1}
    tight = found["tight"]
    assert tight.unpack(tight.pack((21, (1 << 30) - 5, [1, 2]))) == (21, (1 << 30) - 5, [1, 2])
    assert all(field.offset + field.type.size <= bits.size for field in bits.fields)
    # 30 bits from bit 5 on are in no unit that ends with the struct's seven bytes: the rest of the unit is not there.
    assert len(tight.pack((1, 2, [3, 4]))) == 7


def test_flexible_array(compile_c):
    source = "struct tail { int n; int items[]; } tail;"
    assert variables(compile_c, source)["tail"].field("items").type == Array(S32, 0)


def test_section_as_a_whole(compile_c):
    from osmia.btf.types import DataSec

    spec = read_object(compile_c("int a = 1; long b = 2;"), "x")
    btf = Btf.from_bytes(spec.btf)
    layout = layout_of(btf, btf.by_name(".data", DataSec).id)
    assert sorted(layout.unpack(spec.maps[".data"].contents[0][1])) == [1, 2]


def test_types_without_layout(compile_c):
    spec = read_object(compile_c("struct hidden; struct hidden *pointer; int (*call)(int);"), "x")
    btf = Btf.from_bytes(spec.btf)
    for found in btf:
        if found.kind_name in ("fwd", "func_proto"):
            with pytest.raises(ObjectError, match="OBJ020"):
                layout_of(btf, found.id)
        elif isinstance(found, Var):
            assert isinstance(layout_of(btf, found.id), Layout)
    with pytest.raises(ObjectError, match="OBJ020"):
        layout_of(btf, 0)


def test_kernel_structs(kernel_types):
    task = layout_of(kernel_types, kernel_types.by_name("task_struct", BtfStruct).id)
    assert isinstance(task, Struct) and task.size == kernel_types.by_name("task_struct", BtfStruct).size
    for path in ("pid", "comm", "real_parent", "sched_reset_on_fork"):
        place = kernel_types.find_member(kernel_types.by_name("task_struct"), path)
        field = task.field(path)
        assert field.offset * 8 + field.bit == place.bit_offset


@pytest.mark.parametrize("named", [False, True])
def test_exponential_types_are_refused(named):
    from osmia.btf.types import Int, Member

    builder = BtfBuilder()
    inner = builder.add(Int("int", 4, 1))
    size = 4
    for depth in range(24):
        # Anonymous members are taken up, so that each level doubles the fields.
        first, second = (f"a{depth}", f"b{depth}") if named or not depth else ("", "")
        size *= 2
        members = [Member(first, inner, 0), Member(second, inner, size * 4)]
        inner = builder.add(BtfStruct(f"s{depth}" if depth == 23 else "", size, members))
    with pytest.raises(ObjectError, match="OBJ020"):
        layout_of(builder.build(), inner)


SCALARS = st.sampled_from([U8, U16, U32, U64, S8, S16, S32, S64, BOOL])
NAMES = st.from_regex(r"\A[a-z_][a-z0-9_]{0,8}\Z")
ENUMS = st.builds(
    lambda name, base, members: Enum(name, base, sorted(members.items())),
    NAMES, st.sampled_from([U8, U16, U32, S32, U64, S64]),
    st.dictionaries(NAMES, st.integers(0, 100), min_size=1, max_size=4),
)  # fmt: skip


def structs(inner):
    members = st.dictionaries(NAMES, inner, min_size=1, max_size=5)
    return st.builds(lambda name, fields: Struct.of(name, fields.items()), NAMES, members)


LAYOUTS = st.recursive(
    SCALARS | ENUMS | st.builds(Char, st.integers(1, 64)) | st.builds(Bytes, st.integers(1, 64)),
    lambda inner: structs(inner) | st.builds(Array, inner, st.integers(1, 5)),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LAYOUTS)
def test_round_trip_through_btf(layout):
    builder = BtfBuilder()
    type_id = layout_to_btf(builder, layout)
    assert layout_of(builder.build(), type_id) == layout


def test_union_round_trip():
    union = Struct("u", [Field("a", U32, 0), Field("b", Char(4), 0)], 4, 4)
    builder = BtfBuilder()
    type_id = layout_to_btf(builder, union)
    assert builder.build().by_id(type_id).kind_name == "union"
    assert layout_of(builder.build(), type_id) == union


def test_names_as_the_kernel_takes_them():
    assert identifier("mod.Open") == "mod_Open"
    assert identifier("(u32, u64)") == "_u32__u64_"
    assert identifier("2fast") == "_2fast"
    assert identifier("größe") == "gr__e"
    assert len(identifier("x" * 500)) == 127
