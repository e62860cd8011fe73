"""Terminators, calls, callbacks, tail calls, packets, steps."""

from __future__ import annotations

import struct

import pytest
from ir_build import body, build, fault

SUM = """
^entry:
  br; to=^head
^head:
  %i: u64 = local.get; local=$i
  %more: bool = ult %i, %n
  condbr %more; then=^body, other=^done
^body:
  %s: u64 = local.get; local=$sum
  %t: u64 = add %s, %i
  local.set %t; local=$sum
  %one: u64 = const; value=1
  %j: u64 = add %i, %one
  local.set %j; local=$i
  br; to=^head
^done:
  %r: u64 = local.get; local=$sum
  ret %r
"""


def test_loops_and_steps():
    evaluator = body(SUM, "%n: u64", head="local $i: u64\nlocal $sum: u64")
    result = evaluator.run("f", b"", 10)
    assert result.value == 45
    assert result.steps == 1 + 11 * 3 + 10 * 7 + 2
    assert "100 operations" in fault("IR347", evaluator, b"", 10, steps=100).message
    assert evaluator.run("f", b"", 100, steps=2000).value == 4950


def test_switch():
    text = """
    ^entry: switch %a; cases=((1, ^one), (-1, ^minus), (200, ^far)), default=^other
    ^one: ret %k1
    ^minus: ret %k2
    ^far: ret %k3
    ^other: ret %k4
    """
    evaluator = body(text, "%a: s8, %k1: u8, %k2: u8, %k3: u8, %k4: u8", "u8")
    assert [evaluator.call("f", a, 1, 2, 3, 4) for a in (1, -1, -56, 0)] == [1, 2, 3, 4]


def test_inrange_gives_the_index_on_the_right_way_only():
    text = """
    ^entry: %k: u32 = br.inrange %i; count=4, then=^in, other=^out
    ^in: ret %k
    ^out: ret %i
    """
    evaluator = body(text, "%i: u32", "u32")
    assert [evaluator.call("f", i) for i in (0, 3, 4, 2**32 - 1)] == [0, 3, 4, 2**32 - 1]
    wrong = body(text.replace("^out: ret %i", "^out: ret %k"), "%i: u32", "u32")
    assert wrong.call("f", 3) == 3
    fault("IR340", wrong, b"", 4)


def test_nonnull():
    text = """
    ^entry: %q: ptr<mem, u32> = br.nonnull %p; then=^there, other=^missing
    ^there: %v: u32 = load %q
      ret %v
    ^missing: %n: u32 = const; value=7
      ret %n
    """
    evaluator = body(text, "%p: ptr<mem, u32>?", "u32")
    assert evaluator.call("f", None) == 7
    assert evaluator.call("f", b"\5\0\0\0") == 5


def test_unreachable():
    fault("IR352", body("unreachable"))


def test_ret_without_a_value():
    assert body("ret", result="u32").call("f") == 0
    assert body("ret", result="void").call("f") is None
    assert body("ret", result="void", kind="program").call("f") == 0
    assert body("ret", result="bool").call("f") is False


# Calls

CALLS = """
function {kind} @twice(%a: u32) -> u32 {{
^entry:
  %r: u32 = add %a, %a
  ret %r
}}
function program @f(%ctx: ptr<ctx, u32>) -> s64 {{
^entry:
  %a: u32 = load %ctx
  %b: u32 = call %a; function=@twice
  %c: u32 = call %b; function=@twice
  %r: s64 = zext %c
  ret %r
}}
"""


@pytest.mark.parametrize("kind", ["inline", "static", "global"])
def test_calls(kind):
    assert build(CALLS.format(kind=kind)).run("f", struct.pack("=I", 5)).value == 20


def test_recursion():
    for kind in ("static", "inline"):
        text = "%r: u64 = call %n; function=@f\nret %r"
        assert "too deep" in fault("IR353", body(text, "%n: u64", kind=kind), b"", 1).message


def test_eight_frames_and_no_more():
    def chain(count):
        functions = [
            f"function static @f{n}(%a: u64) -> u64 {{\n^e: %r: u64 = call %a; function=@f{n + 1}\n ret %r\n}}"
            for n in range(count - 1)
        ]
        functions.append(f"function static @f{count - 1}(%a: u64) -> u64 {{\n^e: ret %a\n}}")
        return build("\n".join(functions))

    assert chain(8).call("f0", 3) == 3
    fault("IR353", chain(9), b"", 3, function="f0")


