"""Ring buffers and perf buffers: events, fullness, misuse."""

from __future__ import annotations

import errno
import struct

import pytest
from ir_build import body, build, fault

EVENT = "struct Event size 16 align 8 {\n 0 pid: u32\n 8 value: u64\n}\n"
RING = (
    EVENT
    + """
map @ring: ringbuf {max_entries=%SIZE}
event @ring: "Event" struct Event
function program @f(%v: u64) -> u32 {
^entry:
  %r: ptr<ring, struct Event>? = ring.reserve; map=@ring
  %p: ptr<ring, struct Event> = br.nonnull %r; then=^there, other=^full
^there:
  %f: ptr<ring, u64> = field %p; offset=8, name="value"
  store %f, %v
  %END
  %one: u32 = const; value=1
  ret %one
^full:
  %no: u32 = const; value=0
  ret %no
}
function program @output(%data: ptr<mem, bytes>, %size: u64, %flags: u64) -> s64 {
^entry: %m: map = map.ref; map=@ring
  %r: s64 = helper %m, %data, %size, %flags; name="bpf_ringbuf_output"
  ret %r
}
function program @query(%what: u64) -> u64 {
^entry: %m: map = map.ref; map=@ring
  %r: u64 = helper %m, %what; name="bpf_ringbuf_query"
  ret %r
}
function program @reserve(%size: u64, %flags: u64) -> bool {
^entry: %m: map = map.ref; map=@ring
  %r: ptr<ring, bytes>? = helper %m, %size, %flags; name="bpf_ringbuf_reserve"
  %p: ptr<ring, bytes> = br.nonnull %r; then=^there, other=^full
^there:
  %z: u64 = const; value=0
  helper %p, %z; name="bpf_ringbuf_discard"
  %yes: bool = const; value=1
  ret %yes
^full:
  %no: bool = const; value=0
  ret %no
}
"""
)


def ring(size=4096, end="ring.submit %p", **options):
    return build(RING.replace("%SIZE", str(size)).replace("%END", end), **options)


def test_events_are_decoded():
    result = ring().run("f", b"", 7)
    assert result.value == 1
    assert result.values == [(0, 7)]
    event = result.events[0]
    assert (event.map, event.cpu, event.data) == ("ring", 0, struct.pack("=QQ", 0, 7))
    assert repr(event) == "Event('ring', (0, 7))"


def test_discarded_records_are_no_events():
    result = ring(end="ring.discard %p; flags=2").run("f", b"", 7)
    assert result.value == 1 and result.events == []


def test_a_full_ring():
    evaluator = ring(64, drain=False)
    # A record takes 24 bytes with its header; the ring never fills up to the last byte.
    assert [evaluator.call("f", n) for n in range(4)] == [1, 1, 0, 0]
    buffer = evaluator.maps["ring"]
    assert buffer.lost == 2 and [evaluator.call("query", n) for n in range(5)] == [48, 64, 0, 48, 0]
    assert buffer.consume() == [struct.pack("=QQ", 0, 0), struct.pack("=QQ", 0, 1)]
    assert evaluator.call("f", 5) == 1 and [evaluator.call("query", n) for n in range(4)] == [24, 64, 48, 72]
    assert len(buffer) == 1 and buffer.values() == [struct.pack("=QQ", 0, 5)]


def test_exactly_one_byte_less_than_the_ring():
    evaluator = ring(32, drain=False)
    assert evaluator.call("f", 1) == 1
    assert ring(24, drain=False).call("f", 1) == 0
    assert ring(64).call("reserve", 48, 0) is True
    assert ring(64).call("reserve", 49, 0) is False
    assert ring(64).call("reserve", 8, 1) is False
    assert ring(1 << 20).call("reserve", 1 << 40, 0) is False


def test_space_is_given_back_by_reading_only():
    evaluator = ring(64, end="ring.discard %p", drain=False)
    assert [evaluator.call("f", n) for n in range(3)] == [1, 1, 0]
    assert evaluator.maps["ring"].consume() == []
    assert evaluator.call("f", 3) == 1


def test_drained_after_every_run():
    evaluator = ring(64)
    assert [evaluator.call("f", n) for n in range(9)] == [1] * 9
    assert evaluator.maps["ring"].lost == 0


