"""Helpers of the evaluator against those of the running kernel: the same program, loaded and run once."""

from __future__ import annotations

import random

import pytest
from ir_build import HEAD

from osmia.compiler.evaluate import Evaluator
from osmia.compiler.text import parse_module

pytestmark = pytest.mark.kernel
PACKET = bytes(range(64))


class Both:
    """One module in the evaluator and in the kernel."""

    def __init__(self, text):
        from osmia.compiler.codegen import compile_module
        from osmia.kernel.load import load
        from osmia.object.elf import read_object

        self.module = parse_module(HEAD + text)
        self.ours = Evaluator(self.module)
        self.theirs = load(read_object(compile_module(self.module), "osmia_eval"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.theirs.close()

    def run(self, packet=PACKET, **values):
        """Runs ``main`` in both with these globals; both must give the same, which is returned."""
        from osmia.kernel.test_run import test_run

        for name, value in values.items():
            self.ours.globals[name] = value
            self.theirs.set_global(name, value)
        ours = self.ours.run("main", b"", packet=packet)
        theirs = test_run(self.theirs.programs["main"], packet)
        names = [name for name, made in self.module.globals.items() if not made.section.startswith(".rodata")]
        got = {name: self.ours.globals[name] for name in names}
        assert got == {name: self.theirs.get_global(name) for name in names}, values
        assert ours.value & 0xFFFFFFFF == theirs.retval, values
        # The kernel gives the bytes in front as well, and leaves open what is in new ones.
        assert len(ours.meta) + len(ours.packet) == len(theirs.data), values
        assert ours.packet == theirs.data[len(ours.meta) :], values
        return got


TEXT = """
global @text: bytes[32] in ".bss"
global @other: bytes[32] in ".bss"
global @size: u64 in ".bss"
global @flags: u64 in ".bss"
global @number: u64 in ".bss"
global @result: s64 in ".bss"
function program @main(%ctx: ptr<ctx, bytes[16]>) -> s32 {
  section "tc"
  local $number: u64
^entry:
  %text: ptr<global, bytes[32]> = global.addr; name=@text
  %other: ptr<global, bytes[32]> = global.addr; name=@other
  %size_at: ptr<global, u64> = global.addr; name=@size
  %flags_at: ptr<global, u64> = global.addr; name=@flags
  %number_at: ptr<global, u64> = global.addr; name=@number
  %result_at: ptr<global, s64> = global.addr; name=@result
  %number: ptr<stack, u64> = local.addr; local=$number
  %wide: u64 = load %size_at
  %least: u64 = const; value=LEAST
  %less: u64 = sub %wide, %least
  %inside: u64 = br.inrange %less; count=32, then=^go, other=^end
^go:
  %size: u64 = add %inside, %least
  %length: u32 = trunc %size
  %flags: u64 = load %flags_at
  %result: s64 = helper CALL
  store %result_at, %result
  %v: u64 = load %number
  store %number_at, %v
  br; to=^end
^end:
  %ok: s32 = const; value=0
  ret %ok
}
"""


def both_text(call, least=1, before="", more=""):
    return Both(
        before
        + TEXT.replace("  %result: s64 = helper CALL", more + f"  %result: s64 = helper {call}").replace(
            "LEAST", str(least)
        )
    )


def numbers():
    rng = random.Random(7)
    yield from (
        b"42",
        b"  -17x",
        b"0x1F ",
        b"017",
        b"08",
        b"0xg",
        b"12",
        b"",
        b"x",
        b"-",
        b"+5",
        b" ",
        b"-0x",
        b"- 5",
        b"0",
    )
    for bits in (31, 32, 63, 64, 65):
        yield from (b"%d" % (2**bits), b"%d" % (2**bits - 1), b"-%d" % (2**bits), b"-%d" % (2**bits + 1))
        yield b"0x%x" % (2**bits - 1)
    for _ in range(60):
        yield bytes(rng.choice(b" -+0123456789abcdefxX\tz") for _ in range(rng.randrange(8)))


@pytest.mark.parametrize("name", ["strtol", "strtoul"])
def test_numbers_in_text(name):
    with both_text(f'%text, %size, %flags, %number; name="{name}"') as both:
        for text in numbers():
            for flags in (0, 8, 10, 16, 2, 64):
                both.run(text=text.ljust(32, b"\0"), size=max(len(text), 1), flags=flags)


def test_comparison_of_text():
    before = 'global @fixed: bytes[8] in ".rodata" = x"6162630000000000"\n'
    more = "  %fixed: ptr<global, bytes[8]> = global.addr; name=@fixed\n"
    with both_text('%text, %length, %fixed; name="strncmp"', before=before, more=more) as both:
        for value in (b"abc", b"ab", b"abd", b"abcd", b"", b"Abc", b"ab\xff", b"abc\0x"):
            for size in (1, 2, 3, 4, 8):
                both.run(text=value.ljust(32, b"\0"), size=size)


FORMAT = """
global @format: bytes[64] in ".rodata" = x"FORMAT"
global @values: u64[3] in ".bss"
global @out: bytes[32] in ".bss"
global @result: s64 in ".bss"
function program @main(%ctx: ptr<ctx, bytes[16]>) -> s32 {
  section "tc"
^entry:
  %format: ptr<global, bytes[64]> = global.addr; name=@format
  %values: ptr<global, u64[3]> = global.addr; name=@values
  %out: ptr<global, bytes[32]> = global.addr; name=@out
  %result_at: ptr<global, s64> = global.addr; name=@result
  %size: u32 = const; value=16
  %length: u32 = const; value=LENGTH
  %result: s64 = helper %out, %size, %format, %values, %length; name="snprintf"
  store %result_at, %result
  %ok: s32 = const; value=0
  ret %ok
}
"""


@pytest.mark.parametrize(
    ("format", "count"),
    [
        ("plain 100%%", 0), ("%d %u %i", 3), ("%lld %llu", 2), ("%ld|%lu", 2), ("%x %X %llx", 3), ("[%5d|%-5d]", 2),
        ("[%05d|%08x]", 2), ("[%+d|% d]", 2), ("%c%c%c", 3), ("%px", 1), ("[%-4u]%%", 1), ("%3c|%-3c|", 2), ("%lli", 1),
        ("%llX and much more than fits", 1), ("[%0-5d]", 1), ("[%-05x]", 1), ("[% 05d]", 1), ("[%+-6lld]", 1),
    ],
)  # fmt: skip
def test_formats(format, count):
    text = FORMAT.replace("FORMAT", format.encode().ljust(64, b"\0").hex()).replace("LENGTH", str(8 * count))
    rng = random.Random(3)
    with Both(text) as both:
        samples = [[65, 66, 67], [0, 0, 0], [2**64 - 1] * 3, [2**31, 2**32 - 1, 2**63]]
        samples += [[rng.getrandbits(64) for _ in range(3)] for _ in range(5)]
        for values in samples:
            both.run(values=values)


def test_checksums():
    more = "  %eight: u32 = const; value=8\n  %seed: u32 = trunc %flags\n"
    rng = random.Random(5)
    with both_text('%text, %eight, %other, %eight, %seed; name="csum_diff"', more=more) as both:
        for _ in range(20):
            both.run(text=rng.randbytes(32), other=rng.randbytes(32), flags=rng.getrandbits(16), size=1)


XDP = """
global @by: s32 in ".bss"
global @result: s64 in ".bss"
global @room: s64 in ".bss"
function program @main(%ctx: ptr<ctx, bytes[24]>) -> s32 {
  section "xdp"
^entry:
  %by_at: ptr<global, s32> = global.addr; name=@by
  %result_at: ptr<global, s64> = global.addr; name=@result
  %room_at: ptr<global, s64> = global.addr; name=@room
  %by: s32 = load %by_at
  %result: s64 = helper %ctx, %by; name="NAME"
  store %result_at, %result
  %data: ptr<packet, bytes> = ctx.packet; offset=0, name="data"
  %end: ptr<packet, bytes> = ctx.packet; offset=4, name="data_end"
  %meta: ptr<packet, bytes> = ctx.packet; offset=8, name="data_meta"
  %zero: u64 = const; value=0
  %head: ptr<packet, u8, 1> = br.packet %meta, %zero, %data; size=1, then=^meta, other=^none
^meta:
  %four: ptr<packet, bytes, 8> = br.packet %meta, %zero, %data; size=8, then=^long, other=^short
^long:
  %e: s64 = const; value=8
  store %room_at, %e
  br; to=^done
^short:
  %f: s64 = const; value=4
  store %room_at, %f
  br; to=^done
^none:
  %n: s64 = const; value=0
  store %room_at, %n
  br; to=^done
^done:
  %pass: s32 = const; value=2
  ret %pass
}
"""


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("xdp_adjust_head", [0, 1, 14, 50, 51, 64, -1, -4, -20, -200, -300, 2**31 - 1]),
        ("xdp_adjust_meta", [0, -4, -8, -3, -1, 4, -200, -300]),
        ("xdp_adjust_tail", [0, -1, -50, -51, -64, 1, 20, 2**31 - 1]),
    ],
)
def test_moving_packets(name, steps):
    with Both(XDP.replace("NAME", name)) as both:
        for by in steps:
            both.run(by=by)


