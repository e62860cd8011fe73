from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osmia.diagnostics import IsaError
from osmia.isa.instruction import (
    Instruction,
    InstructionError,
    count_slots,
    decode_program,
    encode_program,
    signed32,
    slot_numbers,
)


def test_a_slot_is_laid_out_as_rfc_9669_says() -> None:
    insn = Instruction(0x79, dst=1, src=10, off=-8, imm=0)
    assert insn.encode() == bytes.fromhex("79a1f8ff00000000")
    assert decode_program(insn.encode()) == [insn]


def test_big_endian_objects_swap_registers_and_numbers() -> None:
    insn = Instruction(0x7A, dst=1, src=0, off=-8, imm=0x11223344)
    assert insn.encode("big") == bytes.fromhex("7a10fff811223344")
    assert decode_program(insn.encode("big"), "big") == [insn]


def test_a_wide_load_is_one_instruction_of_two_slots() -> None:
    wide = Instruction.wide(3, 0x8877665544332211)
    assert wide.encode() == bytes.fromhex("18030000112233440000000055667788")
    [again] = decode_program(wide.encode())
    assert again == wide
    assert again.imm64 == 0x8877665544332211
    assert (again.imm, again.high) == (0x44332211, signed32(0x88776655))
    assert again.slots == 2
    program = [wide, Instruction(0x95)]
    assert count_slots(program) == 3
    assert slot_numbers(program) == [0, 2, 3]


def test_setting_imm64_changes_both_halves() -> None:
    wide = Instruction.wide(0, 0)
    wide.imm64 = 0xFFFFFFFF00000001
    assert (wide.imm, wide.high) == (1, -1)
    other = wide.copy()
    other.imm64 = 5
    assert wide.imm64 == 0xFFFFFFFF00000001


@pytest.mark.parametrize(
    ("data", "code", "slot"),
    [
        ("95000000000000", "ISA001", None),
        ("9500000000000000" + "18010000" + "00000000", "ISA002", 1),
        ("1801000000000000" + "9500000000000000", "ISA003", 0),
        ("1801000000000000" + "0001000000000000", "ISA003", 0),
        ("1801000000000000" + "0000010000000000", "ISA003", 0),
    ],
)
def test_bytes_of_the_wrong_shape_are_refused(data: str, code: str, slot: int | None) -> None:
    with pytest.raises(IsaError) as info:
        decode_program(bytes.fromhex(data))
    assert info.value.code == code
    if slot is not None:
        assert isinstance(info.value, InstructionError)
        assert info.value.slot == slot


@pytest.mark.parametrize(
    "insn",
    [
        Instruction(256),
        Instruction(0xB7, 16),
        Instruction(0xB7, 0, -1),
        Instruction(0xB7, 0, 0, 0x8000),
        Instruction(0xB7, 0, 0, 0, 0xFFFFFFFF),
        Instruction(0xB7, 0, 0, 0, 0, high=1),
        Instruction(0x18, 0, 0, 0, 0, high=1 << 31),
        Instruction(0xB7, 0, 0, 0, None),  # type: ignore[arg-type]
    ],
)
def test_fields_that_do_not_fit_are_refused_and_named(insn: Instruction) -> None:
    with pytest.raises(InstructionError) as info:
        encode_program([Instruction(0x95), insn])
    assert info.value.code == "ISA004"
    assert info.value.index == 1
    assert "must be" in info.value.message


@given(st.binary(max_size=200), st.sampled_from(["little", "big"]))
def test_any_bytes_decode_to_themselves_or_are_refused(data: bytes, byteorder: str) -> None:
    try:
        program = decode_program(data, byteorder)
    except IsaError:
        return
    assert encode_program(program, byteorder) == data
