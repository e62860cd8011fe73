"""The classic machine's instructions, as one table, and programs as bytes and as numbers.

Classic BPF (the 1992 machine, ``struct sock_filter`` of ``linux/filter.h``): an accumulator A, an index register X, 16
words of scratch memory M[], and a packet to load from. Jumps go forward only.
"""

from __future__ import annotations

import re
from struct import Struct
from struct import error as StructError

from osmia.diagnostics.errors import IsaError
from osmia.isa.instruction import InstructionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_INSTRUCTIONS = 4096
MEMORY_WORDS = 16
ANCILLARY_OFFSET = 0xFFFFF000
"""``SKF_AD_OFF`` as an unsigned number: absolute loads from here on read facts about the packet."""
NETWORK_OFFSET = 0xFFF00000
"""``SKF_NET_OFF``: loads from here on count from the network header."""
LINK_OFFSET = 0xFFE00000
"""``SKF_LL_OFF``: loads from here on count from the link-layer header."""

_PACKERS = {"little": Struct("<HBBI"), "big": Struct(">HBBI")}


class ClassicRow:
    """One instruction of the classic machine.

    :ivar code: the 16-bit opcode. :ivar mnemonic: its name. :ivar kind: ``load``, ``loadx``, ``store``, ``alu``,
        ``goto``, ``jump``, ``ret`` or ``misc``.
    :ivar operand: ``abs`` ([k]), ``ind`` ([x + k]), ``mem`` (M[k]), ``imm`` (#k), ``len``, ``msh`` (4*([k]&0xf)),
        ``x``, ``a``, ``jump`` or ``none``. :ivar size: bytes loaded from the packet.
    :ivar seccomp: whether seccomp filters may use it.
    """

    __slots__ = ("code", "kind", "mnemonic", "operand", "seccomp", "size")

    def __init__(
        self, code: int, mnemonic: str, kind: str, operand: str, *, size: int = 0, seccomp: bool = True
    ) -> None:
        self.code = code
        self.mnemonic = mnemonic
        self.kind = kind
        self.operand = operand
        self.size = size
        self.seccomp = seccomp

    def __repr__(self) -> str:
        return f"<ClassicRow {self.mnemonic} {self.operand} 0x{self.code:02x}>"


