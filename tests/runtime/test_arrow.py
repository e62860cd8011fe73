"""Arrow and Parquet files: types by layout, batches without Python values, rows as well."""

import os
import time

import numpy
import pytest

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'osmia[arrow]'")

import pyarrow.ipc  # noqa: E402, F811
import pyarrow.parquet  # noqa: E402

from osmia.diagnostics import RunError, UsageError  # noqa: E402
from osmia.object.layout import (  # noqa: E402
    BOOL,
    S8,
    S64,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes,
    Char,
    Enum,
    Struct,
)
from osmia.runtime.formats import column  # noqa: E402
from osmia.runtime.sinks import open_sink  # noqa: E402

STATE = Enum("state", U8, [("ON", 1), ("OFF", 2)])
INNER = Struct.of("inner", [("small", U8), ("name", Char(4))])
EVENT = Struct.of(
    "event",
    [
        ("number", U64), ("delta", S64), ("flag", BOOL), ("name", Char(16)), ("raw", Bytes(3)), ("state", STATE),
        ("inner", INNER), ("few", Array(U16, 3)), ("pairs", Array(INNER, 2)), ("grid", Array(Array(S8, 2), 2)),
        ("names", Array(Char(4), 2)),
    ],
)  # fmt: skip
ROWS = [
    (
        2**64 - 1,
        -5,
        True,
        "cat",
        b"\1\0\2",
        1,
        (1, "ab"),
        [1, 2, 3],
        [(3, "c"), (4, "d")],
        [[-1, 2], [3, 4]],
        ["a", ""],
    ),
    (0, 2**62, False, "", b"abc", 9, (2, "wxyz"), [4, 5, 6], [(5, ""), (6, "f")], [[5, 6], [7, -8]], ["bcde", "f"]),
]
EXPECTED = [
    {
        "number": row[0], "delta": row[1], "flag": row[2], "name": row[3], "raw": row[4],
        "state": {1: "ON"}.get(row[5], str(row[5])), "inner": dict(zip(("small", "name"), row[6], strict=True)),
        "few": row[7], "pairs": [dict(zip(("small", "name"), pair, strict=True)) for pair in row[8]], "grid": row[9],
        "names": row[10],
    }
    for row in ROWS
]  # fmt: skip


def batch(layout, rows):
    return numpy.frombuffer(b"".join(map(layout.pack, rows)), numpy.dtype(layout.dtype()))


def columns(layout, **displays):
    return [column(field.name, field.type, displays.get(field.name, "")) for field in layout.fields]


def read(path):
    if str(path).endswith(".parquet"):
        return pyarrow.parquet.read_table(path)
    with pyarrow.ipc.open_file(str(path)) as file:
        return file.read_all()


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("way", ["batch", "rows", "both"])
def test_every_kind_of_field(tmp_path, ending, way):
    path = tmp_path / f"out.{ending}"
    sink = open_sink(ending, str(path))
    sink.stream("events", columns(EVENT))
    if way != "rows":
        sink.batch("events", batch(EVENT, ROWS))
    if way != "batch":
        sink.rows("events", ROWS)
    sink.close()
    table = read(path)
    assert table.to_pylist() == EXPECTED * (2 if way == "both" else 1)
    kinds = {field.name: field.type for field in table.schema}
    assert kinds["number"] == pyarrow.uint64()
    assert kinds["delta"] == pyarrow.int64()
    assert kinds["flag"] == pyarrow.bool_()
    assert kinds["raw"] == pyarrow.binary(3)
    assert kinds["name"] == kinds["state"] == pyarrow.string()
    assert pyarrow.types.is_fixed_size_list(kinds["few"])


