import shutil
import struct
import subprocess

import pytest

from osmia.btf import Btf, BtfBuilder, BtfExt, BtfExtBuilder, CoreRelo, FuncInfo, LineInfo
from osmia.btf.ext import (
    RELO_ENUMVAL_VALUE,
    RELO_FIELD_BYTE_OFFSET,
    RELO_FIELD_EXISTS,
    RELO_KINDS,
    RELO_TYPE_SIZE,
    pack_func_info,
    pack_line_info,
)
from osmia.diagnostics import BtfError

from .conftest import fill

SOURCE = """
#define __preserve __attribute__((preserve_access_index))
struct leaf { int x; int y; } __preserve;
struct task { long pad; struct leaf leaves[4]; unsigned flag : 3; } __preserve;
enum level { LOW = 1, HIGH = 5 };
struct task *get(void *ctx);
__attribute__((section("tp/a"), used)) int first(struct task *t)
{
\treturn t->leaves[2].y;
}
__attribute__((section("tp/b"), used)) int second(struct task *t)
{
\tint n = __builtin_preserve_field_info(t->pad, 2);
\tn += __builtin_preserve_type_info(*(struct leaf *)0, 1);
\treturn n + (int)__builtin_preserve_enum_value(*(enum level *)HIGH, 1);
}
"""


@pytest.fixture(params=["little", "big"])
def pair(request):
    """Builders of a .BTF and its .BTF.ext with a few records, and the ids."""
    btf = BtfBuilder(byteorder=request.param)
    ids = fill(btf)
    ext = BtfExtBuilder(btf)
    ext.add_line("tp/a", 8, "a.py", "  return 0", 4, 3)
    ext.add_line("tp/a", 0, "a.py", "def f(x):", 3, 1)
    ext.add_func("tp/a", 0, ids["walk"])
    ext.add_func("tp/b", 0, ids["walk"])
    for kind in range(len(RELO_KINDS)):
        ext.add_relocation("tp/b", 16 * kind, ids["node"], f"0:{kind}", kind)
    return btf, ext, ids


def test_what_is_written_is_read(pair):
    btf, ext, ids = pair
    data = ext.to_bytes()
    read = BtfExt.from_bytes(data, btf.build())
    assert read.sections() == ["tp/a", "tp/b"]
    assert read.func_info("tp/a") == [FuncInfo(0, ids["walk"])] == read.func_info("tp/b")
    assert read.line_info("tp/a") == [
        LineInfo(0, "a.py", "def f(x):", 3, 1),
        LineInfo(8, "a.py", "  return 0", 4, 3),
    ]
    assert read.line_info("tp/b") == []
    assert read.core_relocations("tp/a") == []
    assert read.core_relocations("tp/b") == [CoreRelo(16 * kind, ids["node"], f"0:{kind}", kind) for kind in range(13)]
    assert read.core_relocations("tp/b")[9].kind_name == "type_size"
    insn_off, type_id = read.func_info("tp/a")[0]
    assert (insn_off, type_id) == (0, ids["walk"])


def test_the_kernels_form_counts_instructions(pair):
    btf, ext, ids = pair
    data = ext.to_bytes()
    built = btf.build()
    read = BtfExt.from_bytes(data, built)
    lines = read.line_info("tp/a")
    sign = "<" if built.byteorder == "little" else ">"
    assert pack_func_info(read.func_info("tp/a"), built.byteorder) == struct.pack(f"{sign}2I", 0, ids["walk"])
    first, second = struct.iter_unpack(f"{sign}4I", pack_line_info(lines, built.byteorder))
    assert first[0] == 0
    assert second == (1, btf.string("a.py"), btf.string("  return 0"), 4 << 10 | 3)
    assert built.string(first[2]) == "def f(x):"


def test_nothing_added_is_nothing_read():
    btf = BtfBuilder()
    data = BtfExtBuilder(btf).to_bytes()
    assert len(data) == 32
    assert BtfExt.from_bytes(data, btf.build()).sections() == []