BYTES = """
global @at: u32 in ".bss"
global @size: u64 in ".bss"
global @out: bytes[32] in ".bss"
global @result: s64 in ".bss"
function program @main(%ctx: ptr<ctx, bytes[24]>) -> s32 {
  section "SECTION"
^entry:
  %at_at: ptr<global, u32> = global.addr; name=@at
  %size_at: ptr<global, u64> = global.addr; name=@size
  %out: ptr<global, bytes[32]> = global.addr; name=@out
  %result_at: ptr<global, s64> = global.addr; name=@result
  %at: u32 = load %at_at
  %wide: u64 = load %size_at
  %one: u64 = const; value=1
  %less: u64 = sub %wide, %one
  %inside: u64 = br.inrange %less; count=32, then=^go, other=^end
^go:
  %size: u64 = add %inside, %one
  %length: u32 = trunc %size
  %result: s64 = helper %ctx, %at, %out, %lengthEXTRA; name="NAME"
  store %result_at, %result
  br; to=^end
^end:
  %pass: s32 = const; value=2
  ret %pass
}
"""


@pytest.mark.parametrize(
    ("section", "name", "extra"),
    [
        ("tc", "skb_load_bytes", ""), ("xdp", "xdp_load_bytes", ""), ("xdp", "xdp_store_bytes", ""),
        ("tc", "skb_store_bytes", ", %one"),
    ],
)  # fmt: skip
def test_bytes_of_packets(section, name, extra):
    text = BYTES.replace("SECTION", section).replace("NAME", name).replace("EXTRA", extra)
    with Both(text) as both:
        for at, size in (
            (0, 1),
            (1, 32),
            (32, 32),
            (33, 32),
            (63, 1),
            (64, 1),
            (0xFFFF, 4),
            (0x10000, 4),
            (2**32 - 1, 2),
        ):
            both.run(at=at, size=size, out=bytes(range(100, 132)))


