import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osmia.diagnostics import SymbolError
from osmia.symbols.elf import ElfSymbols, find_symbol
from osmia.symbols.image import ElfImage

FUNC, GLOBAL, LOCAL, WEAK = 2, 1, 0, 2

PROGRAM = """
#include <stdio.h>
__attribute__((noinline)) int add_numbers(int a, int b) { __asm__ volatile(""); return a + b; }
static __attribute__((noinline)) int hidden_helper(int a) { __asm__ volatile(""); return a * 3; }
int table[4] = {1, 2, 3, 4};
int main(int argc, char **argv) {
    (void)argv;
    printf("%d\\n", add_numbers(argc, hidden_helper(table[argc])));
    return 0;
}
"""


def code_of(caught):
    return caught.value.code


def functions_by_nm(run, path, *flags):
    found = {}
    for line in run("nm", *flags, path).splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] in "tTwW":
            found.setdefault(fields[2].partition("@")[0], int(fields[0], 16))
    return found


@pytest.fixture(scope="module", params=["-pie", "-no-pie"])
def program(request, cc):
    return cc(PROGRAM, request.param, *(["-fPIE"] if request.param == "-pie" else ["-fno-pie"]))


def test_functions_are_where_nm_says(program, run):
    expected = functions_by_nm(run, program)
    symbols = ElfSymbols.open(program)
    assert symbols.pie == ("DYN" in run("readelf", "-h", program))
    for name in ("add_numbers", "hidden_helper", "main", "_start"):
        symbol = symbols.find(name)
        assert symbol.address == expected[name]
        assert symbol.kind == "function"
        assert symbol.binding == ("local" if name == "hidden_helper" else "global")
    assert symbols.find("table", objects=True).kind == "object"


def test_offsets_lead_to_the_functions_bytes(program, run):
    """The disassembler's bytes at the symbol's address are the file's bytes at the symbol's offset."""
    listing = run("objdump", "-d", "--no-show-raw-insn", program)
    assert "<add_numbers>:" in listing
    raw = run("objdump", "-d", program)
    first = re.search(r"<add_numbers>:\n\s+[0-9a-f]+:\s+((?:[0-9a-f]{2} )+)", raw)[1]
    symbol = find_symbol(program, "add_numbers")
    with open(program, "rb") as file:
        file.seek(symbol.offset)
        assert file.read(len(first.split())) == bytes.fromhex(first)


def test_segments_and_sections_agree_with_pyelftools(program):
    elffile = pytest.importorskip("elftools.elf.elffile")
    image = ElfImage.open(program)
    with open(program, "rb") as file:
        other = elffile.ELFFile(file)
        assert [section.name for section in image.sections] == [item.name for item in other.iter_sections()]
        assert [(section.address, section.offset, section.size) for section in image.sections] == [
            (item["sh_addr"], item["sh_offset"], item["sh_size"]) for item in other.iter_sections()
        ]
        assert [(segment.offset, segment.address, segment.file_size) for segment in image.segments] == [
            (item["p_offset"], item["p_vaddr"], item["p_filesz"]) for item in other.iter_segments()
        ]
        note = next(iter(other.get_section_by_name(".note.gnu.build-id").iter_notes()))
        assert image.build_id.hex() == note["n_desc"]


def test_lookup_inside_at_the_ends_and_outside(program):
    symbols = ElfSymbols.open(program)
    symbol = symbols.find("add_numbers")
    assert symbols.lookup(symbol.address) == ("add_numbers", 0)
    assert symbols.lookup(symbol.address + symbol.size - 1) == ("add_numbers", symbol.size - 1)
    after = symbols.lookup(symbol.address + symbol.size)
    assert after is None or after[0] != "add_numbers"
    assert symbols.lookup(0) is None
    assert symbols.lookup((1 << 64) - 1) is None


