"""The reference page of the instruction set, made from the table."""

from __future__ import annotations

from osmia.isa.table import TABLE, Field, Row, version_text

MEANINGS: dict[str, str] = {
    "add": "sum, modulo 2^width",
    "sub": "difference, modulo 2^width",
    "mul": "product, modulo 2^width",
    "div": "unsigned quotient; by zero gives 0",
    "sdiv": "signed quotient, towards zero; by zero gives 0, minimum by -1 gives the minimum",
    "or": "bitwise or",
    "and": "bitwise and",
    "lsh": "left shift by the low 6 bits (5 for 32-bit)",
    "rsh": "unsigned right shift by the low 6 bits (5 for 32-bit)",
    "arsh": "signed right shift by the low 6 bits (5 for 32-bit)",
    "neg": "negation, modulo 2^width",
    "mod": "unsigned remainder; by zero leaves the destination (its low 32 bits for 32-bit)",
    "smod": "signed remainder with the sign of the dividend; by zero leaves the destination",
    "xor": "bitwise exclusive or",
    "mov": "copy; a 64-bit immediate move extends the sign",
    "movsx": "copy the low bits, extending their sign",
    "le": "host to little endian (and back): keeps or swaps the low bytes, clears the rest",
    "be": "host to big endian (and back): keeps or swaps the low bytes, clears the rest",
    "bswap": "swap the low bytes whatever the host's order, clear the rest",
    "addr_space_cast": "convert an arena pointer between user and kernel address space",
    "load": "load from memory, zero-extended (sign-extended for s8, s16, s32)",
    "store": "store the low bytes",
    "load_acquire": "load, ordered before everything that follows",
    "store_release": "store, ordered after everything that precedes",
    "fetch_add": "atomic addition; the register gets the old value",
    "fetch_or": "atomic or; the register gets the old value",
    "fetch_and": "atomic and; the register gets the old value",
    "fetch_xor": "atomic exclusive or; the register gets the old value",
    "xchg": "atomic exchange; the register gets the old value",
    "cmpxchg": "if memory equals r0, store the register; r0 gets the old value",
    "imm64": "load a 64-bit number",
    "map": "load a map's address",
    "map_value": "load the address of byte +N of an array map's first value",
    "btf_id": "load the address of a kernel variable, given its BTF id (and module BTF)",
    "func": "load the address of a function of this program, for callbacks",
    "load_abs": "load from the packet in r6's socket buffer, big endian; out of bounds ends the program with 0",
    "load_ind": "as load_abs, at register plus immediate",
    "jeq": "jump if equal",
    "jne": "jump if not equal",
    "jgt": "jump if greater, unsigned",
    "jge": "jump if greater or equal, unsigned",
    "jlt": "jump if less, unsigned",
    "jle": "jump if less or equal, unsigned",
    "jsgt": "jump if greater, signed",
    "jsge": "jump if greater or equal, signed",
    "jslt": "jump if less, signed",
    "jsle": "jump if less or equal, signed",
    "jset": "jump if any common bit is set",
    "may_goto": "jump when the loop's budget is used up, else go on",
    "goto": "jump; distance in 8-byte slots from the next instruction",
    "goto_register": "jump to an address loaded from an instruction array map",
    "helper": "call a helper by number; arguments in r1 to r5, result in r0",
    "local": "call a function of this program",
    "kfunc": "call a kernel function by BTF id (offset: index of the module's BTF descriptor)",
    "register": "call through a register",
    "exit": "return r0",
}
"""What each operation does, in one line."""

_ATOMIC_MEANINGS = {
    "add": "atomic addition",
    "or": "atomic or",
    "and": "atomic and",
    "xor": "atomic exclusive or",
}

_SECTIONS = (
    ("alu", "Arithmetic"),
    ("swap", "Byte order"),
    ("cast", "Address spaces"),
    ("load", "Loads"),
    ("store", "Stores"),
    ("atomic", "Atomic operations"),
    ("wide", "Wide loads"),
    ("packet", "Packet loads (legacy)"),
    ("jump", "Conditional jumps"),
    ("goto", "Jumps"),
    ("call", "Calls"),
    ("exit", "Exit"),
)


def meaning(row: Row) -> str:
    """What an instruction does, in one line."""
    if row.kind == "atomic" and row.operation in _ATOMIC_MEANINGS:
        return _ATOMIC_MEANINGS[row.operation]
    return MEANINGS[row.operation]


def markdown() -> str:
    """The whole reference as Markdown."""
    parts = [
        "# BPF instructions\n",
        f"\nAll {len(TABLE)} instructions that Osmia knows, from its one table. Fields that a row does not list are"
        " reserved and must be zero. *cpu* is LLVM's version, *kernel* the first release that accepts the instruction,"
        " *group* the conformance group of RFC 9669 (none: an extension of Linux).\n",
    ]
    for kind, title in _SECTIONS:
        parts.append(f"\n## {title}\n\n")
        parts.append("| instruction | mnemonic | opcode | fields | does | cpu | kernel | group |\n")
        parts.append("|---|---|---|---|---|---|---|---|\n")
        parts += [_line(row) for row in TABLE if row.kind == kind]
    return "".join(parts)


def _line(row: Row) -> str:
    cells = (
        f"`{plain(row.text)}`",
        f"`{plain(row.mnemonic)}`",
        f"`0x{row.opcode:02x}`",
        _fields(row),
        meaning(row),
        f"v{row.cpu}",
        version_text(row.kernel),
        row.group or "-",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


_SAMPLES = {
    "dst.w": "wD", "src.w": "wS", "dst": "rD", "src": "rS", "imm.x": "IMM", "imm": "IMM", "high": "HIGH",
    "wide": "IMM64", "target.pc": "pc+N", "target": "+N", "callee.d": "+N", "callee": "pc+N", "fd": "FD",
    "helper.k": "HELPER", "helper": "HELPER",
}  # fmt: skip


def plain(template: str) -> str:
    """A template with its placeholders as people write them in a manual."""
    template = template.replace("[{dst}{off}]", "[rD+OFF]").replace("[{src}{off}]", "[rS+OFF]")
    template = template.replace("{off}", " + OFF")
    for name, sample in _SAMPLES.items():
        template = template.replace("{" + name + "}", sample)
    return template


def _fields(row: Row) -> str:
    def show(name: str, field: Field) -> str:
        return f"{name}={field:#x}" if isinstance(field, int) and field > 9 else f"{name}={field}"

    shown = [
        show(name, field)
        for name, field in (("src", row.src), ("off", row.off), ("imm", row.imm), ("high", row.high))
        if field != 0 and not (name == "src" and isinstance(field, str))
    ]
    return ", ".join(shown) or "-"
