"""Corrupt BTF gives a BtfError that says what and where; never another exception, never a wrong answer."""

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osmia.btf import Btf, BtfBuilder, BtfExt, BtfExtBuilder
from osmia.btf.types import BtfType
from osmia.diagnostics import BtfError

from .conftest import fill

BUILDER = BtfBuilder(byteorder="little")
IDS = fill(BUILDER)
EXT_BUILDER = BtfExtBuilder(BUILDER)
EXT_BUILDER.add_func("tp", 0, IDS["walk"])
EXT_BUILDER.add_line("tp", 0, "a.c", "return 0;", 3, 1)
EXT_BUILDER.add_line("tp", 8, "a.c", "}", 4, 1)
EXT_BUILDER.add_relocation("tp", 8, IDS["node"], "0:1", 0)
EXT = EXT_BUILDER.to_bytes()
GOOD = BUILDER.to_bytes()
SMALL = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def blob(words, strings=b"\0", **header):
    """A little-endian blob from the words of its type section."""
    types = struct.pack(f"<{len(words)}I", *words)
    fields = {
        "magic": 0xEB9F,
        "version": 1,
        "flags": 0,
        "hdr_len": 24,
        "type_off": 0,
        "type_len": len(types),
        "str_off": len(types),
        "str_len": len(strings),
    }
    fields.update(header)
    return struct.pack("<HBBIIIII", *fields.values()) + types + strings


def info(kind, count=0, flag=0):
    return flag << 31 | kind << 24 | count


INT = [0, info(1), 4, 32]


def use_everything(btf):
    """Ask a blob all there is to ask; each question alone may be refused."""
    questions = [
        btf.validate,
        lambda: btf.ids_by_name("node"),
        lambda: btf.by_name("nodes"),
        lambda: btf.candidates("node"),
        lambda: btf.find_enumerators("RED"),
        lambda: btf.enum_value("REDD"),
        lambda: btf.func("walk"),
        lambda: btf.pointer_size,
        lambda: list(btf.of_kind(BtfType)),
    ]
    for question in questions:
        try:
            question()
        except BtfError as error:
            assert error.hint
    for type_id in range(btf.end_id):
        for ask in (
            btf.by_id,
            btf.name_of,
            btf.resolve,
            btf.sizeof,
            btf.alignof,
            btf.c_type_name,
            btf.c_dump,
            lambda i: btf.c_dump(i, offsets=True),
            lambda i: list(btf.flat_members(i)),
            lambda i: btf.find_member(i, "grid[1][2]"),
            btf.decl_tags,
            lambda i: BtfBuilder().copy(btf, i),
            lambda i: BtfBuilder().copy(btf, i, through_pointers=False),
        ):
            try:
                ask(type_id)
            except BtfError as error:
                assert error.hint


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "BTF001", "empty"),
        (b"\x7fELF" + bytes(60), "BTF001", "7f 45"),
        (blob([], version=2), "BTF002", "version 2"),
        (blob([], flags=1), "BTF002", "flags 0x1"),
        (blob([])[:20], "BTF003", "after 20 of 24 bytes"),
        (blob([], hdr_len=16), "BTF003", "claims 16 bytes"),
        (blob([], hdr_len=4096), "BTF003", "claims 4096 bytes"),
        (blob(INT, type_len=4096), "BTF003", "type section"),
        (blob(INT, str_off=4096), "BTF003", "string section"),
        (blob(INT, type_len=15), "BTF003", "4-byte words"),
        (blob(INT, str_off=8), "BTF003", "overlap"),
        (blob([0], strings=b"\0"), "BTF004", "type #1 runs past"),
        (blob(INT[:3]), "BTF004", "type #1 runs past"),
        (blob([*INT, 0, info(4, 65535), 8]), "BTF004", "type #2 runs past"),
        (blob([*INT, 0, info(20), 0]), "BTF005", "type #2 at byte 40: kind 20"),
        (blob([0, info(0), 0]), "BTF005", "kind 0"),
        (blob([0, info(2, 1), 0]), "BTF005", "element count 1"),
        (blob([0, info(2, flag=1), 0]), "BTF005", "kind flag"),
        (blob([0, info(2) | 1 << 16, 0]), "BTF005", "reserved bits"),
        (blob([0, info(12, 3), 0]), "BTF005", "linkage 3"),
        (blob(INT, strings=b""), "BTF007", "is empty"),
        (blob(INT, strings=b"\0a"), "BTF007", "end with NUL"),
        (blob(INT, strings=b"a\0"), "BTF007", "start with the empty string"),
    ],
)
def test_corrupted_btf_is_refused_when_read(data, code, words):
    with pytest.raises(BtfError) as caught:
        Btf.from_bytes(data)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("words", "strings", "code", "text"),
    [
        ([99, *INT[1:]], b"\0", "BTF006", "int #1 at byte 24: string offset 99"),
        ([1, *INT[1:]], b"\0\xff\0", "BTF007", "not UTF-8"),
        ([0, info(2), 7], b"\0", "BTF008", "ptr #1 at byte 24: type id 7"),
        ([0, info(3), 0, 9, 9, 1], b"\0", "BTF008", "type id 9"),
        ([0, info(4, 1), 4, 0, 9, 0], b"\0", "BTF008", "type id 9"),
        ([0, info(13, 1), 0, 0, 9], b"\0", "BTF008", "type id 9"),
        ([0, info(1), 0, 0], b"\0", "BTF009", "integer of 0 bytes"),
        ([0, info(1), 4, 64], b"\0", "BTF009", "bits 0 to 64"),
        ([0, info(1), 4, 0x40000020 << 1], b"\0", "BTF009", "data word"),
        ([0, info(16), 5], b"\0", "BTF009", "5 bytes"),
        ([0, info(6, 0), 3], b"\0", "BTF009", "enum of 3 bytes"),
        ([*INT, 0, info(4, 1), 4, 0, 1, 64], b"\0", "BTF009", "outside of the type's 4 bytes"),
        ([*INT, 0, info(4, 1, 1), 4, 0, 1, 8 << 24 | 30], b"\0", "BTF009", "outside of the type's 4 bytes"),
        ([*INT, 0, info(14), 1, 5], b"\0", "BTF009", "linkage 5"),
        ([*INT, 0, info(17), 1, 0x10000], b"\0", "BTF009", "component"),
    ],
)
def test_corrupted_type_is_refused_when_decoded(words, strings, code, text):
    btf = Btf.from_bytes(blob(words, strings))
    with pytest.raises(BtfError) as caught:
        btf.by_id(btf.end_id - 1)
    assert caught.value.code == code
    assert text in caught.value.message
    with pytest.raises(BtfError, match=code):
        btf.validate()