def test_every_function_of_the_c_library_agrees_with_nm(run):
    path = os.path.realpath(find_symbol("libc", "malloc").path)
    symbols = ElfSymbols.open(path, root="/nonexistent")
    expected = functions_by_nm(run, path, "-D", "--defined-only")
    assert len(expected) > 1000
    checked = 0
    for name, address in expected.items():
        found = {symbol.address for symbol in symbols.find_all(name)}
        if len(found) == 1:
            assert found == {address}, name
            inside = symbols.lookup(address)
            assert inside is not None and inside[1] == 0
            checked += 1
    assert checked > 1000


def test_missing_names_get_suggestions(program):
    with pytest.raises(SymbolError) as caught:
        find_symbol(program, "add_nmbers")
    assert code_of(caught) == "SYM004"
    assert caught.value.hint == "did you mean 'add_numbers'?"
    for odd in ("", "a\0b", "no such", "é", "\udcff"):
        with pytest.raises(SymbolError) as caught:
            find_symbol(program, odd)
        assert code_of(caught) == "SYM004"


def test_offsets_inside_functions(program):
    symbol = find_symbol(program, "add_numbers")
    inside = find_symbol(program, "add_numbers", offset=1)
    assert (inside.offset, inside.name) == (symbol.offset + 1, "add_numbers+0x1")
    assert find_symbol(program, symbol.address).offset == symbol.offset
    for bad in (symbol.size, -1, 1 << 40):
        with pytest.raises(SymbolError) as caught:
            find_symbol(program, "add_numbers", offset=bad)
        assert code_of(caught) == "SYM006"
    for bad in (1 << 63, -5):
        with pytest.raises(SymbolError) as caught:
            find_symbol(program, bad)
        assert code_of(caught) == "SYM006"


def test_stripped_program_with_separate_debug_file(cc, run, tmp_path):
    whole = cc(PROGRAM, "-Wl,--build-id")
    build_id = ElfSymbols.open(whole).build_id.hex()
    stripped = str(tmp_path / "stripped")
    run("strip", "-o", stripped, whole)
    with pytest.raises(SymbolError) as caught:
        ElfSymbols.open(stripped).find("hidden_helper")
    assert code_of(caught) == "SYM004"
    # A root in which debug files are installed by build id, as distributions do.
    root = tmp_path / "root"
    place = root / "usr/lib/debug/.build-id" / build_id[:2]
    place.mkdir(parents=True)
    run("objcopy", "--only-keep-debug", whole, str(place / f"{build_id[2:]}.debug"))
    symbols = ElfSymbols.open(stripped, root=str(root))
    expected = ElfSymbols.open(whole).find("hidden_helper")
    assert symbols.find("hidden_helper").offset == expected.offset
    assert symbols.lookup(expected.address + 1) == ("hidden_helper", 1)
    # A debug file of another build is not believed.
    other = cc(PROGRAM + "int more(void) { return 1; }", "-Wl,--build-id")
    run("objcopy", "--only-keep-debug", other, str(place / f"{build_id[2:]}.debug"))
    assert ElfSymbols.open(stripped, root=str(root)).find_all("hidden_helper") == []


def test_debug_link_is_checked_by_checksum(cc, run, tmp_path):
    whole = cc(PROGRAM, "-Wl,--build-id=none")
    stripped, debug = str(tmp_path / "linked"), tmp_path / ".debug" / "linked.dbg"
    debug.parent.mkdir()
    run("objcopy", "--only-keep-debug", whole, str(debug))
    run("strip", "-o", stripped, whole)
    run("objcopy", f"--add-gnu-debuglink={debug}", stripped)
    assert ElfSymbols.open(stripped).find("hidden_helper").binding == "local"
    with open(debug, "ab") as file:
        file.write(b"x")
    assert ElfSymbols.open(stripped).find_all("hidden_helper") == []


