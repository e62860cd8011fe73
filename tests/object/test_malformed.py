"""Truncated, damaged and hostile objects: an ObjectError with a code, never another exception, and soon."""

import json
import struct
import time

import pytest
from hand_made import made_by_hand
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from object_sources import ACCESS, EXTERNS, FUNCTIONS, GLOBALS, INFO, LOCAL, MAPS, TARGET

from osmia.btf.reader import Btf
from osmia.diagnostics import ObjectError, RelocationError
from osmia.diagnostics.codes import all_codes
from osmia.object.core import poisoned, relocate
from osmia.object.elf import read_object
from osmia.object.elf_file import EHDR, SHDR, ElfFile
from osmia.object.meta import apply_meta, decode_meta, encode_meta, layout_from_plain
from osmia.object.spec import CollectionSpec, MapSpec
from osmia.object.writer import attach_meta, write_object

SOURCES = {"maps": MAPS, "globals": GLOBALS, "functions": FUNCTIONS, "externs": EXTERNS, "core": INFO + LOCAL + ACCESS}
FUZZ = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def code_of(data):
    with pytest.raises(ObjectError) as caught:
        read_object(data, "bad.o")
    assert caught.value.code in all_codes()
    return caught.value.code


def test_truncated_elf(compile_c):
    """However little of an object is left, the answer is the same kind of error, mostly that it is cut off."""
    data = compile_c(MAPS)
    codes = {code_of(data[:length]) for length in range(4, len(data), 7)}
    assert codes == {"OBJ002"}
    assert {code_of(data[:length]) for length in range(4)} == {"OBJ001"}
    with pytest.raises(ObjectError) as caught:
        read_object(data[: len(data) // 2], "half.bpf.o")
    assert "half.bpf.o" in str(caught.value) and "cut off" in caught.value.hint


def test_other_files():
    assert code_of(b"") == "OBJ001"
    assert code_of(b"#include <linux/bpf.h>\n" * 10) == "OBJ001"
    with open("/proc/self/exe", "rb") as file:
        assert code_of(file.read()) == "OBJ003"


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        (4, b"\1", "OBJ003"),  # 32 bits
        (5, b"\2", "OBJ003"),  # big-endian
        (6, b"\7", "OBJ003"),  # another version of ELF
        (16, b"\2\0", "OBJ003"),  # an executable
        (18, b"\x3e\0", "OBJ003"),  # x86-64
        (40, bytes(8), "OBJ002"),  # no section headers
        (40, b"\xff" * 8, "OBJ002"),  # section headers beyond the end
        (58, b"\x20\0", "OBJ002"),  # section headers of another size
        (60, b"\xff\xfe", "OBJ002"),  # very many sections
        (62, b"\xee\xee", "OBJ005"),  # section names in a section that is not there
        (62, b"\2\0", "OBJ005"),  # section names in a section of code
    ],
)
def test_header_fields(compile_c, offset, value, code):
    data = bytearray(compile_c(FUNCTIONS))
    data[offset : offset + len(value)] = value
    assert code_of(bytes(data)) == code


def changed_section(data, section, **fields):
    """A copy with fields of one section's header changed."""
    names = ("name", "type", "flags", "address", "offset", "size", "link", "info", "align", "entry_size")
    elf = ElfFile(data, "x")
    at = EHDR.unpack_from(data)[6] + elf.by_name(section).index * SHDR.size
    row = dict(zip(names, SHDR.unpack_from(data, at), strict=True)) | fields
    copy = bytearray(data)
    SHDR.pack_into(copy, at, *row.values())
    return bytes(copy)


@pytest.mark.parametrize(
    ("name", "fields", "code"),
    [
        (".symtab", {"offset": 64}, "OBJ004"),
        (".text", {"offset": 8}, "OBJ004"),
        (".text", {"size": 1 << 60}, "OBJ002"),
        (".text", {"size": 12}, "OBJ008"),
        (".text", {"size": 16}, "OBJ008"),
        (".symtab", {"link": 9999}, "OBJ005"),
        (".symtab", {"link": 2}, "OBJ005"),
        (".symtab", {"size": 25}, "OBJ005"),
        (".symtab", {"type": 3}, "OBJ008"),
        (".rel.text", {"type": 4}, "OBJ006"),
        (".rel.text", {"size": 24}, "OBJ006"),
        (".rel.text", {"type": 1}, "OBJ009"),
        (".BTF", {"size": 100}, "BTF003"),
        (".BTF", {"type": 8}, "BTF001"),
        (".BTF.ext", {"size": 5}, "BTF041"),
        (".text", {"name": 1 << 30}, "OBJ005"),
        ("license", {"name": 1}, "OBJ017"),
    ],
)
def test_section_fields(compile_c, name, fields, code):
    data = changed_section(compile_c(FUNCTIONS), name, **fields)
    if fields == {"type": 1}:
        # Without its relocations, a call leads to wherever the compiler left it.
        with pytest.raises(ObjectError):
            read_object(data, "x")
    else:
        assert code_of(data) == code


