"""Listings of bytecode: disassembly with source lines, labels, and the names of helpers, maps and functions."""

from __future__ import annotations

import os
import re

from osmia.isa.instruction import SLOT_SIZE, decode_program, slot_numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from osmia.btf import Btf
    from osmia.isa.instruction import Instruction
    from osmia.object.spec import CollectionSpec, LineInfo, ProgramSpec

_LABEL = re.compile(r"\b(?:func|L)_\d+\b")


class Code:
    """A program's instructions with all that is known about them, wherever they came from.

    :ivar insns: encoded instructions. :ivar functions: (first slot, name) of each function.
    :ivar lines: source places by slot; compilers mark code of their own with line 0, which is left out.
    :ivar notes: by slot, what an instruction refers to: ``map counts``.
    :ivar texts: by slot, texts that replace the disassembler's, for what the table does not have.
    :ivar readable: the instructions to disassemble, where those of ``insns`` hold addresses instead of numbers.
    """

    __slots__ = ("functions", "insns", "lines", "notes", "readable", "texts")

    def __init__(
        self,
        insns: bytes,
        functions: Sequence[tuple[int, str]] = (),
        lines: Iterable[LineInfo] = (),
        notes: Mapping[int, str] | None = None,
        texts: Mapping[int, str] | None = None,
        readable: bytes = b"",
    ) -> None:
        self.insns = insns
        self.readable = readable or insns
        self.functions = dict(functions)
        self.lines = {line.insn: line for line in lines if line.line}
        self.notes = dict(notes or {})
        self.texts = dict(texts or {})


class Entry:
    """One instruction of a listing.

    :ivar slot: its number in 8-byte slots. :ivar text: its text. :ivar raw: its bytes. :ivar label: ``""`` for none.
    :ivar function: name of the function that begins here, ``""`` for none. :ivar source: its place, ``None`` as before.
    :ivar note: what it refers to, ``""`` for nothing.
    """

    __slots__ = ("function", "label", "note", "raw", "slot", "source", "text")

    def __init__(
        self, slot: int, text: str, raw: bytes, label: str, function: str, source: LineInfo | None, note: str
    ) -> None:
        self.slot = slot
        self.text = text
        self.raw = raw
        self.label = label
        self.function = function
        self.source = source
        self.note = note

    def plain(self) -> dict[str, Any]:
        """The entry for JSON; keys without a value are left out."""
        found: dict[str, Any] = {"slot": self.slot, "bytes": self.raw.hex(), "text": self.text}
        if self.function:
            found["function"] = self.function
        if self.label:
            found["label"] = self.label
        if self.note:
            found["refers_to"] = self.note
        if self.source is not None:
            found["source"] = {
                "file": self.source.file,
                "line": self.source.line,
                "column": self.source.column,
                "text": source_text(self.source),
            }
        return found


def code_of(spec: CollectionSpec, program: ProgramSpec) -> Code:
    """A program of a collection."""
    notes = {}
    for reloc in program.relocs:
        if reloc.kind in ("call", "func"):
            continue
        kind = "map" if reloc.kind == "map_value" else reloc.kind
        where = f" + {reloc.addend}" if reloc.kind == "map_value" and reloc.addend else ""
        name = _variable(spec, reloc.name, reloc.addend) if reloc.kind == "map_value" else ""
        notes[reloc.insn] = f"{kind} {reloc.name}{where}{f' ({name})' if name else ''}{' (weak)' if reloc.weak else ''}"
    btf = _types(spec) if program.core else None
    for core in program.core:
        asked = f"CO-RE: {_core_text(btf, core.type_id, core.access, core.kind)}"
        notes[core.insn] = f"{notes[core.insn]}, {asked}" if core.insn in notes else asked
    return Code(program.insns, [(slot, name) for slot, _, name in program.functions], program.lines, notes)


def entries(code: Code) -> list[Entry]:
    """The listing as data. What is no instruction is shown as ``.raw`` bytes.

    :raises IsaError: the bytes cannot be cut into instructions.
    """
    from osmia.isa.disassembler import disassemble_lines

    program = decode_program(code.readable)
    lines = disassemble_lines(program, helpers=_helper_names(program), labels=True, strict=False)
    labels = {line.label: code.functions.get(line.slot, line.label) for line in lines if line.label}
    found = []
    shown: tuple[str, int] | None = None
    slots = slot_numbers(program)
    for at, line in enumerate(lines):
        source = code.lines.get(line.slot)
        if source is not None:
            place = (source.file, source.line)
            source = None if place == shown else source
            shown = place
        function = code.functions.get(line.slot, "")
        label = labels.get(line.label, "")
        found.append(
            Entry(
                line.slot,
                code.texts.get(line.slot) or _LABEL.sub(lambda match: labels.get(match[0], match[0]), line.text),
                code.insns[slots[at] * SLOT_SIZE : slots[at + 1] * SLOT_SIZE],
                "" if label == function else label,
                function,
                source,
                code.notes.get(line.slot, ""),
            )
        )
    return found


