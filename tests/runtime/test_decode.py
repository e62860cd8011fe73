"""The compiled decoding of records gives what the layouts themselves give."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.object.layout import BOOL, S16, S64, U8, U32, U64, Array, Bytes, Char, Enum, Field, Int, Struct
from osmia.runtime.decode import Decoder, decoded

SCALARS = [BOOL, S16, S64, U8, U32, U64, Enum("state", U8, [("ON", 1)]), Char(1), Char(16), Char(40), Bytes(5)]
LAYOUTS = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        st.builds(Array, inner, st.integers(1, 3)),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda parts: Struct.of("inner", [(f"f{at}", part) for at, part in enumerate(parts)])
        ),
    ),
    max_leaves=6,
)
EVENTS = st.lists(LAYOUTS, min_size=1, max_size=5).map(
    lambda parts: Struct.of("event", [(f"f{at}", part) for at, part in enumerate(parts)])
)


def flat(layout, data):
    return struct.unpack("=" + layout.format(), data)


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.data())
def test_rows_are_what_the_layout_unpacks(layout, data):
    records = [data.draw(st.binary(min_size=layout.size, max_size=layout.size)) for _ in range(3)]
    decoder = Decoder(layout)
    assert decoder.regular
    expected = [layout.unpack(record) for record in records]
    assert list(decoder.unpack(b"".join(records))) == expected
    assert list(decoder.rows(flat(layout, record) for record in records)) == expected
    assert list(decoder.singles(record + b"\0\0\0" for record in records)) == expected


@settings(max_examples=100, deadline=None)
@given(EVENTS, st.data())
def test_chosen_fields_in_the_layouts_order(layout, data):
    fields = [at for at in range(len(layout.fields)) if data.draw(st.booleans())]
    record = data.draw(st.binary(min_size=layout.size, max_size=layout.size))
    row = tuple(layout.unpack(record)[at] for at in fields)
    decoder = Decoder(layout, fields)
    assert list(decoder.unpack(record)) == [row]
    assert list(decoder.singles([record])) == [row]


def test_factories_make_objects_at_every_depth():
    inner = Struct.of("inner", [("a", U8), ("b", Char(3))], factory=lambda *values: ("inner", *values))
    layout = Struct.of("event", [("one", inner), ("many", Array(inner, 2)), ("n", U32)])
    record = layout.pack(((1, "x"), [(2, "y"), (3, "z")], 4))
    decoder = Decoder(layout, factory=lambda *values: ["event", *values])
    expected = ["event", ("inner", 1, "x"), [("inner", 2, "y"), ("inner", 3, "z")], 4]
    assert list(decoder.unpack(record)) == [expected]
    assert list(decoder.singles([record])) == [expected]
    bare = Decoder(layout)
    assert list(bare.unpack(record)) == [((1, "x"), [(2, "y"), (3, "z")], 4)]
    assert list(bare.singles([record])) == [((1, "x"), [(2, "y"), (3, "z")], 4)]


def test_bitfields_and_unions_are_not_regular():
    bits = Struct("bits", [Field("low", U32, 0, 0, 5), Field("high", U32, 0, 5, 27)], 4, 4)
    union = Struct("either", [Field("a", U32, 0), Field("b", Int(32, True), 0)], 4, 4)
    for layout, record, row in ((bits, (21 | 1000 << 5), (21, 1000)), (union, 0xFFFFFFFF, (0xFFFFFFFF, -1))):
        decoder = Decoder(layout)
        assert not decoder.regular
        assert list(decoder.singles([record.to_bytes(4, "little")])) == [row]


def test_more_names_than_are_remembered():
    layout = Struct.of("named", [("number", U64), ("name", Char(16))])
    rows = [(number, f"name{number}") for number in range(10_000)]
    decoder = Decoder(layout)
    data = b"".join(map(layout.pack, rows))
    assert list(decoder.unpack(data)) == rows
    assert list(decoder.unpack(data)) == rows


def test_bytes_that_are_no_text_are_escaped():
    assert decoded(b"a\xffb\0c") == "a\\xffb"
    assert decoded(b"") == ""
