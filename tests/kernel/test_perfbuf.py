"""Perf buffers: live, on the CPU that runs the test."""

import os
import struct

import pytest

from osmia.diagnostics import MapError, RunError
from osmia.kernel.perfbuf import PerfReader
from osmia.object.layout import U32, U64, Struct
from osmia.object.spec import MapSpec

pytestmark = pytest.mark.kernel
EMIT = """
    r6 = r1
    call ktime_get_ns
    *(u64 *)(r10 - 16) = r0
    *(u64 *)(r10 - 8) = {number}
    r1 = r6
    r2 = map[events] ll
    w3 = -1
    r4 = r10
    r4 += {start}
    r5 = {size}
    call perf_event_output
    exit
"""
STAMP = Struct.of("stamp", [("time", U64), ("number", U64)])
ODD = Struct("odd", [STAMP.fields[0]], 8, 8)


@pytest.fixture
def emit(kit):
    """A function that makes a program and a reader."""

    def make(number=1, size=16, pages=4):
        text = EMIT.format(number=number, size=size, start=-16)
        events = MapSpec("events", "perf_event_array", key=U32, value_size=4)
        loaded = kit.load(kit.spec("emit", "socket_filter", text, maps=[events]))
        return loaded.programs["emit"], kit.keep(PerfReader(loaded.maps["events"], pages=pages))

    return make


def test_records(emit):
    program, reader = emit(number=5)
    assert not reader.poll(0) and reader.pending == 0
    program.test_run(bytes(64), repeat=20)
    assert reader.poll(1) and reader.fill > 0
    rows = list(reader.read_tuples(STAMP))
    assert len(rows) == 20 and all(number == 5 for _, number in rows) and reader.records == 20 and reader.lost == 0
    assert reader.pending == 0


@pytest.mark.parametrize("way", ["batches", "tuples", "raw", "drain"])
def test_wrapping_loses_nothing(emit, way):
    program, reader = emit(number=7, pages=1)
    last, total = 0, 0
    for _ in range(60):
        program.test_run(bytes(64), repeat=50)
        if way == "batches":
            times = [int(t) for batch in reader.read_batches(STAMP) for t in batch["time"]]
        elif way == "tuples":
            times = [row[0] for row in reader.read_tuples(STAMP)]
        elif way == "raw":
            times = [struct.unpack_from("<Q", view)[0] for view in reader.read_raw()]
        else:
            times = []
            reader.drain(lambda batch, times=times: times.extend(int(t) for t in batch["time"]), STAMP)
        assert len(times) == 50
        if os.cpu_count() == 1:
            assert times == sorted(times) and times[0] > last
            last = times[-1]
        total += len(times)
    assert reader.records == total == 3000 and reader.lost == 0


def test_lost_records_are_counted(emit):
    program, reader = emit(pages=1)
    program.test_run(bytes(64), repeat=1000)
    first = len(list(reader.read_tuples(STAMP)))
    program.test_run(bytes(64), repeat=10)  # the kernel tells of the loss with the next record that fits
    rest = len(list(reader.read_tuples(STAMP)))
    assert first < 200 and reader.lost > 0 and first + rest + reader.lost == 1010


def test_records_of_another_size(emit):
    program, reader = emit()
    program.test_run(bytes(64), repeat=2)
    with pytest.raises(RunError) as caught:
        list(reader.read_tuples(U64))
    assert caught.value.code == "KRN041"
    with pytest.raises(RunError) as caught:
        list(reader.read_batches(ODD))
    assert caught.value.code == "KRN041"


def test_sizes_that_the_kernel_pads(emit):
    program, reader = emit(number=9, size=12)
    layout = Struct("s", STAMP.fields[:1], 12, 4)
    program.test_run(bytes(64), repeat=3)
    assert len([row for batch in reader.read_batches(layout) for row in batch.tolist()]) == 3
    program.test_run(bytes(64), repeat=2)
    assert [len(view) for view in reader.read_raw()] == [12, 12]


def test_a_kept_array_is_an_error(emit):
    program, reader = emit()
    program.test_run(bytes(64), repeat=3)
    kept = []
    with pytest.raises(RunError) as caught:
        reader.drain(kept.append, STAMP)
    assert caught.value.code == "KRN040"
    kept.clear()


def test_kept_arrays_survive_close(emit):
    program, reader = emit(number=4)
    program.test_run(bytes(64), repeat=3)
    kept = next(iter(reader.read_batches(STAMP)))
    reader.close()
    assert kept["number"][0] == 4
    with pytest.raises(RunError):
        reader.fileno()


def test_other_maps_are_refused(kit):
    with pytest.raises(MapError) as caught:
        PerfReader(kit.map("ringbuf", max_entries=4096))
    assert caught.value.code == "MAP004"


def test_skip(emit):
    program, reader = emit()
    program.test_run(bytes(64), repeat=30)
    assert reader.skip(STAMP) == 30
    program.test_run(bytes(64), repeat=3)
    assert reader.skip() == 3
