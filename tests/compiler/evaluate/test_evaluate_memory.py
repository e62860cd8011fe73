"""Loads, stores, addresses, pieces of memory, atomics and probe reads; and what is refused."""

from __future__ import annotations

import struct

import pytest
from ir_build import body, build, fault

from osmia.compiler.evaluate import EvaluationFault, Evaluator
from osmia.compiler.ir import Ptr, Space
from osmia.diagnostics import UsageError
from osmia.diagnostics.render import render
from osmia.object.layout import U32, Struct

PAIR = "struct Pair size 16 align 8 {\n 0 a: u32\n 4 b: s16\n 6 c: bool\n 8 d: u64\n}\n"


def test_locals_start_at_zero_and_keep_what_is_set():
    text = """
    %0: u64 = local.get; local=$n
    %1: u64 = add %0, %a
    local.set %1; local=$n
    %2: u64 = local.get; local=$n
    ret %2
    """
    evaluator = body(text, "%a: u64", head="local $n: u64")
    assert [evaluator.call("f", 3), evaluator.call("f", 4)] == [3, 4]


def test_strict_locals():
    evaluator = body("%0: u64 = local.get; local=$n\nret %0", head="local $n: u64", strict_locals=True)
    assert "local n" in fault("IR346", evaluator).message
    evaluator = body(
        "local.set %a; local=$n\n%0: u64 = local.get; local=$n\nret %0",
        "%a: u64",
        head="local $n: u64",
        strict_locals=True,
    )
    assert evaluator.call("f", 9) == 9


def test_scalars_with_an_address_live_in_memory():
    text = """
    %p: ptr<stack, s16> = local.addr; local=$x
    store %p, %a
    %v: s16 = local.get; local=$x
    local.set %v; local=$x
    %w: s16 = load %p
    ret %w
    """
    assert body(text, "%a: s16", "s16", head="local $x: s16").call("f", -300) == -300


def test_fields_of_a_struct():
    text = """
    %p: ptr<stack, struct Pair> = local.addr; local=$e
    %b: ptr<stack, s16> = field %p; offset=4, name="b"
    %c: ptr<stack, bool> = field %p; offset=6, name="c"
    %d: ptr<stack, u64> = field %p; offset=8, name="d"
    store %b, %x
    %t: bool = const; value=1
    store %c, %t
    store %d, %y
    %w: ptr<stack, u64> = cast.ptr %p
    %0: u64 = load %w
    %1: u64 = load %d
    %2: u64 = xor %0, %1
    ret %2
    """
    evaluator = body(text, "%x: s16, %y: u64", head="local $e: struct Pair", before=PAIR)
    assert evaluator.call("f", -2, 5) == (0x0001_FFFE_0000_0000 ^ 5)


def test_enums_load_as_their_base():
    text = "%p: ptr<stack, enum Color> = local.addr; local=$e\nstore %p, %x\n%v: s8 = load %p\nret %v"
    before = "enum Color: s8 {\n RED = 0\n}"
    assert body(text, "%x: s8", "s8", head="local $e: enum Color", before=before).call("f", -3) == -3


def test_elements():
    text = """
    %p: ptr<stack, u32[4]> = local.addr; local=$a
    %q: ptr<stack, u32> = element %p, %i
    %v: u32 = const; value=77
    store %q, %v
    %w: ptr<stack, u64> = cast.ptr %p
    %x: u64 = load %w
    ret %x
    """
    evaluator = body(text, "%i: u64", head="local $a: u32[4]")
    assert evaluator.call("f", 0) == 77
    assert evaluator.call("f", 1) == 77 << 32
    assert evaluator.call("f", 3) == 0
    assert "element 4 of 4" in fault("IR355", evaluator, b"", 4).message


def test_elements_of_text_and_bytes():
    for type_ in ("char[4]", "bytes[4]", "u8[4]"):
        text = f"""
        %p: ptr<stack, {type_}> = local.addr; local=$a
        %q: ptr<stack, u8> = element %p, %i
        %v: u8 = load %q
        ret %v
        """
        evaluator = body(text, "%i: u32", "u8", head=f"local $a: {type_}")
        assert evaluator.call("f", 3) == 0
        fault("IR355", evaluator, b"", 4)


OUTSIDE = """
%p: ptr<stack, u32> = local.addr; local=$x
%q: ptr<stack, u32> = field %p; offset=4, name="next"
%v: u32 = load %q
ret %v
"""


