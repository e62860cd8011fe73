import pytest

from osmia.btf import Btf, BtfBuilder, essential_name
from osmia.btf.types import (
    AnyEnum,
    Array,
    Composite,
    DeclTag,
    Enum,
    Func,
    FuncProto,
    Int,
    Member,
    Ptr,
    Struct,
    Typedef,
    Var,
    Void,
)
from osmia.diagnostics import BtfError

from .conftest import fill


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_all_kinds_survive_both_byte_orders(byteorder):
    builder = BtfBuilder(byteorder=byteorder)
    ids = fill(builder)
    data = builder.to_bytes()
    assert data[:2] == (b"\x9f\xeb" if byteorder == "little" else b"\xeb\x9f")
    btf = Btf.from_bytes(data)
    assert btf.byteorder == byteorder
    assert {found.kind for found in btf} == set(range(1, 20))
    for type_id in range(1, btf.end_id):
        assert btf.by_id(type_id) == builder.get(type_id)
        assert btf.by_id(type_id).id == type_id
    assert btf.by_id(ids["node"]).members[4] == Member("ready", ids["int"], 448, 1)


def test_byte_orders_say_the_same_but_are_different():
    little, big = BtfBuilder(byteorder="little"), BtfBuilder(byteorder="big")
    fill(little)
    fill(big)
    one, two = little.to_bytes(), big.to_bytes()
    assert one != two
    assert list(Btf.from_bytes(one)) == list(Btf.from_bytes(two))


def test_id_zero_is_void(sample):
    btf, _ = sample
    assert isinstance(btf.by_id(0), Void)
    assert btf.kind_of(0) == 0
    assert btf.name_of(0) == ""


def test_lookup_by_name_and_kind(sample):
    btf, ids = sample
    assert btf.by_name("node").id == ids["node"]
    assert btf.by_name("node", Struct).size == 72
    assert btf.by_name("colour", AnyEnum).id == ids["colour"]
    assert btf.find("node", Func) is None
    assert btf.find("nobody") is None
    assert btf.ids_by_name("u64") == [ids["u64"]]
    assert btf.ids_by_name("") == []
    assert btf.kind_of(ids["node"]) == Struct.kind
    assert btf.name_of(ids["walk"]) == "walk"


def test_lookup_decodes_only_what_is_asked_for(sample):
    btf, ids = sample
    btf = Btf.from_bytes(btf.raw)
    btf.ids_by_name("node")
    assert set(btf._types) == {0}
    btf.by_name("node")
    assert set(btf._types) == {0, ids["node"]}


def test_one_name_may_have_several_types():
    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    struct = builder.add(Struct("page", 4, [Member("x", number, 0)]))
    typedef = builder.add(Typedef("page", struct))
    other = builder.add(Struct("page", 8, [Member("y", number, 0)]))
    btf = builder.build()
    assert btf.ids_by_name("page") == [struct, typedef, other]
    assert btf.ids_by_name("page", Struct) == [struct, other]
    assert [found.size for found in btf.all_by_name("page", Struct)] == [4, 8]
    assert btf.by_name("page", Typedef).id == typedef


def test_lookup_results_are_the_callers_own(sample):
    btf, ids = sample
    btf.ids_by_name("node").clear()
    assert btf.ids_by_name("node") == [ids["node"]]


def test_many_lookups_agree_with_few():
    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    names = [f"t{i}" for i in range(200)]
    ids = [builder.add(Typedef(name, number)) for name in names]
    btf = builder.build()
    assert [btf.ids_by_name(name) for name in names] == [[type_id] for type_id in ids]
    assert btf.ids_by_name("t200") == []
    assert btf.ids_by_name("int") == [number]


def test_names_inside_longer_strings_are_found():
    """Linkers may store ``task`` as the end of ``my_task``; the data says so only by its offsets."""
    builder = BtfBuilder()
    number = builder.add(Int("my_int", 4, 1))
    builder.add(Typedef("unit", number))
    data = builder.to_bytes()
    at = builder.string("my_int")
    old, new = builder.string("unit").to_bytes(4, "little"), (at + 3).to_bytes(4, "little")
    assert data.count(old) == 1
    btf = Btf.from_bytes(data.replace(old, new))
    assert btf.by_name("int", Typedef).type_id == number
    assert btf.by_name("my_int").id == number
    assert btf.ids_by_name("t") == []


def test_unknown_name_suggests_the_nearest(sample):
    btf, _ = sample
    with pytest.raises(BtfError) as caught:
        btf.by_name("colur")
    assert caught.value.code == "BTF020"
    assert "colour" in caught.value.hint
    with pytest.raises(BtfError) as caught:
        btf.by_name("node", Func)
    assert "node is a struct here" in caught.value.hint


def test_iteration_by_kind(sample):
    btf, ids = sample
    assert [found.name for found in btf.of_kind(Var)] == ["counter"]
    assert ids["either"] in btf.ids_of_kind(Composite)
    assert [type(found) for found in btf.of_kind(Array)] == [Array] * 4
    assert len(list(btf)) == btf.end_id - 1 == len(list(btf.own_types()))


def test_functions_and_prototypes(sample):
    btf, ids = sample
    function, proto = btf.func("walk")
    assert function.id == ids["walk"]
    assert isinstance(proto, FuncProto)
    assert [param.name for param in proto.params] == ["text", "node"]
    with pytest.raises(BtfError, match="BTF020"):
        btf.func("wlk")