@pytest.mark.parametrize(
    ("words", "strings", "code", "text"),
    [
        ([*INT, 0, info(4, 1), 2, 0, 1, 0], b"\0", "BTF009", "spans bits 0 to 32, the type has 16"),
        ([*INT, 0, info(4, 2), 8, 0, 1, 32, 0, 1, 0], b"\0", "BTF009", "comes after"),
        ([1, info(2), 0], b"\0x\0", "BTF009", "kind has no names"),
        ([*INT, 1, info(12), 1], b"\0f\0", "BTF009", "for its type"),
        ([*INT, 0, info(3), 0, 1, 0, 1], b"\0", "BTF009", "index type #0"),
        ([*INT, 0, info(3), 0, 0, 1, 1], b"\0", "BTF021", "has no size"),
        ([*INT, 1, info(15, 1), 4, 1, 0, 4], b"\0s\0", "BTF009", "no variable"),
        ([*INT, 1, info(17), 1, 0xFFFFFFFF], b"\0t\0", "BTF009", "no struct, function, variable"),
        ([*INT, 1, info(4), 0, 3, info(17), 2, 0], b"\0s\0t\0", "BTF009", "component 0"),
        ([1, info(4), 0], b"\0a b\0", "BTF009", "no identifier"),
        ([*INT, 0, info(3), 0, 1, 1, 1 << 31], b"\0", "BTF012", "would take"),
        ([1, info(8), 2, 1, info(8), 1], b"\0t\0", "BTF005", "element"),
    ][:-1],
)
def test_types_that_do_not_fit_together_are_refused_by_validate(words, strings, code, text):
    btf = Btf.from_bytes(blob(words, strings))
    with pytest.raises(BtfError) as caught:
        btf.validate()
    assert caught.value.code == code
    assert text in caught.value.message


CIRCLES = {
    "typedefs": [1, info(8), 2, 1, info(8), 1],
    "itself": [0, info(10), 1],
    "pointers": [0, info(2), 2, 0, info(10), 1],
    "prototype": [0, info(2), 2, 0, info(13, 1), 0, 0, 1],
    "struct": [*INT, 1, info(4, 1), 8, 0, 2, 0],
    "array": [*INT, 1, info(4, 1), 4, 1, 3, 0, 0, info(3), 0, 2, 1, 1],
}