def test_compressed_mini_debug_data(cc, run, tmp_path):
    lzma = pytest.importorskip("lzma")
    whole = cc(PROGRAM, "-Wl,--build-id=none")
    mini, stripped = tmp_path / "mini", str(tmp_path / "stripped")
    run("objcopy", "--only-keep-debug", whole, str(mini))
    run("strip", "-o", stripped, whole)
    packed = tmp_path / "mini.xz"
    packed.write_bytes(lzma.compress(mini.read_bytes()))
    run("objcopy", "--add-section", f".gnu_debugdata={packed}", stripped)
    expected = ElfSymbols.open(whole).find("hidden_helper")
    assert ElfSymbols.open(stripped).find("hidden_helper").offset == expected.offset
    assert ElfSymbols.open(stripped).lookup(expected.address) == ("hidden_helper", 0)
    packed.write_bytes(lzma.compress(mini.read_bytes())[:-40])
    run("objcopy", "--update-section", f".gnu_debugdata={packed}", stripped)
    assert ElfSymbols.open(stripped).find_all("hidden_helper") == []
    packed.write_bytes(b"not xz at all")
    run("objcopy", "--update-section", f".gnu_debugdata={packed}", stripped)
    assert ElfSymbols.open(stripped).find_all("hidden_helper") == []


def test_names_that_stand_for_several_places(cc, tmp_path):
    one, two = tmp_path / "one.c", tmp_path / "two.c"
    for path, number in ((one, 1), (two, 2)):
        path.write_text(
            f'static __attribute__((noinline)) int same(int a) {{ __asm__ volatile(""); return a + {number}; }}\n'
            f"int call{number}(int a) {{ return same(a) * 2; }}\n"
        )
    program = cc("int call1(int), call2(int); int main(void) { return call1(1) + call2(2); }", str(one), str(two))
    symbols = ElfSymbols.open(program)
    places = symbols.find_all("same")
    assert len(places) == 2
    with pytest.raises(SymbolError) as caught:
        symbols.find("same")
    assert code_of(caught) == "SYM005"
    assert all(f"{symbol.address:#x}" in caught.value.hint for symbol in places)


def test_cplusplus_names(cc):
    source = """
    namespace shape {
    struct Box { int area(); int area(int); int w; };
    __attribute__((noinline)) int Box::area() { __asm__ volatile(""); return w; }
    __attribute__((noinline)) int Box::area(int h) { __asm__ volatile(""); return w * h; }
    __attribute__((noinline)) int twice(int x) { __asm__ volatile(""); return 2 * x; }
    }
    int main() { shape::Box b; b.w = 3; return b.area() + b.area(2) + shape::twice(1); }
    """
    symbols = ElfSymbols.open(cc(source, language="c++"))
    twice = symbols.find("_ZN5shape5twiceEi")
    if twice.readable == twice.name:
        pytest.skip("no C++ runtime library to demangle names with")
    assert twice.readable == "shape::twice(int)"
    assert symbols.find("shape::twice").address == twice.address
    assert symbols.find("shape::twice(int)").address == twice.address
    assert symbols.find("shape::Box::area(int)").name == "_ZN5shape3Box4areaEi"
    with pytest.raises(SymbolError) as caught:
        symbols.find("shape::Box::area")
    assert code_of(caught) == "SYM005"
    assert "shape::Box::area(); shape::Box::area(int)" in caught.value.message
    with pytest.raises(SymbolError) as caught:
        symbols.find("shape::twise(int)")
    assert "shape::twice(int)" in caught.value.hint


def test_indirect_functions_are_refused_by_default(cc):
    source = """
    static int fast_one(int a) { return a + 1; }
    static int (*choose(void))(int) { return fast_one; }
    int pick(int) __attribute__((ifunc("choose")));
    int pick_generic(int a) { return a; }
    int main(void) { return pick(1); }
    """
    symbols = ElfSymbols.open(cc(source, "-rdynamic"))
    with pytest.raises(SymbolError) as caught:
        symbols.find("pick")
    assert code_of(caught) == "SYM015"
    assert "pick_generic" in caught.value.hint
    assert symbols.find("pick", indirect=True).kind == "indirect"


