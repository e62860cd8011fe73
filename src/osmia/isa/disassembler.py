"""Instructions to text, in the syntax that ``osmia.isa.assembler`` reads.

Three styles: ``llvm`` is canonical (llvm-objdump's form, which LLVM's assembler takes too), ``kernel`` is the form of
the kernel's verifier logs, to compare with these, and ``mnemonic`` is the dialect of ``osmia.isa.mnemonics``.
"""

from __future__ import annotations

import re

from osmia.isa.check import check_instruction, jump_distance
from osmia.isa.instruction import Instruction, InstructionError, slot_numbers
from osmia.isa.table import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STYLES = ("llvm", "kernel", "mnemonic")

_PLACEHOLDER = re.compile(r"\{([a-z.]+)\}")


class Line:
    """One line of a disassembly.

    :ivar slot: the instruction's slot. :ivar text: its text, or a ``.raw`` directive.
    :ivar label: the label it carries, ``""`` for none. :ivar known: whether the table has this instruction.
    """

    __slots__ = ("insn", "known", "label", "slot", "text")

    def __init__(self, slot: int, insn: Instruction, text: str, label: str, known: bool) -> None:
        self.slot = slot
        self.insn = insn
        self.text = text
        self.label = label
        self.known = known


def format_instruction(
    insn: Instruction,
    *,
    style: str = "llvm",
    helpers: Mapping[int, str] | None = None,
    target: str = "",
) -> str:
    """The text of one instruction.

    :param helpers: names of helpers by number, for calls. :param target: a label to write instead of the distance.
    :raises InstructionError: as ``check_instruction`` does, for what is no instruction.
    """
    return _format(insn, check_instruction(insn), style, helpers, target)


def disassemble(
    program: Sequence[Instruction],
    *,
    style: str = "llvm",
    helpers: Mapping[int, str] | None = None,
    labels: bool = False,
    strict: bool = True,
) -> str:
    """The text of a program, a line per instruction, ready to be assembled again.

    :param labels: name the targets of jumps, calls and callbacks instead of giving distances.
    :param strict: refuse what is no instruction; ``False`` writes it as ``.raw`` bytes.
    :raises InstructionError: when strict, for the first instruction that the table does not have.
    """
    parts = []
    for line in disassemble_lines(program, style=style, helpers=helpers, labels=labels, strict=strict):
        if line.label:
            parts.append(f"{line.label}:\n")
        parts.append(f"{line.text}\n")
    return "".join(parts)


def disassemble_lines(
    program: Sequence[Instruction],
    *,
    style: str = "llvm",
    helpers: Mapping[int, str] | None = None,
    labels: bool = False,
    strict: bool = True,
) -> list[Line]:
    """As :func:`disassemble`, as structured lines, for listings with more columns."""
    if style not in STYLES:
        raise ValueError(f"style is one of {', '.join(STYLES)}, not {style!r}")
    slots = slot_numbers(program)
    rows: list[Row | None] = []
    for index, insn in enumerate(program):
        try:
            rows.append(check_instruction(insn, index, slots[index]))
        except InstructionError:
            if strict:
                raise
            rows.append(None)
    names = _name_targets(program, rows, slots) if labels else {}
    lines = []
    for index, (insn, row) in enumerate(zip(program, rows, strict=True)):
        if row is None:
            lines.append(Line(slots[index], insn, _raw(insn), names.get(slots[index], ""), known=False))
            continue
        distance = jump_distance(insn, row)
        target = "" if distance is None else names.get(slots[index + 1] + distance, "")
        text = _format(insn, row, style, helpers, target)
        lines.append(Line(slots[index], insn, text, names.get(slots[index], ""), known=True))
    return lines


def _name_targets(program: Sequence[Instruction], rows: list[Row | None], slots: list[int]) -> dict[int, str]:
    """A label for every slot that something points at: ``func_N`` for functions, ``L_N`` for jump targets."""
    starts = set(slots[:-1])
    names: dict[int, str] = {}
    for index, (insn, row) in enumerate(zip(program, rows, strict=True)):
        distance = None if row is None else jump_distance(insn, row)
        if row is None or distance is None:
            continue
        target = slots[index + 1] + distance
        if target in starts:
            if row.imm == "call":
                names[target] = f"func_{target}"
            else:
                names.setdefault(target, f"L_{target}")
    return names


def _raw(insn: Instruction) -> str:
    data = insn.encode()
    slots = [data[at : at + 8].hex(" ") for at in range(0, len(data), 8)]
    return "\n".join(f".raw {slot}" for slot in slots)


def _format(insn: Instruction, row: Row, style: str, helpers: Mapping[int, str] | None, target: str) -> str:
    template = {"llvm": row.text, "kernel": row.kernel_text, "mnemonic": row.mnemonic}[style]

    def fill(match: re.Match[str]) -> str:
        return _field(match.group(1), insn, row, style, helpers, target)

    return _PLACEHOLDER.sub(fill, template)


def _field(name: str, insn: Instruction, row: Row, style: str, helpers: Mapping[int, str] | None, target: str) -> str:
    field, _, variant = name.partition(".")
    if field in ("dst", "src"):
        return f"{variant or 'r'}{insn.dst if field == 'dst' else insn.src}"
    if field in ("target", "callee"):
        return _distance(insn, row, f"{field}.{variant}", target)
    if field == "off":
        if style == "llvm":
            return f" + {insn.off}" if insn.off >= 0 else f" - {-insn.off}"
        return f"{' ' if style == 'kernel' else ''}{insn.off:+d}"
    if field == "helper":
        known = (helpers or {}).get(insn.imm)
        return f"{known or 'unknown'}#{insn.imm}" if variant == "k" else known or str(insn.imm)
    if field == "imm":
        return f"{insn.imm & 0xFFFFFFFF:#x}" if variant == "x" else str(insn.imm)
    return {"high": str(insn.high & 0xFFFFFFFF), "wide": f"{insn.imm64:#x}", "fd": str(insn.off)}[field]


def _distance(insn: Instruction, row: Row, form: str, target: str) -> str:
    if target:
        return target
    distance = jump_distance(insn, row)
    return f"pc{distance:+d}" if form in ("target.pc", "callee.") else f"{distance:+d}"