def test_columns_are_capped():
    btf = BtfBuilder()
    ext = BtfExtBuilder(btf)
    ext.add_line("s", 0, "f", "t", 7, 5000)
    data = ext.to_bytes()
    assert BtfExt.from_bytes(data, btf.build()).line_info("s")[0].col == 1023


@pytest.mark.parametrize(
    "add",
    [
        lambda ext: ext.add_func("s", 4, 1),
        lambda ext: ext.add_func("s", -8, 1),
        lambda ext: ext.add_func("s", 0, -1),
        lambda ext: ext.add_func("s", 1 << 32, 1),
        lambda ext: ext.add_line("s", 0, "f", "t", 1 << 22),
        lambda ext: ext.add_line("s", 0, "f\0", "t", 1),
        lambda ext: ext.add_line("s", 0, "f", "t", 1, -1),
        lambda ext: ext.add_relocation("s", 0, 1, "0", 13),
        lambda ext: ext.add_relocation("s", 1, 1, "0", 0),
    ],
)
def test_records_that_cannot_be_stored(add):
    with pytest.raises(BtfError, match="BTF050"):
        add(BtfExtBuilder(BtfBuilder()))


def test_bytes_that_are_no_utf8_in_a_source_line():
    btf = BtfBuilder()
    ext = BtfExtBuilder(btf)
    ext.add_line("s", 0, "f.c", "x = '?';", 1)
    data = ext.to_bytes()
    blob = btf.to_bytes().replace(b"x = '?';", b"x = '\xe4';")
    assert BtfExt.from_bytes(data, Btf.from_bytes(blob)).line_info("s")[0].text == "x = '\ufffd';"


def build(sections, core=b"", header=32):
    """A little-endian .BTF.ext from the bytes of its function and line tables."""
    func, line = sections
    head = struct.pack(
        "<HBBIIIIIII", 0xEB9F, 1, 0, header, 0, len(func), len(func), len(line), len(func + line), len(core)
    )
    return head[:header] + func + line + core


def words(*values):
    return struct.pack(f"<{len(values)}I", *values)


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (b"", "BTF040", "empty"),
        (b"ab" + bytes(40), "BTF040", "61 62"),
        (b"\xeb\x9f" + bytes(40), "BTF040", "big-endian"),
        (b"\x9f\xeb\x02\x00" + bytes(40), "BTF040", "version 2"),
        (b"\x9f\xeb\x01\x00" + bytes(8), "BTF041", "within its header"),
        (b"\x9f\xeb\x01\x00" + words(8) + bytes(40), "BTF041", "claims 8"),
        (b"\x9f\xeb\x01\x00" + words(24, 0, 999, 0, 0), "BTF041", "should span"),
        (b"\x9f\xeb\x01\x00" + words(24, 2, 4, 0, 0) + bytes(8), "BTF041", "should span"),
        (build((b"ab", b"")), "BTF041", "no room"),
        (build((words(4, 0, 1, 0), b"")), "BTF041", "have 4 bytes, not 8"),
        (build((words(9, 0, 1, 0), b"")), "BTF041", "have 9 bytes"),
        (build((words(8, 0), b"")), "BTF041", "cut off"),
        (build((words(8, 0, 0), b"")), "BTF041", "claims 0 records"),
        (build((words(8, 0, 2, 0, 1), b"")), "BTF041", "claims 2 records of 8 bytes, 8 bytes are left"),
        (build((words(8, 9999, 1, 0, 1), b"")), "BTF006", "9999"),
        (build((words(12, 0, 1, 0, 1, 7), b"")), "BTF042", "past its 8 known bytes"),
        (build((words(8, 0, 1, 4, 1), b"")), "BTF042", "no multiple of 8"),
        (build((words(8, 0, 1, 0, 0), b"")), "BTF042", "type id 0"),
        (build((words(8, 0, 1, 0, 9999), b"")), "BTF042", "type id 9999"),
        (build((words(8, 0, 1, 0, 1), b"")), "BTF042", "no function"),
        (build((b"", words(16, 0, 1, 0, 9999, 0, 0))), "BTF006", "9999"),
        (build((b"", b""), words(16, 0, 1, 0, 1, 1, 13)), "BTF042", "unknown kind 13"),
        (build((b"", b""), words(16, 0, 1, 0, 1, 1, 0)), "BTF042", "access string 'int'"),
        (build((b"", b""), words(16, 0, 1, 0, 0, 0, 0)), "BTF042", "access string ''"),
    ],
)
def test_corrupted_ext_is_refused(data, code, text):
    builder = BtfBuilder(byteorder="little")
    fill(builder)
    btf = builder.build()
    with pytest.raises(BtfError) as caught:
        BtfExt.from_bytes(data, btf)
    assert caught.value.code == code
    assert text in caught.value.message
    assert caught.value.hint


