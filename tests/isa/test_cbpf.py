"""The classic machine: bytes, text, checker, interpreter."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osmia.diagnostics import IsaError
from osmia.isa.assembler import AssemblyError
from osmia.isa.cbpf import (
    ANCILLARIES,
    CLASSIC_TABLE,
    ClassicInstruction,
    Packet,
    assemble,
    check,
    decode,
    disassemble,
    encode,
    format_numbers,
    parse_numbers,
    run,
    run_seccomp,
)
from osmia.isa.instruction import InstructionError

# tcpdump -d / -ddd "ip and tcp port 22" on an Ethernet interface.
TCP_22 = """\
(000) ldh      [12]
(001) jeq      #0x800           jt 2\tjf 12
(002) ldb      [23]
(003) jeq      #0x6             jt 4\tjf 12
(004) ldh      [20]
(005) jset     #0x1fff          jt 12\tjf 6
(006) ldxb     4*([14]&0xf)
(007) ldh      [x + 14]
(008) jeq      #0x16            jt 11\tjf 9
(009) ldh      [x + 16]
(010) jeq      #0x16            jt 11\tjf 12
(011) ret      #262144
(012) ret      #0
"""
TCP_22_NUMBERS = """\
13
40 0 0 12
21 0 10 2048
48 0 0 23
21 0 8 6
40 0 0 20
69 6 0 8191
177 0 0 14
72 0 0 14
21 2 0 22
72 0 0 16
21 0 1 22
6 0 0 262144
6 0 0 0
"""


def ethernet(protocol: int, payload: bytes) -> bytes:
    return bytes(12) + protocol.to_bytes(2, "big") + payload


def tcp(source: int, target: int, fragment: int = 0, options: int = 0) -> bytes:
    header = bytes([0x45 + options, 0, 0, 40, 0, 0, *fragment.to_bytes(2, "big"), 64, 6, 0, 0]) + bytes(8 + 4 * options)
    return ethernet(0x800, header + source.to_bytes(2, "big") + target.to_bytes(2, "big") + bytes(16))


def test_a_tcpdump_listing_and_its_numbers_are_the_same_program() -> None:
    program = assemble(TCP_22)
    assert format_numbers(program) == TCP_22_NUMBERS
    assert parse_numbers(TCP_22_NUMBERS) == program
    assert disassemble(program) == TCP_22
    assert assemble(disassemble(program, style="asm")) == program
    assert decode(encode(program)) == program
    assert decode(encode(program, "big"), "big") == program
    check(program)


def test_the_other_forms_of_numbers() -> None:
    program = assemble("ldh [12]\njeq #0x800, yes, no\nyes: ret #-1\nno: ret #0")
    assert parse_numbers("4,40 0 0 12,21 0 1 2048,6 0 0 4294967295,6 0 0 0") == program
    assert parse_numbers("4,40 0 0 12,21 0 1 2048,6 0 0 4294967295,6 0 0 0,") == program
    braces = "{ 0x28, 0, 0, 0x0000000c },\n{ 0x15, 0, 1, 0x00000800 },\n{ 0x6, 0, 0, 0xffffffff },\n{ 0x6, 0, 0, 0 },"
    assert parse_numbers(braces) == program
    assert format_numbers(program, ",") == "4,40 0 0 12,21 0 1 2048,6 0 0 4294967295,6 0 0 0"


@pytest.mark.parametrize(
    "text",
    ["", "x", "2\n6 0 0 0", "1\n6 0 0", "1\n6 0 0 0 0", "1\n6 a 0 0", "{ 6, 0, 0 }", "{ 6, 0, 0, 0 } x", "1\n6 0 0 -1"],
)
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(IsaError) as info:
        parse_numbers(text)
    assert info.value.code == "ISA050"


@pytest.mark.parametrize("text", ["1\n70000 0 0 0", "1\n6 256 0 0", "1\n6 0 0 4294967296"])
def test_numbers_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(InstructionError) as info:
        parse_numbers(text)
    assert info.value.code == "ISA051"


@pytest.mark.parametrize(
    ("packet", "kept"),
    [
        (tcp(1234, 22), 262144),
        (tcp(22, 1234), 262144),
        (tcp(80, 1234), 0),
        (tcp(22, 1234, fragment=1), 0),
        (tcp(22, 1234, fragment=0x4000), 262144),
        (tcp(1, 22, options=3), 262144),
        (ethernet(0x86DD, bytes(60)), 0),
        (tcp(22, 22)[:34], 0),
        (b"", 0),
    ],
)
def test_a_real_filter_keeps_the_right_packets(packet: bytes, kept: int) -> None:
    assert run(assemble(TCP_22), packet) == kept


BPF_ASM = """
/* the forms that bpf_asm
   reads */
        ld #len
        jlt #14, drop      ; too short
        jle #13, drop
        ld #mark
        jneq #7, drop
        ld vlan_tci        // a fact without #
        jne #0, drop
        ldi 5
        ldxi #3
        add x
        st M[2]
        ldx M[2]
        txa
        jgt %x, drop, next
