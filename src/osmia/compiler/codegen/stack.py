"""The stack that finished code really uses, and how much code there is, by function and over chains of calls.

The kernel counts 512 bytes over a chain of calls, each frame rounded up (``check_max_stack_depth`` in the verifier;
32 bytes a frame is the coarsest rounding of any version), callbacks included, and at most eight frames.
"""

from __future__ import annotations

import struct

from osmia.diagnostics import CompileError
from osmia.object.elf_file import STT_FUNC, ElfFile, Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir import Module

LIMIT = 512
TAIL_LIMIT = 256
MAX_FRAMES = 8
_ROUND = 32
_INSN = struct.Struct("<BBhi")
_R_LD_IMM64, _R_CALL = 1, 10
_MOV64_X, _ADD64_K, _LD_IMM64, _CALL = 0xBF, 0x07, 0x18, 0x85
_LDX, _ST, _STX = 1, 2, 3
_TAIL_CALL = 12


class Code:
    """One function of an object.

    :ivar size: instruction slots. :ivar frame: bytes of stack. :ivar calls: functions it calls or passes as callbacks.
    :ivar tail: it makes tail calls.
    """

    __slots__ = ("calls", "frame", "name", "size", "tail")

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.frame = 0
        self.calls: list[str] = []
        self.tail = False


def measure(blob: bytes) -> dict[str, Code]:
    """Every function of an object, by name."""
    elf = ElfFile(blob, "")
    starts: dict[tuple[int, int], str] = {}
    functions: dict[str, Code] = {}
    for symbol in elf.symbols:
        if symbol.type == STT_FUNC and symbol.size:
            starts[symbol.section, symbol.value] = symbol.name
    for section in elf.sections:
        if section.executable and section.size:
            _measure_section(elf, section, starts, functions)
    return functions


def _measure_section(
    elf: ElfFile, section: Section, starts: dict[tuple[int, int], str], functions: dict[str, Code]
) -> None:
    targets = {}
    for relocation in elf.relocations(section):
        if relocation.type in (_R_LD_IMM64, _R_CALL) and elf.sections[relocation.symbol.section].executable:
            targets[relocation.offset] = relocation
    current: Code | None = None
    derived: dict[int, int] = {}
    wide = False
    for index, (opcode, registers, offset, imm) in enumerate(_INSN.iter_unpack(section.data)):
        at = index * 8
        name = starts.get((section.index, at))
        if name is not None:
            current = functions[name] = Code(name, 0)
            derived = {}
        if current is None:
            continue
        current.size += 1
        if wide:
            wide = False
            continue
        dst, src = registers & 15, registers >> 4
        _stack_access(current, opcode, dst, src, offset, imm, derived)
        if opcode == _CALL and src == 0 and imm == _TAIL_CALL:
            current.tail = True
        if opcode == _LD_IMM64:
            wide = True
        target = None
        if at in targets:
            symbol = targets[at].symbol
            step = imm + 1 if opcode == _CALL else imm // 8
            target = starts.get((symbol.section, symbol.value + step * 8))
        elif opcode == _CALL and src == 1:
            target = starts.get((section.index, at + 8 + imm * 8))
        if target is not None and target not in current.calls:
            current.calls.append(target)


def _stack_access(code: Code, opcode: int, dst: int, src: int, offset: int, imm: int, derived: dict[int, int]) -> None:
    """Notes how deep an instruction reaches; ``derived`` has registers that hold the frame pointer plus a constant."""
    kind = opcode & 7
    depth = 0
    if opcode == _MOV64_X:
        if src == 10:
            derived[dst] = 0
        elif src in derived:
            derived[dst] = derived[src]
        else:
            derived.pop(dst, None)
        return
    if opcode == _ADD64_K and dst in derived:
        derived[dst] += imm
        depth = derived[dst]
    elif kind == _LDX:
        depth = offset + (0 if src == 10 else derived.get(src, 1 << 20))
        derived.pop(dst, None)
    elif kind in (_ST, _STX):
        depth = offset + (0 if dst == 10 else derived.get(dst, 1 << 20))
    elif kind in (4, 7, 0):
        derived.pop(dst, None)
    if depth < 0:
        code.frame = max(code.frame, -depth)


class Excess:
    """A chain of calls that is too deep.

    :ivar chain: names from the entry on. :ivar depth: bytes in all. :ivar limit: bytes allowed.
    """

    __slots__ = ("chain", "depth", "limit")

    def __init__(self, chain: list[str], depth: int, limit: int) -> None:
        self.chain = chain
        self.depth = depth
        self.limit = limit


def excess(functions: dict[str, Code]) -> Excess | None:
    """The first chain of calls that the kernel would refuse; None where all is well."""
    deepest: dict[str, tuple[int, list[str]]] = {}

    def depth(name: str) -> tuple[int, list[str]]:
        known = deepest.get(name)
        if known is None:
            code = functions[name]
            best: tuple[int, list[str]] = (0, [])
            for callee in code.calls:
                if callee in functions:
                    best = max(best, depth(callee))
            frame = -(-max(code.frame, 1) // _ROUND) * _ROUND
            known = deepest[name] = (frame + best[0], [name, *best[1]])
        return known

    def before_tail(name: str, above: int, chain: list[str]) -> Excess | None:
        """A tail call below frames of 256 bytes or more."""
        code = functions[name]
        if code.tail and above >= TAIL_LIMIT:
            return Excess([*chain, name], above, TAIL_LIMIT)
        frame = -(-max(code.frame, 1) // _ROUND) * _ROUND
        for callee in code.calls:
            found = before_tail(callee, above + frame, [*chain, name]) if callee in functions else None
            if found is not None:
                return found
        return None

    for name in functions:
        total, chain = depth(name)
        if total > LIMIT:
            return Excess(chain, total, LIMIT)
        if len(chain) > MAX_FRAMES:
            return Excess(chain, len(chain), MAX_FRAMES)
        found = before_tail(name, 0, [])
        if found is not None:
            return found
    return None


def refusal(module: Module, found: Excess, functions: dict[str, Code]) -> CompileError:
    """The error for a chain that stays too deep whatever goes to scratch memory."""
    entry = module.functions.get(found.chain[0])
    if found.limit == MAX_FRAMES:
        return CompileError(
            "IR013", f"calls are nested {found.depth} deep, {MAX_FRAMES} is the most: {' -> '.join(found.chain)}",
            span=entry.span if entry else None, hint="let some of the functions be inlined",
        )  # fmt: skip
    frames = ", ".join(f"{name} {functions[name].frame}" for name in found.chain)
    what = "before a tail call " if found.limit == TAIL_LIMIT else ""
    return CompileError(
        "IR013", f"{found.chain[0]} needs {found.depth} bytes of stack {what}where {found.limit} are allowed",
        span=entry.span if entry else None, hint="split the function, or keep fewer values alive at once",
        notes=[(f"bytes by function: {frames}", None)],
    )  # fmt: skip
