"""Which programs are well-formed: every instruction is in the table, every jump lands on an instruction.

This is what RFC 9669 and the kernel demand of the bytes alone, before any verifier looks at what a program does.
"""

from __future__ import annotations

from osmia.isa.instruction import Instruction, InstructionError, decode_program, slot_numbers
from osmia.isa.table import BY_OPCODE, FRAME_POINTER, LAST_REGISTER, Row, find_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_FIELD_WORDS = {
    "dst": "destination register",
    "src": "source register field",
    "off": "offset",
    "imm": "immediate",
    "high": "upper immediate",
}
_CLASS_WORDS = ("ld", "ldx", "st", "stx", "alu", "jmp", "jmp32", "alu64")


def check_instruction(insn: Instruction, index: int = -1, slot: int = -1) -> Row:
    """The row of one instruction, when it is well-formed by itself.

    :raises InstructionError: ISA010 (opcode), ISA011 (a field with a value that means nothing), ISA012 (register
        number), ISA013 (write to the frame pointer).
    """
    row = find_row(insn)
    if row is None:
        raise _unknown(insn, index, slot)
    if row.dst:
        if insn.dst > LAST_REGISTER:
            raise _bad_register(insn.dst, "destination", index, slot)
        if insn.dst == FRAME_POINTER and row.dst != "r":
            raise _frame_pointer_written(row, index, slot)
    if isinstance(row.src, str):
        if insn.src > LAST_REGISTER:
            raise _bad_register(insn.src, "source", index, slot)
        if insn.src == FRAME_POINTER and row.src != "r":
            raise _frame_pointer_written(row, index, slot)
    if row.off == "fd" and insn.off < 0:
        raise InstructionError(
            "ISA011",
            f"{_place(index, slot)}{row.name}: the offset is {insn.off} and is an index, which cannot be negative",
            index=index,
            slot=slot,
        )
    return row


def _place(index: int, slot: int) -> str:
    if index < 0:
        return ""
    return f"instruction {index}: " if slot in (-1, index) else f"instruction {index} (slot {slot}): "


def _unknown(insn: Instruction, index: int, slot: int) -> InstructionError:
    rows = BY_OPCODE.get(insn.opcode)
    if rows is None:
        return InstructionError(
            "ISA010",
            f"{_place(index, slot)}there is no opcode 0x{insn.opcode:02x} (class {_CLASS_WORDS[insn.opcode & 7]})",
            index=index,
            slot=slot,
        )
    row = min(rows, key=lambda candidate: len(candidate.mismatches(insn)))
    fields = [name for name, _, _ in row.mismatches(insn)]
    near = [other for other in rows if [name for name, _, _ in other.mismatches(insn)] == fields]
    wrong = []
    for name in fields:
        allowed = " or ".join(str(number) for number in sorted({getattr(other, name) for other in near}))
        wrong.append(f"the {_FIELD_WORDS[name]} is {getattr(insn, name)} and must be {allowed}")
    name = row.name if len(near) == 1 else f"opcode 0x{insn.opcode:02x}"
    return InstructionError(
        "ISA011",
        f"{_place(index, slot)}{name}: {', '.join(wrong)}",
        index=index,
        slot=slot,
        hint="a field that an instruction does not use is reserved and must be zero",
    )


def _bad_register(number: int, role: str, index: int, slot: int) -> InstructionError:
    return InstructionError(
        "ISA012",
        f"{_place(index, slot)}there is no {role} register r{number}",
        index=index,
        slot=slot,
        hint="registers are r0 to r10",
    )


def _frame_pointer_written(row: Row, index: int, slot: int) -> InstructionError:
    return InstructionError(
        "ISA013",
        f"{_place(index, slot)}{row.name} writes r10, the frame pointer, which is read-only",
        index=index,
        slot=slot,
    )


def check_program(program: Sequence[Instruction]) -> list[Row]:
    """The rows of a well-formed program's instructions.

    :raises InstructionError: what :func:`check_instruction` raises; ISA014 (jump or call out of the program), ISA015
        (into the middle of a wide load), ISA016 (running off the end), ISA017 (no instruction at all). ``index`` and
        ``slot`` say where.
    """
    if not program:
        raise InstructionError("ISA017", "a program needs at least one instruction")
    slots = slot_numbers(program)
    starts = frozenset(slots[:-1])
    rows: list[Row] = []
    for index, insn in enumerate(program):
        slot = slots[index]
        row = check_instruction(insn, index, slot)
        rows.append(row)
        distance = jump_distance(insn, row)
        if distance is not None and slots[index + 1] + distance not in starts:
            raise _bad_target(insn, index, slots, slots[index + 1] + distance)
    last = rows[-1]
    if last.kind not in ("exit", "goto"):
        raise InstructionError(
            "ISA016",
            f"{_place(len(program) - 1, slots[-2])}the program ends with {last.name} and would run off its end",
            index=len(program) - 1,
            slot=slots[-2],
            hint="the last instruction must be exit or an unconditional jump",
        )
    return rows


def jump_distance(insn: Instruction, row: Row) -> int | None:
    """How many slots beyond the next instruction a jump, local call or callback points; ``None`` for the others."""
    if row.off == "jump":
        return insn.off
    if row.imm in ("jump", "call"):
        return insn.imm
    return None


def _bad_target(insn: Instruction, index: int, slots: list[int], target: int) -> InstructionError:
    place = _place(index, slots[index])
    if 0 <= target < slots[-1]:
        inside = slots.index(target - 1)
        return InstructionError(
            "ISA015",
            f"{place}the target, slot {target}, is the second half of the wide load at instruction {inside}",
            index=index,
            slot=slots[index],
            hint="distances count 8-byte slots, and a wide load has two",
        )
    return InstructionError(
        "ISA014",
        f"{place}the target, slot {target}, is outside of the program, which has slots 0 to {slots[-1] - 1}",
        index=index,
        slot=slots[index],
        hint="distances count 8-byte slots from the next instruction on",
    )


def decode_checked(data: bytes | bytearray | memoryview, byteorder: str = "little") -> list[Instruction]:
    """Decode bytes and refuse everything that is no well-formed program; see :func:`check_program`."""
    program = decode_program(data, byteorder)
    check_program(program)
    return program