def test_enumerators(sample):
    btf, ids = sample
    assert btf.enum_value("RED") == -1
    assert btf.enum_value("F_TOP") == 1 << 31
    assert btf.enum_value("HUGE") == (1 << 64) - 1
    assert btf.enum_value("DEEP") == -(1 << 63)
    enum, value = btf.find_enumerator("BLUE")
    assert (enum.id, value.value) == (ids["colour"], 7)
    assert btf.find_enumerators("NONE") == []
    with pytest.raises(BtfError) as caught:
        btf.enum_value("F_NON")
    assert caught.value.code == "BTF026"
    assert "F_NONE" in caught.value.hint


def test_an_enumerator_of_several_enums():
    builder = BtfBuilder()
    first = builder.add(Enum("a", 4, [*_values("SAME", 1)]))
    second = builder.add(Enum("b", 4, [*_values("SAME", 2)]))
    btf = builder.build()
    assert [(enum.id, value.value) for enum, value in btf.find_enumerators("SAME")] == [(first, 1), (second, 2)]


def _values(name, value):
    from osmia.btf.types import Enumerator

    return [Enumerator(name, value)]


def test_decl_tags(sample):
    btf, ids = sample
    assert btf.decl_tags(ids["walk"]) == [DeclTag("kfunc", ids["walk"])]
    assert btf.decl_tags(ids["node"])[0].component == 1
    assert btf.decl_tags(ids["int"]) == []


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("task_struct", "task_struct"),
        ("task_struct___old", "task_struct"),
        ("a___b___c", "a___b"),
        ("___a", "___a"),
        ("a___", "a___"),
        ("a____b", "a____b"),
        ("a__b", "a__b"),
        ("", ""),
    ],
)
def test_essential_name(name, essential):
    assert essential_name(name) == essential


def test_candidates_include_flavors():
    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    ids = {}
    for name in ("task", "task___v2", "task___v2___x", "xtask", "task____y", "tasks", "mytask___v2"):
        ids[name] = builder.add(Struct(name, 4, [Member("f", number, 0)]))
    typedef = builder.add(Typedef("task___t", number))
    btf = builder.build()
    assert btf.candidates("task", Struct) == [ids["task"], ids["task___v2"]]
    assert btf.candidates("task") == [ids["task"], ids["task___v2"], typedef]
    assert btf.candidates("none") == []


def test_split_btf_stands_on_its_base(sample):
    base, ids = sample
    builder = BtfBuilder(base)
    pointer = builder.add(Ptr(ids["node"]))
    module = builder.add(Struct("module_data", 16, [Member("node", pointer, 0), Member("name", ids["text"], 64)]))
    again = builder.add(Struct("node", 4, [Member("x", ids["int"], 0)]))
    builder.add(Enum("module_enum", 4, [*_values("ONLY_HERE", 3), *_values("RED", 9)]))
    data = builder.to_bytes()
    assert b"module_data\0" in data
    assert b"\0node\0" not in b"\0" + data, "the base's strings are used"
    btf = Btf.from_bytes(data, base)
    assert btf.base_end_id == base.end_id == pointer
    assert btf.by_name("module_data").id == module
    assert btf.by_name("module_data").members[0].name == "node"
    assert btf.ids_by_name("node") == [ids["node"], again]
    assert btf.by_name("colour") is base.by_name("colour")
    assert btf.enum_value("ONLY_HERE") == 3
    assert [value.value for _, value in btf.find_enumerators("RED")] == [-1, 9]
    assert btf.by_id(ids["node"]) is base.by_id(ids["node"])
    assert base.find("module_data") is None
    assert btf.ids_of_kind(Struct)[-1] == again
    assert [found.id for found in btf.own_types()] == list(range(pointer, btf.end_id))
    assert btf.sizeof(pointer) == 8
    assert "module_data" in btf.nearest_names("modul_data")
    assert btf.decl_tags(ids["walk"]) == base.decl_tags(ids["walk"])
    btf.validate()


def test_split_btf_without_own_strings(sample):
    base, ids = sample
    builder = BtfBuilder(base)
    type_id = builder.add(Typedef("node", ids["int"]))
    btf = builder.build()
    assert btf.str_end == base.str_end
    assert btf.by_name("node", Typedef).id == type_id


def test_split_btf_of_the_other_byte_order_is_refused(sample):
    base, _ = sample
    builder = BtfBuilder(byteorder="big")
    builder.add(Int("x", 4))
    with pytest.raises(BtfError, match="BTF003"):
        Btf.from_bytes(builder.to_bytes(), base)


def test_pointer_size_follows_long():
    builder = BtfBuilder()
    builder.add(Int("long unsigned int", 4))
    pointer = builder.add(Ptr(0))
    btf = builder.build()
    assert btf.sizeof(pointer) == 4
    assert Btf.from_bytes(btf.raw, pointer_size=8).sizeof(pointer) == 8
    alone = BtfBuilder()
    pointer = alone.add(Ptr(0))
    assert alone.build().sizeof(pointer) == 8


def test_empty_btf():
    btf = BtfBuilder().build()
    assert btf.end_id == 1
    assert list(btf) == []
    assert btf.find("int") is None
    assert btf.enum_value.__self__ is btf
    btf.validate()


def test_header_longer_than_known_is_accepted(sample):
    btf, ids = sample
    data = bytearray(btf.raw)
    data[4:8] = (32).to_bytes(4, "little")
    data[24:24] = bytes(8)
    assert Btf.from_bytes(data).by_name("node").id == ids["node"]


def test_from_file(tmp_path, sample):
    btf, ids = sample
    path = tmp_path / "x.btf"
    path.write_bytes(btf.raw)
    assert Btf.from_file(str(path)).by_name("node").id == ids["node"]
    with pytest.raises(BtfError, match="BTF031"):
        Btf.from_file(str(tmp_path / "none"))
    with pytest.raises(BtfError, match="BTF031"):
        Btf.from_file(str(tmp_path))
