"""Formats, columns and sinks."""

import csv
import io
import json

import pytest

from osmia.diagnostics import UsageError
from osmia.object.layout import BOOL, S32, U32, U64, Array, Bytes, Char, Enum, Struct
from osmia.runtime.formats import FORMATS, column
from osmia.runtime.sinks import CsvSink, JsonSink, TextSink, open_sink

COLUMNS = [column("pid", U32), column("comm", Char(16)), column("took_ns", U64, "us"), column("ret", S32, "errno")]
ROWS = [(12, "cat", 1500, -2), (3456789, "a very long na", 2_000_000, 3)]


def test_text_is_aligned():
    out = io.StringIO()
    sink = TextSink(out)
    sink.stream("opens", COLUMNS)
    sink.rows("opens", ROWS)
    assert out.getvalue().splitlines() == [
        "    PID COMM               TOOK(US) RET",
        "     12 cat                     1.5 ENOENT",
        "3456789 a very long na       2000.0 0",
    ]


def test_headings_return_when_the_stream_changes():
    out = io.StringIO()
    sink = TextSink(out)
    sink.stream("a", [column("x", U32)])
    sink.stream("b", [column("y", U32)])
    sink.rows("a", [(1,)])
    sink.rows("a", [(2,)])
    sink.rows("b", [(3,)])
    sink.rows("a", [(4,)])
    assert [line.strip() for line in out.getvalue().splitlines()] == ["X", "1", "2", "Y", "3", "X", "4"]


def test_json_lines_parse_and_keep_raw_numbers():
    out = io.StringIO()
    sink = JsonSink(out)
    sink.stream("opens", COLUMNS)
    sink.rows("opens", [(1, 'quote " and \x1b', 1500, -13)])
    sink.table("counts", [column("key", Bytes(2)), column("value", U64)], [(b"\1\xff", 2**64 - 1)])
    sink.histogram("lat", "us", [(0, 1, 5)])
    sink.loss({"ring buffer full": 3})
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines == [
        {"event": "opens", "pid": 1, "comm": 'quote " and \x1b', "took_ns": 1500, "ret": "EACCES"},
        {"table": "counts", "key": "01ff", "value": 2**64 - 1},
        {"histogram": "lat", "unit": "us", "buckets": [{"low": 0, "high": 1, "count": 5}]},
        {"loss": {"ring buffer full": 3}},
    ]


def test_csv_quotes():
    out = io.StringIO()
    sink = CsvSink(out, io.StringIO())
    sink.stream("opens", COLUMNS)
    sink.rows("opens", [(1, 'a,"b', 5, 0)])
    assert list(csv.reader(io.StringIO(out.getvalue()))) == [["pid", "comm", "took_ns", "ret"], ["1", 'a,"b', "5", "0"]]


def test_loss_is_on_standard_error_for_text():
    out, errors = io.StringIO(), io.StringIO()
    TextSink(out, errors).loss({"ring buffer events full": 17})
    assert out.getvalue() == ""
    assert errors.getvalue() == "lost: 17 (ring buffer events full)\n"


def test_histogram_text():
    out = io.StringIO()
    TextSink(out).histogram("lat", "usecs", [(0, 1, 1), (2, 3, 4)])
    lines = out.getvalue().splitlines()
    assert lines[3].endswith(": 1          |" + "*" * 10 + " " * 30 + "|")
    assert lines[4].endswith(": 4          |" + "*" * 40 + "|")


def test_empty_table_says_so():
    out = io.StringIO()
    TextSink(out).table("counts", [column("key", U32)], [])
    assert "(empty)" in out.getvalue()


