import shutil
import subprocess

import pytest

from osmia.btf import BtfBuilder, MemberPlace
from osmia.btf.types import Array, Const, Int, Member, Ptr, Struct, Typedef, TypeTag, Union
from osmia.diagnostics import BtfError


def test_resolve_strips_names_qualifiers_and_tags(sample):
    btf, ids = sample
    builder = BtfBuilder(btf)
    layered = builder.add(Typedef("x", builder.add(Const(builder.add(TypeTag("rcu", ids["u64"]))))))
    split = builder.build()
    assert split.resolve(layered).id == ids["ulong"]
    assert split.resolve(split.by_id(ids["int"])).id == ids["int"]
    assert split.resolve(ids["text"]).id == ids["text"]


@pytest.mark.parametrize(
    ("handle", "size", "align"),
    [
        ("int", 4, 4),
        ("double", 8, 8),
        ("u64", 8, 8),
        ("text", 8, 8),
        ("name", 16, 1),
        ("grid", 24, 4),
        ("flexible", 0, 4),
        ("colour", 4, 4),
        ("huge", 8, 8),
        ("either", 8, 8),
        ("node", 72, 8),
        ("packed", 5, 1),
        ("counter", 8, 8),
        ("const", 1, 1),
    ],
)
def test_size_and_alignment(sample, handle, size, align):
    btf, ids = sample
    assert btf.sizeof(ids[handle]) == size
    assert btf.alignof(ids[handle]) == align
    assert btf.sizeof(btf.by_id(ids[handle])) == size


@pytest.mark.parametrize("handle", ["unseen", "proto", "walk", "tag"])
def test_types_without_size(sample, handle):
    btf, ids = sample
    for ask in (btf.sizeof, btf.alignof):
        with pytest.raises(BtfError, match="BTF021"):
            ask(ids[handle])


@pytest.mark.parametrize(
    ("path", "offset", "bits", "bitfield", "access"),
    [
        ("next", 0, 64, False, (0,)),
        ("name", 64, 128, False, (1,)),
        ("name[15]", 184, 8, False, (1, 15)),
        ("whole", 192, 64, False, (2, 0)),
        ("high", 224, 32, False, (2, 1, 1)),
        ("grid[1][2]", 256 + 5 * 32, 32, False, (3, 1, 2)),
        ("ready", 448, 1, True, (4,)),
        ("state", 449, 3, True, (5,)),
        ("tail", 576, 0, False, (8,)),
        ("tail[3]", 576 + 96, 32, False, (8, 3)),
    ],
)
def test_find_member(sample, path, offset, bits, bitfield, access):
    btf, ids = sample
    place = btf.find_member(ids["node"], path)
    assert (place.bit_offset, place.bit_size, place.bitfield, place.access) == (offset, bits, bitfield, access)
    assert btf.find_member(btf.by_name("node"), path) == place


def test_a_path_may_start_with_an_index(sample):
    btf, ids = sample
    builder = BtfBuilder(btf)
    nodes = builder.add(Array(ids["node"], ids["int"], 4))
    place = builder.build().find_member(nodes, "[2].high")
    assert place == MemberPlace(ids["int"], 2 * 72 * 8 + 224, 32, False, (2, 2, 1, 1))


def test_place_in_bytes(sample):
    btf, ids = sample
    state = btf.find_member(ids["node"], "state")
    assert (state.offset, state.size) == (56, 1)
    grid = btf.find_member(ids["node"], "grid")
    assert (grid.offset, grid.size) == (32, 24)


@pytest.mark.parametrize(
    ("path", "code", "text", "hint"),
    [
        ("nam", "BTF023", "struct node has no member named 'nam'", "did you mean name?"),
        ("zzzzzz", "BTF023", "'zzzzzz'", "its members: next, name, whole, low, high"),
        ("next.name", "BTF022", "ptr", "read of its own"),
        ("ready.x", "BTF022", "int int is no struct", "only structs"),
        ("name.x", "BTF022", "array", "index first"),
        ("name[16]", "BTF025", "past the array's 16 elements", "15"),
        ("next[0]", "BTF025", "is no array", "only arrays"),
        ("tail[9999999999]", "BTF025", "4 GiB", "smaller"),
        ("", "BTF024", "character 1", "a.b[2].c"),
        (".name", "BTF024", "character 1", "a.b[2].c"),
        ("name[-1]", "BTF024", "character 5", "a.b[2].c"),
        ("name[i]", "BTF024", "character 5", "a.b[2].c"),
        ("next->name", "BTF024", "character 5", "own"),
        ("whole..low", "BTF024", "character 6", "a.b[2].c"),
        ("name[1]x", "BTF024", "lacks a dot", "a.b[2].c"),
        ("name ", "BTF024", "character 5", "a.b[2].c"),
        ("name[99999999999]", "BTF024", "character 5", "a.b[2].c"),
    ],
)
def test_wrong_paths(sample, path, code, text, hint):
    btf, ids = sample
    with pytest.raises(BtfError) as caught:
        btf.find_member(ids["node"], path)
    assert caught.value.code == code
    assert text in caught.value.message
    assert hint in caught.value.hint


