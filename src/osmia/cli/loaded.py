"""Loaded programs for ``osmia disasm``: found by id, name or pin, with everything the kernel tells about their code."""

from __future__ import annotations

import os

from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf import Btf
    from osmia.cli.commands.disasm import Section
    from osmia.isa.instruction import Instruction
    from osmia.kernel.inspect import ProgramInfo
    from osmia.kernel.program import Program
    from osmia.object.spec import LineInfo
    from osmia.runtime.listing import Code
    from osmia.symbols.kernel import KernelSymbols

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
    with _open(target) as program:
        return _section(program, machine)


def _open(target: str) -> Program:
    from osmia.kernel.program import open_pinned_program, program_from_id

    if target.startswith("id:"):
        number = target[3:]
        if not number.isdecimal():
            raise UsageError("CLI010", f"{target} names no program: an id is a number", hint="osmia ps lists the ids")
        return program_from_id(int(number))
    if target.startswith("name:"):
        return program_from_id(_id_of(target[5:]))
    return open_pinned_program(target)


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
    raise UsageError(
        "CLI011", f"no loaded program is named '{clean(name)}'", hint=near or "osmia ps lists the programs"
    )


def _section(program: Program, machine: bool) -> Section:
    from osmia.cli.commands.disasm import Section
    from osmia.diagnostics import PermissionMissing
    from osmia.kernel import inspect

    info = program.info()
    types = _types(info)
    functions = _functions(program, info, types)
    insns = inspect.xlated(program)
    if info.xlated_size and not insns:
        raise PermissionMissing(
            "KRN001", f"the kernel hides the code of program {info.id}", hint="it shows code to root (CAP_BPF) only"
        )
    code = _code(program, insns, functions, types)
    size = len(insns) // 8
    name = info.name or f"program {info.id}"
    title = f"{name}: {info.kind}, id {info.id}, tag {info.tag}, {size} instructions as the verifier left them"
    if machine:
        title = f"{name}: {info.kind}, id {info.id}, tag {info.tag}, {info.jited_size} bytes of machine code"
    facts = {
        "name": info.name,
        "id": info.id,
        "type": info.kind,
        "tag": info.tag,
        "instructions_count": size,
        "machine_code_bytes": info.jited_size,
    }
    section = Section(name, title, dict(facts), code)
    if machine:
        section.machine = _machine(program, info, [text for _, text in functions])
    return section


def _types(info: ProgramInfo) -> Btf | None:
    from osmia.btf import Btf
    from osmia.diagnostics import OsmiaError
    from osmia.kernel.inspect import btf_data

    if not info.btf_id:
        return None
    try:
        return Btf.from_bytes(btf_data(info.btf_id))
    except OsmiaError:
        return None


def _functions(program: Program, info: ProgramInfo, types: Btf | None) -> list[tuple[int, str]]:
    from osmia.kernel.debug_info import functions

    if types is None:
        return [(0, info.name)] if info.name else []
    return [(slot, types.name_of(type_id)) for slot, type_id in functions(program)]


def _lines(program: Program, types: Btf | None) -> list[LineInfo]:
    from osmia.kernel.debug_info import lines
    from osmia.object.spec import LineInfo

    if types is None:
        return []
    return [
        LineInfo(slot, types.string(file), types.string(text), line, column)
        for slot, file, text, line, column in lines(program)
    ]


def _machine(program: Program, info: ProgramInfo, names: list[str]) -> list[tuple[int, bytes, str]]:
    """The machine code, function by function."""
    from osmia.kernel import inspect

    data = inspect.jited(program)
    symbols = inspect.jited_symbols(program)
    if len(symbols) < 2 or sum(size for _, size in symbols) != len(data):
        return [(symbols[0][0] if symbols else 0, data, names[0] if names else info.name)]
    found = []
    at = 0
    for number, (address, size) in enumerate(symbols):
        name = names[number] if number < len(names) else f"function {number}"
        found.append((address, data[at : at + size], name))
        at += size
    return found


def _code(program: Program, insns: bytes, functions: list[tuple[int, str]], types: Btf | None) -> Code:
    """Translates what the verifier put in place of calls and loads back into words."""
    from osmia.abi import helpers
    from osmia.isa.instruction import decode_program, encode_program, slot_numbers
    from osmia.runtime.listing import Code
    from osmia.symbols.kernel import KernelSymbols

    decoded = decode_program(insns)
    notes: dict[int, str] = {}
    texts: dict[int, str] = {}
    maps: dict[int, str] = {}
    base = _call_base(symbols := KernelSymbols())
    for slot, insn in zip(slot_numbers(decoded), decoded, strict=False):
        if insn.opcode == _CALL and insn.src == _PSEUDO_CALL:
            insn.imm, insn.off = insn.off, 0  # the verifier keeps the distance in the offset
        elif insn.opcode == _CALL:
            name = _callee(insn.imm, base, symbols)
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
    return Code(insns, functions, _lines(program, types), notes, texts, encode_program(decoded))


def _call_base(symbols: KernelSymbols) -> int:
    """The address that calls in a loaded program's instructions count from, 0 where the kernel hides addresses."""
    from osmia.diagnostics import SymbolError

    try:
        return symbols.address("__bpf_call_base")
    except SymbolError:
        return 0


def _callee(distance: int, base: int, symbols: KernelSymbols) -> str:
    """The kernel function that a call of a loaded program goes to; empty where that cannot be told."""
    if not base or not distance:
        return ""
    name, offset, _ = symbols.lookup((base + distance) & (1 << 64) - 1)
    return name if not offset else ""


def _map_note(insn: Instruction, known: dict[int, str]) -> str:
    """``map counts (id 12)`` of a wide load, where the kernel puts the map's id."""
    from osmia.diagnostics import OsmiaError
    from osmia.kernel.maps.base import map_from_id

    number = insn.imm
    if number not in known:
        try:
            with map_from_id(number) as found:
                known[number] = found.name
        except OsmiaError:
            known[number] = ""
    name = f"map {known[number]} (id {number})" if known[number] else f"map id {number}"
    return f"{name} + {insn.high}" if insn.src == _MAP_VALUE and insn.high else name
