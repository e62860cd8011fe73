"""Taking programs apart: the opposite of :mod:`osmia.object.link`.

Each program carries copies of its subprograms. Copies that are equal in everything, callees included, become one.
"""

from __future__ import annotations

from struct import Struct as Packer

from osmia.diagnostics.errors import ObjectError
from osmia.object.link import CALL, LD_IMM64, PSEUDO_CALL, PSEUDO_FUNC, SLOT
from osmia.object.spec import CoreReloc, LineInfo, Reloc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.object.spec import CollectionSpec, ProgramSpec

_INSN = Packer("<BBhi")


class Part:
    """One function: its code with references blanked, what it refers to, its lines and relocations, all by own slot."""

    __slots__ = ("calls", "code", "core", "lines", "name", "relocs", "type_id")

    def __init__(self, name: str, type_id: int, code: bytearray) -> None:
        self.name = name
        self.type_id = type_id
        self.code = code
        self.calls: list[tuple[int, Part, str]] = []
        self.relocs: list[Reloc] = []
        self.lines: list[LineInfo] = []
        self.core: list[CoreReloc] = []

    def facts(self) -> tuple[object, ...]:
        """Everything but the callees."""
        return (
            self.name,
            self.type_id,
            bytes(self.code),
            tuple((r.insn, r.kind, r.name, r.addend, r.weak) for r in self.relocs),
            tuple((i.insn, i.file, i.text, i.line, i.column) for i in self.lines),
            tuple((c.insn, c.type_id, c.access, c.kind) for c in self.core),
            tuple((slot, kind, callee.name) for slot, callee, kind in self.calls),
        )


def take_apart(spec: CollectionSpec) -> list[list[Part]]:
    """The functions of each program, the entry first; equal subprograms of several programs are the same object.

    :raises ObjectError: OBJ023, a program's functions do not lie side by side, or calls lead elsewhere.
    """
    programs = [_parts(program) for program in spec.programs.values()]
    known: dict[tuple[object, ...], Part] = {}
    kept: dict[Part, Part] = {}
    for parts in programs:
        rank = _ranks(parts)
        for part in parts[1:]:
            kept[part] = known.setdefault(rank[part], part)
    result = []
    for parts in programs:
        chosen = [parts[0], *[kept[part] for part in parts[1:]]]
        for part in parts:
            part.calls = [(slot, kept.get(callee, callee), kind) for slot, callee, kind in part.calls]
        result.append(chosen)
    return result


def _ranks(parts: list[Part]) -> dict[Part, tuple[object, ...]]:
    """A key per function that is equal exactly for functions that are equal with all that they reach."""
    from hashlib import sha256

    own = {part: sha256(repr(part.facts()).encode()).digest() for part in parts}
    digest = own
    # A callee's change moves up one call level per round; the deepest chain bounds the rounds.
    for _ in range(min(len(parts), 64)):
        digest = {
            part: sha256(own[part] + b"".join([digest[callee] for _, callee, _ in part.calls])).digest()
            for part in parts
        }
    return {part: (part.name, digest[part]) for part in parts}


def _parts(program: ProgramSpec) -> list[Part]:
    if not program.insns or len(program.insns) % SLOT:
        raise ObjectError("OBJ023", f"program {program.name!r} has {len(program.insns)} bytes of instructions")
    count = len(program.insns) // SLOT
    references = _references(program, count)
    described = {start: (type_id, name) for start, type_id, name in program.functions}
    starts = sorted({0, *described, *[target for _, target, _ in references]})
    if starts[-1] >= count or starts[0] < 0:
        raise ObjectError("OBJ023", f"a function of program {program.name!r} starts outside of it")
    parts: list[Part] = []
    homes: dict[int, Part] = {}
    for start, end in zip(starts, [*starts[1:], count], strict=True):
        type_id, name = described.get(start, (0, f"{program.name}_{start}"))
        part = Part(program.name if not start else name, type_id, bytearray(program.insns[start * SLOT : end * SLOT]))
        homes[start] = part
        parts.append(part)
    _distribute(program, starts, parts)
    for slot, target, kind in references:
        part, start = _home(starts, parts, slot)
        own = slot - start
        part.calls.append((own, homes[target], kind))
        part.code[own * SLOT + 1] &= 15
        part.code[own * SLOT + 4 : own * SLOT + 8] = bytes(4)
    return parts


def _references(program: ProgramSpec, count: int) -> list[tuple[int, int, str]]:
    """Calls and callback addresses in the code: (slot, target slot, kind)."""
    found = []
    slot = 0
    code = program.insns
    while slot < count:
        opcode, registers, _, imm = _INSN.unpack_from(code, slot * SLOT)
        if opcode == CALL and registers >> 4 == PSEUDO_CALL:
            found.append((slot, slot + 1 + imm, "call"))
        elif opcode == LD_IMM64 and registers >> 4 == PSEUDO_FUNC:
            found.append((slot, slot + 1 + imm, "func"))
        slot += 2 if opcode == LD_IMM64 else 1
    for _, target, _ in found:
        if not 0 <= target < count:
            raise ObjectError("OBJ023", f"a call in program {program.name!r} leads to slot {target} of {count}")
    return found


def _home(starts: list[int], parts: list[Part], slot: int) -> tuple[Part, int]:
    from bisect import bisect_right

    at = bisect_right(starts, slot) - 1
    return parts[at], starts[at]


def _distribute(program: ProgramSpec, starts: list[int], parts: list[Part]) -> None:
    count = len(program.insns) // SLOT
    for rows in (program.relocs, program.lines, program.core):
        for row in rows:
            if not 0 <= row.insn < count:
                raise ObjectError("OBJ023", f"program {program.name!r} has notes about slot {row.insn} of {count}")
    for reloc in program.relocs:
        if reloc.kind not in ("call", "func"):
            part, start = _home(starts, parts, reloc.insn)
            part.relocs.append(Reloc(reloc.insn - start, reloc.kind, reloc.name, reloc.addend, reloc.weak))
            # What goes there is told by the relocation alone.
            at = (reloc.insn - start) * SLOT
            part.code[at + 4 : at + 8] = bytes(4)
    for line in program.lines:
        part, start = _home(starts, parts, line.insn)
        part.lines.append(LineInfo(line.insn - start, line.file, line.text, line.line, line.column))
    for core in program.core:
        part, start = _home(starts, parts, core.insn)
        part.core.append(CoreReloc(core.insn - start, core.type_id, core.access, core.kind))