RING = """
map @ring: ringbuf {max_entries=4096}
global @sizes: u64[8] in ".bss"
global @results: s64[8] in ".bss"
global @unread: u64 in ".bss"
global @data: bytes[2048] in ".bss"
function program @main(%ctx: ptr<ctx, bytes[16]>) -> s32 {
  section "tc"
  local $i: u64
^entry:
  %ring: map = map.ref; map=@ring
  %zero: u64 = const; value=0
  local.set %zero; local=$i
  br; to=^head
^head:
  %i: u64 = local.get; local=$i
  %k: u64 = br.inrange %i; count=8, then=^body, other=^done
^body:
  %sizes: ptr<global, u64[8]> = global.addr; name=@sizes
  %size_at: ptr<global, u64> = element %sizes, %k
  %wide: u64 = load %size_at
  %size: u64 = br.inrange %wide; count=2049, then=^put, other=^done
^put:
  %data: ptr<global, bytes[2048]> = global.addr; name=@data
  %r: s64 = helper %ring, %data, %size, %zero; name="ringbuf_output"
  %results: ptr<global, s64[8]> = global.addr; name=@results
  %result_at: ptr<global, s64> = element %results, %k
  store %result_at, %r
  %one: u64 = const; value=1
  %next: u64 = add %k, %one
  local.set %next; local=$i
  br; to=^head
^done:
  %unread: u64 = helper %ring, %zero; name="ringbuf_query"
  %unread_at: ptr<global, u64> = global.addr; name=@unread
  store %unread_at, %unread
  %ok: s32 = const; value=0
  ret %ok
}
"""


def test_full_rings():
    rng = random.Random(11)
    rounds = [
        [2048, 2024, 8, 0, 0, 0, 0, 0], [2048, 2032, 0, 0, 0, 0, 0, 0], [1000] * 8, [2048, 2016, 1, 1, 1, 1, 1, 1],
        [2040, 2033, 1, 1, 1, 1, 1, 1], *([rng.randrange(2049) for _ in range(8)] for _ in range(5)),
    ]  # fmt: skip
    for sizes in rounds:
        with Both(RING) as both:
            both.ours.drain = False
            both.run(sizes=sizes)


def test_probe_reads_of_text():
    call, more = '%other, %length, %p; name="probe_read_kernel_str"', "  %p: u64 = ptr.to.int %text\n"
    with both_text(call, least=0, more=more) as both:
        for value in (b"", b"a", b"abcdef", b"x" * 31, b"x" * 32):
            for size in (0, 1, 2, 7, 8, 31):
                both.run(text=value.ljust(32, b"\0"), size=size, other=b"\xff" * 32)
