"""Ring buffers: on a ring made by hand, where every state can be set up, and on live ones."""

import mmap
import os
import struct
import threading
import time

import numpy
import pytest

from osmia.diagnostics import MapError, RunError
from osmia.kernel.maps.base import Map
from osmia.kernel.ringbuf import BUSY, DISCARDED, RingReader
from osmia.object.layout import U8, U16, U32, U64, Array, Char, Struct

PAGE = mmap.PAGESIZE
EVENT = Struct.of("event", [("a", U64), ("b", U32), ("c", U16), ("d", U8)])  # 16 bytes
ODD = Struct("odd", EVENT.fields[:2], 12, 4)  # a record of 12 bytes is padded to 16


class HandRing:
    """The memory of a ring buffer as the kernel lays it out, filled by the test."""

    def __init__(self, size=PAGE, start=0):
        self.size = size
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + 2 * size)
        self.memory = mmap.mmap(self.fd, 2 * PAGE + 2 * size)
        self.produced = start
        struct.pack_into("Q", self.memory, 0, start)
        struct.pack_into("Q", self.memory, PAGE, start)
        self.map = Map(os.dup(self.fd), "hand", "ringbuf", key_size=0, value_size=0, max_entries=size)

    @property
    def consumed(self):
        return struct.unpack_from("Q", self.memory, 0)[0]

    def put(self, data, flags=0, publish=True):
        record = struct.pack("II", len(data) | flags, 0) + data
        record += bytes(-len(record) % 8)
        for index, byte in enumerate(record):
            place = (self.produced + index) % self.size
            self.memory[2 * PAGE + place] = byte
            self.memory[2 * PAGE + self.size + place] = byte
        before = self.produced
        self.produced += len(record)
        if publish:
            self.publish()
        return before

    def flags(self, position, flags, size):
        for base in (0, self.size):
            struct.pack_into("I", self.memory, 2 * PAGE + base + position % self.size, size | flags)

    def publish(self):
        struct.pack_into("Q", self.memory, PAGE, self.produced)

    def reader(self):
        return RingReader(self.map)

    def close(self):
        self.map.close()
        os.close(self.fd)


@pytest.fixture
def ring():
    made = HandRing()
    yield made
    made.close()


def event(number):
    return struct.pack("<QIHB", number, number * 2, number * 3, number % 256).ljust(16, b"\0")


def read(reader, way):
    """The ``a`` of every record, read in one of the ways."""
    if way == "batches":
        return [int(a) for batch in reader.read_batches(EVENT) for a in batch["a"]]
    if way == "tuples":
        return [row[0] for row in reader.read_tuples(EVENT)]
    if way == "raw":
        return [int.from_bytes(view[:8], "little") for view in reader.read_raw()]
    found = []
    reader.drain(lambda batch: found.extend(int(a) for a in batch["a"]), EVENT)
    return found


WAYS = ["batches", "tuples", "raw", "drain"]


@pytest.mark.parametrize("way", WAYS)
def test_records_in_order(ring, way):
    reader = ring.reader()
    assert read(reader, way) == [] and reader.fill == 0
    for number in range(10):
        ring.put(event(number))
    assert reader.fill == 240 / PAGE and reader.pending == 240
    assert read(reader, way) == list(range(10))
    assert reader.records == 10 and reader.bytes_read == 160 and ring.consumed == 240 and reader.pending == 0
    reader.close()


@pytest.mark.parametrize("way", WAYS)
def test_wrapping_around(way):
    ring = HandRing(start=PAGE - 40)
    reader = ring.reader()
    expected = []
    for turn in range(40):
        numbers = range(turn * 100, turn * 100 + 100)
        for number in numbers:
            ring.put(event(number))
        expected += numbers
        assert read(reader, way) == list(numbers)
    assert reader.records == len(expected) and ring.consumed == ring.produced
    reader.close()
    ring.close()


@pytest.mark.parametrize("way", WAYS)
def test_reading_stops_at_a_record_being_written(ring, way):
    reader = ring.reader()
    ring.put(event(1))
    place = ring.put(event(2), BUSY)
    ring.put(event(3))
    assert read(reader, way) == [1] and ring.consumed == 24
    assert read(reader, way) == []
    ring.flags(place, 0, 16)
    assert read(reader, way) == [2, 3] and reader.pending == 0
    reader.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pattern", ["D", "D1", "1D", "1D2D3", "DD12DD", "1D" * 60, "D" * 50, "1" * 80 + "D" + "1" * 5])