def test_a_batch_is_not_kept(tmp_path):
    sink = open_sink("parquet", str(tmp_path / "out.parquet"))
    sink.stream("events", columns(EVENT))
    data = bytearray(b"".join(map(EVENT.pack, ROWS)))
    sink.batch("events", numpy.frombuffer(data, numpy.dtype(EVENT.dtype())))
    data[:] = bytes(len(data))  # as the ring does with what was consumed
    sink.close()
    assert read(tmp_path / "out.parquet").to_pylist() == EXPECTED


def test_records_that_lie_apart(tmp_path):
    layout = Struct.of("plain", [("number", U64), ("name", Char(8))])
    stride = layout.size + 8
    data = b"".join(bytes(8) + layout.pack((n, f"n{n}")) for n in range(100))
    view = numpy.ndarray((100,), numpy.dtype(layout.dtype()), data, 8, (stride,))
    sink = open_sink("arrow", str(tmp_path / "out.arrow"))
    sink.stream("plain", columns(layout))
    sink.batch("plain", view)
    sink.close()
    assert read(tmp_path / "out.arrow").to_pylist() == [{"number": n, "name": f"n{n}"} for n in range(100)]


def test_names_instead_of_numbers_as_in_json(tmp_path):
    layout = Struct.of("named", [("signal", U32), ("address", Bytes(16)), ("took", U64), ("flags", U32)])
    rows = [(9, bytes(15) + b"\1", 1500, 255), (15, bytes(10) + b"\xff\xff\x0a\0\0\1", 2, 0)] * 100
    sink = open_sink("parquet", str(tmp_path / "out.parquet"))
    sink.stream("named", columns(layout, signal="signal", address="ip", took="us", flags="hex"))
    sink.batch("named", batch(layout, rows))
    sink.rows("named", rows[:2])
    sink.close()
    found = read(tmp_path / "out.parquet").to_pylist()
    first = {"signal": "SIGKILL", "address": "::1", "took": 1500, "flags": "0xff"}
    second = {"signal": "SIGTERM", "address": "10.0.0.1", "took": 2, "flags": "0x0"}
    assert found == [first, second] * 101


def test_times_are_timestamps(tmp_path):
    layout = Struct.of("timed", [("at", U64)])
    sink = open_sink("parquet", str(tmp_path / "out.parquet"))
    sink.stream("timed", columns(layout, at="time"))
    now = time.monotonic_ns()
    sink.batch("timed", batch(layout, [(now,)]))
    sink.rows("timed", [(now,)])
    sink.close()
    table = read(tmp_path / "out.parquet")
    assert pyarrow.types.is_timestamp(table.schema.field("at").type)
    for value in table.column("at").cast(pyarrow.int64()).to_pylist():
        assert abs(value - time.time_ns()) < 60_000_000_000


def test_texts_that_are_no_utf8_are_escaped(tmp_path):
    layout = Struct.of("text", [("text", Char(4))])
    raw = [b"ab\xff\0", b"\xc3\0\0\0", b"\xa9\0\0\0", b"\xc3\xa9\0\0", b"wxyz", b"a\0bc"]
    sink = open_sink("parquet", str(tmp_path / "out.parquet"))
    sink.stream("text", columns(layout))
    sink.batch("text", numpy.frombuffer(b"".join(raw), numpy.dtype(layout.dtype())))
    sink.close()
    found = read(tmp_path / "out.parquet").column("text").to_pylist()
    assert found == ["ab\\xff", "\\xc3", "\\xa9", "\N{LATIN SMALL LETTER E WITH ACUTE}", "wxyz", "a"]


def test_texts_end_at_their_first_nul(tmp_path):
    layout = Struct.of("text", [("number", U8), ("text", Char(4))])
    raw = b"\0a\0bc\0\0xyz\0wxyz\0\0\0\0\0"
    sink = open_sink("arrow", str(tmp_path / "out.arrow"))
    sink.stream("text", columns(layout))
    sink.batch("text", numpy.frombuffer(raw, numpy.dtype(layout.dtype())))
    sink.close()
    assert read(tmp_path / "out.arrow").column("text").to_pylist() == ["a", "", "wxyz", ""]


