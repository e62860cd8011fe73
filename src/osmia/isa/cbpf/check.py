"""Which classic programs are accepted: the rules of the kernel's ``bpf_check_classic`` and of seccomp's check."""

from __future__ import annotations

from osmia.isa.cbpf.program import (
    ANCILLARY_OFFSET,
    BY_CODE,
    MAX_INSTRUCTIONS,
    MEMORY_WORDS,
    ClassicInstruction,
    ClassicRow,
    ancillary_of,
)
from osmia.isa.instruction import InstructionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SECCOMP_DATA_SIZE = 64
"""Bytes of ``struct seccomp_data``, the only thing that a seccomp filter can load from."""


def check(program: Sequence[ClassicInstruction], *, seccomp: bool = False) -> list[ClassicRow]:
    """The rows of a program that the kernel would accept.

    :param seccomp: apply the narrower rules of seccomp filters too.
    :raises InstructionError: ISA051 (opcode), ISA052 (jump), ISA053 (scratch slot), ISA054 (last instruction), ISA055
        (division by zero), ISA056 (shift), ISA057 (length), ISA058 (scratch read before it is written), ISA059
        (unknown ancillary load), ISA060 (not for seccomp).
    """
    if not 0 < len(program) <= MAX_INSTRUCTIONS:
        raise InstructionError(
            "ISA057", f"a classic program has 1 to {MAX_INSTRUCTIONS} instructions, this one has {len(program)}"
        )
    rows = []
    for index, insn in enumerate(program):
        row = BY_CODE.get(insn.code)
        if row is None:
            raise InstructionError(
                "ISA051", f"instruction {index}: there is no classic opcode 0x{insn.code:04x}", index=index
            )
        _check_operand(row, insn, index, len(program))
        if seccomp:
            _check_seccomp(row, insn, index)
        rows.append(row)
    if rows[-1].kind != "ret":
        raise InstructionError(
            "ISA054",
            f"the last instruction is {rows[-1].mnemonic} and must be ret",
            index=len(program) - 1,
            hint="a filter ends by returning how many bytes of the packet to keep, 0 for none",
        )
    _check_scratch(program, rows)
    return rows


def _check_operand(row: ClassicRow, insn: ClassicInstruction, index: int, length: int) -> None:
    k = insn.k
    if row.kind in ("goto", "jump"):
        distances = (k,) if row.kind == "goto" else (insn.jt, insn.jf)
        for distance in distances:
            if index + 1 + distance >= length:
                raise InstructionError(
                    "ISA052",
                    f"instruction {index}: {row.mnemonic} jumps to instruction {index + 1 + distance}, beyond the"
                    f" last, {length - 1}",
                    index=index,
                )
    elif row.operand == "mem" and k >= MEMORY_WORDS:
        raise InstructionError(
            "ISA053", f"instruction {index}: there is no scratch slot M[{k}]", index=index, hint="M[0] to M[15] exist"
        )
    elif row.operand == "imm" and row.mnemonic in ("div", "mod") and k == 0:
        raise InstructionError("ISA055", f"instruction {index}: {row.mnemonic} by the constant 0", index=index)
    elif row.operand == "imm" and row.mnemonic in ("lsh", "rsh") and k >= 32:
        raise InstructionError("ISA056", f"instruction {index}: {row.mnemonic} by {k} of a 32-bit word", index=index)
    elif row.kind == "load" and row.operand == "abs" and k >= ANCILLARY_OFFSET and ancillary_of(insn) is None:
        raise InstructionError(
            "ISA059",
            f"instruction {index}: there is no ancillary value at SKF_AD_OFF + {k - ANCILLARY_OFFSET}",
            index=index,
        )


def _check_seccomp(row: ClassicRow, insn: ClassicInstruction, index: int) -> None:
    if not row.seccomp:
        raise InstructionError(
            "ISA060", f"instruction {index}: seccomp filters cannot use {row.mnemonic} ({row.operand})", index=index
        )
    if row.kind == "load" and row.operand == "abs" and (insn.k >= SECCOMP_DATA_SIZE or insn.k & 3):
        raise InstructionError(
            "ISA060",
            f"instruction {index}: a seccomp filter loads aligned words of {SECCOMP_DATA_SIZE} bytes, not at {insn.k}",
            index=index,
        )


def _check_scratch(program: Sequence[ClassicInstruction], rows: Sequence[ClassicRow]) -> None:
    """Every path to a load from M[k] has a store to it. Jumps go forward, so one pass sees all predecessors."""
    everything = (1 << MEMORY_WORDS) - 1
    written_at = [everything] * (len(program) + 1)
    written = 0
    for index, (insn, row) in enumerate(zip(program, rows, strict=True)):
        written &= written_at[index]
        if row.kind == "store":
            written |= 1 << insn.k
        elif row.operand == "mem" and not written >> insn.k & 1:
            raise InstructionError(
                "ISA058",
                f"instruction {index}: M[{insn.k}] is read, and some path has not written it",
                index=index,
                hint=f"store something to M[{insn.k}] on every path that leads here",
            )
        elif row.kind == "goto":
            written_at[index + 1 + insn.k] &= written
            written = everything
        elif row.kind == "jump":
            written_at[index + 1 + insn.jt] &= written
            written_at[index + 1 + insn.jf] &= written
            written = everything
        elif row.kind == "ret":
            written = everything
