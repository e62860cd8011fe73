"""Text to bytes to text, and bytes to text to bytes, for every row of the table in every style."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.diagnostics import IsaError
from osmia.isa import generate, mnemonics
from osmia.isa.assembler import assemble
from osmia.isa.disassembler import disassemble, disassemble_lines, format_instruction
from osmia.isa.instruction import Instruction, decode_program, encode_program
from osmia.isa.table import BY_NAME, TABLE, Row

# The verifier prints a wide load of a number like a move, so that its text does not say which it was.
NOT_IN_KERNEL_STYLE = {"load_imm64"}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
@settings(max_examples=12)
@given(st.randoms(use_true_random=False))
def test_every_instruction(row: Row, chooser: random.Random) -> None:
    insn = generate.instruction(row, chooser.randint)
    text = format_instruction(insn)
    assert assemble(text, check=False) == [insn]
    assert format_instruction(assemble(text, check=False)[0]) == text
    short = format_instruction(insn, style="mnemonic")
    assert mnemonics.assemble(short, check=False) == [insn]
    if row.name not in NOT_IN_KERNEL_STYLE:
        assert assemble(format_instruction(insn, style="kernel"), check=False) == [insn]


def test_every_alias_is_understood_as_its_row() -> None:
    """Each further spelling means the same instruction as the canonical one with the same operands."""
    samples = {"{dst}": "r3", "{src}": "r4", "{dst.w}": "w3", "{src.w}": "w4", "{off}": " - 8", "{imm}": "7"}
    samples |= {"{high}": "9", "{kfunc}": "some", "{map}": "some", "{wide}": "0x7", "{fd}": "2"}
    tried = 0
    for row in TABLE:
        for template in row.aliases:
            text = template
            for name, sample in samples.items():
                text = text.replace(name, sample)
            [insn] = assemble(text, check=False, kfuncs={"some": 7}, maps={"some": 7})
            assert row.matches(insn), text
            again = assemble(format_instruction(insn), check=False)
            assert again == [insn]
            tried += 1
    assert tried == sum(len(row.aliases) for row in TABLE) > 25


@given(st.randoms(use_true_random=False), st.integers(0, 20), st.booleans())
def test_whole_programs(chooser: random.Random, length: int, labels: bool) -> None:
    program = generate.program(chooser.randint, length)
    text = disassemble(program, labels=labels)
    assert assemble(text) == program
    assert disassemble(assemble(text), labels=labels) == text
    assert mnemonics.assemble(mnemonics.disassemble(program, labels=labels)) == program


def test_helper_names_round_trip() -> None:
    program = assemble("call 1\ncall 9999\nexit")
    names = {1: "bpf_map_lookup_elem"}
    text = disassemble(program, helpers=names)
    assert text == "call bpf_map_lookup_elem\ncall 9999\nexit\n"
    assert assemble(text, helpers={"bpf_map_lookup_elem": 1}) == program
    text = disassemble(program, helpers=names, style="kernel")
    assert text == "call bpf_map_lookup_elem#1\ncall unknown#9999\nexit\n"
    assert assemble(text, helpers={"bpf_map_lookup_elem": 1}) == program


def test_labels_name_functions_and_jump_targets() -> None:
    program = assemble("r1 = 1 ll\nif r1 == 0 goto +1\ncall pc+1\nexit\nr0 = 0\nexit")
    assert disassemble(program, labels=True).splitlines() == [
        "r1 = 0x1 ll",
        "if r1 == 0 goto L_4",
        "call func_5",
        "L_4:",
        "exit",
        "func_5:",
        "r0 = 0",
        "exit",
    ]
    lines = disassemble_lines(program, labels=True)
    assert [(line.slot, line.label) for line in lines][3:5] == [(4, "L_4"), (5, "func_5")]


@given(st.binary(max_size=240).map(lambda data: data[: len(data) & ~7]))
def test_any_bytes_survive_the_text(data: bytes) -> None:
    """With ``strict=False`` even what is no instruction keeps its bytes."""
    try:
        program = decode_program(data)
    except IsaError:
        return
    text = disassemble(program, strict=False)
    assert encode_program(assemble(text, check=False)) == data


@given(st.binary(max_size=240))
def test_fuzzed_bytes_are_printed_or_refused(data: bytes) -> None:
    for style in ("llvm", "kernel", "mnemonic"):
        try:
            disassemble(decode_program(data), style=style, labels=True)
        except IsaError as error:
            assert error.code.startswith("ISA")


def test_what_is_no_instruction_is_refused_or_raw() -> None:
    program = [Instruction(0xFF, 1, 2, 3, 4), Instruction(BY_NAME["exit"].opcode)]
    with pytest.raises(IsaError) as info:
        disassemble(program)
    assert info.value.code == "ISA010"
    assert disassemble(program, strict=False) == ".raw ff 21 03 00 04 00 00 00\nexit\n"