def _table() -> tuple[ClassicRow, ...]:
    rows = []
    for size, code, suffix in ((4, 0x00, ""), (2, 0x08, "h"), (1, 0x10, "b")):
        rows += [
            ClassicRow(0x20 | code, f"ld{suffix}", "load", "abs", size=size, seccomp=size == 4),
            ClassicRow(0x40 | code, f"ld{suffix}", "load", "ind", size=size, seccomp=False),
        ]
    rows += [
        ClassicRow(0x00, "ld", "load", "imm"),
        ClassicRow(0x80, "ld", "load", "len"),
        ClassicRow(0x60, "ld", "load", "mem"),
        ClassicRow(0x01, "ldx", "loadx", "imm"),
        ClassicRow(0x81, "ldx", "loadx", "len"),
        ClassicRow(0x61, "ldx", "loadx", "mem"),
        ClassicRow(0xB1, "ldxb", "loadx", "msh", size=1, seccomp=False),
        ClassicRow(0x02, "st", "store", "mem"),
        ClassicRow(0x03, "stx", "store", "mem"),
    ]
    for index, name in enumerate(("add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "neg", "mod", "xor")):
        code = 0x04 | index << 4
        if name == "neg":
            rows.append(ClassicRow(code, name, "alu", "none"))
            continue
        allowed = name != "mod"
        rows += [
            ClassicRow(code, name, "alu", "imm", seccomp=allowed),
            ClassicRow(code | 8, name, "alu", "x", seccomp=allowed),
        ]
    rows.append(ClassicRow(0x05, "ja", "goto", "jump"))
    for index, name in enumerate(("jeq", "jgt", "jge", "jset"), 1):
        code = 0x05 | index << 4
        rows += [ClassicRow(code, name, "jump", "imm"), ClassicRow(code | 8, name, "jump", "x")]
    rows += [
        ClassicRow(0x06, "ret", "ret", "imm"),
        ClassicRow(0x16, "ret", "ret", "a"),
        ClassicRow(0x07, "tax", "misc", "none"),
        ClassicRow(0x87, "txa", "misc", "none"),
    ]
    return tuple(rows)


CLASSIC_TABLE = _table()
BY_CODE = {row.code: row for row in CLASSIC_TABLE}


class Ancillary:
    """A fact about a packet that an absolute load at ``SKF_AD_OFF`` plus ``offset`` gives.

    :ivar name: as classic assembly writes it after ``#``. :ivar constant: its name in ``linux/filter.h``.
    :ivar meaning: what it gives. :ivar names: further spellings.
    """

    __slots__ = ("constant", "meaning", "name", "names", "offset")

    def __init__(self, offset: int, name: str, constant: str, meaning: str, *names: str) -> None:
        self.offset = offset
        self.name = name
        self.constant = constant
        self.meaning = meaning
        self.names = (name, *names)


ANCILLARIES = (
    Ancillary(0, "proto", "SKF_AD_PROTOCOL", "link-layer protocol, host byte order", "protocol"),
    Ancillary(4, "type", "SKF_AD_PKTTYPE", "packet type (to us, broadcast, outgoing...)", "pkttype"),
    Ancillary(8, "ifidx", "SKF_AD_IFINDEX", "interface index", "ifindex"),
    Ancillary(12, "nla", "SKF_AD_NLATTR", "offset of the netlink attribute of type X, searched from A"),
    Ancillary(16, "nlan", "SKF_AD_NLATTR_NEST", "offset of the nested netlink attribute of type X at A"),
    Ancillary(20, "mark", "SKF_AD_MARK", "packet mark"),
    Ancillary(24, "queue", "SKF_AD_QUEUE", "receive queue"),
    Ancillary(28, "hatype", "SKF_AD_HATYPE", "hardware type of the interface"),
    Ancillary(32, "rxhash", "SKF_AD_RXHASH", "packet hash"),
    Ancillary(36, "cpu", "SKF_AD_CPU", "processor that runs the filter"),
    Ancillary(40, "xor_x", "SKF_AD_ALU_XOR_X", "A exclusive-or X"),
    Ancillary(44, "vlan_tci", "SKF_AD_VLAN_TAG", "VLAN tag control information", "vlant"),
    Ancillary(48, "vlan_avail", "SKF_AD_VLAN_TAG_PRESENT", "whether there is a VLAN tag", "vlanp", "vlan_pr"),
    Ancillary(52, "poff", "SKF_AD_PAY_OFFSET", "offset of the payload", "pay_offset"),
    Ancillary(56, "rand", "SKF_AD_RANDOM", "a random number", "random"),
    Ancillary(60, "vlan_tpid", "SKF_AD_VLAN_TPID", "VLAN protocol, host byte order"),
)
ANCILLARY_BY_OFFSET = {row.offset: row for row in ANCILLARIES}
ANCILLARY_BY_NAME = {name: row for row in ANCILLARIES for name in row.names}


class ClassicInstruction:
    """One classic instruction.

    :ivar code: the opcode. :ivar jt: instructions to skip when a condition holds. :ivar jf: likewise when it does not.
    :ivar k: the unsigned 32-bit operand.
    """

    __slots__ = ("code", "jf", "jt", "k")

    def __init__(self, code: int, jt: int = 0, jf: int = 0, k: int = 0) -> None:
        self.code = code
        self.jt = jt
        self.jf = jf
        self.k = k

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClassicInstruction) and (self.code, self.jt, self.jf, self.k) == (
            other.code,
            other.jt,
            other.jf,
            other.k,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ClassicInstruction(0x{self.code:02x}, {self.jt}, {self.jf}, {self.k:#x})"


def ancillary_of(insn: ClassicInstruction) -> Ancillary | None:
    """The fact that an absolute load reads, ``None`` for packet loads and other instructions."""
    row = BY_CODE.get(insn.code)
    if row is None or row.kind != "load" or row.operand != "abs" or insn.k < ANCILLARY_OFFSET:
        return None
    return ANCILLARY_BY_OFFSET.get(insn.k - ANCILLARY_OFFSET)


def decode(data: bytes | bytearray | memoryview, byteorder: str = "little") -> list[ClassicInstruction]:
    """The instructions of an array of ``struct sock_filter``.

    :raises IsaError: ISA050 when the bytes are no whole number of instructions.
    """
    if len(data) % 8:
        raise IsaError("ISA050", f"a classic program is a whole number of 8-byte instructions, not {len(data)} bytes")
    return [ClassicInstruction(*fields) for fields in _packer(byteorder).iter_unpack(data)]


def encode(program: Sequence[ClassicInstruction], byteorder: str = "little") -> bytes:
    """The bytes of a program.

    :raises IsaError: ISA051 when a field does not fit.
    """
    pack = _packer(byteorder).pack
    parts = []
    for index, insn in enumerate(program):
        try:
            parts.append(pack(insn.code, insn.jt, insn.jf, insn.k))
        except (StructError, TypeError):
            raise InstructionError(
                "ISA051", f"instruction {index}: {insn!r} has a field that does not fit its place", index=index
            ) from None
    return b"".join(parts)


def _packer(byteorder: str) -> Struct:
    packer = _PACKERS.get(byteorder)
    if packer is None:
        raise ValueError(f"byteorder is 'little' or 'big', not {byteorder!r}")
    return packer


_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})", re.ASCII)


def parse_numbers(text: str) -> list[ClassicInstruction]:
    """A program from numbers, as ``tcpdump -ddd`` (a count, then lines), ``bpf_asm`` (the same with commas) and
    ``tcpdump -dd`` (``{ 0x28, 0, 0, 0x0000000c },``) print them.

    :raises IsaError: ISA050 when the text is none of these.
    """
    if "{" in text:
        groups = re.findall(r"\{([^{}]*)\}", text)
        leftover = re.sub(r"\{[^{}]*\}", "", text).strip(" \t\r\n,")
        if leftover:
            raise IsaError("ISA050", f"{leftover[:40]!r} is no classic instruction in braces")
        rows = [group.replace(",", " ").split() for group in groups]
    else:
        rows = [line.split() for line in re.split(r"[,\n]", text) if line.strip()]
        counts = rows.pop(0) if rows else []
        if len(counts) != 1 or counts != [str(len(rows))]:
            raise IsaError(
                "ISA050",
                f"the count {' '.join(counts)[:40]!r} is followed by {len(rows)} instructions",
                hint="the first number is how many instructions follow",
            )
    program = []
    for index, row in enumerate(rows):
        values = [_number(word) for word in row]
        if len(values) != 4 or None in values:
            raise InstructionError(
                "ISA050",
                f"instruction {index} is {' '.join(row)[:60]!r} instead of four numbers (code, jt, jf, k)",
                index=index,
            )
        code, jt, jf, k = (value or 0 for value in values)
        insn = ClassicInstruction(code, jt, jf, k)
        encode([insn])
        program.append(insn)
    return program


def _number(word: str) -> int | None:
    if not _NUMBER.fullmatch(word):
        return None
    return int(word, 16) if word[:2] in ("0x", "0X") else int(word)


def format_numbers(program: Sequence[ClassicInstruction], separator: str = "\n") -> str:
    """A program as ``tcpdump -ddd`` prints it; ``separator=","`` gives the form that iptables and bpf_asm use."""
    lines = [str(len(program)), *(f"{insn.code} {insn.jt} {insn.jf} {insn.k}" for insn in program)]
    return separator.join(lines) + (separator if separator == "\n" else "")