def test_default_versions_of_a_symbol_come_first(cc, tmp_path):
    script = tmp_path / "map"
    script.write_text("V1 { global: foo; local: *; };\nV2 { global: foo; } V1;\n")
    source = """
    __attribute__((symver("foo@V1"))) int foo_old(int a) { return a; }
    __attribute__((symver("foo@@V2"))) int foo_new(int a) { return a + 1; }
    """
    path = cc(source, "-shared", "-fPIC", f"-Wl,--version-script={script}")
    for strip in (False, True):
        if strip:
            subprocess.run(["strip", path], check=True)
        symbols = ElfSymbols.open(path)
        found = symbols.find_all("foo")
        assert len(found) == 2
        assert [symbol.name for symbol in found] == ["foo", "foo"]
        dynamic = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True).stdout
        expected = int(re.search(r"([0-9a-f]+) T foo@@V2", dynamic)[1], 16)
        assert symbols.find("foo").address == expected


def test_labels_of_assembly_are_found(cc):
    source = """
    __asm__(".text\\n.globl bare_label\\nbare_label:\\n nop\\n nop\\n nop\\n");
    int main(void) { return 0; }
    """
    symbols = ElfSymbols.open(cc(source))
    label = symbols.find("bare_label")
    assert label.kind == "label" and label.offset > 0
    assert symbols.lookup(label.address + 1) == ("bare_label", 1)


def test_a_file_without_section_headers_uses_what_the_loader_uses(cc, tmp_path):
    for style in ("sysv", "gnu"):
        path = cc(PROGRAM, "-shared", "-fPIC", f"-Wl,--hash-style={style}")
        expected = ElfSymbols.open(path).find("add_numbers")
        data = bytearray(Path(path).read_bytes())
        struct.pack_into("<Q", data, 40, 0)
        struct.pack_into("<HH", data, 60, 0, 0)
        bare = tmp_path / f"bare-{style}"
        bare.write_bytes(data)
        symbols = ElfSymbols.open(str(bare))
        assert symbols.image.sections == []
        assert symbols.find("add_numbers").offset == expected.offset
        assert symbols.lookup(expected.address + 1) == ("add_numbers", 1)


def test_32_bit_program(cc, tmp_path):
    source = "int add_numbers(int a, int b) { return a + b; }\nvoid _start(void) { add_numbers(1, 2); for (;;); }"
    try:
        path = cc(source, "-m32", "-nostdlib", "-static", "-fno-pic", "-no-pie", "-O0")
    except AssertionError:
        pytest.skip("gcc cannot build 32-bit programs")
    symbol = ElfSymbols.open(path).find("add_numbers")
    with open(path, "rb") as file:
        file.seek(symbol.offset)
        assert file.read(1) == b"\x55"  # push %ebp
    assert ElfSymbols.open(path).lookup(symbol.address + 2) == ("add_numbers", 2)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_class_and_byte_order(elf, tmp_path, bits, order):
    path = elf.file(
        tmp_path / "made",
        [("one", 0x1100, 0x10, FUNC, GLOBAL, 1), ("two", 0x1180, 0x20, FUNC, LOCAL, 1)],
        bits=bits,
        order=order,
        build_id=b"0123456789abcdef0123",
    )
    symbols = ElfSymbols.open(path)
    assert symbols.build_id == b"0123456789abcdef0123"
    assert symbols.find("two").offset == 0x1180
    assert symbols.lookup(0x110F) == ("one", 0xF)
    assert symbols.lookup(0x1110) is None
    assert [symbol.name for symbol in symbols.functions()] == ["one", "two"]
    assert [symbol.name for symbol in symbols.functions("t*")] == ["two"]