@pytest.mark.parametrize(
    ("layout", "display", "value", "text"),
    [
        (U32, "ip", int.from_bytes(bytes([127, 0, 0, 1]), "little"), "127.0.0.1"),
        (Bytes(16), "ip", bytes(10) + b"\xff\xff\x0a\0\0\1", "10.0.0.1"),
        (Bytes(16), "ip", bytes(15) + b"\1", "::1"),
        (U32, "signal", 15, "SIGTERM"),
        (U64, "hex", 255, "0xff"),
        (U64, "size", 1536, "1.5K"),
        (U32, "dev", (253 << 20) | 1, "253:1"),
        (U32, "tcp_state", 10, "LISTEN"),
        (Bytes(6), "mac", bytes(range(6)), "00:01:02:03:04:05"),
        (Array(U32, 2), "", [1, 2], "[1, 2]"),
        (Struct.of("pair", [("a", U32), ("b", U64)]), "", (1, 2), "a=1 b=2"),
        (Struct.of("tuple", [("_0", U32), ("_1", U64)]), "", (1, 2), "1, 2"),
        (Enum("verdict", U32, [("DROP", 1)]), "", 1, "DROP"),
        (Enum("verdict", U32, [("DROP", 1)]), "", 9, "9"),
    ],
)
def test_formats(layout, display, value, text):
    assert column("x", layout, display).text(value) == text


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        column("x", U64, "hexx")
    assert caught.value.code == "RUN011"
    assert "hex" in (caught.value.hint or "")


def test_every_format_is_documented_by_its_row():
    assert all(callable(row[0]) and row[3] > 0 for row in FORMATS.values())


def test_unwritable_output():
    with pytest.raises(UsageError) as caught:
        open_sink("json", "/no/such/folder/x.json")
    assert caught.value.code == "RUN014"


def test_parquet_needs_a_file():
    with pytest.raises(UsageError) as caught:
        open_sink("parquet")
    assert caught.value.code == "RUN013"


HOSTILE = "a\x1b[2J\nb\tc\x9b%s"


def test_text_shows_control_characters_and_stays_in_its_line():
    out = io.StringIO()
    sink = TextSink(out)
    columns = [column("pid", U32), column("name", Char(32)), column("last", U32)]
    sink.stream("opens", columns)
    sink.rows("opens", [(1, "plain", 2), (3, HOSTILE, 4)])
    sink.table("counts", columns, [(5, HOSTILE, 6)])
    sink.lines("counts", columns, [(7, HOSTILE, 8)])
    sink.text(HOSTILE.replace("\n", ""))
    lines = out.getvalue().splitlines()
    shown = "a\\x1b[2J\\nb\\tc\\x9b%s"
    assert lines[1].split() == ["1", "plain", "2"]
    assert lines[2].split() == ["3", shown, "4"]
    assert lines[-3].split() == ["5", shown, "6"]
    assert lines[-2] == f"7 {shown} 8"
    assert lines[-1] == "a\\x1b[2Jb\tc\\x9b%s"


def test_no_rows_print_no_lines():
    for kind in (TextSink, JsonSink, CsvSink):
        out = io.StringIO()
        sink = kind(out)
        sink.stream("opens", COLUMNS)
        sink.rows("opens", [])
        assert len(out.getvalue().splitlines()) <= 1


def test_json_escapes_names_and_nested_values():
    out = io.StringIO()
    sink = JsonSink(out)
    pair = Struct.of("pair", [("a", U32), ("b", Bytes(2))])
    sink.stream('odd "%s"', [column("x%d", pair), column("y", Array(U32, 2)), column("z", BOOL)])
    sink.rows('odd "%s"', [((1, b"\1\2"), [3, 4], True)])
    assert json.loads(out.getvalue()) == {
        "event": 'odd "%s"', "x%d": {"a": 1, "b": "0102"}, "y": [3, 4], "z": True,
    }  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_a_full_disk_is_an_error_of_its_own(form):
    sink = open_sink(form, "/dev/full")
    sink.stream("opens", COLUMNS)
    with pytest.raises(UsageError) as caught:
        for _ in range(3):
            sink.rows("opens", ROWS * 1000)
        sink.flush()
    assert caught.value.code == "RUN014"
    assert "/dev/full" in caught.value.message
