from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from osmia.diagnostics import IsaError
from osmia.isa import mnemonics
from osmia.isa.assembler import assemble
from osmia.isa.disassembler import disassemble
from osmia.isa.effects import requirements
from osmia.isa.instruction import decode_program, encode_program

SUITE = Path(os.environ.get("OSMIA_CONFORMANCE") or Path(__file__).parents[3] / "shared" / "conformance") / "isa"
needs_suite = pytest.mark.skipif(not SUITE.is_dir(), reason="no conformance suite (OSMIA_CONFORMANCE)")


def section(path: Path, name: str) -> str | None:
    """The text of a file's first section of that name."""
    lines: list[str] | None = None
    for line in path.read_text().splitlines():
        if line.startswith("--"):
            if lines is not None:
                break
            lines = [] if line.strip() == f"-- {name}" else None
        elif lines is not None:
            lines.append(line)
    return None if lines is None else "\n".join(lines)


@needs_suite
def test_the_suite_assembles_to_its_vectors() -> None:
    vectors = {vector["name"]: vector for vector in json.loads((SUITE / "vectors.json").read_text())}
    compared = 0
    for path in sorted(SUITE.glob("*.data")):
        text = section(path, "asm")
        if text is None:
            continue
        program = mnemonics.assemble(text, file=path.name)
        assert encode_program(program).hex() == vectors[path.name]["insns"], path.name
        compared += 1
    assert compared == 313


@needs_suite
def test_the_suite_round_trips_through_both_dialects() -> None:
    for vector in json.loads((SUITE / "vectors.json").read_text()):
        program = decode_program(bytes.fromhex(vector["insns"]))
        for labels in (False, True):
            assert assemble(disassemble(program, labels=labels)) == program
            assert mnemonics.assemble(mnemonics.disassemble(program, labels=labels)) == program


@needs_suite
def test_versions_and_groups_of_the_suite() -> None:
    """Ours are the suite's, except where the suite is coarser than RFC 9669 and LLVM."""
    for vector in json.loads((SUITE / "vectors.json").read_text()):
        need = requirements(decode_program(bytes.fromhex(vector["insns"])))
        name, groups = vector["name"], set(vector["groups"])
        if "lock_add" in name:
            # An atomic addition without fetch is as old as the instruction set.
            assert (need.cpu, vector["cpu"]) == (1, "v3")
        else:
            assert f"v{need.cpu}" == vector["cpu"], name
        if name in ("be16.data", "be32.data", "le16.data", "le32.data"):
            # RFC 9669 has the swaps of 16 and 32 bits in base32.
            groups -= {"base64"}
        if "ldxs" in name or name == "neg64.data":
            # 64-bit negation and sign-extending loads are in base64.
            groups |= {"base64"}
        assert need.groups | {"base32"} == groups, name


MALFORMED = {
    "empty": "no section",
    "empty_instructions": "no section",
    "invalid_imm32_dec_range": "ISA033",
    "invalid_imm32_hex_range": "ISA033",
    "invalid_label": "ISA034",
    "invalid_lock": "ISA031",
    "invalid_lock2": "ISA031",
    "invalid_mnemonic": "ISA031",
    "invalid_offset": "ISA031",
    "invalid_offset_range": "ISA033",
    "invalid_operand_count": "ISA031",
    "invalid_register": "ISA032",
    "invalid_unknown_directive": "ISA017",
    # Well-formed programs: one computes with a pointer, one expects a wrong result. Judging them takes an engine.
    "error": "",
    "incorrect_return_value_high_bits": "",
}


@needs_suite
def test_malformed_texts_of_the_suite_are_refused() -> None:
    paths = [path for path in sorted(SUITE.glob("negative/*.data")) if section(path, "raw") is None]
    assert {path.stem for path in paths} == set(MALFORMED)
    assert len(list(SUITE.glob("negative/*.data"))) == 60
    for path in paths:
        text = section(path, "asm")
        expected = MALFORMED[path.stem]
        if expected == "no section":
            assert text is None
            text, expected = "", "ISA017"
        assert text is not None
        if not expected:
            assert mnemonics.assemble(text, file=path.name)
            continue
        with pytest.raises(IsaError) as info:
            mnemonics.assemble(text, file=path.name)
        assert info.value.code == expected, path.name
        assert info.value.span.file == path.name


def test_registers_with_and_without_percent_and_offsets() -> None:
    one = mnemonics.assemble("ldxw %r1, [%r2+4]\nldxdw r3, [r4]\nstxb [r10-1], r3\nexit")
    assert disassemble(one) == "r1 = *(u32 *)(r2 + 4)\nr3 = *(u64 *)(r4 + 0)\n*(u8 *)(r10 - 1) = r3\nexit\n"


def test_the_first_exit_is_a_label_unless_one_is_defined() -> None:
    program = mnemonics.assemble("jeq r0, 1, exit\nmov r0, 2\nexit\nexit")
    assert program[0].off == 1
    program = mnemonics.assemble("jeq r0, 1, exit\nexit\nexit: mov r0, 2\nexit")
    assert program[0].off == 1
    program = mnemonics.assemble("ja exit\nmov r0, 2\nexit:\nmov r0, 3\nexit")
    assert program[0].off == 1


def test_calls_of_each_kind() -> None:
    text = "call 5\ncall get\ncall local f\ncall r2\ncall kfunc[id:7]\nexit\nf: exit"
    program = mnemonics.assemble(text, helpers={"get": 9})
    assert [(insn.opcode, insn.src, insn.imm) for insn in program[:5]] == [
        (0x85, 0, 5),
        (0x85, 0, 9),
        (0x85, 1, 3),
        (0x8D, 0, 0),
        (0x85, 2, 7),
    ]


def test_an_unknown_mnemonic_has_several_suggestions() -> None:
    with pytest.raises(IsaError) as info:
        mnemonics.assemble("movv r0, 1\nexit")
    hint = info.value.hint or ""
    assert "mov" in hint
    assert hint.count(",") >= 1
