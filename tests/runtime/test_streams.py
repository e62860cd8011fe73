"""Streams over live ring and perf buffers: every record arrives, once, as what it is; what is lost is counted."""

import io
import json
import threading
import time

import pytest

from osmia import Array, Bytes, Char, Program, s32, u8, u16, u32, u64
from osmia.abi import helpers, prog_types
from osmia.diagnostics import RunError, UsageError
from osmia.isa.assembler import assemble
from osmia.isa.instruction import encode_program
from osmia.object.layout import S8, U8, U16, U32, U64, Field, Struct
from osmia.object.layout import Bytes as BytesLayout
from osmia.object.layout import Char as CharLayout
from osmia.object.spec import CollectionSpec, EventSchema, MapSpec, ProgramSpec, Reloc
from osmia.runtime.options import RunOptions
from osmia.runtime.session import Session
from osmia.runtime.sinks import CsvSink, JsonSink, Sink, TextSink
from osmia.runtime.streams import breath

pytestmark = pytest.mark.kernel

LOOKUP = """
    r7 = r1
    *(u32 *)(r10 - 4) = 0
    r2 = r10
    r2 += -4
    r1 = map[record] ll
    call map_lookup_elem
    if r0 == 0 goto out
    r6 = r0
    r8 = 0
    r9 = 0
again:
"""
RING = """
    r1 = map[events] ll
    r2 = r6
    r3 = {size}
    r4 = 0
    call ringbuf_output
"""
PERF = """
    r1 = r7
    r2 = map[events] ll
    r3 = 0xffffffff ll
    r4 = r6
    r5 = {size}
    call perf_event_output
"""
REPEAT = """
    r1 = *(u64 *)(r6 + 0)
    r1 += {step}
    *(u64 *)(r6 + 0) = r1
    r8 += 1
    if r8 < {count} goto again
out:
    r0 = r9
    exit
"""
REFUSED = """
    if r0 == 0 goto sent
    r9 += 1
sent:
"""
DISCARD = """
    r1 = map[events] ll
    r2 = {size}
    r3 = 0
    call ringbuf_reserve
    if r0 == 0 goto out
    r1 = r0
    r2 = 0
    call ringbuf_discard
out:
    r0 = 0
    exit
"""