def test_more_rows_than_a_group(tmp_path):
    layout = Struct.of("plain", [("number", U32)])
    sink = open_sink("parquet", str(tmp_path / "out.parquet"))
    sink.stream("plain", columns(layout))
    for start in range(0, 200_000, 4_000):
        sink.batch("plain", numpy.arange(start, start + 4_000, dtype="<u4").view([("number", "<u4")]))
    sink.close()
    assert read(tmp_path / "out.parquet").column("number").to_pylist() == list(range(200_000))
    assert pyarrow.parquet.ParquetFile(tmp_path / "out.parquet").num_row_groups >= 3


def test_each_stream_and_table_has_its_file(tmp_path):
    sink = open_sink("parquet", str(tmp_path / "out.parquet"))
    layout = Struct.of("plain", [("number", U32)])
    sink.stream("first", columns(layout))
    sink.stream("second/../x", columns(layout))
    sink.stream("second_.._x", columns(layout))
    sink.rows("first", [(1,)])
    sink.histogram("sizes", "bytes", [(0, 1, 5), (-4, -2, 6)])
    sink.close()
    assert sorted(os.listdir(tmp_path)) == [
        "out.parquet", "out.second_.._x-2.parquet", "out.second_.._x.parquet", "out.sizes.parquet",
    ]  # fmt: skip
    assert read(tmp_path / "out.sizes.parquet").to_pylist() == [
        {"low": 0, "high": 1, "count": 5}, {"low": -4, "high": -2, "count": 6},
    ]  # fmt: skip
    empty = read(tmp_path / "out.second_.._x.parquet")
    assert empty.num_rows == 0
    assert empty.schema.field("number").type == pyarrow.uint32()


def test_tables_of_a_programs_own_values(tmp_path):
    from osmia.runtime.views import show_rows

    sink = open_sink("parquet", str(tmp_path / "out.parquet"))
    show_rows(sink, "own", ["name", "share", "count"], [("a", 0.5, 2**63), ("b", 1.5, 1)], {})
    show_rows(sink, "own", ["name", "share", "count"], [("c", 2.5, 3)], {})
    sink.close()
    assert read(tmp_path / "out.parquet").to_pylist() == [
        {"name": "a", "share": 0.5, "count": 2**63},
        {"name": "b", "share": 1.5, "count": 1},
        {"name": "c", "share": 2.5, "count": 3},
    ]


def test_a_value_of_another_type_is_an_error(tmp_path):
    from osmia.runtime.views import show_rows

    sink = open_sink("parquet", str(tmp_path / "out.parquet"))
    show_rows(sink, "own", ["size"], [(1,)], {})
    sink._write(sink._parts["own"])
    show_rows(sink, "own", ["size"], [("unknown",)], {})
    with pytest.raises(RunError) as caught:
        sink.close()
    assert caught.value.code == "RUN017"
    assert "size" in caught.value.message


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(UsageError) as caught:
        open_sink("parquet", "/no/such/folder/x.parquet")
    assert caught.value.code == "RUN014"
    with pytest.raises(UsageError) as caught:
        open_sink("parquet", str(tmp_path / "x.txt"))
    assert caught.value.code == "RUN013"


def test_a_full_disk_is_an_error_of_its_own(tmp_path):
    os.symlink("/dev/full", tmp_path / "out.arrow")
    sink = open_sink("arrow", str(tmp_path / "out.arrow"))
    sink.stream("events", columns(EVENT))
    sink.rows("events", ROWS * 10_000)
    with pytest.raises(UsageError) as caught:
        sink.close()
    assert caught.value.code == "RUN014"
    assert "out.arrow" in caught.value.message


def test_nothing_written_leaves_no_file(tmp_path):
    open_sink("parquet", str(tmp_path / "out.parquet")).close()
    assert os.listdir(tmp_path) == []