def test_out_of_bounds():
    found = fault("IR341", body(OUTSIDE, result="u32", head="local $x: u32"))
    assert "offset 4 of local x, which has 4" in found.message
    assert found.op.name == "load" and found.function == "f"


def test_a_fault_shows_the_source(tmp_path):
    source = tmp_path / "prog.py"
    source.write_text("def f():\n    return x.next\n")
    text = OUTSIDE.replace("load %q", "load %q !0:2:11..17")
    evaluator = body(text, result="u32", head="local $x: u32", before=f'source !0 "{source}"')
    found = fault("IR341", evaluator)
    assert found.span.line == 2
    shown = render(found)
    assert "return x.next" in shown and "^^^^^^" in shown and "%v: u32 = load %q" in shown


def test_null_and_wild_pointers():
    text = "%p: ptr<map, u64>? = null\n%q: ptr<map, u64> = cast.ptr %p\n%v: u64 = load %q\nret %v"
    fault("IR342", body(text))
    text = "%p: ptr<mem, u64> = cast.ptr %a\n%v: u64 = load %p\nret %v"
    assert "0x1234" in fault("IR343", body(text, "%a: ptr<mem, u64>"), b"", 0x1234).message


def test_loads_from_addresses_are_refused():
    for space in ("kernel", "user"):
        evaluator = body("%v: u64 = load %p\nret %v", f"%p: ptr<{space}, u64>")
        assert "probe read" in fault("IR343", evaluator, b"", b"12345678").hint


def test_btf_loads_give_zero_where_nothing_is():
    evaluator = body("%v: u64 = load %p\nret %v", "%p: ptr<btf, u64>")
    assert evaluator.call("f", evaluator.kernel.map(b"\5" + bytes(7))) == 5
    assert evaluator.call("f", 0xFFFF_0000_0000_0000) == 0
    assert evaluator.call("f", None) == 0
    evaluator = body("store %p, %v\nret %v", "%p: ptr<btf, u64>, %v: u64")
    fault("IR344", evaluator, b"", b"12345678", 1)


def test_pointers_remember_their_memory():
    """The type says map, the memory is a local."""
    callee = "function static @g(%p: ptr<map, u32>) -> u32 {\n^e: %v: u32 = load %p\n ret %v\n}"
    text = "%p: ptr<stack, u32> = local.addr; local=$x\n%v: u32 = call %p; function=@g\nret %v"
    evaluator = body(text, result="u32", head="local $x: u32", before=callee)
    assert "says map" in fault("IR343", evaluator).message


def test_locals_end_with_their_function():
    callee = """
    function static @g() -> ptr<mem, u32> {
      local $x: u32
    ^e: %p: ptr<stack, u32> = local.addr; local=$x
      ret %p
    }"""
    text = "%p: ptr<mem, u32> = call; function=@g\n%v: u32 = load %p\nret %v"
    assert "has returned" in fault("IR343", body(text, result="u32", before=callee)).message


def test_globals_are_kept_between_runs_and_constants_may_not_change():
    text = """
    %p: ptr<global, u64> = global.addr; name=@total
    %v: u64 = load %p
    %w: u64 = add %v, %a
    store %p, %w
    ret %w
    """
    before = 'global @total: u64 in ".data" = x"0500000000000000"\nglobal @limit: u32 in ".rodata"'
    evaluator = body(text, "%a: u64", before=before)
    assert [evaluator.call("f", 1), evaluator.call("f", 2)] == [6, 8]
    assert evaluator.globals["total"] == 8
    evaluator.globals["total"] = 100
    assert evaluator.call("f", 1) == 101
    assert list(evaluator.globals) == ["total", "limit"] and len(evaluator.globals) == 2
    evaluator = body(
        "%p: ptr<global, u32> = global.addr; name=@limit\nstore %p, %a\nret %a", "%a: u32", "u32", before=before
    )
    fault("IR344", evaluator, b"", 1)
    with pytest.raises(UsageError, match="IR357"):
        evaluator.globals["total"] = "x"
    with pytest.raises(UsageError, match="total"):
        evaluator.globals["totl"]