def relocation(data, section, index, **fields):
    """A copy with one relocation of a section changed."""
    elf = ElfFile(data, "x")
    table = elf.by_name(".rel" + section)
    at = table.offset + 16 * index
    offset, info = struct.unpack_from("<QQ", data, at)
    row = {"offset": offset, "symbol": info >> 32, "type": info & 0xFFFFFFFF} | fields
    copy = bytearray(data)
    struct.pack_into("<QQ", copy, at, row["offset"], row["symbol"] << 32 | row["type"])
    return bytes(copy)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"offset": 1 << 40}, "OBJ006"),
        ({"offset": 4}, "OBJ006"),
        ({"symbol": 9999}, "OBJ006"),
        ({"symbol": 0}, "OBJ010"),
    ],
)
def test_relocation_fields(compile_c, fields, code):
    assert code_of(relocation(compile_c(FUNCTIONS), "socket", 0, **fields)) == code


def test_relocation_of_the_wrong_instruction(compile_c):
    data = compile_c(FUNCTIONS)
    elf = ElfFile(data, "x")
    code = elf.by_name("socket").data
    taken = {r.offset for r in elf.relocations(elf.by_name("socket"))}
    plain = next(at for at in range(0, len(code), 8) if code[at] in (0xBF, 0xB7) and at not in taken)
    assert code_of(relocation(data, "socket", 0, offset=plain)) == "OBJ006"


def test_many_programs_of_one_large_function_are_refused():
    """The size of what is read must not be the product of two large numbers."""
    from osmia.isa.instruction import Instruction, encode_program
    from osmia.object import link
    from osmia.object.spec import Hook, ProgramSpec, Reloc

    spec = CollectionSpec("large")
    body = encode_program([Instruction(0xB7)] * 3000 + [Instruction(0x95)])
    call = encode_program([Instruction(0x85, src=1, imm=1), Instruction(0x95)])
    for index in range(300):
        spec.programs[f"p{index}"] = ProgramSpec(
            f"p{index}", "xdp", 6, call + body, attach_type=37, functions=[(0, 0, f"p{index}"), (2, 0, "large")],
            relocs=[Reloc(0, "call", "large")], hook=Hook("xdp", "", {"frags": False}),
        )  # fmt: skip
    data = write_object(spec)
    assert len(data) < 100_000
    assert len(read_object(data, "large").programs) == 300
    before = link.MAX_SLOTS
    link.MAX_SLOTS = 500_000
    try:
        assert code_of(data) == "OBJ018"
    finally:
        link.MAX_SLOTS = before


def survives(data, target):
    """Read, relocate, write: each either works or gives an error of its own kind."""
    started = time.monotonic()
    try:
        spec = read_object(data, "fuzz")
        spec.plain()
        try:
            result = relocate(spec, target)
            for row in result.extras.get("core_poisoned", ()):
                assert poisoned(result, row[0], row[1], target).code == "CORE004"
        except RelocationError as error:
            assert error.code in all_codes()
        attach_meta(data, {"format": 1})
        assert set(read_object(write_object(spec), "again").programs) == set(spec.programs)
    except ObjectError as error:
        assert error.code in all_codes()
    assert time.monotonic() - started < 10


@pytest.fixture(scope="module")
def seeds(compile_c):
    objects = [compile_c(source) for source in SOURCES.values()]
    return [*objects, write_object(made_by_hand())]


@pytest.fixture(scope="module")
def target(compile_c):
    return Btf.from_bytes(read_object(compile_c(TARGET + "struct task *keep;"), "target").btf)


WORDS = st.sampled_from([0, 1, 2, 7, 8, 0x10, 0x18, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
CHANGES = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.sampled_from([1, 2, 4, 8]), WORDS | st.integers(0, 1 << 15), st.booleans()),
    min_size=1,
    max_size=6,
)


