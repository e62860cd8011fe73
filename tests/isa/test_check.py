from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osmia.diagnostics import IsaError
from osmia.isa import generate
from osmia.isa.assembler import assemble
from osmia.isa.check import check_instruction, check_program, decode_checked
from osmia.isa.instruction import Instruction, InstructionError, encode_program
from osmia.isa.table import BY_OPCODE, TABLE, Row, find_row

SUITE = Path(os.environ.get("OSMIA_CONFORMANCE") or Path(__file__).parents[3] / "shared" / "conformance") / "isa"
needs_suite = pytest.mark.skipif(not SUITE.is_dir(), reason="no conformance suite (OSMIA_CONFORMANCE)")


def raw_sections() -> list[tuple[str, str]]:
    found = []
    for path in sorted(SUITE.glob("negative/*.data")):
        text = path.read_text()
        if "\n-- raw\n" in text:
            found.append((path.stem, text.split("\n-- raw\n")[1].split("\n--")[0]))
    return found


@needs_suite
def test_every_program_of_the_suite_is_accepted() -> None:
    vectors = json.loads((SUITE / "vectors.json").read_text())
    assert len(vectors) == 313
    for vector in vectors:
        data = bytes.fromhex(vector["insns"])
        assert encode_program(decode_checked(data)) == data, vector["name"]


@needs_suite
def test_every_reserved_field_of_the_suite_is_refused() -> None:
    sections = raw_sections()
    assert len(sections) == 45
    for name, raw in sections:
        with pytest.raises(InstructionError) as info:
            decode_checked(bytes.fromhex(raw))
        assert info.value.code == "ISA011", name
        assert info.value.index == 0
        field = {"offset": "offset", "src": "source register", "dst": "destination register", "imm": "immediate"}
        assert field[name.rpartition("-")[2]] in info.value.message, name


def one(hexadecimal: str) -> list[Instruction]:
    """The bytes and an exit."""
    return decode_checked(bytes.fromhex(hexadecimal + "9500000000000000"))


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        ("0000000000000000", "ISA010", "opcode 0x00"),
        ("8c00000000000000", "ISA010", "class alu"),
        ("df00000010000000", "ISA010", "0xdf"),
        ("c200000000000000", "ISA010", "class st"),
        ("ff00000000000000", "ISA010", "0xff"),
        ("d400000008000000", "ISA011", "immediate is 8 and must be 16 or 32 or 64"),
        ("bf21020000000000", "ISA011", "offset is 2 and must be 0 or 8 or 16 or 32"),
        ("bf21010000000000", "ISA011", "offset is 1 and must be 0"),
        ("bf21010002000000", "ISA011", "must be 1 or 65536"),
        ("3721020001000000", "ISA011", "source"),
        ("db21000001010000", "ISA011", "immediate is 257"),
        ("8530000001000000", "ISA011", "source register field is 3 and must be 0 or 1 or 2"),
        ("8520ffff01000000", "ISA011", "cannot be negative"),
        ("e510000000000000", "ISA011", "source"),
        ("bf2b000000000000", "ISA012", "destination register r11"),
        ("bfb1000000000000", "ISA012", "source register r11"),
        ("b70a000000000000", "ISA013", "r10"),
        ("dba1000001000000", "ISA013", "r10"),
        ("0500010000000000", "ISA014", "slot 2"),
        ("0500feff00000000", "ISA014", "slot -1"),
        ("0600000001000000", "ISA014", "slot 2"),
        ("85100000ffffff7f", "ISA014", "outside"),
    ],
)
def test_what_is_no_instruction_is_refused(data: str, code: str, word: str) -> None:
    with pytest.raises(InstructionError) as info:
        one(data)
    assert info.value.code == code
    assert word in info.value.message
    assert info.value.index == 0


def test_the_error_names_instruction_and_slot() -> None:
    program = assemble("r1 = 5 ll\nr2 = 6 ll\nexit")
    program.insert(2, Instruction(0xB7, 1, 3))
    with pytest.raises(InstructionError) as info:
        check_program(program)
    assert (info.value.index, info.value.slot) == (2, 4)
    assert "instruction 2 (slot 4)" in info.value.message


@pytest.mark.parametrize("jump", ["05000100", "15010100", "e5000100"])
def test_a_jump_into_a_wide_load_is_refused(jump: str) -> None:
    data = bytes.fromhex(jump + "00000000" + "18010000" + "00000000" * 3 + "9500000000000000")
    with pytest.raises(InstructionError) as info:
        decode_checked(data)
    assert info.value.code == "ISA015"
    assert "wide load at instruction 1" in info.value.message


def test_calls_and_callbacks_must_hit_an_instruction_too() -> None:
    for text in ("call pc+1\nr1 = 5 ll\nexit", "r1 = subprog[+1] ll\nr1 = 5 ll\nexit"):
        with pytest.raises(InstructionError) as info:
            check_program(assemble(text, check=False))
        assert info.value.code == "ISA015"


def test_a_program_needs_instructions_and_an_end() -> None:
    with pytest.raises(InstructionError) as info:
        check_program([])
    assert info.value.code == "ISA017"
    for text in ("r0 = 0", "exit\ncall 5", "exit\nif r0 == 0 goto -1", "exit\nmay_goto -1"):
        with pytest.raises(InstructionError) as info:
            check_program(assemble(text, check=False))
        assert info.value.code == "ISA016", text
    check_program(assemble("exit\ngoto -2"))
    check_program(assemble("exit\ngotol -2"))


def test_rows_are_unambiguous() -> None:
    """No two rows claim the same instruction with equally many required values."""
    choose = iter(range(10**9))

    def pick(low: int, high: int) -> int:
        return low + next(choose) % (high - low + 1)

    for row in TABLE:
        insn = generate.instruction(row, pick)
        matching = [other for other in BY_OPCODE[row.opcode] if other.matches(insn)]
        assert find_row(insn) is matching[0]
        if row.high != "fd" and row.off != "fd":
            assert matching[0] is row


@given(st.data(), st.sampled_from(TABLE))
def test_changing_a_required_field_changes_or_ends_the_instruction(data: st.DataObject, row: Row) -> None:
    """What the table says is required really is: another value gives another row or a refusal."""
    insn = generate.instruction(row, lambda low, high: data.draw(st.integers(low, high)))
    first = find_row(insn)
    assert first is not None
    name, low, high = data.draw(
        st.sampled_from([("dst", 0, 10), ("src", 0, 10), ("off", -(1 << 15), (1 << 15) - 1), ("imm", -256, 70000)])
    )
    required = getattr(first, name)
    if isinstance(required, str):
        return
    value = data.draw(st.integers(low, high).filter(lambda number: number != required))
    setattr(insn, name, value)
    second = find_row(insn)
    assert second is not first
    if second is None:
        with pytest.raises(InstructionError):
            check_instruction(insn)


@given(st.randoms(use_true_random=False), st.integers(0, 12))
def test_generated_programs_are_well_formed(chooser: random.Random, length: int) -> None:
    program = generate.program(chooser.randint, length)
    assert len(check_program(program)) == length + 1


@given(st.binary(max_size=160))
def test_fuzzed_bytes_are_accepted_or_refused_with_a_code(data: bytes) -> None:
    try:
        program = decode_checked(data)
    except IsaError as error:
        assert error.code.startswith("ISA")
        return
    assert encode_program(program) == data