def test_pointers_in_memory_come_back_with_their_memory():
    text = """
    %p: ptr<stack, u32> = local.addr; local=$x
    store %p, %a
    %s: ptr<stack, ptr<stack, u32>> = local.addr; local=$slot
    store %s, %p
    %q: ptr<stack, u32> = load %s
    %v: u32 = load %q
    %same: bool = eq %p, %q
    %n: u32 = zext %same
    %r: u32 = add %v, %n
    ret %r
    """
    assert body(text, "%a: u32", "u32", head="local $x: u32\nlocal $slot: ptr<stack, u32>").call("f", 9) == 10


def test_addresses_as_numbers():
    text = """
    %p: ptr<stack, u32> = local.addr; local=$x
    %q: ptr<stack, u32> = local.addr; local=$y
    %a: u64 = ptr.to.int %p
    %b: u64 = ptr.to.int %q
    %n: bool = ne %a, %b
    %m: bool = ne %p, %q
    %r: bool = and %n, %m
    ret %r
    """
    assert body(text, result="bool", head="local $x: u32\nlocal $y: u32").call("f") is True
    text = (
        "%p: ptr<kernel, u64> = int.to.ptr %a\n%q: ptr<kernel, u64> = ptr.add %p, %b\n%r: u64 = ptr.to.int %q\nret %r"
    )
    evaluator = body(text, "%a: u64, %b: u64")
    assert evaluator.call("f", 100, 2**64 - 4) == 96
    assert evaluator.call("f", 2**64 - 1, 2) == 1


def test_copy_zero_and_comparison():
    text = """
    %p: ptr<stack, bytes[8]> = local.addr; local=$x
    %q: ptr<stack, bytes[8]> = local.addr; local=$y
    copy %p, %a; size=8
    copy %q, %p; size=8
    zero %q; size=%N
    %m: bool = memeq %p, %q; size=8
    %s: bool = streq %p, %q; size=8
    %i: u32 = zext %m
    %j: u32 = zext %s
    %k: u32 = add %j, %j
    %r: u32 = or %i, %k
    ret %r
    """
    head = "local $x: bytes[8]\nlocal $y: bytes[8]"
    short = body(text.replace("%N", "1"), "%a: ptr<mem, bytes[8]>", "u32", head=head)
    assert short.call("f", b"abcdefgh") == 0
    assert short.call("f", b"\0bcdefgh") == 3
    tail = body(text.replace("zero %q; size=%N", ""), "%a: ptr<mem, bytes[8]>", "u32", head=head)
    assert tail.call("f", b"abcdefgh") == 3


def test_text_comparison_stops_at_nul():
    text = "%s: bool = streq %a, %b; size=8\nret %s"
    evaluator = body(text, "%a: ptr<mem, char[8]>, %b: ptr<mem, char[8]>", "bool")
    assert evaluator.call("f", b"ab\0xxxxx", b"ab\0yyyyy") is True
    assert evaluator.call("f", b"abcdefgh", b"abcdefgh") is True
    assert evaluator.call("f", b"abc\0____", b"abcd\0___") is False
    fault("IR341", evaluator, b"", b"ab\0", b"ab\0yyyyy")


def test_overlapping_copies():
    text = """
    %p: ptr<stack, bytes[16]> = local.addr; local=$x
    %q: ptr<stack, bytes[8]> = field %p; offset=%D, name="q"
    copy %q, %p; size=8
    ret %a
    """
    for distance, code in ((4, "IR359"), (8, None), (0, None)):
        evaluator = body(text.replace("%D", str(distance)), "%a: u64", head="local $x: bytes[16]")
        if code:
            fault(code, evaluator, b"", 1)
        else:
            assert evaluator.call("f", 1) == 1


# Atomics


@pytest.mark.parametrize("type_", ["u32", "u64", "s32", "s64"])
def test_atomics(type_):
    bits = int(type_[1:])
    for op, a, b, new in (
        ("add", 2 ** (bits - 1) - 1, 2, -(2 ** (bits - 1)) + 1),
        ("and", 12, 10, 8),
        ("or", 12, 10, 14),
        ("xor", 12, 10, 6),
    ):
        text = f"""
        %p: ptr<stack, {type_}> = local.addr; local=$x
        store %p, %a
        %old: {type_} = atomic.{op} %p, %b; fetch=true
        %new: {type_} = load %p
        %r: {type_} = sub %new, %old
        ret %r
        """
        got = body(text, f"%a: {type_}, %b: {type_}", type_, head=f"local $x: {type_}").call("f", a, b)
        assert (got - (new - a)) % 2**bits == 0


