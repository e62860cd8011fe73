import ctypes
import os
import platform

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.btf import Btf, BtfBuilder, subset
from osmia.btf.types import (
    Array,
    Const,
    DataSec,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Param,
    Ptr,
    SecEntry,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Var,
    Void,
)
from osmia.diagnostics import BtfError

from .conftest import fill

BPF_BTF_LOAD = 18
SYSCALL = {"x86_64": 321, "aarch64": 280}


class LoadAttr(ctypes.Structure):
    _fields_ = [
        ("btf", ctypes.c_uint64),
        ("log_buf", ctypes.c_uint64),
        ("size", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_level", ctypes.c_uint32),
    ]


def load_into_kernel(data):
    """BPF_BTF_LOAD; the kernel's log, empty when it took the data."""
    if platform.machine() not in SYSCALL:
        pytest.skip("the number of bpf(2) is not known here")
    libc = ctypes.CDLL(None, use_errno=True)
    log = ctypes.create_string_buffer(1 << 16)
    blob = ctypes.create_string_buffer(data, len(data))
    attr = LoadAttr(ctypes.addressof(blob), ctypes.addressof(log), len(data), len(log), 1)
    fd = libc.syscall(SYSCALL[platform.machine()], BPF_BTF_LOAD, ctypes.byref(attr), ctypes.sizeof(attr))
    if fd >= 0:
        os.close(fd)
        return ""
    error = ctypes.get_errno()
    if error in (1, 38):
        pytest.skip("no permission to load BTF")
    return f"errno {error}: {log.value.decode()}"


def test_equal_types_are_kept_once():
    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    assert builder.add(Int("int", 4, 1)) == number
    assert builder.add(Int("int", 4)) != number
    assert builder.add(Ptr(number)) == builder.add(Ptr(number))
    assert builder.add(Void()) == 0
    assert builder.end_id == 4


def test_strings_are_kept_once():
    builder = BtfBuilder()
    assert builder.string("") == 0
    assert builder.string("abc") == builder.string("abc") == 1
    assert builder.string("abcd") == 5
    assert builder.build().string(5) == "abcd"


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_strings_that_cannot_be_stored(text):
    with pytest.raises(BtfError, match="BTF050"):
        BtfBuilder().string(text)


@pytest.mark.kernel
def test_the_kernel_accepts_every_kind():
    builder = BtfBuilder()
    fill(builder)
    assert load_into_kernel(builder.to_bytes()) == ""


@pytest.mark.kernel
def test_the_kernel_refuses_what_is_broken():
    """The test above would notice a refusal."""
    builder = BtfBuilder()
    ids = fill(builder)
    data = bytearray(builder.to_bytes())
    data[24 + 4 : 24 + 8] = (25 << 24).to_bytes(4, "little")
    assert ids["int"] == 1
    assert "errno 22" in load_into_kernel(bytes(data))


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["task_struct", "sk_buff", "file", "bpf_map", "net_device"])
def test_the_kernel_accepts_copies_of_its_own_types(vmlinux, name):
    small, ids = subset(vmlinux, [vmlinux.by_name(name, Struct).id])
    (type_id,) = ids.values()
    assert small.by_id(type_id).name == name
    assert small.sizeof(type_id) == vmlinux.by_name(name, Struct).size
    assert load_into_kernel(bytes(small.raw)) == ""


def test_a_deep_copy_is_the_same_text(vmlinux):
    origin = vmlinux.by_name("task_struct", Struct)
    builder = BtfBuilder()
    copied = builder.copy(vmlinux, origin.id)
    assert builder.copy(vmlinux, origin.id) == copied
    btf = builder.build()
    assert 1000 < btf.end_id < vmlinux.end_id // 2
    assert btf.c_dump(copied, offsets=True) == vmlinux.c_dump(origin, offsets=True)
    names = [found.name for found in btf.of_kind(Struct) if found.name]
    for name in ("task_struct", "mm_struct", "file", "super_block"):
        assert names.count(name) == 1
        ours, theirs = btf.by_name(name, Struct), vmlinux.by_name(name, Struct)
        assert btf.c_dump(ours, offsets=True) == vmlinux.c_dump(theirs, offsets=True)
    assert btf.find("bpf_lsm_file_open") is None


def test_a_shallow_copy_keeps_values_and_cuts_pointers(sample):
    btf, ids = sample
    builder = BtfBuilder()
    copied = builder.copy(btf, ids["node"], through_pointers=False)
    small = builder.build()
    node = small.by_id(copied)
    assert small.by_name("node", Fwd) == Fwd("node")
    assert small.by_id(small.by_id(node.members[0].type_id).type_id) == Fwd("node")
    assert btf.c_dump(ids["node"], offsets=True) == small.c_dump(copied, offsets=True)
    function = BtfBuilder()
    walk = function.copy(btf, ids["walk"], through_pointers=False)
    assert function.build().c_dump(walk) == btf.c_dump(ids["walk"])
    assert function.build().find("node", Struct) is None


