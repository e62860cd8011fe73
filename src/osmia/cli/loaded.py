"""Loaded programs for ``osmia disasm``: found by id, name or pin, with everything the kernel tells about their code."""

from __future__ import annotations

import os

from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.cli.commands.disasm import Section
    from osmia.isa.instruction import Instruction
    from osmia.runtime.listing import Code

_CALL, _WIDE = 0x85, 0x18
_PSEUDO_CALL = 1
_MAP_FD, _MAP_VALUE = 1, 2
_ALU64_MOV_X = 0xBF
_ADDR_PERCPU = -1
_NOSPEC = 0xC2


def in_bpffs(path: str) -> bool:
    """Whether a path lies in a bpf file system."""
    from osmia.kernel.pins import in_bpf_file_system

    return in_bpf_file_system(os.path.dirname(os.path.abspath(path)))


def section_of(target: str, machine: bool) -> Section:
    """The listing of the program that ``id:N``, ``name:X`` or a pin's path names.

    :param machine: fetch the machine code too.
    :raises UsageError: CLI010 for what is no number, CLI011 and CLI013 for a name that no or several programs have.
    """
    if target.startswith("id:"):
        number = target[3:]
        if not number.isdecimal():
            raise UsageError("CLI010", f"{target} names no program: an id is a number", hint="osmia ps lists the ids")
        return _section(int(number), machine)
    if target.startswith("name:"):
        return _section(_id_of(target[5:]), machine)
    from osmia.kernel.program import open_pinned_program

    with open_pinned_program(target) as program:
        return _section(program.id, machine)


def _id_of(name: str) -> int:
    from osmia.diagnostics.text import clean, did_you_mean
    from osmia.kernel.inspect import programs

    known = [(info.id, info.name) for info in programs()]
    found = [number for number, known_name in known if known_name == name[:15]]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            "CLI013",
            f"{len(found)} loaded programs are named '{clean(name)}'",
            hint=f"give one's id: {', '.join(f'id:{number}' for number in found[:8])}",
        )
    near = did_you_mean(name, {known_name for _, known_name in known if known_name})
    hint = near or "osmia ps lists the programs"
    raise UsageError("CLI011", f"no loaded program is named '{clean(name)}'", hint=hint)


def _section(number: int, machine: bool) -> Section:
    from osmia.cli.commands.disasm import Section
    from osmia.diagnostics import PermissionMissing
    from osmia.kernel import inspect

    info = inspect.program_info(number)
    insns = inspect.xlated(number)
    data = inspect.jited(number) if machine else b""
    if not insns or (machine and not data):
        what = "machine code" if insns else "code"
        raise PermissionMissing(
            "KRN001",
            f"the kernel shows no {what} of program {number}",
            hint="it shows code to root only, and machine code where the JIT compiler is on (net.core.bpf_jit_enable)",
        )
    functions = inspect.functions(number) or [(0, info.name)]
    code = _code(number, insns, functions)
    size = len(insns) // 8
    name = info.name or f"program {number}"
    what = f"{info.jited_size} bytes of machine code" if machine else f"{size} instructions as the verifier left them"
    facts = {
        "name": info.name,
        "id": number,
        "type": info.kind,
        "tag": info.tag,
        "instructions_count": size,
        "machine_code_bytes": info.jited_size,
    }
    section = Section(name, f"{name}: {info.kind}, id {number}, tag {info.tag}, {what}", facts, code)
    if machine:
        at = 0
        for index, (address, length) in enumerate(inspect.jited_symbols(number) or [(0, len(data))]):
            of = functions[index][1] if index < len(functions) else f"function {index}"
            section.machine.append((address, data[at : at + length], of))
            at += length
    return section


def _code(number: int, insns: bytes, functions: list[tuple[int, str]]) -> Code:
    """Translates what the verifier put in place of calls and loads back into words."""
    from osmia.abi import helpers
    from osmia.isa.instruction import decode_program, encode_program, slot_numbers
    from osmia.kernel import inspect
    from osmia.runtime.listing import Code

    decoded = decode_program(insns)
    called = inspect.called_functions(insns)
    notes: dict[int, str] = {}
    texts: dict[int, str] = {}
    maps: dict[int, str] = {}
    for slot, insn in zip(slot_numbers(decoded), decoded, strict=False):
        if insn.opcode == _CALL and insn.src == _PSEUDO_CALL:
            insn.imm, insn.off = insn.off, 0  # the verifier keeps the distance in the offset
        elif insn.opcode == _CALL:
            name = called.get(slot, "")
            row = helpers.find(name) if name.startswith("bpf_") and insn.src == 0 else None
            if row is not None:
                insn.imm = row.number
            else:
                texts[slot] = f"call {name or '?'}"
                notes[slot] = "" if name else "the kernel hides its addresses (CAP_SYSLOG, kernel.kptr_restrict)"
        elif insn.opcode == _WIDE and insn.src in (_MAP_FD, _MAP_VALUE):
            notes[slot] = _map_note(insn, maps)
        elif insn.opcode == _ALU64_MOV_X and insn.off == _ADDR_PERCPU:
            texts[slot] = f"r{insn.dst} = &(void __percpu *)(r{insn.src})"
        elif insn.opcode == _NOSPEC:
            texts[slot] = "nospec"
    return Code(insns, functions, inspect.source_lines(number), notes, texts, encode_program(decoded))


def _map_note(insn: Instruction, known: dict[int, str]) -> str:
    """``map counts (id 12)`` of a wide load, where the kernel puts the map's id."""
    from osmia.diagnostics import OsmiaError
    from osmia.kernel.inspect import map_info

    number = insn.imm
    if number not in known:
        try:
            known[number] = map_info(number).name
        except OsmiaError:
            known[number] = ""  # gone meanwhile
    name = f"map {known[number]} (id {number})" if known[number] else f"map id {number}"
    return f"{name} + {insn.high}" if insn.src == _MAP_VALUE and insn.high else name