def test_exchange_and_compare_exchange():
    text = """
    %p: ptr<stack, u32> = local.addr; local=$x
    store %p, %a
    %old: u32 = atomic.cmpxchg %p, %b, %c
    %now: u32 = load %p
    %k: u32 = const; value=1000
    %m: u32 = mul %old, %k
    %r: u32 = add %m, %now
    ret %r
    """
    evaluator = body(text, "%a: u32, %b: u32, %c: u32", "u32", head="local $x: u32")
    assert evaluator.call("f", 5, 5, 7) == 5007
    assert evaluator.call("f", 5, 6, 7) == 5005
    text = text.replace("atomic.cmpxchg %p, %b, %c", "atomic.xchg %p, %b")
    assert body(text, "%a: u32, %b: u32, %c: u32", "u32", head="local $x: u32").call("f", 5, 6, 7) == 5006


def test_unaligned_atomics():
    text = """
    %p: ptr<stack, bytes[16]> = local.addr; local=$x
    %q: ptr<stack, u64> = field %p; offset=4, name="q"
    atomic.add %q, %a
    ret %a
    """
    fault("IR356", body(text, "%a: u64", head="local $x: bytes[16]"), b"", 1)


# Probe reads

READ = """
%p: ptr<stack, bytes[8]> = local.addr; local=$x
%ff: ptr<stack, u64> = cast.ptr %p
%all: u64 = const; value=-1
store %ff, %all
%r: s64 = {op} %p, %a{size}; size={most}
%g: ptr<global, s64> = global.addr; name=@result
store %g, %r
%v: u64 = load %ff
ret %v
"""


def probe(op, space, size="", most=8, params=""):
    text = READ.format(op=op, size=size, most=most)
    before = 'global @result: s64 in ".bss"'
    return body(text, f"%a: ptr<{space}, bytes>{params}", head="local $x: bytes[8]", before=before)


@pytest.mark.parametrize("space", ["kernel", "user"])
def test_probe_reads(space):
    evaluator = probe(f"read.{space}", space)
    memory = getattr(evaluator, space)
    address = memory.map(b"abcdefgh")
    assert evaluator.call("f", address) == int.from_bytes(b"abcdefgh", "little")
    assert evaluator.globals["result"] == 0
    for missing in (address + 1, 0, 12345):
        assert evaluator.call("f", missing) == 0
        assert evaluator.globals["result"] == -14
    memory.map(b"ijkl", address + 8)
    assert evaluator.call("f", address + 4) == int.from_bytes(b"efghijkl", "little")


def test_the_other_space_is_not_read():
    evaluator = probe("read.user", "user")
    assert evaluator.call("f", evaluator.kernel.map(bytes(8))) == 0
    assert evaluator.globals["result"] == -14


@pytest.mark.parametrize("space", ["kernel", "user"])
def test_probe_reads_of_text(space):
    evaluator = probe(f"read.{space}_str", space)
    memory = getattr(evaluator, space)

    def text(data):
        got = evaluator.call("f", memory.map(data))
        return got.to_bytes(8, "little"), evaluator.globals["result"]

    assert text(b"abc\0def") == (b"abc\0\xff\xff\xff\xff", 4)
    assert text(b"\0") == (b"\0" + b"\xff" * 7, 1)
    assert text(b"abcdefghij\0") == (b"abcdefg\0", 8)
    assert text(b"abcdefg\0") == (b"abcdefg\0", 8)
    assert text(b"abc") == (bytes(8), -14)


def test_probe_reads_of_a_size_at_run_time():
    evaluator = probe("read.kernel", "kernel", ", %n", 4, ", %n: u64")
    address = evaluator.kernel.map(b"abcdefgh")
    assert evaluator.call("f", address, 2).to_bytes(8, "little") == b"ab" + b"\xff" * 6
    assert evaluator.call("f", address, 100).to_bytes(8, "little") == b"abcd" + b"\xff" * 4
    assert evaluator.call("f", 0, 0) == 2**64 - 1 and evaluator.globals["result"] == 0


def test_read_value():
    evaluator = body("%v: s16 = read.value %p\nret %v", "%p: ptr<user, s16>", "s16")
    assert evaluator.call("f", evaluator.user.map(b"\xfe\xff")) == -2
    assert evaluator.call("f", 5) == 0
    text = "%q: ptr<kernel, u32> = read.value %p\n%v: u32 = read.value %q\nret %v"
    evaluator = body(text, "%p: ptr<kernel, ptr<kernel, u32>>", "u32")
    inner = evaluator.kernel.map(b"\x2a\0\0\0")
    assert evaluator.call("f", evaluator.kernel.map(inner.to_bytes(8, "little"))) == 42
    assert evaluator.call("f", 0) == 0


