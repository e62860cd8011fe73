"""The reference interpreter of the classic machine. Exact, not fast: other engines are compared with it."""

from __future__ import annotations

from osmia.isa.cbpf.check import SECCOMP_DATA_SIZE, check
from osmia.isa.cbpf.program import (
    LINK_OFFSET,
    MEMORY_WORDS,
    NETWORK_OFFSET,
    ClassicInstruction,
    ClassicRow,
    ancillary_of,
)
from osmia.isa.instruction import InstructionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MASK = 0xFFFFFFFF


class Packet:
    """What a filter looks at.

    :ivar frame: the bytes in memory. :ivar start: where in them the filter's offset 0 is.
    :ivar link: where the link-layer header is, ``None`` when there is none to load from.
    :ivar network: likewise the network header.
    :ivar length: what ``len`` gives, by default the bytes from ``start`` on.
    :ivar ancillary: values by name (``mark``, ``vlan_tci``...); what is missing reads as 0.
    """

    __slots__ = ("ancillary", "frame", "length", "link", "network", "start")

    def __init__(
        self,
        frame: bytes,
        *,
        start: int = 0,
        link: int | None = None,
        network: int | None = None,
        length: int | None = None,
        ancillary: Mapping[str, int] | None = None,
    ) -> None:
        self.frame = frame
        self.start = start
        self.link = link
        self.network = network
        self.length = len(frame) - start if length is None else length
        self.ancillary = dict(ancillary or {})

    def load(self, offset: int, size: int) -> int | None:
        """The big-endian number at an unsigned 32-bit offset, ``None`` when it is out of bounds."""
        if offset < 1 << 31:
            return self._read(self.start + offset, size)
        if offset >= NETWORK_OFFSET:
            return None if self.network is None else self._read(self.network + offset - NETWORK_OFFSET, size)
        if offset >= LINK_OFFSET:
            return None if self.link is None else self._read(self.link + offset - LINK_OFFSET, size)
        return None

    def _read(self, position: int, size: int) -> int | None:
        if position < 0 or position + size > len(self.frame):
            return None
        return int.from_bytes(self.frame[position : position + size], "big")


def run(program: Sequence[ClassicInstruction], packet: Packet | bytes) -> int:
    """Run a socket filter over a packet.

    :returns: what the program returns, 0 when it loads out of bounds or divides by zero.
    :raises InstructionError: when the program is not acceptable (see ``check``), or ISA064 when it asks for a netlink
        attribute, which only a kernel can look up.
    """
    rows = check(program)
    return _Machine(packet if isinstance(packet, Packet) else Packet(packet)).run(program, rows)


def run_seccomp(program: Sequence[ClassicInstruction], data: bytes, byteorder: str = "little") -> int:
    """Run a seccomp filter over a ``struct seccomp_data`` of 64 bytes, whose words are in the host's byte order.

    :raises InstructionError: when the program is no acceptable seccomp filter. :raises ValueError: when the data does
        not have 64 bytes.
    """
    rows = check(program, seccomp=True)
    if len(data) != SECCOMP_DATA_SIZE:
        raise ValueError(f"struct seccomp_data has {SECCOMP_DATA_SIZE} bytes, not {len(data)}")
    words = b"".join(
        int.from_bytes(data[at : at + 4], "big" if byteorder == "big" else "little").to_bytes(4, "big")
        for at in range(0, SECCOMP_DATA_SIZE, 4)
    )
    return _Machine(Packet(words)).run(program, rows)


_ALU: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "or": lambda a, b: a | b,
    "and": lambda a, b: a & b,
    "xor": lambda a, b: a ^ b,
    "lsh": lambda a, b: a << (b & 31),
    "rsh": lambda a, b: a >> (b & 31),
}
_CONDITIONS: dict[str, Callable[[int, int], bool]] = {
    "jeq": lambda a, b: a == b,
    "jgt": lambda a, b: a > b,
    "jge": lambda a, b: a >= b,
    "jset": lambda a, b: bool(a & b),
}


class _Machine:
    """A, X and M of one run."""

    def __init__(self, packet: Packet) -> None:
        self.packet = packet
        self.a = 0
        self.x = 0
        self.memory = [0] * MEMORY_WORDS

    def run(self, program: Sequence[ClassicInstruction], rows: Sequence[ClassicRow]) -> int:
        pc = 0
        while True:
            insn, row = program[pc], rows[pc]
            pc += 1
            if row.kind == "ret":
                return insn.k if row.operand == "imm" else self.a
            if row.kind == "goto":
                pc += insn.k
            elif row.kind == "jump":
                other = insn.k if row.operand == "imm" else self.x
                pc += insn.jt if _CONDITIONS[row.mnemonic](self.a, other) else insn.jf
            elif row.kind == "alu":
                if not self.compute(row, insn):
                    return 0
            elif row.kind == "load":
                value = self.load(row, insn, pc - 1)
                if value is None:
                    return 0
                self.a = value
            elif row.kind == "loadx":
                value = self.load(row, insn, pc - 1)
                if value is None:
                    return 0
                self.x = value
            elif row.kind == "store":
                self.memory[insn.k] = self.a if row.mnemonic == "st" else self.x
            elif row.mnemonic == "tax":
                self.x = self.a
            else:
                self.a = self.x

    def compute(self, row: ClassicRow, insn: ClassicInstruction) -> bool:
        """Do arithmetic on A; false when it divides by zero, which ends the program."""
        if row.mnemonic == "neg":
            self.a = -self.a & _MASK
            return True
        operand = insn.k if row.operand == "imm" else self.x
        if row.mnemonic in ("div", "mod"):
            if not operand:
                return False
            self.a = self.a // operand if row.mnemonic == "div" else self.a % operand
            return True
        self.a = _ALU[row.mnemonic](self.a, operand) & _MASK
        return True

    def load(self, row: ClassicRow, insn: ClassicInstruction, index: int) -> int | None:
        k = insn.k
        if row.operand == "imm":
            return k
        if row.operand == "len":
            return self.packet.length & _MASK
        if row.operand == "mem":
            return self.memory[k]
        if row.operand == "msh":
            byte = self.packet.load(k, 1)
            return None if byte is None else (byte & 0xF) << 2
        if row.operand == "ind":
            return self.packet.load((self.x + k) & _MASK, row.size)
        ancillary = ancillary_of(insn)
        if ancillary is None:
            return self.packet.load(k, row.size)
        if ancillary.name == "xor_x":
            return self.a ^ self.x
        if ancillary.name in ("nla", "nlan"):
            raise InstructionError(
                "ISA064", f"instruction {index}: {ancillary.constant} can only be looked up by a kernel", index=index
            )
        return self.packet.ancillary.get(ancillary.name, 0) & _MASK