def test_the_choice_among_names_nested_and_sizeless_symbols(elf, tmp_path):
    path = elf.file(
        tmp_path / "made",
        [
            ("__read", 0x1100, 0x20, FUNC, GLOBAL, 1),
            ("read", 0x1100, 0x20, FUNC, WEAK, 1),
            ("read_local_alias", 0x1100, 0, FUNC, LOCAL, 1),
            ("outer", 0x1200, 0x100, FUNC, GLOBAL, 1),
            ("inner", 0x1240, 0x10, FUNC, LOCAL, 1),
            ("label_in_outer", 0x1260, 0, 0, LOCAL, 1),
            ("no_size", 0x1400, 0, FUNC, GLOBAL, 1),
            ("next", 0x1410, 8, FUNC, GLOBAL, 1),
            ("imported", 0, 0, FUNC, GLOBAL, 0),
            ("absolute", 0x1500, 8, FUNC, GLOBAL, 0xFFF1),
            ("last", 0x1FF0, 0, FUNC, GLOBAL, 1),
        ],
    )
    symbols = ElfSymbols.open(path)
    names = {0x1110: "read", 0x1230: "outer", 0x1244: "inner", 0x1250: "outer", 0x1265: "outer", 0x12FF: "outer"}
    names |= {0x140F: "no_size", 0x1410: "next", 0x1FFF: "last"}
    assert {address: symbols.lookup(address)[0] for address in names} == names
    for gap in (0x1120, 0x1300, 0x1418, 0x1500, 0x2000):
        found = symbols.lookup(gap)
        assert found is None, (hex(gap), found)
    assert symbols.lookup(0x1265) == ("outer", 0x65)
    assert symbols.find_all("imported") == [] and symbols.find_all("absolute") == []


def test_aarch64_mapping_symbols_are_no_functions(elf, tmp_path):
    path = elf.file(tmp_path / "made", [("$x", 0x1100, 0, 0, LOCAL, 1), ("$d.1", 0x1200, 0, 0, LOCAL, 1)], machine=183)
    symbols = ElfSymbols.open(path)
    assert symbols.lookup(0x1100) is None and symbols.lookup(0x1204) is None
    assert list(symbols.names()) == []


@pytest.mark.parametrize(
    ("contents", "code", "hint"),
    [
        (b"", "SYM002", None),
        (b"plain text", "SYM002", None),
        (b"#!/usr/bin/env python3\n", "SYM002", "interpreter"),
        (b"!<arch>\n", "SYM002", "archive"),
        (b"/* GNU ld script */ GROUP ( x )", "SYM002", "linker script"),
        (b"\x7fELF", "SYM003", None),
        (b"\x7fELF\x02\x01\x01" + bytes(20), "SYM003", None),
        (b"\x7fELF\x09\x01\x01" + bytes(80), "SYM003", None),
    ],
)
def test_files_that_are_no_elf(tmp_path, contents, code, hint):
    path = tmp_path / "file"
    path.write_bytes(contents)
    with pytest.raises(SymbolError) as caught:
        ElfSymbols.open(str(path))
    assert code_of(caught) == code
    assert hint is None or hint in caught.value.hint


def test_files_that_cannot_be_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "none"), str(tmp_path), str(tmp_path / "pipe"), "/dev/zero", "a\0b"):
        with pytest.raises(SymbolError) as caught:
            ElfSymbols.open(path)
        assert code_of(caught) == "SYM001"


def test_objects_and_core_dumps_are_refused(elf, tmp_path):
    for kind in (1, 4, 0xFE00):
        with pytest.raises(SymbolError) as caught:
            ElfSymbols.open(elf.file(tmp_path / "made", kind=kind))
        assert code_of(caught) == "SYM016"


def test_no_descriptor_is_left_open(elf, tmp_path):
    path = elf.file(tmp_path / "made", [("one", 0x1100, 0x10, FUNC, GLOBAL, 1)])
    (tmp_path / "bad").write_bytes(b"\x7fELF\x02\x01" + bytes(100))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        ElfSymbols.open(path).find("one")
        for bad in (path + "x", str(tmp_path / "bad"), elf.file(tmp_path / "object", kind=1)):
            with pytest.raises(SymbolError):
                ElfSymbols.open(bad)
    assert len(os.listdir("/proc/self/fd")) == before