def test_memory_for_tests():
    evaluator = body("ret %a", "%a: u64")
    layout = Struct.of("S", [("a", U32), ("b", U32)])
    address = evaluator.kernel.place(layout, (1, 2))
    assert evaluator.kernel.read(address, 8) == struct.pack("=II", 1, 2)
    assert evaluator.kernel.write(address + 4, b"\7\0\0\0") and not evaluator.kernel.write(address + 6, b"abc")
    assert evaluator.kernel.read(address, 8) == struct.pack("=II", 1, 7)
    with pytest.raises(UsageError, match="IR357"):
        evaluator.kernel.map(4, address + 2)
    with pytest.raises(UsageError, match="IR357"):
        evaluator.kernel.map(4, -1)
    evaluator.kernel.unmap(address)
    assert evaluator.kernel.read(address, 1) is None
    assert evaluator.kernel.map(4, address + 2) == address + 2
    fresh = [evaluator.kernel.map(5000) for _ in range(20)]
    assert len(set(fresh)) == 20
    for one, other in zip(sorted(fresh), sorted(fresh)[1:], strict=False):
        assert other - one >= 5000


def test_addresses_are_the_same_in_every_evaluation():
    def one():
        evaluator = body("%v: u64 = ptr.to.int %p\nret %v", "%p: ptr<kernel, u8>")
        return [evaluator.call("f", b"abc") for _ in range(3)]

    assert one() == one() and len(set(one())) == 3


# Malformed functions


@pytest.mark.parametrize(
    "text",
    [
        "^entry:\n  br; to=^nowhere",
        "^entry:\n  %0: u64 = local.get; local=$nowhere\n  ret %0",
        "^entry:\n  %0: ptr<global, u64> = global.addr; name=@nowhere\n  %1: u64 = load %0\n  ret %1",
        "^entry:\n  %0: u64 = call; function=@nowhere\n  ret %0",
        "^entry:\n  %0: map = map.ref; map=@nowhere\n  ret",
        "^entry:\n  %0: u64 = const; value=1",
        "^entry:\n  ret\n  ret",
        "^entry:\n  br; to=^a\n^b:\n  %0: u64 = const; value=1\n  ret %0\n^a:\n  ret %0",
        "^entry:",
        "^entry:\n  %0: u64 = const; value=1\n  %1: u64 = load %0\n  ret %1",
        "^entry:\n  %0: map = const; value=1\n  ret",
        "^entry:\n  %0: ptr<map, u8> = null\n  %1: ptr<stack, u8> = cast.ptr %0\n  ret",
        "^entry:\n  %0: ptr<map, u8> = null\n  %1: ptr<map, u8> = add %0, %0\n  ret",
        '^entry:\n  %0: ptr<packet, u8> = ctx.packet; offset=0, name="data"\n  ret',
    ],
)
def test_malformed_functions_fault(text):
    fault("IR340", body(text, "%x: u64"), b"", 1)


def test_functions_without_blocks_and_wrong_calls():
    evaluator = build("function inline @f(%a: u64) -> u64 {\n}\n")
    with pytest.raises(EvaluationFault, match="no blocks"):
        evaluator.call("f", 1)
    evaluator = body("ret %a", "%a: u64")
    for call in (
        lambda: evaluator.call("g"),
        lambda: evaluator.call("f"),
        lambda: evaluator.call("f", "text"),
        lambda: evaluator.call("f", 1, 2),
        lambda: evaluator.run("f", b"context", 1),
        lambda: evaluator.run("f", b"", 1, cpu=1),
        lambda: evaluator.run("f", b"", 1, colour=1),
        lambda: Evaluator(evaluator.module, colour=1),
    ):
        with pytest.raises(UsageError, match="IR357"):
            call()


def test_arguments_become_values_of_their_types():
    evaluator = body("ret %a", "%a: s8", "s8")
    assert evaluator.call("f", 255) == -1
    evaluator = body("%v: u8 = load %p\nret %v", "%p: ptr<map, u8>", "u8")
    assert evaluator.call("f", b"\7") == 7
    assert Ptr(Space.MAP).space is Space.MAP