def test_discarded_records_are_left_out(ring, way, pattern):
    reader = ring.reader()
    expected = []
    for number, kind in enumerate(pattern):
        ring.put(event(number), DISCARDED if kind == "D" else 0)
        if kind != "D":
            expected.append(number)
    assert read(reader, way) == expected
    assert reader.discarded == pattern.count("D") and reader.records == len(expected) and reader.pending == 0
    reader.close()


@pytest.mark.parametrize("way", WAYS)
def test_discarded_records_of_another_size(ring, way):
    reader = ring.reader()
    ring.put(event(1))
    ring.put(bytes(100), DISCARDED)
    ring.put(event(2))
    assert read(reader, way) == [1, 2] and reader.discarded == 1
    reader.close()


@pytest.mark.parametrize("way", ["batches", "tuples", "drain"])
def test_a_record_of_another_size_is_an_error(ring, way):
    reader = ring.reader()
    ring.put(event(1))
    ring.put(bytes(40))
    ring.put(event(2))
    found = []
    with pytest.raises(RunError) as caught:
        if way == "drain":
            reader.drain(lambda batch: found.extend(batch["a"].tolist()), EVENT)
        elif way == "tuples":
            found.extend(row[0] for row in reader.read_tuples(EVENT))
        else:
            for batch in reader.read_batches(EVENT):
                found.extend(batch["a"].tolist())
    assert caught.value.code == "KRN041" and "40 bytes" in caught.value.message
    assert [len(view) for view in reader.read_raw()] == [40, 16]
    reader.close()


def test_sizes_that_need_padding(ring):
    reader = ring.reader()
    for number in range(200):
        ring.put(struct.pack("<QI", number, number + 1))
        if number % 50 == 49:
            break
    assert [tuple(row) for batch in reader.read_batches(ODD) for row in batch.tolist()] == [
        (n, n + 1) for n in range(50)
    ]
    for number in range(3):
        ring.put(struct.pack("<QI", number, 9))
    assert list(reader.read_tuples(ODD)) == [(0, 9), (1, 9), (2, 9)]
    reader.close()


def test_nested_layouts(ring):
    layout = Struct.of("n", [("pid", U32), ("comm", Char(8)), ("stack", Array(U64, 2)), ("in", EVENT)])
    reader = ring.reader()
    ring.put(layout.pack((7, "bash", [1, 2], (3, 4, 5, 6))))
    (batch,) = [b.copy() for b in reader.read_batches(layout)]
    assert batch["pid"][0] == 7 and batch["comm"][0] == b"bash" and list(batch["stack"][0]) == [1, 2]
    assert batch["in"]["b"][0] == 4
    reader.close()


def test_batches_lie_in_the_ring_and_are_read_only(ring):
    reader = ring.reader()
    for number in range(5):
        ring.put(event(number))
    for batch in reader.read_batches(EVENT):
        assert not batch.flags.writeable and not batch.flags.owndata
        assert ring.consumed == 0
    assert ring.consumed == 120
    reader.close()


def test_a_kept_array_is_an_error_and_nothing_is_lost(ring):
    reader = ring.reader()
    for number in range(5):
        ring.put(event(number))
    kept = []
    for keep in (
        lambda batch: kept.append(batch),
        lambda batch: kept.append(batch["a"]),
        lambda batch: kept.append(batch[1:]),
    ):
        with pytest.raises(RunError) as caught:
            reader.drain(keep, EVENT)
        assert caught.value.code == "KRN040" and "copy" in caught.value.hint
        assert ring.consumed == 0
        kept.clear()
    caught = None
    assert reader.drain(lambda batch: kept.append(batch.copy()), EVENT) == 5
    assert list(kept[0]["a"]) == [0, 1, 2, 3, 4]
    reader.close()


