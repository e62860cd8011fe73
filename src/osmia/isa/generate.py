"""Arbitrary well-formed instructions and programs, for fuzzing whatever takes bytecode.

The source of choices is a function ``choose(low, high)`` that returns a number from a closed range: ``random.Random(1)
.randint``, or a draw of hypothesis. The result is well-formed, not meaningful: verifiers will mostly refuse it.
"""

from __future__ import annotations

from osmia.isa.instruction import Instruction, slot_numbers
from osmia.isa.table import BY_NAME, TABLE, Field, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Choose = Callable[[int, int], int]

_RANGES = {
    "memory": (-(1 << 15), (1 << 15) - 1),
    "fd": (0, (1 << 15) - 1),
    "jump": (0, 0),
    "call": (0, 0),
}
_IMMEDIATE = (-(1 << 31), (1 << 31) - 1)
_EDGES = (0, 1, -1, 5, 0x7FFFFFFF, -0x80000000, 0xFF)


def instruction(row: Row, choose: Choose) -> Instruction:
    """An instruction of a row; jumps and calls go to the next instruction."""
    insn = Instruction(row.opcode)
    insn.dst = choose(0, 10 if row.dst == "r" else 9) if row.dst else 0
    insn.src = row.src if isinstance(row.src, int) else choose(0, 10 if row.src == "r" else 9)
    insn.off = _value(row.off, choose)
    insn.imm = _value(row.imm, choose)
    insn.high = _value(row.high, choose)
    return insn


def _value(field: Field, choose: Choose) -> int:
    if isinstance(field, int):
        return field
    if field in _RANGES:
        return choose(*_RANGES[field])
    if choose(0, 1):
        return _EDGES[choose(0, len(_EDGES) - 1)]
    return choose(*_IMMEDIATE)


def program(choose: Choose, length: int, rows: Sequence[Row] = TABLE) -> list[Instruction]:
    """A well-formed program: ``length`` instructions of the given rows and an ``exit``, every jump landing on one."""
    made = [rows[choose(0, len(rows) - 1)] for _ in range(length)]
    insns = [instruction(row, choose) for row in made]
    insns.append(Instruction(BY_NAME["exit"].opcode))
    slots = slot_numbers(insns)
    for index, (insn, row) in enumerate(zip(insns, made, strict=False)):
        if "jump" in (row.off, row.imm) or row.imm == "call":
            distance = slots[choose(0, length)] - slots[index + 1]
            if row.off == "jump":
                insn.off = distance
            else:
                insn.imm = distance
    return insns