@FUZZ
@given(st.data())
def test_mutated_objects(seeds, target, data):
    original = data.draw(st.sampled_from(seeds))
    changed = bytearray(original)
    headers = EHDR.unpack_from(original)[6]
    for at, width, value, in_headers in data.draw(CHANGES):
        # Half of the changes hit the section headers, where a single byte matters most.
        start = headers + at % (len(changed) - headers) if in_headers else at % len(changed)
        start -= start % width
        changed[start : start + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    survives(bytes(changed), target)


@FUZZ
@given(st.data())
def test_spliced_objects(seeds, target, data):
    """Pieces of one section in another: well-formed records in wrong places."""
    changed = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        size = data.draw(st.sampled_from([4, 8, 16, 24, 64]))
        source, goal = (data.draw(st.integers(0, len(changed) - size)) // 4 * 4 for _ in range(2))
        changed[goal : goal + size] = changed[source : source + size]
    survives(bytes(changed), target)


@FUZZ
@given(st.binary(max_size=300))
def test_random_bytes_after_a_header(tail):
    data = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\1\0\xf7\0" + tail
    with pytest.raises(ObjectError):
        read_object(data, "x")


# -- notes -------------------------------------------------------------------------------------------------------------


def notes(value):
    return b"\0" + json.dumps(value).encode() + b"\0"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0\0", b"{", b"[1, 2]", b"\xff\xfe", b"[" * 100_000, notes(None), notes({}), notes({"format": 2}),
        notes({"format": 1, "extras": {"$bytes": "zz"}}), notes({"format": 1, "maps": {"$bytes": 5}}),
        notes({"format": 1, "extras": {"$dict": [1]}}), notes({"format": 1, "x": {"$dict": [[[1], 2]]}}),
        notes({"format": 1, "x": 1}).replace(b": 1}", b": " + b"1" * 5000 + b"}"),
    ],
)  # fmt: skip
def test_damaged_notes(data):
    with pytest.raises(ObjectError) as caught:
        decode_meta(data)
    assert caught.value.code == "OBJ022"


U32 = ["int", 32, False]


@pytest.mark.parametrize(
    "meta",
    [
        {"maps": {"nowhere": {}}}, {"maps": [1]}, {"maps": {"m": 5}}, {"maps": {"m": {"role": 1}}},
        {"maps": {"m": {"key": ["int", 64, False]}}}, {"maps": {"m": {"value": ["int"]}}},
        {"maps": {"m": {"inner": {}}}}, {"maps": {"m": {"contents": [["a", 1]]}}}, {"maps": {"m": {"contents": 7}}},
        {"programs": {"p": {"hook": ["xdp"]}}}, {"programs": {"p": {}}}, {"globals": {"g": U32}},
        {"events": [["e", "m", U32, {}]]}, {"events": [["e", "nowhere", U32, {}]]}, {"events": [1]}, {"events": 1},
        {"events": [["e", "m", ["struct", "e", [["f", U32, 99, 0, 0]], 4, 4], {}]]}, {"extras": [1]},
    ],
)  # fmt: skip
def test_notes_that_do_not_fit(meta):
    spec = CollectionSpec("x")
    spec.maps["m"] = MapSpec("m", "array", key_size=4, value_size=4)
    with pytest.raises(ObjectError) as caught:
        apply_meta(spec, meta)
    assert caught.value.code == "OBJ022"


NAMES = st.sampled_from(["$bytes", "$tuple", "$dict", "key", "value", "role", "inner", "contents", "m"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.sampled_from(["int", "struct", "array", "enum", "char", 8, 32, 4, "m"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@FUZZ
@given(st.dictionaries(st.sampled_from(["maps", "events", "programs", "globals", "extras"]), JSON))
def test_any_json_as_notes(meta):
    spec = CollectionSpec("x")
    spec.maps["m"] = MapSpec("m", "array", key_size=4, value_size=4)
    try:
        apply_meta(spec, decode_meta(notes({"format": 1, **meta})))
    except ObjectError as error:
        assert error.code == "OBJ022"
    else:
        encode_meta({"extras": spec.extras})


@FUZZ
@given(JSON)
def test_any_json_as_layout(value):
    try:
        layout = layout_from_plain(value)
    except ObjectError as error:
        assert error.code == "OBJ022"
    else:
        assert layout_from_plain(layout.plain()) == layout


def test_nested_layouts_end():
    plain = ["int", 8, False]
    for _ in range(100_000):
        plain = ["array", plain, 1]
    spec = CollectionSpec("x")
    spec.maps["m"] = MapSpec("m", "array", key_size=4, value_size=4)
    with pytest.raises(ObjectError, match="OBJ022"):
        apply_meta(spec, {"maps": {"m": {"value": plain}}})