def test_a_shallow_copy_of_a_pointer_to_an_anonymous_struct():
    source = BtfBuilder()
    number = source.add(Int("int", 4, 1))
    hidden = source.add(Const(source.add(Struct("", 4, [Member("a", number, 0)]))))
    outer = source.add(Struct("outer", 16, [Member("p", source.add(Ptr(hidden)), 0), Member("v", hidden, 64)]))
    builder = BtfBuilder()
    copied = builder.copy(source.build(), outer, through_pointers=False)
    assert (
        builder.build().c_dump(copied) == "struct outer {\n\tconst void *p;\n\tconst struct {\n\t\tint a;\n\t} v;\n};"
    )


def test_copies_from_several_sources_share_equal_types():
    builder = BtfBuilder()
    copied = []
    for name in ("one", "two"):
        source = BtfBuilder()
        source.add(Enum(name, 4))
        number = source.add(Int("int", 4, 1))
        pair = source.add(Struct("pair", 8, [Member("a", number, 0), Member("b", number, 32)]))
        copied.append(builder.copy(source.build(), pair))
    assert copied[0] == copied[1]
    assert builder.end_id == 3


def test_recursive_and_mutually_recursive_structs_are_copied():
    source = BtfBuilder()
    first, second = source.declare(Struct, "first"), source.declare(Union, "second")
    to_first, to_second = source.add(Ptr(source.add(Const(first)))), source.add(Ptr(second))
    source.define(first, Struct("first", 16, [Member("own", to_first, 0), Member("other", to_second, 64)]))
    source.define(second, Union("second", 8, [Member("back", to_first, 0), Member("own", to_second, 0)]))
    btf = source.build()
    builder = BtfBuilder()
    ids = [builder.copy(btf, type_id) for type_id in (first, second, to_first)]
    copy = builder.build()
    assert copy.end_id == btf.end_id
    assert [copy.c_dump(type_id) for type_id in ids[:2]] == [btf.c_dump(first), btf.c_dump(second)]


def test_copies_of_the_base_are_the_base(sample):
    base, ids = sample
    split = BtfBuilder(base)
    assert split.copy(base, ids["node"]) == ids["node"]
    extra = split.add(Struct("extra", 8, [Member("n", split.add(Ptr(ids["node"])), 0)]))
    module = split.build()
    other = BtfBuilder(base)
    copied = other.copy(module, extra)
    assert other.end_id == base.end_id + 2
    assert other.build().c_dump(copied) == module.c_dump(extra)


def test_from_btf_keeps_ids_and_replace_changes_one(sample):
    btf, ids = sample
    builder = BtfBuilder.from_btf(btf)
    assert list(builder.build()) == list(btf)
    assert builder.add(btf.by_id(ids["u64"])) == ids["u64"]
    builder.replace(ids[".bss"], DataSec(".bss", 16, [SecEntry(ids["counter"], 8, 8)]))
    changed = builder.build()
    assert changed.by_name(".bss").size == 16
    assert changed.end_id == btf.end_id
    builder.replace(ids["u64"], Typedef("u64", ids["double"]))
    assert builder.add(Typedef("u64", ids["ulong"])) == btf.end_id, "the replaced one is not found again"


def test_from_btf_of_the_whole_kernel_is_the_same(vmlinux):
    names = BtfBuilder.from_btf(vmlinux)
    assert names.end_id == vmlinux.end_id
    assert names.find("task_struct", Struct) == vmlinux.by_name("task_struct", Struct).id


def test_find_among_own_types(sample):
    builder = BtfBuilder()
    ids = fill(builder)
    assert builder.find("node") == ids["node"]
    assert builder.find("node", Func) is None
    assert builder.get(ids["node"]).size == 72


def test_bpftool_reads_split_btf(sample, bpftool, tmp_path):
    base, ids = sample
    builder = BtfBuilder(base)
    builder.add(Struct("module_data", 16, [Member("n", builder.add(Ptr(ids["node"])), 0)]))
    paths = tmp_path / "base.btf", tmp_path / "split.btf"
    for path, data in zip(paths, (base.raw, builder.to_bytes()), strict=True):
        path.write_bytes(data)
    text = bpftool("-B", str(paths[0]), "btf", "dump", "file", str(paths[1]))
    assert f"[{base.end_id + 1}] STRUCT 'module_data' size=16 vlen=1" in text
    assert f"[{base.end_id}] PTR '(anon)' type_id={ids['node']}" in text


def test_bpftool_reads_what_is_written(sample, bpftool, tmp_path):
    btf, ids = sample
    path = tmp_path / "sample.btf"
    path.write_bytes(btf.raw)
    text = bpftool("btf", "dump", "file", str(path))
    assert f"[{ids['node']}] STRUCT 'node' size=72 vlen=9" in text
    assert "'state' type_id=1 bits_offset=449 bitfield_size=3" in text
    assert f"[{ids['deep']}] ENUM64 'deep' encoding=SIGNED size=8 vlen=1\n\t'DEEP' val=-9223372036854775808" in text
    assert f"[{ids['member_tag']}] DECL_TAG 'counted' type_id={ids['node']} component_idx=1" in text


NUMBER = Int("int", 4, 1)