def test_members_of_a_declaration_are_unknown(sample):
    btf, ids = sample
    with pytest.raises(BtfError) as caught:
        btf.find_member(ids["unseen"], "x")
    assert caught.value.code == "BTF022"
    assert "declared" in caught.value.hint


def test_flat_members(sample):
    btf, ids = sample
    flat = {member.name: member.place for member in btf.flat_members(ids["node"])}
    assert list(flat) == ["next", "name", "whole", "low", "high", "grid", "ready", "state", "colour", "hidden", "tail"]
    for name, place in flat.items():
        assert btf.find_member(ids["node"], name) == place


def test_bitfields_of_old_compilers():
    """Before the kind flag, a bit-field's width and offset were in an integer type of its own."""
    builder = BtfBuilder()
    narrow = builder.add(Int("unsigned int", 4, 0, bits=3, offset=5))
    struct = builder.add(Struct("old", 8, [Member("f", narrow, 32)]))
    place = builder.build().find_member(struct, "f")
    assert (place.bit_offset, place.bit_size, place.bitfield) == (37, 3, True)


def test_searches_go_depth_first_through_unions():
    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    first = builder.add(Struct("", 4, [Member("a", number, 0)]))
    second = builder.add(Struct("", 8, [Member("a2", number, 0), Member("b", number, 32)]))
    union = builder.add(Union("", 8, [Member("", first, 0), Member("", second, 0)]))
    outer = builder.add(Struct("outer", 12, [Member("head", number, 0), Member("", union, 32)]))
    btf = builder.build()
    assert btf.find_member(outer, "b").access == (1, 1, 1)
    assert btf.find_member(outer, "a").access == (1, 0, 0)
    assert btf.find_member(outer, "b").bit_offset == 64


PATHS = [
    ("task_struct", "comm"),
    ("task_struct", "se.vruntime"),
    ("task_struct", "thread_info.flags"),
    ("sk_buff", "len"),
    ("sk_buff", "mark"),
    ("file", "f_path.dentry"),
    ("sock", "__sk_common.skc_dport"),
    ("page", "flags"),
    ("dentry", "d_name.name"),
    ("linux_binprm", "filename"),
]


def test_kernel_offsets_agree_with_the_c_compiler(vmlinux, bpftool, tmp_path):
    """gcc lays out bpftool's vmlinux.h; offsetof() must agree."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    header = tmp_path / "vmlinux.h"
    header.write_text(bpftool("btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"))
    lines = ['#include "vmlinux.h"']
    for struct, path in PATHS:
        found = vmlinux.by_name(struct, Struct)
        place = vmlinux.find_member(found, path)
        lines += [
            f'_Static_assert(__builtin_offsetof(struct {struct}, {path}) == {place.offset}, "{struct}.{path}");',
            f'_Static_assert(sizeof(((struct {struct} *)0)->{path}) == {place.size}, "{struct}.{path}");',
            f'_Static_assert(sizeof(struct {struct}) == {found.size}, "{struct}");',
            f'_Static_assert(_Alignof(struct {struct}) % {vmlinux.alignof(found)} == 0, "{struct}");',
        ]
    source = tmp_path / "check.c"
    source.write_text("\n".join(lines) + "\n")
    done = subprocess.run(["gcc", "-w", "-fsyntax-only", str(source)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]


def test_pointers_to_pointers_have_a_size(sample):
    btf, ids = sample
    builder = BtfBuilder(btf)
    assert builder.add(Ptr(ids["text"])) == btf.end_id
    assert builder.build().sizeof(btf.end_id) == 8
