from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osmia.diagnostics import IsaError, MultiError
from osmia.isa.assembler import AssemblyError, assemble, assemble_source
from osmia.isa.disassembler import disassemble
from osmia.isa.instruction import Instruction, encode_program
from osmia.isa.mnemonics import MNEMONICS

HELPERS = {"bpf_map_lookup_elem": 1, "bpf_ktime_get_ns": 5, "bpf_get_prandom_u32": 7}


def one(text: str, **names: dict[str, int]) -> str:
    """The bytes of a single line."""
    return encode_program(assemble(text, check=False, **names)).hex()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r0 = *(u32 *)(r1 + 4)", "6110040000000000"),
        ("r0 = *(u32 *)(r1 +4)", "6110040000000000"),
        ("r0=*(u32*)(r1+4)", "6110040000000000"),
        ("w0 = *(u8 *)(r10 - 8)", "71a0f8ff00000000"),
        ("r0 = *(u64 *)(r1)", "7910000000000000"),
        ("r0 = *(s16 *)(r1 + 0)", "8910000000000000"),
        ("*(u64 *)(r10 - 8) = r1", "7b1af8ff00000000"),
        ("*(u32 *)(r10 - 8) = w1", "631af8ff00000000"),
        ("*(u8 *)(r10 - 1) = 255", "720affffff000000"),
        ("if r1 s> 5 goto +3", "6501030005000000"),
        ("if r1 == 0xffffffff goto pc+3", "15010300ffffffff"),
        ("if w1 & w2 goto -1", "4e21ffff00000000"),
        ("w1 = w2", "bc21000000000000"),
        ("r1 = (s8)r2", "bf21080000000000"),
        ("w1 = (s16)w2", "bc21100000000000"),
        ("r1 = -r1", "8701000000000000"),
        ("r1 = -5", "b7010000fbffffff"),
        ("r1 += -2147483648", "0701000000000080"),
        ("r1 = 0xffffffff", "b7010000ffffffff"),
        ("r1 s>>= 3", "c701000003000000"),
        ("r1 s/= r2", "3f21010000000000"),
        ("w1 s%= 7", "9401010007000000"),
        ("r0 = be16 r0", "dc00000010000000"),
        ("r0 = le64 r0", "d400000040000000"),
        ("r0 = bswap32 r0", "d700000020000000"),
        ("lock *(u64 *)(r1 + 0) += r2", "db21000000000000"),
        ("lock *(u32 *)(r1 + 0) ^= r2", "c3210000a0000000"),
        ("r1 = atomic_fetch_add((u64 *)(r2 + 0), r1)", "db12000001000000"),
        ("r1 = atomic64_fetch_add((u64 *)(r2 +0), r1)", "db12000001000000"),
        ("w1 = atomic_fetch_or((u32 *)(r2 + 0), w1)", "c312000041000000"),
        ("r1 = xchg_64(r2 + 8, r1)", "db120800e1000000"),
        ("r0 = atomic64_cmpxchg((u64 *)(r2 +0), r0, r3)", "db320000f1000000"),
        ("w0 = cmpxchg32_32(r2 + 0, w0, w3)", "c3320000f1000000"),
        ("r1 = load_acquire((u16 *)(r2 + 4))", "cb21040000010000"),
        ("store_release((u64 *)(r2 - 4), r1)", "db12fcff10010000"),
        ("call 5", "8500000005000000"),
        ("call -1", "85000000ffffffff"),
        ("call bpf_ktime_get_ns", "8500000005000000"),
        ("call bpf_ktime_get_ns#5", "8500000005000000"),
        ("call unknown#300", "850000002c010000"),
        ("call pc+3", "8510000003000000"),
        ("call kfunc[id:99]", "8520000063000000"),
        ("call kfunc[id:99, fd:2]", "8520020063000000"),
        ("call kfunc[bpf_rdonly_cast]", "852000004d000000"),
        ("call bpf_rdonly_cast#77", "852000004d000000"),
        ("callx r3", "8d03000000000000"),
        ("r1 = 0x1122334455667788 ll", "18010000887766550000000044332211"),
        ("r1 = -1 ll", "18010000ffffffff00000000ffffffff"),
        ("r1 = map[fd:5] ll", "18110000050000000000000000000000"),
        ("r1 = map[counts] ll", "18110000090000000000000000000000"),
        ("r1 = map[counts][0]+16 ll", "18210000090000000000000010000000"),
        ("r1 = map[idx:2][0]+16 ll", "18610000020000000000000010000000"),
        ("r1 = btf[id:7] ll", "18310000070000000000000000000000"),
        ("r1 = btf[id:7, fd:3] ll", "18310000070000000000000003000000"),
        ("r1 = subprog[+3] ll", "18410000030000000000000000000000"),
        ("goto +3", "0500030000000000"),
        ("gotol +70000", "0600000070110100"),
        ("may_goto +1", "e500010000000000"),
        ("gotox r2", "0d02000000000000"),
        ("r0 = *(u8 *)skb[12]", "300000000c000000"),
        ("r0 = *(u16 *)skb[r7]", "4870000000000000"),
        ("r0 = *(u16 *)skb[r7 + -4]", "48700000fcffffff"),
        ("r1 = addr_space_cast(r2, 1, 0)", "bf21010000000100"),
        ("r1 = addr_space_cast(r2, 0, 1)", "bf21010001000000"),
        ("exit", "9500000000000000"),
        (".raw ff 01 02 00 03 00 00 00", "ff01020003000000"),
        (".raw 1801000005000000\n.raw 00 00 00 00 01 00 00 00 # wide", "18010000050000000000000001000000"),
    ],
)
def test_lines_have_these_bytes(text: str, expected: str) -> None:
    names = {"helpers": HELPERS, "kfuncs": {"bpf_rdonly_cast": 77}, "maps": {"counts": 9}}
    assert one(text, **names) == expected