def test_an_array_kept_beyond_close_stays_readable(ring):
    reader = ring.reader()
    ring.put(event(9))
    kept = next(iter(reader.read_batches(EVENT)))
    reader.close()
    reader.close()
    assert kept["a"][0] == 9


def test_a_callback_that_fails_leaves_its_batch(ring):
    reader = ring.reader()
    ring.put(event(1))
    with pytest.raises(ZeroDivisionError):
        reader.drain(lambda batch: 1 // 0, EVENT)
    assert ring.consumed == 0 and read(reader, "tuples") == [1]
    reader.close()


def test_an_iterator_that_is_left_early_leaves_the_rest(ring):
    reader = ring.reader()
    for number in range(5):
        ring.put(event(number))
    records = reader.read_raw()
    assert int.from_bytes(next(records)[:8], "little") == 0
    records.close()
    assert read(reader, "raw")[-1] == 4
    reader.close()


def test_one_reader_at_a_time_and_none_when_closed(ring):
    reader = ring.reader()
    ring.put(event(1))
    first = reader.read_raw()
    next(first)
    with pytest.raises(RunError) as caught:
        list(reader.read_tuples(EVENT))
    assert caught.value.code == "KRN042"
    first.close()
    reader.close()
    for action in (lambda: reader.pending, lambda: list(reader.read_raw()), lambda: reader.poll(0)):
        with pytest.raises(RunError) as caught:
            action()
        assert caught.value.code == "KRN042"


def test_skip(ring):
    reader = ring.reader()
    for number in range(20):
        ring.put(event(number), DISCARDED if number == 3 else 0)
    assert reader.skip(EVENT) == 19 and reader.pending == 0
    for number in range(3):
        ring.put(event(number))
    assert reader.skip() == 3 and reader.records == 22 and reader.discarded == 1
    reader.close()


def test_steps_free_the_ring_while_reading():
    ring = HandRing(size=16 * PAGE)
    reader = ring.reader()
    for number in range(2000):
        ring.put(event(number))
    seen = []
    for batch in reader.read_batches(EVENT):
        seen.append((len(batch), ring.consumed))
    assert len(seen) >= 3 and seen[1][1] > 0 and sum(size for size, _ in seen) == 2000
    reader.close()
    ring.close()


@pytest.mark.parametrize("way", WAYS)
def test_on_machines_that_reorder(ring, way, monkeypatch):
    from osmia.kernel import ringbuf

    monkeypatch.setattr(ringbuf, "_STRONG", False)
    fence = ringbuf._make_fence()
    calls = []
    monkeypatch.setattr(ringbuf, "_fence", lambda: (fence(), calls.append(1)))
    reader = ring.reader()
    for number in range(5):
        ring.put(event(number))
    assert read(reader, way) == [0, 1, 2, 3, 4] and len(calls) >= 3
    reader.close()


def test_numpy_is_loaded_only_for_arrays():
    code = (
        "import sys, osmia.kernel.ringbuf, osmia.kernel.perfbuf\n"
        "banned = {'numpy', 'typing', 'dataclasses', 'inspect', 'ast', 'logging', 'subprocess', 'asyncio', 'rich'}\n"
        "print(sorted(banned & set(sys.modules)))"
    )
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Live rings


OUTPUT = """
    call ktime_get_ns
    *(u64 *)(r10 - 16) = r0
    *(u64 *)(r10 - 8) = {number}
    r1 = map[ring] ll
    r2 = r10
    r2 += -16
    r3 = 16
    r4 = 0
    call ringbuf_output
    exit
"""
STAMP = Struct.of("stamp", [("time", U64), ("number", U64)])


def live(kit, text, size=PAGE * 4):
    from osmia.object.spec import MapSpec

    loaded = kit.load(kit.spec("emit", "socket_filter", text, maps=[MapSpec("ring", "ringbuf", max_entries=size)]))
    return loaded.programs["emit"], kit.keep(RingReader(loaded.maps["ring"]))


@pytest.mark.kernel
def test_live_records(kit):
    program, reader = live(kit, OUTPUT.format(number=5))
    assert not reader.poll(0)
    program.test_run(bytes(64), repeat=100)
    assert reader.poll(0) and reader.pending == 2400
    rows = list(reader.read_tuples(STAMP))
    assert len(rows) == 100 and all(number == 5 for _, number in rows)
    assert [time for time, _ in rows] == sorted(time for time, _ in rows)


@pytest.mark.kernel
@pytest.mark.parametrize("way", ["batches", "tuples", "raw"])
def test_live_wrapping(kit, way):
    program, reader = live(kit, OUTPUT.format(number=7), size=PAGE)
    last = 0
    for _ in range(50):
        program.test_run(bytes(64), repeat=61)
        if way == "batches":
            times = numpy.concatenate([batch["time"].copy() for batch in reader.read_batches(STAMP)])
        elif way == "tuples":
            times = [row[0] for row in reader.read_tuples(STAMP)]
        else:
            times = [int.from_bytes(view[:8], "little") for view in reader.read_raw()]
        assert len(times) == 61 and times[0] > last and (numpy.diff(times) >= 0).all()
        last = times[-1]
    assert reader.records == 50 * 61


@pytest.mark.kernel
def test_a_full_ring_tells_the_program(kit):
    program, reader = live(kit, OUTPUT.format(number=7), size=PAGE)
    result = program.test_run(bytes(64), repeat=1000)
    assert result.signed == -11  # EAGAIN
    assert reader.fill > 0.98 and len(list(reader.read_tuples(STAMP))) == PAGE // 24
    assert program.test_run(bytes(64)).retval == 0


@pytest.mark.kernel
def test_live_reserve_submit_and_discard(kit):
    text = """
        call get_prandom_u32
        r6 = r0
        r6 &= 1
        r1 = map[ring] ll
        r2 = 16
        r3 = 0
        call ringbuf_reserve
        if r0 == 0 goto out
        *(u64 *)(r0 + 0) = r6
        *(u64 *)(r0 + 8) = 8
        r1 = r0
        r2 = 0
        if r6 == 0 goto drop
        call ringbuf_submit
        goto out
    drop:
        call ringbuf_discard
    out:
        r0 = 0
        exit
    """
    program, reader = live(kit, text, size=PAGE * 16)
    program.test_run(bytes(64), repeat=2000)
    total = sum(int(batch["time"].sum()) for batch in reader.read_batches(STAMP))
    assert total == reader.records and reader.records + reader.discarded == 2000
    assert 500 < reader.records < 1500 and reader.pending == 0


@pytest.mark.kernel
def test_poll_wakes_up_and_times_out(kit):
    program, reader = live(kit, OUTPUT.format(number=1))
    start = time.monotonic()
    assert not reader.poll(0.05)
    assert 0.04 < time.monotonic() - start < 2

    def later():
        time.sleep(0.05)
        program.test_run(bytes(64))

    thread = threading.Thread(target=later)
    thread.start()
    try:
        assert reader.poll(10)
    finally:
        thread.join()
    assert len(list(reader.read_raw())) == 1
    import select

    with select.epoll() as waiter:
        waiter.register(reader.fileno(), select.EPOLLIN)
        assert waiter.poll(0) == []
        program.test_run(bytes(64))
        assert waiter.poll(5)


@pytest.mark.kernel
def test_reading_while_programs_write(kit):
    program, reader = live(kit, OUTPUT.format(number=3), size=PAGE * 64)
    rounds, per_round = 30, 2000
    done = threading.Event()

    def produce():
        for _ in range(rounds):
            program.test_run(bytes(64), repeat=per_round)
            while reader.pending > reader.size // 2:
                time.sleep(0.0005)
        done.set()

    thread = threading.Thread(target=produce)
    thread.start()
    last, seen = 0, 0
    while not (done.is_set() and not reader.pending):
        reader.poll(0.1)
        for batch in reader.read_batches(STAMP):
            assert (batch["number"] == 3).all() and (numpy.diff(batch["time"].astype(numpy.int64)) >= 0).all()
            assert batch["time"][0] >= last
            last = int(batch["time"][-1])
            seen += len(batch)
    thread.join()
    assert seen == rounds * per_round == reader.records


@pytest.mark.kernel
def test_other_maps_are_refused(kit):
    m = kit.map("hash", key=U32, value=U64, max_entries=4)
    with pytest.raises(MapError) as caught:
        RingReader(m)
    assert caught.value.code == "MAP004"