next:   and #0xff
        neg
        mod #100
        ret a
drop:   ret #0
# the end
"""


def test_the_forms_of_bpf_asm() -> None:
    program = assemble(BPF_ASM)
    check(program)
    again = disassemble(program, style="asm")
    assert assemble(again) == program
    assert assemble(disassemble(program)) == program
    packet = Packet(bytes(20), ancillary={"mark": 7})
    assert run(program, packet) == (-8 & 0xFFFFFFFF) % 100
    assert run(program, Packet(bytes(20), ancillary={"mark": 8})) == 0
    assert run(program, Packet(bytes(13), ancillary={"mark": 7})) == 0
    assert run(program, Packet(bytes(20), ancillary={"mark": 7, "vlan_tci": 1})) == 0


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("lda [0]", "ISA061", "similar: ld"),
        ("ldh M[0]", "ISA061", "[x + k]"),
        ("ld #marx", "ISA061", "similar: mark"),
        ("add", "ISA061", "needs an operand"),
        ("jeq #5", "ISA061", "where to jump"),
        ("tax #1", "ISA061", "takes nothing"),
        ("!!", "ISA061", "no instruction"),
        ("jeq #5, nowhere", "ISA062", "no label nowhere"),
        ("(001) ret #0", "ISA062", "instruction 0, not 001"),
        ("a: ret #0\na: ret #0", "ISA062", "twice"),
        ("a: ld #0\njmp a", "ISA062", "before this jump"),
        ("jeq #0, far\n" + "ld #0\n" * 256 + "far:", "ISA062", "reaches 255"),
        ("ld #0x100000000", "ISA063", "32 bits"),
        (f"ld #1{'0' * 6000}", "ISA063", "32 bits"),
    ],
)
def test_text_errors_have_a_place_and_a_hint(text: str, code: str, word: str) -> None:
    with pytest.raises(AssemblyError) as info:
        assemble(text + "\nret #0", file="f.bpf")
    assert info.value.code == code
    assert word in str(info.value)
    assert info.value.span.file == "f.bpf"
    assert info.value.span.line > 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ld #0", "ISA054"),
        ("div #0\nret a", "ISA055"),
        ("mod #0\nret a", "ISA055"),
        ("lsh #32\nret a", "ISA056"),
        ("st M[16]\nret a", "ISA053"),
        ("ldx M[16]\nret a", "ISA053"),
        ("ld M[1]\nret a", "ISA058"),
        ("jeq #1, a, b\na: st M[1]\nb: ld M[1]\nret a", "ISA058"),
        ("ja b\nst M[1]\nb: ld M[1]\nret a", "ISA058"),
        ("ld [-4095]\nret a", "ISA059"),
        ("ld [-1]\nret a", "ISA059"),
        ("", "ISA057"),
        ("ld #0\n" * 4096 + "ret #0", "ISA057"),
    ],
)
def test_the_checker_refuses_what_the_kernel_refuses(text: str, code: str) -> None:
    with pytest.raises(InstructionError) as info:
        check(assemble(text))
    assert info.value.code == code


@pytest.mark.parametrize(
    ("insns", "code"),
    [
        ([(0x05, 0, 0, 1), (0x06, 0, 0, 0)], "ISA052"),
        ([(0x05, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)], "ISA052"),
        ([(0x15, 1, 0, 0), (0x06, 0, 0, 0)], "ISA052"),
        ([(0x15, 0, 200, 0), (0x06, 0, 0, 0)], "ISA052"),
        ([(0x0E, 0, 0, 0)], "ISA051"),
        ([(0xB7, 0, 0, 0), (0x06, 0, 0, 0)], "ISA051"),
        ([(0x106, 0, 0, 0)], "ISA051"),
    ],
)
def test_jumps_and_opcodes_are_checked(insns: list[tuple[int, int, int, int]], code: str) -> None:
    with pytest.raises(InstructionError) as info:
        check([ClassicInstruction(*fields) for fields in insns])
    assert info.value.code == code


def test_scratch_written_on_every_path_is_accepted() -> None:
    check(assemble("jeq #1, a, b\na: st M[1]\nja c\nb: stx M[1]\nc: ld M[1]\nret a"))
    check(assemble("jeq #1, a, b\na: ret #0\nb: stx M[1]\nld M[1]\nret a"))
    check(assemble("div x\nmod x\nlsh x\nret a"))


def test_arithmetic_wraps_at_32_bits_and_division_by_zero_ends_with_0() -> None:
    def value(text: str) -> int:
        return run(assemble(text + "\nret a"), b"")

    assert value("ld #0xffffffff\nadd #2") == 1
    assert value("ld #1\nsub #2") == 0xFFFFFFFF
    assert value("ld #0x10000\nmul #0x10000") == 0
    assert value("ld #7\ndiv #2") == 3
    assert value("ld #0x80000000\nrsh #31") == 1
    assert value("ld #1\nldx #33\nlsh x") == 2
    assert value("ld #1\nneg") == 0xFFFFFFFF
    assert value("ld #12\nxor #10") == 6
    assert run(assemble("ld #5\ndiv x\nret #1"), b"") == 0
    assert run(assemble("ld #5\nmod x\nret #1"), b"") == 0


def test_header_areas() -> None:
    frame = bytes(range(64))
    link = assemble("ldb [-2097146]\nret a")  # SKF_LL_OFF + 6
    network = assemble("ldh [-1048574]\nret a")  # SKF_NET_OFF + 2
    packet = Packet(frame, start=14, link=0, network=14)
    assert run(link, packet) == 6
    assert run(network, packet) == 0x1011
    assert run(assemble("ldb [0]\nret a"), packet) == 14
    assert run(assemble("ld #len\nret a"), packet) == 50
    assert run(link, frame) == run(network, frame) == 0
    assert run(assemble("ldx #0xffffffff\nldb [x + 1]\nret a"), frame) == 0
    assert run(assemble("ldx #0xffffffff\nldb [x + 5]\nret a"), frame) == 4
    assert run(assemble("ldb [-2147483648]\nret #9"), frame) == 0


def test_facts() -> None:
    for row in ANCILLARIES:
        program = assemble(f"ld #{row.name}\nret a")
        if row.name in ("nla", "nlan"):
            with pytest.raises(InstructionError) as info:
                run(program, b"")
            assert info.value.code == "ISA064"
            continue
        expected = 0 if row.name == "xor_x" else 77
        assert run(program, Packet(b"", ancillary={row.name: 77})) == expected
        for name in row.names:
            assert assemble(f"ld {name}\nret a") == assemble(f"ld [{name}]\nret a") == program
    assert run(assemble("ld #6\nldx #3\nld #xor_x\nret a"), b"") == 5


SECCOMP = """
        ld [4]
        jne #0xc000003e, bad
        ld [0]
        jeq #60, good
        jeq #231, good