CALLBACK = """
map @m: array {{key=u32, value=u64, max_entries=3}}
function callback @each({params}) -> s64 {{
^entry:
{callback}
}}
function static @f(%n: u32) -> s64 {{
  local $sum: u64
^entry:
  %p: ptr<stack, u64> = local.addr; local=$sum
  %cb: func = func.addr; function=@each
  %z: u64 = const; value=0
{call}
  %g: ptr<global, u64> = global.addr; name=@total
  %s: u64 = load %p
  store %g, %s
  ret %r
}}
global @total: u64 in ".bss"
"""
LOOP = '  %r: s64 = helper %n, %cb, %p, %z; name="bpf_loop"'


def test_loop_callbacks():
    callback = """
      %old: u64 = load %ctx
      %new: u64 = add %old, %i
      store %ctx, %new
      %limit: u64 = const; value=5
      %stop: bool = uge %i, %limit
      %r: s64 = zext %stop
      ret %r
    """
    text = CALLBACK.format(params="%i: u64, %ctx: ptr<mem, u64>", callback=callback, call=LOOP)
    evaluator = build(text)
    assert evaluator.call("f", 4) == 4 and evaluator.globals["total"] == 6
    assert evaluator.call("f", 0) == 0 and evaluator.globals["total"] == 0
    assert evaluator.call("f", 100) == 6 and evaluator.globals["total"] == 15
    assert evaluator.call("f", 2**23 + 1) == -7
    assert build(text.replace("value=0", "value=1")).call("f", 4) == -22


def test_for_each():
    callback = """
      %k: u32 = load %key
      %v: u64 = load %value
      %w: u64 = zext %k
      %x: u64 = add %v, %w
      store %value, %x
      %old: u64 = load %ctx
      %new: u64 = add %old, %x
      store %ctx, %new
      %r: s64 = const; value=0
      ret %r
    """
    params = "%map: map, %key: ptr<map, u32>, %value: ptr<map, u64>, %ctx: ptr<mem, u64>"
    call = '  %m: map = map.ref; map=@m\n  %r: s64 = helper %m, %cb, %p, %z; name="for_each_map_elem"'
    evaluator = build(CALLBACK.format(params=params, callback=callback, call=call))
    evaluator.maps["m"][1] = 10
    assert evaluator.call("f", 0) == 3
    assert evaluator.globals["total"] == 13 and evaluator.maps["m"].values() == [0, 11, 2]
    fault(
        "IR344",
        build(
            CALLBACK.format(params=params, callback=callback.replace("store %value, %x", "store %key, %k"), call=call)
        ),
        b"",
        0,
    )


# Tail calls

TAIL = """
map @jumps: prog_array {key=u32, value=u32, max_entries=4, contents=[(x"01000000", "second"), (x"02000000", "main")]}
global @count: u32 in ".bss"
function program @second(%ctx: ptr<ctx, u32>) -> s32 {
^entry:
  %r: s32 = const; value=22
  ret %r
}
function inline @jump(%c: ptr<ctx, u32>, %i: u32) -> void {
^entry:
  tail_call %i, %c; map=@jumps
  ret
}
function static @apart(%c: ptr<ctx, u32>, %i: u32) -> s32 {
^entry:
  tail_call %i; map=@jumps
  %r: s32 = const; value=1
  ret %r
}
function program @main(%ctx: ptr<ctx, u32>) -> s32 {
^entry:
  %g: ptr<global, u32> = global.addr; name=@count
  %one: u32 = const; value=1
  atomic.add %g, %one
  %i: u32 = load %ctx
  call %ctx, %i; function=@jump
  %r: s32 = const; value=11
  ret %r
}
function program @calls(%ctx: ptr<ctx, u32>) -> s32 {
^entry:
  %i: u32 = load %ctx
  %a: s32 = call %ctx, %i; function=@apart
  %k: s32 = const; value=100
  %r: s32 = add %a, %k
  ret %r
}
"""


def test_tail_calls():
    evaluator = build(TAIL)

    def run(index, function="main"):
        return evaluator.run(function, struct.pack("=I", index))

    assert (run(1).value, run(1).tail_calls) == (22, 1)
    for missing in (0, 3, 4, 2**32 - 1):
        assert (run(missing).value, run(missing).tail_calls) == (11, 0)
    evaluator.globals["count"] = 0
    assert (run(2).value, run(2).tail_calls) == (11, 33)
    assert evaluator.globals["count"] == 2 * 34
    # In a called function it replaces that function alone.
    assert (run(1, "calls").value, run(0, "calls").value) == (122, 101)
    evaluator.maps["jumps"][3] = "second"
    assert run(3).value == 22
    del evaluator.maps["jumps"][3]
    assert run(3).value == 11
    assert evaluator.maps["jumps"].items() == [(1, "second"), (2, "main")]


# Packets

