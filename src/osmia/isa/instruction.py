"""One BPF instruction, and programs as bytes.

The encoding is RFC 9669, section 3: slots of 8 bytes (opcode, two register numbers, a 16-bit offset, a 32-bit
immediate). A wide load takes two slots and is one :class:`Instruction` here. This module is on the loading path: it
knows the shape of instructions but not what they mean; that is ``osmia.isa.table``, and ``osmia.isa.check`` compares
the two.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

from osmia.diagnostics.errors import IsaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SLOT_SIZE = 8
WIDE_OPCODE = 0x18
"""``BPF_LD | BPF_IMM | BPF_DW``: the one opcode whose instruction takes two slots."""

_LITTLE = Struct("<BBhi")
_BIG = Struct(">BBhi")
_BYTE_ORDERS = {"little": _LITTLE, "big": _BIG}


class InstructionError(IsaError):
    """An instruction that the table does not allow.

    :ivar index: position in the list of instructions. :ivar slot: position in 8-byte slots, as the kernel counts.
    """

    def __init__(self, code: str, message: str, *, index: int = -1, slot: int = -1, hint: str | None = None) -> None:
        super().__init__(code, message, hint=hint)
        self.index = index
        self.slot = slot


class Instruction:
    """One instruction.

    :ivar opcode: the opcode byte. :ivar dst: destination register. :ivar src: source register, or a number that selects
        a variant (calls and wide loads). :ivar off: signed 16-bit offset. :ivar imm: signed 32-bit immediate.
    :ivar high: the second slot's signed 32-bit immediate; 0 unless this is a wide load.
    """

    __slots__ = ("dst", "high", "imm", "off", "opcode", "src")

    def __init__(self, opcode: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0, *, high: int = 0) -> None:
        self.opcode = opcode
        self.dst = dst
        self.src = src
        self.off = off
        self.imm = imm
        self.high = high

    @classmethod
    def wide(cls, dst: int, value: int, src: int = 0) -> Instruction:
        """A wide load of a 64-bit ``value`` (taken modulo 2**64), ``src`` selecting a pseudo source."""
        return cls(WIDE_OPCODE, dst, src, 0, signed32(value), high=signed32(value >> 32))

    @property
    def slots(self) -> int:
        """How many 8-byte slots it takes: 2 for a wide load, else 1."""
        return 2 if self.opcode == WIDE_OPCODE else 1

    @property
    def imm64(self) -> int:
        """The unsigned 64-bit immediate of a wide load."""
        return (self.high & 0xFFFFFFFF) << 32 | self.imm & 0xFFFFFFFF

    @imm64.setter
    def imm64(self, value: int) -> None:
        self.imm = signed32(value)
        self.high = signed32(value >> 32)

    def copy(self) -> Instruction:
        """An independent copy."""
        return Instruction(self.opcode, self.dst, self.src, self.off, self.imm, high=self.high)

    def encode(self, byteorder: str = "little") -> bytes:
        """Its 8 or 16 bytes.

        :raises IsaError: ISA004 when a field does not fit.
        """
        return encode_program((self,), byteorder)

    def _key(self) -> tuple[int, int, int, int, int, int]:
        return (self.opcode, self.dst, self.src, self.off, self.imm, self.high)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instruction) and self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        high = f", high={self.high}" if self.high else ""
        return f"Instruction(0x{self.opcode:02x}, {self.dst}, {self.src}, {self.off}, {self.imm}{high})"


def signed32(value: int) -> int:
    """The low 32 bits of ``value`` as a signed number."""
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def decode_program(data: bytes | bytearray | memoryview, byteorder: str = "little") -> list[Instruction]:
    """Cut bytes into instructions.

    Only the shape is judged here; ``osmia.isa.check.check_program`` says whether the instructions exist.

    :param byteorder: ``little`` for ``bpfel``, ``big`` for ``bpfeb`` objects.
    :raises IsaError: ISA001 (length), ISA002 (a wide load without its second slot), ISA003 (reserved fields in it).
    """
    if len(data) % SLOT_SIZE:
        raise IsaError(
            "ISA001",
            f"a program is a whole number of 8-byte slots, and {len(data)} bytes are not",
            hint="the bytes are cut off, or they are not BPF instructions",
        )
    swapped = _packer(byteorder) is _BIG
    program: list[Instruction] = []
    append = program.append
    slots = _packer(byteorder).iter_unpack(data)
    for opcode, registers, off, imm in slots:
        low, upper = registers & 15, registers >> 4
        if swapped:
            low, upper = upper, low
        if opcode != WIDE_OPCODE:
            append(Instruction(opcode, low, upper, off, imm))
            continue
        second = next(slots, None)
        if second is None or second[0] or second[1] or second[2]:
            raise _bad_wide(program, second is None)
        append(Instruction(opcode, low, upper, off, imm, high=second[3]))
    return program


def _bad_wide(before: list[Instruction], truncated: bool) -> IsaError:
    index, slot = len(before), count_slots(before)
    if truncated:
        return InstructionError(
            "ISA002",
            f"instruction {index} (slot {slot}) is a wide load, but the program ends before its second slot",
            index=index,
            slot=slot,
        )
    return InstructionError(
        "ISA003",
        f"instruction {index} (slot {slot}) is a wide load whose second slot has a non-zero opcode, register or offset",
        index=index,
        slot=slot,
        hint="only the immediate of the second slot carries something, the upper 32 bits",
    )


def encode_program(program: Iterable[Instruction], byteorder: str = "little") -> bytes:
    """The bytes of a program.

    :raises IsaError: ISA004 when a field does not fit its place.
    """
    packer = _packer(byteorder)
    pack = packer.pack
    swapped = packer is _BIG
    parts: list[bytes] = []
    append = parts.append
    for index, insn in enumerate(program):
        dst, src = insn.dst, insn.src
        try:
            if not (0 <= dst <= 15 and 0 <= src <= 15):
                raise _does_not_fit(insn, index)
            append(pack(insn.opcode, dst << 4 | src if swapped else src << 4 | dst, insn.off, insn.imm))
            if insn.opcode == WIDE_OPCODE:
                append(pack(0, 0, 0, insn.high))
            elif insn.high:
                raise _does_not_fit(insn, index)
        except (StructError, TypeError):
            raise _does_not_fit(insn, index) from None
    return b"".join(parts)


def _does_not_fit(insn: Instruction, index: int) -> IsaError:
    limits = {
        "opcode": (0, 255),
        "dst": (0, 15),
        "src": (0, 15),
        "off": (-(1 << 15), (1 << 15) - 1),
        "imm": (-(1 << 31), (1 << 31) - 1),
        "high": (-(1 << 31), (1 << 31) - 1) if insn.opcode == WIDE_OPCODE else (0, 0),
    }
    wrong = [
        f"{name} is {value!r} and must be {low} to {high}"
        for name, (low, high) in limits.items()
        if not (isinstance(value := getattr(insn, name), int) and low <= value <= high)
    ]
    return InstructionError("ISA004", f"instruction {index} cannot be encoded: {'; '.join(wrong)}", index=index)


def _packer(byteorder: str) -> Struct:
    packer = _BYTE_ORDERS.get(byteorder)
    if packer is None:
        raise ValueError(f"byteorder is 'little' or 'big', not {byteorder!r}")
    return packer


def count_slots(program: Iterable[Instruction]) -> int:
    """The length of a program in slots, the unit of jumps and of the kernel's instruction numbers."""
    return sum(2 if insn.opcode == WIDE_OPCODE else 1 for insn in program)


def slot_numbers(program: Iterable[Instruction]) -> list[int]:
    """For each instruction, its slot; the list ends with the total number of slots (so it is one longer)."""
    numbers = [0]
    slot = 0
    for insn in program:
        slot += 2 if insn.opcode == WIDE_OPCODE else 1
        numbers.append(slot)
    return numbers