def collection(layout, kind="ringbuf", ring_size=1 << 16, burst=500, columns=None):
    """A collection whose programs send what lies in the map ``record``: ``emit`` once, ``burst`` many times, counting
    up the first eight bytes and returning how many were refused; ``discard`` takes back.
    """
    spec = CollectionSpec("streams")
    spec.maps["record"] = MapSpec(
        "record", "array", key=U32, value=BytesLayout(max(8, -(-layout.size // 8) * 8)), max_entries=1
    )
    if kind == "ringbuf":
        spec.maps["events"] = MapSpec("events", kind, max_entries=ring_size)
    else:
        spec.maps["events"] = MapSpec("events", kind, key=U32, value=U32)
    spec.events["events"] = EventSchema(layout.name, "events", layout, columns)
    send = RING if kind == "ringbuf" else PERF
    add(spec, "emit", (LOOKUP + send + REPEAT).format(size=layout.size, count=1, step=0))
    add(spec, "burst", (LOOKUP + send + REFUSED + REPEAT).format(size=layout.size, count=burst, step=1))
    if kind == "ringbuf":
        add(spec, "discard", DISCARD.format(size=layout.size))
    return spec


def add(spec, name, text):
    numbers = {map_name: 1000 + index for index, map_name in enumerate(spec.maps)}
    names = {row.name: row.number for row in helpers.helpers()}
    data = encode_program(assemble(text, helpers=names, maps=numbers))
    relocs = []
    for slot in range(len(data) // 8):
        if data[slot * 8] == 0x18 and data[slot * 8 + 1] >> 4 == 1:
            number = int.from_bytes(data[slot * 8 + 4 : slot * 8 + 8], "little")
            relocs.append(Reloc(slot, "map", list(numbers)[number - 1000]))
    kind = "raw_tracepoint"
    spec.programs[name] = ProgramSpec(name, kind, prog_types.number(kind), data, relocs=relocs)


class Live:
    """A session whose kernel programs send the records that a test writes."""

    def __init__(self, session):
        self.session = session
        self.stream = session.streams[0]
        self.layout = self.stream.schema.layout

    def put(self, value, cpu=-1):
        """Puts a record where the programs take it from, and sends it."""
        self.place(self.layout.pack(value))
        self.session.test_run("emit", cpu=cpu)

    def place(self, data):
        held = self.session.loaded.maps["record"]
        held[0] = data.ljust(held.value_size, b"\0")

    def burst(self, cpu=-1):
        return self.session.test_run("burst", cpu=cpu).retval


class Keeping(Sink):
    """Keeps what it is given."""

    def __init__(self):
        self.columns = {}
        self.given = []

    def stream(self, name, columns):
        self.columns[name] = [column.name for column in columns]

    def rows(self, name, rows):
        self.given += [(name, row) for row in rows]

    def loss(self, losses):
        self.losses = losses


class Batching(Keeping):
    """Takes batches, and keeps copies."""

    takes_batches = True

    def batch(self, name, events):
        self.given.append((name, events.copy()))


@pytest.fixture
def live():
    """Opens sessions; closes them after the test."""
    opened = []

    def open_session(layout, program=None, sink=None, **rest):
        session = Session(collection(layout, **rest), RunOptions(attach=False), program, sink or Keeping())
        session.__enter__()
        opened.append(session)
        return Live(session)

    yield open_session
    for session in opened:
        session.close()


def declared(kind="ringbuf"):
    """A program with an event class of every kind of field, and its buffer."""
    prog = Program("streams")

    @prog.struct
    class Inner:
        small: u8
        wide: u32

    @prog.event
    class Event:
        number: u64
        name: Char[16]
        path: Char[40]
        raw: Bytes[3]
        inner: Inner
        pair: Array[Inner, 2]
        few: Array[u16, 3]
        names: Array[Char[4], 2]
        ret: s32

    events = prog.ring(Event, name="events") if kind == "ringbuf" else prog.perf_ring(Event, name="events")
    return prog, events, Event, Inner


def sample(Event, Inner, number=7, name="cat", path="/etc/hostname"):
    return Event(
        number, name, path, b"\1\0\xff", Inner(1, 2), [Inner(3, 4), Inner(5, 6)], [7, 8, 9], ["ab", "cdef"], -2
    )


ROW = (7, "cat", "/etc/hostname", b"\1\0\xff", (1, 2), [(3, 4), (5, 6)], [7, 8, 9], ["ab", "cdef"], -2)
KINDS = ("ringbuf", "perf_event_array")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_have_nested_values_and_texts(live, kind):
    _, _, Event, Inner = declared(kind)
    run = live(Event.__layout__, kind=kind)
    run.put(sample(Event, Inner))
    run.stream.drain()
    assert run.session.sink.given == [("Event", ROW)]
    assert run.session.sink.columns["Event"][:3] == ["number", "name", "path"]
    assert run.stream.seen == 1


@pytest.mark.parametrize("kind", KINDS)
def test_handlers_get_objects_of_the_event_class(live, kind):
    prog, events, Event, Inner = declared(kind)
    got = []
    prog.on(events)(got.append)
    run = live(Event.__layout__, prog, kind=kind)
    run.put(sample(Event, Inner))
    run.stream.drain()
    assert got == [sample(Event, Inner)]
    assert type(got[0]) is Event
    assert type(got[0].inner) is Inner
    assert got[0].pair[1].wide == 6
    assert run.session.sink.given == []
    assert run.stream.seen == 1


def test_objects_come_from_the_declaration_when_the_schema_comes_from_a_cache(live):
    from osmia.object.layout import from_plain

    prog, events, Event, Inner = declared()
    got = []
    prog.on(events)(got.append)
    run = live(from_plain(Event.__layout__.plain()), prog)
    run.put(sample(Event, Inner))
    run.stream.drain()
    assert got == [sample(Event, Inner)]
    assert type(got[0].inner) is Inner


def test_several_handlers_get_every_event_in_order(live):
    prog, events, Event, Inner = declared()
    got = []
    prog.on(events)(lambda event: got.append(("first", event.number)))
    prog.on(events)(lambda event: got.append(("second", event.number)))
    run = live(Event.__layout__, prog)
    for number in (1, 2):
        run.put(sample(Event, Inner, number))
    run.stream.drain()
    assert got == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]
    assert run.stream.seen == 2


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_arrays_by_field_name(live, kind):
    prog, events, Event, Inner = declared(kind)
    got = []
    prog.on_batch(events)(lambda batch: got.append(batch.copy()))
    run = live(Event.__layout__, prog, kind=kind)
    for number in (7, 8):
        run.put(sample(Event, Inner, number), cpu=0)
    run.stream.drain()
    numbers = [int(number) for batch in got for number in batch["number"]]
    assert numbers == [7, 8]
    first = got[0]
    assert first["name"][0] == b"cat"
    assert first["inner"]["wide"][0] == 2
    assert first["pair"]["small"][0].tolist() == [3, 5]
    assert first["few"][0].tolist() == [7, 8, 9]
    assert first["ret"][0] == -2
    assert run.stream.seen == 2
    assert run.session.sink.given == []


def test_batches_and_objects_of_the_same_events(live):
    prog, events, Event, Inner = declared()
    counts, got = [], []
    prog.on_batch(events)(lambda batch: counts.append(len(batch)))
    prog.on(events)(got.append)
    run = live(Event.__layout__, prog)
    for number in range(5):
        run.put(sample(Event, Inner, number))
    run.stream.drain()
    assert sum(counts) == 5
    assert got == [sample(Event, Inner, number) for number in range(5)]


def test_an_array_lies_in_the_ring_and_cannot_be_written(live):
    prog, events, Event, Inner = declared()
    wrong = []

    @prog.on_batch(events)
    def scribble(batch):
        wrong.append(batch.flags.writeable)
        with pytest.raises(ValueError, match="read-only"):
            batch["number"][0] = 1

    run = live(Event.__layout__, prog)
    run.put(sample(Event, Inner))
    run.stream.drain()
    assert wrong == [False]


@pytest.mark.parametrize("part", [lambda batch: batch, lambda batch: batch["number"], lambda batch: batch[:1]])
def test_keeping_an_array_is_refused(live, part):
    prog, events, Event, Inner = declared()
    kept = []
    prog.on_batch(events)(lambda batch: kept.append(part(batch)))
    run = live(Event.__layout__, prog)
    run.put(sample(Event, Inner))
    with pytest.raises(RunError) as caught:
        run.stream.drain()
    assert caught.value.code == "KRN040"
    kept.clear()


def test_on_batch_takes_a_ring():
    prog = Program("wrong")
    with pytest.raises(UsageError) as caught:
        prog.on_batch(prog.hash(u32, u64))
    assert caught.value.code == "PY005"


def test_a_sink_of_columns_gets_batches_and_no_rows(live):
    _, _, Event, Inner = declared()
    run = live(Event.__layout__, sink=Batching())
    run.put(sample(Event, Inner))
    run.stream.drain()
    ((name, batch),) = run.session.sink.given
    assert name == "Event"
    assert batch["few"].tolist() == [[7, 8, 9]]


@pytest.mark.parametrize("size", [1, 8, 16, 32, 33, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_end_at_their_nul_or_their_size(live, kind, size):
    layout = Struct.of("text", [("number", U64), ("text", CharLayout(size))])
    run = live(layout, kind=kind)
    texts = [b"", b"x", b"y\0junk", b"\xff\xfe", "\N{GREEK SMALL LETTER ALPHA}b".encode(), b"z" * size]
    for text in texts:
        run.place(bytes(8) + text[:size].ljust(size, b"\0"))
        run.session.test_run("emit", cpu=0)
    run.stream.drain()
    expected = [text[:size].partition(b"\0")[0].decode("utf-8", "backslashreplace") for text in texts]
    assert [row[1] for _, row in run.session.sink.given] == expected


def test_discarded_records_are_counted_apart(live):
    _, _, Event, Inner = declared()
    run = live(Event.__layout__)
    for number in range(6):
        if number % 3 == 1:
            run.session.test_run("discard")
        run.put(sample(Event, Inner, number))
    run.session.test_run("discard")
    run.stream.drain()
    assert [row[0] for _, row in run.session.sink.given] == list(range(6))
    assert run.stream.seen == 6
    assert run.stream.buffer.discarded == 3
    assert run.session.losses() == {}


@pytest.mark.parametrize("way", ["rows", "objects", "batches", "columns"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_record_arrives_once_at_a_high_rate(live, kind, way):
    prog = Program("counting")

    @prog.event
    class Event:
        number: u64
        rest: Array[u64, 7]

    events = prog.ring(Event, name="events") if kind == "ringbuf" else prog.perf_ring(Event, name="events")
    numbers = []
    if way == "objects":
        prog.on(events)(lambda event: numbers.append(event.number))
    elif way == "batches":
        prog.on_batch(events)(lambda batch: numbers.extend(batch["number"].tolist()))
    sink = Batching() if way == "columns" else Keeping()
    run = live(Event.__layout__, prog, sink, kind=kind, ring_size=1 << 17)
    run.place(Event.__layout__.pack((0, [0] * 7)))
    refused = []

    def produce():
        for _ in range(100):
            while run.stream.buffer.fill > 0.3:
                time.sleep(0.0002)
            refused.append(run.burst(cpu=0))

    producer = threading.Thread(target=produce)
    producer.start()
    while producer.is_alive():
        run.stream.on_ready()
    producer.join()
    run.stream.drain()
    if way == "rows":
        numbers = [row[0] for _, row in sink.given]
    elif way == "columns":
        numbers = [number for _, batch in sink.given for number in batch["number"].tolist()]
    assert refused == [0] * 100
    assert numbers == list(range(50_000))
    assert run.stream.seen == 50_000
    assert run.session.losses() == {}


def test_a_full_ring_refuses_and_the_rest_is_whole(live):
    layout = Struct.of("plain", [("number", U64), ("other", U64)])
    run = live(layout, ring_size=4096, burst=400)
    run.place(bytes(16))
    room = 4096 // 24
    assert run.burst() == 400 - room
    run.stream.drain()
    assert [row[0] for _, row in run.session.sink.given] == list(range(room))
    assert run.burst() == 400 - room
    run.stream.drain()
    assert [row[0] for _, row in run.session.sink.given[room:]] == list(range(400, 400 + room))
    assert run.stream.seen == 2 * room


def test_a_full_perf_buffer_is_a_loss_that_is_shown(live):
    layout = Struct.of("plain", [("number", U64), ("other", Struct.of("pad", [(f"p{n}", U64) for n in range(30)]))])
    run = live(layout, kind="perf_event_array", burst=2000)
    run.place(bytes(layout.size))
    lost = run.burst(cpu=0)
    assert 0 < lost < 2000
    run.stream.drain()
    assert [row[0] for _, row in run.session.sink.given] == list(range(2000 - lost))
    run.session.test_run("emit", cpu=0)  # the kernel tells of the loss with the next record that has room
    run.stream.drain()
    assert run.stream.seen == 2001 - lost
    assert run.stream.lost() == lost
    assert list(run.session.losses()) == ["events of plain: buffer events was full"]
    errors = io.StringIO()
    TextSink(io.StringIO(), errors).loss(run.session.losses())
    assert errors.getvalue() == f"lost: {run.stream.lost()} (events of plain: buffer events was full)\n"


def test_perf_buffers_of_all_cpus_are_read(live):
    import os

    layout = Struct.of("plain", [("number", U64)])
    run = live(layout, kind="perf_event_array")
    cpus = sorted(os.sched_getaffinity(0))
    for number in cpus:
        run.put((number,), cpu=number)
    run.stream.drain()
    assert sorted(row[0] for _, row in run.session.sink.given) == cpus


@pytest.mark.parametrize("sink", [Keeping, Batching])
def test_hidden_columns_do_not_reach_the_sink(live, sink):
    layout = Struct.of("shown", [("number", U64), ("secret", U64), ("name", CharLayout(8))])
    run = live(layout, sink=sink(), columns={"secret": "hidden", "number": "hex"})
    run.put((255, 1, "x"))
    run.stream.drain()
    assert run.session.sink.columns["shown"] == ["number", "name"]
    if sink is Keeping:
        assert run.session.sink.given == [("shown", (255, "x"))]


def test_hidden_columns_stay_in_objects(live):
    prog = Program("hidden")

    @prog.event
    class Event:
        number: u64
        secret: u32

    got = []
    prog.on(prog.ring(Event, name="events"))(got.append)
    run = live(Event.__layout__, prog, columns={"secret": "hidden"})
    run.put(Event(1, 2))
    run.stream.drain()
    assert got == [Event(1, 2)]


def test_text_json_and_csv_of_the_same_events(live):
    layout = Struct.of("open", [("pid", U32), ("name", CharLayout(8)), ("flags", U16), ("more", U8), ("at", U64)])
    columns = {"flags": "hex", "at": "us"}
    shown = []
    for kind in (lambda out: TextSink(out), lambda out: JsonSink(out), lambda out: CsvSink(out)):
        out = io.StringIO()
        run = live(layout, sink=kind(out), columns=columns)
        run.put((12, "cat\x1b[2J", 0x41, 3, 1500))
        run.put((13, 'a "b",%s', 0, 4, 2**64 - 1))
        run.stream.drain()
        shown.append(out.getvalue())
    text, lines, table = shown
    assert text.splitlines()[1].split() == ["12", "cat\\x1b[2J", "0x41", "3", "1.5"]
    assert [json.loads(line) for line in lines.splitlines()] == [
        {"event": "open", "pid": 12, "name": "cat\x1b[2J", "flags": "0x41", "more": 3, "at": 1500},
        {"event": "open", "pid": 13, "name": 'a "b",%s', "flags": "0x0", "more": 4, "at": 2**64 - 1},
    ]
    assert table.splitlines()[0] == "pid,name,flags,more,at"
    assert table.splitlines()[2] == '13,"a ""b"",%s",0x0,4,18446744073709551615'


def test_records_with_bitfields_are_read_one_by_one(live):
    layout = Struct(
        "bits", [Field("low", U32, 0, 0, 5), Field("high", U32, 0, 5, 27), Field("signed", S8, 4, 0, 4)], 8, 4
    )
    run = live(layout, sink=Batching())  # no columns: rows instead
    run.put((21, 1000, 0))
    run.place(layout.pack((1, 2, -3)))
    run.session.test_run("emit")
    run.stream.drain()
    assert run.session.sink.given == [("bits", (21, 1000, 0)), ("bits", (1, 2, -3))]


def test_a_handler_that_fails_loses_nothing(live):
    prog, events, Event, Inner = declared()

    got = []

    @prog.on(events)
    def fail_once(event):
        got.append(event.number)
        if got == [0, 1]:
            raise LookupError("mine")

    run = live(Event.__layout__, prog)
    for number in range(3):
        run.put(sample(Event, Inner, number))
    with pytest.raises(LookupError, match="mine"):
        run.stream.drain()
    run.stream.drain()  # what was not done with is still there
    assert got == [0, 1, 0, 1, 2]


def test_two_buffers_of_one_session(live):
    prog = Program("two")

    @prog.event
    class Event:
        number: u64

    spec = collection(Event.__layout__)
    spec.maps["others"] = MapSpec("others", "ringbuf", max_entries=4096)
    spec.events["others"] = EventSchema("Other", "others", Event.__layout__)
    add(spec, "emit_other", (LOOKUP + RING.replace("events", "others") + REPEAT).format(size=8, count=1, step=0))
    got = []
    prog.on(prog.ring(Event, name="events"))(got.append)
    sink = Keeping()
    with Session(spec, RunOptions(attach=False), prog, sink) as session:
        session.loaded.maps["record"][0] = (77).to_bytes(8, "little")
        session.test_run("emit")
        session.test_run("emit_other")
        for stream in session.streams:
            stream.drain()
    assert got == [Event(77)]
    assert sink.given == [("Other", (77,))]


def test_small_buffers_are_not_left_to_fill():
    assert breath(4096) == 0
    assert 0.0009 < breath(256 * 1024) < 0.0011
    assert breath(1 << 30) <= 0.02


def test_a_program_sends_batches_from_end_to_end():
    prog = Program("endtoend")

    @prog.event
    class Event:
        number: u64
        square: u64

    events = prog.ring(Event, size=1 << 16)

    @prog.syscall
    def produce() -> int:
        sent = 0
        for number in range(100):
            if events.submit(Event(number, number * number)):
                sent += 1
        return sent

    sums = []

    @prog.on_batch(events)
    def add_up(batch):
        sums.append((len(batch), int(batch["square"].sum())))

    with prog.open(attach=False, cache=False) as session:
        assert session.test_run("produce").retval == 100
        session.finish()
    assert sums == [(100, sum(number * number for number in range(100)))]


PRINTING = """
from osmia import Program, comm, u32

prog = Program("printing")
calls = prog.var(u32, 0)


@prog.syscall
def say() -> int:
    calls.value += 1
    print("run", calls.value, f"{calls.value * 10:>6x}|", end="")
    print(f" {comm()!r:.6} {(calls.value, calls.value + 1)}")
    return 0
"""


def test_prints_are_formatted_by_pythons_rules(tmp_path):
    from osmia.runtime.programs import find_program

    path = tmp_path / "printing.py"
    path.write_text(PRINTING)
    prog = find_program(str(path))
    out = io.StringIO()
    with prog.open(attach=False, cache=False) as session:
        session.sink = TextSink(out)
        for stream in session.streams:
            stream._sink = session.sink
        session.test_run("say")
        session.test_run("say")
        session.finish()
    name = repr(open("/proc/self/comm").read().rstrip("\n"))[:6]
    assert out.getvalue().splitlines()[:2] == [f"run 1      a| {name} (1, 2)", f"run 2     14| {name} (2, 3)"]


def test_a_format_that_cannot_be_is_refused_before_anything_runs():
    from osmia.runtime.prints import PRINTS

    layout = Struct.of("print_0", [("id", U32), ("a0", CharLayout(16))])
    spec = CollectionSpec("printing")
    spec.maps[PRINTS] = MapSpec(PRINTS, "ringbuf", max_entries=4096, role="prints")
    spec.extras["prints"] = [
        {"id": 0, "pieces": [(0, "08x", ""), "\n"], "layout": layout.plain(), "function": "enter", "line": 12}
    ]
    with pytest.raises(UsageError) as caught, Session(spec, RunOptions(attach=False), None, Keeping()):
        pass
    assert caught.value.code == "RUN015"
    assert "enter, line 12" in caught.value.message