PACKET = """
function program @f(%ctx: ptr<ctx, bytes[24]>, %at: u64) -> u32 {{
  section "xdp"
^entry:
  %data: ptr<packet, bytes> = ctx.packet; offset=0, name="data"
  %end: ptr<packet, bytes> = ctx.packet %ctx; offset=4, name="data_end"
  %p: ptr<packet, u16[2], 4> = br.packet %data, %at, %end; size=4, then=^ok, other=^short
^ok:
{ok}
^short:
  %no: u32 = const; value=9999
  ret %no
}}
"""
LOAD = '  %q: ptr<packet, u16> = field %p; offset=2, name="b"\n  %v: u16 = load %q\n  %r: u32 = zext %v\n  ret %r'


def test_packets():
    evaluator = build(PACKET.format(ok=LOAD))
    packet = bytes(range(10))
    assert evaluator.run("f", b"", 0, packet=packet).value == 0x0302
    assert evaluator.run("f", b"", 6, packet=packet).value == 0x0908
    for at in (7, 65532, 65535, 2**64 - 2):
        assert evaluator.run("f", b"", at, packet=packet).value == 9999
    long = bytes(65531) + b"\1\2\3\4\5"
    assert evaluator.run("f", b"", 65531, packet=long).value == 0x0403
    assert evaluator.run("f", b"", 65532, packet=long + b"abc").value == 9999
    assert evaluator.run("f", b"", 0, packet=b"abc").value == 9999
    fault("IR349", evaluator, b"", 0)


def test_stores_to_packets_show_in_the_result():
    store = LOAD.replace("  ret %r", "  store %q, %v2\n  ret %r").replace("%r: u32", "%v2: u16 = bswap %v\n  %r: u32")
    result = build(PACKET.format(ok=store)).run("f", b"", 1, packet=b"abcdefg", meta=b"1234")
    assert result.packet == b"abcedfg"


@pytest.mark.parametrize("offset", [3, 4])
def test_what_is_not_proven_is_refused(offset):
    evaluator = build(PACKET.format(ok=LOAD.replace("offset=2", f"offset={offset}")))
    fault("IR345", evaluator, b"", 0, packet=bytes(100))


def test_packet_pointers_without_a_check():
    load = "  %q: ptr<packet, u16> = cast.ptr %data\n  %v: u16 = load %q\n  %r: u32 = zext %v\n  ret %r"
    fault("IR345", build(PACKET.format(ok=load)), b"", 0, packet=bytes(100))


def test_moving_the_packet_ends_its_pointers():
    head = '  %by: u32 = const; value=-4\n  %e: s64 = helper %ctx, %by; name="xdp_adjust_head"\n'
    evaluator = build(PACKET.format(ok=head + LOAD))
    assert "packet" in fault("IR343", evaluator, b"", 0, packet=bytes(100)).message
    again = head + "  %no2: u32 = trunc %e\n  ret %no2"
    result = build(PACKET.format(ok=again)).run("f", b"", 0, packet=b"x" * 20)
    assert result.value == 0 and result.packet == bytes(4) + b"x" * 20


def test_metadata():
    text = """
    function program @f(%ctx: ptr<ctx, bytes[24]>) -> u32 {
    ^entry:
      %data: ptr<packet, bytes> = ctx.packet; offset=8, name="data_meta"
      %end: ptr<packet, bytes> = ctx.packet; offset=0, name="data"
      %z: u64 = const; value=0
      %p: ptr<packet, u32, 4> = br.packet %data, %z, %end; size=4, then=^ok, other=^short
    ^ok:
      %v: u32 = load %p
      ret %v
    ^short:
      ret
    }"""
    evaluator = build(text)
    assert evaluator.run("f", b"", packet=bytes(20), meta=b"\1\2\3\4").value == 0x04030201
    assert evaluator.run("f", b"", packet=bytes(20)).value == 0


def test_contexts():
    text = """
    function program @f(%ctx: ptr<ctx, u32[4]>) -> u32 {
    ^entry:
      %z: u32 = const; value=%I
      %p: ptr<ctx, u32> = cast.ptr %ctx
      %q: ptr<ctx, u32> = field %p; offset=%I, name="x"
      %v: u32 = load %q
      store %q, %z
      ret %v
    }"""
    evaluator = build(text.replace("%I", "4"))
    result = evaluator.run("f", struct.pack("=II", 5, 6))
    assert result.value == 6 and result.context == struct.pack("=IIII", 5, 4, 0, 0)
    fault("IR341", build(text.replace("%I", "16")), b"")
    assert build(text.replace("%I", "16")).run("f", bytes(16) + b"\7\0\0\0").value == 7