def text_lines(code: Code, *, raw: bool = False, sources: bool = True) -> list[str]:
    """The listing as text.

    :param raw: show the bytes of each instruction. :param sources: show source lines.
    """
    found = entries(code)
    digits = max(3, len(str(found[-1].slot)) if found else 0)
    texts = [entry.text.split("\n") for entry in found]
    noted = (len(text[-1]) for entry, text in zip(found, texts, strict=True) if entry.note)
    width = min(40, max(noted, default=0))
    out: list[str] = []
    for entry, text in zip(found, texts, strict=True):
        if entry.function:
            out += ["", f"{entry.function}:"] if out else [f"{entry.function}:"]
        if entry.label:
            out.append(f"{entry.label}:")
        if sources and entry.source is not None:
            out.append(f"; {_place(entry.source)}  {source_text(entry.source)}".rstrip())
        note = f"; {entry.note}" if entry.note else ""
        for part, line in enumerate(text):
            head = f"{entry.slot + part:>{digits}}: "
            if raw:
                piece = entry.raw[part * SLOT_SIZE : (part + 1) * SLOT_SIZE] if len(text) > 1 else entry.raw[:SLOT_SIZE]
                head += f"{piece.hex(' ')}  "
            last = part == len(text) - 1
            out.append(f"{head}{line:<{width}}  {note}".rstrip() if last and note else head + line)
        if raw and len(text) == 1 and len(entry.raw) > SLOT_SIZE:
            out.append(f"{' ' * digits}  {entry.raw[SLOT_SIZE:].hex(' ')}")
    return out


def listing(spec: CollectionSpec, program: ProgramSpec) -> list[str]:
    """The text listing of a program of a collection."""
    return text_lines(code_of(spec, program))


def source_text(line: LineInfo) -> str:
    """The source line of a place: as the object has it, or from the file."""
    if line.text:
        return line.text.strip()
    from osmia.diagnostics.sources import source_lines

    known = source_lines(line.file)
    return known[line.line - 1].strip() if known and 0 < line.line <= len(known) else ""


def _place(line: LineInfo) -> str:
    column = f":{line.column}" if line.column else ""
    return f"{os.path.basename(line.file) or '?'}:{line.line}{column}"


def _helper_names(program: Sequence[Instruction]) -> dict[int, str]:
    from osmia.abi import helpers

    found = {}
    for insn in program:
        if insn.opcode == 0x85 and insn.src == 0 and insn.imm not in found:
            row = helpers.find(insn.imm)
            if row is not None:
                found[insn.imm] = f"bpf_{row.name}"
    return found


def _variable(spec: CollectionSpec, map_name: str, offset: int) -> str:
    """The global variable at an offset of a data section."""
    for variable in spec.global_vars.values():
        if variable.map_name == map_name and variable.offset <= offset < variable.offset + max(1, variable.layout.size):
            return variable.name
    return ""


_CORE_KINDS = (
    "offset", "size", "existence", "signedness", "left shift", "right shift", "local type id", "target type id",
    "existence", "size", "existence", "value", "match",
)  # fmt: skip


def _core_text(btf: Btf | None, type_id: int, access: str, kind: int) -> str:
    """What a CO-RE relocation asks, in words: ``offset of task_struct.real_parent``."""
    from osmia.diagnostics import OsmiaError

    what = _CORE_KINDS[kind] if 0 <= kind < len(_CORE_KINDS) else f"kind {kind}"
    if btf is None:
        return f"{what} of type {type_id}, {access}"
    try:
        return f"{what} of {_path(btf, type_id, access)}"
    except (OsmiaError, ValueError, LookupError):
        return f"{what} of type {type_id}, {access}"


def _path(btf: Btf, type_id: int, access: str) -> str:
    """A field or enumerator as C writes it, from a relocation's access string."""
    from osmia.btf.types import AnyEnum, Array, Composite

    steps = [int(step) for step in access.split(":")]
    text = btf.name_of(type_id) or f"type {type_id}"
    at = btf.resolve(type_id)
    if isinstance(at, AnyEnum):
        return f"{text}.{at.values[steps[0]].name}" if at.values else text
    text += f"[{steps[0]}]" if steps[0] else ""
    for step in steps[1:]:
        if isinstance(at, Composite):
            member = at.members[step]
            text += f".{member.name}" if member.name else ""
            at = btf.resolve(member.type_id)
        elif isinstance(at, Array):
            text += f"[{step}]"
            at = btf.resolve(at.type_id)
        else:
            raise ValueError(access)
    return text


def _types(spec: CollectionSpec) -> Btf | None:
    from osmia.btf import Btf
    from osmia.diagnostics import OsmiaError

    try:
        return Btf.from_bytes(spec.btf) if spec.btf else None
    except OsmiaError:
        return None