def test_labels_comments_and_layout() -> None:
    assembly = assemble_source(
        """
        # count down
        r0 = 10 ; start
        r1 = 5 ll            // two slots
        loop: again:
            r0 += -1
            if r0 != 0 goto loop
            call twice
            if r0 == 4 goto out
            goto again
        out:    exit
        twice:
            r0 = 2
            exit
        """
    )
    assert disassemble(assembly.instructions).splitlines() == [
        "r0 = 10",
        "r1 = 0x5 ll",
        "r0 += -1",
        "if r0 != 0 goto -2",
        "call pc+3",
        "if r0 == 4 goto +1",
        "goto -5",
        "exit",
        "r0 = 2",
        "exit",
    ]
    assert assembly.labels == {"loop": 3, "again": 3, "out": 8, "twice": 9}
    assert assembly.lines[:4] == [3, 4, 6, 7]


def test_callbacks_by_label() -> None:
    program = assemble("r2 = subprog[each] ll\nr0 = 0\nexit\neach: r0 = 0\nexit")
    assert program[0] == Instruction.wide(2, 2, 4)
    text = disassemble(program, labels=True)
    assert "r2 = subprog[func_4] ll" in text
    assert assemble(text) == program


@pytest.mark.parametrize(
    ("text", "code", "column", "words"),
    [
        ("r0 = @", "ISA030", 6, ["'@'"]),
        ("r0 = 12ab", "ISA030", 6, ["'12ab'", "0x"]),
        ("r0 = 010", "ISA030", 6, ["'010'"]),
        (".raw 95 00", "ISA030", 6, ["eight bytes"]),
        (".raw 18 00 00 00 00 00 00 00", "ISA002", 6, []),
        ("exot", "ISA031", 1, ["exit"]),
        ("goot +1", "ISA031", 1, ["goto"]),
        ("mov r0, 5", "ISA031", 1, ["no instruction begins with 'mov'"]),
        ("r0 = *(u33 *)(r1 + 4)", "ISA031", 8, ["'u32'", "'u64'"]),
        ("r0 = *(u32 *)(w1 + 4)", "ISA031", 15, ["a register r0 to r10"]),
        ("r0 += w1", "ISA031", 7, ["a register r0 to r10"]),
        ("r0 = r1 +", "ISA031", 9, ["the end of the line"]),
        ("if r0 == r1", "ISA031", 12, ["too early", "'goto'"]),
        ("call +3", "ISA031", 6, ["pc+3"]),
        ("r0 = r11", "ISA032", 6, ["r11", "r0 to r10"]),
        ("r0 |= r50", "ISA032", 7, ["r50"]),
        ("r00 = 1", "ISA032", 1, ["r00"]),
        ("r1 = be16 r2", "ISA032", 11, ["r1"]),
        ("r1 = atomic_fetch_add((u64 *)(r2 + 0), r3)", "ISA032", 40, ["r1"]),
        ("r0 = 2147483648", "ISA033", 6, ["0x80000000"]),
        ("r0 = 0x100000000", "ISA033", 6, ["32 bits"]),
        ("r0 = *(u8 *)(r1 + 32768)", "ISA033", 17, ["16 bits"]),
        ("goto +32768", "ISA033", 6, ["gotol"]),
        ("r0 = 0x10000000000000000 ll", "ISA033", 6, ["64 bits"]),
        (f"r0 = 1{'0' * 5000}", "ISA033", 6, ["..."]),
        ("goto nowhere", "ISA034", 6, ["nowhere"]),
        ("call bpf_nothing", "ISA036", 6, ["bpf_nothing"]),
        ("call bpf_ktime_get_nss", "ISA036", 6, ["bpf_ktime_get_ns"]),
        ("call kfunc[foo]", "ISA036", 12, ["no kernel function names"]),
        ("r1 = map[foo] ll", "ISA036", 10, ["no map names"]),
        ("call bpf_ktime_get_ns#6", "ISA037", 6, ["helper 5, not 6"]),
        ("r10 = 5", "ISA013", 1, ["r10"]),
        ("goto +3", "ISA014", 1, ["slot 4"]),
        ("goto +1\nr1 = 5 ll", "ISA015", 1, ["wide load"]),
        ("r0:", "ISA035", 1, ["register"]),
        ("pc: exit", "ISA035", 1, ["register"]),
    ],
)
def test_errors_have_a_place_a_cause_and_a_hint(text: str, code: str, column: int, words: list[str]) -> None:
    with pytest.raises(AssemblyError) as info:
        assemble(f"{text}\nexit", file="x.s", helpers=HELPERS)
    error = info.value
    assert error.code == code
    assert (error.span.file, error.span.line, error.span.column + 1) == ("x.s", 1, column)
    assert error.span.end_column > error.span.column
    for word in words:
        assert word in str(error)