def test_output():
    evaluator = ring(64, drain=False)
    result = evaluator.run("output", b"", b"0123456789", 10, 0)
    assert result.value == 0 and [event.data for event in result.events] == [b"0123456789"]
    assert result.values == [b"0123456789"]
    assert evaluator.call("output", b"x", 1, 4) == -errno.EINVAL
    assert evaluator.call("output", bytes(100), 100, 0) == -errno.EAGAIN
    fault("IR341", evaluator, b"", b"abc", 4, 0, function="output")


def test_records_must_be_ended_exactly_once():
    evaluator = ring(end="")
    assert "neither submitted" in fault("IR350", evaluator, b"", 1).message
    assert evaluator.run("output", b"", b"after", 5, 0).events[0].data == b"after"
    fault("IR350", ring(end="ring.submit %p\n ring.discard %p"), b"", 1)
    fault("IR350", ring(end="ring.submit %f"), b"", 1)
    fault("IR343", ring(end="ring.submit %p\n store %f, %v"), b"", 1)
    local = '%x: ptr<stack, u64> = local.addr; local=$x\nhelper %x, %z; name="ringbuf_submit"\nret %z'
    fault("IR349", body(local, "%z: u64", head="local $x: u64"), b"", 0)


def test_a_ring_without_a_size():
    evaluator = ring(0, ring_bytes=32, drain=False)
    assert [evaluator.call("f", n) for n in range(2)] == [1, 0]


def test_events_of_several_buffers_keep_their_order():
    text = (
        EVENT
        + """
    map @ring: ringbuf {max_entries=4096}
    map @perf: perf_event_array {}
    function program @f(%ctx: ptr<ctx, bytes[4]>, %data: ptr<mem, u8>) -> s64 {
    ^entry:
      %rm: map = map.ref; map=@ring
      %pm: map = map.ref; map=@perf
      %z: u64 = const; value=0
      %one: u64 = const; value=1
      %cpu: u64 = const; value=0xFFFFFFFF
      %a: s64 = helper %rm, %data, %one, %z; name="ringbuf_output"
      %b: s64 = helper %ctx, %pm, %cpu, %data, %one; name="perf_event_output"
      %c: s64 = helper %rm, %data, %one, %z; name="ringbuf_output"
      %d: s64 = or %a, %b
      %e: s64 = or %d, %c
      ret %e
    }""".replace("0xFFFFFFFF", str(0xFFFFFFFF))
    )
    result = build(text).run("f", b"", b"x")
    assert result.value == 0
    assert [event.map for event in result.events] == ["ring", "perf", "ring"]


PERF = """
map @perf: perf_event_array {max_entries=%MAX}
function program @f(%ctx: ptr<ctx, bytes[4]>, %flags: u64, %data: ptr<mem, bytes>, %size: u64) -> s64 {
^entry: %m: map = map.ref; map=@perf
  %r: s64 = helper %ctx, %m, %flags, %data, %size; name="bpf_perf_event_output"
  ret %r
}
"""


@pytest.mark.parametrize("most", [0, 2])
def test_perf_buffers(most):
    evaluator = build(PERF.replace("%MAX", str(most)), cpus=2)

    def send(flags, **options):
        return evaluator.run("f", b"", flags, b"abcd", 3, **options)

    assert send(0xFFFFFFFF).events[0].data == b"abc"
    assert send(0xFFFFFFFF, cpu=1).events[0].cpu == 1
    assert send(1, cpu=1).value == 0
    assert send(0, cpu=1).value == -errno.EOPNOTSUPP
    assert send(2).value == -errno.E2BIG
    assert send(1 << 60).value == -errno.EINVAL
    assert len(evaluator.maps["perf"]) == 3


def test_perf_buffers_without_an_event():
    evaluator = build(PERF.replace("%MAX", "4"), cpus=2)
    assert evaluator.run("f", b"", 3, b"abcd", 3).value == -errno.ENOENT


def test_perf_records_with_the_packet():
    evaluator = build(PERF.replace("%MAX", "0"))

    def send(size, packet):
        return evaluator.run("f", b"", size << 32 | 0xFFFFFFFF, b"ab", 2, packet=packet)

    assert send(3, b"packet").events[0].data == b"abpac"
    assert send(7, b"packet").value == -errno.EFAULT
    assert send(1, None).value == -errno.EINVAL
