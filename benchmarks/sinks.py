"""Sinks: rows of five columns per CPU second, from a stream's tuples to the bytes of the output.

Claims: text and JSON lines at least twice as many as ``json.dumps`` of a dict for each row, the way that offers itself;
the target for text is 300,000. Columns: a number, a name, a time shown in microseconds, a result, a path. Rounds are
interleaved, medians compared. Arrow and Parquet are measured where pyarrow is installed, from numpy batches.

    benchmarks/sinks.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

from osmia.object.layout import S32, U32, U64, Char, Struct
from osmia.runtime.formats import column
from osmia.runtime.sinks import CsvSink, JsonSink, Sink, TextSink, open_sink

EVENT = Struct.of("opens", [("pid", U32), ("comm", Char(16)), ("took_ns", U64), ("ret", S32), ("path", Char(64))])
COLUMNS = [column(field.name, field.type, "us" if field.name == "took_ns" else "") for field in EVENT.fields]
ROWS = [(n, f"cat{n % 10}", n * 1000, n % 7, f"/etc/hostname{n}") for n in range(4096)]
NAMES = [field.name for field in EVENT.fields]


def by_sink(kind: Callable[[io.StringIO], Sink]) -> Callable[[], None]:
    def write() -> None:
        sink = kind(io.StringIO())
        sink.stream("opens", COLUMNS)
        sink.rows("opens", ROWS)

    return write


def by_dumps() -> None:
    out = io.StringIO()
    for row in ROWS:
        out.write(json.dumps({"event": "opens", **dict(zip(NAMES, row, strict=True))}) + "\n")


def by_arrow(form: str, folder: str) -> Callable[[], None]:
    import numpy

    batch = numpy.frombuffer(b"".join(map(EVENT.pack, ROWS)), numpy.dtype(EVENT.dtype()))

    def write() -> None:
        sink = open_sink(form, f"{folder}/rows.{form}")
        sink.stream("opens", COLUMNS)
        sink.batch("opens", batch)
        sink.close()

    return write


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    ways: dict[str, Callable[[], None]] = {
        "text": by_sink(TextSink),
        "JSON lines": by_sink(JsonSink),
        "json.dumps for each row": by_dumps,
        "CSV": by_sink(CsvSink),
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            import pyarrow
        except ImportError:
            print(f"Python {sys.version.split()[0]}; medians of {rounds} rounds; without Arrow and Parquet: no pyarrow")
        else:
            print(f"Python {sys.version.split()[0]}; pyarrow {pyarrow.__version__}; medians of {rounds} rounds")
            ways["Arrow, from batches"] = by_arrow("arrow", folder)
            ways["Parquet, from batches"] = by_arrow("parquet", folder)
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, write in ways.items():
                started = time.process_time()
                write()
                found.setdefault(name, []).append(len(ROWS) / (time.process_time() - started))
    rates = {name: statistics.median(values) for name, values in found.items()}
    for name, rate in rates.items():
        print(f"{name:<26} {rate:>10,.0f} rows per CPU second")
    text, lines = (rates[name] / rates["json.dumps for each row"] for name in ("text", "JSON lines"))
    print(f"text / json.dumps {text:.2f}; JSON lines / json.dumps {lines:.2f}")
    good = text >= 2 and lines >= 2
    print("claims hold" if good else "claims do NOT hold")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