def use_everything(path):
    """Ask a binary everything; only a SymbolError may come out."""
    from osmia.symbols.usdt import list_probes

    questions = [
        lambda: find_symbol(path, "one"),
        lambda: find_symbol(path, 0x1104),
        lambda: ElfSymbols.open(path).lookup(0x1104),
        lambda: ElfSymbols.open(path).functions(),
        lambda: ElfSymbols.open(path).find("a::b"),
        lambda: ElfSymbols.open(path).find("none_such"),
        lambda: ElfSymbols.open(path).find("one", objects=True),
        lambda: [location.arguments() for probe in list_probes(path) for location in probe.locations],
    ]
    for question in questions:
        try:
            question()
        except SymbolError as error:
            assert error.code.startswith("SYM")


def sample(elf):
    note = struct.pack("<III", 8, 24 + 19, 3) + b"stapsdt\0" + struct.pack("<QQQ", 0x1108, 0x1500, 0)
    note += b"prov\0probe\0-4@%eax\0" + b"\0"
    return elf(
        [
            ("one", 0x1100, 0x10, FUNC, GLOBAL, 1),
            ("_ZN1a1bEi", 0x1120, 0, FUNC, LOCAL, 1),
            ("one@@V1", 0x1130, 4, 10, WEAK, 1),
        ],
        build_id=bytes(20),
        notes=note,
        sections=[
            (".gnu_debuglink", 1, 0, 0, b"x.dbg\0\0\0\1\2\3\4"),
            (".gnu_debugdata", 1, 0, 0, b"\xfd7zXZ\0garbage"),
        ],
    )


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files_give_clean_errors(elf, tmp_path, data):
    image = bytearray(sample(elf))
    # Bytes that mean something are in the header, the tables and notes; the filler between is dull.
    dull = range(120, 0x2000)
    places = st.integers(0, len(image) - 1).filter(lambda at: at not in dull)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(places)
        width = data.draw(st.sampled_from([1, 2, 4, 8]))
        value = data.draw(st.one_of(st.sampled_from([0, (1 << 8 * width) - 1]), st.integers(0, (1 << 8 * width) - 1)))
        image[at : at + width] = value.to_bytes(width, "little")[: len(image) - at]
    end = data.draw(st.one_of(st.just(len(image)), st.integers(0, len(image))))
    path = tmp_path / "mutated"
    path.write_bytes(image[:end])
    use_everything(str(path))


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_real_library_gives_clean_errors(cc, tmp_path, data):
    path = cc.folder / "real.so"
    if not path.exists():
        cc(PROGRAM, "-shared", "-fPIC", "-nostdlib", "-Wl,--hash-style=gnu", name="real.so")
    image = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        struct.pack_into("<Q", image, 40, 0)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(image) - 1))
        image[at] = data.draw(st.integers(0, 255))
    mutated = tmp_path / "mutated"
    mutated.write_bytes(image[: data.draw(st.integers(0, len(image)))] if data.draw(st.booleans()) else image)
    use_everything(str(mutated))


def test_the_sample_of_the_fuzzer_is_good(elf, tmp_path):
    from osmia.symbols.usdt import list_probes

    path = tmp_path / "sample"
    path.write_bytes(sample(elf))
    assert find_symbol(str(path), "one").offset == 0x1100
    assert [probe.name for probe in list_probes(str(path))] == ["probe"]


def test_uprobe_lookup_is_quick():
    """The way of a uprobe at start-up: no table of a whole library may be built for one name."""
    import time

    best = min(_timed(lambda: find_symbol("libc", "malloc"), time.process_time) for _ in range(5))
    assert best < 0.05


def _timed(call, clock):
    start = clock()
    call()
    return clock() - start


def test_what_a_uprobe_needs_imports_nothing_heavy():
    banned = "numpy llvmlite elftools rich dataclasses inspect ast typing tokenize asyncio logging subprocess click"
    script = (
        "import sys\nfrom osmia.symbols.elf import find_symbol\nfrom osmia.symbols.usdt import list_probes\n"
        "find_symbol('libc', 'malloc')\nlist_probes('libc')\n"
        f"print([name for name in {banned.split()} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