@pytest.mark.parametrize(
    "found",
    [
        Int("x", 17),
        Int("x", 0),
        Int("x", 4, 3),
        Int("x", 4, bits=33),
        Int("x\0", 4),
        Int("x" * 512, 4),
        Float("f", 5),
        Array(1, 1, 1 << 32),
        Array(1, 1, -1),
        Struct("my struct", 4),
        Struct("s", 1 << 32),
        Struct("s", 4, [Member("a b", 1, 0)]),
        Struct("s", 4, [Member("a", 1, 1)]),
        Struct("s", 8, [Member("a", 1, 32), Member("b", 1, 0)]),
        Struct("s", 2, [Member("a", 1, 24)]),
        Struct("s", 1 << 24, [Member("a", 1, 0, 1), Member("b", 1, 1 << 24)]),
        Struct("s", 40, [Member("a", 1, 0, 256)]),
        Struct("s", 8, [Member("a", 1, -8)]),
        Struct("s", 1 << 20, [Member("a", 1, 0)] * 65536),
        Union("u", 8, [Member("a", 1, 8)]),
        Enum("e", 3),
        Enum("e", 4, [Enumerator("A", -1)]),
        Enum("e", 4, [Enumerator("A", 1 << 31)], signed=True),
        Enum("e", 4, [Enumerator("", 1)]),
        Enum("e", 4, [Enumerator("A", 1)] * 65536),
        Enum64("e", 8, [Enumerator("A", 1 << 64)]),
        Enum64("e", 8, [Enumerator("A", -(1 << 63) - 1)], signed=True),
        Fwd(""),
        Typedef("", 1),
        Typedef("1a", 1),
        Func("", 1),
        Func("f", 1, 3),
        FuncProto(0, [Param("", 0), Param("a", 1)]),
        FuncProto(0, [Param("a", 0)]),
        FuncProto(0, [Param("a-b", 1)]),
        Var("", 1),
        Var("v", 1, 3),
        DataSec("", 4),
        DataSec(".a\n", 4),
        DataSec(".a", -1),
        DataSec(".a", 4, [SecEntry(1, -4, 4)]),
        TypeTag("", 1),
        DeclTag("", 1),
        DeclTag("t", 1, -2),
    ],
    ids=lambda found: repr(found)[:40],
)
def test_types_that_cannot_be_written(found):
    builder = BtfBuilder()
    builder.add(NUMBER)
    with pytest.raises(BtfError) as caught:
        builder.add(found)
    assert caught.value.code == "BTF050"
    assert builder.end_id == 2
    declared = builder.declare(type(found), found.name)
    with pytest.raises(BtfError, match="BTF050"):
        builder.define(declared, found)


def test_declarations_must_be_kept():
    builder = BtfBuilder()
    type_id = builder.declare(Struct, "s")
    for wrong in (Union("s", 0), Struct("t", 0)):
        with pytest.raises(BtfError, match="BTF051"):
            builder.define(type_id, wrong)
    for ask in (builder.to_bytes, lambda: builder.get(type_id)):
        with pytest.raises(BtfError, match="BTF051"):
            ask()
    builder.define(type_id, Struct("s", 0))
    with pytest.raises(BtfError, match="BTF051"):
        builder.define(type_id, Struct("s", 0))
    assert builder.build().by_id(type_id).name == "s"


@pytest.mark.parametrize("ref", [5, -1, 1 << 33])
def test_ids_must_exist(ref):
    builder = BtfBuilder()
    builder.add(Ptr(ref))
    with pytest.raises(BtfError, match="BTF051"):
        builder.to_bytes()
    with pytest.raises(BtfError, match="BTF051"):
        builder.replace(ref, NUMBER)


def test_types_must_fit_together():
    builder = BtfBuilder()
    number = builder.add(NUMBER)
    builder.add(Struct("s", 2, [Member("a", number, 0)]))
    with pytest.raises(BtfError, match="BTF009"):
        builder.to_bytes()
    circle = BtfBuilder()
    struct = circle.declare(Struct, "s")
    circle.define(struct, Struct("s", 4, [Member("a", struct, 0)]))
    with pytest.raises(BtfError, match="BTF010"):
        circle.to_bytes()


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.integers(1, 31)), min_size=1, max_size=12),
    st.lists(st.tuples(NAMES, st.integers(-(1 << 63), (1 << 63) - 1)), max_size=8),
    st.sampled_from(["little", "big"]),
)
def test_what_is_written_is_read(bitfields, values, byteorder):
    builder = BtfBuilder(byteorder=byteorder)
    number = builder.add(Int("unsigned int", 4))
    members = [Member(name, number, 32 * i, bits) for i, (name, bits) in enumerate(bitfields)]
    struct = Struct("s", 4 * len(members), members)
    enum = Enum64("e", 8, [Enumerator(*value) for value in values], signed=True)
    ids = builder.add(struct), builder.add(enum)
    btf = Btf.from_bytes(builder.to_bytes())
    assert (btf.by_id(ids[0]), btf.by_id(ids[1])) == (struct, enum)
    for name, value in values:
        assert (enum, Enumerator(name, value)) in btf.find_enumerators(name)