def test_older_header_without_relocations_and_longer_records():
    builder = BtfBuilder(byteorder="little")
    ids = fill(builder)
    btf = builder.build()
    func = words(12, 0, 1, 8, ids["walk"], 0)
    assert BtfExt.from_bytes(build((func, b""), header=24), btf).func_info("") == [FuncInfo(8, ids["walk"])]


@pytest.fixture(scope="module")
def clang_object(tmp_path_factory):
    if not shutil.which("clang"):
        pytest.skip("clang is not installed")
    folder = tmp_path_factory.mktemp("ext")
    (folder / "x.c").write_text(SOURCE)
    subprocess.run(
        ["clang", "-O2", "-g", "-target", "bpf", "-c", "x.c", "-o", "x.o"], cwd=folder, check=True, timeout=60
    )
    from elftools.elf.elffile import ELFFile

    with open(folder / "x.o", "rb") as file:
        elf = ELFFile(file)
        return [elf.get_section_by_name(name).data() for name in (".BTF", ".BTF.ext")]


def test_an_object_made_by_clang(clang_object):
    btf = Btf.from_bytes(clang_object[0])
    btf.validate()
    ext = BtfExt.from_bytes(clang_object[1], btf)
    assert ext.sections() == ["tp/a", "tp/b"]
    assert [btf.by_id(info.type_id).name for info in ext.func_info("tp/a")] == ["first"]
    assert [btf.by_id(info.type_id).name for info in ext.func_info("tp/b")] == ["second"]
    lines = ext.line_info("tp/a")
    assert lines[-1].text == "\treturn t->leaves[2].y;"
    assert lines[-1].line == 9
    assert lines[-1].file.endswith("x.c")
    (field,) = ext.core_relocations("tp/a")
    assert (btf.name_of(field.type_id), field.access, field.kind) == ("task", "0:1:2:1", RELO_FIELD_BYTE_OFFSET)
    assert btf.find_member(field.type_id, "leaves[2].y").access == (1, 2, 1)
    kinds = {relo.kind: (btf.name_of(relo.type_id), relo.access) for relo in ext.core_relocations("tp/b")}
    assert kinds == {
        RELO_FIELD_EXISTS: ("task", "0:0"),
        RELO_TYPE_SIZE: ("leaf", "0"),
        RELO_ENUMVAL_VALUE: ("level", "1"),
    }


def test_an_object_of_clang_survives_rewriting(clang_object):
    btf = Btf.from_bytes(clang_object[0])
    ext = BtfExt.from_bytes(clang_object[1], btf)
    builder = BtfBuilder.from_btf(btf)
    ext_builder = BtfExtBuilder(builder)
    for section in ext.sections():
        for info in ext.func_info(section):
            ext_builder.add_func(section, *info)
        for line in ext.line_info(section):
            ext_builder.add_line(section, *line)
        for relo in ext.core_relocations(section):
            ext_builder.add_relocation(section, *relo)
    data = ext_builder.to_bytes()
    again = BtfExt.from_bytes(data, builder.build())
    assert (again.funcs, again.lines, again.relocations) == (ext.funcs, ext.lines, ext.relocations)