def test_the_end_and_the_empty_program_are_checked_on_request() -> None:
    for text, code in (("r0 = 0", "ISA016"), ("# nothing", "ISA017")):
        with pytest.raises(AssemblyError) as info:
            assemble(text)
        assert info.value.code == code
        assemble(text, check=False)


def test_all_errors_are_reported_in_order() -> None:
    with pytest.raises(AssemblyError) as info:
        assemble("r0 = 0\nfoo\nr0 = r99\nexit\nbar r1")
    assert isinstance(info.value, IsaError)
    assert isinstance(info.value, MultiError)
    assert [(error.span.line, error.code) for error in info.value.errors] == [
        (2, "ISA031"),
        (3, "ISA032"),
        (5, "ISA031"),
    ]


def test_a_label_twice_names_the_first() -> None:
    with pytest.raises(AssemblyError) as info:
        assemble("a: r0 = 0\na: exit")
    [error] = info.value.errors
    assert (error.code, error.span.line) == ("ISA035", 2)
    assert error.notes[0][1] is not None
    assert error.notes[0][1].line == 1


def test_a_label_that_is_also_a_helper_is_ambiguous() -> None:
    text = "call bpf_ktime_get_ns\nexit\nbpf_ktime_get_ns: exit"
    assert assemble(text)[0].src == 1
    with pytest.raises(AssemblyError) as info:
        assemble(text, helpers=HELPERS)
    assert info.value.code == "ISA037"


def test_a_verifier_call_needs_the_helper_table() -> None:
    with pytest.raises(AssemblyError) as info:
        assemble("call bpf_map_lookup_elem#1\nexit")
    assert info.value.code == "ISA036"


WORDS = (
    "r0 r1 w3 r10 r11 = += s> s>>= ( ) * u32 u64 s8 [ ] + - 4 0x10 99999999999 goto pc +3 call if lock ll map fd :"
    " , exit L1: L1 # ; // kfunc id subprog be16 atomic_fetch_add .raw 95 skb % %r1 mov add32 ldxw fetch jeq"
)
PIECES = st.sampled_from([*WORDS.split(), "\n", "\n", "\u00e9", "\u0663", "\0"])


@given(st.lists(PIECES, max_size=30).map(" ".join) | st.text(max_size=80))
@example("r0 = \u0663")
@example(".raw \uff195 00 00 00 00 00 00 00")
@example("r" + "9" * 6000 + " = 0")
@example("a:" * 50)
def test_fuzzed_text_assembles_or_is_refused(text: str) -> None:
    for dialect in (None, MNEMONICS):
        try:
            program = assemble(text, check=False, **({"dialect": dialect} if dialect else {}))
        except IsaError as error:
            assert error.code.startswith("ISA")
            assert error.span.line > 0
            continue
        encode_program(program)