@pytest.mark.parametrize("name", sorted(CIRCLES))
def test_cyclic_types_end(name):
    words = CIRCLES[name]
    btf = Btf.from_bytes(blob(words, b"\0x\0"))
    with pytest.raises(BtfError) as caught:
        btf.validate()
    assert caught.value.code == "BTF010"
    use_everything(btf)


def test_deep_nesting_ends():
    depth = 3000
    chain = [*INT]
    for type_id in range(1, depth):
        chain += [0, info(10), type_id]
    btf = Btf.from_bytes(blob(chain))
    for ask in (btf.resolve, btf.sizeof, btf.alignof, btf.c_type_name):
        with pytest.raises(BtfError, match="BTF011"):
            ask(btf.end_id - 1)
    nested = [*INT]
    for type_id in range(1, depth):
        nested += [0, info(4, 1), 4, 0, type_id, 0]
    btf = Btf.from_bytes(blob(nested))
    last = btf.end_id - 1
    for ask in (btf.alignof, btf.c_dump, lambda i: list(btf.flat_members(i)), lambda i: btf.find_member(i, "x")):
        with pytest.raises(BtfError, match="BTF011"):
            ask(last)
    assert BtfBuilder().copy(btf, last) == last, "copying needs no recursion"


def test_long_pointer_chains_are_copied():
    words = [*INT]
    for type_id in range(1, 5000):
        words += [0, info(2), type_id]
    btf = Btf.from_bytes(blob(words))
    assert BtfBuilder().copy(btf, btf.end_id - 1) == btf.end_id - 1


def test_exponentially_large_text_ends():
    words = [*INT]
    for type_id in range(1, 60):
        words += [0, info(5, 2), 4, 0, type_id, 0, 0, type_id, 0]
    btf = Btf.from_bytes(blob(words))
    last = btf.end_id - 1
    for ask in (btf.c_dump, lambda i: list(btf.flat_members(i))):
        with pytest.raises(BtfError, match="BTF011"):
            ask(last)
    with pytest.raises(BtfError, match="BTF023"):
        btf.find_member(last, "nothing")
    assert btf.alignof(last) == 4
    assert BtfBuilder().copy(btf, last)


def test_ids_outside_are_refused(sample):
    btf, _ = sample
    for type_id in (btf.end_id, -1, 1 << 40):
        for ask in (btf.by_id, btf.kind_of, btf.name_of, btf.sizeof):
            with pytest.raises(BtfError, match="BTF008"):
                ask(type_id)
    for offset in (btf.str_end, -1):
        with pytest.raises(BtfError, match="BTF006"):
            btf.string(offset)


def test_split_btf_read_alone_is_refused(sample):
    base, _ = sample
    builder = BtfBuilder(base)
    builder.add(BUILDER.get(IDS["walk"]))
    data = builder.to_bytes()
    with pytest.raises(BtfError):
        Btf.from_bytes(data).validate()


def test_every_truncation_is_refused():
    for length in range(len(GOOD)):
        with pytest.raises(BtfError) as caught:
            Btf.from_bytes(GOOD[:length])
        assert caught.value.code in ("BTF001", "BTF003")


@SMALL
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    with pytest.raises(BtfError):
        Btf.from_bytes(data)


@SMALL
@given(
    st.lists(st.integers(0, 0xFFFFFFFF) | st.integers(0, 40) | st.builds(info, st.integers(0, 20), st.integers(0, 3)))
)
def test_random_type_sections(words):
    try:
        btf = Btf.from_bytes(blob(words, b"\0node\0walk\0RED\0"))
    except BtfError:
        return
    use_everything(btf)


@SMALL
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutated_btf(changes):
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    try:
        btf = Btf.from_bytes(data)
    except BtfError:
        return
    use_everything(btf)


@SMALL
@given(
    st.lists(st.tuples(st.integers(0, len(EXT) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, len(EXT)),
)
def test_mutated_ext(changes, length):
    btf = Btf.from_bytes(GOOD)
    data = bytearray(EXT)
    for at, value in changes:
        data[at] = value
    for candidate in (data, data[:length]):
        try:
            ext = BtfExt.from_bytes(candidate, btf)
        except BtfError as error:
            assert error.hint
        else:
            for section in ext.sections():
                for row in ext.func_info(section):
                    assert btf.kind_of(row.type_id) == 12


@SMALL
@given(st.binary(max_size=120))
def test_random_ext(data):
    btf = Btf.from_bytes(GOOD)
    with pytest.raises(BtfError):
        BtfExt.from_bytes(data, btf)
    try:
        BtfExt.from_bytes(EXT[:8] + data, btf)
    except BtfError as error:
        assert error.code in ("BTF006", "BTF040", "BTF041", "BTF042")