bad:    ret #0
good:   ret #0x7fff0000
"""


def test_a_seccomp_filter_reads_words_in_host_order() -> None:
    program = assemble(SECCOMP)
    check(program, seccomp=True)
    for order in ("little", "big"):
        for number, verdict in ((60, 0x7FFF0000), (59, 0)):
            data = number.to_bytes(4, order) + (0xC000003E).to_bytes(4, order) + bytes(56)
            assert run_seccomp(program, data, order) == verdict
    assert run_seccomp(assemble("ld #len\nret a"), bytes(64)) == 64


@pytest.mark.parametrize(
    "text", ["ldh [0]", "ldb [0]", "ld [2]", "ld [64]", "ld [x + 0]", "ldxb 4*([0]&0xf)", "mod #3"]
)
def test_seccomp_filters_cannot_do_everything(text: str) -> None:
    program = assemble(text + "\nret a")
    check(program)
    with pytest.raises(InstructionError) as info:
        check(program, seccomp=True)
    assert info.value.code == "ISA060"


def arbitrary(chooser: random.Random, length: int) -> list[ClassicInstruction]:
    """Instructions of every row, jumps inside the program, and a return."""
    program = []
    for index in range(length):
        row = chooser.choice(CLASSIC_TABLE)
        room = length - index - 1
        k = chooser.choice([0, 1, 5, 14, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, chooser.randrange(1 << 32)])
        insn = ClassicInstruction(row.code)
        if row.kind == "goto":
            insn.k = chooser.randrange(room + 1)
        elif row.kind == "jump":
            insn.jt, insn.jf = chooser.randrange(min(room, 255) + 1), chooser.randrange(min(room, 255) + 1)
            insn.k = k if row.operand == "imm" else 0
        elif row.operand == "mem":
            insn.k = chooser.randrange(16)
        elif row.operand not in ("x", "a", "none", "len"):
            insn.k = k
        program.append(insn)
    return [*program, ClassicInstruction(0x06, 0, 0, 1)]


@given(st.randoms(use_true_random=False), st.integers(0, 40), st.sampled_from(["tcpdump", "asm"]))
def test_text_round_trips(chooser: random.Random, length: int, style: str) -> None:
    program = arbitrary(chooser, length)
    text = disassemble(program, style=style)
    assert assemble(text) == program
    assert disassemble(assemble(text), style=style) == text
    assert parse_numbers(format_numbers(program)) == program
    assert decode(encode(program)) == program


def test_every_row_round_trips_and_is_checked() -> None:
    for row in CLASSIC_TABLE:
        k = {"mem": 3, "imm": 9, "abs": 8, "ind": 8, "msh": 14}.get(row.operand, 0)
        program = [
            ClassicInstruction(0x02, 0, 0, 3),
            ClassicInstruction(row.code, 0, 0, k),
            ClassicInstruction(0x06, 0, 0, 0),
        ]
        assert check(program)[1] is row
        assert assemble(disassemble(program)) == program
        assert row.mnemonic in disassemble(program, style="asm")


@given(st.binary(max_size=160))
def test_fuzzed_bytes(data: bytes) -> None:
    try:
        program = decode(data)
        disassemble(program)
        check(program)
        run(program, data)
    except IsaError as error:
        assert error.code.startswith("ISA")


WORDS = "ld ldh ldx [12] [x + 4] M[3] #5 x jeq jt 4 jf 5 L1 L1: , 4*([14]&0xf) ret a (000) { } /* */ ; # 7 #mark ja"


@given(
    st.lists(st.sampled_from([*WORDS.split(), "\n", "\u0663", "\0"]), max_size=25).map(" ".join) | st.text(max_size=60)
)
@example("ld [" + "9" * 6000 + "]")
@example("jeq #1 jt " + "9" * 6000 + " jf 1")
@example("(" + "9" * 6000 + ") ret a")
@example("4*(" * 200)
def test_fuzzed_text(text: str) -> None:
    for read in (assemble, parse_numbers):
        try:
            read(text)
        except IsaError as error:
            assert error.code.startswith("ISA")
